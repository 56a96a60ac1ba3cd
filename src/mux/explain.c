/* What would become of a message (see explain.h): the parts of the answer. */
#include "mux/explain.h"

#include <stdio.h>

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

/* *accepted: how many recipients are left for a delivery. */
static int explain_envelope(const mux *m, const explain_query *query, bool is_cut_through,
                            json_t *replies, size_t *accepted)
{
    bool is_refused = !allow_from_permits(&query->user->options->user, query->sender);
    int error =
        add_reply(replies, "MAIL FROM", &query->sender,
                  is_refused ? &SMX_REPLY(550, 5, 7, 1, "you may not send from this address")
                             : &SMX_REPLY(250, 2, 1, 0, "ok"));
    *accepted = 0;
    for (size_t i = 0; !is_refused && error == 0 && i < json_array_size(query->recipients); i++) {
        smx_slice recipient = explain_query_recipient(query, i);
        smx_reply reply = reply_to_recipient(m->options, query, i, is_cut_through);
        error = add_reply(replies, "RCPT TO", &recipient, &reply);
        *accepted += reply.code < 400;
    }
    return error;
}

/* ---- the reply to the message ---- */

static int add_limit(json_t *replies, const quota_verdict *verdict)
{
    bool never = verdict->state == QUOTA_TOO_BIG;
    char text[QUOTA_TEXT + 64];
    smx_reply reply = never ? SMX_REPLY(550, 5, 7, 1, "") : SMX_REPLY(450, 4, 7, 1, "");
    int len = snprintf(text, sizeof(text), "%s: %s",
                       never ? "more recipients than your limit allows" : "your limit is used up",
                       verdict->why);
    reply.text = slice_of(text, len < 0 ? 0 : (size_t)len);
    return add_reply(replies, "the message", NULL, &reply);
}

/* A user's or a route's own limit is asked first, and paces nothing. */
static int explain_limits(const mux_resolved *with, size_t recipients, explain_clock clock,
                          json_t *replies, bool *is_refused)
{
    int error = 0;
    *is_refused = false;
    for (size_t i = 0; i < MUX_QUOTAS && !*is_refused; i++) {
        quota_verdict verdict = {.state = QUOTA_OK};
        if (with->quotas[i] != NULL)
            verdict = quota_look(with->quotas[i], clock.wall_ms, recipients);
        *is_refused = verdict.state != QUOTA_OK;
        if (*is_refused)
            error = add_limit(replies, &verdict);
    }
    return error;
}

/* What a delivery says that was refused for good by all: what the first one said. */
static int add_rejection(json_t *replies, const json_t *upstreams, const smx_reply *refusal)
{
    buffer text = {0};
    smx_reply reply = *refusal;
    const json_t *first = json_object_get(json_array_get(upstreams, 0), "name");
    int error = buffer_printf(&text, "%s: %.*s", json_string_value(first), (int)refusal->text.len,
                              refusal->text.data);
    reply.text = buffer_slice(&text);
    if (error == 0)
        error = add_reply(replies, "the message", NULL, &reply);
    buffer_free(&text);
    return error;
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

/* Fields that are not told are not judged. */
static bool has_refused_from(const explain_query *query)
{
    return (query->facts.known & MUX_FACT_HEADER) != 0 &&
           !allow_from_permits_header(&query->user->options->user, query->facts.header,
                                      query->scratch);
}

/* What comes behind the envelope. */
static int explain_delivery(const mux *m, const explain_query *query, const mux_resolved *with,
                            explain_clock clock, size_t recipients, json_t *answer)
{
    bool is_refused;
    json_t *replies = json_object_get(answer, "replies");
    json_t *upstreams = json_object_get(answer, "upstreams");
    smx_reply refusal = {0};
    if (has_refused_from(query))
        return add_reply(replies, "the message", NULL,
                         &SMX_REPLY(550, 5, 7, 1, "you may not send with this From field"));
    int error = explain_limits(with, recipients, clock, replies, &is_refused);
    if (error != 0 || is_refused)
        return error;
    error = explain_order(m, query, with, clock, recipients, upstreams, &refusal);
    if (error != 0 || explain_is_any_usable(upstreams))
        return error;
    return refusal.code != 0 ? add_rejection(replies, upstreams, &refusal)
                             : add_refusal(replies, upstreams);
}

static int explain_all(mux *m, const explain_query *query, explain_clock clock, json_t *answer)
{
    size_t taken;
    size_t accepted = 0;
    bool depends;
    mux_resolved with;
    int error = json_object_set_new(answer, "routes",
                                    explain_routes(m->options, &query->facts, &taken, &depends));
    error |= json_object_set_new(answer, "depends", json_boolean(depends));
    mux_resolve(query->user, taken == MUX_ROUTE_NONE ? NULL : &m->routes[taken], &with);
    error |= explain_plan(&with, answer);
    error |= explain_envelope(m, query, with.plan.delivery == MUX_CUT_THROUGH,
                              json_object_get(answer, "replies"), &accepted);
    if (error == 0 && accepted > 0)
        error = explain_delivery(m, query, &with, clock, accepted, answer);
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
        error = made == NULL ? SMX_E_NOMEM
                             : explain_all(m, &query, (explain_clock){now, wall_ms}, made);
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
