/* A delivery from inside: delivery.c tries one upstream after the other; cut_through.c does what is
 * different while the message is on its way. */
#ifndef MUX_DELIVERY_H
#define MUX_DELIVERY_H

#include "mux/admission.h"
#include "mux/compose.h"
#include "mux/mux_internal.h"

typedef struct delivery {
    list_node node;
    mux_worker *worker;
    smx_transaction *tx;
    smx_ticket ticket;
    mux_resolved with; /* the plan */
    mux_record *record;
    size_t *order; /* indices of the plan's choices */
    size_t next;   /* in `order` */
    uint64_t deadline;
    upstream_attempt *attempt;
    admission door;
    upstream_admission admitted;            /* for this attempt */
    quota_reservation reserved[MUX_QUOTAS]; /* of the user's and the route's limits */
    composition sent;
    buffer reasons;
    smx_reply refusal; /* the first 5xx of an upstream; its text is in the transaction */
    timer_entry again; /* when there was no memory for the reply: the reply */
    uint16_t code;
    smx_enhanced enhanced;
    bool temporary;          /* some upstream may take it later */
    const char *may_have_it; /* the upstream whose outcome is unknown while others are tried */
    bool client_gone;
    size_t limits_asked;     /* of the user's and the route's: reserved, or not needed */
    bool is_last_resort;     /* all breakers are open, and this is the one that is tried anyway */
    struct cut_through *cut; /* NULL: after DATA */
} delivery;

enum { DELIVERY_PATIENCE_MS = 30000 };

static inline uint64_t delivery_patience(const mux_plan *plan)
{
    return plan->deadline_ms == 0 ? DELIVERY_PATIENCE_MS : plan->deadline_ms;
}

/* The upstream at this position of the order. */
upstream *delivery_upstream(const delivery *d, size_t position);
/* Of the upstream whose turn it is. */
const upstream_options *delivery_options(const delivery *d);
/* Reserves what the user's and the route's limits still have to give, then tries. Also when the store
 * has answered. */
void delivery_reserve(void *arg);
/* Tries the next usable one, from `next` on; without one the delivery is over. */
void delivery_next(delivery *d);
/* What a reply says of the upstream itself: it is suspended, or its quota paused. */
void delivery_heed(delivery *d, const upstream_result *result, mux_classified c);
/* The one whose turn it is was tried in vain. */
void delivery_go_on(delivery *d);
/* The same, and tells the log, the record and the client why. */
void delivery_on_next(delivery *d, const upstream_result *result, mux_classified c);
/* Why the one whose turn it is was not tried, or not to the end. */
void delivery_note(delivery *d, const char *reason);
/* The first refusal is what the client is told if all the others refuse too. */
void delivery_keep_refusal(delivery *d, const upstream_result *result);
/* What a client is told whose limit is used up; `text` holds the words. */
smx_reply delivery_limit_reply(const quota_verdict *verdict, buffer *text);
/* No upstream is left. */
void delivery_exhausted(delivery *d);
void delivery_answer_again(timer_entry *self);
/* For smx_transaction_on_gone. */
void delivery_client_gone(void *arg);

#endif
