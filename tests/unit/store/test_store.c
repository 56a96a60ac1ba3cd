/* What every kind of store does alike: each case runs on memory and on a SQLite file. */
#include "fixture.h"

static uint64_t now;

static uint64_t clock_now(void)
{
    return now;
}

typedef struct bench {
    place place;
    const char *url;
    store *store;
} bench;

static int bench_begin(bench *b, bool in_memory)
{
    now = 1000;
    place_make(&b->place);
    b->url = in_memory ? "memory:" : b->place.url;
    b->store = store_at(b->url, clock_now);
    return 0;
}

static int begin_memory(void **state)
{
    static bench b;
    *state = &b;
    return bench_begin(&b, true);
}

static int begin_sqlite(void **state)
{
    static bench b;
    *state = &b;
    return bench_begin(&b, false);
}

static int end(void **state)
{
    bench *b = *state;
    store_close(b->store);
    place_remove(&b->place);
    return 0;
}

static void store__a_lease_never_exceeds_the_limit(void **state)
{
    store *s = ((bench *)*state)->store;
    uint64_t a = store_owner(s);
    uint64_t b = store_owner(s);
    assert_int_not_equal(a, b);
    store_lease_request r = {.owner = a, .window = 5, .span = 1, .limit = 10, .want = 6};
    assert_int_equal(ask(s, r).granted, 6);
    r.owner = b;
    answer other = ask(s, r);
    assert_int_equal(other.granted, 4);
    assert_int_equal(other.others, 6);
    r.owner = a; /* a lease is told whole, not added to */
    assert_int_equal(ask(s, r).granted, 6);
    r.want = 2;
    assert_int_equal(ask(s, r).granted, 2);
    r.owner = b;
    r.want = 100;
    assert_int_equal(ask(s, r).granted, 8);
    r.key = SMX_SLICE("another");
    assert_int_equal(ask(s, r).granted, 10);
}

static void store__what_was_used_counts_in_its_window(void **state)
{
    store *s = ((bench *)*state)->store;
    store_use used[] = {{5, 3}, {6, 1}};
    store_lease_request r = {
        .owner = 1, .window = 6, .span = 1, .limit = 10, .want = 10, .used = used, .used_count = 1};
    answer a = ask(s, r);
    assert_int_equal(a.used, 0); /* of the window before */
    assert_int_equal(a.granted, 10);
    r.span = 2;
    r.used_count = 2;
    a = ask(s, r);
    assert_int_equal(a.windows, 2);
    assert_int_equal(a.used, 4);
    assert_int_equal(a.granted, 6);
    r.used_count = 0;
    r.window = 7;
    a = ask(s, r);
    assert_int_equal(a.windows, 1);
    assert_int_equal(a.used, 1);
    assert_int_equal(a.granted, 9);
    r.window = 8;
    assert_int_equal(ask(s, r).granted, 10);
}

static void store__windows_near_zero_and_wide_spans(void **state)
{
    store *s = ((bench *)*state)->store;
    store_use used[] = {{0, 1}, {1, 2}, {100, 4}, {101, 8}};
    store_lease_request r = {.owner = 1,
                             .window = 1,
                             .span = 101,
                             .limit = 100,
                             .want = 1,
                             .used = used,
                             .used_count = 2};
    assert_int_equal(ask(s, r).used, 3);
    r.used = used + 2;
    r.window = 101;
    answer a = ask(s, r);
    assert_int_equal(a.used, 14);
    assert_int_equal(a.windows, 3);
}

static void store__a_clock_that_went_back_takes_all_as_used_now(void **state)
{
    store *s = ((bench *)*state)->store;
    store_use used[] = {{50, 3}, {49, 2}};
    store_lease_request r = {
        .owner = 1, .window = 50, .span = 3, .limit = 10, .want = 0, .used = used, .used_count = 2};
    assert_int_equal(ask(s, r).used, 5);
    r.window = 10;
    r.used_count = 0;
    r.want = 10;
    answer a = ask(s, r);
    assert_int_equal(a.used, 5);
    assert_int_equal(a.windows, 1);
    assert_int_equal(a.granted, 5);
    r.window = 13;
    assert_int_equal(ask(s, r).granted, 10);
}

