/* The log. A line is built in a buffer of its own and leaves in one write(2), so that threads need no
 * lock; when there is no memory for it the line is lost. The sink owns the key of its hashes. */
#include "app/log.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "proto/utf8.h"

enum { VALUE_MAX = 2048, FIELDS_MAX = 16 };

/* What a key's values are. */
typedef enum value_kind { VALUE_TEXT, VALUE_NUMBER, VALUE_PERSON, VALUE_SECRET } value_kind;

static const struct {
    const char *key;
    value_kind kind;
} KINDS[] = {
    {"from", VALUE_PERSON},     {"rcpt", VALUE_PERSON},      {"client", VALUE_PERSON},
    {"user", VALUE_PERSON},     {"sender", VALUE_PERSON},    {"recipient", VALUE_PERSON},
    {"password", VALUE_SECRET}, {"pass", VALUE_SECRET},      {"secret", VALUE_SECRET},
    {"token", VALUE_SECRET},    {"size", VALUE_NUMBER},      {"nrcpt", VALUE_NUMBER},
    {"code", VALUE_NUMBER},     {"attempts", VALUE_NUMBER},  {"delay_ms", VALUE_NUMBER},
    {"port", VALUE_NUMBER},     {"sessions", VALUE_NUMBER},  {"workers", VALUE_NUMBER},
    {"users", VALUE_NUMBER},    {"upstreams", VALUE_NUMBER}, {"listeners", VALUE_NUMBER},
};

struct log_sink {
    int fd;
    _Atomic log_format format;
    _Atomic smx_log_level level;
    _Atomic bool anonymize;
    unsigned char key[32];
};

int log_new(int fd, const log_options *options, log_sink **log)
{
    log_sink *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return SMX_E_NOMEM;
    made->fd = fd;
    log_configure(made, options);
    if (getrandom(made->key, sizeof(made->key), 0) != (ssize_t)sizeof(made->key)) {
        free(made);
        return SMX_E_IO;
    }
    *log = made;
    return 0;
}

void log_configure(log_sink *log, const log_options *options)
{
    log->format = options->format;
    log->level = options->level;
    log->anonymize = options->anonymize;
}

void log_free(log_sink *log)
{
    if (log == NULL)
        return;
    explicit_bzero(log->key, sizeof(log->key));
    free(log);
}

static value_kind kind_of(const char *key)
{
    for (size_t i = 0; i < sizeof(KINDS) / sizeof(KINDS[0]); i++) {
        if (strcmp(KINDS[i].key, key) == 0)
            return KINDS[i].kind;
    }
    return VALUE_TEXT;
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

static int put_character(buffer *out, smx_slice rest, size_t octets, log_format format)
{
    unsigned char c = (unsigned char)rest.data[0];
    if (octets == 0)
        return buffer_append_text(out, "\xEF\xBF\xBD");
    if (c == '"' || c == '\\')
        return buffer_printf(out, "\\%c", c);
    if (c < 0x20 || c == 0x7F)
        return buffer_printf(out, format == LOG_JSON ? "\\u%04x" : "\\x%02x", c);
    return buffer_append(out, slice_to(rest, octets));
}

static int put_quoted(buffer *out, smx_slice value, log_format format)
{
    int error = buffer_append_char(out, '"');
    for (size_t at = 0; at < value.len && error == 0;) {
        smx_slice rest = slice_from(value, at);
        size_t octets = next_character(rest);
        error = put_character(out, rest, octets, format);
        at += octets == 0 ? 1 : octets;
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
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char)value.data[i];
        if (c <= ' ' || c >= 0x7F || c == '"' || c == '=' || c == '\\')
            return false;
    }
    return value.len > 0;
}

static int put_value(buffer *out, smx_slice value, value_kind kind, log_format format)
{
    bool bare = format == LOG_JSON ? kind == VALUE_NUMBER && is_number(value) : is_plain(value);
    return bare ? buffer_append(out, value) : put_quoted(out, value, format);
}

