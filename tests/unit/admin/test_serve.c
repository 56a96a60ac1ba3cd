/* The admin over real sockets: what is answered, who is let in, and that slow or many clients keep
 * nobody else waiting. */
#include "support/unit_test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "admin/admin.h"
#include "base/buffer.h"
#include "base/clock.h"

enum { PATIENCE_MS = 20000 };

typedef struct site {
    admin *admin;
    char folder[64];
    char listen[128];
    char path[96];
    admin_ops ops;
    atomic_bool is_suspended;
    atomic_int tests; /* under way */
    int status_error;
} site;

/* ---- operations ---- */

static int op_status(void *arg, admin_status *status)
{
    site *s = arg;
    if (s->status_error != 0)
        return s->status_error;
    admin_upstream *all = arena_calloc(&status->memory, 2 * sizeof(*all));
    if (all == NULL)
        return SMX_E_NOMEM;
    bool is_suspended = atomic_load(&s->is_suspended);
    for (size_t i = 0; i < 2; i++)
        all[i] = (admin_upstream){.name = i == 0 ? "one" : "a/b",
                                  .url = "smtp://x:25",
                                  .is_usable = i == 0 && !is_suspended,
                                  .state = i == 0 && !is_suspended ? "usable" : "suspended",
                                  .detail = "",
                                  .is_suspended = is_suspended};
    status->version = "0";
    status->hostname = "mux";
    status->file = "f";
    status->digest = "";
    status->on_disk = "same";
    status->is_listening = true;
    status->upstreams = all;
    status->upstream_count = 2;
    return 0;
}

static int op_suspend(void *arg, const char *upstream, const char *duration, problem *p)
{
    site *s = arg;
    if (strcmp(upstream, "one") != 0 && strcmp(upstream, "a/b") != 0)
        return problem_set(p, SMX_E_NOTFOUND, "no upstream is called %s", upstream);
    if (duration != NULL && strcmp(duration, "15m") != 0)
        return problem_set(p, SMX_E_INVALID, "%s is no duration", duration);
    atomic_store(&s->is_suspended, true);
    return 0;
}

static int op_resume(void *arg, const char *upstream, problem *p)
{
    site *s = arg;
    (void)upstream;
    (void)p;
    atomic_store(&s->is_suspended, false);
    return 0;
}

/* Takes until it is told to stop. */
static int op_test(void *arg, const char *upstream, const atomic_bool *stop, json_t **answer,
                   problem *p)
{
    site *s = arg;
    (void)answer;
    if (strcmp(upstream, "one") == 0) {
        *answer = json_pack("{s:b}", "ok", true);
        return 0;
    }
    (void)atomic_fetch_add(&s->tests, 1);
    while (!atomic_load(stop))
        (void)usleep(1000);
    return problem_set(p, SMX_E_CLOSED, "stopped");
}

static int op_explain(void *arg, const json_t *query, const atomic_bool *stop, json_t **answer,
                      problem *p)
{
    (void)arg;
    (void)stop;
    (void)p;
    *answer = json_pack("{s:O}", "query", query);
    return 0;
}

/* ---- a site ---- */

static void open_at(site *s, admin_options options)
{
    problem p = {""};
    options.ops = &s->ops;
    options.arg = s;
    if (options.listen == NULL)
        options.listen = s->listen;
    int error = admin_new(&options, &s->admin, &p);
    if (error != 0)
        fail_msg("%s", p.text);
    assert_int_equal(admin_start(s->admin, &p), 0);
}

static int setup(void **state)
{
    site *s = calloc(1, sizeof(*s));
    *state = s;
    (void)snprintf(s->folder, sizeof(s->folder), "/tmp/smx-admin-XXXXXX");
    if (mkdtemp(s->folder) == NULL)
        return -1;
    (void)snprintf(s->path, sizeof(s->path), "%s/s", s->folder);
    (void)snprintf(s->listen, sizeof(s->listen), "unix:%s", s->path);
    s->ops = (admin_ops){op_status, op_suspend, op_resume, op_test, op_explain, NULL};
    return 0;
}

static int teardown(void **state)
{
    site *s = *state;
    admin_free(s->admin);
    (void)unlink(s->path);
    (void)rmdir(s->folder);
    free(s);
    return 0;
}

/* ---- a client ---- */

