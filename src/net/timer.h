/* Timers on a hashed wheel: setting, moving and ending one costs a list operation, so each
 * connection has its own without a timer object of the loop's library. Exact to TIMER_TICK_MS,
 * never early. */
#ifndef NET_TIMER_H
#define NET_TIMER_H

#include "base/list.h"
#include "smx/loop.h"

enum { TIMER_TICK_MS = 50 };

typedef struct timer_wheel timer_wheel;

/* Embedded in its owner; zero means "not set". */
typedef struct timer_entry {
    list_node node;
    uint64_t due; /* milliseconds, loop_now()'s clock */
    void (*fn)(struct timer_entry *self);
} timer_entry;

SMX_MUST_USE int timer_wheel_new(smx_loop *loop, timer_wheel **wheel);
void timer_wheel_free(timer_wheel *wheel);

/* Calls fn once, soon after `due`; moves a timer that is set. SMX_DEADLINE_NEVER (UINT64_MAX) ends
 * it. `fn` must be set in the entry. */
void timer_set(timer_wheel *wheel, timer_entry *entry, uint64_t due);
void timer_clear(timer_entry *entry);

#endif
