/* The multiplexer: users, the upstreams they send through, and the delivery of a message to one of
 * them. It is a handler of libsmx (smx/server.h).
 */
#ifndef MUX_MUX_H
#define MUX_MUX_H

#include <stdatomic.h>

#include "smx/server.h"
#include "upstream/pool.h"

/* ---- what the configuration fills ---- */

/* One of a user's upstreams: the index of the mux's upstream, and its weight. */
typedef struct mux_choice {
    size_t upstream;
    uint32_t weight; /* at least 1 */
} mux_choice;

typedef enum mux_on_unknown { MUX_UNKNOWN_DEFER, MUX_UNKNOWN_FAILOVER } mux_on_unknown;
typedef enum mux_received {
    MUX_RECEIVED_FULL,
    MUX_RECEIVED_NO_CLIENT, /* without the client's name and address */
    MUX_RECEIVED_OFF,
} mux_received;

struct mux_selector;

typedef struct mux_user_options {
    smx_user user; /* its `data` is filled by mux_new */
    const struct mux_selector *selector;
    const mux_choice *choices;
    size_t choice_count;
    uint32_t deadline_ms; /* 0: 30000 */
    mux_on_unknown on_unknown;
    mux_received received;
} mux_user_options;

typedef struct mux_options {
    const char *hostname;
    const upstream_options *upstreams;
    size_t upstream_count;
    mux_user_options *users;
    size_t user_count;
} mux_options;

/* ---- selectors: one file each in mux/selector/ ---- */

/* What a selector remembers for a user, over all workers. */
typedef struct mux_selector_state {
    _Atomic uint64_t turn;
    uint16_t *sequence; /* smooth weighted order of the choices, or NULL; the mux frees it */
    size_t sequence_length;
} mux_selector_state;

/* One descriptor in each selector's file; mux/selector/selectors.c has the table. */
typedef struct mux_selector {
    const char *name; /* as in `selector:` */
    const char *help; /* one line */
    /* Works out what `order` needs, once; NULL: nothing. SMX_E_NOMEM. */
    int (*prepare)(const mux_user_options *user, mux_selector_state *state);
    /* Writes the indices of the choices in the order in which they are to be tried; all of them.
     * `random` is a fresh random number. Any worker's thread. */
    void (*order)(const mux_user_options *user, mux_selector_state *state, uint64_t random,
                  size_t *order);
} mux_selector;

/* The selector of this name, or NULL; the `nth` one, or NULL at the end. */
const mux_selector *mux_selector_find(smx_slice name);
const mux_selector *mux_selector_at(size_t nth);

/* ---- the mux: shared by all workers, immutable but for counters and records ---- */

typedef struct mux mux;

/* The options must outlive it. SMX_E_NOMEM. */
SMX_MUST_USE int mux_new(const mux_options *options, mux **m);
void mux_free(mux *m);
/* For smx_server_options.find_user: arg is the mux. */
const smx_user *mux_find_user(void *arg, smx_slice name);
upstream *mux_upstream(mux *m, size_t index);

/* Counts of outcomes, any thread. */
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
uint64_t mux_outcome_total(const mux *m, mux_outcome outcome);

/* ---- the worker's part: pools, and deliveries under way ---- */

typedef struct mux_worker mux_worker;

SMX_MUST_USE int mux_worker_new(mux *m, smx_loop *loop, smx_log_fn *log, void *log_arg,
                                mux_worker **worker, problem *p);
/* The server whose handler it is: smx_server_options.handler = mux_handle, handler_arg = worker.
 * Known only after smx_server_new. */
void mux_worker_set_server(mux_worker *worker, smx_server *server);
smx_reply mux_handle(void *arg, smx_transaction *tx);
/* Stands outermost around the handler and writes the summary line of each message (DESIGN 5). Lives
 * as long as the worker. */
const smx_middleware *mux_worker_summary(mux_worker *worker);

/* Deliveries under way are finished or given up by `deadline` (the loop's clock): those whose final
 * dot was handed over are then unknown. `done` follows when pools are closed. */
void mux_worker_drain(mux_worker *worker, uint64_t deadline, void (*done)(void *arg), void *arg);
void mux_worker_free(mux_worker *worker);

#endif
