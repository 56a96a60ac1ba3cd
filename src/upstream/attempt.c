/* One attempt to hand a message to one upstream: gets a connection (idle, or fresh with a permit),
 * submits, and tries once more where DESIGN 4.3 says that it does not count. An attempt frees itself
 * when its owner has been told. */
#include <assert.h>
#include <stdlib.h>

#include "upstream/pool_internal.h"

enum {
    FAIR_CHANCE_MS = 1000, /* in less time than this nobody can be said to be unreachable */
    SPARE_ATTEMPTS = 32,   /* of a pool */
};

static uint64_t attempt_now(const upstream_attempt *attempt)
{
    return loop_now(attempt->pool->loop);
}

/* Cleared; NULL when out of memory. */
static upstream_attempt *attempt_new(upstream_pool *pool)
{
    list_node *spare = list_take_first(&pool->spare_attempts);
    if (spare == NULL)
        return calloc(1, sizeof(upstream_attempt));
    upstream_attempt *attempt = list_member(spare, upstream_attempt, node);
    *attempt = (upstream_attempt){0};
    return attempt;
}

void attempt_free(upstream_attempt *attempt)
{
    upstream_pool *pool = attempt->pool;
    timer_clear(&attempt->timer);
    loop_cancel_turn_end(&attempt->later);
    list_remove(&attempt->node);
    if (pool->spare_attempts.count < SPARE_ATTEMPTS)
        list_prepend(&pool->spare_attempts, &attempt->node);
    else
        free(attempt);
    pool_check_end(pool);
}

void attempt_free_spares(upstream_pool *pool)
{
    for (list_node *n = pool->spare_attempts.first, *next; n != NULL; n = next) {
        next = n->next;
        free(list_member(n, upstream_attempt, node));
    }
}

/* ---- telling ---- */

static void attempt_count(const upstream_attempt *attempt, const smx_client_result *result)
{
    static const upstream_counter counters[] = {
        [SMX_OUTCOME_ACCEPTED] = UPSTREAM_COUNT_accepted,
        [SMX_OUTCOME_REFUSED] = UPSTREAM_COUNT_refused,
        [SMX_OUTCOME_FAILED] = UPSTREAM_COUNT_failed,
        [SMX_OUTCOME_UNKNOWN] = UPSTREAM_COUNT_unknown,
        [SMX_OUTCOME_GIVEN_UP] = UPSTREAM_COUNT_failed,
    };
    upstream_count(attempt->pool->upstream, counters[result->outcome]);
    if (result->outcome != SMX_OUTCOME_ACCEPTED)
        upstream_not_taken(attempt->pool->upstream, result->phase);
    upstream_took(attempt->pool->upstream, result->outcome,
                  attempt_now(attempt) - attempt->started);
}

/* What failed for reasons of our own, or was cut short, says nothing of the server. */
static upstream_health attempt_health(const upstream_attempt *attempt, const smx_client_result *r)
{
    uint64_t took = attempt_now(attempt) - attempt->started;
    if (r == &attempt->local && r->phase == SMX_CLIENT_PHASE_AUTH)
        return UPSTREAM_SILENT_ON_HEALTH; /* there was no token: nobody connected */
    if (attempt->unsuitable != NULL ||
        (r->phase > SMX_CLIENT_PHASE_EHLO && r->phase != SMX_CLIENT_PHASE_TLS))
        return UPSTREAM_GREETED;
    if (r == &attempt->local || r->outcome == SMX_OUTCOME_GIVEN_UP || r->error == SMX_E_NOMEM ||
        (attempt->timed_out && took < FAIR_CHANCE_MS))
        return UPSTREAM_SILENT_ON_HEALTH;
    return UPSTREAM_UNREACHED;
}

