/* One connection ahead of demand, so that a message need not wait for TCP, TLS and AUTH. It is opened
 * when a message takes the last connection, but only while that was of use: from when a message had to
 * open one for itself though another had come shortly before, until one that was opened ahead is closed
 * without a message, or cannot be had. So a provider that is out of reach is asked once, by nobody's
 * message, and not again before a message has reached it; and how it went blames neither. */
#include <assert.h>

#include "upstream/pool_internal.h"

static void ahead_done(void *arg, const upstream_result *result)
{
    upstream_pool *pool = arg;
    pool->ahead = NULL;
    if (result->client->outcome != SMX_OUTCOME_ACCEPTED)
        pool->ahead_is_wanted = false;
}

void ahead_missed(upstream_pool *pool)
{
    uint64_t now = loop_now(pool->loop);
    if (pool->demanded_at != 0 && now - pool->demanded_at < pool_idle_ms(pool))
        pool->ahead_is_wanted = true;
}

void ahead_open(upstream_pool *pool)
{
    if (!pool->ahead_is_wanted || !pool->options.open_ahead || pool->ahead != NULL ||
        pool->connections[POOL_IDLE].count > 0 || !upstream_is_plain(pool->upstream))
        return;
    /* Without memory, or at the pool's end, there is none. */
    if (errand_begin(pool, ATTEMPT_AHEAD, ahead_done, pool, &pool->ahead) != 0)
        pool->ahead_is_wanted = false;
}

void ahead_ready(upstream_attempt *ahead, pool_connection *c)
{
    c->attempt = NULL;
    c->is_unused = true;
    upstream_count(c->pool->upstream, UPSTREAM_COUNT_opened_ahead);
    errand_succeeded(ahead);
    pool_connection_free(c);
}

/* Before it is connected there is little to gain, and the message's own time for that counts. */
bool ahead_hand_over(upstream_attempt *attempt)
{
    upstream_attempt *ahead = attempt->pool->ahead;
    smx_client_info info;
    if (ahead == NULL || ahead->connection == NULL || ahead->cancelled || ahead->timed_out)
        return false;
    smx_client_get_info(ahead->connection->client, &info);
    if (info.connected_at == 0)
        return false;
    attempt->connection = ahead->connection;
    attempt->connection->attempt = attempt;
    attempt->token_serial = ahead->token_serial;
    errand_succeeded(ahead);
    attempt_arm(attempt);
    return true;
}

void ahead_stop(upstream_pool *pool)
{
    pool->options.open_ahead = false;
    int error = pool->ahead == NULL ? 0 : upstream_attempt_cancel(pool->ahead);
    assert(error == 0); /* it has no dot to be late for */
    (void)error;
}
