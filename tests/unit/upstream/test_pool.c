/* A pool against a sink: which connection an attempt gets, and how it ends. */
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
#include "upstream/pool_internal.h"

enum { ATTEMPTS = 200 };

typedef struct site {
    smx_loop *loop;
    uv_timer_t tick;
    sink *sink;
    upstream_options options;
    upstream *u;
    upstream_pool *pool;
    smx_envelope envelope;
    smx_rcpt recipient;
    smx_slice header;
    size_t taken; /* messages that the sink took */
    size_t told;
    bool closed;
    upstream_rule rule; /* `rule_count` of them: what replies mean */
    size_t rule_count;
} site;

/* One attempt's end. */
typedef struct told {
    site *s;
    upstream_attempt *attempt;
    size_t turn; /* 0: not told yet */
    smx_outcome outcome;
    int error;
    uint16_t code;
    bool reused;
    bool unsuitable;
    uint32_t tries;
    size_t recipients; /* in steps: those that have their reply */
    uint16_t recipient_code;
} told;

#define site_until(s, condition) loop_until((s)->loop, condition)

static void site_on_message(void *arg, const sink_record *record)
{
    site *s = arg;
    (void)record;
    s->taken++;
}

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
    const sink_options options = {.listen = "127.0.0.1:0",
                                  .hostname = "sink.example",
                                  .max_size = 1000,
                                  .on_message = site_on_message,
                                  .arg = s};
    if (sink_new(s->loop, &options, &s->sink, &p) != 0)
        return -1;
    s->options = (upstream_options){.name = "one", .host = "127.0.0.1", .port = sink_port(s->sink)};
    assert_int_equal(smx_mailbox_parse(SMX_SLICE("ann@example.com"), 0, &s->envelope.mail.path), 0);
    assert_int_equal(smx_mailbox_parse(SMX_SLICE("bob@example.org"), 0, &s->recipient.path), 0);
    s->header = SMX_SLICE("Subject: x\r\n\r\n");
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
    assert_int_equal(t->turn, 0);
    t->turn = ++t->s->told;
    t->outcome = result->client->outcome;
    t->error = result->client->error;
    t->code = result->client->reply.code;
    t->reused = result->reused;
    t->unsuitable = result->unsuitable != NULL;
    t->tries = result->tries;
}

static void site_submit_within(site *s, told *t, uint64_t patience)
{
    upstream_request request = {
        .submission = {.envelope = &s->envelope, .header = s->header, .all_or_nothing = true},
        .deadline = loop_now(s->loop) + patience,
        .rules = &s->rule,
        .rule_count = s->rule_count,
        .done = site_on_done,
        .arg = t,
    };
    *t = (told){.s = s};
    assert_int_equal(upstream_pool_submit(s->pool, &request, &t->attempt), 0);
    assert_int_equal(t->turn, 0);
}

static void site_submit(site *s, told *t)
{
    site_submit_within(s, t, 8000);
}

static void site_send(site *s, told *t)
{
    site_submit(s, t);
    site_until(s, t->turn > 0);
}

static uint64_t site_connections(const site *s)
{
    return upstream_total(s->u, UPSTREAM_COUNT_connections);
}

/* ---- connections ---- */

static void pool__a_connection_is_used_again(void **state)
{
    site *s = *state;
    told t[2];
    site_open(s);
    for (size_t i = 0; i < 2; i++) {
        site_send(s, &t[i]);
        assert_int_equal(t[i].outcome, SMX_OUTCOME_ACCEPTED);
        assert_int_equal(t[i].reused, i == 1);
        site_until(s, s->pool->connections[POOL_IDLE].count == 1);
    }
    assert_int_equal(site_connections(s), 1);
    assert_int_equal(upstream_total(s->u, UPSTREAM_COUNT_reused), 1);
}

static void pool__a_connection_ends_after_its_share_of_messages(void **state)
{
    site *s = *state;
    told t;
    s->options.max_messages_per_connection = 2;
    site_open(s);
    for (size_t i = 0; i < 4; i++) {
        site_send(s, &t);
        assert_int_equal(t.reused, i % 2 == 1);
    }
    assert_int_equal(site_connections(s), 2);
}

static void run_sweep(site *s)
{
    told t;
    site_open(s);
    site_send(s, &t);
    site_until(s, s->pool->connections[POOL_IDLE].count == 1);
    site_until(s, s->pool->connections[POOL_IDLE].count == 0);
    site_until(s, s->pool->connections[POOL_CLOSING].count == 0);
    assert_int_equal(s->pool->holder.idle, 0);
}

