/* A limit as it stands in the configuration (DESIGN 4.9):
 *
 *     N [messages|recipients]/window [calendar [ZONE]]
 *
 * such as "14 recipients/s", "100/5m", "50_000 recipients/day calendar America/New_York". Without a
 * unit messages are counted. Without `calendar` the window is any stretch of time of that length; with
 * it, it begins when the zone's clocks begin a new hour, day, week or month.
 */
#ifndef UPSTREAM_LIMIT_H
#define UPSTREAM_LIMIT_H

#include "base/problem.h"
#include "upstream/calendar.h"

typedef enum quota_unit { QUOTA_MESSAGES, QUOTA_RECIPIENTS } quota_unit;

enum { QUOTA_TEXT = 128, QUOTA_ZONE = 64 };

/* A value: it owns nothing. */
typedef struct quota_limit {
    char text[QUOTA_TEXT]; /* as it was written, without spaces around it */
    uint64_t amount;       /* at least 1 */
    quota_unit unit;
    uint64_t window_ms; /* of a rolling window; of a calendar's the usual length */
    bool is_calendar;
    calendar_unit calendar;
    char zone[QUOTA_ZONE]; /* "" without calendar */
} quota_limit;

/* Some of them, owned by whoever made them. */
typedef struct quota_limits {
    const quota_limit *items;
    size_t count;
} quota_limits;

/* SMX_E_SYNTAX, SMX_E_RANGE, SMX_E_NOTFOUND (no such zone), SMX_E_NOMEM; the problem says what was
 * expected. */
SMX_MUST_USE int quota_limit_parse(smx_slice text, quota_limit *limit, problem *p);

/* Whether the same things are counted in the same windows, whatever the amounts. */
bool quota_limit_counts_alike(const quota_limit *a, const quota_limit *b);

/* Writes what is counted, such as "recipients/86400s" or "messages/day Europe/Berlin": the name under
 * which the amount used is kept, which does not change when only the amount allowed does. */
void quota_limit_key(const quota_limit *limit, char key[static QUOTA_TEXT]);

#endif
