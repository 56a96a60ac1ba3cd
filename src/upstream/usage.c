/* The parts of a window and what was used in each. Parts stand in a ring, by their number. */
#include "upstream/usage.h"

#include <assert.h>

enum { JITTER_MS = 1000 };

static usage_part *usage_slot(usage *u, uint64_t number)
{
    assert(u->part_count > 0);
    return &u->parts[number % u->part_count];
}

static uint64_t usage_number(usage *u, uint64_t now_ms)
{
    if (u->zone == NULL)
        return now_ms / u->part_ms;
    if (now_ms < u->begin_ms || now_ms >= u->end_ms)
        calendar_window(u->zone, u->unit, now_ms, &u->begin_ms, &u->end_ms);
    return u->begin_ms / 1000;
}

void usage_init(usage *u, const quota_limit *limit, const calendar_zone *zone, uint64_t now_ms)
{
    *u = (usage){.zone = zone, .unit = limit->calendar, .window_ms = limit->window_ms};
    u->part_count = zone == NULL ? USAGE_PARTS : 1;
    u->part_ms = (u->window_ms + USAGE_PARTS - 2) / (USAGE_PARTS - 1);
    u->now_ms = now_ms;
    u->number = usage_number(u, now_ms);
}

static void usage_empty(usage *u, usage_part *part, uint64_t number)
{
    u->total -= part->amount;
    u->unsettled -= part->unsettled;
    *part = (usage_part){.number = number};
}

/* All that counts becomes used in the part with this number. */
static void usage_gather(usage *u, uint64_t number)
{
    usage_part all = {number, (uint32_t)u->total, (uint32_t)u->unsettled};
    for (size_t i = 0; i < u->part_count; i++)
        u->parts[i] = (usage_part){0};
    *usage_slot(u, number) = all;
    u->number = number;
}

void usage_advance(usage *u, uint64_t now_ms)
{
    bool jumped = now_ms < u->now_ms && u->now_ms - now_ms > JITTER_MS;
    if (now_ms < u->now_ms && !jumped)
        return;
    u->now_ms = now_ms;
    uint64_t number = usage_number(u, now_ms);
    if (number == u->number)
        return;
    if (jumped) {
        usage_gather(u, number);
        return;
    }
    for (size_t i = 0; i < u->part_count; i++)
        if (number - u->parts[i].number >= u->part_count)
            usage_empty(u, &u->parts[i], 0);
    u->number = number;
    usage_slot(u, number)->number = number;
}

void usage_add(usage *u, uint64_t amount)
{
    usage_part *part = usage_slot(u, u->number);
    part->number = u->number;
    part->amount += (uint32_t)amount;
    part->unsettled += (uint32_t)amount;
    u->total += amount;
    u->unsettled += amount;
}

uint64_t usage_until(const usage *u, uint64_t left)
{
    if (u->total <= left)
        return u->now_ms;
    if (u->zone != NULL)
        return u->end_ms;
    uint64_t total = u->total;
    uint64_t oldest = u->number >= u->part_count - 1 ? u->number - (u->part_count - 1) : 0;
    uint64_t n = oldest;
    for (; n <= u->number && total > left; n++) {
        const usage_part *part = &u->parts[n % u->part_count];
        total -= part->number == n ? part->amount : 0;
    }
    return (n - 1 + u->part_count) * u->part_ms;
}

size_t usage_unsettled(const usage *u, store_use uses[static USAGE_PARTS])
{
    size_t count = 0;
    for (size_t i = 0; i < u->part_count; i++)
        if (u->parts[i].unsettled > 0)
            uses[count++] = (store_use){u->parts[i].number, u->parts[i].unsettled};
    return count;
}

static bool usage_is_present(const usage *u, uint64_t number)
{
    return number <= u->number && u->number - number < u->part_count;
}

void usage_settle(usage *u, const store_use *told, size_t told_count, const store_use *all,
                  size_t all_count)
{
    for (size_t i = 0; i < told_count; i++) {
        usage_part *part = usage_slot(u, told[i].window);
        if (part->number != told[i].window)
            continue; /* it counts no more */
        uint32_t known =
            part->unsettled < told[i].amount ? part->unsettled : (uint32_t)told[i].amount;
        part->unsettled -= known;
        u->unsettled -= known;
    }
    /* Whatever the store does not know is ours; all else it has just said. */
    u->total = u->unsettled;
    for (size_t i = 0; i < u->part_count; i++)
        u->parts[i].amount = u->parts[i].unsettled;
    for (size_t i = 0; i < all_count; i++) {
        if (!usage_is_present(u, all[i].window))
            continue;
        usage_part *part = usage_slot(u, all[i].window);
        part->number = all[i].window;
        part->amount += (uint32_t)all[i].amount;
        u->total += all[i].amount;
    }
}
