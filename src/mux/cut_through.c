/* A delivery while its message arrives (cut_through.h). It owns itself from the first RCPT on, and what
 * its attempt looks at: the recipients, the composed header, a share of the message, which is the copy
 * for replay. The transaction may be gone before the attempt has ended. */
#include "mux/cut_through.h"

#include <stdlib.h>

#include "base/clock.h"
#include "mail/envelope.h"

/* What is done when the attempt that is given up has ended. */
typedef enum cut_after {
    CUT_AFTER_NOTHING, /* it is not given up */
    CUT_AFTER_REFUSAL, /* the next upstream is asked for the recipient that this one refused */
    CUT_AFTER_TROUBLE, /* the next one is tried: this one could not be told more */
    CUT_AFTER_CHANGE,  /* the same one again: the message is another one now */
    CUT_AFTER_QUOTA,   /* the next one is tried: this one has no quota left for all recipients */
    CUT_AFTER_ABANDON, /* nothing */
} cut_after;

struct cut_through {
    delivery delivery;
    arena memory;
    smx_envelope
        envelope; /* the sender as the client named it, and who is asked for here: those that
                              were promised, those that this upstream refused, one that waits */
    size_t capacity;
    bool *
        taken; /* for each of these: this upstream or one before took it: the client was told 250 */
    size_t promised; /* how many are */
    smx_message *message;
    smx_submission submission; /* as far as the client has come */
    cut_after after;
    bool handled;        /* the message is whole: from here on it is a delivery like any other */
    bool lost;           /* no upstream is left for those that were promised */
    bool fresh;          /* 421 to a recipient or to DATA: once more on a fresh connection */
    bool answered;       /* a recipient has its reply from this attempt */
    bool header_edited;  /* hooks have changed the header section ... */
    smx_slice header;    /* ... to this */
    loop_turn_end grown; /* tells the attempt at the turn's end */

    /* The recipient that waits for its reply. */
    bool waiting;
    smx_hooks *hooks;
    smx_ticket ticket;
    smx_reply refusal; /* the last upstream's own; code 0: none */
    smx_reply answer;  /* without memory for it: the answer, without its text, later */
    timer_entry again;
};

enum { CUT_AGAIN_MS = 100, CUT_REASONS_MAX = 400 };

/* ---- the recipient's answer ---- */

static void cut_give_answer(cut_through *cut, const smx_reply *reply)
{
    const mux_worker *worker = cut->delivery.worker;
    bool taken = reply->code / 100 == 2;
    smx_verdict verdict = {.kind = taken ? SMX_CONTINUE : SMX_REPLY_WITH, .reply = *reply};
    if (smx_hooks_answer(cut->hooks, cut->ticket, &verdict) != SMX_E_NOMEM)
        return; /* gone is gone: the reset comes */
    cut->answer = (smx_reply){.code = reply->code, .enhanced = reply->enhanced};
    timer_set(loop_timers(worker->loop), &cut->again, loop_now(worker->loop) + CUT_AGAIN_MS);
}

static void cut_answer_again(timer_entry *self)
{
    cut_through *cut = list_member(self, cut_through, again);
    cut_give_answer(cut, &cut->answer);
}

static void cut_answer(cut_through *cut, const smx_reply *reply)
{
    if (!cut->waiting)
        return;
    cut->waiting = false;
    cut_give_answer(cut, reply);
}

static void cut_keep_refusal(cut_through *cut, const smx_reply *reply)
{
    cut->refusal = *reply;
    if (arena_copy(&cut->memory, reply->text, &cut->refusal.text) != 0)
        cut->refusal.text = (smx_slice){NULL, 0};
}

/* What a recipient is told whom no upstream takes: 5xx only if every one refused for good, else the last
 * one's own 4xx, or why none of them could be asked. */
static void cut_answer_exhausted(cut_through *cut)
{
    const delivery *d = &cut->delivery;
    buffer text = {0};
    smx_reply reply = SMX_REPLY(451, 4, 4, 1, "no upstream takes it now");
    if (!d->temporary && d->refusal.code != 0) {
        reply = d->refusal;
    } else if (cut->refusal.code / 100 == 4) {
        reply = cut->refusal;
    } else {
        smx_slice reasons = buffer_slice(&d->reasons);
        if (reasons.len > CUT_REASONS_MAX)
            reasons.len = CUT_REASONS_MAX;
        if (buffer_printf(&text, "no upstream takes it now: %.*s", (int)reasons.len,
                          reasons.data) == 0)
            reply.text = buffer_slice(&text);
    }
    cut_answer(cut, &reply);
    buffer_free(&text);
}

/* ---- the attempt ---- */

static void cut_renew_deadline(cut_through *cut)
{
    delivery *d = &cut->delivery;
    d->deadline = loop_now(d->worker->loop) + delivery_patience(&d->with.plan);
    d->door.deadline = d->deadline;
}

