/* The quota of one provider, user or route: all its limits together (DESIGN 4.9).
 *
 * One object over all workers. It locks itself, because answers of the store come in on the store's
 * thread; its mutex is taken last and held shortly, so it may be called under the owner's. Times are
 * milliseconds of the wall clock.
 *
 * A reservation counts from quota_reserve until it is released; once committed, it counts as used at
 * that moment, so that whenever the provider counted it in between, no window holds more than N.
 *
 * What is used of windows of a minute and longer survives the process: it is spent from a lease of the
 * store, of 1% of N (at least 1), fetched when half of it is spent. After a kill the whole lease counts
 * as used. Shorter windows are not stored: after a process that was killed, or ended less than the
 * window ago, they count as full for one window from its latest possible use on (store_last_use).
 */
#ifndef UPSTREAM_QUOTA_H
#define UPSTREAM_QUOTA_H

#include "base/list.h"
#include "smx/loop.h"
#include "store/store.h"
#include "upstream/limit.h"

typedef struct quota quota;

/* `name` is what the amounts are kept under, such as "upstream ses"; copied, as the limits are. The
 * store outlives the quota; NULL: nothing is durable. No limits: everything is OK. */
SMX_MUST_USE int quota_new(const char *name, store *s, const quota_limit *limits, size_t count,
                           uint64_t now_ms, quota **q);
/* Tells the store what was used and gives the leases back. Nobody may wait any more. */
void quota_free(quota *q);

/* The limits of a new configuration. Those that count the same things in the same windows go on, with
 * the new amount; reservations under way count for all. SMX_E_NOMEM: nothing changed. */
SMX_MUST_USE int quota_set_limits(quota *q, const quota_limit *limits, size_t count,
                                  uint64_t now_ms);

typedef enum quota_state {
    QUOTA_OK,
    QUOTA_LEASING, /* the store is being asked; a waiter is told when it has answered */
    QUOTA_WAIT,    /* a window up to a minute is full until `until_ms` */
    QUOTA_FULL,    /* a longer one is, or the provider made us pause, or the store fails */
    QUOTA_TOO_BIG, /* more recipients than a limit ever allows */
} quota_state;

typedef struct quota_verdict {
    quota_state state;
    uint64_t until_ms;    /* of WAIT and FULL: when to ask again; else 0 */
    char why[QUOTA_TEXT]; /* the limit's text, or a reason in words; "" with OK and LEASING */
} quota_verdict;

typedef struct quota_reservation {
    uint64_t recipients; /* 0: nothing is reserved */
} quota_reservation;

/* Embedded in whoever waits for the store; zero before. */
typedef struct quota_waiter {
    list_node node;
    smx_loop *loop;
    smx_loop_fn *told; /* posted to `loop` with `arg`: reserve again */
    void *arg;
} quota_waiter;

/* Takes one message with this many recipients (at least 1) from all limits, or from none. OK fills
 * the reservation, which was empty; with LEASING the waiter (may be NULL) queues. */
quota_verdict quota_reserve(quota *q, uint64_t now_ms, uint64_t recipients, quota_waiter *waiter,
                            quota_reservation *reservation);
/* Ends the waiting. True: the `told` call is under way and must be lived to see. */
SMX_MUST_USE bool quota_cancel(quota *q, quota_waiter *waiter);

/* The provider took it, or nobody knows: it is used. Empties the reservation. */
void quota_commit(quota *q, uint64_t now_ms, quota_reservation *reservation);
/* The provider did not take it. Empties the reservation; an empty one is nothing. */
void quota_release(quota *q, quota_reservation *reservation);

/* What quota_reserve would say, without taking anything; never LEASING. */
quota_verdict quota_look(quota *q, uint64_t now_ms, uint64_t recipients);

/* The provider says "too many": FULL until then. The later one of two pauses holds. */
void quota_pause(quota *q, uint64_t until_ms);
void quota_resume(quota *q);

/* ---- for explain and metrics ---- */

typedef struct quota_report {
    char limit[QUOTA_TEXT];
    uint64_t amount;
    uint64_t used; /* with what is reserved */
    uint64_t left;
    uint64_t resets_at_ms; /* when nothing of it counts any more; now if nothing does */
} quota_report;

/* Writes at most `room` and returns how many limits there are. */
size_t quota_reports(quota *q, uint64_t now_ms, quota_report *reports, size_t room);

#endif
