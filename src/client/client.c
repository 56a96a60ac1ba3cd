/* One connection to a server and its transactions: brings the connection and the client machine
 * together. The client owns both, and frees itself behind its owner's `closed`. */
#include "client/client_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <unistd.h>

enum { QUIT_MS = 5000 }; /* for the reply to QUIT */

uint64_t client_now(const smx_client *client)
{
    return loop_now(client->loop);
}

smx_client_phase client_phase(const smx_client *client)
{
    if (client->session == NULL)
        return SMX_CLIENT_PHASE_CONNECT;
    return client->handshaking ? SMX_CLIENT_PHASE_TLS : smx_client_session_phase(client->session);
}

void client_push_output(smx_client *client)
{
    smx_slice output = smx_client_session_output(client->session);
    size_t taken = 0;
    if (output.len == 0)
        return;
    int error = connection_send(client->connection, &output, 1, &taken);
    smx_client_session_sent(client->session, taken);
    if (error != 0)
        client_end(client, error, NULL);
}

void client_end(smx_client *client, int error, const char *detail)
{
    if (detail != NULL)
        client_result_detail(client, detail);
    smx_client_session_fail(client->session, error);
    loop_at_turn_end(client->loop, &client->kick);
}

/* ---- events of the machine, one function each ---- */

static void client_on_tls(smx_client *client, const smx_client_event *event)
{
    (void)event;
    client_push_output(client);
    bool required = client->options.verify == SMX_VERIFY_REQUIRED ||
                    (client->options.verify == SMX_VERIFY_IF_AUTH && client->options.user != NULL);
    const char *name =
        client->options.tls_name != NULL ? client->options.tls_name : client->options.host;
    int error = client_tls_begin(client->connection, client->options.tls_context, name, required);
    if (error != 0)
        client_end(client, error, "TLS could not begin");
}

static void client_on_auth(smx_client *client, const smx_client_event *event)
{
    (void)event;
    client_auth_begin(client);
}

static void client_on_challenge(smx_client *client, const smx_client_event *event)
{
    client_auth_challenge(client, event->text);
}

static void client_on_ready(smx_client *client, const smx_client_event *event)
{
    (void)event;
    if (client_auth_finish(client) != 0) {
        client_end(client, SMX_E_AUTH, "the server has not proved that it knows the password");
        return;
    }
    client->was_ready = true;
    client_result_tell(client);
    if (!client->closing)
        client->handler->ready(client->arg, client);
}

static void client_on_mail_reply(smx_client *client, const smx_client_event *event)
{
    if (event->reply.code / 100 != 2)
        client_result_refused(client, SMX_CLIENT_PHASE_MAIL, SIZE_MAX, &event->reply);
}

static void client_on_rcpt_reply(smx_client *client, const smx_client_event *event)
{
    client_result_recipient(client, event->index, &event->reply);
}

static void client_on_decide(smx_client *client, const smx_client_event *event)
{
    (void)event;
    client->deciding = client->in_steps;
    client_decide(client);
}

static void client_on_body(smx_client *client, const smx_client_event *event)
{
    (void)event;
    client->body_open = true;
    client_body_send(client);
}

static void client_on_data_reply(smx_client *client, const smx_client_event *event)
{
    client_body_end(client);
    client_result_refused(client, SMX_CLIENT_PHASE_DATA, SIZE_MAX, &event->reply);
}

static void client_on_reply(smx_client *client, const smx_client_event *event)
{
    client_result_final(client, event->index, &event->reply);
}

static void client_on_failed(smx_client *client, const smx_client_event *event)
{
    client->failed = true;
    client_body_end(client);
    client_result_failed(client, event->failure);
    client_result_tell(client);
    connection_abort(client->connection);
}

static void client_on_closed(smx_client *client, const smx_client_event *event)
{
    (void)event;
    client->failed = true;
    connection_peer_is_done(client->connection);
    connection_close(client->connection);
}

