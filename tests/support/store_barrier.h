/* Waits until the store has answered all that it was asked before. */
#ifndef TESTS_SUPPORT_STORE_BARRIER_H
#define TESTS_SUPPORT_STORE_BARRIER_H

#include <pthread.h>

#include "store/store.h"

typedef struct barrier {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool reached;
} barrier;

static inline void barrier_on_got(void *arg, int error, smx_slice value)
{
    barrier *b = arg;
    (void)error;
    (void)value;
    (void)pthread_mutex_lock(&b->mutex);
    b->reached = true;
    (void)pthread_cond_signal(&b->changed);
    (void)pthread_mutex_unlock(&b->mutex);
}

static inline void store_barrier(store *s)
{
    barrier b = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    while (store_get(s, SMX_SLICE("barrier"), barrier_on_got, &b) != 0)
        continue; /* a test makes an allocation fail */
    (void)pthread_mutex_lock(&b.mutex);
    while (!b.reached)
        (void)pthread_cond_wait(&b.changed, &b.mutex);
    (void)pthread_mutex_unlock(&b.mutex);
}

#endif
