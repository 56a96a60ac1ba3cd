/* Another address in the From field, and nothing else changed (DESIGN 4.11). */
#ifndef MAIL_REWRITE_FROM_H
#define MAIL_REWRITE_FROM_H

#include "base/buffer.h"
#include "smx/message.h"

/* Appends to `out` the header section with `address` in its From field. The display name stays as
 * it came. Of several mailboxes, or several From fields, one is left, with the first's display
 * name, and Sender goes. A missing From is added at the end. With `reply_to_add` and no Reply-To
 * there, the old mailboxes go into one. Every other octet is unchanged. Linear.
 * SMX_E_INVALID: `address` is no mailbox; SMX_E_NOMEM. `out` is then as it was. */
SMX_MUST_USE int rewrite_from(smx_slice header, smx_slice address, bool reply_to_add, buffer *out);

#endif
