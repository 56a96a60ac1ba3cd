/* Probes of a pool against a sink, and who may make one. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <uv.h>

#include "app/sink.h"
#include "base/clock.h"
#include "support/loop_until.h"
#include "upstream/pool_internal.h"
#include "upstream/probe.h"

enum { THREADS = 4, ROUNDS = 2000, PERIOD = 60000 };

typedef struct site {
    smx_loop *loop;
    uv_timer_t tick;
    sink *sink;
    upstream_options options;
    upstream *u;
    upstream_pool *pool;
    smx_envelope envelope;
    smx_rcpt recipient;
    bool closed;
} site;

/* The end of a probe or a message. */
typedef struct told {
    upstream_attempt *attempt;
    size_t calls;
    smx_outcome outcome;
    smx_client_phase phase;
    int error;
    uint16_t code;
    bool reused;
    upstream_health health;
} told;

#define site_until(s, condition) loop_until((s)->loop, condition)

static void site_faults(site *s, const char *text)
{
    sink_faults faults = {0};
    problem p = {0};
    if (text != NULL)
        assert_int_equal(sink_faults_add(&faults, slice_of_text(text), &p), 0);
    sink_set_faults(s->sink, &faults);
}

static int site_setup(void **state)
{
    problem p = {0};
    site *s = calloc(1, sizeof(*s));
    *state = s;
    if (s == NULL || smx_loop_new(NULL, &s->loop) != 0)
        return -1;
    loop_tick(s->loop, &s->tick);
    const sink_options options = {.listen = "127.0.0.1:0", .hostname = "sink.example"};
    if (sink_new(s->loop, &options, &s->sink, &p) != 0)
        return -1;
    s->options = (upstream_options){
        .name = "one", .host = "127.0.0.1", .port = sink_port(s->sink), .probe_ms = PERIOD};
    assert_int_equal(smx_mailbox_parse(SMX_SLICE("ann@example.com"), 0, &s->envelope.mail.path), 0);
    assert_int_equal(smx_mailbox_parse(SMX_SLICE("bob@example.org"), 0, &s->recipient.path), 0);
    s->envelope.recipients = &s->recipient;
    s->envelope.recipient_count = 1;
    return 0;
}

/* With the options as they are now. */
static void site_open(site *s)
{
    assert_int_equal(upstream_new(&s->options, NULL, &s->u), 0);
    assert_int_equal(
        upstream_pool_new(s->loop, s->u, &s->options, "mux.example", NULL, NULL, NULL, &s->pool),
        0);
}

static void site_on_closed(void *arg)
{
    site *s = arg;
    s->closed = true;
}

static int site_teardown(void **state)
{
    site *s = *state;
    if (!s->closed) {
        upstream_pool_close(s->pool, site_on_closed, s);
        site_until(s, s->closed);
    }
    upstream_pool_free(s->pool);
    upstream_free(s->u);
    sink_free(s->sink);
    uv_close((uv_handle_t *)&s->tick, NULL);
    loop_turn(s->loop);
    smx_loop_free(s->loop);
    free(s);
    return 0;
}

static void site_on_done(void *arg, const upstream_result *result)
{
    told *t = arg;
    t->calls++;
    t->outcome = result->client->outcome;
    t->phase = result->client->phase;
    t->error = result->client->error;
    t->code = result->client->reply.code;
    t->reused = result->reused;
    t->health = result->health;
}

static void site_begin(site *s, told *t)
{
    *t = (told){0};
    assert_int_equal(upstream_pool_probe(s->pool, site_on_done, t, &t->attempt), 0);
    assert_int_equal(t->calls, 0);
}

static void site_probe(site *s, told *t)
{
    site_begin(s, t);
    site_until(s, t->calls > 0);
}

