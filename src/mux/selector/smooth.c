/* The smooth weighted turn. It is worked out once for a plan; the workers share one index into it, so
 * that the order is exact over all of them (DESIGN 4.10), and a reload keeps it. */
#include <stdlib.h>

#include "mux/selector/selectors.h"

static void smooth_fill(const mux_plan *plan, int64_t *wealth, uint16_t *sequence, size_t length)
{
    for (size_t step = 0; step < length; step++) {
        size_t richest = 0;
        for (size_t i = 0; i < plan->choice_count; i++) {
            wealth[i] += plan->choices[i].weight;
            if (wealth[i] > wealth[richest])
                richest = i;
        }
        wealth[richest] -= (int64_t)length;
        sequence[step] = (uint16_t)richest;
    }
}

int selector_prepare_smooth(const mux_plan *plan, mux_turn *turn)
{
    size_t length = 0;
    for (size_t i = 0; i < plan->choice_count; i++)
        length += plan->choices[i].weight;
    uint16_t *sequence = calloc(length, sizeof(*sequence));
    int64_t *wealth = calloc(plan->choice_count, sizeof(*wealth));
    if (sequence == NULL || wealth == NULL) {
        free(sequence);
        free(wealth);
        return SMX_E_NOMEM;
    }
    smooth_fill(plan, wealth, sequence, length);
    free(wealth);
    turn->sequence = sequence;
    turn->sequence_length = length;
    return 0;
}

size_t selector_next_smooth(mux_turn *turn)
{
    uint64_t index = atomic_fetch_add_explicit(&turn->index, 1, memory_order_relaxed);
    return turn->sequence[index % turn->sequence_length];
}
