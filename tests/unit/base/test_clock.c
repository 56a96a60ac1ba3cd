/* Time as text, in zones on both sides of Greenwich; clocks that run. */
#include "base/clock.h"

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
        cmocka_unit_test(base_clock__monotonic_never_goes_back),
        cmocka_unit_test(base_clock__wall_is_after_this_was_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