/* The store is being asked, or a window waited for. */
static bool cut_is_at_the_door(const cut_through *cut)
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
static void cut_leave(cut_through *cut, cut_after after)
{
    cut->after = after;
    int error = upstream_attempt_cancel(cut->delivery.attempt);
    (void)error; /* too late means that it has a result */
}

static int cut_advance(cut_through *cut)
{
    const delivery *d = &cut->delivery;
    if (d->attempt == NULL || cut->after != CUT_AFTER_NOTHING)
        return 0;
    int error = upstream_attempt_advance(d->attempt, &cut->submission, d->deadline);
    return error == SMX_E_LATE ? 0 : error;
}

static void cut_advance_or_leave(cut_through *cut)
{
    if (cut_advance(cut) != 0)
        cut_leave(cut, CUT_AFTER_TROUBLE);
}

/* The next upstream hears nothing of those that the one before refused. */
static void cut_drop_refused(cut_through *cut)
{
    size_t kept = 0;
    smx_rcpt *recipients = (smx_rcpt *)(uintptr_t)cut->envelope.recipients;
    for (size_t i = 0; i < cut->envelope.recipient_count; i++) {
        bool waits = cut->waiting && i + 1 == cut->envelope.recipient_count;
        if (!cut->taken[i] && !waits)
            continue;
        recipients[kept] = recipients[i];
        cut->taken[kept++] = cut->taken[i];
    }
    cut->envelope.recipient_count = kept;
}

/* The recipients, as they stand in our list, under the sender of this upstream. */
static void cut_address(cut_through *cut)
{
    composition *sent = &cut->delivery.sent;
    sent->envelope.recipients = cut->envelope.recipients;
    sent->envelope.recipient_count = cut->envelope.recipient_count;
    cut->submission.envelope = &sent->envelope;
    cut->submission.required = cut->promised;
}

/* Keeps the stage. */
static int cut_compose(cut_through *cut, const upstream_options *o)
{
    delivery *d = &cut->delivery;
    smx_submission_stage stage = cut->submission.stage;
    bool headed = stage == SMX_SUBMISSION_BODY || stage == SMX_SUBMISSION_WHOLE;
    cut->submission = (smx_submission){0};
    int error = headed ? compose_for(&d->sent, o, &cut->submission)
                       : compose_envelope(&d->sent, &cut->envelope, o);
    cut->submission.stage = stage;
    cut->submission.all_or_nothing = stage == SMX_SUBMISSION_WHOLE;
    cut_address(cut);
    return error;
}

static void cut_on_recipient(void *arg, size_t index, const smx_reply *reply);

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

/* ---- recipients ---- */

/* What the refusal of one recipient means, as if it was the whole attempt's. */
static mux_classified cut_classify_refusal(const cut_through *cut, upstream_result *result,
                                           smx_client_result *client, const smx_reply *reply)
{
    const delivery *d = &cut->delivery;
    const upstream_options *o = delivery_options(d);
    client->outcome = SMX_OUTCOME_REFUSED;
    client->phase = SMX_CLIENT_PHASE_RCPT;
    client->refused = cut->envelope.recipient_count - 1;
    client->reply = *reply;
    result->client = client;
    return mux_classify(result, o->rules, o->rule_count);
}

static void cut_recipient_refused(cut_through *cut, const smx_reply *reply)
{
    smx_client_result client = {.detail = ""};
    upstream_result result = {.client = NULL};
    mux_classified c = cut_classify_refusal(cut, &result, &client, reply);
    cut_keep_refusal(cut, reply);
    if (c.action == MUX_ACTION_NEXT && cut->promised == 0)
        cut_leave(cut, CUT_AFTER_REFUSAL);
    else
        cut_answer(cut, reply);
}

static void cut_on_recipient(void *arg, size_t index, const smx_reply *reply)
{
    delivery *d = arg;
    cut_through *cut = d->cut;
    bool last = index + 1 == cut->envelope.recipient_count;
    cut->answered = true;
    if (!cut->waiting || !last || cut->after != CUT_AFTER_NOTHING)
        return;
    if (reply->code / 100 != 2) {
        cut_recipient_refused(cut, reply);
        return;
    }
    cut->taken[index] = true;
    cut->promised++;
    cut->submission.required = cut->promised;
    cut_answer(cut, reply);
}

/* Every upstream is asked anew for a recipient as long as nothing is promised. */
static void cut_start_over(cut_through *cut)
{
    delivery *d = &cut->delivery;
    d->next = 0;
    d->is_last_resort = false;
    d->temporary = false;
    d->refusal.code = 0;
    buffer_clear(&d->reasons);
}

