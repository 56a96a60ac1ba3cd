/* What workers share of a provider: permits in order, suspension and its growth. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "support/store_barrier.h"
#include "upstream/upstream.h"

enum { MINUTE = 60000 };

typedef struct waiting {
    upstream_waiter waiter;
    smx_loop *loop;
    int *turn;
    int granted; /* which turn it got; 0: none */
    bool last;
} waiting;

static void on_granted(void *arg)
{
    waiting *w = arg;
    w->granted = ++*w->turn;
    if (w->last)
        smx_loop_stop(w->loop);
}

static upstream *upstream_with(upstream_options *options, uint32_t connections)
{
    upstream *u = NULL;
    *options = (upstream_options){.name = "one", .max_connections = connections};
    assert_int_equal(upstream_new(options, NULL, &u), 0);
    return u;
}

static void upstream_permit__goes_to_waiters_in_their_order(void **state)
{
    (void)state;
    upstream_options options;
    upstream *u = upstream_with(&options, 1);
    smx_loop *loop = NULL;
    int turn = 0;
    waiting w[3];
    assert_int_equal(smx_loop_new(NULL, &loop), 0);
    upstream_holder pool = {.loop = loop};
    upstream_holder_add(u, &pool);
    for (size_t i = 0; i < 3; i++) {
        w[i] = (waiting){.loop = loop, .turn = &turn, .last = i == 2};
        w[i].waiter = (upstream_waiter){.holder = &pool, .granted = on_granted, .arg = &w[i]};
    }
    upstream_waiter owner = {.holder = &pool};
    assert_true(upstream_permit_take(u, &owner));
    for (size_t i = 0; i < 3; i++)
        assert_false(upstream_permit_take(u, &w[i].waiter));
    assert_false(upstream_permit_cancel(u, &w[1].waiter));
    upstream_permit_give(u, &pool); /* to the first */
    upstream_permit_give(u, &pool); /* the first's, to the third: the second has left */
    smx_loop_run(loop);
    assert_int_equal(w[0].granted, 1);
    assert_int_equal(w[1].granted, 0);
    assert_int_equal(w[2].granted, 2);
    upstream_permit_give(u, &pool);
    assert_true(upstream_permit_take(u, &owner));
    smx_loop_free(loop);
    upstream_free(u);
}

static void upstream_permit__a_grant_under_way_is_told_when_cancelled(void **state)
{
    (void)state;
    upstream_options options;
    upstream *u = upstream_with(&options, 1);
    smx_loop *loop = NULL;
    int turn = 0;
    assert_int_equal(smx_loop_new(NULL, &loop), 0);
    upstream_holder pool = {.loop = loop};
    upstream_holder_add(u, &pool);
    waiting w = {.loop = loop, .turn = &turn, .last = true};
    w.waiter = (upstream_waiter){.holder = &pool, .granted = on_granted, .arg = &w};
    upstream_waiter owner = {.holder = &pool};
    assert_true(upstream_permit_take(u, &owner));
    assert_false(upstream_permit_take(u, &w.waiter));
    upstream_permit_give(u, &pool);
    assert_true(upstream_permit_cancel(u, &w.waiter));
    smx_loop_run(loop);
    assert_int_equal(w.granted, 1);
    smx_loop_free(loop);
    upstream_free(u);
}

static void upstream_connection__a_waiter_of_the_same_pool_gets_it(void **state)
{
    (void)state;
    upstream_options options;
    upstream *u = upstream_with(&options, 1);
    smx_loop *here = (smx_loop *)&options; /* only compared here */
    upstream_holder holder = {.loop = here};
    upstream_waiter first = {.holder = &holder};
    upstream_waiter second = {.holder = &holder};
    upstream_waiter *next = NULL;
    upstream_holder_add(u, &holder);
    assert_true(upstream_permit_take(u, &first));
    assert_int_equal(upstream_connection_free(u, &holder, 0, &next), UPSTREAM_NEXT_IDLE);
    assert_int_equal(holder.idle, 1);
    upstream_connection_taken(u, &holder);
    assert_int_equal(holder.idle, 0);
    assert_false(upstream_permit_take(u, &second));
    assert_int_equal(upstream_connection_free(u, &holder, 0, &next), UPSTREAM_NEXT_WAITER);
    assert_ptr_equal(next, &second);
    /* The old configuration's pool on the same loop may have other credentials. */
    upstream_holder other = {.loop = here};
    upstream_waiter stranger = {.holder = &other};
    upstream_holder_add(u, &other);
    assert_false(upstream_permit_take(u, &stranger));
    assert_int_equal(upstream_connection_free(u, &holder, 0, &next), UPSTREAM_NEXT_CLOSE);
    assert_false(upstream_permit_cancel(u, &stranger));
    upstream_holder_remove(u, &holder);
    upstream_free(u);
}

