/* The engine behind the tables of keys: one reading function for each kind of value. What is read
 * lives in the snapshot's arena. */
#include "app/reader.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "app/scalar.h"
#include "base/checked.h"

void *reader_alloc(config_reader *reader, size_t count, size_t size)
{
    size_t total;
    void *memory = checked_multiply(count == 0 ? 1 : count, size, &total)
                       ? arena_calloc(&reader->config->memory, total)
                       : NULL;
    if (memory == NULL)
        reader->problems->is_out_of_memory = true;
    return memory;
}

const char *reader_copy(config_reader *reader, smx_slice text)
{
    smx_slice copy;
    if (arena_copy(&reader->config->memory, text, &copy) == 0)
        return copy.data;
    reader->problems->is_out_of_memory = true;
    return "";
}

smx_slice reader_copy_slice(config_reader *reader, smx_slice text)
{
    const char *copy = reader_copy(reader, text);
    return slice_of(copy, reader->problems->is_out_of_memory ? 0 : text.len);
}

/* "a" and "b" as one. */
static const char *join(config_reader *reader, smx_slice a, smx_slice b)
{
    char *text = reader_alloc(reader, a.len + b.len + 1, 1);
    if (text == NULL)
        return "";
    memcpy(text, a.data, a.len);
    memcpy(text + a.len, b.data, b.len);
    return text;
}

static smx_slice without_dots(smx_slice path)
{
    while (slice_starts_with(path, SMX_SLICE("./")))
        path = slice_from(path, 2);
    return path;
}

const char *reader_folder(config_reader *reader, const char *name)
{
    char here[PATH_MAX];
    while (strncmp(name, "./", 2) == 0)
        name += 2;
    const char *slash = strrchr(name, '/');
    smx_slice folder = slice_of(name, slash == NULL ? 0 : (size_t)(slash + 1 - name));
    if (name[0] == '/' || getcwd(here, sizeof(here)) == NULL)
        return reader_copy(reader, folder);
    return join(reader, slice_of_text(join(reader, slice_of_text(here), SMX_SLICE("/"))), folder);
}

const char *reader_path(config_reader *reader, smx_slice path)
{
    if (reader->folder == NULL || path.len == 0 || path.data[0] == '/')
        return reader_copy(reader, path);
    return join(reader, slice_of_text(reader->folder), without_dots(path));
}

void reader_problem(config_reader *reader, int64_t offset, int error, const problem *p)
{
    if (error == SMX_E_NOMEM)
        reader->problems->is_out_of_memory = true;
    else
        problems_error(reader->problems, offset, "%s", p->text);
}

size_t reader_list(const yaml_entry *entry, const yaml_entry **first)
{
    bool is_list = entry->value->kind == YAML_SEQUENCE;
    *first = is_list ? entry->value->entries : entry;
    return is_list ? entry->value->count : 1;
}

bool reader_has(const yaml_entry *at, const char *key)
{
    return yaml_find(at->value, slice_of_text(key)) != NULL;
}

static bool is_told(const problems *told, int64_t offset)
{
    for (size_t i = 0; i < told->count; i++) {
        if (!told->entries[i].is_warning && told->entries[i].offset == offset)
            return true;
    }
    return false;
}

bool reader_has_failed(const config_reader *reader, const yaml_entry *at, const char *key)
{
    static const char *const ENDS[] = {"", "_file"};
    char name[64];
    for (size_t i = 0; i < sizeof(ENDS) / sizeof(ENDS[0]); i++) {
        (void)snprintf(name, sizeof(name), "%s%s", key, ENDS[i]);
        const yaml_entry *entry = yaml_find(at->value, slice_of_text(name));
        if (entry != NULL && (is_told(reader->problems, entry->offset) ||
                              is_told(reader->problems, entry->value->offset)))
            return true;
    }
    return false;
}

bool reader_scalar(config_reader *reader, const yaml_entry *entry, const char *expected,
                   smx_slice *text)
{
    if (entry->value->kind != YAML_SCALAR) {
        problems_error(reader->problems, entry->value->offset, "expected %s, found %s", expected,
                       yaml_kind_text(entry->value));
        return false;
    }
    *text = entry->value->text;
    return !entry->value->is_broken;
}

static bool is_listed(smx_slice text, const char *const *words, size_t *index)
{
    for (size_t i = 0; words != NULL && words[i] != NULL; i++) {
        if (slice_equal_nocase(text, slice_of_text(words[i]))) {
            *index = i;
            return true;
        }
    }
    return false;
}

/* "a, b or c"; what does not fit is left out. */
static void write_words(const char *const *words, char *out, size_t capacity)
{
    size_t len = 0;
    for (size_t i = 0; words[i] != NULL && len < capacity; i++) {
        const char *before = i == 0 ? "" : words[i + 1] == NULL ? " or " : ", ";
        int written = snprintf(out + len, capacity - len, "%s`%s`", before, words[i]);
        len += written < 0 ? 0 : (size_t)written;
    }
}