static void pool__an_idle_connection_is_closed(void **state)
{
    site *s = *state;
    s->options.idle_ms = 100;
    run_sweep(s);
}

static void pool__an_old_connection_is_closed(void **state)
{
    site *s = *state;
    s->options.max_age_ms = 200;
    run_sweep(s);
}

static void pool__one_connection_serves_all_in_their_order(void **state)
{
    site *s = *state;
    told t[ATTEMPTS];
    s->options.max_connections = 1;
    s->options.max_messages_per_connection = ATTEMPTS;
    site_open(s);
    for (size_t i = 0; i < ATTEMPTS; i++)
        site_submit(s, &t[i]);
    site_until(s, s->told == ATTEMPTS);
    for (size_t i = 0; i < ATTEMPTS; i++) {
        assert_int_equal(t[i].outcome, SMX_OUTCOME_ACCEPTED);
        assert_int_equal(t[i].turn, i + 1);
    }
    assert_int_equal(site_connections(s), 1);
    assert_int_equal(s->taken, ATTEMPTS);
}

/* None of them is in the stack of another. */
static void pool__many_that_the_server_cannot_take_are_told_one_by_one(void **state)
{
    site *s = *state;
    enum { MANY = 20000 };
    told *t = calloc(MANY, sizeof(*t));
    s->options.max_connections = 1;
    site_open(s);
    static char large[2000];
    s->header = slice_of(large, sizeof(large));
    for (size_t i = 0; i < MANY; i++)
        site_submit(s, &t[i]);
    site_until(s, s->told == MANY);
    for (size_t i = 0; i < MANY; i++) {
        assert_int_equal(t[i].outcome, SMX_OUTCOME_REFUSED);
        assert_int_equal(t[i].code, 552);
        assert_true(t[i].unsuitable);
    }
    assert_int_equal(site_connections(s), 1);
    free(t);
}

/* ---- tried again ---- */

static void pool__a_reused_connection_that_was_lost_is_replaced(void **state)
{
    site *s = *state;
    told t;
    site_open(s);
    site_send(s, &t);
    site_until(s, s->pool->connections[POOL_IDLE].count == 1);
    site_faults(s, "mail:reset");
    site_send(s, &t);
    assert_int_equal(t.outcome, SMX_OUTCOME_FAILED); /* the fresh one is lost too */
    assert_false(t.reused);
    assert_int_equal(t.tries, 2);
    assert_int_equal(site_connections(s), 2);
}

/* Its end was seen by the client in this turn, and by the pool it will be. */
static void pool__a_dead_idle_connection_is_passed_over(void **state)
{
    site *s = *state;
    told t;
    site_open(s);
    site_send(s, &t);
    site_until(s, s->pool->connections[POOL_IDLE].count == 1);
    pool_connection *c = list_member(s->pool->connections[POOL_IDLE].first, pool_connection, node);
    smx_client_close(c->client);
    site_send(s, &t);
    assert_int_equal(t.outcome, SMX_OUTCOME_ACCEPTED);
    assert_false(t.reused);
    assert_int_equal(s->taken, 2);
}

static void pool__421_is_tried_once_more(void **state)
{
    site *s = *state;
    told t;
    site_open(s);
    site_faults(s, "mail:421");
    site_send(s, &t);
    assert_int_equal(t.outcome, SMX_OUTCOME_FAILED);
    assert_int_equal(t.code, 421);
    assert_int_equal(t.tries, 2);
    assert_int_equal(site_connections(s), 2);
}

static void pool__421_that_a_rule_names_is_not_tried_again(void **state)
{
    site *s = *state;
    told t;
    site_open(s);
    site_faults(s, "mail:421");
    s->rule_count = 1;
    assert_int_equal(upstream_rule_parse(SMX_SLICE("421 *nothing alike*"), &s->rule, NULL), 0);
    site_send(s, &t);
    assert_int_equal(t.tries, 2);
    assert_int_equal(upstream_rule_parse(SMX_SLICE("421 *demand*"), &s->rule, NULL), 0);
    site_send(s, &t);
    assert_int_equal(t.code, 421);
    assert_int_equal(t.tries, 1);
}

static void pool__a_refusal_is_not_tried_again(void **state)
{
    site *s = *state;
    told t;
    site_open(s);
    site_faults(s, "rcpt:550");
    site_send(s, &t);
    assert_int_equal(t.outcome, SMX_OUTCOME_REFUSED);
    assert_int_equal(t.tries, 1);
}

