/* One connection: TCP or a Unix socket, in clear text or in TLS, with its octets gathered on the way
 * out and kept on the way in. Server, client and proxy are its owners.
 *
 * Callbacks come on the loop's thread, never from within a call of these functions, but for `data`
 * from connection_resume. The connection is freed by itself after `closed`, the last callback.
 * No buffer is held while nothing is queued and nothing is kept.
 */
#ifndef NET_CONNECTION_H
#define NET_CONNECTION_H

#include "net/endpoint.h"
#include "net/loop.h"
#include "net/tls.h"

typedef struct connection connection;

typedef struct connection_handler {
    /* connection_open: an attempt to connect has begun, from here to there; the peer may know of it before
     * `connected`. May be NULL. */
    void (*attempted)(void *owner, const smx_address *local, const smx_address *peer);
    /* connection_open: connected (0), or not: the connection closes then by itself. */
    void (*connected)(void *owner, int error);
    /* Octets came: returns how many were used. The connection keeps the rest, puts later ones behind
     * it, and calls again when more came or on connection_resume. It reads on until it keeps
     * LOOP_BLOCK octets, or CONNECTION_KEEP while the owner said connection_waiting. */
    size_t (*data)(void *owner, smx_slice in);
    /* The peer closed its side (0) or the connection broke (negative). Kept octets were offered
     * before. The owner closes. */
    void (*ended)(void *owner, int error);
    /* What was queued fell below CONNECTION_LOW again after connection_send took less than all. */
    void (*drained)(void *owner);
    /* The TLS handshake is done (0), or failed: SMX_E_TLS, SMX_E_CERTIFICATE, SMX_E_CLOSED ... */
    void (*secured)(void *owner, int error);
    /* The time set by connection_set_deadline has come. */
    void (*timeout)(void *owner);
    /* All is over: the owner's last chance to free itself. */
    void (*closed)(void *owner);
} connection_handler;

enum {
    CONNECTION_KEEP = 4096,   /* read on while an answer is awaited, so that an end is seen */
    CONNECTION_LOW = 65536,   /* `drained` is called below this */
    CONNECTION_HIGH = 262144, /* connection_send takes nothing above this */
    CONNECTION_LINGER_MS =
        5000, /* a closing connection may take this long to send its last octets */
};

/* ---- opening ---- */

typedef struct connection_target {
    endpoint to;
    const char *source; /* local address to bind, or NULL */
    bool transparent;   /* ... which need not be this machine's (Linux: IP_TRANSPARENT) */
    uint8_t family;     /* 0: any, 4, 6 */
} connection_target;

/* Resolves and connects (one address after the other, all of them within `timeout_ms`), then calls
 * `connected`. Errors: SMX_E_RESOLVE, _REFUSED, _TIMEOUT, _IO ... Strings are copied. */
SMX_MUST_USE int connection_open(smx_loop *loop, const connection_target *target,
                                 uint64_t timeout_ms, const connection_handler *handler,
                                 void *owner, connection **c);

/* For a connection that a listener accepted (net/listener.h): sets its owner and begins to read.
 * Until then nothing is read. */
SMX_MUST_USE int connection_start(connection *c, const connection_handler *handler, void *owner);

/* ---- octets ---- */

/* Copies octets to the queue; they are sent at the end of this turn of the loop, gathered in one
 * write. SMX_E_NOMEM: nothing of it was queued. SMX_E_CLOSED. */
SMX_MUST_USE int connection_queue(connection *c, smx_slice octets);

/* Sends pieces now, behind what is queued, without copying what the socket takes at once. *taken
 * octets of all pieces were handed to the socket (or encrypted for it); the rest stays the caller's,
 * who calls again at `drained`. */
SMX_MUST_USE int connection_send(connection *c, const smx_slice *pieces, size_t count,
                                 size_t *taken);

/* The same for octets that lie where they are until they are sent, a message's: of what the socket
 * does not take at once no more than few are copied, whose leaving calls `drained`. */
SMX_MUST_USE int connection_send_in_place(connection *c, const smx_slice *pieces, size_t count,
                                          size_t *taken);

