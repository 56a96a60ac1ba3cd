/* A sink for the benchmark: takes everything, keeps nothing, as fast as it can, since Postfix's
 * smtp-sink becomes the limit with large bodies and knows neither AUTH nor TLS.
 * Usage: fast_sink HOST:PORT [CERT KEY [IDLE]] (PORT 0: prints the one it has; IDLE: closes a
 * connection that is silent for so many milliseconds) */
#include <stdio.h>
#include <stdlib.h>

#include "net/listener.h"
#include "smx/session.h"

typedef struct fast_sink {
    smx_loop *loop;
    tls_server *tls;
    uint64_t idle_ms; /* 0: for ever */
} fast_sink;

typedef struct fast_session {
    fast_sink *sink;
    connection *connection;
    smx_server_session *machine;
} fast_session;

static smx_reply fast_answer(const smx_server_event *event)
{
    switch (event->type) {
    case SMX_SERVER_CONNECT:
    case SMX_SERVER_STARTTLS:
        return (smx_reply){220, {0, 0, 0}, {NULL, 0}};
    case SMX_SERVER_AUTH:
    case SMX_SERVER_AUTH_RESPONSE:
        return SMX_REPLY(235, 2, 7, 0, "welcome");
    case SMX_SERVER_DATA:
        return SMX_REPLY(354, 0, 0, 0, "go ahead");
    default:
        return SMX_REPLY(250, 2, 0, 0, "ok");
    }
}

static void fast_secure(fast_session *session)
{
    smx_slice output = smx_server_session_output(session->machine);
    if (connection_queue(session->connection, output) != 0 ||
        connection_secure_server(session->connection, session->sink->tls) != 0)
        connection_abort(session->connection);
    smx_server_session_sent(session->machine, output.len);
}

static size_t fast_data(void *owner, smx_slice in)
{
    fast_session *session = owner;
    size_t used = 0;
    bool closing = false;
    for (;;) {
        smx_server_event event;
        used += smx_server_session_feed(session->machine, loop_now(session->sink->loop),
                                        (smx_slice){in.data + used, in.len - used}, &event);
        if (event.type == SMX_SERVER_NONE)
            break;
        smx_reply reply = fast_answer(&event);
        if (event.type == SMX_SERVER_CLOSE)
            closing = true;
        else if (event.type == SMX_SERVER_TLS)
            fast_secure(session);
        else if (event.ticket != 0 &&
                 smx_server_session_answer(session->machine, event.ticket, &reply) != 0)
            abort();
    }
    smx_slice output = smx_server_session_output(session->machine);
    if (output.len > 0 && connection_queue(session->connection, output) != 0)
        connection_abort(session->connection);
    smx_server_session_sent(session->machine, output.len);
    if (session->sink->idle_ms > 0)
        connection_set_deadline(session->connection,
                                loop_now(session->sink->loop) + session->sink->idle_ms);
    if (closing)
        connection_close(session->connection);
    return used;
}

static void fast_ended(void *owner, int error)
{
    (void)error;
    connection_close(((fast_session *)owner)->connection);
}

static void fast_secured(void *owner, int error)
{
    fast_session *session = owner;
    smx_server_session_tls_done(session->machine, loop_now(session->sink->loop), error);
    (void)fast_data(session, (smx_slice){"", 0});
}

static void fast_timeout(void *owner)
{
    connection_close(((fast_session *)owner)->connection);
}

static void fast_nothing(void *owner)
{
    (void)owner;
}

static void fast_closed(void *owner)
{
    fast_session *session = owner;
    smx_server_session_free(session->machine);
    free(session);
}

static const connection_handler fast_handler = {
    .data = fast_data,
    .ended = fast_ended,
    .drained = fast_nothing,
    .secured = fast_secured,
    .timeout = fast_timeout,
    .closed = fast_closed,
};

static void fast_accept(void *owner, connection *c)
{
    fast_sink *sink = owner;
    fast_session *session = calloc(1, sizeof(*session));
    smx_server_session_options options = {
        .version = SMX_SERVER_SESSION_VERSION,
        .hostname = SMX_SLICE("sink.example"),
        .offered = SMX_EXT_PIPELINING | SMX_EXT_8BITMIME | SMX_EXT_ENHANCEDSTATUSCODES |
                   SMX_EXT_AUTH | (sink->tls != NULL ? SMX_EXT_STARTTLS : 0U),
        .auth_clear = SMX_SLICE("PLAIN"),
        .auth_tls = SMX_SLICE("PLAIN"),
        .max_recipients = 1000,
        .tickets = loop_tickets(sink->loop),
        .ticket_step = loop_ticket_step(),
    };
    if (session == NULL ||
        smx_server_session_new(&options, loop_now(sink->loop), &session->machine) != 0)
        abort();
    session->sink = sink;
    session->connection = c;
    if (connection_start(c, &fast_handler, session) != 0)
        abort();
    (void)fast_data(session, (smx_slice){"", 0});
}

int main(int argc, char **argv)
{
    fast_sink sink = {0};
    endpoint at;
    problem p = {0};
    listener *l = NULL;
    listener_options options = {.fd = -1};
    if (argc < 2 || argc == 3 || argc > 5) {
        (void)fprintf(stderr, "usage: fast_sink HOST:PORT [CERT KEY [IDLE]]\n");
        return 64;
    }
    if (argc == 5)
        sink.idle_ms = strtoul(argv[4], NULL, 10);
    if (argc >= 4) {
        tls_certificate certificate = {argv[2], argv[3]};
        tls_server_options tls = {.certificates = &certificate, .certificate_count = 1};
        if (tls_server_new(&tls, &sink.tls, &p) != 0)
            goto failed;
    }
    if (smx_loop_new(NULL, &sink.loop) != 0 ||
        endpoint_parse(slice_of_text(argv[1]), 0, &at, &p) != 0 ||
        listener_new(sink.loop, &at, &options, fast_accept, &sink, &l, &p) != 0 ||
        listener_start(l) != 0)
        goto failed;
    (void)printf("%u\n", listener_port(l));
    (void)fflush(stdout);
    smx_loop_run(sink.loop);
    return 0;
failed:
    (void)fprintf(stderr, "fast_sink: %s\n", p.text);
    return 69;
}
