/* A worker owns its loop, server and mux_worker. They are made on the caller's thread, used on the
 * worker's own, and freed there behind the last turn of the loop. */
#include "app/worker.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

#include "middleware/middleware.h"
#include "net/endpoint.h"
#include "net/loop.h"

enum { LISTEN_TEXT = 256, CUT_SHARE = 5, CUT_MAX_MS = 6000, MIDDLEWARE = 3, HOOKS = 2 };

struct worker {
    worker_options options;
    smx_loop *loop;
    smx_server *server;
    mux_worker *mux;
    const smx_middleware *middleware[MIDDLEWARE];
    const smx_hook *hooks[HOOKS];
    smx_listener_options *listeners; /* the configuration's, with ports that are known by now */
    char (*addresses)[LISTEN_TEXT];
    size_t *indices; /* in the server, of each listener of the configuration; SIZE_MAX: not here */

    pthread_t thread;
    bool is_running;
    void (*ended)(void *arg);
    void *ended_arg;

    uv_async_t drain_wake; /* needs no memory when the end comes */
    bool has_wake;
    uint32_t drain_ms;
    uint64_t drain_deadline; /* of the loop's clock */
    timer_entry cut;
    bool is_mux_draining;
    bool is_server_done;
};

/* ---- listeners ---- */

/* Port 0 means any free one for the first worker, and the same one for the others. */
static void choose_port(worker *w, size_t nth)
{
    endpoint e;
    smx_listener_options *options = &w->listeners[nth];
    if (w->options.first == NULL ||
        endpoint_parse(slice_of_text(options->listen), 0, &e, NULL) != 0 || e.is_unix ||
        e.port != 0)
        return;
    bool is_ipv6 = slice_find(e.host, ':') < e.host.len;
    (void)snprintf(w->addresses[nth], LISTEN_TEXT, is_ipv6 ? "[%.*s]:%u" : "%.*s:%u",
                   (int)e.host.len, e.host.data, worker_port(w->options.first, nth));
    options->listen = w->addresses[nth];
}

static bool is_unix(const char *listen)
{
    return slice_starts_with(slice_of_text(listen), SMX_SLICE("unix:"));
}

static int open_listener(worker *w, size_t nth, size_t *opened, problem *p)
{
    char text[SMX_PROBLEM_TEXT] = "";
    w->listeners[nth] = w->options.config->listeners[nth];
    w->listeners[nth].shared_port = w->options.first != NULL;
    w->indices[nth] = SIZE_MAX;
    if (w->options.first != NULL && is_unix(w->listeners[nth].listen))
        return 0;
    choose_port(w, nth);
    int error = smx_server_listen(w->server, &w->listeners[nth], text);
    if (error != 0)
        return problem_set(p, error, "listeners[%zu]: %.400s%s", nth, text,
                           error == SMX_E_BUSY ? "; stop it, or choose another port" : "");
    w->indices[nth] = (*opened)++;
    return 0;
}

static int open_listeners(worker *w, problem *p)
{
    size_t count = w->options.config->listener_count;
    size_t opened = 0;
    w->listeners = calloc(count, sizeof(*w->listeners));
    w->addresses = calloc(count, sizeof(*w->addresses));
    w->indices = calloc(count, sizeof(*w->indices));
    if (w->listeners == NULL || w->addresses == NULL || w->indices == NULL)
        return problem_set(p, SMX_E_NOMEM, "out of memory");
    int error = 0;
    for (size_t i = 0; i < count && error == 0; i++)
        error = open_listener(w, i, &opened, p);
    return error;
}

uint16_t worker_port(const worker *w, size_t nth)
{
    if (nth >= w->options.config->listener_count || w->indices[nth] == SIZE_MAX)
        return 0;
    return smx_server_port(w->server, w->indices[nth]);
}

/* ---- beginning ---- */

static int open_server(worker *w, problem *p)
{
    const config *c = w->options.config;
    w->middleware[0] = mux_worker_summary(w->mux);
    w->middleware[1] = &middleware_received_limit;
    w->middleware[2] = &middleware_allow_from;
    w->hooks[0] = &hook_allow_from;
    w->hooks[1] = mux_worker_route_hook(w->mux);
    const smx_server_options options = {
        .version = SMX_SERVER_VERSION,
        .hostname = c->hostname,
        .handler = mux_handle,
        .handler_arg = w->mux,
        .middleware = w->middleware,
        .middleware_count = MIDDLEWARE,
        .hooks = w->hooks,
        .hook_count = HOOKS,
        .find_user = mux_find_user,
        .find_user_arg = w->options.mux,
        .offer = mux_offer,
        .offer_arg = w->mux,
        .shared = w->options.shared,
        .temp_dir = c->temp_dir,
        .log = log_write,
        .log_arg = w->options.log,
    };
    int error = smx_server_new(w->loop, &options, &w->server);
    if (error != 0)
        return problem_set(p, error, "%s", smx_error_text(error));
    mux_worker_set_server(w->mux, w->server);
    return 0;
}

