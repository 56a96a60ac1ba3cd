/* The one look at every octet of a body, 64 at a time, that the dot codec and the newline check
 * share. An octet is odd where it, with the one before it, is a bare CR, a bare LF, a NUL, or a dot
 * behind LF; ordinary text has none for kilobytes. */
#ifndef PROTO_NEWLINE_H
#define PROTO_NEWLINE_H

#include "base/slice.h"

enum { NEWLINE_BLOCK = 64 };

typedef signed char newline_lanes __attribute__((vector_size(16)));
typedef long long newline_halves __attribute__((vector_size(16)));

/* Non-zero in each lane whose octet is odd. Reads `p[-1]` to `p[15]`. */
static inline newline_lanes newline_odd_lanes(const char *p)
{
    newline_lanes now;
    newline_lanes before;
    memcpy(&now, p, sizeof(now));
    memcpy(&before, p - 1, sizeof(before));
    newline_lanes unpaired = (now == '\n') ^ (before == '\r');
    newline_lanes dot = (now == '.') & (before == '\n');
    return unpaired | dot | (now == '\0');
}

/* From `at` (not 0) on, whole blocks without an odd octet are left behind: the place where the
 * first other block begins, or where less than a block is left. */
static inline size_t newline_skip(smx_slice in, size_t at)
{
    for (; in.len - at >= NEWLINE_BLOCK; at += NEWLINE_BLOCK) {
        const char *p = in.data + at;
        newline_lanes odd = newline_odd_lanes(p) | newline_odd_lanes(p + 16) |
                            newline_odd_lanes(p + 32) | newline_odd_lanes(p + 48);
        newline_halves halves = (newline_halves)odd;
        if ((halves[0] | halves[1]) != 0)
            break;
    }
    return at;
}

/* Where the octet-by-octet look that follows newline_skip ends: behind one block. */
static inline size_t newline_stop(smx_slice in, size_t at)
{
    return in.len - at < NEWLINE_BLOCK ? in.len : at + NEWLINE_BLOCK;
}

#endif