void attempt_tell(upstream_attempt *attempt, const smx_client_result *result)
{
    smx_client_info info = {0};
    if (attempt->connection != NULL)
        smx_client_get_info(attempt->connection->client, &info);
    errand_keeps_its_permit(attempt);
    if (attempt->kind == ATTEMPT_MESSAGE)
        attempt_count(attempt, result);
    upstream_result told = {
        .client = result,
        .unsuitable = attempt->unsuitable,
        .token_refused = attempt->token_refused,
        .reused = attempt->reused,
        .tries = attempt->tries,
        .tls = info.tls_protocol,
        .took_ms =
            attempt_now(attempt) - (attempt->asked_at != 0 ? attempt->asked_at : attempt->started),
        .health = attempt_health(attempt, result),
    };
    timer_clear(&attempt->timer);
    attempt->done = true;
    attempt->request.done(attempt->request.arg, &told);
    if (!attempt->waiting && !attempt->asking)
        attempt_free(attempt);
}

void attempt_tell_local(upstream_attempt *attempt, int error, const char *detail)
{
    attempt->local = (smx_client_result){
        .outcome = attempt->cancelled ? SMX_OUTCOME_GIVEN_UP : SMX_OUTCOME_FAILED,
        .phase = SMX_CLIENT_PHASE_CONNECT,
        .error = error,
        .refused = SIZE_MAX,
        .detail = detail,
    };
    loop_at_turn_end(attempt->pool->loop, &attempt->later);
}

static void attempt_later(loop_turn_end *self)
{
    upstream_attempt *attempt = list_member(self, upstream_attempt, later);
    attempt_tell(attempt, &attempt->local);
}

/* ---- is the server able to take it? (DESIGN 4.2) ---- */

/* In steps what the client declared, if it did, as long as the message is not there (RFC 1870). */
static uint64_t attempt_size(const smx_submission *s)
{
    uint64_t size = s->header.len;
    if (s->message != NULL)
        size += smx_message_size(s->message) - s->body_offset;
    if (s->stage != SMX_SUBMISSION_WHOLE && s->envelope->mail.has_size &&
        size < s->envelope->mail.size)
        size = s->envelope->mail.size;
    return size;
}

/* RFC 8689 section 4.2.1: onward in TLS that is verified, to a server that does the same. */
static upstream_offer attempt_offer(const smx_client *client)
{
    smx_client_info info;
    const smx_capabilities *offered = smx_client_capabilities(client);
    upstream_offer offer = {offered->extensions, offered->max_size};
    smx_client_get_info(client, &info);
    if (!info.tls || !info.verified)
        offer.extensions &= ~(smx_extensions)SMX_EXT_REQUIRETLS;
    return offer;
}

/* A server without DSN tells of failures anyway; only other wishes would be lost there. */
static bool attempt_needs_dsn(const smx_envelope *envelope)
{
    for (size_t i = 0; i < envelope->recipient_count; i++)
        if ((envelope->recipients[i].notify & ~(unsigned)SMX_NOTIFY_FAILURE) != 0)
            return true;
    return false;
}

static upstream_needs attempt_needs(const smx_submission *s)
{
    const smx_mail *mail = &s->envelope->mail;
    return (upstream_needs){
        .size = attempt_size(s),
        .eight_bit = mail->body == SMX_BODY_8BITMIME,
        .smtputf8 = mail->smtputf8,
        .requiretls = mail->requiretls,
        .dsn = attempt_needs_dsn(s->envelope),
    };
}

/* NULL: it is able to. */
static const char *attempt_judge(const upstream_attempt *attempt, const smx_client *client,
                                 smx_reply *reply)
{
    const upstream_needs needs = attempt_needs(&attempt->request.submission);
    return upstream_unsuitable(&needs, attempt_offer(client), reply);
}

/* ---- time ---- */

static bool attempt_is_owners_turn(const upstream_attempt *attempt, const smx_client_info *info)
{
    bool grows = attempt->request.submission.stage == SMX_SUBMISSION_BODY &&
                 info->phase >= SMX_CLIENT_PHASE_BODY && info->phase < SMX_CLIENT_PHASE_QUIT;
    return info->caught_up || grows;
}

