/* Permits among workers whose sessions send message after message: who waits for how long, and how
 * many connections that takes. The pools here are models on a clock of their own, without sockets: a
 * message takes SERVE_MS, a connection OPEN_MS to open and CLOSE_MS to close. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <uv.h>

#include "upstream/upstream.h"

enum { POOLS_MOST = 4, SERVE_MS = 2, OPEN_MS = 3, CLOSE_MS = 2, THINK_MS = 1, SWEEP_MS = 1000 };

typedef struct town town;
typedef struct shop shop;

typedef struct customer {
    list_node node; /* of those who think */
    upstream_waiter waiter;
    shop *shop;
    uint64_t due;
    uint64_t since;
} customer;

typedef struct line {
    list_node node;
    customer *customer;
    uint64_t opened;
    uint64_t due; /* idle: since when */
} line;

struct shop {
    town *town;
    upstream_holder holder;
    list lines[UPSTREAM_CONNECTION_STATES];
    list thinking;
    customer *customers;
    size_t served;
    uint64_t longest_wait;
    bool is_shut; /* nobody comes any more */
};

struct town {
    smx_loop *loop;
    upstream *upstream;
    uint64_t now;
    shop shops[POOLS_MOST];
    size_t opened;
    size_t most;
};

static void line_move(shop *s, line *l, upstream_connection_state to, uint64_t due)
{
    size_t from =
        l->node.owner == NULL ? UPSTREAM_CONNECTION_STATES : (size_t)(l->node.owner - s->lines);
    upstream_connection_moved(s->town->upstream, (upstream_connection_state)from, to);
    list_remove(&l->node);
    l->due = due;
    if (to != UPSTREAM_CONNECTION_STATES)
        list_append(&s->lines[to], &l->node);
}

static void shop_open(shop *s, customer *c)
{
    line *l = calloc(1, sizeof(*l));
    assert_non_null(l);
    l->customer = c;
    l->opened = s->town->now;
    s->town->opened++;
    line_move(s, l, UPSTREAM_OPENING, s->town->now + OPEN_MS);
}

static void shop_serve(shop *s, line *l, customer *c)
{
    uint64_t waited = s->town->now - c->since;
    if (waited > s->longest_wait)
        s->longest_wait = waited;
    l->customer = c;
    line_move(s, l, UPSTREAM_BUSY, s->town->now + SERVE_MS);
}

static void customer_granted(void *arg)
{
    customer *c = arg;
    shop_open(c->shop, c);
}

static void shop_close(shop *s, line *l)
{
    line_move(s, l, UPSTREAM_CLOSING, s->town->now + CLOSE_MS);
}

static void shop_release(void *arg)
{
    shop *s = arg;
    list_node *oldest = s->lines[UPSTREAM_IDLE].first;
    if (oldest != NULL) {
        upstream_connection_taken(s->town->upstream, &s->holder);
        shop_close(s, list_member(oldest, line, node));
    }
    upstream_holder_answer(s->town->upstream, &s->holder, oldest != NULL);
}

static void customer_asks(customer *c)
{
    shop *s = c->shop;
    list_node *newest = s->lines[UPSTREAM_IDLE].last;
    c->since = s->town->now;
    if (newest != NULL) {
        upstream_connection_taken(s->town->upstream, &s->holder);
        shop_serve(s, list_member(newest, line, node), c);
    } else if (upstream_permit_take(s->town->upstream, &c->waiter)) {
        shop_open(s, c);
    }
}

static void line_is_free(shop *s, line *l)
{
    upstream_waiter *waiter = NULL;
    customer *c = l->customer;
    s->served++;
    c->due = s->town->now + THINK_MS;
    list_append(&s->thinking, &c->node);
    switch (upstream_connection_free(s->town->upstream, &s->holder, s->town->now - l->opened,
                                     &waiter)) {
    case UPSTREAM_NEXT_WAITER:
        shop_serve(s, l, waiter->arg);
        break;
    case UPSTREAM_NEXT_IDLE:
        line_move(s, l, UPSTREAM_IDLE, s->town->now);
        break;
    case UPSTREAM_NEXT_CLOSE:
        shop_close(s, l);
        break;
    }
}

static void line_is_closed(shop *s, line *l)
{
    line_move(s, l, UPSTREAM_CONNECTION_STATES, 0);
    free(l);
    upstream_permit_give(s->town->upstream, &s->holder);
}

static void line_is_open(shop *s, line *l)
{
    shop_serve(s, l, l->customer);
}

