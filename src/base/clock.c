/* Time as numbers and as text. Owns nothing; never the locale's names, which mail does not speak. */
#include "base/clock.h"

#include "base/digits.h"

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

static char *clock_put(char *at, const char *text, size_t len)
{
    memcpy(at, text, len);
    return at + len;
}

/* "10:17:18" */
static char *clock_put_time(char *at, unsigned hour, unsigned minute, unsigned second)
{
    at = digits_two(at, hour);
    *at++ = ':';
    at = digits_two(at, minute);
    *at++ = ':';
    return digits_two(at, second);
}

smx_slice clock_rfc5322(uint64_t wall_ms, char text[static CLOCK_TEXT])
{
    static const char days[] = "Sun, Mon, Tue, Wed, Thu, Fri, Sat, ";
    static const char months[] = " Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec ";
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm local = {0};
    (void)localtime_r(&seconds, &local);
    bool is_west = local.tm_gmtoff < 0;
    unsigned minutes = (unsigned)(is_west ? -local.tm_gmtoff : local.tm_gmtoff) / 60;
    char *at = clock_put(text, &days[5U * (size_t)local.tm_wday], 5);
    at = digits_decimal(at, (unsigned)local.tm_mday);
    at = clock_put(at, &months[4U * (size_t)local.tm_mon], 5);
    at = digits_decimal(at, (unsigned)local.tm_year + 1900);
    *at++ = ' ';
    at =
        clock_put_time(at, (unsigned)local.tm_hour, (unsigned)local.tm_min, (unsigned)local.tm_sec);
    at = clock_put(at, is_west ? " -" : " +", 2);
    at = digits_padded(at, minutes / 60 * 100 + minutes % 60, 4);
    return slice_of(text, (size_t)(at - text));
}

smx_slice clock_date_text(clock_date *date, uint64_t wall_ms)
{
    uint64_t second = wall_ms / 1000;
    if (date->len == 0 || date->second != second) {
        date->len = clock_rfc5322(wall_ms, date->text).len;
        date->second = second;
    }
    return slice_of(date->text, date->len);
}

typedef struct clock_day {
    uint64_t year;
    unsigned month, day;
} clock_day;

/* The Gregorian day of so many days since 1970. Years begin in March here, so that the day that only
 * some have is their last, and 400 of them are always as long. */
static clock_day clock_day_of(uint64_t days)
{
    enum { ERA = 146097, CENTURY = 36524, FOUR_YEARS = 1460, BEFORE_1970 = 719468 };
    days += BEFORE_1970;
    unsigned in_era = (unsigned)(days % ERA);
    unsigned year = (in_era - in_era / FOUR_YEARS + in_era / CENTURY - in_era / (ERA - 1)) / 365;
    unsigned in_year = in_era - (365 * year + year / 4 - year / 100);
    unsigned month = (5 * in_year + 2) / 153; /* from March */
    return (clock_day){.year = days / ERA * 400 + year + (month >= 10),
                       .month = month < 10 ? month + 3 : month - 9,
                       .day = in_year - (153 * month + 2) / 5 + 1};
}

smx_slice clock_rfc3339(uint64_t wall_ms, char text[static CLOCK_TEXT])
{
    uint64_t seconds = wall_ms / 1000;
    clock_day date = clock_day_of(seconds / 86400);
    unsigned in_day = (unsigned)(seconds % 86400);
    char *at = digits_padded(text, date.year, 4);
    *at++ = '-';
    at = digits_two(at, date.month);
    *at++ = '-';
    at = digits_two(at, date.day);
    *at++ = 'T';
    at = clock_put_time(at, in_day / 3600, in_day / 60 % 60, in_day % 60);
    *at++ = '.';
    at = digits_padded(at, wall_ms % 1000, 3);
    *at++ = 'Z';
    return slice_of(text, (size_t)(at - text));
}
