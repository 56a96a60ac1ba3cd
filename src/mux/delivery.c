/* The delivery of one message: the selector orders the user's upstreams, and they are tried in turn
 * until one takes it, or refuses it for good, or nobody knows (DESIGN 4.1 to 4.5).
 *
 * A delivery after DATA lives in its transaction's memory and is gone with the reply. One that cuts
 * through begins at the first RCPT: where it differs cut_through.c is asked. */
#include "mux/delivery.h"

#include "base/clock.h"
#include "mux/cut_through.h"

enum {
    CONNECT_MS = 5000, /* while another usable upstream remains (DESIGN 4.2) */
    DATA_MS = 8000,
    REASONS_MAX = 400, /* octets of reasons that a client is told */
    ANSWER_AGAIN_MS = 100,
};

/* The index of the mux's upstream at this position of the order. */
static size_t delivery_index(const delivery *d, size_t position)
{
    return d->with.plan.choices[d->order[position]].upstream;
}

upstream *delivery_upstream(const delivery *d, size_t position)
{
    return d->worker->mux->upstreams[delivery_index(d, position)];
}

const upstream_options *delivery_options(const delivery *d)
{
    return mux_upstream_options(d->worker->mux, delivery_index(d, d->next));
}

static const char *delivery_upstream_name(const delivery *d)
{
    return upstream_name(delivery_upstream(d, d->next));
}

/* ---- the end ---- */

/* The transaction waits for its reply, come what may: without memory for it, it is given later, and
 * without its text. */
static void delivery_answer(delivery *d, const smx_reply *reply)
{
    mux_worker *worker = d->worker;
    d->code = reply->code;
    d->enhanced = reply->enhanced;
    int error = smx_transaction_reply(worker->server, d->ticket, reply);
    if (error == SMX_E_NOMEM) {
        timer_set(loop_timers(worker->loop), &d->again, loop_now(worker->loop) + ANSWER_AGAIN_MS);
        return;
    }
    if (d->cut == NULL)
        list_remove(&d->node); /* else when its attempt has ended */
    if (error != 0 && worker->log != NULL) {
        smx_log_field fields[] = {{"reason", slice_of_text(smx_error_text(error))}};
        worker->log(worker->log_arg, SMX_LOG_ERROR, "reply_lost", 0, fields, 1);
    }
    if (d->cut != NULL)
        cut_through_free(d->cut);
    else
        mux_worker_check_drained(worker);
}

void delivery_answer_again(timer_entry *self)
{
    delivery *d = list_member(self, delivery, again);
    delivery_answer(d, &(smx_reply){d->code, d->enhanced, {NULL, 0}});
}

/* What left, or may have, counts against the limits of the user and the route. */
static void delivery_settle_limits(delivery *d, mux_outcome outcome)
{
    for (size_t i = 0; i < MUX_QUOTAS; i++) {
        if (d->with.quotas[i] == NULL)
            continue;
        if (outcome == MUX_OUTCOME_DELIVERED || outcome == MUX_OUTCOME_UNKNOWN)
            quota_commit(d->with.quotas[i], clock_wall_ms(), &d->reserved[i]);
        else
            quota_release(d->with.quotas[i], &d->reserved[i]);
    }
}

static smx_reply delivery_unknown(void)
{
    return SMX_REPLY(451, 4, 4, 2,
                     "the provider was lost after it had the whole message: it may or may not have "
                     "been delivered");
}

/* What one may have is not refused, put off or given up, whatever others said of it (DESIGN 4.4). */
static void delivery_finish(delivery *d, mux_outcome outcome, const smx_reply *reply)
{
    const smx_reply unknown = delivery_unknown();
    if (d->may_have_it != NULL && outcome != MUX_OUTCOME_DELIVERED) {
        outcome = MUX_OUTCOME_UNKNOWN;
        reply = &unknown;
        d->record->upstream = d->may_have_it;
    }
    delivery_settle_limits(d, outcome);
    d->record->outcome = outcome;
    d->record->has_outcome = true;
    smx_transaction_on_gone(d->tx, NULL, NULL);
    if (d->cut == NULL) {
        compose_end(&d->sent);
        buffer_free(&d->reasons);
    }
    delivery_answer(d, reply);
}

