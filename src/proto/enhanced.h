/* Enhanced status codes as text. */
#ifndef PROTO_ENHANCED_H
#define PROTO_ENHANCED_H

#include "base/digits.h"
#include "smx/proto.h"

enum { ENHANCED_TEXT = 24 };

/* "4.3.1", whatever the numbers are. */
static inline smx_slice enhanced_write(const smx_enhanced *enhanced,
                                       char text[static ENHANCED_TEXT])
{
    char *at = digits_decimal(text, enhanced->class_digit);
    *at++ = '.';
    at = digits_decimal(at, enhanced->subject);
    *at++ = '.';
    at = digits_decimal(at, enhanced->detail);
    return slice_of(text, (size_t)(at - text));
}

#endif
