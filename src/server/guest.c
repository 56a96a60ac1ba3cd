/* What comes before a session: limits, the PROXY header, implicit TLS. Those whom a limit turns away
 * get a 421 instead of a banner. */
#include "server/front.h"
#include "server/replies.h"

enum { SETUP_MS = 30000 }; /* for a PROXY header, and for a handshake */

static void guest_set_due(guest *g)
{
    g->setup_due = loop_now(g->entrance->front->loop) + SETUP_MS;
}

/* ---- TLS ---- */

int guest_secure(guest *g)
{
    guest_set_due(g);
    return connection_secure_server(g->connection, g->entrance->tls);
}

static bool guest_needs_tls(const guest *g)
{
    return g->entrance->options.tls == SMX_LISTENER_IMPLICIT && !connection_is_tls(g->connection);
}

/* Implicit TLS. Behind a PROXY header its first octets may have come already. */
static guest_step guest_secure_first(guest *g)
{
    tls_server *tls = g->entrance->tls;
    int error = g->header_taken ? connection_secure_server_behind(g->connection, tls)
                                : connection_secure_server(g->connection, tls);
    guest_set_due(g);
    return error == 0 ? GUEST_WAITS : GUEST_REFUSED;
}

void guest_view_tls(guest *g)
{
    connection_tls_info tls;
    if (!connection_get_tls_info(g->connection, &tls))
        return;
    g->view.tls_protocol = slice_of_text(tls.protocol);
    g->view.tls_cipher = slice_of_text(tls.cipher);
}

void guest_tls_failed(guest *g, int error)
{
    const smx_log_field why[] = {
        {"error", slice_of_text(smx_error_text(error))},
        {"tls", slice_of_text(connection_tls_problem(g->connection))},
    };
    front_count(g->entrance, tls_failures);
    front_log(g->entrance->front, SMX_LOG_INFO, "tls_failed", g, why, 2);
}

/* ---- limits ---- */

/* No reply goes into the middle of TLS's first flight. */
static guest_step guest_refuse(guest *g, const smx_reply *reply, const char *why,
                               const smx_reply **refusal)
{
    const smx_log_field reason = {"reason", slice_of_text(why)};
    front_count(g->entrance, refused_connections);
    front_log(g->entrance->front, SMX_LOG_WARN, "connection_refused", g, &reason, 1);
    *refusal = guest_needs_tls(g) ? NULL : reply;
    return GUEST_REFUSED;
}

static bool guest_is_admitted(guest *g)
{
    uint32_t max = g->entrance->options.max_connections_per_client;
    if (max == 0 || g->client_counted)
        return true;
    g->counted_client = g->view.client;
    g->client_counted = shared_admit_client(g->entrance->front->shared, &g->counted_client, max);
    return g->client_counted;
}

/* ---- steps ---- */

void guest_init(guest *g, entrance *e, connection *c)
{
    g->entrance = e;
    g->connection = c;
    g->setup_due = UINT64_MAX;
    g->view.id = loop_next_ticket(e->front->loop);
    g->view.listener = e->name;
    g->view.client = *connection_peer(c);
    g->view.server = *connection_local(c);
}

/* The client is known. */
static guest_step guest_begin(guest *g, const smx_reply **refusal)
{
    if (!guest_is_admitted(g))
        return guest_refuse(g, PEER_REPLY(CLIENT_FULL), "max_connections_per_client", refusal);
    return guest_needs_tls(g) ? guest_secure_first(g) : GUEST_READY;
}

guest_step guest_arrive(guest *g, const smx_reply **refusal)
{
    const smx_listener_options *options = &g->entrance->options;
    front *f = g->entrance->front;
    *refusal = NULL;
    list_append(&f->open, &g->node);
    front_count(g->entrance, sessions);
    g->counted = shared_admit(f->shared, options->max_connections);
    if (!g->counted)
        return guest_refuse(g, PEER_REPLY(FULL), "max_connections", refusal);
    front_count(g->entrance, connections);
    g->header_wanted =
        trust_lists(options->proxy_protocol, options->proxy_protocol_count, &g->view.client);
    if (!g->header_wanted)
        return guest_begin(g, refusal);
    guest_set_due(g);
    return GUEST_WAITS;
}

/* The PROXY header of peers that must send one (CHECKLIST 68): before TLS, before the banner. What
 * they send otherwise ends the connection: it is never guessed whether one comes. */
guest_step guest_header(guest *g, smx_slice in, size_t *used, const smx_reply **refusal)
{
    smx_proxy_header header;
    *used = 0;
    *refusal = NULL;
    int error = smx_proxy_header_parse(in, &header, used);
    if (error == SMX_E_AGAIN)
        return GUEST_WAITS;
    g->header_wanted = false;
    g->setup_due = UINT64_MAX;
    if (error != 0) {
        *used = in.len;
        return guest_refuse(g, NULL, "no PROXY header", refusal);
    }
    if (!header.local) { /* LOCAL keeps the address of the connection (ATTACKS 29) */
        g->view.client = header.source;
        g->view.server = header.destination;
        g->view.tls = header.tls;
    }
    g->header_taken = true;
    return guest_begin(g, refusal);
}

guest_step guest_secured(guest *g, int error, const smx_reply **refusal)
{
    *refusal = NULL;
    g->setup_due = UINT64_MAX;
    if (error == 0)
        return guest_begin(g, refusal);
    guest_tls_failed(g, error);
    return GUEST_REFUSED;
}

/* ---- the end ---- */

void guest_closing(guest *g)
{
    front *f = g->entrance->front;
    if (g->node.owner != &f->closing)
        list_move(&f->closing, &g->node);
}

void guest_leave(guest *g)
{
    front *f = g->entrance->front;
    if (g->client_counted)
        shared_leave_client(f->shared, &g->counted_client);
    if (g->counted)
        shared_leave(f->shared);
    list_remove(&g->node);
    front_count_by(g->entrance, sessions, UINT64_MAX);
}
