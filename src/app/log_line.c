/* Lines of the log: values to octets, without state. Every message writes one: room for the longest that
 * it may become is made once, and behind that each function writes at `at` and returns its end; runs of
 * octets that need no care are found by a table and copied at once. */
#include "app/log_line.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "base/clock.h"
#include "base/digits.h"
#include "proto/utf8.h"

enum { VALUE_MAX = 2048, KEY_MAX = 40, KIND_KEY_MAX = 9, HASH_OCTETS = (LOG_PERSON - 1) / 2 };

/* ---- what a key's values are ---- */

typedef enum value_kind { VALUE_NUMBER, VALUE_PERSON, VALUE_SECRET, VALUE_KINDS } value_kind;

/* By kind and by the length of the key; an empty key ends each row. */
static const char KEYS[VALUE_KINDS][KIND_KEY_MAX + 1][5][KIND_KEY_MAX + 1] = {
    [VALUE_NUMBER] = {[4] = {"size", "code", "port"},
                      [5] = {"nrcpt", "users"},
                      [7] = {"workers"},
                      [8] = {"attempts", "delay_ms", "sessions"},
                      [9] = {"upstreams", "listeners"}},
    [VALUE_PERSON] =
        {[4] = {"from", "rcpt", "user"}, [6] = {"client", "sender"}, [9] = {"recipient"}},
    [VALUE_SECRET] = {[4] = {"pass"}, [5] = {"token"}, [6] = {"secret"}, [8] = {"password"}},
};

