/* The minimum rate of a peer (DESIGN 4.13, ATTACKS 33). */
#include "session/rate.h"

#include "smx/session.h"

enum { RATE_GRACE_MS = 30000 };

void session_rate_add(session_rate *rate, uint64_t now, uint64_t octets)
{
    if (octets == 0)
        return;
    if (!rate->running)
        *rate = (session_rate){.running = true, .start = now};
    rate->octets += octets;
}

uint64_t session_rate_expires(const session_rate *rate, uint32_t min_rate)
{
    if (min_rate == 0 || !rate->running)
        return SMX_DEADLINE_NEVER;
    uint64_t ms = rate->octets * 1000 / min_rate + 1;
    return rate->start + (ms < RATE_GRACE_MS ? (uint64_t)RATE_GRACE_MS : ms);
}
