/* The only file that knows libfyaml. Its marks count octets from 0, and its mappings and sequences
 * have none: they take their key's. Strings and nodes of the tree are the arena's. */
#include "app/yaml.h"

#include <libfyaml.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/checked.h"
#include "proto/utf8.h"

enum { MERGES = 8, NESTING = 64, MOST_NODES = 200000 };

typedef struct yaml_reader {
    problems *list;
    arena *memory;
    const char *only; /* the one key of the file that is wanted; NULL: all */
    int64_t position; /* of the last scalar read: what has no mark stands near it */
    size_t nodes;     /* made so far: aliases of aliases multiply */
    bool is_too_much;
} yaml_reader;

static yaml_node *convert(yaml_reader *r, struct fy_node *from, int64_t offset, unsigned depth);

static void *take(yaml_reader *r, size_t count, size_t size)
{
    size_t total;
    void *memory = checked_multiply(count == 0 ? 1 : count, size, &total)
                       ? arena_calloc(r->memory, total)
                       : NULL;
    if (memory == NULL)
        r->list->is_out_of_memory = true;
    return memory;
}

static int64_t mark_of(struct fy_node *node, int64_t otherwise)
{
    struct fy_token *token =
        node != NULL && fy_node_is_scalar(node) ? fy_node_get_scalar_token(node) : NULL;
    const struct fy_mark *mark = token == NULL ? NULL : fy_token_start_mark(token);
    if (mark == NULL)
        return otherwise;
    /* The mark of a quoted text stands behind its quote, that of an alias behind its asterisk. */
    enum fy_node_style style = fy_node_get_style(node);
    bool is_behind =
        style == FYNS_SINGLE_QUOTED || style == FYNS_DOUBLE_QUOTED || style == FYNS_ALIAS;
    return (int64_t)mark->input_pos - (is_behind && mark->input_pos > 0 ? 1 : 0);
}

/* The place of the first scalar in a value. */
static int64_t first_mark(struct fy_node *node, int64_t otherwise)
{
    void *iterator = NULL;
    if (node != NULL && fy_node_is_sequence(node))
        return first_mark(fy_node_sequence_iterate(node, &iterator), otherwise);
    if (node == NULL || fy_node_is_scalar(node))
        return mark_of(node, otherwise);
    struct fy_node_pair *pair = fy_node_mapping_iterate(node, &iterator);
    return pair == NULL ? otherwise : first_mark(fy_node_pair_key(pair), otherwise);
}

/* ---- ${NAME} ---- */

static bool is_name(smx_slice name)
{
    for (size_t i = 0; i < name.len; i++) {
        if (!ascii_is_alnum(name.data[i]) && name.data[i] != '_')
            return false;
    }
    return name.len > 0 && !ascii_is_digit(name.data[0]);
}

/* One expansion at the start of `rest`; its length, or 0 if there is none. */
static size_t expand_one(yaml_reader *r, smx_slice rest, int64_t offset, buffer *out)
{
    if (slice_starts_with(rest, SMX_SLICE("$${"))) {
        r->list->is_out_of_memory |= buffer_append(out, SMX_SLICE("${")) != 0;
        return 3;
    }
    if (!slice_starts_with(rest, SMX_SLICE("${")))
        return 0;
    smx_slice name = slice_to(slice_from(rest, 2), slice_find(slice_from(rest, 2), '}'));
    if (name.len + 2 == rest.len || !is_name(name)) {
        problems_error(r->list, offset,
                       "`${` begins the name of an environment variable, as in ${NAME}; write $${ "
                       "where it does not");
        return 2;
    }
    char *text = slice_to_text(name);
    const char *value = text == NULL ? NULL : getenv(text);
    if (text != NULL && value == NULL)
        problems_error(r->list, offset, "the environment variable `%s` is not set", text);
    else if (text == NULL || buffer_append_text(out, value) != 0)
        r->list->is_out_of_memory = true;
    free(text);
    return name.len + 3;
}

static smx_slice expand(yaml_reader *r, smx_slice raw, int64_t offset)
{
    buffer out = {0};
    int error = 0;
    for (size_t at = 0; at < raw.len && error == 0;) {
        size_t taken = expand_one(r, slice_from(raw, at), offset, &out);
        if (taken == 0) {
            error = buffer_append_char(&out, raw.data[at]);
            taken = 1;
        }
        at += taken;
    }
    smx_slice copy = {"", 0};
    if (error != 0 || arena_copy(r->memory, buffer_slice(&out), &copy) != 0)
        r->list->is_out_of_memory = true;
    if (out.data != NULL)
        explicit_bzero(out.data, out.end);
    buffer_free(&out);
    return copy;
}

