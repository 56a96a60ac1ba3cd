/* An envelope in the making: copies into the arena of the transaction that owns it. */
#ifndef MAIL_ENVELOPE_H
#define MAIL_ENVELOPE_H

#include "base/arena.h"
#include "smx/message.h"

/* Copies with all slices in the arena. The copy is untouched on SMX_E_NOMEM; `from` may be `to`. */
SMX_MUST_USE int envelope_copy_mail(arena *a, const smx_mail *from, smx_mail *to);
SMX_MUST_USE int envelope_copy_rcpt(arena *a, const smx_rcpt *from, smx_rcpt *to);

SMX_MUST_USE int envelope_set_mail(smx_envelope *envelope, arena *a, const smx_mail *mail);

/* Adds one at the end. *capacity begins as 0 with an empty envelope, is the caller's to keep beside
 * it, and grows by doubling. Pointers to recipients live until the next addition. */
SMX_MUST_USE int envelope_add_rcpt(smx_envelope *envelope, arena *a, const smx_rcpt *rcpt,
                                   size_t *capacity);
/* The same of one whose slices lie in the arena already. */
SMX_MUST_USE int envelope_append_rcpt(smx_envelope *envelope, arena *a, const smx_rcpt *rcpt,
                                      size_t *capacity);
/* Takes out all recipients of this mailbox: SMX_E_NOTFOUND if there is none. The array must be one
 * that envelope_add_rcpt made. */
SMX_MUST_USE int envelope_delete_rcpt(smx_envelope *envelope, smx_slice mailbox);

/* The same mailbox: local-parts by octet, domains without regard to case (RFC 5321 section 2.4). */
bool envelope_same_mailbox(smx_slice a, smx_slice b);

#endif
