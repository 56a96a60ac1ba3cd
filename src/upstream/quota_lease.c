/* A quota's dealings with the store: one question at a time for each limit. A question holds a share
 * of the quota, so that its answer always finds it; a limit that a reload dropped meanwhile is freed
 * by the answer. */
#include <stdlib.h>

#include "upstream/quota_internal.h"

enum { RETRY_MS = 1000, LEASE_SHARE = 100 };

uint64_t quota_free_lease(const quota *q, const quota_count *c)
{
    if (c->key == NULL)
        return UINT64_MAX;
    uint64_t spent = c->usage.unsettled + quota_in_flight(q, c);
    return c->lease > spent ? c->lease - spent : 0;
}

static uint64_t quota_block(const quota_count *c)
{
    return c->limit.amount < LEASE_SHARE ? 1 : c->limit.amount / LEASE_SHARE;
}

void quota_count_free(quota_count *c)
{
    if (c == NULL)
        return;
    calendar_zone_free(c->zone);
    free(c->key);
    free(c);
}

void quota_unlock_and_drop(quota *q)
{
    bool last = --q->shares == 0;
    (void)pthread_mutex_unlock(&q->mutex);
    if (!last)
        return;
    (void)pthread_mutex_destroy(&q->mutex);
    free(q->counts);
    free(q->name);
    free(q);
}

/* ---- answers, on the store's thread ---- */

static void quota_tell_waiters(quota *q)
{
    while (q->waiters.first != NULL) {
        list_node *first = q->waiters.first;
        quota_waiter *w = list_member(first, quota_waiter, node);
        list_remove(first); /* before the post: once posted the waiter may be gone at any time */
        if (smx_loop_post(w->loop, w->told, w->arg) == 0)
            continue;
        list_prepend(&q->waiters, first); /* no memory: the next answer tells it */
        return;
    }
}

static void quota_take_answer(quota_count *c, int error, const store_lease_answer *answer)
{
    c->failed = error != 0;
    if (error != 0) {
        c->refused_until_ms = c->asked_ms + RETRY_MS;
        return;
    }
    /* Without others, what the store refuses is what the parts of the window say as well. */
    if (answer->granted < c->wanted && answer->others > 0)
        c->refused_until_ms = c->asked_ms + RETRY_MS;
    c->is_known = true;
    c->lease = answer->granted;
    usage_settle(&c->usage, c->told, c->told_count, answer->used, answer->used_count);
}

/* Tells the store what was used, and that nothing is leased any more. */
static void quota_give_back(quota *q, quota_count *c)
{
    store_use used[USAGE_PARTS];
    const store_lease_request r = {
        .key = slice_of_text(c->key),
        .owner = c->owner,
        .window = c->usage.number,
        .span = c->usage.part_count,
        .used = used,
        .used_count = usage_unsettled(&c->usage, used),
        .expires_ms = c->usage.now_ms + 2 * c->limit.window_ms,
    };
    (void)!store_lease(q->store, &r); /* no memory: the lease counts as used at the next start */
}

void quota_let_go(quota *q, quota_count *c)
{
    usage_add(&c->usage, quota_in_flight(q, c)); /* it may become used, and nobody will tell */
    c->is_dropped = true;
    if (c->is_asking)
        return;
    if (c->is_known)
        quota_give_back(q, c);
    quota_count_free(c);
}

static void quota_on_leased(void *arg, int error, const store_lease_answer *answer)
{
    quota_count *c = arg;
    quota *q = c->quota;
    (void)pthread_mutex_lock(&q->mutex);
    c->is_asking = false;
    quota_take_answer(c, error, answer);
    if (c->is_dropped) {
        quota_give_back(q, c);
        quota_count_free(c);
    }
    quota_tell_waiters(q);
    quota_unlock_and_drop(q);
}

/* ---- questions ---- */

static store_lease_request quota_request(const quota *q, const quota_count *c)
{
    uint64_t in_flight = quota_in_flight(q, c);
    uint64_t rest = c->lease > c->usage.unsettled ? c->lease - c->usage.unsettled : 0;
    store_lease_request r = {
        .key = slice_of_text(c->key),
        .owner = c->owner,
        .window = c->usage.number,
        .span = c->usage.part_count,
        .limit = c->limit.amount,
        .keep = rest > in_flight ? rest : in_flight,
        .used = c->told,
        .used_count = c->told_count,
        /* Twice: so that a clock that is put right does not make it forget. */
        .expires_ms = c->usage.now_ms + 2 * c->limit.window_ms,
    };
    return r;
}

void quota_ask(quota *q, quota_count *c)
{
    if (c->key == NULL || c->is_asking || c->usage.now_ms < c->refused_until_ms)
        return;
    c->told_count = usage_unsettled(&c->usage, c->told);
    store_lease_request r = quota_request(q, c);
    uint64_t more = c->need > quota_block(c) ? c->need : quota_block(c);
    /* The first question only learns: who sends nothing has nothing to lose in a kill. */
    r.want = c->is_known || c->need > 0 ? quota_in_flight(q, c) + more : 0;
    r.want = r.want > r.keep ? r.want : r.keep;
    r.done = quota_on_leased;
    r.arg = c;
    c->wanted = r.want;
    c->asked_ms = c->usage.now_ms;
    c->need = 0;
    c->failed = store_lease(q->store, &r) != 0;
    c->is_asking = !c->failed;
    if (c->is_asking)
        q->shares++;
    else
        c->refused_until_ms = c->asked_ms + RETRY_MS;
}

void quota_ask_ahead(quota *q, quota_count *c)
{
    bool has_more = c->usage.total + quota_in_flight(q, c) < c->limit.amount;
    if (c->key != NULL && has_more && quota_free_lease(q, c) * 2 < quota_block(c))
        quota_ask(q, c);
}
