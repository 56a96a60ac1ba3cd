/* The inner side of a connection, for the files connection*.c and listener.c.
 *
 *   owner  <->  connection.c         callbacks, kept octets, closing
 *                    |
 *               transport            connection_plain.c, or connection_tls.c on top of it
 *                    |
 *               connection_socket.c  libuv's stream: reading, the queue, what the socket takes
 *
 * connection_open.c makes a connection out of a name.
 */
#ifndef NET_CONNECTION_INTERNAL_H
#define NET_CONNECTION_INTERNAL_H

#include <uv.h>

#include "net/connection.h"
#include "net/loop_internal.h"
#include "net/octet_queue.h"

typedef struct connection_tls connection_tls;
typedef struct connection_opening connection_opening;

/* How octets get from the socket to the owner and back. Errors of the socket are not returned here:
 * connection_write_failed was called with them. */
typedef struct connection_transport {
    /* Octets of the socket, in the loop's read buffer. */
    void (*input)(connection *c, smx_slice octets);
    /* The owner can take more again: gives it what is held back below the kept octets. */
    void (*more)(connection *c);
    int (*queue)(connection *c, smx_slice octets);
    /* Queues at most `most` octets of what the socket does not take at once. */
    int (*send)(connection *c, const smx_slice *pieces, size_t count, size_t most, size_t *taken);
    /* Moves what is queued here to the socket's queue. */
    void (*flush)(connection *c);
    /* The same, and the last words of this transport behind it. */
    void (*shutdown)(connection *c);
} connection_transport;

extern const connection_transport connection_plain;
extern const connection_transport connection_tls_transport;

typedef enum connection_state {
    CONNECTION_OPENING, /* connection_open.c's */
    CONNECTION_READY,   /* accepted, without an owner yet */
    CONNECTION_OPEN,
    CONNECTION_CLOSING, /* the owner is done: last octets go out, what comes is dropped */
    CONNECTION_CLOSED,  /* its handle is being closed: only `closed` is left */
} connection_state;

/* Callbacks that wait for the turn's end, since an owner is not called from within its calls. */
enum {
    CONNECTION_TELL_CONNECTED = 1,
    CONNECTION_TELL_SECURED = 2,
    CONNECTION_TELL_ENDED = 4,
    CONNECTION_TELL_DRAINED = 8,
    CONNECTION_TELL_DATA = 16, /* kept octets are offered again */
    CONNECTION_TELL_MORE = 32, /* the transport may go on */
};

/* Octets that are copied of what lies elsewhere: they fit a small block. */
enum { CONNECTION_FEW = LOOP_SMALL_BLOCK - sizeof(octet_block) };

struct connection {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } uv;
    smx_loop *loop;
    const connection_handler *handler;
    void *owner;
    const connection_transport *transport;
    connection_tls *tls;         /* NULL in clear text */
    connection_opening *opening; /* NULL once connected */
    loop_resident resident;
    loop_turn_end turn_end;
    timer_entry deadline; /* the owner's; when closing, ours */
    octet_queue out;      /* ready for the socket, which was not given it yet */
    char *kept;           /* a block, NULL if nothing is kept */
    uint32_t kept_start;
    uint32_t kept_length;
    smx_address peer;
    smx_address local;
    connection_state state : 8;
    bool is_unix : 1;
    bool local_known : 1;
    bool kept_is_small : 1;
    bool paused : 1;       /* by the owner */
    bool rest_is_tls : 1;  /* what `data` leaves is the first flight of TLS */
    bool waiting : 1;      /* the owner waits for an answer: few octets are kept */
    bool reading : 1;      /* libuv's reading is on */
    bool end_seen : 1;     /* the peer's side is closed, or reading failed */
    bool end_told : 1;     /* `ended`, or the failure of `connected` or `secured`, was called */
    bool offering : 1;     /* `data` is on the stack */
    bool offer_again : 1;  /* connection_resume was called within it */
    bool want_drained : 1; /* connection_send took less than all */
    bool write_ended : 1;  /* our side was shut down, when closing */
    bool peer_done : 1;    /* nothing more is expected of the peer */
    uint8_t tell;          /* CONNECTION_TELL_* */
    int16_t connect_error;
    int16_t secure_error;
    int16_t end_error;
    int16_t write_error; /* the socket takes no more */
};

/* ---- connection.c ---- */

/* On a handle that connection_init_handle made. */
connection *connection_new(smx_loop *loop, bool is_unix);
/* Gives octets to the owner and keeps what is left; at most connection_room() of them. */
void connection_deliver(connection *c, smx_slice octets);
/* Octets that the owner's side can still take in: none while it is paused or keeps enough. */
static inline size_t connection_room(const connection *c)
{
    size_t limit = c->waiting ? (size_t)CONNECTION_KEEP : (size_t)LOOP_BLOCK;
    return c->paused || c->kept_length >= limit ? 0 : limit - c->kept_length;
}
/* The peer's side is over (0), or broken: `ended` is called at the turn's end. */
void connection_ended(connection *c, int error);
/* Nothing can be sent any more; `ended` follows once reading ends too. */
void connection_write_failed(connection *c, int error);
/* Called later, not from within a call of the owner. */
void connection_tell_later(connection *c, unsigned what);
/* The handshake is over: calls `secured`. */
void connection_secured(connection *c, int error);
/* The last callback of the handle: frees the connection. */
void connection_on_handle_closed(uv_handle_t *handle);
/* Closes the handle; `reset`: by a RST. Everything else follows in the handle's callback. */
void connection_finish(connection *c, bool reset);

/* ---- connection_socket.c ---- */

SMX_MUST_USE int connection_init_handle(connection *c);
/* What connection_local says, if that is known without asking the system. */
void connection_set_local(connection *c, const smx_address *local);
/* Starts or stops libuv's reading as the state wants it. */
void connection_update_reading(connection *c);
/* Begins to read while the connection is being made: libuv tells epoll once of both. */
SMX_MUST_USE int connection_read_early(connection *c);
/* Offers the socket the queue and, behind it, pieces without copying them: *taken octets of these
 * went. Nothing is tried while the socket is still busy with what it was given. */
void connection_socket_try(connection *c, const smx_slice *pieces, size_t count, size_t *taken);
/* Gives the socket the rest of the queue, to be written when it can. */
void connection_socket_submit(connection *c);
/* Octets below the transport that the socket has not taken. */
size_t connection_socket_queued(const connection *c);
/* Whether octets came that were not read. */
bool connection_socket_has_input(const connection *c);
/* Sends the end of our side. */
void connection_socket_shutdown(connection *c);

/* ---- connection_open.c ---- */

/* Cancels what is under way. */
void connection_opening_stop(connection *c);
void connection_opening_free(connection *c);

/* ---- connection_tls.c ---- */

void connection_tls_free(connection *c);
/* Octets that wait to be encrypted. */
size_t connection_tls_queued(const connection *c);
/* The socket's octets ended within the handshake: true, and `secured` tells it. */
bool connection_tls_ended(connection *c, int error);
/* True while octets of the socket are held back here. */
bool connection_tls_holds_input(const connection *c);

#endif
