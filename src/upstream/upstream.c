/* What all workers know of one provider: its suspension, its counts, and who may have a connection.
 * The record owns no connection; pools and waiters register themselves and outlive their entry. */
#include "upstream/upstream.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

enum {
    SUSPEND_FIRST_MS = 15 * 60 * 1000,
    SUSPEND_LONGEST_MS = 6 * 60 * 60 * 1000,
    CONNECTIONS_DEFAULT = 20,
};

struct upstream {
    const upstream_options *options;
    _Atomic uint64_t counts[UPSTREAM_COUNTER_COUNT];
    _Atomic uint64_t suspended_until; /* read without the mutex on every selection */
    pthread_mutex_t mutex;            /* guards what follows */
    uint64_t suspension_ms;           /* of the last suspension; 0: none since a success */
    uint32_t permits;                 /* connections that exist or are being opened */
    uint32_t permits_max;
    list waiters;
    list holders;
};

int upstream_new(const upstream_options *options, upstream **out)
{
    upstream *u = calloc(1, sizeof(*u));
    if (u == NULL)
        return SMX_E_NOMEM;
    u->options = options;
    u->permits_max = options->max_connections == 0 ? CONNECTIONS_DEFAULT : options->max_connections;
    (void)pthread_mutex_init(&u->mutex, NULL);
    *out = u;
    return 0;
}

void upstream_free(upstream *u)
{
    if (u == NULL)
        return;
    (void)pthread_mutex_destroy(&u->mutex);
    free(u);
}

const upstream_options *upstream_get_options(const upstream *u)
{
    return u->options;
}

void upstream_count(upstream *u, upstream_counter counter)
{
    atomic_fetch_add_explicit(&u->counts[counter], 1, memory_order_relaxed);
}

uint64_t upstream_total(const upstream *u, upstream_counter counter)
{
    return atomic_load_explicit(&u->counts[counter], memory_order_relaxed);
}

/* ---- suspension ---- */

uint64_t upstream_suspend(upstream *u, uint64_t now, bool *is_new)
{
    (void)pthread_mutex_lock(&u->mutex);
    uint64_t until = atomic_load(&u->suspended_until);
    *is_new = until <= now;
    if (*is_new) {
        u->suspension_ms = u->suspension_ms == 0 ? SUSPEND_FIRST_MS : u->suspension_ms * 2;
        if (u->suspension_ms > SUSPEND_LONGEST_MS)
            u->suspension_ms = SUSPEND_LONGEST_MS;
        until = now + u->suspension_ms;
        atomic_store(&u->suspended_until, until);
    }
    (void)pthread_mutex_unlock(&u->mutex);
    return until;
}

void upstream_resume(upstream *u)
{
    if (atomic_load_explicit(&u->suspended_until, memory_order_relaxed) == 0)
        return;
    (void)pthread_mutex_lock(&u->mutex);
    u->suspension_ms = 0;
    atomic_store(&u->suspended_until, 0);
    (void)pthread_mutex_unlock(&u->mutex);
}

bool upstream_is_suspended(upstream *u, uint64_t now, uint64_t *until)
{
    *until = atomic_load_explicit(&u->suspended_until, memory_order_relaxed);
    return *until > now;
}

/* ---- permits ---- */

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

/* Asks one worker to give up an idle connection that it was not asked for yet. */
static void upstream_ask_release(upstream *u, const smx_loop *asker)
{
    for (list_node *n = u->holders.first; n != NULL; n = n->next) {
        upstream_holder *holder = list_member(n, upstream_holder, node);
        if (holder->loop != asker && holder->idle > holder->asked &&
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
    const list_node *first = u->waiters.first;
    if (!closed && first != NULL)
        upstream_ask_release(u, list_member(first, upstream_waiter, node)->loop);
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
        upstream_ask_release(u, waiter->loop);
    }
    (void)pthread_mutex_unlock(&u->mutex);
    return taken;
}

void upstream_permit_give(upstream *u)
{
    (void)pthread_mutex_lock(&u->mutex);
    list_node *first = u->waiters.first;
    upstream_waiter *waiter = first == NULL ? NULL : list_member(first, upstream_waiter, node);
    bool granted = false;
    if (waiter != NULL) {
        list_remove(first); /* before the post: once posted the waiter may be gone at any time */
        granted = smx_loop_post(waiter->loop, waiter->granted, waiter->arg) == 0;
        if (!granted)
            list_prepend(&u->waiters, first);
    }
    if (!granted)
        u->permits--;
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
    upstream_next next = UPSTREAM_NEXT_IDLE;
    (void)pthread_mutex_lock(&u->mutex);
    list_node *first = u->waiters.first;
    upstream_waiter *w = first == NULL ? NULL : list_member(first, upstream_waiter, node);
    if (w == NULL) {
        holder->idle++;
    } else if (w->loop == holder->loop && !w->fresh) {
        list_remove(first);
        *waiter = w;
        next = UPSTREAM_NEXT_WAITER;
    } else {
        next = UPSTREAM_NEXT_CLOSE;
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
