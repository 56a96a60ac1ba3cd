/* What a `match` says of a message: each word, negation, what is not known yet, and what follows from
 * what. */
#include "support/unit_test.h"

#include "mux/match.h"

/* Monday, 2026-01-05 09:00 UTC. */
#define MONDAY_NINE 1767603600000ULL

#define HEADER                                                                                     \
    "Subject: Your\r\n\t invoice 7\r\nX-Priority: bulk\r\nx-priority:  low \r\nEmpty:\r\n"         \
    "Subject: second\r\n"

static char scratch[sizeof(HEADER)];

static mux_facts facts(void)
{
    mux_facts f = {
        .known = MUX_FACTS_ALL,
        .user = SMX_SLICE("ann@example.com"),
        .sender = SMX_SLICE("Ann@Example.COM"),
        .recipient = SMX_SLICE("bob@mail.example.org"),
        .wall_ms = MONDAY_NINE,
        .header = SMX_SLICE(HEADER),
        .scratch = scratch,
        .size = 1000,
    };
    assert_int_equal(smx_address_parse(SMX_SLICE("192.0.2.7"), &f.client), 0);
    return f;
}

/* One condition with up to two patterns, and the match that has only it. */
typedef struct one_word {
    mux_pattern patterns[2];
    mux_condition condition;
    mux_match match;
} one_word;

static void read_pattern(mux_word word, const char *text, mux_pattern *p)
{
    problem why;
    p->text = slice_of_text(text);
    if (mux_word_get(word)->kind == MUX_PATTERN_NETWORK)
        assert_int_equal(smx_network_parse(p->text, &p->is.network), 0);
    if (mux_word_get(word)->kind == MUX_PATTERN_TIME)
        assert_int_equal(mux_daytime_parse(p->text, &p->is.time, &why), 0);
}

static void word_init(one_word *w, mux_word word, const char *field, const char *first,
                      const char *second)
{
    *w = (one_word){.condition = {word, slice_of_text(field), w->patterns, 1, NULL}};
    read_pattern(word, first, &w->patterns[0]);
    if (second != NULL) {
        read_pattern(word, second, &w->patterns[1]);
        w->condition.pattern_count = 2;
    }
    w->match = (mux_match){&w->condition, 1};
}

static void word_free(one_word *w)
{
    for (size_t i = 0; i < w->condition.pattern_count; i++) {
        if (w->condition.word == MUX_WORD_TIME)
            mux_daytime_free(&w->patterns[i].is.time);
    }
}

static mux_fit eval_word(mux_word word, const char *field, const char *first, const char *second,
                         const mux_facts *f)
{
    one_word w;
    word_init(&w, word, field, first, second);
    mux_fit fit = mux_match_eval(&w.match, f);
    word_free(&w);
    return fit;
}

