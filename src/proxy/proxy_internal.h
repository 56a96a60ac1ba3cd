/* The I/O half of the transparent proxy: its structs, and what each of its files gives to the others.
 *
 *   proxy.c            the public face; listeners
 *   pair_begin.c       limits, the CONNECT hooks, the way to the upstream, TLS that comes first
 *   pair_upstream.c    where the upstream is, how it learns the client's address, loops
 *   pair.c             two connections and a relay: feeding, backpressure, time, the end
 *   pair_events.c      what each event of the relay means
 *
 * A pair is one client with its upstream. It stands on the front's list of its state, and is freed
 * when both of its connections are closed.
 */
#ifndef PROXY_PROXY_INTERNAL_H
#define PROXY_PROXY_INTERNAL_H

#include "base/arena.h"
#include "base/buffer.h"
#include "proxy/relay.h"
#include "server/front.h"
#include "smx/proxy.h"

typedef struct pair pair;

typedef struct proxy_listener {
    entrance entrance; /* first */
    smx_proxy *proxy;
    smx_proxy_upstream upstream;
    relay_options relay;
    bool is_raw; /* TLS passes from the first octet on: there is no relay */
} proxy_listener;

struct smx_proxy {
    front front;
    smx_proxy_options options;
};

/* How far a pair is. */
typedef enum pair_state {
    PAIR_ARRIVES,  /* limits, the PROXY header, implicit TLS */
    PAIR_JUDGED,   /* the hooks of CONNECT are asked */
    PAIR_CONNECTS, /* to the upstream, up to its first octet: TCP, implicit TLS */
    PAIR_RELAYS,
    PAIR_RAW,  /* octets pass unread, without a relay */
    PAIR_ENDS, /* last octets are on their way; nothing is read */
} pair_state;

struct pair {
    guest guest; /* the client's connection, and what is known of the session */
    smx_proxy *proxy;
    proxy_listener *listener;
    connection *upstream; /* NULL: not yet, or no more */
    relay *relay;         /* in PAIR_RELAYS */
    loop_turn_end kick;   /* looks whether a side that ended was read to its end */
    arena memory;         /* strings of the view, attributes of XCLIENT */
    uint64_t trim_due;    /* buffers are given back */
    pair_state state : 8;
    bool client_open;    /* its `closed` has not come */
    bool upstream_open;  /* likewise */
    bool client_ended;   /* it will send no more; what is kept of it may still be read */
    bool upstream_ended; /* likewise */
    bool asking;         /* hooks: nothing of the client is read on */
    bool running;        /* the relay is being fed */
    bool progress;       /* ... and something came of it */
    bool securing;       /* the upstream's handshake is under way */
    bool leaving;        /* a shutdown waits for the transaction's end */
    bool held_up[2];     /* relay_side: it is not read until the other takes its octets */
};

/* ---- pair_begin.c ---- */

/* Takes an accepted connection in. */
void pair_new(entrance *e, connection *c);
/* The client's octets before the session. */
size_t pair_header(pair *p, smx_slice in);
/* Implicit TLS towards the client has begun, or failed. */
void pair_secured_first(pair *p, int error);
/* The hooks let the client in. */
void pair_connect(pair *p);
void pair_connected(pair *p, int error);
void pair_upstream_secured_first(pair *p, int error);
/* There is no upstream for this client, for this reason. */
void pair_no_upstream(pair *p, const char *what, const char *why);

/* ---- pair_upstream.c ---- */

/* NULL, or why there cannot be a connection, in words for the log. */
SMX_MUST_USE const char *upstream_open(pair *p, int *error);
/* The connection is to one of our own listeners. */
bool upstream_is_ourselves(const pair *p, const smx_address *to);
/* What the upstream is told of the client before all else. */
SMX_MUST_USE int upstream_introduce(pair *p);
SMX_MUST_USE int upstream_secure(pair *p);
/* Writes what XCLIENT tells, into the pair's memory. */
SMX_MUST_USE int upstream_xclient(pair *p, smx_slice *attributes);

/* ---- pair.c ---- */

extern const connection_handler pair_client_handler;
extern const connection_handler pair_upstream_handler;
void pair_init_kick(pair *p);
uint64_t pair_now(const pair *p);
connection *pair_connection(const pair *p, relay_side side);
void pair_set_deadline(pair *p);
/* Goes on with what both connections keep. */
void pair_advance(pair *p);
/* Writes a last reply, past the relay, and ends. */
void pair_refuse(pair *p, const smx_reply *reply);
/* Both connections end, behind what was queued. */
void pair_end(pair *p);
/* The upstream's connection ends now. */
void pair_cut_upstream(pair *p);
void pair_cut(pair *p);
/* Queues octets, or sends them at once where they are many. */
void pair_send(pair *p, relay_side to, smx_slice octets);
/* As front_owner has them. */
void pair_shut_down(guest *g);
void pair_dismiss(guest *g);
void pair_cut_guest(guest *g);

/* ---- pair_events.c ---- */

void pair_event(pair *p, const relay_event *event);
/* The handshake with the upstream is done. */
void pair_upstream_is_secure(pair *p);
void pair_log(const pair *p, smx_log_level level, const char *event, const char *key,
              smx_slice value);

#endif
