/* Where a message would go, asked of a mux whose upstreams are in trouble; and questions that are none. */
#include "support/unit_test.h"

#include "mux/explain.h"
#include "mux/mux_internal.h"
#include "mux/route.h"

enum { NOW = 1000000 };
#define WALL 1767603600000ULL /* 2026-01-05 09:00 UTC, a Monday */

static const upstream_options upstreams[] = {
    {.name = "a", .host = "127.0.0.1", .port = 1, .breaker = {.failures = 1, .pause_ms = 30000}},
    {.name = "b", .host = "127.0.0.1", .port = 2, .breaker = {.failures = 1, .pause_ms = 60000}},
};
static const mux_choice both[] = {{0, 1}, {1, 1}};
static const mux_choice second[] = {{1, 1}};

typedef struct stage {
    smx_slice allow_from;
    mux_user_options user;
    mux_pattern org;
    mux_condition to_org;
    mux_match match;
    mux_route_options route;
    mux_options options;
    mux_state *state;
    mux *mux;
} stage;

static int setup(void **state)
{
    stage *s = calloc(1, sizeof(*s));
    assert_non_null(s);
    s->allow_from = SMX_SLICE("*@example.com");
    s->user = (mux_user_options){
        .user = {.name = SMX_SLICE("ann"), .allow_from = &s->allow_from, .allow_from_count = 1},
        .plan = {.selector = mux_selector_find(SMX_SLICE("failover")),
                 .choices = both,
                 .choice_count = 2},
    };
    s->org.text = SMX_SLICE("example.org");
    s->to_org =
        (mux_condition){.word = MUX_WORD_RCPT_DOMAIN, .patterns = &s->org, .pattern_count = 1};
    s->match = (mux_match){&s->to_org, 1};
    s->route = (mux_route_options){
        .name = "org",
        .match = &s->match,
        .plan = {.selector = s->user.plan.selector, .choices = second, .choice_count = 1},
    };
    s->options = (mux_options){.hostname = "mux.example",
                               .upstreams = upstreams,
                               .upstream_count = 2,
                               .users = &s->user,
                               .user_count = 1,
                               .routes = &s->route,
                               .route_count = 1};
    assert_int_equal(mux_state_new(NULL, &s->state), 0);
    assert_int_equal(mux_new(&s->options, s->state, &s->mux), 0);
    *state = s;
    return 0;
}

static int teardown(void **state)
{
    stage *s = *state;
    mux_free(s->mux);
    mux_state_free(s->state);
    free(s);
    return 0;
}

static json_t *question(const char *from, const char *to)
{
    json_t *made = json_pack("{s:s, s:s, s:[s]}", "user", "ann", "from", from, "to", to);
    assert_non_null(made);
    return made;
}

static json_t *ask(stage *s, const char *from, const char *to)
{
    problem p = {""};
    json_t *answer = NULL;
    json_t *asked = question(from, to);
    int error = mux_explain(s->mux, asked, NOW, WALL, &answer, &p);
    if (error != 0)
        fail_msg("%s", p.text);
    json_decref(asked);
    return answer;
}

static const char *text_at(const json_t *answer, const char *list_name, size_t nth,
                           const char *name)
{
    const json_t *one = json_array_get(json_object_get(answer, list_name), nth);
    const char *text = json_string_value(json_object_get(one, name));
    return text == NULL ? "" : text;
}

static bool is_usable(const json_t *answer, size_t nth)
{
    return json_is_true(
        json_object_get(json_array_get(json_object_get(answer, "upstreams"), nth), "usable"));
}

static void open_breaker(stage *s, size_t index)
{
    upstream_admission admission;
    uint64_t until;
    const upstream_ask query = {.now = NOW, .recipients = 1};
    const upstream_settlement failed = {.now = NOW, .health = UPSTREAM_UNREACHED};
    upstream_admit(mux_upstream(s->mux, index), &query, &admission);
    assert_int_equal(upstream_settle(mux_upstream(s->mux, index), &admission, &failed, &until),
                     UPSTREAM_OPENED);
}

static void mux_explain__the_route_and_its_upstreams_are_told(void **state)
{
    json_t *answer = ask(*state, "ann@example.com", "bob@example.org");
    assert_string_equal(json_string_value(json_object_get(answer, "route")), "org");
    assert_string_equal(text_at(answer, "routes", 0, "fits"), "yes");
    assert_int_equal(json_array_size(json_object_get(answer, "upstreams")), 1);
    assert_string_equal(text_at(answer, "upstreams", 0, "name"), "b");
    assert_true(is_usable(answer, 0));
    assert_string_equal(json_string_value(json_object_get(answer, "time")),
                        "2026-01-05T09:00:00.000Z");
    json_decref(answer);
}

