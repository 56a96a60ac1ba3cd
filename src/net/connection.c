/* What an owner sees of a connection: callbacks, kept octets, closing. Whatever cannot be told from
 * within an owner's call waits for the turn's end. The connection frees itself in the last callback
 * of its handle; until then its memory is valid.
 */
#include "net/connection.h"

#include <stdlib.h>

#include "base/fresh.h"
#include "net/connection_internal.h"

/* ---- telling ---- */

void connection_tell_later(connection *c, unsigned what)
{
    c->tell = (uint8_t)(c->tell | what);
    loop_at_turn_end(c->loop, &c->turn_end);
}

static void connection_tell_connected(connection *c)
{
    int error = c->connect_error;
    connection_opening_stop(c);
    c->state = CONNECTION_OPEN;
    c->end_told = error != 0;
    if (error == 0)
        connection_opening_free(c);
    c->handler->connected(c->owner, error);
    if (error != 0)
        connection_finish(c, false);
}

static void connection_tell_secured(connection *c)
{
    c->handler->secured(c->owner, c->secure_error);
}

static void connection_tell_more(connection *c)
{
    c->transport->more(c);
}

static void connection_offer_kept(connection *c);

static void connection_tell_data(connection *c)
{
    if (c->kept_length > 0)
        connection_offer_kept(c);
}

static void connection_tell_drained(connection *c)
{
    if (!c->want_drained || connection_queued(c) >= CONNECTION_LOW)
        return; /* more was queued meanwhile: the next write's end tells */
    c->want_drained = false;
    c->handler->drained(c->owner);
}

static void connection_tell_ended(connection *c)
{
    if (c->end_told)
        return;
    c->end_told = true;
    c->handler->ended(c->owner, c->end_error);
}

/* In the order in which they are told. */
static const struct {
    unsigned what;
    void (*tell)(connection *c);
} connection_tells[] = {
    {CONNECTION_TELL_CONNECTED, connection_tell_connected},
    {CONNECTION_TELL_SECURED, connection_tell_secured},
    {CONNECTION_TELL_DATA, connection_tell_data},
    {CONNECTION_TELL_MORE, connection_tell_more},
    {CONNECTION_TELL_DRAINED, connection_tell_drained},
    {CONNECTION_TELL_ENDED, connection_tell_ended},
};

static void connection_closing_step(connection *c);

static void connection_on_turn_end(loop_turn_end *self)
{
    connection *c = list_member(self, connection, turn_end);
    unsigned tell = c->tell;
    c->tell = 0;
    for (size_t i = 0; tell != 0 && i < sizeof(connection_tells) / sizeof(connection_tells[0]); i++)
        if ((tell & connection_tells[i].what) != 0 &&
            (c->state == CONNECTION_OPEN || c->state == CONNECTION_OPENING))
            connection_tells[i].tell(c);
    if (c->state == CONNECTION_CLOSING) {
        connection_closing_step(c);
    } else if (c->state == CONNECTION_OPEN) {
        connection_flush(c);
        connection_update_reading(c);
    }
}

void connection_ended(connection *c, int error)
{
    if (c->end_seen || c->state != CONNECTION_OPEN)
        return;
    c->end_seen = true;
    c->end_error = (int16_t)(error == 0 ? c->write_error : error);
    connection_tell_later(c, CONNECTION_TELL_ENDED);
}

void connection_write_failed(connection *c, int error)
{
    if (c->write_error != 0)
        return;
    c->write_error = (int16_t)error;
    octet_queue_clear(&c->out);
    connection_tell_later(c, 0);
}

void connection_secured(connection *c, int error)
{
    c->secure_error = (int16_t)error;
    c->end_told = error != 0;
    c->handler->secured(c->owner, error);
}

/* ---- octets to the owner ---- */

static void connection_give_kept(connection *c)
{
    if (c->kept_is_small)
        loop_small_give(c->loop, c->kept);
    else
        loop_block_give(c->loop, c->kept);
    c->kept = NULL;
    c->kept_length = 0;
    c->kept_start = 0;
}

