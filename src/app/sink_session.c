/* One session of a sink: the server machine on a connection, every event answered with "yes" unless a
 * fault is drawn. */
#include <stdlib.h>

#include "app/sink_internal.h"

static void sink_pump(sink_session *session);

/* ---- answers ---- */

static void sink_give(sink_session *session, const sink_answer *answer)
{
    int error =
        answer->challenge
            ? smx_server_session_challenge(session->machine, answer->ticket, answer->reply.text)
            : smx_server_session_answer(session->machine, answer->ticket, &answer->reply);
    if (error != 0)
        connection_abort(session->connection);
}

/* Gives the answer now, or after the latency: then `reply.text` must be constant or the session's. */
static void sink_answer_with(sink_session *session, sink_answer answer)
{
    if (session->sink->options.latency_ms == 0) {
        sink_give(session, &answer);
        return;
    }
    session->answer = answer;
    timer_set(loop_timers(session->sink->loop), &session->latency,
              loop_now(session->sink->loop) + session->sink->options.latency_ms);
}

static void sink_latency_over(timer_entry *self)
{
    sink_session *session = list_member(self, sink_session, latency);
    sink_give(session, &session->answer);
    connection_resume(session->connection);
    sink_pump(session);
}

/* Replies that the machine has ready leave before anything is done to the connection. */
static void sink_flush(sink_session *session)
{
    smx_slice output = smx_server_session_output(session->machine);
    if (output.len > 0 && connection_queue(session->connection, output) != 0)
        connection_abort(session->connection);
    smx_server_session_sent(session->machine, output.len);
}

/* Does what a fault says; false if it is none and the event is to be answered. */
static bool sink_do_fault(sink_session *session, sink_fault fault, smx_ticket ticket)
{
    smx_reply reply = {fault.code, {0, 0, 0}, SMX_SLICE("failed on demand")};
    if (fault.action != SINK_ACTION_NONE && fault.action != SINK_ACTION_REPLY)
        sink_flush(session);
    switch (fault.action) {
    case SINK_ACTION_NONE:
        return false;
    case SINK_ACTION_REPLY:
        sink_answer_with(session, (sink_answer){.ticket = ticket, .reply = reply});
        return true;
    case SINK_ACTION_CLOSE:
        session->over = true;
        connection_close(session->connection);
        return true;
    case SINK_ACTION_RESET:
        session->over = true;
        connection_abort(session->connection);
        return true;
    case SINK_ACTION_STALL:
        session->stalled = true;
        return true;
    case SINK_ACTION_GARBAGE:
        session->stalled = true;
        if (connection_queue(session->connection, SMX_SLICE("\x16\x03 what?\r\n999 no\r\n")) != 0)
            connection_abort(session->connection);
        return true;
    }
    return false;
}

static bool sink_fails(sink_session *session, sink_phase phase, smx_ticket ticket)
{
    return sink_do_fault(session, sink_faults_draw(&session->sink->options.faults, phase), ticket);
}

static void sink_yes(sink_session *session, sink_phase phase, smx_ticket ticket, smx_reply reply)
{
    if (!sink_fails(session, phase, ticket))
        sink_answer_with(session, (sink_answer){.ticket = ticket, .reply = reply});
}

/* ---- events, one function each ---- */

static void sink_on_connect(sink_session *session, const smx_server_event *event)
{
    sink_yes(session, SINK_CONNECT, event->ticket, (smx_reply){220, {0, 0, 0}, {NULL, 0}});
}

static void sink_on_helo(sink_session *session, const smx_server_event *event)
{
    sink_yes(session, SINK_EHLO, event->ticket, (smx_reply){250, {0, 0, 0}, {NULL, 0}});
}

static void sink_on_starttls(sink_session *session, const smx_server_event *event)
{
    sink_yes(session, SINK_STARTTLS, event->ticket, SMX_REPLY(220, 2, 0, 0, "go ahead"));
}

static void sink_on_tls(sink_session *session, const smx_server_event *event)
{
    (void)event;
    smx_slice output = smx_server_session_output(session->machine);
    if (connection_queue(session->connection, output) != 0 ||
        connection_secure_server(session->connection, session->sink->tls) != 0)
        connection_abort(session->connection);
    smx_server_session_sent(session->machine, output.len);
}

