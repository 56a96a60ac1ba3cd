/* random: every order is as likely as any other (Fisher and Yates). */
#include "mux/selector/selectors.h"

static void random_order(const mux_selection *selection, size_t *order)
{
    size_t count = selection->plan->choice_count;
    uint64_t seed = selection->random;
    for (size_t i = 0; i < count; i++)
        order[i] = i;
    for (size_t left = count; left > 1; left--) {
        size_t at = selector_random_next(&seed) % left;
        size_t taken = order[at];
        order[at] = order[left - 1];
        order[left - 1] = taken;
    }
}

const mux_selector selector_random = {
    .name = "random",
    .help = "a random order for every message",
    .order = random_order,
};
