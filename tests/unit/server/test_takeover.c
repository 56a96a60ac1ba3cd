/* Two servers on one loop, of which the second takes over the sockets of the first. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "fixture.h"

enum { CLIENTS = 12 };

typedef struct takeover {
    fixture *f;
    smx_server *successor;
    client *waiting[CLIENTS]; /* connected while the loop's thread does not accept */
    size_t clients;
    bool starts; /* the successor begins to accept */
    atomic_int done;
    int error;
    int socket;
} takeover;

static void on_done(void *arg)
{
    takeover *t = arg;
    t->done++;
}

/* On the loop's thread. */
static void take_over(void *arg)
{
    takeover *t = arg;
    fixture *f = t->f;
    smx_server_options options = f->options;
    smx_listener_options door = f->listener;
    options.hostname = "successor.example";
    door.adopts = f->server;
    for (size_t i = 0; i < t->clients; i++)
        t->waiting[i] = client_open(f);
    t->error = smx_server_new(f->loop, &options, &t->successor);
    if (t->error == 0)
        t->error = smx_server_listen(t->successor, &door, NULL);
    if (t->error == 0 && t->starts)
        t->error = smx_server_start(t->successor);
}

static void retire(void *arg)
{
    takeover *t = arg;
    smx_server_retire(t->f->server, on_done, t);
}

static void take_over_and_retire(void *arg)
{
    take_over(arg);
    retire(arg);
}

static void free_successor(void *arg)
{
    takeover *t = arg;
    smx_server_free(t->successor);
    t->successor = NULL;
}

static void server_takeover__nothing_in_the_queue_is_lost(void **state)
{
    takeover t = {.f = *state, .clients = CLIENTS, .starts = true};
    client *old = client_first(t.f);
    fixture_call(t.f, take_over_and_retire, &t);
    assert_int_equal(t.error, 0);
    assert_int_equal(smx_server_port(t.successor, 0), t.f->port);
    for (size_t i = 0; i < CLIENTS; i++) {
        client_expect(t.waiting[i], "220 successor.example");
        client_close(t.waiting[i]);
    }
    client_mail(old, "S: on the old one\r\n\r\n", "250 ");
    assert_int_equal(t.done, 0);
    client_close(old);
    fixture_wait(t.done == 1);
    fixture_call(t.f, free_successor, &t);
}

static void server_takeover__without_a_successor_the_queue_is_accepted(void **state)
{
    takeover t = {.f = *state, .clients = CLIENTS};
    fixture_start(t.f);
    fixture_call(t.f, take_over, &t);
    fixture_call(t.f, free_successor, &t); /* a takeover that was given up leaves nothing behind */
    fixture_call(t.f, retire, &t);
    for (size_t i = 0; i < CLIENTS; i++) {
        client_expect(t.waiting[i], "220 mux.example");
        client_close(t.waiting[i]);
    }
    fixture_wait(t.done == 1);
}

static void begin_shutdown(void *arg)
{
    takeover *t = arg;
    smx_server_shutdown(t->f->server, 60000, on_done, t);
}

static void server_takeover__shutdown_may_follow(void **state)
{
    takeover t = {.f = *state, .starts = true};
    client *old = client_first(t.f);
    fixture_call(t.f, take_over_and_retire, &t);
    fixture_call(t.f, begin_shutdown, &t);
    client_expect(old, "421 4.3.2");
    client_expect_end(old);
    client_close(old);
    fixture_wait(t.done == 1);
    fixture_call(t.f, free_successor, &t);
}

static void dismiss(void *arg)
{
    takeover *t = arg;
    smx_server_retire(t->f->server, on_done, t);
    smx_server_dismiss(t->f->server);
}