static void upstream_permit__a_reload_that_allows_more_serves_those_who_wait(void **state)
{
    (void)state;
    upstream_options options;
    upstream *u = upstream_with(&options, 1);
    smx_loop *loop = NULL;
    int turn = 0;
    waiting w[3];
    assert_int_equal(smx_loop_new(NULL, &loop), 0);
    upstream_holder pool = {.loop = loop};
    upstream_holder_add(u, &pool);
    for (size_t i = 0; i < 3; i++) {
        w[i] = (waiting){.loop = loop, .turn = &turn, .last = i == 1};
        w[i].waiter = (upstream_waiter){.holder = &pool, .granted = on_granted, .arg = &w[i]};
    }
    upstream_waiter owner = {.holder = &pool};
    assert_true(upstream_permit_take(u, &owner));
    for (size_t i = 0; i < 3; i++)
        assert_false(upstream_permit_take(u, &w[i].waiter));
    options.max_connections = 3;
    upstream_configure(u, &options);
    upstream_status status;
    upstream_get_status(u, 0, &status);
    assert_int_equal(status.connections, 3);
    assert_int_equal(status.waiting, 1);
    smx_loop_run(loop);
    assert_int_equal(w[0].granted, 1);
    assert_int_equal(w[1].granted, 2);
    assert_false(upstream_permit_cancel(u, &w[2].waiter));
    smx_loop_free(loop);
    upstream_free(u);
}

static void upstream_permit__a_reload_that_allows_fewer_is_kept_though_somebody_waits(void **state)
{
    (void)state;
    upstream_options options;
    upstream *u = upstream_with(&options, 3);
    upstream_waiter *next = NULL;
    upstream_holder pool = {0};
    upstream_waiter owner = {.holder = &pool};
    upstream_waiter waiter = {.holder = &pool};
    upstream_status status;
    upstream_holder_add(u, &pool);
    for (size_t i = 0; i < 3; i++)
        assert_true(upstream_permit_take(u, &owner));
    options.max_connections = 1;
    upstream_configure(u, &options);
    assert_false(upstream_permit_take(u, &waiter));
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(upstream_connection_free(u, &pool, 0, &next), UPSTREAM_NEXT_CLOSE);
        upstream_permit_give(u, &pool);
    }
    upstream_get_status(u, 0, &status);
    assert_int_equal(status.connections, 1);
    assert_int_equal(upstream_connection_free(u, &pool, 0, &next), UPSTREAM_NEXT_WAITER);
    assert_ptr_equal(next, &waiter);
    upstream_free(u);
}

typedef struct spare {
    upstream *upstream;
    upstream_holder holder;
} spare;

/* A pool closes one of its idle connections. */
static void spare_release(void *arg)
{
    spare *s = arg;
    upstream_connection_taken(s->upstream, &s->holder);
    upstream_holder_answer(s->upstream, &s->holder, true);
    upstream_permit_give(s->upstream, &s->holder);
}

static void upstream_permit__a_reload_that_allows_fewer_than_are_idle_leaves_nobody_waiting(
    void **state)
{
    (void)state;
    upstream_options options;
    upstream_waiter *next = NULL;
    smx_loop *loop = NULL;
    int turn = 0;
    assert_int_equal(smx_loop_new(NULL, &loop), 0);
    upstream *u = upstream_with(&options, 3);
    spare s = {.upstream = u};
    s.holder = (upstream_holder){.loop = loop, .release = spare_release, .arg = &s};
    upstream_holder_add(u, &s.holder);
    upstream_waiter owner = {.holder = &s.holder};
    for (size_t i = 0; i < 3; i++)
        assert_true(upstream_permit_take(u, &owner));
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(upstream_connection_free(u, &s.holder, 0, &next), UPSTREAM_NEXT_IDLE);
    options.max_connections = 1;
    upstream_configure(u, &options);
    upstream_holder other = {.loop = loop};
    upstream_holder_add(u, &other);
    waiting w = {.loop = loop, .turn = &turn, .last = true};
    w.waiter = (upstream_waiter){.holder = &other, .granted = on_granted, .arg = &w};
    assert_false(upstream_permit_take(u, &w.waiter));
    smx_loop_run(loop);
    assert_int_equal(w.granted, 1);
    assert_int_equal(s.holder.idle, 0);
    upstream_holder_remove(u, &s.holder);
    smx_loop_free(loop);
    upstream_free(u);
}

