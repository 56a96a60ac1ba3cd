/* Deliveries from a client through the server and the mux to sinks that fail on demand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <uv.h>

#include "app/sink.h"
#include "base/clock.h"
#include "mux/mux_internal.h"
#include "support/loop_until.h"

enum { SINKS = 2 };

typedef struct site {
    smx_loop *loop;
    uv_timer_t tick;
    sink *sinks[SINKS];
    size_t taken[SINKS];
    upstream_options upstreams[SINKS];
    mux_choice choices[SINKS];
    mux_user_options user;
    mux_options options;
    mux_state *state;
    mux *mux;
    mux_worker *worker;
    const smx_middleware *middleware[1];
    smx_server *server;
    smx_listener_options listener;
    smx_trust trust;
    bool drained;
    smx_envelope envelope;
    smx_rcpt recipient;
    smx_client_options client_options;
    smx_client *client;
    bool has_result;
    smx_outcome outcome;
    uint16_t code;
    smx_enhanced enhanced;
    char text[1024];
} site;

#define site_until(s, condition) loop_until((s)->loop, condition)

static void site_on_message(void *arg, const sink_record *record)
{
    size_t *taken = arg;
    (void)record;
    ++*taken;
}

static void site_add_sink(site *s, size_t i)
{
    static const char *const names[SINKS] = {"first", "second"};
    problem p = {0};
    const sink_options options = {.listen = "127.0.0.1:0",
                                  .hostname = "sink.example",
                                  .on_message = site_on_message,
                                  .arg = &s->taken[i]};
    assert_int_equal(sink_new(s->loop, &options, &s->sinks[i], &p), 0);
    s->upstreams[i] = (upstream_options){.name = names[i],
                                         .url = "smtp://127.0.0.1",
                                         .host = "127.0.0.1",
                                         .port = sink_port(s->sinks[i])};
    s->choices[i] = (mux_choice){i, 1};
}

static void site_add_server(site *s)
{
    s->middleware[0] = mux_worker_summary(s->worker);
    const smx_server_options options = {.version = SMX_SERVER_VERSION,
                                        .hostname = "mux.example",
                                        .handler = mux_handle,
                                        .handler_arg = s->worker,
                                        .middleware = s->middleware,
                                        .middleware_count = 1,
                                        .find_user = mux_find_user,
                                        .find_user_arg = s->mux};
    assert_int_equal(smx_server_new(s->loop, &options, &s->server), 0);
    mux_worker_set_server(s->worker, s->server);
    s->trust.user = SMX_SLICE("ann");
    assert_int_equal(smx_network_parse(SMX_SLICE("127.0.0.0/8"), &s->trust.network), 0);
    s->listener = (smx_listener_options){.version = SMX_LISTENER_VERSION,
                                         .listen = "127.0.0.1:0",
                                         .trust = &s->trust,
                                         .trust_count = 1};
    assert_int_equal(smx_server_listen(s->server, &s->listener, NULL), 0);
    assert_int_equal(smx_server_start(s->server), 0);
}

static int site_setup(void **state)
{
    problem p = {0};
    site *s = calloc(1, sizeof(*s));
    *state = s;
    if (s == NULL || smx_loop_new(NULL, &s->loop) != 0)
        return -1;
    loop_tick(s->loop, &s->tick);
    for (size_t i = 0; i < SINKS; i++)
        site_add_sink(s, i);
    s->user = (mux_user_options){.user = {.name = SMX_SLICE("ann")},
                                 .plan = {.selector = mux_selector_find(SMX_SLICE("failover")),
                                          .choices = s->choices,
                                          .choice_count = SINKS}};
    s->options = (mux_options){.hostname = "mux.example",
                               .upstreams = s->upstreams,
                               .upstream_count = SINKS,
                               .users = &s->user,
                               .user_count = 1};
    assert_int_equal(mux_state_new(NULL, &s->state), 0);
    assert_int_equal(mux_new(&s->options, s->state, &s->mux), 0);
    assert_int_equal(mux_worker_new(s->mux, s->loop, NULL, NULL, &s->worker, &p), 0);
    site_add_server(s);
    assert_int_equal(smx_mailbox_parse(SMX_SLICE("ann@example.com"), 0, &s->envelope.mail.path), 0);
    assert_int_equal(smx_mailbox_parse(SMX_SLICE("bob@example.org"), 0, &s->recipient.path), 0);
    s->envelope.recipients = &s->recipient;
    s->envelope.recipient_count = 1;
    s->client_options = (smx_client_options){.version = SMX_CLIENT_VERSION,
                                             .host = "127.0.0.1",
                                             .port = smx_server_port(s->server, 0),
                                             .helo = "client.example"};
    return 0;
}

static void site_on_drained(void *arg)
{
    site *s = arg;
    assert_false(s->drained);
    s->drained = true;
}

static void site_drain(site *s, uint64_t patience)
{
    mux_worker_drain(s->worker, loop_now(s->loop) + patience, site_on_drained, s);
}

static int site_teardown(void **state)
{
    site *s = *state;
    if (!s->drained)
        site_drain(s, 0);
    site_until(s, s->drained);
    if (s->client != NULL)
        smx_client_close(s->client);
    smx_server_free(s->server);
    for (size_t i = 0; i < SINKS; i++)
        sink_free(s->sinks[i]);
    mux_worker_free(s->worker);
    uv_close((uv_handle_t *)&s->tick, NULL);
    loop_turn(s->loop);
    smx_loop_free(s->loop);
    mux_free(s->mux);
    mux_state_free(s->state);
    free(s);
    return 0;
}

static void site_faults(site *s, size_t i, const char *text)
{
    sink_faults faults = {0};
    problem p = {0};
    assert_int_equal(sink_faults_add(&faults, slice_of_text(text), &p), 0);
    sink_set_faults(s->sinks[i], &faults);
}

static void site_on_ready(void *arg, smx_client *client)
{
    site *s = arg;
    const smx_submission submission = {.envelope = &s->envelope,
                                       .header = SMX_SLICE("Subject: x\r\n\r\nbody\r\n")};
    if (s->has_result)
        smx_client_close(client);
    else
        assert_int_equal(smx_client_submit(client, &submission), 0);
}

static void site_on_result(void *arg, smx_client *client, const smx_client_result *result)
{
    site *s = arg;
    (void)client;
    s->has_result = true;
    s->outcome = result->outcome;
    s->code = result->reply.code;
    s->enhanced = result->reply.enhanced;
    (void)snprintf(s->text, sizeof(s->text), "%.*s", (int)result->reply.text.len,
                   result->reply.text.len == 0 ? "" : result->reply.text.data);
}

static void site_on_closed(void *arg, smx_client *client, const smx_client_result *result)
{
    site *s = arg;
    (void)client;
    (void)result;
    s->client = NULL;
}

static void site_begin(site *s)
{
    static const smx_client_handler handler = {site_on_ready, site_on_result, site_on_closed};
    s->has_result = false;
    assert_int_equal(smx_client_new(s->loop, &s->client_options, &handler, s, &s->client), 0);
}

static void site_send(site *s)
{
    site_begin(s);
    site_until(s, s->client == NULL);
    assert_true(s->has_result);
}

#define assert_told(s, code_, enhanced_)                                                           \
    do {                                                                                           \
        char told_[32];                                                                            \
        (void)snprintf(told_, sizeof(told_), "%u.%u.%u", (s)->enhanced.class_digit,                \
                       (s)->enhanced.subject, (s)->enhanced.detail);                               \
        assert_int_equal((s)->code, code_);                                                        \
        assert_string_equal(told_, enhanced_);                                                     \
    } while (0)

static void delivery__the_next_upstream_takes_what_the_first_defers(void **state)
{
    static const char *const faults[] = {"connect:close", "ehlo:close", "mail:451", "mail:550",
                                         "rcpt:451",      "rcpt:reset", "dot:451",  "dot:421",
                                         "connect:421",   "mail:421"};
    site *s = *state;
    size_t count = sizeof(faults) / sizeof(faults[0]);
    for (size_t i = 0; i < count; i++) {
        site_faults(s, 0, faults[i]);
        site_send(s);
        assert_int_equal(s->code, 250);
        assert_non_null(strstr(s->text, "second"));
    }
    assert_int_equal(s->taken[0], 0);
    assert_int_equal(s->taken[1], count);
    assert_int_equal(mux_state_total(s->state, MUX_OUTCOME_DELIVERED), count);
}

static void delivery__refused_for_good_by_all_is_a_5xx(void **state)
{
    site *s = *state;
    site_faults(s, 0, "mail:550");
    site_faults(s, 1, "mail:554");
    site_send(s);
    assert_int_equal(s->code, 550); /* the first one's words */
    assert_non_null(strstr(s->text, "first: failed on demand"));
    assert_int_equal(mux_state_total(s->state, MUX_OUTCOME_REJECTED), 1);
}

