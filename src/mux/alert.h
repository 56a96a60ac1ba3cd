/* Tells an operator's URL of suspensions and open breakers, and of their end (DESIGN 4.3, 4.8): a POST
 * of JSON {event, upstream, reason, until, time, hostname}, on a thread of its own, so that mail never
 * waits for it. One that cannot be told is tried again for half a minute; at most 256 wait. */
#ifndef MUX_ALERT_H
#define MUX_ALERT_H

#include "smx/types.h"

#define ALERT_EVENT_MAP(X)                                                                         \
    X(SUSPENDED, "upstream_suspended") /* until `until`, of which the end is told then */          \
    X(RESUMED, "upstream_resumed")                                                                 \
    X(BREAKER_OPENED, "breaker_opened")                                                            \
    X(BREAKER_CLOSED, "breaker_closed")
typedef enum alert_event {
#define ALERT_EVENT_ENTRY(name, text) ALERT_##name,
    ALERT_EVENT_MAP(ALERT_EVENT_ENTRY)
#undef ALERT_EVENT_ENTRY
} alert_event;

typedef struct alerts alerts;

/* Nothing is told before there is a URL. SMX_E_NOMEM. */
SMX_MUST_USE int alerts_new(smx_log_fn *log, void *log_arg, alerts **a);
/* Where to, from now on; NULL: nowhere. Both are copied; without memory all stays as it was. */
SMX_MUST_USE int alerts_configure(alerts *a, const char *url, const char *hostname);
/* What waits is not told any more; a request under way ends within a second. NULL is nothing. */
void alerts_free(alerts *a);

/* Any thread; never waits. `until` is of the monotonic clock; 0: not known. NULL is nothing. */
void alerts_send(alerts *a, alert_event event, const char *upstream, smx_slice reason,
                 uint64_t until);

#endif
