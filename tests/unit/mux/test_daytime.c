/* Windows of the week. */
#include "support/unit_test.h"

#include "mux/daytime.h"

/* Monday, 2026-01-05 00:00 UTC. */
#define MONDAY 1767571200000ULL

#define at(day, hour, minute) (MONDAY + (((day)*24ULL + (hour)) * 60 + (minute)) * 60000ULL)

static mux_daytime window(const char *text)
{
    mux_daytime read;
    problem p = {""};
    int error = mux_daytime_parse(slice_of_text(text), &read, &p);
    if (error != 0)
        print_error("%s: %s\n", text, p.text);
    assert_int_equal(error, 0);
    return read;
}

static void mux_daytime__begin_is_inside_and_end_outside(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t moment;
        bool expected;
    } rows[] = {
        {"08:00-18:00", at(0, 7, 59), false},
        {"08:00-18:00", at(0, 8, 0), true},
        {"8:00-18:00", at(6, 17, 59), true},
        {"08:00-18:00", at(6, 18, 0), false},
        {"00:00-24:00", at(3, 23, 59), true},
        {"mon-fri", at(4, 23, 59), true},
        {"mon-fri", at(5, 0, 0), false},
        {"MON-Fri 08:00-18:00", at(4, 8, 0), true},
        {"mon-fri 08:00-18:00", at(5, 8, 0), false},
        {"sat,mon", at(0, 3, 0), true},
        {"sat,mon", at(1, 3, 0), false},
        {"fri-mon", at(6, 12, 0), true},
        {"fri-mon", at(0, 12, 0), true},
        {"fri-mon", at(1, 0, 0), false},
        {"fri-mon", at(4, 0, 0), true},
        /* over midnight: the day is the one on which it begins */
        {"fri 22:00-06:00", at(4, 21, 59), false},
        {"fri 22:00-06:00", at(4, 22, 0), true},
        {"fri 22:00-06:00", at(5, 5, 59), true},
        {"fri 22:00-06:00", at(5, 6, 0), false},
        {"fri 22:00-06:00", at(4, 5, 0), false},
        {"fri 22:00-06:00", at(5, 22, 0), false},
        {"sun 22:00-06:00", at(0, 5, 59), true},
        /* zones: winter and summer */
        {"mon 00:00-01:00 Europe/Berlin", at(0, 0, 0) - 3600000, true},
        {"mon 00:00-01:00 Europe/Berlin", at(0, 0, 0), false},
        {"12:00-13:00 Europe/Berlin", at(7 * 26, 10, 30), true},
        {"12:00-13:00 Europe/Berlin", at(7 * 26, 11, 30), false},
        {"12:00-13:00 UTC", at(0, 12, 30), true},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        mux_daytime w = window(rows[i].text);
        if (mux_daytime_contains(&w, rows[i].moment) != rows[i].expected)
            fail_msg("%s (row %zu) should be %d", rows[i].text, i, rows[i].expected);
        mux_daytime_free(&w);
    }
}

static void mux_daytime__what_is_no_window_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "  ",
        "UTC",
        "mno 08:00-18:00",
        "mon-",
        "-fri",
        "mon,,tue",
        "08:00",
        "08:00-",
        "8-18",
        "25:00-26:00",
        "24:00-01:00",
        "08:60-09:00",
        "24:01-05:00",
        "08:00-08:00",
        "mon Mars/Olympus",
        "mon 08:00-18:00 UTC x",
        "mon ../../etc/passwd",
        "mon /etc/localtime",
        "mon +02:00",
        "08:00-18:00 mon",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        mux_daytime untouched = {.begin = 77};
        problem p = {""};
        assert_int_equal(mux_daytime_parse(slice_of_text(texts[i]), &untouched, &p), SMX_E_SYNTAX);
        assert_int_equal(untouched.begin, 77);
        assert_true(strlen(p.text) > 20);
    }
}

static void mux_daytime__a_moment_is_shown_in_the_zone(void **state)
{
    (void)state;
    char text[MUX_DAYTIME_TEXT];
    mux_daytime w = window("mon Europe/Berlin");
    assert_slice(mux_daytime_write(&w, at(6, 23, 30), text), "mon 00:30 CET");
    mux_daytime_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mux_daytime__begin_is_inside_and_end_outside),
        cmocka_unit_test(mux_daytime__what_is_no_window_is_refused),
        cmocka_unit_test(mux_daytime__a_moment_is_shown_in_the_zone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
