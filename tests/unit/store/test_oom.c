/* Every allocation of ours fails once, in turn: requests fail, nothing leaks, the store goes on. */
#include "fixture.h"

#include "support/fail_malloc.h"

static const char *store_url;

static uint64_t clock_now(void)
{
    return 5000;
}

static int ask_for_all(store *s)
{
    answer a = ANSWER;
    const store_use used = {5, 1};
    const store_lease_request r = {.key = SMX_SLICE("key"),
                                   .owner = store_owner(s),
                                   .window = 5,
                                   .span = 3,
                                   .limit = 10,
                                   .want = 2,
                                   .used = &used,
                                   .used_count = 1,
                                   .expires_ms = 9000,
                                   .done = answer_on_leased,
                                   .arg = &a};
    int error = store_lease(s, &r);
    if (error != 0)
        return error;
    answer_await(&a);
    if (a.error != 0)
        return a.error;
    answer kept = ANSWER;
    error = store_put(s, SMX_SLICE("key"), SMX_SLICE("value"), 9000, answer_on_put, &kept);
    if (error != 0)
        return error;
    answer_await(&kept);
    if (kept.error != 0)
        return kept.error;
    answer got = ANSWER;
    error = store_get(s, SMX_SLICE("key"), answer_on_got, &got);
    if (error != 0)
        return error;
    answer_await(&got);
    return got.error;
}

static int open_and_ask(void)
{
    const store_options options = {.url = store_url, .wall_ms = clock_now};
    store *s;
    problem p;
    int error = store_open(&options, &s, &p);
    if (error != 0)
        return error;
    error = ask_for_all(s);
    store_close(s);
    return error;
}

static void store_oom__memory(void **state)
{
    (void)state;
    store_url = "memory:";
    fail_malloc_each(open_and_ask);
}

static void store_oom__sqlite(void **state)
{
    (void)state;
    place p;
    place_make(&p);
    store_url = p.url;
    fail_malloc_each(open_and_ask);
    place_remove(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(store_oom__memory),
        cmocka_unit_test(store_oom__sqlite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