static int dial(const site *s)
{
    struct sockaddr_un path = {.sun_family = AF_UNIX};
    struct sockaddr_in address = {.sin_family = AF_INET};
    bool is_tcp = admin_port(s->admin) != 0;
    int fd = socket(is_tcp ? AF_INET : AF_UNIX, SOCK_STREAM, 0);
    const struct timeval patience = {.tv_sec = PATIENCE_MS / 1000};
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    address.sin_port = htons(admin_port(s->admin));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    memcpy(path.sun_path, s->path, strlen(s->path));
    int result = is_tcp ? connect(fd, (struct sockaddr *)(void *)&address, sizeof(address))
                        : connect(fd, (struct sockaddr *)(void *)&path, sizeof(path));
    assert_int_equal(result, 0);
    return fd;
}

static void say(int fd, const char *text)
{
    (void)send(fd, text, strlen(text), MSG_NOSIGNAL);
}

/* All up to the end of the connection. */
static void hear(int fd, buffer *in)
{
    char octets[4096];
    ssize_t got;
    while ((got = recv(fd, octets, sizeof(octets), 0)) > 0)
        assert_int_equal(buffer_append(in, slice_of(octets, (size_t)got)), 0);
    (void)close(fd);
}

static bool holds(const buffer *in, const char *text)
{
    return slice_search(buffer_slice(in), slice_of_text(text)) < buffer_length(in);
}

/* The status of one request; the reply must hold `text`. */
static int ask(const site *s, const char *request, const char *text)
{
    buffer in = {0};
    uint64_t code = 0;
    int fd = dial(s);
    say(fd, request);
    hear(fd, &in);
    assert_true(buffer_length(&in) > 12);
    assert_int_equal(slice_to_number(slice_of(in.data + 9, 3), 999, &code), 0);
    if (!holds(&in, text))
        fail_msg("no %s in the answer to %s:\n%.*s", text, request, (int)buffer_length(&in),
                 in.data);
    buffer_free(&in);
    return (int)code;
}

#define HEAD  " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
#define JSON  "Content-Type: application/json\r\n"
#define TOKEN "Authorization: Bearer sesame\r\n"

/* ---- answers ---- */

static void serve__what_is_told(void **state)
{
    site *s = *state;
    open_at(s, (admin_options){0});
    assert_int_equal(ask(s, "GET /healthz" HEAD "\r\n", "ok\n"), 200);
    assert_int_equal(ask(s, "GET /readyz" HEAD "\r\n", "ready\n"), 200);
    assert_int_equal(ask(s, "GET /metrics" HEAD "\r\n", "text/plain; version=0.0.4"), 200);
    assert_int_equal(ask(s, "GET /api/status" HEAD "\r\n", "\"ready\": true"), 200);
    assert_int_equal(ask(s, "GET /api/upstreams" HEAD "\r\n", "\"name\": \"a/b\""), 200);
    assert_int_equal(ask(s, "GET /api/upstreams/a%2Fb" HEAD "\r\n", "\"name\": \"a/b\""), 200);
    assert_int_equal(ask(s, "GET /api/upstreams/none" HEAD "\r\n", "\"error\""), 404);
    assert_int_equal(ask(s, "HEAD /healthz" HEAD "\r\n", "Content-Length: 3"), 200);
}

static void serve__changes(void **state)
{
    site *s = *state;
    open_at(s, (admin_options){0});
    assert_int_equal(ask(s,
                         "POST /api/upstreams/one/suspend" HEAD JSON
                         "Content-Length: 13\r\n\r\n{\"for\":\"15m\"}",
                         "\"state\": \"suspended\""),
                     200);
    assert_int_equal(ask(s, "GET /readyz" HEAD "\r\n", "one: suspended"), 503);
    assert_int_equal(ask(s, "POST /api/upstreams/one/resume" HEAD JSON "\r\n", "usable"), 200);
    assert_int_equal(ask(s, "GET /readyz" HEAD "\r\n", "ready"), 200);
    assert_int_equal(ask(s, "POST /api/upstreams/one/test" HEAD JSON "\r\n", "\"ok\": true"), 200);
    assert_int_equal(ask(s, "POST /api/explain" HEAD JSON "Content-Length: 10\r\n\r\n{\"user\":1}",
                         "\"user\": 1"),
                     200);
}

