/* Windows of the calendar: where the hour, day, week or month of a moment begins and ends, by the
 * clocks of a time zone. */
#ifndef UPSTREAM_CALENDAR_H
#define UPSTREAM_CALENDAR_H

#include "base/slice.h"

typedef enum calendar_unit {
    CALENDAR_SECOND,
    CALENDAR_MINUTE,
    CALENDAR_HOUR,
    CALENDAR_DAY,
    CALENDAR_WEEK, /* begins on Monday (ISO 8601) */
    CALENDAR_MONTH,
} calendar_unit;

typedef struct calendar_zone calendar_zone;

/* An IANA name such as "Europe/Berlin", or "UTC". SMX_E_NOTFOUND, SMX_E_NOMEM. */
SMX_MUST_USE int calendar_zone_new(const char *name, calendar_zone **zone);
void calendar_zone_free(calendar_zone *zone);

/* The window that holds `wall_ms`: from *begin_ms to before *end_ms. A day of 23 or 25 hours is one
 * window; an hour that the clocks show twice is two. Any thread. */
void calendar_window(const calendar_zone *zone, calendar_unit unit, uint64_t wall_ms,
                     uint64_t *begin_ms, uint64_t *end_ms);

/* Seconds since 1970 as the zone's clocks show them, and what these are called then ("CET"), which
 * lives as the zone. Any thread. */
int64_t calendar_local_seconds(const calendar_zone *zone, uint64_t wall_ms);
const char *calendar_abbreviation(const calendar_zone *zone, uint64_t wall_ms);

#endif
