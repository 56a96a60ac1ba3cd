/* The list of what is wrong with a file, and how it is shown. The list owns its sentences; the
 * file's text is the caller's. */
#include "app/problems.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/checked.h"

#define MASK "********"

/* Keys whose values are not shown, wherever they stand. A `..._file` beside them is no secret. */
static const char *const SECRET_KEYS[] = {"password", "pass",          "client_secret",
                                          "token",    "refresh_token", "secret"};

static bool grow(problems *list)
{
    if (list->count < list->capacity)
        return true;
    size_t capacity = list->capacity == 0 ? 16 : list->capacity * 2;
    problems_entry *entries = realloc(list->entries, capacity * sizeof(*entries));
    if (entries == NULL)
        return false;
    list->entries = entries;
    list->capacity = capacity;
    return true;
}

__attribute__((format(printf, 4, 0))) static void add(problems *list, bool is_warning,
                                                      int64_t offset, const char *format,
                                                      va_list arguments)
{
    char text[1024];
    (void)vsnprintf(text, sizeof(text), format, arguments);
    smx_slice copy;
    if (!is_warning)
        list->errors++;
    if (!grow(list) || arena_copy(&list->arena, slice_of_text(text), &copy) != 0) {
        list->is_out_of_memory = true;
        return;
    }
    list->entries[list->count++] = (problems_entry){is_warning, offset, copy.data};
}

void problems_error(problems *list, int64_t offset, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    add(list, false, offset, format, arguments);
    va_end(arguments);
}

void problems_warn(problems *list, int64_t offset, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    add(list, true, offset, format, arguments);
    va_end(arguments);
}

/* Insertion keeps the order of what stands at the same place. */
void problems_sort(problems *list)
{
    for (size_t i = 1; i < list->count; i++) {
        problems_entry moving = list->entries[i];
        size_t at = i;
        for (; at > 0 && list->entries[at - 1].offset > moving.offset; at--)
            list->entries[at] = list->entries[at - 1];
        list->entries[at] = moving;
    }
}

/* The octet of the entry, and the line that it stands on. */
static size_t line_around(const problems *list, const problems_entry *entry, smx_slice *line)
{
    size_t offset = (size_t)entry->offset;
    if (offset > list->text.len)
        offset = list->text.len;
    size_t start = offset;
    while (start > 0 && list->text.data[start - 1] != '\n')
        start--;
    smx_slice rest = slice_from(list->text, start);
    *line = slice_to(rest, slice_find(rest, '\n'));
    if (line->len > 0 && line->data[line->len - 1] == '\r')
        line->len--;
    return offset - start;
}

static bool is_continuation(char c)
{
    return ((unsigned char)c & 0xC0) == 0x80;
}

static size_t characters(smx_slice s)
{
    size_t count = 0;
    for (size_t i = 0; i < s.len; i++)
        count += is_continuation(s.data[i]) ? 0 : 1;
    return count;
}

void problems_position(const problems *list, const problems_entry *entry, size_t *line,
                       size_t *column)
{
    *line = 0;
    *column = 0;
    if (entry->offset < 0)
        return;
    smx_slice on;
    size_t within = line_around(list, entry, &on);
    size_t start = (size_t)entry->offset > list->text.len ? list->text.len : (size_t)entry->offset;
    *line = 1;
    for (size_t i = 0; i < start; i++)
        *line += list->text.data[i] == '\n' ? 1 : 0;
    *column = characters(slice_to(on, within < on.len ? within : on.len)) + 1;
}

static bool is_word(char c)
{
    return ascii_is_alnum(c) || c == '_' || c == '-';
}

/* Octets up to the value behind a secret key that starts at `s`, or 0. */
static size_t secret_key(smx_slice s)
{
    size_t quote = s.len > 0 && (s.data[0] == '"' || s.data[0] == '\'') ? 1 : 0;
    for (size_t i = 0; i < sizeof(SECRET_KEYS) / sizeof(SECRET_KEYS[0]); i++) {
        smx_slice key = slice_of_text(SECRET_KEYS[i]);
        if (!slice_starts_with(slice_from(s, quote), key))
            continue;
        size_t at = quote + key.len;
        if (quote > 0 && at < s.len && s.data[at] == s.data[0])
            at++;
        while (at < s.len && ascii_is_space(s.data[at]))
            at++;
        if (at >= s.len || s.data[at] != ':')
            continue;
        for (at++; at < s.len && ascii_is_space(s.data[at]); at++)
            ;
        return at;
    }
    return 0;
}

