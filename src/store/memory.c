/* A store that lasts as long as the process. It owns one record for each key, with the amounts by
 * window and the leases by owner, and one for each value. Only the store's thread comes here. */
#include <stdlib.h>

#include "base/map.h"
#include "store/backend.h"

typedef struct memory_lease {
    uint64_t owner;
    uint64_t amount;
} memory_lease;

typedef struct memory_key {
    store_use *used;
    size_t used_count, used_capacity;
    memory_lease *leases;
    size_t lease_count, lease_capacity;
    uint64_t expires_ms;
} memory_key;

typedef struct memory_value {
    buffer value;
    uint64_t expires_ms;
} memory_value;

typedef struct memory_db {
    map keys;
    map values;
} memory_db;

static void memory_key_free(memory_key *k)
{
    free(k->used);
    free(k->leases);
    free(k);
}

static void memory_value_free(memory_value *v)
{
    buffer_free(&v->value);
    free(v);
}

static int memory_check(smx_slice rest, problem *p)
{
    if (rest.len > 0)
        return problem_set(p, SMX_E_SYNTAX, "nothing may follow `memory:`");
    return 0;
}

static int memory_open(const char *rest, uint64_t now_ms, void **db, problem *p)
{
    (void)rest;
    (void)now_ms;
    memory_db *m = calloc(1, sizeof(*m));
    if (m == NULL)
        return problem_set(p, SMX_E_NOMEM, "out of memory");
    *db = m;
    return 0;
}

static void memory_close(void *db, uint64_t now_ms)
{
    (void)now_ms;
    memory_db *m = db;
    size_t at = 0;
    for (const map_entry *e; (e = map_next(&m->keys, &at)) != NULL;)
        memory_key_free(e->value);
    at = 0;
    for (const map_entry *e; (e = map_next(&m->values, &at)) != NULL;)
        memory_value_free(e->value);
    map_free(&m->keys);
    map_free(&m->values);
    free(m);
}

/* ---- leases ---- */

static int memory_grow(void **array, size_t *capacity, size_t needed, size_t size)
{
    if (needed <= *capacity)
        return 0;
    size_t bigger = needed * 2;
    void *grown = realloc(*array, bigger * size);
    if (grown == NULL)
        return SMX_E_NOMEM;
    *array = grown;
    *capacity = bigger;
    return 0;
}

/* The key's record with room for all that the request can add. */
static int memory_key_ready(memory_db *m, const store_lease_request *r, memory_key **out)
{
    memory_key *k = map_get(&m->keys, r->key);
    if (k == NULL) {
        k = calloc(1, sizeof(*k));
        if (k == NULL || map_put(&m->keys, r->key, k) != 0) {
            free(k);
            return SMX_E_NOMEM;
        }
    }
    void *used = k->used;
    void *leases = k->leases;
    int error =
        memory_grow(&used, &k->used_capacity, k->used_count + r->used_count + 1, sizeof(*k->used));
    k->used = used;
    if (error == 0)
        error = memory_grow(&leases, &k->lease_capacity, k->lease_count + 1, sizeof(*k->leases));
    k->leases = leases;
    *out = k;
    return error;
}

static void memory_add(memory_key *k, uint64_t window, uint64_t amount)
{
    for (size_t i = 0; i < k->used_count; i++) {
        if (k->used[i].window == window) {
            k->used[i].amount += amount;
            return;
        }
    }
    k->used[k->used_count++] = (store_use){window, amount};
}

/* Drops the windows that no longer count; later ones become the present one. */
static void memory_tidy(memory_key *k, const store_lease_request *r)
{
    uint64_t later = 0;
    size_t kept = 0;
    for (size_t i = 0; i < k->used_count; i++) {
        if (k->used[i].window > r->window)
            later += k->used[i].amount;
        else if (store_counts(r, k->used[i].window))
            k->used[kept++] = k->used[i];
    }
    k->used_count = kept;
    if (later > 0)
        memory_add(k, r->window, later);
}

