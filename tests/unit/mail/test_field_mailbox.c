/* Address lists: RFC 5322 section 3.4 with its obsolete forms, and what must be refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/slice.h"
#include "smx/message.h"

static void assert_text(smx_slice s, const char *text)
{
    if (s.len != strlen(text) || (s.len > 0 && memcmp(s.data, text, s.len) != 0))
        fail_msg("\"%.*s\" is not \"%s\"", (int)s.len, s.data, text);
}

/* The mailboxes of a value as "display|address|plain" each, one a line; "!" for a syntax error, also
 * in place of a plain address. */
static void assert_list(smx_slice value, const char *expected)
{
    char all[1024] = "";
    size_t used = 0;
    size_t at = 0;
    smx_field_mailbox m;
    int result;
    while ((result = smx_field_next_mailbox(value, &at, &m)) == 1) {
        char plain[256];
        size_t len = 0;
        int error = smx_field_plain_address(&m, plain, sizeof(plain), &len);
        assert_true(error == 0 || error == SMX_E_SYNTAX);
        assert_true(m.raw.data >= value.data && m.raw.data + m.raw.len <= value.data + value.len);
        used +=
            (size_t)snprintf(all + used, sizeof(all) - used, "%.*s|%.*s|%.*s\n", (int)m.display.len,
                             m.display.data, (int)m.address.len, m.address.data,
                             error == 0 ? (int)len : 1, error == 0 ? plain : "!");
    }
    if (result != 0) {
        assert_int_equal(result, SMX_E_SYNTAX);
        (void)snprintf(all + used, sizeof(all) - used, "!");
    }
    assert_text(slice_of_text(all), expected);
}

#define LIST(literal, expected) assert_list(SMX_SLICE(literal), expected)

static void field_mailbox__plain_forms(void **state)
{
    (void)state;
    LIST(" joe@example.com", "|joe@example.com|joe@example.com\n");
    LIST(" <joe@example.com>", "|joe@example.com|joe@example.com\n");
    LIST("Joe <joe@example.com>", "Joe|joe@example.com|joe@example.com\n");
    LIST(" Joe Q. Public <joe@x.y>", "Joe Q. Public|joe@x.y|joe@x.y\n");
    LIST("a@b, C <d@e>,f@g", "|a@b|a@b\nC|d@e|d@e\n|f@g|f@g\n");
    LIST("", "");
    LIST(" \r\n ", "");
    LIST("joe", "|joe|!\n");
}

static void field_mailbox__quoted_names_and_local_parts(void **state)
{
    (void)state;
    LIST("\"Doe, Joe <x@y>\" <joe@x>", "\"Doe, Joe <x@y>\"|joe@x|joe@x\n");
    LIST("\"a \\\"b\\\" (c\" <joe@x>", "\"a \\\"b\\\" (c\"|joe@x|joe@x\n");
    LIST("\"joe doe\"@x", "|\"joe doe\"@x|\"joe doe\"@x\n");
    LIST("\"a@b\"@x, c@d", "|\"a@b\"@x|\"a@b\"@x\n|c@d|c@d\n");
    LIST("\"a\r\n b\"@x", "|\"a\r\n b\"@x|\"a b\"@x\n");
    LIST("\"open <a@b>", "!");
    LIST("a@b, \"open", "|a@b|a@b\n!");
    LIST("\"end\\", "!");
}

static void field_mailbox__comments_nest_and_go(void **state)
{
    (void)state;
    LIST("joe@x (Joe (the \\) 2nd) <a@b>, c@d)", "|joe@x|joe@x\n");
    LIST("(a) Joe (b) <(c) joe (d) @ (e) x . y (f)> (g)", "Joe|joe (d) @ (e) x . y|joe@x.y\n");
    LIST("((((((deep))))))a@b", "|a@b|a@b\n");
    LIST("(only)", "");
    LIST("(open a@b", "!");
    LIST("(nested (once) a@b", "!");
    LIST("a@b)", "!");
}

