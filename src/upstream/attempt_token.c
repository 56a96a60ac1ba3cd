/* How an attempt's fresh connection gets its OAuth2 token: at once, or after a request to the token
 * endpoint, for which the attempt waits with its permit in hand. */
#include <string.h>

#include "upstream/pool_internal.h"

static void attempt_open_with(upstream_attempt *attempt, char *token)
{
    int error = pool_open(attempt->pool, attempt, token);
    if (error == 0) {
        attempt_arm(attempt);
        return;
    }
    oauth2_token_free(token);
    upstream_permit_give(attempt->pool->upstream, &attempt->pool->holder);
    attempt_tell_local(attempt, error, "");
}

static void attempt_tell_no_token(upstream_attempt *attempt, int error)
{
    upstream_permit_give(attempt->pool->upstream, &attempt->pool->holder);
    attempt_tell_local(attempt, error, attempt->reason);
    attempt->local.phase = SMX_CLIENT_PHASE_AUTH;
}

void attempt_open(upstream_attempt *attempt)
{
    upstream_pool *pool = attempt->pool;
    uint64_t now = loop_now(pool->loop);
    oauth2_answer answer = {0};
    oauth2_state state = OAUTH2_TOKEN;
    if (pool->oauth2 != NULL)
        state = oauth2_take(pool->oauth2, now, &attempt->token, &answer);
    if (state == OAUTH2_TOKEN) {
        attempt->token_serial = answer.serial;
        attempt_open_with(attempt, answer.token);
    } else if (state == OAUTH2_LATER) {
        attempt->asking = true;
        if (attempt->token_asked_at == 0)
            attempt->token_asked_at = now;
        attempt_arm(attempt);
    } else {
        attempt->token_refused = state == OAUTH2_REFUSED;
        memcpy(attempt->reason, answer.reason, sizeof(attempt->reason));
        attempt_tell_no_token(attempt, SMX_E_AUTH);
    }
}

static void attempt_token_told(void *arg)
{
    upstream_attempt *attempt = arg;
    attempt->asking = false;
    if (attempt->done)
        attempt_free(attempt);
    else if (!attempt->cancelled && !attempt->timed_out)
        attempt_open(attempt);
}

void attempt_token_init(upstream_attempt *attempt)
{
    attempt->token =
        (oauth2_waiter){.loop = attempt->pool->loop, .told = attempt_token_told, .arg = attempt};
}

void attempt_stop_asking(upstream_attempt *attempt)
{
    static const char words[] = "the token endpoint did not answer in time";
    attempt->asking = oauth2_cancel(attempt->pool->oauth2, &attempt->token);
    memcpy(attempt->reason, words, sizeof(words));
    attempt_tell_no_token(attempt, SMX_E_TIMEOUT);
}

bool attempt_token_is_stale(upstream_attempt *attempt, const smx_client_result *result)
{
    const upstream_pool *pool = attempt->pool;
    if (pool->oauth2 == NULL || result->phase != SMX_CLIENT_PHASE_AUTH || result->reply.code != 535)
        return false;
    oauth2_reject(pool->oauth2, attempt->token_serial);
    if (attempt->retried_token || attempt->cancelled || attempt->timed_out || pool->cut ||
        loop_now(pool->loop) >= attempt->request.deadline)
        return false;
    attempt->retried_token = true;
    return true;
}