static void mux_match__each_word_looks_at_its_fact(void **state)
{
    (void)state;
    static const struct {
        mux_word word;
        const char *field, *first, *second;
        mux_fit expected;
    } rows[] = {
        {MUX_WORD_USER, NULL, "ann@example.com", NULL, MUX_YES},
        {MUX_WORD_USER, NULL, "*", NULL, MUX_YES},
        {MUX_WORD_USER, NULL, "bob@*", NULL, MUX_NO},
        {MUX_WORD_USER, NULL, "bob@*", "a??@*", MUX_YES},
        {MUX_WORD_CLIENT, NULL, "192.0.2.0/24", NULL, MUX_YES},
        {MUX_WORD_CLIENT, NULL, "192.0.2.7", NULL, MUX_YES},
        {MUX_WORD_CLIENT, NULL, "192.0.2.8", "2001:db8::/32", MUX_NO},
        {MUX_WORD_CLIENT, NULL, "::ffff:192.0.2.0/120", NULL, MUX_YES},
        {MUX_WORD_FROM, NULL, "ANN@example.com", NULL, MUX_YES},
        {MUX_WORD_FROM, NULL, "*@example.com", NULL, MUX_YES},
        {MUX_WORD_FROM, NULL, "example.com", NULL, MUX_NO},
        {MUX_WORD_FROM, NULL, "<>", NULL, MUX_NO},
        {MUX_WORD_FROM_DOMAIN, NULL, "example.com", NULL, MUX_YES},
        {MUX_WORD_FROM_DOMAIN, NULL, "*.example.com", NULL, MUX_NO},
        {MUX_WORD_RCPT, NULL, "BOB@MAIL.example.org", NULL, MUX_YES},
        {MUX_WORD_RCPT, NULL, "bob", NULL, MUX_NO},
        {MUX_WORD_RCPT_DOMAIN, NULL, "example.org", NULL, MUX_NO},
        {MUX_WORD_RCPT_DOMAIN, NULL, "example.org", "*.example.org", MUX_YES},
        {MUX_WORD_HEADER, "X-Priority", "bulk", NULL, MUX_YES},
        {MUX_WORD_HEADER, "x-PRIORITY", "LOW", NULL, MUX_YES},
        {MUX_WORD_HEADER, "X-Priority", "bul", NULL, MUX_NO},
        {MUX_WORD_HEADER, "X-Prio", "*", NULL, MUX_NO},
        {MUX_WORD_HEADER, "Subject", "*invoice*", NULL, MUX_YES},
        {MUX_WORD_HEADER, "Subject", "your\t invoice 7", NULL, MUX_YES},
        {MUX_WORD_HEADER, "Subject", "second", NULL, MUX_YES},
        {MUX_WORD_HEADER, "Empty", "*", NULL, MUX_YES},
        {MUX_WORD_HEADER, "Empty", "?*", NULL, MUX_NO},
        {MUX_WORD_TIME, NULL, "mon-fri 08:00-18:00", NULL, MUX_YES},
        {MUX_WORD_TIME, NULL, "sat", "sun 09:00-10:00", MUX_NO},
        {MUX_WORD_TIME, NULL, "sat", "10:00-11:00 Europe/Berlin", MUX_YES},
    };
    mux_facts f = facts();
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (eval_word(rows[i].word, rows[i].field, rows[i].first, rows[i].second, &f) !=
            rows[i].expected)
            fail_msg("row %zu: %s: %s", i, mux_word_get(rows[i].word)->text, rows[i].first);
    }
}

static void mux_match__sizes_include_both_ends(void **state)
{
    (void)state;
    mux_facts f = facts();
    static const struct {
        uint64_t minimum, maximum;
        mux_fit expected;
    } rows[] = {
        {1000, 1000, MUX_YES},       {0, 999, MUX_NO},
        {1001, UINT64_MAX, MUX_NO},  {0, 1000, MUX_YES},
        {1000, UINT64_MAX, MUX_YES},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        one_word w;
        word_init(&w, MUX_WORD_SIZE, NULL, "", NULL);
        w.patterns[0].is.size = (mux_size_range){rows[i].minimum, rows[i].maximum};
        assert_int_equal(mux_match_eval(&w.match, &f), rows[i].expected);
    }
}

static void mux_match__only_the_null_sender_is_called_so(void **state)
{
    (void)state;
    mux_facts f = facts();
    f.sender = SMX_SLICE("");
    assert_int_equal(eval_word(MUX_WORD_FROM, NULL, "<>", NULL, &f), MUX_YES);
    assert_int_equal(eval_word(MUX_WORD_FROM, NULL, "*", NULL, &f), MUX_NO);
    assert_int_equal(eval_word(MUX_WORD_FROM_DOMAIN, NULL, "*", NULL, &f), MUX_NO);
    f.recipient = SMX_SLICE("Postmaster");
    assert_int_equal(eval_word(MUX_WORD_RCPT, NULL, "postmaster", NULL, &f), MUX_YES);
    assert_int_equal(eval_word(MUX_WORD_RCPT_DOMAIN, NULL, "*", NULL, &f), MUX_NO);
}

static void mux_match__an_empty_match_fits_all(void **state)
{
    (void)state;
    const mux_match empty = {NULL, 0};
    const mux_facts nothing = {0};
    assert_int_equal(mux_match_eval(&empty, &nothing), MUX_YES);
}

/* `all` of a list of words: their conditions beside each other. */
static mux_match together(mux_condition *room, const one_word *a, const one_word *b)
{
    room[0] = a->condition;
    room[1] = b->condition;
    return (mux_match){room, 2};
}

static void mux_match__all_words_must_hold(void **state)
{
    (void)state;
    one_word yes, no, header;
    mux_condition room[2];
    mux_facts f = facts();
    word_init(&yes, MUX_WORD_USER, NULL, "ann*", NULL);
    word_init(&no, MUX_WORD_RCPT, NULL, "carl*", NULL);
    word_init(&header, MUX_WORD_HEADER, "X-Priority", "bulk", NULL);
    mux_match both = together(room, &yes, &no);
    assert_int_equal(mux_match_eval(&both, &f), MUX_NO);
    both = together(room, &yes, &header);
    assert_int_equal(mux_match_eval(&both, &f), MUX_YES);
    f.known = MUX_FACTS_ENVELOPE;
    assert_int_equal(mux_match_eval(&both, &f), MUX_MAYBE);
    both = together(room, &header, &no); /* NO is certain even while the other is not known */
    assert_int_equal(mux_match_eval(&both, &f), MUX_NO);
}

