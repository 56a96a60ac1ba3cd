/* Bare CR, bare LF and NUL in a body that came or goes by BDAT (DESIGN 4.13). Pure. */
#include "proto/newline.h"
#include "smx/proto.h"

static void newline_check_octet(smx_newline_check *check, char c)
{
    if (c == '\n' && !check->after_cr)
        check->faults |= SMX_FAULT_BARE_LF;
    if (c != '\n' && check->after_cr)
        check->faults |= SMX_FAULT_BARE_CR;
    if (c == '\0')
        check->faults |= SMX_FAULT_NUL;
    check->after_cr = c == '\r';
}

void smx_newline_check_feed(smx_newline_check *check, smx_slice in)
{
    for (size_t at = 0; at < in.len;) {
        size_t start = at == 0 ? 0 : newline_skip(in, at);
        if (start > at)
            check->after_cr = in.data[start - 1] == '\r';
        size_t stop = start == 0 ? 1 : newline_stop(in, start);
        for (at = start; at < stop; at++)
            newline_check_octet(check, in.data[at]);
    }
}

void smx_newline_check_end(smx_newline_check *check)
{
    if (check->after_cr)
        check->faults |= SMX_FAULT_BARE_CR;
    check->after_cr = false;
}
