/* Lines of the log: values to octets, without state. Every message writes one, so that runs of octets
 * that need no care are found by a table and copied at once. */
#include "app/log_line.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "base/clock.h"
#include "base/digits.h"
#include "proto/utf8.h"

enum { VALUE_MAX = 2048, KIND_KEY_MAX = 9, HASH_OCTETS = (LOG_PERSON - 1) / 2 };

/* ---- what a key's values are ---- */

typedef enum value_kind { VALUE_TEXT, VALUE_NUMBER, VALUE_PERSON, VALUE_SECRET } value_kind;

/* By the length of the key; an empty key ends each row. */
static const struct kind_of_key {
    char key[KIND_KEY_MAX + 1];
    value_kind kind;
} KINDS[KIND_KEY_MAX + 1][8] = {
    [4] = {{"from", VALUE_PERSON},
           {"rcpt", VALUE_PERSON},
           {"user", VALUE_PERSON},
           {"pass", VALUE_SECRET},
           {"size", VALUE_NUMBER},
           {"code", VALUE_NUMBER},
           {"port", VALUE_NUMBER}},
    [5] = {{"token", VALUE_SECRET}, {"nrcpt", VALUE_NUMBER}, {"users", VALUE_NUMBER}},
    [6] = {{"client", VALUE_PERSON}, {"sender", VALUE_PERSON}, {"secret", VALUE_SECRET}},
    [7] = {{"workers", VALUE_NUMBER}},
    [8] = {{"password", VALUE_SECRET},
           {"attempts", VALUE_NUMBER},
           {"delay_ms", VALUE_NUMBER},
           {"sessions", VALUE_NUMBER}},
    [9] = {{"recipient", VALUE_PERSON}, {"upstreams", VALUE_NUMBER}, {"listeners", VALUE_NUMBER}},
};

static value_kind kind_of(smx_slice key)
{
    if (key.len > KIND_KEY_MAX)
        return VALUE_TEXT;
    for (const struct kind_of_key *k = KINDS[key.len]; k->key[0] != '\0'; k++) {
        if (k->key[0] == key.data[0] && memcmp(k->key, key.data, key.len) == 0)
            return k->kind;
    }
    return VALUE_TEXT;
}

/* ---- what is to be done with an octet ---- */

enum {
    QUOTED = 1,  /* logfmt writes a value that has it in quotes */
    ESCAPED = 2, /* it does not stand for itself within quotes, or not alone */
};

static const unsigned char CARE[256] = {
    [0 ... 0x1F] = QUOTED | ESCAPED,
    [' '] = QUOTED,
    ['='] = QUOTED,
    ['"'] = QUOTED | ESCAPED,
    ['\\'] = QUOTED | ESCAPED,
    [0x7F ... 0xFF] = QUOTED | ESCAPED,
};

/* Octets at the start that need no such care. */
static size_t careless(smx_slice text, unsigned care)
{
    size_t len = 0;
    while (len < text.len && (CARE[(unsigned char)text.data[len]] & care) == 0)
        len++;
    return len;
}

/* ---- values ---- */

/* One character at a time as it may be shown: its length, or 0 for octets that are not UTF-8. */
static size_t next_character(smx_slice rest)
{
    size_t octets = utf8_character(rest);
    /* The C1 controls, U+0080 to U+009F, drive terminals as the C0 ones do. */
    bool is_c1 =
        octets == 2 && (unsigned char)rest.data[0] == 0xC2 && (unsigned char)rest.data[1] < 0xA0;
    return is_c1 ? 0 : octets;
}

static int put_control(buffer *out, unsigned char c, log_format format)
{
    char digits[4];
    size_t width = format == LOG_JSON ? 4 : 2;
    int error = buffer_append(out, format == LOG_JSON ? SMX_SLICE("\\u") : SMX_SLICE("\\x"));
    (void)digits_hex(digits, c, width);
    return error != 0 ? error : buffer_append(out, slice_of(digits, width));
}

static int put_character(buffer *out, smx_slice rest, size_t octets, log_format format)
{
    unsigned char c = (unsigned char)rest.data[0];
    if (octets == 0)
        return buffer_append(out, SMX_SLICE("\xEF\xBF\xBD"));
    if (c == '"' || c == '\\')
        return buffer_append(out, slice_of((const char[]){'\\', rest.data[0]}, 2));
    if (c < 0x20 || c == 0x7F)
        return put_control(out, c, format);
    return buffer_append(out, slice_to(rest, octets));
}

