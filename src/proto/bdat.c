/* BDAT's argument: the chunk's size and LAST (RFC 3030 section 2). Pure. */
#include "base/slice.h"
#include "smx/proto.h"

int smx_bdat_parse(smx_slice argument, uint64_t *size, bool *last)
{
    smx_slice rest = slice_trim(argument);
    size_t end = 0;
    while (end < rest.len && !ascii_is_space(rest.data[end]))
        end++;
    smx_slice marker = slice_trim(slice_from(rest, end));
    if (marker.len > 0 && !slice_equal_nocase(marker, SMX_SLICE("LAST")))
        return SMX_E_SYNTAX;
    int error = slice_to_number(slice_to(rest, end), UINT64_MAX, size);
    if (error == 0)
        *last = marker.len > 0;
    return error;
}
