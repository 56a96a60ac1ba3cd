/* Replies: the same at every way to cut, bounded, and right by a plain look at their lines. The
 * input as a text: what is written is a reply again. */
#include "fuzz.h"
#include "smx/proto.h"

typedef struct reply_result {
    int error;
    size_t consumed;
    size_t scanned;
    uint16_t code;
    uint16_t count;
} reply_result;

/* A plain look: every line of `raw` bears the code, only the last one no '-'. */
static void reply_check_lines(const smx_reply_lines *reply)
{
    size_t lines = 0;
    size_t start = 0;
    for (size_t at = 0; at < reply->raw.len; at++) {
        char c = reply->raw.data[at];
        FUZZ_CHECK(c != '\0');
        FUZZ_CHECK((c == '\n') == (at > 0 && reply->raw.data[at - 1] == '\r'));
        if (c != '\n')
            continue;
        const char *line = reply->raw.data + start;
        FUZZ_CHECK(at + 1 - start <= SMX_REPLY_LINE_MAX && at + 1 - start >= 5);
        FUZZ_CHECK((line[0] - '0') * 100 + (line[1] - '0') * 10 + (line[2] - '0') == reply->code);
        FUZZ_CHECK((line[3] == '-') == (at + 1 < reply->raw.len));
        FUZZ_CHECK(line[3] == '-' || line[3] == ' ' || line[3] == '\r');
        start = at + 1;
        lines++;
    }
    FUZZ_CHECK(start == reply->raw.len && lines == reply->count);
    FUZZ_CHECK(lines <= SMX_REPLY_LINES_MAX && reply->raw.len <= SMX_REPLY_MAX);
    FUZZ_CHECK(reply->code >= 200 && reply->code <= 599);
    FUZZ_CHECK(reply->enhanced.class_digit == 0 ||
               reply->enhanced.class_digit == reply->code / 100);
}

static void reply_check_texts(const smx_reply_lines *reply)
{
    smx_capabilities capabilities;
    smx_slice text;
    size_t at = 0;
    size_t lines = 0;
    while (smx_reply_next_line(reply, &at, &text)) {
        FUZZ_CHECK(fuzz_is_within(text, reply->raw));
        FUZZ_CHECK(slice_find(text, '\n') == text.len && slice_find(text, '\r') == text.len);
        lines++;
    }
    FUZZ_CHECK(lines == reply->count && at == reply->raw.len);
    smx_capabilities_parse(reply, &capabilities);
    FUZZ_CHECK(fuzz_is_within(capabilities.domain, reply->raw));
    FUZZ_CHECK(fuzz_is_within(capabilities.auth_mechanisms, reply->raw));
    FUZZ_CHECK(capabilities.max_recipients <= 999999 && capabilities.max_transactions <= 999999);
}

static reply_result reply_read(smx_slice in, enum fuzz_cut way)
{
    reply_result result = {.error = SMX_E_AGAIN};
    fuzz_cutter cutter = fuzz_cutter_of(way, in);
    smx_reply_parser parser = {0};
    smx_reply_lines reply;
    for (size_t len = 0; len < in.len && result.error == SMX_E_AGAIN;) {
        len += fuzz_next(&cutter, in.len - len);
        result.error = smx_reply_parse(&parser, slice_to(in, len), &reply, &result.consumed);
    }
    result.scanned = parser.scanned;
    if (result.error != 0)
        return result;
    result.code = reply.code;
    result.count = reply.count;
    FUZZ_CHECK(reply.raw.len == result.consumed && reply.raw.data == in.data);
    reply_check_lines(&reply);
    reply_check_texts(&reply);
    return result;
}

static void reply_check_read(smx_slice in)
{
    char *copy = fuzz_copy(in.data, in.len);
    smx_slice exact = slice_of(copy, in.len);
    reply_result expected = reply_read(exact, FUZZ_WHOLE);
    for (enum fuzz_cut way = FUZZ_WHOLE + 1; way < FUZZ_CUTS; way++) {
        reply_result found = reply_read(exact, way);
        FUZZ_CHECK(found.error == expected.error && found.consumed == expected.consumed);
        FUZZ_CHECK(found.code == expected.code && found.count == expected.count);
        FUZZ_CHECK(found.scanned == expected.scanned);
    }
    FUZZ_CHECK(expected.error != SMX_E_AGAIN || in.len <= SMX_REPLY_MAX);
    FUZZ_CHECK(expected.error == 0 || expected.error == SMX_E_AGAIN ||
               expected.error == SMX_E_PROTOCOL);
    free(copy);
}

static void reply_check_write(smx_slice in)
{
    smx_reply reply = {550, {5, 999, 999}, in};
    size_t size = smx_reply_size(&reply);
    size_t len;
    size_t consumed;
    size_t lines = 1;
    char *out = malloc(size);
    if (out == NULL)
        abort();
    FUZZ_CHECK(smx_reply_write(&reply, true, out, size, &len) == 0 && len <= size);
    size_t start = 0;
    for (size_t at = 0; at < len; at++) {
        if (out[at] != '\n')
            continue;
        FUZZ_CHECK(at + 1 - start <= 512);
        start = at + 1;
        lines++;
    }
    smx_reply_parser parser = {0};
    smx_reply_lines back;
    if (lines <= SMX_REPLY_LINES_MAX && len <= SMX_REPLY_MAX) {
        FUZZ_CHECK(smx_reply_parse(&parser, slice_of(out, len), &back, &consumed) == 0);
        FUZZ_CHECK(consumed == len && back.code == 550 && back.enhanced.detail == 999);
    }
    FUZZ_CHECK(smx_reply_write(&reply, true, out, len - 1, &len) == SMX_E_RANGE);
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    smx_slice in = slice_of((const char *)data, size);
    reply_check_read(in);
    reply_check_write(in);
    return 0;
}
