/* Time. The protocol machines are told the time; only the outer rooms look at a clock. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

#include "base/slice.h"

/* Milliseconds on a clock that never goes back; its zero means nothing. */
uint64_t clock_monotonic_ms(void);
/* Milliseconds since 1970 by the wall clock. */
uint64_t clock_wall_ms(void);

enum { CLOCK_TEXT = 40 };

/* "Sat, 21 Nov 2026 10:17:18 +0000" in local time (RFC 5322 section 3.3). */
smx_slice clock_rfc5322(uint64_t wall_ms, char text[static CLOCK_TEXT]);

/* The text of the latest second, for one thread that writes many dates. Zero is a valid empty one. */
typedef struct clock_date {
    uint64_t second;
    size_t len;
    char text[CLOCK_TEXT];
} clock_date;
/* As clock_rfc5322; lives until the next call. */
smx_slice clock_date_text(clock_date *date, uint64_t wall_ms);

/* "2026-11-21T10:17:18.123Z" (RFC 3339). */
smx_slice clock_rfc3339(uint64_t wall_ms, char text[static CLOCK_TEXT]);

#endif
