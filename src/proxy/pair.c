/* One client and its upstream: the glue between two connections and a relay.
 *
 * Octets of either connection feed the relay, whose events are acted on until it needs more octets, a
 * decision, or time. What came of one side may free the other: it is offered again what is kept of
 * it. A side whose octets the other does not take is not read. The pair owns the relay; each
 * connection frees itself, and the pair goes with the second one. */
#include <stdlib.h>

#include "proxy/proxy_internal.h"
#include "server/replies.h"

enum { TRIM_MS = 1000 }; /* a session without anything to do gives its buffers back */

uint64_t pair_now(const pair *p)
{
    return loop_now(p->proxy->front.loop);
}

connection *pair_connection(const pair *p, relay_side side)
{
    return side == RELAY_CLIENT ? p->guest.connection : p->upstream;
}

static relay_side other_side(relay_side side)
{
    return side == RELAY_CLIENT ? RELAY_UPSTREAM : RELAY_CLIENT;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

void pair_set_deadline(pair *p)
{
    uint64_t due = earlier(p->guest.setup_due, p->trim_due);
    if (p->relay != NULL)
        due = earlier(due, relay_deadline(p->relay));
    if (p->watch != NULL && p->watch->hooks != NULL)
        due = earlier(due, hook_session_deadline(p->watch->hooks));
    if (p->client_open)
        connection_set_deadline(p->guest.connection, due);
}

/* ---- the end ---- */

void pair_drop(pair *p)
{
    p->state = PAIR_ENDS;
    p->asking = false;
    watch_close(p);
    relay_free(p->relay);
    p->relay = NULL;
    p->guest.setup_due = p->trim_due = UINT64_MAX;
    loop_cancel_turn_end(&p->kick);
    guest_closing(&p->guest);
}

static void pair_close(pair *p, void (*close)(connection *c))
{
    if (p->state != PAIR_ENDS) {
        pair_log(p, SMX_LOG_DEBUG, "disconnect", NULL, (smx_slice){0});
        trace_note(p, "closed");
        pair_drop(p);
    }
    if (p->guest.connection != NULL)
        close(p->guest.connection);
    if (p->upstream != NULL)
        close(p->upstream);
}

void pair_end(pair *p)
{
    pair_let_pass(p);
    pair_close(p, connection_close);
}

void pair_part(pair *p)
{
    pair_let_pass(p);
    pair_close(p, connection_part);
}

void pair_cut(pair *p)
{
    p->passing = (smx_slice){0};
    pair_close(p, connection_abort);
}

void pair_cut_guest(guest *g)
{
    pair_cut(list_member(g, pair, guest));
}

/* What is queued and not sent is not sent any more: it may be the half of something. */
void pair_cut_upstream(pair *p)
{
    connection *c = p->upstream;
    bool is_half = p->reads == RELAY_CLIENT && p->passing.len > 0;
    if (is_half)
        p->passing = (smx_slice){0};
    p->upstream = NULL;
    if (c != NULL && (is_half || connection_queued(c) > 0))
        connection_abort(c);
    else if (c != NULL)
        connection_close(c);
}

void pair_refuse(pair *p, const smx_reply *reply)
{
    char text[SMX_REPLY_LINE_MAX];
    size_t len;
    pair_let_pass(p);
    int error = smx_reply_write(reply, true, text, sizeof(text), &len);
    if (error == 0 && p->guest.connection != NULL)
        error = connection_queue(p->guest.connection, slice_of(text, len));
    if (error != 0)
        pair_cut(p);
    else
        pair_end(p);
}

/* ---- sending ---- */

/* Otherwise the connection is broken, and `ended` will tell. */
static void cut_without_memory(pair *p, int error)
{
    if (error == SMX_E_NOMEM)
        pair_cut(p);
}

/* From where they were read: only what the socket does not take is copied. */
void pair_let_pass(pair *p)
{
    connection *c = pair_connection(p, other_side(p->reads));
    smx_slice octets = p->passing;
    size_t taken = 0;
    p->passing = (smx_slice){0};
    if (c == NULL || octets.len == 0)
        return;
    int error = connection_send(c, &octets, 1, &taken);
    if (error == 0 && taken < octets.len)
        error = connection_queue(c, slice_from(octets, taken));
    cut_without_memory(p, error);
}

/* Octets of what is being read, behind those that pass already. */
static bool passes_on(const pair *p, relay_side to, smx_slice octets)
{
    const char *from = p->passing.len == 0 ? octets.data : p->passing.data + p->passing.len;
    uintptr_t at = (uintptr_t)octets.data;
    uintptr_t start = (uintptr_t)p->read.data;
    return to != p->reads && octets.data == from && at >= start && at < start + p->read.len;
}

void pair_send(pair *p, relay_side to, smx_slice octets)
{
    connection *c = pair_connection(p, to);
    if (passes_on(p, to, octets)) {
        if (p->passing.len == 0)
            p->passing.data = octets.data;
        p->passing.len += octets.len;
        return;
    }
    pair_let_pass(p);
    if (c != NULL && p->state != PAIR_ENDS)
        cut_without_memory(p, connection_queue(c, octets));
}

/* ---- backpressure ---- */

static bool is_full(const connection *c)
{
    return c != NULL && connection_queued(c) >= CONNECTION_HIGH;
}

static void hold_up(pair *p, relay_side side, bool held)
{
    connection *c = pair_connection(p, side);
    if (p->held_up[side] == held || c == NULL)
        return;
    p->held_up[side] = held;
    connection_pause(c, held);
}

void pair_look_at_queues(pair *p)
{
    bool client_full = is_full(p->guest.connection);
    bool upstream_full = is_full(p->upstream);
    bool was_full = p->upstream_full || p->held_up[RELAY_CLIENT] || p->held_up[RELAY_UPSTREAM];
    if (!client_full && !upstream_full && !was_full)
        return;
    if (upstream_full != p->upstream_full)
        relay_stalled(p->relay, pair_now(p), upstream_full);
    p->upstream_full = upstream_full;
    hold_up(p, RELAY_CLIENT, client_full || upstream_full);
    hold_up(p, RELAY_UPSTREAM, client_full);
    if (client_full)
        connection_want_drained(p->guest.connection);
    if (upstream_full)
        connection_want_drained(p->upstream);
}

/* ---- feeding ---- */

static bool is_held(const pair *p, relay_side side)
{
    return p->held_up[side] || (side == RELAY_CLIENT && (p->asking || pair_body_waits(p)));
}

/* What is known of the sides, once the relay has had its say. */
static void pair_settle(pair *p)
{
    pair_look_at_queues(p);
    connection_waiting(p->guest.connection, p->asking || relay_is_waiting(p->relay, RELAY_CLIENT));
    if (p->upstream != NULL)
        connection_waiting(p->upstream, relay_is_waiting(p->relay, RELAY_UPSTREAM));
    bool idle = !p->asking && relay_is_idle(p->relay);
    if (!idle)
        p->trim_due = UINT64_MAX;
    else if (p->progress)
        p->trim_due = pair_now(p) + TRIM_MS;
    if (p->client_ended || p->upstream_ended || (p->leaving && idle))
        loop_at_turn_end(p->proxy->front.loop, &p->kick);
    pair_set_deadline(p);
}

/* Octets used of a side; all events that come of them are acted on. */
static size_t pair_feed(pair *p, relay_side side, smx_slice in)
{
    size_t used = 0;
    bool done = false;
    p->read = in;
    p->reads = side;
    while (p->state == PAIR_RELAYS && !done && !is_held(p, side)) {
        relay_event event;
        size_t step = relay_feed(p->relay, side, pair_now(p), slice_from(in, used), &event);
        used += step;
        p->progress = p->progress || step > 0 || event.type != RELAY_NONE;
        done = event.type == RELAY_NONE && step == 0;
        pair_event(p, &event);
        done = done || (used == in.len && p->state == PAIR_RELAYS && relay_is_quiet(p->relay));
    }
    pair_let_pass(p);
    p->read = (smx_slice){0};
    return used;
}

size_t pair_run(pair *p, relay_side side, smx_slice in)
{
    size_t used = 0;
    p->running = true;
    do
        used += pair_feed(p, side, slice_from(in, used));
    while (p->state == PAIR_RELAYS && pair_body_go_on(p));
    p->running = false;
    if (p->state != PAIR_RELAYS)
        return in.len;
    pair_settle(p);
    connection *other = pair_connection(p, other_side(side));
    if (p->progress && other != NULL && connection_kept(other) > 0) {
        p->progress = false;
        connection_resume(other);
    }
    p->progress = false;
    return p->state == PAIR_RELAYS ? used : in.len;
}

static void pair_resume(pair *p, relay_side side)
{
    connection *c = pair_connection(p, side);
    if (p->state == PAIR_RELAYS)
        (void)pair_run(p, side, (smx_slice){0});
    if (p->state == PAIR_RELAYS && c != NULL && pair_connection(p, side) == c &&
        connection_kept(c) > 0)
        connection_resume(c);
}

void pair_advance(pair *p)
{
    if (p->running)
        return;
    pair_resume(p, RELAY_UPSTREAM);
    pair_resume(p, RELAY_CLIENT);
}

/* ---- a side that ends ---- */

/* All that it said was read, or can be read no more. */
static bool is_over(const pair *p, relay_side side)
{
    const connection *c = pair_connection(p, side);
    return c == NULL || connection_kept(c) == 0 ||
           (!relay_is_waiting(p->relay, side) && !is_held(p, side));
}

static void pair_side_ended(pair *p, bool *ended, relay_side side)
{
    if (!*ended || p->state != PAIR_RELAYS || !is_over(p, side))
        return;
    *ended = false;
    if (side == RELAY_UPSTREAM)
        pair_cut_upstream(p);
    relay_ended(p->relay, side);
    pair_advance(p);
}

/* Between two messages the client can be sent away. */
static void pair_say_good_bye(pair *p)
{
    relay_info info;
    relay_get_info(p->relay, &info);
    if (info.is_raw || !relay_is_idle(p->relay))
        return;
    p->leaving = false;
    if (relay_shutdown(p->relay, PEER_REPLY(GOING)) != 0)
        pair_cut(p);
    else
        pair_advance(p);
}

static void pair_kicked(loop_turn_end *self)
{
    pair *p = list_member(self, pair, kick);
    pair_side_ended(p, &p->upstream_ended, RELAY_UPSTREAM);
    pair_side_ended(p, &p->client_ended, RELAY_CLIENT);
    if (p->state == PAIR_RELAYS && p->leaving)
        pair_say_good_bye(p);
}

void pair_init_kick(pair *p)
{
    p->kick.fn = pair_kicked;
}

void pair_ended(pair *p, bool *ended, relay_side side, int error)
{
    bool early = p->state == PAIR_JUDGED || p->state == PAIR_CONNECTS;
    bool speaks = side == RELAY_CLIENT && error == 0 && connection_kept(p->guest.connection) > 0;
    if (p->state != PAIR_RELAYS && !(early && speaks)) {
        pair_end(p);
        return;
    }
    *ended = true;
    if (early)
        return;
    if (error != 0 && side == RELAY_CLIENT) {
        relay_ended(p->relay, side);
        pair_advance(p);
        if (p->state == PAIR_RELAYS)
            pair_cut(p);
        return;
    }
    pair_kicked(&p->kick);
}

/* ---- the owner's wishes ---- */

void pair_shut_down(guest *g)
{
    pair *p = list_member(g, pair, guest);
    p->leaving = true;
    if (p->state == PAIR_RELAYS)
        pair_say_good_bye(p);
    else if (p->state == PAIR_ARRIVES)
        pair_end(p);
    else if (p->state != PAIR_ENDS)
        pair_refuse(p, PEER_REPLY(GOING));
}

void pair_dismiss(guest *g)
{
    if (list_member(g, pair, guest)->relay != NULL)
        pair_shut_down(g);
}
