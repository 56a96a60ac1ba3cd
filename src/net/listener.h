/* A listening socket: TCP with SO_REUSEPORT, so that each loop has its own, or a Unix socket, whose
 * descriptor is shared by the loops. */
#ifndef NET_LISTENER_H
#define NET_LISTENER_H

#include "net/connection.h"

typedef struct listener listener;

/* Nothing more can be accepted for a moment: out of descriptors or memory. Told at most once in ten
 * seconds. */
typedef void listener_paused_fn(void *owner, int error);

typedef struct listener_options {
    int backlog;      /* 0: 1024 */
    int unix_mode;    /* of a Unix socket; 0: 0660 */
    int fd;           /* a listening socket that is open already (duplicated), or -1 */
    listener *adopts; /* whose socket is shared instead of opening one, or NULL: see listener_new */
    bool shared; /* another loop of this program listens here already: do not look for strangers */
    bool transparent; /* connections to other machines' addresses are taken (Linux: TPROXY) */
    listener_paused_fn *paused; /* or NULL */
} listener_options;

/* A connection was accepted: the owner calls connection_start or connection_close. */
typedef void listener_fn(void *owner, connection *c);

/* Opens and binds without accepting yet, so that all listeners can be tried before any serves. A
 * stale Unix socket, that nobody listens on, is replaced. Without SO_REUSEPORT sharing by strangers:
 * a port that another program holds is a problem that says so. `endpoint.port` 0: any free port.
 *
 * With `adopts` both have the same open socket: what waits in its queue is accepted by whichever is
 * started, and the file of a Unix socket goes with the last of them. */
SMX_MUST_USE int listener_new(smx_loop *loop, const endpoint *at, const listener_options *options,
                              listener_fn *fn, void *owner, listener **l, problem *p);
/* Begins to accept. Out of descriptors: pauses for a moment instead of spinning. */
SMX_MUST_USE int listener_start(listener *l);

/* Stops as listener_free does. If no other listener has the socket, what waits in its queue is
 * accepted before. NULL is nothing. */
void listener_retire(listener *l);

/* The port that it has; 0 for a Unix socket. */
uint16_t listener_port(const listener *l);
/* What it is bound to; the address may be the wildcard. */
const smx_address *listener_address_of(const listener *l);
/* The descriptor, for another loop's listener of the same Unix socket. */
int listener_fd(const listener *l);

/* A duplicate that no child process inherits, or -1 with errno. */
SMX_MUST_USE int listener_duplicate(int fd);

/* Stops accepting and frees itself in a later turn. NULL is nothing. */
void listener_free(listener *l);

#endif
