/* How a session begins: limits, the PROXY header, implicit TLS, the machine; and STARTTLS. Those whom
 * a limit turns away get a 421 instead of a banner. */
#include <stdlib.h>

#include "server/internal.h"
#include "server/replies.h"

enum { SETUP_MS = 30000 }; /* for a PROXY header, and for a handshake */

void peer_secure(peer *p)
{
    peer_send_output(p);
    p->setup_due = loop_now(p->server->loop) + SETUP_MS;
    if (connection_secure_server(p->connection, p->listener->tls) != 0)
        peer_cut(p);
}

static int peer_make_machine(peer *p)
{
    smx_server_session_options options = p->listener->session;
    const smx_server_options *program = &p->server->options;
    if (program->offer != NULL)
        options.offered |= program->offer(program->offer_arg, &p->listener->options);
    options.tls = p->view.tls || connection_is_tls(p->connection);
    options.xclient = p->may_xclient;
    int error = 0;
    if (p->server->hooks != NULL)
        error = hook_session_new(p->server->hooks, peer_hooks_done, p, &p->hooks);
    if (error == 0)
        error = smx_server_session_new(&options, loop_now(p->server->loop), &p->machine);
    return error;
}

/* What the client gets instead of a banner; none in the middle of TLS's first flight. */
static void peer_turn_away(peer *p, const smx_reply *reply, const char *why)
{
    const smx_log_field reason = {"reason", slice_of_text(why)};
    server_count(p->listener, refused_connections);
    server_log(p->server, SMX_LOG_WARN, "connection_refused", p, &reason, 1);
    if (p->listener->options.tls == SMX_LISTENER_IMPLICIT && !connection_is_tls(p->connection))
        peer_end(p);
    else
        peer_refuse(p, reply);
}

static bool peer_admit_client(peer *p)
{
    uint32_t max = p->listener->options.max_connections_per_client;
    if (max == 0 || p->client_counted)
        return true;
    p->counted_client = p->view.client;
    p->client_counted = shared_admit_client(p->server->shared, &p->counted_client, max);
    return p->client_counted;
}

/* Implicit TLS. Behind a PROXY header its first octets may have come already. */
static void peer_secure_first(peer *p)
{
    tls_server *tls = p->listener->tls;
    int error = p->header_taken ? connection_secure_server_behind(p->connection, tls)
                                : connection_secure_server(p->connection, tls);
    p->setup_due = loop_now(p->server->loop) + SETUP_MS;
    if (error != 0)
        peer_cut(p);
    else
        peer_set_deadline(p);
}

void peer_begin(peer *p)
{
    const smx_listener_options *options = &p->listener->options;
    if (!peer_admit_client(p)) {
        peer_turn_away(p, PEER_REPLY(CLIENT_FULL), "max_connections_per_client");
        return;
    }
    if (options->tls == SMX_LISTENER_IMPLICIT && !connection_is_tls(p->connection)) {
        peer_secure_first(p);
        return;
    }
    p->may_xclient = trust_lists(options->xclient, options->xclient_count, &p->view.client);
    if (peer_make_machine(p) != 0) {
        hook_session_free(p->hooks);
        p->hooks = NULL;
        peer_refuse(p, PEER_REPLY(SETUP));
        return;
    }
    peer_view_refresh(p);
    server_log(p->server, SMX_LOG_DEBUG, "connect", p, NULL, 0);
    peer_advance(p);
}

static peer *peer_make(server_listener *l, connection *c)
{
    peer *p = calloc(1, sizeof(*p));
    if (p == NULL)
        return NULL;
    p->server = l->server;
    p->listener = l;
    p->connection = c;
    p->setup_due = p->auth_due = p->trim_due = UINT64_MAX;
    p->view.id = loop_next_ticket(l->server->loop);
    p->view.listener = l->name;
    p->view.client = *connection_peer(c);
    p->view.server = *connection_local(c);
    return p;
}

void peer_new(server_listener *l, connection *c)
{
    smx_server *server = l->server;
    peer *p = peer_make(l, c);
    if (p == NULL || connection_start(c, &peer_handler, p) != 0) {
        free(p);
        connection_close(c);
        return;
    }
    list_append(&server->open, &p->node);
    server_count(l, sessions);
    p->counted = shared_admit(server->shared, l->options.max_connections);
    if (!p->counted) {
        peer_turn_away(p, PEER_REPLY(FULL), "max_connections");
        return;
    }
    server_count(l, connections);
    p->header_wanted =
        trust_lists(l->options.proxy_protocol, l->options.proxy_protocol_count, &p->view.client);
    if (!p->header_wanted) {
        peer_begin(p);
        return;
    }
    p->setup_due = loop_now(server->loop) + SETUP_MS;
    peer_set_deadline(p);
}
