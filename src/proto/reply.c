/* Replies on the wire: written for clients, read from servers (RFC 5321 section 4.2). Pure. */
#include <assert.h>

#include "base/slice.h"
#include "proto/octet.h"
#include "proto/utf8.h"
#include "proto/writer.h"
#include "smx/proto.h"

enum {
    REPLY_WRITE_LINE_MAX = 512, /* RFC 5321 section 4.5.3.1.5, CRLF included */
    REPLY_PREFIX_MAX = 14,      /* "550-5.999.999 " */
    REPLY_LINE_OVERHEAD = REPLY_PREFIX_MAX + 2,
    REPLY_LINE_TEXT_MIN =
        REPLY_WRITE_LINE_MAX - REPLY_LINE_OVERHEAD - 3, /* 3: no character split */
    REPLY_CODE_LEN = 3,
    REPLY_SUBCODE_MAX = 999,
    REPLY_TEXT_START = 4,
};

/* ---- Writing ---- */

size_t smx_reply_size(const smx_reply *reply)
{
    smx_slice rest = reply->text;
    size_t lines = 1 + rest.len / REPLY_LINE_TEXT_MIN;
    for (size_t end = slice_find(rest, '\n'); end < rest.len; end = slice_find(rest, '\n')) {
        lines++;
        rest = slice_from(rest, end + 1);
    }
    return reply->text.len + lines * REPLY_LINE_OVERHEAD;
}

/* An enhanced code goes only with a reply of its class (RFC 2034 section 4), never with 3yz. */
static bool reply_has_enhanced(const smx_reply *reply)
{
    const smx_enhanced *enhanced = &reply->enhanced;
    return enhanced->class_digit != 0 && enhanced->class_digit == reply->code / 100 &&
           enhanced->subject <= REPLY_SUBCODE_MAX && enhanced->detail <= REPLY_SUBCODE_MAX;
}

/* What every line begins with, as "550-5.7.1 ". */
typedef struct reply_prefix {
    char text[REPLY_PREFIX_MAX];
    size_t len;
} reply_prefix;

/* Writes a number of up to three digits and the character behind it. */
static char *reply_put_number(char *out, unsigned number, char behind)
{
    if (number >= 100)
        *out++ = (char)('0' + number / 100);
    if (number >= 10)
        *out++ = (char)('0' + number / 10 % 10);
    *out++ = (char)('0' + number % 10);
    *out++ = behind;
    return out;
}

static reply_prefix reply_prefix_of(const smx_reply *reply, bool enhanced)
{
    reply_prefix prefix;
    char *end = reply_put_number(prefix.text, reply->code, '-');
    if (enhanced) {
        end = reply_put_number(end, reply->enhanced.class_digit, '.');
        end = reply_put_number(end, reply->enhanced.subject, '.');
        end = reply_put_number(end, reply->enhanced.detail, ' ');
    }
    prefix.len = (size_t)(end - prefix.text);
    return prefix;
}

/* The last line has a blank for the hyphen; a line without text has no blank at its end. */
static void reply_write_prefix(writer *w, reply_prefix *prefix, bool last, bool has_text)
{
    size_t len = prefix->len;
    prefix->text[REPLY_CODE_LEN] = last ? ' ' : '-';
    if (!has_text && prefix->text[len - 1] == ' ')
        len--;
    writer_slice(w, slice_of(prefix->text, len));
}

/* Text as it may be shown: UTF-8 without controls, and '?' for each octet that may not. */
static void reply_write_text(writer *w, smx_slice text)
{
    while (text.len > 0) {
        size_t len = octet_shown(text);
        writer_slice(w, slice_to(text, len));
        text = slice_from(text, len);
        if (text.len == 0)
            return;
        len = utf8_character(text); /* of one octet: a control */
        writer_slice(w, len <= 1 ? SMX_SLICE("?") : slice_to(text, len));
        text = slice_from(text, len <= 1 ? 1 : len);
    }
}

/* Octets of `line` that fit into `room` without cutting a character. */
static size_t reply_fit(smx_slice line, size_t room)
{
    if (line.len <= room)
        return line.len;
    size_t end = room;
    while (end > room - 3 && ((unsigned char)line.data[end] & 0xc0) == 0x80)
        end--;
    return end;
}

/* Most are: the text is one line as it stands. */
static bool reply_is_one_line(smx_slice text)
{
    return text.len <= REPLY_WRITE_LINE_MAX - REPLY_LINE_OVERHEAD && octet_shown(text) == text.len;
}