static bool sink_secret(void *arg, smx_slice user, smx_slice *secret)
{
    const sink_options *o = &((const sink_session *)arg)->sink->options;
    *secret = slice_of_text(o->password);
    return o->password != NULL && (o->user == NULL || slice_equal(user, slice_of_text(o->user)));
}

static bool sink_credentials_are_right(const sink_session *session)
{
    const sink_options *o = &session->sink->options;
    return o->user == NULL ||
           (slice_equal(sasl_server_user(session->sasl), slice_of_text(o->user)) &&
            slice_equal(sasl_server_password(session->sasl), slice_of_text(o->password)));
}

static void sink_auth_step(sink_session *session, const smx_server_event *event)
{
    buffer_clear(&session->sasl_output);
    sasl_step step =
        sasl_server_step(session->sasl, event->has_text, event->text, &session->sasl_output);
    smx_slice user = sasl_server_user(session->sasl);
    bool right =
        step == SASL_SUCCESS || (step == SASL_PASSWORD && sink_credentials_are_right(session));
    if (step == SASL_CHALLENGE) {
        smx_reply text = {334, {0, 0, 0}, buffer_slice(&session->sasl_output)};
        sink_answer_with(session,
                         (sink_answer){.ticket = event->ticket, .reply = text, .challenge = true});
    } else if (right) {
        size_t len = user.len < sizeof(session->user) - 1 ? user.len : sizeof(session->user) - 1;
        memcpy(session->user, user.data, len);
        session->user[len] = '\0';
        sink_yes(session, SINK_AUTH, event->ticket, SMX_REPLY(235, 2, 7, 0, "welcome"));
    } else {
        sink_answer_with(session,
                         (sink_answer){.ticket = event->ticket,
                                       .reply = SMX_REPLY(535, 5, 7, 8, "wrong credentials")});
    }
}

static void sink_on_auth(sink_session *session, const smx_server_event *event)
{
    smx_server_event step = *event;
    sasl_server_free(session->sasl);
    session->sasl = NULL;
    if (sasl_server_new(event->mechanism, sink_secret, session, &session->sasl) == 0) {
        step.has_text = event->has_text;
        sink_auth_step(session, &step);
        return;
    }
    sink_answer_with(session, (sink_answer){.ticket = event->ticket,
                                            .reply = SMX_REPLY(504, 5, 5, 4, "no such mechanism")});
}

static void sink_on_auth_response(sink_session *session, const smx_server_event *event)
{
    smx_server_event step = *event;
    step.has_text = true;
    sink_auth_step(session, &step);
}

/* The limit of messages in a window: what a provider says who has had enough. */
static bool sink_is_over_limit(sink *s)
{
    uint64_t now = loop_now(s->loop);
    if (s->options.limit == 0)
        return false;
    if (now - s->window_started >= s->options.limit_window_ms) {
        s->window_started = now;
        s->window_count = 0;
    }
    return s->window_count++ >= s->options.limit;
}

static void sink_on_mail(sink_session *session, const smx_server_event *event)
{
    smx_reply reply = SMX_REPLY(250, 2, 1, 0, "ok");
    smx_message_options options = {.version = SMX_MESSAGE_VERSION};
    arena_reset(&session->arena);
    session->envelope = (smx_envelope){0};
    session->recipient_capacity = 0;
    smx_message_free(session->message);
    session->message = NULL;
    if (sink_is_over_limit(session->sink))
        reply = SMX_REPLY(450, 4, 7, 1, "too many messages, try later");
    else if (smx_message_new(&options, &session->message) != 0 ||
             envelope_set_mail(&session->envelope, &session->arena, event->mail) != 0)
        reply = SMX_REPLY(452, 4, 3, 1, "out of memory");
    sink_yes(session, SINK_MAIL, event->ticket, reply);
}

static void sink_on_rcpt(sink_session *session, const smx_server_event *event)
{
    if (sink_fails(session, SINK_RCPT, event->ticket))
        return;
    smx_reply reply = SMX_REPLY(250, 2, 1, 5, "ok");
    if (envelope_add_rcpt(&session->envelope, &session->arena, event->rcpt,
                          &session->recipient_capacity) != 0)
        reply = SMX_REPLY(452, 4, 3, 1, "out of memory");
    sink_answer_with(session, (sink_answer){.ticket = event->ticket, .reply = reply});
}

