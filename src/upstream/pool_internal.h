/* Inside of a pool: its connections and its attempts. */
#ifndef UPSTREAM_POOL_INTERNAL_H
#define UPSTREAM_POOL_INTERNAL_H

#include "net/loop.h"
#include "upstream/pool.h"

/* A connection is on exactly one of these lists. */
typedef enum pool_state {
    POOL_OPENING = UPSTREAM_OPENING,
    POOL_IDLE = UPSTREAM_IDLE,
    POOL_BUSY = UPSTREAM_BUSY,
    POOL_CLOSING = UPSTREAM_CLOSING,
    POOL_STATES = UPSTREAM_CONNECTION_STATES,
} pool_state;

struct upstream_pool {
    smx_loop *loop;
    upstream *upstream;
    upstream_options options;
    oauth2 *oauth2;            /* where tokens are had, or NULL */
    smx_client_options client; /* what every connection is opened with */
    list connections[POOL_STATES];
    list attempts;
    list spare_attempts; /* that are over: the next ones take their memory */
    upstream_holder holder;
    timer_entry sweep;       /* closes what was idle for too long */
    upstream_attempt *ahead; /* opens a connection ahead of demand, or NULL */
    bool ahead_is_wanted;    /* lately that would have been, or was, of use */
    uint64_t demanded_at;    /* when the last message came; 0: none yet */
    bool ending;
    bool cut; /* upstream_pool_abort was called: nothing is tried again */
    void (*closed)(void *arg);
    void *closed_arg;
    loop_turn_end ended; /* tells `closed` in a later step */
};

typedef struct pool_connection {
    list_node node;
    upstream_pool *pool;
    smx_client *client;
    upstream_attempt *attempt; /* the one it is opened or busy for, or NULL */
    uint64_t opened;
    uint64_t idle_since;
    uint32_t messages;
    char *token;    /* what it signs in with, or NULL */
    bool is_unused; /* it was opened ahead, and no message has come for it */
} pool_connection;

typedef enum attempt_kind {
    ATTEMPT_MESSAGE,
    ATTEMPT_PROBE, /* these have none, count nowhere and give way to those that do (errand.c) */
    ATTEMPT_AHEAD,
} attempt_kind;

/* An attempt: waits for a permit, then for a connection, then for its result. */
struct upstream_attempt {
    list_node node;
    upstream_pool *pool;
    upstream_request request;
    attempt_kind kind;
    bool gives_way; /* its permit is counted as an idle connection's */
    pool_connection *connection;
    upstream_waiter waiter;
    bool waiting;        /* in the queue for a permit */
    oauth2_waiter token; /* waits for a token, with a permit in hand */
    bool asking;         /* ... or a `told` call is under way */
    uint64_t token_asked_at;
    uint64_t token_serial;
    bool retried_token;
    bool token_refused;
    char reason[OAUTH2_REASON]; /* why there is no token */
    bool retried_421;
    bool cancelled;
    bool timed_out;
    bool reused;
    bool done;     /* told; kept only for a `granted` or `told` call that is under way */
    bool answered; /* in steps: the reply to a recipient was told */
    uint32_t tries;
    uint64_t started;
    uint64_t asked_at; /* in steps: when the owner last said more */
    uint64_t ready_at; /* when this connection was had, if it was reused */
    timer_entry timer;
    loop_turn_end later;     /* tells a result that was known at once */
    smx_client_result local; /* such a result */
    const char *unsuitable;
};

/* pool.c */
uint32_t pool_idle_ms(const upstream_pool *pool);
void pool_move(pool_connection *c, pool_state to);
/* An idle connection, off the idle list and counted so; or NULL. */
pool_connection *pool_take_idle(upstream_pool *pool);
/* Opens a connection for an attempt that has a permit. The token is the connection's then. */
SMX_MUST_USE int pool_open(upstream_pool *pool, upstream_attempt *attempt, char *token);
/* Closes it; its permit comes back when it is gone. */
void pool_drop(pool_connection *c);
/* It has no attempt any more: it becomes idle, serves one who waits, or closes. */
void pool_connection_free(pool_connection *c);
/* Tells `closed` when the last connection and attempt are gone. */
void pool_check_end(upstream_pool *pool);

