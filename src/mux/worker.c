/* One worker's part of the multiplexer: its pools, and the deliveries under way. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "mux/mux_internal.h"
#include "mux/route.h"

static bool worker_same_file(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

/* Reading the system's CAs takes long: what the upstreams before this one believe is shared by those
 * with the same files. */
static smx_client_tls *worker_find_tls(const mux_worker *worker, size_t i)
{
    const upstream_options *o = &worker->mux->options->upstreams[i];
    for (size_t k = 0; k < i; k++) {
        const upstream_options *other = &worker->mux->options->upstreams[k];
        if (worker->tls[k] != NULL && worker_same_file(o->ca_file, other->ca_file) &&
            worker_same_file(o->cert_file, other->cert_file) &&
            worker_same_file(o->key_file, other->key_file))
            return worker->tls[k];
    }
    return NULL;
}

static int worker_open_tls(mux_worker *worker, size_t i, problem *p)
{
    problem cause = {0};
    const upstream_options *o = &worker->mux->options->upstreams[i];
    worker->tls[i] = worker_find_tls(worker, i);
    if (worker->tls[i] != NULL)
        return 0;
    int error =
        smx_client_tls_new(o->ca_file, o->cert_file, o->key_file, &worker->tls[i], cause.text);
    return error == 0 ? 0 : problem_set(p, error, "upstreams.%s: %.400s", o->name, cause.text);
}

/* The first of those that share frees it. */
static void worker_close_tls(mux_worker *worker)
{
    for (size_t i = worker->mux->options->upstream_count; worker->tls != NULL && i > 0; i--) {
        if (worker_find_tls(worker, i - 1) != worker->tls[i - 1])
            smx_client_tls_free(worker->tls[i - 1]);
    }
    free(worker->tls);
}

static int worker_open_pool(mux_worker *worker, size_t i, problem *p)
{
    const upstream_options *o = &worker->mux->options->upstreams[i];
    int error = o->tls == SMX_TLS_OFF ? 0 : worker_open_tls(worker, i, p);
    if (error != 0)
        return error;
    return upstream_pool_new(worker->loop, worker->mux->upstreams[i], o,
                             worker->mux->options->hostname, worker->tls[i], worker->log,
                             worker->log_arg, &worker->pools[i]);
}

static void worker_drain_time(timer_entry *self)
{
    mux_worker *worker = list_member(self, mux_worker, drain_timer);
    worker->cut = true;
    for (size_t i = 0; i < worker->mux->options->upstream_count; i++)
        upstream_pool_abort(worker->pools[i]);
}

int mux_worker_new(mux *m, smx_loop *loop, smx_log_fn *log, void *log_arg, mux_worker **out,
                   problem *p)
{
    size_t count = m->options->upstream_count;
    mux_worker *worker = calloc(1, sizeof(*worker));
    if (worker == NULL)
        return problem_set(p, SMX_E_NOMEM, "out of memory");
    worker->mux = m;
    worker->loop = loop;
    worker->log = log;
    worker->log_arg = log_arg;
    worker->drain_timer.fn = worker_drain_time;
    worker->pools = calloc(count, sizeof(*worker->pools));
    worker->tls = calloc(count, sizeof(*worker->tls));
    int error = worker->pools == NULL || worker->tls == NULL
                    ? problem_set(p, SMX_E_NOMEM, "out of memory")
                    : 0;
    if (getrandom(&worker->random, sizeof(worker->random), 0) < 0)
        worker->random = (uint64_t)(uintptr_t)worker;
    for (size_t i = 0; i < count && error == 0; i++)
        error = worker_open_pool(worker, i, p);
    if (error != 0) {
        mux_worker_free(worker);
        return error;
    }
    mux_summary_init(worker);
    mux_route_hook_init(&worker->route_hook, m->options);
    *out = worker;
    return 0;
}

void mux_worker_set_server(mux_worker *worker, smx_server *server)
{
    worker->server = server;
}

const smx_middleware *mux_worker_summary(mux_worker *worker)
{
    return &worker->summary;
}

const smx_hook *mux_worker_route_hook(mux_worker *worker)
{
    return &worker->route_hook;
}

/* A step of a 64-bit generator (xorshift); only spreads load, keeps no secret. */
uint64_t mux_worker_random(mux_worker *worker)
{
    worker->random ^= worker->random << 13;
    worker->random ^= worker->random >> 7;
    worker->random ^= worker->random << 17;
    return worker->random;
}

void mux_tell_breaker(mux_worker *worker, const upstream *u, const char *event, uint64_t pause_ms)
{
    char pause[32];
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

/* ---- the end ---- */

static void worker_pool_closed(void *arg)
{
    mux_worker *worker = arg;
    if (--worker->pools_open > 0)
        return;
    timer_clear(&worker->drain_timer);
    void (*drained)(void *) = worker->drained;
    worker->drained = NULL;
    if (drained != NULL)
        drained(worker->drained_arg);
}

/* Pools close when no delivery needs them any more. */
void mux_worker_check_drained(mux_worker *worker)
{
    if (worker->drained == NULL || worker->pools_open > 0 || worker->deliveries.count > 0)
        return;
    worker->pools_open = worker->mux->options->upstream_count;
    for (size_t i = 0; i < worker->mux->options->upstream_count; i++)
        upstream_pool_close(worker->pools[i], worker_pool_closed, worker);
}

void mux_worker_drain(mux_worker *worker, uint64_t deadline, void (*done)(void *arg), void *arg)
{
    worker->drained = done;
    worker->drained_arg = arg;
    timer_set(loop_timers(worker->loop), &worker->drain_timer, deadline);
    mux_worker_check_drained(worker);
}

void mux_worker_free(mux_worker *worker)
{
    if (worker == NULL)
        return;
    timer_clear(&worker->drain_timer);
    for (size_t i = 0; i < worker->mux->options->upstream_count; i++) {
        if (worker->pools != NULL)
            upstream_pool_free(worker->pools[i]);
    }
    free(worker->pools);
    worker_close_tls(worker);
    free(worker);
}
