/* Edits of a header section: what is asked for changes, and no other octet. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "smx/message.h"

static const char original[] = "Received: x\r\n\ty\r\nSubject: a\r\nno field\r\nTO: b\r\n"
                               "subject: c\r\n d\r\nTo : e\r\n";

static smx_header_edit *edit_of(const char *header)
{
    smx_header_edit *edit = NULL;
    assert_int_equal(smx_header_edit_new(slice_of_text(header), &edit), 0);
    return edit;
}

static void assert_result(smx_header_edit *edit, const char *expected)
{
    smx_slice header = {0};
    assert_int_equal(smx_header_edit_result(edit, &header), 0);
    if (!slice_equal(header, slice_of_text(expected)))
        fail_msg("\"%.*s\" is not \"%s\"", (int)header.len, header.data, expected);
}

#define S SMX_SLICE

static void header_edit__unchanged_is_the_same(void **state)
{
    (void)state;
    smx_header_edit *edit = edit_of(original);
    assert_result(edit, original);
    smx_header_edit_free(edit);
    edit = edit_of("");
    assert_result(edit, "");
    smx_header_edit_free(edit);
    smx_header_edit_free(NULL);
}

static void header_edit__prepend_and_append(void **state)
{
    (void)state;
    smx_header_edit *edit = edit_of("A: b\r\n");
    assert_int_equal(smx_header_edit_prepend(edit, S("X"), S("1")), 0);
    assert_int_equal(smx_header_edit_prepend(edit, S("Y"), S(" 2\r\n\t3")), 0);
    assert_int_equal(smx_header_edit_append(edit, S("Z"), S("")), 0);
    assert_int_equal(smx_header_edit_append(edit, S("W"), S("\r\n folded")), 0);
    assert_result(edit, "Y: 2\r\n\t3\r\nX: 1\r\nA: b\r\nZ:\r\nW:\r\n folded\r\n");
    smx_header_edit_free(edit);
    edit = edit_of("");
    assert_int_equal(smx_header_edit_append(edit, S("Z"), S("1")), 0);
    assert_result(edit, "Z: 1\r\n");
    smx_header_edit_free(edit);
}

static void header_edit__append_ends_an_open_line(void **state)
{
    (void)state;
    smx_header_edit *edit = edit_of("A: b");
    assert_int_equal(smx_header_edit_append(edit, S("Z"), S("1")), 0);
    assert_result(edit, "A: b\r\nZ: 1\r\n");
    smx_header_edit_free(edit);
}

static void header_edit__change_in_place(void **state)
{
    (void)state;
    smx_header_edit *edit = edit_of(original);
    assert_int_equal(smx_header_edit_change(edit, S("SUBJECT"), 1, S("new")), 0);
    assert_int_equal(smx_header_edit_change(edit, S("received"), 0, S("r")), 0);
    assert_int_equal(smx_header_edit_change(edit, S("to"), 1, S("")), 0);
    assert_result(edit,
                  "Received: r\r\nSubject: a\r\nno field\r\nTO: b\r\nsubject: new\r\nTo:\r\n");
    assert_int_equal(smx_header_edit_change(edit, S("subject"), 2, S("x")), SMX_E_NOTFOUND);
    assert_int_equal(smx_header_edit_change(edit, S("cc"), 0, S("x")), SMX_E_NOTFOUND);
    smx_header_edit_free(edit);
}

static void header_edit__delete_one_or_all(void **state)
{
    (void)state;
    smx_header_edit *edit = edit_of(original);
    assert_int_equal(smx_header_edit_delete(edit, S("subject"), 1), 0);
    assert_result(edit, "Received: x\r\n\ty\r\nSubject: a\r\nno field\r\nTO: b\r\nTo : e\r\n");
    assert_int_equal(smx_header_edit_delete(edit, S("to"), SIZE_MAX), 0);
    assert_result(edit, "Received: x\r\n\ty\r\nSubject: a\r\nno field\r\n");
    assert_int_equal(smx_header_edit_delete(edit, S("to"), SIZE_MAX), SMX_E_NOTFOUND);
    assert_int_equal(smx_header_edit_delete(edit, S("subject"), 1), SMX_E_NOTFOUND);
    assert_int_equal(smx_header_edit_delete(edit, S(""), 0), SMX_E_NOTFOUND);
    assert_int_equal(smx_header_edit_delete(edit, S(""), SIZE_MAX), SMX_E_NOTFOUND);
    smx_header_edit_free(edit);
    edit = edit_of("A: 1\r\na: 2\r\nA : 3\r\n");
    assert_int_equal(smx_header_edit_delete(edit, S("a"), SIZE_MAX), 0);
    assert_result(edit, "");
    assert_int_equal(smx_header_edit_delete(edit, S("a"), SIZE_MAX), SMX_E_NOTFOUND);
    smx_header_edit_free(edit);
}

/* ATTACKS 20. */
static void header_edit__values_that_forge_a_field_are_refused(void **state)
{
    (void)state;
    static const smx_slice values[] = {
        S("a\r\nBcc: x"), S("a\nBcc: x"), S("a\rb"), S("a\r"),        S("a\n"),
        S("a\r\n"),       S("a\0b"),      S("\r\n"), S("a\r\n\r\nb"), S("a\r\n \r\n b"),
        S("a\r\n "),      S("a\r\n\t "),  S("\n b"), S("a\r\r\n b"),
    };
    static const smx_slice names[] = {S(""),       S("a b"),      S("a:"),
                                      S("a\r\nb"), S("\xc3\xa4"), S("a\0")};
    smx_header_edit *edit = edit_of(original);
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        assert_int_equal(smx_header_edit_prepend(edit, S("X"), values[i]), SMX_E_INVALID);
        assert_int_equal(smx_header_edit_append(edit, S("X"), values[i]), SMX_E_INVALID);
        assert_int_equal(smx_header_edit_change(edit, S("Subject"), 0, values[i]), SMX_E_INVALID);
    }
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        assert_int_equal(smx_header_edit_prepend(edit, names[i], S("x")), SMX_E_INVALID);
        assert_int_equal(smx_header_edit_append(edit, names[i], S("x")), SMX_E_INVALID);
    }
    assert_result(edit, original);
    smx_header_edit_free(edit);
}

