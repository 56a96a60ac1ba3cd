/* What delivery.c and delivery_*.c share, beside delivery.h, which is cut_through.c's too. */
#ifndef MUX_DELIVERY_INTERNAL_H
#define MUX_DELIVERY_INTERNAL_H

#include "mux/delivery.h"

/* Of the one whose turn it is. */
const char *delivery_upstream_name(const delivery *d);

/* What left, or may have, counts against the limits of the user and the route. */
void delivery_settle_limits(delivery *d, mux_outcome outcome);

/* What the attempt tells its upstream's record. */
void delivery_settle(delivery *d, const upstream_settlement *settlement);
/* The `done` of every attempt. */
void delivery_attempt_done(void *arg, const upstream_result *result);

/* The outcome is known: it is recorded and the client gets its reply. Nothing may follow. */
void delivery_finish(delivery *d, mux_outcome outcome, const smx_reply *reply);
/* With a text that is composed; when memory is short the code alone must do. */
void delivery_finish_with(delivery *d, mux_outcome outcome, smx_reply reply, const buffer *text);
/* Of whoever may have it. */
void delivery_finish_unknown(delivery *d);

#endif
