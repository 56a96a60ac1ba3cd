/* Listeners: their options, with the defaults filled in, become a socket, a TLS context and the
 * options of the machines of those who connect. */
#include <stdlib.h>

#include "server/internal.h"

enum {
    DEFAULT_MAX_SIZE = 25 * 1024 * 1024,
    DEFAULT_MAX_RECIPIENTS = 1000,
    DEFAULT_MAX_CONNECTIONS = 10000,
    DATA_TIMEOUT_MS = 180000, /* within a message, unless idle_timeout is shorter */
    REFRESH_MS = 10000,       /* certificates are looked at this often */
    DEFAULT_OFFERED = SMX_EXT_PIPELINING | SMX_EXT_SIZE | SMX_EXT_8BITMIME |
                      SMX_EXT_ENHANCEDSTATUSCODES | SMX_EXT_CHUNKING | SMX_EXT_LIMITS,
};

static void listen_fill_defaults(smx_listener_options *options)
{
    if (options->offered == 0)
        options->offered = DEFAULT_OFFERED;
    if (options->max_size == 0)
        options->max_size = DEFAULT_MAX_SIZE;
    if (options->max_recipients == 0)
        options->max_recipients = DEFAULT_MAX_RECIPIENTS;
    if (options->max_connections == 0)
        options->max_connections = DEFAULT_MAX_CONNECTIONS;
    if (options->mechanisms == NULL)
        options->mechanisms = options->no_scram ? "PLAIN LOGIN" : "SCRAM-SHA-256 PLAIN LOGIN";
}

/* The options of every machine behind this listener. */
static void listen_fill_session(server_listener *l)
{
    const smx_listener_options *options = &l->options;
    smx_server *server = l->server;
    bool auth = options->auth != SMX_AUTH_OFF && server->options.find_user != NULL;
    smx_extensions offered = options->offered & ~(smx_extensions)(SMX_EXT_STARTTLS | SMX_EXT_AUTH);
    if (options->tls == SMX_LISTENER_STARTTLS || options->tls == SMX_LISTENER_REQUIRED)
        offered |= SMX_EXT_STARTTLS;
    if (auth)
        offered |= SMX_EXT_AUTH;
    smx_slice mechanisms = auth ? slice_of_text(options->mechanisms) : (smx_slice){0};
    l->session = (smx_server_session_options){
        .version = SMX_SERVER_SESSION_VERSION,
        .hostname = slice_of_text(server->hostname),
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
        .tickets = loop_tickets(server->loop),
        .ticket_step = loop_ticket_step(),
    };
}

/* ---- TLS ---- */

static void listen_on_refresh(timer_entry *entry)
{
    server_listener *l = list_member(entry, server_listener, refresh);
    problem p = {{0}};
    int loaded = tls_server_refresh(l->tls, &p);
    const smx_log_field fields[] = {
        {"listener", l->name},
        {"problem", slice_of_text(p.text)},
    };
    if (loaded == 1)
        server_log(l->server, SMX_LOG_INFO, "certificates_loaded", NULL, fields, 1);
    else if (loaded < 0)
        server_log(l->server, SMX_LOG_ERROR, "certificates_bad", NULL, fields, 2);
    timer_set(loop_timers(l->server->loop), entry, loop_now(l->server->loop) + REFRESH_MS);
}

static int listen_open_tls(server_listener *l, problem *p)
{
    const smx_listener_options *options = &l->options;
    if (options->tls == SMX_LISTENER_CLEAR)
        return 0;
    if (options->certificate_count == 0)
        return problem_set(p, SMX_E_INVALID,
                           "the listener %s offers TLS but has no certificate: name a cert and a "
                           "key file, or turn tls off",
                           options->listen);
    tls_certificate *files = calloc(options->certificate_count, sizeof(*files));
    if (files == NULL)
        return problem_set(p, SMX_E_NOMEM, "out of memory");
    for (size_t i = 0; i < options->certificate_count; i++)
        files[i] = (tls_certificate){options->certificates[i].cert_file,
                                     options->certificates[i].key_file};
    const tls_server_options tls = {files, options->certificate_count, options->client_ca_file};
    int error = tls_server_new(&tls, &l->tls, p);
    free(files);
    if (error != 0)
        return error;
    l->refresh.fn = listen_on_refresh;
    timer_set(loop_timers(l->server->loop), &l->refresh, loop_now(l->server->loop) + REFRESH_MS);
    return 0;
}

