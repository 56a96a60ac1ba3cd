/* The service: reloads by several threads while clients send and others look; the end among them. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "app/service.h"
#include "app/sink.h"
#include "base/clock.h"

enum { CLIENTS = 4, RELOADS = 20, RELOADERS = 2 };

typedef struct site {
    smx_loop *loop; /* the sink's */
    pthread_t thread;
    sink *sink;
    log_sink *log;
    int log_fd;
    service *service;
    uint16_t port;
    atomic_bool ending;
    atomic_bool ended;
    atomic_uint told; /* clients were told 250 so often */
    atomic_uint failed;
    atomic_uint reloads;
} site;

static void *run_sink(void *arg)
{
    site *s = arg;
    smx_loop_run(s->loop);
    return NULL;
}

static config *load(const site *s, unsigned turn)
{
    char text[1024];
    config *c = NULL;
    (void)snprintf(text, sizeof(text),
                   "hostname: mux.test\nworkers: 2\nthreads: %u\nmemory_limit: %u\n"
                   "listeners: [{listen: 127.0.0.1:0, trust: {127.0.0.0/8: u%u}}]\n"
                   "upstreams: {sink: {url: 'smtp+notls://127.0.0.1:%u', idle: %us}}\n"
                   "users: [{email: u%u, upstreams: [sink]}]\n",
                   1 + turn % 5, 1000000 + turn, turn, sink_port(s->sink), 1 + turn % 3, turn);
    problems told = {.file = "test.yaml", .text = slice_of_text(text)};
    int error = config_load(&told, &c);
    buffer shown = {0};
    if (error != 0 && problems_write(&told, &shown) == 0)
        (void)fprintf(stderr, "%.*s\n", (int)buffer_length(&shown), shown.data);
    buffer_free(&shown);
    problems_free(&told);
    assert_int_equal(error, 0);
    return c;
}

static void on_ended(void *arg)
{
    site *s = arg;
    s->ended = true;
}

static int setup(void **state)
{
    problem p = {0};
    site *s = calloc(1, sizeof(*s));
    *state = s;
    const log_options options = {.level = SMX_LOG_INFO};
    const sink_options sink_is = {.listen = "127.0.0.1:0", .hostname = "sink.example"};
    FILE *log = tmpfile();
    if (s == NULL || log == NULL)
        return -1;
    s->log_fd = dup(fileno(log));
    (void)fclose(log);
    assert_int_equal(log_new(s->log_fd, &options, &s->log), 0);
    assert_int_equal(smx_loop_new(NULL, &s->loop), 0);
    assert_int_equal(sink_new(s->loop, &sink_is, &s->sink, &p), 0);
    config *c = load(s, 0);
    assert_int_equal(service_new(c, s->log, &s->service, &p), 0);
    config_free(c);
    assert_int_equal(pthread_create(&s->thread, NULL, run_sink, s), 0);
    assert_int_equal(service_start(s->service, on_ended, s, &p), 0);
    s->port = service_port(s->service, 0);
    return 0;
}

static void stop_sink(void *arg)
{
    site *s = arg;
    sink_free(s->sink);
    smx_loop_stop(s->loop);
}

static int teardown(void **state)
{
    site *s = *state;
    if (!s->ended)
        service_drain(s->service, 5000);
    service_free(s->service);
    assert_true(s->ended);
    assert_int_equal(smx_loop_post(s->loop, stop_sink, s), 0);
    (void)pthread_join(s->thread, NULL);
    smx_loop_free(s->loop);
    log_free(s->log);
    (void)close(s->log_fd);
    free(s);
    return 0;
}

#define wait_until(condition)                                                                      \
    do {                                                                                           \
        uint64_t until_ = clock_monotonic_ms() + 20000;                                            \
        while (!(condition)) {                                                                     \
            if (clock_monotonic_ms() > until_)                                                     \
                fail_msg("this did not happen: %s", #condition);                                   \
            (void)usleep(1000);                                                                    \
        }                                                                                          \
    } while (0)

/* ---- a client, with a blocking socket ---- */

/* The code of a reply, or 0 at the end of the connection. */
static int hear(FILE *in)
{
    char line[1024];
    do {
        if (fgets(line, sizeof(line), in) == NULL)
            return 0;
    } while (line[3] == '-');
    line[3] = '\0';
    return (int)strtol(line, NULL, 10);
}

static int ask(FILE *in, int fd, const char *text)
{
    size_t len = strlen(text);
    return write(fd, text, len) == (ssize_t)len ? hear(in) : 0;
}

/* The codes that were right, of the dialogue. */
static bool dialogue(FILE *in, int fd, bool is_new)
{
    return (!is_new || (hear(in) == 220 && ask(in, fd, "EHLO client.test\r\n") == 250)) &&
           ask(in, fd, "MAIL FROM:<a@example.com>\r\n") == 250 &&
           ask(in, fd, "RCPT TO:<b@example.org>\r\n") == 250 && ask(in, fd, "DATA\r\n") == 354 &&
           ask(in, fd, "Subject: x\r\n\r\nx\r\n.\r\n") == 250;
}

static int client_connect(const site *s)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(s->port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (const struct sockaddr *)(const void *)&to, sizeof(to)) == 0)
        return fd;
    (void)close(fd);
    return -1;
}