static void pool__lost_behind_the_dot_is_unknown_and_not_tried_again(void **state)
{
    site *s = *state;
    told t;
    site_open(s);
    site_faults(s, "after-dot:close");
    site_send(s, &t);
    assert_int_equal(t.outcome, SMX_OUTCOME_UNKNOWN);
    assert_int_equal(t.tries, 1);
}

/* ---- deadlines, cancel, the end ---- */

static void pool__the_deadline_ends_the_waiting_for_a_permit(void **state)
{
    site *s = *state;
    told t[2];
    s->options.max_connections = 1;
    site_open(s);
    site_faults(s, "mail:stall");
    site_submit(s, &t[0]);
    site_submit_within(s, &t[1], 100);
    site_until(s, t[1].turn > 0);
    assert_int_equal(t[1].outcome, SMX_OUTCOME_FAILED);
    assert_int_equal(t[1].error, SMX_E_TIMEOUT);
    assert_int_equal(t[0].turn, 0);
    assert_int_equal(upstream_attempt_cancel(t[0].attempt), 0);
    site_until(s, t[0].turn > 0);
    assert_int_equal(t[0].outcome, SMX_OUTCOME_GIVEN_UP);
}

/* A server that accepts and says nothing: nobody waits for it to close. */
static void pool__a_silent_server_is_left_at_the_deadline(void **state)
{
    site *s = *state;
    told t;
    site_open(s);
    site_faults(s, "connect:stall");
    uint64_t before = clock_monotonic_ms();
    site_submit_within(s, &t, 200);
    site_until(s, t.turn > 0);
    assert_int_equal(t.outcome, SMX_OUTCOME_FAILED);
    assert_int_equal(t.error, SMX_E_TIMEOUT);
    assert_true(clock_monotonic_ms() - before < 2000);
}

/* From the connect on, not from the connect's limit on (DESIGN 4.2). */
static void pool__the_time_to_data_counts_from_the_connect(void **state)
{
    site *s = *state;
    told t = {.s = s};
    site_open(s);
    site_faults(s, "ehlo:stall");
    uint64_t before = clock_monotonic_ms();
    upstream_request request = {
        .submission = {.envelope = &s->envelope, .header = SMX_SLICE("\r\n")},
        .deadline = loop_now(s->loop) + 9000,
        .connect_ms = 5000,
        .data_ms = 200,
        .done = site_on_done,
        .arg = &t,
    };
    assert_int_equal(upstream_pool_submit(s->pool, &request, &t.attempt), 0);
    site_until(s, t.turn > 0);
    assert_int_equal(t.error, SMX_E_TIMEOUT);
    assert_true(clock_monotonic_ms() - before < 2000);
}

static void pool__cancel_works_in_each_state(void **state)
{
    site *s = *state;
    static const char *const stalls[] = {"connect:stall", "ehlo:stall", "mail:stall", "rcpt:stall"};
    told t[2];
    s->options.max_connections = 1;
    site_open(s);
    for (size_t i = 0; i < sizeof(stalls) / sizeof(stalls[0]); i++) {
        site_faults(s, stalls[i]);
        site_submit(s, &t[0]);
        site_submit(s, &t[1]); /* waits for the permit */
        for (int turns = 0; turns < 20; turns++)
            loop_turn(s->loop);
        for (size_t k = 2; k-- > 0;) {
            assert_int_equal(t[k].turn, 0);
            assert_int_equal(upstream_attempt_cancel(t[k].attempt), 0);
            assert_int_equal(t[k].turn, 0);
            site_until(s, t[k].turn > 0);
            assert_int_equal(t[k].outcome, SMX_OUTCOME_GIVEN_UP);
        }
    }
    site_faults(s, NULL);
    site_send(s, &t[0]); /* no permit was lost */
    assert_int_equal(t[0].outcome, SMX_OUTCOME_ACCEPTED);
}

static void pool__cancel_behind_the_dot_comes_too_late(void **state)
{
    site *s = *state;
    told t;
    site_open(s);
    site_faults(s, "dot:stall");
    site_submit(s, &t);
    smx_client_info info = {0};
    while (info.phase != SMX_CLIENT_PHASE_FINAL) {
        loop_turn(s->loop);
        if (t.attempt->connection != NULL)
            smx_client_get_info(t.attempt->connection->client, &info);
    }
    assert_int_equal(upstream_attempt_cancel(t.attempt), SMX_E_LATE);
    upstream_pool_abort(s->pool);
    site_until(s, t.turn > 0);
    assert_int_equal(t.outcome, SMX_OUTCOME_UNKNOWN);
}