static void server_takeover__dismissed_sessions_end_between_messages(void **state)
{
    takeover t = {.f = *state};
    client *busy = client_first(t.f);
    client *idle = client_greet(t.f);
    client_ask(busy, "MAIL FROM:<a@example.com>", "250 ");
    fixture_call(t.f, dismiss, &t);
    client_expect(idle, "421 4.3.2");
    client_expect_end(idle);
    client_close(idle);
    client_ask(busy, "RCPT TO:<b@example.com>", "250 ");
    client_ask(busy, "DATA", "354 ");
    client_ask(busy, "S: x\r\n\r\n.", "250 ");
    client_ask(busy, "NOOP", "250 ");
    assert_int_equal(t.done, 0);
    client_ask(busy, "MAIL FROM:<a@example.com>", "421 4.3.2");
    client_expect_end(busy);
    client_close(busy);
    fixture_wait(t.done == 1);
}

static uint64_t successor_sessions(const takeover *t)
{
    smx_server_counters counters;
    smx_server_get_counters(t->successor, &counters);
    return counters.sessions;
}

static void server_takeover__limits_count_over_both(void **state)
{
    takeover t = {.f = *state, .starts = true};
    t.f->listener.max_connections = 2;
    t.f->listener.max_connections_per_client = 1;
    client *old = client_first(t.f);
    fixture_call(t.f, take_over_and_retire, &t);
    client *same = client_open(t.f);
    client_expect(same, "421 too many connections from your address");
    client_close(same);
    fixture_wait(successor_sessions(&t) == 0);
    client *other = client_open_from(t.f, "127.0.0.2");
    client_expect(other, "220 ");
    client *third = client_open_from(t.f, "127.0.0.3");
    client_expect(third, "421 too many connections, try");
    client_close(third);
    client_close(old);
    client_close(other);
    fixture_wait(t.done == 1);
    fixture_call(t.f, free_successor, &t);
}

static void duplicate(void *arg)
{
    takeover *t = arg;
    t->socket = smx_server_socket(t->f->server, 0);
    t->error = smx_server_socket(t->f->server, 1);
}

static void server_takeover__socket_of_a_service_manager(void **state)
{
    takeover t = {.f = *state};
    fixture_start(t.f);
    fixture_call(t.f, duplicate, &t);
    assert_true(t.socket >= 0);
    assert_int_equal(t.error, SMX_E_INVALID);
    fixture *other = fixture_new();
    other->listener.has_socket = true;
    other->listener.socket = t.socket;
    other->options.hostname = "successor.example";
    fixture_call(t.f, retire, &t);
    fixture_wait(t.done == 1);
    fixture_start(other);
    (void)close(t.socket);
    assert_int_equal(other->port, t.f->port);
    client *c = client_open(other);
    client_expect(c, "220 successor.example");
    client_close(c);
    fixture_free(other);
}

/* More than the limit is in memory: a message is refused, until the limit is gone. */
static void server_takeover__shared_limits_change(void **state)
{
    fixture *f = *state;
    f->shared_options.memory_limit = 64;
    client *c = client_first(f);
    client_envelope(c);
    client_ask(c,
               "S: x\r\n\r\n"
               "more than sixty-four octets, which is the limit of all messages here\r\n.",
               "452 4.3.1");
    const smx_shared_options none = {.version = SMX_SHARED_VERSION, .threads = 2};
    assert_int_equal(smx_shared_configure(f->shared, &none), 0);
    client_mail(c, "S: x\r\n\r\nmore than sixty-four octets, which was the limit of all\r\n",
                "250 ");
    const smx_shared_options foreign = {.version = 99};
    assert_int_equal(smx_shared_configure(f->shared, &foreign), SMX_E_INVALID);
    client_close(c);
}

#define SERVER_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SERVER_TEST(server_takeover__nothing_in_the_queue_is_lost),
        SERVER_TEST(server_takeover__without_a_successor_the_queue_is_accepted),
        SERVER_TEST(server_takeover__shutdown_may_follow),
        SERVER_TEST(server_takeover__dismissed_sessions_end_between_messages),
        SERVER_TEST(server_takeover__limits_count_over_both),
        SERVER_TEST(server_takeover__socket_of_a_service_manager),
        SERVER_TEST(server_takeover__shared_limits_change),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
