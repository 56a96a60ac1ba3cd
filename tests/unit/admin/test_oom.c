/* Each allocation fails once, in turn, those of jansson too: a new admin says so; a request is answered
 * as ever or with 503, or its connection ends; nothing leaks, and the next request is answered. */
#include "support/unit_test.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "admin/admin.h"
#include "support/fail_malloc.h"

enum { ANSWER_MAX = 65536 };

typedef struct site {
    admin *admin;
    char folder[64];
    char listen[128];
    char path[96];
    char answer[ANSWER_MAX]; /* the client allocates nothing */
} site;

/* ---- operations ---- */

static const admin_limit limit = {"500 recipients/day", 17, 500};
static const admin_phase phase = {"rcpt", 5};
static const admin_route_status route = {"bulk", &limit, 1};
static const admin_listener listener = {.listen = "127.0.0.1:25", .tls = "off"};
static const admin_count count = {.outcome = "delivered", .total = 3};

static int op_status(void *arg, admin_status *status)
{
    (void)arg;
    admin_upstream *u = arena_calloc(&status->memory, sizeof(*u));
    if (u == NULL)
        return SMX_E_NOMEM;
    *u = (admin_upstream){.name = "one",
                          .url = "smtp://x:25",
                          .state = "suspended",
                          .detail = "",
                          .breaker = "closed",
                          .phases = &phase,
                          .phase_count = 1,
                          .limits = &limit,
                          .limit_count = 1};
    status->version = status->hostname = status->file = status->digest = status->on_disk = "x";
    status->is_listening = true;
    status->upstreams = u;
    status->upstream_count = 1;
    status->listeners = &listener;
    status->listener_count = 1;
    status->routes = &route;
    status->route_count = 1;
    status->messages = &count;
    status->message_count = 1;
    return 0;
}

static int op_suspend(void *arg, const char *upstream, const char *duration, problem *p)
{
    (void)arg;
    (void)p;
    assert_string_equal(upstream, "one");
    return duration == NULL || strcmp(duration, "15m") == 0 ? 0 : SMX_E_INVALID;
}

static int op_resume(void *arg, const char *upstream, problem *p)
{
    return op_suspend(arg, upstream, NULL, p);
}

static int op_explain(void *arg, const json_t *query, const atomic_bool *stop, json_t **answer,
                      problem *p)
{
    (void)arg;
    (void)stop;
    (void)p;
    *answer = json_pack("{s:O}", "query", query);
    return *answer == NULL ? SMX_E_NOMEM : 0;
}

static const admin_ops ops = {
    .status = op_status, .suspend = op_suspend, .resume = op_resume, .explain = op_explain};

/* ---- a site ---- */

/* What jansson is to allocate with: by way of this file, so that it can fail. */
static void *allocate(size_t size)
{
    return malloc(size);
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
    json_set_alloc_funcs(allocate, free);
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

static int open_site(site *s, problem *p)
{
    const admin_options options = {.listen = s->listen, .ops = &ops, .arg = s};
    int error = admin_new(&options, &s->admin, p);
    return error != 0 ? error : admin_start(s->admin, p);
}

static void close_site(site *s)
{
    admin_free(s->admin);
    s->admin = NULL;
}

/* The status of the answer, which is whole; 0: the connection ended instead. */
static unsigned ask(site *s, const char *request, const char *body)
{
    char head[512];
    size_t len = 0;
    struct sockaddr_un path = {.sun_family = AF_UNIX};
    const struct timeval patience = {.tv_sec = 20};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    memcpy(path.sun_path, s->path, strlen(s->path));
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    assert_int_equal(connect(fd, (struct sockaddr *)(void *)&path, sizeof(path)), 0);
    int size = snprintf(head, sizeof(head),
                        "%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                        "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                        request, strlen(body), body);
    (void)send(fd, head, (size_t)size, MSG_NOSIGNAL);
    ssize_t got;
    while ((got = recv(fd, s->answer + len, sizeof(s->answer) - 1 - len, 0)) > 0)
        len += (size_t)got;
    (void)close(fd);
    s->answer[len] = '\0';
    if (got < 0 && errno != ECONNRESET)
        fail_msg("%s: no answer came", request);
    return len < 12 ? 0 : (unsigned)strtoul(s->answer + sizeof("HTTP/1.1"), NULL, 10);
}

/* ---- the cases ---- */

static void admin_oom__a_new_one_says_so(void **state)
{
    site *s = *state;
    bool failed = true;
    for (size_t nth = 1; failed; nth++) {
        problem p = {""};
        fail_malloc_begin(nth);
        int error = open_site(s, &p);
        failed = fail_malloc_end();
        assert_int_equal(error, failed ? SMX_E_NOMEM : 0);
        assert_int_equal(p.text[0] != '\0', failed);
        close_site(s);
    }
}

static const struct {
    const char *request;
    const char *body;
    unsigned status;
    const char *holds;
} REQUESTS[] = {
    {"GET /healthz", "", 200, "ok\n"},
    {"GET /readyz", "", 503, ""},
    {"GET /metrics", "", 200, "smtpmux_route_limit{route=\"bulk\""},
    {"GET /api/status", "", 200, "\"delivered\": 3"},
    {"GET /api/upstreams", "", 200, "\"name\": \"one\""},
    {"GET /api/upstreams/one", "", 200, "\"name\": \"one\""},
    {"GET /api/upstreams/two", "", 404, "\"error\""},
    {"GET /nothing", "", 404, "\"error\""},
    {"POST /api/upstreams/one/suspend", "{\"for\": \"15m\"}", 200, "\"name\": \"one\""},
    {"POST /api/upstreams/one/suspend", "", 200, "\"name\": \"one\""},
    {"POST /api/upstreams/one/suspend", "{\"until\": 1}", 400, "expected only"},
    {"POST /api/upstreams/one/resume", "", 200, "\"name\": \"one\""},
    {"POST /api/upstreams/one/test", "", 501, "cannot do that"},
    {"POST /api/explain", "{\"user\": \"ann\"}", 200, "\"ann\""},
    {"POST /api/explain", "{]", 400, "no JSON"},
};

/* jansson's lexer, out of memory, calls a string no JSON. */
static bool is_clean_failure(const site *s, unsigned status, const char *body)
{
    return status == 0 || status == 503 ||
           (status == 400 && body[0] != '\0' && strstr(s->answer, "no JSON") != NULL);
}

static void admin_oom__a_request_is_answered_as_ever_or_not_at_all(void **state)
{
    site *s = *state;
    problem p = {""};
    assert_int_equal(open_site(s, &p), 0);
    for (size_t i = 0; i < sizeof(REQUESTS) / sizeof(REQUESTS[0]); i++) {
        bool failed = true;
        for (size_t nth = 1; failed; nth++) {
            fail_malloc_begin(nth);
            unsigned status = ask(s, REQUESTS[i].request, REQUESTS[i].body);
            failed = fail_malloc_end();
            bool as_ever = status == REQUESTS[i].status && strstr(s->answer, REQUESTS[i].holds);
            if (!as_ever && !(failed && is_clean_failure(s, status, REQUESTS[i].body)))
                fail_msg("%s, allocation %zu: %s", REQUESTS[i].request, nth, s->answer);
            assert_int_equal(ask(s, "GET /healthz", ""), 200);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(admin_oom__a_new_one_says_so, setup, teardown),
        cmocka_unit_test_setup_teardown(admin_oom__a_request_is_answered_as_ever_or_not_at_all,
                                        setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