/* A reply with a text that is composed; when memory is short the code alone must do. */
static void delivery_finish_with(delivery *d, mux_outcome outcome, smx_reply reply,
                                 const buffer *text)
{
    if (buffer_length(text) > 0)
        reply.text = buffer_slice(text);
    delivery_finish(d, outcome, &reply);
}

/* No upstream is left. 5xx only if every one of them refused it for good. */
void delivery_exhausted(delivery *d)
{
    buffer text = {0};
    if (d->cut != NULL && cut_through_exhausted(d->cut))
        return;
    if (d->client_gone) {
        delivery_finish(d, MUX_OUTCOME_CLIENT_GONE, &SMX_REPLY(451, 4, 4, 2, "client is gone"));
        return;
    }
    if (!d->temporary && d->refusal.code != 0) {
        delivery_finish(d, MUX_OUTCOME_REJECTED, &d->refusal);
        return;
    }
    smx_slice reasons = buffer_slice(&d->reasons);
    if (reasons.len > REASONS_MAX)
        reasons.len = REASONS_MAX;
    if (buffer_printf(&text, "no upstream took the message: %.*s", (int)reasons.len,
                      reasons.data) != 0)
        buffer_clear(&text);
    delivery_finish_with(d, MUX_OUTCOME_DEFERRED,
                         SMX_REPLY(451, 4, 4, 1, "no upstream took the message"), &text);
    buffer_free(&text);
}

/* ---- one attempt after the other ---- */

static void delivery_attempt_done(void *arg, const upstream_result *result);

void delivery_note(delivery *d, const char *reason)
{
    const char *separator = buffer_length(&d->reasons) > 0 ? "; " : "";
    d->temporary = true;
    if (buffer_printf(&d->reasons, "%s%s: %s", separator, delivery_upstream_name(d), reason) != 0)
        buffer_clear(&d->reasons);
}

/* Whether some upstream behind this one could be tried. */
static bool delivery_has_other(const delivery *d, uint64_t now)
{
    for (size_t i = d->next + 1; i < d->with.plan.choice_count; i++) {
        upstream_status status;
        if (upstream_is_plain(delivery_upstream(d, i)))
            return true;
        upstream_get_status(delivery_upstream(d, i), now, &status);
        if (status.usable == UPSTREAM_USABLE)
            return true;
    }
    return false;
}

static void delivery_settle(delivery *d, const upstream_settlement *settlement)
{
    mux_settle(d->worker, delivery_upstream(d, d->next), &d->admitted, settlement);
}

static int delivery_try(delivery *d, uint64_t now)
{
    size_t index = delivery_index(d, d->next);
    bool other = delivery_has_other(d, now);
    const upstream_options *o = mux_upstream_options(d->worker->mux, index);
    upstream_request request = {
        .deadline = d->deadline,
        .rules = o->rules,
        .rule_count = o->rule_count,
        .connect_ms = other ? CONNECT_MS : 0,
        .data_ms = other ? DATA_MS : 0,
        .done = delivery_attempt_done,
        .arg = d,
    };
    int error = d->cut != NULL ? cut_through_compose(d->cut, o, &request)
                               : compose_for(&d->sent, o, &request.submission);
    if (error == 0)
        error = upstream_pool_submit(d->worker->pools[index], &request, &d->attempt);
    if (error == 0)
        d->record->attempts++;
    return error;
}

/* Tries the one whose turn it is, if it may be tried. False: on to the next one. */
static bool delivery_admit(delivery *d, bool past_breaker)
{
    uint64_t now = loop_now(d->worker->loop);
    uint64_t recipients = d->cut != NULL ? cut_through_recipients(d->cut)
                                         : smx_transaction_envelope(d->tx)->recipient_count;
    switch (admission_ask_upstream(&d->door, delivery_upstream(d, d->next), delivery_options(d),
                                   recipients, past_breaker, &d->admitted)) {
    case ADMISSION_WAITS:
        return true;
    case ADMISSION_REFUSED:
        delivery_note(d, admission_reason(&d->admitted));
        return false;
    case ADMISSION_GRANTED:
        break;
    }
    int error = delivery_try(d, now);
    if (error != 0) {
        delivery_settle(d, &(upstream_settlement){.now = now});
        delivery_note(d, smx_error_text(error));
    }
    return error == 0;
}

