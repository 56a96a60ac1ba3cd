/* The multiplexer: users, the upstreams they send through, and the delivery of a message to one of
 * them. It is a handler of libsmx (smx/server.h).
 */
#ifndef MUX_MUX_H
#define MUX_MUX_H

#include <stdatomic.h>

#include "mux/alert.h"
#include "smx/server.h"
#include "upstream/pool_set.h"

/* ---- what the configuration fills ---- */

/* One of a plan's upstreams: the index of the mux's upstream, and its weight. */
typedef struct mux_choice {
    size_t upstream;
    uint32_t weight; /* at least 1 */
} mux_choice;

typedef enum mux_delivery_mode {
    MUX_AFTER_DATA,  /* the message is received whole first */
    MUX_CUT_THROUGH, /* it is passed on while it arrives */
} mux_delivery_mode;
typedef enum mux_on_unknown { MUX_UNKNOWN_DEFER, MUX_UNKNOWN_FAILOVER } mux_on_unknown;
typedef enum mux_mixed_routes {
    MUX_MIXED_DEFER, /* a recipient of another route is answered 452 */
    MUX_MIXED_FIRST, /* it goes the first one's way */
} mux_mixed_routes;
typedef enum mux_received {
    MUX_RECEIVED_FULL,
    MUX_RECEIVED_NO_CLIENT, /* without the client's name and address */
    MUX_RECEIVED_OFF,
} mux_received;
enum mux_missing { MUX_ADD_DATE = 1, MUX_ADD_MESSAGE_ID = 2 }; /* bits of `add_missing` */

/* What `hash` sticks to. */
typedef enum mux_hash_by { MUX_HASH_SENDER, MUX_HASH_RECIPIENT, MUX_HASH_USER } mux_hash_by;

struct mux_selector;
struct mux_match;

/* How a message is delivered: a user's plan, or a route's. A route has its own selector, choices and
 * limits; of the other keys it takes those that it does not give from the user (`given`). */
typedef struct mux_plan {
    const struct mux_selector *selector; /* NULL: failover */
    mux_hash_by hash_by;
    const mux_choice *choices;
    size_t choice_count;
    mux_delivery_mode delivery;
    uint32_t deadline_ms; /* 0: 30000 */
    mux_on_unknown on_unknown;
    mux_mixed_routes mixed_routes;
    uint32_t dedup_window_ms; /* 0: off */
    mux_received received;
    uint32_t add_missing; /* bits of mux_missing */
    quota_limits limits;  /* of the user's, or the route's, messages: 450 4.7.1 */
} mux_plan;

/* The keys that a route may leave to the user: the field, and its name in the file. */
#define MUX_PLAN_INHERIT_MAP(X)                                                                    \
    X(delivery, "delivery")                                                                        \
    X(deadline_ms, "deadline")                                                                     \
    X(on_unknown, "on_unknown")                                                                    \
    X(mixed_routes, "mixed_routes")                                                                \
    X(dedup_window_ms, "dedup_window")                                                             \
    X(received, "received")                                                                        \
    X(add_missing, "add_missing")
enum mux_plan_bit {
#define MUX_PLAN_BIT(field, name) MUX_PLAN_BIT_##field,
    MUX_PLAN_INHERIT_MAP(MUX_PLAN_BIT)
#undef MUX_PLAN_BIT
};

typedef struct mux_user_options {
    smx_user user; /* its `data` is filled by mux_new */
    mux_plan plan;
} mux_user_options;

typedef struct mux_route_options {
    const char *name;              /* in logs: as given, or "routes[2]" */
    const struct mux_match *match; /* NULL: every message */
    mux_plan plan;
    unsigned given; /* bits 1 << mux_plan_bit: keys that the route has itself */
} mux_route_options;

typedef struct mux_options {
    const char *hostname;
    const upstream_options *upstreams;
    size_t upstream_count;
    mux_user_options *users;
    size_t user_count;
    const mux_route_options *routes; /* the first whose match holds wins */
    size_t route_count;
} mux_options;

/* ---- selectors: one file each in mux/selector/ ---- */

/* What a selector remembers for a plan, over all workers and reloads. */
typedef struct mux_turn {
    _Atomic uint64_t index;
    uint16_t *sequence; /* smooth weighted order of the choices, or NULL */
    size_t sequence_length;
} mux_turn;

/* One selection. */
typedef struct mux_selection {
    const mux_plan *plan;
    mux_turn *turn;
    uint64_t random;            /* a fresh random number */
    smx_slice key;              /* for `hash`: what it sticks to */
    upstream *const *upstreams; /* the mux's; a choice's is upstreams[choice->upstream] */
} mux_selection;

/* One descriptor in each selector's file; mux/selector/selectors.c has the table. */
typedef struct mux_selector {
    const char *name; /* as in `selector:` */
    const char *help; /* one line */
    bool weighs;      /* it heeds weights */
    /* Works out what `order` needs, once; NULL: nothing. SMX_E_NOMEM. */
    int (*prepare)(const mux_plan *plan, mux_turn *turn);
    /* Writes the indices of the choices in the order in which they are to be tried; all of them. Any
     * worker's thread. */
    void (*order)(const mux_selection *selection, size_t *order);
} mux_selector;

/* The selector of this name, or NULL; the `nth` one, or NULL at the end. */
const mux_selector *mux_selector_find(smx_slice name);
const mux_selector *mux_selector_at(size_t nth);

