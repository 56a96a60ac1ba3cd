/* Permits: how many connections all workers together may have to one provider, and who is next.
 *
 * Attempts wait in their pool, first come first served, and a pool serves them with its own connections
 * as they become free: those cost nothing, whereas a permit that changes hands costs a connection. So it
 * does that only
 * - when its connection is gone: it goes to the pool that holds the fewest of those that wait;
 * - out of a pool that holds more than its share, or has nobody waiting, to one that waits and holds
 *   less. The share is the same for all that hold or want a permit, and at least one;
 * - with fewer permits than pools, out of any that has served those who waited there when it got its
 *   permit, or was at it for TURN_MS, so that permits go round;
 * - after a second in which an idle connection was of no use to its pool (pool_sweep).
 * If a pool waits that holds less than its share, one of these has a permit for it: either not all
 * shares can be had, or another pool holds more than its own.
 *
 * The record owns no connection; pools (holders) and waiters register themselves and outlive their
 * entry. Pools are few, so they are looked through; that happens only while somebody waits. */
#include "upstream/upstream_internal.h"

enum { TURN_MS = 100 };

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

/* ---- shares ---- */

/* Those that hold or want a permit. */
static size_t upstream_parties(const upstream *u)
{
    size_t parties = 0;
    for (const list_node *n = u->holders.first; n != NULL; n = n->next) {
        const upstream_holder *holder = list_member(n, upstream_holder, node);
        parties += holder->permits > 0 || holder->waiters.count > 0;
    }
    return parties;
}

static size_t upstream_share_of_each(const upstream *u)
{
    size_t parties = upstream_parties(u);
    return parties == 0 || parties > u->permits_max ? 1 : u->permits_max / parties;
}

/* What attempts that wait in a pool may have from others. */
static size_t upstream_missing(const upstream_holder *holder, size_t share)
{
    size_t rest = holder->permits < share ? share - holder->permits : 0;
    return rest < holder->waiters.count ? rest : holder->waiters.count;
}

/* Permits that will soon be given back. */
static size_t upstream_coming(const upstream *u)
{
    size_t coming = upstream_connections(u, UPSTREAM_CLOSING);
    for (const list_node *n = u->holders.first; n != NULL; n = n->next)
        coming += list_member(n, upstream_holder, node)->asked;
    return coming;
}

/* A pool other than this one lacks a permit that is not on its way. */
static bool upstream_others_lack(const upstream *u, const upstream_holder *holder)
{
    size_t missing = 0;
    size_t share = upstream_share_of_each(u);
    for (const list_node *n = u->holders.first; n != NULL; n = n->next) {
        const upstream_holder *other = list_member(n, upstream_holder, node);
        missing += other == holder ? 0 : upstream_missing(other, share);
    }
    return missing > upstream_coming(u);
}

/* Of one in which attempts wait. */
static bool upstream_turn_is_over(const upstream_holder *holder, uint64_t open_ms)
{
    const upstream_waiter *first = list_member(holder->waiters.first, upstream_waiter, node);
    return open_ms >= TURN_MS || first->ticket > holder->turn;
}

/* Others lack a permit, and it is this pool's turn to part with one. */
static bool upstream_owes(const upstream *u, const upstream_holder *holder, uint64_t open_ms)
{
    if (u->waiting == holder->waiters.count || !upstream_others_lack(u, holder))
        return false;
    if (holder->waiters.count == 0 || holder->permits > upstream_share_of_each(u))
        return true;
    return upstream_parties(u) > u->permits_max && upstream_turn_is_over(holder, open_ms);
}

size_t upstream_wanted_elsewhere(upstream *u, const upstream_holder *holder)
{
    (void)pthread_mutex_lock(&u->mutex);
    size_t wanted = u->waiting - holder->waiters.count;
    if (wanted > 0) {
        size_t coming = upstream_coming(u);
        wanted = wanted > coming ? wanted - coming : 0;
    }
    (void)pthread_mutex_unlock(&u->mutex);
    return wanted;
}

/* ---- idle connections are asked for ---- */

/* Asks one pool to give up an idle connection that it was not asked for yet: for another pool's share,
 * or for one that waits in the pool itself and needs a fresh one. */
