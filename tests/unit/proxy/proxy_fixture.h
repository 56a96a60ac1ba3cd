/* A proxy in front of the server of tests/unit/server/fixture.h, on the same loop: its clients then
 * are the proxy's. Or in front of a socket that the test itself plays the server on. */
#ifndef TEST_PROXY_FIXTURE_H
#define TEST_PROXY_FIXTURE_H

#include "../server/fixture.h"
#include "proxy/proxy_internal.h"

typedef struct proxy_fixture {
    fixture *f; /* the server behind; `port` is the proxy's once it has started */
    smx_proxy *proxy;
    uint16_t upstream_port;
    int listening; /* of proxy_play; -1: the server of `f` is behind */
    /* Set before proxy_start. */
    smx_proxy_options options;
    smx_proxy_listener listener;
    const smx_hook *hooks[FIXTURE_HOOKS];
} proxy_fixture;

int proxy_setup(void **state);
int proxy_teardown(void **state);
void proxy_add_hook(proxy_fixture *x, const smx_hook *hook);
/* Starts the server, and the proxy in front of it. */
void proxy_start(proxy_fixture *x);
/* The proxy alone, in front of a socket of the test's. */
void proxy_play(proxy_fixture *x);
/* The proxy's next connection to that socket, as a `client` in reverse. */
client *proxy_accept(proxy_fixture *x);
/* Reads a line of the proxy's, which must be this. */
void upstream_expect(client *upstream, const char *line);
/* A session of both: the banner, EHLO and its reply with these further lines ("250-X\r\n..."). */
client *proxy_greet(proxy_fixture *x, client **upstream, const char *lines);
/* Nothing of sessions is left in the proxy. */
void proxy_expect_empty(proxy_fixture *x);
smx_server_counters proxy_counters(const proxy_fixture *x);

#define PROXY_TEST(name) cmocka_unit_test_setup_teardown(name, proxy_setup, proxy_teardown)

#endif
