/* The route of a message, recipients that share one, and what is said to those that do not. */
#include "support/unit_test.h"

#include "mux/route.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static mux_facts message_to(const char *recipient)
{
    return (mux_facts){
        .known = MUX_FACTS_ALL,
        .user = SMX_SLICE("ann"),
        .sender = SMX_SLICE("ann@example.com"),
        .recipient = slice_of_text(recipient),
        .header = SMX_SLICE("Subject: hello\r\n"),
        .size = 1000,
    };
}

static mux_facts envelope_to(const char *recipient)
{
    mux_facts facts = message_to(recipient);
    facts.known = MUX_FACTS_ENVELOPE;
    return facts;
}

/* ---- a small table of routes ---- */

static const mux_pattern example_org[] = {{.text = SMX_SLICE("example.org")}};
static const mux_pattern bulk[] = {{.text = SMX_SLICE("bulk")}};
static const mux_condition to_org = {
    .word = MUX_WORD_RCPT_DOMAIN, .patterns = example_org, .pattern_count = 1};
static const mux_condition is_bulk = {.word = MUX_WORD_HEADER,
                                      .field = SMX_SLICE("X-Priority"),
                                      .patterns = bulk,
                                      .pattern_count = 1};
static const mux_match match_bulk = {&is_bulk, 1};
static const mux_match match_org = {&to_org, 1};

static const upstream_options upstreams[] = {{.name = "smtp"}, {.name = "lmtp", .lmtp = true}};
static const mux_choice to_smtp[] = {{0, 1}};
static const mux_choice to_lmtp[] = {{0, 1}, {1, 1}};
static const mux_user_options ann = {
    .plan = {.choices = to_smtp, .choice_count = 1, .deadline_ms = 7, .add_missing = 3}};

static mux_options options_with(const mux_route_options *routes, size_t count)
{
    return (mux_options){
        .upstreams = upstreams, .upstream_count = 2, .routes = routes, .route_count = count};
}

static void mux_route__the_first_that_holds_wins(void **state)
{
    (void)state;
    static const mux_route_options routes[] = {
        {.name = "bulk", .match = &match_bulk},
        {.name = "org", .match = &match_org},
        {.name = "org again", .match = &match_org},
    };
    const mux_options options = options_with(routes, COUNT(routes));
    mux_facts facts = message_to("bob@example.org");
    assert_int_equal(mux_route_find(&options, &facts), 1);
    facts.header = SMX_SLICE("X-Priority: bulk\r\n");
    assert_int_equal(mux_route_find(&options, &facts), 0);
    facts = message_to("bob@example.net");
    assert_int_equal(mux_route_find(&options, &facts), MUX_ROUTE_NONE);
}

static void mux_route__possible_ones_end_with_a_yes(void **state)
{
    (void)state;
    static const mux_route_options routes[] = {
        {.name = "bulk", .match = &match_bulk},
        {.name = "org", .match = &match_org},
        {.name = "all", .match = NULL},
    };
    const mux_options options = options_with(routes, COUNT(routes));
    mux_facts facts = envelope_to("bob@example.net");
    mux_fit fit = MUX_NO;
    assert_int_equal(mux_route_possible(&options, &facts, 0, &fit), 0);
    assert_int_equal(fit, MUX_MAYBE);
    assert_int_equal(mux_route_possible(&options, &facts, 1, &fit), 2);
    assert_int_equal(fit, MUX_YES);
    assert_int_equal(mux_route_possible(&options, &facts, 3, &fit), MUX_ROUTE_NONE);
}

static void mux_route__keys_that_a_route_leaves_out_are_the_users(void **state)
{
    (void)state;
    static const mux_route_options routes[] = {
        {.plan = {.choices = to_lmtp, .choice_count = 2, .deadline_ms = 9, .add_missing = 1},
         .given = 1U << MUX_PLAN_BIT_deadline_ms},
    };
    mux_plan plan;
    mux_route_plan(&ann, &routes[0], &plan);
    assert_ptr_equal(plan.choices, to_lmtp);
    assert_int_equal(plan.deadline_ms, 9);
    assert_int_equal(plan.add_missing, 3);
    mux_route_plan(&ann, NULL, &plan);
    assert_ptr_equal(plan.choices, to_smtp);
    assert_int_equal(plan.deadline_ms, 7);
}

/* ---- recipients ---- */

static smx_reply ask(const mux_options *options, const mux_user_options *user, const char *first,
                     const char *next)
{
    const mux_facts a = envelope_to(first);
    const mux_facts b = envelope_to(next);
    return mux_route_refuse_recipient(options, user, &a, &b);
}

