/* Errands are attempts without a message: a probe (probe.c), or a connection that is opened ahead of
 * demand (ahead.c). They are an attempt's in connection, token, time and end (attempt.c), count nowhere,
 * and give way to messages: they never wait for a permit, and theirs counts as an idle connection's. */
#include "upstream/pool_internal.h"

int errand_begin(upstream_pool *pool, attempt_kind kind,
                 void (*done)(void *arg, const upstream_result *result), void *arg,
                 upstream_attempt **attempt)
{
    enum { CONNECT_MS = 10000 };
    const upstream_request request = {
        .deadline = loop_now(pool->loop) + UPSTREAM_PROBE_MS,
        .connect_ms = CONNECT_MS,
        .fresh = true,
        .done = done,
        .arg = arg,
    };
    return attempt_begin(pool, &request, kind, attempt);
}

void errand_start(upstream_attempt *errand)
{
    upstream_pool *pool = errand->pool;
    errand_keeps_its_permit(
        errand); /* it is the second time: that permit went with its connection */
    errand->gives_way = upstream_permit_try(pool->upstream, &pool->holder);
    if (errand->gives_way)
        attempt_open(errand);
    else
        attempt_tell_local(errand, SMX_E_BUSY, "");
}

void errand_succeeded(upstream_attempt *errand)
{
    errand->connection = NULL;
    errand->local = (smx_client_result){
        .outcome = SMX_OUTCOME_ACCEPTED,
        .phase = SMX_CLIENT_PHASE_MAIL,
        .refused = SIZE_MAX,
        .detail = "",
    };
    attempt_tell(errand, &errand->local);
}

bool errand_give_way(upstream_pool *pool)
{
    for (list_node *n = pool->attempts.first; n != NULL; n = n->next) {
        upstream_attempt *attempt = list_member(n, upstream_attempt, node);
        if (!attempt->gives_way)
            continue;
        errand_keeps_its_permit(attempt);
        return upstream_attempt_cancel(attempt) == 0;
    }
    return false;
}

void errand_keeps_its_permit(upstream_attempt *errand)
{
    if (errand->gives_way)
        upstream_connection_taken(errand->pool->upstream, &errand->pool->holder);
    errand->gives_way = false;
}
