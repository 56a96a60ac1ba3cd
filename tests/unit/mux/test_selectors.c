/* The orders in which upstreams are tried. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "mux/mux_internal.h"

static const mux_choice three_to_one[] = {{0, 3}, {1, 1}};
static const mux_choice five_one_one[] = {{0, 5}, {1, 1}, {2, 1}};

static mux_user_options user_with(const char *selector, const mux_choice *choices, size_t count)
{
    return (mux_user_options){
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
    assert_int_equal(n, 3);
    assert_null(mux_selector_find(SMX_SLICE("fastest")));
}

static void mux_selector__failover_keeps_the_order_of_the_file(void **state)
{
    (void)state;
    mux_user_options user = user_with("failover", five_one_one, 3);
    mux_selector_state selection = {0};
    size_t order[3];
    user.selector->order(&user, &selection, 7, order);
    assert_int_equal(order[0], 0);
    assert_int_equal(order[1], 1);
    assert_int_equal(order[2], 2);
}

static void mux_selector__round_robin_is_smooth(void **state)
{
    (void)state;
    static const size_t expected[] = {0, 0, 1, 0, 2, 0, 0}; /* a a b a c a a */
    mux_user_options user = user_with("round-robin", five_one_one, 3);
    mux_selector_state selection = {0};
    size_t order[3];
    assert_int_equal(user.selector->prepare(&user, &selection), 0);
    assert_int_equal(selection.sequence_length, 7);
    for (size_t i = 0; i < 21; i++) {
        user.selector->order(&user, &selection, 0, order);
        assert_int_equal(order[0], expected[i % 7]);
        assert_int_equal(order[1], (order[0] + 1) % 3);
        assert_int_equal(order[2], (order[0] + 2) % 3);
    }
    free(selection.sequence);
}

typedef struct picker {
    const mux_user_options *user;
    mux_selector_state *selection;
    size_t picked[2];
} picker;

static void *pick_many(void *arg)
{
    picker *p = arg;
    size_t order[2];
    for (size_t i = 0; i < 1000; i++) {
        p->user->selector->order(p->user, p->selection, 0, order);
        p->picked[order[0]]++;
    }
    return NULL;
}

static void mux_selector__round_robin_is_exact_over_threads(void **state)
{
    (void)state;
    mux_user_options user = user_with("round-robin", three_to_one, 2);
    mux_selector_state selection = {0};
    picker pickers[4];
    pthread_t threads[4];
    size_t first = 0;
    assert_int_equal(user.selector->prepare(&user, &selection), 0);
    for (size_t i = 0; i < 4; i++) {
        pickers[i] = (picker){&user, &selection, {0, 0}};
        assert_int_equal(pthread_create(&threads[i], NULL, pick_many, &pickers[i]), 0);
    }
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        first += pickers[i].picked[0];
    }
    assert_int_equal(first, 3000);
    free(selection.sequence);
}

static void mux_selector__random_gives_every_upstream_its_turn(void **state)
{
    (void)state;
    mux_user_options user = user_with("random", five_one_one, 3);
    mux_selector_state selection = {0};
    size_t firsts[3] = {0};
    for (uint64_t seed = 0; seed < 3000; seed++) {
        size_t order[3];
        user.selector->order(&user, &selection, seed * 0x9e3779b97f4a7c15ULL, order);
        assert_int_equal(order[0] + order[1] + order[2], 3);
        assert_true(order[0] != order[1] && order[1] != order[2] && order[0] != order[2]);
        firsts[order[0]]++;
    }
    for (size_t i = 0; i < 3; i++)
        assert_in_range(firsts[i], 850, 1150);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mux_selector__each_is_found_by_its_name),
        cmocka_unit_test(mux_selector__failover_keeps_the_order_of_the_file),
        cmocka_unit_test(mux_selector__round_robin_is_smooth),
        cmocka_unit_test(mux_selector__round_robin_is_exact_over_threads),
        cmocka_unit_test(mux_selector__random_gives_every_upstream_its_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
