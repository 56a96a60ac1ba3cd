/* The log's lines against the same written plainly, a character and a format string at a time, over many
 * lines made from a seed. */
#include "app/log_line.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "proto/utf8.h"
#include "support/unit_test.h"

enum { ROUNDS = 20000, FIELDS = 20, VALUES = 5000 };

/* ---- written plainly ---- */

static bool plain_is_one_of(const char *key, const char *const *keys)
{
    for (; *keys != NULL; keys++)
        if (strcmp(key, *keys) == 0)
            return true;
    return false;
}

static const char *const PEOPLE[] = {"from", "rcpt", "client", "user", "sender", "recipient", NULL};
static const char *const SECRETS[] = {"password", "pass", "secret", "token", NULL};
static const char *const NUMBERS[] = {"size",      "nrcpt",     "code",     "attempts",
                                      "delay_ms",  "port",      "workers",  "users",
                                      "upstreams", "listeners", "sessions", NULL};

static void plain_quoted(FILE *out, smx_slice value, bool json)
{
    (void)fputc('"', out);
    for (size_t at = 0; at < value.len;) {
        smx_slice rest = slice_from(value, at);
        size_t octets = utf8_character(rest);
        unsigned char c = (unsigned char)rest.data[0];
        bool is_c1 = octets == 2 && c == 0xC2 && (unsigned char)rest.data[1] < 0xA0;
        if (octets == 0 || is_c1)
            (void)fputs("\xEF\xBF\xBD", out);
        else if (c == '"' || c == '\\')
            (void)fprintf(out, "\\%c", c);
        else if (c < 0x20 || c == 0x7F)
            (void)fprintf(out, json ? "\\u%04x" : "\\x%02x", c);
        else
            (void)fwrite(rest.data, 1, octets, out);
        at += octets == 0 || is_c1 ? 1 : octets;
    }
    (void)fputc('"', out);
}

static bool plain_needs_no_quotes(smx_slice value, bool json, bool may_be_number)
{
    bool is_number = may_be_number && value.len > 0 && value.len < 16 &&
                     (value.data[0] != '0' || value.len == 1);
    bool is_bare = value.len > 0;
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char)value.data[i];
        is_number = is_number && c >= '0' && c <= '9';
        is_bare = is_bare && c > ' ' && c < 0x7F && strchr("\"=\\", c) == NULL;
    }
    return json ? is_number : is_bare;
}

static void plain_value(FILE *out, smx_slice value, bool json, bool may_be_number)
{
    if (plain_needs_no_quotes(value, json, may_be_number))
        (void)fwrite(value.data, 1, value.len, out);
    else
        plain_quoted(out, value, json);
}

static void plain_field(FILE *out, const smx_log_field *field, const log_line_form *form)
{
    char hash[LOG_PERSON];
    bool json = form->format == LOG_JSON;
    smx_slice value = field->value;
    if (plain_is_one_of(field->key, SECRETS))
        return;
    (void)fprintf(out, json ? ",\"%s\":" : " %s=", field->key);
    if (value.len > 2048)
        value.len = 2048;
    if (form->anonymize && value.len > 0 && plain_is_one_of(field->key, PEOPLE)) {
        assert_int_equal(log_line_hash(form->key, field->value, hash), 0);
        value = slice_of_text(hash);
    }
    plain_value(out, value, json, plain_is_one_of(field->key, NUMBERS));
}

static void plain_line(FILE *out, const log_line *line, const log_line_form *form)
{
    static const char *const LEVELS[] = {"debug", "info", "warn", "error"};
    char clock[CLOCK_TEXT];
    bool json = form->format == LOG_JSON;
    smx_slice time = clock_rfc3339(line->wall_ms, clock);
    (void)fprintf(
        out, json ? "{\"time\":\"%.*s\",\"level\":\"%s\",\"event\":" : "time=%.*s level=%s event=",
        (int)time.len, time.data, LEVELS[line->level]);
    plain_value(out, slice_of_text(line->event), json, false);
    if (line->session != 0)
        (void)fprintf(out, json ? ",\"session\":%" PRIu64 : " session=%" PRIu64, line->session);
    for (size_t i = 0; i < line->count; i++)
        plain_field(out, &line->fields[i], form);
    (void)fputs(json ? "}\n" : "\n", out);
}

/* ---- lines from a seed ---- */

typedef struct random_source {
    uint64_t state;
} random_source;

static size_t below(random_source *r, size_t bound)
{
    r->state = r->state * 6364136223846793005ULL + 1442695040888963407ULL;
    return (size_t)(r->state >> 33) % bound;
}