bool reader_word(config_reader *reader, const yaml_entry *entry, const char *const *words,
                 const char *const *later, size_t *index)
{
    char choice[256] = "";
    smx_slice text;
    size_t ignored;
    write_words(words, choice, sizeof(choice));
    if (!reader_scalar(reader, entry, choice, &text))
        return false;
    if (is_listed(text, words, index))
        return true;
    if (is_listed(text, later, &ignored))
        problems_error(reader->problems, entry->value->offset,
                       "`%s` is not in this version; expected %s", text.data, choice);
    else
        problems_error(reader->problems, entry->value->offset, "expected %s, found `%s`", choice,
                       text.data);
    return false;
}

/* ---- one function for each kind ---- */

typedef void read_fn(config_reader *reader, const config_key *key, const yaml_entry *entry,
                     void *place);

static void store_text(const config_key *key, void *place, smx_slice text)
{
    if (key->size == sizeof(smx_slice))
        *(smx_slice *)place = text;
    else
        *(const char **)place = text.data;
}

static void store_number(const config_key *key, void *place, uint64_t number)
{
    if (key->size == sizeof(uint8_t))
        *(uint8_t *)place = (uint8_t)number;
    else if (key->size == sizeof(uint32_t))
        *(uint32_t *)place = (uint32_t)number;
    else
        *(uint64_t *)place = number;
}

static void read_text(config_reader *reader, const config_key *key, const yaml_entry *entry,
                      void *place)
{
    smx_slice text;
    if (!reader_scalar(reader, entry, "a text", &text))
        return;
    if (text.len == 0)
        problems_error(reader->problems, entry->value->offset, "`%s` is empty", key->name);
    else
        store_text(key, place, reader_copy_slice(reader, text));
}

static void read_file(config_reader *reader, const config_key *key, const yaml_entry *entry,
                      void *place)
{
    smx_slice text;
    if (!reader_scalar(reader, entry, "the name of a file", &text))
        return;
    const char *path = reader_path(reader, text);
    store_text(key, place, slice_of_text(path));
    if (access(path, R_OK) != 0)
        problems_error(reader->problems, entry->value->offset, "the file `%s` cannot be read: %s",
                       path, strerror(errno));
}

static void read_bool(config_reader *reader, const config_key *key, const yaml_entry *entry,
                      void *place)
{
    smx_slice text;
    (void)key;
    if (reader_scalar(reader, entry, "`true` or `false`", &text) && scalar_bool(text, place) != 0)
        problems_error(reader->problems, entry->value->offset,
                       "expected `true` or `false`, found `%s`", text.data);
}

/* The sentence on a value that is a `kind` but too small or too large. */
static void tell_range(config_reader *reader, const config_key *key, const yaml_entry *entry,
                       int (*write)(uint64_t value, buffer *out))
{
    buffer words = {0};
    int error = buffer_printf(&words, "`%s` must be from ", key->name);
    if (error == 0)
        error = write(key->minimum, &words);
    if (error == 0)
        error = buffer_append_text(&words, " to ");
    if (error == 0)
        error = write(key->maximum, &words);
    smx_slice text = buffer_slice(&words);
    if (error == 0)
        problems_error(reader->problems, entry->value->offset, "%.*s, found `%s`", (int)text.len,
                       text.data, entry->value->text.data);
    else
        reader->problems->is_out_of_memory = true;
    buffer_free(&words);
}

static int write_number(uint64_t value, buffer *out)
{
    return buffer_printf(out, "%" PRIu64, value);
}

static int write_duration(uint64_t value, buffer *out)
{
    return scalar_write_duration((uint32_t)value, out);
}

static int number_of(smx_slice text, uint64_t *value)
{
    return slice_to_number(text, UINT64_MAX, value);
}

static int duration_of(smx_slice text, uint64_t *value)
{
    uint32_t ms;
    int error = scalar_duration(text, &ms);
    if (error == 0)
        *value = ms;
    return error;
}