static int put_quoted(buffer *out, smx_slice value, log_format format)
{
    int error = buffer_append_char(out, '"');
    while (value.len > 0 && error == 0) {
        size_t clean = careless(value, ESCAPED);
        error = buffer_append(out, slice_to(value, clean));
        value = slice_from(value, clean);
        if (value.len == 0 || error != 0)
            break;
        size_t octets = next_character(value);
        error = put_character(out, value, octets, format);
        value = slice_from(value, octets == 0 ? 1 : octets);
    }
    return error != 0 ? error : buffer_append_char(out, '"');
}

static bool is_number(smx_slice value)
{
    bool all = value.len > 0 && value.len < 16 && (value.data[0] != '0' || value.len == 1);
    for (size_t i = 0; i < value.len; i++)
        all = all && ascii_is_digit(value.data[i]);
    return all;
}

/* Without quotes in logfmt. */
static bool is_plain(smx_slice value)
{
    return value.len > 0 && careless(value, QUOTED) == value.len;
}

static int put_value(buffer *out, smx_slice value, value_kind kind, log_format format)
{
    bool bare = format == LOG_JSON ? kind == VALUE_NUMBER && is_number(value) : is_plain(value);
    return bare ? buffer_append(out, value) : put_quoted(out, value, format);
}

int log_line_hash(const unsigned char key[static LOG_LINE_KEY], smx_slice value,
                  char text[static LOG_PERSON])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    if (HMAC(EVP_sha256(), key, LOG_LINE_KEY, (const unsigned char *)value.data, value.len, digest,
             &len) == NULL)
        return SMX_E_NOMEM;
    for (size_t i = 0; i < HASH_OCTETS; i++)
        text = digits_hex(text, digest[i], 2);
    *text = '\0';
    return 0;
}

static int put_hash(buffer *out, smx_slice value, const log_line_form *form)
{
    char text[LOG_PERSON];
    int error = log_line_hash(form->key, value, text);
    return error != 0 ? error
                      : put_value(out, slice_of(text, LOG_PERSON - 1), VALUE_TEXT, form->format);
}

/* ---- lines ---- */

/* What stands around keys: before one, and between it and its value. */
typedef struct log_marks {
    smx_slice before, behind;
} log_marks;

static const log_marks MARKS[] = {
    [LOG_LOGFMT] = {SMX_SLICE(" "), SMX_SLICE("=")},
    [LOG_JSON] = {SMX_SLICE(",\""), SMX_SLICE("\":")},
};

static int put_key(buffer *out, smx_slice key, log_format format)
{
    const log_marks *marks = &MARKS[format];
    int error = buffer_append(out, marks->before);
    if (error == 0)
        error = buffer_append(out, key);
    return error != 0 ? error : buffer_append(out, marks->behind);
}

static int put_field(buffer *out, const smx_log_field *field, const log_line_form *form)
{
    smx_slice key = slice_of_text(field->key);
    value_kind kind = kind_of(key);
    smx_slice value = field->value;
    if (kind == VALUE_SECRET)
        return 0;
    int error = put_key(out, key, form->format);
    if (error != 0)
        return error;
    if (kind == VALUE_PERSON && form->anonymize && value.len > 0)
        return put_hash(out, value, form);
    if (value.len > VALUE_MAX)
        value.len = VALUE_MAX;
    return put_value(out, value, kind, form->format);
}

/* Time, level, event, and the session if there is one. */
static int put_head(buffer *out, const log_line *line, log_format format)
{
    static const smx_slice LEVELS[] = {SMX_SLICE("debug"), SMX_SLICE("info"), SMX_SLICE("warn"),
                                       SMX_SLICE("error")};
    char clock[CLOCK_TEXT];
    bool json = format == LOG_JSON;
    const smx_slice parts[] = {
        json ? SMX_SLICE("{\"time\":\"") : SMX_SLICE("time="),
        clock_rfc3339(line->wall_ms, clock),
        json ? SMX_SLICE("\",\"level\":\"") : SMX_SLICE(" level="),
        LEVELS[line->level],
        json ? SMX_SLICE("\",\"event\":") : SMX_SLICE(" event="),
    };
    int error = 0;
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]) && error == 0; i++)
        error = buffer_append(out, parts[i]);
    if (error == 0)
        error = put_value(out, slice_of_text(line->event), VALUE_TEXT, format);
    if (error == 0 && line->session != 0)
        error = put_key(out, SMX_SLICE("session"), format);
    return error == 0 && line->session != 0 ? buffer_append_number(out, line->session) : error;
}

int log_line_write(const log_line *line, const log_line_form *form, buffer *out)
{
    int error = put_head(out, line, form->format);
    for (size_t i = 0; i < line->count && error == 0; i++)
        error = put_field(out, &line->fields[i], form);
    if (error != 0)
        return error;
    return buffer_append(out, form->format == LOG_JSON ? SMX_SLICE("}\n") : SMX_SLICE("\n"));
}
