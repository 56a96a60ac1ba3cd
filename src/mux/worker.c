/* One worker's part of the multiplexer: its pools, and the deliveries under way. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "mux/cut_through.h"
#include "mux/mux_internal.h"
#include "mux/probe.h"
#include "mux/route.h"

static void worker_drain_time(timer_entry *self)
{
    mux_worker *worker = list_member(self, mux_worker, drain_timer);
    worker->cut = true;
    upstream_pool_set_abort(worker->set);
    dedup_leave(worker->mux->state->dedup, worker);
    list_node *next;
    for (list_node *n = worker->deliveries.first; n != NULL; n = next) {
        next = n->next;
        delivery_interrupt(n);
    }
}

static void worker_end(loop_turn_end *self);

static int worker_open_pools(mux_worker *worker, const upstream_hold *hold, problem *p)
{
    const mux_options *options = worker->mux->options;
    int error = 0;
    worker->pools = calloc(options->upstream_count, sizeof(*worker->pools));
    if (worker->pools == NULL)
        return problem_set(p, SMX_E_NOMEM, "out of memory");
    upstream_pool_set_believe(worker->set, worker->mux->authorities);
    for (size_t i = 0; i < options->upstream_count && error == 0; i++)
        error = upstream_pool_set_acquire(worker->set, worker->mux->upstreams[i],
                                          &options->upstreams[i], options->hostname, hold,
                                          &worker->pools[i], p);
    return error;
}

int mux_worker_new_shared(mux *m, upstream_pool_set *set, const upstream_hold *hold,
                          mux_worker **out, problem *p)
{
    mux_worker *worker = calloc(1, sizeof(*worker));
    if (worker == NULL)
        return problem_set(p, SMX_E_NOMEM, "out of memory");
    worker->mux = m;
    worker->set = set;
    worker->loop = upstream_pool_set_loop(set);
    worker->log = upstream_pool_set_log(set, &worker->log_arg);
    worker->composer.hostname = m->options->hostname;
    worker->drain_timer.fn = worker_drain_time;
    worker->ended.fn = worker_end;
    if (getrandom(&worker->random, sizeof(worker->random), 0) < 0)
        worker->random = (uint64_t)(uintptr_t)worker;
    int error = worker_open_pools(worker, hold, p);
    if (error == 0 && mux_probe_new(worker) != 0)
        error = problem_set(p, SMX_E_NOMEM, "out of memory");
    if (error != 0) {
        mux_worker_free(worker);
        return error;
    }
    mux_summary_init(worker);
    mux_dedup_init(worker);
    mux_route_hook_init(&worker->route_hook, m->options);
    cut_through_hook_init(&worker->cut_through_hook, worker);
    *out = worker;
    return 0;
}

int mux_worker_new(mux *m, smx_loop *loop, smx_log_fn *log, void *log_arg, mux_worker **out,
                   problem *p)
{
    upstream_pool_set *set;
    int error = upstream_pool_set_new(loop, log, log_arg, &set);
    if (error != 0)
        return problem_set(p, error, "%s", smx_error_text(error));
    error = mux_worker_new_shared(m, set, NULL, out, p);
    if (error == 0)
        (*out)->owns_set = true;
    else
        upstream_pool_set_free(set);
    return error;
}

void mux_worker_activate(mux_worker *worker)
{
    for (size_t i = 0; i < worker->mux->options->upstream_count; i++)
        upstream_pool_configure(worker->pools[i], &worker->mux->options->upstreams[i]);
    mux_probe_start(worker);
}

void mux_worker_retire(mux_worker *worker)
{
    mux_probe_stop(worker);
}

void mux_worker_set_server(mux_worker *worker, smx_server *server)
{
    worker->server = server;
}

const smx_middleware *mux_worker_dedup(mux_worker *worker)
{
    return &worker->dedup;
}

const smx_middleware *mux_worker_summary(mux_worker *worker)
{
    return &worker->summary;
}

const smx_hook *mux_worker_route_hook(mux_worker *worker)
{
    const mux_options *o = worker->mux->options;
    for (size_t i = 0; i < o->upstream_count; i++)
        if (o->upstreams[i].lmtp)
            return &worker->route_hook;
    return o->route_count > 0 ? &worker->route_hook : NULL;
}

const smx_hook *mux_worker_cut_through_hook(mux_worker *worker)
{
    const mux_options *o = worker->mux->options;
    for (size_t i = 0; i < o->user_count; i++)
        if (o->users[i].plan.delivery == MUX_CUT_THROUGH)
            return &worker->cut_through_hook;
    for (size_t i = 0; i < o->route_count; i++)
        if (o->routes[i].plan.delivery == MUX_CUT_THROUGH)
            return &worker->cut_through_hook;
    return NULL;
}

/* A step of a 64-bit generator (xorshift); only spreads load, keeps no secret. */
uint64_t mux_worker_random(mux_worker *worker)
{
    worker->random ^= worker->random << 13;
    worker->random ^= worker->random >> 7;
    worker->random ^= worker->random << 17;
    return worker->random;
}

