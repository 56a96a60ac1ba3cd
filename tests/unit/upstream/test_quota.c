/* Quotas: windows that are never exceeded, what is said of full ones, leases and restarts. Times are
 * virtual. */
#include "quota_fixture.h"

/* ---- verdicts ---- */

static void quota__a_short_window_waits(void **state)
{
    (void)state;
    quota *q = quota_of(NULL, "2/s", NULL, NOW);
    quota_reservation r = {0};
    assert_true(use(q, NULL, NOW, 1));
    assert_true(use(q, NULL, NOW + 500, 1));
    quota_verdict v = quota_reserve(q, NOW + 600, 1, NULL, &r);
    assert_int_equal(v.state, QUOTA_WAIT);
    assert_string_equal(v.why, "2/s");
    assert_in_range(v.until_ms, NOW + 1000, NOW + 1010);
    assert_false(use(q, NULL, v.until_ms - 1, 1));
    assert_true(use(q, NULL, v.until_ms, 1));
    quota_free(q);
}

static void quota__a_long_window_is_full(void **state)
{
    (void)state;
    quota *q = quota_of(NULL, "3 recipients/day", NULL, NOW);
    quota_reservation r = {0};
    assert_true(use(q, NULL, NOW, 2));
    quota_verdict v = quota_reserve(q, NOW + 1, 2, NULL, &r);
    assert_int_equal(v.state, QUOTA_FULL);
    assert_in_range(v.until_ms, NOW + 86400000, NOW + 87264000);
    assert_int_equal(r.recipients, 0);
    assert_true(use(q, NULL, NOW + 2, 1)); /* what was refused took nothing */
    assert_true(use(q, NULL, v.until_ms, 2));
    quota_free(q);
}

static void quota__more_recipients_than_the_limit_are_too_big(void **state)
{
    (void)state;
    quota *q = quota_of(NULL, "3 recipients/day", "1/s", NOW);
    quota_reservation r = {0};
    assert_int_equal(quota_reserve(q, NOW, 4, NULL, &r).state, QUOTA_TOO_BIG);
    assert_int_equal(quota_reserve(q, NOW, 3, NULL, &r).state, QUOTA_OK);
    quota_release(q, &r);
    quota_free(q);
}

static void quota__all_limits_or_none(void **state)
{
    (void)state;
    quota *q = quota_of(NULL, "10/day", "1/s", NOW);
    assert_true(use(q, NULL, NOW, 1));
    assert_false(use(q, NULL, NOW, 1));
    quota_report reports[2];
    assert_int_equal(quota_reports(q, NOW, reports, 2), 2);
    assert_int_equal(reports[0].used, 1);
    assert_int_equal(reports[0].left, 9);
    assert_int_equal(reports[1].left, 0);
    assert_string_equal(reports[0].limit, "10/day");
    quota_free(q);
}

static void quota__what_is_released_was_never_used(void **state)
{
    (void)state;
    quota *q = quota_of(NULL, "1/day", NULL, NOW);
    quota_reservation r = {0};
    quota_reservation other = {0};
    assert_int_equal(quota_reserve(q, NOW, 1, NULL, &r).state, QUOTA_OK);
    assert_int_equal(quota_reserve(q, NOW, 1, NULL, &other).state, QUOTA_FULL);
    assert_int_equal(quota_look(q, NOW, 1).state, QUOTA_FULL);
    quota_release(q, &r);
    quota_release(q, &r); /* nothing */
    assert_int_equal(quota_look(q, NOW, 1).state, QUOTA_OK);
    assert_true(use(q, NULL, NOW, 1));
    quota_free(q);
}

static void quota__a_reservation_counts_until_it_ends(void **state)
{
    (void)state;
    quota *q = quota_of(NULL, "1/min", NULL, NOW);
    quota_reservation r = {0};
    assert_int_equal(quota_reserve(q, NOW, 1, NULL, &r).state, QUOTA_OK);
    assert_int_equal(quota_look(q, NOW + 600000, 1).state, QUOTA_WAIT);
    quota_commit(q, NOW + 600000, &r); /* the provider may have counted it just now */
    assert_int_equal(quota_look(q, NOW + 659000, 1).state, QUOTA_WAIT);
    assert_int_equal(quota_look(q, NOW + 660600, 1).state, QUOTA_OK);
    quota_free(q);
}

static void quota__a_pause_is_full(void **state)
{
    (void)state;
    quota *q = quota_of(NULL, "10/day", NULL, NOW);
    quota_pause(q, NOW + 1000);
    quota_pause(q, NOW + 500);
    quota_verdict v = quota_look(q, NOW, 1);
    assert_int_equal(v.state, QUOTA_FULL);
    assert_int_equal(v.until_ms, NOW + 1000);
    assert_int_equal(quota_look(q, NOW + 1000, 1).state, QUOTA_OK);
    quota_pause(q, NOW + 1000);
    quota_resume(q);
    assert_int_equal(quota_look(q, NOW, 1).state, QUOTA_OK);
    quota_free(q);
}

