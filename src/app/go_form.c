/* The file of the Go program of the same name (DESIGN section 2): its `downstreams` become
 * `upstreams`, in the tree of values, so that everything else is judged as in a file of our own. */
#include <stdlib.h>

#include "app/parts.h"

static bool is_set(const char *name)
{
    const char *value = getenv(name);
    return value != NULL && strcmp(value, "true") == 0;
}

bool go_form_is(const yaml_node *top)
{
    const yaml_entry *users = top->kind == YAML_MAPPING ? yaml_find(top, SMX_SLICE("users")) : NULL;
    const yaml_entry *items;
    size_t count = users == NULL ? 0 : reader_list(users, &items);
    for (size_t i = 0; i < count; i++) {
        if (items[i].value->kind == YAML_MAPPING &&
            (reader_has(&items[i], "downstreams") || reader_has(&items[i], "selector_algo_path")))
            return true;
    }
    return false;
}

void go_form_listeners(config_reader *reader)
{
    config *c = reader->config;
    c->listeners = reader_alloc(reader, 1, sizeof(*c->listeners));
    if (c->listeners == NULL)
        return;
    yaml_node value = {YAML_MAPPING, PROBLEMS_NOWHERE, {NULL, 0}, NULL, 0};
    yaml_node address = {YAML_SCALAR, PROBLEMS_NOWHERE, SMX_SLICE("0.0.0.0:1020"), NULL, 0};
    yaml_entry entries[] = {{SMX_SLICE("listen"), PROBLEMS_NOWHERE, &address}};
    value.entries = entries;
    value.count = 1;
    yaml_entry at = {SMX_SLICE("listeners"), PROBLEMS_NOWHERE, &value};
    reader_level(reader, &level_listener, &at, &c->listeners[0]);
    c->listeners[0].smtp.version = SMX_LISTENER_VERSION;
    c->listeners[0].smtp.auth = SMX_AUTH_REQUIRED;
    c->listeners[0].smtp.allow_insecure_auth = true;
    c->listener_count = 1;
    problems_warn(reader->problems, PROBLEMS_NOWHERE,
                  "no `listeners` in this file of the Go program: 0.0.0.0:1020 takes passwords on "
                  "clear text, as there; add `listeners` with `tls` to end that");
}

/* ---- selector_algo_path ---- */

/* Whether the path says `word`, whatever stands between its letters. */
static bool says(smx_slice path, const char *word)
{
    for (size_t start = 0; start < path.len; start++) {
        size_t at = start;
        const char *letter = word;
        while (at < path.len && *letter != '\0') {
            if (ascii_lower(path.data[at]) == *letter)
                letter++;
            else if (letter == word || (path.data[at] != '-' && path.data[at] != '_'))
                break;
            at++;
        }
        if (*letter == '\0')
            return true;
    }
    return false;
}

static const char *selector_of(smx_slice path)
{
    if (says(path, "roundrobin"))
        return "round-robin";
    return says(path, "waterfall") || says(path, "failover") ? "failover" : NULL;
}

void go_form_read_selector(config_reader *reader, const yaml_entry *entry, void *target)
{
    mux_user_options *options = target;
    smx_slice path;
    if (!reader_scalar(reader, entry, "a path", &path))
        return;
    const char *name = selector_of(path);
    if (name == NULL) {
        problems_error(reader->problems, entry->value->offset,
                       "`%s` cannot be run, and its name does not say what it does: write "
                       "`selector: failover`, `selector: round-robin` or `selector: random` "
                       "instead of `selector_algo_path`",
                       path.data);
        return;
    }
    options->plan.selector = mux_selector_find(slice_of_text(name));
    problems_warn(reader->problems, entry->value->offset,
                  "`%s` is not run; by its name, `selector: %s` takes its place", path.data, name);
}

/* ---- downstreams ---- */

enum { ADDED_KEYS = 2 }; /* rewrite_from, allow_insecure_auth */

