/* Calendar windows: days of 23 and 25 hours, hours that come twice, month ends. The moments are from
 * `date -d "TZ=\"Europe/Berlin\" 2026-03-29 00:00" +%s`. */
#include "upstream/calendar.h"

#include "support/unit_test.h"

typedef struct expected_window {
    const char *zone;
    calendar_unit unit;
    uint64_t now; /* seconds */
    uint64_t begin;
    uint64_t end;
} expected_window;

enum { H = 3600 };

static const expected_window WINDOWS[] = {
    {"UTC", CALENDAR_SECOND, 1000, 1000, 1001},
    {"UTC", CALENDAR_MINUTE, 119, 60, 120},
    {"UTC", CALENDAR_HOUR, 7199, 3600, 7200},
    {"UTC", CALENDAR_DAY, 0, 0, 86400},
    {"UTC", CALENDAR_DAY, 86399, 0, 86400},
    /* Berlin, 2026-03-29: 23 hours; midnight was 23:00 UTC of the day before */
    {"Europe/Berlin", CALENDAR_DAY, 1774738799, 1774652400, 1774738800},
    {"Europe/Berlin", CALENDAR_DAY, 1774738800, 1774738800, 1774738800 + 23 * H},
    {"Europe/Berlin", CALENDAR_DAY, 1774738800 + 23 * H - 1, 1774738800, 1774738800 + 23 * H},
    /* Berlin, 2026-10-25: 25 hours */
    {"Europe/Berlin", CALENDAR_DAY, 1792879200, 1792879200, 1792879200 + 25 * H},
    {"Europe/Berlin", CALENDAR_DAY, 1792879200 + 25 * H - 1, 1792879200, 1792879200 + 25 * H},
    /* 2:00 to 3:00 comes twice: two windows */
    {"Europe/Berlin", CALENDAR_HOUR, 1792879200 + 2 * H + 5, 1792879200 + 2 * H,
     1792879200 + 3 * H},
    {"Europe/Berlin", CALENDAR_HOUR, 1792879200 + 3 * H + 5, 1792879200 + 3 * H,
     1792879200 + 4 * H},
    /* New York, 2026-03-08 and 2026-11-01 */
    {"America/New_York", CALENDAR_DAY, 1772946000 + 5, 1772946000, 1772946000 + 23 * H},
    {"America/New_York", CALENDAR_DAY, 1793505600 + 5, 1793505600, 1793505600 + 25 * H},
    /* half an hour beside UTC's hours */
    {"Asia/Kolkata", CALENDAR_HOUR, 1800, 1800, 5400},
    /* Cuba's clocks went from 0:00 to 1:00: the day of 2024-03-10 began at 1:00 */
    {"America/Havana", CALENDAR_DAY, 1710046800, 1710046800, 1710046800 + 23 * H},
    {"America/Havana", CALENDAR_DAY, 1710046799, 1709960400, 1710046800},
    /* and back from 1:00 to 0:00: the first of two midnights, 2024-11-03 */
    {"America/Havana", CALENDAR_DAY, 1730606400 + H + 1, 1730606400, 1730606400 + 25 * H},
    /* a day that Samoa never had: 2011-12-30 */
    {"Pacific/Apia", CALENDAR_DAY, 1325239199, 1325152800, 1325239200},
    {"Pacific/Apia", CALENDAR_DAY, 1325239200, 1325239200, 1325325600},
    /* weeks begin on Monday: 2026-11-16 */
    {"UTC", CALENDAR_WEEK, 1795219200, 1794787200, 1795392000},
    {"UTC", CALENDAR_WEEK, 1794787199, 1794182400, 1794787200},
    /* the week of Berlin's 23 hours */
    {"Europe/Berlin", CALENDAR_WEEK, 1774738800, 1774220400, 1774220400 + 167 * H},
    /* months: February of a leap year, of another, of 2000 and 2100; December; Berlin's March */
    {"UTC", CALENDAR_MONTH, 1709164800, 1706745600, 1709251200},
    {"UTC", CALENDAR_MONTH, 1772236800, 1769904000, 1772323200},
    {"UTC", CALENDAR_MONTH, 951782400, 949363200, 951868800},
    {"UTC", CALENDAR_MONTH, 4107456000, 4105123200, 4107542400},
    {"UTC", CALENDAR_MONTH, 1798761599, 1796083200, 1798761600},
    {"Europe/Berlin", CALENDAR_MONTH, 1774738800, 1772319600, 1774994400},
    {"UTC", CALENDAR_MONTH, 0, 0, 31 * 24 * H},
};

static void calendar__windows_are_where_the_zones_clocks_say(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(WINDOWS) / sizeof(WINDOWS[0]); i++) {
        const expected_window *w = &WINDOWS[i];
        calendar_zone *zone;
        uint64_t begin;
        uint64_t end;
        assert_int_equal(calendar_zone_new(w->zone, &zone), 0);
        calendar_window(zone, w->unit, w->now * 1000 + 7, &begin, &end);
        if (begin != w->begin * 1000 || end != w->end * 1000)
            fail_msg("row %zu, %s: %llu to %llu", i, w->zone, (unsigned long long)begin / 1000,
                     (unsigned long long)end / 1000);
        calendar_zone_free(zone);
    }
}

/* Every moment is in one window, and where one ends the next begins. */
static void calendar__windows_follow_each_other_without_a_gap(void **state)
{
    (void)state;
    static const char *const ZONES[] = {"Europe/Berlin",  "America/New_York", "America/Havana",
                                        "Asia/Kathmandu", "Atlantic/Azores",  "Africa/Casablanca",
                                        "Asia/Beirut",    "America/Asuncion"};
    for (size_t z = 0; z < sizeof(ZONES) / sizeof(ZONES[0]); z++) {
        calendar_zone *zone;
        assert_int_equal(calendar_zone_new(ZONES[z], &zone), 0);
        uint64_t at = 1577836800000; /* 2020 to 2030 */
        size_t days = 0;
        while (at < 1893456000000) {
            uint64_t begin;
            uint64_t end;
            uint64_t again;
            uint64_t again_end;
            calendar_window(zone, CALENDAR_DAY, at, &begin, &end);
            assert_true(begin <= at && at < end);
            assert_in_range(end - begin, 22 * 3600000, 26 * 3600000);
            calendar_window(zone, CALENDAR_DAY, end - 1, &again, &again_end);
            assert_int_equal(again, begin);
            assert_int_equal(again_end, end);
            at = end;
            days++;
        }
        assert_in_range(days, 3652, 3654);
        calendar_zone_free(zone);
    }
}

static void calendar__unknown_zones_are_told(void **state)
{
    (void)state;
    calendar_zone *zone;
    assert_int_equal(calendar_zone_new("Europe/Atlantis", &zone), SMX_E_NOTFOUND);
    assert_int_equal(calendar_zone_new("../../etc/passwd", &zone), SMX_E_NOTFOUND);
    calendar_zone_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calendar__windows_are_where_the_zones_clocks_say),
        cmocka_unit_test(calendar__windows_follow_each_other_without_a_gap),
        cmocka_unit_test(calendar__unknown_zones_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
