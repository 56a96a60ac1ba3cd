/* Finds the end of a header section while its octets arrive, in pieces of any size. */
#ifndef MAIL_HEADER_SCAN_H
#define MAIL_HEADER_SCAN_H

#include "base/slice.h"

/* Zero to begin. */
typedef struct header_scan {
    uint8_t state;
    bool found;     /* the empty line was read */
    size_t scanned; /* octets looked at; not those behind the empty line */
} header_scan;

/* Looks at the next octets. Once `found`, the section is scanned - 2 octets long: the empty line's
 * CRLF is not part of it. */
void header_scan_feed(header_scan *scan, smx_slice octets);

#endif
