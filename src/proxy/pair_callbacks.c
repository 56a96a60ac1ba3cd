/* What both connections of a pair call: octets, ends, handshakes, time. The client's connection keeps the
 * time of both; the pair is freed with the second one that is closed. */
#include <stdlib.h>

#include "proxy/proxy_internal.h"

/* ---- octets ---- */

static size_t pair_data(pair *p, relay_side side, smx_slice in)
{
    switch (p->state) {
    case PAIR_RELAYS:
        return pair_run(p, side, in);
    case PAIR_ENDS:
        return in.len;
    case PAIR_ARRIVES:
        return p->guest.header_wanted ? pair_header(p, in) : 0;
    case PAIR_JUDGED:
    case PAIR_CONNECTS:
        break;
    }
    return 0; /* it is early: kept until the upstream is there */
}

static size_t client_on_data(void *owner, smx_slice in)
{
    return pair_data(owner, RELAY_CLIENT, in);
}

static size_t upstream_on_data(void *owner, smx_slice in)
{
    return pair_data(owner, RELAY_UPSTREAM, in);
}

static void client_on_ended(void *owner, int error)
{
    pair *p = owner;
    pair_ended(p, &p->client_ended, RELAY_CLIENT, error);
}

static void upstream_on_ended(void *owner, int error)
{
    pair *p = owner;
    if (p->upstream != NULL)
        pair_ended(p, &p->upstream_ended, RELAY_UPSTREAM, error);
}

static void pair_on_drained(void *owner)
{
    pair *p = owner;
    if (p->state != PAIR_RELAYS)
        return;
    pair_look_at_queues(p);
    pair_advance(p);
}

/* STARTTLS of one side. */
static void pair_secured(pair *p, relay_side side, int error)
{
    connection_tls_info tls = {0};
    connection *c = pair_connection(p, side);
    (void)connection_get_tls_info(c, &tls);
    relay_secured(p->relay, side, pair_now(p), error, tls.verified);
    if (side == RELAY_CLIENT) {
        p->guest.setup_due = UINT64_MAX;
        p->guest.view.tls = error == 0;
        p->guest.view.helo = (smx_slice){0};
        guest_view_tls(&p->guest);
        if (error == 0)
            trace_client_tls(p);
        else
            trace_note(p, "the TLS handshake of the client failed: %s", connection_tls_problem(c));
    }
    pair_advance(p);
}

static void client_on_secured(void *owner, int error)
{
    pair *p = owner;
    if (p->state == PAIR_ARRIVES) {
        pair_secured_first(p, error);
    } else if (p->state == PAIR_RELAYS) {
        if (error != 0)
            guest_tls_failed(&p->guest, error);
        pair_secured(p, RELAY_CLIENT, error);
    }
}

static void upstream_on_secured(void *owner, int error)
{
    pair *p = owner;
    p->securing = false;
    if (p->upstream == NULL || p->state == PAIR_ENDS)
        return;
    if (error == 0)
        pair_upstream_is_secure(p);
    if (p->state == PAIR_CONNECTS) {
        pair_upstream_secured_first(p, error);
    } else {
        if (error != 0)
            pair_log(p, SMX_LOG_WARN, "upstream_failed", "tls",
                     slice_of_text(connection_tls_problem(p->upstream)));
        pair_secured(p, RELAY_UPSTREAM, error);
    }
}

static void pair_trim(pair *p)
{
    p->trim_due = UINT64_MAX;
    relay_trim(p->relay);
    watch_trim(p);
}

static void pair_expire_setup(pair *p)
{
    if (p->state == PAIR_CONNECTS)
        pair_no_upstream(p, p->securing ? "tls" : "connect", smx_error_text(SMX_E_TIMEOUT));
    else
        pair_cut(p);
}

static void pair_expire_relay(pair *p, uint64_t now)
{
    if (now >= relay_deadline(p->relay)) {
        relay_expire(p->relay, now);
        pair_advance(p);
    }
    if (p->state == PAIR_RELAYS && now >= p->trim_due)
        pair_trim(p);
}

static void client_on_timeout(void *owner)
{
    pair *p = owner;
    uint64_t now = pair_now(p);
    if (now >= p->guest.setup_due) {
        pair_expire_setup(p);
        return;
    }
    if (p->watch != NULL && p->watch->hooks != NULL &&
        now >= hook_session_deadline(p->watch->hooks))
        hook_session_expire(p->watch->hooks);
    if (p->state == PAIR_RELAYS)
        pair_expire_relay(p, now);
    if (p->state != PAIR_ENDS)
        pair_set_deadline(p);
}

static void upstream_on_timeout(void *owner)
{
    (void)owner; /* the client's connection keeps the time of both */
}

static void upstream_on_attempted(void *owner, const smx_address *local, const smx_address *peer)
{
    pair_upstream_enter_route(owner, local, peer);
}

static void upstream_on_connected(void *owner, int error)
{
    pair *p = owner;
    if (p->upstream != NULL && p->state == PAIR_CONNECTS)
        pair_connected(p, error);
}

/* ---- closed ---- */

static void pair_free_if_closed(pair *p)
{
    front *f = &p->proxy->front;
    if (p->client_open || p->pair_upstream_open)
        return;
    pair_drop(p);
    guest_leave(&p->guest);
    watch_free(p->watch);
    arena_free(&p->memory);
    free(p);
    front_left(f);
}

static void client_on_closed(void *owner)
{
    pair *p = owner;
    p->client_open = false;
    p->guest.connection = NULL;
    if (p->state != PAIR_ENDS)
        pair_cut(p);
    pair_free_if_closed(p);
}

static void upstream_on_closed(void *owner)
{
    pair *p = owner;
    pair_upstream_leave_route(p);
    p->pair_upstream_open = false;
    p->upstream = NULL;
    pair_free_if_closed(p);
}

const connection_handler pair_client_handler = {
    .data = client_on_data,
    .ended = client_on_ended,
    .drained = pair_on_drained,
    .secured = client_on_secured,
    .timeout = client_on_timeout,
    .closed = client_on_closed,
};

const connection_handler pair_upstream_handler = {
    .attempted = upstream_on_attempted,
    .connected = upstream_on_connected,
    .data = upstream_on_data,
    .ended = upstream_on_ended,
    .drained = pair_on_drained,
    .secured = upstream_on_secured,
    .timeout = upstream_on_timeout,
    .closed = upstream_on_closed,
};