static memory_lease *memory_find_lease(memory_key *k, uint64_t owner, uint64_t *others)
{
    memory_lease *mine = NULL;
    for (size_t i = 0; i < k->lease_count; i++) {
        if (k->leases[i].owner == owner)
            mine = &k->leases[i];
        else
            *others += k->leases[i].amount;
    }
    return mine;
}

static int memory_run_lease(void *db, const store_lease_request *r, store_use *used,
                            store_lease_answer *answer)
{
    memory_key *k;
    int error = memory_key_ready(db, r, &k);
    if (error != 0)
        return error;
    for (size_t i = 0; i < r->used_count; i++)
        memory_add(k, r->used[i].window, r->used[i].amount);
    memory_tidy(k, r);
    uint64_t sum = 0;
    for (size_t i = 0; i < k->used_count; i++) {
        used[i] = k->used[i];
        sum += used[i].amount;
    }
    uint64_t others = 0;
    memory_lease *mine = memory_find_lease(k, r->owner, &others);
    uint64_t granted = store_grant(r, sum, others);
    if (mine == NULL && granted > 0)
        k->leases[k->lease_count++] = (memory_lease){r->owner, granted};
    else if (mine != NULL && granted > 0)
        mine->amount = granted;
    else if (mine != NULL)
        *mine = k->leases[--k->lease_count];
    k->expires_ms = r->expires_ms;
    *answer = (store_lease_answer){granted, others, used, k->used_count};
    return 0;
}

/* ---- values ---- */

static int memory_get(void *db, smx_slice key, uint64_t now_ms, buffer *value)
{
    memory_db *m = db;
    const memory_value *v = map_get(&m->values, key);
    if (v == NULL || v->expires_ms <= now_ms)
        return SMX_E_NOTFOUND;
    return buffer_append(value, buffer_slice(&v->value));
}

static int memory_put(void *db, smx_slice key, smx_slice value, uint64_t expires_ms)
{
    memory_db *m = db;
    memory_value *old = map_get(&m->values, key);
    memory_value *v = calloc(1, sizeof(*v));
    if (v == NULL)
        return SMX_E_NOMEM;
    v->expires_ms = expires_ms;
    int error = buffer_append(&v->value, value);
    if (error == 0)
        error = map_put(&m->values, key, v);
    if (error != 0) {
        memory_value_free(v);
        return error;
    }
    if (old != NULL)
        memory_value_free(old);
    return 0;
}

/* One that is over, or NULL. The map may not change while it is walked. */
static const map_entry *memory_over(const map *values, uint64_t now_ms)
{
    size_t at = 0;
    const map_entry *e;
    while ((e = map_next(values, &at)) != NULL)
        if (((const memory_value *)e->value)->expires_ms <= now_ms)
            return e;
    return NULL;
}

static const map_entry *memory_key_over(const map *keys, uint64_t now_ms)
{
    size_t at = 0;
    const map_entry *e;
    while ((e = map_next(keys, &at)) != NULL) {
        const memory_key *k = e->value;
        if (k->expires_ms <= now_ms && k->lease_count == 0)
            return e;
    }
    return NULL;
}

static int memory_expire(void *db, uint64_t now_ms)
{
    memory_db *m = db;
    const map_entry *e;
    while ((e = memory_over(&m->values, now_ms)) != NULL)
        memory_value_free(map_remove(&m->values, e->key));
    while ((e = memory_key_over(&m->keys, now_ms)) != NULL)
        memory_key_free(map_remove(&m->keys, e->key));
    return 0;
}

const store_backend store_memory = {
    .scheme = "memory",
    .form = "memory",
    .check = memory_check,
    .open = memory_open,
    .close = memory_close,
    .lease = memory_run_lease,
    .get = memory_get,
    .put = memory_put,
    .expire = memory_expire,
};
