/* One connection, watched from turn to turn of a loop that lives as long as the test. */
#include "upstream/test_connection.h"

#include <stdio.h>
#include <uv.h>

#include "net/loop.h"

enum { TICK_MS = 50 };

typedef struct testing {
    smx_loop *loop;
    smx_client *client; /* NULL: closed */
    smx_client_tls *tls;
    uv_timer_t tick;
    upstream_test *result;
    uint64_t since; /* of the step under way */
    uint64_t deadline;
    const atomic_bool *stop;
    bool is_timed_out;
    bool is_told;         /* that there is an answer to the asking for a token */
    oauth2_answer answer; /* the token in use */
} testing;

static void keep(char *place, size_t capacity, smx_slice text)
{
    (void)snprintf(place, capacity, "%.*s", (int)(text.len < capacity ? text.len : capacity - 1),
                   text.len == 0 ? "" : text.data);
}

#define KEEP(place, text) keep(place, sizeof(place), text)

/* ---- what is seen ---- */

static void end_step(testing *t, smx_client_phase phase)
{
    upstream_test *r = t->result;
    uint64_t now = loop_now(t->loop);
    if (r->step_count < UPSTREAM_TEST_STEPS)
        r->steps[r->step_count++] = (upstream_test_step){phase, now - t->since};
    t->since = now;
}

/* The phase that the client is in now; the one before has ended if it is another. */
static void watch(testing *t)
{
    upstream_test *r = t->result;
    smx_client_info info;
    if (t->client == NULL || r->is_ready)
        return;
    smx_client_get_info(t->client, &info);
    if (info.phase != r->phase)
        end_step(t, r->phase);
    r->phase = info.phase;
    r->tls = info.tls;
    r->verified = info.verified;
    KEEP(r->tls_protocol, info.tls_protocol);
    KEEP(r->tls_cipher, info.tls_cipher);
}

static void on_ready(void *arg, smx_client *client)
{
    testing *t = arg;
    upstream_test *r = t->result;
    const smx_capabilities *offered = smx_client_capabilities(client);
    smx_client_info info;
    smx_client_get_info(client, &info);
    watch(t);
    end_step(t, r->phase);
    r->is_ready = true;
    r->ok = true;
    r->extensions = offered->extensions;
    r->max_size = offered->max_size;
    KEEP(r->auth, offered->auth_mechanisms);
    KEEP(r->name, offered->domain);
    KEEP(r->mechanism, slice_of_text(info.auth_mechanism));
    smx_client_close(client);
}

static void on_result(void *arg, smx_client *client, const smx_client_result *result)
{
    (void)arg;
    (void)client;
    (void)result;
}

static void on_closed(void *arg, smx_client *client, const smx_client_result *result)
{
    testing *t = arg;
    upstream_test *r = t->result;
    (void)client;
    t->client = NULL;
    if (r->is_ready)
        return; /* whatever became of QUIT */
    r->phase = result->phase;
    end_step(t, r->phase);
    r->error = t->is_timed_out ? SMX_E_TIMEOUT : result->error;
    r->code = result->reply.code;
    KEEP(r->reply, result->reply.text);
    KEEP(r->detail, slice_of_text(result->detail));
}

/* Of the client's log only the reason matters why a certificate was taken without belief. */
static void on_log(void *arg, smx_log_level level, const char *event, uint64_t session,
                   const smx_log_field *fields, size_t count)
{
    testing *t = arg;
    (void)level;
    (void)session;
    for (size_t i = 0; i < count && strcmp(event, "tls_unverified") == 0; i++) {
        if (strcmp(fields[i].key, "reason") == 0)
            KEEP(t->result->unverified, fields[i].value);
    }
}

/* ---- the test ---- */

static void on_tick(uv_timer_t *timer)
{
    (void)timer;
}

static bool is_over(const testing *t)
{
    return loop_now(t->loop) >= t->deadline || (t->stop != NULL && atomic_load(t->stop));
}

static smx_client_options client_options(const upstream_options *o, testing *t)
{
    return (smx_client_options){.version = SMX_CLIENT_VERSION,
                                .host = o->host,
                                .port = o->port,
                                .source = o->source,
                                .family = o->family,
                                .lmtp = o->lmtp,
                                .tls = o->tls,
                                .verify = o->verify,
                                .pins = o->pins,
                                .pin_count = o->pin_count,
                                .tls_context = t->tls,
                                .user = o->user,
                                .password = o->password,
                                .mechanism = o->mechanism,
                                .allow_insecure_auth = o->allow_insecure_auth,
                                .connect_timeout_ms = o->connect_timeout_ms,
                                .banner_timeout_ms = o->command_timeout_ms,
                                .command_timeout_ms = o->command_timeout_ms,
                                .log = on_log,
                                .log_arg = t};
}

