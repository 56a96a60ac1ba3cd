/* Why a message goes where it goes: the routes with what fits and what does not, the upstreams in the
 * order in which they would be tried, and what the client would be told. Nothing is sent, and nothing
 * changes: no selector's turn is used up, no breaker is asked for its probe.
 *
 * The question: {"user", "from" ("" or "<>" for the empty sender), "to": [...], and where known
 * "headers": ["X: y", ...], "size", "client", "time": "2026-01-31 09:00" (UTC), "8bit": true if the
 * client says BODY=8BITMIME, "smtputf8": true (as it is if an address is not ASCII)}. The answer:
 *
 *     {"user", "from", "to", "time",
 *      "replies": [{"to": "RCPT TO:<...>", "code", "enhanced", "text"}],
 *      "routes": [{"name", "fits": "yes"|"no"|"maybe"|"not asked", "conditions": [
 *          {"word", "field", "wants": [...], "has": [...], "fits"}, {"word": "not", "of": [...]}]}],
 *      "route", "depends": true if another one may be taken still,
 *      "selector", "delivery", "deadline_ms",
 *      "upstreams": [{"name", "usable", "reason", "until", "seconds"}]}
 */
#ifndef MUX_EXPLAIN_H
#define MUX_EXPLAIN_H

#include <jansson.h>

#include "base/buffer.h"
#include "mux/mux.h"

/* The moments are those of the monotonic clock and of the wall clock. The answer is the caller's.
 * SMX_E_INVALID or SMX_E_NOTFOUND: the problem says what is wrong with the question. SMX_E_NOMEM. Any
 * thread. */
SMX_MUST_USE int mux_explain(mux *m, const json_t *question, uint64_t now, uint64_t wall_ms,
                             json_t **answer, problem *p);

/* The answer for a person. SMX_E_NOMEM. */
SMX_MUST_USE int mux_explain_write(const json_t *answer, buffer *out);

#endif
