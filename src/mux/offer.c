/* What a listener offers beside what is always ours (DESIGN 4.14): SMTPUTF8, DSN and REQUIRETLS, each
 * only if every plan that its users' messages may take has an upstream known to offer it. Unknown
 * means no. Worked out at most once a second for each listener and worker. */
#include <stdlib.h>

#include "mux/mux_internal.h"

enum { OFFER_FRESH_MS = 1000 };

static const smx_extensions offer_conditional = SMX_EXT_SMTPUTF8 | SMX_EXT_DSN | SMX_EXT_REQUIRETLS;

/* What some upstream of the plan takes. */
static smx_extensions offer_of_plan(const mux *m, const mux_plan *plan)
{
    smx_extensions offered = 0;
    for (size_t i = 0; i < plan->choice_count; i++) {
        size_t index = plan->choices[i].upstream;
        offered |=
            upstream_known(m->upstreams[index], &m->options->upstreams[index], NULL).extensions;
    }
    return offered;
}

static bool offer_is_trusted(const smx_listener_options *listener, smx_slice user)
{
    for (size_t i = 0; i < listener->trust_count; i++)
        if (slice_equal(listener->trust[i].user, user))
            return true;
    return false;
}

static smx_extensions offer_work_out(const mux *m, const smx_listener_options *listener)
{
    smx_extensions offered = offer_conditional;
    for (size_t i = 0; i < m->options->route_count && offered != 0; i++)
        offered &= offer_of_plan(m, &m->options->routes[i].plan);
    for (size_t i = 0; i < m->options->user_count && offered != 0; i++) {
        const mux_user_options *user = &m->options->users[i];
        if (listener->auth != SMX_AUTH_OFF || offer_is_trusted(listener, user->user.name))
            offered &= offer_of_plan(m, &user->plan);
    }
    return offered;
}

static mux_offered *offer_entry(mux_worker *worker, const smx_listener_options *listener)
{
    for (size_t i = 0; i < MUX_OFFERS; i++) {
        mux_offered *entry = &worker->offers[i];
        if (entry->listener == NULL)
            entry->listener = listener;
        if (entry->listener == listener)
            return entry;
    }
    return NULL;
}

smx_extensions mux_offer(void *arg, const smx_listener_options *listener)
{
    mux_worker *worker = arg;
    uint64_t now = loop_now(worker->loop);
    mux_offered *entry = offer_entry(worker, listener);
    if (entry == NULL) /* more listeners than there is room for */
        return offer_work_out(worker->mux, listener);
    if (entry->worked_out == 0 || now - entry->worked_out >= OFFER_FRESH_MS) {
        entry->offered = offer_work_out(worker->mux, listener);
        entry->worked_out = now;
    }
    return entry->offered;
}
