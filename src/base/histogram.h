/* How long things took: counts in fixed buckets, added to by any thread without a lock. */
#ifndef BASE_HISTOGRAM_H
#define BASE_HISTOGRAM_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* The upper bounds of the buckets, in milliseconds; one more bucket takes what is beyond. */
#define HISTOGRAM_BOUND_MAP(X)                                                                     \
    X(5)                                                                                           \
    X(10)                                                                                          \
    X(25) X(50) X(100) X(250) X(500) X(1000) X(2500) X(5000) X(10000) X(30000) X(60000) X(300000)
enum {
#define HISTOGRAM_COUNT_ONE(ms) +1
    HISTOGRAM_BOUNDS = 0 HISTOGRAM_BOUND_MAP(HISTOGRAM_COUNT_ONE)
#undef HISTOGRAM_COUNT_ONE
};

/* Zero is a valid empty histogram. */
typedef struct histogram {
    _Atomic uint64_t buckets[HISTOGRAM_BOUNDS + 1];
    _Atomic uint64_t sum_ms;
} histogram;

/* What it holds at some moment, for those who print it. */
typedef struct histogram_view {
    uint64_t buckets[HISTOGRAM_BOUNDS + 1]; /* each by itself, not those below it too */
    uint64_t sum_ms;
} histogram_view;

uint64_t histogram_bound(size_t nth);
/* Any thread. */
void histogram_add(histogram *h, uint64_t ms);
void histogram_read(const histogram *h, histogram_view *view);

#endif