static void on_cut(timer_entry *self);
static void on_drain(uv_async_t *wake);

static int open_loop(worker *w, problem *p)
{
    int error = smx_loop_new(NULL, &w->loop);
    if (error == 0 && uv_async_init(smx_loop_uv(w->loop), &w->drain_wake, on_drain) != 0)
        error = SMX_E_IO;
    if (error != 0)
        return problem_set(p, error, "no event loop can be made: %s", smx_error_text(error));
    w->drain_wake.data = w;
    w->has_wake = true;
    return 0;
}

int worker_new(const worker_options *options, worker **out, problem *p)
{
    worker *w = calloc(1, sizeof(*w));
    if (w == NULL)
        return problem_set(p, SMX_E_NOMEM, "out of memory");
    w->options = *options;
    w->cut.fn = on_cut;
    int error = open_loop(w, p);
    if (error == 0)
        error = mux_worker_new(options->mux, w->loop, log_write, options->log, &w->mux, p);
    if (error == 0)
        error = open_server(w, p);
    if (error == 0)
        error = open_listeners(w, p);
    if (error != 0) {
        worker_free(w);
        return error;
    }
    *out = w;
    return 0;
}

int worker_listen(worker *w, problem *p)
{
    int error = smx_server_start(w->server);
    if (error != 0)
        return problem_set(p, error, "the listeners cannot be started: %s", smx_error_text(error));
    return 0;
}

/* ---- the thread ---- */

static void close_all(worker *w)
{
    smx_server_free(w->server);
    mux_worker_free(w->mux);
    if (w->has_wake) {
        uv_close((uv_handle_t *)&w->drain_wake, NULL);
        (void)uv_run(smx_loop_uv(w->loop), UV_RUN_NOWAIT);
        w->has_wake = false;
    }
    smx_loop_free(w->loop);
    w->server = NULL;
    w->mux = NULL;
    w->loop = NULL;
}

static void *thread_main(void *arg)
{
    worker *w = arg;
    smx_loop_run(w->loop);
    close_all(w);
    w->ended(w->ended_arg);
    return NULL;
}

int worker_run(worker *w, void (*ended)(void *arg), void *arg)
{
    w->ended = ended;
    w->ended_arg = arg;
    if (pthread_create(&w->thread, NULL, thread_main, w) != 0)
        return SMX_E_NOMEM;
    w->is_running = true;
    return 0;
}

/* ---- the end ---- */

static void on_mux_drained(void *arg)
{
    worker *w = arg;
    w->is_mux_draining = false;
    timer_clear(&w->cut);
    if (w->is_server_done)
        smx_loop_stop(w->loop);
}

/* Pools close when nothing comes any more, or when it is too late for what is under way: what has no
 * final reply by then is unknown (DESIGN 4.4), and its client is still there to be told. */
static void drain_mux(worker *w, uint64_t deadline)
{
    if (w->is_mux_draining)
        return;
    w->is_mux_draining = true;
    mux_worker_drain(w->mux, deadline, on_mux_drained, w);
}

static void on_cut(timer_entry *self)
{
    worker *w = list_member(self, worker, cut);
    drain_mux(w, loop_now(w->loop));
}

static void on_server_done(void *arg)
{
    worker *w = arg;
    w->is_server_done = true;
    drain_mux(w, w->drain_deadline);
}

static void on_drain(uv_async_t *wake)
{
    worker *w = wake->data;
    uint32_t margin = w->drain_ms / CUT_SHARE < CUT_MAX_MS ? w->drain_ms / CUT_SHARE : CUT_MAX_MS;
    uint64_t now = loop_now(w->loop);
    w->drain_deadline = now + w->drain_ms;
    timer_set(loop_timers(w->loop), &w->cut, w->drain_deadline - margin);
    smx_server_shutdown(w->server, w->drain_ms, on_server_done, w);
}

void worker_drain(worker *w, uint32_t timeout_ms)
{
    w->drain_ms = timeout_ms;
    (void)uv_async_send(&w->drain_wake);
}

void worker_free(worker *w)
{
    if (w == NULL)
        return;
    if (w->is_running)
        (void)pthread_join(w->thread, NULL);
    close_all(w);
    free(w->listeners);
    free(w->addresses);
    free(w->indices);
    free(w);
}
