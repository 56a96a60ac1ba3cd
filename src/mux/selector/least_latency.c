/* least-latency: the fastest first, by the moving average of real deliveries. One that has no average
 * yet comes first, to get one; and one message in 32 tries another one first, so that an upstream
 * which has become fast again is found out. */
#include "mux/selector/selectors.h"

enum { EXPLORE_ONE_IN = 32 };

static void least_latency_promote(size_t *order, size_t at)
{
    size_t chosen = order[at];
    for (; at > 0; at--)
        order[at] = order[at - 1];
    order[0] = chosen;
}

static void least_latency_order(const mux_selection *selection, size_t *order)
{
    const mux_plan *plan = selection->plan;
    uint64_t seed = selection->random;
    for (size_t i = 0; i < plan->choice_count; i++) {
        uint32_t mine = upstream_latency_us(selection->upstreams[plan->choices[i].upstream]);
        size_t at = i;
        for (; at > 0; at--) {
            size_t other = plan->choices[order[at - 1]].upstream;
            if (upstream_latency_us(selection->upstreams[other]) <= mine)
                break;
            order[at] = order[at - 1];
        }
        order[at] = i;
    }
    if (plan->choice_count > 1 && selector_random_next(&seed) % EXPLORE_ONE_IN == 0)
        least_latency_promote(order, 1 + selector_random_next(&seed) % (plan->choice_count - 1));
}

const mux_selector selector_least_latency = {
    .name = "least-latency",
    .help = "the one that has taken messages fastest of late",
    .order = least_latency_order,
};
