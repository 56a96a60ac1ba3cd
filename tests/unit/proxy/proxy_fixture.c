/* See proxy_fixture.h. */
#include "proxy_fixture.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

int proxy_setup(void **state)
{
    proxy_fixture *x = calloc(1, sizeof(*x));
    assert_non_null(x);
    x->f = fixture_new();
    x->listening = -1;
    x->options = (smx_proxy_options){
        .version = SMX_PROXY_VERSION,
        .hostname = "proxy.example",
        .log = x->f->options.log,
        .log_arg = x->f,
    };
    x->listener = (smx_proxy_listener){
        .listener = {.version = SMX_LISTENER_VERSION, .listen = "127.0.0.1:0"},
        .upstream = {.host = "127.0.0.1"},
    };
    *state = x;
    return 0;
}

void proxy_add_hook(proxy_fixture *x, const smx_hook *hook)
{
    assert_in_range(x->options.hook_count, 0, FIXTURE_HOOKS - 1);
    x->hooks[x->options.hook_count++] = hook;
    x->options.hooks = x->hooks;
}

static void make_proxy(void *arg)
{
    proxy_fixture *x = arg;
    char words[SMX_PROBLEM_TEXT] = "";
    x->options.shared = x->f->shared;
    if (x->listener.upstream.port == 0)
        x->listener.upstream.port = x->upstream_port;
    assert_int_equal(smx_proxy_new(x->f->loop, &x->options, &x->proxy), 0);
    if (smx_proxy_listen(x->proxy, &x->listener, words) != 0)
        fail_msg("%s", words);
    assert_int_equal(smx_proxy_start(x->proxy), 0);
    x->f->port = smx_proxy_port(x->proxy, 0);
}

void proxy_start(proxy_fixture *x)
{
    fixture_start(x->f);
    x->upstream_port = x->f->port;
    fixture_call(x->f, make_proxy, x);
}

void proxy_play(proxy_fixture *x)
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t size = sizeof(at);
    x->listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(x->listening >= 0);
    assert_int_equal(inet_pton(AF_INET, "127.0.0.1", &at.sin_addr), 1);
    assert_int_equal(bind(x->listening, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(listen(x->listening, 16), 0);
    assert_int_equal(getsockname(x->listening, (struct sockaddr *)&at, &size), 0);
    fixture_start(x->f);
    x->upstream_port = ntohs(at.sin_port);
    fixture_call(x->f, make_proxy, x);
}

client *proxy_accept(proxy_fixture *x)
{
    client *c = calloc(1, sizeof(*c));
    const struct timeval patience = {.tv_sec = 20};
    assert_non_null(c);
    assert_int_equal(setsockopt(x->listening, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)),
                     0);
    c->fd = accept4(x->listening, NULL, NULL, SOCK_CLOEXEC);
    assert_true(c->fd >= 0);
    assert_int_equal(setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
    return c;
}

void upstream_expect(client *upstream, const char *line)
{
    char expected[4096];
    (void)snprintf(expected, sizeof(expected), "%s\r\n", line);
    if (!client_hear(upstream))
        fail_msg("expected the line \"%s\", but the connection is over", line);
    assert_string_equal(upstream->reply, expected);
}

client *proxy_greet(proxy_fixture *x, client **upstream, const char *lines)
{
    client *c = client_open(x->f);
    *upstream = proxy_accept(x);
    client_say(*upstream, "220 up.example ESMTP");
    client_expect(c, "220 up.example ESMTP");
    client_say(c, "EHLO client.example");
    upstream_expect(*upstream, "EHLO client.example");
    client_send(*upstream, lines);
    client_say(*upstream, "250 PIPELINING");
    client_expect(c, "250 ");
    return c;
}

static void look(void *arg)
{
    proxy_fixture *x = arg;
    x->options.hook_count = x->proxy->front.open.count + x->proxy->front.closing.count;
}

void proxy_expect_empty(proxy_fixture *x)
{
    uint64_t end = clock_monotonic_ms() + 10000;
    do {
        fixture_call(x->f, look, x);
    } while (x->options.hook_count > 0 && clock_monotonic_ms() < end);
    assert_int_equal(x->options.hook_count, 0);
}

smx_server_counters proxy_counters(const proxy_fixture *x)
{
    smx_server_counters counters;
    smx_proxy_get_counters(x->proxy, &counters);
    return counters;
}

static void free_proxy(void *arg)
{
    proxy_fixture *x = arg;
    smx_proxy_free(x->proxy);
}

int proxy_teardown(void **state)
{
    proxy_fixture *x = *state;
    if (x->proxy != NULL)
        fixture_call(x->f, free_proxy, x);
    fixture_free(x->f);
    if (x->listening >= 0)
        (void)close(x->listening);
    free(x);
    return 0;
}
