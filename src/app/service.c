/* The service owns what the workers share and frees it behind them. One reload at a time. */
#include "app/service.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "app/worker.h"

struct service {
    config *first; /* what a reload does not change is as it says */
    store *store;
    mux_state *state;
    alerts *alerts;
    smx_shared *shared;
    counter_book *book;
    outlets *outlets;
    followers *followers;
    _Atomic size_t generations; /* that exist */
    worker **workers;
    size_t count;
    log_sink *log;
    pthread_mutex_t reloading; /* held for a whole reload */
    pthread_mutex_t mutex;     /* guards `current`, for a moment */
    generation *current;
    _Atomic bool is_listening;
    _Atomic size_t running;
    void (*ended)(void *arg);
    void *ended_arg;
};

static smx_shared_options shared_options(const config *c)
{
    return (smx_shared_options){
        .version = SMX_SHARED_VERSION, .threads = c->threads, .memory_limit = c->memory_limit};
}

static int open_shared(service *s, const config *c, problem *p)
{
    const smx_shared_options options = shared_options(c);
    const store_options kept = {.url = c->store, .log = log_write, .log_arg = s->log};
    int error = store_open(&kept, &s->store, p);
    if (error != 0)
        return error;
    error = alerts_new(log_write, s->log, &s->alerts);
    if (error == 0)
        error = alerts_configure(s->alerts, c->alerts, c->hostname);
    if (error == 0)
        error = mux_state_new(s->store, &s->state);
    if (error == 0)
        mux_state_set_alerts(s->state, s->alerts);
    if (error == 0)
        error = smx_shared_new(&options, &s->shared);
    if (error == 0)
        error = counter_book_new(&s->book);
    if (error == 0)
        error = outlets_new(s->log, &s->outlets);
    if (error == 0)
        error = followers_new(&s->followers);
    return error == 0 ? 0 : problem_set(p, error, "%s", smx_error_text(error));
}

static int open_workers(service *s, problem *p)
{
    int error = 0;
    uint32_t count = s->current->config->workers;
    s->workers = calloc(count, sizeof(worker *));
    if (s->workers == NULL)
        return problem_set(p, SMX_E_NOMEM, "out of memory");
    for (size_t i = 0; i < count && error == 0; i++) {
        const worker_options options = {s->shared,  s->log,       s->book,
                                        s->outlets, s->followers, i == 0};
        error = worker_new(&options, s->current, &s->workers[i], p);
        s->count += error == 0 ? 1 : 0;
    }
    return error;
}

int service_new(config *c, log_sink *log, service **out, problem *p)
{
    service *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return problem_set(p, SMX_E_NOMEM, "out of memory");
    s->first = config_share(c);
    s->log = log;
    (void)pthread_mutex_init(&s->reloading, NULL);
    (void)pthread_mutex_init(&s->mutex, NULL);
    int error = open_shared(s, c, p);
    if (error == 0)
        error = generation_new(c, 1, s->state, &s->generations, &s->current, p);
    if (error == 0)
        error = open_workers(s, p);
    if (error != 0) {
        service_free(s);
        return error;
    }
    *out = s;
    return 0;
}

/* ---- what is asked of it ---- */

generation *service_generation(service *s)
{
    (void)pthread_mutex_lock(&s->mutex);
    generation *g = generation_share(s->current);
    (void)pthread_mutex_unlock(&s->mutex);
    return g;
}

uint16_t service_port(service *s, size_t nth)
{
    generation *g = service_generation(s);
    uint16_t port = nth < g->config->listener_count ? g->ports[nth] : 0;
    generation_free(g);
    return port;
}

mux *service_mux(service *s)
{
    return s->current->mux;
}

mux_state *service_mux_state(service *s)
{
    return s->state;
}

alerts *service_alerts(service *s)
{
    return s->alerts;
}

void service_get_counters(service *s, smx_server_counters *sum)
{
    counter_book_sum(s->book, sum);
}

size_t service_workers(const service *s)
{
    return s->count;
}

