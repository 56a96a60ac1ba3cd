/* Faults on demand: what --fail and --limit take, and how often faults strike. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "app/sink_faults.h"

enum { DRAWS = 10000 };

static int add(sink_faults *faults, const char *text)
{
    problem p;
    return sink_faults_add(faults, slice_of_text(text), &p);
}

static void app_sink_faults__each_phase_and_each_action_has_its_word(void **state)
{
    static const struct {
        const char *text;
        sink_fault expected;
    } cases[] = {
        {"connect:421", {SINK_CONNECT, SINK_ACTION_REPLY, 421, 1}},
        {"ehlo:close", {SINK_EHLO, SINK_ACTION_CLOSE, 0, 1}},
        {"starttls:454", {SINK_STARTTLS, SINK_ACTION_REPLY, 454, 1}},
        {"auth:535", {SINK_AUTH, SINK_ACTION_REPLY, 535, 1}},
        {"mail:reset", {SINK_MAIL, SINK_ACTION_RESET, 0, 1}},
        {"rcpt:451:0.25", {SINK_RCPT, SINK_ACTION_REPLY, 451, 0.25}},
        {"data:stall", {SINK_DATA, SINK_ACTION_STALL, 0, 1}},
        {"body:close:0", {SINK_BODY, SINK_ACTION_CLOSE, 0, 0}},
        {"dot:599", {SINK_DOT, SINK_ACTION_REPLY, 599, 1}},
        {"after-dot:garbage:1", {SINK_AFTER_DOT, SINK_ACTION_GARBAGE, 0, 1}},
        {"drop-after-dot", {SINK_AFTER_DOT, SINK_ACTION_CLOSE, 0, 1}},
        {"drop-after-dot:0.5", {SINK_AFTER_DOT, SINK_ACTION_CLOSE, 0, 0.5}},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        sink_faults faults = {0};
        assert_int_equal(add(&faults, cases[i].text), 0);
        assert_int_equal(faults.count, 1);
        assert_int_equal(faults.faults[0].phase, cases[i].expected.phase);
        assert_int_equal(faults.faults[0].action, cases[i].expected.action);
        assert_int_equal(faults.faults[0].code, cases[i].expected.code);
        assert_true(faults.faults[0].probability == cases[i].expected.probability);
    }
}

static void app_sink_faults__anything_else_is_refused_and_changes_nothing(void **state)
{
    static const char *const wrong[] = {
        "",
        "rcpt",
        "rcpt:",
        "rcpt:399",
        "rcpt:600",
        "rcpt:0451",
        "rcpt:45",
        "rcpt:250",
        "rcpt:what",
        "RCPT:451",
        "nowhere:451",
        "rcpt:451:",
        "rcpt:451:1.1",
        "rcpt:451:-0.1",
        "rcpt:451:half",
        "rcpt:451:nan",
        "rcpt:451:0.5:x",
        "body:451",
        "drop-after-dot:2",
        ":451",
    };
    (void)state;
    sink_faults faults = {0};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        problem p = {""};
        if (sink_faults_add(&faults, slice_of_text(wrong[i]), &p) != SMX_E_SYNTAX)
            fail_msg("`%s` was taken", wrong[i]);
        assert_int_equal(faults.count, 0);
        assert_true(strlen(p.text) > 0);
    }
}

static void app_sink_faults__there_is_a_limit_of_their_number(void **state)
{
    (void)state;
    sink_faults faults = {0};
    for (size_t i = 0; i < SINK_FAULTS_MAX; i++)
        assert_int_equal(add(&faults, "rcpt:451"), 0);
    assert_int_equal(add(&faults, "rcpt:451"), SMX_E_LIMIT);
    assert_int_equal(faults.count, SINK_FAULTS_MAX);
}

static size_t strikes(const char *text, sink_phase phase, uint64_t seed)
{
    sink_faults faults = {.random = seed};
    size_t count = 0;
    assert_int_equal(add(&faults, text), 0);
    for (size_t i = 0; i < DRAWS; i++)
        count += sink_faults_draw(&faults, phase).action != SINK_ACTION_NONE;
    return count;
}

static void app_sink_faults__they_strike_as_often_as_they_should(void **state)
{
    (void)state;
    assert_int_equal(strikes("rcpt:451", SINK_RCPT, 1), DRAWS);
    assert_int_equal(strikes("rcpt:451:0", SINK_RCPT, 1), 0);
    assert_int_equal(strikes("rcpt:451", SINK_MAIL, 1), 0);
    assert_in_range(strikes("rcpt:451:0.3", SINK_RCPT, 1), DRAWS * 28 / 100, DRAWS * 32 / 100);
}

static void app_sink_faults__the_same_seed_gives_the_same_faults(void **state)
{
    sink_faults a = {.random = 7};
    sink_faults b = {.random = 7};
    sink_faults c = {.random = 8};
    size_t different = 0;
    (void)state;
    assert_int_equal(add(&a, "rcpt:451:0.5"), 0);
    assert_int_equal(add(&b, "rcpt:451:0.5"), 0);
    assert_int_equal(add(&c, "rcpt:451:0.5"), 0);
    for (size_t i = 0; i < DRAWS; i++) {
        sink_action action = sink_faults_draw(&a, SINK_RCPT).action;
        assert_int_equal(sink_faults_draw(&b, SINK_RCPT).action, action);
        different += sink_faults_draw(&c, SINK_RCPT).action != action;
    }
    assert_in_range(different, DRAWS / 3, DRAWS * 2 / 3);
}

static void app_sink_faults__the_first_that_strikes_is_it(void **state)
{
    (void)state;
    sink_faults faults = {0};
    assert_int_equal(add(&faults, "rcpt:451:0"), 0);
    assert_int_equal(add(&faults, "rcpt:452"), 0);
    assert_int_equal(add(&faults, "rcpt:close"), 0);
    assert_int_equal(sink_faults_draw(&faults, SINK_RCPT).code, 452);
}

static void app_sink_limit__a_number_in_a_window(void **state)
{
    static const struct {
        const char *text;
        uint32_t count;
        uint64_t window_ms;
    } cases[] = {{"5/s", 5, 1000},
                 {"20/m", 20, 60000},
                 {"100/h", 100, 3600000},
                 {"1000/day", 1000, 86400000}};
    static const char *const wrong[] = {"", "5", "/s", "5/", "5/week", "-5/s", "5/s/s", "x/s"};
    uint32_t count = 0;
    uint64_t window = 0;
    problem p;
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(sink_limit_parse(slice_of_text(cases[i].text), &count, &window, &p), 0);
        assert_int_equal(count, cases[i].count);
        assert_int_equal(window, cases[i].window_ms);
    }
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_int_equal(sink_limit_parse(slice_of_text(wrong[i]), &count, &window, &p),
                         SMX_E_SYNTAX);
    assert_int_equal(count, 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(app_sink_faults__each_phase_and_each_action_has_its_word),
        cmocka_unit_test(app_sink_faults__anything_else_is_refused_and_changes_nothing),
        cmocka_unit_test(app_sink_faults__there_is_a_limit_of_their_number),
        cmocka_unit_test(app_sink_faults__they_strike_as_often_as_they_should),
        cmocka_unit_test(app_sink_faults__the_same_seed_gives_the_same_faults),
        cmocka_unit_test(app_sink_faults__the_first_that_strikes_is_it),
        cmocka_unit_test(app_sink_limit__a_number_in_a_window),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