/* When this attempt is to be looked at next: up to DATA's reply by `data_ms` from the connection on,
 * then by the deadline. In steps the owner's time does not count. */
static uint64_t attempt_due(const upstream_attempt *attempt)
{
    const upstream_request *r = &attempt->request;
    uint64_t due = r->deadline;
    if (attempt->asking && r->connect_ms != 0 && attempt->token_asked_at + r->connect_ms < due)
        return attempt->token_asked_at + r->connect_ms;
    if (attempt->connection == NULL)
        return due;
    smx_client_info info;
    smx_client_get_info(attempt->connection->client, &info);
    if (attempt_is_owners_turn(attempt, &info))
        return UINT64_MAX;
    if (r->data_ms == 0 || info.phase >= SMX_CLIENT_PHASE_BODY)
        return due;
    uint64_t from = attempt->reused ? attempt->ready_at : info.connected_at;
    /* In steps, or of one that was opened ahead, it may have been connected before. */
    uint64_t asked_at = attempt->asked_at != 0 ? attempt->asked_at : attempt->started;
    if (from != 0 && from < asked_at)
        from = asked_at;
    if (from == 0) /* until it is connected the connect's own limit holds: it is looked at again */
        from = attempt_now(attempt);
    return from + r->data_ms < due ? from + r->data_ms : due;
}

void attempt_arm(upstream_attempt *attempt)
{
    timer_set(loop_timers(attempt->pool->loop), &attempt->timer, attempt_due(attempt));
}

static void attempt_stop(upstream_attempt *attempt)
{
    pool_connection *c = attempt->connection;
    if (attempt->asking) {
        attempt_stop_asking(attempt);
    } else if (c == NULL) {
        if (attempt->waiting)
            attempt->waiting = upstream_permit_cancel(attempt->pool->upstream, &attempt->waiter);
        attempt_tell_local(attempt, SMX_E_TIMEOUT, "all its connections were busy");
    } else if (smx_client_cancel(c->client) == SMX_E_STATE) {
        pool_drop(c); /* not in a transaction yet: its end is the attempt's */
    }
}

void attempt_end_waiting(upstream_attempt *attempt)
{
    bool stopped = attempt->asking && (attempt->cancelled || attempt->timed_out);
    if ((!attempt->waiting && !attempt->asking) || attempt->done || stopped)
        return;
    attempt->timed_out = true;
    attempt_stop(attempt);
}

static void attempt_timeout(timer_entry *self)
{
    upstream_attempt *attempt = list_member(self, upstream_attempt, timer);
    smx_client_info info = {0};
    if (attempt->connection != NULL)
        smx_client_get_info(attempt->connection->client, &info);
    if (info.phase >= SMX_CLIENT_PHASE_FINAL)
        return; /* behind the dot only the machine's own 10 minutes count */
    if (attempt_due(attempt) > attempt_now(attempt)) {
        attempt_arm(attempt);
        return;
    }
    attempt->timed_out = true;
    attempt_stop(attempt);
}

/* ---- a connection ---- */

attempt_use attempt_connection_ready(upstream_attempt *attempt, pool_connection *c)
{
    smx_reply reply = {0};
    if (attempt->kind == ATTEMPT_MESSAGE)
        attempt->unsuitable = attempt_judge(attempt, c->client, &reply);
    pool_move(c, POOL_BUSY);
    attempt->connection = NULL;
    c->attempt = NULL;
    int error = 0;
    if (attempt->kind == ATTEMPT_PROBE)
        error = smx_client_noop(c->client);
    else if (attempt->unsuitable == NULL)
        error = smx_client_submit(c->client, &attempt->request.submission);
    if (attempt->unsuitable == NULL && error == 0) {
        attempt->connection = c;
        attempt->ready_at = attempt_now(attempt);
        c->attempt = attempt;
        attempt_arm(attempt);
        c->is_unused = false;
        ahead_open(c->pool);
        return ATTEMPT_USES;
    }
    if (error == SMX_E_STATE)
        return ATTEMPT_FINDS_IT_DEAD;
    attempt_tell_local(attempt, error, "");
    if (attempt->unsuitable != NULL)
        attempt->local.outcome = SMX_OUTCOME_REFUSED;
    attempt->local.phase = SMX_CLIENT_PHASE_MAIL;
    attempt->local.reply = reply;
    return ATTEMPT_LEAVES;
}

