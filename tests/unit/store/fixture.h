/* What the store's tests share: a file of their own, stores, and questions that wait. */
#ifndef TEST_STORE_FIXTURE_H
#define TEST_STORE_FIXTURE_H

#include "support/unit_test.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "store/store.h"

typedef struct place {
    char folder[64];
    char file[96];
    char url[128];
} place;

static inline void place_make(place *p)
{
    (void)snprintf(p->folder, sizeof(p->folder), "/tmp/smx-store-XXXXXX");
    assert_non_null(mkdtemp(p->folder));
    (void)snprintf(p->file, sizeof(p->file), "%s/state.db", p->folder);
    (void)snprintf(p->url, sizeof(p->url), "sqlite:%s", p->file);
}

static inline void place_remove(place *p)
{
    static const char *const SUFFIXES[] = {"", "-wal", "-shm", "-journal"};
    char name[128];
    for (size_t i = 0; i < 4; i++) {
        (void)snprintf(name, sizeof(name), "%s%s", p->file, SUFFIXES[i]);
        (void)unlink(name);
    }
    assert_int_equal(rmdir(p->folder), 0);
}

static inline store *store_at(const char *url, uint64_t (*wall_ms)(void))
{
    const store_options options = {.url = url, .wall_ms = wall_ms};
    store *s;
    problem p = {0};
    if (store_open(&options, &s, &p) != 0)
        fail_msg("%s", p.text);
    return s;
}

/* An answer, kept. */
typedef struct answer {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool is_there;
    int error;
    uint64_t granted;
    uint64_t others;
    uint64_t used; /* the sum */
    size_t windows;
    char value[64];
} answer;

#define ANSWER                                                                                     \
    {                                                                                              \
        .mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER                    \
    }

static inline void answer_end(answer *a, int error)
{
    (void)pthread_mutex_lock(&a->mutex);
    a->error = error;
    a->is_there = true;
    (void)pthread_cond_signal(&a->changed);
    (void)pthread_mutex_unlock(&a->mutex);
}

static inline void answer_on_leased(void *arg, int error, const store_lease_answer *leased)
{
    answer *a = arg;
    assert((error == 0) == (leased != NULL));
    if (leased != NULL) {
        a->granted = leased->granted;
        a->others = leased->others;
        a->windows = leased->used_count;
        for (size_t i = 0; i < leased->used_count; i++)
            a->used += leased->used[i].amount;
    }
    answer_end(a, error);
}

static inline void answer_on_got(void *arg, int error, smx_slice value)
{
    answer *a = arg;
    (void)snprintf(a->value, sizeof(a->value), "%.*s", (int)value.len,
                   value.data == NULL ? "" : value.data);
    answer_end(a, error);
}

static inline void answer_on_put(void *arg, int error)
{
    answer_end(arg, error);
}

static inline void answer_await(answer *a)
{
    (void)pthread_mutex_lock(&a->mutex);
    while (!a->is_there)
        (void)pthread_cond_wait(&a->changed, &a->mutex);
    (void)pthread_mutex_unlock(&a->mutex);
}

static inline answer ask(store *s, store_lease_request request)
{
    answer a = ANSWER;
    request.done = answer_on_leased;
    request.arg = &a;
    if (request.key.data == NULL)
        request.key = SMX_SLICE("k");
    if (request.expires_ms == 0)
        request.expires_ms = UINT32_MAX;
    assert_int_equal(store_lease(s, &request), 0);
    answer_await(&a);
    return a;
}

static inline answer get(store *s, const char *key)
{
    answer a = ANSWER;
    assert_int_equal(store_get(s, slice_of_text(key), answer_on_got, &a), 0);
    answer_await(&a);
    return a;
}

static inline int put(store *s, const char *key, const char *value, uint64_t expires_ms)
{
    answer a = ANSWER;
    assert_int_equal(
        store_put(s, slice_of_text(key), slice_of_text(value), expires_ms, answer_on_put, &a), 0);
    answer_await(&a);
    return a.error;
}

#endif
