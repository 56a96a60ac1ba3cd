/* The memory that all messages of a process share: one atomic sum. Owned by its creator and
 * outlives every message that counts on it. */
#include "mail/budget.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>

struct smx_budget {
    _Atomic uint64_t limit;
    _Atomic uint64_t used;
};

int smx_budget_new(uint64_t limit, smx_budget **budget)
{
    smx_budget *b = calloc(1, sizeof(*b));
    if (b == NULL)
        return SMX_E_NOMEM;
    b->limit = limit;
    *budget = b;
    return 0;
}

void smx_budget_set_limit(smx_budget *budget, uint64_t limit)
{
    atomic_store(&budget->limit, limit);
}

void smx_budget_free(smx_budget *budget)
{
    assert(budget == NULL || atomic_load(&budget->used) == 0);
    free(budget);
}

uint64_t smx_budget_used(const smx_budget *budget)
{
    return atomic_load(&((smx_budget *)budget)->used);
}

int budget_take(smx_budget *budget, uint64_t octets)
{
    if (budget == NULL)
        return 0;
    uint64_t used = atomic_load(&budget->used);
    uint64_t limit = atomic_load(&budget->limit);
    do {
        if (octets > UINT64_MAX - used)
            return SMX_E_LIMIT;
        if (limit > 0 && used + octets > limit)
            return SMX_E_LIMIT;
    } while (!atomic_compare_exchange_weak(&budget->used, &used, used + octets));
    return 0;
}

void budget_give(smx_budget *budget, uint64_t octets)
{
    if (budget == NULL)
        return;
    uint64_t before = atomic_fetch_sub(&budget->used, octets);
    assert(before >= octets);
    (void)before;
}
