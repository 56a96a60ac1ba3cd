/* What is known of a running daemon at one moment, as plain values: the JSON API and the metrics are
 * made from it. The application fills it; all strings and arrays live in its arena. */
#ifndef ADMIN_STATUS_H
#define ADMIN_STATUS_H

#include "base/arena.h"
#include "base/histogram.h"

/* Counts with a label `outcome`. */
typedef struct admin_count {
    const char *outcome;
    uint64_t total;
    histogram_view seconds;
    bool has_seconds;
} admin_count;

/* Attempts that this phase decided against the message. */
typedef struct admin_phase {
    const char *phase;
    uint64_t not_taken;
} admin_phase;

/* One limit of an upstream or a route, "500 recipients/day". */
typedef struct admin_limit {
    const char *text;
    uint64_t used;
    uint64_t limit;
} admin_limit;

typedef struct admin_upstream {
    const char *name;
    const char *url;
    bool is_usable;
    const char *state;   /* "usable", or the reason in a word: "suspended", "open", "full" */
    const char *detail;  /* full: the limit, or why else; or "" */
    uint64_t wait_ms;    /* until it may be usable again; 0: it is, or nobody knows */
    const char *breaker; /* "closed", "open", "half-open" */
    uint64_t breaker_ms; /* open: until it is tried again */
    uint64_t failures;   /* consecutive, as the breaker counts them */
    bool is_suspended;
    uint64_t suspended_ms; /* from now on */
    uint64_t latency_ms;   /* moving average of deliveries; 0: none yet */
    uint64_t connections_max;
    uint64_t connecting; /* connections by the pool's list that they are on */
    uint64_t idle;
    uint64_t busy;
    uint64_t closing;
    uint64_t waiting; /* attempts that wait for a permit */
    uint64_t attempts;
    uint64_t accepted;
    uint64_t refused;
    uint64_t failed;
    uint64_t unknown;
    uint64_t opened;       /* connections, since the start */
    uint64_t opened_ahead; /* before a message came for them */
    uint64_t resumed;      /* with a TLS session of an earlier one */
    uint64_t reused;       /* attempts on a connection that was open before */
    uint64_t suspensions;
    const admin_count *deliveries; /* attempts that ended, with how long they took */
    size_t delivery_count;
    const admin_phase *phases;
    size_t phase_count;
    const admin_limit *limits;
    size_t limit_count;
} admin_upstream;

/* One that has limits of its own. */
typedef struct admin_route_status {
    const char *name;
    const admin_limit *limits;
    size_t limit_count;
} admin_route_status;

typedef struct admin_listener {
    const char *listen;
    const char *tls;
    const char *mode;     /* "mux", "proxy" */
    const char *upstream; /* a proxy's, its URL; else NULL */
    uint64_t sessions;    /* open now */
    uint64_t connections;
    uint64_t refused_connections;
    uint64_t tls_failures;
    uint64_t auth_successes;
    uint64_t auth_failures;
    uint64_t transactions;
    uint64_t accepted;
    uint64_t deferred;
    uint64_t rejected;
} admin_listener;

typedef struct admin_status {
    const char *version;
    const char *hostname;
    uint64_t pid;
    uint64_t started; /* wall clock, milliseconds since 1970 */
    uint64_t uptime_ms;
    bool is_listening; /* false while it drains */
    uint64_t workers;
    const char *file;    /* the configuration */
    const char *digest;  /* SHA-256 of the text that runs, in hexadecimal; "": not known */
    const char *on_disk; /* what the daemon finds in that file now: "same", "changed", or why not */
    uint64_t generation; /* 1, and one more with each reload */
    uint64_t loaded;     /* wall clock of the last reload, or the start */
    uint64_t reloads;
    uint64_t reload_failures;
    uint64_t memory_used; /* octets of messages */
    uint64_t memory_limit;
    uint64_t resident; /* octets of the process */
    uint64_t descriptors;
    uint64_t lost_records; /* of audit files and transcripts */
    const admin_listener *listeners;
    size_t listener_count;
    const admin_upstream *upstreams;
    size_t upstream_count;
    const admin_route_status *routes;
    size_t route_count;
    const admin_count *messages; /* the multiplexer's outcomes */
    size_t message_count;
    arena memory;
} admin_status;

/* Why no message could be taken now, or NULL: it is ready. */
const char *admin_status_unready(const admin_status *status);

#endif
