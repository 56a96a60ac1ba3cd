/* The `routes` of the configuration: what they match, and the plans that they lead to. A window of time
 * holds a share of its zone, which routes_free gives back; all else is the snapshot's memory. */
#include "app/nearest.h"
#include "app/parts.h"
#include "app/scalar.h"
#include "mux/route.h"

/* ---- the values of words ---- */

/* ">10MiB", "<=1MiB": false if it is neither. */
static bool size_bound(smx_slice text, mux_size_range *range, int *error)
{
    bool is_more = text.len > 0 && text.data[0] == '>';
    bool is_less = text.len > 0 && text.data[0] == '<';
    bool is_equal = text.len > 1 && text.data[1] == '=';
    uint64_t octets = 0;
    if (!is_more && !is_less)
        return false;
    *error = scalar_size(slice_trim(slice_from(text, is_equal ? 2 : 1)), &octets);
    if (*error == 0 && !is_equal && octets == (is_more ? UINT64_MAX : 0))
        *error = SMX_E_RANGE; /* no message is such */
    if (*error == 0 && is_more)
        *range = (mux_size_range){is_equal ? octets : octets + 1, UINT64_MAX};
    else if (*error == 0)
        *range = (mux_size_range){0, is_equal ? octets : octets - 1};
    return true;
}

static int size_range(smx_slice text, mux_size_range *range)
{
    mux_size_range read;
    int error = 0;
    size_t dash = slice_find(text, '-');
    if (size_bound(text, range, &error))
        return error;
    if (dash == text.len)
        return SMX_E_SYNTAX;
    error = scalar_size(slice_trim(slice_to(text, dash)), &read.minimum);
    if (error == 0)
        error = scalar_size(slice_trim(slice_from(text, dash + 1)), &read.maximum);
    if (error == 0 && read.minimum > read.maximum)
        error = SMX_E_RANGE;
    if (error == 0)
        *range = read;
    return error;
}

static void read_size(config_reader *reader, const yaml_entry *item, mux_pattern *pattern)
{
    int error = size_range(pattern->text, &pattern->is.size);
    if (error == SMX_E_RANGE)
        problems_error(reader->problems, item->value->offset, "no message has the size `%s`",
                       pattern->text.data);
    else if (error != 0)
        problems_error(reader->problems, item->value->offset,
                       "expected a size such as \">10MiB\", \"<=1MiB\" or 1MiB-10MiB, found `%s`",
                       pattern->text.data);
}

static void read_network(config_reader *reader, const yaml_entry *item, mux_pattern *pattern)
{
    if (smx_network_parse(pattern->text, &pattern->is.network) != 0)
        problems_error(reader->problems, item->value->offset,
                       "expected an address or a network such as 192.0.2.0/24, found `%s`",
                       pattern->text.data);
}

static void read_time(config_reader *reader, const yaml_entry *item, mux_pattern *pattern)
{
    problem p;
    int error = mux_daytime_parse(pattern->text, &pattern->is.time, &p);
    if (error != 0)
        reader_problem(reader, item->value->offset, error, &p);
}

/* What can be read but fits nothing. */
static void check_glob(config_reader *reader, mux_word word, const yaml_entry *item, smx_slice text)
{
    bool is_domain = word == MUX_WORD_FROM_DOMAIN || word == MUX_WORD_RCPT_DOMAIN;
    bool is_address = word == MUX_WORD_FROM || word == MUX_WORD_RCPT;
    bool has_at = slice_find(text, '@') < text.len;
    bool is_plain = slice_find(text, '*') == text.len && slice_find(text, '?') == text.len;
    bool is_special =
        slice_equal(text, SMX_SLICE("<>")) || slice_equal_nocase(text, SMX_SLICE("postmaster"));
    if (is_domain && has_at)
        problems_error(reader->problems, item->value->offset,
                       "`%s` is an address, and `%s` looks at domains; `%s` looks at addresses",
                       text.data, mux_word_get(word)->text,
                       word == MUX_WORD_FROM_DOMAIN ? "from" : "rcpt");
    else if (is_address && is_plain && !has_at && !is_special)
        problems_error(reader->problems, item->value->offset,
                       "`%s` is no address: write `%s@*` for that name, or `*@%s` for that domain",
                       text.data, text.data, text.data);
}

static void read_pattern(config_reader *reader, mux_word word, const yaml_entry *item,
                         mux_pattern *pattern)
{
    smx_slice text;
    if (!reader_scalar(reader, item, "a text", &text))
        return;
    pattern->text = slice_of(reader_copy(reader, text), text.len);
    switch (mux_word_get(word)->kind) {
    case MUX_PATTERN_NETWORK:
        read_network(reader, item, pattern);
        break;
    case MUX_PATTERN_SIZE:
        read_size(reader, item, pattern);
        break;
    case MUX_PATTERN_TIME:
        read_time(reader, item, pattern);
        break;
    case MUX_PATTERN_GLOB:
        check_glob(reader, word, item, text);
        break;
    }
}

/* ---- words ---- */

