/* Finding the route of a message, and whether two recipients share one (see route.h). Pure. */
#include "mux/route.h"

mux_fit mux_route_eval(const mux_route_options *route, const mux_facts *facts)
{
    return route->match == NULL ? MUX_YES : mux_match_eval(route->match, facts);
}

size_t mux_route_possible(const mux_options *options, const mux_facts *facts, size_t from,
                          mux_fit *fit)
{
    for (size_t i = from; i < options->route_count; i++) {
        mux_fit found = mux_route_eval(&options->routes[i], facts);
        if (found == MUX_NO)
            continue;
        *fit = found;
        return i;
    }
    return MUX_ROUTE_NONE;
}

size_t mux_route_find(const mux_options *options, const mux_facts *facts)
{
    for (size_t i = 0; i < options->route_count; i++) {
        if (mux_route_eval(&options->routes[i], facts) == MUX_YES)
            return i;
    }
    return MUX_ROUTE_NONE;
}

bool mux_route_is_shared(const mux_options *options, const mux_facts *a, const mux_facts *b)
{
    for (size_t from = 0; from < options->route_count;) {
        mux_fit fit = MUX_NO;
        mux_fit other_fit = MUX_NO;
        size_t route = mux_route_possible(options, a, from, &fit);
        size_t other = mux_route_possible(options, b, from, &other_fit);
        if (route != other || fit != other_fit)
            return false;
        if (route == MUX_ROUTE_NONE || fit == MUX_YES)
            return true;
        if (!mux_match_is_alike(options->routes[route].match, a, b))
            return false;
        from = route + 1;
    }
    return true;
}

void mux_route_plan(const mux_user_options *user, const mux_route_options *route, mux_plan *plan)
{
    if (route == NULL) {
        *plan = user->plan;
        return;
    }
    *plan = route->plan;
#define ROUTE_INHERIT(field, name)                                                                 \
    if ((route->given & 1U << MUX_PLAN_BIT_##field) == 0)                                          \
        plan->field = user->plan.field;
    MUX_PLAN_INHERIT_MAP(ROUTE_INHERIT)
#undef ROUTE_INHERIT
}