static void site_submit(site *s, told *t)
{
    const upstream_request request = {
        .submission = {.envelope = &s->envelope, .header = SMX_SLICE("Subject: x\r\n\r\n")},
        .deadline = loop_now(s->loop) + 8000,
        .done = site_on_done,
        .arg = t,
    };
    *t = (told){0};
    assert_int_equal(upstream_pool_submit(s->pool, &request, &t->attempt), 0);
}

static void site_send(site *s, told *t)
{
    site_submit(s, t);
    site_until(s, t->calls > 0);
    assert_int_equal(t->outcome, SMX_OUTCOME_ACCEPTED);
    site_until(s, s->pool->connections[POOL_IDLE].count > 0);
}

static uint64_t site_total(const site *s, upstream_counter counter)
{
    return upstream_total(s->u, counter);
}

/* ---- the connection ---- */

static void probe__has_a_connection_of_its_own_which_it_closes(void **state)
{
    site *s = *state;
    told t;
    site_open(s);
    site_send(s, &t);
    for (uint64_t i = 1; i <= 3; i++) {
        site_probe(s, &t);
        assert_int_equal(t.outcome, SMX_OUTCOME_ACCEPTED);
        assert_int_equal(t.health, UPSTREAM_GREETED);
        assert_false(t.reused);
        assert_int_equal(site_total(s, UPSTREAM_COUNT_connections), 1 + i);
        site_until(s, s->pool->connections[POOL_CLOSING].count == 0);
        assert_int_equal(upstream_connections(s->u, UPSTREAM_IDLE), 1);
    }
    assert_int_equal(site_total(s, UPSTREAM_COUNT_attempts), 1);
    assert_int_equal(s->pool->holder.idle, 1);
}

static void probe__counts_nowhere(void **state)
{
    site *s = *state;
    told t;
    site_open(s);
    site_probe(s, &t);
    site_probe(s, &t);
    for (size_t i = 0; i < UPSTREAM_COUNTER_COUNT; i++)
        assert_int_equal(site_total(s, (upstream_counter)i),
                         i == UPSTREAM_COUNT_connections ? 2 : 0);
    for (size_t i = 0; i <= SMX_OUTCOME_GIVEN_UP; i++) {
        histogram_view view;
        upstream_times(s->u, (smx_outcome)i, &view);
        for (size_t b = 0; b <= HISTOGRAM_BOUNDS; b++)
            assert_int_equal(view.buckets[b], 0);
    }
    assert_int_equal(upstream_latency_us(s->u), 0);
}

static void probe__waits_for_no_permit(void **state)
{
    site *s = *state;
    told message;
    told t;
    s->options.max_connections = 1;
    site_open(s);
    site_faults(s, "mail:stall");
    site_submit(s, &message);
    site_probe(s, &t);
    assert_int_equal(t.outcome, SMX_OUTCOME_FAILED);
    assert_int_equal(t.error, SMX_E_BUSY);
    assert_int_equal(t.health, UPSTREAM_SILENT_ON_HEALTH);
    assert_int_equal(message.calls, 0);
    assert_int_equal(upstream_attempt_cancel(message.attempt), 0);
    site_until(s, message.calls > 0);
}

/* At each point of a probe: at rest where it stalls, and after some turns where it does not. */
static void probe__gives_way_to_a_message_that_waits(void **state)
{
    static const char *const faults[] = {"connect:stall", "ehlo:stall", NULL, NULL, NULL, NULL};
    site *s = *state;
    told message;
    told t;
    s->options.max_connections = 1;
    s->options.max_messages_per_connection = 1;
    site_open(s);
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        site_faults(s, faults[i]);
        site_begin(s, &t);
        for (size_t turn = 0; turn < 2 * i; turn++)
            loop_turn(s->loop);
        site_faults(s, NULL);
        site_submit(s, &message);
        site_until(s, message.calls > 0 && t.calls > 0);
        assert_int_equal(message.outcome, SMX_OUTCOME_ACCEPTED);
        if (faults[i] != NULL)
            assert_int_equal(t.outcome, SMX_OUTCOME_GIVEN_UP);
        assert_int_equal(t.calls, 1);
        assert_int_equal(s->pool->holder.idle, 0);
        site_until(s, s->pool->connections[POOL_CLOSING].count == 0);
    }
}

