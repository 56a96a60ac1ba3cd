/* The table of selectors. */
#include "mux/selector/selectors.h"
#include "base/slice.h"

static const mux_selector *const selectors[] = {
    &selector_failover, &selector_round_robin,   &selector_weighted,
    &selector_random,   &selector_least_latency, &selector_hash,
};

uint64_t selector_random_next(uint64_t *seed)
{
    uint64_t z = *seed += 0x9e3779b97f4a7c15ULL;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

const mux_selector *mux_selector_at(size_t nth)
{
    return nth < sizeof(selectors) / sizeof(selectors[0]) ? selectors[nth] : NULL;
}

const mux_selector *mux_selector_find(smx_slice name)
{
    for (size_t i = 0; i < sizeof(selectors) / sizeof(selectors[0]); i++)
        if (slice_equal(slice_of_text(selectors[i]->name), name))
            return selectors[i];
    return NULL;
}