void attempt_fresh_is_dead(upstream_attempt *attempt)
{
    attempt_tell_local(attempt, SMX_E_PROTOCOL, "");
    attempt->local.phase = SMX_CLIENT_PHASE_MAIL;
}

/* 421 says that this connection is over, not that the provider would not take the message; 4.7.x says
 * that it does not like us (DESIGN 4.3), and a rule says what it is. */
static bool attempt_is_mere_421(const upstream_attempt *attempt, const smx_client_result *r)
{
    return !attempt->retried_421 && !attempt->answered && r->reply.code == 421 &&
           r->phase < SMX_CLIENT_PHASE_FINAL && r->phase >= SMX_CLIENT_PHASE_MAIL &&
           !(r->reply.enhanced.class_digit == 4 && r->reply.enhanced.subject == 7) &&
           upstream_rules_match(attempt->request.rules, attempt->request.rule_count, r->phase,
                                &r->reply) == NULL;
}

static bool attempt_try_again(upstream_attempt *attempt, const smx_client_result *r)
{
    if (attempt->cancelled || attempt->timed_out || attempt->pool->cut ||
        r->outcome == SMX_OUTCOME_ACCEPTED || r->outcome == SMX_OUTCOME_UNKNOWN ||
        attempt_now(attempt) >= attempt->request.deadline)
        return false;
    if (attempt->reused && r->outcome == SMX_OUTCOME_FAILED && r->first_reply_missing)
        return true;
    if (!attempt_is_mere_421(attempt, r))
        return false;
    attempt->retried_421 = true;
    return true;
}

void attempt_result(upstream_attempt *attempt, const smx_client_result *result)
{
    if (attempt_try_again(attempt, result)) {
        pool_connection *old = attempt->connection;
        attempt->connection = NULL;
        attempt->reused = false;
        attempt->waiter.fresh = true;
        pool_drop(old);
        attempt_start(attempt);
        return;
    }
    smx_client_result told = *result;
    if (attempt->timed_out && told.outcome == SMX_OUTCOME_GIVEN_UP)
        told.outcome = SMX_OUTCOME_FAILED;
    attempt_tell(attempt, &told);
}

void attempt_connection_failed(upstream_attempt *attempt, const smx_client_result *result)
{
    smx_client_result told = *result;
    attempt->connection = NULL;
    if (attempt_token_is_stale(attempt, result)) {
        attempt_start(attempt);
        return;
    }
    if (attempt->timed_out)
        told.error = SMX_E_TIMEOUT;
    if (attempt->cancelled)
        told.outcome = SMX_OUTCOME_GIVEN_UP;
    attempt_tell(attempt, &told);
}

/* ---- permits ---- */

static void attempt_granted(void *arg)
{
    upstream_attempt *attempt = arg;
    attempt->waiting = false;
    if (attempt->done) {
        upstream_permit_give(attempt->pool->upstream, &attempt->pool->holder);
        attempt_free(attempt);
    } else if (attempt->cancelled || attempt->timed_out) {
        upstream_permit_give(attempt->pool->upstream,
                             &attempt->pool->holder); /* its result is on its way */
    } else {
        attempt_open(attempt);
    }
}

/* Takes an idle connection. One whose end was seen in this turn is still among them. */
static bool attempt_use_idle(upstream_attempt *attempt)
{
    for (pool_connection *c; (c = pool_take_idle(attempt->pool)) != NULL;) {
        attempt->reused = true;
        attempt_use use = attempt_connection_ready(attempt, c);
        if (use == ATTEMPT_FINDS_IT_DEAD) {
            pool_drop(c);
            continue;
        }
        upstream_count(attempt->pool->upstream, UPSTREAM_COUNT_reused);
        if (use == ATTEMPT_LEAVES)
            pool_connection_free(c);
        return true;
    }
    attempt->reused = false;
    return false;
}

