/* weighted: the same turn as round-robin's, but the heaviest of the others come next: a message that
 * its upstream does not take goes where most of the mail goes anyway. */
#include "mux/selector/selectors.h"

/* Sorted by weight behind the first; equal weights in the order of the configuration. */
static void weighted_order(const mux_selection *selection, size_t *order)
{
    const mux_plan *plan = selection->plan;
    size_t filled = 1;
    order[0] = selector_next_smooth(selection->turn);
    for (size_t i = 0; i < plan->choice_count; i++) {
        if (i == order[0])
            continue;
        size_t at = filled++;
        for (; at > 1 && plan->choices[order[at - 1]].weight < plan->choices[i].weight; at--)
            order[at] = order[at - 1];
        order[at] = i;
    }
}

const mux_selector selector_weighted = {
    .name = "weighted",
    .help = "in turn by weight; the heaviest of the others when it does not take a message",
    .weighs = true,
    .prepare = selector_prepare_smooth,
    .order = weighted_order,
};
