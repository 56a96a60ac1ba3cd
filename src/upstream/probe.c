/* What makes a probe of an attempt. Everything else, its connection, token, time and end, is an
 * attempt's (attempt.c), which owns itself. */
#include "upstream/probe.h"

#include "upstream/pool_internal.h"

enum { CONNECT_MS = 10000 };

int upstream_pool_probe(upstream_pool *pool, void (*done)(void *arg, const upstream_result *result),
                        void *arg, upstream_attempt **probe)
{
    const upstream_request request = {
        .deadline = loop_now(pool->loop) + UPSTREAM_PROBE_MS,
        .connect_ms = CONNECT_MS,
        .fresh = true,
        .done = done,
        .arg = arg,
    };
    return attempt_begin(pool, &request, true, probe);
}

void probe_start(upstream_attempt *probe)
{
    upstream_pool *pool = probe->pool;
    probe_keeps_its_permit(probe); /* it is the second time: that permit went with its connection */
    probe->gives_way = upstream_permit_try(pool->upstream, &pool->holder);
    if (probe->gives_way)
        attempt_open(probe);
    else
        attempt_tell_local(probe, SMX_E_BUSY, "");
}

void probe_answered(upstream_attempt *probe, pool_connection *c)
{
    probe->connection = NULL;
    c->attempt = NULL;
    pool_drop(c);
    probe->local = (smx_client_result){
        .outcome = SMX_OUTCOME_ACCEPTED,
        .phase = SMX_CLIENT_PHASE_MAIL,
        .refused = SIZE_MAX,
        .detail = "",
    };
    attempt_tell(probe, &probe->local);
}

bool probe_give_way(upstream_pool *pool)
{
    for (list_node *n = pool->attempts.first; n != NULL; n = n->next) {
        upstream_attempt *attempt = list_member(n, upstream_attempt, node);
        if (!attempt->gives_way)
            continue;
        probe_keeps_its_permit(attempt);
        return upstream_attempt_cancel(attempt) == 0;
    }
    return false;
}

void probe_keeps_its_permit(upstream_attempt *probe)
{
    if (probe->gives_way)
        upstream_connection_taken(probe->pool->upstream, &probe->pool->holder);
    probe->gives_way = false;
}