/* ---- outcomes ---- */

#define MUX_OUTCOME_MAP(X)                                                                         \
    X(DELIVERED, "delivered")     /* an upstream took it: 250 */                                   \
    X(DEFERRED, "deferred")       /* no upstream took it now: 4xx */                               \
    X(REJECTED, "rejected")       /* refused for good: 5xx */                                      \
    X(UNKNOWN, "unknown")         /* nobody knows: 451 4.4.2 */                                    \
    X(DISCARDED, "discarded")     /* a policy took it and no upstream has it: 250 */               \
    X(CLIENT_GONE, "client_gone") /* the client went away before the final dot was handed over */
typedef enum mux_outcome {
#define MUX_OUTCOME_ENTRY(name, text) MUX_OUTCOME_##name,
    MUX_OUTCOME_MAP(MUX_OUTCOME_ENTRY)
#undef MUX_OUTCOME_ENTRY
        MUX_OUTCOME_COUNT
} mux_outcome;
const char *mux_outcome_text(mux_outcome outcome);

/* ---- what survives a reload: shared by all snapshots and workers ---- */

typedef struct mux_state mux_state;

/* `s` keeps what quotas have used; it outlives the state. NULL: nothing is durable. */
SMX_MUST_USE int mux_state_new(store *s, mux_state **state);
/* After all muxes that use it. */
void mux_state_free(mux_state *state);
/* Whom suspensions and breakers are told; before the first mux uses it. It outlives the state. */
void mux_state_set_alerts(mux_state *state, alerts *a);
/* Messages that came to this outcome, since the start. Any thread. */
uint64_t mux_state_total(const mux_state *state, mux_outcome outcome);
/* How long they took, from when they were whole to the final reply. Any thread. */
void mux_state_times(const mux_state *state, mux_outcome outcome, histogram_view *view);

/* ---- the mux: one snapshot's users, routes and upstreams; immutable, shared by all workers ---- */

typedef struct mux mux;

/* The options and the state must outlive it. Records of upstreams and turns of selectors that the
 * state has already are taken over; the settings of records become these when the mux is put to use,
 * by mux_activate. SMX_E_NOMEM. */
SMX_MUST_USE int mux_new(const mux_options *options, mux_state *state, mux **m);
/* Reads the system's CA certificates for all workers, if an upstream believes them: those that the
 * state has already, unless they changed. Before a worker is made of it; without it each worker reads
 * them. Waits for the disk. SMX_E_NOMEM. */
SMX_MUST_USE int mux_read_authorities(mux *m);
void mux_activate(mux *m);
void mux_free(mux *m);
/* For smx_server_options.find_user: arg is the mux. */
const smx_user *mux_find_user(void *arg, smx_slice name);
size_t mux_upstream_count(const mux *m);
upstream *mux_upstream(mux *m, size_t index);
const upstream_options *mux_upstream_options(const mux *m, size_t index);
size_t mux_route_count(const mux *m);
const char *mux_route_name(const mux *m, size_t index);
/* What a route has used of its own limits; NULL: it has none. Lives as the mux. */
quota *mux_route_quota(const mux *m, size_t index);

/* ---- the worker's part: pools, and deliveries under way ---- */

typedef struct mux_worker mux_worker;

SMX_MUST_USE int mux_worker_new(mux *m, smx_loop *loop, smx_log_fn *log, void *log_arg,
                                mux_worker **worker, problem *p);
/* The same on the pools, and with the log, of a loop whose other snapshots use them too; `set` outlives
 * the worker. `hold` is of the mux's options. */
SMX_MUST_USE int mux_worker_new_shared(mux *m, upstream_pool_set *set, const upstream_hold *hold,
                                       mux_worker **worker, problem *p);
/* It is put to use: its snapshot's limits hold for the pools. */
void mux_worker_activate(mux_worker *worker);
/* Another snapshot has come in its place: what it does of its own accord ends. */
void mux_worker_retire(mux_worker *worker);
/* The server whose handler it is: smx_server_options.handler = mux_handle, handler_arg = worker.
 * Known only after smx_server_new. */
void mux_worker_set_server(mux_worker *worker, smx_server *server);
smx_reply mux_handle(void *arg, smx_transaction *tx);
/* For smx_server_options.offer: arg is the worker. */
smx_extensions mux_offer(void *arg, const smx_listener_options *listener);
/* Stands outermost around the handler and writes the summary line of each message (DESIGN 5). Lives
 * as long as the worker. */
const smx_middleware *mux_worker_summary(mux_worker *worker);
/* Stands innermost: `dedup_window`. */
const smx_middleware *mux_worker_dedup(mux_worker *worker);
/* Stands behind the hooks that may refuse a recipient: those of one message have one route. NULL where
 * any two recipients have. */
const smx_hook *mux_worker_route_hook(mux_worker *worker);
/* Stands behind all hooks; NULL where nothing is delivered by cut-through. */
const smx_hook *mux_worker_cut_through_hook(mux_worker *worker);

/* Deliveries under way are finished or given up by `deadline` (the loop's clock; UINT64_MAX: never),
 * with all that the pools have under way: those whose final dot was handed over are then unknown.
 * `done` follows when none is left, and pools of its own are closed. A later call replaces both. */
void mux_worker_drain(mux_worker *worker, uint64_t deadline, void (*done)(void *arg), void *arg);
void mux_worker_free(mux_worker *worker);

#endif