/* ---- failures ---- */

static void probe__a_closed_port_is_unreached(void **state)
{
    site *s = *state;
    told t;
    problem p = {0};
    site_open(s);
    assert_int_equal(sink_set_refusing(s->sink, true, &p), 0);
    loop_turn(s->loop); /* the listener is closed in it */
    site_probe(s, &t);
    assert_int_equal(t.outcome, SMX_OUTCOME_FAILED);
    assert_int_equal(t.phase, SMX_CLIENT_PHASE_CONNECT);
    assert_int_equal(t.health, UPSTREAM_UNREACHED);
}

static void probe__fails_where_the_server_does(void **state)
{
    static const struct {
        const char *fault;
        smx_client_phase phase;
        uint16_t code;
        upstream_health health;
    } cases[] = {
        {"connect:close", SMX_CLIENT_PHASE_BANNER, 0, UPSTREAM_UNREACHED},
        {"ehlo:421", SMX_CLIENT_PHASE_EHLO, 421, UPSTREAM_UNREACHED},
        {"ehlo:garbage", SMX_CLIENT_PHASE_EHLO, 0, UPSTREAM_UNREACHED},
        {"auth:535", SMX_CLIENT_PHASE_AUTH, 535, UPSTREAM_GREETED},
        {"auth:454", SMX_CLIENT_PHASE_AUTH, 454, UPSTREAM_GREETED},
    };
    site *s = *state;
    told t;
    s->options.user = "ann";
    s->options.password = "secret";
    site_open(s);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        site_faults(s, cases[i].fault);
        site_probe(s, &t);
        assert_int_equal(t.outcome, SMX_OUTCOME_FAILED);
        assert_int_equal(t.phase, cases[i].phase);
        assert_int_equal(t.code, cases[i].code);
        assert_int_equal(t.health, cases[i].health);
        assert_int_equal(t.calls, 1);
    }
    site_faults(s, NULL);
    site_probe(s, &t);
    assert_int_equal(t.outcome, SMX_OUTCOME_ACCEPTED);
}

/* ---- its end ---- */

static void probe__is_given_up_when_cancelled(void **state)
{
    static const char *const faults[] = {"connect:stall", "ehlo:stall", NULL};
    site *s = *state;
    told t;
    site_open(s);
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        site_faults(s, faults[i]);
        site_begin(s, &t);
        loop_turn(s->loop);
        if (t.calls == 0)
            assert_int_equal(upstream_attempt_cancel(t.attempt), 0);
        site_until(s, t.calls > 0);
        assert_int_equal(t.outcome, SMX_OUTCOME_GIVEN_UP);
        assert_int_equal(t.health, UPSTREAM_SILENT_ON_HEALTH);
    }
}

static void probe__ends_with_its_pool(void **state)
{
    site *s = *state;
    told t;
    site_open(s);
    site_faults(s, "ehlo:stall");
    site_begin(s, &t);
    loop_turn(s->loop);
    upstream_pool_close(s->pool, site_on_closed, s);
    upstream_pool_abort(s->pool);
    site_until(s, s->closed);
    assert_int_equal(t.calls, 1);
    assert_int_equal(t.outcome, SMX_OUTCOME_FAILED);
    assert_int_equal(upstream_pool_probe(s->pool, site_on_done, &t, &t.attempt), SMX_E_CLOSED);
}

/* ---- when, and by whom ---- */

static upstream *record_of(const upstream_options *options)
{
    upstream *u = NULL;
    assert_int_equal(upstream_new(options, NULL, &u), 0);
    return u;
}

static upstream_admission admit(upstream *u, uint64_t now, bool is_for_probe)
{
    upstream_admission admitted;
    const upstream_ask ask = {.now = now, .recipients = 1, .is_for_probe = is_for_probe};
    upstream_admit(u, &ask, &admitted);
    return admitted;
}

