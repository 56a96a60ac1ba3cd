/* Who the client is, towards the upstream; and upstreams that are ourselves. */
#include <arpa/inet.h>
#include <stdio.h>
#include <sys/socket.h>

#include "proxy_fixture.h"

static smx_network loopback;

static void proxy_address__proxy_header_names_the_client_first(void **state)
{
    proxy_fixture *x = *state;
    x->f->listener.proxy_protocol = &loopback;
    x->f->listener.proxy_protocol_count = 1;
    x->listener.upstream.address = SMX_PROXY_ADDRESS_HEADER;
    proxy_start(x);
    client *c = client_open_from(x->f, "127.0.0.9");
    client_expect(c, "220 mux.example");
    client_ask(c, "EHLO client.example", "250 ");
    client_mail(c, "S: x\r\n\r\n", "250 ");
    char text[SMX_ADDRESS_TEXT];
    assert_string_equal(smx_address_write(&x->f->client, text).data, "127.0.0.9");
    client_close(c);
}

static void proxy_address__xclient_names_the_client(void **state)
{
    proxy_fixture *x = *state;
    x->f->listener.xclient = &loopback;
    x->f->listener.xclient_count = 1;
    x->listener.upstream.address = SMX_PROXY_ADDRESS_XCLIENT;
    proxy_start(x);
    client *c = client_open_from(x->f, "127.0.0.9");
    client_expect(c, "220 mux.example");
    client_ask(c, "EHLO client.example", "250 ");
    assert_null(strstr(c->reply, "XCLIENT"));
    client_mail(c, "S: x\r\n\r\n", "250 ");
    char text[SMX_ADDRESS_TEXT];
    assert_string_equal(smx_address_write(&x->f->client, text).data, "127.0.0.9");
    assert_true(x->f->client.port != 0);
    client_close(c);
}

static void proxy_address__xclient_says_address_and_port(void **state)
{
    proxy_fixture *x = *state;
    char expected[64];
    x->listener.upstream.address = SMX_PROXY_ADDRESS_XCLIENT;
    proxy_play(x);
    client *c = client_open(x->f);
    client *up = proxy_accept(x);
    client_say(up, "220 up.example ESMTP");
    client_expect(c, "220 up.example");
    client_say(c, "EHLO client.example");
    upstream_expect(up, "EHLO client.example");
    client_send(up, "250-up.example\r\n250 XCLIENT NAME ADDR PORT\r\n");
    struct sockaddr_in own = {0};
    socklen_t size = sizeof(own);
    assert_int_equal(getsockname(c->fd, (struct sockaddr *)&own, &size), 0);
    (void)snprintf(expected, sizeof(expected), "XCLIENT ADDR=127.0.0.1 PORT=%u",
                   ntohs(own.sin_port));
    upstream_expect(up, expected);
    client_close(c);
    client_close(up);
}

/* ---- loops ---- */

static void relisten(void *arg)
{
    proxy_fixture *x = arg;
    proxy_listener *l = list_member(x->proxy->front.entrances[0], proxy_listener, entrance);
    l->upstream.port = x->f->port;
}

static void proxy_address__upstream_that_is_our_listener_is_421(void **state)
{
    proxy_fixture *x = *state;
    proxy_start(x);
    fixture_call(x->f, relisten, x);
    client *c = client_open(x->f);
    client_expect(c, "421 4.4.6");
    client_expect_end(c);
    client_close(c);
    assert_true(fixture_log_has(x->f, "phase=loop"));
    proxy_expect_empty(x);
}

/* Nobody redirected: where the client wanted to go is our listener itself. */
static void proxy_address__client_that_was_not_redirected_is_421(void **state)
{
    (void)state;
    static const char *const listens[] = {"127.0.0.1:0", "0.0.0.0:0"};
    for (size_t i = 0; i < 2; i++) {
        void *own = NULL;
        assert_int_equal(proxy_setup(&own), 0);
        proxy_fixture *x = own;
        x->listener.listener.listen = listens[i];
        x->listener.upstream = (smx_proxy_upstream){.original_destination = true};
        proxy_start(x);
        client *c = client_open(x->f);
        client_expect(c, "421 4.4.6");
        client_expect_end(c);
        client_close(c);
        assert_true(fixture_log_has(x->f, "phase=loop"));
        proxy_expect_empty(x);
        assert_int_equal(proxy_teardown(&own), 0);
    }
}

