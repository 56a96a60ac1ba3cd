/* Which route a message takes: the first whose match holds, else the user's own plan (DESIGN 4.5).
 *
 * Recipients of one transaction share a route. While its header section and size are unknown a route
 * may be still open; recipients go together when whatever comes leads both to the same one.
 */
#ifndef MUX_ROUTE_H
#define MUX_ROUTE_H

#include "mux/match.h"
#include "mux/mux.h"

/* Index of "no route: the user's own plan". */
#define MUX_ROUTE_NONE SIZE_MAX

mux_fit mux_route_eval(const mux_route_options *route, const mux_facts *facts);

/* The route of a message of which all is known; MUX_ROUTE_NONE. */
size_t mux_route_find(const mux_options *options, const mux_facts *facts);

/* The first route from `from` on that the message may take: its index and MAYBE or YES in *fit, or
 * MUX_ROUTE_NONE. Behind a YES there are no others. */
size_t mux_route_possible(const mux_options *options, const mux_facts *facts, size_t from,
                          mux_fit *fit);

/* True if two recipients take the same route whatever the unknown facts are. */
bool mux_route_is_shared(const mux_options *options, const mux_facts *a, const mux_facts *b);

/* The plan of a user's messages on this route: its own keys, and the user's where it has none. NULL: no
 * route. */
void mux_route_plan(const mux_user_options *user, const mux_route_options *route, mux_plan *plan);

/* What is known before the message is there, of its first recipient. */
mux_facts mux_facts_of_envelope(const smx_session_view *session, const smx_envelope *envelope,
                                uint64_t started);

/* ---- a recipient that comes behind others (route_hook.c) ---- */

/* What is to be said to it, a constant; code 0: it is welcome. `first` and `next` are the same but for
 * the recipient, and know the envelope only. */
smx_reply mux_route_refuse_recipient(const mux_options *options, const mux_user_options *user,
                                     const mux_facts *first, const mux_facts *next);

/* 452 4.5.3: what it is told that takes another route. */
smx_reply mux_route_other_route(void);

/* Asks the above at RCPT. The options must outlive the hook. */
void mux_route_hook_init(smx_hook *hook, const mux_options *options);

#endif