/* A line of the log: "breaker_opened" with how long its pause is, or "breaker_closed". */
static void worker_tell_breaker(mux_worker *worker, const upstream *u, const char *event,
                                uint64_t pause_ms)
{
    char pause[32];
    alerts_send(worker->mux->state->alerts,
                pause_ms > 0 ? ALERT_BREAKER_OPENED : ALERT_BREAKER_CLOSED, upstream_name(u),
                pause_ms > 0 ? SMX_SLICE("it cannot be reached") : SMX_SLICE("it can be reached"),
                pause_ms > 0 ? loop_now(worker->loop) + pause_ms : 0);
    if (worker->log == NULL)
        return;
    int len = snprintf(pause, sizeof(pause), "%llu", (unsigned long long)pause_ms);
    smx_log_field fields[] = {
        {"upstream", slice_of_text(upstream_name(u))},
        {"pause_ms", slice_of(pause, len < 0 ? 0 : (size_t)len)},
    };
    worker->log(worker->log_arg, pause_ms > 0 ? SMX_LOG_ERROR : SMX_LOG_INFO, event, 0, fields,
                pause_ms > 0 ? 2 : 1);
}

void mux_settle(mux_worker *worker, upstream *u, upstream_admission *admitted,
                const upstream_settlement *settlement)
{
    uint64_t until = 0;
    switch (upstream_settle(u, admitted, settlement, &until)) {
    case UPSTREAM_OPENED:
        worker_tell_breaker(worker, u, "breaker_opened", until - settlement->now);
        mux_probe_look_at(worker, until);
        break;
    case UPSTREAM_CLOSED:
        worker_tell_breaker(worker, u, "breaker_closed", 0);
        break;
    case UPSTREAM_NO_NEWS:
        break;
    }
}

void mux_log_attempt(mux_worker *worker, const upstream *u, const upstream_result *result,
                     smx_log_level level, const char *event, smx_transaction *tx)
{
    buffer reason = {0};
    if (worker->log != NULL && mux_report_reason(&reason, upstream_name(u), result) == 0) {
        smx_log_field fields[] = {
            {"id", tx == NULL ? SMX_SLICE("") : smx_transaction_id(tx)},
            {"upstream", slice_of_text(upstream_name(u))},
            {"phase", slice_of_text(smx_client_phase_text(result->client->phase))},
            {"reason", buffer_slice(&reason)},
        };
        size_t without = tx == NULL ? 1 : 0; /* the id */
        worker->log(worker->log_arg, level, event, tx == NULL ? 0 : smx_transaction_session(tx)->id,
                    fields + without, sizeof(fields) / sizeof(fields[0]) - without);
    }
    buffer_free(&reason);
}

void mux_suspend(mux_worker *worker, upstream *u, const upstream_result *result, uint32_t ms,
                 smx_transaction *tx)
{
    bool is_new = false;
    buffer reason = {0};
    uint64_t until = upstream_suspend(u, loop_now(worker->loop), ms, &is_new);
    if (!is_new)
        return;
    mux_log_attempt(worker, u, result, SMX_LOG_ERROR, "upstream_suspended", tx);
    if (mux_report_reason(&reason, upstream_name(u), result) != 0)
        buffer_clear(&reason);
    alerts_send(worker->mux->state->alerts, ALERT_SUSPENDED, upstream_name(u),
                buffer_slice(&reason), until);
    buffer_free(&reason);
}

/* ---- the end ---- */

static void worker_is_drained(void *arg)
{
    mux_worker *worker = arg;
    void (*drained)(void *) = worker->drained;
    timer_clear(&worker->drain_timer);
    worker->drained = NULL;
    if (drained != NULL)
        drained(worker->drained_arg);
}

/* Shares of pools are of no use when there is no delivery any more. */
static void worker_leave_pools(mux_worker *worker)
{
    for (size_t i = 0; worker->pools != NULL && i < worker->mux->options->upstream_count; i++)
        upstream_pool_set_release(worker->set, worker->pools[i]);
    free(worker->pools);
    worker->pools = NULL;
}

static void worker_end(loop_turn_end *self)
{
    mux_worker *worker = list_member(self, mux_worker, ended);
    if (worker->drained == NULL || worker->deliveries.count > 0 || mux_probe_count(worker) > 0)
        return;
    if (!worker->owns_set) {
        worker_is_drained(worker);
        return;
    }
    worker->cut = true; /* what comes now is refused */
    worker_leave_pools(worker);
    upstream_pool_set_close(worker->set, worker_is_drained, worker);
}

void mux_worker_check_drained(mux_worker *worker)
{
    if (worker->drained != NULL && worker->deliveries.count == 0 && mux_probe_count(worker) == 0)
        loop_at_turn_end(worker->loop, &worker->ended);
}

void mux_worker_drain(mux_worker *worker, uint64_t deadline, void (*done)(void *arg), void *arg)
{
    mux_probe_stop(worker);
    worker->drained = done;
    worker->drained_arg = arg;
    timer_clear(&worker->drain_timer);
    if (deadline != UINT64_MAX)
        timer_set(loop_timers(worker->loop), &worker->drain_timer, deadline);
    mux_worker_check_drained(worker);
}

void mux_worker_free(mux_worker *worker)
{
    if (worker == NULL)
        return;
    timer_clear(&worker->drain_timer);
    loop_cancel_turn_end(&worker->ended);
    mux_probe_free(worker);
    worker_leave_pools(worker);
    if (worker->owns_set)
        upstream_pool_set_free(worker->set);
    composer_free(&worker->composer);
    buffer_free(&worker->reply_text);
    free(worker);
}
