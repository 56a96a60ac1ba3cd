/* DESIGN 4.3 as a grid: what each reply in each phase means for the message. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "mux/classify.h"

/* One letter for each phase, from connect to behind the dot:
 *   n  next upstream
 *   r  next upstream; this one refused it for good (the client gets 5xx if all do)
 *   s  next upstream; this one is suspended
 *   p  next upstream; this one pauses: the provider's own "too many"
 *   f  final: the client gets the refusal
 *   u  unknown: nobody else may try
 *   t  taken
 *   .  cannot be */
typedef struct row {
    const char *reply; /* code, enhanced code, text; "": the connection was lost, or silent */
    /*                     c b e t a m r d b f
                           o a h l u a c a o i
                           n n l s t i p t d n
                           n n o   h l t a y a */
    const char *meanings;
} row;

static const smx_client_phase PHASES[] = {
    SMX_CLIENT_PHASE_CONNECT, SMX_CLIENT_PHASE_BANNER, SMX_CLIENT_PHASE_EHLO, SMX_CLIENT_PHASE_TLS,
    SMX_CLIENT_PHASE_AUTH,    SMX_CLIENT_PHASE_MAIL,   SMX_CLIENT_PHASE_RCPT, SMX_CLIENT_PHASE_DATA,
    SMX_CLIENT_PHASE_BODY,    SMX_CLIENT_PHASE_FINAL,
};
enum { PHASE_COUNT = sizeof(PHASES) / sizeof(PHASES[0]) };

static const row rows[] = {
    /* "connect, TLS, banner, EHLO: next"; behind the dot nobody knows (4.4) */
    {"", "nnnnnnnnnu"},
    /* "421 ... then next; 421 after the dot: next"; "4xx anywhere: next" */
    {"421 try later", ".nnnnnnnnn"},
    {"421 4.3.2 shutting down", ".nnnnnnnnn"},
    {"421 4.7.0 greylisted", ".nnnnnnnnn"},
    {"432 4.3.2 busy", ".nnnnnnnnn"},
    {"450 4.2.1 mailbox busy", ".nnnnnnnnn"},
    {"450 4.2.1 mailbox receives too many messages", ".nnnnnnnnn"},
    {"451 4.3.0 local trouble", ".nnnnnnnnn"},
    {"452 4.3.1 disk full", ".nnnnnnnnn"},
    {"454 4.7.0 TLS not available", ".nnnnnnnnn"},
    /* "A provider's own 4xx `too many` starts a pause" (4.9) */
    {"421 4.7.0 Too many connections", ".ppppppppp"},
    {"421 4.7.0 an unusual rate of mail", ".ppppppppp"},
    {"421 4.7.0 sending LIMIT reached", ".ppppppppp"},
    {"421 4.7.0 quota used up", ".ppppppppp"},
    {"421 4.7.0 Moderate delay", ".nnnnnnnnn"},
    {"421 4.7.28 slow down", ".ppppppppp"},
    {"452 4.5.3 too many recipients", ".nnnnpnnnn"},
    {"454 4.7.0 Too many login attempts", ".nnnpnnnnn"},
    /* "530/534/535 and any 5xx to AUTH or STARTTLS: next, and suspended"; "5xx after the dot: final"
     */
    {"530 5.7.0 authentication required", ".ssssssssf"},
    {"534 5.7.9 mechanism too weak", ".ssssssssf"},
    {"535 5.7.8 bad credentials", ".ssssssssf"},
    {"535 bad credentials", ".ssssssssf"},
    /* "5xx to MAIL or DATA: next"; "to RCPT with 5.1.x, 5.2.1 or no enhanced code: final"; "5xx after
     * the dot: final, except 5.3.4" */
    {"550 no", ".nnssrfrnf"},
    {"554 no service", ".nnssrfrnf"},
    {"550 5.0.0 no", ".nnssrrrnf"},
    {"550 5.1.1 no such user", ".nnssrfrnf"},
    {"550 5.1.8 bad sender", ".nnssrfrnf"},
    {"556 5.1.10 null MX", ".nnssrfrnf"},
    {"550 5.2.1 disabled", ".nnssrfrnf"},
    {"550 5.2.0 no", ".nnssrrrnf"},
    {"552 5.2.2 mailbox full", ".nnssrrrnf"},
    {"552 5.2.3 too long", ".nnssrrrnf"},
    {"552 5.3.4 too big", ".nnssrrrnr"},
    {"550 5.4.5 daily limit", ".nnssrrrnf"},
    {"554 5.6.0 bad content", ".nnssrrrnf"},
    {"550 5.7.1 policy", ".nnssrrrnf"},
};

