/* The inside of a provider's record, shared by upstream.c (life and settings) and upstream_*.c.
 * `Under the mutex` says of a function that its caller holds it. */
#ifndef UPSTREAM_UPSTREAM_INTERNAL_H
#define UPSTREAM_UPSTREAM_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "upstream/upstream.h"

enum { UPSTREAM_KEY_MAX = 512 }; /* octets of the names that the store keeps things under */

struct upstream {
    char *name;
    _Atomic unsigned shares;
    _Atomic uint64_t counts[UPSTREAM_COUNTER_COUNT];
    _Atomic uint32_t connections[UPSTREAM_CONNECTION_STATES];
    histogram took[SMX_OUTCOME_GIVEN_UP + 1];
    _Atomic uint64_t not_taken[SMX_CLIENT_PHASE_COUNT];
    _Atomic uint32_t latency_us;
    _Atomic bool is_troubled; /* suspended, or its breaker is not closed */
    _Atomic uint32_t probe_ms;
    _Atomic uint64_t probe_due; /* meant for `probe_ms` other than 0 */
    _Atomic uint64_t offered;   /* by the last EHLO: extensions, SIZE, OFFERED_SEEN; 0: none yet */
    store *store;
    quota *quota;             /* locks itself */
    pthread_mutex_t mutex;    /* guards what follows */
    char *secret;             /* user and password that a suspension is about */
    uint64_t suspended_until; /* 0: not suspended */
    uint64_t suspension_ms;   /* of the last suspension; 0: none since a success */
    breaker breaker;
    uint32_t probes_under_way;
    uint32_t permits; /* connections that exist or are being opened */
    uint32_t permits_max;
    list holders;        /* who got a permit last is the last */
    uint64_t tickets;    /* given to waiters so far */
    size_t waiting;      /* on the queues of all of them */
    oauth2 *oauth2;      /* tokens of the credentials in force, or NULL */
    oauth2 *oauth2_next; /* of those that a reload prepares, or prepared in vain; or NULL */
};

/* After every change of the suspension or the breaker. Under the mutex, which is given back. */
void upstream_unlock_changed(upstream *u);
/* The time to the next active probe begins anew: nobody is at one, or only now has found it due.
 * Under the mutex. */
void upstream_begin_probe_time(upstream *u, uint64_t now);
/* A permit goes to a pool whose attempts wait. False: nobody waits, or there is no memory to tell.
 * Under the mutex. */
bool upstream_grant(upstream *u);
/* Asks the store what the last EHLO of an earlier process told. */
void upstream_recall(upstream *u);
/* What a quota's verdict means for a message that asks. */
upstream_usable upstream_usable_by_quota(quota_state state);

#endif
