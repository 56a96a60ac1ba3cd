/* A delivery that begins at the first RCPT and passes the message on while it arrives (DESIGN 4.2).
 *
 * The hook (cut_through_hook.c) says what the client has sent; the delivery (delivery.c) tries one
 * upstream after the other; this is what stands between them. Every attempt gets what is known by
 * then, so an attempt that fails anywhere before the final dot is replaced by the next upstream's,
 * which must take all recipients that the client was told 250 for.
 */
#ifndef MUX_CUT_THROUGH_H
#define MUX_CUT_THROUGH_H

#include "mux/delivery.h"

typedef struct cut_through cut_through;

/* ---- for the hook ---- */

/* For a transaction of this plan, at its first RCPT; the record gets it. SMX_E_NOMEM. */
SMX_MUST_USE int cut_through_new(mux_worker *worker, smx_transaction *tx, const mux_resolved *with,
                                 smx_slice user, const smx_envelope *envelope,
                                 const smx_rcpt *first, cut_through **cut);
/* The next recipient, for whom the call of this ticket waits: it is answered, perhaps from within.
 * SMX_E_NOMEM: it is not. */
SMX_MUST_USE int cut_through_recipient(cut_through *cut, const smx_rcpt *rcpt, smx_hooks *hooks,
                                       smx_ticket ticket);
/* The client has named all: `envelope` is what the server has. False: hooks have changed it, so that
 * the message has to be delivered after DATA; the cut-through is gone. */
SMX_MUST_USE bool cut_through_data(cut_through *cut, const smx_envelope *envelope);
/* In this turn of the loop the header section becomes whole, */
void cut_through_header(cut_through *cut);
/* or the message grows. */
void cut_through_grows(cut_through *cut);
/* The transaction ends without a message, or the client is gone: nothing is sent any more, and no
 * dot. It frees itself. */
void cut_through_abandon(cut_through *cut);

/* ---- for the delivery ---- */

/* How many recipients an attempt has to be admitted for. */
uint64_t cut_through_recipients(const cut_through *cut);
/* Before an upstream is tried. True: there is one that has the message but for its end, or what is
 * waited for comes first. */
SMX_MUST_USE bool cut_through_goes_on(cut_through *cut);

/* The message is whole, and no middleware objected: always SMX_LATER. */
smx_reply cut_through_handle(cut_through *cut);
/* What an attempt through this upstream sends now. */
SMX_MUST_USE int cut_through_compose(cut_through *cut, const upstream_options *o,
                                     upstream_request *request);
/* Judges an attempt's result first. True: that was all; false: the delivery goes on with *c. */
SMX_MUST_USE bool cut_through_takes_result(cut_through *cut, const upstream_result *result,
                                           mux_classified *c);
/* No upstream is left. False: the client waits for the final reply, which is the delivery's. */
SMX_MUST_USE bool cut_through_exhausted(cut_through *cut);
/* The client has its reply. */
void cut_through_free(cut_through *cut);

/* cut_through_hook.c: for the table of the worker's server, behind all other hooks. */
void cut_through_hook_init(smx_hook *hook, mux_worker *worker);

#endif
