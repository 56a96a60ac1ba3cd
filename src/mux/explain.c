/* What would become of a message (see explain.h): the parts of the answer. */
#include "mux/explain.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "middleware/middleware.h"
#include "mux/explain_internal.h"

enum { DEADLINE_DEFAULT_MS = 30000 };

/* ---- what the client would be told ---- */

/* `path` NULL: the command has none. Code 0: the upstream's own reply, which nobody knows before. */
static int add_reply(json_t *replies, const char *command, const smx_slice *path,
                     const smx_reply *reply)
{
    char to[SMX_PATH_MAX + 64];
    char enhanced[24];
    if (path == NULL)
        (void)snprintf(to, sizeof(to), "%s", command);
    else
        (void)snprintf(to, sizeof(to), "%s:<%.*s>", command, (int)path->len, path->data);
    if (reply->code == 0)
        return json_array_append_new(replies, json_pack("{s:s}", "to", to));
    (void)snprintf(enhanced, sizeof(enhanced), "%u.%u.%u", reply->enhanced.class_digit,
                   reply->enhanced.subject, reply->enhanced.detail);
    return json_array_append_new(replies, json_pack("{s:s, s:i, s:s, s:s%}", "to", to, "code",
                                                    (int)reply->code, "enhanced", enhanced, "text",
                                                    reply->text.data, reply->text.len));
}

/* Each recipient behind the first one by what is known when it comes. */
static smx_reply reply_to_recipient(const mux_options *options, const explain_query *query,
                                    size_t nth, bool is_cut_through)
{
    mux_facts first = query->facts;
    first.known &= MUX_FACTS_ENVELOPE;
    mux_facts next = first;
    next.recipient = explain_query_recipient(query, nth);
    smx_reply refusal = {.code = 0};
    if (nth > 0)
        refusal = mux_route_refuse_recipient(options, query->user->options, &first, &next);
    if (refusal.code != 0 || is_cut_through)
        return refusal;
    return SMX_REPLY(250, 2, 1, 5, "ok");
}

/* *is_refused: the message would not come to a delivery. */
static int explain_envelope(const mux *m, const explain_query *query, bool is_cut_through,
                            json_t *replies, bool *is_refused)
{
    *is_refused = !allow_from_permits(&query->user->options->user, query->sender);
    int error =
        add_reply(replies, "MAIL FROM", &query->sender,
                  *is_refused ? &SMX_REPLY(550, 5, 7, 1, "you may not send from this address")
                              : &SMX_REPLY(250, 2, 1, 0, "ok"));
    for (size_t i = 0; !*is_refused && error == 0 && i < json_array_size(query->recipients); i++) {
        smx_slice recipient = explain_query_recipient(query, i);
        smx_reply reply = reply_to_recipient(m->options, query, i, is_cut_through);
        error = add_reply(replies, "RCPT TO", &recipient, &reply);
    }
    return error;
}

/* ---- upstreams ---- */

/* Why it would be skipped, or NULL. */
static const char *reason_to_skip(const upstream_status *status)
{
    switch (status->usable) {
    case UPSTREAM_SUSPENDED:
        return "suspended";
    case UPSTREAM_BREAKER_OPEN:
        return "its breaker is open";
    case UPSTREAM_USABLE:
        break;
    }
    return NULL;
}

static json_t *explain_upstream(upstream *u, uint64_t now, uint64_t wall_ms,
                                upstream_status *status)
{
    char until[CLOCK_TEXT];
    upstream_get_status(u, now, status);
    const char *reason = reason_to_skip(status);
    json_t *one = json_pack("{s:s, s:b}", "name", upstream_name(u), "usable", reason == NULL);
    if (one == NULL || reason == NULL)
        return one;
    int error = json_object_set_new(one, "reason", json_string(reason));
    if (status->until > now) {
        smx_slice text = clock_rfc3339(wall_ms + (status->until - now), until);
        error |= json_object_set_new(one, "until", json_stringn(text.data, text.len));
        error |= json_object_set_new(
            one, "seconds", json_integer((json_int_t)((status->until - now + 999) / 1000)));
    }
    if (error == 0)
        return one;
    json_decref(one);
    return NULL;
}

/* The order of the next message; a copy of the turn is used up. */
static void order_of(const mux *m, const explain_query *query, const mux_resolved *with,
                     size_t *order)
{
    mux_turn turn = {.index = atomic_load(&with->turn->index),
                     .sequence = with->turn->sequence,
                     .sequence_length = with->turn->sequence_length};
    mux_resolved copy = *with;
    const smx_rcpt first = {.path.mailbox = query->facts.recipient};
    const smx_envelope envelope = {
        .mail.path.mailbox = query->sender, .recipients = &first, .recipient_count = 1};
    copy.turn = &turn;
    mux_select(m, &copy, turn.index * 0x9e3779b97f4a7c15ULL + 1, query->facts.user, &envelope,
               order);
}

/* All are skipped, some for their breaker alone: the one whose pause ends first is tried all the same
 * (DESIGN 4.8). */
static void mark_last_resort(json_t *upstreams, size_t best)
{
    json_t *one = json_array_get(upstreams, best);
    (void)json_object_set_new(one, "usable", json_true());
    (void)json_object_set_new(one, "reason",
                              json_string("its breaker is open, but no other can be used"));
}