/* `drained` is to be called as after a connection_send that took less than all. */
void connection_want_drained(connection *c);

/* Hands the queue to the socket now rather than at the turn's end. */
void connection_flush(connection *c);
/* Octets queued that the socket has not taken yet. */
size_t connection_queued(const connection *c);

/* Offers the kept octets to `data` again; reading goes on, connection_waiting is over. Call it when
 * the owner can use more. From within `data` it means: offer what I leave once more. */
void connection_resume(connection *c);
/* The owner awaits an answer and will use nothing until connection_resume: the connection reads on
 * until it keeps CONNECTION_KEEP octets, only to see the peer's end. An owner that merely wants more
 * octets than came so far (half a line) does not say this, and gets up to LOOP_BLOCK. */
void connection_waiting(connection *c, bool waiting);
/* Octets kept. */
size_t connection_kept(const connection *c);

/* Stops and restarts reading (backpressure), whatever is kept. */
void connection_pause(connection *c, bool paused);

/* ---- TLS ---- */

/* Begins the handshake; what is queued in clear text goes out before it. `secured` follows. Kept
 * clear-text octets at that moment are an attack (ATTACKS 12, 13): SMX_E_PROTOCOL. */
SMX_MUST_USE int connection_secure_server(connection *c, tls_server *server);
/* The same from within `data`, where what `data` leaves is the beginning of TLS: behind a PROXY
 * header. */
SMX_MUST_USE int connection_secure_server_behind(connection *c, tls_server *server);
/* `name`: for SNI and for verification (RFC 6125: SAN dNSName or iPAddress, never CN). A session that
 * `client` remembers of this name and this way of verifying is offered. */
SMX_MUST_USE int connection_secure_client(connection *c, tls_client *client, smx_slice name,
                                          tls_verify verify);

typedef struct connection_tls_info {
    const char *protocol; /* "TLSv1.3" */
    const char *cipher;
    bool verified; /* the peer's certificate was right */
    bool resumed;
    char peer_name[128]; /* subject CN of the peer's certificate, or empty */
    const char *error;   /* why it was not accepted, in plain English, or NULL; lives as c */
} connection_tls_info;

/* False when not in TLS. */
bool connection_get_tls_info(const connection *c, connection_tls_info *info);
/* The name that the client asked for (SNI); NULL: none. Lives as c. */
const char *connection_tls_server_name(const connection *c);
/* SHA-256 of the peer's SubjectPublicKeyInfo. SMX_E_STATE: there is no certificate of it. */
enum { CONNECTION_KEY_DIGEST = 32 };
SMX_MUST_USE int connection_get_key_digest(const connection *c,
                                           uint8_t digest[static CONNECTION_KEY_DIGEST]);
/* OpenSSL's words for the last TLS failure of this connection ("certificate has expired"), or "". */
const char *connection_tls_problem(const connection *c);

/* ---- the rest ---- */

/* Calls `timeout` once at that time of loop_now()'s clock; UINT64_MAX: never. */
void connection_set_deadline(connection *c, uint64_t due);

/* Sends what is queued and TLS's close, then closes; or resets at once (`abort`: unsent octets are
 * dropped; on TCP a RST). Reading ends. `closed` follows in a later turn. Twice is nothing. */
void connection_close(connection *c);
/* The peer has said its last word, such as QUIT: in clear text closing need not wait for its end, unless
 * more of it is unread when the last octets were sent. */
void connection_peer_is_done(connection *c);
void connection_abort(connection *c);
/* connection_close without waiting for the peer's end, where both sides have said their last: what the peer
 * sends all the same is answered by a RST. Where octets are left on either way it is connection_close. */
void connection_part(connection *c);

smx_loop *connection_loop(const connection *c);
const smx_address *connection_peer(const connection *c);
const smx_address *connection_local(connection *c);
bool connection_is_tls(const connection *c);
/* Where the client wanted to go, before a REDIRECT or TPROXY rule of this machine (Linux): the local
 * address where there was none. */
void connection_original_destination(connection *c, smx_address *to);

#endif