/* ---- sockets ---- */

static void listen_on_connection(void *owner, connection *c)
{
    peer_new(owner, c);
}

static void listen_on_paused(void *owner, int error)
{
    const server_listener *l = owner;
    const smx_log_field fields[] = {
        {"listener", l->name},
        {"problem", slice_of_text(smx_error_text(error))},
    };
    server_log(l->server, SMX_LOG_WARN, "accept_paused", NULL, fields, 2);
}

static int listen_open_socket(server_listener *l, problem *p)
{
    endpoint at;
    const smx_listener_options *o = &l->options;
    const listener_options options = {
        .fd = o->has_socket ? o->socket : -1,
        .adopts = o->adopts == NULL ? NULL : o->adopts->listeners[o->adopts_nth]->socket,
        .shared = o->shared_port,
        .paused = listen_on_paused,
    };
    int error = endpoint_parse(l->name, 0, &at, p);
    if (error != 0)
        return error;
    if (o->adopts != NULL && options.adopts == NULL)
        return problem_set(p, SMX_E_GONE, "%s is not listened on any more", o->listen);
    return listener_new(l->server->loop, &at, &options, listen_on_connection, l, &l->socket, p);
}

void server_listener_free(server_listener *l)
{
    if (l == NULL)
        return;
    listener_free(l->socket);
    timer_clear(&l->refresh);
    tls_server_free(l->tls);
    free(l);
}

static int listen_open(smx_server *server, const smx_listener_options *options, problem *p,
                       server_listener **out)
{
    server_listener *l = calloc(1, sizeof(*l));
    if (l == NULL)
        return problem_set(p, SMX_E_NOMEM, "out of memory");
    l->server = server;
    l->options = *options;
    l->name = slice_of_text(options->listen);
    listen_fill_defaults(&l->options);
    listen_fill_session(l);
    int error = listen_open_tls(l, p);
    if (error == 0)
        error = listen_open_socket(l, p);
    if (error != 0) {
        server_listener_free(l);
        return error;
    }
    *out = l;
    return 0;
}

int smx_server_listen(smx_server *server, const smx_listener_options *options, char *text)
{
    problem p = {{0}};
    server_listener *l = NULL;
    server_listener **listeners =
        realloc(server->listeners, (server->listener_count + 1) * sizeof(server_listener *));
    int error = SMX_E_NOMEM;
    if (listeners != NULL) {
        server->listeners = listeners;
        error = options->version == SMX_LISTENER_VERSION
                    ? listen_open(server, options, &p, &l)
                    : problem_set(&p, SMX_E_INVALID, "unknown version of smx_listener_options");
    }
    if (error == 0)
        server->listeners[server->listener_count++] = l;
    else if (text != NULL)
        memcpy(text, p.text, SMX_PROBLEM_TEXT);
    return error;
}

uint16_t smx_server_port(const smx_server *server, size_t nth)
{
    if (nth >= server->listener_count || server->listeners[nth]->socket == NULL)
        return 0;
    return listener_port(server->listeners[nth]->socket);
}

int smx_server_socket(const smx_server *server, size_t nth)
{
    if (nth >= server->listener_count || server->listeners[nth]->socket == NULL)
        return SMX_E_INVALID;
    int fd = listener_duplicate(listener_fd(server->listeners[nth]->socket));
    return fd < 0 ? SMX_E_IO : fd;
}

int smx_server_start(smx_server *server)
{
    int error = 0;
    for (size_t i = 0; i < server->listener_count && error == 0; i++)
        error = listener_start(server->listeners[i]->socket);
    return error;
}
