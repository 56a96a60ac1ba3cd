/* Undoing dot-stuffing and finding the end of data (RFC 5321 section 4.5.2 and 4.1.1.4). Pure.
 *
 * Only CRLF ends a line, so only a dot behind CRLF (or at the very start) is a line's first, and
 * only CRLF.CRLF ends the data. A line's leading dot is taken away whatever follows it. */
#include "proto/newline.h"
#include "smx/proto.h"

/* The place of the next octet, or what is held back before it. */
enum dot_decode_state {
    DECODE_LINE = NEWLINE_LINE,
    DECODE_TEXT = NEWLINE_TEXT,
    DECODE_CR = NEWLINE_CR, /* the CR was handed out */
    DECODE_DOT,             /* behind a line's leading dot, which is held back */
    DECODE_DOT_CR,          /* behind that dot and a CR, both held back */
};

/* What an octet behind a held-back dot, or dot and CR, makes of it; true if the octet was taken. */
static bool dot_decode_held(smx_dot_decoder *decoder, char c, smx_slice *piece)
{
    if (decoder->state == DECODE_DOT) {
        decoder->state = c == '\r' ? DECODE_DOT_CR : DECODE_TEXT;
        decoder->dotted = decoder->dotted || c == '.';
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
    newline_place place = decoder->state;
    size_t at = newline_pass(in, &place);
    while (at < in.len) {
        if (in.data[at] == '.' && place == NEWLINE_LINE) {
            decoder->state = DECODE_DOT;
            *piece = slice_to(in, at);
            return at + 1;
        }
        decoder->faults |= newline_judge(in.data[at++], &place);
        at += newline_pass(slice_from(in, at), &place);
    }
    decoder->state = (uint8_t)place;
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
