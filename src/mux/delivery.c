/* The delivery of one message: the selector orders the user's upstreams, and they are tried in turn
 * until one takes it, or refuses it for good, or nobody knows (DESIGN 4.1 to 4.5).
 *
 * A delivery lives in its transaction's memory and is gone with the reply. */
#include <stdio.h>

#include "base/clock.h"
#include "mail/rewrite_from.h"
#include "mux/mux_internal.h"

enum {
    DEADLINE_DEFAULT_MS = 30000,
    CONNECT_MS = 5000, /* while another usable upstream remains (DESIGN 4.2) */
    DATA_MS = 8000,
    REASONS_MAX = 400, /* octets of reasons that a client is told */
    ANSWER_AGAIN_MS = 100,
};

typedef struct delivery {
    list_node node;
    mux_worker *worker;
    smx_transaction *tx;
    smx_ticket ticket;
    mux_user *user;
    mux_record *record;
    size_t *order; /* indices of the user's choices */
    size_t next;   /* in `order` */
    uint64_t deadline;
    upstream_attempt *attempt;
    smx_envelope envelope; /* as this attempt sends it */
    buffer header;         /* as this attempt sends it */
    buffer reasons;
    size_t received;   /* octets of our own field at the start of `header` */
    smx_reply refusal; /* the first 5xx of an upstream; its text is in the transaction */
    timer_entry again; /* when there was no memory for the reply: the reply */
    uint16_t code;
    smx_enhanced enhanced;
    bool temporary; /* some upstream may take it later */
    bool client_gone;
} delivery;

static upstream *delivery_upstream(const delivery *d, size_t position)
{
    const mux_choice *choice = &d->user->options->choices[d->order[position]];
    return d->worker->mux->upstreams[choice->upstream];
}

static const char *delivery_upstream_name(const delivery *d)
{
    return upstream_get_options(delivery_upstream(d, d->next))->name;
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
    list_remove(&d->node);
    if (error != 0 && worker->log != NULL) {
        smx_log_field fields[] = {{"reason", slice_of_text(smx_error_text(error))}};
        worker->log(worker->log_arg, SMX_LOG_ERROR, "reply_lost", 0, fields, 1);
    }
    mux_worker_check_drained(worker);
}

static void delivery_answer_again(timer_entry *self)
{
    delivery *d = list_member(self, delivery, again);
    delivery_answer(d, &(smx_reply){d->code, d->enhanced, {NULL, 0}});
}

