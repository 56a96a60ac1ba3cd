/* The delivery of one message: the selector orders the user's upstreams, and they are tried in turn
 * until one takes it, or refuses it for good, or nobody knows (DESIGN 4.1 to 4.5).
 *
 * A delivery after DATA lives in its transaction's memory and is gone with the reply. One that cuts
 * through begins at the first RCPT: where it differs cut_through.c is asked. */
#include "mux/cut_through.h"
#include "mux/delivery_internal.h"

enum {
    CONNECT_MS = 5000, /* while another usable upstream remains (DESIGN 4.2) */
    DATA_MS = 8000,
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

const char *delivery_upstream_name(const delivery *d)
{
    return upstream_name(delivery_upstream(d, d->next));
}

/* ---- one attempt after the other ---- */

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
    if (compose_begin(&d->sent, tx, &with->plan, &worker->composer) != 0) {
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
