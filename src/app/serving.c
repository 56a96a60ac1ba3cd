/* A serving owns its server, proxy and mux_worker, and has a share of its generation. It ends when they
 * have nothing to do any more; its owner frees it then. */
#include "app/serving.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "net/endpoint.h"
#include "net/loop.h"

/* ---- listeners ---- */

static bool is_unix(const char *listen)
{
    return slice_starts_with(slice_of_text(listen), SMX_SLICE("unix:"));
}

/* The previous generation's listener of this address, or SIZE_MAX. */
static size_t find_previous(const serving *previous, const char *listen)
{
    const config *c = previous->generation->config;
    for (size_t i = 0; i < c->listener_count; i++)
        if (previous->indices[i] != SIZE_MAX && strcmp(c->listeners[i].smtp.listen, listen) == 0)
            return i;
    return SIZE_MAX;
}

/* Some listener of the previous generation has this port, of another address of this machine. */
static bool is_own_port(const serving *previous, uint16_t port)
{
    const generation *g = previous->generation;
    for (size_t i = 0; port != 0 && i < g->config->listener_count; i++)
        if (g->ports[i] == port)
            return true;
    return false;
}

/* Port 0 means any free one for the first worker, and the same one for the others. */
static void choose_address(serving *s, const serving_options *options, size_t nth)
{
    endpoint e;
    smx_listener_options *l = &s->listeners[nth];
    if (endpoint_parse(slice_of_text(l->listen), 0, &e, NULL) != 0 || e.is_unix)
        return;
    l->shared_port =
        !options->is_first || (options->previous != NULL && is_own_port(options->previous, e.port));
    if (options->is_first || e.port != 0)
        return;
    bool is_ipv6 = slice_find(e.host, ':') < e.host.len;
    (void)snprintf(s->addresses[nth], SERVING_LISTEN_TEXT, is_ipv6 ? "[%.*s]:%u" : "%.*s:%u",
                   (int)e.host.len, e.host.data, s->generation->ports[nth]);
    l->listen = s->addresses[nth];
}

/* `kept` as serving_listen_proxy's. A proxy's socket cannot be adopted, but duplicated. */
static int listen_server(serving *s, const serving_options *options, size_t nth, size_t kept,
                         char *text)
{
    smx_listener_options *l = &s->listeners[nth];
    const serving *previous = options->previous;
    bool was_proxy =
        kept != SIZE_MAX && previous->generation->config->listeners[kept].mode == CONFIG_PROXY;
    if (was_proxy) {
        l->socket = smx_proxy_socket(previous->proxy, previous->indices[kept]);
        l->has_socket = l->socket >= 0;
    } else if (kept != SIZE_MAX) {
        l->adopts = previous->server;
        l->adopts_nth = previous->indices[kept];
    }
    int error = smx_server_listen(s->server, l, text);
    if (l->has_socket)
        (void)close(l->socket);
    return error;
}

static int open_listener(serving *s, const serving_options *options, size_t nth, problem *p)
{
    char text[SMX_PROBLEM_TEXT] = "";
    smx_listener_options *l = &s->listeners[nth];
    const config_listener *configured = &s->generation->config->listeners[nth];
    const serving *previous = options->previous;
    *l = configured->smtp;
    if (!options->is_first && is_unix(l->listen))
        return 0;
    l->counters = counter_book_page(options->book, l->listen);
    if (l->counters == NULL)
        return problem_set(p, SMX_E_NOMEM, "out of memory");
    size_t kept = previous == NULL ? SIZE_MAX : find_previous(previous, l->listen);
    if (kept == SIZE_MAX)
        choose_address(s, options, nth);
    bool is_proxy = configured->mode == CONFIG_PROXY;
    int error = is_proxy ? serving_listen_proxy(s, options, nth, kept, text)
                         : listen_server(s, options, nth, kept, text);
    if (error != 0)
        return problem_set(p, error, "listeners[%zu]: %.400s%s", nth, text,
                           error == SMX_E_BUSY ? "; stop it, or choose another port" : "");
    s->indices[nth] = s->counts[configured->mode]++;
    if (options->is_first)
        s->generation->ports[nth] = is_proxy ? smx_proxy_port(s->proxy, s->indices[nth])
                                             : smx_server_port(s->server, s->indices[nth]);
    return 0;
}

static int open_listeners(serving *s, const serving_options *options, problem *p)
{
    size_t count = s->generation->config->listener_count;
    s->listeners = calloc(count, sizeof(*s->listeners));
    s->addresses = calloc(count, sizeof(*s->addresses));
    s->indices = calloc(count, sizeof(*s->indices));
    s->contexts = calloc(count, sizeof(smx_client_tls *));
    if (s->listeners == NULL || s->addresses == NULL || s->indices == NULL || s->contexts == NULL)
        return problem_set(p, SMX_E_NOMEM, "out of memory");
    for (size_t i = 0; i < count; i++)
        s->indices[i] = SIZE_MAX;
    int error = 0;
    for (size_t i = 0; i < count && error == 0; i++)
        error = open_listener(s, options, i, p);
    return error;
}

/* ---- beginning ---- */

static void hold_take(void *arg)
{
    (void)config_share(arg);
}

static void hold_drop(void *arg)
{
    config_free(arg);
}

static int open_mux(serving *s, const serving_options *options, problem *p)
{
    const upstream_hold hold = {s->generation->config, hold_take, hold_drop};
    return mux_worker_new_shared(s->generation->mux, options->pools, &hold, &s->mux, p);
}

