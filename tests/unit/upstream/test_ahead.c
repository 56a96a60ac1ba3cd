/* Connections that are opened ahead of demand: when, and when not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <uv.h>

#include "app/sink.h"
#include "base/clock.h"
#include "support/loop_until.h"
#include "unit/net/test_certificates.h"
#include "upstream/pool_internal.h"

typedef struct site {
    smx_loop *loop;
    uv_timer_t tick;
    sink *sink;
    sink_options sink_options;
    test_certificates *files; /* NULL: no TLS */
    smx_client_tls *tls;
    upstream_options options;
    upstream *u;
    upstream_pool *pools[2]; /* of two workers, but on one loop; the second one may be missing */
    size_t closed;
    smx_envelope envelope;
    smx_rcpt recipient;
    uint32_t data_ms;
} site;

/* One attempt's end. */
typedef struct told {
    upstream_attempt *attempt;
    bool is_over;
    smx_outcome outcome;
    uint16_t code;
    bool reused;
    uint32_t tries;
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
    site *s = calloc(1, sizeof(*s));
    *state = s;
    if (s == NULL || smx_loop_new(NULL, &s->loop) != 0)
        return -1;
    loop_tick(s->loop, &s->tick);
    s->sink_options = (sink_options){.listen = "127.0.0.1:0", .hostname = "sink.example"};
    s->options = (upstream_options){.name = "one", .host = "127.0.0.1", .open_ahead = true};
    assert_int_equal(smx_mailbox_parse(SMX_SLICE("ann@example.com"), 0, &s->envelope.mail.path), 0);
    assert_int_equal(smx_mailbox_parse(SMX_SLICE("bob@example.org"), 0, &s->recipient.path), 0);
    s->envelope.recipients = &s->recipient;
    s->envelope.recipient_count = 1;
    return 0;
}

static void site_add_pool(site *s, size_t index)
{
    assert_int_equal(upstream_pool_new(s->loop, s->u, &s->options, "mux.example", s->tls, NULL,
                                       NULL, &s->pools[index]),
                     0);
}

/* With the options as they are now. */
static void site_open(site *s)
{
    problem p = {0};
    assert_int_equal(sink_new(s->loop, &s->sink_options, &s->sink, &p), 0);
    s->options.port = sink_port(s->sink);
    assert_int_equal(upstream_new(&s->options, NULL, &s->u), 0);
    site_add_pool(s, 0);
}

static void site_on_closed(void *arg)
{
    site *s = arg;
    s->closed++;
}

static void site_close(site *s, size_t index)
{
    size_t closed = s->closed;
    upstream_pool_close(s->pools[index], site_on_closed, s);
    site_until(s, s->closed > closed);
    upstream_pool_free(s->pools[index]);
    s->pools[index] = NULL;
}

static uint32_t site_permits(const site *s)
{
    upstream_status status;
    upstream_get_status(s->u, loop_now(s->loop), &status);
    return status.connections;
}

/* No permit is ever lost. */
static int site_teardown(void **state)
{
    site *s = *state;
    for (size_t i = 0; i < 2; i++)
        if (s->pools[i] != NULL)
            site_close(s, i);
    assert_int_equal(site_permits(s), 0);
    upstream_free(s->u);
    sink_free(s->sink);
    smx_client_tls_free(s->tls);
    if (s->files != NULL)
        test_certificates_free(s->files);
    uv_close((uv_handle_t *)&s->tick, NULL);
    loop_turn(s->loop);
    smx_loop_free(s->loop);
    free(s);
    return 0;
}

static void site_on_done(void *arg, const upstream_result *result)
{
    told *t = arg;
    assert_false(t->is_over);
    t->is_over = true;
    t->outcome = result->client->outcome;
    t->code = result->client->reply.code;
    t->reused = result->reused;
    t->tries = result->tries;
}

static void site_submit(site *s, size_t pool, told *t)
{
    upstream_request request = {
        .submission = {.envelope = &s->envelope,
                       .header = SMX_SLICE("Subject: x\r\n\r\n"),
                       .all_or_nothing = true},
        .deadline = loop_now(s->loop) + 8000,
        .data_ms = s->data_ms,
        .done = site_on_done,
        .arg = t,
    };
    *t = (told){0};
    assert_int_equal(upstream_pool_submit(s->pools[pool], &request, &t->attempt), 0);
}

static told site_send(site *s)
{
    told t;
    site_submit(s, 0, &t);
    site_until(s, t.is_over);
    return t;
}

