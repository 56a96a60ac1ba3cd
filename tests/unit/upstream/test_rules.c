/* Patterns of replies: how they are written, what they match. */
#include "upstream/rules.h"

#include "support/unit_test.h"

static smx_reply reply(uint16_t code, smx_enhanced enhanced, const char *text)
{
    return (smx_reply){code, enhanced, slice_of_text(text)};
}

static bool matches(const char *pattern, uint32_t phases, smx_client_phase phase, smx_reply r)
{
    problem p = {""};
    upstream_rule rule = {.phases = phases};
    if (upstream_rule_parse(slice_of_text(pattern), &rule, &p) != 0)
        fail_msg("`%s`: %s", pattern, p.text);
    return upstream_rules_match(&rule, 1, phase, &r) == &rule;
}

static void upstream_rules__a_pattern_matches_code_enhanced_code_and_text(void **state)
{
    (void)state;
    static const struct {
        const char *pattern;
        uint16_t code;
        smx_enhanced enhanced;
        const char *text;
        bool is_match;
    } CASES[] = {
        {"454", 454, {0}, "any", true},
        {"454", 454, {4, 7, 0}, "", true},
        {"454", 455, {0}, "", false},
        {"454", 544, {0}, "", false},
        {"45x", 459, {0}, "", true},
        {"45x", 449, {0}, "", false},
        {"4xx", 421, {0}, "", true},
        {"4XX", 521, {0}, "", false},
        {"4xx 4.7.0", 454, {4, 7, 0}, "", true},
        {"4xx 4.7.0", 454, {4, 7, 1}, "", false},
        {"4xx 4.7.0", 454, {0}, "", false},
        {"4xx 4.7.x", 454, {4, 7, 128}, "", true},
        {"5xx x.7.x", 554, {5, 7, 1}, "", true},
        {"5xx x.x.x", 554, {0}, "", false},
        {"5xx 5.7.1", 554, {5, 7, 10}, "", false},
        {"454 *throttl*", 454, {0}, "Throttling failure: Daily message quota exceeded", true},
        {"454 *throttl*", 454, {4, 7, 0}, "Throttling", true},
        {"454 *throttl*", 454, {0}, "other", false},
        {"454  4.7.0   *daily*quota*", 454, {4, 7, 0}, "the DAILY\nsending quota", true},
        {"454 throttling", 454, {0}, "throttling failure", false},
        {"454 4.7.0.1*", 454, {4, 7, 0}, "4.7.0.1 is text", true},
    };
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        if (matches(CASES[i].pattern, 0, SMX_CLIENT_PHASE_FINAL,
                    reply(CASES[i].code, CASES[i].enhanced, CASES[i].text)) != CASES[i].is_match)
            fail_msg("`%s` and %u `%s`: expected %d", CASES[i].pattern, CASES[i].code,
                     CASES[i].text, CASES[i].is_match);
    }
}

static void upstream_rules__phases_bound_a_rule(void **state)
{
    (void)state;
    uint32_t phases = 1U << SMX_CLIENT_PHASE_MAIL | 1U << SMX_CLIENT_PHASE_FINAL;
    smx_reply r = reply(550, (smx_enhanced){5, 4, 5}, "");
    assert_true(matches("550", phases, SMX_CLIENT_PHASE_MAIL, r));
    assert_true(matches("550", phases, SMX_CLIENT_PHASE_FINAL, r));
    assert_false(matches("550", phases, SMX_CLIENT_PHASE_RCPT, r));
    assert_true(matches("550", 0, SMX_CLIENT_PHASE_BANNER, r));
}

