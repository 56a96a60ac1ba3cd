/* Duplicate-safe retry (`dedup_window`): an application that did not hear our reply sends the message
 * again; within the window it is delivered once.
 *
 * A message is known by its user, sender, recipients in any order, Message-ID and the SHA-256 of its
 * body; without a Message-ID the SHA-256 covers the header section too. A copy of one that is on its
 * way waits and gets the same reply; a copy of one that was taken gets that reply at once; when
 * nobody knows what became of the first, the copy goes only to the same upstream. Kept in memory,
 * over all workers and reloads; not over a restart.
 */
#ifndef MUX_DEDUP_H
#define MUX_DEDUP_H

#include "smx/server.h"

typedef struct dedup dedup;
struct mux_worker;

SMX_MUST_USE int dedup_new(dedup **d);
/* Nobody may wait any more. NULL is nothing. */
void dedup_free(dedup *d);

/* The key of a message (any thread's own copy). SMX_E_NOMEM, SMX_E_IO. */
enum { DEDUP_KEY = 32 };
SMX_MUST_USE int dedup_key_of(smx_transaction *tx, unsigned char key[DEDUP_KEY]);

/* Fills the worker's middleware, which stands innermost. */
void mux_dedup_init(struct mux_worker *worker);
/* Copies that wait in this worker are answered 451 now: it ends. */
void dedup_leave(dedup *d, struct mux_worker *worker);

#endif
