/* What only the files of net/ know of a loop: who lives on it, and its small blocks. */
#ifndef NET_LOOP_INTERNAL_H
#define NET_LOOP_INTERNAL_H

#include "net/loop.h"

struct bio_method_st;

enum { LOOP_SMALL_BLOCK = 4096 };

/* Someone with handles on the loop who can be told to go: connections and listeners. */
typedef struct loop_resident {
    list_node node;
    void (*leave)(struct loop_resident *self); /* begins to close; called by smx_loop_free */
} loop_resident;
void loop_enter(smx_loop *loop, loop_resident *resident);
void loop_leave(loop_resident *resident);

/* Counts the other handles that are open, so that smx_loop_free waits for their last callbacks. */
void loop_hold(smx_loop *loop);
void loop_release(smx_loop *loop);

/* A block for few octets, so that thousands of short waits stay cheap; as loop_block_take. */
SMX_MUST_USE char *loop_small_take(smx_loop *loop);
void loop_small_give(smx_loop *loop, char *block);
/* Blocks of both sizes that are taken and not given back: for tests. */
size_t loop_blocks_taken(const smx_loop *loop);

/* OpenSSL's view of a connection, made once for each loop (connection_tls.c). */
struct bio_method_st **loop_bio_method(smx_loop *loop);

#endif
