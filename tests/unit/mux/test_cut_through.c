/* Cut-through among hooks and middleware that change or refuse what is on its way already. */
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
#include "mux/delivery.h"
#include "mux/match.h"
#include "support/loop_until.h"

typedef struct site {
    smx_loop *loop;
    uv_timer_t tick;
    sink *sink;
    size_t taken;
    size_t recipients_taken;
    bool has_added_field;
    bool has_other_body;
    bool refused_in_body;
    upstream_options upstream;
    mux_choice choices[2]; /* the same one twice */
    mux_user_options user;
    mux_route_options route; /* its name NULL: there is none */
    mux_options options;
    mux_state *state;
    mux *mux;
    mux_worker *worker;
    const smx_middleware *middleware[2];
    smx_middleware changing;
    smx_hook changing_hook;
    const smx_hook *hooks[2];
    smx_server *server;
    smx_listener_options listener;
    smx_trust trust;
    bool drained;
    smx_envelope envelope;
    smx_rcpt recipient;
    smx_client_options client_options;
    smx_client *client;
    smx_submission submission;
    size_t results;
    uint16_t code;
    uint16_t recipient_codes[2];
} site;

#define site_until(s, condition) loop_until((s)->loop, condition)

static void site_on_message(void *arg, const sink_record *record)
{
    site *s = arg;
    smx_slice header;
    smx_field field;
    s->taken++;
    s->recipients_taken = record->envelope->recipient_count;
    s->has_added_field = smx_message_header(record->message, &header) == 0 &&
                         smx_field_find(header, SMX_SLICE("X-Added"), 0, &field);
    char scratch[64];
    smx_slice body = {NULL, 0};
    s->has_other_body = smx_message_read(record->message, smx_message_body_offset(record->message),
                                         scratch, sizeof(scratch), &body) == 0 &&
                        slice_equal(body, SMX_SLICE("\r\nanother body\r\n"));
}

static const mux_pattern example_net[] = {{.text = SMX_SLICE("example.net")}};
static const mux_condition to_net = {
    .word = MUX_WORD_RCPT_DOMAIN, .patterns = example_net, .pattern_count = 1};
static const mux_match match_net = {&to_net, 1};

/* `route`: the name of a route to example.net, or NULL. */
static int site_make(void **state, const char *route)
{
    problem p = {0};
    site *s = calloc(1, sizeof(*s));
    *state = s;
    if (s == NULL || smx_loop_new(NULL, &s->loop) != 0)
        return -1;
    loop_tick(s->loop, &s->tick);
    const sink_options options = {.listen = "127.0.0.1:0",
                                  .hostname = "sink.example",
                                  .on_message = site_on_message,
                                  .arg = s};
    assert_int_equal(sink_new(s->loop, &options, &s->sink, &p), 0);
    s->upstream = (upstream_options){
        .name = "one", .url = "smtp://127.0.0.1", .host = "127.0.0.1", .port = sink_port(s->sink)};
    s->choices[0] = (mux_choice){0, 1};
    s->choices[1] = (mux_choice){0, 1};
    s->user = (mux_user_options){.user = {.name = SMX_SLICE("ann")},
                                 .plan = {.selector = mux_selector_find(SMX_SLICE("failover")),
                                          .choices = s->choices,
                                          .choice_count = 2,
                                          .delivery = MUX_CUT_THROUGH}};
    s->options = (mux_options){.hostname = "mux.example",
                               .upstreams = &s->upstream,
                               .upstream_count = 1,
                               .users = &s->user,
                               .user_count = 1,
                               .routes = &s->route,
                               .route_count = route != NULL};
    s->route = (mux_route_options){.name = route, .match = &match_net, .plan = s->user.plan};
    assert_int_equal(mux_state_new(NULL, &s->state), 0);
    assert_int_equal(mux_new(&s->options, s->state, &s->mux), 0);
    assert_int_equal(mux_worker_new(s->mux, s->loop, NULL, NULL, &s->worker, &p), 0);
    s->changing.version = SMX_MIDDLEWARE_VERSION;
    s->changing_hook = (smx_hook){.version = SMX_HOOK_VERSION, .name = "changing"};
    assert_int_equal(smx_mailbox_parse(SMX_SLICE("ann@example.com"), 0, &s->envelope.mail.path), 0);
    assert_int_equal(smx_mailbox_parse(SMX_SLICE("bob@example.org"), 0, &s->recipient.path), 0);
    s->envelope.recipients = &s->recipient;
    s->envelope.recipient_count = 1;
    s->submission = (smx_submission){.envelope = &s->envelope,
                                     .header = SMX_SLICE("Subject: x\r\n\r\nbody\r\n")};
    return 0;
}