static void serve__errors_are_json(void **state)
{
    static const struct {
        const char *request;
        int status;
        const char *text;
    } CASES[] = {
        {"GET /nothing" HEAD "\r\n", 404, "{\n  \"error\":"},
        {"POST /metrics" HEAD JSON "\r\n", 405, "Allow: GET, HEAD\r\n"},
        {"GET /api/reload" HEAD "\r\n", 405, "Allow: POST\r\n"},
        {"DELETE /api/status" HEAD "\r\n", 405, "Allow: GET, HEAD\r\n"},
        {"POST /api/reload" HEAD JSON "\r\n", 501, "\"error\":"},
        {"POST /api/reload" HEAD "\r\n", 415, "\"error\":"},
        {"POST /api/upstreams/no/suspend" HEAD JSON "\r\n", 404, "no upstream is called no"},
        {"POST /api/upstreams/one/suspend" HEAD JSON "Content-Length: 2\r\n\r\n[]", 400, "object"},
        {"POST /api/upstreams/one/suspend" HEAD JSON "Content-Length: 1\r\n\r\n{", 400, "no JSON"},
        {"POST /api/upstreams/one/suspend" HEAD JSON "Content-Length: 9\r\n\r\n{\"for\":1}", 400,
         "a text"},
        {"POST /api/upstreams/one/suspend" HEAD JSON "Content-Length: 13\r\n\r\n{\"until\":\"1\"}",
         400, "until"},
        {"POST /api/upstreams/one/suspend" HEAD JSON "Content-Length: 11\r\n\r\n{\"for\":\"x\"}",
         400, "no duration"},
        {"POST /api/explain" HEAD JSON "Content-Length: 1048577\r\n\r\n", 413, "1 MiB"},
        {"POST /api/explain" HEAD JSON "Transfer-Encoding: chunked\r\n\r\n", 411, "Content-Length"},
        {"POST /api/reload" HEAD JSON "Origin: http://evil.example\r\n\r\n", 403, "refused"},
    };
    site *s = *state;
    open_at(s, (admin_options){0});
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        if (ask(s, CASES[i].request, CASES[i].text) != CASES[i].status)
            fail_msg("%s is not answered %d", CASES[i].request, CASES[i].status);
    }
    s->status_error = SMX_E_NOMEM;
    assert_int_equal(ask(s, "GET /metrics" HEAD "\r\n", "out of memory"), 503);
}

static void serve__tcp_asks_for_host_and_token(void **state)
{
    site *s = *state;
    open_at(s, (admin_options){.listen = "127.0.0.1:0", .token = "sesame"});
    assert_int_equal(ask(s, "GET /healthz HTTP/1.0\r\nHost: evil.example\r\n\r\n", "ok"), 200);
    assert_int_equal(ask(s, "GET /metrics HTTP/1.0\r\nHost: evil.example\r\n\r\n", "HELP"), 200);
    assert_int_equal(ask(s, "GET /readyz HTTP/1.0\r\n\r\n", "ready"), 200);
    assert_int_equal(ask(s, "GET /api/status" HEAD TOKEN "\r\n", "version"), 200);
    assert_int_equal(ask(s, "GET /api/status" HEAD "\r\n", "WWW-Authenticate: Bearer"), 401);
    assert_int_equal(ask(s, "GET /nothing" HEAD "\r\n", "error"), 401);
    assert_int_equal(ask(s, "POST /api/reload" HEAD JSON "\r\n", "error"), 401);
    assert_int_equal(
        ask(s, "GET /api/status HTTP/1.0\r\nHost: evil.example\r\n" TOKEN "\r\n", "Host header"),
        403);
    assert_int_equal(ask(s, "GET /api/status HTTP/1.0\r\n" TOKEN "\r\n", "Host header"), 403);
    assert_int_equal(
        ask(s, "GET /api/status HTTP/1.0\r\nHost: 127.0.0.1:1\r\n" TOKEN "\r\n", "url"), 200);
}

/* ---- the socket ---- */

static void new__tcp_without_a_token_is_refused(void **state)
{
    site *s = *state;
    problem p = {""};
    const admin_options options = {.listen = "127.0.0.1:0", .ops = &s->ops};
    assert_int_equal(admin_new(&options, &s->admin, &p), SMX_E_INVALID);
    assert_non_null(strstr(p.text, "token"));
}

static void new__the_unix_socket_is_for_owner_and_group(void **state)
{
    site *s = *state;
    struct stat about;
    open_at(s, (admin_options){0});
    assert_int_equal(stat(s->path, &about), 0);
    assert_int_equal(about.st_mode & 07777, 0660);
    admin_free(s->admin);
    s->admin = NULL;
    assert_int_not_equal(stat(s->path, &about), 0);
}