/* Every upstream was skipped, some for their breaker alone: the best of those is tried anyway, which
 * is the one whose pause ends first (DESIGN 4.8). */
static bool delivery_try_past_breaker(delivery *d, uint64_t now)
{
    size_t best = SIZE_MAX;
    uint64_t earliest = UINT64_MAX;
    for (size_t i = 0; i < d->with.plan.choice_count; i++) {
        upstream_status status;
        upstream_get_status(delivery_upstream(d, i), now, &status);
        if (status.usable == UPSTREAM_BREAKER_OPEN && status.until < earliest) {
            best = i;
            earliest = status.until;
        }
    }
    if (best == SIZE_MAX || d->record->attempts > 0)
        return false;
    d->next = best;
    d->is_last_resort = true;
    return delivery_admit(d, true);
}

void delivery_next(delivery *d)
{
    uint64_t now = loop_now(d->worker->loop);
    if (d->cut != NULL && cut_through_goes_on(d->cut))
        return;
    bool over = d->worker->cut || d->client_gone || now >= d->deadline;
    for (; !over && d->next < d->with.plan.choice_count; d->next++) {
        if (delivery_admit(d, d->is_last_resort))
            return;
    }
    if (!over && !d->is_last_resort && delivery_try_past_breaker(d, now))
        return;
    if (over && d->next < d->with.plan.choice_count)
        delivery_note(d,
                      d->worker->cut ? "not tried: shutting down" : "not tried: the time was over");
    delivery_exhausted(d);
}

/* ---- what became of an attempt ---- */

static void delivery_log_attempt(delivery *d, const upstream_result *result, smx_log_level level,
                                 const char *event)
{
    mux_log_attempt(d->worker, delivery_upstream(d, d->next), result, level, event, d->tx);
}

/* Keeps the first refusal: it is what the client is told if all the others refuse too. When memory is
 * short the code alone must do. */
void delivery_keep_refusal(delivery *d, const upstream_result *result)
{
    buffer text = {0};
    if (d->refusal.code != 0)
        return;
    d->refusal = result->client->reply;
    d->refusal.text = (smx_slice){NULL, 0};
    if (mux_report_text(&text, delivery_upstream_name(d), &d->sent.envelope, result->client) == 0) {
        smx_slice composed = buffer_slice(&text);
        char *kept = smx_transaction_alloc(d->tx, composed.len + 1);
        if (kept != NULL) {
            memcpy(kept, composed.data, composed.len);
            d->refusal.text = slice_of(kept, composed.len);
        }
    }
    buffer_free(&text);
}

static void delivery_on_taken(delivery *d, const upstream_result *result)
{
    buffer text = {0};
    if (mux_report_text(&text, delivery_upstream_name(d), &d->sent.envelope, result->client) != 0)
        buffer_clear(&text);
    delivery_finish_with(d, MUX_OUTCOME_DELIVERED, SMX_REPLY(250, 2, 0, 0, "taken"), &text);
    buffer_free(&text);
}

/* On to the next one; the last resort is the end of it. */
void delivery_go_on(delivery *d)
{
    d->next = d->is_last_resort ? d->with.plan.choice_count : d->next + 1;
    delivery_next(d);
}

void delivery_heed(delivery *d, const upstream_result *result, mux_classified c)
{
    if (c.suspend)
        mux_suspend(d->worker, delivery_upstream(d, d->next), result, c.suspend_ms, d->tx);
    if (c.pause_ms > 0)
        upstream_pause(delivery_upstream(d, d->next), c.pause_ms);
}

