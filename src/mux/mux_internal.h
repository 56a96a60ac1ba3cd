/* Inside of the multiplexer. */
#ifndef MUX_MUX_INTERNAL_H
#define MUX_MUX_INTERNAL_H

#include <pthread.h>

#include "base/buffer.h"
#include "base/map.h"
#include "mux/classify.h"
#include "mux/compose.h"
#include "mux/dedup.h"
#include "mux/mux.h"
#include "net/loop.h"
#include "net/tls.h"

/* What a plan remembers; kept in the state by what the plan is: whose, by which selector, among which
 * upstreams. */
typedef struct mux_turn_entry {
    mux_turn turn;
    size_t shares; /* of the muxes that use it; under the state's mutex */
    smx_slice key;
} mux_turn_entry;

struct mux_state {
    _Atomic uint64_t outcomes[MUX_OUTCOME_COUNT];
    histogram took[MUX_OUTCOME_COUNT];
    pthread_mutex_t mutex; /* guards the maps, not what they lead to */
    map upstreams;         /* records by name; a share of each */
    map turns;             /* mux_turn_entry by key */
    map allowances;        /* mux_allowance by "user ann" or "route bulk" */
    store *store;
    alerts *alerts; /* NULL: nobody is told */
    dedup *dedup;
    tls_authorities *authorities; /* the last ones that a mux asked for, or NULL; under the mutex */
};

/* The quota of a user or a route. */
typedef struct mux_allowance {
    quota *quota;
    size_t shares; /* of the muxes that use it; under the state's mutex */
    smx_slice name;
} mux_allowance;

/* A user at work. */
typedef struct mux_user {
    const mux_user_options *options;
    mux_turn_entry *turn;
    mux_allowance *allowance; /* NULL: no limits */
} mux_user;

typedef struct mux_route {
    const mux_route_options *options;
    mux_turn_entry *turn;
    mux_allowance *allowance;
} mux_route;

struct mux {
    const mux_options *options;
    mux_state *state;
    upstream **upstreams;
    tls_authorities *authorities; /* for upstreams without `ca`; NULL: not read */
    mux_user *users;
    mux_route *routes;
    map by_name; /* smx_user, by its name */
};

enum { MUX_QUOTAS = 2 };

/* What is done with one message: the route's plan filled up from the user's, or the user's own. */
typedef struct mux_resolved {
    mux_plan plan;
    mux_turn *turn;
    const char *route;         /* its name; "user" without one */
    const mux_route *taken;    /* NULL: none, the user's own plan */
    quota *quotas[MUX_QUOTAS]; /* the user's and the route's; NULL: none */
} mux_resolved;
/* The route of a whole message; NULL: none. SMX_E_NOMEM. */
SMX_MUST_USE int mux_route_of(const mux *m, smx_transaction *tx, const mux_route **route);
/* `route` NULL: the user's own. */
void mux_resolve(const mux_user *user, const mux_route *route, mux_resolved *resolved);
/* The plan's order of this message into `order` (choice_count places). */
void mux_select(const mux *m, const mux_resolved *resolved, uint64_t random, smx_slice user,
                const smx_envelope *envelope, size_t *order);

/* ---- state.c ---- */

/* A share of the record of this name, made if it is new. */
SMX_MUST_USE int mux_state_upstream(mux_state *state, const upstream_options *options,
                                    upstream **u);
/* A share of the system's CA certificates as they stand now. SMX_E_NOMEM. */
SMX_MUST_USE int mux_state_authorities(mux_state *state, tls_authorities **authorities);
/* A share of the turn of this plan. `owner`: "user ann" or "route bulk". */
SMX_MUST_USE int mux_state_turn(mux_state *state, const char *kind, smx_slice owner,
                                const mux_plan *plan, const upstream_options *upstreams,
                                mux_turn_entry **turn);
/* A share of the quota of this user or route; NULL if the plan has no limits. */
SMX_MUST_USE int mux_state_allowance(mux_state *state, const char *kind, smx_slice owner,
                                     const mux_plan *plan, mux_allowance **allowance);