uint64_t service_memory(const service *s)
{
    return smx_shared_memory(s->shared);
}

size_t service_generations(service *s)
{
    return s->generations;
}

void service_get_listener_counters(service *s, const char *listen, smx_server_counters *read)
{
    counter_book_read(s->book, listen, read);
}

followers *service_followers(service *s)
{
    return s->followers;
}

void service_reopen_files(service *s)
{
    outlets_reopen(s->outlets);
}

uint64_t service_lost_records(const service *s)
{
    return outlets_lost(s->outlets);
}

bool service_is_listening(const service *s)
{
    return s->is_listening;
}

/* ---- reload ---- */

static int prepare_all(service *s, generation *g, problem *p)
{
    for (size_t i = 0; i < s->count; i++) {
        int error = worker_prepare(s->workers[i], g, p);
        if (error == 0)
            continue;
        for (size_t k = 0; k < i; k++)
            worker_abort(s->workers[k]);
        return error;
    }
    return 0;
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

/* What only a restart changes. */
static void warn_of_restart(const service *s, const config *c)
{
    char text[128];
    (void)snprintf(text, sizeof(text), "workers: %u takes effect after a restart, %zu go on",
                   c->workers, s->count);
    if (c->workers != s->count)
        log_event(s->log, SMX_LOG_WARN, "reload", "problem", text, NULL);
    if (!same_text(c->store, s->first->store))
        log_event(s->log, SMX_LOG_WARN, "reload", "problem",
                  "store: it takes effect after a restart, the old one goes on", NULL);
}

/* Nothing here can fail so that the old one would be better. */
static void commit_all(service *s, generation *g)
{
    const smx_shared_options options = shared_options(g->config);
    mux_activate(g->mux);
    log_configure(s->log, &g->config->log);
    warn_of_restart(s, g->config);
    if (alerts_configure(s->alerts, g->config->alerts, g->config->hostname) != 0)
        log_event(s->log, SMX_LOG_WARN, "reload", "problem", "alerts: there is no memory for it",
                  NULL);
    int error = smx_shared_configure(s->shared, &options);
    if (error != 0)
        log_event(s->log, SMX_LOG_WARN, "reload", "problem",
                  "not all of the threads could be started", NULL);
    for (size_t i = 0; i < s->count; i++)
        worker_commit(s->workers[i]);
}

int service_reload(service *s, config *c, problem *p)
{
    generation *g = NULL;
    (void)pthread_mutex_lock(&s->reloading);
    int error = s->is_listening ? 0 : problem_set(p, SMX_E_CLOSED, "it is shutting down");
    if (error == 0)
        error = generation_new(c, s->current->number + 1, s->state, &s->generations, &g, p);
    if (error == 0)
        error = prepare_all(s, g, p);
    if (error == 0) {
        commit_all(s, g);
        generation *old = s->current;
        (void)pthread_mutex_lock(&s->mutex);
        s->current = g;
        (void)pthread_mutex_unlock(&s->mutex);
        g = old;
    }
    generation_free(g);
    (void)pthread_mutex_unlock(&s->reloading);
    return error;
}

/* ---- beginning and end ---- */

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
    mux_activate(s->current->mux);
    atomic_store(&s->running, s->count);
    for (size_t i = 0; i < s->count; i++) {
        if (worker_run(s->workers[i], on_ended, s) != 0)
            return give_up(s, i, p);
    }
    s->is_listening = true;
    return 0;
}

void service_drain(service *s, uint32_t timeout_ms)
{
    s->is_listening = false;
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
    generation_free(s->current);
    smx_shared_free(s->shared);
    mux_state_free(s->state);
    alerts_free(s->alerts);
    store_close(s->store);
    config_free(s->first);
    counter_book_free(s->book);
    outlets_free(s->outlets);
    followers_free(s->followers);
    (void)pthread_mutex_destroy(&s->reloading);
    (void)pthread_mutex_destroy(&s->mutex);
    free(s);
}
