/* Reads files of cases, compares results, prints TAP. A file that cannot be read, or a line that
 * is none of a case, ends the program: a test must not shrink unseen. */
#include "case.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static void case_must(int error)
{
    if (error != 0)
        abort();
}

static case_field *case_find(wire_case *c, const char *key)
{
    for (size_t i = 0; i < c->count; i++)
        if (strcmp(c->fields[i].key, key) == 0)
            return &c->fields[i];
    return NULL;
}

smx_slice case_input(wire_case *c, const char *key, const char *otherwise)
{
    case_field *field = case_find(c, key);
    if (field == NULL)
        return slice_of_text(otherwise);
    field->used = true;
    return buffer_slice(&field->value);
}

void case_problem(wire_case *c, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    case_must(buffer_printf(&c->problems, "# %s\n", text));
}

/* At most 200 octets of a value, escaped, for people. */
static void case_show(char out[1024], smx_slice value)
{
    size_t len = 0;
    for (size_t i = 0; i < value.len && i < 200; i++) {
        unsigned char octet = (unsigned char)value.data[i];
        int wrote = isprint(octet) ? snprintf(out + len, 1024 - len, "%c", octet)
                                   : snprintf(out + len, 1024 - len, "\\x%02x", octet);
        len += (size_t)wrote;
    }
    out[len] = '\0';
}

void case_give(wire_case *c, const char *key, smx_slice value)
{
    case_must(buffer_printf(&c->results, "%s=", key));
    case_must(buffer_append(&c->results, value));
    case_must(buffer_append_char(&c->results, '\n'));
    case_field *field = case_find(c, key);
    if (field == NULL)
        return;
    field->used = true;
    if (slice_equal(buffer_slice(&field->value), value))
        return;
    char expected[1024];
    char found[1024];
    case_show(expected, buffer_slice(&field->value));
    case_show(found, value);
    case_problem(c, "%s: expected '%.200s', got '%.200s'", key, expected, found);
}

void case_give_text(wire_case *c, const char *key, const char *value)
{
    case_give(c, key, slice_of_text(value));
}

void case_give_number(wire_case *c, const char *key, uint64_t value)
{
    char text[24];
    (void)snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
    case_give_text(c, key, text);
}

void case_give_bool(wire_case *c, const char *key, bool value)
{
    case_give_text(c, key, value ? "yes" : "no");
}

void case_give_error(wire_case *c, const char *key, int error)
{
    const char *text = "ok";
#define CASE_ERROR(number, name, meaning)                                                          \
    if (error == (number))                                                                         \
        text = #name;
    SMX_ERROR_MAP(CASE_ERROR)
#undef CASE_ERROR
    case_give_text(c, key, text);
}

char *case_copy(smx_slice s)
{
    char *copy = malloc(s.len == 0 ? 1 : s.len);
    if (copy == NULL)
        abort();
    if (s.len > 0)
        memcpy(copy, s.data, s.len);
    return copy;
}

/* ---- Reading ---- */

static _Noreturn void case_bad_line(const char *path, unsigned line, const char *what)
{
    printf("Bail out! %s:%u: %s\n", path, line, what);
    exit(1);
}

/* One escape behind the backslash at `*at`. */
static bool case_escape(smx_slice text, size_t *at, char *c)
{
    static const char letters[] = "rnt0\"\\";
    static const char meanings[] = "\r\n\t\0\"\\";
    char letter = text.data[(*at)++];
    const char *hit = letter == '\0' ? NULL : strchr(letters, letter);
    if (hit != NULL) {
        *c = meanings[hit - letters];
        return true;
    }
    if (letter != 'x' || text.len - *at < 2)
        return false;
    char digits[3] = {text.data[*at], text.data[*at + 1], '\0'};
    char *end;
    *c = (char)strtoul(digits, &end, 16);
    *at += 2;
    return end == digits + 2;
}

