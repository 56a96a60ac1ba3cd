/* Who is asked for, and what each is told (cut_internal.h). One recipient waits for its reply at a time,
 * the last one in the list. */
#include "base/clock.h"
#include "mail/envelope.h"
#include "mux/cut_internal.h"

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

void cut_answer_again(timer_entry *self)
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
void cut_answer_exhausted(cut_through *cut)
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

/* ---- the list ---- */

/* The next upstream hears nothing of those that the one before refused. */
void cut_drop_refused(cut_through *cut)
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
void cut_address(cut_through *cut)
{
    composition *sent = &cut->delivery.sent;
    sent->envelope.recipients = cut->envelope.recipients;
    sent->envelope.recipient_count = cut->envelope.recipient_count;
    cut->submission.envelope = &sent->envelope;
    cut->submission.required = cut->promised;
}

/* ---- recipients ---- */

/* What the refusal of one recipient means, as if it was the whole attempt's. */
mux_classified cut_classify_refusal(const cut_through *cut, upstream_result *result,
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
    if (c.action == MUX_ACTION_NEXT && cut->promised == 0) {
        cut_leave(cut, CUT_AFTER_REFUSAL);
        return;
    }
    delivery_heed(&cut->delivery, &result, c); /* for the messages that come */
    cut_answer(cut, reply);
}

void cut_on_recipient(void *arg, size_t index, const smx_reply *reply)
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
