/* An arena: a chain of blocks, the newest first. Blocks grow with what is asked of them; a reset
 * keeps the newest ordinary block so that a session's next message allocates nothing. */
#include "base/arena.h"

#include <stdalign.h>
#include <stdlib.h>

#include "base/checked.h"

enum { ARENA_BLOCK = 2048 };

struct arena_block {
    arena_block *next;
    size_t capacity;
    size_t used;
    alignas(max_align_t) char data[];
};

static arena_block *arena_block_new(size_t capacity)
{
    size_t size;
    if (!checked_add(capacity, sizeof(arena_block), &size))
        return NULL;
    arena_block *block = malloc(size);
    if (block != NULL)
        *block = (arena_block){.capacity = capacity};
    return block;
}

void *arena_alloc(arena *a, size_t size)
{
    const size_t align = alignof(max_align_t);
    size_t rounded;
    if (!checked_add(size, align - 1, &rounded))
        return NULL;
    rounded &= ~(align - 1);
    if (a->current == NULL || a->current->capacity - a->current->used < rounded) {
        arena_block *block = arena_block_new(rounded > ARENA_BLOCK ? rounded : ARENA_BLOCK);
        if (block == NULL)
            return NULL;
        block->next = a->current;
        a->current = block;
    }
    void *memory = a->current->data + a->current->used;
    a->current->used += rounded;
    a->used += rounded;
    return memory;
}

void *arena_calloc(arena *a, size_t size)
{
    void *memory = arena_alloc(a, size);
    if (memory != NULL)
        memset(memory, 0, size);
    return memory;
}

int arena_copy(arena *a, smx_slice s, smx_slice *copy)
{
    char *memory = arena_alloc(a, s.len + 1);
    if (memory == NULL)
        return SMX_E_NOMEM;
    if (s.len > 0)
        memcpy(memory, s.data, s.len);
    memory[s.len] = '\0';
    *copy = slice_of(memory, s.len);
    return 0;
}

void arena_reset(arena *a)
{
    arena_block *keep = NULL;
    while (a->current != NULL) {
        arena_block *block = a->current;
        a->current = block->next;
        if (keep == NULL && block->capacity == ARENA_BLOCK)
            keep = block;
        else
            free(block);
    }
    if (keep != NULL) {
        keep->next = NULL;
        keep->used = 0;
    }
    *a = (arena){.current = keep};
}

void arena_free(arena *a)
{
    while (a->current != NULL) {
        arena_block *next = a->current->next;
        free(a->current);
        a->current = next;
    }
    a->used = 0;
}
