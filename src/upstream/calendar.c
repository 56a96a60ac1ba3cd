/* Calendar windows. The rules of time zones are GLib's (from the system's tzdata); the arithmetic of
 * days is here. A zone owns GLib's object and nothing else. */
#include "upstream/calendar.h"

#include <glib.h>
#include <stdlib.h>

enum { SECOND = 1, MINUTE = 60, HOUR = 60 * 60, DAY = 24 * 60 * 60, EPOCH_MONTHS = 1970 * 12 };

struct calendar_zone {
    GTimeZone *zone;
};

int calendar_zone_new(const char *name, calendar_zone **out)
{
    calendar_zone *z = calloc(1, sizeof(*z));
    if (z == NULL)
        return SMX_E_NOMEM;
    z->zone = g_time_zone_new_identifier(name);
    if (z->zone == NULL) {
        free(z);
        return SMX_E_NOTFOUND;
    }
    *out = z;
    return 0;
}

void calendar_zone_free(calendar_zone *z)
{
    if (z == NULL)
        return;
    g_time_zone_unref(z->zone);
    free(z);
}

/* Seconds that the zone's clocks are ahead of UTC at this moment. */
static int64_t calendar_offset(const calendar_zone *z, int64_t unix_seconds)
{
    int interval = g_time_zone_find_interval(z->zone, G_TIME_TYPE_UNIVERSAL, unix_seconds);
    return g_time_zone_get_offset(z->zone, interval);
}

int64_t calendar_local_seconds(const calendar_zone *z, uint64_t wall_ms)
{
    int64_t seconds = (int64_t)(wall_ms / 1000);
    return seconds + calendar_offset(z, seconds);
}

const char *calendar_abbreviation(const calendar_zone *z, uint64_t wall_ms)
{
    int64_t seconds = (int64_t)(wall_ms / 1000);
    int interval = g_time_zone_find_interval(z->zone, G_TIME_TYPE_UNIVERSAL, seconds);
    return g_time_zone_get_abbreviation(z->zone, interval);
}

static int64_t floor_to(int64_t n, int64_t step)
{
    int64_t rest = n % step;
    return n - (rest < 0 ? rest + step : rest);
}

/* ---- days, counted from 1970-01-01 in the proleptic Gregorian calendar ---- */

/* The first day of the month that is `months` after January 1970. */
static int64_t month_first_day(int64_t months)
{
    /* Years begin in March here, so that the leap day is the last of its year. */
    int64_t since = months + EPOCH_MONTHS - 2;
    int64_t year = floor_to(since, 12) / 12;
    int64_t month = since - year * 12;
    int64_t leap_days =
        floor_to(year, 4) / 4 - floor_to(year, 100) / 100 + floor_to(year, 400) / 400;
    return year * 365 + leap_days + (153 * month + 2) / 5 - 719468;
}

/* Months from January 1970 to the day's month. */
static int64_t month_of_day(int64_t day)
{
    int64_t months = day / 31; /* never too late a month */
    while (month_first_day(months + 1) <= day)
        months++;
    return months;
}

/* ---- windows ---- */

/* The first moment of a day by the zone's clocks: midnight, the first of two, or the end of the gap
 * that swallows it. */
static int64_t day_begin(const calendar_zone *z, int64_t day)
{
    int64_t local = day * DAY;
    int64_t before = calendar_offset(z, local - DAY);
    int64_t after = calendar_offset(z, local + DAY);
    int64_t first = local - before;
    if (calendar_offset(z, first) == before)
        return first;
    int64_t low = local - after;
    if (calendar_offset(z, low) == after)
        return low;
    while (first - low > 1) {
        int64_t middle = low + (first - low) / 2;
        if (calendar_offset(z, middle) == after)
            first = middle;
        else
            low = middle;
    }
    return first;
}

/* The days on which the window begins and ends that holds `day`. */
static void days_of_window(calendar_unit unit, int64_t day, int64_t *begin, int64_t *end)
{
    int64_t months;
    switch (unit) {
    case CALENDAR_WEEK: /* 1970-01-05 was a Monday */
        *begin = floor_to(day - 4, 7) + 4;
        *end = *begin + 7;
        break;
    case CALENDAR_MONTH:
        months = month_of_day(day);
        *begin = month_first_day(months);
        *end = month_first_day(months + 1);
        break;
    default:
        *begin = day;
        *end = day + 1;
    }
}

void calendar_window(const calendar_zone *z, calendar_unit unit, uint64_t wall_ms,
                     uint64_t *begin_ms, uint64_t *end_ms)
{
    static const int64_t STEPS[] = {
        [CALENDAR_SECOND] = SECOND, [CALENDAR_MINUTE] = MINUTE, [CALENDAR_HOUR] = HOUR};
    int64_t now = (int64_t)(wall_ms / 1000);
    int64_t offset = calendar_offset(z, now);
    int64_t begin;
    int64_t end;
    if (unit < CALENDAR_DAY) {
        begin = floor_to(now + offset, STEPS[unit]) - offset;
        end = begin + STEPS[unit];
    } else {
        int64_t first;
        int64_t last;
        days_of_window(unit, floor_to(now + offset, DAY) / DAY, &first, &last);
        begin = day_begin(z, first);
        end = day_begin(z, last);
        if (end <= now) { /* clocks that went back over midnight: the next day has begun before */
            days_of_window(unit, last, &first, &last);
            begin = end;
            end = day_begin(z, last);
        }
    }
    *begin_ms = begin < 0 ? 0 : (uint64_t)begin * 1000;
    *end_ms = end < 0 ? 0 : (uint64_t)end * 1000;
}
