/* The end of a delivery: its outcome is recorded, and its transaction gets the one reply that it
 * waits for (DESIGN 4.4, 4.5). */
#include "mux/cut_through.h"
#include "mux/delivery_internal.h"

enum {
    REASONS_MAX = 400, /* octets of reasons that a client is told */
    ANSWER_AGAIN_MS = 100,
};

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

static smx_reply delivery_unknown(void)
{
    return SMX_REPLY(451, 4, 4, 2,
                     "the provider was lost after it had the whole message: it may or may not have "
                     "been delivered");
}

/* What one may have is not refused, put off or given up, whatever others said of it (DESIGN 4.4). */
void delivery_finish(delivery *d, mux_outcome outcome, const smx_reply *reply)
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

void delivery_finish_with(delivery *d, mux_outcome outcome, smx_reply reply, const buffer *text)
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

void delivery_finish_unknown(delivery *d)
{
    const smx_reply unknown = delivery_unknown();
    delivery_finish(d, MUX_OUTCOME_UNKNOWN, &unknown);
}
