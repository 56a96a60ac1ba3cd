/* The daemon's process. The main thread has a loop of its own, for signals only. */
#include "app/daemon.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sysexits.h>
#include <unistd.h>
#include <uv.h>

#include "app/admin_door.h"
#include "app/reload.h"
#include "app/scalar.h"
#include "base/clock.h"

enum { SIGNALS = 3 };

typedef struct daemon_state {
    smx_loop *loop; /* the main thread's */
    log_sink *log;
    const daemon_options *options;
    config *config; /* of the start */
    service *service;
    admin_target target;
    admin_door *door;
    uv_signal_t signals[SIGNALS];
    bool is_draining;
} daemon_state;

/* ---- what it listens on ---- */

/* "127.0.0.1:0" with the port that it has. */
static void address_of(const generation *g, size_t nth, char *text, size_t capacity)
{
    const char *listen = g->config->listeners[nth].smtp.listen;
    smx_slice address = slice_of_text(listen);
    size_t colon = slice_find_last(address, ':');
    if (g->ports[nth] == 0)
        (void)snprintf(text, capacity, "%s", listen);
    else
        (void)snprintf(text, capacity, "%.*s:%u", (int)colon, listen, g->ports[nth]);
}

static void log_listening(const daemon_state *d)
{
    char address[256];
    generation *g = service_generation(d->service);
    for (size_t i = 0; i < g->config->listener_count; i++) {
        address_of(g, i, address, sizeof(address));
        log_event(d->log, SMX_LOG_INFO, "listening", "address", address, "tls",
                  config_tls_text(g->config->listeners[i].smtp.tls), NULL);
    }
    generation_free(g);
}

/* ---- signals ---- */

static void on_ended(void *arg)
{
    daemon_state *d = arg;
    smx_loop_stop(d->loop);
}

static void stop(daemon_state *d, int number)
{
    const char *name = number == SIGTERM ? "SIGTERM" : "SIGINT";
    char wait[32] = "";
    buffer duration = {0};
    if (d->is_draining) {
        log_event(d->log, SMX_LOG_WARN, "stopped", "signal", name, "problem",
                  "a second signal: messages under way were cut off", NULL);
        _exit(EX_TEMPFAIL);
    }
    d->is_draining = true;
    generation *g = service_generation(d->service);
    uint32_t timeout_ms = g->config->drain_timeout_ms;
    generation_free(g);
    if (scalar_write_duration(timeout_ms, &duration) == 0)
        (void)snprintf(wait, sizeof(wait), "%.*s", (int)buffer_length(&duration), duration.data);
    buffer_free(&duration);
    log_event(d->log, SMX_LOG_INFO, "stopping", "signal", name, "drain_timeout", wait, NULL);
    service_drain(d->service, timeout_ms);
}

/* What comes of it is in the log. Without a file there is nothing to read: certificates are looked
 * after by the listeners. */
static void reload(daemon_state *d)
{
    reload_result result;
    if (d->options->file == NULL) {
        service_reopen_files(d->service);
        return;
    }
    (void)admin_target_reload(&d->target, &result);
    reload_result_free(&result);
}

static void on_signal(uv_signal_t *handle, int number)
{
    daemon_state *d = handle->data;
    if (number == SIGHUP)
        reload(d);
    else
        stop(d, number);
}

/* ---- the admin ---- */

/* Behind a reload, whoever asked for it. What else was configured goes on without it. */
static void follow_reload(void *arg)
{
    daemon_state *d = arg;
    problem p;
    generation *g = service_generation(d->service);
    log_listening(d);
    if (admin_door_apply(d->door, g->config, &p) != 0)
        log_event(d->log, SMX_LOG_ERROR, "admin", "problem", p.text, NULL);
    generation_free(g);
}

static void on_reloaded(void *arg)
{
    daemon_state *d = arg;
    if (smx_loop_post(d->loop, follow_reload, d) != 0)
        log_event(d->log, SMX_LOG_ERROR, "admin", "problem", "out of memory", NULL);
}

static int open_admin(daemon_state *d, problem *p)
{
    d->target = (admin_target){.service = d->service,
                               .log = d->log,
                               .file = d->options->file == NULL ? "" : d->options->file->path,
                               .started = clock_wall_ms(),
                               .started_monotonic = clock_monotonic_ms(),
                               .reloaded = on_reloaded,
                               .arg = d};
    int error = admin_door_new(&d->target, &d->door);
    return error == 0 ? admin_door_apply(d->door, d->config, p)
                      : problem_set(p, error, "out of memory");
}

