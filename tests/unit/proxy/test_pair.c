/* A client, the proxy and a server: plain sessions, sides that end, sides that do not read. */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "proxy_fixture.h"

/* ---- sessions ---- */

static void proxy_pair__a_message_reaches_the_server(void **state)
{
    proxy_fixture *x = *state;
    proxy_start(x);
    client *c = client_greet(x->f);
    client_mail(c, "Subject: x\r\n\r\n..dot\r\n", "250 2.0.0 kept");
    client_ask(c, "QUIT", "221 ");
    client_expect_end(c);
    client_close(c);
    assert_buffer(&x->f->sender, "a@from.example");
    assert_buffer(&x->f->recipients, "b@to.example ");
    assert_buffer(&x->f->body, ".dot\r\n");
    proxy_expect_empty(x);
    assert_int_equal(proxy_counters(x).connections, 1);
}

static void proxy_pair__pipelined_commands_in_one_segment(void **state)
{
    proxy_fixture *x = *state;
    proxy_start(x);
    client *c = client_greet(x->f);
    client_send(c, "MAIL FROM:<a@from.example>\r\nRCPT TO:<b@to.example>\r\nDATA\r\n");
    client_expect(c, "250 2.1.0");
    client_expect(c, "250 2.1.5");
    client_expect(c, "354 ");
    client_send(c, "S: 1\r\n\r\none\r\n.\r\nMAIL FROM:<>\r\nRSET\r\nQUIT\r\n");
    client_expect(c, "250 2.0.0 kept");
    client_expect(c, "250 2.1.0");
    client_expect(c, "250 ");
    client_expect(c, "221 ");
    client_expect_end(c);
    client_close(c);
    proxy_expect_empty(x);
}

/* A client that shuts its side down behind all it has to say still hears all replies. */
static void proxy_pair__half_closed_client_is_served_to_its_end(void **state)
{
    proxy_fixture *x = *state;
    proxy_start(x);
    client *c = client_open(x->f);
    client_send(c, "EHLO c.example\r\nMAIL FROM:<a@from.example>\r\nRCPT TO:<b@to.example>\r\n"
                   "DATA\r\nS: 1\r\n\r\none\r\n.\r\nQUIT\r\n");
    assert_int_equal(shutdown(c->fd, SHUT_WR), 0);
    static const char *const replies[] = {"220 ", "250 ",      "250 2.1.0", "250 2.1.5",
                                          "354 ", "250 2.0.0", "221 "};
    for (size_t i = 0; i < sizeof(replies) / sizeof(replies[0]); i++)
        client_expect(c, replies[i]);
    client_expect_end(c);
    client_close(c);
    proxy_expect_empty(x);
}

/* The same before the proxy is connected to the server. */
static void proxy_pair__client_that_said_all_before_the_banner_is_served(void **state)
{
    proxy_fixture *x = *state;
    proxy_play(x);
    client *c = client_open(x->f);
    client_send(c, "EHLO c.example\r\nQUIT\r\n");
    assert_int_equal(shutdown(c->fd, SHUT_WR), 0);
    client *up = proxy_accept(x);
    client_say(up, "220 up.example ESMTP");
    upstream_expect(up, "EHLO c.example");
    upstream_expect(up, "QUIT");
    client_send(up, "250 up.example\r\n221 bye\r\n");
    client_expect(c, "220 ");
    client_expect(c, "250 ");
    client_expect(c, "221 ");
    client_expect_end(c);
    client_close(c);
    client_close(up);
    proxy_expect_empty(x);
}

/* ---- bare newlines, LMTP ---- */

static void proxy_pair__bare_newline_in_a_body_is_refused(void **state)
{
    proxy_fixture *x = *state;
    proxy_start(x);
    client *c = client_greet(x->f);
    client_mail(c, "S: x\r\n\r\nbody\nMAIL FROM:<s@evil.example>\r\n", "550 5.5.2");
    assert_int_equal(x->f->handled, 0);
    client_close(c);
    proxy_expect_empty(x);
}