/* A match while it is read: what is counted is complete enough to be freed. */
typedef struct match_room {
    mux_match match;
    mux_condition *conditions; /* those of `match` */
} match_room;

static match_room *new_room(config_reader *reader, const yaml_node *value);

static mux_condition *add_condition(match_room *room, mux_word word)
{
    mux_condition *condition = &room->conditions[room->match.count++];
    condition->word = word;
    return condition;
}

static void add_word(config_reader *reader, match_room *room, mux_word word, smx_slice field,
                     const yaml_entry *entry)
{
    const yaml_entry *items;
    size_t count = reader_list(entry, &items);
    mux_pattern *patterns = reader_alloc(reader, count, sizeof(*patterns));
    if (patterns == NULL)
        return;
    mux_condition *condition = add_condition(room, word);
    condition->field = field;
    condition->patterns = patterns;
    condition->pattern_count = count;
    for (size_t i = 0; i < count; i++)
        read_pattern(reader, word, &items[i], &patterns[i]);
    if (count == 0)
        problems_error(reader->problems, entry->value->offset,
                       "`%s` names nothing, so this could not match anything", entry->key.data);
}

void routes_read_word(config_reader *reader, const yaml_entry *entry, void *target)
{
    for (mux_word word = 0; word < MUX_WORD_NOT; word++) {
        if (slice_equal(entry->key, slice_of_text(mux_word_get(word)->text)))
            add_word(reader, target, word, (smx_slice){NULL, 0}, entry);
    }
}

/* Each field must fit. */
void routes_read_header(config_reader *reader, const yaml_entry *entry, void *target)
{
    const yaml_node *value = entry->value;
    if (value->kind != YAML_MAPPING) {
        problems_error(reader->problems, value->offset,
                       "expected fields and what they hold, such as {X-Priority: bulk}, found %s",
                       yaml_kind_text(value));
        return;
    }
    for (size_t i = 0; i < value->count; i++) {
        smx_slice name = value->entries[i].key;
        if (name.len == 0 || slice_find(name, ':') < name.len || slice_find(name, ' ') < name.len)
            problems_error(reader->problems, value->entries[i].offset, "`%s` is no name of a field",
                           name.data);
        add_word(reader, target, MUX_WORD_HEADER, slice_of(reader_copy(reader, name), name.len),
                 &value->entries[i]);
    }
}

/* Each mapping of a list is negated by itself: none of them may hold. */
void routes_read_not(config_reader *reader, const yaml_entry *entry, void *target)
{
    const yaml_entry *items;
    size_t count = reader_list(entry, &items);
    for (size_t i = 0; i < count; i++) {
        match_room *nested = new_room(reader, items[i].value);
        if (nested == NULL)
            return;
        add_condition(target, MUX_WORD_NOT)->nested = &nested->match;
        reader_level(reader, &level_match, &items[i], nested);
        if (items[i].value->kind == YAML_MAPPING && items[i].value->count == 0)
            problems_error(reader->problems, items[i].value->offset,
                           "`not` of every message could not match anything");
    }
}

/* Room for all that the mapping can give. */
static match_room *new_room(config_reader *reader, const yaml_node *value)
{
    size_t count = 0;
    for (size_t i = 0; value->kind == YAML_MAPPING && i < value->count; i++) {
        const yaml_node *inner = value->entries[i].value;
        count += inner->kind == YAML_SCALAR ? 1 : inner->count + 1;
    }
    match_room *room = reader_alloc(reader, 1, sizeof(*room));
    mux_condition *conditions = reader_alloc(reader, count, sizeof(*conditions));
    if (room == NULL || conditions == NULL)
        return NULL;
    room->conditions = conditions;
    room->match.conditions = conditions;
    return room;
}

void routes_read_match(config_reader *reader, const yaml_entry *entry, void *target)
{
    mux_route_options *route = target;
    match_room *room = new_room(reader, entry->value);
    if (room == NULL)
        return;
    route->match = &room->match;
    reader_level(reader, &level_match, entry, room);
}

static void free_match(const mux_match *match)
{
    for (size_t i = 0; match != NULL && i < match->count; i++) {
        const mux_condition *condition = &match->conditions[i];
        free_match(condition->nested);
        for (size_t k = 0; condition->word == MUX_WORD_TIME && k < condition->pattern_count; k++) {
            mux_daytime time = condition->patterns[k].is.time;
            mux_daytime_free(&time);
        }
    }
}

void routes_free(config *c)
{
    for (size_t i = 0; i < c->route_count; i++)
        free_match(c->routes[i].match);
}

/* ---- one route, and all ---- */

static const char *const INHERITED[] = {
#define INHERITED_NAME(field, name) [MUX_PLAN_BIT_##field] = (name),
    MUX_PLAN_INHERIT_MAP(INHERITED_NAME)
#undef INHERITED_NAME
};
enum { INHERITED_COUNT = sizeof(INHERITED) / sizeof(INHERITED[0]) };