void delivery_on_next(delivery *d, const upstream_result *result, mux_classified c)
{
    delivery_heed(d, result, c);
    if (!c.suspend)
        delivery_log_attempt(d, result, SMX_LOG_WARN, "attempt_failed");
    if (c.permanent)
        delivery_keep_refusal(d, result);
    else
        d->temporary = true;
    if (mux_report_reason(&d->reasons, delivery_upstream_name(d), result) != 0)
        buffer_clear(&d->reasons);
    delivery_go_on(d);
}

static void delivery_on_final(delivery *d, const upstream_result *result)
{
    d->refusal.code = 0;
    delivery_keep_refusal(d, result);
    delivery_finish(d, MUX_OUTCOME_REJECTED, &d->refusal);
}

static void delivery_on_unknown(delivery *d, const upstream_result *result)
{
    delivery_log_attempt(d, result, SMX_LOG_ERROR, "outcome_unknown");
    if (d->with.plan.on_unknown == MUX_UNKNOWN_FAILOVER && !d->worker->cut) {
        d->may_have_it = delivery_upstream_name(d);
        delivery_go_on(d);
        return;
    }
    const smx_reply unknown = delivery_unknown();
    delivery_finish(d, MUX_OUTCOME_UNKNOWN, &unknown);
}

static void delivery_attempt_done(void *arg, const upstream_result *result)
{
    delivery *d = arg;
    const upstream_options *o = delivery_options(d);
    mux_classified c = mux_classify(result, o->rules, o->rule_count);
    d->attempt = NULL;
    delivery_settle(d, &(upstream_settlement){
                           .now = loop_now(d->worker->loop),
                           .health = result->health,
                           .taken = c.action == MUX_ACTION_TAKEN,
                           .counts = c.action == MUX_ACTION_TAKEN || c.action == MUX_ACTION_UNKNOWN,
                           .took_ms = result->took_ms,
                       });
    if (d->cut != NULL && cut_through_takes_result(d->cut, result, &c))
        return;
    d->record->upstream = delivery_upstream_name(d);
    d->record->phase = result->client->phase;
    d->record->has_phase = true;
    switch (c.action) {
    case MUX_ACTION_TAKEN:
        delivery_on_taken(d, result);
        break;
    case MUX_ACTION_NEXT:
        delivery_on_next(d, result, c);
        break;
    case MUX_ACTION_FINAL:
        delivery_on_final(d, result);
        break;
    case MUX_ACTION_UNKNOWN:
        delivery_on_unknown(d, result);
        break;
    case MUX_ACTION_GIVEN_UP:
        delivery_exhausted(d);
        break;
    }
}

/* ---- the beginning ---- */

/* The client left before its reply: what has not reached its dot is given up (DESIGN 1.2). */
void delivery_client_gone(void *arg)
{
    delivery *d = arg;
    d->client_gone = true;
    if (d->attempt == NULL)
        (void)admission_interrupt(&d->door);
    else if (upstream_attempt_cancel(d->attempt) == SMX_E_LATE)
        d->client_gone = false; /* the whole message was handed over: its outcome counts */
}

void delivery_interrupt(list_node *node)
{
    delivery *d = list_member(node, delivery, node);
    if (d->attempt == NULL)
        (void)admission_interrupt(&d->door);
}

/* ---- limits of the user and the route: 450 4.7.1 (DESIGN 4.9) ---- */

smx_reply delivery_limit_reply(const quota_verdict *verdict, buffer *text)
{
    bool never = verdict->state == QUOTA_TOO_BIG;
    if (verdict->state == QUOTA_LEASING)
        return SMX_REPLY(451, 4, 3, 0, "what is used of your limit cannot be told, try later");
    smx_reply reply = never ? SMX_REPLY(550, 5, 7, 1, "more recipients than your limit allows")
                            : SMX_REPLY(450, 4, 7, 1, "your limit is used up, try later");
    if (buffer_printf(text,
                      never ? "more recipients than your limit allows: %s"
                            : "your limit is used up: %s",
                      verdict->why) == 0)
        reply.text = buffer_slice(text);
    return reply;
}