void attempt_start(upstream_attempt *attempt)
{
    attempt->tries++;
    if (!attempt->waiter.fresh && (attempt_use_idle(attempt) || ahead_hand_over(attempt)))
        return;
    if (attempt->kind != ATTEMPT_MESSAGE) {
        errand_start(attempt);
        return;
    }
    attempt->waiting = !upstream_permit_take(attempt->pool->upstream, &attempt->waiter);
    if (attempt->waiting) {
        attempt_arm(attempt);
        return;
    }
    if (!attempt->waiter.fresh)
        ahead_missed(attempt->pool);
    attempt_open(attempt);
}

int attempt_begin(upstream_pool *pool, const upstream_request *request, attempt_kind kind,
                  upstream_attempt **out)
{
    if (pool->ending || pool->cut)
        return SMX_E_CLOSED;
    upstream_attempt *attempt = attempt_new(pool);
    if (attempt == NULL)
        return SMX_E_NOMEM;
    attempt->pool = pool;
    attempt->request = *request;
    attempt->kind = kind;
    attempt->started = loop_now(pool->loop);
    attempt->timer.fn = attempt_timeout;
    attempt->later.fn = attempt_later;
    attempt_token_init(attempt);
    attempt->waiter = (upstream_waiter){.holder = &pool->holder,
                                        .granted = attempt_granted,
                                        .arg = attempt,
                                        .fresh = request->fresh};
    attempt->retried_421 = request->fresh; /* the owner's own retry is the only one */
    list_append(&pool->attempts, &attempt->node);
    *out = attempt;
    attempt_start(attempt);
    if (kind == ATTEMPT_MESSAGE) {
        upstream_count(pool->upstream, UPSTREAM_COUNT_attempts);
        pool->demanded_at = loop_now(pool->loop);
    }
    return 0;
}

int upstream_pool_submit(upstream_pool *pool, const upstream_request *request,
                         upstream_attempt **attempt)
{
    return attempt_begin(pool, request, ATTEMPT_MESSAGE, attempt);
}

void attempt_recipient(upstream_attempt *attempt, size_t index, const smx_reply *reply)
{
    attempt->answered = true;
    if (attempt->request.recipient != NULL && !attempt->cancelled && !attempt->timed_out)
        attempt->request.recipient(attempt->request.arg, index, reply);
}

/* A connection that is not ready yet takes the submission as it is by then. */
int upstream_attempt_advance(upstream_attempt *attempt, const smx_submission *submission,
                             uint64_t deadline)
{
    if (attempt->done || attempt->cancelled || attempt->timed_out)
        return SMX_E_LATE;
    if (attempt->connection != NULL) {
        int error = smx_client_advance(attempt->connection->client, submission);
        if (error != 0 && error != SMX_E_STATE)
            return error;
    }
    /* More of a body is no new question. */
    if (submission->stage != SMX_SUBMISSION_BODY ||
        attempt->request.submission.stage != submission->stage)
        attempt->asked_at = attempt_now(attempt);
    attempt->request.submission = *submission;
    attempt->request.deadline = deadline;
    attempt_arm(attempt);
    return 0;
}

int upstream_attempt_cancel(upstream_attempt *attempt)
{
    pool_connection *c = attempt->connection;
    smx_client_info info = {0};
    if (c != NULL)
        smx_client_get_info(c->client, &info);
    if (attempt->done || info.phase >= SMX_CLIENT_PHASE_FINAL)
        return SMX_E_LATE;
    if (!attempt->cancelled && !attempt->timed_out) {
        attempt->cancelled = true;
        attempt_stop(attempt);
    }
    return 0;
}
