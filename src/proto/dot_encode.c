/* Dot-stuffing (RFC 5321 section 4.5.2), for bodies from anywhere: whatever would not be the same
 * to every reader of it, a bare CR, a bare LF or NUL, stops it before it is handed out. Pure. */
#include "proto/newline.h"
#include "smx/proto.h"

enum dot_encode_state {
    ENCODE_LINE, /* at the start of a line */
    ENCODE_TEXT, /* within a line, or behind the dot that was put in */
    ENCODE_CR,   /* behind a CR that is held back */
};

/* The fault that octet `c` shows, 0 if none. */
static uint8_t dot_encode_fault(bool after_cr, char c)
{
    if (after_cr)
        return c == '\n' ? 0 : SMX_FAULT_BARE_CR;
    if (c == '\n')
        return SMX_FAULT_BARE_LF;
    return c == '\0' ? SMX_FAULT_NUL : 0;
}

/* Octets at the start of `in` that may go as they are; not behind a held-back CR. The state
 * becomes the one behind them, ENCODE_CR if only the CR at their end is not yet known to be right.
 * A fault further on is left for the next call to find. */
static size_t dot_encode_run(smx_dot_encoder *encoder, smx_slice in)
{
    size_t at = 0;
    while (at < in.len) {
        size_t start = at == 0 ? 0 : newline_skip(in, at);
        if (start > at)
            encoder->state = in.data[start - 1] == '\n'   ? ENCODE_LINE
                             : in.data[start - 1] == '\r' ? ENCODE_CR
                                                          : ENCODE_TEXT;
        size_t stop = start == 0 ? 1 : newline_stop(in, start);
        for (at = start; at < stop; at++) {
            char c = in.data[at];
            bool after_cr = encoder->state == ENCODE_CR;
            if (dot_encode_fault(after_cr, c) != 0) {
                encoder->state = ENCODE_TEXT;
                return after_cr ? at - 1 : at;
            }
            if (encoder->state == ENCODE_LINE && c == '.')
                return at;
            encoder->state = c == '\r' ? ENCODE_CR : after_cr ? ENCODE_LINE : ENCODE_TEXT;
        }
    }
    return in.len;
}

static size_t dot_encode_stop(smx_dot_encoder *encoder, uint8_t fault)
{
    encoder->faults |= fault;
    return 0;
}

/* Behind a held-back CR: the line's end, or the fault. */
static size_t dot_encode_held(smx_dot_encoder *encoder, char c, smx_slice *piece)
{
    if (c != '\n')
        return dot_encode_stop(encoder, SMX_FAULT_BARE_CR);
    encoder->state = ENCODE_LINE;
    *piece = SMX_SLICE("\r\n");
    return 1;
}

size_t smx_dot_encode(smx_dot_encoder *encoder, smx_slice in, smx_slice *piece)
{
    *piece = SMX_SLICE("");
    if (in.len == 0 || encoder->faults != 0)
        return 0;
    char first = in.data[0];
    if (encoder->state == ENCODE_CR)
        return dot_encode_held(encoder, first, piece);
    uint8_t fault = dot_encode_fault(false, first);
    if (first == '\r' && in.len > 1)
        fault = dot_encode_fault(true, in.data[1]);
    if (fault != 0)
        return dot_encode_stop(encoder, fault);
    if (encoder->state == ENCODE_LINE && first == '.') {
        encoder->state = ENCODE_TEXT;
        *piece = SMX_SLICE(".");
        return 0;
    }
    size_t len = dot_encode_run(encoder, in);
    *piece = slice_to(in, encoder->state == ENCODE_CR ? len - 1 : len);
    return len;
}

smx_slice smx_dot_end(smx_dot_encoder *encoder)
{
    if (encoder->state == ENCODE_CR)
        encoder->faults |= SMX_FAULT_BARE_CR;
    if (encoder->faults != 0)
        return SMX_SLICE("");
    return encoder->state == ENCODE_LINE ? SMX_SLICE(".\r\n") : SMX_SLICE("\r\n.\r\n");
}