/* As pool_sweep does. */
static void shop_sweep(shop *s)
{
    size_t wanted = upstream_wanted_elsewhere(s->town->upstream, &s->holder);
    list_node *next;
    for (list_node *n = s->lines[UPSTREAM_IDLE].first; n != NULL && wanted > 0; n = next) {
        line *l = list_member(n, line, node);
        next = n->next;
        if (s->town->now - l->due < SWEEP_MS)
            continue;
        upstream_connection_taken(s->town->upstream, &s->holder);
        shop_close(s, l);
        wanted--;
    }
}

static void shop_turn(shop *s)
{
    static void (*const steps[])(shop *, line *) = {
        [UPSTREAM_OPENING] = line_is_open,
        [UPSTREAM_BUSY] = line_is_free,
        [UPSTREAM_CLOSING] = line_is_closed,
    };
    list_node *next;
    for (list_node *n = s->thinking.first; n != NULL && !s->is_shut; n = next) {
        customer *c = list_member(n, customer, node);
        next = n->next;
        if (c->due > s->town->now)
            continue;
        list_remove(n);
        customer_asks(c);
    }
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        for (list_node *n = s->lines[i].first; n != NULL && steps[i] != NULL; n = next) {
            line *l = list_member(n, line, node);
            next = n->next;
            if (l->due <= s->town->now)
                steps[i](s, l);
        }
    }
    if (s->town->now % SWEEP_MS == 0)
        shop_sweep(s);
}

static void town_run(town *t, uint64_t ms)
{
    for (uint64_t end = t->now + ms; t->now < end; t->now++) {
        upstream_status status;
        for (size_t i = 0; i < POOLS_MOST; i++)
            shop_turn(&t->shops[i]);
        (void)uv_run(smx_loop_uv(t->loop), UV_RUN_NOWAIT); /* grants and releases */
        upstream_get_status(t->upstream, t->now, &status);
        if (status.connections > t->most)
            t->most = status.connections;
    }
}

/* So many sessions in each pool. */
static town *town_new(uint32_t permits, const size_t sessions[POOLS_MOST])
{
    const upstream_options options = {.name = "one", .max_connections = permits};
    town *t = calloc(1, sizeof(*t));
    assert_non_null(t);
    assert_int_equal(smx_loop_new(NULL, &t->loop), 0);
    assert_int_equal(upstream_new(&options, NULL, &t->upstream), 0);
    for (size_t i = 0; i < POOLS_MOST; i++) {
        shop *s = &t->shops[i];
        s->town = t;
        s->holder = (upstream_holder){.loop = t->loop, .release = shop_release, .arg = s};
        upstream_holder_add(t->upstream, &s->holder);
        s->customers = calloc(sessions[i] + 1, sizeof(*s->customers));
        assert_non_null(s->customers);
        for (size_t k = 0; k < sessions[i]; k++) {
            customer *c = &s->customers[k];
            c->shop = s;
            c->waiter =
                (upstream_waiter){.holder = &s->holder, .granted = customer_granted, .arg = c};
            list_append(&s->thinking, &c->node);
        }
    }
    return t;
}

/* Ends it; no permit was lost. */
static void town_free(town *t)
{
    list_node *n;
    upstream_status status;
    for (size_t i = 0; i < POOLS_MOST; i++)
        t->shops[i].is_shut = true;
    for (size_t i = 0; i < POOLS_MOST; i++) {
        const list *busy = t->shops[i].lines;
        while (busy[UPSTREAM_OPENING].count + busy[UPSTREAM_BUSY].count +
                   busy[UPSTREAM_CLOSING].count + t->shops[i].holder.waiters.count >
               0)
            town_run(t, 1);
    }
    for (size_t i = 0; i < POOLS_MOST; i++) {
        shop *s = &t->shops[i];
        assert_int_equal(s->holder.permits, s->lines[UPSTREAM_IDLE].count);
        while ((n = list_take_first(&s->lines[UPSTREAM_IDLE])) != NULL) {
            upstream_permit_give(t->upstream, &s->holder);
            free(list_member(n, line, node));
        }
        upstream_holder_remove(t->upstream, &s->holder);
        free(s->customers);
    }
    upstream_get_status(t->upstream, t->now, &status);
    assert_int_equal(status.connections, 0);
    assert_int_equal(status.waiting, 0);
    upstream_free(t->upstream);
    smx_loop_free(t->loop);
    free(t);
}

/* ---- what it costs ---- */

static void permits__more_sessions_than_permits_open_no_more_connections(void **state)
{
    (void)state;
    enum { PERMITS = 64, RUN_MS = 10000 };
    static const size_t loads[][POOLS_MOST] = {
        {20, 20},  {33, 33},   {34, 36},   {40, 26},         {100, 100},
        {190, 10}, {500, 500}, {2500, 63}, {50, 50, 50, 50}, {199, 1},
    };
    for (size_t i = 0; i < sizeof(loads) / sizeof(loads[0]); i++) {
        town *t = town_new(PERMITS, loads[i]);
        town_run(t, RUN_MS);
        if (t->opened > 2 * (size_t)PERMITS)
            fail_msg("load %zu: %zu connections", i, t->opened);
        assert_true(t->most <= PERMITS);
        town_free(t);
    }
}

