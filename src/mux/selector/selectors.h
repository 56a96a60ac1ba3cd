/* The selectors: one descriptor in each file, one line in the table of selectors.c. */
#ifndef MUX_SELECTOR_SELECTORS_H
#define MUX_SELECTOR_SELECTORS_H

#include "mux/mux.h"

extern const mux_selector selector_failover;
extern const mux_selector selector_round_robin;
extern const mux_selector selector_weighted;
extern const mux_selector selector_random;
extern const mux_selector selector_least_latency;
extern const mux_selector selector_hash;

/* A step of a 64-bit generator (splitmix64): one random number seeds a whole selection. */
uint64_t selector_random_next(uint64_t *seed);

/* The smooth weighted turn of a plan (smooth.c): each step every choice earns its weight; the richest
 * is chosen and pays the sum of all weights. With weights 3 and 1 the turn is a a b a. */
SMX_MUST_USE int selector_prepare_smooth(const mux_plan *plan, mux_turn *turn);
/* The choice whose turn it is; the turn goes on. */
size_t selector_next_smooth(mux_turn *turn);

#endif
