/* The stations of a delivery, and a session through all of them. The rig owns everything. */
#include "rig.h"

#include <stdio.h>
#include <stdlib.h>

#include "app/sink_internal.h"
#include "base/clock.h"
#include "mux/selector/selectors.h"
#include "upstream/pool_internal.h"

enum { RIG_PATIENCE_MS = 10000, RIG_TIMEOUT_MS = 1000, RIG_BODY = 20000 };

/* ---- the loop ---- */

static void rig_on_tick(uv_timer_t *timer)
{
    (void)timer;
}

static void rig_turn(rig *r)
{
    (void)uv_run(smx_loop_uv(r->loop), UV_RUN_ONCE);
}

#define rig_run_until(r, condition)                                                                \
    do {                                                                                           \
        uint64_t end_ = clock_monotonic_ms() + RIG_PATIENCE_MS;                                    \
        while (!(condition)) {                                                                     \
            if (clock_monotonic_ms() > end_)                                                       \
                fail_msg("this did not happen: %s", #condition);                                   \
            rig_turn(r);                                                                           \
        }                                                                                          \
    } while (0)

void rig_prepare(rig *r)
{
    static const test_certificate_spec spec = {.common_name = "mx", .names = "IP:127.0.0.1"};
    *r = (rig){0};
    r->certificates = test_certificates_new();
    tls_certificate files = test_certificates_make(r->certificates, "server", &spec);
    r->server_files = (smx_certificate){files.cert_file, files.key_file};
    r->ca = test_certificates_ca(r->certificates);
    assert_int_equal(smx_loop_new(NULL, &r->loop), 0);
    (void)uv_timer_init(smx_loop_uv(r->loop), &r->tick);
    (void)uv_timer_start(&r->tick, rig_on_tick, 5, 5);
}

void rig_forget(rig *r)
{
    uv_close((uv_handle_t *)&r->tick, NULL);
    smx_loop_free(r->loop);
    test_certificates_free(r->certificates);
}

/* ---- the provider ---- */

static void rig_on_message(void *arg, const sink_record *record)
{
    rig *r = arg;
    assert_int_equal(record->envelope->recipient_count, r->envelope.recipient_count);
    assert_true(smx_message_size(record->message) >= smx_message_size(r->message));
    r->copies++;
}

static int rig_build_provider(rig *r)
{
    problem p = {0};
    sink_options options = {
        .listen = "127.0.0.1:0",
        .hostname = "provider.example",
        .cert_file = r->server_files.cert_file,
        .key_file = r->server_files.key_file,
        .on_message = rig_on_message,
        .arg = r,
    };
    return sink_new(r->loop, &options, &r->provider, &p);
}

/* ---- the multiplexer ---- */

static int rig_build_mux(rig *r)
{
    problem p = {0};
    r->upstream = (upstream_options){
        .name = "provider",
        .url = "smtp+tls://127.0.0.1",
        .host = "127.0.0.1",
        .port = sink_port(r->provider),
        .tls = SMX_TLS_REQUIRED,
        .verify = SMX_VERIFY_REQUIRED,
        .ca_file = r->ca,
        .max_messages_per_connection = 1,
        .connect_timeout_ms = RIG_TIMEOUT_MS,
        .command_timeout_ms = RIG_TIMEOUT_MS,
        .data_timeout_ms = RIG_TIMEOUT_MS,
        .final_timeout_ms = RIG_TIMEOUT_MS,
    };
    r->choices[0] = (mux_choice){.weight = 1};
    r->choices[1] = (mux_choice){.weight = 1};
    r->user = (mux_user_options){
        .user = {.name = SMX_SLICE("ann@example.com"), .secret = SMX_SLICE("secret")},
        .plan = {.selector = mux_selector_find(SMX_SLICE("failover")),
                 .choices = r->choices,
                 .choice_count = r->cuts_through ? 2 : 1,
                 .delivery = r->cuts_through ? MUX_CUT_THROUGH : MUX_AFTER_DATA,
                 .deadline_ms = RIG_TIMEOUT_MS},
    };
    r->mux_options = (mux_options){.hostname = "mux.example",
                                   .upstreams = &r->upstream,
                                   .upstream_count = 1,
                                   .users = &r->user,
                                   .user_count = 1};
    int error = mux_state_new(NULL, &r->state);
    if (error == 0)
        error = mux_new(&r->mux_options, r->state, &r->mux);
    return error != 0 ? error : mux_worker_new(r->mux, r->loop, NULL, NULL, &r->worker, &p);
}

static int rig_build_server(rig *r)
{
    const smx_shared_options shared = {.version = SMX_SHARED_VERSION, .threads = 1};
    int error = smx_shared_new(&shared, &r->shared);
    if (error != 0)
        return error;
    r->middleware[0] = mux_worker_summary(r->worker);
    r->hooks[0] = mux_worker_cut_through_hook(r->worker);
    smx_server_options options = {
        .version = SMX_SERVER_VERSION,
        .hostname = "mux.example",
        .handler = mux_handle,
        .handler_arg = r->worker,
        .middleware = r->middleware,
        .middleware_count = 1,
        .hooks = r->hooks,
        .hook_count = r->cuts_through ? 1 : 0,
        .find_user = mux_find_user,
        .find_user_arg = r->mux,
        .shared = r->shared,
    };
    error = smx_server_new(r->loop, &options, &r->server);
    if (error != 0)
        return error;
    mux_worker_set_server(r->worker, r->server);
    r->listener = (smx_listener_options){
        .version = SMX_LISTENER_VERSION,
        .listen = "127.0.0.1:0",
        .tls = SMX_LISTENER_REQUIRED,
        .certificates = &r->server_files,
        .certificate_count = 1,
        .auth = SMX_AUTH_REQUIRED,
        .mechanisms = "PLAIN",
        .idle_timeout_ms = RIG_TIMEOUT_MS,
    };
    error = smx_server_listen(r->server, &r->listener, NULL);
    return error != 0 ? error : smx_server_start(r->server);
}

/* ---- the client ---- */

static int rig_build_message(rig *r)
{
    static const char header[] = "From: ann@example.com\r\nSubject: memory\r\n\r\n";
    static const char line[] = "a line of the body, with forty octets\r\n";
    const smx_message_options options = {.version = SMX_MESSAGE_VERSION};
    int error = smx_message_new(&options, &r->message);
    if (error == 0)
        error = smx_message_append(r->message, slice_of(header, sizeof(header) - 1));
    while (error == 0 && smx_message_size(r->message) < RIG_BODY)
        error = smx_message_append(r->message, slice_of(line, sizeof(line) - 1));
    if (error == 0)
        smx_message_end(r->message);
    return error;
}

static int rig_build_client(rig *r)
{
    r->client_options = (smx_client_options){
        .version = SMX_CLIENT_VERSION,
        .host = "127.0.0.1",
        .port = smx_server_port(r->server, 0),
        .tls = SMX_TLS_REQUIRED,
        .verify = SMX_VERIFY_REQUIRED,
        .helo = "client.example",
        .user = "ann@example.com",
        .password = "secret",
        .mechanism = "PLAIN",
        .connect_timeout_ms = RIG_TIMEOUT_MS,
        .banner_timeout_ms = RIG_TIMEOUT_MS,
        .command_timeout_ms = RIG_TIMEOUT_MS,
        .data_timeout_ms = RIG_TIMEOUT_MS,
        .block_timeout_ms = RIG_TIMEOUT_MS,
        .final_timeout_ms = 3 * RIG_TIMEOUT_MS,
    };
    int error = smx_client_tls_new(r->ca, NULL, NULL, &r->client_tls, NULL);
    r->client_options.tls_context = r->client_tls;
    if (error == 0)
        error = smx_mailbox_parse(SMX_SLICE("ann@example.com"), 0, &r->envelope.mail.path);
    if (error == 0)
        error = smx_mailbox_parse(SMX_SLICE("bob@example.org"), 0, &r->recipients[0].path);
    if (error == 0)
        error = smx_mailbox_parse(SMX_SLICE("carol@example.org"), 0, &r->recipients[1].path);
    r->envelope.recipients = r->recipients;
    r->envelope.recipient_count = r->cuts_through ? 2 : 1;
    return error != 0 ? error : rig_build_message(r);
}

int rig_build(rig *r)
{
    int error = rig_build_provider(r);
    if (error == 0)
        error = rig_build_mux(r);
    if (error == 0)
        error = rig_build_server(r);
    return error != 0 ? error : rig_build_client(r);
}

static void rig_on_drained(void *arg)
{
    rig *r = arg;
    r->is_drained = true;
}

void rig_free(rig *r)
{
    smx_server_free(r->server);
    if (r->worker != NULL) {
        mux_worker_drain(r->worker, clock_monotonic_ms(), rig_on_drained, r);
        rig_run_until(r, r->is_drained);
    }
    mux_worker_free(r->worker);
    sink_free(r->provider);
    for (int i = 0; i < 4; i++)
        rig_turn(r);
    mux_free(r->mux);
    mux_state_free(r->state);
    smx_shared_free(r->shared);
    smx_client_tls_free(r->client_tls);
    smx_message_free(r->message);
    r->server = NULL;
    r->worker = NULL;
    r->provider = NULL;
    r->mux = NULL;
    r->shared = NULL;
    r->client_tls = NULL;
    r->message = NULL;
    r->is_drained = false;
}

static void rig_on_ready(void *arg, smx_client *client)
{
    rig *r = arg;
    smx_submission submission = {
        .envelope = &r->envelope, .message = r->message, .all_or_nothing = true};
    if (r->has_result || smx_client_submit(client, &submission) != 0)
        smx_client_close(client);
}

static void rig_on_result(void *arg, smx_client *client, const smx_client_result *result)
{
    rig *r = arg;
    (void)client;
    assert_false(r->has_result);
    r->has_result = true;
    r->outcome = result->outcome;
    r->reply = result->reply;
}

static void rig_on_closed(void *arg, smx_client *client, const smx_client_result *result)
{
    rig *r = arg;
    (void)client;
    (void)result;
    r->client = NULL;
}

/* Nothing of a session is left at any station, but for a connection that was not used. */
static bool rig_is_quiet(const rig *r)
{
    const upstream_pool *to = r->worker->pools[0];
    size_t left = r->worker->deliveries.count + to->attempts.count + r->server->front.open.count +
                  r->server->front.closing.count + r->server->transactions.count +
                  r->provider->sessions.count;
    for (size_t i = 0; i < POOL_STATES; i++)
        if (i != POOL_IDLE)
            left += to->connections[i].count;
    return r->client == NULL && left == to->connections[POOL_IDLE].count;
}

void rig_session(rig *r)
{
    static const smx_client_handler handler = {rig_on_ready, rig_on_result, rig_on_closed};
    r->copies = 0;
    r->has_result = false;
    r->reply = (smx_reply){0};
    if (smx_client_new(r->loop, &r->client_options, &handler, r, &r->client) != 0)
        return;
    rig_run_until(r, rig_is_quiet(r));
}

bool rig_was_accepted(const rig *r)
{
    return r->has_result && r->outcome == SMX_OUTCOME_ACCEPTED;
}
