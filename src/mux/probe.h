/* The active probe (DESIGN 4.8): an upstream that has had nothing to do for its `probe` is tried out by
 * one of the workers. It tells the breaker, and suspends, as a delivery does.
 */
#ifndef MUX_PROBE_H
#define MUX_PROBE_H

#include "mux/mux_internal.h"

/* Makes room for the probes, if there is an upstream to probe. SMX_E_NOMEM. */
SMX_MUST_USE int mux_probe_new(mux_worker *worker);
/* Looks after the upstreams from now on. */
void mux_probe_start(mux_worker *worker);
/* At this time too: a pause is over then. Nothing where upstreams are not looked after. */
void mux_probe_look_at(mux_worker *worker, uint64_t at);
/* No new ones; one that is under way is given up, and is over some turns later. */
void mux_probe_stop(mux_worker *worker);
/* How many are under way. */
size_t mux_probe_count(const mux_worker *worker);
/* When none is. */
void mux_probe_free(mux_worker *worker);

#endif