/* ---- windows ---- */

/* xorshift: the seed is in the name of the failure. */
static uint64_t next_random(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

typedef struct event {
    uint64_t at;
    uint64_t recipients;
} event;

enum { EVENTS = 3000 };

/* No window of that length, wherever it begins, holds more than the limit. */
static void check_rolling(const event *events, size_t count, uint64_t window, uint64_t limit,
                          uint64_t seed)
{
    size_t first = 0;
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        sum += events[i].recipients;
        while (events[i].at - events[first].at >= window)
            sum -= events[first++].recipients;
        if (sum > limit)
            fail_msg("seed %llu: %llu of %llu", (unsigned long long)seed, (unsigned long long)sum,
                     (unsigned long long)limit);
    }
}

static void run_rolling(const char *text, uint64_t window, uint64_t limit, uint64_t seed,
                        uint64_t step)
{
    static event events[EVENTS];
    quota *q = quota_of(NULL, text, NULL, NOW);
    uint64_t random = seed;
    uint64_t now = NOW;
    size_t count = 0;
    for (size_t i = 0; i < EVENTS; i++) {
        now += next_random(&random) % 4 == 0 ? next_random(&random) % (step * 8) : step / 8;
        quota_reservation r = {0};
        uint64_t n = 1 + next_random(&random) % 3;
        if (quota_reserve(q, now, n, NULL, &r).state != QUOTA_OK)
            continue;
        now += next_random(&random) % step; /* the attempt takes its time */
        if (next_random(&random) % 5 == 0) {
            quota_release(q, &r);
            continue;
        }
        quota_commit(q, now, &r);
        events[count++] = (event){now, n};
    }
    assert_true(count > limit);
    check_rolling(events, count, window, limit, seed);
    quota_free(q);
}

static void quota__no_rolling_window_is_ever_exceeded(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        run_rolling("20 recipients/s", 1000, 20, seed, 1 + seed * 5);
        run_rolling("100 recipients/min", 60000, 100, seed, 50 * seed);
        run_rolling("50 recipients/day", 86400000, 50, seed, 600000 * seed);
        run_rolling("30 recipients/7s", 7000, 30, seed, 20 * seed);
    }
}

static void quota__a_rolling_window_comes_back_at_most_one_hundredth_late(void **state)
{
    (void)state;
    quota *q = quota_of(NULL, "5/min", NULL, NOW + 123);
    assert_int_equal(use_all(q, NULL, NOW + 123), 5);
    assert_false(use(q, NULL, NOW + 123 + 59999, 1));
    assert_int_equal(use_all(q, NULL, NOW + 123 + 60600), 5);
    quota_free(q);
}

static void quota__a_clock_that_jumps_back_frees_nothing(void **state)
{
    (void)state;
    quota *q = quota_of(NULL, "5/hour", NULL, NOW);
    assert_int_equal(use_all(q, NULL, NOW), 5);
    assert_false(use(q, NULL, NOW - 10, 1));
    assert_false(use(q, NULL, NOW - 7200000, 1));
    assert_false(use(q, NULL, NOW - 7200000 + 3599000, 1));
    assert_int_equal(use_all(q, NULL, NOW - 7200000 + 3640000), 5); /* an hour on the new clock */
    quota_free(q);
}

static void quota__a_calendar_day_begins_at_midnight(void **state)
{
    (void)state;
    const uint64_t midnight = 1700002800000; /* 2023-11-15 00:00 in Berlin */
    quota *q = quota_of(NULL, "5/day calendar Europe/Berlin", NULL, midnight - 10);
    assert_int_equal(use_all(q, NULL, midnight - 10), 5);
    quota_reservation r = {0};
    quota_verdict v = quota_reserve(q, midnight - 1, 1, NULL, &r);
    assert_int_equal(v.state, QUOTA_FULL);
    assert_int_equal(v.until_ms, midnight);
    assert_int_equal(use_all(q, NULL, midnight), 5);
    quota_free(q);
}

/* ---- leases ---- */

static void quota__leases_allow_all_of_the_limit_and_no_more(void **state)
{
    (void)state;
    static const char *const LIMITS[] = {"1/day", "5/day", "250/day", "5000 recipients/day"};
    static const uint64_t AMOUNTS[] = {1, 5, 250, 5000};
    for (size_t i = 0; i < 4; i++) {
        store *s = store_of("memory:");
        quota *q = quota_of(s, LIMITS[i], NULL, NOW);
        assert_int_equal(use_all(q, s, NOW), AMOUNTS[i]);
        assert_int_equal(use_all(q, s, NOW + 43200000), 0);
        assert_int_equal(use_all(q, s, NOW + 87300000), AMOUNTS[i]);
        quota_free(q);
        store_close(s);
    }
}

