/* Where to listen and to connect, as people write it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>

#include "net/endpoint.h"

static void net_endpoint__good_texts_are_read(void **state)
{
    static const struct {
        const char *text;
        uint16_t default_port;
        const char *host;
        uint16_t port;
        bool is_unix;
    } good[] = {
        {"0.0.0.0:587", 0, "0.0.0.0", 587, false},
        {"mx.example:25", 0, "mx.example", 25, false},
        {"mx.example", 465, "mx.example", 465, false},
        {"[::1]:25", 0, "::1", 25, false},
        {"[2001:db8::1]", 24, "2001:db8::1", 24, false},
        {"2001:db8::1", 24, "2001:db8::1", 24, false},
        {"127.0.0.1:0", 0, "127.0.0.1", 0, false},
        {"a:65535", 1, "a", 65535, false},
        {"unix:/run/a b.sock", 0, "/run/a b.sock", 0, true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        endpoint e;
        problem p = {0};
        if (endpoint_parse(slice_of_text(good[i].text), good[i].default_port, &e, &p) != 0)
            fail_msg("%s: %s", good[i].text, p.text);
        assert_true(slice_equal(e.host, slice_of_text(good[i].host)));
        assert_int_equal(e.port, good[i].port);
        assert_int_equal(e.is_unix, good[i].is_unix);
    }
}

static void net_endpoint__bad_texts_are_explained(void **state)
{
    static const struct {
        const char *text;
        const char *words;
    } bad[] = {
        {"", "expected HOST:PORT"},
        {":587", "expected HOST:PORT"},
        {"mx.example", "the port is missing"},
        {"[::1]", "the port is missing"},
        {"::1", "the port is missing"},
        {"a:65536", "a number up to 65535"},
        {"a:", "a number up to 65535"},
        {"a:+1", "a number up to 65535"},
        {"a:1x", "a number up to 65535"},
        {"a:b:c", "expected HOST:PORT"},
        {"[::1", "expected HOST:PORT"},
        {"[mx.example]:25", "expected HOST:PORT"},
        {"[::1]25", "expected HOST:PORT"},
        {"a b:25", "expected HOST:PORT"},
        {"smtp://a:25", "expected HOST:PORT"},
        {"u@a:25", "expected HOST:PORT"},
        {"unix:", "an absolute path"},
        {"unix:run/x", "an absolute path"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        endpoint e = {.port = 7};
        problem p = {0};
        if (endpoint_parse(slice_of_text(bad[i].text), 0, &e, &p) >= 0)
            fail_msg("\"%s\" was taken", bad[i].text);
        if (strstr(p.text, bad[i].words) == NULL)
            fail_msg("\"%s\": %s", bad[i].text, p.text);
        assert_int_equal(e.port, 7);
    }
}

static void net_endpoint__long_unix_path_is_refused(void **state)
{
    char text[200] = "unix:/";
    endpoint e;
    problem p;
    (void)state;
    memset(text + 6, 'a', sizeof(text) - 6);
    assert_int_equal(endpoint_parse(slice_of(text, 5 + 107), 0, &e, &p), 0);
    assert_int_equal(endpoint_parse(slice_of(text, 5 + 108), 0, &e, &p), SMX_E_RANGE);
    assert_int_equal(endpoint_parse(SMX_SLICE("unix:/a\0b"), 0, &e, &p), SMX_E_SYNTAX);
}

static void net_endpoint__mapped_address_is_ipv4(void **state)
{
    const uint8_t expected[] = {192, 0, 2, 7};
    struct sockaddr_in6 from = {.sin6_family = AF_INET6, .sin6_port = htons(25)};
    smx_address address;
    (void)state;
    assert_int_equal(inet_pton(AF_INET6, "::ffff:192.0.2.7", &from.sin6_addr), 1);
    endpoint_address((const struct sockaddr *)(const void *)&from, &address);
    assert_int_equal(address.family, 4);
    assert_int_equal(address.port, 25);
    assert_memory_equal(address.octets, expected, 4);
    assert_int_equal(inet_pton(AF_INET6, "2001:db8::7", &from.sin6_addr), 1);
    endpoint_address((const struct sockaddr *)(const void *)&from, &address);
    assert_int_equal(address.family, 6);
    assert_memory_equal(address.octets, from.sin6_addr.s6_addr, 16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(net_endpoint__good_texts_are_read),
        cmocka_unit_test(net_endpoint__bad_texts_are_explained),
        cmocka_unit_test(net_endpoint__long_unix_path_is_refused),
        cmocka_unit_test(net_endpoint__mapped_address_is_ipv4),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
