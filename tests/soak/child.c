/* The daemon as a child: its configuration, its log (read by a thread, kept in a file), its end. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "soak.h"

enum { PATH_OCTETS = 512, OUTCOMES = 8 };

/* Each user has one plan. Providers by number, as provider.c has them; 9 ends the list. */
static const struct plan {
    const char *keys;
    unsigned providers[SOAK_PROVIDERS];
} PLANS[SOAK_USERS] = {
    {"selector: failover", {4, 2, 0, 9}},
    {"selector: failover", {5, 1, 3, 9}},
    {"selector: round-robin", {1, 2, 3, 9}},
    {"selector: round-robin", {0, 4, 5, 3, 9}},
    {"selector: weighted", {2, 5, 9}},
    {"selector: random", {4, 5, 1, 9}},
    {"selector: least-latency", {0, 3, 4, 9}},
    {"selector: hash", {5, 4, 2, 9}},
    {"selector: failover\n    delivery: cut-through", {4, 2, 0, 9}},
    {"selector: failover\n    delivery: cut-through", {5, 1, 3, 9}},
    {"selector: round-robin\n    delivery: cut-through", {1, 2, 3, 9}},
    {"selector: round-robin\n    delivery: cut-through", {0, 4, 5, 3, 9}},
    {"selector: weighted\n    delivery: cut-through", {2, 5, 9}},
    {"selector: random\n    delivery: cut-through", {4, 5, 1, 9}},
};

static const char *const OUTCOME_WORDS[OUTCOMES] = {
    "delivered", "deferred", "rejected", "unknown", "client_gone", "discarded", NULL};

struct child {
    pid_t pid;
    FILE *log;  /* what it writes comes here ... */
    FILE *copy; /* ... and goes there */
    pthread_t reader;
    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t changed;
    bool ready;
    bool ended;
    uint16_t port;
    uint64_t outcomes[OUTCOMES];
    uint64_t reloads;
    uint64_t reports; /* a sanitizer's */
};

void child_user(size_t user, char text[static 32])
{
    (void)snprintf(text, 32, "user%zu@example.com", user);
}

/* ---- configuration ---- */

static void write_users(FILE *file)
{
    char user[32];
    (void)fprintf(file, "users:\n");
    for (size_t i = 0; i < SOAK_USERS; i++) {
        child_user(i, user);
        (void)fprintf(file,
                      "  - email: %s\n    password: %s\n    deadline: 20s\n    %s\n"
                      "    upstreams: [",
                      user, SOAK_PASSWORD, PLANS[i].keys);
        for (size_t k = 0; PLANS[i].providers[k] < SOAK_PROVIDERS; k++)
            (void)fprintf(file, "%s%s", k == 0 ? "" : ", ", provider_name(PLANS[i].providers[k]));
        (void)fprintf(file, "]\n");
    }
}

static void write_config(const child_options *o, const char *path)
{
    FILE *file = fopen(path, "w");
    must(file != NULL, path);
    (void)fprintf(file,
                  "hostname: soak.test\n"
                  "workers: %u\n"
                  "listeners:\n"
                  "  - {listen: '127.0.0.1:0', auth: required, allow_insecure_auth: true}\n"
                  "upstreams:\n",
                  o->workers);
    for (size_t i = 0; i < SOAK_PROVIDERS; i++)
        (void)fprintf(file,
                      "  %s:\n"
                      "    url: smtp+notls://127.0.0.1:%u\n"
                      "    max_connections: 12\n"
                      "    breaker: {failures: 3, pause: 100ms, max_pause: 1s}\n"
                      "    timeouts: {connect: 2s, command: 2s, data: 2s, final: 3s}\n",
                      provider_name(i), provider_port(o->providers[i]));
    write_users(file);
    must(fclose(file) == 0, path);
}

/* ---- its log ---- */

static void note_message(child *c, smx_slice line)
{
    smx_slice rest = slice_from(line, slice_search(line, SMX_SLICE(" outcome=")));
    if (rest.len == 0)
        return;
    rest = slice_from(rest, sizeof(" outcome=") - 1);
    smx_slice word = slice_to(rest, slice_find(rest, ' '));
    for (size_t i = 0; OUTCOME_WORDS[i] != NULL; i++)
        c->outcomes[i] += slice_equal(word, slice_of_text(OUTCOME_WORDS[i]));
}

static bool holds(smx_slice line, const char *what)
{
    return slice_search(line, slice_of_text(what)) < line.len;
}

