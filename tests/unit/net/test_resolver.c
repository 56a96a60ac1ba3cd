/* Names: literals, localhost, and DNS as a server of our own speaks it. */
#include "test_peers.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "net/resolver.h"

enum { DNS_HEADER = 12, DNS_MAX = 512, TYPE_A = 1, TYPE_AAAA = 28 };

/* What came of a lookup. */
typedef struct test_answer {
    int calls;
    int error;
    size_t count;
    resolver_address first;
    resolver_address second;
} test_answer;

/* A DNS server on a port of loopback. */
typedef struct test_dns {
    peers *p;
    uv_poll_t poll;
    int fd;
    int questions;
    bool silent;
} test_dns;

static void test_on_answer(void *arg, int error, const resolver_address *addresses, size_t count)
{
    test_answer *answer = arg;
    answer->calls++;
    answer->error = error;
    answer->count = count;
    if (count > 0)
        answer->first = addresses[0];
    if (count > 1)
        answer->second = addresses[1];
}

/* ---- the server ---- */

/* The octets of the question's name, with the root. */
static size_t dns_name_size(const unsigned char *question)
{
    size_t at = 0;
    while (question[at] != 0)
        at += question[at] + 1U;
    return at + 1;
}

static size_t dns_record(unsigned char *out, unsigned type, unsigned ttl, const char *address)
{
    const size_t size = type == TYPE_A ? 4 : 16;
    const unsigned char head[] = {0xc0, DNS_HEADER, 0, (unsigned char)type, 0, 1,
                                  0,    0,          0, (unsigned char)ttl,  0, (unsigned char)size};
    memcpy(out, head, sizeof(head));
    assert_int_equal(inet_pton(type == TYPE_A ? AF_INET : AF_INET6, address, out + sizeof(head)),
                     1);
    return sizeof(head) + size;
}

/* The first label decides: "two" and "short" exist, anything else does not. */
static size_t dns_answer(unsigned char *message, size_t size)
{
    const unsigned char *question = message + DNS_HEADER;
    size_t name = dns_name_size(question);
    size_t at = DNS_HEADER + name + 4;
    unsigned type = question[name + 1];
    unsigned char answers = 0;
    assert_true(at <= size);
    message[2] = 0x81;
    message[3] = 0x80;
    memset(message + 6, 0, 6);
    if (memcmp(question, "\3two", 4) == 0 && type == TYPE_A) {
        at += dns_record(message + at, TYPE_A, 60, "192.0.2.1");
        at += dns_record(message + at, TYPE_A, 60, "192.0.2.2");
        answers = 2;
    } else if (memcmp(question, "\3two", 4) == 0 && type == TYPE_AAAA) {
        at += dns_record(message + at, TYPE_AAAA, 60, "2001:db8::1");
        answers = 1;
    } else if (memcmp(question, "\5short", 6) == 0 && type == TYPE_A) {
        at += dns_record(message + at, TYPE_A, 1, "192.0.2.3");
        answers = 1;
    } else if (memcmp(question, "\5short", 6) != 0 && memcmp(question, "\3two", 4) != 0) {
        message[3] = 0x83; /* no such name */
    }
    message[7] = answers;
    return at;
}

static void dns_on_readable(uv_poll_t *poll, int status, int events)
{
    test_dns *dns = poll->data;
    unsigned char message[DNS_MAX];
    struct sockaddr_in from;
    socklen_t from_size = sizeof(from);
    struct sockaddr *any = (struct sockaddr *)(void *)&from;
    (void)events;
    assert_int_equal(status, 0);
    ssize_t got = recvfrom(dns->fd, message, sizeof(message), 0, any, &from_size);
    if (got < DNS_HEADER)
        return;
    dns->questions++;
    if (dns->silent)
        return;
    memset(message + got, 0, sizeof(message) - (size_t)got);
    size_t size = dns_answer(message, (size_t)got);
    (void)sendto(dns->fd, message, size, 0, any, from_size);
}

/* The question's additional records are left out of the answer: it ends behind its own. */
static int dns_setup(void **state)
{
    void *ends;
    char csv[64];
    struct sockaddr_in at = {.sin_family = AF_INET};
    struct sockaddr *any = (struct sockaddr *)(void *)&at;
    socklen_t size = sizeof(at);
    if (peers_setup(&ends) != 0)
        return -1;
    test_dns *dns = calloc(1, sizeof(*dns));
    assert_non_null(dns);
    *state = dns;
    dns->p = ends;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    dns->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(dns->fd, any, size), 0);
    assert_int_equal(getsockname(dns->fd, any, &size), 0);
    (void)uv_poll_init(smx_loop_uv(dns->p->loop), &dns->poll, dns->fd);
    dns->poll.data = dns;
    (void)uv_poll_start(&dns->poll, UV_READABLE, dns_on_readable);
    (void)snprintf(csv, sizeof(csv), "127.0.0.1:%u", ntohs(at.sin_port));
    assert_int_equal(resolver_set_servers(loop_resolver(dns->p->loop), csv), 0);
    return 0;
}

