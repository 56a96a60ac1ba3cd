/* Listeners: ports that are taken, shared ports, files of Unix sockets, no descriptors left. */
#include "test_peers.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "net/connection_internal.h"

#define LOOP_TEST(name) cmocka_unit_test_setup_teardown(name, peers_setup, peers_teardown)

static char test_path[64]; /* of this process alone */
static char test_old_path[80];

static void test_on_accept(void *owner, connection *c)
{
    ++*(int *)owner;
    connection_close(c);
}

static int test_listen(peers *p, endpoint at, listener_options options, int *accepted, listener **l,
                       problem *why)
{
    int error = listener_new(p->loop, &at, &options, test_on_accept, accepted, l, why);
    return error == 0 ? listener_start(*l) : error;
}

/* A blocking client, outside of the loop. */
static int test_connect(uint16_t port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)(const void *)&to, sizeof(to)), 0);
    return fd;
}

static void net_listener__taken_port_is_a_problem(void **state)
{
    peers *p = *state;
    const endpoint any = {.host = SMX_SLICE("127.0.0.1")};
    listener *first = NULL;
    listener *second = NULL;
    problem why = {0};
    int accepted = 0;
    assert_int_equal(test_listen(p, any, (listener_options){.fd = -1}, &accepted, &first, &why), 0);
    const endpoint same = {.host = SMX_SLICE("127.0.0.1"), .port = listener_port(first)};
    const endpoint all = {.host = SMX_SLICE("0.0.0.0"), .port = same.port};
    assert_int_equal(test_listen(p, same, (listener_options){.fd = -1}, &accepted, &second, &why),
                     SMX_E_BUSY);
    assert_non_null(strstr(why.text, "another program listens there"));
    assert_int_equal(test_listen(p, all, (listener_options){.fd = -1}, &accepted, &second, &why),
                     SMX_E_BUSY);
    assert_null(second);
    listener_free(first);
}

static void net_listener__loops_share_a_port(void **state)
{
    enum { CLIENTS = 40 };
    peers *p = *state;
    const endpoint any = {.host = SMX_SLICE("127.0.0.1")};
    listener *first = NULL;
    listener *second = NULL;
    problem why = {0};
    int accepted[2] = {0};
    int clients[CLIENTS];
    assert_int_equal(test_listen(p, any, (listener_options){.fd = -1}, &accepted[0], &first, &why),
                     0);
    const endpoint same = {.host = SMX_SLICE("127.0.0.1"), .port = listener_port(first)};
    assert_int_equal(test_listen(p, same, (listener_options){.fd = -1, .shared = true},
                                 &accepted[1], &second, &why),
                     0);
    assert_int_equal(listener_port(second), same.port);
    for (size_t i = 0; i < CLIENTS; i++)
        clients[i] = test_connect(same.port);
    peers_run_until(p, accepted[0] + accepted[1] == CLIENTS);
    for (size_t i = 0; i < CLIENTS; i++)
        (void)close(clients[i]);
    listener_free(first);
    listener_free(second);
}

static void net_listener__ipv6_leaves_ipv4_alone(void **state)
{
    peers *p = *state;
    listener *six = NULL;
    listener *four = NULL;
    problem why = {0};
    int accepted = 0;
    const endpoint any6 = {.host = SMX_SLICE("::")};
    /* Another program may have the same port of IPv4: then with another one. */
    for (int tries = 0; four == NULL; tries++) {
        assert_true(tries < 20);
        assert_int_equal(test_listen(p, any6, (listener_options){.fd = -1}, &accepted, &six, &why),
                         0);
        const endpoint any4 = {.host = SMX_SLICE("0.0.0.0"), .port = listener_port(six)};
        int error = test_listen(p, any4, (listener_options){.fd = -1}, &accepted, &four, &why);
        assert_true(error == 0 || error == SMX_E_BUSY);
        listener_free(six);
    }
    listener_free(four);
}

static void net_listener__bad_addresses_are_explained(void **state)
{
    peers *p = *state;
    listener *l = NULL;
    problem why = {0};
    int accepted = 0;
    const endpoint name = {.host = SMX_SLICE("mx.example"), .port = 2525};
    const endpoint foreign = {.host = SMX_SLICE("192.0.2.77"), .port = 2525};
    assert_int_equal(test_listen(p, name, (listener_options){.fd = -1}, &accepted, &l, &why),
                     SMX_E_INVALID);
    assert_non_null(strstr(why.text, "an IP address of this machine is expected"));
    assert_true(test_listen(p, foreign, (listener_options){.fd = -1}, &accepted, &l, &why) < 0);
    assert_non_null(strstr(why.text, "does not have the address"));
    assert_null(l);
}

static void net_listener__open_descriptor_is_used(void **state)
{
    peers *p = *state;
    struct sockaddr_in at = {.sin_family = AF_INET};
    listener *l = NULL;
    problem why = {0};
    int accepted = 0;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)(const void *)&at, sizeof(at)), 0);
    assert_int_equal(listen(fd, 5), 0);
    const endpoint none = {.host = SMX_SLICE("127.0.0.1")};
    assert_int_equal(test_listen(p, none, (listener_options){.fd = fd}, &accepted, &l, &why), 0);
    (void)close(fd);
    int client = test_connect(listener_port(l));
    peers_run_until(p, accepted == 1);
    (void)close(client);
    listener_free(l);
}

