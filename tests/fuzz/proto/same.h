/* Comparisons that the targets of proto share. */
#ifndef TESTS_FUZZ_PROTO_SAME_H
#define TESTS_FUZZ_PROTO_SAME_H

#include "fuzz.h"
#include "smx/proto.h"

static inline bool same_address(const smx_address *a, const smx_address *b)
{
    return a->family == b->family && a->port == b->port &&
           memcmp(a->octets, b->octets, sizeof(a->octets)) == 0;
}

#endif
