/* The inner side of smx_loop: the time, shared buffers, the turn's end.
 *
 * One read buffer serves all connections of a loop, since only one is read at a time. What must be
 * kept beyond a callback is copied into a block of the loop's free list.
 */
#ifndef NET_LOOP_H
#define NET_LOOP_H

#include "base/list.h"
#include "net/timer.h"
#include "smx/loop.h"

struct resolver;

enum { LOOP_BLOCK = 65536 }; /* octets of a block, and of the shared read buffers */

/* Milliseconds, as of the start of this turn of the loop (the monotonic clock). */
uint64_t loop_now(const smx_loop *loop);

/* Whether this is the thread that runs the loop. False as long as it has not run. Any thread. */
bool loop_is_own_thread(smx_loop *loop);

/* The timers of this loop. */
timer_wheel *loop_timers(smx_loop *loop);

/* The resolver of this loop. */
struct resolver *loop_resolver(smx_loop *loop);

/* The source of tickets of this loop, for the sessions' `tickets` and `ticket_step`: no two loops
 * of a process give the same number. */
uint64_t *loop_tickets(smx_loop *loop);
uint64_t loop_ticket_step(void);
smx_ticket loop_next_ticket(smx_loop *loop);

/* A block of LOOP_BLOCK octets from the free list; NULL when out of memory. Give it back. */
SMX_MUST_USE char *loop_block_take(smx_loop *loop);
void loop_block_give(smx_loop *loop, char *block);

/* The shared buffers of LOOP_BLOCK octets: valid within one callback. */
char *loop_read_buffer(smx_loop *loop);  /* octets as they come from the socket */
char *loop_plain_buffer(smx_loop *loop); /* octets as they come out of TLS */

/* Calls node's function once at the end of this turn, before the loop waits again: connections
 * flush what was gathered. A node already waiting is not added twice. */
typedef struct loop_turn_end {
    list_node node;
    void (*fn)(struct loop_turn_end *self);
} loop_turn_end;
void loop_at_turn_end(smx_loop *loop, loop_turn_end *work);
void loop_cancel_turn_end(loop_turn_end *work);

#endif
