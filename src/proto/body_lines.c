/* Bodies whose lines do not all end with CRLF (DESIGN 4.13). Pure. */
#include "proto/body_lines.h"

int body_lines_normalize(bool *after_cr, smx_slice piece, buffer *out)
{
    static const smx_slice crlf = SMX_SLICE("\r\n");
    int error = 0;
    for (size_t i = 0; i < piece.len && error == 0; i++) {
        char c = piece.data[i];
        bool paired = *after_cr && c == '\n';
        if (*after_cr || c == '\n')
            error = buffer_append(out, crlf);
        *after_cr = c == '\r';
        if (error == 0 && c != '\r' && c != '\n' && !paired)
            error = buffer_append_char(out, c);
    }
    return error;
}

body_tail body_tail_add(body_tail tail, smx_slice piece)
{
    for (size_t i = piece.len > 4 ? piece.len - 4 : 0; i < piece.len; i++)
        tail = tail << 8 | (unsigned char)piece.data[i];
    return tail;
}

bool body_tail_is_doubtful(body_tail tail)
{
    return (tail & 0xffffff) == ('\r' << 16 | '\r' << 8 | '\n');
}
