/* One connection: the glue between connection, machine and events.
 *
 * Octets of the connection feed the machine; its events are acted on until it needs more octets, an
 * answer, or time; its output is queued once, at the end. While hooks, a handler or a thread are
 * asked nothing is fed. The peer owns machine, hooks, transaction and exchange; the connection frees
 * itself, and the peer with it in `closed`. */
#include <assert.h>
#include <stdlib.h>

#include "server/internal.h"

enum {
    TRIM_MS = 1000, /* a session without anything to do gives its buffers back */
    FULL_MS = 100,  /* a client that does not read its replies is looked at this often */
};

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

void peer_set_deadline(peer *p)
{
    uint64_t due = earlier(p->guest.setup_due, earlier(p->auth_due, p->trim_due));
    if (p->machine != NULL)
        due = earlier(due, smx_server_session_deadline(p->machine));
    if (p->hooks != NULL)
        due = earlier(due, hook_session_deadline(p->hooks));
    if (p->full)
        due = earlier(due, loop_now(p->server->front.loop) + FULL_MS);
    connection_set_deadline(p->guest.connection, due);
}

/* ---- the end ---- */

/* Gives up all but the connection. Whatever is still asked for is answered to nobody. */
static void peer_drop(peer *p)
{
    peer_auth_drop(p);
    if (p->machine != NULL)
        peer_tell(p, SMX_HOOK_CLOSE);
    hook_session_free(p->hooks);
    p->hooks = NULL;
    smx_transaction *tx = p->transaction;
    p->transaction = NULL;
    if (tx != NULL && tx->ticket != 0)
        transaction_leave(tx);
    else
        transaction_free(tx);
    smx_server_session_free(p->machine);
    p->machine = NULL;
    p->asking = false;
    p->ticket = 0;
    p->guest.setup_due = p->auth_due = p->trim_due = UINT64_MAX;
}

void peer_send_output(peer *p)
{
    smx_slice out = smx_server_session_output(p->machine);
    if (out.len == 0)
        return;
    int error = connection_queue(p->guest.connection, out);
    smx_server_session_sent(p->machine, out.len);
    if (error != 0)
        peer_cut(p);
}

void peer_end(peer *p)
{
    if (p->machine != NULL) {
        peer_send_output(p);
        peer_drop(p);
    }
    guest_closing(&p->guest);
    connection_close(p->guest.connection);
}

void peer_cut(peer *p)
{
    peer_drop(p);
    guest_closing(&p->guest);
    connection_abort(p->guest.connection);
}

/* What is left are the machine's last events; a hook that is still asked is heard no more. */
static void peer_end_machine(peer *p)
{
    p->gone = true;
    p->asking = false;
    smx_server_session_ended(p->machine);
}

void peer_refuse(peer *p, const smx_reply *reply)
{
    char text[SMX_REPLY_LINE_MAX];
    size_t len;
    if (p->machine != NULL)
        peer_send_output(p);
    int error = smx_reply_write(reply, p->guest.view.esmtp, text, sizeof(text), &len);
    if (error == 0)
        error = connection_queue(p->guest.connection, slice_of(text, len));
    if (error != 0)
        peer_cut(p);
    else if (p->machine != NULL)
        peer_end_machine(p);
    else
        peer_end(p);
}

void peer_cut_guest(guest *g)
{
    peer_cut(list_member(g, peer, guest));
}

static void peer_shutdown(peer *p)
{
    if (p->machine == NULL)
        peer_end(p);
    else if (smx_server_session_shutdown(p->machine, (smx_slice){0}) != 0)
        peer_cut(p);
    else
        peer_advance(p);
}

void peer_shut_down(guest *g)
{
    peer_shutdown(list_member(g, peer, guest));
}

void peer_dismiss(guest *g)
{
    peer *p = list_member(g, peer, guest);
    smx_server_session_info info;
    if (p->machine == NULL || p->asking)
        return;
    smx_server_session_get_info(p->machine, &info);
    if (!info.waiting && !info.in_transaction && !info.receiving)
        peer_shutdown(p);
}

/* ---- feeding ---- */

void peer_answer(peer *p, const smx_reply *reply)
{
    smx_ticket ticket = p->ticket;
    p->ticket = 0;
    if (p->machine == NULL || ticket == 0)
        return;
    /* Out of memory the machine closes by itself. */
    int error = smx_server_session_answer(p->machine, ticket, reply);
    assert(error == 0 || error == SMX_E_NOMEM);
    (void)error;
}

