/* The orders in which upstreams are tried. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "mux/mux_internal.h"

static const mux_choice three_to_one[] = {{0, 3}, {1, 1}};
static const mux_choice five_one_one[] = {{0, 5}, {1, 1}, {2, 1}};

static mux_plan plan_with(const char *selector, const mux_choice *choices, size_t count)
{
    return (mux_plan){
        .selector = mux_selector_find(slice_of_text(selector)),
        .choices = choices,
        .choice_count = count,
    };
}

static void mux_selector__each_is_found_by_its_name(void **state)
{
    (void)state;
    size_t n = 0;
    for (; mux_selector_at(n) != NULL; n++)
        assert_ptr_equal(mux_selector_find(slice_of_text(mux_selector_at(n)->name)),
                         mux_selector_at(n));
    assert_int_equal(n, 6);
    assert_null(mux_selector_find(SMX_SLICE("fastest")));
}

static void mux_selector__failover_keeps_the_order_of_the_file(void **state)
{
    (void)state;
    mux_plan plan = plan_with("failover", five_one_one, 3);
    mux_turn turn = {0};
    mux_selection selection = {.plan = &plan, .turn = &turn};
    size_t order[3];
    plan.selector->order(&selection, order);
    assert_int_equal(order[0], 0);
    assert_int_equal(order[1], 1);
    assert_int_equal(order[2], 2);
}

static void mux_selector__round_robin_is_smooth(void **state)
{
    (void)state;
    static const size_t expected[] = {0, 0, 1, 0, 2, 0, 0}; /* a a b a c a a */
    mux_plan plan = plan_with("round-robin", five_one_one, 3);
    mux_turn turn = {0};
    mux_selection selection = {.plan = &plan, .turn = &turn};
    size_t order[3];
    assert_int_equal(plan.selector->prepare(&plan, &turn), 0);
    assert_int_equal(turn.sequence_length, 7);
    for (size_t i = 0; i < 21; i++) {
        plan.selector->order(&selection, order);
        assert_int_equal(order[0], expected[i % 7]);
        assert_int_equal(order[1], (order[0] + 1) % 3);
        assert_int_equal(order[2], (order[0] + 2) % 3);
    }
    free(turn.sequence);
}

typedef struct picker {
    const mux_selection *selection;
    size_t picked[2];
} picker;

static void *pick_many(void *arg)
{
    picker *p = arg;
    size_t order[2];
    for (size_t i = 0; i < 1000; i++) {
        p->selection->plan->selector->order(p->selection, order);
        p->picked[order[0]]++;
    }
    return NULL;
}

static void mux_selector__round_robin_is_exact_over_threads(void **state)
{
    (void)state;
    mux_plan plan = plan_with("round-robin", three_to_one, 2);
    mux_turn turn = {0};
    mux_selection selection = {.plan = &plan, .turn = &turn};
    picker pickers[4];
    pthread_t threads[4];
    size_t first = 0;
    assert_int_equal(plan.selector->prepare(&plan, &turn), 0);
    for (size_t i = 0; i < 4; i++) {
        pickers[i] = (picker){&selection, {0, 0}};
        assert_int_equal(pthread_create(&threads[i], NULL, pick_many, &pickers[i]), 0);
    }
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        first += pickers[i].picked[0];
    }
    assert_int_equal(first, 3000);
    free(turn.sequence);
}

static void mux_selector__random_gives_every_upstream_its_turn(void **state)
{
    (void)state;
    mux_plan plan = plan_with("random", five_one_one, 3);
    mux_turn turn = {0};
    mux_selection selection = {.plan = &plan, .turn = &turn};
    size_t firsts[3] = {0};
    for (uint64_t seed = 0; seed < 3000; seed++) {
        size_t order[3];
        selection.random = seed * 0x9e3779b97f4a7c15ULL;
        plan.selector->order(&selection, order);
        assert_int_equal(order[0] + order[1] + order[2], 3);
        assert_true(order[0] != order[1] && order[1] != order[2] && order[0] != order[2]);
        firsts[order[0]]++;
    }
    for (size_t i = 0; i < 3; i++)
        assert_in_range(firsts[i], 850, 1150);
}

/* Records with these averages, in milliseconds; 0: none. */
static void records_with(upstream **records, const uint64_t *latencies, size_t count)
{
    static const char *const names[] = {"ses", "gmail", "brevo"};
    for (size_t i = 0; i < count; i++) {
        const upstream_options options = {.name = names[i]};
        upstream_admission admission = {0};
        uint64_t until;
        assert_int_equal(upstream_new(&options, NULL, &records[i]), 0);
        if (latencies != NULL && latencies[i] > 0)
            (void)upstream_settle(records[i], &admission,
                                  &(upstream_settlement){.health = UPSTREAM_GREETED,
                                                         .taken = true,
                                                         .took_ms = latencies[i]},
                                  &until);
    }
}

