/* The selectors: one descriptor in each file, one line in the table of selectors.c. */
#ifndef MUX_SELECTOR_SELECTORS_H
#define MUX_SELECTOR_SELECTORS_H

#include "mux/mux.h"

extern const mux_selector selector_failover;
extern const mux_selector selector_random;
extern const mux_selector selector_round_robin;

#endif
