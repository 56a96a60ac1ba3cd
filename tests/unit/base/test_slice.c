/* Slices: comparison, search, words, numbers, globs. */
#include "support/unit_test.h"

static void base_slice__equal_compares_lengths_and_octets(void **state)
{
    (void)state;
    assert_true(slice_equal(SMX_SLICE("ab"), SMX_SLICE("ab")));
    assert_false(slice_equal(SMX_SLICE("ab"), SMX_SLICE("aB")));
    assert_false(slice_equal(SMX_SLICE("ab"), SMX_SLICE("abc")));
    assert_true(slice_equal((smx_slice){0}, SMX_SLICE("")));
    assert_true(slice_equal(SMX_SLICE("a\0b"), SMX_SLICE("a\0b")));
    assert_false(slice_equal(SMX_SLICE("a\0b"), SMX_SLICE("a\0c")));
}

static void base_slice__nocase_is_ascii_only(void **state)
{
    (void)state;
    assert_true(slice_equal_nocase(SMX_SLICE("aZ09"), SMX_SLICE("Az09")));
    assert_false(slice_equal_nocase(SMX_SLICE("\xc3\xa4"), SMX_SLICE("\xc3\x84")));
    assert_false(slice_equal_nocase(SMX_SLICE("@"), SMX_SLICE("`")));
    assert_false(slice_equal_nocase(SMX_SLICE("["), SMX_SLICE("{")));
    assert_true(slice_starts_with_nocase(SMX_SLICE("FROM:<>"), SMX_SLICE("from:")));
    assert_false(slice_starts_with_nocase(SMX_SLICE("FRO"), SMX_SLICE("from:")));
}

static void base_slice__classes_of_every_octet(void **state)
{
    (void)state;
    for (int c = 0; c < 256; c++) {
        bool lower = c >= 'a' && c <= 'z';
        bool upper = c >= 'A' && c <= 'Z';
        bool digit = c >= '0' && c <= '9';
        assert_int_equal(ascii_is_alpha((char)c), lower || upper);
        assert_int_equal(ascii_is_digit((char)c), digit);
        assert_int_equal(ascii_is_alnum((char)c), lower || upper || digit);
        assert_int_equal(ascii_is_space((char)c), c == ' ' || c == '\t');
        assert_int_equal((unsigned char)ascii_lower((char)c), upper ? c + 32 : c);
        assert_int_equal((unsigned char)ascii_upper((char)c), lower ? c - 32 : c);
    }
}

static void base_slice__search_gives_the_length_when_there_is_none(void **state)
{
    (void)state;
    smx_slice s = SMX_SLICE("a\0b.b");
    assert_int_equal(slice_find(s, 'b'), 2);
    assert_int_equal(slice_find_last(s, 'b'), 4);
    assert_int_equal(slice_find(s, '\0'), 1);
    assert_int_equal(slice_find(s, 'x'), 5);
    assert_int_equal(slice_find_last(s, 'x'), 5);
    assert_int_equal(slice_find((smx_slice){0}, 'x'), 0);
    assert_int_equal(slice_search(s, SMX_SLICE("b.")), 2);
    assert_int_equal(slice_search(s, SMX_SLICE("bb")), 5);
    assert_int_equal(slice_search(s, SMX_SLICE("")), 0);
    assert_int_equal(slice_search((smx_slice){0}, SMX_SLICE("x")), 0);
}

static void base_slice__parts(void **state)
{
    (void)state;
    smx_slice s = SMX_SLICE("abc");
    assert_slice(slice_from(s, 1), "bc");
    assert_slice(slice_from(s, 3), "");
    assert_slice(slice_to(s, 2), "ab");
    assert_true(slice_starts_with(s, SMX_SLICE("ab")));
    assert_true(slice_starts_with(s, SMX_SLICE("")));
    assert_false(slice_starts_with(s, SMX_SLICE("abcd")));
    assert_slice(slice_of_text(NULL), "");
    assert_int_equal(slice_from((smx_slice){0}, 0).len, 0);
}

static void base_slice__trim_takes_blanks_and_tabs_alone(void **state)
{
    (void)state;
    assert_slice(slice_trim(SMX_SLICE(" \t a b\t ")), "a b");
    assert_slice(slice_trim(SMX_SLICE(" \t ")), "");
    assert_slice(slice_trim(SMX_SLICE("\ra\n")), "\ra\n");
    assert_slice(slice_trim((smx_slice){0}), "");
}

static void base_slice__cut_gives_every_word(void **state)
{
    (void)state;
    smx_slice rest = SMX_SLICE("a,,b,");
    smx_slice word;
    assert_true(slice_cut(&rest, ',', &word));
    assert_slice(word, "a");
    assert_true(slice_cut(&rest, ',', &word));
    assert_slice(word, "");
    assert_true(slice_cut(&rest, ',', &word));
    assert_slice(word, "b");
    assert_true(slice_cut(&rest, ',', &word));
    assert_slice(word, "");
    assert_false(slice_cut(&rest, ',', &word));
}

static void base_slice__cut_of_nothing(void **state)
{
    (void)state;
    smx_slice none = {0};
    smx_slice empty = SMX_SLICE("");
    smx_slice word = SMX_SLICE("x");
    assert_false(slice_cut(&none, ',', &word));
    assert_slice(word, "x");
    assert_true(slice_cut(&empty, ',', &word));
    assert_slice(word, "");
    assert_false(slice_cut(&empty, ',', &word));
}