static int hash_of(const log_sink *log, smx_slice value, char text[static LOG_PERSON])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    if (HMAC(EVP_sha256(), log->key, sizeof(log->key), (const unsigned char *)value.data, value.len,
             digest, &len) == NULL)
        return SMX_E_NOMEM;
    for (size_t i = 0; i < 8; i++)
        (void)snprintf(text + 2 * i, 3, "%02x", digest[i]);
    return 0;
}

static int put_hash(const log_sink *log, buffer *out, smx_slice value, log_format format)
{
    char text[LOG_PERSON];
    int error = hash_of(log, value, text);
    return error != 0 ? error : put_value(out, slice_of(text, LOG_PERSON - 1), VALUE_TEXT, format);
}

smx_slice log_person(const log_sink *log, smx_slice address, char text[static LOG_PERSON])
{
    if (!log->anonymize || address.len == 0)
        return address;
    return slice_of(text, hash_of(log, address, text) == 0 ? LOG_PERSON - 1 : 0);
}

/* ---- lines ---- */

static int put_key(buffer *out, const char *key, log_format format)
{
    if (format == LOG_JSON)
        return buffer_printf(out, ",\"%s\":", key);
    return buffer_printf(out, " %s=", key);
}

static int put_field(const log_sink *log, const log_options *options, buffer *out,
                     const smx_log_field *field)
{
    value_kind kind = kind_of(field->key);
    smx_slice value = field->value;
    if (kind == VALUE_SECRET)
        return 0;
    int error = put_key(out, field->key, options->format);
    if (error != 0)
        return error;
    if (kind == VALUE_PERSON && options->anonymize && value.len > 0)
        return put_hash(log, out, value, options->format);
    if (value.len > VALUE_MAX)
        value.len = VALUE_MAX;
    return put_value(out, value, kind, options->format);
}

static int put_head(const log_options *options, buffer *out, smx_log_level level, const char *event,
                    uint64_t session)
{
    static const char *const LEVELS[] = {"debug", "info", "warn", "error"};
    char clock[CLOCK_TEXT];
    smx_slice now = clock_rfc3339(clock_wall_ms(), clock);
    bool json = options->format == LOG_JSON;
    int error = buffer_printf(
        out, json ? "{\"time\":\"%.*s\",\"level\":\"%s\",\"event\":" : "time=%.*s level=%s event=",
        (int)now.len, now.data, LEVELS[level]);
    if (error == 0)
        error = put_value(out, slice_of_text(event), VALUE_TEXT, options->format);
    if (error == 0 && session != 0)
        error = buffer_printf(out, json ? ",\"session\":%" PRIu64 : " session=%" PRIu64, session);
    return error;
}

static void send_line(int fd, smx_slice line)
{
    while (line.len > 0) {
        ssize_t written = write(fd, line.data, line.len);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return;
        line = slice_from(line, (size_t)written);
    }
}

void log_write(void *log, smx_log_level level, const char *event, uint64_t session,
               const smx_log_field *fields, size_t count)
{
    const log_sink *sink = log;
    buffer line = {0};
    if (level < sink->level)
        return;
    const log_options options = {sink->format, level, sink->anonymize};
    int error = put_head(&options, &line, level, event, session);
    for (size_t i = 0; i < count && error == 0; i++)
        error = put_field(sink, &options, &line, &fields[i]);
    if (error == 0)
        error = buffer_append_text(&line, options.format == LOG_JSON ? "}\n" : "\n");
    if (error == 0)
        send_line(sink->fd, buffer_slice(&line));
    buffer_free(&line);
}

void log_write_pairs(log_sink *log, smx_log_level level, const char *event,
                     const char *const *pairs)
{
    smx_log_field fields[FIELDS_MAX];
    size_t count = 0;
    for (; count < FIELDS_MAX && pairs[0] != NULL; pairs += 2)
        fields[count++] = (smx_log_field){pairs[0], slice_of_text(pairs[1])};
    log_write(log, level, event, 0, fields, count);
}
