/* Permits: how many connections all workers together may have to one provider, and who is next.
 * The record owns no connection; pools (holders) and waiters register themselves and outlive their
 * entry. */
#include "upstream/upstream_internal.h"

void upstream_holder_add(upstream *u, upstream_holder *holder)
{
    (void)pthread_mutex_lock(&u->mutex);
    list_append(&u->holders, &holder->node);
    (void)pthread_mutex_unlock(&u->mutex);
}

void upstream_holder_remove(upstream *u, upstream_holder *holder)
{
    (void)pthread_mutex_lock(&u->mutex);
    list_remove(&holder->node);
    (void)pthread_mutex_unlock(&u->mutex);
}

/* Asks one pool to give up an idle connection that it was not asked for yet. The waiter's own has none
 * to give, unless the waiter needs a fresh one. */
static void upstream_ask_release(upstream *u)
{
    for (list_node *n = u->holders.first; n != NULL; n = n->next) {
        upstream_holder *holder = list_member(n, upstream_holder, node);
        if (holder->idle > holder->asked &&
            smx_loop_post(holder->loop, holder->release, holder->arg) == 0) {
            holder->asked++;
            return;
        }
    }
}

void upstream_holder_answer(upstream *u, upstream_holder *holder, bool closed)
{
    (void)pthread_mutex_lock(&u->mutex);
    holder->asked--;
    if (!closed && u->waiters.first != NULL)
        upstream_ask_release(u);
    (void)pthread_mutex_unlock(&u->mutex);
}

bool upstream_holder_is_asked(upstream *u, const upstream_holder *holder)
{
    (void)pthread_mutex_lock(&u->mutex);
    bool asked = holder->asked > 0;
    (void)pthread_mutex_unlock(&u->mutex);
    return asked;
}

bool upstream_permit_take(upstream *u, upstream_waiter *waiter)
{
    (void)pthread_mutex_lock(&u->mutex);
    bool taken = u->permits < u->permits_max;
    if (taken) {
        u->permits++;
    } else {
        list_append(&u->waiters, &waiter->node);
        upstream_ask_release(u);
    }
    (void)pthread_mutex_unlock(&u->mutex);
    return taken;
}

bool upstream_permit_try(upstream *u, upstream_holder *holder)
{
    (void)pthread_mutex_lock(&u->mutex);
    bool taken = u->permits < u->permits_max;
    u->permits += taken;
    holder->idle += taken;
    (void)pthread_mutex_unlock(&u->mutex);
    return taken;
}

bool upstream_grant(upstream *u)
{
    list_node *first = u->waiters.first;
    if (first == NULL)
        return false;
    const upstream_waiter *waiter = list_member(first, upstream_waiter, node);
    list_remove(first); /* before the post: once posted the waiter may be gone at any time */
    bool granted = smx_loop_post(waiter->holder->loop, waiter->granted, waiter->arg) == 0;
    if (!granted)
        list_prepend(&u->waiters, first);
    return granted;
}

/* After a reload there may be more than there should. */
static bool upstream_has_too_many(const upstream *u)
{
    return u->permits > u->permits_max;
}

void upstream_permit_give(upstream *u)
{
    (void)pthread_mutex_lock(&u->mutex);
    bool had_too_many = upstream_has_too_many(u);
    if (had_too_many || !upstream_grant(u))
        u->permits--;
    if (had_too_many && u->waiters.first != NULL)
        upstream_ask_release(u); /* whoever waits has asked for this one alone */
    (void)pthread_mutex_unlock(&u->mutex);
}

bool upstream_permit_cancel(upstream *u, upstream_waiter *waiter)
{
    (void)pthread_mutex_lock(&u->mutex);
    bool granted = waiter->node.owner == NULL;
    list_remove(&waiter->node);
    (void)pthread_mutex_unlock(&u->mutex);
    return granted;
}

upstream_next upstream_connection_free(upstream *u, upstream_holder *holder,
                                       upstream_waiter **waiter)
{
    upstream_next next = UPSTREAM_NEXT_CLOSE;
    (void)pthread_mutex_lock(&u->mutex);
    list_node *first = u->waiters.first;
    upstream_waiter *w = first == NULL ? NULL : list_member(first, upstream_waiter, node);
    bool is_kept = !upstream_has_too_many(u);
    if (is_kept && w == NULL) {
        holder->idle++;
        next = UPSTREAM_NEXT_IDLE;
    } else if (is_kept && w->holder == holder && !w->fresh) {
        list_remove(first);
        *waiter = w;
        next = UPSTREAM_NEXT_WAITER;
    }
    (void)pthread_mutex_unlock(&u->mutex);
    return next;
}

void upstream_connection_taken(upstream *u, upstream_holder *holder)
{
    (void)pthread_mutex_lock(&u->mutex);
    holder->idle--;
    (void)pthread_mutex_unlock(&u->mutex);
}