static void sink_on_data(sink_session *session, const smx_server_event *event)
{
    sink_yes(session, SINK_DATA, event->ticket, SMX_REPLY(354, 0, 0, 0, "go ahead"));
}

static void sink_on_body(sink_session *session, const smx_server_event *event)
{
    bool begins = smx_message_size(session->message) == 0;
    if (begins && sink_fails(session, SINK_BODY, event->ticket))
        return;
    if (smx_message_append(session->message, event->text) != 0) {
        session->over = true; /* what is behind in the input is not looked at */
        connection_abort(session->connection);
    }
}

static void sink_record_message(sink_session *session, uint16_t code)
{
    char client[SMX_ADDRESS_TEXT];
    smx_server_session_info info;
    smx_server_session_get_info(session->machine, &info);
    smx_message_end(session->message);
    sink_record record = {
        .session = session->number,
        .client = smx_address_write(connection_peer(session->connection), client),
        .helo = info.helo,
        .user = slice_of_text(session->user),
        .tls = info.tls,
        .envelope = &session->envelope,
        .message = session->message,
        .code = code,
    };
    if (sink_store_digest(session->message, record.sha256) != 0)
        record.sha256[0] = '\0';
    sink_store(session->sink, &record);
}

static void sink_on_eom(sink_session *session, const smx_server_event *event)
{
    if (sink_fails(session, SINK_DOT, event->ticket))
        return;
    sink_fault fault = sink_faults_draw(&session->sink->options.faults, SINK_AFTER_DOT);
    sink_record_message(session, fault.action == SINK_ACTION_NONE ? 250 : fault.code);
    if (!sink_do_fault(session, fault, event->ticket))
        sink_answer_with(session, (sink_answer){.ticket = event->ticket,
                                                .reply = SMX_REPLY(250, 2, 0, 0, "got it")});
}

static void sink_on_vrfy(sink_session *session, const smx_server_event *event)
{
    sink_answer_with(session, (sink_answer){.ticket = event->ticket,
                                            .reply = SMX_REPLY(252, 2, 1, 5, "send and see")});
}

static void sink_on_xclient(sink_session *session, const smx_server_event *event)
{
    sink_answer_with(session, (sink_answer){.ticket = event->ticket,
                                            .reply = SMX_REPLY(550, 5, 7, 1, "not here")});
}

static void sink_on_nothing(sink_session *session, const smx_server_event *event)
{
    (void)session;
    (void)event;
}

static void sink_on_close(sink_session *session, const smx_server_event *event)
{
    (void)event;
    session->over = true;
}

static void (*const sink_events[])(sink_session *, const smx_server_event *) = {
    [SMX_SERVER_CONNECT] = sink_on_connect,
    [SMX_SERVER_HELO] = sink_on_helo,
    [SMX_SERVER_STARTTLS] = sink_on_starttls,
    [SMX_SERVER_TLS] = sink_on_tls,
    [SMX_SERVER_AUTH] = sink_on_auth,
    [SMX_SERVER_AUTH_RESPONSE] = sink_on_auth_response,
    [SMX_SERVER_AUTH_CANCELLED] = sink_on_nothing,
    [SMX_SERVER_XCLIENT] = sink_on_xclient,
    [SMX_SERVER_MAIL] = sink_on_mail,
    [SMX_SERVER_RCPT] = sink_on_rcpt,
    [SMX_SERVER_DATA] = sink_on_data,
    [SMX_SERVER_BODY] = sink_on_body,
    [SMX_SERVER_EOM] = sink_on_eom,
    [SMX_SERVER_RESET] = sink_on_nothing,
    [SMX_SERVER_VRFY] = sink_on_vrfy,
    [SMX_SERVER_CLOSE] = sink_on_close,
};

/* ---- the connection ---- */

static size_t sink_data(void *owner, smx_slice in)
{
    sink_session *session = owner;
    size_t used = 0;
    bool closing = session->over;
    while (!session->over && !session->stalled) {
        smx_server_event event;
        used += smx_server_session_feed(session->machine, loop_now(session->sink->loop),
                                        slice_from(in, used), &event);
        if (event.type == SMX_SERVER_NONE)
            break;
        closing = event.type == SMX_SERVER_CLOSE;
        sink_events[event.type](session, &event);
    }
    if (!session->over || closing)
        sink_flush(session);
    if (closing)
        connection_close(session->connection);
    connection_set_deadline(session->connection,
                            session->stalled ? SMX_DEADLINE_NEVER
                                             : smx_server_session_deadline(session->machine));
    return session->stalled || session->over ? in.len : used;
}