static upstream_news settle(upstream *u, upstream_admission *admitted, uint64_t now,
                            upstream_health health)
{
    uint64_t until;
    const upstream_settlement settlement = {.now = now, .health = health};
    return upstream_settle(u, admitted, &settlement, &until);
}

static void probe_due__never_without_a_period(void **state)
{
    (void)state;
    upstream_options options = {.name = "one", .host = "localhost"};
    upstream *u = record_of(&options);
    assert_int_equal(upstream_probe_due(u), UINT64_MAX);
    assert_false(upstream_probe_claim(u, UINT64_MAX - 1));
    options.probe_ms = PERIOD;
    upstream_configure(u, &options);
    assert_true(upstream_probe_due(u) <= clock_monotonic_ms() + PERIOD);
    options.probe_ms = 0;
    upstream_configure(u, &options);
    assert_int_equal(upstream_probe_due(u), UINT64_MAX);
    upstream_free(u);
}

static void probe_due__a_period_after_the_last_attempt_or_probe(void **state)
{
    (void)state;
    const upstream_options options = {.name = "one", .host = "localhost", .probe_ms = PERIOD};
    upstream *u = record_of(&options);
    uint64_t now = clock_monotonic_ms() + PERIOD;
    upstream_admission admitted = admit(u, now, false);
    assert_int_equal(upstream_probe_due(u), now + PERIOD);
    (void)settle(u, &admitted, now + 500, UPSTREAM_GREETED);
    assert_int_equal(upstream_probe_due(u), now + 500 + PERIOD);
    now += 500 + PERIOD;
    assert_false(upstream_probe_claim(u, now - 1));
    assert_true(upstream_probe_claim(u, now));
    assert_false(upstream_probe_claim(u, now + PERIOD));
    admitted = admit(u, now, true);
    assert_int_equal(admitted.usable, UPSTREAM_USABLE);
    assert_false(upstream_probe_claim(u, now + PERIOD));
    (void)settle(u, &admitted, now + 20, UPSTREAM_GREETED);
    assert_int_equal(upstream_probe_due(u), now + 20 + PERIOD);
    upstream_free(u);
}

static void probe_due__not_while_one_is_under_way_whatever_messages_do(void **state)
{
    (void)state;
    const upstream_options options = {.name = "one", .host = "localhost", .probe_ms = 1000};
    upstream *u = record_of(&options);
    uint64_t now = clock_monotonic_ms() + 1000;
    assert_true(upstream_probe_claim(u, now));
    upstream_admission probe = admit(u, now, true);
    upstream_admission message = admit(u, now + 10, false);
    (void)settle(u, &message, now + 20, UPSTREAM_GREETED);
    assert_false(upstream_probe_claim(u, now + 1020));
    assert_false(upstream_probe_claim(u, now + UPSTREAM_PROBE_MS));
    (void)settle(u, &probe, now + 1500, UPSTREAM_GREETED);
    assert_int_equal(upstream_probe_due(u), now + 2500);
    upstream_free(u);
}

static void probe_due__no_suspension_is_broken(void **state)
{
    (void)state;
    const upstream_options options = {.name = "one", .host = "localhost", .probe_ms = PERIOD};
    upstream *u = record_of(&options);
    uint64_t now = clock_monotonic_ms() + PERIOD;
    bool is_new;
    (void)upstream_suspend(u, now, 2 * PERIOD, &is_new);
    assert_true(upstream_probe_claim(u, now));
    assert_int_equal(admit(u, now, true).usable, UPSTREAM_SUSPENDED);
    assert_int_equal(upstream_probe_due(u), now + PERIOD);
    now += 2 * PERIOD;
    assert_true(upstream_probe_claim(u, now));
    assert_int_equal(admit(u, now, true).usable, UPSTREAM_USABLE);
    upstream_free(u);
}

