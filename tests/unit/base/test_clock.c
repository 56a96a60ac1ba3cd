/* Time as text, in zones on both sides of Greenwich; clocks that run. */
#include "base/clock.h"

#include <stdio.h>

#include "support/unit_test.h"

static void zone_set(const char *zone)
{
    assert_int_equal(setenv("TZ", zone, 1), 0);
    tzset();
}

static void base_clock__rfc5322_in_utc(void **state)
{
    (void)state;
    char text[CLOCK_TEXT];
    zone_set("UTC0");
    assert_slice(clock_rfc5322(0, text), "Thu, 1 Jan 1970 00:00:00 +0000");
    assert_slice(clock_rfc5322(1795256238999ULL, text), "Sat, 21 Nov 2026 10:17:18 +0000");
    assert_slice(clock_rfc5322(951782399000ULL, text), "Mon, 28 Feb 2000 23:59:59 +0000");
    assert_slice(clock_rfc5322(951782400000ULL, text), "Tue, 29 Feb 2000 00:00:00 +0000");
}

static void base_clock__rfc5322_east_and_west(void **state)
{
    (void)state;
    char text[CLOCK_TEXT];
    zone_set("IST-5:30");
    assert_slice(clock_rfc5322(0, text), "Thu, 1 Jan 1970 05:30:00 +0530");
    zone_set("NST3:30");
    assert_slice(clock_rfc5322(0, text), "Wed, 31 Dec 1969 20:30:00 -0330");
    zone_set("UTC0");
}

static void base_clock__rfc3339_is_utc_with_milliseconds(void **state)
{
    (void)state;
    char text[CLOCK_TEXT];
    zone_set("IST-5:30");
    assert_slice(clock_rfc3339(1795256238007ULL, text), "2026-11-21T10:17:18.007Z");
    zone_set("UTC0");
    assert_slice(clock_rfc3339(0, text), "1970-01-01T00:00:00.000Z");
}

/* Every day of more than 400 years, over which the calendar repeats, at another time of the day. */
static void base_clock__rfc3339_is_what_gmtime_says(void **state)
{
    (void)state;
    char text[CLOCK_TEXT];
    char expected[CLOCK_TEXT];
    for (uint64_t day = 0; day < 200000; day++) {
        time_t seconds = (time_t)(day * 86400 + day * 7919 % 86400);
        struct tm utc;
        assert_non_null(gmtime_r(&seconds, &utc));
        assert_int_equal(strftime(expected, sizeof(expected), "%Y-%m-%dT%H:%M:%S.", &utc), 20);
        (void)snprintf(expected + 20, sizeof(expected) - 20, "%03uZ", (unsigned)(day % 1000));
        assert_slice(clock_rfc3339((uint64_t)seconds * 1000 + day % 1000, text), expected);
    }
    assert_slice(clock_rfc3339(UINT64_MAX / 1000 * 1000, text), "584556019-04-03T14:25:51.000Z");
}

static void base_clock__rfc5322_is_what_localtime_says(void **state)
{
    (void)state;
    char text[CLOCK_TEXT];
    char expected[64];
    zone_set("CET-1CEST,M3.5.0,M10.5.0/3");
    for (uint64_t hour = 0; hour < 1000000; hour += 5) {
        time_t seconds = (time_t)(hour * 3600 + hour * 31 % 3600);
        struct tm local;
        assert_non_null(localtime_r(&seconds, &local));
        assert_true(strftime(expected, sizeof(expected), "%a, %d %b %Y %H:%M:%S %z", &local) > 0);
        if (expected[5] == '0')
            memmove(expected + 5, expected + 6, strlen(expected + 5));
        assert_slice(clock_rfc5322((uint64_t)seconds * 1000, text), expected);
    }
    zone_set("UTC0");
}

static void base_clock__date_is_kept_for_a_second(void **state)
{
    (void)state;
    clock_date date = {0};
    zone_set("CET-1CEST,M3.5.0,M10.5.0/3");
    assert_slice(clock_date_text(&date, 0), "Thu, 1 Jan 1970 01:00:00 +0100");
    assert_slice(clock_date_text(&date, 1792889999000ULL), "Sun, 25 Oct 2026 02:59:59 +0200");
    date.text[0] = 'x'; /* to see that it is the same text */
    assert_slice(clock_date_text(&date, 1792889999999ULL), "xun, 25 Oct 2026 02:59:59 +0200");
    assert_slice(clock_date_text(&date, 1792890000000ULL), "Sun, 25 Oct 2026 02:00:00 +0100");
    assert_slice(clock_date_text(&date, 1792889999000ULL), "Sun, 25 Oct 2026 02:59:59 +0200");
    zone_set("UTC0");
}

static void base_clock__monotonic_never_goes_back(void **state)
{
    (void)state;
    uint64_t last = clock_monotonic_ms();
    for (int i = 0; i < 10000; i++) {
        uint64_t now = clock_monotonic_ms();
        assert_true(now >= last);
        last = now;
    }
}

static void base_clock__wall_is_after_this_was_written(void **state)
{
    (void)state;
    assert_true(clock_wall_ms() > 1700000000000ULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(base_clock__rfc5322_in_utc),
        cmocka_unit_test(base_clock__rfc5322_east_and_west),
        cmocka_unit_test(base_clock__rfc3339_is_utc_with_milliseconds),
        cmocka_unit_test(base_clock__rfc3339_is_what_gmtime_says),
        cmocka_unit_test(base_clock__rfc5322_is_what_localtime_says),
        cmocka_unit_test(base_clock__date_is_kept_for_a_second),
        cmocka_unit_test(base_clock__monotonic_never_goes_back),
        cmocka_unit_test(base_clock__wall_is_after_this_was_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
