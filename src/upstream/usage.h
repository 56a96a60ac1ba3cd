/* How much of one limit is used: the arithmetic of windows. Pure: the time is passed in.
 *
 * A rolling window is cut into 100 parts, and what is used is counted by part. The sum of the present
 * part and the 100 before it is at least what was used in any stretch of the window's length that ends
 * now, and at most what was used in 101 hundredths: amounts come back at most 1% of the window late,
 * never early. A calendar's window is a single part.
 */
#ifndef UPSTREAM_USAGE_H
#define UPSTREAM_USAGE_H

#include "store/store.h"
#include "upstream/limit.h"

enum { USAGE_PARTS = 101 };

typedef struct usage_part {
    uint64_t number;    /* of the part, or of the calendar's window */
    uint32_t amount;    /* used in it */
    uint32_t unsettled; /* as much of it as the store does not know yet */
} usage_part;

typedef struct usage {
    const calendar_zone *zone; /* NULL: rolling */
    calendar_unit unit;
    uint64_t window_ms;
    uint64_t part_ms;
    uint64_t part_count;           /* that count: 101, or 1 */
    uint64_t now_ms;               /* never goes back, but by a jump of the clock */
    uint64_t number;               /* of the present part */
    uint64_t begin_ms, end_ms;     /* of the calendar's present window */
    uint64_t total;                /* sum of the parts' amounts */
    uint64_t unsettled;            /* sum of theirs */
    usage_part parts[USAGE_PARTS]; /* by number, in turn */
} usage;

/* `zone` NULL: rolling; it outlives the usage. */
void usage_init(usage *u, const quota_limit *limit, const calendar_zone *zone, uint64_t now_ms);

/* Goes on to this moment. A clock that goes back by less than a second, as threads see it, stands
 * still; one that jumps back takes all that counts as used now. */
void usage_advance(usage *u, uint64_t now_ms);

/* Counts an amount as used now, not yet known to the store. */
void usage_add(usage *u, uint64_t amount);

/* When no more than `left` of the total will count, if nothing is added; at least now. */
uint64_t usage_until(const usage *u, uint64_t left);

/* Writes what the store does not know yet; returns how many. */
size_t usage_unsettled(const usage *u, store_use uses[static USAGE_PARTS]);
/* The store knows these now, and says what is used in all. */
void usage_settle(usage *u, const store_use *told, size_t told_count, const store_use *all,
                  size_t all_count);

#endif