/* A block that holds `length` octets, with the kept ones at its start. */
static int connection_grow_kept(connection *c, size_t length)
{
    size_t capacity = c->kept_is_small ? (size_t)LOOP_SMALL_BLOCK : (size_t)LOOP_BLOCK;
    assert(length <= LOOP_BLOCK);
    if (c->kept != NULL && length <= capacity) {
        memmove(c->kept, c->kept + c->kept_start, c->kept_length);
        c->kept_start = 0;
        return 0;
    }
    bool small = length <= LOOP_SMALL_BLOCK;
    char *block = small ? loop_small_take(c->loop) : loop_block_take(c->loop);
    if (block == NULL)
        return SMX_E_NOMEM;
    uint32_t kept = c->kept_length;
    if (c->kept != NULL) {
        memcpy(block, c->kept + c->kept_start, kept);
        connection_give_kept(c);
    }
    c->kept = block;
    c->kept_is_small = small;
    c->kept_length = kept;
    return 0;
}

static int connection_keep(connection *c, smx_slice octets)
{
    size_t capacity = c->kept_is_small ? (size_t)LOOP_SMALL_BLOCK : (size_t)LOOP_BLOCK;
    size_t end = c->kept_start + c->kept_length;
    if (c->kept == NULL || octets.len > capacity - end) {
        int error = connection_grow_kept(c, c->kept_length + octets.len);
        if (error != 0)
            return error;
        end = c->kept_length;
    }
    memcpy(c->kept + end, octets.data, octets.len);
    c->kept_length += (uint32_t)octets.len;
    return 0;
}

/* Octets behind the command that begins TLS, in clear text: an attack (ATTACKS 12, 13). */
static bool connection_breaks_tls(const connection *c, const connection_transport *before,
                                  size_t left)
{
    return c->transport != before && left > 0;
}

/* Calls `data` until the owner has used all or waits: returns what it used. */
static size_t connection_offer(connection *c, smx_slice octets)
{
    const connection_transport *before = c->transport;
    size_t used = 0;
    size_t now;
    do {
        c->offering = true;
        c->offer_again = false;
        now = c->handler->data(c->owner, slice_from(octets, used));
        c->offering = false;
        assert(now <= octets.len - used);
        used += now;
    } while (c->offer_again && now > 0 && used < octets.len && c->state == CONNECTION_OPEN &&
             c->transport == before);
    if (c->state != CONNECTION_OPEN)
        return octets.len;
    if (c->rest_is_tls) {
        c->rest_is_tls = false;
        if (used < octets.len)
            c->transport->input(c, slice_from(octets, used));
        return octets.len;
    }
    if (connection_breaks_tls(c, before, octets.len - used)) {
        c->secure_error = SMX_E_PROTOCOL;
        c->end_told = true;
        connection_tell_later(c, CONNECTION_TELL_SECURED);
        return octets.len;
    }
    if (c->offer_again && used < octets.len)
        connection_tell_later(c, CONNECTION_TELL_DATA);
    return used;
}

static void connection_offer_kept(connection *c)
{
    size_t used = connection_offer(c, slice_of(c->kept + c->kept_start, c->kept_length));
    c->kept_start += (uint32_t)used;
    c->kept_length -= (uint32_t)used;
    if (c->kept_length == 0)
        connection_give_kept(c);
}

void connection_deliver(connection *c, smx_slice octets)
{
    int error = 0;
    if (c->kept_length > 0) {
        error = connection_keep(c, octets);
        if (error == 0)
            connection_offer_kept(c);
    } else {
        size_t used = connection_offer(c, octets);
        if (used < octets.len)
            error = connection_keep(c, slice_from(octets, used));
    }
    if (error != 0)
        connection_ended(c, error);
}

void connection_resume(connection *c)
{
    if (c->state != CONNECTION_OPEN)
        return;
    c->waiting = false;
    if (c->offering) {
        c->offer_again = true;
        return;
    }
    if (c->kept_length > 0)
        connection_offer_kept(c);
    connection_tell_later(c, CONNECTION_TELL_MORE);
}