static void delivery_refuse_limit(delivery *d, const quota_verdict *verdict)
{
    buffer text = {0};
    smx_reply reply = delivery_limit_reply(verdict, &text);
    delivery_finish(d, reply.code / 100 == 5 ? MUX_OUTCOME_REJECTED : MUX_OUTCOME_DEFERRED, &reply);
    buffer_free(&text);
}

/* Also when the store has answered. */
void delivery_reserve(void *arg)
{
    delivery *d = arg;
    uint64_t recipients = smx_transaction_envelope(d->tx)->recipient_count;
    for (; d->limits_asked < MUX_QUOTAS; d->limits_asked++) {
        quota_verdict verdict;
        if (d->worker->cut || d->client_gone || d->with.quotas[d->limits_asked] == NULL)
            continue;
        switch (admission_ask_quota(&d->door, d->with.quotas[d->limits_asked], recipients,
                                    &d->reserved[d->limits_asked], &verdict)) {
        case ADMISSION_WAITS:
            return;
        case ADMISSION_REFUSED:
            delivery_refuse_limit(d, &verdict);
            return;
        case ADMISSION_GRANTED:
            break;
        }
    }
    delivery_next(d);
}

/* A repeat of a message that this upstream may have already goes nowhere else. */
static void delivery_restrict(delivery *d)
{
    size_t count = d->with.plan.choice_count;
    d->with.plan.choice_count = 0;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(upstream_name(delivery_upstream(d, i)), d->record->only_upstream) == 0) {
            d->order[0] = d->order[i];
            d->with.plan.choice_count = 1;
        }
    }
}

static delivery *delivery_new(mux_worker *worker, smx_transaction *tx, const mux_resolved *with)
{
    delivery *d = smx_transaction_alloc(tx, sizeof(*d));
    size_t *order = smx_transaction_alloc(tx, with->plan.choice_count * sizeof(*order));
    if (d == NULL || order == NULL)
        return NULL;
    *d = (delivery){
        .worker = worker,
        .tx = tx,
        .ticket = smx_transaction_ticket(tx),
        .with = *with,
        .record = smx_transaction_value(tx),
        .order = order,
        .again = {.fn = delivery_answer_again},
        .deadline = loop_now(worker->loop) + delivery_patience(&with->plan),
    };
    d->record->route = with->route;
    admission_begin(&d->door, worker->loop, d->deadline, delivery_reserve, d);
    if (compose_begin(&d->sent, tx, worker->mux->options->hostname, &with->plan) != 0) {
        compose_end(&d->sent);
        return NULL;
    }
    mux_select(worker->mux, &d->with, mux_worker_random(worker), smx_transaction_session(tx)->user,
               smx_transaction_envelope(tx), order);
    if (d->record->only_upstream != NULL)
        delivery_restrict(d);
    list_append(&worker->deliveries, &d->node);
    return d;
}

smx_reply mux_handle(void *arg, smx_transaction *tx)
{
    mux_worker *worker = arg;
    const mux_record *record = smx_transaction_value(tx);
    const smx_user *user = smx_transaction_user(tx);
    mux_resolved with;
    if (user == NULL)
        return SMX_REPLY(550, 5, 7, 1, "sending is only for users");
    if (worker->cut)
        return SMX_REPLY(451, 4, 3, 2, "shutting down, try again");
    if (record->cut != NULL && record->only_upstream != NULL)
        cut_through_abandon(record->cut); /* it may go through another upstream */
    if (record->cut != NULL)
        return cut_through_handle(record->cut);
    const mux_route *route;
    delivery *d = NULL;
    if (mux_route_of(worker->mux, tx, &route) == 0) {
        mux_resolve(user->data, route, &with);
        d = delivery_new(worker, tx, &with);
    }
    if (d == NULL)
        return SMX_REPLY(451, 4, 3, 0, "out of memory, try again");
    smx_transaction_on_gone(tx, delivery_client_gone, d);
    delivery_reserve(d);
    return SMX_LATER;
}
