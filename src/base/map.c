/* A hash map with open addressing and linear probing; removal moves followers back, so that there
 * are no tombstones. The map owns its table and its copies of the keys; small ones lie in the table
 * and move with their entry. */
#include "base/map.h"

#include <stdlib.h>
#include <sys/random.h>

enum { MAP_SMALLEST = 16 };

static uint64_t map_mix(uint64_t x)
{
    x ^= x >> 32;
    x *= 0xd6e8feb86659fd93ULL;
    x ^= x >> 32;
    x *= 0xd6e8feb86659fd93ULL;
    return x ^ (x >> 32);
}

static uint64_t map_hash(const map *m, smx_slice key)
{
    uint64_t hash = m->seed ^ key.len;
    for (; key.len >= sizeof(uint64_t); key = slice_from(key, sizeof(uint64_t))) {
        uint64_t word;
        memcpy(&word, key.data, sizeof(word));
        hash = map_mix(hash ^ word);
    }
    uint64_t tail = 0;
    if (key.len > 0)
        memcpy(&tail, key.data, key.len);
    return map_mix(hash ^ tail ^ m->seed);
}

/* The slot of the key, or the free slot where it belongs. The table is never full. */
static size_t map_slot(const map *m, smx_slice key, uint64_t hash)
{
    size_t slot = hash & (m->capacity - 1);
    while (m->entries[slot].key.data != NULL) {
        if (m->entries[slot].hash == hash && slice_equal(m->entries[slot].key, key))
            break;
        slot = (slot + 1) & (m->capacity - 1);
    }
    return slot;
}

static bool map_is_small(smx_slice key)
{
    return key.len <= sizeof(((map_entry *)NULL)->small);
}

static void map_move(map_entry *to, const map_entry *from)
{
    *to = *from;
    if (map_is_small(to->key))
        to->key.data = to->small;
}

static void map_free_key(const map_entry *entry)
{
    if (!map_is_small(entry->key))
        free((void *)(uintptr_t)entry->key.data);
}

static int map_grow(map *m)
{
    map larger = {.capacity = m->capacity == 0 ? MAP_SMALLEST : m->capacity * 2, .seed = m->seed};
    if (m->capacity == 0 && getrandom(&larger.seed, sizeof(larger.seed), GRND_NONBLOCK) < 0)
        larger.seed = (uint64_t)(uintptr_t)m;
    larger.entries = calloc(larger.capacity, sizeof(map_entry));
    if (larger.entries == NULL)
        return SMX_E_NOMEM;
    for (size_t i = 0; i < m->capacity; i++)
        if (m->entries[i].key.data != NULL)
            map_move(&larger.entries[map_slot(&larger, m->entries[i].key, m->entries[i].hash)],
                     &m->entries[i]);
    larger.count = m->count;
    free(m->entries);
    *m = larger;
    return 0;
}

void *map_get(const map *m, smx_slice key)
{
    if (m->count == 0)
        return NULL;
    return m->entries[map_slot(m, key, map_hash(m, key))].value;
}

int map_put(map *m, smx_slice key, void *value)
{
    if (m->count >= m->capacity / 4 * 3) {
        int error = map_grow(m);
        if (error != 0)
            return error;
    }
    uint64_t hash = map_hash(m, key);
    size_t slot = map_slot(m, key, hash);
    if (m->entries[slot].key.data != NULL) {
        m->entries[slot].value = value;
        return 0;
    }
    map_entry *entry = &m->entries[slot];
    char *copy = map_is_small(key) ? entry->small : slice_to_text(key);
    if (copy == NULL)
        return SMX_E_NOMEM;
    *entry = (map_entry){slice_of(copy, key.len), value, hash, {0}};
    if (copy == entry->small && key.len > 0)
        memcpy(entry->small, key.data, key.len);
    m->count++;
    return 0;
}

/* Closes the gap at `hole`: an entry whose home is not between the hole and itself moves back. */
static void map_close_gap(map *m, size_t hole)
{
    size_t mask = m->capacity - 1;
    for (size_t next = (hole + 1) & mask; m->entries[next].key.data != NULL;
         next = (next + 1) & mask) {
        size_t home = m->entries[next].hash & mask;
        if (((next - home) & mask) < ((next - hole) & mask))
            continue;
        map_move(&m->entries[hole], &m->entries[next]);
        hole = next;
    }
    m->entries[hole] = (map_entry){0};
}

void *map_remove(map *m, smx_slice key)
{
    if (m->count == 0)
        return NULL;
    size_t slot = map_slot(m, key, map_hash(m, key));
    void *value = m->entries[slot].value;
    if (m->entries[slot].key.data == NULL)
        return NULL;
    map_free_key(&m->entries[slot]);
    map_close_gap(m, slot);
    m->count--;
    return value;
}

static smx_slice map_number_key(const uint64_t *key)
{
    return slice_of((const char *)key, sizeof(*key));
}

void *map_get_number(const map *m, uint64_t key)
{
    return map_get(m, map_number_key(&key));
}

int map_put_number(map *m, uint64_t key, void *value)
{
    return map_put(m, map_number_key(&key), value);
}

void *map_remove_number(map *m, uint64_t key)
{
    return map_remove(m, map_number_key(&key));
}

const map_entry *map_next(const map *m, size_t *at)
{
    while (*at < m->capacity) {
        const map_entry *entry = &m->entries[(*at)++];
        if (entry->key.data != NULL)
            return entry;
    }
    return NULL;
}

void map_free(map *m)
{
    for (size_t i = 0; i < m->capacity; i++)
        map_free_key(&m->entries[i]);
    free(m->entries);
    *m = (map){0};
}