void mux_state_release_allowance(mux_state *state, mux_allowance *allowance);
void mux_state_release_turn(mux_state *state, mux_turn_entry *turn);
/* Lets go of records that no mux uses any more. */
void mux_state_release_upstream(mux_state *state, upstream *u);
void mux_state_count(mux_state *state, mux_outcome outcome, uint64_t took_ms);

/* What a listener offers for now (offer.c). */
typedef struct mux_offered {
    const smx_listener_options *listener;
    smx_extensions offered;
    uint64_t worked_out; /* the loop's clock; 0: not yet */
} mux_offered;
enum { MUX_OFFERS = 16 };

typedef struct mux_probes mux_probes; /* probe.c */

struct mux_worker {
    mux *mux;
    smx_loop *loop;
    smx_server *server;
    smx_log_fn *log;
    void *log_arg;
    upstream_pool_set *set;
    bool owns_set;
    upstream_pool **pools; /* a share of one for each upstream */
    list deliveries;
    mux_offered offers[MUX_OFFERS];
    smx_middleware summary;
    smx_middleware dedup;
    smx_hook route_hook;
    smx_hook cut_through_hook;
    mux_probes *probes; /* NULL: there is nothing to probe */
    composer composer;
    buffer reply_text; /* of the reply that is being given; its memory is kept */
    uint64_t random;   /* state of the generator that seeds selections */
    timer_entry drain_timer;
    loop_turn_end ended; /* looks whether it is drained */
    bool cut;            /* the drain's time is over: nothing new is tried */
    void (*drained)(void *arg);
    void *drained_arg;
};

/* What is told of one message at the end; the transaction's value. */
typedef struct mux_record {
    const char *route;      /* its name; NULL: no delivery was begun */
    const mux_route *taken; /* NULL: none, the user's own plan */
    const char *upstream;   /* the one that decided, or NULL */
    uint32_t attempts;
    smx_client_phase phase;
    bool has_phase;
    mux_outcome outcome;
    bool has_outcome;        /* set by the delivery; else the reply's class tells */
    uint64_t started;        /* the loop's clock */
    struct cut_through *cut; /* under way since the first RCPT, until the handler has it; or NULL */
    /* dedup.c's: */
    void *dedup_entry; /* it is delivered for this entry; NULL: for none */
    uint32_t dedup_window_ms;
    bool is_copy;              /* of a message that another transaction delivers */
    const char *only_upstream; /* the one that may have it already; NULL: any */
} mux_record;

/* summary.c */
/* The transaction's record, made if there is none; NULL when out of memory. */
mux_record *mux_record_of(mux_worker *worker, smx_transaction *tx);
void mux_summary_init(mux_worker *worker);

/* delivery.c */
/* `node` is a delivery's in the worker's list: what it waits for is not waited for any more. */
void delivery_interrupt(list_node *node);

/* worker.c */
/* Tells the record how what was admitted ended, and the log and the alerts what that changed. */
void mux_settle(mux_worker *worker, upstream *u, upstream_admission *admitted,
                const upstream_settlement *settlement);
/* Suspends an upstream for what it answered; `ms` as upstream_suspend's. If that is news, the log and the
 * alerts are told; `tx`: whose message it was, or NULL. */
void mux_suspend(mux_worker *worker, upstream *u, const upstream_result *result, uint32_t ms,
                 smx_transaction *tx);
/* A line of the log: what became of an attempt. */
void mux_log_attempt(mux_worker *worker, const upstream *u, const upstream_result *result,
                     smx_log_level level, const char *event, smx_transaction *tx);
void mux_worker_check_drained(mux_worker *worker);
uint64_t mux_worker_random(mux_worker *worker);

/* ---- what a client and an operator are told (report.c) ---- */

/* "gmail: 535 5.7.8 bad credentials (auth)": the reason why an upstream did not take a message. */
SMX_MUST_USE int mux_report_reason(buffer *out, const char *name, const upstream_result *result);
/* A reply text from an upstream's reply: names the recipient when one was refused. */
SMX_MUST_USE int mux_report_text(buffer *out, const char *name, const smx_envelope *envelope,
                                 const smx_client_result *result);

#endif
