/* What an attempt sends (compose.c). */
#ifndef MUX_COMPOSE_H
#define MUX_COMPOSE_H

#include "base/buffer.h"
#include "base/clock.h"
#include "mux/mux.h"

/* Lives in a delivery; what compose_for fills lives until the next call. */
typedef struct composition {
    smx_transaction *tx;
    smx_envelope envelope; /* as this attempt sends it */
    buffer header;         /* what we add on top, then the header section if it is changed */
    size_t added;          /* octets of our own fields at the start of `header` */
} composition;

/* Writes the fields that every attempt adds; `date` is the worker's. SMX_E_NOMEM. */
SMX_MUST_USE int compose_begin(composition *c, smx_transaction *tx, const char *hostname,
                               const mux_plan *plan, clock_date *date);
/* The envelope for this upstream, whose message is not known yet. */
SMX_MUST_USE int compose_envelope(composition *c, const smx_envelope *envelope,
                                  const upstream_options *o);
/* The submission to this upstream; the message as it came follows where nothing of its header
 * section is changed. */
SMX_MUST_USE int compose_for(composition *c, const upstream_options *o, smx_submission *submission);
void compose_end(composition *c);

#endif