static size_t site_count(const site *s, pool_state state)
{
    return s->pools[0]->connections[state].count;
}

static uint64_t site_total(const site *s, upstream_counter counter)
{
    return upstream_total(s->u, counter);
}

/* Turns that change nothing. */
static void site_linger(site *s)
{
    for (int turns = 0; turns < 20; turns++)
        loop_turn(s->loop);
}

/* A server that takes one message a connection: the second message finds none. */
static void site_miss(site *s)
{
    s->options.max_messages_per_connection = 1;
    site_open(s);
    for (size_t i = 0; i < 2; i++) {
        told t = site_send(s);
        assert_int_equal(t.outcome, SMX_OUTCOME_ACCEPTED);
        assert_false(t.reused);
    }
}

/* ---- when ---- */

static void ahead__messages_that_need_not_wait_have_none_opened(void **state)
{
    site *s = *state;
    site_open(s);
    for (size_t i = 0; i < 5; i++) {
        (void)site_send(s);
        site_until(s, site_count(s, POOL_IDLE) == 1);
    }
    site_linger(s);
    assert_int_equal(site_total(s, UPSTREAM_COUNT_connections), 1);
    assert_int_equal(site_total(s, UPSTREAM_COUNT_opened_ahead), 0);
}

static void ahead__the_message_behind_one_that_waited_finds_one(void **state)
{
    site *s = *state;
    site_miss(s);
    for (uint64_t i = 1; i < 5; i++) {
        site_until(s, site_count(s, POOL_IDLE) == 1);
        site_until(s, site_count(s, POOL_CLOSING) == 0);
        assert_int_equal(site_permits(s), 1);
        assert_int_equal(site_total(s, UPSTREAM_COUNT_opened_ahead), i);
        told t = site_send(s);
        assert_int_equal(t.outcome, SMX_OUTCOME_ACCEPTED);
        assert_true(t.reused);
        assert_int_equal(t.tries, 1);
    }
    assert_int_equal(site_total(s, UPSTREAM_COUNT_attempts), 6);
    assert_int_equal(site_total(s, UPSTREAM_COUNT_accepted), 6);
}

static void ahead__one_behind_a_burst_and_no_more(void **state)
{
    site *s = *state;
    told t[5];
    site_open(s);
    for (size_t i = 0; i < 5; i++)
        site_submit(s, 0, &t[i]);
    for (size_t i = 0; i < 5; i++)
        site_until(s, t[i].is_over);
    site_until(s, site_count(s, POOL_IDLE) == 6);
    site_linger(s);
    assert_int_equal(site_total(s, UPSTREAM_COUNT_connections), 6);
    assert_int_equal(site_total(s, UPSTREAM_COUNT_opened_ahead), 1);
}

/* One is being opened by a slow server, for which a message waits, too; and it is connected. */
static pool_connection *site_open_slowly(site *s, told *waits)
{
    s->sink_options.latency_ms = 100;
    s->options.max_messages_per_connection = 1;
    site_open(s);
    (void)site_send(s);
    site_submit(s, 0, waits);
    site_until(s, s->pools[0]->ahead != NULL && s->pools[0]->ahead->connection != NULL);
    pool_connection *c = s->pools[0]->ahead->connection;
    smx_client_info info = {0};
    while (info.connected_at == 0) {
        loop_turn(s->loop);
        smx_client_get_info(c->client, &info);
    }
    return c;
}

static void ahead__a_message_takes_over_the_one_that_is_being_opened(void **state)
{
    site *s = *state;
    told t[2];
    const pool_connection *c = site_open_slowly(s, &t[0]);
    site_submit(s, 0, &t[1]);
    assert_null(s->pools[0]->ahead);
    assert_ptr_equal(t[1].attempt->connection, c);
    site_until(s, t[0].is_over && t[1].is_over);
    assert_int_equal(t[1].outcome, SMX_OUTCOME_ACCEPTED);
    assert_false(t[1].reused);
}

/* The time before it came is not the message's. */
static void ahead__one_that_was_taken_over_has_the_messages_time(void **state)
{
    site *s = *state;
    told t[2];
    (void)site_open_slowly(s, &t[0]);
    site_faults(s, "ehlo:stall");
    site_until(s, t[0].is_over); /* longer than the other one may take */
    assert_non_null(s->pools[0]->ahead);
    s->data_ms = 200;
    uint64_t from = clock_monotonic_ms();
    site_submit(s, 0, &t[1]);
    assert_null(s->pools[0]->ahead);
    site_until(s, t[1].is_over);
    assert_true(clock_monotonic_ms() - from >= 190);
    assert_int_equal(t[1].outcome, SMX_OUTCOME_FAILED);
}