/* ---- any edits of any section, against a plain model of fields ---- */

static uint32_t next_random(uint32_t *seed, uint32_t bound)
{
    *seed = *seed * 1664525 + 1013904223;
    return (*seed >> 8) % bound;
}

enum { MODEL_MAX = 64, MODEL_TEXT = 48 };

typedef struct model {
    char fields[MODEL_MAX][MODEL_TEXT]; /* "A: value\r\n" */
    size_t count;
} model;

static void model_field(char field[MODEL_TEXT], uint32_t *seed, bool folded)
{
    (void)snprintf(field, MODEL_TEXT, folded ? "%c: %u\r\n\t%u\r\n" : "%c: %u%u\r\n",
                   (int)('A' + next_random(seed, 4)), next_random(seed, 1000),
                   next_random(seed, 1000));
}

static void model_insert(model *m, size_t at, const char *field)
{
    memmove(m->fields[at + 1], m->fields[at], (m->count - at) * MODEL_TEXT);
    memcpy(m->fields[at], field, MODEL_TEXT);
    m->count++;
}

static void model_remove(model *m, size_t at)
{
    memmove(m->fields[at], m->fields[at + 1], (m->count - at - 1) * MODEL_TEXT);
    m->count--;
}

static size_t model_find(const model *m, char name, size_t nth)
{
    for (size_t i = 0; i < m->count; i++)
        if (m->fields[i][0] == name && nth-- == 0)
            return i;
    return m->count;
}

static void assert_model(const model *m, smx_header_edit *edit)
{
    buffer text = {0};
    smx_slice header = {0};
    for (size_t i = 0; i < m->count; i++)
        assert_int_equal(buffer_append_text(&text, m->fields[i]), 0);
    assert_int_equal(smx_header_edit_result(edit, &header), 0);
    assert_true(slice_equal(header, buffer_slice(&text)));
    buffer_free(&text);
}

static smx_slice model_value(const char field[MODEL_TEXT])
{
    return slice_of(field + 3, strlen(field) - 5);
}

static void random_edit(model *m, smx_header_edit *edit, uint32_t *seed)
{
    char field[MODEL_TEXT] = "";
    model_field(field, seed, next_random(seed, 2) == 0);
    const smx_slice name = slice_of(field, 1);
    size_t nth = next_random(seed, 3);
    size_t at = model_find(m, field[0], nth);
    int expected = at == m->count ? SMX_E_NOTFOUND : 0;
    switch (next_random(seed, 5)) {
    case 0:
        assert_int_equal(smx_header_edit_prepend(edit, name, model_value(field)), 0);
        model_insert(m, 0, field);
        break;
    case 1:
        assert_int_equal(smx_header_edit_append(edit, name, model_value(field)), 0);
        model_insert(m, m->count, field);
        break;
    case 2:
        assert_int_equal(smx_header_edit_change(edit, name, nth, model_value(field)), expected);
        if (expected == 0)
            memcpy(m->fields[at], field, MODEL_TEXT);
        break;
    case 3:
        assert_int_equal(smx_header_edit_delete(edit, name, nth), expected);
        if (expected == 0)
            model_remove(m, at);
        break;
    default:
        expected = model_find(m, field[0], 0) == m->count ? SMX_E_NOTFOUND : 0;
        assert_int_equal(smx_header_edit_delete(edit, name, SIZE_MAX), expected);
        while ((at = model_find(m, field[0], 0)) < m->count)
            model_remove(m, at);
        break;
    }
}

static void header_edit__random_edits_agree_with_a_model(void **state)
{
    (void)state;
    for (uint32_t round = 0; round < 300; round++) {
        uint32_t seed = round;
        model m = {0};
        smx_header_edit *edit = edit_of("");
        for (size_t i = 0; i < MODEL_MAX - 1; i++) {
            random_edit(&m, edit, &seed);
            assert_model(&m, edit);
        }
        smx_header_edit_free(edit);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(header_edit__unchanged_is_the_same),
        cmocka_unit_test(header_edit__prepend_and_append),
        cmocka_unit_test(header_edit__append_ends_an_open_line),
        cmocka_unit_test(header_edit__change_in_place),
        cmocka_unit_test(header_edit__delete_one_or_all),
        cmocka_unit_test(header_edit__values_that_forge_a_field_are_refused),
        cmocka_unit_test(header_edit__random_edits_agree_with_a_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