static yaml_node *new_scalar(config_reader *reader, int64_t offset, smx_slice text)
{
    yaml_node *node = reader_alloc(reader, 1, sizeof(*node));
    if (node != NULL)
        *node = (yaml_node){YAML_SCALAR, offset, text, NULL, 0};
    return node;
}

static void add_entry(config_reader *reader, yaml_node *to, const char *key, int64_t offset,
                      smx_slice text)
{
    const yaml_node *value = new_scalar(reader, offset, text);
    if (value != NULL)
        to->entries[to->count++] = (yaml_entry){slice_of_text(key), offset, value};
}

static void add_url(config_reader *reader, yaml_node *to, const yaml_entry *addr)
{
    smx_slice text;
    char url[1024];
    if (!reader_scalar(reader, addr, "host and port", &text))
        return;
    int len = snprintf(url, sizeof(url), "smtp://%s", text.data);
    smx_slice whole = slice_of(url, len < 0 || (size_t)len >= sizeof(url) ? 0 : (size_t)len);
    add_entry(reader, to, "url", addr->value->offset, reader_copy_slice(reader, whole));
}

/* The keys of an upstream that a downstream stands for. */
static const yaml_node *translate(config_reader *reader, const yaml_entry *item)
{
    const yaml_node *from = item->value;
    yaml_node *to = reader_alloc(reader, 1, sizeof(*to));
    yaml_entry *entries = reader_alloc(reader, from->count + ADDED_KEYS, sizeof(*entries));
    if (to == NULL || entries == NULL)
        return NULL;
    *to = (yaml_node){YAML_MAPPING, from->offset, {NULL, 0}, entries, 0};
    for (size_t i = 0; i < from->count; i++) {
        const yaml_entry *entry = &from->entries[i];
        if (slice_equal(entry->key, SMX_SLICE("addr")))
            add_url(reader, to, entry);
        else
            to->entries[to->count++] = *entry;
        if (slice_equal(entry->key, SMX_SLICE("user")) && entry->value->kind == YAML_SCALAR &&
            slice_find(entry->value->text, '@') < entry->value->text.len)
            add_entry(reader, to, "rewrite_from", entry->value->offset, entry->value->text);
    }
    if (is_set("USE_INSECURE_AUTH"))
        add_entry(reader, to, "allow_insecure_auth", item->offset, SMX_SLICE("true"));
    return to;
}

/* False: it is no downstream, which is told. */
static bool check_downstream(config_reader *reader, const yaml_entry *item)
{
    size_t errors = reader->problems->errors;
    if (item->value->kind != YAML_MAPPING)
        problems_error(reader->problems, item->value->offset,
                       "expected a downstream, {addr, user, pass}, found %s",
                       yaml_kind_text(item->value));
    else
        reader_unknown_keys(reader, &level_downstream, item);
    if (reader->problems->errors == errors && !reader_has(item, "addr"))
        problems_error(reader->problems, item->offset,
                       "this downstream needs the key `addr`: host and port");
    return reader->problems->errors == errors;
}

void go_form_read_downstreams(config_reader *reader, const yaml_entry *entry, void *target)
{
    const yaml_entry *items;
    size_t count = reader_list(entry, &items);
    yaml_entry *made = reader_alloc(reader, count, sizeof(*made));
    yaml_node all = {YAML_SEQUENCE, entry->offset, {NULL, 0}, made, 0};
    for (size_t i = 0; i < count && made != NULL; i++) {
        const yaml_node *one =
            check_downstream(reader, &items[i]) ? translate(reader, &items[i]) : NULL;
        if (one != NULL)
            made[all.count++] = (yaml_entry){items[i].key, items[i].offset, one};
    }
    yaml_entry translated = {entry->key, entry->offset, &all};
    if (all.count == count)
        users_read_upstreams(reader, &translated, &((mux_user_options *)target)->plan);
}
