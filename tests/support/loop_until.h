/* Turns a test's loop until something has happened, for at most ten seconds. The timer that loop_tick
 * starts sees to it that no turn waits for longer than a tick. */
#ifndef TESTS_SUPPORT_LOOP_UNTIL_H
#define TESTS_SUPPORT_LOOP_UNTIL_H

#include <uv.h>

#include "base/clock.h"
#include "smx/loop.h"

enum { LOOP_TICK_MS = 10, LOOP_PATIENCE_MS = 10000 };

static inline void loop_on_tick(uv_timer_t *timer)
{
    (void)timer;
}

/* The caller closes the timer. */
static inline void loop_tick(smx_loop *loop, uv_timer_t *timer)
{
    (void)uv_timer_init(smx_loop_uv(loop), timer);
    (void)uv_timer_start(timer, loop_on_tick, LOOP_TICK_MS, LOOP_TICK_MS);
}

static inline void loop_turn(smx_loop *loop)
{
    (void)uv_run(smx_loop_uv(loop), UV_RUN_ONCE);
}

#define loop_until(loop, condition)                                                                \
    do {                                                                                           \
        uint64_t until_ = clock_monotonic_ms() + LOOP_PATIENCE_MS;                                 \
        while (!(condition)) {                                                                     \
            if (clock_monotonic_ms() > until_)                                                     \
                fail_msg("this did not happen: %s", #condition);                                   \
            loop_turn(loop);                                                                       \
        }                                                                                          \
    } while (0)

#endif
