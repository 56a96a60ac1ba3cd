/* Listeners of a server: their options become those of the machines of those who connect. */
#include <stdlib.h>

#include "server/internal.h"

enum {
    DEFAULT_MAX_RECIPIENTS = 1000,
    DATA_TIMEOUT_MS = 180000, /* within a message, unless idle_timeout is shorter */
    DEFAULT_OFFERED = SMX_EXT_PIPELINING | SMX_EXT_SIZE | SMX_EXT_8BITMIME |
                      SMX_EXT_ENHANCEDSTATUSCODES | SMX_EXT_CHUNKING | SMX_EXT_LIMITS,
};

static void listen_fill_defaults(smx_listener_options *options)
{
    if (options->offered == 0)
        options->offered = DEFAULT_OFFERED;
    if (options->max_recipients == 0)
        options->max_recipients = DEFAULT_MAX_RECIPIENTS;
    if (options->mechanisms == NULL)
        options->mechanisms = options->no_scram ? "PLAIN LOGIN" : "SCRAM-SHA-256 PLAIN LOGIN";
}

/* The options of every machine behind this listener. */
static void listen_fill_session(smx_server *server, server_listener *l)
{
    const smx_listener_options *options = &l->entrance.options;
    l->server = server;
    bool auth = options->auth != SMX_AUTH_OFF && server->options.find_user != NULL;
    smx_extensions offered = options->offered & ~(smx_extensions)(SMX_EXT_STARTTLS | SMX_EXT_AUTH);
    if (options->tls == SMX_LISTENER_STARTTLS || options->tls == SMX_LISTENER_REQUIRED)
        offered |= SMX_EXT_STARTTLS;
    if (auth)
        offered |= SMX_EXT_AUTH;
    smx_slice mechanisms = auth ? slice_of_text(options->mechanisms) : (smx_slice){0};
    l->session = (smx_server_session_options){
        .version = SMX_SERVER_SESSION_VERSION,
        .hostname = slice_of_text(server->front.hostname),
        .banner = slice_of_text(server->banner),
        .lmtp = options->lmtp,
        .offered = offered | SMX_EXT_XCLIENT,
        .auth_tls = mechanisms,
        .auth_clear = options->allow_insecure_auth ? mechanisms : (smx_slice){0},
        .tls_required = options->tls == SMX_LISTENER_REQUIRED,
        .max_size = options->max_size,
        .max_recipients = options->max_recipients,
        .idle_timeout_ms = options->idle_timeout_ms,
        .data_timeout_ms =
            options->idle_timeout_ms < DATA_TIMEOUT_MS ? options->idle_timeout_ms : 0,
        .min_rate = options->min_rate,
        .bare_newline = options->bare_newline,
        .tickets = loop_tickets(server->front.loop),
        .ticket_step = loop_ticket_step(),
    };
}

const front *front_of_server(const smx_server *server)
{
    return server == NULL ? NULL : &server->front;
}

int smx_server_listen(smx_server *server, const smx_listener_options *options, char *text)
{
    if (options->tls == SMX_LISTENER_PASSTHROUGH)
        return front_refuse_listener(
            text, SMX_E_INVALID,
            "tls: passthrough is for a transparent proxy, which has a server "
            "behind it");
    server_listener *l = calloc(1, sizeof(*l));
    if (l == NULL)
        return front_refuse_listener(text, SMX_E_NOMEM, "out of memory");
    int error =
        front_listen(&server->front, &l->entrance, options, front_of_server(options->adopts), text);
    if (error != 0)
        return error;
    listen_fill_defaults(&l->entrance.options);
    listen_fill_session(server, l);
    return 0;
}

uint16_t smx_server_port(const smx_server *server, size_t nth)
{
    return front_port(&server->front, nth);
}

int smx_server_socket(const smx_server *server, size_t nth)
{
    return front_socket(&server->front, nth);
}

int smx_server_start(smx_server *server)
{
    return front_start(&server->front);
}
