/* A wheel of slots, each a list of the timers due in its tick or in the same tick of a later
 * rotation. One libuv timer serves the wheel and is set to the first slot that is not empty. The
 * wheel owns no timer: entries are embedded in their owners.
 */
#include "net/timer.h"

#include <stdlib.h>
#include <uv.h>

#include "net/loop_internal.h"

enum { TIMER_SLOTS = 1024 }; /* a rotation takes 51 seconds */

struct timer_wheel {
    smx_loop *loop;
    uv_timer_t uv;
    uint64_t tick;  /* the last one whose slot was looked at */
    uint64_t armed; /* the tick that the libuv timer is set to; UINT64_MAX: none */
    list expired;   /* due timers whose function was not called yet */
    list slots[TIMER_SLOTS];
};

static list *timer_slot(timer_wheel *wheel, uint64_t tick)
{
    return &wheel->slots[tick % TIMER_SLOTS];
}

static void timer_on_tick(uv_timer_t *uv);

static void timer_arm(timer_wheel *wheel, uint64_t tick)
{
    if (tick >= wheel->armed)
        return;
    uint64_t now = loop_now(wheel->loop);
    uint64_t at = tick * TIMER_TICK_MS;
    wheel->armed = tick;
    (void)uv_timer_start(&wheel->uv, timer_on_tick, at > now ? at - now : 0, 0);
}

/* The next slot with a timer, even if that is for a later rotation. */
static void timer_arm_next(timer_wheel *wheel)
{
    for (uint64_t tick = wheel->tick + 1; tick <= wheel->tick + TIMER_SLOTS; tick++) {
        if (timer_slot(wheel, tick)->count > 0) {
            timer_arm(wheel, tick);
            return;
        }
    }
}

static void timer_expire_slot(timer_wheel *wheel, list *slot, uint64_t now)
{
    list_node *next;
    for (list_node *node = slot->first; node != NULL; node = next) {
        next = node->next;
        if (list_member(node, timer_entry, node)->due <= now)
            list_move(&wheel->expired, node);
    }
}

/* Functions are called when the slots are left alone, so that they may set and clear any timer. */
static void timer_on_tick(uv_timer_t *uv)
{
    timer_wheel *wheel = uv->data;
    uint64_t now = loop_now(wheel->loop);
    uint64_t last = now / TIMER_TICK_MS;
    wheel->armed = UINT64_MAX;
    if (last > wheel->tick + TIMER_SLOTS)
        wheel->tick = last - TIMER_SLOTS; /* one look at each slot is enough */
    while (wheel->tick < last)
        timer_expire_slot(wheel, timer_slot(wheel, ++wheel->tick), now);
    for (list_node *node; (node = list_take_first(&wheel->expired)) != NULL;) {
        timer_entry *entry = list_member(node, timer_entry, node);
        entry->fn(entry);
    }
    timer_arm_next(wheel);
}

void timer_set(timer_wheel *wheel, timer_entry *entry, uint64_t due)
{
    assert(entry->fn != NULL);
    list_remove(&entry->node);
    entry->due = due;
    if (due == UINT64_MAX)
        return;
    uint64_t tick = due / TIMER_TICK_MS + (due % TIMER_TICK_MS != 0);
    if (tick <= wheel->tick)
        tick = wheel->tick + 1;
    list_append(timer_slot(wheel, tick), &entry->node);
    timer_arm(wheel, tick);
}

void timer_clear(timer_entry *entry)
{
    list_remove(&entry->node);
}

int timer_wheel_new(smx_loop *loop, timer_wheel **wheel)
{
    timer_wheel *new = calloc(1, sizeof(*new));
    if (new == NULL)
        return SMX_E_NOMEM;
    new->loop = loop;
    new->armed = UINT64_MAX;
    new->tick = loop_now(loop) / TIMER_TICK_MS;
    (void)uv_timer_init(smx_loop_uv(loop), &new->uv);
    new->uv.data = new;
    loop_hold(loop);
    *wheel = new;
    return 0;
}

static void timer_on_closed(uv_handle_t *handle)
{
    timer_wheel *wheel = handle->data;
    loop_release(wheel->loop);
    free(wheel);
}

void timer_wheel_free(timer_wheel *wheel)
{
    if (wheel == NULL)
        return;
    for (size_t i = 0; i < TIMER_SLOTS; i++)
        while (list_take_first(&wheel->slots[i]) != NULL)
            ;
    uv_close((uv_handle_t *)&wheel->uv, timer_on_closed);
}