static void mux_explain__a_suspended_upstream_is_skipped_until_then(void **state)
{
    stage *s = *state;
    bool is_new;
    (void)upstream_suspend(mux_upstream(s->mux, 0), NOW, 90000, &is_new);
    json_t *answer = ask(s, "ann@example.com", "bob@example.net");
    assert_false(is_usable(answer, 0));
    assert_true(is_usable(answer, 1));
    assert_string_equal(text_at(answer, "upstreams", 0, "reason"), "suspended");
    assert_string_equal(text_at(answer, "upstreams", 0, "until"), "2026-01-05T09:01:30.000Z");
    assert_int_equal(json_array_size(json_object_get(answer, "replies")), 2);
    json_decref(answer);
}

/* What an upstream is known to offer by its EHLO. */
static void learn(stage *s, size_t index, smx_extensions extensions, uint64_t max_size)
{
    upstream_learn(mux_upstream(s->mux, index),
                   &(smx_capabilities){.extensions = extensions, .max_size = max_size});
}

static json_t *ask_with(stage *s, const char *to, const char *key, json_t *value)
{
    problem p = {""};
    json_t *answer = NULL;
    json_t *asked = question("ann@example.com", to);
    assert_int_equal(json_object_set_new(asked, key, value), 0);
    int error = mux_explain(s->mux, asked, NOW, WALL, &answer, &p);
    if (error != 0)
        fail_msg("%s", p.text);
    json_decref(asked);
    return answer;
}

static void mux_explain__an_upstream_that_cannot_take_it_is_skipped(void **state)
{
    static const struct {
        const char *key, *reason;
        smx_extensions without;
    } CASES[] = {
        {"size", "the message is larger than its SIZE", 0},
        {"8bit", "it does not offer 8BITMIME", SMX_EXT_8BITMIME},
        {"smtputf8", "it does not offer SMTPUTF8", SMX_EXT_SMTPUTF8},
    };
    const smx_extensions all = SMX_EXT_SIZE | SMX_EXT_8BITMIME | SMX_EXT_SMTPUTF8;
    stage *s = *state;
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        for (int exceeds = 0; exceeds <= 1; exceeds++) {
            learn(s, 0, all & ~CASES[i].without, 1000);
            learn(s, 1, all, 2000);
            json_t *value = i == 0 ? json_integer(1000 + exceeds) : json_boolean(exceeds);
            json_t *answer = ask_with(s, "bob@example.net", CASES[i].key, value);
            assert_int_equal(is_usable(answer, 0), exceeds == 0);
            assert_true(is_usable(answer, 1));
            assert_string_equal(text_at(answer, "upstreams", 0, "reason"),
                                exceeds == 0 ? "" : CASES[i].reason);
            json_decref(answer);
        }
    }
}

static void mux_explain__if_none_can_take_it_it_is_refused_for_good(void **state)
{
    stage *s = *state;
    learn(s, 0, SMX_EXT_SIZE, 1000);
    learn(s, 1, SMX_EXT_SIZE, 2000);
    json_t *answer = ask_with(s, "bob@example.net", "size", json_integer(2001));
    const json_t *last = json_array_get(json_object_get(answer, "replies"), 2);
    assert_int_equal(json_integer_value(json_object_get(last, "code")), 552);
    assert_string_equal(text_at(answer, "replies", 2, "enhanced"), "5.3.4");
    assert_string_equal(text_at(answer, "replies", 2, "text"),
                        "a: the message is larger than any provider takes");
    json_decref(answer);
    open_breaker(s, 1); /* not for good any more; and one was tried, so this one is not */
    answer = ask_with(s, "bob@example.net", "size", json_integer(2001));
    last = json_array_get(json_object_get(answer, "replies"), 2);
    assert_int_equal(json_integer_value(json_object_get(last, "code")), 451);
    assert_false(is_usable(answer, 1));
    json_decref(answer);
}

static void mux_explain__an_address_that_is_not_ascii_needs_smtputf8(void **state)
{
    stage *s = *state;
    learn(s, 1, SMX_EXT_SIZE, 0);
    json_t *answer = ask(s, "ann@example.com", "bo\xc3\xb6@example.org");
    assert_string_equal(text_at(answer, "upstreams", 0, "reason"), "it does not offer SMTPUTF8");
    json_decref(answer);
}

