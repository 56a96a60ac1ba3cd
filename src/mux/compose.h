/* What an attempt sends (compose.c). */
#ifndef MUX_COMPOSE_H
#define MUX_COMPOSE_H

#include "base/buffer.h"
#include "base/clock.h"
#include "mux/mux.h"

enum { COMPOSER_SPARES = 32, COMPOSER_SPARE_MAX = 8192 };

/* What a worker composes with. */
typedef struct composer {
    const char *hostname;
    clock_date date;                /* of the Received fields */
    buffer spares[COMPOSER_SPARES]; /* of headers that were sent: the next ones take their memory */
    size_t spare_count;
} composer;
void composer_free(composer *by);

/* Lives in a delivery; what compose_for fills lives until the next call. */
typedef struct composition {
    composer *by;
    smx_transaction *tx;
    smx_envelope envelope; /* as this attempt sends it */
    buffer header;         /* what we add on top, then the header section if it is changed */
    size_t added;          /* octets of our own fields at the start of `header` */
} composition;

/* Writes the fields that every attempt adds. SMX_E_NOMEM. */
SMX_MUST_USE int compose_begin(composition *c, smx_transaction *tx, const mux_plan *plan,
                               composer *by);
/* The envelope for this upstream, whose message is not known yet. */
SMX_MUST_USE int compose_envelope(composition *c, const smx_envelope *envelope,
                                  const upstream_options *o);
/* The submission to this upstream; the message as it came follows where nothing of its header
 * section is changed. */
SMX_MUST_USE int compose_for(composition *c, const upstream_options *o, smx_submission *submission);
void compose_end(composition *c);

#endif
