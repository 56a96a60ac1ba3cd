/* The operations. Each looks at a generation of its own share, so that a reload meanwhile does no
 * harm; records of upstreams outlive it anyway. */
#include "app/admin_ops.h"

#include <stdio.h>
#include <stdlib.h>

#include "app/reload.h"
#include "app/scalar.h"
#include "base/clock.h"
#include "mux/explain.h"
#include "upstream/test_connection.h"

enum { TEST_PATIENCE_MS = 60000 };

static const char BY_OPERATOR[] = "an operator asked for it";

/* ---- finding ---- */

static bool find_upstream(const generation *g, const char *name, size_t *index)
{
    for (size_t i = 0; i < mux_upstream_count(g->mux); i++) {
        if (strcmp(mux_upstream_options(g->mux, i)->name, name) == 0) {
            *index = i;
            return true;
        }
    }
    return false;
}

static int no_upstream(const char *name, problem *p)
{
    return problem_set(p, SMX_E_NOTFOUND,
                       "no upstream is called `%s`: `smtpmux upstream list` tells their names",
                       name);
}

/* ---- suspend, resume ---- */

/* What an operator does is told as what the daemon does itself, with who did it. */
static void tell(const admin_target *t, smx_log_level level, const char *event, const char *name,
                 const char *duration)
{
    const char *more = duration == NULL ? NULL : "for"; /* NULL ends the pairs */
    log_event(t->log, level, event, "upstream", name, "who", "admin", "reason", BY_OPERATOR, more,
              duration, NULL);
}

static int op_suspend(void *arg, const char *name, const char *duration, problem *p)
{
    const admin_target *t = arg;
    uint32_t ms = 0;
    size_t index = 0;
    bool is_new;
    if (duration != NULL && (scalar_duration(slice_of_text(duration), &ms) != 0 || ms == 0))
        return problem_set(p, SMX_E_INVALID, "`%s` is no duration such as 15m or 2h", duration);
    generation *g = service_generation(t->service);
    bool is_there = find_upstream(g, name, &index);
    uint64_t until = 0;
    if (is_there)
        until = upstream_suspend(mux_upstream(g->mux, index), clock_monotonic_ms(), ms, &is_new);
    generation_free(g);
    if (!is_there)
        return no_upstream(name, p);
    tell(t, SMX_LOG_WARN, "upstream_suspended", name, duration);
    alerts_send(service_alerts(t->service), ALERT_SUSPENDED, name, slice_of_text(BY_OPERATOR),
                until);
    return 0;
}

static int op_resume(void *arg, const char *name, problem *p)
{
    const admin_target *t = arg;
    size_t index = 0;
    upstream_status was = {.breaker = BREAKER_CLOSED};
    generation *g = service_generation(t->service);
    bool is_there = find_upstream(g, name, &index);
    if (is_there) {
        upstream_get_status(mux_upstream(g->mux, index), clock_monotonic_ms(), &was);
        (void)upstream_resume(mux_upstream(g->mux, index));
    }
    generation_free(g);
    if (!is_there)
        return no_upstream(name, p);
    const smx_slice reason = slice_of_text(BY_OPERATOR);
    if (was.is_suspended) {
        tell(t, SMX_LOG_WARN, "upstream_resumed", name, NULL);
        alerts_send(service_alerts(t->service), ALERT_RESUMED, name, reason, 0);
    }
    if (was.breaker != BREAKER_CLOSED) {
        tell(t, SMX_LOG_INFO, "breaker_closed", name, NULL);
        alerts_send(service_alerts(t->service), ALERT_BREAKER_CLOSED, name, reason, 0);
    }
    return 0;
}

/* ---- test ---- */

static json_t *json_steps(const upstream_test *r)
{
    json_t *all = json_array();
    for (size_t i = 0; i < r->step_count; i++)
        (void)json_array_append_new(all, json_pack("{s:s, s:I}", "phase",
                                                   smx_client_phase_text(r->steps[i].phase), "ms",
                                                   (json_int_t)r->steps[i].ms));
    return all;
}

static json_t *json_extensions(const upstream_test *r)
{
    static const struct {
        smx_extensions bit;
        const char *word;
    } WORDS[] = {
#define EXTENSION_WORD(bit, name, word) {1U << (bit), word},
        SMX_EXTENSION_MAP(EXTENSION_WORD)
#undef EXTENSION_WORD
    };
    json_t *all = json_array();
    for (size_t i = 0; i < sizeof(WORDS) / sizeof(WORDS[0]); i++) {
        if ((r->extensions & WORDS[i].bit) != 0)
            (void)json_array_append_new(all, json_string(WORDS[i].word));
    }
    return all;
}

/* What a server said may be any octets. */
static json_t *json_octets(const char *text)
{
    json_t *value = json_string(text);
    if (value != NULL)
        return value;
    buffer plain = {0};
    int error = 0;
    for (const char *c = text; *c != '\0' && error == 0; c++)
        error = buffer_append_char(&plain, (unsigned char)*c < 0x80 ? *c : '?');
    value = error == 0 ? json_stringn(buffer_slice(&plain).data, buffer_length(&plain)) : NULL;
    buffer_free(&plain);
    return value;
}

static json_t *json_tls(const upstream_test *r)
{
    if (!r->tls)
        return json_null();
    return json_pack("{s:s, s:s, s:b, s:o}", "version", r->tls_protocol, "cipher", r->tls_cipher,
                     "verified", r->verified, "unverified", json_octets(r->unverified));
}