static void delivery__a_5xx_behind_the_dot_is_final(void **state)
{
    site *s = *state;
    site_faults(s, 0, "dot:554");
    site_send(s);
    assert_int_equal(s->code, 554);
    assert_non_null(strstr(s->text, "first: failed on demand"));
    assert_int_equal(s->taken[1], 0);
}

static void delivery__mixed_refusals_are_a_451_with_their_reasons(void **state)
{
    site *s = *state;
    site_faults(s, 0, "mail:550");
    site_faults(s, 1, "mail:451");
    site_send(s);
    assert_told(s, 451, "4.4.1");
    assert_non_null(strstr(s->text, "first: 550"));
    assert_non_null(strstr(s->text, "second: 451"));
    assert_int_equal(mux_state_total(s->state, MUX_OUTCOME_DEFERRED), 1);
}

static void delivery__an_unknown_outcome_is_not_tried_elsewhere(void **state)
{
    site *s = *state;
    site_faults(s, 0, "after-dot:close");
    site_send(s);
    assert_told(s, 451, "4.4.2");
    assert_int_equal(s->taken[1], 0);
    assert_int_equal(mux_state_total(s->state, MUX_OUTCOME_UNKNOWN), 1);
}

static void delivery__an_unknown_outcome_is_tried_elsewhere_where_the_user_says_so(void **state)
{
    site *s = *state;
    s->user.plan.on_unknown = MUX_UNKNOWN_FAILOVER;
    site_faults(s, 0, "after-dot:close");
    site_send(s);
    assert_int_equal(s->code, 250);
    assert_int_equal(s->taken[1], 1);
}