/* One string in quotes at `*at`, with its `*N`. */
static bool case_string(smx_slice text, size_t *at, buffer *value)
{
    buffer once = {0};
    unsigned long times = 1;
    bool closed = false;
    for (++*at; *at < text.len && !closed;) {
        char c = text.data[(*at)++];
        closed = c == '"';
        if (closed)
            break;
        if (c == '\\' && (*at == text.len || !case_escape(text, at, &c)))
            break;
        case_must(buffer_append_char(&once, c));
    }
    if (*at < text.len && text.data[*at] == '*') {
        char *end;
        times = strtoul(text.data + *at + 1, &end, 10);
        *at = (size_t)(end - text.data);
    }
    for (; times > 0; times--)
        case_must(buffer_append(value, buffer_slice(&once)));
    buffer_free(&once);
    return closed;
}

static bool case_value(smx_slice text, buffer *value)
{
    if (text.len == 0 || text.data[0] != '"') {
        case_must(buffer_append(value, text));
        return true;
    }
    for (size_t at = 0; at < text.len;) {
        if (text.data[at] == ' ')
            at++;
        else if (text.data[at] != '"' || !case_string(text, &at, value))
            return false;
    }
    return true;
}

static void case_begin(wire_case *c, smx_slice name, unsigned line)
{
    for (size_t i = 0; i < c->count; i++)
        buffer_free(&c->fields[i].value);
    buffer_free(&c->results);
    buffer_free(&c->problems);
    *c = (wire_case){.line = line};
    size_t len = name.len < CASE_NAME - 1 ? name.len : CASE_NAME - 1;
    if (len > 0)
        memcpy(c->name, name.data, len);
}

/* Adds "key: value", or more of the last value. */
static bool case_add(wire_case *c, smx_slice line)
{
    if (line.data[0] == ' ')
        return c->count > 0 && case_value(slice_trim(line), &c->fields[c->count - 1].value);
    size_t colon = slice_find(line, ':');
    if (colon == line.len || colon >= sizeof(c->fields[0].key) || c->count == CASE_FIELDS ||
        c->name[0] == '\0')
        return false;
    case_field *field = &c->fields[c->count++];
    *field = (case_field){0};
    memcpy(field->key, line.data, colon);
    return case_value(slice_trim(slice_from(line, colon + 1)), &field->value);
}

static void case_finish(wire_case *c, case_fn *fn, const char *path, unsigned *number)
{
    if (c->name[0] == '\0')
        return;
    fn(c);
    for (size_t i = 0; i < c->count; i++)
        if (!c->fields[i].used)
            case_problem(c, "%s is neither read nor given by this codec", c->fields[i].key);
    bool holds = buffer_length(&c->problems) == 0;
    printf("%s %u - %s\n", holds ? "ok" : "not ok", ++*number, c->name);
    if (!holds) {
        smx_slice problems = buffer_slice(&c->problems);
        printf("# %s:%u\n%.*s", path, c->line, (int)problems.len, problems.data);
    }
}

static void case_run_file(const char *path, case_fn *fn, unsigned *number)
{
    static const smx_slice mark = {"# case:", 7};
    char *memory = NULL;
    size_t capacity = 0;
    ssize_t len;
    unsigned line = 0;
    wire_case c = {0};
    FILE *file = fopen(path, "re");
    if (file == NULL)
        case_bad_line(path, 0, "cannot be read");
    while ((len = getline(&memory, &capacity, file)) >= 0) {
        line++;
        while (len > 0 && (memory[len - 1] == '\n' || memory[len - 1] == '\r'))
            len--;
        smx_slice text = slice_of(memory, (size_t)len);
        memory[len] = '\0';
        if (slice_starts_with(text, mark)) {
            case_finish(&c, fn, path, number);
            case_begin(&c, slice_trim(slice_from(text, mark.len)), line);
        } else if (text.len > 0 && text.data[0] != '#' && !case_add(&c, text)) {
            case_bad_line(path, line, "no line of a case");
        }
    }
    case_finish(&c, fn, path, number);
    case_begin(&c, SMX_SLICE(""), 0);
    free(memory);
    (void)fclose(file);
}

int case_run_files(int count, char **paths, case_fn *fn)
{
    unsigned number = 0;
    for (int i = 0; i < count; i++)
        case_run_file(paths[i], fn, &number);
    printf("1..%u\n", number);
    return 0;
}