static upstream_usable usable_at(upstream *u, uint64_t now)
{
    upstream_status status;
    upstream_get_status(u, now, &status);
    return status.usable;
}

static void upstream_status__a_full_quota_and_a_pause_are_not_usable(void **state)
{
    (void)state;
    quota_limit limit;
    problem p;
    assert_int_equal(quota_limit_parse(SMX_SLICE("1/day"), &limit, &p), 0);
    upstream_options options = {.name = "one", .limits = {&limit, 1}};
    upstream *u = NULL;
    assert_int_equal(upstream_new(&options, NULL, &u), 0);
    assert_int_equal(usable_at(u, 5000), UPSTREAM_USABLE);
    upstream_admission a;
    upstream_admit(u, &(upstream_ask){.now = 5000, .recipients = 1}, &a);
    assert_int_equal(a.usable, UPSTREAM_USABLE);
    uint64_t until;
    (void)upstream_settle(u, &a, &(upstream_settlement){.now = 5000, .counts = true}, &until);
    upstream_status status;
    upstream_get_status(u, 5000, &status);
    assert_int_equal(status.usable, UPSTREAM_QUOTA_FULL);
    assert_string_equal(status.why, "1/day");
    assert_true(status.until > 5000 + 23 * 60 * MINUTE);
    assert_int_equal(quota_set_limits(upstream_quota(u), NULL, 0, 0), 0);
    assert_int_equal(usable_at(u, 5000), UPSTREAM_USABLE);
    upstream_pause(u, MINUTE);
    assert_int_equal(usable_at(u, 5000), UPSTREAM_QUOTA_FULL);
    (void)upstream_resume(u);
    assert_int_equal(usable_at(u, 5000), UPSTREAM_USABLE);
    upstream_free(u);
}

static void upstream_suspension__doubles_up_to_six_hours(void **state)
{
    (void)state;
    static const uint64_t minutes[] = {15, 30, 60, 120, 240, 360, 360};
    upstream_options options;
    upstream *u = upstream_with(&options, 0);
    uint64_t now = 1000;
    for (size_t i = 0; i < sizeof(minutes) / sizeof(minutes[0]); i++) {
        bool is_new = false;
        assert_int_equal(upstream_suspend(u, now, 0, &is_new), now + minutes[i] * MINUTE);
        assert_true(is_new);
        assert_int_equal(upstream_suspend(u, now + 5, 0, &is_new), now + minutes[i] * MINUTE);
        assert_false(is_new);
        now += minutes[i] * MINUTE;
        assert_int_equal(usable_at(u, now - 1), UPSTREAM_SUSPENDED);
        assert_int_equal(usable_at(u, now), UPSTREAM_USABLE);
    }
    assert_true(upstream_resume(u));
    assert_false(upstream_resume(u));
    bool is_new = false;
    assert_int_equal(upstream_suspend(u, now, 0, &is_new), now + 15 * MINUTE);
    upstream_free(u);
}

/* A rule of a provider says for how long, while refused credentials are being waited out. */
static void upstream_suspension__is_not_made_shorter(void **state)
{
    (void)state;
    upstream_options options;
    bool is_new = false;
    upstream *u = upstream_with(&options, 0);
    assert_int_equal(upstream_suspend(u, 1000, 0, &is_new), 1000 + 15 * MINUTE);
    assert_int_equal(upstream_suspend(u, 1000, MINUTE, &is_new), 1000 + 15 * MINUTE);
    assert_int_equal(upstream_suspend(u, 1000, 60 * MINUTE, &is_new), 1000 + 60 * MINUTE);
    upstream_free(u);
}

static void fail_to_reach(upstream *u, uint64_t now)
{
    uint64_t until;
    upstream_admission admission;
    upstream_admit(u, &(upstream_ask){.now = now, .recipients = 1}, &admission);
    assert_int_equal(admission.usable, UPSTREAM_USABLE);
    (void)upstream_settle(u, &admission,
                          &(upstream_settlement){.now = now, .health = UPSTREAM_UNREACHED}, &until);
}

static void upstream_breaker__a_probe_in_vain_opens_it_whatever_a_reload_said(void **state)
{
    (void)state;
    upstream_options options = {.name = "one", .breaker = {.failures = 1, .pause_ms = 1000}};
    upstream *u = NULL;
    assert_int_equal(upstream_new(&options, NULL, &u), 0);
    fail_to_reach(u, 0);
    assert_int_equal(usable_at(u, 999), UPSTREAM_BREAKER_OPEN);
    options.breaker.failures = 10;
    upstream_configure(u, &options);
    fail_to_reach(u, 1000);
    assert_int_equal(usable_at(u, 2999), UPSTREAM_BREAKER_OPEN);
    assert_int_equal(usable_at(u, 3000), UPSTREAM_USABLE);
    upstream_free(u);
}

