/* Edit distances between short words. */
#include "app/nearest.h"

nearest nearest_begin(smx_slice word)
{
    /* A third of the letters may be wrong, and one in short words. */
    return (nearest){word, word.len / 3 + (word.len < 3 ? 1 : 2), NULL};
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

size_t nearest_distance(smx_slice a, smx_slice b)
{
    if (a.len > NEAREST_WORD || b.len > NEAREST_WORD)
        return SIZE_MAX;
    size_t rows[3][NEAREST_WORD + 1]; /* two letters ago, one letter ago, now */
    for (size_t j = 0; j <= b.len; j++)
        rows[1][j] = j;
    for (size_t i = 1; i <= a.len; i++) {
        rows[2][0] = i;
        for (size_t j = 1; j <= b.len; j++) {
            bool same = ascii_lower(a.data[i - 1]) == ascii_lower(b.data[j - 1]);
            size_t best =
                least(rows[1][j - 1] + (same ? 0 : 1), least(rows[1][j] + 1, rows[2][j - 1] + 1));
            if (i > 1 && j > 1 && a.data[i - 1] == b.data[j - 2] && a.data[i - 2] == b.data[j - 1])
                best = least(best, rows[0][j - 2] + 1);
            rows[2][j] = best;
        }
        memcpy(rows[0], rows[1], sizeof(rows[0]));
        memcpy(rows[1], rows[2], sizeof(rows[1]));
    }
    return rows[1][b.len];
}

void nearest_try(nearest *n, const char *known)
{
    size_t distance = nearest_distance(n->word, slice_of_text(known));
    if (distance >= n->distance)
        return;
    n->distance = distance;
    n->best = known;
}
