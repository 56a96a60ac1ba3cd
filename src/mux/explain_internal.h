/* Inside of explain: the question as values. */
#ifndef MUX_EXPLAIN_INTERNAL_H
#define MUX_EXPLAIN_INTERNAL_H

#include "mux/explain.h"
#include "mux/mux_internal.h"
#include "mux/route.h"

/* Strings are the question's, which must live as long; what is written together is `memory`'s. */
typedef struct explain_query {
    const mux_user *user;
    smx_slice sender; /* empty: `<>` */
    const json_t *recipients;
    mux_facts facts; /* of the first recipient; `known` says what was told */
    upstream_needs needs;
    buffer header;
    char *scratch;
} explain_query;

/* explain_query.c. `query` must be freed whatever comes back. */
SMX_MUST_USE int explain_query_read(mux *m, const json_t *question, uint64_t wall_ms,
                                    explain_query *query, problem *p);
void explain_query_free(explain_query *query);
/* The text of a recipient; the first is 0. */
smx_slice explain_query_recipient(const explain_query *query, size_t nth);

/* explain_routes.c: "routes", and the index of the route that is taken as far as is known (or
 * MUX_ROUTE_NONE); *depends: an earlier one may be taken still. NULL: no memory. */
json_t *explain_routes(const mux_options *options, const mux_facts *facts, size_t *taken,
                       bool *depends);

/* When the question is asked, whatever moment it is about. */
typedef struct explain_clock {
    uint64_t now; /* of the monotonic clock */
    uint64_t wall_ms;
} explain_clock;

/* explain_upstreams.c: "upstreams", for a message with so many recipients. *refusal: of the first one,
 * if every one is known to be unable to take it; else its code is 0. */
SMX_MUST_USE int explain_order(const mux *m, const explain_query *query, const mux_resolved *with,
                               explain_clock clock, size_t recipients, json_t *upstreams,
                               smx_reply *refusal);
bool explain_is_any_usable(const json_t *upstreams);

#endif