static void upstream_ask_release(upstream *u)
{
    bool is_owed = upstream_others_lack(u, NULL);
    for (list_node *n = u->holders.first; n != NULL; n = n->next) {
        upstream_holder *holder = list_member(n, upstream_holder, node);
        if ((is_owed || holder->waiters.count > 0) && holder->idle > holder->asked &&
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
    if (!closed && u->waiting > 0)
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

/* ---- taking and giving ---- */

static void upstream_hold(upstream *u, upstream_holder *holder)
{
    holder->permits++;
    holder->turn = u->tickets;
    list_move(&u->holders, &holder->node);
}

/* Under the mutex. */
static bool upstream_take_free(upstream *u, upstream_holder *holder)
{
    if (u->permits >= u->permits_max)
        return false;
    u->permits++;
    upstream_hold(u, holder);
    return true;
}

bool upstream_permit_take(upstream *u, upstream_waiter *waiter)
{
    (void)pthread_mutex_lock(&u->mutex);
    bool taken = upstream_take_free(u, waiter->holder);
    if (!taken) {
        list_append(&waiter->holder->waiters, &waiter->node);
        waiter->ticket = ++u->tickets;
        u->waiting++;
        upstream_ask_release(u);
    }
    (void)pthread_mutex_unlock(&u->mutex);
    return taken;
}

bool upstream_permit_try(upstream *u, upstream_holder *holder)
{
    (void)pthread_mutex_lock(&u->mutex);
    bool taken = upstream_take_free(u, holder);
    holder->idle += taken;
    (void)pthread_mutex_unlock(&u->mutex);
    return taken;
}

/* The one with the fewest permits of those whose attempts wait; of several the one that got none for
 * the longest time. NULL: nobody waits. */
static upstream_holder *upstream_next_holder(const upstream *u)
{
    upstream_holder *next = NULL;
    for (list_node *n = u->holders.first; n != NULL; n = n->next) {
        upstream_holder *holder = list_member(n, upstream_holder, node);
        if (holder->waiters.count > 0 && (next == NULL || holder->permits < next->permits))
            next = holder;
    }
    return next;
}

bool upstream_grant(upstream *u)
{
    upstream_holder *holder = upstream_next_holder(u);
    if (holder == NULL)
        return false;
    list_node *first = list_take_first(&holder->waiters); /* once posted it may be gone any time */
    const upstream_waiter *waiter = list_member(first, upstream_waiter, node);
    bool granted = smx_loop_post(holder->loop, waiter->granted, waiter->arg) == 0;
    if (granted) {
        u->waiting--;
        upstream_hold(u, holder);
    } else {
        list_prepend(&holder->waiters, first);
    }
    return granted;
}

/* After a reload there may be more than there should. */
static bool upstream_has_too_many(const upstream *u)
{
    return u->permits > u->permits_max;
}

void upstream_permit_give(upstream *u, upstream_holder *holder)
{
    (void)pthread_mutex_lock(&u->mutex);
    bool had_too_many = upstream_has_too_many(u);
    holder->permits--;
    if (had_too_many || !upstream_grant(u))
        u->permits--;
    if (u->waiting > 0)
        upstream_ask_release(u); /* whoever waits may have counted on this one */
    (void)pthread_mutex_unlock(&u->mutex);
}

bool upstream_permit_cancel(upstream *u, upstream_waiter *waiter)
{
    (void)pthread_mutex_lock(&u->mutex);
    bool granted = waiter->node.owner == NULL;
    u->waiting -= !granted;
    list_remove(&waiter->node);
    (void)pthread_mutex_unlock(&u->mutex);
    return granted;
}

/* ---- a connection's states ---- */

upstream_next upstream_connection_free(upstream *u, upstream_holder *holder, uint64_t open_ms,
                                       upstream_waiter **waiter)
{
    upstream_next next = UPSTREAM_NEXT_CLOSE;
    (void)pthread_mutex_lock(&u->mutex);
    list_node *first = holder->waiters.first;
    upstream_waiter *w = first == NULL ? NULL : list_member(first, upstream_waiter, node);
    bool is_kept = !upstream_has_too_many(u) && !upstream_owes(u, holder, open_ms);
    if (is_kept && w == NULL) {
        holder->idle++;
        next = UPSTREAM_NEXT_IDLE;
    } else if (is_kept && !w->fresh) {
        list_remove(first);
        u->waiting--;
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
