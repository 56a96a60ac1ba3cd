/* One snapshot of the configuration at work: the multiplexer made of it, which all workers share.
 *
 * A reload makes the next one. Sessions that began on an older one finish there; it is freed with its
 * last share. Immutable when all workers serve it.
 */
#ifndef APP_GENERATION_H
#define APP_GENERATION_H

#include "app/config.h"

typedef struct generation {
    uint64_t number; /* 1 at the start, one more with each reload */
    uint64_t loaded; /* wall clock, milliseconds since 1970 */
    config *config;
    mux_options mux_options;
    mux *mux;
    uint16_t *ports; /* of each listener; the first worker fills them; 0: a Unix socket */
    _Atomic size_t shares;
    _Atomic size_t *alive; /* how many there are */
} generation;

/* With one share. Takes a share of `c`; `state` and the count `alive` outlive it. */
SMX_MUST_USE int generation_new(config *c, uint64_t number, mux_state *state, _Atomic size_t *alive,
                                generation **out, problem *p);
/* One share more; any thread. */
generation *generation_share(generation *g);
/* One share less; NULL is nothing. Any thread. */
void generation_free(generation *g);

#endif