static smx_reply reply_of(const char *text)
{
    uint64_t code = 0;
    size_t len = 0;
    smx_slice rest = slice_of_text(text);
    smx_reply reply = {0};
    if (rest.len == 0)
        return reply;
    assert_int_equal(slice_to_number(slice_to(rest, 3), 599, &code), 0);
    reply.code = (uint16_t)code;
    rest = slice_from(rest, 4);
    if (smx_enhanced_parse(rest, &reply.enhanced, &len) == 0)
        rest = slice_trim(slice_from(rest, len));
    reply.text = rest;
    return reply;
}

/* As the client tells it: replies to a message are refusals, all else ends the connection. */
static smx_client_result result_of(const char *text, smx_client_phase phase)
{
    bool of_message = phase == SMX_CLIENT_PHASE_MAIL || phase == SMX_CLIENT_PHASE_RCPT ||
                      phase == SMX_CLIENT_PHASE_DATA || phase == SMX_CLIENT_PHASE_FINAL;
    smx_client_result r = {.phase = phase, .reply = reply_of(text)};
    r.outcome = r.reply.code == 0
                    ? (phase == SMX_CLIENT_PHASE_FINAL ? SMX_OUTCOME_UNKNOWN : SMX_OUTCOME_FAILED)
                : of_message ? SMX_OUTCOME_REFUSED
                             : SMX_OUTCOME_FAILED;
    return r;
}

static char letter_of(mux_classified c)
{
    bool is_next = c.action == MUX_ACTION_NEXT;
    assert_true(is_next || (!c.suspend && c.pause_ms == 0));
    assert_true(c.suspend || c.suspend_ms == 0);
    assert_true((int)c.suspend + (c.pause_ms != 0) + (is_next && c.permanent) <= 1);
    switch (c.action) {
    case MUX_ACTION_TAKEN:
        return 't';
    case MUX_ACTION_FINAL:
        assert_true(c.permanent);
        return 'f';
    case MUX_ACTION_UNKNOWN:
        return 'u';
    case MUX_ACTION_GIVEN_UP:
        return 'g';
    case MUX_ACTION_NEXT:
        break;
    }
    return c.suspend ? 's' : c.pause_ms != 0 ? 'p' : c.permanent ? 'r' : 'n';
}

static mux_classified classify(const smx_client_result *r, const upstream_rule *rules, size_t count)
{
    upstream_result result = {.client = r};
    return mux_classify(&result, rules, count);
}

static void mux_classify__each_reply_in_each_phase_means_what_the_design_says(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(strlen(rows[i].meanings), PHASE_COUNT);
        for (size_t p = 0; p < PHASE_COUNT; p++) {
            smx_client_result r = result_of(rows[i].reply, PHASES[p]);
            char letter = letter_of(classify(&r, NULL, 0));
            if (rows[i].meanings[p] != '.' && letter != rows[i].meanings[p])
                fail_msg("`%s` in phase %s: got %c, the design says %c", rows[i].reply,
                         smx_client_phase_text(PHASES[p]), letter, rows[i].meanings[p]);
        }
    }
}

static void mux_classify__taken_unknown_and_given_up_are_what_they_are(void **state)
{
    (void)state;
    smx_client_result r = {.outcome = SMX_OUTCOME_ACCEPTED,
                           .phase = SMX_CLIENT_PHASE_FINAL,
                           .reply = SMX_REPLY(250, 2, 0, 0, "ok")};
    assert_int_equal(letter_of(classify(&r, NULL, 0)), 't');
    r.outcome = SMX_OUTCOME_GIVEN_UP;
    assert_int_equal(letter_of(classify(&r, NULL, 0)), 'g');
    r.outcome = SMX_OUTCOME_UNKNOWN;
    assert_int_equal(letter_of(classify(&r, NULL, 0)), 'u');
}

static void mux_classify__an_unsuitable_server_is_a_refusal_but_not_final(void **state)
{
    (void)state;
    upstream_rule rule = {.action = UPSTREAM_RULE_QUOTA};
    assert_int_equal(upstream_rule_parse(SMX_SLICE("5xx"), &rule, NULL), 0);
    smx_client_result client = result_of("552 5.3.4 too big", SMX_CLIENT_PHASE_MAIL);
    upstream_result result = {.client = &client, .unsuitable = "too big"};
    assert_int_equal(letter_of(mux_classify(&result, &rule, 1)), 'r');
}

/* ---- rules ---- */

static upstream_rule rule_of(const char *pattern, upstream_rule_action action, uint32_t ms)
{
    upstream_rule rule = {.action = action, .ms = ms};
    problem p = {""};
    if (upstream_rule_parse(slice_of_text(pattern), &rule, &p) != 0)
        fail_msg("%s", p.text);
    return rule;
}

