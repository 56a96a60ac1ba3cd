/* How a provider stands, for selectors, explain, the API and metrics. */
#include <string.h>

#include "base/clock.h"
#include "upstream/upstream_internal.h"

uint32_t upstream_latency_us(const upstream *u)
{
    return atomic_load_explicit(&u->latency_us, memory_order_relaxed);
}

static void upstream_judge(upstream_status *status, uint64_t now)
{
    if (status->is_suspended) {
        status->usable = UPSTREAM_SUSPENDED;
        status->until = status->suspended_until;
    } else if (status->breaker == BREAKER_HALF_OPEN ||
               (status->breaker == BREAKER_OPEN && status->breaker_until > now)) {
        status->usable = UPSTREAM_BREAKER_OPEN;
        status->until = status->breaker == BREAKER_OPEN ? status->breaker_until : 0;
    }
}

/* What the quota says, where nothing else is in the way. */
static void upstream_look(const upstream *u, uint64_t now, upstream_status *status)
{
    if (status->usable != UPSTREAM_USABLE)
        return;
    uint64_t wall = clock_wall_ms();
    quota_verdict verdict = quota_look(u->quota, wall, 1);
    status->usable = upstream_usable_by_quota(verdict.state);
    if (verdict.until_ms > wall)
        status->until = now + (verdict.until_ms - wall);
    memcpy(status->why, verdict.why, sizeof(status->why));
}

void upstream_get_status(upstream *u, uint64_t now, upstream_status *status)
{
    (void)pthread_mutex_lock(&u->mutex);
    *status = (upstream_status){
        .usable = UPSTREAM_USABLE,
        .is_suspended = u->suspended_until > now,
        .suspended_until = u->suspended_until,
        .breaker = u->breaker.state,
        .breaker_until = u->breaker.until,
        .failures = u->breaker.failures,
        .latency_ms = upstream_latency_us(u) / 1000.0,
        .connections = u->permits,
        .max_connections = u->permits_max,
        .waiting = (uint32_t)u->waiting,
    };
    upstream_judge(status, now);
    upstream_look(u, now, status);
    (void)pthread_mutex_unlock(&u->mutex);
}