void connection_waiting(connection *c, bool waiting)
{
    c->waiting = waiting;
    if (c->state == CONNECTION_OPEN && !c->offering)
        connection_update_reading(c);
}

size_t connection_kept(const connection *c)
{
    return c->kept_length;
}

void connection_pause(connection *c, bool paused)
{
    if (c->paused == paused)
        return;
    c->paused = paused;
    if (c->state == CONNECTION_OPEN)
        connection_tell_later(c, CONNECTION_TELL_MORE);
}

/* ---- octets to the peer ---- */

static int connection_can_send(const connection *c)
{
    if (c->state == CONNECTION_OPENING || c->state == CONNECTION_READY)
        return SMX_E_STATE;
    if (c->state != CONNECTION_OPEN || c->write_error != 0 || c->secure_error != 0)
        return SMX_E_CLOSED;
    return 0;
}

int connection_queue(connection *c, smx_slice octets)
{
    int error = connection_can_send(c);
    if (error == 0)
        error = c->transport->queue(c, octets);
    if (error == 0)
        connection_tell_later(c, 0);
    return error;
}

/* Sends, and queues up to `most` octets: *all says whether that was all of them. */
static int connection_send_some(connection *c, const smx_slice *pieces, size_t count, size_t most,
                                size_t *taken, bool *all)
{
    size_t length = 0;
    size_t sent = 0;
    int error = connection_can_send(c);
    for (size_t i = 0; i < count; i++)
        length += pieces[i].len;
    if (error == 0)
        error = c->transport->send(c, pieces, count, most, &sent);
    if (error == 0 && c->write_error != 0)
        error = SMX_E_CLOSED;
    if (error != 0)
        return error;
    *taken = sent;
    *all = sent == length;
    return 0;
}

int connection_send(connection *c, const smx_slice *pieces, size_t count, size_t *taken)
{
    bool all = false;
    int error = connection_send_some(c, pieces, count, CONNECTION_HIGH, taken, &all);
    if (error == 0 && !all)
        connection_want_drained(c);
    return error;
}

/* In TLS the copy is the encrypted one, which is needed anyway. */
int connection_send_in_place(connection *c, const smx_slice *pieces, size_t count, size_t *taken)
{
    bool all = false;
    if (c->tls != NULL)
        return connection_send(c, pieces, count, taken);
    int error = connection_send_some(c, pieces, count, CONNECTION_FEW, taken, &all);
    if (error == 0 && !all)
        c->want_drained = true; /* by the end of the write that is under way */
    return error;
}

void connection_want_drained(connection *c)
{
    c->want_drained = true;
    if (connection_queued(c) < CONNECTION_LOW)
        connection_tell_later(c, CONNECTION_TELL_DRAINED);
}

void connection_flush(connection *c)
{
    size_t none;
    if (c->state != CONNECTION_OPEN && c->state != CONNECTION_CLOSING)
        return;
    c->transport->flush(c);
    if (c->out.length == 0)
        return;
    connection_socket_try(c, NULL, 0, &none);
    connection_socket_submit(c);
    /* While the socket takes nothing the end of the write tells: told here, the owner would only try
     * again in every turn. */
    if (c->want_drained && uv_stream_get_write_queue_size(&c->uv.stream) == 0)
        connection_tell_later(c, CONNECTION_TELL_DRAINED);
}

size_t connection_queued(const connection *c)
{
    return connection_socket_queued(c) + (c->tls == NULL ? 0 : connection_tls_queued(c));
}

/* ---- the end ---- */

void connection_on_handle_closed(uv_handle_t *handle)
{
    connection *c = handle->data;
    if (c->handler != NULL)
        c->handler->closed(c->owner);
    connection_opening_free(c);
    connection_tls_free(c);
    octet_queue_clear(&c->out);
    if (c->kept != NULL)
        connection_give_kept(c);
    loop_leave(&c->resident);
    free(c);
}

