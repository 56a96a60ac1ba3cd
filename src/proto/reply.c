/* Replies on the wire: written for clients, read from servers (RFC 5321 section 4.2). Pure. */
#include <assert.h>

#include "base/slice.h"
#include "proto/utf8.h"
#include "proto/writer.h"
#include "smx/proto.h"

enum {
    REPLY_WRITE_LINE_MAX = 512, /* RFC 5321 section 4.5.3.1.5, CRLF included */
    REPLY_PREFIX_MAX = 14,      /* "550-5.999.999 " */
    REPLY_LINE_OVERHEAD = REPLY_PREFIX_MAX + 2,
    REPLY_LINE_TEXT_MIN =
        REPLY_WRITE_LINE_MAX - REPLY_LINE_OVERHEAD - 3, /* 3: no character split */
    REPLY_TEXT_START = 4,
};

/* ---- Writing ---- */

size_t smx_reply_size(const smx_reply *reply)
{
    size_t lines = 1 + reply->text.len / REPLY_LINE_TEXT_MIN;
    for (size_t i = 0; i < reply->text.len; i++)
        lines += reply->text.data[i] == '\n';
    return reply->text.len + lines * REPLY_LINE_OVERHEAD;
}

/* An enhanced code goes only with a reply of its class (RFC 2034 section 4), never with 3yz. */
static bool reply_has_enhanced(const smx_reply *reply)
{
    return reply->enhanced.class_digit != 0 && reply->enhanced.class_digit == reply->code / 100;
}

/* "550-5.7.1 ": without the blank if no text follows. */
static void reply_write_prefix(writer *w, const smx_reply *reply, bool enhanced, bool last,
                               bool has_text)
{
    writer_number(w, reply->code);
    if (!last || enhanced || has_text)
        writer_char(w, last ? ' ' : '-');
    if (!enhanced)
        return;
    writer_number(w, reply->enhanced.class_digit);
    writer_char(w, '.');
    writer_number(w, reply->enhanced.subject);
    writer_char(w, '.');
    writer_number(w, reply->enhanced.detail);
    if (has_text)
        writer_char(w, ' ');
}

/* One character as it may be shown: itself, or '?' for one octet that may not. */
static size_t reply_write_character(writer *w, smx_slice text)
{
    size_t len = utf8_character(text);
    char c = text.data[0];
    bool is_control = len <= 1 && (len == 0 || (c < ' ' && c != '\t') || c == 0x7f);
    writer_slice(w, is_control ? SMX_SLICE("?") : slice_to(text, len));
    return is_control ? 1 : len;
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

int smx_reply_write(const smx_reply *reply, bool enhanced_codes, char *out, size_t capacity,
                    size_t *written)
{
    assert(reply->code >= 200 && reply->code <= 599);
    writer w = writer_to(out, capacity);
    bool enhanced = enhanced_codes && reply_has_enhanced(reply);
    smx_slice rest = reply->text.data == NULL ? SMX_SLICE("") : reply->text;
    smx_slice line;
    while (slice_cut(&rest, '\n', &line)) {
        do {
            size_t len = reply_fit(line, REPLY_WRITE_LINE_MAX - REPLY_LINE_OVERHEAD);
            smx_slice part = slice_to(line, len);
            line = slice_from(line, len);
            bool last = line.len == 0 && rest.data == NULL;
            reply_write_prefix(&w, reply, enhanced, last, len > 0);
            while (part.len > 0)
                part = slice_from(part, reply_write_character(&w, part));
            writer_text(&w, "\r\n");
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

/* Judges one octet by its place in its line and the octet before it. */
static bool reply_take_octet(smx_reply_parser *parser, size_t place, char before, char c)
{
    if (place >= SMX_REPLY_LINE_MAX)
        return false;
    if (place < 3)
        return reply_take_digit(parser, place, c);
    if (place == 3)
        return c == ' ' || c == '-' || c == '\r';
    return c != '\0' && (c == '\n') == (before == '\r');
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
    while (parser->scanned < in.len) {
        size_t place = parser->scanned - parser->line;
        char c = in.data[parser->scanned];
        char before = place == 0 ? '\0' : in.data[parser->scanned - 1];
        if (parser->count == SMX_REPLY_LINES_MAX || parser->scanned >= SMX_REPLY_MAX)
            return SMX_E_PROTOCOL;
        if (!reply_take_octet(parser, place, before, c))
            return SMX_E_PROTOCOL;
        parser->scanned++;
        if (c != '\n')
            continue;
        bool last = in.data[parser->line + 3] != '-';
        parser->count++;
        parser->line = parser->scanned;
        if (last) {
            reply_finish(parser, slice_to(in, parser->scanned), reply);
            *consumed = parser->scanned;
            return 0;
        }
    }
    return SMX_E_AGAIN;
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