static inline bool is_of(value_kind kind, smx_slice key)
{
    if (key.len == 0 || key.len > KIND_KEY_MAX)
        return false;
    for (size_t i = 0; KEYS[kind][key.len][i][0] != '\0'; i++) {
        if (KEYS[kind][key.len][i][0] == key.data[0] &&
            memcmp(KEYS[kind][key.len][i], key.data, key.len) == 0)
            return true;
    }
    return false;
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
static inline size_t careless(smx_slice text, unsigned care)
{
    const unsigned char *octets = (const unsigned char *)text.data;
    size_t len = 0;
    while (text.len - len >= 4 && ((CARE[octets[len]] | CARE[octets[len + 1]] |
                                    CARE[octets[len + 2]] | CARE[octets[len + 3]]) &
                                   care) == 0)
        len += 4;
    while (len < text.len && (CARE[octets[len]] & care) == 0)
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

static inline char *put(char *at, smx_slice text)
{
    if (text.len > 0)
        memcpy(at, text.data, text.len);
    return at + text.len;
}

static char *put_character(char *at, smx_slice rest, size_t octets, log_format format)
{
    unsigned char c = (unsigned char)rest.data[0];
    if (octets == 0)
        return put(at, SMX_SLICE("\xEF\xBF\xBD"));
    if (octets > 1)
        return put(at, slice_to(rest, octets));
    *at++ = '\\';
    if (c == '"' || c == '\\') {
        *at++ = (char)c;
        return at;
    }
    *at++ = format == LOG_JSON ? 'u' : 'x';
    return digits_hex(at, c, format == LOG_JSON ? 4 : 2);
}

/* Not where the plain ones are written: those are many, these are few. */
static __attribute__((noinline)) char *put_quoted(char *at, smx_slice value, log_format format)
{
    *at++ = '"';
    while (value.len > 0) {
        size_t clean = careless(value, ESCAPED);
        at = put(at, slice_to(value, clean));
        value = slice_from(value, clean);
        if (value.len == 0)
            break;
        size_t octets = next_character(value);
        at = put_character(at, value, octets, format);
        value = slice_from(value, octets == 0 ? 1 : octets);
    }
    *at++ = '"';
    return at;
}

static bool is_number(smx_slice value)
{
    if (value.len == 0 || value.len >= 16 || (value.data[0] == '0' && value.len > 1))
        return false;
    for (size_t i = 0; i < value.len; i++)
        if (value.data[i] < '0' || value.data[i] > '9')
            return false;
    return true;
}

/* Without quotes in logfmt. */
static bool is_plain(smx_slice value)
{
    return value.len > 0 && careless(value, QUOTED) == value.len;
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

/* ---- lines ---- */

/* ` key=` or `,"key":` */
static inline char *put_key(char *at, smx_slice key, log_format format)
{
    *at++ = format == LOG_JSON ? ',' : ' ';
    if (format == LOG_JSON)
        *at++ = '"';
    at = put(at, key);
    if (format == LOG_JSON)
        *at++ = '"';
    *at++ = format == LOG_JSON ? ':' : '=';
    return at;
}

static inline char *put_value(char *at, smx_slice key, smx_slice value, log_format format)
{
    bool bare = format == LOG_JSON ? is_number(value) && is_of(VALUE_NUMBER, key) : is_plain(value);
    return bare ? put(at, value) : put_quoted(at, value, format);
}

/* NULL: there is no memory for a hash. */
static char *put_field(char *at, const smx_log_field *field, const log_line_form *form)
{
    char hash[LOG_PERSON];
    smx_slice key = slice_of_text(field->key);
    smx_slice value = field->value;
    if (is_of(VALUE_SECRET, key))
        return at;
    if (form->anonymize && value.len > 0 && is_of(VALUE_PERSON, key)) {
        if (log_line_hash(form->key, value, hash) != 0)
            return NULL;
        value = slice_of(hash, LOG_PERSON - 1);
    }
    if (key.len > KEY_MAX)
        key.len = KEY_MAX;
    if (value.len > VALUE_MAX)
        value.len = VALUE_MAX;
    return put_value(put_key(at, key, form->format), key, value, form->format);
}

enum { HEAD_ROOM = 64 + CLOCK_TEXT + DIGITS_MAX };

/* Time, level, event, and the session if there is one. */
static char *put_head(char *at, const log_line *line, smx_slice event, log_format format)
{
    static const smx_slice LEVELS[] = {SMX_SLICE("debug"), SMX_SLICE("info"), SMX_SLICE("warn"),
                                       SMX_SLICE("error")};
    static const smx_slice NO_KEY = {NULL, 0};
    bool json = format == LOG_JSON;
    at = put(at, json ? SMX_SLICE("{\"time\":\"") : SMX_SLICE("time="));
    at += clock_rfc3339(line->wall_ms, at).len;
    at = put(at, json ? SMX_SLICE("\",\"level\":\"") : SMX_SLICE(" level="));
    at = put(at, LEVELS[line->level]);
    at = put(at, json ? SMX_SLICE("\",\"event\":") : SMX_SLICE(" event="));
    at = put_value(at, NO_KEY, event, format);
    if (line->session != 0)
        at = digits_decimal(put_key(at, SMX_SLICE("session"), format), line->session);
    return at;
}

/* Of a value: in quotes, and each octet at its longest, as \u0000. */
static size_t room_for(size_t len)
{
    return 2 + 6 * (len < VALUE_MAX ? len : VALUE_MAX);
}

int log_line_write(const log_line *line, const log_line_form *form, buffer *out)
{
    enum { KEY_ROOM = KEY_MAX + 4 };
    smx_slice event = slice_of_text(line->event);
    size_t room = HEAD_ROOM + KEY_ROOM + room_for(event.len);
    for (size_t i = 0; i < line->count; i++)
        room += KEY_ROOM + room_for(line->fields[i].value.len);
    if (buffer_reserve(out, room) != 0)
        return SMX_E_NOMEM;
    char *at = put_head(out->data + out->end, line, event, form->format);
    for (size_t i = 0; i < line->count && at != NULL; i++)
        at = put_field(at, &line->fields[i], form);
    if (at == NULL)
        return SMX_E_NOMEM;
    if (form->format == LOG_JSON)
        *at++ = '}';
    *at++ = '\n';
    out->end = (size_t)(at - out->data);
    return 0;
}