static void mux_classify__a_rule_goes_before_the_design_s_own_table(void **state)
{
    (void)state;
    static const struct {
        const char *pattern;
        upstream_rule_action action;
        const char *reply;
        const char *meanings; /* as above */
    } CASES[] = {
        {"550 5.4.5", UPSTREAM_RULE_QUOTA, "550 5.4.5 daily limit", ".ppppppppp"},
        {"454 *throttl*", UPSTREAM_RULE_QUOTA, "454 Throttling failure", ".ppppppppp"},
        {"554 *", UPSTREAM_RULE_NEXT, "554 5.6.0 not verified", ".nnnnrrrnr"},
        {"45x", UPSTREAM_RULE_NEXT, "454 4.7.0 no", ".nnnnnnnnn"},
        {"4xx 4.7.x", UPSTREAM_RULE_SUSPEND, "421 4.7.28 blocked", ".sssssssss"},
        {"550 5.7.1", UPSTREAM_RULE_SUSPEND, "550 5.7.1 account disabled", ".sssssssss"},
        {"535", UPSTREAM_RULE_QUOTA, "535 too many attempts", ".ppppppppp"},
        {"550", UPSTREAM_RULE_FINAL, "550 5.7.1 spam", ".nnssfffnf"},
        {"4xx", UPSTREAM_RULE_FINAL, "450 4.7.1 no", ".nnnnnnnnn"},
        {"550", UPSTREAM_RULE_QUOTA, "", "nnnnnnnnnu"},
    };
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        upstream_rule rule = rule_of(CASES[i].pattern, CASES[i].action, 0);
        for (size_t p = 0; p < PHASE_COUNT; p++) {
            smx_client_result r = result_of(CASES[i].reply, PHASES[p]);
            char letter = letter_of(classify(&r, &rule, 1));
            if (CASES[i].meanings[p] != '.' && letter != CASES[i].meanings[p])
                fail_msg("%zu: `%s` in phase %s: got %c instead of %c", i, CASES[i].reply,
                         smx_client_phase_text(PHASES[p]), letter, CASES[i].meanings[p]);
        }
    }
}

static void mux_classify__a_rule_never_undoes_what_is_taken_or_unknown(void **state)
{
    (void)state;
    static const upstream_rule_action ACTIONS[] = {UPSTREAM_RULE_NEXT, UPSTREAM_RULE_SUSPEND,
                                                   UPSTREAM_RULE_QUOTA, UPSTREAM_RULE_FINAL};
    for (size_t i = 0; i < sizeof(ACTIONS) / sizeof(ACTIONS[0]); i++) {
        upstream_rule rules[] = {rule_of("4xx", ACTIONS[i], 1), rule_of("5xx", ACTIONS[i], 1)};
        smx_client_result r = result_of("550 5.7.1 no", SMX_CLIENT_PHASE_FINAL);
        r.outcome = SMX_OUTCOME_UNKNOWN;
        assert_int_equal(letter_of(classify(&r, rules, 2)), 'u');
        r.outcome = SMX_OUTCOME_ACCEPTED;
        assert_int_equal(letter_of(classify(&r, rules, 2)), 't');
        r.outcome = SMX_OUTCOME_GIVEN_UP;
        assert_int_equal(letter_of(classify(&r, rules, 2)), 'g');
    }
}

static void mux_classify__a_rule_s_time_is_handed_on(void **state)
{
    (void)state;
    smx_client_result r = result_of("454 4.7.0 no", SMX_CLIENT_PHASE_FINAL);
    upstream_rule rule = rule_of("454", UPSTREAM_RULE_QUOTA, 7000);
    assert_int_equal(classify(&r, &rule, 1).pause_ms, 7000);
    rule.ms = 0;
    assert_int_equal(classify(&r, &rule, 1).pause_ms, UPSTREAM_RULE_QUOTA_MS);
    rule = rule_of("454", UPSTREAM_RULE_SUSPEND, 9000);
    assert_int_equal(classify(&r, &rule, 1).suspend_ms, 9000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mux_classify__each_reply_in_each_phase_means_what_the_design_says),
        cmocka_unit_test(mux_classify__taken_unknown_and_given_up_are_what_they_are),
        cmocka_unit_test(mux_classify__an_unsuitable_server_is_a_refusal_but_not_final),
        cmocka_unit_test(mux_classify__a_rule_goes_before_the_design_s_own_table),
        cmocka_unit_test(mux_classify__a_rule_never_undoes_what_is_taken_or_unknown),
        cmocka_unit_test(mux_classify__a_rule_s_time_is_handed_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
