/* What servers on several loops share: threads for what blocks, the memory of messages, counts of
 * connections, keys of TLS tickets. The owner frees it behind the servers. */
#include "server/shared.h"

#include <stdlib.h>

#include "base/clock.h"

enum { DEFAULT_THREADS = 32, DEFAULT_QUEUE = 1024 };

int smx_shared_new(const smx_shared_options *options, smx_shared **out)
{
    static const smx_shared_options standard = {.version = SMX_SHARED_VERSION};
    if (options != NULL && options->version != SMX_SHARED_VERSION)
        return SMX_E_INVALID;
    smx_shared *shared = calloc(1, sizeof(*shared));
    if (shared == NULL)
        return SMX_E_NOMEM;
    (void)pthread_mutex_init(&shared->mutex, NULL);
    const smx_shared_options *o = options == NULL ? &standard : options;
    shared->thread_count = o->threads == 0 ? DEFAULT_THREADS : o->threads;
    shared->queue = o->queue == 0 ? DEFAULT_QUEUE : o->queue;
    shared->memory_limit = o->memory_limit;
    int error = smx_budget_new(o->memory_limit, &shared->budget);
    if (error == 0)
        error = password_memory_new(&shared->passwords);
    if (error == 0)
        error = tls_tickets_new(clock_monotonic_ms(), &shared->tickets);
    if (error != 0) {
        smx_shared_free(shared);
        return error;
    }
    *out = shared;
    return 0;
}

int smx_shared_configure(smx_shared *shared, const smx_shared_options *options)
{
    int error = 0;
    if (options->version != SMX_SHARED_VERSION)
        return SMX_E_INVALID;
    shared->memory_limit = options->memory_limit;
    smx_budget_set_limit(shared->budget, options->memory_limit);
    (void)pthread_mutex_lock(&shared->mutex);
    shared->thread_count = options->threads == 0 ? DEFAULT_THREADS : options->threads;
    if (shared->threads != NULL)
        error = pool_resize(shared->threads, shared->thread_count);
    (void)pthread_mutex_unlock(&shared->mutex);
    return error;
}

uint64_t smx_shared_memory(const smx_shared *shared)
{
    return smx_budget_used(shared->budget);
}

void smx_shared_free(smx_shared *shared)
{
    if (shared == NULL)
        return;
    pool_free(shared->threads);
    password_memory_free(shared->passwords);
    tls_tickets_free(shared->tickets);
    smx_budget_free(shared->budget);
    map_free(&shared->clients);
    map_free(&shared->routes);
    (void)pthread_mutex_destroy(&shared->mutex);
    free(shared);
}

pool *shared_pool(smx_shared *shared)
{
    (void)pthread_mutex_lock(&shared->mutex);
    if (shared->threads == NULL &&
        pool_new(shared->thread_count, shared->queue, &shared->threads) != 0)
        shared->threads = NULL;
    pool *threads = shared->threads;
    (void)pthread_mutex_unlock(&shared->mutex);
    return threads;
}

bool shared_is_over_budget(const smx_shared *shared)
{
    uint64_t limit = shared->memory_limit;
    return limit > 0 && smx_budget_used(shared->budget) >= limit;
}

/* ---- connections ---- */

bool shared_admit(smx_shared *shared, uint64_t max)
{
    (void)pthread_mutex_lock(&shared->mutex);
    bool admitted = shared->connections < max;
    shared->connections += admitted;
    (void)pthread_mutex_unlock(&shared->mutex);
    return admitted;
}

void shared_leave(smx_shared *shared)
{
    (void)pthread_mutex_lock(&shared->mutex);
    shared->connections--;
    (void)pthread_mutex_unlock(&shared->mutex);
}

/* An address without its port; empty for a client without one. */
static smx_slice client_key(const smx_address *client)
{
    size_t len = client->family == 4 ? 4 : client->family == 6 ? 16 : 0;
    return slice_of((const char *)client->octets, len);
}

/* One more of this key, if there are fewer than `max`. */
static bool count_up(smx_shared *shared, map *counts, smx_slice key, uintptr_t max)
{
    (void)pthread_mutex_lock(&shared->mutex);
    uintptr_t count = (uintptr_t)map_get(counts, key);
    bool counted = count < max && map_put(counts, key, (void *)(count + 1)) == 0;
    (void)pthread_mutex_unlock(&shared->mutex);
    return counted;
}

static void count_down(smx_shared *shared, map *counts, smx_slice key)
{
    (void)pthread_mutex_lock(&shared->mutex);
    uintptr_t count = (uintptr_t)map_get(counts, key);
    /* Putting a key that is there takes no memory. */
    if (count <= 1 || map_put(counts, key, (void *)(count - 1)) != 0)
        (void)map_remove(counts, key);
    (void)pthread_mutex_unlock(&shared->mutex);
}

bool shared_admit_client(smx_shared *shared, const smx_address *client, uint32_t max)
{
    smx_slice key = client_key(client);
    return key.len == 0 || count_up(shared, &shared->clients, key, max);
}

void shared_leave_client(smx_shared *shared, const smx_address *client)
{
    smx_slice key = client_key(client);
    if (key.len > 0)
        count_down(shared, &shared->clients, key);
}

/* ---- connections of proxies to their upstreams ---- */

typedef struct route_text {
    char octets[2 * (16 + 2)];
} route_text;

static size_t append_end(char *text, const smx_address *end)
{
    size_t len = client_key(end).len;
    memcpy(text, end->octets, len);
    text[len] = (char)(end->port >> 8);
    text[len + 1] = (char)(end->port & 0xff);
    return len + 2;
}

/* Both ends: the port alone may serve connections to several servers at once. Empty without ends. */
static smx_slice route_key(const smx_address *from, const smx_address *to, route_text *text)
{
    if (client_key(from).len == 0 || from->family != to->family)
        return (smx_slice){0};
    size_t len = append_end(text->octets, from);
    return slice_of(text->octets, len + append_end(text->octets + len, to));
}

bool shared_enter_route(smx_shared *shared, const smx_address *from, const smx_address *to)
{
    route_text text;
    smx_slice key = route_key(from, to, &text);
    if (key.len == 0 || !count_up(shared, &shared->routes, key, UINTPTR_MAX))
        return false;
    shared->starts[from->port]++;
    return true;
}

void shared_leave_route(smx_shared *shared, const smx_address *from, const smx_address *to)
{
    route_text text;
    count_down(shared, &shared->routes, route_key(from, to, &text));
    shared->starts[from->port]--;
}

bool shared_has_start(const smx_shared *shared, const smx_address *from)
{
    return shared->starts[from->port] > 0;
}

bool shared_has_route(smx_shared *shared, const smx_address *from, const smx_address *to)
{
    route_text text;
    smx_slice key = route_key(from, to, &text);
    if (key.len == 0)
        return false;
    (void)pthread_mutex_lock(&shared->mutex);
    bool has = map_get(&shared->routes, key) != NULL;
    (void)pthread_mutex_unlock(&shared->mutex);
    return has;
}
