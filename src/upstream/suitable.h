/* Is a server able to take a message, by what it offers (DESIGN 4.2)? The one place that knows. */
#ifndef UPSTREAM_SUITABLE_H
#define UPSTREAM_SUITABLE_H

#include "smx/proto.h"

/* What a message asks of a server. */
typedef struct upstream_needs {
    uint64_t size; /* octets; 0: not known */
    bool eight_bit;
    bool smtputf8;
    bool requiretls;
    bool dsn;
} upstream_needs;

/* What a server offers; REQUIRETLS only if the connection is such that it may be used. */
typedef struct upstream_offer {
    smx_extensions extensions;
    uint64_t max_size; /* 0: no limit is known */
} upstream_offer;

/* Why not, or NULL. *reply is what the client is told when no upstream is able to. */
const char *upstream_unsuitable(const upstream_needs *needs, upstream_offer offer,
                                smx_reply *reply);

#endif