static const smx_hook *allow_from_hook(const mux_options *o)
{
    for (size_t i = 0; i < o->user_count; i++)
        if (o->users[i].user.allow_from != NULL)
            return &hook_allow_from;
    return NULL;
}

/* NULL: the configuration needs none of this kind. */
static size_t add_hook(serving *s, size_t count, const smx_hook *hook)
{
    if (hook == NULL)
        return count;
    s->hooks[count] = hook;
    return count + 1;
}

static int open_server(serving *s, const serving_options *o, problem *p)
{
    const config *c = s->generation->config;
    s->middleware[0] = mux_worker_summary(s->mux);
    s->middleware[1] = &middleware_received_limit;
    s->middleware[2] = &middleware_allow_from;
    s->middleware[3] = mux_worker_dedup(s->mux);
    size_t hooks = add_hook(s, 0, allow_from_hook(&s->generation->mux_options));
    hooks = add_hook(s, hooks, mux_worker_route_hook(s->mux));
    hooks = add_hook(s, hooks, mux_worker_cut_through_hook(s->mux));
    const smx_server_options options = {
        .version = SMX_SERVER_VERSION,
        .hostname = c->hostname,
        .handler = mux_handle,
        .handler_arg = s->mux,
        .middleware = s->middleware,
        .middleware_count = SERVING_MIDDLEWARE,
        .hooks = s->hooks,
        .hook_count = hooks,
        .find_user = mux_find_user,
        .find_user_arg = s->generation->mux,
        .offer = mux_offer,
        .offer_arg = s->mux,
        .shared = o->shared,
        .temp_dir = c->temp_dir,
        .log = log_write,
        .log_arg = o->log,
    };
    int error = smx_server_new(s->loop, &options, &s->server);
    if (error != 0)
        return problem_set(p, error, "%s", smx_error_text(error));
    mux_worker_set_server(s->mux, s->server);
    return 0;
}

int serving_new(const serving_options *options, serving **out, problem *p)
{
    serving *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return problem_set(p, SMX_E_NOMEM, "out of memory");
    s->generation = generation_share(options->generation);
    s->loop = upstream_pool_set_loop(options->pools);
    s->deadline = UINT64_MAX;
    int error = open_mux(s, options, p);
    if (error == 0)
        error = open_server(s, options, p);
    if (error == 0)
        error = serving_open_proxy(s, options, p);
    if (error == 0)
        error = open_listeners(s, options, p);
    if (error != 0) {
        serving_free(s);
        return error;
    }
    *out = s;
    return 0;
}

int serving_start(serving *s)
{
    mux_worker_activate(s->mux);
    int error = smx_server_start(s->server);
    if (error == 0 && s->proxy != NULL)
        error = smx_proxy_start(s->proxy);
    return error;
}

/* ---- the end ---- */

static void check_end(serving *s)
{
    serving_ended_fn *ended = s->ended;
    if (!s->is_server_done || !s->is_proxy_done || !s->is_mux_done || ended == NULL)
        return;
    s->ended = NULL;
    ended(s->ended_arg, s);
}

static void on_mux_done(void *arg)
{
    serving *s = arg;
    s->is_mux_done = true;
    check_end(s);
}

static void on_server_done(void *arg)
{
    serving *s = arg;
    s->is_server_done = true;
    mux_worker_drain(s->mux, s->deadline, on_mux_done, s);
}

static void on_proxy_done(void *arg)
{
    serving *s = arg;
    s->is_proxy_done = true;
    check_end(s);
}

void serving_retire(serving *s, serving_ended_fn *ended, void *arg)
{
    s->ended = ended;
    s->ended_arg = arg;
    s->is_proxy_done = s->proxy == NULL;
    mux_worker_retire(s->mux);
    smx_server_retire(s->server, on_server_done, s);
    if (!s->is_proxy_done)
        smx_proxy_retire(s->proxy, on_proxy_done, s);
}

void serving_dismiss(serving *s)
{
    if (!s->is_dismissed)
        smx_server_dismiss(s->server);
    if (!s->is_dismissed && s->proxy != NULL)
        smx_proxy_dismiss(s->proxy);
    s->is_dismissed = true;
}

void serving_drain(serving *s, uint32_t timeout_ms, serving_ended_fn *ended, void *arg)
{
    s->ended = ended;
    s->ended_arg = arg;
    s->is_proxy_done = s->proxy == NULL;
    mux_worker_retire(s->mux);
    s->deadline = loop_now(s->loop) + timeout_ms;
    smx_server_shutdown(s->server, timeout_ms, on_server_done, s);
    /* It is not freed so far: while there is a proxy, its end is the last. */
    if (!s->is_proxy_done)
        smx_proxy_shutdown(s->proxy, timeout_ms, on_proxy_done, s);
}

void serving_cut(serving *s)
{
    s->deadline = loop_now(s->loop);
    mux_worker_drain(s->mux, s->deadline, on_mux_done, s);
}

void serving_free(serving *s)
{
    if (s == NULL)
        return;
    smx_server_free(s->server);
    smx_proxy_free(s->proxy);
    mux_worker_free(s->mux);
    for (size_t i = 0; s->contexts != NULL && i < s->generation->config->listener_count; i++)
        smx_client_tls_free(s->contexts[i]);
    witness_free(s->witness);
    generation_free(s->generation);
    free(s->contexts);
    free(s->listeners);
    free(s->addresses);
    free(s->indices);
    free(s);
}