static int begin(testing *t, const upstream_options *o, const char *hostname, problem *p)
{
    static const smx_client_handler HANDLER = {on_ready, on_result, on_closed};
    char text[SMX_CLIENT_PROBLEM] = "";
    int error = 0;
    if (o->tls != SMX_TLS_OFF && t->tls == NULL)
        error = smx_client_tls_new(o->ca_file, o->cert_file, o->key_file, &t->tls, text);
    if (error != 0)
        return problem_set(p, error, "%s", text);
    smx_client_options options = client_options(o, t);
    options.helo = hostname;
    options.own_hostname = hostname;
    options.token = t->answer.token;
    error = smx_client_new(t->loop, &options, &HANDLER, t, &t->client);
    return error == 0 ? 0 : problem_set(p, error, "%s", smx_error_text(error));
}

/* Turns the loop until the connection is closed. */
static void run(testing *t)
{
    while (t->client != NULL) {
        (void)uv_run(smx_loop_uv(t->loop), UV_RUN_ONCE);
        watch(t);
        if (t->client != NULL && is_over(t)) {
            t->is_timed_out = true;
            smx_client_close(t->client);
        }
    }
}

/* ---- the token ---- */

static void on_told(void *arg)
{
    testing *t = arg;
    t->is_told = true;
}

static oauth2_state ask_for_token(testing *t, oauth2 *tokens)
{
    oauth2_waiter waiter = {.loop = t->loop, .told = on_told, .arg = t};
    t->is_told = false;
    oauth2_state state = oauth2_take(tokens, loop_now(t->loop), &waiter, &t->answer);
    if (state != OAUTH2_LATER)
        return state;
    while (!t->is_told && !is_over(t))
        (void)uv_run(smx_loop_uv(t->loop), UV_RUN_ONCE);
    while (!t->is_told && oauth2_cancel(tokens, &waiter))
        (void)uv_run(smx_loop_uv(t->loop), UV_RUN_ONCE);
    return state;
}

/* False: there is none, and the result says why. */
static bool take_token(testing *t, oauth2 *tokens)
{
    upstream_test *r = t->result;
    oauth2_state state = OAUTH2_LATER;
    while (state == OAUTH2_LATER && !is_over(t))
        state = ask_for_token(t, tokens);
    end_step(t, SMX_CLIENT_PHASE_AUTH);
    if (state == OAUTH2_TOKEN)
        return true;
    r->phase = SMX_CLIENT_PHASE_AUTH;
    r->error = state == OAUTH2_LATER ? SMX_E_TIMEOUT : SMX_E_AUTH;
    KEEP(r->detail, state == OAUTH2_LATER ? SMX_SLICE("the token endpoint did not answer in time")
                                          : slice_of_text(t->answer.reason));
    return false;
}

static void drop_token(testing *t)
{
    oauth2_token_free(t->answer.token);
    t->answer = (oauth2_answer){0};
}

/* Whether another try with a fresh token is worth it. */
static bool token_is_stale(const testing *t, oauth2 *tokens)
{
    const upstream_test *r = t->result;
    if (tokens == NULL || r->ok || r->phase != SMX_CLIENT_PHASE_AUTH || r->code != 535)
        return false;
    oauth2_reject(tokens, t->answer.serial);
    return !is_over(t);
}

/* One connection, with a token if there is a need for one. */
static int try_once(testing *t, const upstream_options *o, const char *hostname, oauth2 *tokens,
                    problem *p)
{
    *t->result = (upstream_test){.phase = SMX_CLIENT_PHASE_CONNECT};
    t->since = loop_now(t->loop);
    if (tokens != NULL && !take_token(t, tokens))
        return 0;
    int error = begin(t, o, hostname, p);
    if (error == 0)
        run(t);
    return error;
}

int upstream_test_run(const upstream_options *options, const char *hostname, oauth2 *tokens,
                      uint32_t patience_ms, const atomic_bool *stop, upstream_test *result,
                      problem *p)
{
    testing t = {.result = result, .stop = stop};
    int error = smx_loop_new(NULL, &t.loop);
    if (error != 0)
        return problem_set(p, error, "no event loop can be made: %s", smx_error_text(error));
    struct uv_loop_s *uv = smx_loop_uv(t.loop);
    (void)uv_timer_init(uv, &t.tick);
    (void)uv_timer_start(&t.tick, on_tick, TICK_MS, TICK_MS);
    uint64_t from = loop_now(t.loop);
    t.deadline = from + patience_ms;
    error = try_once(&t, options, hostname, tokens, p);
    if (error == 0 && token_is_stale(&t, tokens)) {
        drop_token(&t);
        error = try_once(&t, options, hostname, tokens, p);
    }
    result->took_ms = loop_now(t.loop) - from;
    drop_token(&t);
    uv_close((uv_handle_t *)&t.tick, NULL);
    (void)uv_run(uv, UV_RUN_NOWAIT);
    smx_client_tls_free(t.tls);
    smx_loop_free(t.loop);
    return error;
}
