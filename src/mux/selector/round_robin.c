/* round-robin: upstreams in turn, as often as their weights say, smoothly spread: with weights 3 and
 * 1 the turn is a a b a, not a a a b. The turn is worked out once; the workers share one index into
 * it, so that the order is exact over all of them (DESIGN 4.10). */
#include <stdlib.h>

#include "mux/selector/selectors.h"

/* Behind the one whose turn it is, the others follow in the order of the configuration. */
static void round_robin_order(const mux_user_options *user, mux_selector_state *state,
                              uint64_t random, size_t *order)
{
    (void)random;
    uint64_t turn = atomic_fetch_add_explicit(&state->turn, 1, memory_order_relaxed);
    size_t first = state->sequence[turn % state->sequence_length];
    for (size_t i = 0; i < user->choice_count; i++)
        order[i] = (first + i) % user->choice_count;
}

/* Each step every choice earns its weight; the richest is chosen and pays the sum of all weights. */
static void round_robin_fill(const mux_user_options *user, int64_t *wealth, uint16_t *sequence,
                             size_t length)
{
    for (size_t step = 0; step < length; step++) {
        size_t richest = 0;
        for (size_t i = 0; i < user->choice_count; i++) {
            wealth[i] += user->choices[i].weight;
            if (wealth[i] > wealth[richest])
                richest = i;
        }
        wealth[richest] -= (int64_t)length;
        sequence[step] = (uint16_t)richest;
    }
}

static int round_robin_prepare(const mux_user_options *user, mux_selector_state *state)
{
    size_t length = 0;
    for (size_t i = 0; i < user->choice_count; i++)
        length += user->choices[i].weight;
    uint16_t *sequence = calloc(length, sizeof(*sequence));
    int64_t *wealth = calloc(user->choice_count, sizeof(*wealth));
    if (sequence == NULL || wealth == NULL) {
        free(sequence);
        free(wealth);
        return SMX_E_NOMEM;
    }
    round_robin_fill(user, wealth, sequence, length);
    free(wealth);
    state->sequence = sequence;
    state->sequence_length = length;
    return 0;
}

const mux_selector selector_round_robin = {
    .name = "round-robin",
    .help = "one upstream after the other, by weight; the others when it does not take a message",
    .prepare = round_robin_prepare,
    .order = round_robin_order,
};
