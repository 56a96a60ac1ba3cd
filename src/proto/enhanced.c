/* Enhanced status codes, as 4.3.1 (RFC 3463 section 2, RFC 2034 section 4). Pure. */
#include "base/slice.h"
#include "smx/proto.h"

/* Reads `.` and a sub-code of one to three digits without leading zeros: where it ends, or NULL. */
static const char *enhanced_read_part(const char *at, const char *end, uint16_t *part)
{
    if (at == end || *at != '.')
        return NULL;
    const char *first = ++at;
    unsigned number = 0;
    while (at < end && ascii_is_digit(*at) && at - first < 3)
        number = number * 10 + (unsigned)(*at++ - '0');
    if (at == first || (at - first > 1 && *first == '0'))
        return NULL;
    *part = (uint16_t)number;
    return at;
}

int smx_enhanced_parse(smx_slice text, smx_enhanced *enhanced, size_t *len)
{
    smx_enhanced read = {0};
    if (text.len == 0 || (text.data[0] != '2' && text.data[0] != '4' && text.data[0] != '5'))
        return SMX_E_SYNTAX;
    read.class_digit = (uint16_t)(text.data[0] - '0');
    const char *end = text.data + text.len;
    const char *at = enhanced_read_part(text.data + 1, end, &read.subject);
    if (at != NULL)
        at = enhanced_read_part(at, end, &read.detail);
    if (at == NULL || (at < end && !ascii_is_space(*at)))
        return SMX_E_SYNTAX;
    *enhanced = read;
    *len = (size_t)(at - text.data);
    return 0;
}