static void probe_due__with_the_end_of_the_breakers_pause(void **state)
{
    (void)state;
    const upstream_options options = {.name = "one",
                                      .host = "localhost",
                                      .probe_ms = PERIOD,
                                      .breaker = {.failures = 1, .pause_ms = PERIOD + 1000}};
    upstream *u = record_of(&options);
    uint64_t now = clock_monotonic_ms() + PERIOD;
    assert_true(upstream_probe_claim(u, now));
    upstream_admission admitted = admit(u, now, true);
    assert_int_equal(settle(u, &admitted, now, UPSTREAM_UNREACHED), UPSTREAM_OPENED);
    now += PERIOD;
    assert_int_equal(upstream_probe_due(u), now);
    assert_true(upstream_probe_claim(u, now));
    assert_int_equal(admit(u, now, true).usable, UPSTREAM_BREAKER_OPEN);
    now += 1000;
    assert_int_equal(upstream_probe_due(u), now);
    assert_true(upstream_probe_claim(u, now));
    admitted = admit(u, now, true);
    assert_true(admitted.is_probe);
    assert_int_equal(admit(u, now, false).usable, UPSTREAM_BREAKER_OPEN);
    assert_int_equal(settle(u, &admitted, now, UPSTREAM_GREETED), UPSTREAM_CLOSED);
    assert_int_equal(admit(u, now, false).usable, UPSTREAM_USABLE);
    upstream_free(u);
}

static void probe_due__with_the_pause_that_a_message_began(void **state)
{
    (void)state;
    const upstream_options options = {.name = "one",
                                      .host = "localhost",
                                      .probe_ms = PERIOD,
                                      .breaker = {.failures = 2, .pause_ms = 1000}};
    upstream *u = record_of(&options);
    uint64_t now = clock_monotonic_ms() + PERIOD;
    upstream_admission first = admit(u, now, false);
    upstream_admission second = admit(u, now, false);
    upstream_admission third = admit(u, now, false);
    assert_int_equal(settle(u, &first, now, UPSTREAM_UNREACHED), UPSTREAM_NO_NEWS);
    assert_int_equal(upstream_probe_due(u), now + PERIOD);
    assert_int_equal(settle(u, &second, now, UPSTREAM_UNREACHED), UPSTREAM_OPENED);
    assert_int_equal(upstream_probe_due(u), now + 1000);
    assert_int_equal(settle(u, &third, now + 500, UPSTREAM_UNREACHED), UPSTREAM_NO_NEWS);
    assert_int_equal(upstream_probe_due(u), now + 1000);
    now += 1000;
    assert_true(upstream_probe_claim(u, now));
    upstream_admission probe = admit(u, now, true);
    assert_true(probe.is_probe);
    assert_int_equal(settle(u, &probe, now, UPSTREAM_UNREACHED), UPSTREAM_OPENED);
    assert_int_equal(upstream_probe_due(u), now + 2000);
    upstream_free(u);
}

static void probe_due__no_second_one_by_a_message_that_opens_the_breaker_or_a_reload(void **state)
{
    (void)state;
    upstream_options options = {.name = "one",
                                .host = "localhost",
                                .probe_ms = PERIOD,
                                .breaker = {.failures = 1, .pause_ms = 1000}};
    upstream *u = record_of(&options);
    uint64_t now = clock_monotonic_ms() + PERIOD;
    upstream_admission message = admit(u, now, false);
    assert_true(upstream_probe_claim(u, now + PERIOD));
    now += PERIOD;
    upstream_admission probe = admit(u, now, true);
    assert_int_equal(settle(u, &message, now, UPSTREAM_UNREACHED), UPSTREAM_OPENED);
    options.probe_ms = 1;
    upstream_configure(u, &options);
    assert_false(upstream_probe_claim(u, now + PERIOD));
    assert_int_equal(settle(u, &probe, now + 10, UPSTREAM_SILENT_ON_HEALTH), UPSTREAM_NO_NEWS);
    assert_int_equal(upstream_probe_due(u), now + 11);
    upstream_free(u);
}

