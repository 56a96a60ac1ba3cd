/* What a person probably meant by a misspelt word. */
#ifndef APP_NEAREST_H
#define APP_NEAREST_H

#include "base/slice.h"

enum { NEAREST_WORD = 64 }; /* longer words are near to nothing */

typedef struct nearest {
    smx_slice word; /* the misspelt one */
    size_t distance;
    const char *best; /* NULL: nothing is near enough */
} nearest;

nearest nearest_begin(smx_slice word);
/* A word that exists; it must live as long as the result. */
void nearest_try(nearest *n, const char *known);

/* Letters to insert, remove, replace or swap with a neighbour to come from one to the other. */
size_t nearest_distance(smx_slice a, smx_slice b);

#endif