static int site_setup(void **state)
{
    return site_make(state, NULL);
}

static int site_setup_with_route(void **state)
{
    return site_make(state, "user");
}

/* With the hook and the middleware as they are now. */
static void site_open(site *s)
{
    s->middleware[0] = mux_worker_summary(s->worker);
    s->middleware[1] = &s->changing;
    s->hooks[0] = &s->changing_hook;
    s->hooks[1] = mux_worker_cut_through_hook(s->worker);
    assert_non_null(s->hooks[1]);
    const smx_server_options options = {.version = SMX_SERVER_VERSION,
                                        .hostname = "mux.example",
                                        .handler = mux_handle,
                                        .handler_arg = s->worker,
                                        .middleware = s->middleware,
                                        .middleware_count = 2,
                                        .hooks = s->hooks,
                                        .hook_count = 2,
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
    s->client_options = (smx_client_options){.version = SMX_CLIENT_VERSION,
                                             .host = "127.0.0.1",
                                             .port = smx_server_port(s->server, 0),
                                             .helo = "client.example"};
}

static void site_on_drained(void *arg)
{
    site *s = arg;
    s->drained = true;
}

static void site_end_server(site *s)
{
    smx_server_free(s->server);
    s->server = NULL;
}

static int site_teardown(void **state)
{
    site *s = *state;
    if (!s->drained)
        mux_worker_drain(s->worker, loop_now(s->loop), site_on_drained, s);
    site_until(s, s->drained);
    if (s->client != NULL)
        smx_client_close(s->client);
    smx_server_free(s->server);
    sink_free(s->sink);
    mux_worker_free(s->worker);
    uv_close((uv_handle_t *)&s->tick, NULL);
    (void)uv_run(smx_loop_uv(s->loop), UV_RUN_ONCE);
    smx_loop_free(s->loop);
    mux_free(s->mux);
    mux_state_free(s->state);
    free(s);
    return 0;
}

/* ---- the client ---- */

static void site_on_ready(void *arg, smx_client *client)
{
    site *s = arg;
    if (s->results > 0)
        smx_client_close(client);
    else
        assert_int_equal(smx_client_submit(client, &s->submission), 0);
}

static void site_on_result(void *arg, smx_client *client, const smx_client_result *result)
{
    site *s = arg;
    (void)client;
    s->results++;
    s->code = result->reply.code;
}

static void site_on_closed(void *arg, smx_client *client, const smx_client_result *result)
{
    site *s = arg;
    (void)client;
    (void)result;
    s->client = NULL;
}

static void site_on_recipient(void *arg, smx_client *client, size_t index, const smx_reply *reply)
{
    site *s = arg;
    (void)client;
    s->recipient_codes[index] = reply->code;
}

static void site_begin(site *s)
{
    static const smx_client_handler handler = {site_on_ready, site_on_result, site_on_closed,
                                               site_on_recipient};
    assert_int_equal(smx_client_new(s->loop, &s->client_options, &handler, s, &s->client), 0);
}

static void site_send(site *s)
{
    site_open(s);
    site_begin(s);
    site_until(s, s->client == NULL);
    assert_int_equal(s->results, 1);
}

static uint64_t site_attempts(const site *s)
{
    return upstream_total(mux_upstream(s->mux, 0), UPSTREAM_COUNT_attempts);
}

static uint64_t site_failed(const site *s)
{
    return upstream_total(mux_upstream(s->mux, 0), UPSTREAM_COUNT_failed);
}

/* ---- changes ---- */

static smx_verdict add_field_before(void *arg, smx_transaction *tx)
{
    (void)arg;
    assert_int_equal(
        smx_header_edit_prepend(smx_transaction_edit(tx), SMX_SLICE("X-Added"), SMX_SLICE("1")), 0);
    return (smx_verdict){.kind = SMX_CONTINUE};
}

static smx_verdict add_field(void *arg, smx_hook_call *call)
{
    (void)arg;
    assert_int_equal(smx_hook_add_header(call, SMX_SLICE("X-Added"), SMX_SLICE("1")), 0);
    return (smx_verdict){.kind = SMX_CONTINUE};
}

static void cut_through__unchanged_it_takes_one_attempt(void **state)
{
    site *s = *state;
    site_send(s);
    assert_int_equal(s->code, 250);
    assert_int_equal(s->taken, 1);
    assert_int_equal(site_attempts(s), 1);
}

static bool site_has_header_composed(const site *s)
{
    const list_node *first = s->worker->deliveries.first;
    return first != NULL && list_member(first, delivery, node)->sent.added > 0;
}

/* The header section has left without it. */
static void cut_through__a_field_that_middleware_adds_is_sent_by_another_attempt(void **state)
{
    site *s = *state;
    s->changing.before = add_field_before;
    s->submission.stage = SMX_SUBMISSION_BODY;
    site_open(s);
    site_begin(s);
    site_until(s, site_has_header_composed(s));
    s->submission.stage = SMX_SUBMISSION_WHOLE;
    assert_int_equal(smx_client_advance(s->client, &s->submission), 0);
    site_until(s, s->client == NULL);
    assert_int_equal(s->code, 250);
    assert_int_equal(s->taken, 1);
    assert_true(s->has_added_field);
    assert_int_equal(site_attempts(s), 2);
}

static void cut_through__a_field_that_a_hook_adds_is_in_the_only_attempt(void **state)
{
    static const smx_hook_phase early[] = {SMX_HOOK_MAIL, SMX_HOOK_RCPT, SMX_HOOK_DATA,
                                           SMX_HOOK_HEADER};
    for (size_t i = 0; i < sizeof(early) / sizeof(early[0]); i++) {
        void *own = NULL;
        (void)state;
        assert_int_equal(site_setup(&own), 0);
        site *s = own;
        s->changing_hook.phases[early[i]] = add_field;
        site_send(s);
        assert_int_equal(s->taken, 1);
        assert_true(s->has_added_field);
        assert_int_equal(site_attempts(s), 1);
        assert_int_equal(site_teardown(&own), 0);
    }
}

static smx_verdict add_recipient(void *arg, smx_hook_call *call)
{
    (void)arg;
    assert_int_equal(smx_hook_add_recipient(call, SMX_SLICE("carol@example.org")), 0);
    return (smx_verdict){.kind = SMX_CONTINUE};
}

/* Nobody can say at RCPT what the upstream will say of it. */
static void cut_through__a_recipient_that_a_hook_adds_gets_it_after_data(void **state)
{
    site *s = *state;
    s->changing_hook.phases[SMX_HOOK_RCPT] = add_recipient;
    site_send(s);
    assert_int_equal(s->code, 250);
    assert_int_equal(s->taken, 1);
    assert_int_equal(s->recipients_taken, 2);
}

static smx_verdict replace_body(void *arg, smx_hook_call *call)
{
    (void)arg;
    assert_int_equal(smx_hook_replace_body(call, SMX_SLICE("another body\r\n")), 0);
    return (smx_verdict){.kind = SMX_CONTINUE};
}

/* All of it comes in one turn: the header section was not even composed. */
static void cut_through__a_body_that_a_hook_replaces_at_the_end_is_sent(void **state)
{
    site *s = *state;
    s->changing_hook.flags = SMX_HOOK_HOLD;
    s->changing_hook.phases[SMX_HOOK_EOM] = replace_body;
    site_send(s);
    assert_int_equal(s->code, 250);
    assert_int_equal(s->taken, 1);
    assert_true(s->has_other_body);
}

static smx_verdict refuse_in_body(void *arg, smx_hook_call *call)
{
    site *s = arg;
    (void)call;
    s->refused_in_body = true;
    return (smx_verdict){SMX_REPLY_WITH, SMX_REPLY(550, 5, 7, 1, "no")};
}

/* The server has thrown it away, but the client is still sending it. */
static void cut_through__a_message_that_was_refused_within_is_tried_no_more(void **state)
{
    site *s = *state;
    problem p = {0};
    s->changing_hook.arg = s;
    s->changing_hook.phases[SMX_HOOK_BODY] = refuse_in_body;
    s->submission.stage = SMX_SUBMISSION_BODY;
    s->submission.header = SMX_SLICE("Subject: x\r\n\r\n");
    site_open(s);
    site_begin(s);
    site_until(s, site_has_header_composed(s));
    s->submission.header = SMX_SLICE("Subject: x\r\n\r\nbody\r\n");
    assert_int_equal(smx_client_advance(s->client, &s->submission), 0);
    site_until(s, s->refused_in_body);
    assert_int_equal(sink_set_refusing(s->sink, true, &p), 0);
    site_until(s, site_failed(s) == 1);
    s->submission.stage = SMX_SUBMISSION_WHOLE;
    assert_int_equal(smx_client_advance(s->client, &s->submission), 0);
    site_until(s, s->client == NULL);
    assert_int_equal(s->code, 550);
    assert_int_equal(site_attempts(s), 1);
}

static smx_verdict refuse_before(void *arg, smx_transaction *tx)
{
    (void)arg;
    (void)tx;
    return (smx_verdict){SMX_REPLY_WITH, SMX_REPLY(550, 5, 7, 1, "no")};
}

static void cut_through__what_middleware_refuses_has_no_dot(void **state)
{
    site *s = *state;
    s->changing.before = refuse_before;
    site_send(s);
    assert_int_equal(s->code, 550);
    assert_int_equal(s->taken, 0);
}

static smx_verdict discard(void *arg, smx_hook_call *call)
{
    (void)arg;
    (void)call;
    return (smx_verdict){.kind = SMX_DISCARD};
}

static void cut_through__what_a_hook_discards_has_no_dot(void **state)
{
    static const smx_hook_phase phases[] = {SMX_HOOK_DATA, SMX_HOOK_HEADER, SMX_HOOK_BODY,
                                            SMX_HOOK_EOM};
    for (size_t i = 0; i < sizeof(phases) / sizeof(phases[0]); i++) {
        void *own = NULL;
        (void)state;
        assert_int_equal(site_setup(&own), 0);
        site *s = own;
        s->changing_hook.phases[phases[i]] = discard;
        site_send(s);
        assert_int_equal(s->code, 250);
        assert_int_equal(s->taken, 0);
        assert_int_equal(site_teardown(&own), 0);
    }
}

/* The upstream that refuses the first one is the user's own, not that of a route of this name. */
static void cut_through__behind_a_refused_one_a_route_named_user_is_another_route(void **state)
{
    site *s = *state;
    problem p = {0};
    sink_faults faults = {0};
    smx_rcpt both[2] = {s->recipient};
    assert_int_equal(smx_mailbox_parse(SMX_SLICE("bob@example.net"), 0, &both[1].path), 0);
    s->envelope.recipients = both;
    s->envelope.recipient_count = 2;
    s->submission.stage = SMX_SUBMISSION_DATA;
    assert_int_equal(sink_faults_add(&faults, SMX_SLICE("rcpt:550"), &p), 0);
    sink_set_faults(s->sink, &faults);
    site_send(s);
    assert_int_equal(s->recipient_codes[0], 550);
    assert_int_equal(s->recipient_codes[1], 452);
}

/* ---- the end ---- */

/* The server is gone with its sessions, then the drain's time is over. */
static void cut_through__a_recipient_that_is_asked_for_at_the_end_is_given_up(void **state)
{
    site *s = *state;
    sink_faults faults = {0};
    problem p = {0};
    assert_int_equal(sink_faults_add(&faults, SMX_SLICE("rcpt:stall"), &p), 0);
    sink_set_faults(s->sink, &faults);
    site_open(s);
    site_begin(s);
    site_until(s, site_attempts(s) == 1);
    site_end_server(s);
    site_until(s, s->client == NULL);
    mux_worker_drain(s->worker, loop_now(s->loop), site_on_drained, s);
    site_until(s, s->drained);
    assert_int_equal(s->taken, 0);
}

#define CUT_TEST(name) cmocka_unit_test_setup_teardown(name, site_setup, site_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CUT_TEST(cut_through__unchanged_it_takes_one_attempt),
        CUT_TEST(cut_through__a_field_that_middleware_adds_is_sent_by_another_attempt),
        cmocka_unit_test(cut_through__a_field_that_a_hook_adds_is_in_the_only_attempt),
        CUT_TEST(cut_through__a_recipient_that_a_hook_adds_gets_it_after_data),
        CUT_TEST(cut_through__a_body_that_a_hook_replaces_at_the_end_is_sent),
        cmocka_unit_test_setup_teardown(
            cut_through__behind_a_refused_one_a_route_named_user_is_another_route,
            site_setup_with_route, site_teardown),
        CUT_TEST(cut_through__a_message_that_was_refused_within_is_tried_no_more),
        CUT_TEST(cut_through__what_middleware_refuses_has_no_dot),
        cmocka_unit_test(cut_through__what_a_hook_discards_has_no_dot),
        CUT_TEST(cut_through__a_recipient_that_is_asked_for_at_the_end_is_given_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