static void delivery__refused_credentials_suspend_the_upstream(void **state)
{
    site *s = *state;
    site_faults(s, 0, "mail:535");
    site_send(s);
    assert_int_equal(s->code, 250);
    uint64_t attempts = upstream_total(mux_upstream(s->mux, 0), UPSTREAM_COUNT_attempts);
    site_send(s);
    assert_int_equal(s->code, 250);
    assert_int_equal(s->taken[1], 2);
    assert_int_equal(upstream_total(mux_upstream(s->mux, 0), UPSTREAM_COUNT_attempts), attempts);
}

static void delivery__all_suspended_is_a_451_at_once(void **state)
{
    site *s = *state;
    site_faults(s, 0, "mail:535");
    site_faults(s, 1, "mail:530");
    site_send(s);
    site_send(s);
    assert_told(s, 451, "4.4.1");
    assert_non_null(strstr(s->text, "suspended"));
}

static void delivery__a_client_that_goes_away_ends_it_without_a_dot(void **state)
{
    site *s = *state;
    site_faults(s, 0, "rcpt:stall");
    site_begin(s);
    site_until(s, s->worker->deliveries.count == 1);
    smx_client_close(s->client);
    site_until(s, mux_state_total(s->state, MUX_OUTCOME_CLIENT_GONE) == 1);
    assert_int_equal(s->worker->deliveries.count, 0);
    assert_int_equal(s->taken[0] + s->taken[1], 0);
}

