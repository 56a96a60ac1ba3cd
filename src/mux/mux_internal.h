/* Inside of the multiplexer. */
#ifndef MUX_MUX_INTERNAL_H
#define MUX_MUX_INTERNAL_H

#include "base/buffer.h"
#include "base/map.h"
#include "mux/classify.h"
#include "mux/mux.h"
#include "net/loop.h"

/* A user at work: what the configuration says, and what the selector remembers. */
typedef struct mux_user {
    const mux_user_options *options;
    mux_selector_state selection;
} mux_user;

struct mux {
    const mux_options *options;
    upstream **upstreams;
    mux_user *users;
    map by_name; /* smx_user, by its name */
    _Atomic uint64_t outcomes[MUX_OUTCOME_COUNT];
};

struct mux_worker {
    mux *mux;
    smx_loop *loop;
    smx_server *server;
    smx_log_fn *log;
    void *log_arg;
    upstream_pool **pools; /* one for each upstream */
    smx_client_tls **tls;  /* one for each upstream that may speak TLS, or NULL */
    list deliveries;
    smx_middleware summary;
    uint64_t random; /* state of the generator that seeds selections */
    timer_entry drain_timer;
    bool cut; /* the drain's time is over: nothing new is tried */
    size_t pools_open;
    void (*drained)(void *arg);
    void *drained_arg;
};

/* What is told of one message at the end; the transaction's value. */
typedef struct mux_record {
    const char *upstream; /* the one that decided, or NULL */
    uint32_t attempts;
    smx_client_phase phase;
    bool has_phase;
    mux_outcome outcome;
    bool has_outcome; /* set by the delivery; else the reply's class tells */
    uint64_t started; /* the loop's clock */
} mux_record;

/* summary.c */
void mux_summary_init(mux_worker *worker);

/* worker.c */
void mux_worker_check_drained(mux_worker *worker);
uint64_t mux_worker_random(mux_worker *worker);

/* ---- what a client and an operator are told (report.c) ---- */

/* "gmail: 535 5.7.8 bad credentials (auth)": the reason why an upstream did not take a message. */
SMX_MUST_USE int mux_report_reason(buffer *out, const char *name, const upstream_result *result);
/* A reply text from an upstream's reply: names the recipient when one was refused. */
SMX_MUST_USE int mux_report_text(buffer *out, const char *name, const smx_envelope *envelope,
                                 const smx_client_result *result);

#endif