static void read_measure(config_reader *reader, const config_key *key, const yaml_entry *entry,
                         void *place)
{
    static const struct {
        const char *expected;
        int (*parse)(smx_slice text, uint64_t *value);
        int (*write)(uint64_t value, buffer *out);
    } MEASURES[] = {
        [KEY_NUMBER] = {"a number", number_of, write_number},
        [KEY_DURATION] = {"a duration such as 500ms, 30s, 5m or 1h", duration_of, write_duration},
        [KEY_SIZE] = {"a size such as 64KiB, 25MiB or 10M", scalar_size, scalar_write_size},
    };
    assert(key->kind == KEY_NUMBER || key->kind == KEY_DURATION || key->kind == KEY_SIZE);
    const char *expected = MEASURES[key->kind].expected;
    smx_slice text;
    uint64_t value = 0;
    if (!reader_scalar(reader, entry, expected, &text))
        return;
    int error = MEASURES[key->kind].parse(text, &value);
    if (error == SMX_E_SYNTAX)
        problems_error(reader->problems, entry->value->offset, "expected %s, found `%s`", expected,
                       text.data);
    else if (error != 0 || value < key->minimum || value > key->maximum)
        tell_range(reader, key, entry, MEASURES[key->kind].write);
    else
        store_number(key, place, value);
}

static void read_word(config_reader *reader, const config_key *key, const yaml_entry *entry,
                      void *place)
{
    size_t index;
    if (reader_word(reader, entry, key->words, key->later, &index))
        store_number(key, place, index);
}

static read_fn *const READ[] = {
    [KEY_TEXT] = read_text,      [KEY_FILE] = read_file,        [KEY_BOOL] = read_bool,
    [KEY_NUMBER] = read_measure, [KEY_DURATION] = read_measure, [KEY_SIZE] = read_measure,
    [KEY_WORD] = read_word,
};

/* ---- levels ---- */

static void read_key(config_reader *reader, const config_level *level, const config_key *key,
                     const yaml_entry *at, void *target);

/* The default of a key, or of the keys below it, as if it stood in the file. */
static void read_default(config_reader *reader, const config_key *key, void *target)
{
    yaml_node value = {YAML_SCALAR, PROBLEMS_NOWHERE, slice_of_text(key->initial), NULL, 0};
    yaml_entry entry = {slice_of_text(key->name), PROBLEMS_NOWHERE, &value};
    yaml_node empty = {YAML_MAPPING, PROBLEMS_NOWHERE, {NULL, 0}, NULL, 0};
    yaml_entry level = {slice_of_text(key->name), PROBLEMS_NOWHERE, &empty};
    if (key->kind == KEY_LEVEL)
        reader_level(reader, key->level, &level, target);
    else if (key->initial != NULL && key->kind == KEY_CUSTOM)
        key->read(reader, &entry, (char *)target + key->offset);
    else if (key->initial != NULL)
        READ[key->kind](reader, key, &entry, (char *)target + key->offset);
}

static void tell_nothing(config_reader *reader, const config_key *key, const yaml_entry *entry)
{
    bool is_list = key->kind == KEY_CUSTOM && key->initial == NULL;
    bool is_needed = key->initial == NULL && key->otherwise == NULL;
    problems_error(reader->problems, entry->offset, "`%s` has no value%s", key->name,
                   is_list     ? ": the lines that belong to it are indented"
                   : is_needed ? ""
                               : "; leave the key out to have its default");
}

static void read_key(config_reader *reader, const config_level *level, const config_key *key,
                     const yaml_entry *at, void *target)
{
    const yaml_entry *entry = yaml_find(at->value, slice_of_text(key->name));
    if (key->kind == KEY_SECRET) {
        smx_slice secret;
        if (reader_secret(reader, at->value, key->name, &secret))
            store_text(key, (char *)target + key->offset, secret);
        return;
    }
    if (entry == NULL && key->is_required && reader_has_misspelt(level, at, key->name))
        return; /* which was told */
    if (entry == NULL && key->is_required)
        problems_error(reader->problems, at->offset, "this %s needs the key `%s`: %s", level->name,
                       key->name, key->doc);
    else if (entry == NULL)
        read_default(reader, key, target);
    else if (key->kind == KEY_LATER)
        problems_error(reader->problems, entry->offset, "`%s` is not in this version", key->name);
    else if (entry->value->kind == YAML_NOTHING)
        tell_nothing(reader, key, entry);
    else if (key->kind == KEY_LEVEL)
        reader_level(reader, key->level, entry, target);
    else if (key->kind == KEY_CUSTOM)
        key->read(reader, entry, (char *)target + key->offset);
    else
        READ[key->kind](reader, key, entry, (char *)target + key->offset);
}

void reader_level(config_reader *reader, const config_level *level, const yaml_entry *at,
                  void *target)
{
    if (at->value->kind != YAML_MAPPING) {
        smx_slice text = at->value->text;
        bool is_pair = at->value->kind == YAML_SCALAR && slice_find(text, ':') < text.len;
        problems_error(reader->problems, at->value->offset,
                       "expected the keys of this %s (`name: value`), found %s%s", level->name,
                       yaml_kind_text(at->value),
                       is_pair ? "; each has a line, and a space behind its colon" : "");
        return;
    }
    reader_unknown_keys(reader, level, at);
    for (size_t i = 0; i < level->count; i++)
        read_key(reader, level, &level->keys[i], at, target);
}
