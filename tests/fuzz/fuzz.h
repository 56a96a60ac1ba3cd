/* What fuzz targets share: the entry, the check, ways to cut the input into pieces. */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stdio.h>
#include <stdlib.h>

#include "base/slice.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What must hold for every input; if not, the input is kept. */
#define FUZZ_CHECK(condition)                                                                      \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            (void)fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition);   \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* The ways to cut: whole, octet by octet, and at random but the same for the same input. */
enum fuzz_cut { FUZZ_WHOLE, FUZZ_SINGLE, FUZZ_RANDOM, FUZZ_CUTS };

typedef struct fuzz_cutter {
    enum fuzz_cut way;
    uint64_t random;
} fuzz_cutter;

static inline fuzz_cutter fuzz_cutter_of(enum fuzz_cut way, smx_slice in)
{
    uint64_t seed = 0xcbf29ce484222325ULL;
    for (size_t i = 0; i < in.len; i++)
        seed = (seed ^ (unsigned char)in.data[i]) * 0x100000001b3ULL;
    return (fuzz_cutter){way, seed | 1};
}

/* Octets of the next piece, at least 1 and at most `left`. */
static inline size_t fuzz_next(fuzz_cutter *cutter, size_t left)
{
    if (cutter->way == FUZZ_WHOLE)
        return left;
    if (cutter->way == FUZZ_SINGLE)
        return 1;
    cutter->random ^= cutter->random << 13;
    cutter->random ^= cutter->random >> 7;
    cutter->random ^= cutter->random << 17;
    size_t len = 1 + (size_t)(cutter->random >> 32) % ((cutter->random & 3) == 0 ? 200 : 9);
    return len < left ? len : left;
}

/* A copy in memory of exactly its size: a sanitizer sees each look beyond it. To be freed. */
static inline char *fuzz_copy(const char *data, size_t len)
{
    char *copy = malloc(len == 0 ? 1 : len);
    if (copy == NULL)
        abort();
    if (len > 0)
        memcpy(copy, data, len);
    return copy;
}

/* True if `part` lies within `whole`, or is empty. */
static inline bool fuzz_is_within(smx_slice part, smx_slice whole)
{
    return part.len == 0 ||
           (part.data >= whole.data && part.data + part.len <= whole.data + whole.len);
}

static inline bool fuzz_has_control(smx_slice text)
{
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.data[i] < ' ' || text.data[i] == 0x7f)
            return true;
    return false;
}

#endif