void connection_finish(connection *c, bool reset)
{
    if (c->state == CONNECTION_CLOSED)
        return;
    c->state = CONNECTION_CLOSED;
    c->tell = 0;
    loop_cancel_turn_end(&c->turn_end);
    timer_clear(&c->deadline);
    connection_opening_stop(c);
    if (uv_is_closing(&c->uv.handle))
        return; /* connection_open.c is between two addresses, and ends it */
    if (reset && !c->is_unix && uv_tcp_close_reset(&c->uv.tcp, connection_on_handle_closed) == 0)
        return;
    uv_close(&c->uv.handle, connection_on_handle_closed);
}

static bool connection_is_over(const connection *c)
{
    return c->end_seen || (c->peer_done && c->tls == NULL && !connection_socket_has_input(c));
}

/* Closing waits for the queue, then for the peer's end: closing a socket with unread octets would
 * send a RST, which may destroy our last reply before it is read. */
static void connection_closing_step(connection *c)
{
    connection_flush(c);
    if (c->write_error != 0) {
        connection_finish(c, false);
        return;
    }
    if (connection_socket_queued(c) == 0) {
        if (connection_is_over(c)) {
            connection_finish(c, false);
            return;
        }
        if (!c->write_ended)
            connection_socket_shutdown(c);
    }
    connection_update_reading(c);
}

void connection_close(connection *c)
{
    if (c->state == CONNECTION_CLOSING || c->state == CONNECTION_CLOSED)
        return;
    if (c->state != CONNECTION_OPEN) {
        connection_finish(c, false);
        return;
    }
    c->transport->shutdown(c);
    c->state = CONNECTION_CLOSING;
    timer_set(loop_timers(c->loop), &c->deadline, loop_now(c->loop) + CONNECTION_LINGER_MS);
    connection_tell_later(c, 0);
}

void connection_peer_is_done(connection *c)
{
    c->peer_done = true;
}

void connection_abort(connection *c)
{
    connection_finish(c, true);
}

void connection_part(connection *c)
{
    connection_flush(c);
    bool is_clean = c->state == CONNECTION_OPEN && c->tls == NULL && c->kept_length == 0 &&
                    c->write_error == 0 && connection_socket_queued(c) == 0;
    if (is_clean)
        connection_finish(c, false);
    else
        connection_close(c);
}

static void connection_leave(loop_resident *resident)
{
    connection_finish(list_member(resident, connection, resident), true);
}

/* ---- the rest ---- */

static void connection_on_deadline(timer_entry *entry)
{
    connection *c = list_member(entry, connection, deadline);
    if (c->state == CONNECTION_CLOSING)
        connection_finish(c, connection_socket_queued(c) > 0);
    else if (c->handler != NULL)
        c->handler->timeout(c->owner);
}

void connection_set_deadline(connection *c, uint64_t due)
{
    if (c->state != CONNECTION_CLOSING && c->state != CONNECTION_CLOSED)
        timer_set(loop_timers(c->loop), &c->deadline, due);
}

connection *connection_new(smx_loop *loop, bool is_unix)
{
    connection *c = fresh(connection);
    if (c == NULL)
        return NULL;
    c->loop = loop;
    c->is_unix = is_unix;
    c->transport = &connection_plain;
    c->turn_end.fn = connection_on_turn_end;
    c->deadline.fn = connection_on_deadline;
    c->resident.leave = connection_leave;
    if (connection_init_handle(c) != 0) {
        free(c);
        return NULL;
    }
    loop_enter(loop, &c->resident);
    return c;
}

int connection_start(connection *c, const connection_handler *handler, void *owner)
{
    if (c->state != CONNECTION_READY)
        return SMX_E_STATE;
    c->handler = handler;
    c->owner = owner;
    c->state = CONNECTION_OPEN;
    connection_update_reading(c);
    return 0;
}

smx_loop *connection_loop(const connection *c)
{
    return c->loop;
}

const smx_address *connection_peer(const connection *c)
{
    return &c->peer;
}

bool connection_is_tls(const connection *c)
{
    return c->tls != NULL;
}
