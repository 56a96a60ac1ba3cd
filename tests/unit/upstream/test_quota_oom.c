/* Every allocation of a quota and its store fails once, in turn: nothing leaks, nothing crashes, and
 * no limit is exceeded. */
#include "quota_fixture.h"

#include "support/fail_malloc.h"

static uint64_t send_some(quota *q, store *s)
{
    uint64_t sent = 0;
    for (uint64_t i = 0; i < 12; i++) { /* a store that failed is asked again a second later */
        quota_reservation r = {0};
        quota_verdict v = quota_reserve(q, NOW + i * 1100, 1, NULL, &r);
        if (v.state == QUOTA_OK)
            sent++;
        quota_commit(q, NOW + i * 1100, &r);
        store_barrier(s);
    }
    return sent;
}

static int run(store *s, const quota_limit limits[static 2], const quota_limit *fewer)
{
    quota *q;
    int error = quota_new("x", s, limits, 2, NOW, &q);
    if (error != 0)
        return error;
    uint64_t sent = send_some(q, s);
    assert_true(sent <= 5);
    error = quota_set_limits(q, fewer, 1, NOW + 20000);
    sent += send_some(q, s);
    assert_true(sent <= 5);
    quota_free(q);
    return error;
}

static void quota_oom__no_limit_is_exceeded(void **state)
{
    (void)state;
    const quota_limit limits[] = {limit_of("5/day calendar UTC"), limit_of("100/hour")};
    const quota_limit fewer = limit_of("4/day calendar UTC");
    bool failed = true;
    for (size_t nth = 1; failed; nth++) {
        store *s = store_of("memory:");
        fail_malloc_begin(nth);
        int error = run(s, limits, &fewer);
        failed = fail_malloc_end();
        assert_true(error == 0 || (failed && error == SMX_E_NOMEM));
        store_close(s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(quota_oom__no_limit_is_exceeded)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
