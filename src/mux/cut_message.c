/* What comes behind DATA: the header section, the body as it grows, its end (cut_internal.h). */
#include "mail/envelope.h"
#include "mux/cut_internal.h"

static bool cut_is_same_envelope(const cut_through *cut, const smx_envelope *envelope)
{
    size_t at = 0;
    if (envelope->recipient_count != cut->promised)
        return false;
    for (size_t i = 0; i < cut->envelope.recipient_count; i++) {
        if (!cut->taken[i])
            continue;
        if (!slice_equal(envelope->recipients[at++].path.mailbox,
                         cut->envelope.recipients[i].path.mailbox))
            return false;
    }
    return slice_equal(envelope->mail.path.mailbox, cut->envelope.mail.path.mailbox);
}

bool cut_through_data(cut_through *cut, const smx_envelope *envelope)
{
    if (!cut_is_same_envelope(cut, envelope)) {
        cut_through_abandon(cut);
        return false;
    }
    cut->message = smx_message_share(smx_transaction_message(cut->delivery.tx));
    cut->submission.stage = SMX_SUBMISSION_DATA;
    cut_renew_deadline(cut);
    cut_advance_or_leave(cut);
    return true;
}

/* What hooks have made of the header section is kept, to be compared at the end. */
static int cut_keep_header(cut_through *cut)
{
    smx_slice original;
    smx_slice header = smx_transaction_header(cut->delivery.tx);
    int error = header.data == NULL ? SMX_E_NOMEM : smx_message_header(cut->message, &original);
    if (error != 0)
        return error;
    cut->header_edited = !slice_equal(header, original);
    return cut->header_edited ? arena_copy(&cut->memory, header, &cut->header) : 0;
}

static int cut_compose_header(cut_through *cut)
{
    delivery *d = &cut->delivery;
    int error = cut_keep_header(cut);
    if (error == 0)
        error = cut_begin_header(cut);
    cut->submission.stage = SMX_SUBMISSION_BODY;
    if (error == 0 && d->attempt != NULL)
        error = cut_compose(cut, delivery_options(d));
    return error;
}

/* Without its message the transaction is as good as over. */
static void cut_take_header(cut_through *cut)
{
    const delivery *d = &cut->delivery;
    cut->header_due = false;
    if (smx_transaction_message(d->tx) != cut->message)
        return;
    int error = cut_compose_header(cut);
    if (error == 0)
        error = cut_advance(cut);
    if (error != 0 && d->attempt != NULL)
        cut_leave(cut, CUT_AFTER_TROUBLE);
}

/* At the turn's end hooks' changes of this phase are made. */
void cut_through_header(cut_through *cut)
{
    cut->header_due = true;
    loop_at_turn_end(cut->delivery.worker->loop, &cut->grown);
}

void cut_grown(loop_turn_end *self)
{
    cut_through *cut = list_member(self, cut_through, grown);
    if (cut->header_due)
        cut_take_header(cut);
    else
        cut_advance_or_leave(cut);
}

void cut_through_grows(cut_through *cut)
{
    loop_at_turn_end(cut->delivery.worker->loop, &cut->grown);
}

/* Hooks and middleware may have changed what was sent already. */
static bool cut_is_same_message(const cut_through *cut)
{
    const smx_transaction *tx = cut->delivery.tx;
    smx_slice header = smx_transaction_header(tx);
    smx_slice original;
    if (smx_transaction_message(tx) != cut->message || header.data == NULL ||
        smx_message_header(cut->message, &original) != 0)
        return false;
    return slice_equal(header, cut->header_edited ? cut->header : original);
}

smx_reply cut_through_handle(cut_through *cut)
{
    delivery *d = &cut->delivery;
    if (cut->header_due)
        cut_take_header(cut);
    d->record->cut = NULL;
    d->ticket = smx_transaction_ticket(d->tx);
    cut->handled = true;
    cut->submission.stage = SMX_SUBMISSION_WHOLE;
    cut->submission.all_or_nothing = true;
    loop_cancel_turn_end(&cut->grown);
    cut_renew_deadline(cut);
    smx_transaction_on_gone(d->tx, delivery_client_gone, d);
    if (!cut_is_at_the_door(cut))
        delivery_reserve(d);
    return SMX_LATER;
}

/* The upstream was admitted for those recipients that were known then: before the dot its quota must
 * have room for all of them. */
static admission_answer cut_reserve_rest(cut_through *cut)
{
    delivery *d = &cut->delivery;
    quota_reservation *reserved = &d->admitted.reservation;
    quota *q = upstream_quota(delivery_upstream(d, d->next));
    quota_verdict verdict;
    if (q == NULL || reserved->recipients >= cut->promised)
        return ADMISSION_GRANTED;
    quota_release(q, reserved);
    return admission_ask_quota(&d->door, q, cut->promised, reserved, &verdict);
}

static void cut_end(cut_through *cut)
{
    if (cut->after != CUT_AFTER_NOTHING)
        return;
    if (!cut_is_same_message(cut)) {
        cut_leave(cut, CUT_AFTER_CHANGE);
        return;
    }
    switch (cut_reserve_rest(cut)) {
    case ADMISSION_GRANTED:
        cut_advance_or_leave(cut);
        break;
    case ADMISSION_REFUSED:
        cut_leave(cut, CUT_AFTER_QUOTA);
        break;
    case ADMISSION_WAITS:
        break;
    }
}

/* Nobody waits and nobody is promised: the next recipient begins anew. Or the message was refused on
 * its way, which the client is told at its end. */
static bool cut_has_nothing_to_send(const cut_through *cut)
{
    bool is_refused = cut->message != NULL && smx_transaction_message(cut->delivery.tx) == NULL;
    return !cut->handled && (cut_through_recipients(cut) == 0 || is_refused);
}

bool cut_through_goes_on(cut_through *cut)
{
    if (cut_is_at_the_door(cut) || cut_has_nothing_to_send(cut))
        return true;
    if (!cut->handled || cut->delivery.attempt == NULL)
        return false;
    cut_end(cut);
    return true;
}
