/* docs/profiles.md against profiles/: what stands between its marks is what the files say. With
 * SMX_WRITE_DOCS set the file is written anew instead. */
#include "test_app.h"

#include "app/profiles.h"

#define MARK "<!-- profiles -->\n"

static void add(buffer *out, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void add(buffer *out, const char *format, ...)
{
    char text[2048];
    va_list arguments;
    va_start(arguments, format);
    assert_in_range(vsnprintf(text, sizeof(text), format, arguments), 0, sizeof(text) - 1);
    va_end(arguments);
    assert_int_equal(buffer_append_text(out, text), 0);
}

static void read_profile(config *c, const char *name, profile *known)
{
    problems told = list_for("");
    config_reader reader = {.config = c, .problems = &told};
    yaml_node value = {YAML_SCALAR, 0, slice_of_text(name), NULL, 0, false};
    yaml_entry entry = {slice_of_text("profile"), 0, &value};
    assert_true(profiles_read(&reader, &entry, name, known));
    problems_free(&told);
}

static void add_line(buffer *out, const char *what, const char *text, const char *note,
                     const char *source)
{
    add(out, "- %s: %s%s%s ([source](%s))\n", what, text, note == NULL ? "" : "; ",
        note == NULL ? "" : note, source);
}

static void add_caps(buffer *out, const profile *known)
{
    buffer words = {0};
    smx_extensions bit = 0;
    for (size_t i = 0; profiles_extension_at(i, &bit) != NULL; i++) {
        if ((known->caps.offers & bit) == 0)
            continue;
        add(&words, "%s`%s", buffer_length(&words) == 0 ? "" : " ", profiles_extension_at(i, &bit));
        if (bit == SMX_EXT_SIZE && known->caps.max_size > 0)
            add(&words, " %llu", (unsigned long long)known->caps.max_size);
        add(&words, "`");
    }
    char *text = slice_to_text(buffer_slice(&words));
    assert_non_null(text);
    if (known->caps.offers != 0)
        add_line(out, "offers", text, known->caps.note, known->caps.source);
    free(text);
    buffer_free(&words);
}

static void add_connections(buffer *out, const profile *known)
{
    char text[64];
    if (known->connections.max_connections != 0) {
        (void)snprintf(text, sizeof(text), "%u at a time", known->connections.max_connections);
        add_line(out, "connections", text, known->connections.note, known->connections.source);
    }
    if (known->connections.max_messages_per_connection != 0) {
        (void)snprintf(text, sizeof(text), "%u", known->connections.max_messages_per_connection);
        add_line(out, "messages on a connection", text, known->connections.note,
                 known->connections.source);
    }
}

static void add_phases(buffer *out, uint32_t phases)
{
    if (phases == 0)
        add(out, "any");
    for (unsigned i = 0, said = 0; i < SMX_CLIENT_PHASE_COUNT; i++) {
        if ((phases >> i & 1U) != 0)
            add(out, "%s%s", said++ == 0 ? "" : ", ", smx_client_phase_text((smx_client_phase)i));
    }
}

static void add_lists(buffer *out, const profile *known)
{
    if (known->quota_count > 0)
        add(out, "\n| quota | whose | |\n|---|---|---|\n");
    for (size_t i = 0; i < known->quota_count; i++) {
        const profile_quota *q = &known->quotas[i];
        add(out, "| `%s` | %s | %s ([source](%s)) |\n", q->limit.text,
            q->plan == NULL ? "everybody" : q->plan, q->note == NULL ? "" : q->note, q->source);
    }
    if (known->reply_count > 0)
        add(out, "\n| reply | to | action | |\n|---|---|---|---|\n");
    for (size_t i = 0; i < known->reply_count; i++) {
        const profile_reply *r = &known->replies[i];
        add(out, "| `%s` | ", r->reply);
        add_phases(out, r->rule.phases);
        add(out, " | `%s` | %s ([source](%s)) |\n", r->action, r->note == NULL ? "" : r->note,
            r->source);
    }
}

static void add_profile(buffer *out, config *c, const char *name)
{
    profile known = {0};
    read_profile(c, name, &known);
    add(out, "\n### %s: `%s`\n\n", known.title, name);
    if (known.note != NULL)
        add_line(out, "note", known.note, NULL, known.source);
    add_caps(out, &known);
    add_connections(out, &known);
    if (known.user.advice != NULL)
        add_line(out, "`user`", known.user.advice, NULL, known.user.source);
    if (known.pass.advice != NULL)
        add_line(out, "`pass`", known.pass.advice, NULL, known.pass.source);
    add_lists(out, &known);
}

static void expected_text(smx_slice text, buffer *out)
{
    size_t at = slice_search(text, SMX_SLICE(MARK));
    size_t end = slice_search(text, SMX_SLICE("<!-- end -->"));
    config *c = config_of(LISTENERS UPSTREAMS USERS);
    assert_true(at < end && end < text.len);
    assert_int_equal(buffer_append(out, slice_to(text, at + strlen(MARK))), 0);
    for (const profile_text *one = profile_texts; one->name != NULL; one++)
        add_profile(out, c, one->name);
    assert_int_equal(buffer_append_text(out, "<!-- end -->\n"), 0);
    config_free(c);
}

static void app_profile_documentation__it_says_what_the_files_say(void **state)
{
    (void)state;
    char path[1024];
    const char *root = getenv("SMX_SOURCE_ROOT");
    (void)snprintf(path, sizeof(path), "%s/docs/profiles.md", root == NULL ? "." : root);
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
        fail_msg("docs/profiles.md does not follow profiles/: run SMX_WRITE_DOCS=1 "
                 "build-asan/tests/unit/unit_app_profile_documentation in the source's folder");
    }
    buffer_free(&text);
    buffer_free(&expected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(app_profile_documentation__it_says_what_the_files_say),
    };
    return cmocka_run_group_tests_name("app_profile_documentation", tests, NULL, NULL);
}
