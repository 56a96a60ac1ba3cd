/* Asking whether a message may be sent now, and waiting where that helps: for the store, which leases
 * quota, and for the end of a window of up to a minute (DESIGN 4.9). One for each delivery; it waits
 * for one thing at a time. On the worker's thread.
 */
#ifndef MUX_ADMISSION_H
#define MUX_ADMISSION_H

#include "net/loop.h"
#include "upstream/upstream.h"

typedef struct admission {
    smx_loop *loop;
    void (*go_on)(void *arg); /* the waiting is over: ask again. Never called from within an ask */
    void *arg;
    uint64_t deadline; /* nothing is waited for behind it; of the loop's clock */
    timer_entry timer;
    quota_waiter waiter;
    quota *awaited; /* whose store is asked, or NULL */
    uint64_t since; /* when the waiting for this upstream began; 0: it has not */
} admission;

void admission_begin(admission *a, smx_loop *loop, uint64_t deadline, void (*go_on)(void *arg),
                     void *arg);

typedef enum admission_answer {
    ADMISSION_GRANTED,
    ADMISSION_WAITS, /* `go_on` follows */
    ADMISSION_REFUSED,
} admission_answer;

/* An upstream; `granted` says why not, and must be settled when it is granted. */
admission_answer admission_ask_upstream(admission *a, upstream *u, const upstream_options *o,
                                        uint64_t recipients, bool past_breaker,
                                        upstream_admission *granted);
/* A user's or a route's quota, which paces nothing: full is full. */
admission_answer admission_ask_quota(admission *a, quota *q, uint64_t recipients,
                                     quota_reservation *granted, quota_verdict *verdict);

/* Ends the waiting: `go_on` is called, now or as soon as the store has answered. False: nothing was
 * waited for. */
bool admission_interrupt(admission *a);

/* "its breaker is open": why an upstream is refused. */
const char *admission_reason(const upstream_admission *refused);

#endif