/* Some messages on a connection, then another connection. */
static void *send_all(void *arg)
{
    site *s = arg;
    for (unsigned round = 0; !s->ending; round++) {
        int fd = client_connect(s);
        FILE *in = fd < 0 ? NULL : fdopen(fd, "r");
        bool right = in != NULL;
        for (unsigned i = 0; i < 1 + round % 7 && right && !s->ending; i++) {
            right = dialogue(in, fd, i == 0);
            s->told += right;
        }
        s->failed += !right;
        if (in != NULL)
            (void)fclose(in);
        else if (fd >= 0)
            (void)close(fd);
    }
    return NULL;
}

static void *reload_all(void *arg)
{
    site *s = arg;
    for (unsigned i = 0; i < RELOADS; i++) {
        problem p = {0};
        config *c = load(s, ++s->reloads);
        if (service_reload(s->service, c, &p) != 0)
            s->failed++;
        config_free(c);
    }
    return NULL;
}

/* ---- tests ---- */

static void service__reloads_of_several_threads_lose_nothing(void **state)
{
    site *s = *state;
    pthread_t clients[CLIENTS];
    pthread_t reloaders[RELOADERS];
    smx_server_counters sum;
    for (size_t i = 0; i < CLIENTS; i++)
        assert_int_equal(pthread_create(&clients[i], NULL, send_all, s), 0);
    for (size_t i = 0; i < RELOADERS; i++)
        assert_int_equal(pthread_create(&reloaders[i], NULL, reload_all, s), 0);
    while (s->reloads < RELOADS * RELOADERS) { /* as an operator's metrics do */
        generation *g = service_generation(s->service);
        assert_int_equal(service_port(s->service, 0), s->port);
        assert_in_range(g->number, 1, 1 + RELOADS * RELOADERS);
        service_get_counters(s->service, &sum);
        generation_free(g);
        (void)usleep(1000);
    }
    for (size_t i = 0; i < RELOADERS; i++)
        (void)pthread_join(reloaders[i], NULL);
    s->ending = true;
    for (size_t i = 0; i < CLIENTS; i++)
        (void)pthread_join(clients[i], NULL);
    assert_int_equal(s->failed, 0);
    assert_true(s->told > 0);
    wait_until(service_generations(s->service) == 1);
    service_get_counters(s->service, &sum);
    assert_int_equal(sum.accepted, s->told);
    assert_int_equal(mux_state_total(service_mux_state(s->service), MUX_OUTCOME_DELIVERED),
                     s->told);
    service_get_listener_counters(s->service, "127.0.0.1:0", &sum);
    assert_int_equal(sum.accepted, s->told);
    generation *g = service_generation(s->service);
    assert_int_equal(g->number, 1 + RELOADS * RELOADERS);
    generation_free(g);
}

static void *reload_until_closed(void *arg)
{
    site *s = arg;
    problem p = {0};
    int error = 0;
    while (error == 0) {
        config *c = load(s, ++s->reloads);
        error = service_reload(s->service, c, &p);
        config_free(c);
    }
    s->failed += error != SMX_E_CLOSED;
    return NULL;
}

static void service__the_end_may_come_within_a_reload(void **state)
{
    site *s = *state;
    pthread_t reloaders[RELOADERS];
    for (size_t i = 0; i < RELOADERS; i++)
        assert_int_equal(pthread_create(&reloaders[i], NULL, reload_until_closed, s), 0);
    wait_until(s->reloads > 3);
    service_drain(s->service, 5000);
    for (size_t i = 0; i < RELOADERS; i++)
        (void)pthread_join(reloaders[i], NULL);
    wait_until(s->ended);
    assert_int_equal(s->failed, 0);
}

static void service__what_cannot_be_prepared_leaves_the_old_one(void **state)
{
    site *s = *state;
    problem p = {0};
    config *c = load(s, 1);
    smx_listener_options *bad = &c->listeners[0].smtp;
    bad->listen = "192.0.2.77:2525";
    assert_true(service_reload(s->service, c, &p) < 0);
    assert_non_null(strstr(p.text, "does not have the address"));
    config_free(c);
    assert_int_equal(service_generations(s->service), 1);
    int fd = client_connect(s);
    FILE *in = fdopen(fd, "r");
    assert_true(dialogue(in, fd, true));
    (void)fclose(in);
}

#define SERVICE_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SERVICE_TEST(service__reloads_of_several_threads_lose_nothing),
        SERVICE_TEST(service__the_end_may_come_within_a_reload),
        SERVICE_TEST(service__what_cannot_be_prepared_leaves_the_old_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
