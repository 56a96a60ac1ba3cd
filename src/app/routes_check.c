/* What can be said of routes only when users and routes are all read: those that no message takes, those
 * at which messages split, and those that cut-through cannot wait for. */
#include "app/nearest.h"
#include "app/parts.h"
#include "mux/route.h"

/* What is known of every message of this user. */
static mux_facts facts_of(const mux_user_options *user)
{
    return (mux_facts){.known = MUX_FACT_USER, .user = user->user.name};
}

/* The first user whose messages may take it: the user's index, or user_count. */
static size_t first_user_of(const mux_options *options, size_t route, size_t from)
{
    for (size_t i = from; i < options->user_count; i++) {
        const mux_facts facts = facts_of(&options->users[i]);
        mux_fit fit = MUX_MAYBE;
        size_t at = 0;
        for (; at < route && fit == MUX_MAYBE; at++)
            fit = mux_route_eval(&options->routes[at], &facts) == MUX_YES ? MUX_YES : MUX_MAYBE;
        if (fit == MUX_MAYBE && mux_route_eval(&options->routes[route], &facts) != MUX_NO)
            return i;
    }
    return options->user_count;
}

static unsigned route_facts(const mux_route_options *route)
{
    return route->match == NULL ? 0 : mux_match_facts(route->match);
}

static int64_t offset_in(const yaml_entry *at, const char *key)
{
    const yaml_entry *entry = yaml_find(at->value, slice_of_text(key));
    return entry == NULL ? at->offset : entry->offset;
}

/* ---- who is meant ---- */

static bool names_user(const config *c, smx_slice glob)
{
    for (size_t i = 0; i < c->user_count; i++) {
        if (slice_matches_glob(c->users[i].user.name, glob))
            return true;
    }
    return false;
}

static void check_user_pattern(config_reader *reader, size_t route, smx_slice glob)
{
    const config *c = reader->config;
    nearest near = nearest_begin(glob);
    if (glob.len == 0 || names_user(c, glob))
        return;
    for (size_t i = 0; i < c->user_count; i++)
        nearest_try(&near, c->users[i].user.name.len == 0 ? "" : c->users[i].user.name.data);
    problems_warn(reader->problems, offset_in(reader->route_entries[route], "match"),
                  "no user is called `%s`%s%s%s", glob.data,
                  near.best == NULL ? "" : "; did you mean `", near.best == NULL ? "" : near.best,
                  near.best == NULL ? "" : "`?");
}

static void check_user_patterns(config_reader *reader, size_t route, const mux_match *match)
{
    for (size_t i = 0; i < match->count; i++) {
        const mux_condition *condition = &match->conditions[i];
        for (size_t k = 0; condition->word == MUX_WORD_USER && k < condition->pattern_count; k++)
            check_user_pattern(reader, route, condition->patterns[k].text);
        if (condition->word == MUX_WORD_NOT)
            check_user_patterns(reader, route, condition->nested);
    }
}

/* ---- routes that no message takes ---- */

static void check_reachable(config_reader *reader, const mux_options *options, size_t route)
{
    for (size_t i = 0; i < route; i++) {
        if (mux_match_implies(options->routes[route].match, options->routes[i].match)) {
            problems_warn(reader->problems, reader->route_entries[route]->offset,
                          "no message comes to this route: what it matches, `%s` takes first",
                          options->routes[i].name);
            return;
        }
    }
}

/* ---- messages that split ---- */

/* Once for each route, with the first of the users in whose name it happens. */
static void check_split(config_reader *reader, const mux_options *options, size_t route)
{
    if ((route_facts(&options->routes[route]) & MUX_FACT_RECIPIENT) == 0)
        return;
    for (size_t user = 0; user < options->user_count; user++) {
        mux_plan plan;
        user = first_user_of(options, route, user);
        if (user == options->user_count)
            return;
        mux_route_plan(&options->users[user], &options->routes[route], &plan);
        if (plan.mixed_routes == MUX_MIXED_FIRST)
            continue;
        problems_warn(
            reader->problems, offset_in(reader->route_entries[route], "match"),
            "recipients of one message may take different routes here: those that do not go "
            "with the first one are answered 452 4.5.3 and must be sent separately; "
            "`mixed_routes: first` lets them all go the first one's way");
        return;
    }
}

/* ---- cut-through ---- */

/* The first route that this user's messages may take, up to `last`, which looks at the message; or
 * MUX_ROUTE_NONE. */
static size_t late_route(const mux_options *options, const mux_user_options *user, size_t last)
{
    const mux_facts facts = facts_of(user);
    mux_fit fit = MUX_NO;
    for (size_t from = 0; fit != MUX_YES; from++) {
        from = mux_route_possible(options, &facts, from, &fit);
        if (from == MUX_ROUTE_NONE || (last != MUX_ROUTE_NONE && from > last))
            return MUX_ROUTE_NONE;
        if ((route_facts(&options->routes[from]) & MUX_FACTS_MESSAGE) != 0)
            return from;
    }
    return MUX_ROUTE_NONE;
}

static bool is_without_route(const mux_options *options, const mux_user_options *user)
{
    const mux_facts facts = facts_of(user);
    for (size_t i = 0; i < options->route_count; i++) {
        if (mux_route_eval(&options->routes[i], &facts) == MUX_YES)
            return false;
    }
    return true;
}

static void tell_late(config_reader *reader, const yaml_entry *at, const mux_options *options,
                      size_t late)
{
    unsigned facts = route_facts(&options->routes[late]) & MUX_FACTS_MESSAGE;
    problems_error(reader->problems, offset_in(at, "delivery"),
                   "`delivery: cut-through` needs the route before the message is there, and `%s` "
                   "matches on `%s`: its routes may match on the envelope only",
                   options->routes[late].name, (facts & MUX_FACT_HEADER) != 0 ? "header" : "size");
}

static void check_cut_through_route(config_reader *reader, const mux_options *options, size_t route)
{
    for (size_t user = 0; user < options->user_count; user++) {
        mux_plan plan;
        user = first_user_of(options, route, user);
        if (user == options->user_count)
            return;
        mux_route_plan(&options->users[user], &options->routes[route], &plan);
        size_t late = late_route(options, &options->users[user], route);
        if (plan.delivery == MUX_CUT_THROUGH && late != MUX_ROUTE_NONE) {
            tell_late(reader, reader->route_entries[route], options, late);
            return;
        }
    }
}

static void check_cut_through_user(config_reader *reader, const mux_options *options, size_t user)
{
    const mux_user_options *u = &options->users[user];
    size_t late = late_route(options, u, MUX_ROUTE_NONE);
    if (u->plan.delivery == MUX_CUT_THROUGH && late != MUX_ROUTE_NONE &&
        is_without_route(options, u))
        tell_late(reader, reader->user_entries[user], options, late);
}

/* Nothing is judged of a file with errors: half of a match says another thing than the whole. */
void routes_check(config_reader *reader)
{
    const mux_options options = config_mux_options(reader->config);
    if (reader->problems->errors > 0)
        return;
    for (size_t i = 0; i < options.route_count; i++) {
        check_user_patterns(reader, i, options.routes[i].match);
        check_reachable(reader, &options, i);
        check_split(reader, &options, i);
        check_cut_through_route(reader, &options, i);
    }
    for (size_t i = 0; i < options.user_count; i++)
        check_cut_through_user(reader, &options, i);
}
