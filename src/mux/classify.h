/* What an attempt's result means for the message: DESIGN 4.3. */
#ifndef MUX_CLASSIFY_H
#define MUX_CLASSIFY_H

#include "upstream/pool.h"
#include "upstream/rules.h"

typedef enum mux_action {
    MUX_ACTION_TAKEN,
    MUX_ACTION_NEXT,    /* nothing was delivered: another upstream may try */
    MUX_ACTION_FINAL,   /* refused for good */
    MUX_ACTION_UNKNOWN, /* nobody knows: nobody else may try */
    MUX_ACTION_GIVEN_UP,
} mux_action;

typedef struct mux_classified {
    mux_action action;
    bool permanent;      /* the upstream's own answer was 5xx, and about the message */
    bool suspend;        /* NEXT: its credentials or its terms were refused, or a rule says so */
    uint32_t suspend_ms; /* for so long; 0: 15 minutes, doubling */
    uint32_t pause_ms;   /* NEXT: the provider's own "too many" (DESIGN 4.9): leave it alone for so
                            long; 0: it was none */
} mux_classified;

/* Rules are asked first, but only about what the upstream itself replied; they can neither undo nor
 * make a message that is taken or unknown. Pure. */
mux_classified mux_classify(const upstream_result *result, const upstream_rule *rules,
                            size_t rule_count);

#endif
