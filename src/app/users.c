/* The `users` of the configuration: who they are, and which upstreams they send through. */
#include "app/nearest.h"
#include "app/parts.h"
#include "sasl/password.h"

enum { WEIGHT_MAX = 1000 };

static const char *const HASH_WORDS[] = {"sender", "recipient", "user", NULL};

/* ---- keys ---- */

void users_read_allow_from(config_reader *reader, const yaml_entry *entry, void *target)
{
    mux_user_options *options = target;
    const yaml_entry *items;
    size_t count = reader_list(entry, &items);
    smx_slice *made = reader_alloc(reader, count, sizeof(*made));
    smx_slice text;
    size_t filled = 0;
    for (size_t i = 0; i < count && made != NULL; i++) {
        if (reader_scalar(reader, &items[i], "an address with `*` and `?`, such as *@example.com",
                          &text))
            made[filled++] = reader_copy_slice(reader, text);
    }
    options->user.allow_from = made;
    options->user.allow_from_count = filled;
}

static const char *const MISSING_WORDS[] = {"date", "message-id", NULL};

void users_read_add_missing(config_reader *reader, const yaml_entry *entry, void *target)
{
    mux_plan *plan = target;
    const yaml_entry *items;
    size_t count = reader_list(entry, &items);
    for (size_t i = 0; i < count; i++) {
        size_t index;
        if (reader_word(reader, &items[i], MISSING_WORDS, NULL, &index))
            plan->add_missing |= 1U << index;
    }
}

static bool is_script(smx_slice text)
{
    static const char *const ENDS[] = {".so", ".lua", ".star"};
    for (size_t i = 0; i < sizeof(ENDS) / sizeof(ENDS[0]); i++) {
        smx_slice end = slice_of_text(ENDS[i]);
        if (text.len > end.len && slice_equal(slice_from(text, text.len - end.len), end))
            return true;
    }
    return slice_find(text, '/') < text.len;
}

/* "`failover`, `round-robin` and `random`" */
static void list_selectors(char *text, size_t capacity)
{
    size_t len = 0;
    const mux_selector *selector;
    for (size_t i = 0; (selector = mux_selector_at(i)) != NULL && len < capacity; i++) {
        const char *before = i == 0 ? "" : mux_selector_at(i + 1) == NULL ? " and " : ", ";
        int written = snprintf(text + len, capacity - len, "%s`%s`", before, selector->name);
        len += written < 0 ? 0 : (size_t)written;
    }
}

static void tell_selector(config_reader *reader, const yaml_entry *entry, smx_slice text)
{
    char known[256] = "";
    nearest near = nearest_begin(text);
    const mux_selector *selector;
    list_selectors(known, sizeof(known));
    for (size_t i = 0; (selector = mux_selector_at(i)) != NULL; i++)
        nearest_try(&near, selector->name);
    if (is_script(text))
        problems_error(reader->problems, entry->value->offset,
                       "the selector `%s` is not in this version; there are %s", text.data, known);
    else if (near.best != NULL)
        problems_error(reader->problems, entry->value->offset,
                       "unknown selector `%s`; did you mean `%s`?", text.data, near.best);
    else
        problems_error(reader->problems, entry->value->offset,
                       "unknown selector `%s`; there are %s", text.data, known);
}

void users_read_selector(config_reader *reader, const yaml_entry *entry, void *target)
{
    mux_plan *plan = target;
    smx_slice text;
    if (entry->value->kind == YAML_MAPPING && entry->value->count == 1 &&
        slice_equal(entry->value->entries[0].key, SMX_SLICE("hash"))) {
        size_t by;
        if (reader_word(reader, &entry->value->entries[0], HASH_WORDS, NULL, &by)) {
            plan->selector = mux_selector_find(SMX_SLICE("hash"));
            plan->hash_by = (mux_hash_by)by;
        }
        return;
    }
    if (!reader_scalar(reader, entry, "the name of a selector", &text))
        return;
    const mux_selector *selector = mux_selector_find(text);
    if (selector == NULL)
        tell_selector(reader, entry, text);
    else
        plan->selector = selector;
}