/* A blocking accept would hang: what waits in the queue is counted by accepting all of it. */
static void net_listener__queue_is_taken_over(void **state)
{
    enum { CLIENTS = 8 };
    peers *p = *state;
    listener *old = NULL;
    listener *successor = NULL;
    problem why = {0};
    int accepted[2] = {0};
    int clients[CLIENTS];
    const endpoint any = {.host = SMX_SLICE("127.0.0.1")};
    assert_int_equal(test_listen(p, any, (listener_options){.fd = -1}, &accepted[0], &old, &why),
                     0);
    for (size_t i = 0; i < CLIENTS; i++)
        clients[i] = test_connect(listener_port(old));
    assert_int_equal(test_listen(p, any, (listener_options){.fd = -1, .adopts = old}, &accepted[1],
                                 &successor, &why),
                     0);
    assert_int_equal(listener_port(successor), listener_port(old));
    listener_retire(old);
    peers_run_until(p, accepted[1] == CLIENTS);
    assert_int_equal(accepted[0], 0);
    for (size_t i = 0; i < CLIENTS; i++)
        (void)close(clients[i]);
    listener_free(successor);
}

static void net_listener__last_one_accepts_its_queue_before_it_goes(void **state)
{
    enum { CLIENTS = 8 };
    peers *p = *state;
    listener *l = NULL;
    problem why = {0};
    int accepted = 0;
    int clients[CLIENTS];
    const endpoint any = {.host = SMX_SLICE("127.0.0.1")};
    assert_int_equal(test_listen(p, any, (listener_options){.fd = -1}, &accepted, &l, &why), 0);
    for (size_t i = 0; i < CLIENTS; i++)
        clients[i] = test_connect(listener_port(l));
    listener_retire(l);
    assert_int_equal(accepted, CLIENTS);
    for (size_t i = 0; i < CLIENTS; i++)
        (void)close(clients[i]);
}

/* ---- Unix sockets ---- */

static endpoint test_unix(void)
{
    return (endpoint){.is_unix = true, .host = slice_of_text(test_path)};
}

static void net_listener__unix_file_has_its_mode_and_goes(void **state)
{
    peers *p = *state;
    listener *l = NULL;
    problem why = {0};
    struct stat status;
    int accepted = 0;
    (void)unlink(test_path);
    assert_int_equal(test_listen(p, test_unix(), (listener_options){.fd = -1, .unix_mode = 0600},
                                 &accepted, &l, &why),
                     0);
    assert_int_equal(stat(test_path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    assert_int_equal(listener_port(l), 0);
    listener_free(l);
    assert_int_equal(stat(test_path, &status), -1);
}

static void net_listener__stale_unix_file_is_replaced(void **state)
{
    peers *p = *state;
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    listener *l = NULL;
    problem why = {0};
    int accepted = 0;
    (void)unlink(test_path);
    (void)snprintf(at.sun_path, sizeof(at.sun_path), "%s", test_path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)(const void *)&at, sizeof(at)), 0);
    (void)close(fd);
    if (test_listen(p, test_unix(), (listener_options){.fd = -1}, &accepted, &l, &why) != 0)
        fail_msg("%s", why.text);
    listener_free(l);
}

static void net_listener__living_unix_socket_is_left_alone(void **state)
{
    peers *p = *state;
    listener *first = NULL;
    listener *second = NULL;
    listener *third = NULL;
    problem why = {0};
    int accepted = 0;
    (void)unlink(test_path);
    assert_int_equal(
        test_listen(p, test_unix(), (listener_options){.fd = -1}, &accepted, &first, &why), 0);
    assert_int_equal(
        test_listen(p, test_unix(), (listener_options){.fd = -1}, &accepted, &second, &why),
        SMX_E_BUSY);
    assert_non_null(strstr(why.text, "another program listens there"));
    /* Another loop takes the descriptor, and does not take the file with it. */
    assert_int_equal(test_listen(p, test_unix(), (listener_options){.fd = listener_fd(first)},
                                 &accepted, &third, &why),
                     0);
    listener_free(third);
    assert_int_equal(access(test_path, F_OK), 0);
    listener_free(first);
    assert_int_equal(access(test_path, F_OK), -1);
}

static void net_listener__unix_file_goes_with_the_last_owner(void **state)
{
    peers *p = *state;
    listener *all[3] = {NULL};
    problem why = {0};
    int accepted = 0;
    (void)unlink(test_path);
    for (size_t i = 0; i < 3; i++) {
        const listener_options options = {.fd = -1, .adopts = i == 0 ? NULL : all[i - 1]};
        assert_int_equal(test_listen(p, test_unix(), options, &accepted, &all[i], &why), 0);
    }
    listener_free(all[1]);
    listener_retire(all[0]);
    assert_int_equal(access(test_path, F_OK), 0);
    listener_free(all[2]);
    assert_int_equal(access(test_path, F_OK), -1);
}