/* What is configured is a part of what a server offers, but its SIZE is believed. */
static void mux_explain__before_the_first_ehlo_only_a_size_is_known(void **state)
{
    stage *s = *state;
    upstream_options known[2] = {upstreams[0], upstreams[1]};
    known[0].caps = SMX_EXT_SIZE;
    known[0].cap_max_size = 1000;
    s->options.upstreams = known;
    json_t *answer = ask_with(s, "bob@example.net", "8bit", json_true());
    assert_true(is_usable(answer, 0));
    json_decref(answer);
    answer = ask_with(s, "bob@example.net", "size", json_integer(1001));
    assert_false(is_usable(answer, 0));
    assert_true(is_usable(answer, 1));
    json_decref(answer);
    s->options.upstreams = upstreams;
}

static void mux_explain__without_any_upstream_the_refusal_names_the_reasons(void **state)
{
    stage *s = *state;
    bool is_new;
    (void)upstream_suspend(mux_upstream(s->mux, 0), NOW, 90000, &is_new);
    (void)upstream_suspend(mux_upstream(s->mux, 1), NOW, 90000, &is_new);
    json_t *answer = ask(s, "ann@example.com", "bob@example.net");
    assert_int_equal(json_array_size(json_object_get(answer, "replies")), 3);
    assert_string_equal(text_at(answer, "replies", 2, "to"), "the message");
    assert_string_equal(text_at(answer, "replies", 2, "enhanced"), "4.4.1");
    assert_string_equal(text_at(answer, "replies", 2, "text"),
                        "no upstream took the message: a: suspended; b: suspended");
    json_decref(answer);
}

static void mux_explain__of_open_breakers_the_first_to_close_is_tried(void **state)
{
    stage *s = *state;
    open_breaker(s, 0);
    json_t *answer = ask(s, "ann@example.com", "bob@example.net");
    assert_false(is_usable(answer, 0));
    assert_string_equal(text_at(answer, "upstreams", 0, "reason"), "its breaker is open");
    assert_true(is_usable(answer, 1));
    json_decref(answer);
    open_breaker(s, 1);
    answer = ask(s, "ann@example.com", "bob@example.net");
    assert_true(is_usable(answer, 0));
    assert_string_equal(text_at(answer, "upstreams", 0, "reason"),
                        "its breaker is open, but no other can be used");
    assert_false(is_usable(answer, 1));
    json_decref(answer);
}

static void mux_explain__a_sender_who_may_not_comes_to_no_delivery(void **state)
{
    json_t *answer = ask(*state, "<>", "bob@example.net");
    assert_string_equal(text_at(answer, "replies", 0, "to"), "MAIL FROM:<>");
    assert_string_equal(text_at(answer, "replies", 0, "enhanced"), "5.7.1");
    assert_int_equal(json_array_size(json_object_get(answer, "replies")), 1);
    assert_int_equal(json_array_size(json_object_get(answer, "upstreams")), 0);
    json_decref(answer);
}

static void mux_explain__a_person_is_told_each_part(void **state)
{
    stage *s = *state;
    buffer out = {0};
    bool is_new;
    (void)upstream_suspend(mux_upstream(s->mux, 0), NOW, 90000, &is_new);
    json_t *answer = ask(s, "ann@example.com", "bob@example.net");
    assert_int_equal(mux_explain_write(answer, &out), 0);
    assert_slice(buffer_slice(&out),
                 "A message of the user ann, from <ann@example.com> to bob@example.net, at "
                 "2026-01-05T09:00:00.000Z\n\n"
                 "Routes, of which the first that fits is taken:\n"
                 "  org does not fit\n"
                 "      the recipient's domain is example.net; wanted is example.org\n"
                 "  none fits: the user's own upstreams are taken\n\n"
                 "Upstreams, in the order in which they would be tried (selector failover):\n"
                 "  1. a: skipped: suspended, for 90 s more (until 2026-01-05T09:01:30.000Z)\n"
                 "  2. b: usable\n\n"
                 "The client would be told:\n"
                 "  MAIL FROM:<ann@example.com>: 250 2.1.0 ok\n"
                 "  RCPT TO:<bob@example.net>: 250 2.1.5 ok\n"
                 "  the message: what the upstream says that decides it\n");
    buffer_free(&out);
    json_decref(answer);
}

