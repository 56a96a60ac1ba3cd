/* What a kind of store is made of: one file each, one line in store.c's table. All but `open` and
 * `close` run on the store's thread, between `begin` and `commit` or `rollback`.
 *
 * SMX_E_IO of any of them undoes the whole group; another error is that request's alone. */
#ifndef STORE_BACKEND_H
#define STORE_BACKEND_H

#include "base/buffer.h"
#include "store/store.h"

typedef struct store_backend {
    const char *scheme;
    const char *form; /* for a person: what its URL looks like */
    /* `rest` is what stands behind "scheme:". */
    int (*check)(smx_slice rest, problem *p);
    int (*open)(const char *rest, uint64_t now_ms, void **db, problem *p);
    void (*close)(void *db, uint64_t now_ms);
    uint64_t (*last_use)(const void *db); /* NULL: 0 */
    int (*begin)(void *db);               /* NULL, with the two that follow: no transactions */
    int (*commit)(void *db);
    void (*rollback)(void *db);
    /* `used` has room for `request->span`; writes *answer, whose `used` it is. */
    int (*lease)(void *db, const store_lease_request *request, store_use *used,
                 store_lease_answer *answer);
    int (*get)(void *db, smx_slice key, uint64_t now_ms, buffer *value);
    int (*put)(void *db, smx_slice key, smx_slice value, uint64_t expires_ms);
    int (*expire)(void *db, uint64_t now_ms);
    const char *(*error_text)(void *db); /* of the last SMX_E_IO; NULL: none */
} store_backend;

extern const store_backend store_memory;
extern const store_backend store_sqlite;

/* The lease that an owner gets, where `used` is used and `others` have leases. */
static inline uint64_t store_grant(const store_lease_request *r, uint64_t used, uint64_t others)
{
    uint64_t room = r->limit > used ? r->limit - used : 0;
    room = room > others ? room - others : 0;
    uint64_t granted = r->want < room ? r->want : room;
    return granted > r->keep ? granted : r->keep;
}

/* Whether a window counts for the request: the present one, one of those before, or a later one. */
static inline bool store_counts(const store_lease_request *r, uint64_t window)
{
    return window > r->window || r->window - window < r->span;
}

#endif
