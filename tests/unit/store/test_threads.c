/* Many threads lease of one key: together they never get more than the limit. */
#include "fixture.h"

enum { THREADS = 16, LIMIT = 1000, BLOCK = 7 };

static uint64_t clock_now(void)
{
    return 5000;
}

typedef struct worker {
    pthread_t thread;
    store *store;
    uint64_t used;
} worker;

/* Leases, uses all of it, tells so, until there is no more. */
static void *work(void *arg)
{
    worker *w = arg;
    store_lease_request r = {
        .owner = store_owner(w->store), .window = 5, .span = 1, .limit = LIMIT, .want = BLOCK};
    store_use used = {5, 0};
    uint64_t granted;
    while ((granted = ask(w->store, r).granted) > 0) {
        w->used += granted;
        used.amount = granted;
        r.used = &used;
        r.used_count = 1;
    }
    return NULL;
}

static void run(const char *url)
{
    store *s = store_at(url, clock_now);
    static worker workers[THREADS];
    uint64_t total = 0;
    for (size_t i = 0; i < THREADS; i++) {
        workers[i] = (worker){.store = s};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
        total += workers[i].used;
    }
    assert_int_equal(total, LIMIT);
    store_close(s);
}

static void store_threads__memory_gives_out_the_limit_exactly(void **state)
{
    (void)state;
    run("memory:");
}

static void store_threads__sqlite_gives_out_the_limit_exactly(void **state)
{
    (void)state;
    place p;
    place_make(&p);
    run(p.url);
    place_remove(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(store_threads__memory_gives_out_the_limit_exactly),
        cmocka_unit_test(store_threads__sqlite_gives_out_the_limit_exactly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
