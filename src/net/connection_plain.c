/* The transport without TLS: octets are the socket's octets. Owns nothing. */
#include "net/connection_internal.h"

static int plain_queue(connection *c, smx_slice octets)
{
    return octet_queue_append(&c->out, c->loop, octets);
}

static bool is_all(const smx_slice *pieces, size_t count, size_t octets)
{
    size_t all = 0;
    for (size_t i = 0; i < count; i++)
        all += pieces[i].len;
    return octets == all;
}

/* What the socket does not take at once is copied to the queue, as far as that may grow. */
static int plain_send(connection *c, const smx_slice *pieces, size_t count, size_t most,
                      size_t *taken)
{
    int error = 0;
    *taken = 0;
    if (connection_socket_queued(c) >= most)
        return 0;
    connection_socket_try(c, pieces, count, taken);
    size_t skip = *taken;
    if (connection_socket_queued(c) == 0 && is_all(pieces, count, skip))
        return 0;
    for (size_t i = 0; i < count && error == 0; i++) {
        size_t from = skip < pieces[i].len ? skip : pieces[i].len;
        smx_slice piece = slice_from(pieces[i], from);
        skip -= from;
        size_t queued = connection_socket_queued(c);
        size_t room = queued < most ? most - queued : 0;
        if (piece.len > room)
            piece = slice_to(piece, room);
        error = octet_queue_append(&c->out, c->loop, piece);
        if (error == 0)
            *taken += piece.len;
        if (piece.len == room)
            break;
    }
    connection_socket_submit(c);
    return *taken > 0 ? 0 : error;
}

static void plain_nothing(connection *c)
{
    (void)c;
}

const connection_transport connection_plain = {
    .input = connection_deliver,
    .more = plain_nothing,
    .queue = plain_queue,
    .send = plain_send,
    .flush = plain_nothing,
    .shutdown = plain_nothing,
};