static json_t *json_failure(const upstream_test *r)
{
    return json_pack("{s:s, s:s, s:i, s:o, s:o}", "phase", smx_client_phase_text(r->phase), "error",
                     r->error == 0 ? "" : smx_error_text(r->error), "code", (int)r->code, "reply",
                     json_octets(r->reply), "detail", json_octets(r->detail));
}

static json_t *json_test(const char *name, const upstream_test *r)
{
    json_t *all = json_pack("{s:s, s:b, s:I, s:o, s:o}", "upstream", name, "ok", r->ok, "took_ms",
                            (json_int_t)r->took_ms, "steps", json_steps(r), "tls", json_tls(r));
    if (all != NULL && r->is_ready) {
        (void)json_object_set_new(all, "mechanism", json_string(r->mechanism));
        (void)json_object_set_new(all, "name", json_octets(r->name));
        (void)json_object_set_new(all, "auth", json_octets(r->auth));
        (void)json_object_set_new(all, "max_size", json_integer((json_int_t)r->max_size));
        (void)json_object_set_new(all, "extensions", json_extensions(r));
    } else if (all != NULL) {
        (void)json_object_set_new(all, "failure", json_failure(r));
    }
    return all;
}

/* Those that messages go with; NULL: no OAuth2. */
static int share_tokens(const admin_target *t, const generation *g, size_t index, oauth2 **tokens,
                        problem *p)
{
    const upstream_options *o = mux_upstream_options(g->mux, index);
    if (o->oauth2.token_url == NULL)
        return 0;
    int error = upstream_share_oauth2(mux_upstream(g->mux, index), o, log_write, t->log, tokens);
    return error == 0 ? 0 : problem_set(p, error, "%s", smx_error_text(error));
}

static int op_test(void *arg, const char *name, const atomic_bool *stop, json_t **answer,
                   problem *p)
{
    const admin_target *t = arg;
    upstream_test result;
    oauth2 *tokens = NULL;
    size_t index = 0;
    generation *g = service_generation(t->service);
    int error = find_upstream(g, name, &index) ? share_tokens(t, g, index, &tokens, p)
                                               : no_upstream(name, p);
    if (error == 0)
        error = upstream_test_run(mux_upstream_options(g->mux, index), g->config->hostname, tokens,
                                  TEST_PATIENCE_MS, stop, &result, p);
    oauth2_free(tokens);
    generation_free(g);
    if (error != 0)
        return error;
    *answer = json_test(name, &result);
    return *answer == NULL ? SMX_E_NOMEM : 0;
}

/* ---- explain, reload ---- */

static int op_explain(void *arg, const json_t *query, const atomic_bool *stop, json_t **answer,
                      problem *p)
{
    const admin_target *t = arg;
    (void)stop;
    generation *g = service_generation(t->service);
    int error = mux_explain(g->mux, query, clock_monotonic_ms(), clock_wall_ms(), answer, p);
    generation_free(g);
    return error;
}

int admin_target_reload(admin_target *t, struct reload_result *result)
{
    /* Whatever becomes of the configuration: those who rotate logs wait for this. */
    service_reopen_files(t->service);
    int error = reload_file(t->service, t->log, t->file, result);
    if (error == 0)
        t->reloads++;
    else
        t->reload_failures++;
    if (error == 0 && t->reloaded != NULL)
        t->reloaded(t->arg);
    return error;
}

static int op_reload(void *arg, const atomic_bool *stop, json_t **answer, problem *p)
{
    admin_target *t = arg;
    reload_result result;
    (void)stop;
    int error = admin_target_reload(t, &result);
    *answer = json_pack("{s:I, s:o}", "generation", (json_int_t)result.generation, "problems",
                        problems_json(&result.file.problems));
    if (error != 0 && result.problem.text[0] != '\0')
        (void)problem_set(p, error, "%s", result.problem.text);
    else if (error == SMX_E_SYNTAX)
        (void)problem_set(p, error, "the file has errors, so what runs stays as it was");
    reload_result_free(&result);
    return error;
}

/* ---- trace ---- */

/* Somebody reads what others send: that stands in the log. */
typedef struct followed {
    follower *follower;
    const admin_target *target;
} followed;

static size_t read_follower(void *state, char *octets, size_t capacity)
{
    const followed *f = state;
    return follower_read(f->follower, octets, capacity);
}

static void close_follower(void *state)
{
    followed *f = state;
    log_event(f->target->log, SMX_LOG_INFO, "trace_ended", "who", "admin", NULL);
    follower_free(f->follower);
    free(f);
}

static const char *or_any(const char *text)
{
    return text == NULL ? "any" : text;
}

static int op_follow(void *arg, const admin_filter *filter, void (*news)(void *news_arg),
                     void *news_arg, admin_stream *stream, problem *p)
{
    const admin_target *t = arg;
    const follower_options options = {filter->client, filter->from, filter->listener, news,
                                      news_arg};
    followed *f = calloc(1, sizeof(*f));
    if (f == NULL)
        return problem_set(p, SMX_E_NOMEM, "out of memory");
    f->target = t;
    int error = followers_add(service_followers(t->service), &options, &f->follower, p);
    if (error != 0) {
        free(f);
        return error;
    }
    log_event(t->log, SMX_LOG_INFO, "trace_begun", "who", "admin", "for_client",
              or_any(filter->client), "for_sender", or_any(filter->from), "for_listener",
              or_any(filter->listener), NULL);
    *stream = (admin_stream){f, read_follower, close_follower};
    return 0;
}

const admin_ops admin_service_ops = {
    .status = admin_fill_status,
    .suspend = op_suspend,
    .resume = op_resume,
    .test = op_test,
    .explain = op_explain,
    .reload = op_reload,
    .follow = op_follow,
};
