/* A worker's timer looks when the next of its upstreams is due; whoever claims a probe first makes it.
 * The places of probes belong to their worker. */
#include "mux/probe.h"

#include <stdlib.h>

#include "upstream/probe.h"

/* An upstream's place. */
typedef struct probe {
    mux_worker *worker;
    size_t upstream;
    upstream_attempt *attempt; /* NULL: none is under way */
    upstream_admission admitted;
} probe;

struct mux_probes {
    timer_entry timer;
    mux_worker *worker;
    size_t under_way;
    probe places[]; /* one for each upstream */
};

/* ---- the end of one ---- */

/* Refused credentials suspend as a delivery's do; what a provider says of its quota is a message's to
 * hear. */
static void probe_tell(probe *p, const upstream_result *result)
{
    mux_worker *worker = p->worker;
    upstream *u = worker->mux->upstreams[p->upstream];
    const upstream_options *o = mux_upstream_options(worker->mux, p->upstream);
    mux_classified c = mux_classify(result, o->rules, o->rule_count);
    if (c.action != MUX_ACTION_NEXT || result->client->error == SMX_E_BUSY)
        return;
    if (c.suspend)
        mux_suspend(worker, u, result, c.suspend_ms, NULL);
    else
        mux_log_attempt(worker, u, result, SMX_LOG_WARN, "probe_failed", NULL);
}

static void probe_done(void *arg, const upstream_result *result)
{
    probe *p = arg;
    mux_worker *worker = p->worker;
    p->attempt = NULL;
    worker->probes->under_way--;
    mux_settle(worker, worker->mux->upstreams[p->upstream], &p->admitted,
               &(upstream_settlement){.now = loop_now(worker->loop), .health = result->health});
    probe_tell(p, result);
    mux_worker_check_drained(worker);
}

/* ---- the beginning ---- */

static void probe_begin(mux_worker *worker, size_t index, uint64_t now)
{
    probe *p = &worker->probes->places[index];
    upstream *u = worker->mux->upstreams[index];
    const upstream_ask ask = {.now = now, .is_for_probe = true};
    if (p->attempt != NULL || !upstream_probe_claim(u, now))
        return;
    upstream_admit(u, &ask, &p->admitted);
    if (p->admitted.usable != UPSTREAM_USABLE)
        return;
    if (upstream_pool_probe(worker->pools[index], probe_done, p, &p->attempt) == 0)
        worker->probes->under_way++;
    else
        mux_settle(worker, u, &p->admitted, &(upstream_settlement){.now = now});
}

/* When this upstream is to be looked at again: an operator may make it due sooner. One that is due all
 * the same is being probed by this worker. */
static uint64_t probe_look(mux_worker *worker, size_t index, uint64_t now)
{
    upstream *u = worker->mux->upstreams[index];
    uint32_t period = mux_upstream_options(worker->mux, index)->probe_ms;
    if (period == 0)
        return UINT64_MAX;
    uint64_t due = upstream_probe_due(u);
    if (due <= now)
        probe_begin(worker, index, now);
    due = upstream_probe_due(u);
    return due > now && due < now + period ? due : now + period;
}

static void probe_look_at_all(timer_entry *self)
{
    mux_probes *probes = list_member(self, mux_probes, timer);
    mux_worker *worker = probes->worker;
    uint64_t now = loop_now(worker->loop);
    uint64_t next = UINT64_MAX;
    for (size_t i = 0; i < worker->mux->options->upstream_count; i++) {
        uint64_t at = probe_look(worker, i, now);
        next = at < next ? at : next;
    }
    timer_set(loop_timers(worker->loop), &probes->timer, next);
}

static bool probe_is_wanted(const mux_options *options)
{
    for (size_t i = 0; i < options->upstream_count; i++)
        if (options->upstreams[i].probe_ms > 0)
            return true;
    return false;
}

int mux_probe_new(mux_worker *worker)
{
    const mux_options *options = worker->mux->options;
    if (!probe_is_wanted(options))
        return 0;
    mux_probes *probes =
        calloc(1, sizeof(*probes) + options->upstream_count * sizeof(probes->places[0]));
    if (probes == NULL)
        return SMX_E_NOMEM;
    probes->worker = worker;
    probes->timer.fn = probe_look_at_all;
    for (size_t i = 0; i < options->upstream_count; i++)
        probes->places[i] = (probe){.worker = worker, .upstream = i};
    worker->probes = probes;
    return 0;
}

void mux_probe_start(mux_worker *worker)
{
    if (worker->probes != NULL)
        timer_set(loop_timers(worker->loop), &worker->probes->timer, loop_now(worker->loop));
}

void mux_probe_look_at(mux_worker *worker, uint64_t at)
{
    mux_probes *probes = worker->probes;
    if (probes != NULL && probes->timer.node.owner != NULL && at < probes->timer.due)
        timer_set(loop_timers(worker->loop), &probes->timer, at);
}

/* ---- the end ---- */

void mux_probe_stop(mux_worker *worker)
{
    if (worker->probes == NULL)
        return;
    timer_clear(&worker->probes->timer);
    for (size_t i = 0; i < worker->mux->options->upstream_count; i++) {
        upstream_attempt *attempt = worker->probes->places[i].attempt;
        if (attempt != NULL && upstream_attempt_cancel(attempt) == SMX_E_LATE)
            continue; /* its end is on the way */
    }
}

size_t mux_probe_count(const mux_worker *worker)
{
    return worker->probes == NULL ? 0 : worker->probes->under_way;
}

void mux_probe_free(mux_worker *worker)
{
    if (worker->probes != NULL)
        timer_clear(&worker->probes->timer);
    free(worker->probes);
    worker->probes = NULL;
}
