/* A delivery while its message arrives (cut_through.h). It owns itself from the first RCPT on, and what
 * its attempt looks at: the recipients, the composed header, a share of the message, which is the copy
 * for replay. The transaction may be gone before the attempt has ended. */
#include <stdlib.h>

#include "mail/envelope.h"
#include "mux/cut_internal.h"

/* ---- the attempt ---- */

void cut_renew_deadline(cut_through *cut)
{
    delivery *d = &cut->delivery;
    d->deadline = loop_now(d->worker->loop) + delivery_patience(&d->with.plan);
    d->door.deadline = d->deadline;
}

/* The store is being asked, or a window waited for. */
bool cut_is_at_the_door(const cut_through *cut)
{
    const admission *door = &cut->delivery.door;
    return door->awaited != NULL || door->timer.node.owner != NULL;
}

/* What was waited for has come, or is not waited for any more. */
static void cut_go_on(void *arg)
{
    delivery *d = arg;
    if (d->cut->after == CUT_AFTER_ABANDON)
        cut_through_free(d->cut);
    else if (d->cut->handled)
        delivery_reserve(d);
    else
        delivery_next(d);
}

/* Gives the attempt up; what comes then is said by `after`. */
void cut_leave(cut_through *cut, cut_after after)
{
    cut->after = after;
    int error = upstream_attempt_cancel(cut->delivery.attempt);
    (void)error; /* too late means that it has a result */
}

int cut_advance(cut_through *cut)
{
    const delivery *d = &cut->delivery;
    if (d->attempt == NULL || cut->after != CUT_AFTER_NOTHING)
        return 0;
    int error = upstream_attempt_advance(d->attempt, &cut->submission, d->deadline);
    return error == SMX_E_LATE ? 0 : error;
}

void cut_advance_or_leave(cut_through *cut)
{
    if (cut_advance(cut) != 0)
        cut_leave(cut, CUT_AFTER_TROUBLE);
}

int cut_begin_header(cut_through *cut)
{
    delivery *d = &cut->delivery;
    if (cut->begun)
        return 0;
    compose_end(&d->sent);
    int error = compose_begin(&d->sent, d->tx, &d->with.plan, &d->worker->composer);
    cut->begun = error == 0;
    return error;
}

/* Keeps the stage. */
int cut_compose(cut_through *cut, const upstream_options *o)
{
    delivery *d = &cut->delivery;
    smx_submission_stage stage = cut->submission.stage;
    bool headed = stage == SMX_SUBMISSION_BODY || stage == SMX_SUBMISSION_WHOLE;
    cut->submission = (smx_submission){0};
    int error = headed ? cut_begin_header(cut) : compose_envelope(&d->sent, &cut->envelope, o);
    if (headed && error == 0)
        error = compose_for(&d->sent, o, &cut->submission);
    cut->submission.stage = stage;
    cut->submission.all_or_nothing = stage == SMX_SUBMISSION_WHOLE;
    cut_address(cut);
    return error;
}

int cut_through_compose(cut_through *cut, const upstream_options *o, upstream_request *request)
{
    cut_drop_refused(cut);
    int error = cut_compose(cut, o);
    cut->answered = false;
    request->submission = cut->submission;
    request->fresh = cut->fresh;
    request->recipient = cut_on_recipient;
    return error;
}

/* ---- what became of an attempt ---- */

/* 421 closes a connection; it says nothing of the message (DESIGN 4.3). Before a recipient is answered
 * the attempt sees to it. */
static bool cut_is_mere_421(const cut_through *cut, const smx_client_result *r)
{
    const upstream_options *o = delivery_options(&cut->delivery);
    return upstream_rules_match(o->rules, o->rule_count, r->phase, &r->reply) == NULL &&
           cut->answered && !cut->fresh && r->reply.code == 421 &&
           r->phase < SMX_CLIENT_PHASE_FINAL &&
           !(r->reply.enhanced.class_digit == 4 && r->reply.enhanced.subject == 7);
}

/* The upstream refused the first recipient, which another one might take. */
static void cut_next_for_recipient(cut_through *cut, const upstream_result *result)
{
    smx_client_result client = *result->client;
    upstream_result refused = *result;
    smx_reply reply = cut->refusal;
    mux_classified c = cut_classify_refusal(cut, &refused, &client, &reply);
    delivery_on_next(&cut->delivery, &refused, c);
}

/* No upstream is left: the recipient that waits is told now, those that were promised at the dot. */
static void cut_lose(cut_through *cut)
{
    cut_answer_exhausted(cut);
    cut->lost = cut->promised > 0;
}

/* A rule says that nobody else need be asked. */
static void cut_refused_for_good(cut_through *cut, const upstream_result *result)
{
    delivery *d = &cut->delivery;
    d->refusal.code = 0;
    delivery_keep_refusal(d, result);
    d->temporary = false;
    d->next = d->with.plan.choice_count;
    cut_lose(cut);
}

