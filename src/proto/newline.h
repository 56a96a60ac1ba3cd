/* The one look at every octet of a body, that the dot codec and the newline check share.
 *
 * An octet is odd where it, with the one before it, is or shows a bare CR, a bare LF, a NUL, or the
 * dot that begins a line. Ordinary text has none for kilobytes and is left behind at memory speed;
 * an odd octet is judged by itself. */
#ifndef PROTO_NEWLINE_H
#define PROTO_NEWLINE_H

#include "base/slice.h"

/* Where an octet stands: what the one before it was. Only CRLF ends a line. */
typedef enum newline_place {
    NEWLINE_LINE, /* at the start of a line */
    NEWLINE_TEXT, /* within a line */
    NEWLINE_CR,   /* behind a CR */
} newline_place;

/* Leaves ordinary octets behind: where the first odd one is, or in.len. `place` is that of the first
 * octet and becomes that of the octet found. */
size_t newline_pass(smx_slice in, newline_place *place);

/* What octet `c` shows, bits of smx_body_fault; `place` becomes that of the next octet. */
uint8_t newline_judge(char c, newline_place *place);

/* ---- How newline_pass() does it; the tests hold each way against the other ---- */

enum { NEWLINE_BLOCK = 64 };

/* Octets of the whole blocks at the start of the `len` octets at `p` that hold no odd octet. Reads
 * `p[-1]` too. */
typedef size_t newline_skip_fn(const char *p, size_t len);

newline_skip_fn newline_skip_narrow; /* sixteen octets at once: on any machine */
#ifdef __x86_64__
newline_skip_fn newline_skip_wide; /* thirty-two: only where newline_is_wide() */
#endif
bool newline_is_wide(void);

#endif
