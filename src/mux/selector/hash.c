/* hash: the same sender (or recipient, or user) always goes first to the same upstream. Rendezvous
 * hashing: each choice has a score for the key, by its weight; when a choice is added or taken away,
 * only the keys that were its own move. */
#include <math.h>

#include "mux/selector/selectors.h"

/* FNV-1a over the lower-cased key and the upstream's name, then mixed. */
static uint64_t hash_of(smx_slice key, const char *name)
{
    uint64_t hash = 0xcbf29ce484222325ULL;
    for (size_t i = 0; i < key.len; i++) {
        unsigned char c = (unsigned char)key.data[i];
        if (c >= 'A' && c <= 'Z')
            c = (unsigned char)(c | 0x20);
        hash = (hash ^ c) * 0x100000001b3ULL;
    }
    hash = (hash ^ 0xff) * 0x100000001b3ULL;
    for (; *name != '\0'; name++)
        hash = (hash ^ (unsigned char)*name) * 0x100000001b3ULL;
    return selector_random_next(&hash);
}

/* With scores of -weight / ln(uniform) the highest one falls on each choice as often as its weight
 * says. */
static double hash_score(const mux_selection *selection, size_t i)
{
    const mux_choice *choice = &selection->plan->choices[i];
    uint64_t hash = hash_of(selection->key, upstream_name(selection->upstreams[choice->upstream]));
    double uniform = ((double)(hash >> 11) + 0.5) / 9007199254740992.0;
    return -(double)choice->weight / log(uniform);
}

static void hash_order(const mux_selection *selection, size_t *order)
{
    for (size_t i = 0; i < selection->plan->choice_count; i++) {
        double score = hash_score(selection, i);
        size_t at = i;
        for (; at > 0 && hash_score(selection, order[at - 1]) < score; at--)
            order[at] = order[at - 1];
        order[at] = i;
    }
}

const mux_selector selector_hash = {
    .name = "hash",
    .help = "sticky: the same sender, recipient or user goes first to the same upstream, by weight",
    .weighs = true,
    .order = hash_order,
};
