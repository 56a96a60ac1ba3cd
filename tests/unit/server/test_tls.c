/* STARTTLS and implicit TLS. */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>

#include "../net/test_certificates.h"
#include "fixture.h"

static test_certificates *certificates;
static smx_certificate certificate;
static smx_user user = {.name = {"user", 4}, .secret = {"secret", 6}};

static const smx_user *find_user(void *arg, smx_slice name)
{
    (void)arg;
    return slice_equal(name, user.name) ? &user : NULL;
}

static int make_certificate(void **state)
{
    (void)state;
    certificates = test_certificates_new();
    const test_certificate_spec spec = {.names = "DNS:mux.example"};
    tls_certificate made = test_certificates_make(certificates, "server", &spec);
    certificate = (smx_certificate){made.cert_file, made.key_file};
    return 0;
}

static int free_certificate(void **state)
{
    (void)state;
    test_certificates_free(certificates);
    return 0;
}

static int setup(void **state)
{
    (void)fixture_setup(state);
    fixture *f = *state;
    f->listener.tls = SMX_LISTENER_STARTTLS;
    f->listener.certificates = &certificate;
    f->listener.certificate_count = 1;
    f->listener.auth = SMX_AUTH_REQUIRED;
    f->options.find_user = find_user;
    return 0;
}

static void server_tls__starttls_forgets_ehlo_and_offers_auth(void **state)
{
    fixture *f = *state;
    client *c = client_first(f);
    assert_non_null(strstr(c->reply, "STARTTLS"));
    assert_null(strstr(c->reply, "AUTH"));
    client_ask(c, "STARTTLS", "220 ");
    assert_true(client_secure(c));
    client_ask(c, "MAIL FROM:<a@from.example>", "503 ");
    client_ask(c, "EHLO client.example", "250 ");
    assert_null(strstr(c->reply, "STARTTLS"));
    assert_non_null(strstr(c->reply, "AUTH SCRAM-SHA-256 PLAIN LOGIN"));
    client_auth_plain(c, "user", "secret", "235 ");
    client_mail(c, "S: x\r\n\r\n", "250 ");
    assert_true(f->tls);
    client_ask(c, "STARTTLS", "503 ");
    client_close(c);
}

static void server_tls__user_of_clear_text_is_forgotten(void **state)
{
    fixture *f = *state;
    static smx_network loopback;
    assert_int_equal(smx_network_parse(SMX_SLICE("127.0.0.1"), &loopback), 0);
    f->listener.allow_insecure_auth = true;
    f->listener.xclient = &loopback;
    f->listener.xclient_count = 1;
    client *c = client_first(f);
    client_ask(c, "XCLIENT LOGIN=user", "220 ");
    client_ask(c, "EHLO client.example", "250 ");
    client_ask(c, "STARTTLS", "220 ");
    assert_true(client_secure(c));
    client_ask(c, "EHLO client.example", "250 ");
    client_ask(c, "MAIL FROM:<a@from.example>", "530 5.7.0");
    client_auth_plain(c, "user", "secret", "235 ");
    client_mail(c, "S: x\r\n\r\n", "250 ");
    client_close(c);
}

static void server_tls__octets_behind_starttls_end_the_session(void **state)
{
    fixture *f = *state;
    client *c = client_first(f);
    client_send(c, "STARTTLS\r\nMAIL FROM:<i@evil.example>\r\n");
    client_expect(c, "554 5.5.1");
    client_expect_end(c);
    client_close(c);
    assert_int_equal(f->handled, 0);
}

static void server_tls__required_refuses_all_else(void **state)
{
    fixture *f = *state;
    f->listener.tls = SMX_LISTENER_REQUIRED;
    f->listener.auth = SMX_AUTH_OFF;
    client *c = client_first(f);
    client_ask(c, "MAIL FROM:<a@from.example>", "530 5.7.0");
    client_ask(c, "STARTTLS", "220 ");
    assert_true(client_secure(c));
    client_ask(c, "EHLO client.example", "250 ");
    client_mail(c, "S: x\r\n\r\n", "250 ");
    client_close(c);
}

static void server_tls__implicit_from_the_first_octet(void **state)
{
    fixture *f = *state;
    f->listener.tls = SMX_LISTENER_IMPLICIT;
    fixture_start(f);
    client *c = client_open(f);
    assert_true(client_secure(c));
    client_expect(c, "220 mux.example");
    client_ask(c, "EHLO client.example", "250 ");
    client_auth_plain(c, "user", "secret", "235 ");
    client_mail(c, "S: x\r\n\r\n", "250 ");
    assert_true(f->tls);
    client_close(c);
}

static void server_tls__clear_text_where_tls_is_implicit_is_counted(void **state)
{
    fixture *f = *state;
    f->listener.tls = SMX_LISTENER_IMPLICIT;
    fixture_start(f);
    client *c = client_open(f);
    client_send(c, "EHLO client.example\r\n");
    fixture_wait(fixture_counters(f).tls_failures == 1);
    client_close(c);
    assert_true(fixture_log_has(f, "tls_failed"));
    fixture_wait(fixture_counters(f).sessions == 0);
}

static void server_tls__client_gone_within_the_handshake(void **state)
{
    fixture *f = *state;
    client *c = client_first(f);
    client_ask(c, "STARTTLS", "220 ");
    client_close(c);
    fixture_wait(fixture_counters(f).sessions == 0);
}

static void expect_proxy_header(fixture *f, bool in_one_segment)
{
    static smx_network loopback;
    assert_int_equal(smx_network_parse(SMX_SLICE("127.0.0.1"), &loopback), 0);
    f->listener.tls = SMX_LISTENER_IMPLICIT;
    f->listener.auth = SMX_AUTH_OFF;
    f->listener.proxy_protocol = &loopback;
    f->listener.proxy_protocol_count = 1;
    fixture_start(f);
    client *c = client_open(f);
    const int on = 1;
    /* The kernel holds the header back until the first octets of TLS are there. */
    if (in_one_segment)
        assert_int_equal(setsockopt(c->fd, IPPROTO_TCP, TCP_CORK, &on, sizeof(on)), 0);
    client_send(c, "PROXY TCP4 203.0.113.5 192.0.2.1 1025 25\r\n");
    assert_true(client_secure(c));
    client_expect(c, "220 mux.example");
    client_ask(c, "EHLO client.example", "250 ");
    client_mail(c, "S: x\r\n\r\n", "250 ");
    assert_int_equal(f->client.octets[0], 203);
    client_close(c);
}

static void server_tls__behind_a_proxy_header(void **state)
{
    expect_proxy_header(*state, false);
}

static void server_tls__in_one_segment_with_a_proxy_header(void **state)
{
    expect_proxy_header(*state, true);
}

#define WITH_FIXTURE(test) cmocka_unit_test_setup_teardown(test, setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FIXTURE(server_tls__starttls_forgets_ehlo_and_offers_auth),
        WITH_FIXTURE(server_tls__user_of_clear_text_is_forgotten),
        WITH_FIXTURE(server_tls__octets_behind_starttls_end_the_session),
        WITH_FIXTURE(server_tls__required_refuses_all_else),
        WITH_FIXTURE(server_tls__implicit_from_the_first_octet),
        WITH_FIXTURE(server_tls__clear_text_where_tls_is_implicit_is_counted),
        WITH_FIXTURE(server_tls__client_gone_within_the_handshake),
        WITH_FIXTURE(server_tls__behind_a_proxy_header),
        WITH_FIXTURE(server_tls__in_one_segment_with_a_proxy_header),
    };
    return cmocka_run_group_tests(tests, make_certificate, free_certificate);
}