static void proxy_pair__bare_newlines_are_made_whole_where_it_is_wished(void **state)
{
    proxy_fixture *x = *state;
    x->listener.listener.bare_newline = SMX_BARE_NEWLINE_NORMALIZE;
    proxy_start(x);
    client *c = client_greet(x->f);
    client_mail(c, "S: x\n\nbody\r\n..dot\r\n", "250 ");
    assert_buffer(&x->f->header, "S: x\r\n");
    assert_buffer(&x->f->body, "body\r\n.dot\r\n");
    client_ask(c, "QUIT", "221 ");
    client_close(c);
    proxy_expect_empty(x);
}

static void proxy_pair__lmtp_has_a_reply_for_each_recipient(void **state)
{
    proxy_fixture *x = *state;
    x->f->listener.lmtp = true;
    x->listener.upstream.lmtp = true;
    proxy_start(x);
    client *c = client_open(x->f);
    client_expect(c, "220 ");
    client_ask(c, "LHLO client.example", "250 ");
    client_ask(c, "MAIL FROM:<a@from.example>", "250 ");
    client_ask(c, "RCPT TO:<b@to.example>", "250 ");
    client_ask(c, "RCPT TO:<c@to.example>", "250 ");
    client_ask(c, "DATA", "354 ");
    client_send(c, "S: x\r\n\r\nbody\r\n.\r\n");
    client_expect(c, "250 2.0.0 kept");
    client_expect(c, "250 2.0.0 kept");
    client_ask(c, "QUIT", "221 ");
    client_close(c);
    assert_int_equal(proxy_counters(x).accepted, 1);
    proxy_expect_empty(x);
}

/* ---- big bodies, and sides that do not read ---- */

enum { BIG = 8 * 1024 * 1024, LINE = 1000 };

static char *big_body(void)
{
    char *octets = malloc(BIG);
    assert_non_null(octets);
    for (size_t i = 0; i < BIG; i++)
        octets[i] = i % LINE == LINE - 2 ? '\r' : i % LINE == LINE - 1 ? '\n' : 'x';
    memcpy(octets + BIG - 2, "\r\n", 2);
    return octets;
}

static void proxy_pair__a_big_body_comes_whole(void **state)
{
    proxy_fixture *x = *state;
    char *octets = big_body();
    proxy_start(x);
    client *c = client_greet(x->f);
    client_envelope(c);
    client_send(c, "S: big\r\n\r\n");
    client_send_octets(c, octets, BIG);
    client_ask(c, ".", "250 2.0.0 kept");
    smx_slice body = buffer_slice(&x->f->body);
    assert_true(slice_equal(body, slice_of(octets, BIG)));
    client_close(c);
    free(octets);
}

typedef struct queues {
    proxy_fixture *x;
    size_t upstream;
    size_t client;
    bool held;
} queues;

static void look_at_queues(void *arg)
{
    queues *q = arg;
    if (q->x->proxy->front.open.first == NULL)
        return;
    const pair *p = list_member(q->x->proxy->front.open.first, pair, guest.node);
    q->upstream = p->upstream == NULL ? 0 : connection_queued(p->upstream);
    q->client = connection_queued(p->guest.connection);
    q->held = p->held_up[RELAY_CLIENT];
}

typedef struct sender {
    pthread_t thread;
    client *c;
    const char *octets;
    size_t len;
} sender;

static void *send_all(void *arg)
{
    sender *s = arg;
    client_send_octets(s->c, s->octets, s->len);
    return NULL;
}

static void proxy_pair__a_server_that_does_not_read_holds_the_client_up(void **state)
{
    proxy_fixture *x = *state;
    char *octets = big_body();
    client *up = NULL;
    proxy_play(x);
    client *c = proxy_greet(x, &up, "");
    client_say(c, "DATA");
    upstream_expect(up, "DATA");
    client_say(up, "354 go on");
    client_expect(c, "354 ");
    sender s = {.c = c, .octets = octets, .len = BIG};
    assert_int_equal(pthread_create(&s.thread, NULL, send_all, &s), 0);
    queues q = {.x = x};
    for (uint64_t end = clock_monotonic_ms() + 10000; !q.held && clock_monotonic_ms() < end;)
        fixture_call(x->f, look_at_queues, &q);
    assert_true(q.held);
    assert_in_range(q.upstream, CONNECTION_HIGH, CONNECTION_HIGH + 2 * LOOP_BLOCK);
    size_t got = 0;
    char block[65536];
    while (got < BIG) {
        ssize_t n = recv(up->fd, block, sizeof(block), 0);
        assert_true(n > 0);
        assert_int_equal(memcmp(block, octets + got, (size_t)n), 0);
        got += (size_t)n;
    }
    (void)pthread_join(s.thread, NULL);
    client_close(c);
    client_close(up);
    free(octets);
}

