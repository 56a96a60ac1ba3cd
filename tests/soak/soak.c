/* Usage: soak [--messages N] [--clients N] [--workers N] [--seed N] [--seconds N] [--folder F] PROGRAM
 *
 * PROGRAM is the daemon. The exit code is 0 only if every message is accounted for, 1 if not, 2 if
 * the time was over before the end. The seed repeats what befalls each connection and each client,
 * not the order in which threads meet. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "soak.h"

enum { CLIENTS_MAX = 256, RELOADS = 20 };

typedef struct soak {
    const char *program;
    const char *folder;
    uint64_t seed, messages, clients, workers, seconds;
    ledger *ledger;
    provider *providers[SOAK_PROVIDERS];
    child *child;
    client_plan plan;
    pthread_mutex_t mutex; /* guards `over` */
    pthread_cond_t ended;
    bool over;
} soak;

typedef struct soak_client {
    client_plan *plan;
    size_t number;
    pthread_t thread;
} soak_client;

static void *client_main(void *arg)
{
    soak_client *c = arg;
    client_run(c->plan, c->number);
    return NULL;
}

/* The end of patience: a run that hangs ends too, and the daemon with it. */
static void *watch(void *arg)
{
    soak *s = arg;
    struct timespec end;
    int error = 0;
    (void)clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += (time_t)s->seconds;
    (void)pthread_mutex_lock(&s->mutex);
    while (!s->over && error == 0)
        error = pthread_cond_timedwait(&s->ended, &s->mutex, &end);
    bool over = s->over;
    (void)pthread_mutex_unlock(&s->mutex);
    if (over)
        return NULL;
    (void)fprintf(stderr, "soak: not over after %llu s: %llu of %llu messages were begun\n",
                  (unsigned long long)s->seconds, (unsigned long long)atomic_load(&s->plan.next),
                  (unsigned long long)s->messages);
    _exit(2);
}

static void run_clients(soak *s)
{
    static soak_client clients[CLIENTS_MAX];
    pthread_t watcher;
    must(pthread_create(&watcher, NULL, watch, s) == 0, "no thread can be started");
    for (size_t i = 0; i < s->clients; i++) {
        clients[i] = (soak_client){.plan = &s->plan, .number = i};
        must(pthread_create(&clients[i].thread, NULL, client_main, &clients[i]) == 0,
             "no thread can be started");
    }
    for (size_t i = 0; i < s->clients; i++)
        (void)pthread_join(clients[i].thread, NULL);
    (void)pthread_mutex_lock(&s->mutex);
    s->over = true;
    (void)pthread_cond_signal(&s->ended);
    (void)pthread_mutex_unlock(&s->mutex);
    (void)pthread_join(watcher, NULL);
}

/* ---- the account ---- */

static bool agrees(const char *what, uint64_t log, uint64_t least, uint64_t most)
{
    bool good = log >= least && log <= most;
    (void)printf("  %-26s %8llu in the log, %8llu told%s\n", what, (unsigned long long)log,
                 (unsigned long long)least, good ? "" : "   THEY DO NOT AGREE");
    return good;
}

/* Whoever left behind the dot was told nothing, and may stand in the log as anything. */
static bool compare_log(const soak *s)
{
    const client_counts *c = &s->plan.counts;
    uint64_t left = atomic_load(&c->left_behind);
    uint64_t taken = atomic_load(&c->taken), unknown = atomic_load(&c->unknown);
    (void)printf("\n");
    bool good = agrees("delivered", child_outcomes(s->child, "delivered"), taken, taken + left);
    return agrees("unknown", child_outcomes(s->child, "unknown"), unknown, unknown + left) && good;
}

static void show_clients(const client_counts *c)
{
    (void)printf(
        "\n  transactions: %llu taken, %llu put off, %llu refused, %llu unknown; the client "
        "left before the dot of %llu,\n  behind it of %llu; %llu sessions were told 421; %llu broken\n",
        (unsigned long long)atomic_load(&c->taken), (unsigned long long)atomic_load(&c->put_off),
        (unsigned long long)atomic_load(&c->refused), (unsigned long long)atomic_load(&c->unknown),
        (unsigned long long)atomic_load(&c->left_before),
        (unsigned long long)atomic_load(&c->left_behind),
        (unsigned long long)atomic_load(&c->goodbyes), (unsigned long long)atomic_load(&c->broken));
}

