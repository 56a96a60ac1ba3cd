/* How a pair comes to be: behind what comes before every session (guest.c) the hooks of CONNECT are
 * asked, the upstream is connected to, and its banner is the first that the client hears. Where there
 * is no upstream the client gets a 421 instead of a banner. */
#include "base/fresh.h"
#include "client/client_tls.h"
#include "proxy/proxy_internal.h"
#include "server/replies.h"

/* ---- the relay ---- */

static int pair_make_relay(pair *p)
{
    proxy_listener *l = p->listener;
    const smx_listener_options *o = &l->entrance.options;
    smx_slice attributes = {0};
    int error = relay_new(&l->relay, pair_now(p), &p->relay);
    if (error == 0 && l->upstream.address == SMX_PROXY_ADDRESS_XCLIENT)
        error = pair_upstream_xclient(p, &attributes);
    if (error != 0)
        return error;
    relay_set_xclient(p->relay, attributes);
    if (trust_lists(o->xclient, o->xclient_count, &p->guest.view.client))
        relay_allow_xclient(p->relay);
    connection_tls_info tls;
    if (connection_get_tls_info(p->upstream, &tls))
        relay_set_verified(p->relay, tls.verified);
    return 0;
}

static void pair_relays(pair *p)
{
    char text[SMX_ADDRESS_TEXT];
    if (pair_make_relay(p) != 0) {
        pair_refuse(p, PEER_REPLY(SETUP));
        return;
    }
    p->guest.setup_due = UINT64_MAX;
    p->state = PAIR_RELAYS;
    smx_slice address = smx_address_write(connection_peer(p->upstream), text);
    pair_log(p, SMX_LOG_DEBUG, "connect", "upstream", address);
    watch_upstream(p);
    pair_advance(p);
}

/* ---- the upstream ---- */

void pair_no_upstream(pair *p, const char *what, const char *why)
{
    const bool is_loop = slice_equal(slice_of_text(what), SMX_SLICE("loop"));
    const smx_reply *reply = is_loop ? PEER_REPLY(LOOP) : PEER_REPLY(NO_UPSTREAM);
    char text[SMX_ADDRESS_TEXT];
    const smx_log_field fields[] = {
        {"upstream", pair_upstream_name(p, text)},
        {"phase", slice_of_text(what)},
        {"reason", slice_of_text(why)},
    };
    front_log(&p->proxy->front, SMX_LOG_WARN, "upstream_failed", &p->guest, fields, 3);
    trace_note(p, "no upstream: %s", why);
    if (p->listener->is_raw)
        pair_end(p);
    else
        pair_refuse(p, reply);
}

static void pair_refuse_loop(pair *p)
{
    pair_no_upstream(p, "loop", "the upstream is this proxy's own listener");
}

/* A connection to ourselves is a client of ours, who would be connected to ourselves: so that this ends,
 * no other attempt is made for a moment. */
static void pair_found_loop(pair *p)
{
    enum { LOOP_PAUSE_MS = 1000 };
    p->listener->loops_until = pair_now(p) + LOOP_PAUSE_MS;
    pair_refuse_loop(p);
}

static bool pair_refuses_itself(pair *p)
{
    bool refuses = pair_upstream_is_client(p);
    if (refuses)
        pair_no_upstream(p, "loop", "the client is a connection of this proxy to its upstream");
    return refuses;
}

void pair_connect(pair *p)
{
    int error = 0;
    if (pair_now(p) < p->listener->loops_until) {
        pair_refuse_loop(p);
        return;
    }
    p->state = PAIR_CONNECTS;
    const char *mistake = pair_upstream_open(p, &error);
    if (mistake != NULL)
        pair_refuse_loop(p);
    else if (error != 0)
        pair_no_upstream(p, "connect", smx_error_text(error));
    else
        pair_set_deadline(p);
}

static void note_connected(pair *p)
{
    char text[SMX_ADDRESS_TEXT];
    const smx_address *peer = connection_peer(p->upstream);
    if (!trace_is_wanted(p))
        return;
    if (peer->family == 4 || peer->family == 6)
        trace_note(p, "connected to %s, port %u", smx_address_write(peer, text).data, peer->port);
    else
        trace_note(p, "connected to %s", p->listener->upstream.host);
}

void pair_connected(pair *p, int error)
{
    if (error != 0) {
        p->upstream = NULL; /* it closes by itself */
        pair_no_upstream(p, "connect", smx_error_text(error));
        return;
    }
    if (pair_upstream_is_ourselves(p, connection_peer(p->upstream))) {
        pair_found_loop(p);
        return;
    }
    if (pair_refuses_itself(p)) /* another loop can have taken it in before it was kept */
        return;
    note_connected(p);
    bool first = p->listener->upstream.tls == SMX_TLS_IMPLICIT && !p->listener->is_raw;
    error = pair_upstream_introduce(p);
    if (error == 0 && first)
        error = pair_upstream_secure(p);
    if (error != 0)
        pair_no_upstream(p, "connect", smx_error_text(error));
    else if (!first)
        pair_relays(p);
}

void pair_upstream_secured_first(pair *p, int error)
{
    if (error != 0)
        pair_no_upstream(p, "tls", connection_tls_problem(p->upstream));
    else
        pair_relays(p);
}

/* ---- the client ---- */

static void pair_judge(pair *p)
{
    if (pair_refuses_itself(p))
        return;
    p->state = PAIR_JUDGED;
    connection_waiting(p->guest.connection, true);
    if (watch_new(p) != 0) {
        pair_refuse(p, PEER_REPLY(SETUP));
        return;
    }
    if (p->guest.view.tls)
        trace_client_tls(p);
    pair_ask(p, SMX_HOOK_CONNECT, (smx_slice){0});
    if (p->state == PAIR_JUDGED)
        pair_set_deadline(p);
}

static void pair_goes_on(pair *p, guest_step step, const smx_reply *refusal)
{
    if (step == GUEST_READY) {
        p->guest.view.tls = p->guest.view.tls || connection_is_tls(p->guest.connection);
        guest_view_tls(&p->guest);
        pair_judge(p);
    } else if (step == GUEST_WAITS) {
        pair_set_deadline(p);
    } else if (refusal != NULL) {
        pair_refuse(p, refusal);
    } else {
        pair_end(p);
    }
}

size_t pair_header(pair *p, smx_slice in)
{
    const smx_reply *refusal;
    size_t used;
    guest_step step = guest_header(&p->guest, in, &used, &refusal);
    pair_goes_on(p, step, refusal);
    return used;
}

void pair_secured_first(pair *p, int error)
{
    const smx_reply *refusal;
    guest_step step = guest_secured(&p->guest, error, &refusal);
    pair_goes_on(p, step, refusal);
}

void pair_new(entrance *e, connection *c)
{
    const smx_reply *refusal;
    pair *p = fresh(pair);
    if (p == NULL || connection_start(c, &pair_client_handler, p) != 0) {
        free(p);
        connection_close(c);
        return;
    }
    p->listener = list_member(e, proxy_listener, entrance);
    p->proxy = p->listener->proxy;
    p->trim_due = UINT64_MAX;
    p->client_open = true;
    pair_init_kick(p);
    guest_init(&p->guest, e, c);
    guest_step step = guest_arrive(&p->guest, &refusal);
    pair_goes_on(p, step, refusal);
}
