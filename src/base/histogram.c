/* Counts in buckets. Each count is exact; sum and buckets may be a moment apart. */
#include "base/histogram.h"

static const uint64_t BOUNDS[] = {
#define HISTOGRAM_BOUND_ENTRY(ms) ms,
    HISTOGRAM_BOUND_MAP(HISTOGRAM_BOUND_ENTRY)
#undef HISTOGRAM_BOUND_ENTRY
};

uint64_t histogram_bound(size_t nth)
{
    return BOUNDS[nth];
}

void histogram_add(histogram *h, uint64_t ms)
{
    size_t nth = 0;
    while (nth < HISTOGRAM_BOUNDS && ms > BOUNDS[nth])
        nth++;
    atomic_fetch_add_explicit(&h->buckets[nth], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&h->sum_ms, ms, memory_order_relaxed);
}

void histogram_read(const histogram *h, histogram_view *view)
{
    for (size_t i = 0; i <= HISTOGRAM_BOUNDS; i++)
        view->buckets[i] = atomic_load_explicit(&h->buckets[i], memory_order_relaxed);
    view->sum_ms = atomic_load_explicit(&h->sum_ms, memory_order_relaxed);
}