static void mux_explain__a_question_must_be_whole(void **state)
{
    stage *s = *state;
    static const struct {
        const char *text;
        int error;
    } questions[] = {
        {"{}", SMX_E_INVALID},
        {"[]", SMX_E_INVALID},
        {"{\"user\": \"bob\"}", SMX_E_NOTFOUND},
        {"{\"user\": 7}", SMX_E_INVALID},
        {"{\"user\": \"ann\"}", SMX_E_INVALID},
        {"{\"user\": \"ann\", \"from\": \"x\", \"to\": [\"a@b\"]}", SMX_E_INVALID},
        {"{\"user\": \"ann\", \"from\": \"\", \"to\": []}", SMX_E_INVALID},
        {"{\"user\": \"ann\", \"from\": \"\", \"to\": [7]}", SMX_E_INVALID},
        {"{\"user\": \"ann\", \"from\": \"\", \"to\": [\"a@b\"], \"headers\": [\"x\"]}",
         SMX_E_INVALID},
        {"{\"user\": \"ann\", \"from\": \"\", \"to\": [\"a@b\"], \"headers\": [\"x: y\\r\\nz: 1\"]}",
         SMX_E_INVALID},
        {"{\"user\": \"ann\", \"from\": \"\", \"to\": [\"a@b\"], \"headers\": [{}]}",
         SMX_E_INVALID},
        {"{\"user\": \"ann\", \"from\": \"\", \"to\": [\"a@b\"], \"size\": -1}", SMX_E_INVALID},
        {"{\"user\": \"ann\", \"from\": \"\", \"to\": [\"a@b\"], \"client\": \"x\"}",
         SMX_E_INVALID},
        {"{\"user\": \"ann\", \"from\": \"\", \"to\": [\"a@b\"], \"time\": 7}", SMX_E_INVALID},
    };
    for (size_t i = 0; i < sizeof(questions) / sizeof(questions[0]); i++) {
        problem p = {""};
        json_t *answer = NULL;
        json_t *asked = json_loads(questions[i].text, 0, NULL);
        assert_non_null(asked);
        if (mux_explain(s->mux, asked, NOW, WALL, &answer, &p) != questions[i].error)
            fail_msg("%s: %s", questions[i].text, p.text);
        assert_null(answer);
        assert_true(strlen(p.text) > 10);
        json_decref(asked);
    }
}

/* jansson's allocations fail one after the other. */
static size_t allocations_left;

static void *allocate(size_t size)
{
    if (allocations_left == 0)
        return NULL;
    allocations_left--;
    return malloc(size);
}

static void mux_explain__without_memory_there_is_no_answer(void **state)
{
    stage *s = *state;
    json_t *asked =
        json_pack("{s:s, s:s, s:[s, s], s:[s]}", "user", "ann", "from", "ann@example.com", "to",
                  "a@example.org", "b@example.net", "headers", "Subject: x");
    int error = SMX_E_NOMEM;
    assert_non_null(asked);
    json_set_alloc_funcs(allocate, free);
    for (size_t n = 0; error != 0; n++) {
        problem p = {""};
        json_t *answer = NULL;
        allocations_left = n;
        error = mux_explain(s->mux, asked, NOW, WALL, &answer, &p);
        assert_true(error == 0 ? answer != NULL : error == SMX_E_NOMEM && answer == NULL);
        json_decref(answer);
        assert_true(n < 2000);
    }
    json_set_alloc_funcs(malloc, free);
    json_decref(asked);
}

int main(void)
{
#define EXPLAIN_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        EXPLAIN_TEST(mux_explain__the_route_and_its_upstreams_are_told),
        EXPLAIN_TEST(mux_explain__a_suspended_upstream_is_skipped_until_then),
        EXPLAIN_TEST(mux_explain__an_upstream_that_cannot_take_it_is_skipped),
        EXPLAIN_TEST(mux_explain__if_none_can_take_it_it_is_refused_for_good),
        EXPLAIN_TEST(mux_explain__an_address_that_is_not_ascii_needs_smtputf8),
        EXPLAIN_TEST(mux_explain__before_the_first_ehlo_only_a_size_is_known),
        EXPLAIN_TEST(mux_explain__without_any_upstream_the_refusal_names_the_reasons),
        EXPLAIN_TEST(mux_explain__of_open_breakers_the_first_to_close_is_tried),
        EXPLAIN_TEST(mux_explain__a_sender_who_may_not_comes_to_no_delivery),
        EXPLAIN_TEST(mux_explain__a_person_is_told_each_part),
        EXPLAIN_TEST(mux_explain__a_question_must_be_whole),
        EXPLAIN_TEST(mux_explain__without_memory_there_is_no_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