static int explain_order(const mux *m, const explain_query *query, const mux_resolved *with,
                         uint64_t now, json_t *upstreams)
{
    size_t count = with->plan.choice_count;
    size_t best = SIZE_MAX;
    uint64_t earliest = UINT64_MAX;
    bool is_usable = false;
    size_t *order = calloc(count + 1, sizeof(*order));
    int error = order == NULL ? SMX_E_NOMEM : 0;
    if (error == 0)
        order_of(m, query, with, order);
    for (size_t i = 0; i < count && error == 0; i++) {
        upstream_status status;
        upstream *u = m->upstreams[with->plan.choices[order[i]].upstream];
        json_t *one = explain_upstream(u, now, query->facts.wall_ms, &status);
        error = json_array_append_new(upstreams, one) == 0 ? 0 : SMX_E_NOMEM;
        is_usable = is_usable || status.usable == UPSTREAM_USABLE;
        if (status.usable == UPSTREAM_BREAKER_OPEN && status.until < earliest) {
            best = i;
            earliest = status.until;
        }
    }
    free(order);
    if (error == 0 && !is_usable && best != SIZE_MAX)
        mark_last_resort(upstreams, best);
    return error;
}

/* ---- the reply to the message ---- */

static bool is_any_usable(const json_t *upstreams)
{
    for (size_t i = 0; i < json_array_size(upstreams); i++) {
        if (json_is_true(json_object_get(json_array_get(upstreams, i), "usable")))
            return true;
    }
    return false;
}

/* What a delivery says that found nobody. */
static int add_refusal(json_t *replies, const json_t *upstreams)
{
    buffer text = {0};
    int error = buffer_append_text(&text, "no upstream took the message: ");
    for (size_t i = 0; i < json_array_size(upstreams) && error == 0; i++) {
        const json_t *one = json_array_get(upstreams, i);
        error = buffer_printf(&text, "%s%s: %s", i == 0 ? "" : "; ",
                              json_string_value(json_object_get(one, "name")),
                              json_string_value(json_object_get(one, "reason")));
    }
    smx_reply reply = SMX_REPLY(451, 4, 4, 1, "");
    reply.text = buffer_slice(&text);
    if (error == 0)
        error = add_reply(replies, "the message", NULL, &reply);
    buffer_free(&text);
    return error;
}

static int explain_plan(const mux_resolved *with, json_t *answer)
{
    const mux_plan *plan = &with->plan;
    uint32_t deadline = plan->deadline_ms == 0 ? DEADLINE_DEFAULT_MS : plan->deadline_ms;
    const char *delivery = plan->delivery == MUX_CUT_THROUGH ? "cut-through" : "after-data";
    int error = json_object_set_new(answer, "route", json_string(with->route));
    error |= json_object_set_new(answer, "selector", json_string(plan->selector->name));
    error |= json_object_set_new(answer, "delivery", json_string(delivery));
    error |= json_object_set_new(answer, "deadline_ms", json_integer(deadline));
    return error;
}

static json_t *begin_answer(const explain_query *query)
{
    char text[CLOCK_TEXT];
    smx_slice moment = clock_rfc3339(query->facts.wall_ms, text);
    return json_pack("{s:s%, s:s%, s:O, s:s%, s:[], s:[]}", "user", query->facts.user.data,
                     query->facts.user.len, "from", query->sender.data, query->sender.len, "to",
                     query->recipients, "time", moment.data, moment.len, "replies", "upstreams");
}

static int explain_all(mux *m, const explain_query *query, uint64_t now, json_t *answer)
{
    size_t taken;
    bool depends;
    bool is_refused;
    mux_resolved with;
    json_t *replies = json_object_get(answer, "replies");
    json_t *upstreams = json_object_get(answer, "upstreams");
    int error = json_object_set_new(answer, "routes",
                                    explain_routes(m->options, &query->facts, &taken, &depends));
    error |= json_object_set_new(answer, "depends", json_boolean(depends));
    mux_resolve(query->user, taken == MUX_ROUTE_NONE ? NULL : &m->routes[taken], &with);
    error |= explain_plan(&with, answer);
    error |=
        explain_envelope(m, query, with.plan.delivery == MUX_CUT_THROUGH, replies, &is_refused);
    if (error == 0 && !is_refused)
        error = explain_order(m, query, &with, now, upstreams);
    if (error == 0 && !is_refused && !is_any_usable(upstreams))
        error = add_refusal(replies, upstreams);
    return error == 0 ? 0 : SMX_E_NOMEM;
}

int mux_explain(mux *m, const json_t *question, uint64_t now, uint64_t wall_ms, json_t **answer,
                problem *p)
{
    explain_query query;
    json_t *made = NULL;
    int error = explain_query_read(m, question, wall_ms, &query, p);
    if (error == 0) {
        made = begin_answer(&query);
        error = made == NULL ? SMX_E_NOMEM : explain_all(m, &query, now, made);
        if (error != 0)
            (void)problem_set(p, error, "out of memory");
    }
    explain_query_free(&query);
    if (error == 0)
        *answer = made;
    else
        json_decref(made);
    return error;
}