static const char *random_key(random_source *r)
{
    static const char *const OTHERS[] = {
        "id",   "route",   "tls", "outcome",     "message_id", "upstream", "enhanced", "phase",
        "helo", "passage", "fro", "from_domain", "sizes",      "t",        "pasz"};
    switch (below(r, 4)) {
    case 0:
        return NUMBERS[below(r, sizeof(NUMBERS) / sizeof(NUMBERS[0]) - 1)];
    case 1:
        return PEOPLE[below(r, sizeof(PEOPLE) / sizeof(PEOPLE[0]) - 1)];
    case 2:
        return SECRETS[below(r, sizeof(SECRETS) / sizeof(SECRETS[0]) - 1)];
    default:
        return OTHERS[below(r, sizeof(OTHERS) / sizeof(OTHERS[0]))];
    }
}

/* Mostly short; of all octets, of few, or of digits. */
static smx_slice random_value(random_source *r, char *memory)
{
    static const char FEW[] = "abc@.-<> =\"\\\n\x7f\xc3\xa4\xc2\x9b";
    size_t len = below(r, below(r, 40) == 0 ? VALUES : 24);
    size_t kind = below(r, 4);
    for (size_t i = 0; i < len; i++) {
        if (kind == 0)
            memory[i] = (char)below(r, 256);
        else if (kind == 1)
            memory[i] = FEW[below(r, sizeof(FEW) - 1)];
        else if (kind == 2)
            memory[i] = (char)('0' + below(r, 10));
        else
            memory[i] = (char)('a' + below(r, 26));
    }
    return slice_of(memory, len);
}

static void app_log_line__is_the_same_written_plainly(void **state)
{
    (void)state;
    static char memory[FIELDS][VALUES];
    static const unsigned char key[LOG_LINE_KEY] = "a key of thirty-two octets or so";
    static const char *const EVENTS[] = {"message", "an \"event\"", ""};
    for (uint64_t seed = 1; seed <= ROUNDS; seed++) {
        random_source r = {seed};
        smx_log_field fields[FIELDS];
        const log_line_form form = {below(&r, 2) == 0 ? LOG_LOGFMT : LOG_JSON, below(&r, 4) == 0,
                                    key};
        const log_line line = {.wall_ms = 1795256238999ULL + below(&r, 1 << 30),
                               .level = (smx_log_level)below(&r, 4),
                               .event = EVENTS[below(&r, 3)],
                               .session = below(&r, 3) == 0 ? 0 : below(&r, 1 << 30),
                               .fields = fields,
                               .count = below(&r, FIELDS + 1)};
        for (size_t i = 0; i < line.count; i++)
            fields[i] = (smx_log_field){random_key(&r), random_value(&r, memory[i])};
        char *expected = NULL;
        size_t len = 0;
        FILE *plain = open_memstream(&expected, &len);
        assert_non_null(plain);
        plain_line(plain, &line, &form);
        (void)fclose(plain);
        buffer out = {0};
        assert_int_equal(buffer_append_text(&out, "before"), 0);
        assert_int_equal(log_line_write(&line, &form, &out), 0);
        buffer_consume(&out, strlen("before"));
        if (buffer_length(&out) != len || memcmp(buffer_slice(&out).data, expected, len) != 0)
            fail_msg("seed %" PRIu64 ": \n%.*s is not\n%s", seed, (int)buffer_length(&out),
                     buffer_slice(&out).data, expected);
        buffer_free(&out);
        free(expected);
    }
}

/* The longest that a line may become: every octet a control, in every field. */
static void app_log_line__there_is_room_for_the_worst(void **state)
{
    (void)state;
    static char controls[VALUES];
    smx_log_field fields[FIELDS];
    const log_line_form form = {LOG_JSON, false, NULL};
    const log_line line = {.wall_ms = 1795256238999ULL,
                           .level = SMX_LOG_ERROR,
                           .event = "\n\n\n\n",
                           .session = UINT64_MAX,
                           .fields = fields,
                           .count = FIELDS};
    for (size_t i = 0; i < FIELDS; i++)
        fields[i] = (smx_log_field){"a_key_that_has_as_many_octets_as_is_taken_and_more",
                                    slice_of(controls, VALUES)};
    buffer out = {0};
    assert_int_equal(log_line_write(&line, &form, &out), 0);
    assert_true(buffer_length(&out) > (size_t)FIELDS * 2048 * 6);
    assert_true(out.end <= out.capacity);
    buffer_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(app_log_line__is_the_same_written_plainly),
        cmocka_unit_test(app_log_line__there_is_room_for_the_worst),
    };
    return cmocka_run_group_tests_name("app_log_line", tests, NULL, NULL);
}
