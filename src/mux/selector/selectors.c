/* The table of selectors. */
#include "mux/selector/selectors.h"
#include "base/slice.h"

static const mux_selector *const selectors[] = {
    &selector_failover,
    &selector_round_robin,
    &selector_random,
};

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