/* Octets of the value at the start of `s`: quoted, in a flow mapping, or to the end of the line. */
static size_t secret_value(smx_slice s, bool is_flow)
{
    if (s.len > 1 && (s.data[0] == '"' || s.data[0] == '\'')) {
        for (size_t at = 1; at < s.len; at++) {
            if (s.data[0] == '"' && s.data[at] == '\\')
                at++;
            else if (s.data[at] == s.data[0])
                return at + 1;
        }
        return s.len;
    }
    size_t end = 0;
    while (end < s.len && !(is_flow && (s.data[end] == ',' || s.data[end] == '}')))
        end++;
    return end;
}

/* Octets of "user:password" between "://" and "@" at the start of `s`, or 0. */
static size_t url_credentials(smx_slice s)
{
    if (!slice_starts_with(s, SMX_SLICE("://")))
        return 0;
    smx_slice rest = slice_from(s, 3);
    size_t at = slice_find(rest, '@');
    for (size_t i = 0; i < at; i++) {
        if (memchr("/ \t,}\"'", rest.data[i], 7) != NULL)
            return 0;
    }
    return at < rest.len ? at : 0;
}

/* Writes the line with its secrets masked; *caret, an octet of it, becomes a column. */
static int write_masked(smx_slice line, size_t *caret, buffer *out)
{
    bool is_flow = false;
    size_t shown = 0;
    size_t column = SIZE_MAX;
    int error = 0;
    for (size_t at = 0; at < line.len && error == 0;) {
        smx_slice rest = slice_from(line, at);
        size_t key = at == 0 || !is_word(line.data[at - 1]) ? secret_key(rest) : 0;
        size_t value = key == 0 ? 0 : secret_value(slice_from(rest, key), is_flow);
        size_t plain = key == 0 ? 1 : key;
        if (key == 0 && (value = url_credentials(rest)) > 0)
            plain = 3;
        is_flow = is_flow || line.data[at] == '{';
        if (*caret >= at && *caret < at + plain + value)
            column = shown + characters(slice_to(rest, *caret - at < plain ? *caret - at : plain));
        error = buffer_append(out, slice_to(rest, plain));
        if (error == 0 && value > 0)
            error = buffer_append_text(out, MASK);
        shown += characters(slice_to(rest, plain)) + (value > 0 ? strlen(MASK) : 0);
        at += plain + value;
    }
    *caret = column == SIZE_MAX ? shown : column;
    return error;
}

int problems_write_head(const problems *list, const problems_entry *entry, buffer *out)
{
    size_t line, column;
    problems_position(list, entry, &line, &column);
    if (line == 0)
        return buffer_printf(out, "%s: %s%s\n", list->file, entry->is_warning ? "warning: " : "",
                             entry->text);
    return buffer_printf(out, "%s:%zu:%zu: %s%s\n", list->file, line, column,
                         entry->is_warning ? "warning: " : "", entry->text);
}

static int write_entry(const problems *list, const problems_entry *entry, buffer *out)
{
    int error = problems_write_head(list, entry, out);
    if (error != 0 || entry->offset < 0)
        return error;
    smx_slice line;
    size_t caret = line_around(list, entry, &line);
    if ((error = buffer_append_text(out, "    ")) != 0 ||
        (error = write_masked(line, &caret, out)) != 0)
        return error;
    return buffer_printf(out, "\n    %*s^\n", (int)(caret < 1000 ? caret : 1000), "");
}

int problems_write(const problems *list, buffer *out)
{
    int error = 0;
    for (size_t i = 0; i < list->count && error == 0; i++)
        error = write_entry(list, &list->entries[i], out);
    if (error == 0 && list->is_out_of_memory)
        error = buffer_printf(out, "%s: out of memory\n", list->file);
    return error;
}

json_t *problems_json(const problems *list)
{
    json_t *array = json_array();
    for (size_t i = 0; i < list->count && array != NULL; i++) {
        const problems_entry *entry = &list->entries[i];
        size_t line, column;
        problems_position(list, entry, &line, &column);
        json_t *one =
            json_pack("{s:s, s:s, s:I, s:I, s:s}", "severity",
                      entry->is_warning ? "warning" : "error", "file", list->file, "line",
                      (json_int_t)line, "column", (json_int_t)column, "message", entry->text);
        if (one == NULL || json_array_append_new(array, one) != 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

void problems_free(problems *list)
{
    free(list->entries);
    arena_free(&list->arena);
    *list = (problems){0};
}
