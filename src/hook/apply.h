/* Makes the changes that hooks asked for: on an envelope and on a header section. */
#ifndef HOOK_APPLY_H
#define HOOK_APPLY_H

#include "hook/runner.h"

/* The change, if it is one of the envelope. *capacity is envelope_add_rcpt's. A recipient that is
 * not there is nothing to delete. SMX_E_NOMEM, or SMX_E_INVALID for a mailbox that the parser does
 * not take. */
SMX_MUST_USE int apply_to_envelope(const hook_change *change, smx_envelope *envelope, arena *a,
                                   size_t *capacity);

/* The change, if it is one of the header section. A field that is not there is passed over. */
SMX_MUST_USE int apply_to_header(const hook_change *change, smx_header_edit *edit);

/* True for a change of the header section. */
bool change_is_of_header(hook_change_kind kind);

/* A message with the header section of `message` and this body in the place of the old one. */
SMX_MUST_USE int apply_body(const smx_message *message, smx_slice body,
                            const smx_message_options *options, smx_message **changed);

/* A copy whose strings lie in the arena, for those who look at it when the session may be gone. */
SMX_MUST_USE int session_view_copy(arena *a, const smx_session_view *from, smx_session_view *to);

#endif
