/* The thread pool: every work runs once, the queue is bounded, the end waits for what is queued. */
#include "base/pool.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "support/unit_test.h"

typedef struct gate {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool open;
    int entered;
} gate;

static void gate_wait(void *arg)
{
    gate *g = arg;
    (void)pthread_mutex_lock(&g->mutex);
    g->entered++;
    (void)pthread_cond_broadcast(&g->changed);
    while (!g->open)
        (void)pthread_cond_wait(&g->changed, &g->mutex);
    (void)pthread_mutex_unlock(&g->mutex);
}

static void gate_open(gate *g)
{
    (void)pthread_mutex_lock(&g->mutex);
    g->open = true;
    (void)pthread_cond_broadcast(&g->changed);
    (void)pthread_mutex_unlock(&g->mutex);
}

/* Until so many works stand at the gate. */
static void gate_await(gate *g, int entered)
{
    (void)pthread_mutex_lock(&g->mutex);
    while (g->entered < entered)
        (void)pthread_cond_wait(&g->changed, &g->mutex);
    (void)pthread_mutex_unlock(&g->mutex);
}

static void work_count(void *arg)
{
    atomic_fetch_add((atomic_int *)arg, 1);
}

static void base_pool__every_work_runs_once(void **state)
{
    (void)state;
    pool *p;
    atomic_int count = 0;
    assert_int_equal(pool_new(4, 1000, &p), 0);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(pool_submit(p, work_count, &count), 0);
    pool_free(p);
    assert_int_equal(count, 1000);
}

static void base_pool__full_queue_refuses(void **state)
{
    (void)state;
    pool *p;
    gate g = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, 0};
    atomic_int count = 0;
    assert_int_equal(pool_new(1, 2, &p), 0);
    assert_int_equal(pool_submit(p, gate_wait, &g), 0);
    gate_await(&g, 1);
    assert_int_equal(pool_submit(p, work_count, &count), 0);
    assert_int_equal(pool_submit(p, work_count, &count), 0);
    assert_int_equal(pool_submit(p, work_count, &count), SMX_E_LIMIT);
    gate_open(&g);
    pool_free(p);
    assert_int_equal(count, 2);
}

static void base_pool__works_run_side_by_side(void **state)
{
    (void)state;
    pool *p;
    gate g = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, 0};
    assert_int_equal(pool_new(3, 3, &p), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(pool_submit(p, gate_wait, &g), 0);
    gate_await(&g, 3);
    gate_open(&g);
    pool_free(p);
    assert_int_equal(g.entered, 3);
}

static void base_pool__grows_and_shrinks(void **state)
{
    (void)state;
    pool *p;
    gate g = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, 0};
    gate later = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, 0};
    atomic_int count = 0;
    assert_int_equal(pool_new(1, 100, &p), 0);
    assert_int_equal(pool_resize(p, 3), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(pool_submit(p, gate_wait, &g), 0);
    gate_await(&g, 3);
    assert_int_equal(pool_resize(p, 1), 0);
    gate_open(&g);
    for (int i = 0; i < 50; i++)
        assert_int_equal(pool_submit(p, work_count, &count), 0);
    assert_int_equal(pool_resize(p, 5), 0);
    for (int i = 0; i < 5; i++)
        assert_int_equal(pool_submit(p, gate_wait, &later), 0);
    gate_await(&later, 5);
    gate_open(&later);
    pool_free(p);
    assert_int_equal(count, 50);
}

/* Of two superfluous threads and one that stays, the one that stays does the work. */
static void base_pool__work_finds_the_thread_that_stays(void **state)
{
    (void)state;
    for (int round = 0; round < 50; round++) {
        pool *p;
        atomic_int count = 0;
        assert_int_equal(pool_new(4, 100, &p), 0);
        assert_int_equal(pool_resize(p, 1), 0);
        for (int i = 0; i < 20; i++)
            assert_int_equal(pool_submit(p, work_count, &count), 0);
        for (int i = 0; i < 2000 && count < 20; i++)
            (void)usleep(1000);
        assert_int_equal(count, 20);
        pool_free(p);
    }
}

static void base_pool__free_of_null_is_nothing(void **state)
{
    (void)state;
    pool *p;
    pool_free(NULL);
    assert_int_equal(pool_new(2, 1, &p), 0);
    pool_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(base_pool__every_work_runs_once),
        cmocka_unit_test(base_pool__full_queue_refuses),
        cmocka_unit_test(base_pool__works_run_side_by_side),
        cmocka_unit_test(base_pool__grows_and_shrinks),
        cmocka_unit_test(base_pool__work_finds_the_thread_that_stays),
        cmocka_unit_test(base_pool__free_of_null_is_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