/* attempt.c */
typedef enum attempt_use {
    ATTEMPT_USES,          /* it is busy with the attempt now */
    ATTEMPT_LEAVES,        /* the attempt's result is known without it */
    ATTEMPT_FINDS_IT_DEAD, /* it takes no transaction: the attempt needs another one */
} attempt_use;
SMX_MUST_USE attempt_use attempt_connection_ready(upstream_attempt *attempt, pool_connection *c);
/* Looks for a connection: an idle one, or a permit for a fresh one. */
void attempt_start(upstream_attempt *attempt);
/* Its fresh connection was dead as soon as it was ready. */
void attempt_fresh_is_dead(upstream_attempt *attempt);
void attempt_result(upstream_attempt *attempt, const smx_client_result *result);
/* In steps: a recipient has its reply. */
void attempt_recipient(upstream_attempt *attempt, size_t index, const smx_reply *reply);
/* Ends an attempt that waits for a permit, or for a token. */
void attempt_end_waiting(upstream_attempt *attempt);
/* The connection that was being opened for it is gone. */
void attempt_connection_failed(upstream_attempt *attempt, const smx_client_result *result);
void attempt_arm(upstream_attempt *attempt);
/* Without a connection there is no reply: the result, told at the turn's end, is our own. */
void attempt_tell_local(upstream_attempt *attempt, int error, const char *detail);
/* Its memory is kept for another one, up to a number. */
void attempt_free(upstream_attempt *attempt);
void attempt_free_spares(upstream_pool *pool);
/* upstream_pool_submit, or an errand. */
SMX_MUST_USE int attempt_begin(upstream_pool *pool, const upstream_request *request,
                               attempt_kind kind, upstream_attempt **attempt);
/* The owner is told; the attempt may be gone then. */
void attempt_tell(upstream_attempt *attempt, const smx_client_result *result);

/* errand.c */
SMX_MUST_USE int errand_begin(upstream_pool *pool, attempt_kind kind,
                              void (*done)(void *arg, const upstream_result *result), void *arg,
                              upstream_attempt **attempt);
/* Opens a connection, if there is a permit. */
void errand_start(upstream_attempt *errand);
/* Its connection is no longer its own: the owner is told. */
void errand_succeeded(upstream_attempt *errand);
/* Ends one of this pool for whoever waits for its permit. False: there is none. */
bool errand_give_way(upstream_pool *pool);
/* It is over, or about to be: nobody need ask for its permit any more. */
void errand_keeps_its_permit(upstream_attempt *errand);

/* ahead.c */
/* A message opens a connection for itself, since there was none. */
void ahead_missed(upstream_pool *pool);
/* A message has got its connection: perhaps one is opened for the next. */
void ahead_open(upstream_pool *pool);
/* It is for the next message, or for one that waits. */
void ahead_ready(upstream_attempt *ahead, pool_connection *c);
/* A message takes over the one that is being opened. False: there is none. */
bool ahead_hand_over(upstream_attempt *attempt);
/* From now on none is opened. */
void ahead_stop(upstream_pool *pool);

/* probe.c */
/* NOOP was answered: QUIT follows, and the owner is told. */
void probe_answered(upstream_attempt *probe, pool_connection *c);

/* attempt_token.c */
void attempt_token_init(upstream_attempt *attempt);
/* With a permit: gets a token where one is needed, and opens a connection. */
void attempt_open(upstream_attempt *attempt);
void attempt_stop_asking(upstream_attempt *attempt);
/* The server refused the token; true the first time: a fresh one is to be tried (DESIGN 4.3). */
bool attempt_token_is_stale(upstream_attempt *attempt, const smx_client_result *result);

#endif
