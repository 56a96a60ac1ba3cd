/* The connections of one worker to one upstream, and the attempts made on them (DESIGN 4.7).
 *
 * A pool is one upstream's, so connections with other TLS, credentials or source never mix. Every
 * connection is on exactly one list: opening, idle, busy, closing. Attempts that cannot have a
 * connection at once wait for a permit, first come first served over all workers.
 */
#ifndef UPSTREAM_POOL_H
#define UPSTREAM_POOL_H

#include "upstream/upstream.h"

typedef struct upstream_pool upstream_pool;

/* `options`: how the upstream is reached. `hostname`: ours, for EHLO and against loops. `tls` may be
 * NULL if the upstream never speaks TLS. All must outlive the pool; of the options their strings. */
SMX_MUST_USE int upstream_pool_new(smx_loop *loop, upstream *u, const upstream_options *options,
                                   const char *hostname, smx_client_tls *tls, smx_log_fn *log,
                                   void *log_arg, upstream_pool **pool);

/* Options that are limits only: those of a newer snapshot hold for what exists already, too. */
#define UPSTREAM_POOL_SETTINGS(X)                                                                  \
    X(max_messages_per_connection)                                                                 \
    X(idle_ms)                                                                                     \
    X(open_ahead)                                                                                  \
    X(max_age_ms)                                                                                  \
    X(connect_timeout_ms)                                                                          \
    X(command_timeout_ms)                                                                          \
    X(data_timeout_ms)                                                                             \
    X(final_timeout_ms)
void upstream_pool_configure(upstream_pool *pool, const upstream_options *options);

/* What became of an attempt. */
typedef struct upstream_result {
    const smx_client_result *client; /* lives until the callback ends */
    const char *unsuitable;          /* the server cannot take such a message: why ("8BITMIME is not
                               offered"), or NULL; client->reply says how a client is told */
    bool token_refused;              /* there was no token: the endpoint does not take our
                                        credentials; client->detail says why */
    bool reused;                     /* the connection had been open before */
    uint32_t tries;         /* connections it took: a lost reused one and one 421 are tried again */
    smx_slice tls;          /* "TLSv1.3", or empty */
    uint64_t took_ms;       /* in steps: since the owner last said more */
    upstream_health health; /* what it says of the server: for upstream_settle */
} upstream_result;

typedef struct upstream_attempt upstream_attempt;

typedef struct upstream_request {
    smx_submission submission; /* lives until `done` */
    uint64_t deadline;         /* of the loop's clock: bounds all before the final dot */
    uint32_t connect_ms;       /* for the connection, if it is a fresh one; 0: up to the deadline */
    uint32_t data_ms;          /* from there to the reply to DATA; 0: up to the deadline */
    bool fresh; /* once more, behind a 421: no connection that was open before, no retry */
    const upstream_rule *rules; /* what its replies mean: a 421 that fits one is not tried again */
    size_t rule_count;
    void (*done)(void *arg, const upstream_result *result);
    /* Of a submission in steps: the reply to a recipient. NULL: not told. */
    void (*recipient)(void *arg, size_t index, const smx_reply *reply);
    void *arg;
} upstream_request;

/* Begins an attempt. `done` is called once, never from within. A reused connection lost before its
 * first reply is replaced by a fresh one, not counted; 421 with an enhanced code other than 4.7.x, that no rule names:
 * once more on a fresh one (DESIGN 4.3), unless the reply to a recipient was told already: then that
 * is the owner's to do. */
SMX_MUST_USE int upstream_pool_submit(upstream_pool *pool, const upstream_request *request,
                                      upstream_attempt **attempt);

/* A submission in steps has come further (smx_client_advance), whether there is a connection for it
 * yet or not. `deadline` is the new one; neither it nor `data_ms` run while the server has had all
 * that there is, or takes a body that grows. SMX_E_LATE: the result is on its way. SMX_E_INVALID,
 * SMX_E_NOMEM: nothing has changed. */
SMX_MUST_USE int upstream_attempt_advance(upstream_attempt *attempt,
                                          const smx_submission *submission, uint64_t deadline);

/* Gives an attempt up unless its final dot was handed over (SMX_E_LATE: `done` will tell). `done`
 * follows with GIVEN_UP. */
SMX_MUST_USE int upstream_attempt_cancel(upstream_attempt *attempt);

/* Closes idle connections now, others after their message, and calls `closed` when all are gone. */
void upstream_pool_close(upstream_pool *pool, void (*closed)(void *arg), void *arg);
/* Cuts off what is under way: attempts end as failed, or as unknown behind their final dot. */
void upstream_pool_abort(upstream_pool *pool);
/* After that. */
void upstream_pool_free(upstream_pool *pool);

#endif