static void field_mailbox__folding_anywhere(void **state)
{
    (void)state;
    LIST("\r\n Joe\r\n Doe\r\n <joe@x>\r\n ,\r\n\ta\r\n @\r\n b",
         "Joe\r\n Doe|joe@x|joe@x\n|a\r\n @\r\n b|a@b\n");
    LIST("a@b\r\n", "!");
    LIST("a@b\r\nBcc: c@d", "!");
    LIST("a\n@b", "!");
    LIST("a\r@b", "!");
    LIST("a\0@b", "!");
    LIST("\"a\0\"@b", "!");
    LIST("\"a\\\n\"@b", "!");
}

static void field_mailbox__groups_are_gone_through(void **state)
{
    (void)state;
    LIST("undisclosed-recipients:;", "");
    LIST("Team: a@b, C <d@e>;", "|a@b|a@b\nC|d@e|d@e\n");
    LIST("x@y, \"My (Team)\":a@b;, z@w", "|x@y|x@y\n|a@b|a@b\n|z@w|z@w\n");
    LIST("A:;, B:c@d;", "|c@d|c@d\n");
    LIST(":a@b;", "!");
    LIST("A: B: c@d;", "!");
}

static void field_mailbox__obsolete_forms(void **state)
{
    (void)state;
    LIST(",, a@b,, ,c@d,", "|a@b|a@b\n|c@d|c@d\n");
    LIST("Joe <@a,@b.c:joe@x>", "Joe|joe@x|joe@x\n");
    LIST("<@a , , @[1.2.3.4] (c) :joe@x>", "|joe@x|joe@x\n");
    LIST("<@a,@b>", "!");
    LIST("joe . doe @ x . y", "|joe . doe @ x . y|joe.doe@x.y\n");
    LIST("\"a\".b.\"c d\"@x", "|\"a\".b.\"c d\"@x|\"a\".b.\"c d\"@x\n");
}

static void field_mailbox__literals_utf8_and_encoded_words(void **state)
{
    (void)state;
    LIST("joe@[192.0.2.1]", "|joe@[192.0.2.1]|joe@[192.0.2.1]\n");
    LIST("joe@[ IPv6:::1 ]", "|joe@[ IPv6:::1 ]|joe@[IPv6:::1]\n");
    LIST("[List] Joe <a@b>", "[List] Joe|a@b|a@b\n");
    LIST("joe@[open", "!");
    LIST("J\xc3\xb6rg <j\xc3\xb6rg@x>", "J\xc3\xb6rg|j\xc3\xb6rg@x|j\xc3\xb6rg@x\n");
    LIST("j\xff@x", "|j\xff@x|!\n");
    LIST("=?utf-8?Q?J=C3=B6rg_=28x=29?= <a@b>", "=?utf-8?Q?J=C3=B6rg_=28x=29?=|a@b|a@b\n");
}

static void field_mailbox__at_signs_in_the_name_are_the_name(void **state)
{
    (void)state;
    LIST("ceo@ok.example <evil@bad>", "ceo@ok.example|evil@bad|evil@bad\n");
    LIST("\"ceo@ok.example\" <evil@bad>", "\"ceo@ok.example\"|evil@bad|evil@bad\n");
}

static void field_mailbox__what_can_be_read_in_two_ways_is_refused(void **state)
{
    (void)state;
    LIST("<a@b> <c@d>", "!");
    LIST("<a@b> c@d", "!");
    LIST("<a@b>, <c@d> x", "|a@b|a@b\n!");
    LIST("<a@b> \"q\"", "!");
    LIST("<a@b", "!");
    LIST("<a@b, c@d>", "!");
    LIST("<<a@b>>", "!");
    LIST("a@b>", "!");
    LIST("a@b]", "!");
}

static void field_mailbox__addresses_that_are_none(void **state)
{
    (void)state;
    LIST("<>", "||!\n");
    LIST("Joe <>", "Joe||!\n");
    LIST("a@b@c", "|a@b@c|!\n");
    LIST("a..b@c", "|a..b@c|!\n");
    LIST(".a@c", "|.a@c|!\n");
    LIST("a.@c", "|a.@c|!\n");
    LIST("a@", "|a@|!\n");
    LIST("@a", "|@a|!\n");
    LIST("a@b.", "|a@b.|!\n");
    LIST("a@.b", "|a@.b|!\n");
    LIST("a b@c", "|a b@c|!\n");
    LIST("a@b c", "|a@b c|!\n");
    LIST("a@\"b\"", "|a@\"b\"|!\n");
    LIST("[a]@b", "|[a]@b|!\n");
    LIST("a@[b].c", "|a@[b].c|!\n");
    LIST("a@b[c]", "|a@b[c]|!\n");
    LIST("a\\b@c", "|a\\b@c|!\n");
    LIST("a\x01@c", "|a\x01@c|!\n");
}

