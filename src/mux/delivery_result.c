/* What became of an attempt: its upstream's record learns of it, and the message is taken, refused
 * for good, perhaps delivered, or goes on to the next upstream (DESIGN 4.3, 4.4). */
#include "mux/cut_through.h"
#include "mux/delivery_internal.h"

void delivery_settle(delivery *d, const upstream_settlement *settlement)
{
    mux_settle(d->worker, delivery_upstream(d, d->next), &d->admitted, settlement);
}

void delivery_note(delivery *d, const char *reason)
{
    const char *separator = buffer_length(&d->reasons) > 0 ? "; " : "";
    d->temporary = true;
    if (buffer_printf(&d->reasons, "%s%s: %s", separator, delivery_upstream_name(d), reason) != 0)
        buffer_clear(&d->reasons);
}

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
    buffer *text = &d->worker->reply_text;
    buffer_clear(text);
    if (mux_report_text(text, delivery_upstream_name(d), &d->sent.envelope, result->client) != 0)
        buffer_clear(text);
    delivery_finish_with(d, MUX_OUTCOME_DELIVERED, SMX_REPLY(250, 2, 0, 0, "taken"), text);
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
    delivery_finish_unknown(d);
}

void delivery_attempt_done(void *arg, const upstream_result *result)
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