static int cut_add_recipient(cut_through *cut, const smx_rcpt *rcpt)
{
    smx_rcpt copy;
    size_t capacity = cut->capacity;
    int error = envelope_copy_rcpt(&cut->memory, rcpt, &copy);
    if (error == 0)
        error = envelope_add_rcpt(&cut->envelope, &cut->memory, &copy, &cut->capacity);
    if (error == 0 && cut->capacity != capacity) {
        bool *taken = arena_calloc(&cut->memory, cut->capacity * sizeof(*taken));
        if (taken == NULL) {
            cut->envelope.recipient_count--;
            cut->capacity = capacity;
            return SMX_E_NOMEM;
        }
        if (capacity > 0)
            memcpy(taken, cut->taken, capacity * sizeof(*taken));
        cut->taken = taken;
    }
    if (error == 0)
        cut->taken[cut->envelope.recipient_count - 1] = false;
    return error;
}

/* It cannot be put to an upstream: as good as refused. */
static void cut_unsendable(cut_through *cut, int error)
{
    cut->envelope.recipient_count--;
    cut_address(cut);
    if (error == SMX_E_INVALID)
        cut_answer(cut, &SMX_REPLY(553, 5, 1, 3, "this address cannot be sent on"));
    else
        cut_answer(cut, &SMX_REPLY(451, 4, 3, 0, "out of memory, try again"));
}

/* The limits of the user and the route, which are asked in earnest at the dot: true if one has no room
 * for this recipient, who is told. */
static bool cut_is_over_limit(cut_through *cut)
{
    for (size_t i = 0; i < MUX_QUOTAS; i++) {
        quota *q = cut->delivery.with.quotas[i];
        quota_verdict verdict = {.state = QUOTA_OK};
        if (q != NULL)
            verdict = quota_look(q, clock_wall_ms(), cut->promised + 1);
        if (verdict.state == QUOTA_OK)
            continue;
        buffer text = {0};
        smx_reply reply = delivery_limit_reply(&verdict, &text);
        cut->envelope.recipient_count--;
        cut_answer(cut, &reply);
        buffer_free(&text);
        return true;
    }
    return false;
}

/* It is asked for here, or with the next attempt, or a first one begins. */
static void cut_ask(cut_through *cut)
{
    delivery *d = &cut->delivery;
    if (cut->lost) {
        cut_answer_exhausted(cut);
    } else if (d->attempt != NULL) {
        cut_address(cut);
        int error = cut_advance(cut);
        if (error != 0)
            cut_unsendable(cut, error);
    } else if (!cut_is_at_the_door(cut)) {
        cut_start_over(cut);
        delivery_next(d);
    }
}

int cut_through_recipient(cut_through *cut, const smx_rcpt *rcpt, smx_hooks *hooks,
                          smx_ticket ticket)
{
    int error = cut_add_recipient(cut, rcpt);
    if (error != 0)
        return error;
    cut->hooks = hooks;
    cut->ticket = ticket;
    cut->waiting = true;
    cut->refusal.code = 0;
    cut_renew_deadline(cut);
    if (!cut_is_over_limit(cut))
        cut_ask(cut);
    return 0;
}

uint64_t cut_through_recipients(const cut_through *cut)
{
    return cut->promised + cut->waiting;
}

/* ---- the message ---- */

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
static int cut_keep_header(cut_through *cut, smx_slice header)
{
    smx_slice original;
    int error = smx_message_header(cut->message, &original);
    cut->header_edited = error == 0 && !slice_equal(header, original);
    if (error == 0 && cut->header_edited)
        error = arena_copy(&cut->memory, header, &cut->header);
    return error;
}

void cut_through_header(cut_through *cut, smx_slice header)
{
    delivery *d = &cut->delivery;
    int error = cut_keep_header(cut, header);
    if (error == 0)
        error = compose_begin(&d->sent, d->tx, d->worker->mux->options->hostname, &d->with.plan);
    cut->submission.stage = SMX_SUBMISSION_BODY;
    if (d->attempt == NULL)
        return;
    if (error == 0)
        error = cut_compose(cut, delivery_options(d));
    if (error == 0)
        error = cut_advance(cut);
    if (error != 0)
        cut_leave(cut, CUT_AFTER_TROUBLE);
}

static void cut_grown(loop_turn_end *self)
{
    cut_through *cut = list_member(self, cut_through, grown);
    cut_advance_or_leave(cut);
}

void cut_through_grows(cut_through *cut)
{
    if (cut->submission.stage == SMX_SUBMISSION_BODY)
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

bool cut_through_goes_on(cut_through *cut)
{
    if (cut_is_at_the_door(cut))
        return true;
    if (!cut->handled || cut->delivery.attempt == NULL)
        return false;
    cut_end(cut);
    return true;
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
    record->cut = cut;
    mux_select(worker->mux, with, mux_worker_random(worker), user, &to_first, order);
    list_append(&worker->deliveries, &cut->delivery.node);
    *out = cut;
    return 0;
}
