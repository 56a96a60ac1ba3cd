/* Two workers, few permits: they are handed from one to the other until every attempt is through. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "app/sink.h"
#include "upstream/pool.h"

enum { WORKERS = 2, ROUNDS = 20 };

typedef struct crew crew;

typedef struct hand {
    crew *crew;
    smx_loop *loop;
    pthread_t thread;
    upstream_pool *pool;
    smx_envelope envelope;
    smx_rcpt recipient;
    size_t at_once;
    size_t submitted;
    size_t accepted;
    size_t told;
} hand;

struct crew {
    upstream_options options;
    upstream *u;
    hand hands[WORKERS];
    smx_loop *sink_loop;
    pthread_t sink_thread;
    sink *sink;
};

static void hand_on_closed(void *arg)
{
    hand *h = arg;
    upstream_pool_free(h->pool);
    smx_loop_stop(h->loop);
}

static void hand_submit(hand *h);

static void hand_on_done(void *arg, const upstream_result *result)
{
    hand *h = arg;
    h->told++;
    h->accepted += result->client->outcome == SMX_OUTCOME_ACCEPTED;
    if (h->submitted < ROUNDS * h->at_once)
        hand_submit(h);
    else if (h->told == h->submitted)
        upstream_pool_close(h->pool, hand_on_closed, h);
}

static void hand_submit(hand *h)
{
    upstream_attempt *attempt;
    const upstream_request request = {
        .submission = {.envelope = &h->envelope, .header = SMX_SLICE("Subject: x\r\n\r\n")},
        .deadline = UINT64_MAX / 2,
        .connect_ms = 10000,
        .done = hand_on_done,
        .arg = h,
    };
    h->submitted++;
    if (upstream_pool_submit(h->pool, &request, &attempt) != 0)
        h->told++;
}

static void *hand_work(void *arg)
{
    hand *h = arg;
    for (size_t i = 0; i < h->at_once; i++)
        hand_submit(h);
    smx_loop_run(h->loop);
    return NULL;
}

static void *sink_work(void *arg)
{
    crew *c = arg;
    smx_loop_run(c->sink_loop);
    return NULL;
}

static void hand_begin(crew *c, hand *h)
{
    h->crew = c;
    assert_int_equal(smx_mailbox_parse(SMX_SLICE("ann@example.com"), 0, &h->envelope.mail.path), 0);
    assert_int_equal(smx_mailbox_parse(SMX_SLICE("bob@example.org"), 0, &h->recipient.path), 0);
    h->envelope.recipients = &h->recipient;
    h->envelope.recipient_count = 1;
    assert_int_equal(smx_loop_new(NULL, &h->loop), 0);
    assert_int_equal(
        upstream_pool_new(h->loop, c->u, &c->options, "mux.example", NULL, NULL, NULL, &h->pool),
        0);
    assert_int_equal(pthread_create(&h->thread, NULL, hand_work, h), 0);
}

static void crew_work(uint32_t permits, const size_t at_once[WORKERS])
{
    crew c = {0};
    problem p = {0};
    assert_int_equal(smx_loop_new(NULL, &c.sink_loop), 0);
    const sink_options options = {.listen = "127.0.0.1:0", .hostname = "sink.example"};
    assert_int_equal(sink_new(c.sink_loop, &options, &c.sink, &p), 0);
    c.options = (upstream_options){
        .name = "one", .host = "127.0.0.1", .port = sink_port(c.sink), .max_connections = permits};
    assert_int_equal(upstream_new(&c.options, NULL, &c.u), 0);
    assert_int_equal(pthread_create(&c.sink_thread, NULL, sink_work, &c), 0);
    for (size_t i = 0; i < WORKERS; i++) {
        c.hands[i].at_once = at_once[i];
        hand_begin(&c, &c.hands[i]);
    }
    for (size_t i = 0; i < WORKERS; i++) {
        assert_int_equal(pthread_join(c.hands[i].thread, NULL), 0);
        assert_int_equal(c.hands[i].accepted, ROUNDS * at_once[i]);
        smx_loop_free(c.hands[i].loop);
    }
    assert_true(upstream_total(c.u, UPSTREAM_COUNT_connections) >= WORKERS);
    smx_loop_stop(c.sink_loop);
    assert_int_equal(pthread_join(c.sink_thread, NULL), 0);
    sink_free(c.sink);
    smx_loop_free(c.sink_loop);
    upstream_holder holder = {0};
    upstream_waiter waiter = {.holder = &holder};
    for (uint32_t i = 0; i < permits; i++)
        assert_true(upstream_permit_take(c.u, &waiter)); /* none was lost */
    upstream_free(c.u);
}

static void pool_threads__one_permit_serves_two_workers(void **state)
{
    (void)state;
    crew_work(1, (const size_t[WORKERS]){5, 5});
}

static void pool_threads__few_permits_serve_unequal_workers(void **state)
{
    (void)state;
    for (uint32_t permits = 1; permits <= 3; permits++)
        crew_work(permits, (const size_t[WORKERS]){50, 1});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pool_threads__one_permit_serves_two_workers),
        cmocka_unit_test(pool_threads__few_permits_serve_unequal_workers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
