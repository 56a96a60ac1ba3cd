/* A hash map from octets, or from 64-bit numbers, to pointers. Seeded, so that a peer who chooses
 * the keys cannot make it slow. */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include "base/slice.h"

typedef struct map_entry {
    smx_slice key; /* owned by the map: in memory of its own, or in `small` */
    void *value;   /* the caller's */
    uint64_t hash;
    char small[sizeof(uint64_t)]; /* a key that is no longer, such as a number */
} map_entry;

/* Zero is a valid empty map. */
typedef struct map {
    map_entry *entries; /* open addressing; key.data NULL is free */
    size_t capacity;    /* a power of two, or 0 */
    size_t count;
    uint64_t seed;
} map;

/* The value, or NULL. */
void *map_get(const map *m, smx_slice key);
/* Copies the key: a small one, such as a number, takes memory only when the table grows. Replaces an
 * existing value. The value must not be NULL. */
SMX_MUST_USE int map_put(map *m, smx_slice key, void *value);
/* Takes the key out and gives its value back, or NULL. */
void *map_remove(map *m, smx_slice key);

void *map_get_number(const map *m, uint64_t key);
SMX_MUST_USE int map_put_number(map *m, uint64_t key, void *value);
void *map_remove_number(map *m, uint64_t key);

/* Entry after entry, in no order: start with *at = 0; NULL at the end. No changes meanwhile. */
const map_entry *map_next(const map *m, size_t *at);

/* Frees the keys, not the values. */
void map_free(map *m);

#endif