static int dns_teardown(void **state)
{
    test_dns *dns = *state;
    void *ends = dns->p;
    uv_close((uv_handle_t *)&dns->poll, NULL);
    (void)peers_teardown(&ends);
    (void)close(dns->fd);
    free(dns);
    return 0;
}

#define DNS_TEST(name) cmocka_unit_test_setup_teardown(name, dns_setup, dns_teardown)

static resolver_query *test_ask(peers *p, const char *host, uint8_t family, test_answer *answer)
{
    resolver_query *query = NULL;
    assert_int_equal(resolver_lookup(loop_resolver(p->loop), slice_of_text(host), 25, family,
                                     test_on_answer, answer, &query),
                     0);
    assert_int_equal(answer->calls, 0); /* never from within the call */
    return query;
}

static test_answer test_lookup(peers *p, const char *host, uint8_t family)
{
    test_answer answer = {0};
    (void)test_ask(p, host, family, &answer);
    peers_run_until(p, answer.calls > 0);
    peers_settle(p);
    assert_int_equal(answer.calls, 1);
    return answer;
}

static void assert_address(const resolver_address *address, const char *text)
{
    char got[INET6_ADDRSTRLEN] = "";
    if (address->any.sa_family == AF_INET)
        (void)inet_ntop(AF_INET, &address->ipv4.sin_addr, got, sizeof(got));
    else
        (void)inet_ntop(AF_INET6, &address->ipv6.sin6_addr, got, sizeof(got));
    assert_string_equal(got, text);
    assert_int_equal(ntohs(address->ipv4.sin_port), 25);
}

/* ---- without DNS ---- */

static void net_resolver__literals_need_no_dns(void **state)
{
    test_dns *dns = *state;
    test_answer four = test_lookup(dns->p, "192.0.2.9", 0);
    test_answer six = test_lookup(dns->p, "2001:db8::9", 6);
    assert_int_equal(four.count, 1);
    assert_address(&four.first, "192.0.2.9");
    assert_int_equal(six.count, 1);
    assert_address(&six.first, "2001:db8::9");
    assert_int_equal(test_lookup(dns->p, "192.0.2.9", 6).error, SMX_E_RESOLVE);
    assert_int_equal(dns->questions, 0);
}

static void net_resolver__localhost_needs_no_dns(void **state)
{
    test_dns *dns = *state;
    test_answer both = test_lookup(dns->p, "localhost", 0);
    assert_int_equal(both.count, 2);
    assert_address(&both.first, "127.0.0.1");
    assert_address(&both.second, "::1");
    test_answer below = test_lookup(dns->p, "a.LOCALHOST", 4);
    assert_int_equal(below.count, 1);
    assert_address(&below.first, "127.0.0.1");
    assert_int_equal(dns->questions, 0);
    assert_int_equal(test_lookup(dns->p, "notlocalhost", 4).error, SMX_E_RESOLVE);
    assert_true(dns->questions > 0);
}

static void net_resolver__bad_names_are_invalid(void **state)
{
    test_dns *dns = *state;
    resolver *r = loop_resolver(dns->p->loop);
    resolver_query *query = NULL;
    char text[256];
    memset(text, 'a', sizeof(text));
    const smx_slice bad[] = {SMX_SLICE(""), SMX_SLICE("a\0b"), {text, sizeof(text)}};
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(resolver_lookup(r, bad[i], 25, 0, test_on_answer, NULL, &query),
                         SMX_E_INVALID);
    assert_null(query);
    assert_int_equal(resolver_set_servers(r, "nonsense"), SMX_E_INVALID);
}

/* ---- with DNS ---- */

static void net_resolver__addresses_come_from_dns(void **state)
{
    test_dns *dns = *state;
    test_answer four = test_lookup(dns->p, "two.example", 4);
    assert_int_equal(four.error, 0);
    assert_int_equal(four.count, 2);
    assert_address(&four.first, "192.0.2.1");
    assert_address(&four.second, "192.0.2.2");
    test_answer six = test_lookup(dns->p, "two.example", 6);
    assert_int_equal(six.count, 1);
    assert_address(&six.first, "2001:db8::1");
    assert_int_equal(test_lookup(dns->p, "two.example", 0).count, 3);
}