static void new__a_stale_socket_is_replaced_a_live_one_is_not(void **state)
{
    site *s = *state;
    problem p = {""};
    admin *second = NULL;
    struct sockaddr_un path = {.sun_family = AF_UNIX};
    memcpy(path.sun_path, s->path, strlen(s->path));
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)(void *)&path, sizeof(path)), 0);
    (void)close(fd);
    open_at(s, (admin_options){0});
    assert_int_equal(ask(s, "GET /healthz" HEAD "\r\n", "ok"), 200);
    const admin_options options = {.listen = s->listen, .ops = &s->ops};
    assert_int_equal(admin_new(&options, &second, &p), SMX_E_BUSY);
    assert_int_equal(ask(s, "GET /healthz" HEAD "\r\n", "ok"), 200);
}

/* ---- slow and many ---- */

static void serve__what_takes_long_keeps_nobody_waiting(void **state)
{
    site *s = *state;
    open_at(s, (admin_options){0});
    int fd = dial(s);
    say(fd, "POST /api/upstreams/a%2Fb/test" HEAD JSON "\r\n");
    while (atomic_load(&s->tests) == 0)
        (void)usleep(1000);
    assert_int_equal(ask(s, "GET /healthz" HEAD "\r\n", "ok"), 200);
    admin_free(s->admin); /* ends it, too */
    s->admin = NULL;
    (void)close(fd);
}

static void serve__a_request_that_drips_is_ended(void **state)
{
    site *s = *state;
    char octet;
    open_at(s, (admin_options){.request_ms = 300});
    uint64_t from = clock_monotonic_ms();
    int fd = dial(s);
    const struct timeval moment = {.tv_usec = 20000};
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &moment, sizeof(moment));
    say(fd, "GET /healthz HTTP/1.1\r\nX: ");
    ssize_t got = -1;
    while (got < 0 && clock_monotonic_ms() - from < PATIENCE_MS) {
        say(fd, "x");
        got = recv(fd, &octet, 1, 0);
        if (got < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
            got = 0;
    }
    assert_int_equal(got, 0);
    assert_true(clock_monotonic_ms() - from >= 300);
    (void)close(fd);
}

static void serve__idle_connections_give_way(void **state)
{
    enum { LIMIT = 8 };
    site *s = *state;
    int idle[LIMIT];
    open_at(s, (admin_options){.max_connections = LIMIT, .request_ms = 15000});
    for (size_t i = 0; i < LIMIT; i++) {
        idle[i] = dial(s);
        say(idle[i], "GET /heal");
    }
    uint64_t from = clock_monotonic_ms();
    assert_int_equal(ask(s, "GET /healthz" HEAD "\r\n", "ok"), 200);
    assert_true(clock_monotonic_ms() - from < 10000);
    for (size_t i = 0; i < LIMIT; i++)
        (void)close(idle[i]);
}

static void *scrape(void *arg)
{
    const site *s = arg;
    buffer in = {0};
    for (int i = 0; i < 20; i++) {
        int fd = dial(s);
        say(fd, "GET /metrics" HEAD "\r\n");
        hear(fd, &in);
    }
    size_t found = 0;
    smx_slice rest = buffer_slice(&in);
    smx_slice line;
    while (slice_cut(&rest, '\n', &line))
        found += slice_equal(line, SMX_SLICE("smtpmux_workers 0")) ? 1 : 0;
    buffer_free(&in);
    return (void *)found;
}

static void serve__many_at_once(void **state)
{
    enum { THREADS = 16 };
    site *s = *state;
    pthread_t threads[THREADS];
    open_at(s, (admin_options){0});
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, scrape, s), 0);
    for (size_t i = 0; i < THREADS; i++) {
        void *found = NULL;
        assert_int_equal(pthread_join(threads[i], &found), 0);
        assert_int_equal((size_t)found, 20);
    }
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(serve__what_is_told),
        TEST(serve__changes),
        TEST(serve__errors_are_json),
        TEST(serve__tcp_asks_for_host_and_token),
        TEST(new__tcp_without_a_token_is_refused),
        TEST(new__the_unix_socket_is_for_owner_and_group),
        TEST(new__a_stale_socket_is_replaced_a_live_one_is_not),
        TEST(serve__what_takes_long_keeps_nobody_waiting),
        TEST(serve__a_request_that_drips_is_ended),
        TEST(serve__idle_connections_give_way),
        TEST(serve__many_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