int smx_reply_write(const smx_reply *reply, bool enhanced_codes, char *out, size_t capacity,
                    size_t *written)
{
    assert(reply->code >= 200 && reply->code <= 599);
    writer w = writer_to(out, capacity);
    reply_prefix prefix = reply_prefix_of(reply, enhanced_codes && reply_has_enhanced(reply));
    if (reply_is_one_line(reply->text)) {
        reply_write_prefix(&w, &prefix, true, reply->text.len > 0);
        writer_slice(&w, reply->text);
        writer_slice(&w, SMX_SLICE("\r\n"));
        return writer_end(&w, written);
    }
    smx_slice rest = reply->text;
    smx_slice line;
    while (slice_cut(&rest, '\n', &line)) {
        do {
            size_t len = reply_fit(line, REPLY_WRITE_LINE_MAX - REPLY_LINE_OVERHEAD);
            smx_slice part = slice_to(line, len);
            line = slice_from(line, len);
            bool last = line.len == 0 && rest.data == NULL;
            reply_write_prefix(&w, &prefix, last, len > 0);
            reply_write_text(&w, part);
            writer_slice(&w, SMX_SLICE("\r\n"));
        } while (line.len > 0);
    }
    return writer_end(&w, written);
}

/* ---- Reading ---- */

/* Is octet `c` right as number `place` of a line's code? Takes it in if it is the first line's. */
static bool reply_take_digit(smx_reply_parser *parser, size_t place, char c)
{
    static const unsigned place_value[] = {100, 10, 1};
    if (!ascii_is_digit(c))
        return false;
    unsigned digit = (unsigned)(c - '0');
    if (parser->count > 0)
        return parser->code / place_value[place] % 10 == digit;
    if (place == 0 && (digit < 2 || digit > 5))
        return false;
    parser->code = (uint16_t)(parser->code + digit * place_value[place]);
    return true;
}

/* The code of a line and the octet behind it. */
static bool reply_take_start(smx_reply_parser *parser, smx_slice in)
{
    for (; parser->scanned < in.len; parser->scanned++) {
        size_t place = parser->scanned - parser->line;
        char c = in.data[parser->scanned];
        if (place > REPLY_CODE_LEN)
            return true;
        if (place == REPLY_CODE_LEN ? c != ' ' && c != '-' && c != '\r'
                                    : !reply_take_digit(parser, place, c))
            return false;
    }
    return true;
}

/* What follows in a line, up to and with its LF. */
static bool reply_take_text(smx_reply_parser *parser, smx_slice in, bool *whole)
{
    while (parser->scanned < in.len && !*whole) {
        if (in.data[parser->scanned - 1] != '\r')
            parser->scanned += octet_shown(slice_from(in, parser->scanned));
        if (parser->scanned == in.len)
            break;
        char c = in.data[parser->scanned];
        bool after_cr = in.data[parser->scanned - 1] == '\r';
        if (c == '\0' || (c == '\n') != after_cr)
            return false;
        parser->scanned++;
        *whole = c == '\n';
    }
    return true;
}

/* Takes as much of a line as `in` has, which ends where a limit does. */
static bool reply_take_line(smx_reply_parser *parser, smx_slice in, bool *whole)
{
    if (parser->count == SMX_REPLY_LINES_MAX)
        return parser->scanned == in.len;
    if (!reply_take_start(parser, in))
        return false;
    return parser->scanned == in.len || reply_take_text(parser, in, whole);
}

static void reply_finish(const smx_reply_parser *parser, smx_slice raw, smx_reply_lines *reply)
{
    smx_slice first;
    size_t at = 0;
    size_t len;
    *reply = (smx_reply_lines){.code = parser->code, .count = parser->count, .raw = raw};
    smx_enhanced enhanced;
    if (smx_reply_next_line(reply, &at, &first) &&
        smx_enhanced_parse(first, &enhanced, &len) == 0 &&
        enhanced.class_digit == reply->code / 100)
        reply->enhanced = enhanced;
}

int smx_reply_parse(smx_reply_parser *parser, smx_slice in, smx_reply_lines *reply,
                    size_t *consumed)
{
    for (;;) {
        size_t end = parser->line + SMX_REPLY_LINE_MAX;
        end = end < SMX_REPLY_MAX ? end : SMX_REPLY_MAX;
        bool whole = false;
        if (!reply_take_line(parser, end < in.len ? slice_to(in, end) : in, &whole))
            return SMX_E_PROTOCOL;
        if (!whole)
            return end < in.len ? SMX_E_PROTOCOL : SMX_E_AGAIN;
        bool last = in.data[parser->line + REPLY_CODE_LEN] != '-';
        parser->count++;
        parser->line = parser->scanned;
        if (last) {
            reply_finish(parser, slice_to(in, parser->scanned), reply);
            *consumed = parser->scanned;
            return 0;
        }
    }
}

bool smx_reply_next_line(const smx_reply_lines *reply, size_t *at, smx_slice *text)
{
    smx_slice rest = slice_from(reply->raw, *at);
    if (rest.len == 0)
        return false;
    size_t end = slice_find(rest, '\n');
    size_t start = end - 1 < REPLY_TEXT_START ? end - 1 : REPLY_TEXT_START;
    *text = slice_of(rest.data + start, end - 1 - start);
    *at += end + 1;
    return true;
}