static void quota__the_next_one_reads_what_was_used(void **state)
{
    (void)state;
    store *s = store_of("memory:");
    quota *q = quota_of(s, "250/day", NULL, NOW);
    for (size_t i = 0; i < 101; i++)
        assert_true(use(q, s, NOW + i * 1000, 1));
    quota_free(q);
    q = quota_of(s, "250/day", NULL, NOW + 200000);
    assert_int_equal(use_all(q, s, NOW + 200000), 149);
    quota_free(q);
    store_close(s);
}

static void quota__a_large_message_is_leased_at_once(void **state)
{
    (void)state;
    store *s = store_of("memory:");
    quota *q = quota_of(s, "200 recipients/day", NULL, NOW);
    assert_true(use(q, s, NOW, 150));
    assert_false(use(q, s, NOW, 51));
    assert_true(use(q, s, NOW, 50));
    quota_free(q);
    store_close(s);
}

static void quota__a_reload_keeps_what_was_used(void **state)
{
    (void)state;
    store *s = store_of("memory:");
    quota *q = quota_of(s, "100/day", NULL, NOW);
    for (size_t i = 0; i < 60; i++)
        assert_true(use(q, s, NOW, 1));
    const quota_limit more[] = {limit_of("10/s"), limit_of("120/day")};
    assert_int_equal(quota_set_limits(q, more, 2, NOW), 0);
    assert_int_equal(use_all(q, s, NOW), 10);
    const quota_limit less = limit_of("65/day");
    assert_int_equal(quota_set_limits(q, &less, 1, NOW), 0);
    assert_int_equal(use_all(q, s, NOW), 0);
    assert_int_equal(quota_set_limits(q, NULL, 0, NOW), 0);
    assert_true(use(q, s, NOW, 1));
    store_barrier(s);                              /* what was under way is answered, and */
    store_barrier(s);                              /* then the lease is given back */
    const quota_limit again = limit_of("100/day"); /* the store remembers */
    assert_int_equal(quota_set_limits(q, &again, 1, NOW), 0);
    assert_int_equal(use_all(q, s, NOW), 30);
    quota_free(q);
    store_close(s);
}

static void quota__of_limits_that_count_alike_the_strictest_holds(void **state)
{
    (void)state;
    store *s = store_of("memory:");
    quota *q = quota_of(s, "10/day", "4/24h", NOW);
    assert_int_equal(use_all(q, s, NOW), 4);
    quota_free(q);
    store_close(s);
}

/* ---- waiting for the store ---- */

typedef struct waiting {
    smx_loop *loop;
    size_t told;
} waiting;

static void waiting_on_told(void *arg)
{
    waiting *w = arg;
    w->told++;
    smx_loop_stop(w->loop);
}

static void quota__a_waiter_is_told_when_the_lease_is_there(void **state)
{
    (void)state;
    waiting w = {0};
    assert_int_equal(smx_loop_new(NULL, &w.loop), 0);
    store *s = store_of("memory:");
    quota *q = quota_of(s, "1000/day", NULL, NOW);
    quota_waiter waiter = {.loop = w.loop, .told = waiting_on_told, .arg = &w};
    quota_reservation r = {0};
    size_t rounds = 0;
    while (quota_reserve(q, NOW, 1, &waiter, &r).state == QUOTA_LEASING) {
        rounds++;
        smx_loop_run(w.loop);
        assert_int_equal(w.told, rounds);
        assert_true(quota_cancel(q, &waiter)); /* it has left the queue */
    }
    assert_in_range(rounds, 1, 2);
    quota_commit(q, NOW, &r);
    for (size_t i = 0; i < 20; i++) { /* fetched ahead: nobody waits */
        assert_int_equal(quota_reserve(q, NOW, 1, NULL, &r).state, QUOTA_OK);
        quota_commit(q, NOW, &r);
        store_barrier(s);
    }
    quota_free(q);
    store_close(s);
    smx_loop_free(w.loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quota__a_short_window_waits),
        cmocka_unit_test(quota__a_long_window_is_full),
        cmocka_unit_test(quota__more_recipients_than_the_limit_are_too_big),
        cmocka_unit_test(quota__all_limits_or_none),
        cmocka_unit_test(quota__what_is_released_was_never_used),
        cmocka_unit_test(quota__a_reservation_counts_until_it_ends),
        cmocka_unit_test(quota__a_pause_is_full),
        cmocka_unit_test(quota__no_rolling_window_is_ever_exceeded),
        cmocka_unit_test(quota__a_rolling_window_comes_back_at_most_one_hundredth_late),
        cmocka_unit_test(quota__a_clock_that_jumps_back_frees_nothing),
        cmocka_unit_test(quota__a_calendar_day_begins_at_midnight),
        cmocka_unit_test(quota__leases_allow_all_of_the_limit_and_no_more),
        cmocka_unit_test(quota__the_next_one_reads_what_was_used),
        cmocka_unit_test(quota__a_large_message_is_leased_at_once),
        cmocka_unit_test(quota__a_reload_keeps_what_was_used),
        cmocka_unit_test(quota__of_limits_that_count_alike_the_strictest_holds),
        cmocka_unit_test(quota__a_waiter_is_told_when_the_lease_is_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
