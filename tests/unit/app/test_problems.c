/* How problems are shown: line, caret, masked secrets; and the nearest word. */
#include "test_app.h"

#include "app/nearest.h"

/* One problem at the first `^` of the text, which is taken out; what is shown. */
static void assert_shown(const char *marked, const char *expected)
{
    char text[512];
    const char *mark = strchr(marked, '^');
    assert_non_null(mark);
    (void)snprintf(text, sizeof(text), "%.*s%s", (int)(mark - marked), marked, mark + 1);
    problems told = list_for(text);
    problems_error(&told, mark - marked, "wrong");
    buffer out = {0};
    assert_int_equal(problems_write(&told, &out), 0);
    char *shown = slice_to_text(buffer_slice(&out));
    assert_string_equal(shown, expected);
    free(shown);
    buffer_free(&out);
    problems_free(&told);
}

static void app_problems__the_line_stands_below_with_a_caret(void **state)
{
    (void)state;
    assert_shown("a: b\nc: ^d\ne: f\n", "f:2:4: wrong\n    c: d\n       ^\n");
    assert_shown("^", "f:1:1: wrong\n    \n    ^\n");
    assert_shown("a: b\r\nc: ^d\r\n", "f:2:4: wrong\n    c: d\n       ^\n");
    assert_shown("a: b\n^", "f:2:1: wrong\n    \n    ^\n");
}

static void app_problems__columns_count_characters(void **state)
{
    (void)state;
    assert_shown("\xc3\xa4\xe2\x82\xac: ^d\n",
                 "f:1:5: wrong\n    \xc3\xa4\xe2\x82\xac: d\n        ^\n");
}

static void app_problems__secrets_are_masked(void **state)
{
    (void)state;
    assert_shown("  password: ^sesame\n", "f:1:13: wrong\n      password: ********\n"
                                          "                ^\n");
    assert_shown("  url: ^smtps://joe:sesame@x.example\n",
                 "f:1:8: wrong\n      url: smtps://********@x.example\n           ^\n");
    assert_shown("  url: ^smtp://x.example/ # a@b\n",
                 "f:1:8: wrong\n      url: smtp://x.example/ # a@b\n           ^\n");
    assert_shown("  password: ses^ame\n", "f:1:16: wrong\n      password: ********\n"
                                          "                ^\n");
    assert_shown(
        "- {pass: a, user: ^b}\n",
        "f:1:19: wrong\n    - {pass: ********, user: b}\n                             ^\n");
    assert_shown("- {\"pass\" : \"a, b\", 'password': 'x', u: ^b}\n",
                 "f:1:41: wrong\n    - {\"pass\" : ********, 'password': ********, u: b}\n"
                 "                                                   ^\n");
    assert_shown("{^pass_file: /x, bypass: y}\n",
                 "f:1:2: wrong\n    {pass_file: /x, bypass: y}\n     ^\n");
    assert_shown("password: \"a\\\"b\" ^# c\n",
                 "f:1:18: wrong\n    password: ******** # c\n                       ^\n");
}

static void app_problems__a_long_list_is_sorted_and_stable(void **state)
{
    (void)state;
    problems told = list_for("0123456789");
    for (int i = 99; i >= 0; i--)
        problems_error(&told, i / 10, "%d", i);
    problems_warn(&told, PROBLEMS_NOWHERE, "first");
    problems_sort(&told);
    assert_int_equal(told.count, 101);
    assert_int_equal(told.errors, 100);
    assert_string_equal(told.entries[0].text, "first");
    assert_string_equal(told.entries[1].text, "9");
    assert_string_equal(told.entries[10].text, "0");
    assert_string_equal(told.entries[100].text, "90");
    problems_free(&told);
}

static void app_problems__json_has_the_same(void **state)
{
    (void)state;
    problems told = list_for("a\nb");
    problems_warn(&told, 2, "so \"so\"");
    problems_error(&told, PROBLEMS_NOWHERE, "no");
    json_t *array = problems_json(&told);
    char *text = json_dumps(array, JSON_COMPACT);
    assert_string_equal(text,
                        "[{\"severity\":\"warning\",\"file\":\"f\",\"line\":2,\"column\":1,"
                        "\"message\":\"so \\\"so\\\"\"},{\"severity\":\"error\",\"file\":\"f\","
                        "\"line\":0,\"column\":0,\"message\":\"no\"}]");
    free(text);
    json_decref(array);
    problems_free(&told);
}

static size_t distance(const char *a, const char *b)
{
    return nearest_distance(slice_of_text(a), slice_of_text(b));
}

static void app_nearest__distances(void **state)
{
    (void)state;
    assert_int_equal(distance("", ""), 0);
    assert_int_equal(distance("", "abc"), 3);
    assert_int_equal(distance("abc", ""), 3);
    assert_int_equal(distance("kitten", "sitting"), 3);
    assert_int_equal(distance("ab", "ba"), 1);
    assert_int_equal(distance("hostnmae", "hostname"), 1);
    assert_int_equal(distance("TLS", "tls"), 0);
    char longest[100];
    memset(longest, 'a', sizeof(longest));
    assert_int_equal(nearest_distance(slice_of(longest, sizeof(longest)), SMX_SLICE("a")),
                     SIZE_MAX);
    assert_int_equal(nearest_distance(slice_of(longest, 64), slice_of(longest, 63)), 1);
}

static void app_nearest__what_is_far_is_not_meant(void **state)
{
    (void)state;
    nearest n = nearest_begin(SMX_SLICE("lisen"));
    nearest_try(&n, "tls");
    nearest_try(&n, "listen");
    nearest_try(&n, "listens");
    assert_string_equal(n.best, "listen");
    n = nearest_begin(SMX_SLICE("zzz"));
    nearest_try(&n, "tls");
    assert_null(n.best);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(app_problems__the_line_stands_below_with_a_caret),
        cmocka_unit_test(app_problems__columns_count_characters),
        cmocka_unit_test(app_problems__secrets_are_masked),
        cmocka_unit_test(app_problems__a_long_list_is_sorted_and_stable),
        cmocka_unit_test(app_problems__json_has_the_same),
        cmocka_unit_test(app_nearest__distances),
        cmocka_unit_test(app_nearest__what_is_far_is_not_meant),
    };
    return cmocka_run_group_tests_name("app_problems", tests, NULL, NULL);
}
