/* The way to the upstream: where it is, who the client is, TLS; and that it is not ourselves. */
#include "client/client_tls.h"
#include "proxy/proxy_internal.h"

enum { CONNECT_MS = 30000 };

/* ---- opening ---- */

static bool address_equal(const smx_address *a, const smx_address *b)
{
    size_t len = a->family == 4 ? 4 : 16;
    return a->family == b->family && memcmp(a->octets, b->octets, len) == 0;
}

static bool address_is_any(const smx_address *a)
{
    static const uint8_t any[16] = {0};
    return memcmp(a->octets, any, a->family == 4 ? 4 : 16) == 0;
}

bool pair_upstream_is_ourselves(const pair *p, const smx_address *to)
{
    const front *f = &p->proxy->front;
    for (size_t i = 0; i < f->entrance_count; i++) {
        if (f->entrances[i]->socket == NULL)
            continue;
        const smx_address *at = listener_address_of(f->entrances[i]->socket);
        if (at->family == to->family && at->port == to->port && to->port != 0 &&
            (address_equal(at, to) || (address_is_any(at) && address_is_own(to))))
            return true;
    }
    return false;
}

/* ---- a rule of the firewall that catches our own connections too ---- */

void pair_upstream_leave_route(pair *p)
{
    if (p->is_routed)
        shared_leave_route(p->proxy->front.shared, &p->route_from, &p->route_to);
    p->is_routed = false;
}

/* Of several attempts the last one counts. Without memory a loop through this one is not seen. */
void pair_upstream_enter_route(pair *p, const smx_address *from, const smx_address *to)
{
    pair_upstream_leave_route(p);
    p->route_from = *from;
    p->route_to = *to;
    p->is_routed = shared_enter_route(p->proxy->front.shared, from, to);
}

/* A proxy of this process that has our listener for its upstream is a client like others. Where TPROXY
 * lets clients keep their address, a client and our own connection can have the same two ends. */
bool pair_upstream_is_client(const pair *p)
{
    smx_address to;
    connection *c = p->guest.connection;
    bool alike = p->listener->entrance.options.transparent &&
                 p->listener->upstream.address == SMX_PROXY_ADDRESS_TRANSPARENT;
    if (alike || !shared_has_start(p->proxy->front.shared, connection_peer(c)))
        return false; /* before the kernel is asked where it wanted to go */
    connection_original_destination(c, &to);
    return shared_has_route(p->proxy->front.shared, connection_peer(c), &to) &&
           !pair_upstream_is_ourselves(p, &to);
}

/* ---- the attempt ---- */

/* Where redirected clients wanted to go. */
static const char *find_original(const pair *p, smx_address *to, char text[SMX_ADDRESS_TEXT],
                                 endpoint *e)
{
    connection_original_destination(p->guest.connection, to);
    if (pair_upstream_is_ourselves(p, to))
        return "loop";
    uint16_t port = p->listener->upstream.port;
    *e = (endpoint){.host = smx_address_write(to, text), .port = port == 0 ? to->port : port};
    return NULL;
}

smx_slice pair_upstream_name(const pair *p, char text[SMX_ADDRESS_TEXT])
{
    smx_address to;
    if (!p->listener->upstream.original_destination)
        return slice_of_text(p->listener->upstream.host);
    connection_original_destination(p->guest.connection, &to);
    return smx_address_write(&to, text);
}

const char *pair_upstream_open(pair *p, int *error)
{
    const smx_proxy_upstream *u = &p->listener->upstream;
    char source[SMX_ADDRESS_TEXT];
    char text[SMX_ADDRESS_TEXT];
    smx_address to;
    connection_target target = {
        .to = {.is_unix = u->port == 0, .host = slice_of_text(u->host), .port = u->port},
        .source = u->source,
        .family = u->family,
    };
    const char *mistake = u->original_destination ? find_original(p, &to, text, &target.to) : NULL;
    if (mistake != NULL) {
        *error = SMX_E_INVALID;
        return mistake;
    }
    if (u->address == SMX_PROXY_ADDRESS_TRANSPARENT) {
        (void)smx_address_write(&p->guest.view.client, source);
        target.source = source;
        target.transparent = true;
    }
    uint32_t patience = u->connect_timeout_ms == 0 ? CONNECT_MS : u->connect_timeout_ms;
    p->guest.setup_due = pair_now(p) + patience;
    *error = connection_open(p->proxy->front.loop, &target, patience, &pair_upstream_handler, p,
                             &p->upstream);
    p->pair_upstream_open = *error == 0;
    return NULL;
}

/* ---- who the client is ---- */

/* Where the client wanted to go: as a PROXY header of its own says, or before a rule redirected it. */
static smx_address wanted_destination(const pair *p)
{
    const smx_address *local = connection_local(p->guest.connection);
    smx_address to = p->guest.view.server;
    if (address_equal(&to, local) && to.port == local->port)
        connection_original_destination(p->guest.connection, &to);
    return to;
}

/* PROXY, version 2, where it has a form for these addresses; else LOCAL. */
static int send_proxy_header(pair *p)
{
    char octets[64];
    size_t len;
    const smx_address *client = &p->guest.view.client;
    const smx_address to = wanted_destination(p);
    bool known = (client->family == 4 || client->family == 6) && client->family == to.family;
    const smx_proxy_header header = {
        .version = 2, .local = !known, .source = *client, .destination = to};
    int error = smx_proxy_header_write(&header, octets, sizeof(octets), &len);
    return error != 0 ? error : connection_queue(p->upstream, slice_of(octets, len));
}

int pair_upstream_introduce(pair *p)
{
    return p->listener->upstream.address == SMX_PROXY_ADDRESS_HEADER ? send_proxy_header(p) : 0;
}

/* A client of a Unix socket has nothing that could be told. */
int pair_upstream_xclient(pair *p, smx_slice *attributes)
{
    enum { NAME_MAX_OCTETS = 255 };
    const smx_session_view *view = &p->guest.view;
    char address[SMX_ADDRESS_TEXT];
    char name[3 * NAME_MAX_OCTETS];
    buffer text = {0};
    size_t len = 0;
    if (view->client.family != 4 && view->client.family != 6)
        return 0;
    (void)smx_address_write(&view->client, address);
    int error = buffer_printf(&text, "ADDR=%s%s", view->client.family == 6 ? "IPV6:" : "", address);
    if (error == 0 && view->client.port != 0)
        error = buffer_printf(&text, " PORT=%u", view->client.port);
    if (error == 0 && view->client_name.len > 0 && view->client_name.len <= NAME_MAX_OCTETS &&
        smx_xtext_encode(view->client_name, name, sizeof(name), &len) == 0)
        error = buffer_printf(&text, " NAME=%.*s", (int)len, name);
    if (error == 0)
        error = arena_copy(&p->memory, buffer_slice(&text), attributes);
    buffer_free(&text);
    return error;
}

/* ---- TLS ---- */

/* The proxy has no credentials of its own: IF_AUTH takes what it is shown, and tells. */
int pair_upstream_secure(pair *p)
{
    const smx_proxy_upstream *u = &p->listener->upstream;
    char text[SMX_ADDRESS_TEXT];
    const char *name = u->tls_name;
    if (name == NULL && u->original_destination)
        name = connection_tls_server_name(p->guest.connection);
    if (name == NULL && u->original_destination)
        name = smx_address_write(connection_peer(p->upstream), text).data;
    if (name == NULL)
        name = u->host;
    p->securing = true;
    return client_tls_begin(p->upstream, u->tls_context, name, u->verify == SMX_VERIFY_REQUIRED);
}