/* A client that sends commands and reads no replies must not fill our memory. */
static void peer_look_at_queue(peer *p)
{
    size_t queued = connection_queued(p->guest.connection);
    bool full = p->full ? queued >= CONNECTION_LOW : queued >= CONNECTION_HIGH;
    if (full != p->full)
        connection_pause(p->guest.connection, full);
    p->full = full;
}

static void peer_trim(peer *p)
{
    p->trim_due = UINT64_MAX;
    if (p->machine != NULL)
        smx_server_session_trim(p->machine);
    transaction_free(p->transaction);
    p->transaction = NULL;
    arena_free(&p->asked);
}

/* Before its first message, and once it was trimmed, a session that has nothing to do holds no buffer
 * at all; between two messages it keeps them for a moment. */
static void peer_settle(peer *p)
{
    peer_look_at_queue(p);
    smx_server_session_info info;
    smx_server_session_get_info(p->machine, &info);
    bool waiting = info.waiting || p->asking;
    connection_waiting(p->guest.connection, waiting);
    bool idle = !waiting && !info.in_transaction && !info.receiving;
    p->trim_due = idle ? loop_now(p->server->front.loop) + TRIM_MS : UINT64_MAX;
    if (idle && p->transaction == NULL)
        peer_trim(p);
    peer_set_deadline(p);
}

size_t peer_run(peer *p, smx_slice in)
{
    size_t used = 0;
    smx_server_event event; /* all of it is set by feeding */
    event.type = SMX_SERVER_CLOSE;
    p->running = true;
    if (p->hooks != NULL) /* nothing else makes a body wait */
        peer_body_go_on(p);
    while (p->machine != NULL && !p->asking && event.type != SMX_SERVER_NONE) {
        uint64_t now = loop_now(p->server->front.loop);
        used += smx_server_session_feed(p->machine, now, slice_from(in, used), &event);
        peer_event(p, &event);
    }
    p->running = false;
    if (p->machine == NULL)
        return in.len;
    peer_send_output(p);
    if (p->machine != NULL)
        peer_settle(p);
    return used;
}

void peer_advance(peer *p)
{
    if (p->running || p->machine == NULL)
        return;
    (void)peer_run(p, (smx_slice){0});
    if (p->machine != NULL && p->ticket == 0 && !p->asking)
        connection_resume(p->guest.connection);
}

/* ---- the connection's callbacks ---- */

static size_t peer_on_data(void *owner, smx_slice in)
{
    peer *p = owner;
    if (p->guest.header_wanted)
        return peer_header(p, in);
    return p->machine == NULL ? in.len : peer_run(p, in);
}

static void peer_on_ended(void *owner, int error)
{
    peer *p = owner;
    (void)error;
    if (p->machine == NULL) {
        peer_end(p);
        return;
    }
    peer_end_machine(p);
    (void)peer_run(p, (smx_slice){0});
}

static void peer_on_drained(void *owner)
{
    (void)owner;
}

static void peer_on_secured(void *owner, int error)
{
    peer *p = owner;
    if (p->machine == NULL) {
        peer_secured_first(p, error);
    } else {
        p->guest.setup_due = UINT64_MAX;
        if (error != 0)
            guest_tls_failed(&p->guest, error);
        smx_server_session_tls_done(p->machine, loop_now(p->server->front.loop), error);
        peer_view_refresh(p);
        peer_advance(p);
    }
}

static void peer_on_timeout(void *owner)
{
    peer *p = owner;
    uint64_t now = loop_now(p->server->front.loop);
    if (now >= p->guest.setup_due) {
        peer_cut(p);
        return;
    }
    if (now >= p->auth_due)
        peer_auth_due(p);
    if (p->hooks != NULL && now >= hook_session_deadline(p->hooks))
        hook_session_expire(p->hooks);
    uint64_t trim_due = p->trim_due;
    peer_advance(p);
    if (p->machine == NULL)
        return;
    if (now >= trim_due)
        peer_trim(p);
    peer_set_deadline(p);
}

static void peer_on_closed(void *owner)
{
    peer *p = owner;
    smx_server *server = p->server;
    peer_drop(p);
    guest_leave(&p->guest);
    arena_free(&p->memory);
    arena_free(&p->asked);
    free(p);
    front_left(&server->front);
}

const connection_handler peer_handler = {
    .data = peer_on_data,
    .ended = peer_on_ended,
    .drained = peer_on_drained,
    .secured = peer_on_secured,
    .timeout = peer_on_timeout,
    .closed = peer_on_closed,
};