static void upstream_rules__the_first_match_wins(void **state)
{
    (void)state;
    upstream_rule rules[3] = {{0}};
    assert_int_equal(upstream_rule_parse(SMX_SLICE("421 4.3.x"), &rules[0], NULL), 0);
    assert_int_equal(upstream_rule_parse(SMX_SLICE("421 *busy*"), &rules[1], NULL), 0);
    assert_int_equal(upstream_rule_parse(SMX_SLICE("4xx"), &rules[2], NULL), 0);
    smx_reply r = reply(421, (smx_enhanced){4, 7, 0}, "too busy");
    assert_ptr_equal(upstream_rules_match(rules, 3, SMX_CLIENT_PHASE_MAIL, &r), &rules[1]);
    r.text = SMX_SLICE("idle");
    assert_ptr_equal(upstream_rules_match(rules, 3, SMX_CLIENT_PHASE_MAIL, &r), &rules[2]);
    r.code = 550;
    assert_null(upstream_rules_match(rules, 3, SMX_CLIENT_PHASE_MAIL, &r));
    assert_null(upstream_rules_match(NULL, 0, SMX_CLIENT_PHASE_MAIL, &r));
}

static void upstream_rules__what_is_no_pattern_is_told_and_changes_nothing(void **state)
{
    (void)state;
    static const char *const WRONG[] = {"",    "x",         "45",        "4545",      "250", "3xx",
                                        "xxx", "throttled", "4.7.0 454", "454 5.7.0", "4-x", "55y"};
    for (size_t i = 0; i < sizeof(WRONG) / sizeof(WRONG[0]); i++) {
        problem p = {""};
        upstream_rule rule = {.text = SMX_SLICE("kept")};
        if (upstream_rule_parse(slice_of_text(WRONG[i]), &rule, &p) != SMX_E_SYNTAX)
            fail_msg("`%s` was taken", WRONG[i]);
        assert_true(strlen(p.text) > 10);
        assert_true(slice_equal(rule.text, SMX_SLICE("kept")));
    }
}

static void upstream_rules__final_is_only_for_a_refused_message(void **state)
{
    (void)state;
    static const struct {
        const char *pattern;
        uint32_t phases;
        int error;
    } CASES[] = {
        {"550", 1U << SMX_CLIENT_PHASE_MAIL | 1U << SMX_CLIENT_PHASE_FINAL, 0},
        {"5xx", 1U << SMX_CLIENT_PHASE_RCPT | 1U << SMX_CLIENT_PHASE_DATA, 0},
        {"450", 1U << SMX_CLIENT_PHASE_MAIL, SMX_E_INVALID},
        {"550", 0, SMX_E_INVALID},
        {"550", 1U << SMX_CLIENT_PHASE_AUTH, SMX_E_INVALID},
        {"550", 1U << SMX_CLIENT_PHASE_MAIL | 1U << SMX_CLIENT_PHASE_TLS, SMX_E_INVALID},
    };
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        problem p = {""};
        upstream_rule rule = {.phases = CASES[i].phases, .action = UPSTREAM_RULE_FINAL};
        assert_int_equal(upstream_rule_parse(slice_of_text(CASES[i].pattern), &rule, &p), 0);
        assert_int_equal(upstream_rule_check(&rule, &p), CASES[i].error);
        rule.action = UPSTREAM_RULE_NEXT;
        assert_int_equal(upstream_rule_check(&rule, &p), 0);
    }
}

static void upstream_rules__actions_have_words(void **state)
{
    (void)state;
    upstream_rule_action action;
    assert_int_equal(upstream_rule_action_parse(SMX_SLICE("quota"), &action), 0);
    assert_int_equal(action, UPSTREAM_RULE_QUOTA);
    assert_string_equal(upstream_rule_action_text(UPSTREAM_RULE_SUSPEND), "suspend");
    assert_int_equal(upstream_rule_action_parse(SMX_SLICE("retry"), &action), SMX_E_SYNTAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(upstream_rules__a_pattern_matches_code_enhanced_code_and_text),
        cmocka_unit_test(upstream_rules__phases_bound_a_rule),
        cmocka_unit_test(upstream_rules__the_first_match_wins),
        cmocka_unit_test(upstream_rules__what_is_no_pattern_is_told_and_changes_nothing),
        cmocka_unit_test(upstream_rules__final_is_only_for_a_refused_message),
        cmocka_unit_test(upstream_rules__actions_have_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
