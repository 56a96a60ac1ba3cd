/* round-robin: upstreams in turn, as often as their weights say, smoothly spread: with weights 3 and
 * 1 the turn is a a b a, not a a a b. */
#include "mux/selector/selectors.h"

/* Behind the one whose turn it is, the others follow in the order of the configuration. */
static void round_robin_order(const mux_selection *selection, size_t *order)
{
    size_t count = selection->plan->choice_count;
    size_t first = selector_next_smooth(selection->turn);
    for (size_t i = 0; i < count; i++)
        order[i] = (first + i) % count;
}

const mux_selector selector_round_robin = {
    .name = "round-robin",
    .help = "one upstream after the other, by weight; the others when it does not take a message",
    .weighs = true,
    .prepare = selector_prepare_smooth,
    .order = round_robin_order,
};
