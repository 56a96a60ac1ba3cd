/* The service owns what the workers share and frees it behind them. */
#include "app/service.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "app/worker.h"

struct service {
    config *config;
    mux_options mux_options;
    store *store;
    mux_state *state;
    mux *mux;
    smx_shared *shared;
    worker **workers;
    size_t count;
    log_sink *log;
    _Atomic size_t running;
    void (*ended)(void *arg);
    void *ended_arg;
};

static int open_shared(service *s, problem *p)
{
    const config *c = s->config;
    const smx_shared_options options = {
        .version = SMX_SHARED_VERSION, .threads = c->threads, .memory_limit = c->memory_limit};
    const store_options kept = {.url = c->store, .log = log_write, .log_arg = s->log};
    s->mux_options = config_mux_options(c);
    int error = store_open(&kept, &s->store, p);
    if (error != 0)
        return error;
    error = mux_state_new(s->store, &s->state);
    if (error == 0)
        error = mux_new(&s->mux_options, s->state, &s->mux);
    if (error == 0)
        error = smx_shared_new(&options, &s->shared);
    return error == 0 ? 0 : problem_set(p, error, "%s", smx_error_text(error));
}

static int open_workers(service *s, problem *p)
{
    int error = 0;
    s->workers = calloc(s->config->workers, sizeof(worker *));
    if (s->workers == NULL)
        return problem_set(p, SMX_E_NOMEM, "out of memory");
    for (size_t i = 0; i < s->config->workers && error == 0; i++) {
        const worker_options options = {s->config, s->mux, s->shared, s->log,
                                        i == 0 ? NULL : s->workers[0]};
        error = worker_new(&options, &s->workers[i], p);
        s->count += error == 0 ? 1 : 0;
    }
    return error;
}

int service_new(config *c, log_sink *log, service **out, problem *p)
{
    service *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return problem_set(p, SMX_E_NOMEM, "out of memory");
    s->config = config_share(c);
    s->log = log;
    int error = open_shared(s, p);
    if (error == 0)
        error = open_workers(s, p);
    if (error != 0) {
        service_free(s);
        return error;
    }
    *out = s;
    return 0;
}

uint16_t service_port(const service *s, size_t nth)
{
    return worker_port(s->workers[0], nth);
}

mux *service_mux(service *s)
{
    return s->mux;
}

static void on_ended(void *arg)
{
    service *s = arg;
    if (atomic_fetch_sub(&s->running, 1) == 1)
        s->ended(s->ended_arg);
}

/* Those that run are told to end; the count of `ended` must come out even. */
static int give_up(service *s, size_t started, problem *p)
{
    (void)atomic_fetch_sub(&s->running, s->count - started);
    for (size_t i = 0; i < started; i++)
        worker_drain(s->workers[i], 0);
    return problem_set(p, SMX_E_NOMEM, "no thread can be started");
}

int service_start(service *s, void (*ended)(void *arg), void *arg, problem *p)
{
    s->ended = ended;
    s->ended_arg = arg;
    int error = 0;
    for (size_t i = 0; i < s->count && error == 0; i++)
        error = worker_listen(s->workers[i], p);
    if (error != 0)
        return error;
    atomic_store(&s->running, s->count);
    for (size_t i = 0; i < s->count; i++) {
        if (worker_run(s->workers[i], on_ended, s) != 0)
            return give_up(s, i, p);
    }
    return 0;
}

void service_drain(service *s, uint32_t timeout_ms)
{
    for (size_t i = 0; i < s->count; i++)
        worker_drain(s->workers[i], timeout_ms);
}

void service_free(service *s)
{
    if (s == NULL)
        return;
    for (size_t i = 0; i < s->count; i++)
        worker_free(s->workers[i]);
    free(s->workers);
    smx_shared_free(s->shared);
    mux_free(s->mux);
    mux_state_free(s->state);
    store_close(s->store);
    config_free(s->config);
    free(s);
}
