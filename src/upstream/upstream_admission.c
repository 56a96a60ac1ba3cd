/* May a message, or a probe, be tried at this provider now, and what did the attempt tell? The mutex is
 * taken once for each. The time of the next active probe is kept here, since every attempt moves it. */
#include <string.h>

#include "base/clock.h"
#include "upstream/upstream_internal.h"

enum { LATENCY_SHARE = 8 }; /* of a new delivery in the average: one eighth */

/* ---- when the next probe is due ---- */

/* When it is to be tried out next: when the breaker's pause is over, so that no message need be the one
 * that tries, or after the configured time. Under the mutex. */
static uint64_t upstream_next_probe(const upstream *u, uint64_t now)
{
    uint64_t next = now + atomic_load_explicit(&u->probe_ms, memory_order_relaxed);
    bool is_paused = u->breaker.state == BREAKER_OPEN && u->breaker.until > now;
    return is_paused && u->breaker.until < next ? u->breaker.until : next;
}

void upstream_begin_probe_time(upstream *u, uint64_t now)
{
    atomic_store_explicit(&u->probe_due, upstream_next_probe(u, now), memory_order_relaxed);
}

/* A message was tried. A probe under way keeps others off for longer than that. Under the mutex, beside
 * which only claims are made. */
static void upstream_put_probe_off(upstream *u, uint64_t now)
{
    uint64_t next = upstream_next_probe(u, now);
    uint64_t due = atomic_load_explicit(&u->probe_due, memory_order_relaxed);
    if (due < next)
        (void)atomic_compare_exchange_strong(&u->probe_due, &due, next);
}

uint64_t upstream_probe_due(const upstream *u)
{
    if (atomic_load_explicit(&u->probe_ms, memory_order_relaxed) == 0)
        return UINT64_MAX;
    return atomic_load_explicit(&u->probe_due, memory_order_relaxed);
}

/* Until it is settled nobody else finds it due. */
bool upstream_probe_claim(upstream *u, uint64_t now)
{
    uint64_t due = upstream_probe_due(u);
    uint64_t next = now + UPSTREAM_PROBE_MS + atomic_load(&u->probe_ms);
    return due <= now && atomic_compare_exchange_strong(&u->probe_due, &due, next);
}

/* ---- admission ---- */

static const upstream_usable UPSTREAM_BY_QUOTA[] = {
    [QUOTA_OK] = UPSTREAM_USABLE,        [QUOTA_LEASING] = UPSTREAM_LEASING,
    [QUOTA_WAIT] = UPSTREAM_PACED,       [QUOTA_FULL] = UPSTREAM_QUOTA_FULL,
    [QUOTA_TOO_BIG] = UPSTREAM_TOO_MANY,
};

upstream_usable upstream_usable_by_quota(quota_state state)
{
    return UPSTREAM_BY_QUOTA[state];
}

/* The quota speaks last: what it gives is kept or given back with the attempt. */
static void upstream_admit_quota(upstream *u, const upstream_ask *ask, upstream_admission *a)
{
    uint64_t wall = clock_wall_ms();
    quota_verdict verdict =
        quota_reserve(u->quota, wall, ask->recipients, ask->waiter, &a->reservation);
    a->usable = UPSTREAM_BY_QUOTA[verdict.state];
    a->until = verdict.until_ms > wall ? ask->now + (verdict.until_ms - wall) : ask->now;
    memcpy(a->why, verdict.why, sizeof(a->why));
    if (verdict.state != QUOTA_OK && a->is_probe)
        breaker_give_back(&u->breaker);
}

/* A probe that is refused comes when the breaker's pause ends, if that is sooner. A suspension is
 * looked at in between, since an operator may end it. */
static void upstream_put_probe_off_until(upstream *u, uint64_t now, const upstream_admission *a)
{
    uint64_t next = now + atomic_load_explicit(&u->probe_ms, memory_order_relaxed);
    if (a->until > now && a->until < next)
        next = a->until;
    atomic_store_explicit(&u->probe_due, next, memory_order_relaxed);
}

void upstream_admit(upstream *u, const upstream_ask *ask, upstream_admission *admission)
{
    *admission = (upstream_admission){.usable = UPSTREAM_USABLE, .is_for_probe = ask->is_for_probe};
    (void)pthread_mutex_lock(&u->mutex);
    if (u->suspended_until > ask->now) {
        admission->usable = UPSTREAM_SUSPENDED;
        admission->until = u->suspended_until;
    } else if (!ask->past_breaker) {
        breaker_permission permission = breaker_ask(&u->breaker, ask->now);
        admission->is_probe = permission == BREAKER_ALLOWS_PROBE;
        if (permission == BREAKER_REFUSES) {
            admission->usable = UPSTREAM_BREAKER_OPEN;
            admission->until = u->breaker.state == BREAKER_OPEN ? u->breaker.until : 0;
        }
    }
    if (ask->is_for_probe && admission->usable == UPSTREAM_USABLE)
        u->probes_under_way++;
    else if (ask->is_for_probe)
        upstream_put_probe_off_until(u, ask->now, admission);
    else if (admission->usable == UPSTREAM_USABLE)
        upstream_admit_quota(u, ask, admission);
    if (!ask->is_for_probe && admission->usable == UPSTREAM_USABLE)
        upstream_put_probe_off(u, ask->now);
    (void)pthread_mutex_unlock(&u->mutex);
}

/* ---- settling ---- */

/* Under the mutex, which alone writes it. */
static void upstream_learn_latency(upstream *u, uint64_t took_ms)
{
    uint64_t average = atomic_load_explicit(&u->latency_us, memory_order_relaxed);
    uint64_t sample = took_ms == 0 ? 500 : took_ms * 1000; /* the clock counts milliseconds */
    if (average > 0)
        sample = (average * (LATENCY_SHARE - 1) + sample) / LATENCY_SHARE;
    atomic_store_explicit(&u->latency_us, sample > UINT32_MAX ? UINT32_MAX : (uint32_t)sample,
                          memory_order_relaxed);
}

upstream_news upstream_settle(upstream *u, upstream_admission *admission,
                              const upstream_settlement *settlement, uint64_t *until)
{
    upstream_news news = UPSTREAM_NO_NEWS;
    (void)pthread_mutex_lock(&u->mutex);
    if (settlement->health == UPSTREAM_GREETED && breaker_succeed(&u->breaker))
        news = UPSTREAM_CLOSED;
    else if (settlement->health == UPSTREAM_UNREACHED && breaker_fail(&u->breaker, settlement->now))
        news = UPSTREAM_OPENED;
    else if (settlement->health == UPSTREAM_SILENT_ON_HEALTH && admission->is_probe)
        breaker_give_back(&u->breaker);
    if (settlement->taken) {
        u->suspension_ms = 0;
        upstream_learn_latency(u, settlement->took_ms);
    }
    *until = u->breaker.until;
    if (admission->is_for_probe)
        u->probes_under_way--;
    if (admission->is_for_probe || (news == UPSTREAM_OPENED && u->probes_under_way == 0))
        upstream_begin_probe_time(u, settlement->now);
    else
        upstream_put_probe_off(u, settlement->now);
    upstream_unlock_changed(u);
    if (settlement->counts)
        quota_commit(u->quota, clock_wall_ms(), &admission->reservation);
    else
        quota_release(u->quota, &admission->reservation);
    return news;
}
