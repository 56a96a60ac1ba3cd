/* How fast octets come, measured from the first one on. */
#ifndef SESSION_RATE_H
#define SESSION_RATE_H

#include <stdbool.h>
#include <stdint.h>

/* Zero: nothing came yet. */
typedef struct session_rate {
    bool running;
    uint64_t start;
    uint64_t octets;
} session_rate;

void session_rate_add(session_rate *rate, uint64_t now, uint64_t octets);
/* When the average since the first octet falls under `min_rate` octets a second, or the grace of 30 s
 * is over; SMX_DEADLINE_NEVER without a minimum, or before the first octet. */
uint64_t session_rate_expires(const session_rate *rate, uint32_t min_rate);

#endif
