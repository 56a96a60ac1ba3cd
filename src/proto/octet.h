/* What an octet may be part of: one table for the grammars of addresses, parameters and texts. */
#ifndef PROTO_OCTET_H
#define PROTO_OCTET_H

#include "base/slice.h"

/* Classes of octets; bits. */
enum octet_class {
    OCTET_LET_DIG = 1,    /* Let-dig (RFC 5321 section 4.1.2): ALPHA and DIGIT */
    OCTET_HYPHEN = 2,     /* what a Ldh-str or a keyword has beside them */
    OCTET_ATEXT = 4,      /* atext (RFC 5322 section 3.2.3) */
    OCTET_NON_ASCII = 8,  /* part of a character of UTF-8 */
    OCTET_VALUE = 16,     /* esmtp-value (RFC 5321 section 4.1.2): printable but for "=" */
    OCTET_SHOWN = 32,     /* printable ASCII, blank and tab */
    OCTET_PATH_MARK = 64, /* what ends a domain within a path */
};

extern const uint8_t octet_classes[256];

/* True if `c` is of one of the classes. */
static inline bool octet_is(char c, unsigned classes)
{
    return (octet_classes[(unsigned char)c] & classes) != 0;
}

/* Octets of class OCTET_SHOWN at the start of `text`. */
size_t octet_shown(smx_slice text);

#endif