static void net_resolver__answers_are_remembered_for_their_ttl(void **state)
{
    test_dns *dns = *state;
    assert_int_equal(test_lookup(dns->p, "two.example", 4).count, 2);
    int asked = dns->questions;
    test_answer again = test_lookup(dns->p, "TWO.example", 4);
    assert_int_equal(again.count, 2);
    assert_address(&again.second, "192.0.2.2");
    assert_int_equal(dns->questions, asked);

    assert_int_equal(test_lookup(dns->p, "short.example", 4).count, 1);
    asked = dns->questions;
    uint64_t end = loop_now(dns->p->loop) + 1100; /* its TTL is a second */
    peers_run_until(dns->p, loop_now(dns->p->loop) >= end);
    assert_int_equal(test_lookup(dns->p, "short.example", 4).count, 1);
    assert_true(dns->questions > asked);
}

static void net_resolver__cache_is_bounded(void **state)
{
    test_dns *dns = *state;
    char name[64];
    for (int i = 0; i < 300; i++) {
        (void)snprintf(name, sizeof(name), "two.n%d.example", i);
        test_answer answer = {0};
        (void)test_ask(dns->p, name, 4, &answer);
        peers_run_until(dns->p, answer.calls > 0);
        assert_int_equal(answer.count, 2);
    }
    int asked = dns->questions;
    for (int i = 0; i < 300; i++) {
        (void)snprintf(name, sizeof(name), "two.n%d.example", i);
        test_answer answer = {0};
        (void)test_ask(dns->p, name, 4, &answer);
        peers_run_until(dns->p, answer.calls > 0);
    }
    assert_true(dns->questions - asked >= 300 - 256);
}

static void net_resolver__unknown_name_fails(void **state)
{
    test_dns *dns = *state;
    test_answer answer = test_lookup(dns->p, "nobody.example", 0);
    assert_int_equal(answer.error, SMX_E_RESOLVE);
    assert_int_equal(answer.count, 0);
    /* It exists, but has no address of this family. */
    assert_int_equal(test_lookup(dns->p, "short.example", 6).error, SMX_E_RESOLVE);
}

static void net_resolver__cancelled_one_is_never_called(void **state)
{
    test_dns *dns = *state;
    test_answer answer = {0};
    resolver_cancel(test_ask(dns->p, "192.0.2.1", 0, &answer));
    resolver_cancel(test_ask(dns->p, "two.example", 4, &answer));
    dns->silent = true;
    resolver_query *late = test_ask(dns->p, "two.other.example", 4, &answer);
    int asked = dns->questions;
    peers_run_until(dns->p, dns->questions > asked);
    resolver_cancel(late);
    resolver_cancel(NULL);
    peers_settle(dns->p);
    assert_int_equal(answer.calls, 0);
    /* Left to the end of the loop. */
    (void)test_ask(dns->p, "two.third.example", 4, &answer);
    assert_int_equal(answer.calls, 0);
}

/* ATTACKS 43: 30 seconds of silence are a failure after at most 20. */
static void net_resolver__silence_is_a_timeout(void **state)
{
    test_dns *dns = *state;
    test_answer answer = {0};
    dns->silent = true;
    uint64_t begin = peers_clock();
    (void)test_ask(dns->p, "two.example", 4, &answer);
    while (answer.calls == 0 && peers_clock() < begin + 25000)
        peers_turn(dns->p);
    assert_int_equal(answer.calls, 1);
    assert_int_equal(answer.error, SMX_E_TIMEOUT);
    assert_true(peers_clock() - begin < 21000);
    assert_true(dns->questions > 1);
}

static void net_resolver__connection_opens_by_name(void **state)
{
    test_dns *dns = *state;
    peers *p = dns->p;
    const connection_target target = {.to = {.host = SMX_SLICE("nobody.example"), .port = 25}};
    assert_int_equal(
        connection_open(p->loop, &target, 5000, &peer_handler, &p->client, &p->client.c), 0);
    peers_run_until(p, p->client.closed > 0);
    assert_int_equal(p->client.connect_error, SMX_E_RESOLVE);
    dns->silent = true;
    p->client = (peer){.appetite = SIZE_MAX};
    assert_int_equal(
        connection_open(p->loop, &target, 200, &peer_handler, &p->client, &p->client.c), 0);
    peers_run_until(p, p->client.closed > 0);
    assert_int_equal(p->client.connect_error, SMX_E_TIMEOUT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DNS_TEST(net_resolver__literals_need_no_dns),
        DNS_TEST(net_resolver__localhost_needs_no_dns),
        DNS_TEST(net_resolver__bad_names_are_invalid),
        DNS_TEST(net_resolver__addresses_come_from_dns),
        DNS_TEST(net_resolver__answers_are_remembered_for_their_ttl),
        DNS_TEST(net_resolver__cache_is_bounded),
        DNS_TEST(net_resolver__unknown_name_fails),
        DNS_TEST(net_resolver__cancelled_one_is_never_called),
        DNS_TEST(net_resolver__silence_is_a_timeout),
        DNS_TEST(net_resolver__connection_opens_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
