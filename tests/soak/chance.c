/* Chance (splitmix64), and the end of a program that cannot judge. */
#include <stdio.h>
#include <stdlib.h>

#include "soak.h"

static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

chance chance_at(uint64_t seed, uint64_t place, uint64_t number)
{
    return (chance){mix(mix(mix(seed + 1) + place) + number)};
}

uint64_t chance_below(chance *c, uint64_t limit)
{
    return mix(c->state += 0x9e3779b97f4a7c15ULL) % limit;
}

bool chance_hits(chance *c, uint32_t per_100k)
{
    return chance_below(c, 100000) < per_100k;
}

void must(bool it, const char *what)
{
    if (it)
        return;
    perror(what);
    (void)fprintf(stderr, "soak: %s\n", what);
    exit(70);
}