/* ---- a user's upstreams ---- */

/* The choices of one user while they are read. */
typedef struct choice_list {
    mux_choice *choices;
    size_t count;
    bool is_weighted;
} choice_list;

static void tell_no_upstream(config_reader *reader, smx_slice name, int64_t offset)
{
    const config *c = reader->config;
    nearest near = nearest_begin(name);
    for (size_t i = 0; i < c->upstream_count; i++)
        nearest_try(&near, c->upstreams[i].name == NULL ? "" : c->upstreams[i].name);
    if (near.best != NULL)
        problems_error(reader->problems, offset, "no upstream is called `%s`; did you mean `%s`?",
                       name.data, near.best);
    else if (reader_has(&reader->top, "upstreams"))
        problems_error(reader->problems, offset,
                       "no upstream is called `%s`: the key `upstreams` of the file lists them",
                       name.data);
    else
        problems_error(reader->problems, offset,
                       "no upstream is called `%s`: add to the file `upstreams: {%s: {url: "
                       "\"smtp+tls://smtp.example.com:587\"}}`",
                       name.data, name.data);
}

static void add_choice(config_reader *reader, choice_list *to, smx_slice name, int64_t offset,
                       uint32_t weight)
{
    const config *c = reader->config;
    size_t index;
    if (reader_has_failed(reader, &reader->top, "upstreams") ||
        reader_has_misspelt(&level_top, &reader->top, "upstreams"))
        return;
    if (!upstreams_find(c, name, &index)) {
        tell_no_upstream(reader, name, offset);
        return;
    }
    for (size_t i = 0; i < to->count; i++) {
        if (to->choices[i].upstream == index) {
            problems_error(reader->problems, offset, "the upstream `%s` stands here twice",
                           name.data);
            return;
        }
    }
    to->choices[to->count++] = (mux_choice){index, weight};
}

static bool is_upstream_key(smx_slice name)
{
    for (size_t i = 0; i < level_upstream.count; i++) {
        if (slice_starts_with(name, slice_of_text(level_upstream.keys[i].name)))
            return true;
    }
    return false;
}

/* {url: ...} is an upstream of its own, {ses: 3} a name with its weight. */
static bool is_inline(const yaml_entry *item)
{
    bool is_upstream = item->value->count == 0;
    for (size_t i = 0; i < item->value->count; i++)
        is_upstream = is_upstream || is_upstream_key(item->value->entries[i].key);
    return is_upstream;
}

static void add_weighted(config_reader *reader, choice_list *to, const yaml_entry *item)
{
    smx_slice text;
    uint64_t weight;
    if (!reader_scalar(reader, item, "a weight", &text))
        return;
    if (slice_to_number(text, WEIGHT_MAX, &weight) != 0 || weight == 0) {
        problems_error(reader->problems, item->value->offset,
                       "expected a weight from 1 to %d, found `%s`", WEIGHT_MAX, text.data);
        return;
    }
    to->is_weighted = to->is_weighted || weight > 1;
    add_choice(reader, to, item->key, item->offset, (uint32_t)weight);
}

static void add_item(config_reader *reader, choice_list *to, const yaml_entry *item)
{
    size_t index;
    const yaml_node *value = item->value;
    if (value->is_broken)
        return;
    if (value->kind == YAML_SCALAR) {
        add_choice(reader, to, value->text, value->offset, 1);
    } else if (value->kind != YAML_MAPPING) {
        problems_error(reader->problems, value->offset,
                       "expected the name of an upstream, {name: weight} or {url: ...}, found %s",
                       yaml_kind_text(value));
    } else if (!is_inline(item)) {
        for (size_t i = 0; i < value->count; i++)
            add_weighted(reader, to, &value->entries[i]);
    } else if (upstreams_read_inline(reader, item, &index)) {
        to->choices[to->count++] = (mux_choice){index, 1};
    }
}

