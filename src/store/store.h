/* What must survive the process: amounts used of quotas, and small values. One store is shared by all
 * workers; it has a thread of its own, so that no loop ever waits for a disk.
 *
 * Requests may come from any thread and are answered in their order, on the store's thread, once what
 * they changed is durable: answers post to their loops and return soon. Whatever waits in the queue at
 * a time becomes durable together (group commit).
 */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "base/problem.h"

typedef struct store store;

typedef struct store_options {
    const char *url;           /* NULL: "memory" */
    smx_log_fn *log;           /* told when requests begin to fail, and when they work again; on the
                                     store's thread; may be NULL */
    void *log_arg;             /* lives as long as the store */
    uint64_t (*wall_ms)(void); /* NULL: the wall clock; only for what expires */
} store_options;

/* Whether the URL is one that this version can open; else the problem says what was expected. Opens
 * nothing. */
SMX_MUST_USE int store_url_check(smx_slice url, problem *p);

/* `memory:` or `sqlite:/path`. A file that is locked, damaged, not ours or not writable is SMX_E_BUSY,
 * SMX_E_SYNTAX or SMX_E_IO, and the problem says what to do. */
SMX_MUST_USE int store_open(const store_options *options, store **s, problem *p);
/* Finishes what is queued and what answers ask for, and ends the thread. NULL is nothing. */
void store_close(store *s);

/* The latest moment (wall clock) when a process before this one can have used the store: its close, or
 * if it was killed, our opening. 0: there was none, or nothing is durable. Any thread. */
uint64_t store_last_use(const store *s);

/* ---- leases ----
 *
 * Amounts used are kept under a key and the number of a window. A window's amount is complete only
 * together with the leases: a lease is an amount that its owner may use at any time without asking,
 * and counts as used. When it asks for more, the owner tells what it has used and when. The leases of
 * a process that was killed count as used in the window in which the key is next asked for. */

typedef struct store_use {
    uint64_t window;
    uint64_t amount;
} store_use;

enum { STORE_SPAN_MAX = 128 };

typedef struct store_lease_answer {
    uint64_t granted; /* the owner's whole lease from now on */
    uint64_t others;  /* what other owners have leased */
    const store_use
        *used; /* the windows that count, those told just now included; lives until `done`
                              returns */
    size_t used_count;
} store_lease_answer;

/* `answer` is NULL with an error: nothing has changed. */
typedef void store_leased_fn(void *arg, int error, const store_lease_answer *answer);

typedef struct store_lease_request {
    smx_slice key;   /* copied */
    uint64_t owner;  /* of store_owner */
    uint64_t window; /* the present window's number; amounts of later ones (the clock went back) are
                        taken as the present one's */
    uint64_t span;   /* how many windows count: the present one and those before it */
    uint64_t limit;  /* used and leased together stay within; but */
    uint64_t
        keep; /* so much of the owner's lease is granted in any case: it may be spent already */
    uint64_t want;         /* the owner's whole lease, `keep` included */
    const store_use *used; /* used since it was last told, at most `span`; copied */
    size_t used_count;
    uint64_t expires_ms;   /* wall clock: after this, the key may be forgotten */
    store_leased_fn *done; /* NULL: nobody cares */
    void *arg;
} store_lease_request;

/* A number for somebody who leases, never given twice by this store. Any thread. */
uint64_t store_owner(store *s);
/* SMX_E_NOMEM: `done` will not be called. Any thread. */
SMX_MUST_USE int store_lease(store *s, const store_lease_request *request);

/* ---- small values ---- */

/* SMX_E_NOTFOUND: there is none, or it is over. The value lives until the call returns. */
typedef void store_got_fn(void *arg, int error, smx_slice value);
SMX_MUST_USE int store_get(store *s, smx_slice key, store_got_fn *done, void *arg);

typedef void store_put_fn(void *arg, int error);
/* Both are copied. `expires_ms`: wall clock. `done` may be NULL. */
SMX_MUST_USE int store_put(store *s, smx_slice key, smx_slice value, uint64_t expires_ms,
                           store_put_fn *done, void *arg);

#endif