static void base_slice__numbers(void **state)
{
    (void)state;
    uint64_t number = 77;
    assert_int_equal(slice_to_number(SMX_SLICE("18446744073709551615"), UINT64_MAX, &number), 0);
    assert_true(number == UINT64_MAX);
    assert_int_equal(slice_to_number(SMX_SLICE("00000000000000000000000000007"), 9, &number), 0);
    assert_int_equal(number, 7);
    assert_int_equal(slice_to_number(SMX_SLICE("18446744073709551616"), UINT64_MAX, &number),
                     SMX_E_RANGE);
    assert_int_equal(slice_to_number(SMX_SLICE("10"), 9, &number), SMX_E_RANGE);
    assert_int_equal(slice_to_number(SMX_SLICE(""), 9, &number), SMX_E_SYNTAX);
    assert_int_equal(slice_to_number(SMX_SLICE("-1"), 9, &number), SMX_E_SYNTAX);
    assert_int_equal(slice_to_number(SMX_SLICE("1 "), 9, &number), SMX_E_SYNTAX);
    assert_int_equal(slice_to_number(SMX_SLICE("99999999999999999999999x"), 9, &number),
                     SMX_E_SYNTAX);
    assert_int_equal(number, 7);
}

static void base_slice__globs(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *pattern;
        bool matches;
    } rows[] = {
        {"", "", true},
        {"", "*", true},
        {"a", "", false},
        {"a", "?", true},
        {"", "?", false},
        {"abc", "a*c", true},
        {"ac", "a*c", true},
        {"abcd", "a*c", false},
        {"abcabc", "a*abc", true},
        {"a.EXAMPLE", "*.example", true},
        {"example", "*.example", false},
        {"mississippi", "m*iss*p?", true},
        {"mississippi", "m*iss*x", false},
        {"aaaa", "***a", true},
        {"a*b", "a*b", true},
        {"anything", "**", true},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_int_equal(
            slice_matches_glob(slice_of_text(rows[i].text), slice_of_text(rows[i].pattern)),
            rows[i].matches);
}

/* Backtracking to every star would take longer than anybody waits. */
static void base_slice__globs_do_not_explode(void **state)
{
    (void)state;
    char text[2000];
    char pattern[200];
    memset(text, 'a', sizeof(text));
    for (size_t i = 0; i < sizeof(pattern); i += 2)
        memcpy(pattern + i, "*a", 2);
    pattern[sizeof(pattern) - 1] = 'b';
    assert_false(
        slice_matches_glob(slice_of(text, sizeof(text)), slice_of(pattern, sizeof(pattern))));
}

static void base_slice__constant_time_equality(void **state)
{
    (void)state;
    assert_true(slice_equal_constant_time(SMX_SLICE("secret"), SMX_SLICE("secret")));
    assert_false(slice_equal_constant_time(SMX_SLICE("secret"), SMX_SLICE("secreT")));
    assert_false(slice_equal_constant_time(SMX_SLICE("Secret"), SMX_SLICE("secret")));
    assert_false(slice_equal_constant_time(SMX_SLICE("aa"), SMX_SLICE("a")));
    assert_false(slice_equal_constant_time(SMX_SLICE("a"), SMX_SLICE("aa")));
    assert_false(slice_equal_constant_time(SMX_SLICE("\0"), SMX_SLICE("")));
    assert_true(slice_equal_constant_time(SMX_SLICE(""), (smx_slice){0}));
}

/* Each length takes its own way; what stands behind the octets stays. */
static void base_slice__put_copies_any_length(void **state)
{
    (void)state;
    static const char text[] = "0123456789abcdefghijklmnopqrstuvwxyz";
    for (size_t len = 0; len < sizeof(text); len++) {
        char out[sizeof(text) + 1];
        memset(out, '#', sizeof(out));
        assert_ptr_equal(slice_put(slice_of(text, len), out), out + len);
        assert_memory_equal(out, text, len);
        assert_int_equal(out[len], '#');
    }
    char none = '#';
    assert_ptr_equal(slice_put((smx_slice){0}, &none), &none);
    assert_int_equal(none, '#');
}

static void base_slice__text_is_a_copy_with_nul(void **state)
{
    (void)state;
    char *text = slice_to_text(slice_of("abcdef", 3));
    assert_string_equal(text, "abc");
    free(text);
    text = slice_to_text((smx_slice){0});
    assert_string_equal(text, "");
    free(text);
}

static void base_error__every_error_has_a_text(void **state)
{
    (void)state;
    assert_string_equal(smx_error_text(0), "no error");
    assert_string_equal(smx_error_text(-1000), "unknown error");
#define CHECK_TEXT(number, name, text) assert_string_equal(smx_error_text(SMX_E_##name), text);
    SMX_ERROR_MAP(CHECK_TEXT)
#undef CHECK_TEXT
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(base_slice__equal_compares_lengths_and_octets),
        cmocka_unit_test(base_slice__nocase_is_ascii_only),
        cmocka_unit_test(base_slice__classes_of_every_octet),
        cmocka_unit_test(base_slice__search_gives_the_length_when_there_is_none),
        cmocka_unit_test(base_slice__parts),
        cmocka_unit_test(base_slice__trim_takes_blanks_and_tabs_alone),
        cmocka_unit_test(base_slice__cut_gives_every_word),
        cmocka_unit_test(base_slice__cut_of_nothing),
        cmocka_unit_test(base_slice__numbers),
        cmocka_unit_test(base_slice__globs),
        cmocka_unit_test(base_slice__globs_do_not_explode),
        cmocka_unit_test(base_slice__constant_time_equality),
        cmocka_unit_test(base_slice__put_copies_any_length),
        cmocka_unit_test(base_slice__text_is_a_copy_with_nul),
        cmocka_unit_test(base_error__every_error_has_a_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