static void assert_known(const upstream *u, smx_extensions extensions, uint64_t size, bool whole)
{
    const upstream_options configured = {.caps = SMX_EXT_DSN, .cap_max_size = 7};
    bool is_whole;
    upstream_offer known = upstream_known(u, &configured, &is_whole);
    assert_int_equal(known.extensions, extensions);
    assert_int_equal(known.max_size, size);
    assert_int_equal(is_whole, whole);
}

static void upstream_offer__extensions_and_size_outlive_the_record(void **state)
{
    (void)state;
    const uint64_t largest = (1ULL << 43) - 1;
    const smx_extensions all = (1U << 20) - 1;
    const upstream_options options = {.name = "one"};
    const store_options memory = {.url = "memory:"};
    problem p;
    store *s;
    upstream *u = NULL;
    assert_int_equal(store_open(&memory, &s, &p), 0);
    assert_int_equal(upstream_new(&options, s, &u), 0);
    assert_known(u, SMX_EXT_DSN, 7, false);
    upstream_learn(u, &(smx_capabilities){.extensions = all, .max_size = largest});
    assert_known(u, all, largest, true);
    upstream_free(u);
    assert_int_equal(upstream_new(&options, s, &u), 0);
    store_barrier(s);
    assert_known(u, all, largest, true);
    upstream_learn(u, &(smx_capabilities){.max_size = largest + 1}); /* as good as none */
    assert_known(u, 0, 0, true);
    upstream_free(u);
    store_close(s);
}

static oauth2 *tokens_of(upstream *u, const upstream_options *options)
{
    oauth2 *tokens = NULL;
    assert_int_equal(upstream_share_oauth2(u, options, NULL, NULL, &tokens), 0);
    return tokens;
}

static void upstream_tokens__those_in_force_outlive_reloads_that_are_given_up(void **state)
{
    (void)state;
    upstream_options in_force = {.name = "one"};
    in_force.oauth2 = (oauth2_options){.token_url = "http://127.0.0.1:1/", .client_id = "a"};
    upstream_options others = in_force;
    upstream *u = NULL;
    assert_int_equal(upstream_new(&in_force, NULL, &u), 0);
    oauth2 *first = tokens_of(u, &in_force); /* held, so that none is at its address */
    upstream_configure(u, &in_force);
    static const char *const ids[] = {"b", "c"};
    for (size_t i = 0; i < 2; i++) {
        others.oauth2.client_id = ids[i];
        oauth2 *next = tokens_of(u, &others);
        assert_ptr_not_equal(next, first);
        oauth2_free(next);
        oauth2 *again = tokens_of(u, &in_force);
        assert_ptr_equal(again, first);
        oauth2_free(again);
    }
    oauth2 *last = tokens_of(u, &others);
    upstream_configure(u, &others);
    oauth2 *again = tokens_of(u, &others);
    assert_ptr_equal(again, last);
    oauth2_free(again);
    oauth2_free(last);
    oauth2_free(first);
    upstream_free(u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(upstream_permit__goes_to_waiters_in_their_order),
        cmocka_unit_test(upstream_permit__a_grant_under_way_is_told_when_cancelled),
        cmocka_unit_test(upstream_connection__a_waiter_of_the_same_pool_gets_it),
        cmocka_unit_test(upstream_status__a_full_quota_and_a_pause_are_not_usable),
        cmocka_unit_test(upstream_suspension__doubles_up_to_six_hours),
        cmocka_unit_test(upstream_offer__extensions_and_size_outlive_the_record),
        cmocka_unit_test(upstream_permit__a_reload_that_allows_more_serves_those_who_wait),
        cmocka_unit_test(upstream_permit__a_reload_that_allows_fewer_is_kept_though_somebody_waits),
        cmocka_unit_test(
            upstream_permit__a_reload_that_allows_fewer_than_are_idle_leaves_nobody_waiting),
        cmocka_unit_test(upstream_suspension__is_not_made_shorter),
        cmocka_unit_test(upstream_tokens__those_in_force_outlive_reloads_that_are_given_up),
        cmocka_unit_test(upstream_breaker__a_probe_in_vain_opens_it_whatever_a_reload_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
