/* Timers: never early, in order, moved, ended, and many. */
#include "test_peers.h"

#include <stdlib.h>

#include "net/timer.h"

#define LOOP_TEST(name) cmocka_unit_test_setup_teardown(name, peers_setup, peers_teardown)

typedef struct test_timer {
    timer_entry entry;
    smx_loop *loop;
    uint64_t fired_at; /* 0: not yet */
    int fired;
    int *order; /* a count shared by several */
    int place;
    struct test_timer *clears;
    uint64_t sets_again; /* once, after so many milliseconds */
} test_timer;

static void test_on_timer(timer_entry *entry)
{
    test_timer *t = list_member(entry, test_timer, entry);
    t->fired++;
    t->fired_at = loop_now(t->loop);
    assert_true(t->fired_at >= entry->due);
    if (t->order != NULL)
        t->place = ++*t->order;
    if (t->clears != NULL)
        timer_clear(&t->clears->entry);
    if (t->sets_again > 0) {
        uint64_t due = loop_now(t->loop) + t->sets_again;
        t->sets_again = 0;
        timer_set(loop_timers(t->loop), entry, due);
    }
}

static test_timer test_timer_of(peers *p)
{
    return (test_timer){.entry.fn = test_on_timer, .loop = p->loop};
}

static void test_set(test_timer *t, uint64_t after)
{
    timer_set(loop_timers(t->loop), &t->entry, loop_now(t->loop) + after);
}

static void net_timer__fires_once_soon_after_its_time(void **state)
{
    peers *p = *state;
    for (uint64_t after = 0; after < 160; after += 7) {
        test_timer t = test_timer_of(p);
        test_set(&t, after);
        uint64_t due = t.entry.due;
        peers_run_until(p, t.fired > 0);
        assert_in_range(t.fired_at - due, 0, TIMER_TICK_MS + 200);
        assert_null(t.entry.node.owner);
    }
}

/* A timer that is moved to a later time is left where it is until that is looked at. */
static void net_timer__moved_to_later_fires_then_and_moved_back_fires_before(void **state)
{
    peers *p = *state;
    test_timer later = test_timer_of(p);
    test_timer sooner = test_timer_of(p);
    test_set(&later, 60);
    test_set(&sooner, 60);
    test_set(&later, 320);
    test_set(&sooner, 900);
    test_set(&sooner, 120);
    uint64_t due = later.entry.due;
    peers_run_until(p, sooner.fired > 0);
    assert_int_equal(later.fired, 0);
    peers_run_until(p, later.fired > 0);
    assert_in_range(later.fired_at - due, 0, TIMER_TICK_MS + 200);
    assert_int_equal(sooner.fired, 1);
}

static void net_timer__past_time_fires_at_once(void **state)
{
    peers *p = *state;
    test_timer t = test_timer_of(p);
    timer_set(loop_timers(p->loop), &t.entry, 1);
    peers_run_until(p, t.fired > 0);
    peers_settle(p);
    assert_int_equal(t.fired, 1);
}

static void net_timer__order_is_that_of_the_times(void **state)
{
    peers *p = *state;
    int order = 0;
    test_timer timers[4];
    for (size_t i = 0; i < 4; i++) {
        timers[i] = test_timer_of(p);
        timers[i].order = &order;
    }
    test_set(&timers[0], 220);
    test_set(&timers[1], 10);
    test_set(&timers[2], 320);
    test_set(&timers[3], 110);
    peers_run_until(p, order == 4);
    assert_int_equal(timers[1].place, 1);
    assert_int_equal(timers[3].place, 2);
    assert_int_equal(timers[0].place, 3);
    assert_int_equal(timers[2].place, 4);
}

static void net_timer__moved_one_fires_at_its_last_time(void **state)
{
    peers *p = *state;
    test_timer later = test_timer_of(p);
    test_timer sooner = test_timer_of(p);
    test_set(&later, 50);
    test_set(&later, 300);
    test_set(&sooner, 60000);
    test_set(&sooner, 50);
    uint64_t due = later.entry.due;
    peers_run_until(p, later.fired > 0);
    assert_true(later.fired_at >= due);
    assert_int_equal(later.fired, 1);
    assert_int_equal(sooner.fired, 1);
    assert_true(sooner.fired_at < later.fired_at);
}

