/* What a provider's server offers, as its last EHLO told: one atomic number, which the store keeps
 * for the next start. */
#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "upstream/upstream_internal.h"

#define OFFERED_SEEN     (1ULL << 63)
#define OFFERED_SIZE_AT  20                               /* behind the extensions stands SIZE, */
#define OFFERED_SIZE_MAX (1ULL << (63 - OFFERED_SIZE_AT)) /* below this, or 0 */
#define OFFERED_KEPT_MS  (90ULL * 24 * 60 * 60 * 1000)

static void upstream_offer_key(const upstream *u, char *key, size_t capacity)
{
    (void)snprintf(key, capacity, "ehlo %s", u->name);
}

/* On the store's thread. The record's share, taken for this, ends. */
static void upstream_recalled(void *arg, int error, smx_slice value)
{
    upstream *u = arg;
    uint64_t none = 0;
    uint64_t kept;
    if (error == 0 && slice_to_number(value, OFFERED_SEEN - 1, &kept) == 0)
        (void)atomic_compare_exchange_strong(&u->offered, &none, kept | OFFERED_SEEN);
    upstream_free(u);
}

void upstream_recall(upstream *u)
{
    char key[UPSTREAM_KEY_MAX];
    if (u->store == NULL)
        return;
    upstream_offer_key(u, key, sizeof(key));
    if (store_get(u->store, slice_of_text(key), upstream_recalled, upstream_share(u)) != 0)
        upstream_free(u);
}

void upstream_learn(upstream *u, const smx_capabilities *told)
{
    char key[UPSTREAM_KEY_MAX];
    char value[24];
    uint64_t size = told->max_size < OFFERED_SIZE_MAX ? told->max_size : 0;
    uint64_t offered = told->extensions | size << OFFERED_SIZE_AT | OFFERED_SEEN;
    if (atomic_exchange(&u->offered, offered) == offered || u->store == NULL)
        return;
    upstream_offer_key(u, key, sizeof(key));
    int len = snprintf(value, sizeof(value), "%" PRIu64, (uint64_t)(offered & ~OFFERED_SEEN));
    /* Without memory it is learned again at the next start. */
    int error = store_put(u->store, slice_of_text(key), slice_of(value, (size_t)len),
                          clock_wall_ms() + OFFERED_KEPT_MS, NULL, NULL);
    (void)error;
}

upstream_offer upstream_known(const upstream *u, const upstream_options *configured, bool *is_whole)
{
    uint64_t offered = atomic_load_explicit(&u->offered, memory_order_relaxed);
    if (is_whole != NULL)
        *is_whole = offered != 0;
    if (offered == 0)
        return (upstream_offer){configured->caps, configured->cap_max_size};
    return (upstream_offer){(smx_extensions)(offered & (((uint64_t)1 << OFFERED_SIZE_AT) - 1)),
                            (offered & ~OFFERED_SEEN) >> OFFERED_SIZE_AT};
}
