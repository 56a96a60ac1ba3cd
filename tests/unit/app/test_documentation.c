/* docs/configuration.md against the tables of keys: the tables between its marks are those that the
 * keys give. With SMX_WRITE_DOCS set the file is written anew instead. */
#include "test_app.h"

#include "app/keys.h"

static void add(buffer *out, const char *text)
{
    assert_int_equal(buffer_append_text(out, text), 0);
}

static void add_type(buffer *out, const config_key *key)
{
    static const char *const TYPES[] = {
        [KEY_TEXT] = "text",          [KEY_SECRET] = "secret", [KEY_FILE] = "file",
        [KEY_BOOL] = "true or false", [KEY_NUMBER] = "number", [KEY_DURATION] = "duration",
        [KEY_SIZE] = "size",          [KEY_LEVEL] = "mapping",
    };
    if (key->kind == KEY_WORD) {
        for (size_t i = 0; key->words[i] != NULL; i++)
            assert_int_equal(buffer_printf(out, "%s`%s`",
                                           i == 0                      ? ""
                                           : key->words[i + 1] == NULL ? " or "
                                                                       : ", ",
                                           key->words[i]),
                             0);
        return;
    }
    const char *type = key->kind == KEY_CUSTOM ? key->type : TYPES[key->kind];
    assert_non_null(type);
    add(out, type);
}

static void add_default(buffer *out, const config_key *key)
{
    if (key->is_required)
        add(out, "needed");
    else if (key->initial != NULL)
        assert_int_equal(buffer_printf(out, "`%s`", key->initial), 0);
    else if (key->otherwise != NULL)
        add(out, key->otherwise);
}

static void add_key(buffer *out, const config_key *key)
{
    assert_true(strlen(key->doc) > 0);
    assert_int_equal(buffer_printf(out, "| `%s`%s%s%s | ", key->name,
                                   key->kind == KEY_SECRET ? ", `" : "",
                                   key->kind == KEY_SECRET ? key->name : "",
                                   key->kind == KEY_SECRET ? "_file`" : ""),
                     0);
    add_type(out, key);
    add(out, " | ");
    add_default(out, key);
    assert_int_equal(buffer_printf(out, " | %s |\n", key->doc), 0);
}

/* A level's table, and the names of what is not in this version. */
static void add_level(buffer *out, const config_level *level)
{
    bool has_later = false;
    add(out, "| key | value | default | meaning |\n|---|---|---|---|\n");
    for (size_t i = 0; i < level->count; i++) {
        if (level->keys[i].kind != KEY_LATER)
            add_key(out, &level->keys[i]);
    }
    for (size_t i = 0; i < level->count; i++) {
        if (level->keys[i].kind != KEY_LATER)
            continue;
        assert_int_equal(buffer_printf(out, "%s `%s`", has_later ? "," : "\nNot in this version:",
                                       level->keys[i].name),
                         0);
        has_later = true;
    }
    if (has_later)
        add(out, ".\n");
}

/* The file with the tables put between `<!-- keys: NAME -->` and `<!-- end -->`. */
static void expected_text(smx_slice text, buffer *out)
{
    static const smx_slice END = SMX_SLICE("<!-- end -->");
    for (size_t nth = 0; keys_level_at(nth) != NULL; nth++) {
        char mark[128];
        (void)snprintf(mark, sizeof(mark), "<!-- keys: %s -->\n", keys_level_at(nth)->name);
        size_t at = slice_search(text, slice_of_text(mark));
        if (at == text.len)
            fail_msg("docs/configuration.md lacks %s, or has it in another order", mark);
        assert_int_equal(buffer_append(out, slice_to(text, at + strlen(mark))), 0);
        add_level(out, keys_level_at(nth));
        text = slice_from(text, at + strlen(mark));
        text = slice_from(text, slice_search(text, END));
        assert_true(text.len > 0);
    }
    assert_int_equal(buffer_append(out, text), 0);
}

static void app_documentation__every_key_stands_in_it(void **state)
{
    (void)state;
    char path[1024];
    const char *root = getenv("SMX_SOURCE_ROOT");
    (void)snprintf(path, sizeof(path), "%s/docs/configuration.md", root == NULL ? "." : root);
    buffer text = {0};
    buffer expected = {0};
    problem p;
    assert_int_equal(config_read_file(path, &text, &p), 0);
    expected_text(buffer_slice(&text), &expected);
    if (getenv("SMX_WRITE_DOCS") != NULL) {
        FILE *file = fopen(path, "w");
        assert_non_null(file);
        smx_slice all = buffer_slice(&expected);
        assert_int_equal(fwrite(all.data, 1, all.len, file), all.len);
        assert_int_equal(fclose(file), 0);
    } else if (!slice_equal(buffer_slice(&text), buffer_slice(&expected))) {
        fail_msg("docs/configuration.md does not follow src/app/keys*.c: run SMX_WRITE_DOCS=1 %s",
                 "build-asan/tests/unit/unit_app_documentation in the source's folder");
    }
    buffer_free(&text);
    buffer_free(&expected);
}

static void app_documentation__every_key_has_one_line_and_one_default(void **state)
{
    (void)state;
    for (size_t nth = 0; keys_level_at(nth) != NULL; nth++) {
        const config_level *level = keys_level_at(nth);
        for (size_t i = 0; i < level->count; i++) {
            const config_key *key = &level->keys[i];
            if (key->is_required && key->initial != NULL)
                fail_msg("%s has a default that nobody sees", key->name);
            if (key->initial != NULL && key->otherwise != NULL)
                fail_msg("%s has two defaults", key->name);
            for (size_t j = 0; j < i; j++)
                assert_string_not_equal(level->keys[j].name, key->name);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(app_documentation__every_key_stands_in_it),
        cmocka_unit_test(app_documentation__every_key_has_one_line_and_one_default),
    };
    return cmocka_run_group_tests_name("app_documentation", tests, NULL, NULL);
}
