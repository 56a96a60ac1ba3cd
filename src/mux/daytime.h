/* A window of the week: days, hours of the day and a time zone, as in `mon-fri 08:00-18:00
 * Europe/Berlin`. */
#ifndef MUX_DAYTIME_H
#define MUX_DAYTIME_H

#include "base/problem.h"
#include "upstream/calendar.h"

typedef struct mux_daytime {
    uint8_t days;        /* a bit for each day on which a window begins, Monday's the lowest */
    uint16_t begin;      /* minutes since midnight */
    uint16_t length;     /* in minutes, at most a day's; it may go on into the next day */
    calendar_zone *zone; /* its own */
} mux_daytime;

/* Reads `[DAYS] [HOURS] [ZONE]`, of which days or hours must be there: `mon-fri`, `sat,sun`,
 * `22:00-06:00`, a name of the time zone database (UTC without one). Hours begin on the days named;
 * their end itself is outside, and an end before the begin is the next day's.
 * SMX_E_SYNTAX with a sentence, SMX_E_NOMEM. */
SMX_MUST_USE int mux_daytime_parse(smx_slice text, mux_daytime *daytime, problem *p);
void mux_daytime_free(mux_daytime *daytime);
/* Whether the moment (milliseconds since 1970) lies in it. Any thread. */
bool mux_daytime_contains(const mux_daytime *daytime, uint64_t wall_ms);

enum { MUX_DAYTIME_TEXT = 64 };
/* "Sat 09:00 CET": the moment in the window's zone. */
smx_slice mux_daytime_write(const mux_daytime *daytime, uint64_t wall_ms,
                            char text[static MUX_DAYTIME_TEXT]);

#endif