static void ahead__not_unless_configured(void **state)
{
    site *s = *state;
    s->options.open_ahead = false;
    site_miss(s);
    (void)site_send(s);
    site_linger(s);
    assert_int_equal(site_total(s, UPSTREAM_COUNT_connections), 3);
}

static void ahead__a_reload_that_says_so_ends_it(void **state)
{
    site *s = *state;
    site_miss(s);
    site_until(s, site_count(s, POOL_IDLE) == 1);
    s->options.open_ahead = false;
    upstream_pool_configure(s->pools[0], &s->options);
    assert_true(site_send(s).reused);
    site_linger(s);
    assert_int_equal(site_total(s, UPSTREAM_COUNT_connections), 3);
}

/* ---- when not ---- */

static void ahead__never_above_max_connections(void **state)
{
    site *s = *state;
    told t[8];
    s->options.max_connections = 2;
    site_open(s);
    for (size_t i = 0; i < 8; i++)
        site_submit(s, 0, &t[i]);
    for (size_t i = 0; i < 8; i++) {
        site_until(s, t[i].is_over);
        assert_true(site_permits(s) <= 2);
        assert_int_equal(t[i].outcome, SMX_OUTCOME_ACCEPTED);
    }
    assert_int_equal(site_total(s, UPSTREAM_COUNT_opened_ahead), 0);
    assert_int_equal(site_total(s, UPSTREAM_COUNT_connections), 2);
}

static void ahead__it_gives_way_to_a_message_of_another_worker(void **state)
{
    site *s = *state;
    told t;
    s->options.max_connections = 2;
    s->options.max_messages_per_connection = 1;
    site_open(s);
    (void)site_send(s);
    site_faults(s, "dot:stall");
    site_submit(s, 0, &t); /* a miss, which keeps its connection */
    site_until(s, s->pools[0]->ahead != NULL || site_count(s, POOL_IDLE) == 1);
    site_faults(s, NULL);
    site_add_pool(s, 1);
    told other;
    site_submit(s, 1, &other);
    site_until(s, other.is_over);
    assert_int_equal(other.outcome, SMX_OUTCOME_ACCEPTED);
    assert_null(s->pools[0]->ahead);
    assert_int_equal(site_count(s, POOL_IDLE), 0);
    upstream_pool_abort(s->pools[0]);
    site_until(s, t.is_over);
}

static void ahead__not_while_the_upstream_is_suspended(void **state)
{
    site *s = *state;
    bool is_new;
    s->options.max_messages_per_connection = 1;
    site_open(s);
    (void)site_send(s);
    (void)upstream_suspend(s->u, loop_now(s->loop), 1000000, &is_new);
    (void)site_send(s);
    (void)site_send(s);
    site_linger(s);
    assert_int_equal(site_total(s, UPSTREAM_COUNT_connections), 3);
    (void)upstream_resume(s->u);
    (void)site_send(s);
    site_until(s, site_count(s, POOL_IDLE) == 1);
    assert_int_equal(site_total(s, UPSTREAM_COUNT_opened_ahead), 1);
}

/* What the provider does then is nobody's fault, and tried once. */
static void ahead__a_failure_is_nobodys_and_ends_it(void **state)
{
    site *s = *state;
    site_miss(s);
    site_until(s, site_count(s, POOL_IDLE) == 1);
    site_faults(s, "connect:421");
    assert_int_equal(site_send(s).outcome, SMX_OUTCOME_ACCEPTED);
    site_until(s, !s->pools[0]->ahead_is_wanted);
    site_linger(s);
    upstream_status status;
    upstream_get_status(s->u, loop_now(s->loop), &status);
    assert_int_equal(status.failures, 0);
    assert_int_equal(site_total(s, UPSTREAM_COUNT_connections), 4);
    assert_int_equal(site_total(s, UPSTREAM_COUNT_attempts), 3);
    assert_int_equal(site_total(s, UPSTREAM_COUNT_failed), 0);
    site_faults(s, NULL);
    assert_false(site_send(s).reused); /* who had to wait says that it is wanted again */
    site_until(s, site_count(s, POOL_IDLE) == 1);
}

