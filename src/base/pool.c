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

typedef struct pool_thread {
    pool *pool;
    size_t index;
    pthread_t id;
    bool started; /* and not joined yet */
    bool ended;   /* it was superfluous */
} pool_thread;

struct pool {
    pthread_mutex_t mutex;
    pthread_cond_t filled; /* a work was added, or threads are to end */
    pool_work *ring;
    size_t capacity;
    size_t first;
    size_t count;
    bool ending;
    pool_thread **threads;
    size_t thread_count;
    size_t wanted; /* threads with a lower index go on */
};

/* Waits for a work; false when the pool ends and nothing is left, or the thread is superfluous. */
static bool pool_take(pool_thread *t, pool_work *work)
{
    pool *p = t->pool;
    bool taken = false;
    (void)pthread_mutex_lock(&p->mutex);
    while (p->count == 0 && !p->ending && t->index < p->wanted)
        (void)pthread_cond_wait(&p->filled, &p->mutex);
    t->ended = t->index >= p->wanted;
    if (t->ended) {
        (void)pthread_cond_signal(&p->filled); /* a work's signal may have come to this thread */
    } else if (p->count > 0) {
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

/* Under the mutex. A thread that has ended holds it no more and is joined at once. */
static int pool_start(pool *p, size_t index)
{
    pool_thread *t = p->threads[index];
    if (t->started && !t->ended)
        return 0;
    if (t->started)
        (void)pthread_join(t->id, NULL);
    t->ended = false;
    t->started = pthread_create(&t->id, NULL, pool_run, t) == 0;
    return t->started ? 0 : SMX_E_NOMEM;
}

static int pool_add_slots(pool *p, size_t threads)
{
    if (threads <= p->thread_count)
        return 0;
    pool_thread **more = realloc(p->threads, threads * sizeof(pool_thread *));
    if (more == NULL)
        return SMX_E_NOMEM;
    p->threads = more;
    for (; p->thread_count < threads; p->thread_count++) {
        pool_thread *t = calloc(1, sizeof(*t));
        if (t == NULL)
            return SMX_E_NOMEM;
        t->pool = p;
        t->index = p->thread_count;
        more[p->thread_count] = t;
    }
    return 0;
}

int pool_resize(pool *p, size_t threads)
{
    assert(threads > 0);
    (void)pthread_mutex_lock(&p->mutex);
    int error = pool_add_slots(p, threads);
    size_t had = p->wanted;
    if (error == 0)
        p->wanted = threads;
    for (size_t i = had; i < p->wanted && error == 0; i++) {
        error = pool_start(p, i);
        if (error != 0)
            p->wanted = i;
    }
    (void)pthread_cond_broadcast(&p->filled);
    (void)pthread_mutex_unlock(&p->mutex);
    return error;
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
    int error = p->ring == NULL ? SMX_E_NOMEM : pool_resize(p, threads);
    if (error != 0) {
        pool_free(p);
        return error;
    }
    *out = p;
    return 0;
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
    for (size_t i = 0; i < p->thread_count; i++) {
        if (p->threads[i]->started)
            (void)pthread_join(p->threads[i]->id, NULL);
        free(p->threads[i]);
    }
    (void)pthread_cond_destroy(&p->filled);
    (void)pthread_mutex_destroy(&p->mutex);
    free(p->threads);
    free(p->ring);
    free(p);
}