static void mux_route__recipients_share_what_is_still_possible_for_both(void **state)
{
    (void)state;
    static const mux_route_options routes[] = {
        {.name = "bulk", .match = &match_bulk},
        {.name = "org", .match = &match_org},
    };
    const mux_options options = options_with(routes, COUNT(routes));
    smx_reply refusal = ask(&options, &ann, "a@example.org", "b@example.net");
    assert_int_equal(refusal.code, 452);
    assert_int_equal(refusal.enhanced.subject, 5);
    assert_int_equal(refusal.enhanced.detail, 3);
    assert_int_equal(ask(&options, &ann, "a@example.org", "b@EXAMPLE.org").code, 0);
    assert_int_equal(ask(&options, &ann, "a@example.net", "b@example.com").code, 0);
    const mux_options none = options_with(NULL, 0);
    assert_int_equal(ask(&none, &ann, "a@example.org", "b@example.net").code, 0);
}

/* A condition on the recipient within a match that the header decides. */
static void mux_route__what_is_left_to_decide_must_be_the_same(void **state)
{
    (void)state;
    static const mux_condition both[] = {
        {.word = MUX_WORD_RCPT_DOMAIN, .patterns = example_org, .pattern_count = 1},
        {.word = MUX_WORD_HEADER,
         .field = SMX_SLICE("X-Priority"),
         .patterns = bulk,
         .pattern_count = 1},
    };
    static const mux_match bulk_to_org = {both, 2};
    static const mux_condition not_both = {.word = MUX_WORD_NOT, .nested = &bulk_to_org};
    static const mux_match negated = {&not_both, 1};
    static const mux_condition twice = {.word = MUX_WORD_NOT, .nested = &negated};
    static const mux_match nested = {&twice, 1};
    static const mux_route_options routes[] = {{.match = &nested}};
    const mux_options options = options_with(routes, COUNT(routes));
    assert_int_equal(ask(&options, &ann, "a@example.org", "b@example.net").code, 452);
    assert_int_equal(ask(&options, &ann, "a@example.net", "b@example.net").code, 0);
    assert_int_equal(ask(&options, &ann, "a@example.org", "b@example.org").code, 0);
}

static void mux_route__first_lets_all_go_its_way(void **state)
{
    (void)state;
    static const mux_route_options routes[] = {{.name = "org", .match = &match_org}};
    static const mux_route_options defers[] = {
        {.name = "org", .match = &match_org, .given = 1U << MUX_PLAN_BIT_mixed_routes}};
    const mux_options options = options_with(routes, COUNT(routes));
    const mux_options route_defers = options_with(defers, COUNT(defers));
    mux_user_options first = ann;
    first.plan.mixed_routes = MUX_MIXED_FIRST;
    assert_int_equal(ask(&options, &first, "a@example.org", "b@example.net").code, 0);
    assert_int_equal(ask(&route_defers, &first, "a@example.org", "b@example.net").code, 452);
    assert_int_equal(ask(&route_defers, &first, "b@example.net", "a@example.org").code, 0);
}

static void mux_route__behind_lmtp_a_recipient_is_alone(void **state)
{
    (void)state;
    static const mux_route_options routes[] = {
        {.name = "bulk", .match = &match_bulk, .plan = {.choices = to_lmtp, .choice_count = 2}}};
    static const mux_route_options to_others[] = {
        {.name = "org", .match = &match_org, .plan = {.choices = to_lmtp, .choice_count = 2}}};
    const mux_options options = options_with(routes, COUNT(routes));
    const mux_options others = options_with(to_others, COUNT(to_others));
    const mux_options none = options_with(NULL, 0);
    mux_user_options user = ann;
    user.plan.mixed_routes = MUX_MIXED_FIRST;
    smx_reply refusal = ask(&options, &user, "a@example.net", "b@example.net");
    assert_int_equal(refusal.code, 452);
    assert_true(slice_search(refusal.text, SMX_SLICE("LMTP")) < refusal.text.len);
    assert_int_equal(ask(&others, &user, "a@example.net", "b@example.net").code, 0);
    assert_int_equal(ask(&others, &user, "a@example.org", "b@example.org").code, 452);
    user.plan.choices = to_lmtp;
    user.plan.choice_count = 2;
    assert_int_equal(ask(&none, &user, "a@example.net", "b@example.net").code, 452);
}

