/* A pool of threads with a bounded ring of waiting works. The pool owns its threads; what a work
 * points to belongs to whoever submitted it. One mutex guards the ring. */
#include "base/pool.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

typedef struct pool_work {
    pool_fn *fn;
    void *arg;
} pool_work;

struct pool {
    pthread_mutex_t mutex;
    pthread_cond_t filled; /* a work was added, or the pool is ending */
    pool_work *ring;
    size_t capacity;
    size_t first;
    size_t count;
    bool ending;
    pthread_t *threads;
    size_t thread_count;
};

/* Waits for a work; false when the pool ends and nothing is left. */
static bool pool_take(pool *p, pool_work *work)
{
    bool taken = false;
    (void)pthread_mutex_lock(&p->mutex);
    while (p->count == 0 && !p->ending)
        (void)pthread_cond_wait(&p->filled, &p->mutex);
    if (p->count > 0) {
        *work = p->ring[p->first];
        p->first = (p->first + 1) % p->capacity;
        p->count--;
        taken = true;
    }
    (void)pthread_mutex_unlock(&p->mutex);
    return taken;
}

static void *pool_run(void *arg)
{
    pool_work work;
    while (pool_take(arg, &work))
        work.fn(work.arg);
    return NULL;
}

int pool_new(size_t threads, size_t queue, pool **out)
{
    assert(threads > 0 && queue > 0);
    pool *p = calloc(1, sizeof(*p));
    if (p == NULL)
        return SMX_E_NOMEM;
    (void)pthread_mutex_init(&p->mutex, NULL);
    (void)pthread_cond_init(&p->filled, NULL);
    p->capacity = queue;
    p->ring = calloc(queue, sizeof(*p->ring));
    p->threads = calloc(threads, sizeof(*p->threads));
    if (p->ring == NULL || p->threads == NULL)
        goto failed;
    for (; p->thread_count < threads; p->thread_count++)
        if (pthread_create(&p->threads[p->thread_count], NULL, pool_run, p) != 0)
            goto failed;
    *out = p;
    return 0;
failed:
    pool_free(p);
    return SMX_E_NOMEM;
}

int pool_submit(pool *p, pool_fn *fn, void *arg)
{
    int error = SMX_E_LIMIT;
    (void)pthread_mutex_lock(&p->mutex);
    if (p->count < p->capacity && !p->ending) {
        p->ring[(p->first + p->count) % p->capacity] = (pool_work){fn, arg};
        p->count++;
        error = 0;
        (void)pthread_cond_signal(&p->filled);
    }
    (void)pthread_mutex_unlock(&p->mutex);
    return error;
}

void pool_free(pool *p)
{
    if (p == NULL)
        return;
    (void)pthread_mutex_lock(&p->mutex);
    p->ending = true;
    (void)pthread_cond_broadcast(&p->filled);
    (void)pthread_mutex_unlock(&p->mutex);
    for (size_t i = 0; i < p->thread_count; i++)
        (void)pthread_join(p->threads[i], NULL);
    (void)pthread_cond_destroy(&p->filled);
    (void)pthread_mutex_destroy(&p->mutex);
    free(p->threads);
    free(p->ring);
    free(p);
}
