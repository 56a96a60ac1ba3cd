/* Where to listen or to connect: "0.0.0.0:587", "[::1]:25", "name:25", "unix:/path". */
#ifndef NET_ENDPOINT_H
#define NET_ENDPOINT_H

#include "base/problem.h"
#include "smx/proto.h"

struct sockaddr;

typedef struct endpoint {
    bool is_unix;
    smx_slice host; /* a name or an address without brackets; the path of a Unix socket */
    uint16_t port;
} endpoint;

/* Slices of `text`. `default_port` 0: a port must be given. The problem says what was expected. */
SMX_MUST_USE int endpoint_parse(smx_slice text, uint16_t default_port, endpoint *e, problem *p);

/* The address of a socket as a value. */
void endpoint_address(const struct sockaddr *from, smx_address *address);

/* An address of this machine, as one can bind it. */
bool address_is_own(const smx_address *address);

#endif
