/* Dot-stuffing (RFC 5321 section 4.5.2), for bodies from anywhere: whatever would not be the same
 * to every reader of it, a bare CR, a bare LF or NUL, stops it before it is handed out. Pure.
 *
 * The encoder's state is the place of the next octet. One behind a CR at the end of the input has
 * that CR held back; one behind a dot that was put in stands within the line. */
#include "proto/newline.h"
#include "smx/proto.h"

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
    encoder->state = NEWLINE_LINE;
    *piece = SMX_SLICE("\r\n");
    return 1;
}

/* The fault that the odd octet `c` shows, none if it is a line's leading dot. */
static uint8_t dot_encode_fault(char c, newline_place place)
{
    if (place == NEWLINE_CR)
        return SMX_FAULT_BARE_CR;
    return newline_judge(c, &place);
}

/* At an odd octet behind `len` ordinary ones: those go first, but for a CR that it proves bare. */
static size_t dot_encode_odd(smx_dot_encoder *encoder, smx_slice in, size_t len,
                             newline_place place, smx_slice *piece)
{
    uint8_t fault = dot_encode_fault(in.data[len], place);
    if (place == NEWLINE_CR)
        len--;
    if (len == 0 && fault != 0)
        return dot_encode_stop(encoder, fault);
    encoder->state = fault == 0 && len > 0 ? NEWLINE_LINE : NEWLINE_TEXT;
    *piece = len == 0 ? SMX_SLICE(".") : slice_to(in, len);
    return len;
}

size_t smx_dot_encode(smx_dot_encoder *encoder, smx_slice in, smx_slice *piece)
{
    *piece = SMX_SLICE("");
    if (in.len == 0 || encoder->faults != 0)
        return 0;
    if (encoder->state == NEWLINE_CR)
        return dot_encode_held(encoder, in.data[0], piece);
    newline_place place = encoder->state;
    size_t len = newline_pass(in, &place);
    if (len < in.len)
        return dot_encode_odd(encoder, in, len, place, piece);
    encoder->state = (uint8_t)place;
    *piece = slice_to(in, place == NEWLINE_CR ? len - 1 : len);
    return len;
}

smx_slice smx_dot_end(smx_dot_encoder *encoder)
{
    if (encoder->state == NEWLINE_CR)
        encoder->faults |= SMX_FAULT_BARE_CR;
    if (encoder->faults != 0)
        return SMX_SLICE("");
    return encoder->state == NEWLINE_LINE ? SMX_SLICE(".\r\n") : SMX_SLICE("\r\n.\r\n");
}