static size_t count_choices(const yaml_entry *items, size_t count)
{
    size_t choices = 0;
    for (size_t i = 0; i < count; i++)
        choices += items[i].value->kind == YAML_MAPPING ? items[i].value->count + 1 : 1;
    return choices;
}

void users_read_upstreams(config_reader *reader, const yaml_entry *entry, void *target)
{
    mux_plan *plan = target;
    const yaml_entry *items;
    size_t count = reader_list(entry, &items);
    choice_list made = {reader_alloc(reader, count_choices(items, count), sizeof(mux_choice)), 0,
                        false};
    for (size_t i = 0; i < count && made.choices != NULL; i++)
        add_item(reader, &made, &items[i]);
    plan->choices = made.choices;
    plan->choice_count = made.count;
    if (count == 0)
        problems_error(reader->problems, entry->offset, "`%s` names no upstream", entry->key.data);
    if (made.is_weighted && plan->selector != NULL && !plan->selector->weighs)
        problems_warn(reader->problems, entry->offset, "weights do not count with `selector: %s`",
                      plan->selector->name);
}

/* ---- one user, and all ---- */

static int64_t offset_of(const yaml_entry *at, const char *key)
{
    const yaml_entry *entry = yaml_find(at->value, slice_of_text(key));
    return entry == NULL ? at->offset : entry->offset;
}

static void check_secret(config_reader *reader, const yaml_entry *at,
                         const mux_user_options *options)
{
    problem p;
    int error = options->user.secret.len == 0 ? 0 : password_check_form(options->user.secret, &p);
    if (error != 0)
        reader_problem(reader,
                       offset_of(at, reader_has(at, "password") ? "password" : "password_file"),
                       error, &p);
}

static void check_both(config_reader *reader, const yaml_entry *at, const char *one,
                       const char *other)
{
    if (reader_has(at, one) && reader_has(at, other))
        problems_error(reader->problems, offset_of(at, other),
                       "`%s` and `%s` are both given; keep one of them", one, other);
}

static void read_user(config_reader *reader, const yaml_entry *at, mux_user_options *options)
{
    reader_level(reader, &level_user, at, options);
    if (at->value->kind != YAML_MAPPING)
        return;
    check_secret(reader, at, options);
    check_both(reader, at, "upstreams", "downstreams");
    check_both(reader, at, "selector", "selector_algo_path");
    if (!reader_has(at, "upstreams") && !reader_has(at, "downstreams") &&
        !reader_has_misspelt(&level_user, at, "upstreams"))
        problems_error(reader->problems, at->offset,
                       "this user has no upstreams: add `upstreams: [NAME, ...]`");
}

void users_read(config_reader *reader, const yaml_entry *entry, void *target)
{
    config *c = target;
    const yaml_entry *items;
    size_t count = reader_list(entry, &items);
    if (reader_is_stray(reader, &level_user, entry))
        return;
    c->users = reader_alloc(reader, count, sizeof(*c->users));
    reader->user_entries = reader_alloc(reader, count, sizeof(yaml_entry *));
    if (c->users == NULL || reader->user_entries == NULL)
        return;
    for (size_t i = 0; i < count; i++) {
        reader->user_entries[i] = &items[i];
        read_user(reader, &items[i], &c->users[i]);
        c->user_count++;
    }
    if (count == 0)
        problems_error(reader->problems, entry->offset, "`users` is empty, so nobody may send");
}

void users_check_name(config_reader *reader, const yaml_node *name)
{
    const config *c = reader->config;
    nearest near = nearest_begin(name->text);
    for (size_t i = 0; i < c->user_count; i++) {
        smx_slice known = c->users[i].user.name;
        if (known.len == 0 || slice_equal(known, name->text))
            return; /* one whose name is wrong may be meant */
        nearest_try(&near, known.data);
    }
    problems_error(reader->problems, name->offset, "no user is called `%s`%s%s%s", name->text.data,
                   near.best == NULL ? "" : "; did you mean `", near.best == NULL ? "" : near.best,
                   near.best == NULL ? "" : "`?");
}