static void (*const client_events[])(smx_client *, const smx_client_event *) = {
    [SMX_CLIENT_TLS] = client_on_tls,
    [SMX_CLIENT_AUTH] = client_on_auth,
    [SMX_CLIENT_CHALLENGE] = client_on_challenge,
    [SMX_CLIENT_READY] = client_on_ready,
    [SMX_CLIENT_MAIL_REPLY] = client_on_mail_reply,
    [SMX_CLIENT_RCPT_REPLY] = client_on_rcpt_reply,
    [SMX_CLIENT_BODY] = client_on_body,
    [SMX_CLIENT_DECIDE] = client_on_decide,
    [SMX_CLIENT_DATA_REPLY] = client_on_data_reply,
    [SMX_CLIENT_REPLY] = client_on_reply,
    [SMX_CLIENT_FAILED] = client_on_failed,
    [SMX_CLIENT_CLOSED] = client_on_closed,
};

/* The machine's deadline, but a server is not waited for that long only to say good-bye. */
static void client_arm(smx_client *client)
{
    uint64_t due = smx_client_session_deadline(client->session);
    if (client->closing && client->quit_by < due)
        due = client->quit_by;
    connection_set_deadline(client->connection, due);
}

void client_push(smx_client *client)
{
    client_push_output(client);
    client_arm(client);
}

size_t client_pump(smx_client *client, smx_slice in)
{
    size_t used = 0;
    while (!client->failed) {
        smx_client_event event;
        used += smx_client_session_feed(client->session, client_now(client), slice_from(in, used),
                                        &event);
        if (event.type == SMX_CLIENT_NONE)
            break;
        client_events[event.type](client, &event);
    }
    if (client->failed)
        return in.len;
    client_push(client);
    return used;
}

/* ---- callbacks of the connection ---- */

static void client_kicked(loop_turn_end *self)
{
    smx_client *client = list_member(self, smx_client, kick);
    if (client->session != NULL && !client->failed)
        (void)client_pump(client, (smx_slice){NULL, 0});
}

static void client_begin_session(smx_client *client)
{
    const smx_client_options *o = &client->options;
    smx_client_session_options options = {
        .version = SMX_CLIENT_SESSION_VERSION,
        .helo = slice_of_text(o->helo != NULL ? o->helo : client->machine),
        .own_hostname = slice_of_text(o->own_hostname),
        .lmtp = o->lmtp,
        .tls = o->tls,
        .authenticate = o->user != NULL,
        .banner_timeout_ms = o->banner_timeout_ms,
        .command_timeout_ms = o->command_timeout_ms,
        .data_timeout_ms = o->data_timeout_ms,
        .block_timeout_ms = o->block_timeout_ms,
        .final_timeout_ms = o->final_timeout_ms,
    };
    int error = smx_client_session_new(&options, client_now(client), &client->session);
    if (error != 0) {
        client->failed = true;
        client->outcome.error = error;
        connection_abort(client->connection);
        return;
    }
    client->handshaking = o->tls == SMX_TLS_IMPLICIT;
    if (client->handshaking)
        client_on_tls(client, NULL);
    (void)client_pump(client, (smx_slice){NULL, 0});
}

static void client_connected(void *owner, int error)
{
    smx_client *client = owner;
    if (error == 0) {
        client->connected_at = client_now(client);
        client_begin_session(client);
        return;
    }
    client->failed = true;
    client->outcome.error = error;
}

static size_t client_data(void *owner, smx_slice in)
{
    return client_pump(owner, in);
}

static void client_ended(void *owner, int error)
{
    smx_client *client = owner;
    if (client->session == NULL || client->failed)
        return;
    smx_client_session_fail(client->session, error == 0 ? SMX_E_CLOSED : error);
    (void)client_pump(client, (smx_slice){NULL, 0});
}

