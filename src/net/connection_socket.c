/* The lowest floor of a connection: libuv's stream. Reads into the loop's buffer, writes the queue
 * in one call at the turn's end, and leaves to libuv what the socket did not take. A block that
 * libuv was given belongs to its request until that is done.
 */
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "net/connection_internal.h"
#include "net/uv_error.h"

enum { SOCKET_PIECES = 64 }; /* pieces of one gathered write */

int connection_init_handle(connection *c)
{
    uv_loop_t *uv = smx_loop_uv(c->loop);
    int error = c->is_unix ? uv_pipe_init(uv, &c->uv.pipe, 0) : uv_tcp_init(uv, &c->uv.tcp);
    c->uv.handle.data = c;
    return uv_error_map(error);
}

void connection_set_local(connection *c, const smx_address *local)
{
    c->local = *local;
    c->local_known = true;
}

/* Few owners want to know it: the system is asked when the first one does. */
const smx_address *connection_local(connection *c)
{
    struct sockaddr_storage address = {0};
    struct sockaddr *any = (struct sockaddr *)(void *)&address;
    socklen_t size = sizeof(address);
    uv_os_fd_t fd;
    if (c->local_known || uv_fileno(&c->uv.handle, &fd) != 0)
        return &c->local;
    if (getsockname(fd, any, &size) == 0)
        endpoint_address(any, &c->local);
    c->local_known = true;
    return &c->local;
}

/* What the tables of netfilter remember of a REDIRECT; TPROXY leaves the socket's own address. The
 * numbers are the kernel's (linux/netfilter_ipv4.h and its sister for IPv6). */
void connection_original_destination(connection *c, smx_address *to)
{
    enum { ORIGINAL_DESTINATION = 80 };
    struct sockaddr_storage address = {0};
    socklen_t size = sizeof(address);
    uv_os_fd_t fd;
    *to = *connection_local(c);
    if (c->is_unix || uv_fileno(&c->uv.handle, &fd) != 0)
        return;
    int level = to->family == 6 ? IPPROTO_IPV6 : IPPROTO_IP;
    if (getsockopt(fd, level, ORIGINAL_DESTINATION, &address, &size) == 0)
        endpoint_address((const struct sockaddr *)(const void *)&address, to);
}

/* ---- reading ---- */

/* No room: libuv asks again in the next turn. */
static void socket_on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    connection *c = handle->data;
    size_t size = c->state == CONNECTION_OPENING ? 0 : (size_t)LOOP_BLOCK;
    (void)suggested;
    if (c->state == CONNECTION_OPEN) {
        if (c->tls == NULL)
            size = connection_room(c);
        else if (c->waiting)
            size = CONNECTION_KEEP;
    }
    *buf = uv_buf_init(loop_read_buffer(c->loop), (unsigned)size);
}

/* libuv tells the hang-up behind the last octets as the end of file, though it was a RST. Of one that
 * is closing nobody wants to know. */
static int socket_end_reason(const connection *c)
{
    int reason = 0;
    socklen_t size = sizeof(reason);
    uv_os_fd_t fd;
    if (c->state != CONNECTION_CLOSING && uv_fileno(&c->uv.handle, &fd) == 0)
        (void)getsockopt(fd, SOL_SOCKET, SO_ERROR, &reason, &size);
    return uv_error_map(-reason);
}

static void socket_on_end(connection *c, int error)
{
    c->reading = false;
    (void)uv_read_stop(&c->uv.stream);
    if (c->state == CONNECTION_CLOSING) {
        c->end_seen = true;
        if (error != 0)
            connection_write_failed(c, error);
        connection_tell_later(c, 0);
    } else if (c->tls == NULL || !connection_tls_ended(c, error)) {
        connection_ended(c, error);
    }
}

static void socket_on_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *buf)
{
    connection *c = stream->data;
    if (len == 0 || len == UV_ENOBUFS)
        return;
    if (len < 0) {
        socket_on_end(c, len == UV_EOF ? socket_end_reason(c) : uv_error_map((int)len));
        return;
    }
    if (c->state == CONNECTION_OPEN)
        c->transport->input(c, slice_of(buf->base, (size_t)len));
    connection_update_reading(c);
}

static bool socket_wants_octets(const connection *c)
{
    if (c->state == CONNECTION_CLOSING)
        return !c->end_seen;
    if (c->end_seen || c->end_told)
        return false;
    return c->state == CONNECTION_OPEN && connection_room(c) > 0 &&
           (c->tls == NULL || !connection_tls_holds_input(c));
}

int connection_read_early(connection *c)
{
    int error = uv_read_start(&c->uv.stream, socket_on_alloc, socket_on_read);
    c->reading = error == 0;
    return error;
}

