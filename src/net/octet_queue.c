/* A chain of blocks: filled at the end, emptied at the start. The first block of a queue is a small
 * one if that is enough, since most queues are one reply long.
 */
#include "net/octet_queue.h"

#include "base/slice.h"

#include "net/loop_internal.h"

static octet_block *octet_block_take(smx_loop *loop, bool small)
{
    char *memory = small ? loop_small_take(loop) : loop_block_take(loop);
    octet_block *block = (octet_block *)(void *)memory;
    if (block == NULL)
        return NULL;
    size_t size = small ? (size_t)LOOP_SMALL_BLOCK : (size_t)LOOP_BLOCK;
    block->next = NULL;
    block->loop = loop;
    block->start = 0;
    block->end = 0;
    block->capacity = (uint32_t)(size - sizeof(*block));
    return block;
}

void octet_block_give(octet_block *block)
{
    if (block->capacity < LOOP_SMALL_BLOCK)
        loop_small_give(block->loop, (char *)block);
    else
        loop_block_give(block->loop, (char *)block);
}

static size_t octet_block_room(const octet_block *block)
{
    return block == NULL ? 0 : block->capacity - block->end;
}

/* Links blocks behind the queue until there is room for `more` octets; *fill is the first block
 * with room. On failure the queue is as before. */
static int octet_queue_reserve(octet_queue *q, smx_loop *loop, size_t more)
{
    size_t room = octet_block_room(q->last);
    octet_queue added = {0};
    while (room < more) {
        bool small =
            q->last == NULL && added.last == NULL && more <= LOOP_SMALL_BLOCK - sizeof(octet_block);
        octet_block *block = octet_block_take(loop, small);
        if (block == NULL) {
            octet_queue_clear(&added);
            return SMX_E_NOMEM;
        }
        if (added.last == NULL)
            added.first = block;
        else
            added.last->next = block;
        added.last = block;
        room += octet_block_room(block);
    }
    if (added.first == NULL)
        return 0;
    if (q->last == NULL)
        q->first = added.first;
    else
        q->last->next = added.first;
    q->last = added.last;
    return 0;
}

/* Most of what is queued fits where the last octets went. */
static bool octet_queue_append_to_last(octet_queue *q, smx_slice octets)
{
    octet_block *block = q->last;
    if (octet_block_room(block) < octets.len || octets.len == 0)
        return false;
    memcpy(block->octets + block->end, octets.data, octets.len);
    block->end += (uint32_t)octets.len;
    q->length += octets.len;
    return true;
}

int octet_queue_append(octet_queue *q, smx_loop *loop, smx_slice octets)
{
    if (octet_queue_append_to_last(q, octets))
        return 0;
    octet_block *block = q->last;
    int error = octet_queue_reserve(q, loop, octets.len);
    if (error != 0 || octets.len == 0)
        return error;
    if (block == NULL)
        block = q->first;
    q->length += octets.len;
    while (octets.len > 0 && block != NULL) {
        size_t room = octet_block_room(block);
        size_t len = octets.len < room ? octets.len : room;
        if (len > 0)
            memcpy(block->octets + block->end, octets.data, len);
        block->end += (uint32_t)len;
        octets = slice_from(octets, len);
        block = block->next;
    }
    return 0;
}

octet_block *octet_queue_take(octet_queue *q)
{
    octet_block *block = q->first;
    if (block == NULL)
        return NULL;
    q->first = block->next;
    if (q->first == NULL)
        q->last = NULL;
    q->length -= block->end - block->start;
    block->next = NULL;
    return block;
}

void octet_queue_consume(octet_queue *q, size_t count)
{
    assert(count <= q->length);
    while (count > 0) {
        size_t len = q->first->end - q->first->start;
        if (count < len) {
            q->first->start += (uint32_t)count;
            q->length -= count;
            return;
        }
        octet_block_give(octet_queue_take(q));
        count -= len;
    }
}

void octet_queue_clear(octet_queue *q)
{
    for (octet_block *block; (block = octet_queue_take(q)) != NULL;)
        octet_block_give(block);
}
