/* Sinks belong to the loop's thread; changes of them are posted there and waited for. */
#include "app/demo_providers.h"

#include <pthread.h>
#include <stdlib.h>

typedef struct demo_provider {
    demo_providers *all;
    size_t number;
    sink *sink;
    uint16_t port;
} demo_provider;

struct demo_providers {
    smx_loop *loop;
    demo_taken_fn *taken;
    void *taken_arg;
    demo_provider each[DEMO_PROVIDERS];
    pthread_t thread;
    bool is_running;
    pthread_mutex_t mutex; /* guards `done` of a change */
    pthread_cond_t changed;
};

typedef struct demo_change {
    demo_provider *provider;
    demo_health health;
    problem *problem;
    int error;
    bool done;
} demo_change;

static const char *const NAMES[DEMO_PROVIDERS] = {"alpha", "beta"};
static const char *const HOSTNAMES[DEMO_PROVIDERS] = {"alpha.test", "beta.test"};

const char *demo_provider_name(size_t provider)
{
    return NAMES[provider];
}

uint16_t demo_providers_port(const demo_providers *providers, size_t provider)
{
    return providers->each[provider].port;
}

/* ---- on the thread ---- */

static void on_message(void *arg, const sink_record *record)
{
    demo_provider *provider = arg;
    provider->all->taken(provider->all->taken_arg, provider->number, record);
}

static void *thread_main(void *arg)
{
    demo_providers *providers = arg;
    smx_loop_run(providers->loop);
    for (size_t i = 0; i < DEMO_PROVIDERS; i++)
        sink_free(providers->each[i].sink);
    smx_loop_free(providers->loop);
    return NULL;
}

static int change_health(demo_provider *provider, demo_health health, problem *p)
{
    static const sink_fault faults[] = {
        [DEMO_WELL] = {.action = SINK_ACTION_NONE},
        [DEMO_REFUSES] = {.action = SINK_ACTION_NONE},
        [DEMO_PUTS_OFF] = {SINK_RCPT, SINK_ACTION_REPLY, 451, 1},
        [DEMO_HANGS_UP] = {SINK_DATA, SINK_ACTION_CLOSE, 0, 1},
    };
    sink_faults set = {.faults = {faults[health]},
                       .count = faults[health].action == SINK_ACTION_NONE ? 0 : 1};
    sink_set_faults(provider->sink, &set);
    return sink_set_refusing(provider->sink, health == DEMO_REFUSES, p);
}

static void on_change(void *arg)
{
    demo_change *change = arg;
    demo_providers *all = change->provider->all;
    int error = change_health(change->provider, change->health, change->problem);
    (void)pthread_mutex_lock(&all->mutex);
    change->error = error;
    change->done = true;
    (void)pthread_cond_signal(&all->changed);
    (void)pthread_mutex_unlock(&all->mutex);
}

/* ---- for the others ---- */

int demo_providers_set(demo_providers *providers, size_t provider, demo_health health, problem *p)
{
    demo_change change = {.provider = &providers->each[provider], .health = health, .problem = p};
    if (smx_loop_post(providers->loop, on_change, &change) != 0)
        return problem_set(p, SMX_E_NOMEM, "out of memory");
    (void)pthread_mutex_lock(&providers->mutex);
    while (!change.done)
        (void)pthread_cond_wait(&providers->changed, &providers->mutex);
    (void)pthread_mutex_unlock(&providers->mutex);
    return change.error;
}

static int open_sinks(demo_providers *providers, problem *p)
{
    int error = 0;
    for (size_t i = 0; i < DEMO_PROVIDERS && error == 0; i++) {
        demo_provider *provider = &providers->each[i];
        const sink_options options = {
            .listen = "127.0.0.1:0",
            .hostname = HOSTNAMES[i],
            .no_chunking = true, /* BDAT hands over all at once: a lost answer is then in doubt */
            .on_message = on_message,
            .arg = provider,
        };
        *provider = (demo_provider){.all = providers, .number = i};
        error = sink_new(providers->loop, &options, &provider->sink, p);
        if (error == 0)
            provider->port = sink_port(provider->sink);
    }
    return error;
}

int demo_providers_new(demo_taken_fn *taken, void *arg, demo_providers **out, problem *p)
{
    demo_providers *providers = calloc(1, sizeof(*providers));
    if (providers == NULL)
        return problem_set(p, SMX_E_NOMEM, "out of memory");
    (void)pthread_mutex_init(&providers->mutex, NULL);
    (void)pthread_cond_init(&providers->changed, NULL);
    providers->taken = taken;
    providers->taken_arg = arg;
    int error = smx_loop_new(NULL, &providers->loop);
    if (error != 0)
        (void)problem_set(p, error, "%s", smx_error_text(error));
    else
        error = open_sinks(providers, p);
    if (error == 0 && pthread_create(&providers->thread, NULL, thread_main, providers) != 0)
        error = problem_set(p, SMX_E_NOMEM, "no thread can be started");
    if (error != 0) {
        demo_providers_free(providers);
        return error;
    }
    providers->is_running = true;
    *out = providers;
    return 0;
}

void demo_providers_free(demo_providers *providers)
{
    if (providers == NULL)
        return;
    if (providers->is_running) {
        smx_loop_stop(providers->loop);
        (void)pthread_join(providers->thread, NULL);
    } else {
        for (size_t i = 0; i < DEMO_PROVIDERS; i++)
            sink_free(providers->each[i].sink);
        smx_loop_free(providers->loop);
    }
    (void)pthread_cond_destroy(&providers->changed);
    (void)pthread_mutex_destroy(&providers->mutex);
    free(providers);
}
