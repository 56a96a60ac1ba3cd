/* Fails the nth allocation through a whole session with TLS and a delivery: nothing crashes, leaks or
 * hangs, the next session succeeds, and a client that was told 250 has exactly one copy delivered.
 *
 * The first session of a process is not among the failing ones: it fills free lists and caches, and
 * lets libuv size its table of descriptors, which ends the process (maybe_resize aborts) when it
 * cannot be allocated. That table grows only with the number of a descriptor. */
#include "allocators.h"
#include "rig.h"

enum { OPENSSL_RUNS = 200, WARM_RUNS = 3 };

static void run_whole(rig *r)
{
    rig_session(r);
    assert_true(rig_was_accepted(r));
    assert_int_equal(r->copies, 1);
}

/* A session with the nth allocation of a source failing, and one without behind it. */
static void run_failing(rig *r, oom_source source, size_t nth)
{
    oom_arm(source, nth);
    rig_session(r);
    bool failed = oom_disarm();
    assert_true(r->copies <= 1);
    assert_true(failed || rig_was_accepted(r));
    if (rig_was_accepted(r))
        assert_int_equal(r->copies, 1);
}

/* How many allocations of a source a session makes, at the most of a few. */
static size_t count_allocations(rig *r, oom_source source)
{
    size_t most = 0;
    for (int i = 0; i < WARM_RUNS; i++) {
        oom_count_from();
        run_whole(r);
        if (oom_count(source) > most)
            most = oom_count(source);
    }
    return most;
}

static void oom_session__every_allocation_of_ours_may_fail(void **state)
{
    rig *r = *state;
    size_t count = count_allocations(r, OOM_OURS);
    print_message("# %zu allocations of ours\n", count);
    assert_true(count > 20);
    for (size_t nth = 0; nth < count; nth++)
        run_failing(r, OOM_OURS, nth);
    run_whole(r);
}

static void oom_session__every_allocation_of_libuv_may_fail(void **state)
{
    rig *r = *state;
    size_t count = count_allocations(r, OOM_LIBUV);
    print_message("# %zu allocations of libuv\n", count);
    for (size_t nth = 0; nth < count; nth++)
        run_failing(r, OOM_LIBUV, nth);
    run_whole(r);
}

static void oom_session__every_allocation_of_a_cut_through_may_fail(void **state)
{
    oom_session__every_allocation_of_ours_may_fail(state);
}

/* The same numbers in every run of the test. */
static uint64_t seeded(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return *seed >> 33;
}

static void oom_session__allocations_of_openssl_may_fail(void **state)
{
    rig *r = *state;
    size_t count = count_allocations(r, OOM_OPENSSL);
    print_message("# %zu allocations of OpenSSL\n", count);
    assert_true(count > OPENSSL_RUNS);
    uint64_t seed = 1;
    for (int i = 0; i < OPENSSL_RUNS; i++)
        run_failing(r, OOM_OPENSSL, (size_t)(seeded(&seed) % count));
    run_whole(r);
}

static int set_up_as(void **state, bool cuts_through)
{
    static rig r;
    rig_prepare(&r);
    r.cuts_through = cuts_through;
    *state = &r;
    return rig_build(&r);
}

static int set_up(void **state)
{
    return set_up_as(state, false);
}

/* With two recipients, and with another attempt at the same upstream when one fails. */
static int set_up_cut_through(void **state)
{
    return set_up_as(state, true);
}

static int tear_down(void **state)
{
    rig_free(*state);
    rig_forget(*state);
    return 0;
}

/* Nothing that is built with an allocation failing is left behind. */
static void oom_build__every_allocation_of_ours_may_fail(void **state)
{
    (void)state;
    rig r;
    rig_prepare(&r);
    bool failed = true;
    for (size_t nth = 0; failed; nth++) {
        oom_arm(OOM_OURS, nth);
        int error = rig_build(&r);
        failed = oom_disarm();
        assert_int_equal(error, failed ? SMX_E_NOMEM : 0);
        rig_free(&r);
    }
    rig_forget(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(oom_build__every_allocation_of_ours_may_fail),
        cmocka_unit_test_setup_teardown(oom_session__every_allocation_of_ours_may_fail, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(oom_session__every_allocation_of_libuv_may_fail, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(oom_session__every_allocation_of_a_cut_through_may_fail,
                                        set_up_cut_through, tear_down),
        cmocka_unit_test_setup_teardown(oom_session__allocations_of_openssl_may_fail, set_up,
                                        tear_down),
    };
    if (!oom_install())
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