/* ---- values ---- */

static bool is_nothing(struct fy_node *node, smx_slice text)
{
    if (fy_node_get_style(node) != FYNS_PLAIN)
        return false;
    return text.len == 0 || slice_equal(text, SMX_SLICE("~")) ||
           slice_equal_nocase(text, SMX_SLICE("null"));
}

static void convert_scalar(yaml_reader *r, struct fy_node *from, yaml_node *to)
{
    size_t len = 0;
    const char *data = fy_node_get_scalar(from, &len);
    smx_slice raw = {data == NULL ? "" : data, data == NULL ? 0 : len};
    to->offset = mark_of(from, to->offset);
    if (to->offset > r->position)
        r->position = to->offset;
    if (is_nothing(from, raw))
        return;
    to->kind = YAML_SCALAR;
    if (memchr(raw.data, '\0', raw.len) != NULL)
        problems_error(r->list, to->offset, "a value may not hold a NUL character");
    size_t errors = r->list->errors;
    to->text = expand(r, raw, to->offset);
    to->is_broken = r->list->errors > errors;
}

static void convert_sequence(yaml_reader *r, struct fy_node *from, yaml_node *to, unsigned depth)
{
    int items = fy_node_sequence_item_count(from);
    to->kind = YAML_SEQUENCE;
    to->entries = take(r, items < 0 ? 0 : (size_t)items, sizeof(yaml_entry));
    if (to->entries == NULL)
        return;
    void *iterator = NULL;
    struct fy_node *item;
    while ((item = fy_node_sequence_iterate(from, &iterator)) != NULL) {
        yaml_node *value = convert(r, item, -1, depth + 1);
        if (value == NULL)
            return;
        if (value->offset < 0)
            value->offset = value->count > 0 ? value->entries[0].offset : r->position;
        to->entries[to->count++] = (yaml_entry){{"", 0}, value->offset, value};
    }
}

static struct fy_node *follow(struct fy_node *node)
{
    struct fy_node *target = node;
    for (unsigned hop = 0; target != NULL && fy_node_is_alias(target) && hop < NESTING; hop++)
        target = fy_node_resolve_alias(target);
    return target != NULL && fy_node_is_alias(target) ? NULL : target;
}

static bool is_merge(struct fy_node_pair *pair)
{
    size_t len = 0;
    struct fy_node *key = fy_node_pair_key(pair);
    const char *name = key == NULL ? NULL : fy_node_get_scalar(key, &len);
    struct fy_node *value = follow(fy_node_pair_value(pair));
    return name != NULL && slice_equal(slice_of(name, len), SMX_SLICE("<<")) && value != NULL &&
           fy_node_is_mapping(value);
}

/* The members of a mapping, and of those that `<<` takes over: how many at most. */
static size_t count_pairs(struct fy_node *from, unsigned depth)
{
    size_t count = 0;
    void *iterator = NULL;
    struct fy_node_pair *pair;
    while ((pair = fy_node_mapping_iterate(from, &iterator)) != NULL) {
        bool merges = is_merge(pair) && depth < MERGES;
        count += merges ? count_pairs(follow(fy_node_pair_value(pair)), depth + 1) : 1;
    }
    return count;
}

static void add_pair(yaml_reader *r, struct fy_node_pair *pair, yaml_node *to, bool merged,
                     unsigned depth)
{
    struct fy_node *key = fy_node_pair_key(pair);
    int64_t offset = mark_of(key, r->position);
    size_t len = 0;
    const char *name = key == NULL ? NULL : fy_node_get_scalar(key, &len);
    smx_slice copy;
    if (name == NULL || memchr(name, '\0', len) != NULL) {
        problems_error(r->list, offset, "a key must be a word");
        return;
    }
    if (depth == 0 && r->only != NULL && !slice_equal(slice_of(name, len), slice_of_text(r->only)))
        return;
    if (yaml_find(to, slice_of(name, len)) != NULL) {
        if (!merged)
            problems_error(r->list, offset, "the key `%.*s` stands here twice", (int)len, name);
        return;
    }
    if (arena_copy(r->memory, slice_of(name, len), &copy) != 0) {
        r->list->is_out_of_memory = true;
        return;
    }
    r->position = offset;
    yaml_node *value = convert(r, fy_node_pair_value(pair), offset, depth + 1);
    if (value != NULL)
        to->entries[to->count++] = (yaml_entry){copy, offset, value};
}

