/* What may be asked for: one line each, and what it does. */
#include <assert.h>
#include <stdlib.h>

#include "admin/admin_internal.h"
#include "admin/metrics.h"

#define TEXT_TYPE "text/plain; charset=utf-8"

/* ---- what is told ---- */

const char *admin_status_unready(const admin_status *status)
{
    if (!status->is_listening)
        return "it takes no connections: it drains, or it has not begun";
    for (size_t i = 0; i < status->upstream_count; i++) {
        if (status->upstreams[i].is_usable)
            return NULL;
    }
    /* A transparent proxy has none of these. */
    return status->upstream_count == 0 ? NULL : "no upstream is usable";
}

/* False: the answer says why. */
static bool take_status(admin_request *r, admin_status *status)
{
    const admin_options *o = &r->admin->options;
    int error = o->ops->status(o->arg, status);
    if (error == 0)
        return true;
    problem p = {""};
    arena_free(&status->memory);
    admin_answer_failure(&r->answer, error, &p, NULL);
    return false;
}

static void run_health(admin_request *r)
{
    admin_answer_text(&r->answer, 200, TEXT_TYPE, "ok\n");
}

static int write_unready(const admin_status *status, const char *why, buffer *out)
{
    int error = buffer_printf(out, "not ready: %s\n", why);
    for (size_t i = 0; i < status->upstream_count && error == 0; i++) {
        const admin_upstream *u = &status->upstreams[i];
        if (!u->is_usable)
            error = buffer_printf(out, "%s: %s%s%s\n", u->name, u->state,
                                  u->detail[0] == '\0' ? "" : ": ", u->detail);
    }
    return error;
}

static void run_ready(admin_request *r)
{
    admin_status status = {0};
    if (!take_status(r, &status))
        return;
    const char *why = admin_status_unready(&status);
    admin_answer_text(&r->answer, why == NULL ? 200 : 503, TEXT_TYPE, why == NULL ? "ready\n" : "");
    if (why != NULL && write_unready(&status, why, &r->answer.body) != 0)
        buffer_clear(&r->answer.body);
    arena_free(&status.memory);
}

static void run_metrics(admin_request *r)
{
    admin_status status = {0};
    if (!take_status(r, &status))
        return;
    admin_answer_text(&r->answer, 200, METRICS_TYPE, "");
    if (metrics_write(&status, &r->answer.body) != 0)
        admin_answer_text(&r->answer, 503, TEXT_TYPE, "out of memory\n");
    arena_free(&status.memory);
}

static void run_status(admin_request *r)
{
    admin_status status = {0};
    if (!take_status(r, &status))
        return;
    admin_answer_json(&r->answer, 200, admin_json_status(&status));
    arena_free(&status.memory);
}

static void run_upstreams(admin_request *r)
{
    admin_status status = {0};
    if (!take_status(r, &status))
        return;
    admin_answer_json(&r->answer, 200,
                      json_pack("{s:o}", "upstreams", admin_json_upstreams(&status)));
    arena_free(&status.memory);
}

/* ---- what is done ---- */

/* `error` NULL: there was no text to read. jansson tells of a lack of memory in no words, if at all. */
static int judge_body(const json_t *value, const json_error_t *error, problem *p)
{
    if (value != NULL)
        return problem_set(p, SMX_E_INVALID, "the body must be a JSON object");
    if (error == NULL || error->text[0] == '\0' ||
        json_error_code(error) == json_error_out_of_memory)
        return problem_set(p, SMX_E_NOMEM, "out of memory");
    return problem_set(p, SMX_E_SYNTAX, "the body is no JSON: %s (line %d)", error->text,
                       error->line);
}

/* The body as a JSON object; an empty body is an empty object. NULL: the answer says why. */
static json_t *take_body(admin_request *r)
{
    json_error_t error;
    smx_slice text = buffer_slice(&r->body);
    json_t *value = text.len == 0 ? json_object()
                                  : json_loadb(text.data, text.len, JSON_REJECT_DUPLICATES, &error);
    if (json_is_object(value))
        return value;
    problem p;
    int code = judge_body(value, text.len == 0 ? NULL : &error, &p);
    json_decref(value);
    admin_answer_failure(&r->answer, code, &p, NULL);
    return NULL;
}

/* Refuses words that nobody reads: a mistyped one must not be taken for none. */
static bool only_key(admin_request *r, const json_t *body, const char *key)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)body, name, value)
    {
        if (strcmp(name, key) == 0 && json_is_string(value))
            continue;
        problem p;
        int error =
            problem_set(&p, SMX_E_INVALID, "expected only \"%s\", a text; found \"%s\"", key, name);
        admin_answer_failure(&r->answer, error, &p, NULL);
        return false;
    }
    return true;
}

static bool is_possible(admin_request *r, bool is_there)
{
    if (!is_there)
        admin_answer_error(&r->answer, 501, "this daemon cannot do that");
    return is_there;
}

/* One upstream, as it is now. */
static void answer_upstream(admin_request *r)
{
    admin_status status = {0};
    if (!take_status(r, &status))
        return;
    json_t *all = admin_json_upstreams(&status);
    json_t *one;
    size_t i;
    if (all == NULL)
        admin_answer_json(&r->answer, 200, NULL);
    else
        admin_answer_error(&r->answer, 404, "no upstream is called so");
    json_array_foreach(all, i, one)
    {
        if (strcmp(json_string_value(json_object_get(one, "name")), r->name) == 0)
            admin_answer_json(&r->answer, 200, json_incref(one));
    }
    json_decref(all);
    arena_free(&status.memory);
}

static void answer_change(admin_request *r, int error, const problem *p)
{
    if (error == 0)
        answer_upstream(r);
    else
        admin_answer_failure(&r->answer, error, p, NULL);
}

