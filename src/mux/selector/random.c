/* random: every order is as likely as any other (Fisher and Yates). */
#include "mux/selector/selectors.h"

/* A step of a 64-bit generator (splitmix64): one random seed is enough for the whole shuffle. */
static uint64_t random_next(uint64_t *seed)
{
    uint64_t z = *seed += 0x9e3779b97f4a7c15ULL;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

static void random_order(const mux_user_options *user, mux_selector_state *state, uint64_t random,
                         size_t *order)
{
    (void)state;
    for (size_t i = 0; i < user->choice_count; i++)
        order[i] = i;
    for (size_t left = user->choice_count; left > 1; left--) {
        size_t at = random_next(&random) % left;
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
