/* Fields of a header section: found, counted, unfolded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/slice.h"
#include "smx/message.h"

static void assert_text(smx_slice s, const char *text)
{
    assert_int_equal(s.len, strlen(text));
    if (s.len > 0)
        assert_memory_equal(s.data, text, s.len);
}

static smx_field only(const char *header)
{
    size_t at = 0;
    smx_field field = {0};
    assert_true(smx_field_next(slice_of_text(header), &at, &field));
    assert_int_equal(at, strlen(header));
    assert_text(field.raw, header);
    return field;
}

static void field_next__name_and_value(void **state)
{
    (void)state;
    assert_text(only("Subject: hello\r\n").name, "Subject");
    assert_text(only("Subject: hello\r\n").value, " hello");
    assert_text(only("Subject:hello\r\n").value, "hello");
    assert_text(only("Subject:\r\n").value, "");
    assert_text(only("X: a:b: c\r\n").value, " a:b: c");
    assert_text(only("X: no line end").value, " no line end");
    assert_text(only("X: cr\r").value, " cr\r");
}

static void field_next__folded_lines_belong_to_it(void **state)
{
    (void)state;
    assert_text(only("To: a,\r\n b,\r\n\tc\r\n").value, " a,\r\n b,\r\n\tc");
    assert_text(only("To:\r\n a\r\n").value, "\r\n a");
    assert_text(only("To: a\r\n \r\n").value, " a\r\n ");
}

static void field_next__only_crlf_ends_a_line(void **state)
{
    (void)state;
    assert_text(only("A: b\nC: d\rE: f\r\n").value, " b\nC: d\rE: f");
    assert_text(only("A: b\n\r\n").value, " b\n");
}

static void field_next__blanks_before_the_colon_are_obsolete_but_fine(void **state)
{
    (void)state;
    assert_text(only("From \t: x\r\n").name, "From");
    assert_text(only("From \t: x\r\n").value, " x");
}

static void field_next__what_is_no_field_has_no_name(void **state)
{
    (void)state;
    static const char *const lines[] = {"no colon\r\n",
                                        ": empty\r\n",
                                        " leading: blank\r\n",
                                        "two words: x\r\n",
                                        "\200bad: x\r\n",
                                        "\r\n",
                                        "\r",
                                        "From joe@x Mon 10:00:00\r\n",
                                        "X\r\n : folded",
                                        "del\x7f: x"};
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
        assert_int_equal(only(lines[i]).name.len, 0);
}

static void field_next__nothing_in_an_empty_section(void **state)
{
    (void)state;
    size_t at = 0;
    smx_field field;
    assert_false(smx_field_next(SMX_SLICE(""), &at, &field));
}

static void field_find__by_name_and_number(void **state)
{
    (void)state;
    const smx_slice header = SMX_SLICE("To: 1\r\nCc: x\r\ntO : 2\r\nnone\r\nTO: 3\r\nToo: 4\r\n");
    smx_field field;
    assert_int_equal(smx_field_count(header, SMX_SLICE("to")), 3);
    assert_int_equal(smx_field_count(header, SMX_SLICE("bcc")), 0);
    assert_int_equal(smx_field_count(header, SMX_SLICE("")), 0);
    assert_true(smx_field_find(header, SMX_SLICE("To"), 0, &field));
    assert_text(field.value, " 1");
    assert_true(smx_field_find(header, SMX_SLICE("To"), 1, &field));
    assert_text(field.value, " 2");
    assert_true(smx_field_find(header, SMX_SLICE("to"), 2, &field));
    assert_text(field.value, " 3");
    assert_false(smx_field_find(header, SMX_SLICE("to"), 3, &field));
    assert_false(smx_field_find(header, SMX_SLICE(""), 0, &field));
    assert_text(field.value, " 3");
}

/* ATTACKS 35: each octet is looked at once, so that half a million fields take a moment. */
static void field__half_a_million_fields(void **state)
{
    (void)state;
    enum { FIELDS = 500000, LEN = 9 };
    smx_field field;
    char *text = malloc((size_t)FIELDS * LEN);
    assert_non_null(text);
    for (size_t i = 0; i < FIELDS; i++)
        memcpy(text + i * LEN, "To: a@b\r\n", LEN);
    const smx_slice header = slice_of(text, (size_t)FIELDS * LEN);
    assert_int_equal(smx_field_count(header, SMX_SLICE("to")), FIELDS);
    assert_true(smx_field_find(header, SMX_SLICE("to"), FIELDS - 1, &field));
    assert_ptr_equal(field.raw.data, text + (FIELDS - 1) * (size_t)LEN);
    assert_false(smx_field_find(header, SMX_SLICE("from"), 0, &field));
    free(text);
}

static void assert_unfolded(const char *value, const char *expected)
{
    char out[64];
    size_t len = 0;
    smx_slice s = slice_of_text(value);
    assert_int_equal(smx_field_unfold(s, out, strlen(expected), &len), 0);
    assert_text(slice_of(out, len), expected);
    if (len > 0) {
        len = 99;
        assert_int_equal(smx_field_unfold(s, out, strlen(expected) - 1, &len), SMX_E_RANGE);
        assert_int_equal(len, 99);
    }
}

static void field_unfold__line_breaks_and_outer_blanks_go(void **state)
{
    (void)state;
    assert_unfolded(" hello", "hello");
    assert_unfolded(" a\r\n b\r\n\tc ", "a b\tc");
    assert_unfolded("\r\n a\r\n ", "a");
    assert_unfolded(" \r\n \r\n \t\r\n a b \r\n \r\n ", "a b");
    assert_unfolded("", "");
    assert_unfolded(" \t ", "");
    assert_unfolded("\r\n ", "");
    assert_unfolded("\r\n \r\n\t", "");
    assert_unfolded(" a\r\n\r\n b", "a\r\n b");
    assert_unfolded("a\rb\nc", "a\rb\nc");
    assert_unfolded(" =?utf-8?q?a?=\r\n =?utf-8?q?b?=", "=?utf-8?q?a?= =?utf-8?q?b?=");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(field_next__name_and_value),
        cmocka_unit_test(field_next__folded_lines_belong_to_it),
        cmocka_unit_test(field_next__only_crlf_ends_a_line),
        cmocka_unit_test(field_next__blanks_before_the_colon_are_obsolete_but_fine),
        cmocka_unit_test(field_next__what_is_no_field_has_no_name),
        cmocka_unit_test(field_next__nothing_in_an_empty_section),
        cmocka_unit_test(field_find__by_name_and_number),
        cmocka_unit_test(field__half_a_million_fields),
        cmocka_unit_test(field_unfold__line_breaks_and_outer_blanks_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