/* A mapping's own keys first: they win over those of `<<`. `merges` counts how many `<<` lead here,
 * as it does in count_pairs. */
static void add_pairs(yaml_reader *r, struct fy_node *from, yaml_node *to, unsigned merges,
                      unsigned depth)
{
    void *iterator = NULL;
    struct fy_node_pair *pair;
    while ((pair = fy_node_mapping_iterate(from, &iterator)) != NULL) {
        if (!is_merge(pair) || merges >= MERGES)
            add_pair(r, pair, to, merges > 0, depth);
    }
    iterator = NULL;
    while ((pair = fy_node_mapping_iterate(from, &iterator)) != NULL) {
        if (is_merge(pair) && merges < MERGES)
            add_pairs(r, follow(fy_node_pair_value(pair)), to, merges + 1, depth);
    }
}

static yaml_node *convert(yaml_reader *r, struct fy_node *from, int64_t offset, unsigned depth)
{
    yaml_node *to = take(r, 1, sizeof(*to));
    if (to == NULL)
        return NULL;
    to->offset = offset;
    if (from == NULL)
        return to;
    struct fy_node *node = follow(from);
    int64_t at = mark_of(from, offset >= 0 ? offset : r->position);
    if (node == NULL) {
        to->kind = YAML_SCALAR;
        to->is_broken = true;
        problems_error(
            r->list, at,
            "this alias names an anchor that does not exist; a value that begins with `*` needs "
            "quotes");
    } else if (depth > NESTING || r->nodes++ > MOST_NODES) {
        if (!r->is_too_much) /* once is enough */
            problems_error(r->list, at, "values are nested too deeply here");
        r->is_too_much = true;
    } else if (fy_node_is_scalar(node)) {
        convert_scalar(r, node, to);
    } else if (fy_node_is_sequence(node)) {
        convert_sequence(r, node, to, depth);
    } else {
        to->kind = YAML_MAPPING;
        to->entries = take(r, count_pairs(node, 0), sizeof(yaml_entry));
        if (to->entries == NULL)
            return NULL;
        add_pairs(r, node, to, 0, depth);
    }
    return to;
}

/* ---- the text ---- */

static bool is_utf8(problems *list)
{
    for (size_t at = 0; at < list->text.len;) {
        size_t octets = utf8_character(slice_from(list->text, at));
        if (octets == 0) {
            problems_error(list, (int64_t)at, "this is not UTF-8 text");
            return false;
        }
        at += octets;
    }
    return true;
}

/* libfyaml tells line and column from 1; the list counts octets. */
static int64_t offset_of(smx_slice text, int line, int column)
{
    size_t at = 0;
    for (int n = 1; n < line && at < text.len; at++)
        n += text.data[at] == '\n' ? 1 : 0;
    smx_slice rest = slice_to(slice_from(text, at), slice_find(slice_from(text, at), '\n'));
    size_t within = 0;
    for (int n = 1; n < column && within < rest.len; n++)
        within += utf8_character(slice_from(rest, within));
    return (int64_t)(at + within);
}

/* `${NAME}` in a flow mapping opens another one, for YAML. */
static bool has_variable(smx_slice text, int line)
{
    smx_slice rest = slice_from(text, (size_t)offset_of(text, line, 1));
    smx_slice one = slice_to(rest, slice_find(rest, '\n'));
    return slice_search(one, SMX_SLICE("${")) < one.len &&
           (slice_find(one, '[') < one.len || slice_search(one, SMX_SLICE(": {")) < one.len);
}

/* What to do about some of libfyaml's messages, told by how they begin. */
static const struct {
    const char *message;
    const char *advice;
} ADVICE[] = {
    {"tab character may not be used", "; indent with spaces"},
    {"cannot use tab", "; indent with spaces"},
    {"missing comma in flow mapping", "; or a `}` is missing before here"},
    {"missing comma in flow sequence", "; or a `]` is missing before here"},
    {"plain scalar cannot start with", "; a value that begins so needs quotes"},
    {"invalid value after mapping", "; a value that begins with `[` or `{` needs quotes"},
    {"invalid nested block mapping", "; a value with `: ` in it, or `:` at its end, needs quotes"},
    {"did not find expected '-'", "; keys that belong together begin in the same column"},
    {"did not find expected key", "; keys that belong together begin in the same column"},
    {"invalid scalar at the end of block", "; keys that belong together begin in the same column"},
    {"invalid multiline plain key", "; is there a `:` with a space behind each key?"},
    {"wrongly indented double-quoted", "; is its closing quote missing?"},
    {"wrongly indented single-quoted", "; is its closing quote missing?"},
    {"wrongly indented", "; or a `}` or `]` is missing before here"},
};