/* Of an attempt that was given up. */
static bool cut_takes_end(cut_through *cut, const upstream_result *result, mux_classified *c)
{
    cut_after after = cut->after;
    cut->after = CUT_AFTER_NOTHING;
    switch (after) {
    case CUT_AFTER_ABANDON:
        cut_through_free(cut);
        return true;
    case CUT_AFTER_REFUSAL:
        cut_next_for_recipient(cut, result);
        return true;
    case CUT_AFTER_CHANGE:
        delivery_next(&cut->delivery);
        return true;
    case CUT_AFTER_QUOTA:
        delivery_note(&cut->delivery, "its quota has no room for all recipients");
        delivery_go_on(&cut->delivery);
        return true;
    case CUT_AFTER_TROUBLE:
    case CUT_AFTER_NOTHING:
        break;
    }
    if (c->action == MUX_ACTION_GIVEN_UP)
        c->action = MUX_ACTION_NEXT;
    return false;
}

bool cut_through_takes_result(cut_through *cut, const upstream_result *result, mux_classified *c)
{
    const smx_client_result *r = result->client;
    if (cut->delivery.client_gone && cut->after != CUT_AFTER_ABANDON)
        return false;
    if (!cut->waiting && !cut->handled)
        cut_renew_deadline(cut);
    if (cut->after != CUT_AFTER_NOTHING && cut_takes_end(cut, result, c))
        return true;
    if (cut_is_mere_421(cut, r) && c->action == MUX_ACTION_NEXT) {
        cut->fresh = true;
        delivery_next(&cut->delivery);
        return true;
    }
    cut->fresh = false;
    /* The client was told 250 for this recipient: another one may take it (DESIGN 4.2). */
    if (r->outcome == SMX_OUTCOME_REFUSED && r->phase == SMX_CLIENT_PHASE_RCPT) {
        c->action = MUX_ACTION_NEXT;
        c->permanent = false;
    }
    if (cut->handled || c->action != MUX_ACTION_FINAL)
        return false;
    cut_refused_for_good(cut, result);
    return true;
}

bool cut_through_exhausted(cut_through *cut)
{
    if (!cut->handled)
        cut_lose(cut);
    return !cut->handled;
}

/* ---- life ---- */

static void cut_free(cut_through *cut)
{
    delivery *d = &cut->delivery;
    mux_worker *worker = d->worker;
    list_remove(&d->node);
    compose_end(&d->sent);
    buffer_free(&d->reasons);
    smx_message_free(cut->message);
    arena_free(&cut->memory);
    free(cut);
    mux_worker_check_drained(worker);
}

/* The transaction is not looked at any more. */
void cut_through_free(cut_through *cut)
{
    delivery *d = &cut->delivery;
    d->record = NULL;
    d->tx = NULL;
    cut->waiting = false;
    cut->after = CUT_AFTER_ABANDON;
    timer_clear(&d->again);
    timer_clear(&cut->again);
    loop_cancel_turn_end(&cut->grown);
    if (d->attempt != NULL)
        cut_leave(cut, CUT_AFTER_ABANDON);
    else if (!admission_interrupt(&d->door))
        cut_free(cut);
}

void cut_through_abandon(cut_through *cut)
{
    cut->delivery.record->cut = NULL;
    cut_through_free(cut);
}

int cut_through_new(mux_worker *worker, smx_transaction *tx, const mux_resolved *with,
                    smx_slice user, const smx_envelope *envelope, const smx_rcpt *first,
                    cut_through **out)
{
    cut_through *cut = calloc(1, sizeof(*cut));
    mux_record *record = mux_record_of(worker, tx);
    if (cut == NULL || record == NULL) {
        free(cut);
        return SMX_E_NOMEM;
    }
    const smx_envelope to_first = {
        .mail = envelope->mail, .recipients = first, .recipient_count = 1};
    size_t *order = arena_alloc(&cut->memory, with->plan.choice_count * sizeof(*order));
    if (order == NULL || envelope_set_mail(&cut->envelope, &cut->memory, &envelope->mail) != 0) {
        arena_free(&cut->memory);
        free(cut);
        return SMX_E_NOMEM;
    }
    cut->delivery = (delivery){
        .worker = worker,
        .tx = tx,
        .with = *with,
        .record = record,
        .order = order,
        .again = {.fn = delivery_answer_again},
        .cut = cut,
    };
    cut->submission.stage = SMX_SUBMISSION_RECIPIENTS;
    cut->grown.fn = cut_grown;
    cut->again.fn = cut_answer_again;
    admission_begin(&cut->delivery.door, worker->loop, 0, cut_go_on, &cut->delivery);
    record->route = with->route;
    record->taken = with->taken;
    record->cut = cut;
    mux_select(worker->mux, with, mux_worker_random(worker), user, &to_first, order);
    list_append(&worker->deliveries, &cut->delivery.node);
    *out = cut;
    return 0;
}