static bool conclude(const soak *s)
{
    uint64_t faults = 0;
    verdict v = ledger_judge(s->ledger);
    provider_show_head();
    for (size_t i = 0; i < SOAK_PROVIDERS; i++) {
        provider_show(s->providers[i]);
        faults += provider_faults(s->providers[i]);
    }
    show_clients(&s->plan.counts);
    bool good = compare_log(s);
    (void)printf(
        "\n  recipients: %u; told taken %u, refused %u, put off for good %u, nothing (they "
        "left) %u;\n  unknown was the answer at some time to %u; %llu copies are held\n",
        v.recipients, v.told[TOLD_TAKEN], v.told[TOLD_REFUSED], v.told[TOLD_PUT_OFF],
        v.told[TOLD_LEFT], v.doubts, (unsigned long long)v.copies);
    (void)printf("\nsoak: %llu messages, %llu faults: %u lost, %u doubled (%u of them refused), %u "
                 "strange; %u doubled that were answered as unknown\n",
                 (unsigned long long)s->messages, (unsigned long long)faults, v.lost, v.doubled,
                 v.kept_quiet, v.strange, v.risked);
    return good && v.lost == 0 && v.doubled == 0 && v.strange == 0 && faults > 0 &&
           v.told[TOLD_NOTHING] == 0 && child_reloads(s->child) > 0 &&
           v.told[TOLD_TAKEN] > v.recipients / 10 * 8 && atomic_load(&s->plan.counts.broken) == 0;
}

/* ---- the whole ---- */

static bool run(soak *s)
{
    struct timespec from, to;
    s->ledger = ledger_new((uint32_t)s->messages, s->seed);
    for (size_t i = 0; i < SOAK_PROVIDERS; i++)
        s->providers[i] = provider_new(i, s->seed, s->ledger);
    child_options options = {s->program, s->folder, (uint32_t)s->workers, s->providers};
    s->child = child_new(&options);
    s->plan.port = child_port(s->child);
    s->plan.ledger = s->ledger;
    s->plan.child = s->child;
    s->plan.reload_every = (uint32_t)(s->messages / RELOADS + 1);
    s->plan.seed = s->seed;
    s->plan.messages = (uint32_t)s->messages;
    (void)clock_gettime(CLOCK_MONOTONIC, &from);
    run_clients(s);
    (void)clock_gettime(CLOCK_MONOTONIC, &to);
    bool ended_well = child_stop(s->child);
    for (size_t i = 0; i < SOAK_PROVIDERS; i++)
        provider_stop(s->providers[i]);
    bool good = conclude(s) && ended_well;
    (void)printf("soak: seed %llu, %llu reloads, %llu clients, %llu workers, %lld s: %s\n",
                 (unsigned long long)s->seed, (unsigned long long)child_reloads(s->child),
                 (unsigned long long)s->clients, (unsigned long long)s->workers,
                 (long long)(to.tv_sec - from.tv_sec), good ? "good" : "BAD");
    for (size_t i = 0; i < SOAK_PROVIDERS; i++)
        provider_free(s->providers[i]);
    child_free(s->child);
    ledger_free(s->ledger);
    return good;
}

static bool take_number(const char *text, uint64_t most, uint64_t *number)
{
    return text != NULL && slice_to_number(slice_of_text(text), most, number) == 0;
}

static bool take_option(soak *s, const char *name, const char *value)
{
    const struct {
        const char *name;
        uint64_t most;
        uint64_t *number;
    } options[] = {
        {"--messages", 10000000, &s->messages}, {"--clients", CLIENTS_MAX, &s->clients},
        {"--workers", 64, &s->workers},         {"--seed", UINT64_MAX, &s->seed},
        {"--seconds", 86400, &s->seconds},
    };
    if (strcmp(name, "--folder") == 0) {
        s->folder = value;
        return value != NULL;
    }
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
        if (strcmp(name, options[i].name) == 0)
            return take_number(value, options[i].most, options[i].number);
    return false;
}

int main(int argc, char **argv)
{
    static soak s = {.folder = ".",
                     .seed = 1,
                     .messages = 1000,
                     .clients = 48,
                     .workers = 4,
                     .seconds = 600,
                     .mutex = PTHREAD_MUTEX_INITIALIZER,
                     .ended = PTHREAD_COND_INITIALIZER};
    int i = 1;
    while (i + 1 < argc && take_option(&s, argv[i], argv[i + 1]))
        i += 2;
    if (i + 1 != argc || argv[i][0] == '-') {
        (void)fprintf(stderr, "usage: soak [--messages N] [--clients N] [--workers N] [--seed N] "
                              "[--seconds N] [--folder F] PROGRAM\n");
        return 64;
    }
    s.program = argv[i];
    (void)signal(SIGPIPE, SIG_IGN);
    return run(&s) ? 0 : 1;
}