/* A name that some listener's `trust` lets in without a password. */
static bool is_trusted(const config *c, smx_slice name)
{
    for (size_t i = 0; i < c->listener_count; i++) {
        for (size_t j = 0; j < c->listeners[i].smtp.trust_count; j++) {
            if (slice_equal(c->listeners[i].smtp.trust[j].user, name))
                return true;
        }
    }
    return false;
}

void users_check(config_reader *reader)
{
    const config *c = reader->config;
    for (size_t i = 0; i < c->user_count; i++) {
        smx_slice name = c->users[i].user.name;
        const yaml_entry *at = reader->user_entries[i];
        if (name.len == 0 || at->value->kind != YAML_MAPPING)
            continue;
        for (size_t j = 0; j < i; j++) {
            if (slice_equal(c->users[j].user.name, name)) {
                problems_error(reader->problems, offset_of(at, "email"),
                               "users[%zu] is called `%s` already", j, name.data);
                break;
            }
        }
        if (!reader_has(at, "password") && !reader_has(at, "password_file") &&
            !reader_has_misspelt(&level_user, at, "password") && !is_trusted(c, name))
            problems_warn(reader->problems, at->offset,
                          "`%s` has no password and stands in no `trust`, so cannot send",
                          name.data);
    }
}

/* ---- printing ---- */

void users_write_allow_from(config_writer *writer, const void *target)
{
    const mux_user_options *options = target;
    if (options->user.allow_from == NULL)
        return;
    writer_key(writer, "allow_from");
    writer_text(writer, " [");
    for (size_t i = 0; i < options->user.allow_from_count; i++) {
        writer_text(writer, i == 0 ? "" : ", ");
        writer_scalar(writer, options->user.allow_from[i]);
    }
    writer_text(writer, "]\n");
}

void users_write_add_missing(config_writer *writer, const void *target)
{
    const mux_plan *plan = target;
    const char *separator = "";
    writer_key(writer, "add_missing");
    writer_text(writer, " [");
    for (size_t i = 0; MISSING_WORDS[i] != NULL; i++) {
        if ((plan->add_missing >> i & 1U) == 0)
            continue;
        writer_text(writer, separator);
        writer_text(writer, MISSING_WORDS[i]);
        separator = ", ";
    }
    writer_text(writer, "]\n");
}

void users_write_selector(config_writer *writer, const void *target)
{
    const mux_plan *plan = target;
    bool is_hash = plan->selector == mux_selector_find(SMX_SLICE("hash"));
    if (plan->selector == NULL)
        return;
    writer_key(writer, "selector");
    writer_text(writer, is_hash ? " {hash: " : " ");
    writer_scalar(writer,
                  slice_of_text(is_hash ? HASH_WORDS[plan->hash_by] : plan->selector->name));
    writer_text(writer, is_hash ? "}" : "");
    writer_end(writer);
}

void users_write_upstreams(config_writer *writer, const void *target)
{
    const mux_plan *plan = target;
    char weight[16];
    writer_key(writer, "upstreams");
    writer_text(writer, " [");
    for (size_t i = 0; i < plan->choice_count; i++) {
        const mux_choice *choice = &plan->choices[i];
        writer_text(writer, i == 0 ? "" : ", ");
        writer_text(writer, choice->weight == 1 ? "" : "{");
        writer_scalar(writer, slice_of_text(writer->config->upstreams[choice->upstream].name));
        (void)snprintf(weight, sizeof(weight), ": %u}", choice->weight);
        writer_text(writer, choice->weight == 1 ? "" : weight);
    }
    writer_text(writer, "]\n");
}

void users_write(config_writer *writer, const void *target)
{
    const config *c = target;
    if (c->user_count == 0)
        return;
    writer_items(writer, "users", &level_user, c->users, c->user_count, sizeof(*c->users));
}
