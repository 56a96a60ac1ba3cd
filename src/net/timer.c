/* A wheel of slots, each a list of the timers that are looked at in its tick. A timer that is moved to
 * a later time stays in its slot, since most are moved on again before that is reached: one that is
 * not due when its slot is looked at is filed anew. One libuv timer serves the wheel and is set to the first slot that is not empty. The
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

/* The first tick that is not before the time and not yet past. */
static uint64_t timer_tick_of(const timer_wheel *wheel, uint64_t due)
{
    uint64_t tick = due / TIMER_TICK_MS + (due % TIMER_TICK_MS != 0);
    return tick > wheel->tick ? tick : wheel->tick + 1;
}

static void timer_expire_slot(timer_wheel *wheel, list *slot, uint64_t now)
{
    list_node *next;
    for (list_node *node = slot->first; node != NULL; node = next) {
        next = node->next;
        uint64_t due = list_member(node, timer_entry, node)->due;
        list *to = due <= now ? &wheel->expired : timer_slot(wheel, timer_tick_of(wheel, due));
        if (to != slot)
            list_move(to, node);
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

/* True if the slot that the timer is in is looked at by this tick. */
static bool timer_is_in_time(const timer_wheel *wheel, const timer_entry *entry, uint64_t tick)
{
    const list *slot = entry->node.owner;
    if (slot == NULL || slot == &wheel->expired)
        return false;
    uint64_t next = wheel->tick + 1;
    uint64_t place = (uint64_t)(slot - wheel->slots);
    return next + (place - next) % TIMER_SLOTS <= tick;
}

void timer_set(timer_wheel *wheel, timer_entry *entry, uint64_t due)
{
    assert(entry->fn != NULL);
    entry->due = due;
    if (due == UINT64_MAX) {
        list_remove(&entry->node);
        return;
    }
    uint64_t tick = timer_tick_of(wheel, due);
    if (timer_is_in_time(wheel, entry, tick))
        return;
    list_move(timer_slot(wheel, tick), &entry->node);
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
