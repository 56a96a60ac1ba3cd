/* The end of a header section is its first empty line (RFC 5322 section 2.1). Only CRLF ends a line:
 * a bare CR or LF is an octet like any other. Owns nothing. */
#include "mail/header_scan.h"

enum { LINE_START, LINE_START_CR, LINE_WITHIN, LINE_CR };

static uint8_t header_scan_next(uint8_t state, char c, bool *found)
{
    if (c == '\r')
        return state == LINE_START ? LINE_START_CR : LINE_CR;
    if (c != '\n')
        return LINE_WITHIN;
    *found = state == LINE_START_CR;
    return state == LINE_CR ? LINE_START : LINE_WITHIN;
}

void header_scan_feed(header_scan *scan, smx_slice octets)
{
    size_t at = 0;
    while (at < octets.len && !scan->found) {
        if (scan->state == LINE_WITHIN)
            at += slice_find(slice_from(octets, at), '\r');
        if (at == octets.len)
            break;
        scan->state = header_scan_next(scan->state, octets.data[at], &scan->found);
        at++;
    }
    scan->scanned += at;
}