static void note_line(child *c, smx_slice line)
{
    static const char ADDRESS[] = " address=127.0.0.1:";
    (void)pthread_mutex_lock(&c->mutex);
    if (holds(line, " event=message ")) {
        note_message(c, line);
    } else if (!c->ready && holds(line, " event=listening ")) {
        uint64_t port = 0;
        smx_slice rest = slice_from(line, slice_search(line, slice_of_text(ADDRESS)));
        rest = slice_from(rest, rest.len == 0 ? 0 : sizeof(ADDRESS) - 1);
        if (slice_to_number(slice_to(rest, slice_find(rest, ' ')), UINT16_MAX, &port) == 0)
            c->port = (uint16_t)port;
    } else if (holds(line, " event=ready ")) {
        c->ready = true;
    } else if (holds(line, " event=reloaded ")) {
        c->reloads++;
    } else if (holds(line, "Sanitizer") || holds(line, "runtime error")) {
        c->reports++;
    }
    (void)pthread_cond_signal(&c->changed);
    (void)pthread_mutex_unlock(&c->mutex);
}

static void *read_log(void *arg)
{
    child *c = arg;
    char *line = NULL;
    size_t capacity = 0;
    ssize_t len;
    while ((len = getline(&line, &capacity, c->log)) > 0) {
        (void)fwrite(line, 1, (size_t)len, c->copy);
        note_line(c, slice_of(line, (size_t)len - (line[len - 1] == '\n')));
    }
    free(line);
    (void)pthread_mutex_lock(&c->mutex);
    c->ended = true;
    (void)pthread_cond_signal(&c->changed);
    (void)pthread_mutex_unlock(&c->mutex);
    return NULL;
}

/* ---- the process ---- */

static void start(child *c, const child_options *o, const char *config)
{
    int ends[2];
    must(pipe(ends) == 0, "no pipe");
    c->pid = fork();
    must(c->pid >= 0, "no process can be started");
    if (c->pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)dup2(ends[1], STDERR_FILENO);
        (void)close(ends[0]);
        (void)close(ends[1]);
        (void)execl(o->program, o->program, "serve", "-c", config, (char *)NULL);
        _exit(127);
    }
    (void)close(ends[1]);
    c->log = fdopen(ends[0], "r");
    must(c->log != NULL && pthread_create(&c->reader, NULL, read_log, c) == 0,
         "the log cannot be read");
}

child *child_new(const child_options *o)
{
    char path[PATH_OCTETS];
    child *c = calloc(1, sizeof(*c));
    must(c != NULL, "out of memory");
    must(pthread_mutex_init(&c->mutex, NULL) == 0 && pthread_cond_init(&c->changed, NULL) == 0,
         "out of memory");
    (void)snprintf(path, sizeof(path), "%s/soak.log", o->folder);
    c->copy = fopen(path, "w");
    must(c->copy != NULL, path);
    (void)snprintf(path, sizeof(path), "%s/soak.yaml", o->folder);
    write_config(o, path);
    start(c, o, path);
    (void)pthread_mutex_lock(&c->mutex);
    while (!c->ready && !c->ended)
        (void)pthread_cond_wait(&c->changed, &c->mutex);
    bool is_up = c->ready && c->port != 0;
    (void)pthread_mutex_unlock(&c->mutex);
    must(is_up, "the daemon did not start: see soak.log");
    return c;
}

uint16_t child_port(const child *c)
{
    return c->port;
}

void child_reload(const child *c)
{
    (void)kill(c->pid, SIGHUP);
}

bool child_stop(child *c)
{
    int status = 0;
    (void)kill(c->pid, SIGTERM);
    (void)pthread_join(c->reader, NULL);
    (void)waitpid(c->pid, &status, 0);
    (void)fclose(c->log);
    (void)fclose(c->copy);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        (void)fprintf(stderr, "soak: the daemon ended with %s %d\n",
                      WIFEXITED(status) ? "code" : "signal",
                      WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 && c->reports == 0;
}

uint64_t child_outcomes(const child *c, const char *outcome)
{
    size_t i = 0;
    while (OUTCOME_WORDS[i] != NULL && strcmp(OUTCOME_WORDS[i], outcome) != 0)
        i++;
    return OUTCOME_WORDS[i] == NULL ? 0 : c->outcomes[i];
}

uint64_t child_reloads(const child *c)
{
    return c->reloads;
}

void child_free(child *c)
{
    (void)pthread_cond_destroy(&c->changed);
    (void)pthread_mutex_destroy(&c->mutex);
    free(c);
}