static void client_drained(void *owner)
{
    smx_client *client = owner;
    if (client->failed)
        return;
    client_push_output(client);
    if (client->body_open)
        client_body_send(client);
    (void)client_pump(client, (smx_slice){NULL, 0});
}

/* Whether the server's key is one that the owner expects. */
static bool client_expects_key(const smx_client *client)
{
    uint8_t digest[CONNECTION_KEY_DIGEST];
    if (client->options.pin_count == 0)
        return true;
    if (connection_get_key_digest(client->connection, digest) != 0)
        return false;
    for (size_t i = 0; i < client->options.pin_count; i++)
        if (memcmp(client->options.pins[i], digest, sizeof(digest)) == 0)
            return true;
    return false;
}

static void client_secured(void *owner, int error)
{
    smx_client *client = owner;
    if (client->failed)
        return;
    if (error != 0) {
        client_result_detail(client, connection_tls_problem(client->connection));
    } else if (!client_expects_key(client)) {
        client_result_detail(client, "the server's key is none of those in `pin`");
        error = SMX_E_CERTIFICATE;
    } else {
        client_tls_log(client->connection, client->options.host, 0, client->options.log,
                       client->options.log_arg);
    }
    if (!client->handshaking)
        smx_client_session_tls_done(client->session, client_now(client), error);
    else if (error != 0)
        smx_client_session_fail(client->session, error);
    else
        client->handshaking = false;
    (void)client_pump(client, (smx_slice){NULL, 0});
}

/* Without waiting for anything more. */
static void client_cut(smx_client *client)
{
    assert(!client->active);
    client->failed = true;
    connection_abort(client->connection);
}

static void client_timeout(void *owner)
{
    smx_client *client = owner;
    if (client->session == NULL || client->failed)
        return;
    if (client->closing && !client->active)
        client_cut(client);
    else
        (void)client_pump(client, (smx_slice){NULL, 0});
}

static void client_free(smx_client *client)
{
    loop_cancel_turn_end(&client->kick);
    if (client->block != NULL)
        loop_block_give(client->loop, client->block);
    sasl_client_free(client->sasl);
    smx_client_session_free(client->session);
    arena_free(&client->arena);
    free(client);
}

static void client_closed(void *owner)
{
    smx_client *client = owner;
    if (client->active) { /* the loop is freed with its connections */
        smx_client_session_fail(client->session, SMX_E_CLOSED);
        (void)client_pump(client, (smx_slice){NULL, 0});
    }
    client->outcome.detail = client->detail;
    client->handler->closed(client->arg, client, &client->outcome);
    client_free(client);
}

static const connection_handler client_connection_handler = {
    .connected = client_connected,
    .data = client_data,
    .ended = client_ended,
    .drained = client_drained,
    .secured = client_secured,
    .timeout = client_timeout,
    .closed = client_closed,
};

/* ---- for the owner ---- */

int smx_client_new(smx_loop *loop, const smx_client_options *options,
                   const smx_client_handler *handler, void *arg, smx_client **out)
{
    assert(options->version == SMX_CLIENT_VERSION);
    smx_client *client = calloc(1, sizeof(*client));
    if (client == NULL)
        return SMX_E_NOMEM;
    client->loop = loop;
    client->options = *options;
    client->handler = handler;
    client->arg = arg;
    client->kick.fn = client_kicked;
    if (options->helo == NULL && gethostname(client->machine, sizeof(client->machine) - 1) != 0)
        memcpy(client->machine, "localhost", sizeof("localhost"));
    client->outcome = (smx_client_result){
        .outcome = SMX_OUTCOME_FAILED, .phase = SMX_CLIENT_PHASE_CONNECT, .refused = SIZE_MAX};
    connection_target target = {
        .to = {.is_unix = options->port == 0,
               .host = slice_of_text(options->host),
               .port = options->port},
        .source = options->source,
        .family = options->family,
    };
    uint64_t patience = options->connect_timeout_ms == 0 ? 30000 : options->connect_timeout_ms;
    int error = connection_open(loop, &target, patience, &client_connection_handler, client,
                                &client->connection);
    if (error != 0) {
        client_free(client);
        return error;
    }
    *out = client;
    return 0;
}