/* ---- watching ---- */

static int watch_signals(daemon_state *d)
{
    static const int NUMBERS[SIGNALS] = {SIGTERM, SIGINT, SIGHUP};
    for (size_t i = 0; i < SIGNALS; i++) {
        if (uv_signal_init(smx_loop_uv(d->loop), &d->signals[i]) != 0)
            return SMX_E_NOMEM;
        d->signals[i].data = d;
        if (uv_signal_start(&d->signals[i], on_signal, NUMBERS[i]) != 0)
            return SMX_E_IO;
    }
    return 0;
}

static void forget_signals(daemon_state *d)
{
    for (size_t i = 0; i < SIGNALS; i++) {
        if (d->signals[i].data != NULL)
            uv_close((uv_handle_t *)&d->signals[i], NULL);
    }
    (void)uv_run(smx_loop_uv(d->loop), UV_RUN_NOWAIT);
}

/* ---- the process ---- */

/* Each session and each upstream connection takes a descriptor. */
static void raise_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

static void log_ready(const daemon_state *d)
{
    const config *c = d->config;
    char numbers[4][24];
    log_listening(d);
    (void)snprintf(numbers[0], sizeof(numbers[0]), "%u", c->workers);
    (void)snprintf(numbers[1], sizeof(numbers[1]), "%zu", c->listener_count);
    (void)snprintf(numbers[2], sizeof(numbers[2]), "%zu", c->upstream_count);
    (void)snprintf(numbers[3], sizeof(numbers[3]), "%zu", c->user_count);
    log_event(d->log, SMX_LOG_INFO, "ready", "version", SMX_VERSION_TEXT, "hostname", c->hostname,
              "workers", numbers[0], "listeners", numbers[1], "upstreams", numbers[2], "users",
              numbers[3], NULL);
}

/* To the log, or to the person who gave the command. */
static int tell_not_started(const daemon_state *d, int error, const problem *p)
{
    static const smx_slice ONLY = SMX_SLICE("listeners[0]: ");
    smx_slice text = slice_of_text(p->text);
    const char *verb = d->options->verb;
    if (verb != NULL && slice_starts_with(text, ONLY))
        text = slice_from(text, ONLY.len);
    if (verb != NULL)
        (void)fprintf(stderr, "smtpmux %s: %.*s\n", verb, (int)text.len, text.data);
    else
        log_event(d->log, SMX_LOG_ERROR, "not_started", "problem", p->text, NULL);
    return error == SMX_E_NOMEM ? EX_OSERR : error == SMX_E_PERMISSION ? EX_NOPERM : EX_UNAVAILABLE;
}

static int serve_until_stopped(daemon_state *d)
{
    problem p;
    int error = service_new(d->config, d->log, &d->service, &p);
    if (error == 0) {
        error = watch_signals(d);
        if (error != 0)
            (void)problem_set(&p, error, "signals cannot be watched");
    }
    if (error == 0)
        error = open_admin(d, &p);
    if (error == 0)
        error = service_start(d->service, on_ended, d, &p);
    if (error != 0)
        return tell_not_started(d, error, &p);
    log_ready(d);
    smx_loop_run(d->loop);
    log_event(d->log, SMX_LOG_INFO, "stopped", NULL);
    return EX_OK;
}

int daemon_run(const daemon_options *options)
{
    daemon_state d = {.options = options, .config = options->config};
    (void)signal(SIGPIPE, SIG_IGN);
    raise_descriptors();
    int error = log_new(STDERR_FILENO, &d.config->log, &d.log);
    if (error == 0)
        error = smx_loop_new(NULL, &d.loop);
    int code = EX_OSERR;
    if (error == 0) {
        if (options->file != NULL) {
            config_file_log(options->file, d.log, "configuration");
            config_file_close(options->file);
        }
        code = serve_until_stopped(&d);
        admin_door_free(d.door);
        service_free(d.service);
        forget_signals(&d);
    } else {
        (void)fprintf(stderr, "smtpmux: %s\n", smx_error_text(error));
    }
    smx_loop_free(d.loop);
    log_free(d.log);
    return code;
}