static void set_name(config_reader *reader, mux_route_options *route, size_t index,
                     const yaml_entry *at)
{
    char name[32];
    if (route->name == NULL) {
        (void)snprintf(name, sizeof(name), "routes[%zu]", index);
        route->name = reader_copy(reader, slice_of_text(name));
        return;
    }
    bool is_taken = strcmp(route->name, "user") == 0;
    for (size_t i = 0; i < index; i++)
        is_taken = is_taken || strcmp(reader->config->routes[i].name, route->name) == 0;
    if (is_taken)
        problems_error(reader->problems, yaml_find(at->value, SMX_SLICE("name"))->offset,
                       strcmp(route->name, "user") == 0
                           ? "`%s` is what the log calls a message without a route; take another "
                             "name"
                           : "another route is called `%s` already",
                       route->name);
}

static void read_route(config_reader *reader, const yaml_entry *at, size_t index)
{
    mux_route_options *route = &reader->config->routes[index];
    reader_level(reader, &level_route, at, route);
    if (at->value->kind != YAML_MAPPING)
        return;
    set_name(reader, route, index, at);
    if (!reader_has(at, "upstreams"))
        problems_error(reader->problems, at->offset,
                       "this route has no upstreams: add `upstreams: [NAME, ...]`");
    for (unsigned bit = 0; bit < INHERITED_COUNT; bit++) {
        if (reader_has(at, INHERITED[bit]))
            route->given |= 1U << bit;
    }
}

void routes_read(config_reader *reader, const yaml_entry *entry, void *target)
{
    config *c = target;
    const yaml_entry *items;
    size_t count = reader_list(entry, &items);
    c->routes = reader_alloc(reader, count, sizeof(*c->routes));
    reader->route_entries = reader_alloc(reader, count, sizeof(yaml_entry *));
    if (c->routes == NULL || reader->route_entries == NULL)
        return;
    for (size_t i = 0; i < count; i++) {
        reader->route_entries[i] = &items[i];
        c->route_count = i + 1;
        read_route(reader, &items[i], i);
    }
}

/* ---- printing ---- */

static void write_patterns(config_writer *writer, const mux_condition *condition)
{
    writer_text(writer, ": [");
    for (size_t i = 0; i < condition->pattern_count; i++) {
        writer_text(writer, i == 0 ? "" : ", ");
        writer_scalar(writer, condition->patterns[i].text);
    }
    writer_text(writer, "]");
}

static void write_match(config_writer *writer, const mux_match *match);

/* Fields stand together in one mapping, negations in one list. */
static void write_group(config_writer *writer, const mux_match *match, mux_word word)
{
    size_t written = 0;
    for (size_t i = 0; i < match->count; i++) {
        const mux_condition *condition = &match->conditions[i];
        if (condition->word != word)
            continue;
        writer_text(writer, written++ > 0 ? ", " : word == MUX_WORD_NOT ? "not: [" : "header: {");
        if (word == MUX_WORD_NOT) {
            write_match(writer, condition->nested);
        } else {
            writer_scalar(writer, condition->field);
            write_patterns(writer, condition);
        }
    }
    if (written > 0)
        writer_text(writer, word == MUX_WORD_NOT ? "]" : "}");
}

static void write_match(config_writer *writer, const mux_match *match)
{
    unsigned seen = 0;
    writer_text(writer, "{");
    for (size_t i = 0; i < match->count; i++) {
        const mux_condition *condition = &match->conditions[i];
        bool is_group = condition->word == MUX_WORD_NOT || condition->word == MUX_WORD_HEADER;
        if ((seen & 1U << condition->word) != 0)
            continue;
        writer_text(writer, seen == 0 ? "" : ", ");
        seen |= 1U << condition->word;
        if (is_group) {
            write_group(writer, match, condition->word);
        } else {
            writer_text(writer, mux_word_get(condition->word)->text);
            write_patterns(writer, condition);
        }
    }
    writer_text(writer, "}");
}

void routes_write_match(config_writer *writer, const void *target)
{
    const mux_route_options *route = target;
    writer_key(writer, "match");
    writer_text(writer, " ");
    write_match(writer, route->match);
    writer_end(writer);
}

static bool is_inherited(const mux_route_options *route, const config_key *key)
{
    for (unsigned bit = 0; bit < INHERITED_COUNT; bit++) {
        if (strcmp(key->name, INHERITED[bit]) == 0)
            return (route->given & 1U << bit) == 0;
    }
    return false;
}

/* Without the keys that the route leaves to the user. */
static void write_route(config_writer *writer, const mux_route_options *route)
{
    for (size_t i = 0; i < level_route.count; i++) {
        const config_level one = {level_route.name, &level_route.keys[i], 1};
        if (!is_inherited(route, &level_route.keys[i]))
            writer_level(writer, &one, route);
    }
}

void routes_write(config_writer *writer, const void *target)
{
    const config *c = target;
    if (c->route_count == 0)
        return;
    writer_key(writer, "routes");
    writer_end(writer);
    writer->depth += 2;
    for (size_t i = 0; i < c->route_count; i++) {
        writer->is_item = true;
        write_route(writer, &c->routes[i]);
    }
    writer->depth -= 2;
}