static void ahead__unused_it_is_closed_and_not_opened_again(void **state)
{
    site *s = *state;
    told t[2];
    s->options.idle_ms = 100;
    site_open(s);
    site_submit(s, 0, &t[0]);
    site_submit(s, 0, &t[1]);
    site_until(s, t[0].is_over && t[1].is_over);
    site_until(s, site_count(s, POOL_IDLE) == 3);
    assert_true(s->pools[0]->ahead_is_wanted);
    site_until(s, site_permits(s) == 0);
    assert_false(s->pools[0]->ahead_is_wanted);
    (void)site_send(s);
    site_linger(s);
    assert_int_equal(site_total(s, UPSTREAM_COUNT_connections), 4);
}

static void ahead__messages_far_apart_have_none_opened(void **state)
{
    site *s = *state;
    s->options.idle_ms = 1;
    s->options.max_messages_per_connection = 1;
    site_open(s);
    for (size_t i = 0; i < 4; i++) {
        (void)site_send(s);
        site_linger(s);
    }
    assert_int_equal(site_total(s, UPSTREAM_COUNT_connections), 4);
}

/* ---- the end ---- */

static void run_end(site *s, void (*end)(site *s))
{
    site_miss(s);
    site_until(s, site_count(s, POOL_IDLE) == 1);
    site_faults(s, "ehlo:stall");
    (void)site_send(s);
    site_until(s, site_count(s, POOL_OPENING) == 1);
    end(s);
}

static void end_by_close(site *s)
{
    site_close(s, 0);
}

static void ahead__the_pools_end_does_not_wait_for_it(void **state)
{
    run_end(*state, end_by_close);
}

static void end_by_stop(site *s)
{
    ahead_stop(s->pools[0]);
    site_until(s, s->pools[0]->ahead == NULL);
    site_until(s, site_permits(s) == 0);
    site_faults(s, NULL);
    (void)site_send(s);
    (void)site_send(s);
    site_linger(s);
    assert_int_equal(site_total(s, UPSTREAM_COUNT_connections), 6);
}

static void ahead__when_the_end_is_near_none_is_opened(void **state)
{
    run_end(*state, end_by_stop);
}

/* ---- sessions of TLS ---- */

static void ahead__tls_sessions_are_resumed(void **state)
{
    site *s = *state;
    s->files = test_certificates_new();
    const tls_certificate own = test_certificates_make(
        s->files, "server",
        &(test_certificate_spec){.common_name = "server", .names = "IP:127.0.0.1"});
    s->sink_options.cert_file = own.cert_file;
    s->sink_options.key_file = own.key_file;
    s->options.tls = SMX_TLS_REQUIRED;
    assert_int_equal(smx_client_tls_new(test_certificates_ca(s->files), NULL, NULL, &s->tls, NULL),
                     0);
    site_miss(s);
    site_until(s, site_count(s, POOL_IDLE) == 1);
    assert_int_equal(site_total(s, UPSTREAM_COUNT_connections), 3);
    assert_int_equal(site_total(s, UPSTREAM_COUNT_resumed), 2);
}

#define AHEAD_TEST(name) cmocka_unit_test_setup_teardown(name, site_setup, site_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        AHEAD_TEST(ahead__messages_that_need_not_wait_have_none_opened),
        AHEAD_TEST(ahead__the_message_behind_one_that_waited_finds_one),
        AHEAD_TEST(ahead__one_behind_a_burst_and_no_more),
        AHEAD_TEST(ahead__a_message_takes_over_the_one_that_is_being_opened),
        AHEAD_TEST(ahead__one_that_was_taken_over_has_the_messages_time),
        AHEAD_TEST(ahead__not_unless_configured),
        AHEAD_TEST(ahead__a_reload_that_says_so_ends_it),
        AHEAD_TEST(ahead__never_above_max_connections),
        AHEAD_TEST(ahead__it_gives_way_to_a_message_of_another_worker),
        AHEAD_TEST(ahead__not_while_the_upstream_is_suspended),
        AHEAD_TEST(ahead__a_failure_is_nobodys_and_ends_it),
        AHEAD_TEST(ahead__unused_it_is_closed_and_not_opened_again),
        AHEAD_TEST(ahead__messages_far_apart_have_none_opened),
        AHEAD_TEST(ahead__the_pools_end_does_not_wait_for_it),
        AHEAD_TEST(ahead__when_the_end_is_near_none_is_opened),
        AHEAD_TEST(ahead__tls_sessions_are_resumed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