static const char *advice_for(const char *message)
{
    for (size_t i = 0; i < sizeof(ADVICE) / sizeof(ADVICE[0]); i++) {
        if (slice_starts_with(slice_of_text(message), slice_of_text(ADVICE[i].message)))
            return ADVICE[i].advice;
    }
    return "";
}

static void tell_syntax(problems *list, struct fy_diag *diag)
{
    void *iterator = NULL;
    struct fy_diag_error *error = fy_diag_errors_iterate(diag, &iterator);
    if (error == NULL)
        problems_error(list, PROBLEMS_NOWHERE,
                       "this is not YAML, or there is no memory to read it");
    else
        problems_error(list, offset_of(list->text, error->line, error->column), "%s%s", error->msg,
                       has_variable(list->text, error->line)
                           ? "; a value with ${NAME} between { } or [ ] needs quotes"
                           : advice_for(error->msg));
}

static const yaml_node *convert_document(yaml_reader *r, struct fy_parser *parser,
                                         struct fy_diag *diag)
{
    problems *list = r->list;
    struct fy_document *document = fy_parse_load_document(parser);
    struct fy_node *root = document == NULL ? NULL : fy_document_root(document);
    const yaml_node *tree = NULL;
    if (document == NULL && fy_diag_got_error(diag)) {
        tell_syntax(list, diag);
    } else if (root == NULL) {
        problems_error(list, PROBLEMS_NOWHERE, "the file is empty");
    } else {
        tree = convert(r, root, 0, 0);
    }
    if (document != NULL)
        fy_parse_document_destroy(parser, document);
    if (tree == NULL)
        return NULL;
    document = fy_parse_load_document(parser);
    if (document != NULL) {
        problems_error(list, first_mark(fy_document_root(document), r->position),
                       "a second document begins here; only one is read");
        fy_parse_document_destroy(parser, document);
    } else if (fy_diag_got_error(diag)) {
        tell_syntax(list, diag);
        return NULL;
    }
    return tree;
}

const yaml_node *yaml_parse(problems *list, arena *memory)
{
    return yaml_parse_key(list, memory, NULL);
}

const yaml_node *yaml_parse_key(problems *list, arena *memory, const char *key)
{
    yaml_reader r = {.list = list, .memory = memory, .only = key};
    if (!is_utf8(list))
        return NULL;
    /* The messages are collected; what libfyaml would also print goes nowhere. */
    FILE *nowhere = fopen("/dev/null", "we");
    struct fy_diag_cfg settings;
    fy_diag_cfg_default(&settings);
    settings.fp = nowhere;
    struct fy_diag *diag = nowhere == NULL ? NULL : fy_diag_create(&settings);
    struct fy_parse_cfg options = {
        .flags = FYPCF_QUIET | FYPCF_COLLECT_DIAG | FYPCF_ALLOW_DUPLICATE_KEYS, .diag = diag};
    const yaml_node *tree = NULL;
    struct fy_parser *parser = NULL;
    if (diag != NULL) {
        fy_diag_set_collect_errors(diag, true);
        parser = fy_parser_create(&options);
    }
    if (parser == NULL || fy_parser_set_string(parser, list->text.data, list->text.len) != 0)
        list->is_out_of_memory = true;
    else
        tree = convert_document(&r, parser, diag);
    fy_parser_destroy(parser);
    fy_diag_destroy(diag);
    if (nowhere != NULL)
        (void)fclose(nowhere);
    return tree;
}

const yaml_entry *yaml_find(const yaml_node *mapping, smx_slice key)
{
    for (size_t i = 0; i < mapping->count; i++) {
        if (slice_equal(mapping->entries[i].key, key))
            return &mapping->entries[i];
    }
    return NULL;
}

void yaml_wipe(const yaml_node *node)
{
    if (node->text.len > 0)
        explicit_bzero((char *)(uintptr_t)node->text.data, node->text.len);
    for (size_t i = 0; i < node->count; i++)
        yaml_wipe(node->entries[i].value);
}

const char *yaml_kind_text(const yaml_node *node)
{
    static const char *const TEXTS[] = {"nothing", "a value", "a list", "a mapping"};
    return TEXTS[node->kind];
}
