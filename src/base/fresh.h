/* Memory for what comes and goes with each session. */
#ifndef BASE_FRESH_H
#define BASE_FRESH_H

#include <stdlib.h>

/* One zeroed `type`, or NULL; for free(). As calloc's, but glibc's calloc passes by the pieces that a
 * thread has freed lately, and looks for others: six times as dear. Zeroed by assignment, since gcc makes
 * a calloc of malloc and memset. */
#define fresh(type)                                                                                \
    __extension__({                                                                                \
        type *fresh_ = malloc(sizeof(*fresh_));                                                    \
        if (fresh_ != NULL)                                                                        \
            *fresh_ = (type){0};                                                                   \
        fresh_;                                                                                    \
    })

#endif
