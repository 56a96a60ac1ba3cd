/* One snapshot at work: its users and routes, each with its plan and its turn, and the records of its
 * upstreams. */
#include <stdlib.h>

#include "base/clock.h"
#include "mux/mux_internal.h"
#include "mux/route.h"

static quota *mux_quota(const mux_allowance *allowance)
{
    return allowance == NULL ? NULL : allowance->quota;
}

static int mux_fill_upstreams(mux *m)
{
    m->upstreams = calloc(m->options->upstream_count + 1, sizeof(upstream *));
    if (m->upstreams == NULL)
        return SMX_E_NOMEM;
    for (size_t i = 0; i < m->options->upstream_count; i++) {
        int error = mux_state_upstream(m->state, &m->options->upstreams[i], &m->upstreams[i]);
        if (error != 0)
            return error;
    }
    return 0;
}

static int mux_fill_users(mux *m)
{
    m->users = calloc(m->options->user_count + 1, sizeof(mux_user));
    if (m->users == NULL)
        return SMX_E_NOMEM;
    for (size_t i = 0; i < m->options->user_count; i++) {
        mux_user_options *options = &m->options->users[i];
        mux_user *user = &m->users[i];
        user->options = options;
        options->user.data = user;
        int error = mux_state_turn(m->state, "user", options->user.name, &options->plan,
                                   m->options->upstreams, &user->turn);
        if (error == 0)
            error = mux_state_allowance(m->state, "user", options->user.name, &options->plan,
                                        &user->allowance);
        if (error == 0)
            error = map_put(&m->by_name, options->user.name, &options->user);
        if (error != 0)
            return error;
    }
    return 0;
}

static int mux_fill_routes(mux *m)
{
    m->routes = calloc(m->options->route_count + 1, sizeof(mux_route));
    if (m->routes == NULL)
        return SMX_E_NOMEM;
    for (size_t i = 0; i < m->options->route_count; i++) {
        const mux_route_options *options = &m->options->routes[i];
        m->routes[i].options = options;
        int error = mux_state_turn(m->state, "route", slice_of_text(options->name), &options->plan,
                                   m->options->upstreams, &m->routes[i].turn);
        if (error == 0)
            error = mux_state_allowance(m->state, "route", slice_of_text(options->name),
                                        &options->plan, &m->routes[i].allowance);
        if (error != 0)
            return error;
    }
    return 0;
}

int mux_new(const mux_options *options, mux_state *state, mux **out)
{
    mux *m = calloc(1, sizeof(*m));
    if (m == NULL)
        return SMX_E_NOMEM;
    m->options = options;
    m->state = state;
    int error = mux_fill_upstreams(m);
    if (error == 0)
        error = mux_fill_users(m);
    if (error == 0)
        error = mux_fill_routes(m);
    if (error != 0) {
        mux_free(m);
        return error;
    }
    *out = m;
    return 0;
}

int mux_read_authorities(mux *m)
{
    for (size_t i = 0; i < m->options->upstream_count; i++) {
        const upstream_options *o = &m->options->upstreams[i];
        if (o->tls != SMX_TLS_OFF && o->ca_file == NULL)
            return mux_state_authorities(m->state, &m->authorities);
    }
    return 0;
}

/* Without memory the old limits go on. */
static void mux_activate_allowance(const mux_allowance *allowance, const mux_plan *plan)
{
    if (allowance == NULL)
        return;
    int error =
        quota_set_limits(allowance->quota, plan->limits.items, plan->limits.count, clock_wall_ms());
    (void)error;
}

void mux_activate(mux *m)
{
    for (size_t i = 0; i < m->options->upstream_count; i++)
        upstream_configure(m->upstreams[i], &m->options->upstreams[i]);
    for (size_t i = 0; i < m->options->user_count; i++)
        mux_activate_allowance(m->users[i].allowance, &m->users[i].options->plan);
    for (size_t i = 0; i < m->options->route_count; i++)
        mux_activate_allowance(m->routes[i].allowance, &m->routes[i].options->plan);
}

static void mux_free_route(mux *m, const mux_route *route)
{
    mux_state_release_turn(m->state, route->turn);
    mux_state_release_allowance(m->state, route->allowance);
}

static void mux_free_user(mux *m, const mux_user *user)
{
    mux_state_release_turn(m->state, user->turn);
    mux_state_release_allowance(m->state, user->allowance);
}

void mux_free(mux *m)
{
    if (m == NULL)
        return;
    for (size_t i = 0; m->routes != NULL && i < m->options->route_count; i++)
        mux_free_route(m, &m->routes[i]);
    for (size_t i = 0; m->users != NULL && i < m->options->user_count; i++)
        mux_free_user(m, &m->users[i]);
    for (size_t i = 0; m->upstreams != NULL && i < m->options->upstream_count; i++)
        mux_state_release_upstream(m->state, m->upstreams[i]);
    tls_authorities_free(m->authorities);
    map_free(&m->by_name);
    free(m->routes);
    free(m->users);
    free(m->upstreams);
    free(m);
}

const smx_user *mux_find_user(void *arg, smx_slice name)
{
    const mux *m = arg;
    return map_get(&m->by_name, name);
}

size_t mux_upstream_count(const mux *m)
{
    return m->options->upstream_count;
}

upstream *mux_upstream(mux *m, size_t index)
{
    return m->upstreams[index];
}

const upstream_options *mux_upstream_options(const mux *m, size_t index)
{
    return &m->options->upstreams[index];
}

size_t mux_route_count(const mux *m)
{
    return m->options->route_count;
}

const char *mux_route_name(const mux *m, size_t index)
{
    return m->options->routes[index].name;
}

quota *mux_route_quota(const mux *m, size_t index)
{
    return mux_quota(m->routes[index].allowance);
}

const char *mux_outcome_text(mux_outcome outcome)
{
    static const char *const texts[] = {
#define OUTCOME_TEXT(name, text) [MUX_OUTCOME_##name] = (text),
        MUX_OUTCOME_MAP(OUTCOME_TEXT)
#undef OUTCOME_TEXT
    };
    return texts[outcome];
}

/* ---- plans ---- */

void mux_resolve(const mux_user *user, const mux_route *route, mux_resolved *resolved)
{
    mux_route_plan(user->options, route == NULL ? NULL : route->options, &resolved->plan);
    resolved->turn = route == NULL ? &user->turn->turn : &route->turn->turn;
    resolved->route = route == NULL ? "user" : route->options->name;
    resolved->taken = route;
    resolved->quotas[0] = mux_quota(user->allowance);
    resolved->quotas[1] = route == NULL ? NULL : mux_quota(route->allowance);
}

static smx_slice mux_hash_key(const mux_plan *plan, smx_slice user, const smx_envelope *envelope)
{
    switch (plan->hash_by) {
    case MUX_HASH_SENDER:
        return envelope->mail.path.mailbox;
    case MUX_HASH_RECIPIENT:
        return envelope->recipient_count == 0 ? (smx_slice){NULL, 0}
                                              : envelope->recipients[0].path.mailbox;
    case MUX_HASH_USER:
        break;
    }
    return user;
}

void mux_select(const mux *m, const mux_resolved *resolved, uint64_t random, smx_slice user,
                const smx_envelope *envelope, size_t *order)
{
    const mux_selection selection = {
        .plan = &resolved->plan,
        .turn = resolved->turn,
        .random = random,
        .key = mux_hash_key(&resolved->plan, user, envelope),
        .upstreams = m->upstreams,
    };
    resolved->plan.selector->order(&selection, order);
}