static void field_mailbox__raw_is_from_first_to_last_octet(void **state)
{
    (void)state;
    size_t at = 0;
    smx_field_mailbox m;
    const smx_slice value = SMX_SLICE(" \r\n (a) Joe <j@x> (b) , c@d (e)");
    assert_int_equal(smx_field_next_mailbox(value, &at, &m), 1);
    assert_text(m.raw, "(a) Joe <j@x> (b)");
    assert_true(m.angle);
    assert_int_equal(smx_field_next_mailbox(value, &at, &m), 1);
    assert_text(m.raw, "c@d (e)");
    assert_false(m.angle);
    assert_int_equal(smx_field_next_mailbox(value, &at, &m), 0);
}

static void field_mailbox__error_leaves_everything_as_it_was(void **state)
{
    (void)state;
    size_t at = 0;
    smx_field_mailbox m = {.angle = true};
    assert_int_equal(smx_field_next_mailbox(SMX_SLICE("(open"), &at, &m), SMX_E_SYNTAX);
    assert_int_equal(at, 0);
    assert_true(m.angle);
}

static void field_plain_address__capacity_is_kept(void **state)
{
    (void)state;
    char out[16];
    size_t at = 0;
    size_t len = 99;
    smx_field_mailbox m;
    assert_int_equal(smx_field_next_mailbox(SMX_SLICE("joe @ x"), &at, &m), 1);
    for (size_t capacity = 0; capacity < 5; capacity++)
        assert_int_equal(smx_field_plain_address(&m, out, capacity, &len), SMX_E_RANGE);
    assert_int_equal(len, 99);
    assert_int_equal(smx_field_plain_address(&m, out, 5, &len), 0);
    assert_text(slice_of(out, len), "joe@x");
}

/* ATTACKS 35: what opens and never closes is read once and then it is over. */
static void field_mailbox__bombs_are_read_once(void **state)
{
    (void)state;
    enum { LEN = 200000 };
    static const char fills[] = "(\"[<,:;@ .a\\";
    char *text = malloc(LEN);
    assert_non_null(text);
    for (size_t i = 0; i < sizeof(fills) - 1; i++) {
        size_t at = 0;
        smx_field_mailbox m;
        memset(text, fills[i], LEN);
        int result = smx_field_next_mailbox(slice_of(text, LEN), &at, &m);
        bool fine = fills[i] == ',' || fills[i] == ';' || fills[i] == ' ';
        bool one = strchr("\"@.a\\", fills[i]) != NULL;
        assert_int_equal(result, fine ? 0 : one ? 1 : SMX_E_SYNTAX);
    }
    size_t count = 0;
    size_t at = 0;
    smx_field_mailbox m;
    for (size_t i = 0; i < LEN; i += 4)
        memcpy(text + i, "a@b,", 4);
    while (smx_field_next_mailbox(slice_of(text, LEN), &at, &m) == 1)
        count++;
    assert_int_equal(count, LEN / 4);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(field_mailbox__plain_forms),
        cmocka_unit_test(field_mailbox__quoted_names_and_local_parts),
        cmocka_unit_test(field_mailbox__comments_nest_and_go),
        cmocka_unit_test(field_mailbox__folding_anywhere),
        cmocka_unit_test(field_mailbox__groups_are_gone_through),
        cmocka_unit_test(field_mailbox__obsolete_forms),
        cmocka_unit_test(field_mailbox__literals_utf8_and_encoded_words),
        cmocka_unit_test(field_mailbox__at_signs_in_the_name_are_the_name),
        cmocka_unit_test(field_mailbox__what_can_be_read_in_two_ways_is_refused),
        cmocka_unit_test(field_mailbox__addresses_that_are_none),
        cmocka_unit_test(field_mailbox__raw_is_from_first_to_last_octet),
        cmocka_unit_test(field_mailbox__error_leaves_everything_as_it_was),
        cmocka_unit_test(field_plain_address__capacity_is_kept),
        cmocka_unit_test(field_mailbox__bombs_are_read_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
