/* The plain path of a message: a trusted client, one upstream, connections that are kept. What it costs
 * is counted behind a warm-up. Client and upstream are one thread with sockets that block; the
 * multiplexer runs on the test's, whose allocations alone are counted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "middleware/middleware.h"
#include "mux/mux_internal.h"
#include "support/fail_malloc.h"

enum { WARM_UP = 3, MESSAGES = 20, BODY = 4096, MIDDLEWARE = 4 };

typedef struct site {
    smx_loop *loop;
    upstream_options upstream;
    mux_choice choice;
    mux_user_options user;
    mux_options options;
    mux_state *state;
    mux *mux;
    mux_worker *worker;
    smx_server *server;
    const smx_middleware *middleware[MIDDLEWARE];
    const smx_hook *hooks[1];
    smx_trust trust;
    smx_listener_options listener;
    bool drained;

    int upstream_listener; /* the other thread's, as what follows */
    int upstream_socket;
    int client_socket;
    const char *fault; /* what went wrong there, or NULL */
    atomic_bool over;
} site;

/* ---- client and upstream ---- */

static int site_socket(void)
{
    const struct timeval patience = {.tv_sec = 10};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    return fd;
}

static struct sockaddr_in site_address(uint16_t port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

/* Reads until `end` ends what came. */
static void site_expect(site *s, int fd, const char *end)
{
    char text[BODY * 2];
    size_t length = 0;
    size_t wanted = strlen(end);
    while (s->fault == NULL) {
        ssize_t got = recv(fd, text + length, sizeof(text) - length, 0);
        if (got <= 0)
            s->fault = end;
        else
            length += (size_t)got;
        if (length >= wanted && memcmp(text + length - wanted, end, wanted) == 0)
            return;
    }
}

static void site_say(site *s, int fd, const char *text)
{
    if (s->fault == NULL && send(fd, text, strlen(text), MSG_NOSIGNAL) != (ssize_t)strlen(text))
        s->fault = text;
}

static void site_ask(site *s, const char *command, const char *reply_end)
{
    site_say(s, s->client_socket, command);
    site_expect(s, s->client_socket, reply_end);
}

/* The first message opens the connection. */
static void site_greet_upstream(site *s)
{
    if (s->fault != NULL || s->upstream_socket >= 0)
        return;
    s->upstream_socket = accept(s->upstream_listener, NULL, NULL);
    site_say(s, s->upstream_socket, "220 upstream.example ESMTP\r\n");
    site_expect(s, s->upstream_socket, "\r\n");
    site_say(s, s->upstream_socket, "250-upstream.example\r\n250 PIPELINING\r\n");
}

static void site_send_message(site *s)
{
    char body[BODY + 8];
    memset(body, 'x', sizeof(body));
    for (size_t at = 62; at < BODY; at += 64)
        memcpy(body + at, "\r\n", 2);
    (void)snprintf(body + BODY, 6, "\r\n.\r\n");
    memcpy(body, "Subject: x\r\n\r\n", 14);
    site_ask(s, "MAIL FROM:<ann@example.com>\r\n", "\r\n");
    site_ask(s, "RCPT TO:<bob@example.org>\r\n", "\r\n");
    site_ask(s, "DATA\r\n", "\r\n");
    site_say(s, s->client_socket, body);
    site_greet_upstream(s);
    site_expect(s, s->upstream_socket, "DATA\r\n");
    site_say(s, s->upstream_socket, "250 2.1.0 ok\r\n250 2.1.5 ok\r\n354 go on\r\n");
    site_expect(s, s->upstream_socket, "\r\n.\r\n");
    site_say(s, s->upstream_socket, "250 2.0.0 ok, queued as 12345\r\n");
    site_expect(s, s->client_socket, "queued as 12345\r\n");
}

static void site_nothing(void *arg)
{
    (void)arg;
}

static void *site_peers(void *arg)
{
    site *s = arg;
    struct sockaddr_in there = site_address(smx_server_port(s->server, 0));
    s->client_socket = site_socket();
    if (connect(s->client_socket, (struct sockaddr *)&there, sizeof(there)) != 0)
        s->fault = "connect";
    site_expect(s, s->client_socket, "\r\n");
    site_ask(s, "EHLO client.example\r\n", "\r\n");
    for (size_t i = 0; i < WARM_UP; i++)
        site_send_message(s);
    fail_malloc_begin(0);
    for (size_t i = 0; i < MESSAGES; i++)
        site_send_message(s);
    (void)fail_malloc_end();
    s->over = true;
    if (smx_loop_post(s->loop, site_nothing, NULL) != 0)
        s->fault = "post";
    return NULL;
}

/* ---- the multiplexer ---- */

static uint16_t site_listen(site *s)
{
    struct sockaddr_in any = site_address(0);
    socklen_t size = sizeof(any);
    s->upstream_socket = -1;
    s->upstream_listener = site_socket();
    assert_int_equal(bind(s->upstream_listener, (struct sockaddr *)&any, sizeof(any)), 0);
    assert_int_equal(listen(s->upstream_listener, 1), 0);
    assert_int_equal(getsockname(s->upstream_listener, (struct sockaddr *)&any, &size), 0);
    return ntohs(any.sin_port);
}

static void site_open_mux(site *s)
{
    problem p = {0};
    s->upstream = (upstream_options){.name = "only",
                                     .url = "smtp+notls://127.0.0.1",
                                     .host = "127.0.0.1",
                                     .tls = SMX_TLS_OFF,
                                     .port = site_listen(s)};
    s->choice = (mux_choice){0, 1};
    s->user = (mux_user_options){.user = {.name = SMX_SLICE("ann")},
                                 .plan = {.selector = mux_selector_find(SMX_SLICE("failover")),
                                          .choices = &s->choice,
                                          .choice_count = 1}};
    s->options = (mux_options){.hostname = "mux.example",
                               .upstreams = &s->upstream,
                               .upstream_count = 1,
                               .users = &s->user,
                               .user_count = 1};
    assert_int_equal(mux_state_new(NULL, &s->state), 0);
    assert_int_equal(mux_new(&s->options, s->state, &s->mux), 0);
    assert_int_equal(mux_worker_new(s->mux, s->loop, NULL, NULL, &s->worker, &p), 0);
}

static void site_open_server(site *s)
{
    s->middleware[0] = mux_worker_summary(s->worker);
    s->middleware[1] = &middleware_received_limit;
    s->middleware[2] = &middleware_allow_from;
    s->middleware[3] = mux_worker_dedup(s->worker);
    s->hooks[0] = &hook_allow_from;
    const smx_server_options options = {.version = SMX_SERVER_VERSION,
                                        .hostname = "mux.example",
                                        .handler = mux_handle,
                                        .handler_arg = s->worker,
                                        .middleware = s->middleware,
                                        .middleware_count = MIDDLEWARE,
                                        .hooks = s->hooks,
                                        .hook_count = 1,
                                        .find_user = mux_find_user,
                                        .find_user_arg = s->mux};
    assert_int_equal(smx_server_new(s->loop, &options, &s->server), 0);
    mux_worker_set_server(s->worker, s->server);
    s->trust.user = SMX_SLICE("ann");
    assert_int_equal(smx_network_parse(SMX_SLICE("127.0.0.0/8"), &s->trust.network), 0);
    s->listener = (smx_listener_options){.version = SMX_LISTENER_VERSION,
                                         .listen = "127.0.0.1:0",
                                         .trust = &s->trust,
                                         .trust_count = 1};
    assert_int_equal(smx_server_listen(s->server, &s->listener, NULL), 0);
    assert_int_equal(smx_server_start(s->server), 0);
}

static int site_setup(void **state)
{
    site *s = calloc(1, sizeof(*s));
    *state = s;
    if (s == NULL || smx_loop_new(NULL, &s->loop) != 0)
        return -1;
    fail_malloc_choose_thread(true);
    site_open_mux(s);
    site_open_server(s);
    return 0;
}

static void site_on_drained(void *arg)
{
    site *s = arg;
    s->drained = true;
}

static int site_teardown(void **state)
{
    site *s = *state;
    mux_worker_drain(s->worker, loop_now(s->loop), site_on_drained, s);
    while (!s->drained)
        (void)uv_run(smx_loop_uv(s->loop), UV_RUN_ONCE);
    smx_server_free(s->server);
    mux_worker_free(s->worker);
    smx_loop_free(s->loop);
    mux_free(s->mux);
    mux_state_free(s->state);
    (void)close(s->upstream_listener);
    free(s);
    return 0;
}

static void mux_plain_path__messages_behind_a_warm_up_make_no_allocation(void **state)
{
    site *s = *state;
    pthread_t peers;
    assert_int_equal(pthread_create(&peers, NULL, site_peers, s), 0);
    while (!s->over)
        (void)uv_run(smx_loop_uv(s->loop), UV_RUN_ONCE);
    assert_int_equal(pthread_join(peers, NULL), 0);
    (void)close(s->client_socket);
    (void)close(s->upstream_socket);
    assert_null(s->fault);
    assert_int_equal(fail_malloc_count(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            mux_plain_path__messages_behind_a_warm_up_make_no_allocation, site_setup,
            site_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
