/* The breaker of an upstream (DESIGN 4.8): closed; open after some failures in a row in connect to
 * EHLO; half-open with one probe once the pause is over; the pause doubles up to a cap. Pure: time is
 * passed in, milliseconds of the monotonic clock. The record's mutex guards it.
 */
#ifndef UPSTREAM_BREAKER_H
#define UPSTREAM_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

typedef enum breaker_state {
    BREAKER_CLOSED,
    BREAKER_OPEN,
    BREAKER_HALF_OPEN, /* one probe is under way */
} breaker_state;

typedef struct breaker_options {
    uint32_t failures;     /* in a row that open it; 0: 5 */
    uint32_t pause_ms;     /* the first pause; 0: 30000 */
    uint32_t max_pause_ms; /* 0: 600000 */
} breaker_options;

typedef struct breaker {
    breaker_options options; /* with the defaults filled in */
    breaker_state state;
    uint32_t failures; /* in a row */
    uint32_t pause_ms; /* of the last opening; 0: none since a success */
    uint64_t until;    /* open: when a probe may be made */
} breaker;

/* New options for a breaker in any state. */
void breaker_configure(breaker *b, const breaker_options *options);

/* Whether an attempt may be made now. */
typedef enum breaker_permission {
    BREAKER_ALLOWS,
    BREAKER_ALLOWS_PROBE, /* this attempt is the probe: its outcome must be told, or given back */
    BREAKER_REFUSES,
} breaker_permission;
breaker_permission breaker_ask(breaker *b, uint64_t now);

/* The server greeted us. True: the breaker was not closed, and is now. */
bool breaker_succeed(breaker *b);
/* An attempt failed in connect to EHLO. True: this opened it (again). */
bool breaker_fail(breaker *b, uint64_t now);
/* The probe ended without saying anything of the server: another one may be made. */
void breaker_give_back(breaker *b);

/* "closed", "open", "half-open". */
const char *breaker_state_text(breaker_state state);

#endif