static void store__what_may_be_spent_already_is_kept(void **state)
{
    store *s = ((bench *)*state)->store;
    store_lease_request r = {.owner = 1, .window = 5, .span = 1, .limit = 10, .want = 8};
    assert_int_equal(ask(s, r).granted, 8);
    r.limit = 5; /* a new configuration */
    r.keep = 7;
    assert_int_equal(ask(s, r).granted, 7);
    r.keep = 0;
    assert_int_equal(ask(s, r).granted, 5);
}

static void store__values_are_kept_until_they_expire(void **state)
{
    store *s = ((bench *)*state)->store;
    assert_int_equal(get(s, "a").error, SMX_E_NOTFOUND);
    assert_int_equal(put(s, "a", "one", 2000), 0);
    assert_int_equal(put(s, "b", "", 2000), 0);
    assert_int_equal(put(s, "a", "two", 3000), 0);
    answer a = get(s, "a");
    assert_int_equal(a.error, 0);
    assert_string_equal(a.value, "two");
    assert_int_equal(get(s, "b").error, 0);
    now = 2000;
    assert_int_equal(get(s, "b").error, SMX_E_NOTFOUND);
    assert_int_equal(get(s, "a").error, 0);
    now = 30000000; /* the hourly tidying */
    assert_int_equal(get(s, "a").error, SMX_E_NOTFOUND);
    assert_int_equal(put(s, "a", "three", 40000000), 0);
    assert_string_equal(get(s, "a").value, "three");
}

static void store__what_is_over_is_forgotten(void **state)
{
    store *s = ((bench *)*state)->store;
    store_use used[] = {{5, 3}};
    store_lease_request r = {.owner = 1,
                             .window = 5,
                             .span = 1,
                             .limit = 10,
                             .want = 0,
                             .used = used,
                             .used_count = 1,
                             .expires_ms = 5000};
    assert_int_equal(ask(s, r).used, 3);
    r.used_count = 0;
    now = 4000;
    assert_int_equal(ask(s, r).used, 3);
    now = 30000000;
    assert_int_equal(ask(s, r).used, 0);
}

static void count_up(void *arg, int error)
{
    assert(error == 0);
    (*(size_t *)arg)++;
}

static void store__close_finishes_what_is_queued(void **state)
{
    bench *b = *state;
    size_t answered = 0;
    for (size_t i = 0; i < 500; i++)
        assert_int_equal(
            store_put(b->store, SMX_SLICE("k"), SMX_SLICE("v"), UINT32_MAX, count_up, &answered),
            0);
    store_close(b->store);
    assert_int_equal(answered, 500);
    b->store = store_at(b->url, clock_now);
}

static void store__urls_that_are_none_are_told(void **state)
{
    (void)state;
    problem p;
    assert_int_equal(store_url_check(SMX_SLICE("memory:"), &p), 0);
    assert_int_equal(store_url_check(SMX_SLICE("memory"), &p), 0);
    assert_int_equal(store_url_check(SMX_SLICE("sqlite"), &p), SMX_E_SYNTAX);
    assert_int_equal(store_url_check(SMX_SLICE("sqlite:/a/b"), &p), 0);
    assert_int_equal(store_url_check(SMX_SLICE("memory:x"), &p), SMX_E_SYNTAX);
    assert_int_equal(store_url_check(SMX_SLICE("sqlite:"), &p), SMX_E_SYNTAX);
    assert_int_equal(store_url_check(SMX_SLICE("sqlite:/a/"), &p), SMX_E_SYNTAX);
    assert_int_equal(store_url_check(SMX_SLICE("/a/b"), &p), SMX_E_SYNTAX);
    assert_int_equal(store_url_check(SMX_SLICE(""), &p), SMX_E_SYNTAX);
    assert_int_equal(store_url_check(SMX_SLICE("postgresql://h/d"), &p), SMX_E_UNSUPPORTED);
    store_close(NULL);
}

#define BOTH(test)                                                                                 \
    {#test "_in_memory", test, begin_memory, end, NULL},                                           \
    {                                                                                              \
#test "_in_sqlite", test, begin_sqlite, end, NULL                                          \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(store__a_lease_never_exceeds_the_limit),
        BOTH(store__what_was_used_counts_in_its_window),
        BOTH(store__windows_near_zero_and_wide_spans),
        BOTH(store__a_clock_that_went_back_takes_all_as_used_now),
        BOTH(store__what_may_be_spent_already_is_kept),
        BOTH(store__values_are_kept_until_they_expire),
        BOTH(store__what_is_over_is_forgotten),
        BOTH(store__close_finishes_what_is_queued),
        cmocka_unit_test(store__urls_that_are_none_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
