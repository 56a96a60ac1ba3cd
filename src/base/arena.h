/* Memory that is given back all at once: one arena per session, one per transaction. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include "base/slice.h"

typedef struct arena_block arena_block;

/* Zero is a valid empty arena; it allocates its first block when it is first asked. */
typedef struct arena {
    arena_block *current;
    size_t used; /* octets handed out since the last reset, for limits */
} arena;

/* Aligned for any type, not cleared; NULL when out of memory. Lives until reset or free. */
SMX_MUST_USE void *arena_alloc(arena *a, size_t size);
/* The same, cleared. */
SMX_MUST_USE void *arena_calloc(arena *a, size_t size);
/* A copy with a NUL behind it: *copy has the length of `s`. */
SMX_MUST_USE int arena_copy(arena *a, smx_slice s, smx_slice *copy);

/* Takes everything back and keeps one block for what comes next. */
void arena_reset(arena *a);
void arena_free(arena *a);

#endif