/* ---- recipients that share a route always end on the same one ---- */

enum { ROUTES = 4, CONDITIONS = 3, ROUNDS = 20000 };

typedef struct random_match {
    mux_match match, inner;
    mux_condition conditions[CONDITIONS], inner_conditions[CONDITIONS];
    mux_pattern patterns[2 * CONDITIONS];
} random_match;

static uint64_t seed;

static size_t pick(size_t count)
{
    seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
    return (size_t)(seed >> 33) % count;
}

static mux_condition random_condition(mux_pattern *pattern)
{
    static const char *const rcpt[] = {"*@example.org", "bob@*", "*", "carl@example.net"};
    static const char *const priority[] = {"bulk", "*", "low"};
    mux_condition c = {.patterns = pattern, .pattern_count = 1};
    *pattern = (mux_pattern){0};
    switch (pick(3)) {
    case 0:
        c.word = MUX_WORD_RCPT;
        pattern->text = slice_of_text(rcpt[pick(COUNT(rcpt))]);
        break;
    case 1:
        c.word = MUX_WORD_HEADER;
        c.field = SMX_SLICE("X-Priority");
        pattern->text = slice_of_text(priority[pick(COUNT(priority))]);
        break;
    default:
        c.word = MUX_WORD_SIZE;
        pattern->is.size = (mux_size_range){pick(3) * 500, 600 + pick(3) * 500};
        break;
    }
    return c;
}

static void random_fill(random_match *m)
{
    m->match = (mux_match){m->conditions, 1 + pick(CONDITIONS)};
    m->inner = (mux_match){m->inner_conditions, 1 + pick(CONDITIONS)};
    for (size_t i = 0; i < CONDITIONS; i++) {
        m->inner_conditions[i] = random_condition(&m->patterns[i]);
        m->conditions[i] = random_condition(&m->patterns[CONDITIONS + i]);
    }
    if (pick(2) == 0)
        m->conditions[pick(CONDITIONS)] =
            (mux_condition){.word = MUX_WORD_NOT, .nested = &m->inner};
}

static void mux_route__recipients_that_share_end_on_one_route(void **state)
{
    (void)state;
    static const char *const recipients[] = {"bob@example.org", "bob@example.net",
                                             "carl@example.net", "ann@example.org"};
    static const char *const headers[] = {"", "X-Priority: bulk\r\n", "X-Priority: high\r\n",
                                          "X-Priority: low\r\n"};
    size_t shared = 0;
    size_t parted = 0;
    size_t useful = 0;
    seed = 20260131;
    for (size_t round = 0; round < ROUNDS; round++) {
        random_match matches[ROUTES];
        mux_route_options routes[ROUTES] = {0};
        for (size_t i = 0; i < ROUTES; i++) {
            random_fill(&matches[i]);
            routes[i].match = &matches[i].match;
        }
        const mux_options options = options_with(routes, 1 + pick(ROUTES));
        mux_facts a = envelope_to(recipients[pick(COUNT(recipients))]);
        mux_facts b = envelope_to(recipients[pick(COUNT(recipients))]);
        bool is_shared = mux_route_is_shared(&options, &a, &b);
        bool differs = false;
        a.known = b.known = MUX_FACTS_ALL;
        for (size_t h = 0; h < COUNT(headers); h++) {
            for (uint64_t size = 0; size < 2000; size += 250) {
                a.header = b.header = slice_of_text(headers[h]);
                a.size = b.size = size;
                differs = differs || mux_route_find(&options, &a) != mux_route_find(&options, &b);
            }
        }
        assert_false(is_shared && differs);
        shared += is_shared;
        parted += !is_shared;
        useful += differs;
    }
    assert_true(shared > ROUNDS / 4);
    assert_true(useful > ROUNDS / 10);
    assert_true(parted < 2 * useful); /* not parted without need, as a rule */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mux_route__the_first_that_holds_wins),
        cmocka_unit_test(mux_route__possible_ones_end_with_a_yes),
        cmocka_unit_test(mux_route__keys_that_a_route_leaves_out_are_the_users),
        cmocka_unit_test(mux_route__recipients_share_what_is_still_possible_for_both),
        cmocka_unit_test(mux_route__what_is_left_to_decide_must_be_the_same),
        cmocka_unit_test(mux_route__first_lets_all_go_its_way),
        cmocka_unit_test(mux_route__behind_lmtp_a_recipient_is_alone),
        cmocka_unit_test(mux_route__recipients_that_share_end_on_one_route),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