static void delivery_finish(delivery *d, mux_outcome outcome, const smx_reply *reply)
{
    d->record->outcome = outcome;
    d->record->has_outcome = true;
    smx_transaction_on_gone(d->tx, NULL, NULL);
    buffer_free(&d->header);
    buffer_free(&d->reasons);
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
static void delivery_exhausted(delivery *d)
{
    buffer text = {0};
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

/* ---- what an attempt sends ---- */

static int delivery_add_received(delivery *d)
{
    const smx_session_view *session = smx_transaction_session(d->tx);
    const smx_envelope *envelope = smx_transaction_envelope(d->tx);
    char tls[96];
    size_t len = 0;
    if (d->user->options->received == MUX_RECEIVED_OFF)
        return 0;
    bool full = d->user->options->received == MUX_RECEIVED_FULL;
    int tls_len = session->tls
                      ? snprintf(tls, sizeof(tls), "%.*s %.*s", (int)session->tls_protocol.len,
                                 session->tls_protocol.data, (int)session->tls_cipher.len,
                                 session->tls_cipher.data)
                      : 0;
    smx_received received = {
        .helo = full ? session->helo : (smx_slice){NULL, 0},
        .client = full ? &session->client : NULL,
        .by = slice_of_text(d->worker->mux->options->hostname),
        .protocol = smx_received_protocol(session->esmtp, false, envelope->mail.smtputf8,
                                          session->tls, session->authenticated),
        .id = smx_transaction_id(d->tx),
        .tls = slice_of(tls, tls_len < 0                     ? 0
                             : (size_t)tls_len < sizeof(tls) ? (size_t)tls_len
                                                             : sizeof(tls) - 1),
        .wall_ms = clock_wall_ms(),
    };
    if (envelope->recipient_count == 1)
        received.recipient = envelope->recipients[0].path.mailbox;
    int error = buffer_reserve(&d->header, SMX_RECEIVED_MAX);
    if (error == 0)
        error =
            smx_received_write(&received, d->header.data + d->header.end, SMX_RECEIVED_MAX, &len);
    if (error == 0)
        d->header.end += len;
    d->received = len;
    return error;
}

/* Replaces the sender, but never that of a bounce (DESIGN 4.11). */
static int delivery_rewrite(delivery *d, const upstream_options *o, smx_slice header)
{
    smx_slice address = slice_of_text(o->rewrite_from);
    int error = smx_mailbox_parse(address, SMX_PATH_UTF8, &d->envelope.mail.path);
    return error != 0 ? error : rewrite_from(header, address, o->reply_to_add, &d->header);
}

/* Fills envelope and header for this upstream; the message as it came follows where nothing of its
 * header section is changed. */
static int delivery_compose(delivery *d, const upstream_options *o, smx_submission *submission)
{
    const smx_message *message = smx_transaction_message(d->tx);
    smx_slice original = {NULL, 0};
    smx_slice header = smx_transaction_header(d->tx);
    int error = smx_message_header(message, &original);
    if (error != 0)
        return error;
    if (header.data == NULL)
        return SMX_E_NOMEM;
    bool edited = header.data != original.data || header.len != original.len;
    buffer_truncate(&d->header, d->received);
    d->envelope = *smx_transaction_envelope(d->tx);
    d->envelope.mail.has_auth = false;
    if (o->rewrite_from != NULL && d->envelope.mail.path.mailbox.len > 0) {
        error = delivery_rewrite(d, o, header);
        edited = true;
    } else if (edited) {
        error = buffer_append(&d->header, header);
    }
    *submission = (smx_submission){
        .envelope = &d->envelope,
        .header = buffer_slice(&d->header),
        .message = message,
        .body_offset = edited ? smx_message_body_offset(message) : 0,
        .all_or_nothing = true,
    };
    return error;
}

/* ---- one attempt after the other ---- */

static void delivery_attempt_done(void *arg, const upstream_result *result);

static void delivery_note(delivery *d, const char *reason)
{
    const char *separator = buffer_length(&d->reasons) > 0 ? "; " : "";
    d->temporary = true;
    if (buffer_printf(&d->reasons, "%s%s: %s", separator, delivery_upstream_name(d), reason) != 0)
        buffer_clear(&d->reasons);
}

/* Whether some upstream behind this one could be tried. */
static bool delivery_has_other(const delivery *d, uint64_t now)
{
    uint64_t until;
    for (size_t i = d->next + 1; i < d->user->options->choice_count; i++)
        if (!upstream_is_suspended(delivery_upstream(d, i), now, &until))
            return true;
    return false;
}

static int delivery_try(delivery *d, uint64_t now)
{
    const mux_choice *choice = &d->user->options->choices[d->order[d->next]];
    bool other = delivery_has_other(d, now);
    upstream_request request = {
        .deadline = d->deadline,
        .connect_ms = other ? CONNECT_MS : 0,
        .data_ms = other ? DATA_MS : 0,
        .done = delivery_attempt_done,
        .arg = d,
    };
    int error = delivery_compose(
        d, upstream_get_options(d->worker->mux->upstreams[choice->upstream]), &request.submission);
    if (error == 0)
        error = upstream_pool_submit(d->worker->pools[choice->upstream], &request, &d->attempt);
    if (error == 0)
        d->record->attempts++;
    return error;
}

static void delivery_next(delivery *d)
{
    uint64_t now = loop_now(d->worker->loop);
    for (; d->next < d->user->options->choice_count; d->next++) {
        uint64_t until;
        if (d->worker->cut || d->client_gone || now >= d->deadline) {
            delivery_note(d, d->worker->cut ? "not tried: shutting down"
                                            : "not tried: the time was over");
            break;
        }
        if (upstream_is_suspended(delivery_upstream(d, d->next), now, &until)) {
            delivery_note(d, "suspended: its credentials were refused");
            continue;
        }
        int error = delivery_try(d, now);
        if (error == 0)
            return;
        delivery_note(d, smx_error_text(error));
    }
    delivery_exhausted(d);
}

/* ---- what became of an attempt ---- */

static void delivery_log_attempt(delivery *d, const upstream_result *result, smx_log_level level,
                                 const char *event)
{
    buffer reason = {0};
    mux_worker *worker = d->worker;
    if (worker->log != NULL && mux_report_reason(&reason, delivery_upstream_name(d), result) == 0) {
        smx_log_field fields[] = {
            {"id", smx_transaction_id(d->tx)},
            {"upstream", slice_of_text(delivery_upstream_name(d))},
            {"phase", slice_of_text(smx_client_phase_text(result->client->phase))},
            {"reason", buffer_slice(&reason)},
        };
        worker->log(worker->log_arg, level, event, smx_transaction_session(d->tx)->id, fields,
                    sizeof(fields) / sizeof(fields[0]));
    }
    buffer_free(&reason);
}

static void delivery_suspend(delivery *d, const upstream_result *result)
{
    bool is_new = false;
    upstream *u = delivery_upstream(d, d->next);
    (void)upstream_suspend(u, loop_now(d->worker->loop), &is_new);
    if (is_new)
        delivery_log_attempt(d, result, SMX_LOG_ERROR, "upstream_suspended");
}

/* Keeps the first refusal: it is what the client is told if all the others refuse too. When memory is
 * short the code alone must do. */
static void delivery_keep_refusal(delivery *d, const upstream_result *result)
{
    buffer text = {0};
    if (d->refusal.code != 0)
        return;
    d->refusal = result->client->reply;
    d->refusal.text = (smx_slice){NULL, 0};
    if (mux_report_text(&text, delivery_upstream_name(d), &d->envelope, result->client) == 0) {
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
    upstream_resume(delivery_upstream(d, d->next));
    if (mux_report_text(&text, delivery_upstream_name(d), &d->envelope, result->client) != 0)
        buffer_clear(&text);
    delivery_finish_with(d, MUX_OUTCOME_DELIVERED, SMX_REPLY(250, 2, 0, 0, "taken"), &text);
    buffer_free(&text);
}

static void delivery_on_next(delivery *d, const upstream_result *result, mux_classified c)
{
    if (c.suspend)
        delivery_suspend(d, result);
    else
        delivery_log_attempt(d, result, SMX_LOG_WARN, "attempt_failed");
    if (c.permanent)
        delivery_keep_refusal(d, result);
    else
        d->temporary = true;
    if (mux_report_reason(&d->reasons, delivery_upstream_name(d), result) != 0)
        buffer_clear(&d->reasons);
    d->next++;
    delivery_next(d);
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
    if (d->user->options->on_unknown == MUX_UNKNOWN_FAILOVER && !d->worker->cut) {
        d->temporary = true;
        d->next++;
        delivery_next(d);
        return;
    }
    delivery_finish(d, MUX_OUTCOME_UNKNOWN,
                    &SMX_REPLY(451, 4, 4, 2,
                               "the provider was lost after it had the whole message: it may or "
                               "may not have been delivered"));
}

static void delivery_attempt_done(void *arg, const upstream_result *result)
{
    delivery *d = arg;
    const upstream_options *o = upstream_get_options(delivery_upstream(d, d->next));
    mux_classified c = mux_classify(result, o->rules, o->rule_count);
    d->attempt = NULL;
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
static void delivery_client_gone(void *arg)
{
    delivery *d = arg;
    d->client_gone = true;
    if (d->attempt != NULL && upstream_attempt_cancel(d->attempt) == SMX_E_LATE)
        d->client_gone = false; /* the whole message was handed over: its outcome counts */
}

static delivery *delivery_new(mux_worker *worker, smx_transaction *tx, mux_user *user)
{
    size_t count = user->options->choice_count;
    delivery *d = smx_transaction_alloc(tx, sizeof(*d));
    size_t *order = smx_transaction_alloc(tx, count * sizeof(*order));
    if (d == NULL || order == NULL)
        return NULL;
    uint32_t patience = user->options->deadline_ms;
    *d = (delivery){
        .worker = worker,
        .tx = tx,
        .ticket = smx_transaction_ticket(tx),
        .user = user,
        .record = smx_transaction_value(tx),
        .order = order,
        .again = {.fn = delivery_answer_again},
        .deadline = loop_now(worker->loop) + (patience == 0 ? DEADLINE_DEFAULT_MS : patience),
    };
    if (delivery_add_received(d) != 0) {
        buffer_free(&d->header);
        return NULL;
    }
    user->options->selector->order(user->options, &user->selection, mux_worker_random(worker),
                                   order);
    list_append(&worker->deliveries, &d->node);
    return d;
}

smx_reply mux_handle(void *arg, smx_transaction *tx)
{
    mux_worker *worker = arg;
    const smx_user *user = smx_transaction_user(tx);
    if (user == NULL)
        return SMX_REPLY(550, 5, 7, 1, "sending is only for users");
    if (worker->cut)
        return SMX_REPLY(451, 4, 3, 2, "shutting down, try again");
    delivery *d = delivery_new(worker, tx, user->data);
    if (d == NULL)
        return SMX_REPLY(451, 4, 3, 0, "out of memory, try again");
    smx_transaction_on_gone(tx, delivery_client_gone, d);
    delivery_next(d);
    return SMX_LATER;
}