static void probe_due__no_quota_is_asked(void **state)
{
    (void)state;
    quota_limit limit;
    problem p = {0};
    assert_int_equal(quota_limit_parse(SMX_SLICE("1/h"), &limit, &p), 0);
    const upstream_options options = {.name = "one",
                                      .host = "localhost",
                                      .probe_ms = PERIOD,
                                      .limits = {.items = &limit, .count = 1}};
    upstream *u = record_of(&options);
    uint64_t now = clock_monotonic_ms() + PERIOD;
    for (size_t i = 0; i < 3; i++) {
        upstream_admission probe = admit(u, now, true);
        assert_int_equal(probe.usable, UPSTREAM_USABLE);
        (void)settle(u, &probe, now, UPSTREAM_GREETED);
    }
    upstream_admission message = admit(u, now, false);
    assert_int_equal(message.usable, UPSTREAM_USABLE);
    assert_int_equal(admit(u, now, false).usable, UPSTREAM_QUOTA_FULL);
    assert_int_equal(admit(u, now, true).usable, UPSTREAM_USABLE);
    (void)settle(u, &message, now, UPSTREAM_GREETED);
    upstream_free(u);
}

/* ---- several workers ---- */

typedef struct crowd {
    upstream *u;
    _Atomic uint64_t now;
    _Atomic size_t arrived;
    _Atomic size_t claims;
} crowd;

/* All ask in each round, and nobody goes on before the others. */
static void *crowd_worker(void *arg)
{
    crowd *c = arg;
    for (size_t round = 1; round <= ROUNDS; round++) {
        uint64_t now = atomic_load(&c->now) + round * (PERIOD + UPSTREAM_PROBE_MS);
        if (upstream_probe_claim(c->u, now))
            (void)atomic_fetch_add(&c->claims, 1);
        (void)atomic_fetch_add(&c->arrived, 1);
        while (atomic_load(&c->arrived) < round * THREADS)
            (void)sched_yield();
    }
    return NULL;
}

static void probe_claim__is_one_workers(void **state)
{
    (void)state;
    const upstream_options options = {.name = "one", .host = "localhost", .probe_ms = PERIOD};
    pthread_t threads[THREADS];
    crowd c = {.u = record_of(&options)};
    atomic_store(&c.now, clock_monotonic_ms());
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, crowd_worker, &c), 0);
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(atomic_load(&c.claims), ROUNDS);
    upstream_free(c.u);
}

#define PROBE_TEST(name) cmocka_unit_test_setup_teardown(name, site_setup, site_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PROBE_TEST(probe__has_a_connection_of_its_own_which_it_closes),
        PROBE_TEST(probe__counts_nowhere),
        PROBE_TEST(probe__waits_for_no_permit),
        PROBE_TEST(probe__gives_way_to_a_message_that_waits),
        PROBE_TEST(probe__a_closed_port_is_unreached),
        PROBE_TEST(probe__fails_where_the_server_does),
        PROBE_TEST(probe__is_given_up_when_cancelled),
        PROBE_TEST(probe__ends_with_its_pool),
        cmocka_unit_test(probe_due__never_without_a_period),
        cmocka_unit_test(probe_due__a_period_after_the_last_attempt_or_probe),
        cmocka_unit_test(probe_due__not_while_one_is_under_way_whatever_messages_do),
        cmocka_unit_test(probe_due__no_suspension_is_broken),
        cmocka_unit_test(probe_due__with_the_end_of_the_breakers_pause),
        cmocka_unit_test(probe_due__with_the_pause_that_a_message_began),
        cmocka_unit_test(probe_due__no_second_one_by_a_message_that_opens_the_breaker_or_a_reload),
        cmocka_unit_test(probe_due__no_quota_is_asked),
        cmocka_unit_test(probe_claim__is_one_workers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