static void net_timer__near_one_does_not_wait_for_a_far_one(void **state)
{
    peers *p = *state;
    test_timer far = test_timer_of(p);
    test_timer near = test_timer_of(p);
    test_set(&far, 60000);
    test_set(&near, 50);
    peers_run_until(p, near.fired > 0);
    assert_int_equal(far.fired, 0);
    timer_clear(&far.entry);
}

static void net_timer__ended_one_does_not_fire(void **state)
{
    peers *p = *state;
    test_timer cleared = test_timer_of(p);
    test_timer never = test_timer_of(p);
    test_timer last = test_timer_of(p);
    test_set(&cleared, 50);
    test_set(&never, 50);
    test_set(&last, 200);
    timer_clear(&cleared.entry);
    timer_clear(&cleared.entry);
    timer_set(loop_timers(p->loop), &never.entry, UINT64_MAX);
    peers_run_until(p, last.fired > 0);
    assert_int_equal(cleared.fired, 0);
    assert_int_equal(never.fired, 0);
}

static void net_timer__function_may_clear_and_set(void **state)
{
    peers *p = *state;
    test_timer first = test_timer_of(p);
    test_timer second = test_timer_of(p);
    test_timer last = test_timer_of(p);
    first.clears = &second;
    first.sets_again = 60;
    test_set(&first, 40);
    second.entry.fn = test_on_timer;
    timer_set(loop_timers(p->loop), &second.entry, first.entry.due);
    test_set(&last, 300);
    peers_run_until(p, last.fired > 0);
    assert_int_equal(first.fired, 2);
    assert_int_equal(second.fired, 0);
}

/* A rotation of the wheel is shorter: a far timer meets near ones in its slot. */
static void net_timer__far_one_is_not_taken_for_a_near_one(void **state)
{
    peers *p = *state;
    test_timer far = test_timer_of(p);
    test_timer near = test_timer_of(p);
    test_set(&near, 100);
    timer_set(loop_timers(p->loop), &far.entry, near.entry.due + (uint64_t)1024 * TIMER_TICK_MS);
    peers_run_until(p, near.fired > 0);
    peers_settle(p);
    assert_int_equal(far.fired, 0);
    timer_clear(&far.entry);
}

static void net_timer__thousands_all_fire(void **state)
{
    enum { MANY = 20000 };
    peers *p = *state;
    test_timer *many = calloc(MANY, sizeof(*many));
    int order = 0;
    assert_non_null(many);
    for (size_t i = 0; i < MANY; i++) {
        many[i] = test_timer_of(p);
        many[i].order = &order;
        test_set(&many[i], (i * 7919) % 400);
    }
    for (size_t i = 0; i < MANY; i += 2)
        timer_clear(&many[i].entry);
    peers_run_until(p, order == MANY / 2);
    for (size_t i = 0; i < MANY; i++)
        assert_int_equal(many[i].fired, i % 2);
    free(many);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOOP_TEST(net_timer__fires_once_soon_after_its_time),
        LOOP_TEST(net_timer__moved_to_later_fires_then_and_moved_back_fires_before),
        LOOP_TEST(net_timer__past_time_fires_at_once),
        LOOP_TEST(net_timer__order_is_that_of_the_times),
        LOOP_TEST(net_timer__moved_one_fires_at_its_last_time),
        LOOP_TEST(net_timer__near_one_does_not_wait_for_a_far_one),
        LOOP_TEST(net_timer__ended_one_does_not_fire),
        LOOP_TEST(net_timer__function_may_clear_and_set),
        LOOP_TEST(net_timer__far_one_is_not_taken_for_a_near_one),
        LOOP_TEST(net_timer__thousands_all_fire),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
