/* Bare CR, bare LF and NUL in a body that came or goes by BDAT (DESIGN 4.13). Pure. */
#include "proto/newline.h"
#include "smx/proto.h"

void smx_newline_check_feed(smx_newline_check *check, smx_slice in)
{
    newline_place place = check->after_cr      ? NEWLINE_CR
                          : check->within_line ? NEWLINE_TEXT
                                               : NEWLINE_LINE;
    for (size_t at = newline_pass(in, &place); at < in.len;
         at += newline_pass(slice_from(in, at), &place)) {
        if (in.data[at] == '.' && place == NEWLINE_LINE)
            check->dotted = true;
        check->faults |= newline_judge(in.data[at++], &place);
    }
    check->after_cr = place == NEWLINE_CR;
    check->within_line = place == NEWLINE_TEXT;
}

void smx_newline_check_end(smx_newline_check *check)
{
    if (check->after_cr)
        check->faults |= SMX_FAULT_BARE_CR;
    check->after_cr = false;
}
