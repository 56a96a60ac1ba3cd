/* One character of UTF-8 at a time. */
#ifndef PROTO_UTF8_H
#define PROTO_UTF8_H

#include "base/slice.h"

/* Octets of the well-formed character at the start of `s`, 1 to 4, or 0 if there is none. */
size_t utf8_character(smx_slice s);

/* True if some octet is not ASCII. */
bool utf8_is_needed(smx_slice s);

#endif