static void net_listener__successors_file_is_not_removed(void **state)
{
    peers *p = *state;
    listener *l = NULL;
    problem why = {0};
    int accepted = 0;
    (void)unlink(test_path);
    assert_int_equal(test_listen(p, test_unix(), (listener_options){.fd = -1}, &accepted, &l, &why),
                     0);
    assert_int_equal(rename(test_path, test_old_path), 0);
    int fd = open(test_path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    (void)close(fd);
    listener_free(l);
    assert_int_equal(access(test_path, F_OK), 0);
    (void)unlink(test_path);
    (void)unlink(test_old_path);
}

static void net_listener__other_file_is_not_removed(void **state)
{
    peers *p = *state;
    listener *l = NULL;
    problem why = {0};
    int accepted = 0;
    (void)unlink(test_path);
    int fd = open(test_path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    (void)close(fd);
    assert_int_equal(test_listen(p, test_unix(), (listener_options){.fd = -1}, &accepted, &l, &why),
                     SMX_E_EXISTS);
    assert_int_equal(access(test_path, F_OK), 0);
    (void)unlink(test_path);
}

/* ---- without descriptors ---- */

/* ATTACKS 34: the clients wait in the backlog, and the loop does not spin. */
static void net_listener__no_descriptors_pauses(void **state)
{
    peers *p = *state;
    struct rlimit limit;
    listener *l = NULL;
    problem why = {0};
    int accepted = 0;
    const endpoint any = {.host = SMX_SLICE("127.0.0.1")};
    assert_int_equal(test_listen(p, any, (listener_options){.fd = -1}, &accepted, &l, &why), 0);
    int client = test_connect(listener_port(l));
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    struct rlimit none = {.rlim_cur = (rlim_t)client + 1, .rlim_max = limit.rlim_max};
    for (int fd; (fd = dup(client)) >= 0 && fd < client;) /* no hole is left below */
        ;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    uint64_t end = peers_clock() + 300;
    int turns = 0;
    for (; peers_clock() < end; turns++)
        peers_turn(p);
    assert_int_equal(accepted, 0);
    assert_in_range(turns, 1, 100); /* the tick of the test is 30 of them */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    peers_run_until(p, accepted == 1);
    (void)close(client);
    listener_free(l);
}

/* ---- what accepted connections know and have ---- */

/* Behind a wildcard the system is asked; elsewhere the listener's address is everybody's. */
static void net_listener__local_address_is_never_the_wildcard(void **state)
{
    peers *p = *state;
    const uint8_t loopback[] = {127, 0, 0, 1};
    peers_listen(p, "0.0.0.0:0");
    peers_connect(p);
    assert_int_equal(connection_local(p->server.c)->family, 4);
    assert_memory_equal(connection_local(p->server.c)->octets, loopback, 4);
    assert_int_equal(connection_local(p->server.c)->port, listener_port(p->listener));
    assert_int_equal(connection_peer(p->server.c)->port, connection_local(p->client.c)->port);
    peers_close(p);
}

static int test_no_delay(connection *c)
{
    int on = 0;
    socklen_t size = sizeof(on);
    uv_os_fd_t fd;
    assert_int_equal(uv_fileno(&c->uv.handle, &fd), 0);
    assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, &size), 0);
    return on;
}

/* An accepted socket inherits it of the listening one. */
static void net_listener__nagle_is_off_at_both_ends(void **state)
{
    peers *p = *state;
    peers_listen(p, "127.0.0.1:0");
    peers_connect(p);
    assert_true(test_no_delay(p->client.c) != 0);
    assert_true(test_no_delay(p->server.c) != 0);
    peers_close(p);
}

int main(void)
{
    (void)snprintf(test_path, sizeof(test_path), "/tmp/smx-test-listener-%d.sock", getpid());
    (void)snprintf(test_old_path, sizeof(test_old_path), "%s.old", test_path);
    const struct CMUnitTest tests[] = {
        LOOP_TEST(net_listener__taken_port_is_a_problem),
        LOOP_TEST(net_listener__loops_share_a_port),
        LOOP_TEST(net_listener__ipv6_leaves_ipv4_alone),
        LOOP_TEST(net_listener__bad_addresses_are_explained),
        LOOP_TEST(net_listener__open_descriptor_is_used),
        LOOP_TEST(net_listener__queue_is_taken_over),
        LOOP_TEST(net_listener__last_one_accepts_its_queue_before_it_goes),
        LOOP_TEST(net_listener__unix_file_goes_with_the_last_owner),
        LOOP_TEST(net_listener__unix_file_has_its_mode_and_goes),
        LOOP_TEST(net_listener__stale_unix_file_is_replaced),
        LOOP_TEST(net_listener__living_unix_socket_is_left_alone),
        LOOP_TEST(net_listener__successors_file_is_not_removed),
        LOOP_TEST(net_listener__other_file_is_not_removed),
        LOOP_TEST(net_listener__local_address_is_never_the_wildcard),
        LOOP_TEST(net_listener__nagle_is_off_at_both_ends),
        LOOP_TEST(net_listener__no_descriptors_pauses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