/* A reused connection that is cut off is not replaced by a fresh one. */
static void pool__abort_ends_every_attempt_and_tries_nothing_again(void **state)
{
    site *s = *state;
    told t[3];
    s->options.max_connections = 1;
    site_open(s);
    site_send(s, &t[0]);
    site_until(s, s->pool->connections[POOL_IDLE].count == 1);
    site_faults(s, "mail:stall");
    for (size_t i = 0; i < 3; i++)
        site_submit(s, &t[i]);
    upstream_pool_close(s->pool, site_on_closed, s);
    for (int turns = 0; turns < 20; turns++)
        loop_turn(s->loop);
    assert_false(s->closed);
    upstream_pool_abort(s->pool);
    site_until(s, s->closed);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(t[i].outcome, SMX_OUTCOME_FAILED);
    assert_int_equal(site_connections(s), 1);
}

static void pool__close_waits_for_attempts_and_takes_no_more(void **state)
{
    site *s = *state;
    told t[2];
    s->options.max_connections = 1;
    site_open(s);
    site_submit(s, &t[0]);
    site_submit(s, &t[1]);
    upstream_pool_close(s->pool, site_on_closed, s);
    upstream_request request = {.submission = {.envelope = &s->envelope}};
    upstream_attempt *attempt;
    assert_int_equal(upstream_pool_submit(s->pool, &request, &attempt), SMX_E_CLOSED);
    site_until(s, s->closed);
    assert_int_equal(t[0].outcome, SMX_OUTCOME_ACCEPTED);
    assert_int_equal(t[1].outcome, SMX_OUTCOME_ACCEPTED);
}

/* ---- in steps ---- */

static void site_on_recipient(void *arg, size_t index, const smx_reply *reply)
{
    told *t = arg;
    assert_int_equal(index, t->recipients);
    t->recipients++;
    t->recipient_code = reply->code;
}

static smx_submission site_step(const site *s, smx_submission_stage stage)
{
    return (smx_submission){.envelope = &s->envelope,
                            .header = s->header,
                            .all_or_nothing = stage == SMX_SUBMISSION_WHOLE,
                            .stage = stage};
}

/* Begins with one recipient. */
static void site_begin(site *s, told *t, uint32_t data_ms)
{
    upstream_request request = {
        .submission = site_step(s, SMX_SUBMISSION_RECIPIENTS),
        .deadline = loop_now(s->loop) + 8000,
        .data_ms = data_ms,
        .done = site_on_done,
        .recipient = site_on_recipient,
        .arg = t,
    };
    *t = (told){.s = s};
    assert_int_equal(upstream_pool_submit(s->pool, &request, &t->attempt), 0);
}

static int site_advance(site *s, told *t, smx_submission_stage stage)
{
    smx_submission submission = site_step(s, stage);
    return upstream_attempt_advance(t->attempt, &submission, loop_now(s->loop) + 8000);
}

static void site_pause(site *s, uint64_t ms)
{
    uint64_t until = clock_monotonic_ms() + ms;
    while (clock_monotonic_ms() < until)
        loop_turn(s->loop);
}

static void pool_steps__the_owners_pauses_do_not_count(void **state)
{
    site *s = *state;
    told t;
    site_open(s);
    site_begin(s, &t, 150);
    site_until(s, t.recipients == 1);
    assert_int_equal(t.recipient_code, 250);
    site_pause(s, 400);
    assert_int_equal(site_advance(s, &t, SMX_SUBMISSION_DATA), 0);
    site_pause(s, 400);
    assert_int_equal(site_advance(s, &t, SMX_SUBMISSION_BODY), 0);
    site_pause(s, 400);
    assert_int_equal(t.turn, 0);
    assert_int_equal(site_advance(s, &t, SMX_SUBMISSION_WHOLE), 0);
    site_until(s, t.turn > 0);
    assert_int_equal(t.outcome, SMX_OUTCOME_ACCEPTED);
    assert_int_equal(s->taken, 1);
}

static void pool_steps__the_servers_do(void **state)
{
    site *s = *state;
    told t;
    site_open(s);
    site_faults(s, "data:stall");
    site_begin(s, &t, 150);
    site_until(s, t.recipients == 1);
    site_pause(s, 300);
    uint64_t from = clock_monotonic_ms();
    assert_int_equal(site_advance(s, &t, SMX_SUBMISSION_DATA), 0);
    site_until(s, t.turn > 0);
    assert_true(clock_monotonic_ms() - from >= 140);
    assert_int_equal(t.outcome, SMX_OUTCOME_FAILED);
    assert_int_equal(t.error, SMX_E_TIMEOUT);
}