typedef struct stuck {
    pthread_mutex_t mutex;
} stuck;

/* On the store's thread. */
static void stuck_on_got(void *arg, int error, smx_slice value)
{
    stuck *it = arg;
    (void)error;
    (void)value;
    (void)pthread_mutex_lock(&it->mutex);
    (void)pthread_mutex_unlock(&it->mutex);
}

static void delivery__a_store_that_does_not_answer_is_waited_for_until_the_deadline(void **state)
{
    site *s = *state;
    store *kept = NULL;
    problem p = {0};
    stuck it = {.mutex = PTHREAD_MUTEX_INITIALIZER};
    quota_limit limit;
    quota *limited = NULL;
    assert_int_equal(store_open(&(store_options){0}, &kept, &p), 0);
    assert_int_equal(quota_limit_parse(SMX_SLICE("5/day"), &limit, &p), 0);
    (void)pthread_mutex_lock(&it.mutex);
    assert_int_equal(store_get(kept, SMX_SLICE("x"), stuck_on_got, &it), 0);
    assert_int_equal(quota_new("user ann", kept, &limit, 1, clock_wall_ms(), &limited), 0);
    mux_allowance allowance = {.quota = limited};
    s->mux->users[0].allowance = &allowance;
    s->user.plan.deadline_ms = 100;
    site_send(s);
    assert_told(s, 451, "4.3.0");
    assert_int_equal(s->taken[0], 0);
    (void)pthread_mutex_unlock(&it.mutex);
    s->user.plan.deadline_ms = 0;
    site_send(s);
    assert_told(s, 250, "2.0.0");
    s->mux->users[0].allowance = NULL;
    quota_free(limited);
    store_close(kept);
    (void)pthread_mutex_destroy(&it.mutex);
}

static void delivery__the_drain_makes_what_waits_behind_the_dot_unknown(void **state)
{
    site *s = *state;
    site_faults(s, 0, "after-dot:stall");
    site_begin(s);
    site_until(s, s->taken[0] == 1 || s->has_result);
    for (int i = 0; i < 5; i++)
        loop_turn(s->loop);
    assert_false(s->has_result);
    site_drain(s, 100);
    site_until(s, s->drained && s->has_result);
    assert_told(s, 451, "4.4.2");
    assert_int_equal(s->taken[1], 0);
}

static void delivery__the_drain_waits_for_what_succeeds(void **state)
{
    site *s = *state;
    site_begin(s);
    site_until(s, s->worker->deliveries.count == 1);
    site_drain(s, 5000);
    site_until(s, s->drained && s->client == NULL);
    assert_int_equal(s->code, 250);
}

#define DELIVERY_TEST(name) cmocka_unit_test_setup_teardown(name, site_setup, site_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        DELIVERY_TEST(delivery__the_next_upstream_takes_what_the_first_defers),
        DELIVERY_TEST(delivery__refused_for_good_by_all_is_a_5xx),
        DELIVERY_TEST(delivery__a_5xx_behind_the_dot_is_final),
        DELIVERY_TEST(delivery__mixed_refusals_are_a_451_with_their_reasons),
        DELIVERY_TEST(delivery__an_unknown_outcome_is_not_tried_elsewhere),
        DELIVERY_TEST(delivery__an_unknown_outcome_is_tried_elsewhere_where_the_user_says_so),
        DELIVERY_TEST(delivery__refused_credentials_suspend_the_upstream),
        DELIVERY_TEST(delivery__all_suspended_is_a_451_at_once),
        DELIVERY_TEST(delivery__a_client_that_goes_away_ends_it_without_a_dot),
        DELIVERY_TEST(delivery__a_store_that_does_not_answer_is_waited_for_until_the_deadline),
        DELIVERY_TEST(delivery__the_drain_makes_what_waits_behind_the_dot_unknown),
        DELIVERY_TEST(delivery__the_drain_waits_for_what_succeeds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
