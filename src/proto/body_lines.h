/* The lines of a body, beyond finding what is wrong with them: making them right, and seeing an end of
 * which others may think otherwise. */
#ifndef PROTO_BODY_LINES_H
#define PROTO_BODY_LINES_H

#include "base/buffer.h"

/* Appends `piece` with every CR and LF that does not belong to a CRLF made one. A CR that ends it is
 * held back in `after_cr`, which begins as false; at the end of a body that ends so, one LF more. */
SMX_MUST_USE int body_lines_normalize(bool *after_cr, smx_slice piece, buffer *out);

/* The last octets of a body, undone of its dots; begins as 0. */
typedef uint32_t body_tail;
body_tail body_tail_add(body_tail tail, smx_slice piece);
/* CR CR LF . CR LF: others on the way here may take this for text, and what follows for the rest of
 * the message. */
bool body_tail_is_doubtful(body_tail tail);

#endif