static void mux_match__not_turns_a_whole_match(void **state)
{
    (void)state;
    one_word user, rcpt;
    mux_condition room[2];
    mux_facts f = facts();
    word_init(&user, MUX_WORD_USER, NULL, "ann*", NULL);
    word_init(&rcpt, MUX_WORD_RCPT, NULL, "carl*", NULL);
    mux_match both = together(room, &user, &rcpt);
    const mux_condition not = {.word = MUX_WORD_NOT, .nested = &both};
    const mux_match negated = {&not, 1};
    assert_int_equal(mux_match_eval(&negated, &f), MUX_YES);
    f.recipient = SMX_SLICE("carl@example.net");
    assert_int_equal(mux_match_eval(&negated, &f), MUX_NO);
    const mux_condition twice = {.word = MUX_WORD_NOT, .nested = &negated};
    assert_int_equal(mux_condition_eval(&twice, &f), MUX_YES);
    f.known = MUX_FACT_USER;
    assert_int_equal(mux_match_eval(&negated, &f), MUX_MAYBE);
    assert_int_equal(mux_match_facts(&negated), MUX_FACT_USER | MUX_FACT_RECIPIENT);
}

static bool implies(mux_word word, const char *one, const char *other)
{
    one_word a, b;
    word_init(&a, word, NULL, one, NULL);
    word_init(&b, word, NULL, other, NULL);
    bool follows = mux_match_implies(&a.match, &b.match);
    word_free(&a);
    word_free(&b);
    return follows;
}

static void mux_match__a_narrower_match_implies_a_wider_one(void **state)
{
    (void)state;
    assert_true(implies(MUX_WORD_RCPT, "bob@example.org", "*@EXAMPLE.org"));
    assert_true(implies(MUX_WORD_RCPT_DOMAIN, "*.a.example", "*.example"));
    assert_false(implies(MUX_WORD_RCPT_DOMAIN, "*.example", "*.a.example"));
    assert_false(implies(MUX_WORD_RCPT_DOMAIN, "*x", "?x")); /* a `?` does not read a `*` */
    assert_true(implies(MUX_WORD_CLIENT, "192.0.2.0/25", "192.0.2.0/24"));
    assert_false(implies(MUX_WORD_CLIENT, "192.0.2.0/24", "192.0.2.0/25"));
    assert_true(implies(MUX_WORD_TIME, "mon", "MON"));
    assert_false(implies(MUX_WORD_FROM, "<>", "*"));
    assert_true(implies(MUX_WORD_FROM, "<>", "<>"));
    const mux_match empty = {NULL, 0};
    one_word all, ann, header;
    mux_condition room[2];
    word_init(&all, MUX_WORD_USER, NULL, "*", NULL);
    word_init(&ann, MUX_WORD_USER, NULL, "ann@example.com", NULL);
    word_init(&header, MUX_WORD_HEADER, "X", "y", NULL);
    assert_true(mux_match_implies(&ann.match, &empty));
    assert_true(mux_match_implies(&empty, &all.match));
    assert_false(mux_match_implies(&empty, &ann.match));
    mux_match both = together(room, &ann, &header);
    assert_true(mux_match_implies(&both, &header.match));
    assert_false(mux_match_implies(&header.match, &both));
    const mux_condition not_ann = {.word = MUX_WORD_NOT, .nested = &ann.match};
    const mux_condition not_both = {.word = MUX_WORD_NOT, .nested = &both};
    const mux_match no_ann = {&not_ann, 1}, no_both = {&not_both, 1};
    assert_true(mux_match_implies(&no_ann, &no_both));
    assert_false(mux_match_implies(&no_both, &no_ann));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mux_match__each_word_looks_at_its_fact),
        cmocka_unit_test(mux_match__sizes_include_both_ends),
        cmocka_unit_test(mux_match__only_the_null_sender_is_called_so),
        cmocka_unit_test(mux_match__an_empty_match_fits_all),
        cmocka_unit_test(mux_match__all_words_must_hold),
        cmocka_unit_test(mux_match__not_turns_a_whole_match),
        cmocka_unit_test(mux_match__a_narrower_match_implies_a_wider_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
