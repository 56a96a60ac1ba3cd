/* Time as numbers and as text. Owns nothing; never the locale's names, which mail does not speak. */
#include "base/clock.h"

#include <stdio.h>

static uint64_t clock_read(clockid_t id)
{
    struct timespec now;
    (void)clock_gettime(id, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint64_t clock_monotonic_ms(void)
{
    return clock_read(CLOCK_MONOTONIC);
}

uint64_t clock_wall_ms(void)
{
    return clock_read(CLOCK_REALTIME);
}

smx_slice clock_rfc5322(uint64_t wall_ms, char text[static CLOCK_TEXT])
{
    static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm local = {0};
    (void)localtime_r(&seconds, &local);
    long minutes = local.tm_gmtoff / 60;
    long distance = minutes < 0 ? -minutes : minutes;
    int len =
        snprintf(text, CLOCK_TEXT, "%s, %d %s %d %02d:%02d:%02d %c%02ld%02ld", days[local.tm_wday],
                 local.tm_mday, months[local.tm_mon], local.tm_year + 1900, local.tm_hour,
                 local.tm_min, local.tm_sec, minutes < 0 ? '-' : '+', distance / 60, distance % 60);
    return slice_of(text, len < 0 ? 0 : len < CLOCK_TEXT ? (size_t)len : CLOCK_TEXT - 1);
}

smx_slice clock_rfc3339(uint64_t wall_ms, char text[static CLOCK_TEXT])
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm utc = {0};
    (void)gmtime_r(&seconds, &utc);
    int len = snprintf(text, CLOCK_TEXT, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", utc.tm_year + 1900,
                       utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec,
                       (int)(wall_ms % 1000));
    return slice_of(text, len < 0 ? 0 : len < CLOCK_TEXT ? (size_t)len : CLOCK_TEXT - 1);
}
