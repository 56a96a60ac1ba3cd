/* Profiles of providers: found by their name, read by the tables of keys, and given to upstreams. All
 * that is kept lives in the snapshot's arena. */
#include "app/profiles.h"

#include <regex.h>

#include "app/nearest.h"
#include "app/profile_keys.h"

/* ---- reading ---- */

static bool ends_with(smx_slice text, smx_slice end)
{
    return text.len > end.len && slice_equal(slice_from(text, text.len - end.len), end);
}

bool profiles_is_path(smx_slice name)
{
    return slice_find(name, '/') < name.len || ends_with(name, SMX_SLICE(".yaml")) ||
           ends_with(name, SMX_SLICE(".yml"));
}

static const char *find_text(const char *name)
{
    for (const profile_text *one = profile_texts; one->name != NULL; one++) {
        if (slice_equal(slice_of_text(one->name), slice_of_text(name)))
            return one->text;
    }
    return NULL;
}

static void tell_unknown(config_reader *reader, const yaml_entry *entry, const char *name)
{
    nearest near = nearest_begin(slice_of_text(name));
    for (const profile_text *one = profile_texts; one->name != NULL; one++)
        nearest_try(&near, one->name);
    if (near.best != NULL)
        problems_error(reader->problems, entry->value->offset,
                       "there is no profile `%s`; did you mean `%s`?", name, near.best);
    else
        problems_error(reader->problems, entry->value->offset,
                       "there is no profile `%s`; docs/profiles.md lists them, and one of your own "
                       "is named by its path, such as ./%s.yaml",
                       name, name);
}

/* What is wrong with a profile's file, at the place of the configuration that names it. */
static void tell_all(config_reader *reader, const yaml_entry *entry, const problems *told)
{
    for (size_t i = 0; i < told->count; i++) {
        buffer sentence = {0};
        if (problems_write_head(told, &told->entries[i], &sentence) != 0)
            reader->problems->is_out_of_memory = true;
        smx_slice text = buffer_slice(&sentence);
        while (text.len > 0 && text.data[text.len - 1] == '\n')
            text.len--;
        if (told->entries[i].is_warning)
            problems_warn(reader->problems, entry->value->offset, "%.*s", (int)text.len, text.data);
        else
            problems_error(reader->problems, entry->value->offset, "%.*s", (int)text.len,
                           text.data);
        buffer_free(&sentence);
    }
    reader->problems->is_out_of_memory |= told->is_out_of_memory;
}

static bool read_text(config_reader *reader, const yaml_entry *entry, const char *name,
                      smx_slice text, profile *known)
{
    arena tree = {0};
    problems told = {.file = name, .text = text};
    config_reader inner = {.config = reader->config, .problems = &told};
    const yaml_node *top = yaml_parse(&told, &tree);
    if (top != NULL) {
        yaml_entry at = {{"", 0}, 0, top};
        reader_level(&inner, &level_profile, &at, known);
    }
    problems_sort(&told);
    tell_all(reader, entry, &told);
    bool is_sound = top != NULL && told.errors == 0 && !told.is_out_of_memory;
    arena_free(&tree);
    problems_free(&told);
    return is_sound;
}

bool profiles_read(config_reader *reader, const yaml_entry *entry, const char *name, profile *known)
{
    buffer text = {0};
    problem p;
    known->name = name;
    if (!profiles_is_path(slice_of_text(name))) {
        const char *own = find_text(name);
        if (own == NULL)
            tell_unknown(reader, entry, name);
        return own != NULL && read_text(reader, entry, name, slice_of_text(own), known);
    }
    int error = config_read_file(name, &text, &p);
    if (error != 0)
        reader_problem(reader, entry->value->offset, error, &p);
    bool is_sound = error == 0 && read_text(reader, entry, name, buffer_slice(&text), known);
    buffer_free(&text);
    return is_sound;
}

/* ---- credentials ---- */

static bool fits(config_reader *reader, const char *pattern, const char *text)
{
    regex_t compiled;
    int error = regcomp(&compiled, pattern, REG_EXTENDED | REG_NOSUB);
    if (error == 0) {
        error = regexec(&compiled, text, 0, NULL, 0);
        regfree(&compiled);
    }
    if (error == REG_ESPACE)
        reader->problems->is_out_of_memory = true;
    return error != REG_NOMATCH;
}

static const yaml_entry *find_secret(const yaml_entry *at)
{
    const yaml_entry *entry = yaml_find(at->value, SMX_SLICE("pass"));
    return entry != NULL ? entry : yaml_find(at->value, SMX_SLICE("pass_file"));
}

static void warn(config_reader *reader, const yaml_entry *entry, const profile *known,
                 const profile_credential *form)
{
    problems_warn(reader->problems, entry->offset, "`%s` does not look like one of %s: %s (%s)",
                  entry->key.data, known->title, form->advice, form->source);
}

static void check_credentials(config_reader *reader, const yaml_entry *at, const profile *known,
                              const upstream_options *options)
{
    const yaml_entry *user = yaml_find(at->value, SMX_SLICE("user"));
    const yaml_entry *pass = find_secret(at);
    if (options->user == NULL || user == NULL)
        return;
    if (known->user.pattern != NULL && !fits(reader, known->user.pattern, options->user))
        warn(reader, user, known, &known->user);
    if (options->password == NULL || pass == NULL)
        return;
    const profile_credential *form = &known->pass;
    bool is_odd = form->pattern != NULL && !fits(reader, form->pattern, options->password);
    bool is_same = slice_equal(slice_of_text(options->user), slice_of_text(options->password));
    if (is_odd || (form->same_as_user_for != NULL && !is_same &&
                   fits(reader, form->same_as_user_for, options->user)))
        warn(reader, pass, known, form);
}

/* ---- an upstream ---- */

static void apply_rules(config_reader *reader, const profile *known, upstream_options *options)
{
    upstream_rule *rules = reader_alloc(reader, known->reply_count, sizeof(*rules));
    if (rules == NULL)
        return;
    for (size_t i = 0; i < known->reply_count; i++)
        rules[i] = known->replies[i].rule;
    options->rules = rules;
    options->rule_count = known->reply_count;
}

/* Those of everybody; a plan's are only told. */
static void apply_limits(config_reader *reader, const profile *known, upstream_options *options)
{
    quota_limit *items = reader_alloc(reader, known->quota_count, sizeof(*items));
    size_t count = 0;
    for (size_t i = 0; i < known->quota_count && items != NULL; i++)
        if (known->quotas[i].plan == NULL)
            items[count++] = known->quotas[i].limit;
    options->limits = (quota_limits){items, count};
}

void profiles_apply(config_reader *reader, const yaml_entry *at, const profile *known,
                    upstream_options *options)
{
    if (known->connections.max_connections != 0 && !reader_has(at, "max_connections"))
        options->max_connections = known->connections.max_connections;
    if (known->connections.max_messages_per_connection != 0 &&
        !reader_has(at, "max_messages_per_connection"))
        options->max_messages_per_connection = known->connections.max_messages_per_connection;
    if (!reader_has(at, "caps")) {
        options->caps = known->caps.offers;
        options->cap_max_size = known->caps.max_size;
    }
    if (!reader_has(at, "limits"))
        apply_limits(reader, known, options);
    apply_rules(reader, known, options);
    check_credentials(reader, at, known, options);
}
