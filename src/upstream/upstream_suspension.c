/* Suspensions after refused credentials, and what else a "resume" ends: a pause, which is the
 * quota's, and an open breaker. */
#include "base/clock.h"
#include "upstream/upstream_internal.h"

enum {
    SUSPEND_FIRST_MS = 15 * 60 * 1000,
    SUSPEND_LONGEST_MS = 6 * 60 * 60 * 1000,
};

void upstream_unlock_changed(upstream *u)
{
    bool troubled = u->suspended_until > 0 || u->breaker.state != BREAKER_CLOSED;
    atomic_store_explicit(&u->is_troubled, troubled, memory_order_relaxed);
    (void)pthread_mutex_unlock(&u->mutex);
}

bool upstream_is_plain(const upstream *u)
{
    return !atomic_load_explicit(&u->is_troubled, memory_order_relaxed);
}

/* The next one of a row of suspensions. */
static uint64_t upstream_next_suspension(const upstream *u)
{
    if (u->suspension_ms == 0)
        return SUSPEND_FIRST_MS;
    return u->suspension_ms > SUSPEND_LONGEST_MS / 2 ? SUSPEND_LONGEST_MS : u->suspension_ms * 2;
}

uint64_t upstream_suspend(upstream *u, uint64_t now, uint64_t ms, bool *is_new)
{
    (void)pthread_mutex_lock(&u->mutex);
    *is_new = u->suspended_until <= now;
    if (ms > 0) {
        if (u->suspended_until < now + ms)
            u->suspended_until = now + ms;
    } else if (*is_new) {
        u->suspension_ms = upstream_next_suspension(u);
        u->suspended_until = now + u->suspension_ms;
    }
    uint64_t until = u->suspended_until;
    upstream_unlock_changed(u);
    if (*is_new)
        upstream_count(u, UPSTREAM_COUNT_suspensions);
    return until;
}

bool upstream_resume(upstream *u)
{
    (void)pthread_mutex_lock(&u->mutex);
    bool was_suspended = u->suspended_until > 0;
    u->suspension_ms = 0;
    u->suspended_until = 0;
    bool was_open = breaker_succeed(&u->breaker);
    quota_resume(u->quota);
    upstream_unlock_changed(u);
    return was_suspended || was_open;
}

void upstream_pause(upstream *u, uint64_t ms)
{
    quota_pause(u->quota, clock_wall_ms() + ms);
}
