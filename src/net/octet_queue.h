/* Octets on their way out, in blocks of a loop. An empty queue holds no block. */
#ifndef NET_OCTET_QUEUE_H
#define NET_OCTET_QUEUE_H

#include <uv.h>

#include "net/loop.h"

/* A block begins with this; its octets stand behind. */
typedef struct octet_block {
    struct octet_block *next;
    smx_loop *loop;
    uint32_t start; /* of the octets not yet sent, from `octets` */
    uint32_t end;
    uint32_t capacity;  /* which tells the small blocks from the large ones */
    uv_write_t request; /* used once the block is the socket's */
    char octets[];
} octet_block;

/* Zero is a valid empty queue. */
typedef struct octet_queue {
    octet_block *first;
    octet_block *last;
    size_t length;
} octet_queue;

/* Copies all of the octets, or none: SMX_E_NOMEM. */
SMX_MUST_USE int octet_queue_append(octet_queue *q, smx_loop *loop, smx_slice octets);
/* Forgets the first `count` octets (at most the length) and gives empty blocks back. */
void octet_queue_consume(octet_queue *q, size_t count);
/* Takes the first block out; NULL if the queue is empty. */
octet_block *octet_queue_take(octet_queue *q);
void octet_queue_clear(octet_queue *q);

void octet_block_give(octet_block *block);

static inline smx_slice octet_block_slice(const octet_block *block)
{
    return (smx_slice){block->octets + block->start, block->end - block->start};
}

#endif
