/* Undoing dot-stuffing and finding the end of data (RFC 5321 section 4.5.2 and 4.1.1.4). Pure.
 *
 * Only CRLF ends a line, so only a dot behind CRLF (or at the very start) is a line's first, and
 * only CRLF.CRLF ends the data. A line's leading dot is taken away whatever follows it. */
#include "proto/newline.h"
#include "smx/proto.h"

enum dot_decode_state {
    DECODE_LINE,   /* at the start of a line */
    DECODE_TEXT,   /* within a line */
    DECODE_CR,     /* behind a CR that was handed out */
    DECODE_DOT,    /* behind a line's leading dot, which is held back */
    DECODE_DOT_CR, /* behind that dot and a CR, both held back */
};

/* The state behind octet `c` of the body, and what is wrong with it. */
static uint8_t dot_decode_octet(smx_dot_decoder *decoder, char c)
{
    bool after_cr = decoder->state == DECODE_CR;
    if (c == '\n' && !after_cr)
        decoder->faults |= SMX_FAULT_BARE_LF;
    if (c != '\n' && after_cr)
        decoder->faults |= SMX_FAULT_BARE_CR;
    if (c == '\0')
        decoder->faults |= SMX_FAULT_NUL;
    if (c == '\n' && after_cr)
        return DECODE_LINE;
    return c == '\r' ? DECODE_CR : DECODE_TEXT;
}

/* What an octet behind a held-back dot, or dot and CR, makes of it; true if the octet was taken. */
static bool dot_decode_held(smx_dot_decoder *decoder, char c, smx_slice *piece)
{
    if (decoder->state == DECODE_DOT) {
        decoder->state = c == '\r' ? DECODE_DOT_CR : DECODE_TEXT;
        return c == '\r';
    }
    if (c == '\n') {
        decoder->done = true;
        return true;
    }
    decoder->state = DECODE_CR;
    *piece = SMX_SLICE("\r");
    return false;
}

/* The body octets at the start of `in`, up to a line's leading dot, which is taken too. */
static size_t dot_decode_run(smx_dot_decoder *decoder, smx_slice in, smx_slice *piece)
{
    size_t at = 0;
    while (at < in.len) {
        size_t start = at == 0 ? 0 : newline_skip(in, at);
        if (start > at) /* what was left behind is right: its last octet tells the state */
            decoder->state = in.data[start - 1] == '\n'   ? DECODE_LINE
                             : in.data[start - 1] == '\r' ? DECODE_CR
                                                          : DECODE_TEXT;
        size_t stop = start == 0 ? 1 : newline_stop(in, start);
        for (at = start; at < stop; at++) {
            if (decoder->state == DECODE_LINE && in.data[at] == '.') {
                decoder->state = DECODE_DOT;
                *piece = slice_to(in, at);
                return at + 1;
            }
            decoder->state = dot_decode_octet(decoder, in.data[at]);
        }
    }
    *piece = in;
    return in.len;
}

size_t smx_dot_decode(smx_dot_decoder *decoder, smx_slice in, smx_slice *piece)
{
    size_t taken = 0;
    *piece = SMX_SLICE("");
    while (!decoder->done && taken < in.len && piece->len == 0) {
        if (decoder->state >= DECODE_DOT)
            taken += dot_decode_held(decoder, in.data[taken], piece);
        else
            taken += dot_decode_run(decoder, slice_from(in, taken), piece);
    }
    return taken;
}
