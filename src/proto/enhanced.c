/* Enhanced status codes, as 4.3.1 (RFC 3463 section 2, RFC 2034 section 4). Pure. */
#include "base/slice.h"
#include "smx/proto.h"

/* Reads `.` and a sub-code of one to three digits without leading zeros at `*at`. */
static bool enhanced_read_part(smx_slice text, size_t *at, uint16_t *part)
{
    if (*at >= text.len || text.data[*at] != '.')
        return false;
    size_t first = *at + 1;
    size_t end = first;
    unsigned number = 0;
    for (; end < text.len && ascii_is_digit(text.data[end]) && end - first < 4; end++)
        number = number * 10 + (unsigned)(text.data[end] - '0');
    if (end == first || number > 999 || (end - first > 1 && text.data[first] == '0'))
        return false;
    *part = (uint16_t)number;
    *at = end;
    return true;
}

int smx_enhanced_parse(smx_slice text, smx_enhanced *enhanced, size_t *len)
{
    smx_enhanced read = {0};
    size_t at = 1;
    if (text.len == 0 || (text.data[0] != '2' && text.data[0] != '4' && text.data[0] != '5'))
        return SMX_E_SYNTAX;
    read.class_digit = (uint16_t)(text.data[0] - '0');
    if (!enhanced_read_part(text, &at, &read.subject) ||
        !enhanced_read_part(text, &at, &read.detail))
        return SMX_E_SYNTAX;
    if (at < text.len && !ascii_is_space(text.data[at]))
        return SMX_E_SYNTAX;
    *enhanced = read;
    *len = at;
    return 0;
}