static void permits__all_are_in_use_while_messages_wait(void **state)
{
    (void)state;
    enum { PERMITS = 64, RUN_MS = 4000 };
    static const size_t loads[][POOLS_MOST] = {{100, 100}, {190, 10}, {500, 1}, {200}};
    for (size_t i = 0; i < sizeof(loads) / sizeof(loads[0]); i++) {
        town *t = town_new(PERMITS, loads[i]);
        town_run(t, RUN_MS);
        size_t served = 0;
        for (size_t k = 0; k < POOLS_MOST; k++)
            served += t->shops[k].served;
        /* With 10 sessions thinking a third of the time their connections do so too. */
        if (served < (size_t)PERMITS * RUN_MS / SERVE_MS * 8 / 10)
            fail_msg("load %zu: %zu messages", i, served);
        town_free(t);
    }
}

/* Not more than is missing is on its way at a time. */
static void permits__one_more_session_takes_one_connection(void **state)
{
    (void)state;
    town *t = town_new(64, (const size_t[POOLS_MOST]){200, 1});
    t->shops[1].is_shut = true;
    town_run(t, 1000);
    assert_int_equal(t->opened, 64);
    t->shops[1].is_shut = false;
    town_run(t, 1000);
    assert_int_equal(t->opened, 65);
    town_free(t);
}

/* ---- who waits for how long ---- */

static void permits__one_session_is_served_beside_many(void **state)
{
    (void)state;
    static const struct {
        uint32_t permits;
        uint64_t longest_wait;
    } cases[] = {{1, 120}, {2, 20}, {3, 20}, {64, 20}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        town *t = town_new(cases[i].permits, (const size_t[POOLS_MOST]){500, 1});
        town_run(t, 10000);
        if (t->shops[1].longest_wait > cases[i].longest_wait)
            fail_msg("%u permits: %lu ms", cases[i].permits, t->shops[1].longest_wait);
        assert_true(t->shops[1].served >= 10000 / (cases[i].longest_wait + 10));
        assert_true(t->shops[0].served >= 10000 / SERVE_MS * cases[i].permits * 4 / 10);
        assert_true(t->most <= cases[i].permits);
        town_free(t);
    }
}

/* With fewer permits than pools they go round, and not with each message. */
static void permits__fewer_than_pools_go_round(void **state)
{
    (void)state;
    for (uint32_t permits = 1; permits < POOLS_MOST; permits++) {
        town *t = town_new(permits, (const size_t[POOLS_MOST]){100, 50, 50, 40});
        town_run(t, 10000);
        size_t served = 0;
        for (size_t i = 0; i < POOLS_MOST; i++) {
            served += t->shops[i].served;
            assert_true(t->shops[i].served > 10000 / SERVE_MS * permits / POOLS_MOST / 2);
        }
        assert_true(t->opened <= permits * 10000 / 70 + permits);
        assert_true(served > 10000 / SERVE_MS * permits * 8 / 10);
        assert_true(t->most <= permits);
        town_free(t);
    }
}

static void permits__equal_loads_get_equal_shares(void **state)
{
    (void)state;
    for (uint32_t permits = 2; permits <= 64; permits *= 2) {
        town *t = town_new(permits, (const size_t[POOLS_MOST]){200, 200});
        town_run(t, 1000);
        assert_int_equal(t->shops[0].holder.permits, permits / 2);
        assert_int_equal(t->shops[1].holder.permits, permits / 2);
        town_free(t);
    }
}

static void permits__what_one_pool_has_no_use_for_the_other_gets(void **state)
{
    (void)state;
    town *t = town_new(64, (const size_t[POOLS_MOST]){100, 100});
    town_run(t, 1000);
    t->shops[1].is_shut = true;
    town_run(t, 3000);
    assert_int_equal(t->shops[0].holder.permits, 64);
    t->shops[1].is_shut = false;
    town_run(t, 100);
    assert_int_equal(t->shops[0].holder.permits, 32);
    assert_int_equal(t->shops[1].holder.permits, 32);
    town_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(permits__more_sessions_than_permits_open_no_more_connections),
        cmocka_unit_test(permits__one_more_session_takes_one_connection),
        cmocka_unit_test(permits__all_are_in_use_while_messages_wait),
        cmocka_unit_test(permits__one_session_is_served_beside_many),
        cmocka_unit_test(permits__fewer_than_pools_go_round),
        cmocka_unit_test(permits__equal_loads_get_equal_shares),
        cmocka_unit_test(permits__what_one_pool_has_no_use_for_the_other_gets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