/* It came further than the connection. */
static void pool_steps__whole_before_there_is_a_connection(void **state)
{
    site *s = *state;
    told t;
    site_open(s);
    site_begin(s, &t, 0);
    assert_int_equal(site_advance(s, &t, SMX_SUBMISSION_WHOLE), 0);
    site_until(s, t.turn > 0);
    assert_int_equal(t.outcome, SMX_OUTCOME_ACCEPTED);
    assert_int_equal(t.recipients, 0);
}

/* What the owner was told of recipients holds for this connection only. */
static void pool_steps__421_behind_a_told_recipient_is_the_owners(void **state)
{
    site *s = *state;
    told t;
    site_open(s);
    site_faults(s, "data:421");
    site_begin(s, &t, 0);
    site_until(s, t.recipients == 1);
    assert_int_equal(site_advance(s, &t, SMX_SUBMISSION_DATA), 0);
    site_until(s, t.turn > 0);
    assert_int_equal(t.code, 421);
    assert_int_equal(t.tries, 1);
}

static void pool_steps__given_up_between_recipients_the_connection_is_idle(void **state)
{
    site *s = *state;
    told t;
    site_open(s);
    site_begin(s, &t, 0);
    site_until(s, t.recipients == 1);
    assert_int_equal(upstream_attempt_cancel(t.attempt), 0);
    assert_int_equal(site_advance(s, &t, SMX_SUBMISSION_DATA), SMX_E_LATE);
    site_until(s, t.turn > 0);
    assert_int_equal(t.outcome, SMX_OUTCOME_GIVEN_UP);
    site_until(s, s->pool->connections[POOL_IDLE].count == 1);
    site_send(s, &t);
    assert_int_equal(t.outcome, SMX_OUTCOME_ACCEPTED);
    assert_true(t.reused);
}

static void pool_steps__a_fresh_connection_when_asked_for(void **state)
{
    site *s = *state;
    told t;
    site_open(s);
    site_send(s, &t);
    site_until(s, s->pool->connections[POOL_IDLE].count == 1);
    upstream_request request = {.submission = site_step(s, SMX_SUBMISSION_WHOLE),
                                .deadline = loop_now(s->loop) + 8000,
                                .fresh = true,
                                .done = site_on_done,
                                .arg = &t};
    t = (told){.s = s};
    assert_int_equal(upstream_pool_submit(s->pool, &request, &t.attempt), 0);
    site_until(s, t.turn > 0);
    assert_false(t.reused);
    assert_int_equal(site_connections(s), 2);
}

#define POOL_TEST(name) cmocka_unit_test_setup_teardown(name, site_setup, site_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        POOL_TEST(pool__a_connection_is_used_again),
        POOL_TEST(pool__a_connection_ends_after_its_share_of_messages),
        POOL_TEST(pool__an_idle_connection_is_closed),
        POOL_TEST(pool__an_old_connection_is_closed),
        POOL_TEST(pool__one_connection_serves_all_in_their_order),
        POOL_TEST(pool__many_that_the_server_cannot_take_are_told_one_by_one),
        POOL_TEST(pool__a_reused_connection_that_was_lost_is_replaced),
        POOL_TEST(pool__a_dead_idle_connection_is_passed_over),
        POOL_TEST(pool__421_is_tried_once_more),
        POOL_TEST(pool__421_that_a_rule_names_is_not_tried_again),
        POOL_TEST(pool__a_refusal_is_not_tried_again),
        POOL_TEST(pool__lost_behind_the_dot_is_unknown_and_not_tried_again),
        POOL_TEST(pool__the_deadline_ends_the_waiting_for_a_permit),
        POOL_TEST(pool__a_silent_server_is_left_at_the_deadline),
        POOL_TEST(pool__the_time_to_data_counts_from_the_connect),
        POOL_TEST(pool__cancel_works_in_each_state),
        POOL_TEST(pool__cancel_behind_the_dot_comes_too_late),
        POOL_TEST(pool__abort_ends_every_attempt_and_tries_nothing_again),
        POOL_TEST(pool__close_waits_for_attempts_and_takes_no_more),
        POOL_TEST(pool_steps__the_owners_pauses_do_not_count),
        POOL_TEST(pool_steps__the_servers_do),
        POOL_TEST(pool_steps__whole_before_there_is_a_connection),
        POOL_TEST(pool_steps__421_behind_a_told_recipient_is_the_owners),
        POOL_TEST(pool_steps__given_up_between_recipients_the_connection_is_idle),
        POOL_TEST(pool_steps__a_fresh_connection_when_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