static void run_suspend(admin_request *r)
{
    const admin_options *o = &r->admin->options;
    problem p = {""};
    json_t *body = is_possible(r, o->ops->suspend != NULL) ? take_body(r) : NULL;
    if (body != NULL && only_key(r, body, "for")) {
        const char *duration = json_string_value(json_object_get(body, "for"));
        answer_change(r, o->ops->suspend(o->arg, r->name, duration, &p), &p);
    }
    json_decref(body);
}

static void run_resume(admin_request *r)
{
    const admin_options *o = &r->admin->options;
    problem p = {""};
    if (is_possible(r, o->ops->resume != NULL))
        answer_change(r, o->ops->resume(o->arg, r->name, &p), &p);
}

static void answer_result(admin_request *r, int error, const problem *p, json_t *answer)
{
    if (error == 0)
        admin_answer_json(&r->answer, 200, answer);
    else
        admin_answer_failure(&r->answer, error, p, answer);
}

static void run_test(admin_request *r)
{
    const admin_options *o = &r->admin->options;
    problem p = {""};
    json_t *answer = NULL;
    if (!is_possible(r, o->ops->test != NULL))
        return;
    int error = o->ops->test(o->arg, r->name, &r->admin->stop, &answer, &p);
    answer_result(r, error, &p, answer);
}

static void run_explain(admin_request *r)
{
    const admin_options *o = &r->admin->options;
    problem p = {""};
    json_t *answer = NULL;
    json_t *body = is_possible(r, o->ops->explain != NULL) ? take_body(r) : NULL;
    if (body == NULL)
        return;
    int error = o->ops->explain(o->arg, body, &r->admin->stop, &answer, &p);
    answer_result(r, error, &p, answer);
    json_decref(body);
}

static void run_reload(admin_request *r)
{
    const admin_options *o = &r->admin->options;
    problem p = {""};
    json_t *answer = NULL;
    if (!is_possible(r, o->ops->reload != NULL))
        return;
    int error = o->ops->reload(o->arg, &r->admin->stop, &answer, &p);
    answer_result(r, error, &p, answer);
    if (error == SMX_E_SYNTAX)
        r->answer.status = 422;
}

/* ---- the table ---- */

/* clang-format off */
static const admin_route ROUTES[] = {
    {"GET",  "/healthz",                 run_health,    .is_open = true},
    {"GET",  "/readyz",                  run_ready,     .is_open = true},
    {"GET",  "/metrics",                 run_metrics,   .is_open = true},
    {"GET",  "/api/status",              run_status},
    {"GET",  "/api/upstreams",           run_upstreams},
    {"GET",  "/api/upstreams/?",         answer_upstream},
    {"POST", "/api/upstreams/?/suspend", run_suspend},
    {"POST", "/api/upstreams/?/resume",  run_resume},
    {"POST", "/api/upstreams/?/test",    run_test,      .is_slow = true},
    {"GET",  "/api/trace",               NULL,          .is_stream = true},
    {"POST", "/api/explain",             run_explain,   .is_slow = true},
    {"POST", "/api/reload",              run_reload,    .is_slow = true},
};
/* clang-format on */

enum { ROUTE_COUNT = sizeof(ROUTES) / sizeof(ROUTES[0]) };

/* Upstreams may have any name but the empty one: what stands between is it, slashes too. */
static bool path_matches(smx_slice path, const char *pattern, smx_slice *name)
{
    assert(pattern != NULL);
    smx_slice all = slice_of_text(pattern);
    size_t mark = slice_find(all, '?');
    *name = (smx_slice){NULL, 0};
    if (mark == all.len)
        return slice_equal(path, all);
    smx_slice before = slice_to(all, mark);
    smx_slice behind = slice_from(all, mark + 1);
    if (path.len <= before.len + behind.len || !slice_starts_with(path, before) ||
        !slice_equal(slice_from(path, path.len - behind.len), behind))
        return false;
    *name = slice_of(path.data + before.len, path.len - before.len - behind.len);
    return true;
}

bool admin_route_is_open(const char *path)
{
    smx_slice name;
    for (size_t i = 0; i < ROUTE_COUNT; i++) {
        if (ROUTES[i].is_open && path_matches(slice_of_text(path), ROUTES[i].path, &name))
            return true;
    }
    return false;
}

static bool method_matches(smx_slice method, const admin_route *route)
{
    if (slice_equal(method, SMX_SLICE("HEAD")))
        method = SMX_SLICE("GET");
    return slice_equal(method, slice_of_text(route->method));
}

static const admin_route *take_name(const admin_route *route, smx_slice found, char **name,
                                    admin_answer *answer)
{
    if (found.data == NULL)
        return route;
    *name = slice_to_text(found);
    if (*name != NULL)
        return route;
    admin_answer_error(answer, 503, "out of memory");
    return NULL;
}

const admin_route *admin_route_find(const char *method, const char *path, char **name,
                                    admin_answer *answer)
{
    const char *allow = NULL;
    smx_slice found;
    for (size_t i = ROUTE_COUNT; i-- > 0;) { /* the longer paths first: names may hold anything */
        const admin_route *route = &ROUTES[i];
        if (!path_matches(slice_of_text(path), route->path, &found))
            continue;
        if (method_matches(slice_of_text(method), route))
            return take_name(route, found, name, answer);
        if (allow == NULL)
            allow =
                slice_equal(slice_of_text(route->method), SMX_SLICE("GET")) ? "GET, HEAD" : "POST";
    }
    if (allow == NULL)
        admin_answer_error(answer, 404, "there is nothing of this name");
    else
        admin_answer_error(answer, 405, "this method is not for this path");
    answer->allow = allow;
    return NULL;
}
