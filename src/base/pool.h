/* A pool of threads for work that blocks: password hashes, blocking hooks and handlers. */
#ifndef BASE_POOL_H
#define BASE_POOL_H

#include "base/slice.h"

typedef struct pool pool;

typedef void pool_fn(void *arg);

/* `threads` (at least 1) start at once; at most `queue` works wait. */
SMX_MUST_USE int pool_new(size_t threads, size_t queue, pool **p);

/* Another number of threads: new ones start at once, superfluous ones end with their work. Any thread
 * but those of the pool. SMX_E_NOMEM: some of the new ones could not be started. */
SMX_MUST_USE int pool_resize(pool *p, size_t threads);

/* Runs fn(arg) on some thread, soon. SMX_E_LIMIT when the queue is full. Any thread. */
SMX_MUST_USE int pool_submit(pool *p, pool_fn *fn, void *arg);

/* Finishes the works that wait, then ends the threads. Not from a work. NULL is nothing. */
void pool_free(pool *p);

#endif