static void sink_pump(sink_session *session)
{
    if (!session->over)
        (void)sink_data(session, (smx_slice){NULL, 0});
}

static void sink_ended(void *owner, int error)
{
    (void)error;
    connection_close(((sink_session *)owner)->connection);
}

static void sink_drained(void *owner)
{
    (void)owner;
}

static void sink_secured(void *owner, int error)
{
    sink_session *session = owner;
    if (error != 0) {
        connection_close(session->connection);
        return;
    }
    if (!session->sink->options.tls_implicit)
        smx_server_session_tls_done(session->machine, loop_now(session->sink->loop), 0);
    sink_pump(session);
}

static void sink_timeout(void *owner)
{
    sink_pump(owner);
}

static void sink_session_free(sink_session *session)
{
    timer_clear(&session->latency);
    list_remove(&session->node);
    sasl_server_free(session->sasl);
    buffer_free(&session->sasl_output);
    smx_message_free(session->message);
    smx_server_session_free(session->machine);
    arena_free(&session->arena);
    free(session);
}

static void sink_closed(void *owner)
{
    sink_session *session = owner;
    sink *s = session->sink;
    sink_session_free(session);
    sink_session_gone(s);
}

static const connection_handler sink_handler = {
    .data = sink_data,
    .ended = sink_ended,
    .drained = sink_drained,
    .secured = sink_secured,
    .timeout = sink_timeout,
    .closed = sink_closed,
};

static smx_extensions sink_offers(const sink_options *o)
{
    smx_extensions offered = SMX_EXT_PIPELINING | SMX_EXT_SIZE | SMX_EXT_8BITMIME |
                             SMX_EXT_ENHANCEDSTATUSCODES | SMX_EXT_CHUNKING | SMX_EXT_SMTPUTF8 |
                             SMX_EXT_DSN | SMX_EXT_AUTH;
    if (o->no_pipelining)
        offered &= ~(smx_extensions)SMX_EXT_PIPELINING;
    if (o->no_chunking)
        offered &= ~(smx_extensions)SMX_EXT_CHUNKING;
    if (o->cert_file != NULL && !o->tls_implicit)
        offered |= SMX_EXT_STARTTLS;
    return offered;
}

static int sink_session_open(sink_session *session)
{
    const sink_options *o = &session->sink->options;
    smx_slice mechanisms =
        o->password != NULL ? SMX_SLICE("SCRAM-SHA-256 PLAIN LOGIN") : SMX_SLICE("PLAIN LOGIN");
    smx_server_session_options options = {
        .version = SMX_SERVER_SESSION_VERSION,
        .hostname = slice_of_text(o->hostname),
        .banner = SMX_SLICE("ESMTP smtpmux sink"),
        .tls = o->tls_implicit,
        .offered = sink_offers(o),
        .auth_clear = mechanisms,
        .auth_tls = mechanisms,
        .auth_required = o->auth_required,
        .max_size = o->max_size,
        .max_recipients = 10000,
        .max_errors = 1000,
        .max_idle_commands = 1000000,
        .tickets = loop_tickets(session->sink->loop),
        .ticket_step = loop_ticket_step(),
    };
    int error = smx_server_session_new(&options, loop_now(session->sink->loop), &session->machine);
    if (error == 0)
        error = connection_start(session->connection, &sink_handler, session);
    return error;
}

void sink_session_new(sink *s, connection *c)
{
    sink_session *session = calloc(1, sizeof(*session));
    if (session == NULL) {
        connection_abort(c);
        return;
    }
    session->sink = s;
    session->connection = c;
    session->number = ++s->last_session;
    session->latency.fn = sink_latency_over;
    list_append(&s->sessions, &session->node);
    if (sink_session_open(session) != 0) {
        sink_session_free(session);
        connection_abort(c);
        return;
    }
    if (!s->options.tls_implicit)
        sink_pump(session);
    else if (connection_secure_server(c, s->tls) != 0)
        connection_abort(c);
}
