/* failover: always in the order of the configuration. */
#include "mux/selector/selectors.h"

static void failover_order(const mux_selection *selection, size_t *order)
{
    for (size_t i = 0; i < selection->plan->choice_count; i++)
        order[i] = i;
}

const mux_selector selector_failover = {
    .name = "failover",
    .help = "the first upstream; the others, in order, only when it does not take a message",
    .order = failover_order,
};