void connection_update_reading(connection *c)
{
    bool wanted = socket_wants_octets(c);
    if (wanted && !c->reading) {
        int error = uv_read_start(&c->uv.stream, socket_on_alloc, socket_on_read);
        c->reading = error == 0;
        if (error != 0)
            connection_ended(c, uv_error_map(error));
    } else if (!wanted && c->reading) {
        c->reading = false;
        (void)uv_read_stop(&c->uv.stream);
    }
    /* A socket that cannot be written is not read to its end either: nobody else would tell. */
    if (!c->reading && c->write_error != 0 && c->state == CONNECTION_OPEN)
        connection_ended(c, c->write_error);
}

/* ---- writing ---- */

size_t connection_socket_queued(const connection *c)
{
    return c->out.length + uv_stream_get_write_queue_size(&c->uv.stream);
}

/* Up to SOCKET_PIECES pieces of the queue and then of the caller, whose first `skip` octets went
 * before. Returns their number and their octets. */
static unsigned socket_gather(const connection *c, const smx_slice *pieces, size_t count,
                              size_t skip, uv_buf_t *bufs, size_t *total)
{
    unsigned used = 0;
    *total = 0;
    for (octet_block *b = c->out.first; b != NULL && used < SOCKET_PIECES; b = b->next) {
        bufs[used++] = uv_buf_init(b->octets + b->start, b->end - b->start);
        *total += b->end - b->start;
    }
    for (size_t i = 0; i < count && used < SOCKET_PIECES; i++) {
        size_t from = skip < pieces[i].len ? skip : pieces[i].len;
        smx_slice piece = slice_from(pieces[i], from);
        skip -= from;
        if (piece.len == 0)
            continue;
        bufs[used].base = (char *)(uintptr_t)piece.data;
        bufs[used++].len = piece.len;
        *total += piece.len;
    }
    return used;
}

/* One gathered write: true if the socket took all of it and there may be more to write. */
static bool socket_try_once(connection *c, const smx_slice *pieces, size_t count, size_t *taken)
{
    uv_buf_t bufs[SOCKET_PIECES];
    size_t total;
    unsigned used = socket_gather(c, pieces, count, *taken, bufs, &total);
    if (used == 0)
        return false;
    int written = uv_try_write(&c->uv.stream, bufs, used);
    if (written == UV_EAGAIN)
        return false;
    if (written < 0) {
        connection_write_failed(c, uv_error_map(written));
        return false;
    }
    size_t of_queue = (size_t)written < c->out.length ? (size_t)written : c->out.length;
    octet_queue_consume(&c->out, of_queue);
    *taken += (size_t)written - of_queue;
    return (size_t)written == total && used == SOCKET_PIECES;
}

void connection_socket_try(connection *c, const smx_slice *pieces, size_t count, size_t *taken)
{
    *taken = 0;
    if (c->write_error != 0 || uv_stream_get_write_queue_size(&c->uv.stream) > 0)
        return;
    while (socket_try_once(c, pieces, count, taken))
        ;
}

static void socket_on_written(uv_write_t *request, int status)
{
    connection *c = request->handle->data;
    octet_block_give(list_member(request, octet_block, request));
    if (c->state == CONNECTION_CLOSED)
        return;
    if (status < 0)
        connection_write_failed(c, uv_error_map(status));
    if (c->want_drained && connection_queued(c) < CONNECTION_LOW)
        connection_tell_later(c, CONNECTION_TELL_DRAINED);
    if (uv_stream_get_write_queue_size(&c->uv.stream) == 0)
        connection_tell_later(c, 0);
}

void connection_socket_submit(connection *c)
{
    if (c->out.first == NULL || c->write_error != 0 ||
        uv_stream_get_write_queue_size(&c->uv.stream) > 0)
        return;
    for (octet_block *block; (block = octet_queue_take(&c->out)) != NULL;) {
        uv_buf_t buf = uv_buf_init(block->octets + block->start, block->end - block->start);
        int error = uv_write(&block->request, &c->uv.stream, &buf, 1, socket_on_written);
        if (error != 0) {
            octet_block_give(block);
            connection_write_failed(c, uv_error_map(error));
            return;
        }
    }
}

bool connection_socket_has_input(const connection *c)
{
    int octets = 0;
    uv_os_fd_t fd;
    return uv_fileno(&c->uv.handle, &fd) != 0 || ioctl(fd, FIONREAD, &octets) != 0 || octets > 0;
}

/* Our side only: what the peer still sends is read on, so that no RST overtakes our last octets. */
void connection_socket_shutdown(connection *c)
{
    uv_os_fd_t fd;
    c->write_ended = true;
    if (uv_fileno(&c->uv.handle, &fd) == 0)
        (void)shutdown(fd, SHUT_WR);
}