static void parse_end(const char *text, uint16_t port, smx_address *end)
{
    assert_int_equal(smx_address_parse(slice_of_text(text), end), 0);
    end->port = port;
}

static void proxy_route__is_known_by_both_ends_until_it_is_left(void **state)
{
    (void)state;
    smx_shared *shared = NULL;
    smx_address from;
    smx_address to;
    smx_address other;
    parse_end("192.0.2.1", 40000, &from);
    parse_end("192.0.2.2", 25, &to);
    parse_end("192.0.2.2", 26, &other);
    assert_int_equal(smx_shared_new(NULL, &shared), 0);
    assert_false(shared_has_route(shared, &from, &to));
    assert_false(shared_has_start(shared, &from));
    assert_true(shared_enter_route(shared, &from, &to));
    assert_true(shared_enter_route(shared, &from, &to));
    assert_true(shared_has_route(shared, &from, &to));
    assert_false(shared_has_route(shared, &from, &other)); /* a port of ours can serve both */
    assert_false(shared_has_route(shared, &to, &from));
    assert_true(shared_has_start(shared, &from));
    assert_false(shared_has_start(shared, &to));
    shared_leave_route(shared, &from, &to);
    assert_true(shared_has_route(shared, &from, &to));
    assert_true(shared_has_start(shared, &from));
    shared_leave_route(shared, &from, &to);
    assert_false(shared_has_route(shared, &from, &to));
    assert_false(shared_has_start(shared, &from));
    other.family = 1;
    assert_false(shared_enter_route(shared, &from, &other));
    smx_shared_free(shared);
}

/* What is listed while a session lasts, and that nothing is left of it. */
static void proxy_route__of_the_upstream_lasts_as_long_as_its_connection(void **state)
{
    proxy_fixture *x = *state;
    struct sockaddr_in own = {0};
    socklen_t size = sizeof(own);
    smx_address from;
    smx_address to;
    proxy_play(x);
    smx_shared *shared = x->proxy->front.shared;
    client *c = client_open(x->f);
    client *up = proxy_accept(x);
    client_say(up, "220 up.example ESMTP");
    client_expect(c, "220 up.example");
    assert_int_equal(getpeername(up->fd, (struct sockaddr *)&own, &size), 0);
    parse_end("127.0.0.1", ntohs(own.sin_port), &from);
    parse_end("127.0.0.1", x->upstream_port, &to);
    assert_true(shared_has_route(shared, &from, &to));
    client_close(c);
    client_close(up);
    proxy_expect_empty(x);
    assert_false(shared_has_route(shared, &from, &to));
}

static void proxy_address__own_addresses_are_known(void **state)
{
    (void)state;
    smx_address address;
    assert_int_equal(smx_address_parse(SMX_SLICE("127.0.0.1"), &address), 0);
    assert_true(address_is_own(&address));
    assert_int_equal(smx_address_parse(SMX_SLICE("192.0.2.77"), &address), 0);
    assert_false(address_is_own(&address));
    assert_int_equal(smx_address_parse(SMX_SLICE("2001:db8::77"), &address), 0);
    assert_false(address_is_own(&address));
}

static int parse_network(void **state)
{
    (void)state;
    return smx_network_parse(SMX_SLICE("127.0.0.0/8"), &loopback);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PROXY_TEST(proxy_address__proxy_header_names_the_client_first),
        PROXY_TEST(proxy_address__xclient_names_the_client),
        PROXY_TEST(proxy_address__xclient_says_address_and_port),
        PROXY_TEST(proxy_address__upstream_that_is_our_listener_is_421),
        cmocka_unit_test(proxy_address__client_that_was_not_redirected_is_421),
        cmocka_unit_test(proxy_route__is_known_by_both_ends_until_it_is_left),
        PROXY_TEST(proxy_route__of_the_upstream_lasts_as_long_as_its_connection),
        cmocka_unit_test(proxy_address__own_addresses_are_known),
    };
    return cmocka_run_group_tests(tests, parse_network, NULL);
}
