/* What servers on several loops share, from the inside. Any thread. */
#ifndef SERVER_SHARED_H
#define SERVER_SHARED_H

#include <pthread.h>

#include "base/map.h"
#include "base/pool.h"
#include "net/tls.h"
#include "sasl/password.h"
#include "smx/server.h"

struct smx_shared {
    smx_budget *budget;
    _Atomic uint64_t memory_limit; /* 0: none */
    password_memory *passwords;
    tls_tickets *tickets;  /* of all listeners */
    pthread_mutex_t mutex; /* guards what stands below */
    size_t thread_count;   /* of `threads`, once they are needed */
    size_t queue;
    pool *threads; /* NULL: not needed yet */
    uint64_t connections;
    map clients; /* address to the number of its connections */
    map routes;  /* of open connections of a proxy's to its upstreams: both ends; to their number */
    _Atomic uint32_t starts[UINT16_MAX + 1]; /* ... how many there are from each port of ours */
};

/* The pool, started when first asked for; NULL when it cannot be. */
pool *shared_pool(smx_shared *shared);

/* Counts a connection, if there are fewer than `max`. */
SMX_MUST_USE bool shared_admit(smx_shared *shared, uint64_t max);
void shared_leave(smx_shared *shared);
/* The same for those of one client; Unix sockets are let in. False without memory to count. */
SMX_MUST_USE bool shared_admit_client(smx_shared *shared, const smx_address *client, uint32_t max);
void shared_leave_client(smx_shared *shared, const smx_address *client);

/* A proxy's connection to its upstream, from its attempt until it is closed. Unix sockets have no ends.
 * False: it is not kept, for want of memory or ends; then nothing is to be left. */
SMX_MUST_USE bool shared_enter_route(smx_shared *shared, const smx_address *from,
                                     const smx_address *to);
void shared_leave_route(smx_shared *shared, const smx_address *from, const smx_address *to);
/* Who comes from there may be a proxy of this process: a route starts at such a port. */
SMX_MUST_USE bool shared_has_start(const smx_shared *shared, const smx_address *from);
/* Who comes from there, and wanted to go there, is a proxy of this process. */
SMX_MUST_USE bool shared_has_route(smx_shared *shared, const smx_address *from,
                                   const smx_address *to);

/* Messages take more memory than they may: no new ones now (RFC 5321: 452). */
bool shared_is_over_budget(const smx_shared *shared);

#endif