/* ---- sides that end ---- */

static void proxy_pair__a_refused_connection_is_a_421(void **state)
{
    proxy_fixture *x = *state;
    proxy_play(x);
    (void)close(x->listening);
    x->listening = -1;
    client *c = client_open(x->f);
    client_expect(c, "421 4.4.1");
    client_expect_end(c);
    client_close(c);
    assert_true(fixture_log_has(x->f, "upstream_failed client=127.0.0.1 upstream=127.0.0.1 "
                                      "phase=connect reason=the connection was refused"));
    proxy_expect_empty(x);
}

static void proxy_pair__a_server_that_dies_is_told_as_421(void **state)
{
    proxy_fixture *x = *state;
    client *up = NULL;
    proxy_play(x);
    client *c = proxy_greet(x, &up, "");
    client_say(c, "MAIL FROM:<a@b.example>");
    upstream_expect(up, "MAIL FROM:<a@b.example>");
    client_close(up);
    client_expect(c, "421 4.4.2");
    client_expect_end(c);
    client_close(c);
    proxy_expect_empty(x);
}

static void proxy_pair__a_client_that_dies_in_a_body_leaves_no_dot(void **state)
{
    proxy_fixture *x = *state;
    client *up = NULL;
    proxy_play(x);
    client *c = proxy_greet(x, &up, "");
    client_say(c, "DATA");
    upstream_expect(up, "DATA");
    client_say(up, "354 go on");
    client_expect(c, "354 ");
    client_send(c, "S: x\r\n\r\nhalf");
    client_close(c);
    char octets[256];
    buffer got = {0};
    for (ssize_t n; (n = recv(up->fd, octets, sizeof(octets), 0)) > 0;)
        assert_int_equal(buffer_append(&got, slice_of(octets, (size_t)n)), 0);
    assert_true(slice_search(buffer_slice(&got), SMX_SLICE("\n.")) == buffer_length(&got));
    buffer_free(&got);
    client_close(up);
    proxy_expect_empty(x);
}

static void proxy_pair__a_client_that_dies_while_it_waits_ends_the_server_s_connection(void **state)
{
    proxy_fixture *x = *state;
    client *up = NULL;
    proxy_play(x);
    client *c = proxy_greet(x, &up, "");
    client_close(c);
    client_expect_end(up);
    client_close(up);
    proxy_expect_empty(x);
}

/* ---- the proxy's end ---- */

static atomic_int stopped;

static void on_stopped(void *arg)
{
    (void)arg;
    stopped++;
}

static void shut_down(void *arg)
{
    smx_proxy_shutdown(arg, 20000, on_stopped, NULL);
}

static void proxy_pair__shutdown_says_421_to_the_idle_and_waits_for_the_busy(void **state)
{
    proxy_fixture *x = *state;
    stopped = 0;
    proxy_start(x);
    client *idle = client_greet(x->f);
    client *busy = client_greet(x->f);
    client_envelope(busy);
    fixture_call(x->f, shut_down, x->proxy);
    client_expect(idle, "421 4.3.2");
    client_expect_end(idle);
    client_close(idle);
    client_send(busy, "S: x\r\n\r\n");
    client_ask(busy, ".", "250 2.0.0 kept");
    client_expect(busy, "421 4.3.2");
    client_expect_end(busy);
    client_close(busy);
    fixture_wait(stopped == 1);
}

static void dismiss(void *arg)
{
    smx_proxy_dismiss(arg);
}

