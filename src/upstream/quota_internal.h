/* The inside of a quota, shared by quota.c (what callers ask) and quota_lease.c (the store). */
#ifndef UPSTREAM_QUOTA_INTERNAL_H
#define UPSTREAM_QUOTA_INTERNAL_H

#include <pthread.h>

#include "upstream/quota.h"
#include "upstream/usage.h"

typedef struct quota_count quota_count;

/* One limit and what is used of it. Guarded by the quota's mutex. */
struct quota_count {
    quota *quota;
    bool is_dropped; /* by a reload while the store was being asked: the answer frees it */
    quota_limit limit;
    calendar_zone *zone; /* or NULL */
    usage usage;
    char *key;                 /* in the store; NULL: nothing is durable */
    uint64_t owner;            /* of the lease */
    uint64_t lease;            /* may be spent without asking: reserved, unsettled and free */
    uint64_t need;             /* what was asked for in vain since the last question */
    uint64_t closed_until_ms;  /* of a short window after a restart */
    uint64_t refused_until_ms; /* the store had no more, or failed: no question before */
    bool failed;               /* the latter */
    bool is_known;             /* the store has said what was used */
    bool is_asking;
    uint64_t asked_ms;
    uint64_t wanted;
    size_t told_count;
    store_use told[USAGE_PARTS]; /* in the question under way */
};

struct quota {
    pthread_mutex_t mutex;
    size_t shares; /* the owner's, and one for each question under way */
    char *name;
    store *store;
    quota_count **counts;
    size_t count;
    uint64_t messages; /* reserved */
    uint64_t recipients;
    uint64_t paused_until_ms;
    list waiters;
};

static inline uint64_t quota_in_flight(const quota *q, const quota_count *c)
{
    return c->limit.unit == QUOTA_MESSAGES ? q->messages : q->recipients;
}

/* What may be spent without asking the store. */
uint64_t quota_free_lease(const quota *q, const quota_count *c);
/* Asks the store, unless it is being asked or has refused lately. */
void quota_ask(quota *q, quota_count *c);
/* Fetches more when half of the lease is spent. */
void quota_ask_ahead(quota *q, quota_count *c);
/* Gives the lease back and frees the count: now, or when the question under way is answered. */
void quota_let_go(quota *q, quota_count *c);
void quota_count_free(quota_count *c);
/* With the mutex held; releases it, and frees the quota when nobody has a share in it. */
void quota_unlock_and_drop(quota *q);

#endif