static void records_free(upstream **records, size_t count)
{
    for (size_t i = 0; i < count; i++)
        upstream_free(records[i]);
}

static void mux_selector__weighted_fails_over_to_the_heaviest(void **state)
{
    (void)state;
    static const mux_choice choices[] = {{0, 1}, {1, 2}, {2, 5}};
    static const size_t others[3][2] = {{2, 1}, {2, 0}, {1, 0}};
    size_t firsts[3] = {0};
    mux_plan plan = plan_with("weighted", choices, 3);
    mux_turn turn = {0};
    mux_selection selection = {.plan = &plan, .turn = &turn};
    assert_int_equal(plan.selector->prepare(&plan, &turn), 0);
    for (size_t i = 0; i < 80; i++) {
        size_t order[3];
        plan.selector->order(&selection, order);
        firsts[order[0]]++;
        assert_int_equal(order[1], others[order[0]][0]);
        assert_int_equal(order[2], others[order[0]][1]);
    }
    assert_int_equal(firsts[0], 10);
    assert_int_equal(firsts[1], 20);
    assert_int_equal(firsts[2], 50);
    free(turn.sequence);
}

static void mux_selector__least_latency_takes_the_fastest_and_explores(void **state)
{
    (void)state;
    static const uint64_t latencies[] = {80, 10, 40};
    upstream *records[3];
    mux_plan plan = plan_with("least-latency", five_one_one, 3);
    mux_selection selection = {.plan = &plan, .upstreams = records};
    size_t firsts[3] = {0};
    records_with(records, latencies, 3);
    for (uint64_t seed = 0; seed < 3200; seed++) {
        size_t order[3];
        selection.random = seed * 0x9e3779b97f4a7c15ULL;
        plan.selector->order(&selection, order);
        firsts[order[0]]++;
        if (order[0] == 1)
            assert_int_equal(order[1], 2);
        assert_int_equal(order[0] + order[1] + order[2], 3);
    }
    assert_in_range(firsts[1], 3050, 3150); /* all but one in 32 */
    assert_true(firsts[0] > 10 && firsts[2] > 10);
    records_free(records, 3);
}

static void mux_selector__least_latency_measures_the_unknown_first(void **state)
{
    (void)state;
    static const uint64_t latencies[] = {80, 10, 0};
    upstream *records[3];
    size_t order[3];
    mux_plan plan = plan_with("least-latency", five_one_one, 3);
    mux_selection selection = {.plan = &plan, .upstreams = records, .random = 1};
    records_with(records, latencies, 3);
    plan.selector->order(&selection, order);
    assert_int_equal(order[0], 2);
    assert_int_equal(order[1], 1);
    assert_int_equal(order[2], 0);
    records_free(records, 3);
}

/* The first choice of "userN@example.com". */
static size_t hash_first(const mux_plan *plan, upstream *const *records, size_t n)
{
    char key[64];
    size_t order[3];
    int len = snprintf(key, sizeof(key), "user%zu@example.com", n);
    const mux_selection selection = {
        .plan = plan, .upstreams = records, .key = {key, (size_t)len}, .random = n};
    plan->selector->order(&selection, order);
    return order[0];
}

static void mux_selector__hash_sticks_and_moves_few_keys(void **state)
{
    (void)state;
    static const mux_choice even[] = {{0, 1}, {1, 1}, {2, 1}};
    upstream *records[3];
    mux_plan three = plan_with("hash", even, 3);
    mux_plan two = plan_with("hash", even, 2);
    mux_plan heavy = plan_with("hash", five_one_one, 3);
    size_t firsts[3] = {0};
    size_t heavies = 0;
    records_with(records, NULL, 3);
    for (size_t n = 0; n < 3000; n++) {
        size_t first = hash_first(&three, records, n);
        firsts[first]++;
        assert_int_equal(hash_first(&three, records, n), first);
        if (first != 2) /* the third one's keys alone move when it is taken away */
            assert_int_equal(hash_first(&two, records, n), first);
        heavies += hash_first(&heavy, records, n) == 0 ? 1 : 0;
    }
    for (size_t i = 0; i < 3; i++)
        assert_in_range(firsts[i], 850, 1150);
    assert_in_range(heavies, 2000, 2280); /* five of seven */
    records_free(records, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mux_selector__each_is_found_by_its_name),
        cmocka_unit_test(mux_selector__failover_keeps_the_order_of_the_file),
        cmocka_unit_test(mux_selector__round_robin_is_smooth),
        cmocka_unit_test(mux_selector__round_robin_is_exact_over_threads),
        cmocka_unit_test(mux_selector__random_gives_every_upstream_its_turn),
        cmocka_unit_test(mux_selector__weighted_fails_over_to_the_heaviest),
        cmocka_unit_test(mux_selector__least_latency_takes_the_fastest_and_explores),
        cmocka_unit_test(mux_selector__least_latency_measures_the_unknown_first),
        cmocka_unit_test(mux_selector__hash_sticks_and_moves_few_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