static void proxy_pair__dismissed_sessions_hear_421_between_two_messages(void **state)
{
    proxy_fixture *x = *state;
    proxy_start(x);
    client *c = client_greet(x->f);
    client_envelope(c);
    fixture_call(x->f, dismiss, x->proxy);
    client_send(c, "S: x\r\n\r\n");
    client_ask(c, ".", "250 2.0.0 kept");
    client_expect(c, "421 4.3.2");
    client_expect_end(c);
    client_close(c);
    proxy_expect_empty(x);
}

/* A connection that is waited for lingers for CONNECTION_LINGER_MS. */
static void proxy_pair__behind_quit_no_side_is_waited_for(void **state)
{
    proxy_fixture *x = *state;
    client *up;
    proxy_play(x);
    client *c = proxy_greet(x, &up, "");
    client_say(c, "QUIT");
    upstream_expect(up, "QUIT");
    client_say(up, "221 bye");
    client_expect(c, "221 bye");
    uint64_t began = clock_monotonic_ms();
    proxy_expect_empty(x);
    assert_true(clock_monotonic_ms() - began < CONNECTION_LINGER_MS - 1000);
    client_expect_end(c);
    client_expect_end(up);
    client_close(c);
    client_close(up);
}

/* Sessions of one listener share what became of the last EHLO reply: each hears that of its own. */
static void proxy_pair__ehlo_replies_are_remembered_until_another_comes(void **state)
{
    static const struct {
        const char *said;
        const char *last;
    } replies[] = {
        {"250-up.example\r\n250-SIZE 9\r\n250 X-OWN\r\n", "250 SIZE 9"},
        {"250-up.example\r\n250-SIZE 9\r\n250 X-OWN\r\n", "250 SIZE 9"},
        {"250-up.example\r\n250-SIZE 8\r\n250 X-OWN\r\n", "250 SIZE 8"},
        {"250-up.example\r\n250-SIZE 9\r\n250 X-OWN\r\n", "250 SIZE 9"},
    };
    proxy_fixture *x = *state;
    proxy_play(x);
    for (size_t i = 0; i < sizeof(replies) / sizeof(replies[0]); i++) {
        client *c = client_open(x->f);
        client *up = proxy_accept(x);
        client_say(up, "220 up.example ESMTP");
        client_expect(c, "220 ");
        client_say(c, "EHLO client.example");
        upstream_expect(up, "EHLO client.example");
        client_send(up, replies[i].said);
        client_expect(c, replies[i].last);
        client_close(c);
        client_close(up);
    }
    proxy_expect_empty(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PROXY_TEST(proxy_pair__a_message_reaches_the_server),
        PROXY_TEST(proxy_pair__pipelined_commands_in_one_segment),
        PROXY_TEST(proxy_pair__half_closed_client_is_served_to_its_end),
        PROXY_TEST(proxy_pair__client_that_said_all_before_the_banner_is_served),
        PROXY_TEST(proxy_pair__bare_newline_in_a_body_is_refused),
        PROXY_TEST(proxy_pair__bare_newlines_are_made_whole_where_it_is_wished),
        PROXY_TEST(proxy_pair__lmtp_has_a_reply_for_each_recipient),
        PROXY_TEST(proxy_pair__a_big_body_comes_whole),
        PROXY_TEST(proxy_pair__a_server_that_does_not_read_holds_the_client_up),
        PROXY_TEST(proxy_pair__a_refused_connection_is_a_421),
        PROXY_TEST(proxy_pair__a_server_that_dies_is_told_as_421),
        PROXY_TEST(proxy_pair__a_client_that_dies_in_a_body_leaves_no_dot),
        PROXY_TEST(proxy_pair__a_client_that_dies_while_it_waits_ends_the_server_s_connection),
        PROXY_TEST(proxy_pair__shutdown_says_421_to_the_idle_and_waits_for_the_busy),
        PROXY_TEST(proxy_pair__dismissed_sessions_hear_421_between_two_messages),
        PROXY_TEST(proxy_pair__behind_quit_no_side_is_waited_for),
        PROXY_TEST(proxy_pair__ehlo_replies_are_remembered_until_another_comes),
    };
    return cmocka_run_group_tests_name("proxy/pair", tests, NULL, NULL);
}