static int client_begin(smx_client *client, const smx_submission *submission)
{
    uint64_t size = submission->header.len;
    if (submission->message != NULL && submission->stage == SMX_SUBMISSION_WHOLE)
        size += smx_message_size(submission->message) - submission->body_offset;
    smx_client_transaction transaction = {
        .mail = submission->envelope->mail,
        .recipients = submission->envelope->recipients,
        .recipient_count = submission->envelope->recipient_count,
        .size = size,
        .has_size = submission->stage == SMX_SUBMISSION_WHOLE,
        .hold_data = submission->all_or_nothing,
        .in_steps = submission->stage != SMX_SUBMISSION_WHOLE,
    };
    return smx_client_session_begin(client->session, client_now(client), &transaction);
}

static bool client_is_ready(const smx_client *client)
{
    return !client->failed && !client->active && client->session != NULL && !client->closing &&
           smx_client_session_is_ready(client->session);
}

int smx_client_submit(smx_client *client, const smx_submission *submission)
{
    if (!client_is_ready(client))
        return SMX_E_STATE;
    arena_reset(&client->arena);
    size_t count = submission->envelope->recipient_count;
    smx_reply *replies = arena_calloc(&client->arena, (count + 1) * sizeof(smx_reply));
    if (replies == NULL)
        return SMX_E_NOMEM;
    int error = client_begin(client, submission);
    if (error != 0)
        return error;
    client->submission = *submission;
    client->replies = replies;
    client->replies_capacity = count;
    client_result_begin(client);
    client->transactions++;
    client_push(client);
    return 0;
}

int smx_client_noop(smx_client *client)
{
    if (!client_is_ready(client))
        return SMX_E_STATE;
    int error = smx_client_session_noop(client->session, client_now(client));
    if (error == 0)
        client_push(client);
    return error;
}

int smx_client_cancel(smx_client *client)
{
    if (!client->active || client->failed)
        return SMX_E_STATE;
    if (smx_client_session_phase(client->session) >= SMX_CLIENT_PHASE_FINAL)
        return SMX_E_LATE;
    client->cancelled = true;
    if (!client_reset(client))
        client_end(client, SMX_E_TIMEOUT, NULL);
    return 0;
}

void smx_client_close(smx_client *client)
{
    bool again = client->closing && !client->active;
    client->closing = true;
    if (again) {
        client_cut(client);
        return;
    }
    if (client->failed)
        return;
    client->quit_by = client_now(client) + QUIT_MS;
    if (client->session == NULL || !client->was_ready) {
        client->outcome.error = SMX_E_CLOSED;
        client->outcome.phase = client_phase(client);
        client_cut(client);
    } else if (!smx_client_session_is_ready(client->session) ||
               smx_client_session_quit(client->session, client_now(client)) != 0) {
        client_end(client, SMX_E_CLOSED, NULL);
    } else {
        client_push(client);
    }
}

const smx_capabilities *smx_client_capabilities(const smx_client *client)
{
    return client->was_ready ? smx_client_session_capabilities(client->session) : NULL;
}

void smx_client_get_info(const smx_client *client, smx_client_info *info)
{
    connection_tls_info tls;
    *info = (smx_client_info){.transactions = client->transactions,
                              .connected_at = client->connected_at,
                              .auth_mechanism = client->mechanism};
    info->phase = client_phase(client);
    info->caught_up = client_is_caught_up(client);
    if (!connection_get_tls_info(client->connection, &tls))
        return;
    info->tls = true;
    info->verified = tls.verified;
    info->resumed = tls.resumed;
    info->tls_protocol = slice_of_text(tls.protocol);
    info->tls_cipher = slice_of_text(tls.cipher);
}
