/* TLS on either side: each way of the client's with each of the upstream's, certificates that are
 * wrong, octets that come too early, and octets that pass unread. */
#include <stdio.h>

#include "../net/test_certificates.h"
#include "proxy_fixture.h"

static test_certificates *certificates;
static smx_certificate certificate;
static smx_client_tls *believing; /* the CA that signed it */

static int make_certificate(void **state)
{
    char words[SMX_CLIENT_PROBLEM] = "";
    (void)state;
    certificates = test_certificates_new();
    const test_certificate_spec spec = {.names = "DNS:mux.example"};
    tls_certificate made = test_certificates_make(certificates, "server", &spec);
    certificate = (smx_certificate){made.cert_file, made.key_file};
    if (smx_client_tls_new(test_certificates_ca(certificates), NULL, NULL, &believing, words) != 0)
        fail_msg("%s", words);
    return 0;
}

static int free_certificate(void **state)
{
    (void)state;
    smx_client_tls_free(believing);
    test_certificates_free(certificates);
    return 0;
}

static int setup(void **state)
{
    (void)proxy_setup(state);
    proxy_fixture *x = *state;
    smx_listener_options *const sides[] = {&x->f->listener, &x->listener.listener};
    for (size_t i = 0; i < 2; i++) {
        sides[i]->certificates = &certificate;
        sides[i]->certificate_count = 1;
    }
    x->listener.upstream.tls_context = believing;
    x->listener.upstream.tls_name = "mux.example";
    return 0;
}

/* ---- each way with each ---- */

static void begin_tls(client *c, smx_listener_tls tls)
{
    if (tls == SMX_LISTENER_IMPLICIT)
        assert_true(client_secure(c));
    client_expect(c, "220 mux.example");
    client_ask(c, "EHLO client.example", "250 ");
    bool offered = tls == SMX_LISTENER_STARTTLS || tls == SMX_LISTENER_REQUIRED;
    assert_int_equal(strstr(c->reply, "STARTTLS") != NULL, offered);
    if (!offered)
        return;
    if (tls == SMX_LISTENER_REQUIRED)
        client_ask(c, "MAIL FROM:<a@from.example>", "530 5.7.0");
    client_ask(c, "STARTTLS", "220 ");
    assert_true(client_secure(c));
    client_ask(c, "EHLO client.example", "250 ");
    assert_null(strstr(c->reply, "STARTTLS"));
}

static void expect_message(smx_listener_tls tls, smx_tls_policy policy)
{
    void *state = NULL;
    (void)setup(&state);
    proxy_fixture *x = state;
    x->listener.listener.tls = tls;
    x->listener.upstream.tls = policy;
    x->f->listener.tls = policy == SMX_TLS_OFF        ? SMX_LISTENER_CLEAR
                         : policy == SMX_TLS_IMPLICIT ? SMX_LISTENER_IMPLICIT
                                                      : SMX_LISTENER_STARTTLS;
    proxy_start(x);
    client *c = client_open(x->f);
    begin_tls(c, tls);
    client_mail(c, "S: x\r\n\r\nbody\r\n", "250 2.0.0 kept");
    assert_int_equal(x->f->tls, policy != SMX_TLS_OFF);
    assert_buffer(&x->f->helo, "client.example");
    client_ask(c, "QUIT", "221 ");
    client_close(c);
    proxy_expect_empty(x);
    assert_int_equal(proxy_teardown(&state), 0);
}

static void proxy_tls__each_way_of_the_client_with_each_of_the_upstream(void **state)
{
    (void)state;
    for (int tls = SMX_LISTENER_CLEAR; tls <= SMX_LISTENER_IMPLICIT; tls++)
        for (int policy = SMX_TLS_OFF; policy <= SMX_TLS_IMPLICIT; policy++)
            expect_message((smx_listener_tls)tls, (smx_tls_policy)policy);
}

static void proxy_tls__if_offered_goes_on_without_it(void **state)
{
    proxy_fixture *x = *state;
    x->listener.upstream.tls = SMX_TLS_IF_OFFERED;
    proxy_start(x);
    client *c = client_greet(x->f);
    client_mail(c, "S: x\r\n\r\n", "250 ");
    assert_false(x->f->tls);
    client_close(c);
}

static void proxy_tls__required_of_an_upstream_without_it_is_421(void **state)
{
    proxy_fixture *x = *state;
    x->listener.upstream.tls = SMX_TLS_REQUIRED;
    proxy_start(x);
    client *c = client_open(x->f);
    client_expect(c, "220 ");
    client_ask(c, "EHLO client.example", "421 4.7.0");
    client_expect_end(c);
    client_close(c);
}

/* ---- certificates ---- */

static void proxy_tls__wrong_name_is_refused_where_it_must_be_right(void **state)
{
    proxy_fixture *x = *state;
    x->f->listener.tls = SMX_LISTENER_STARTTLS;
    x->listener.upstream.tls = SMX_TLS_REQUIRED;
    x->listener.upstream.tls_name = "other.example";
    proxy_start(x);
    client *c = client_open(x->f);
    client_expect(c, "220 ");
    client_ask(c, "EHLO client.example", "421 4.7.0");
    client_expect_end(c);
    client_close(c);
    assert_true(fixture_log_has(x->f, "upstream_failed"));
}

static void proxy_tls__wrong_name_of_implicit_tls_is_a_421_instead_of_a_banner(void **state)
{
    proxy_fixture *x = *state;
    x->f->listener.tls = SMX_LISTENER_IMPLICIT;
    x->listener.upstream.tls = SMX_TLS_IMPLICIT;
    x->listener.upstream.tls_name = "other.example";
    proxy_start(x);
    client *c = client_open(x->f);
    client_expect(c, "421 4.4.1");
    client_expect_end(c);
    client_close(c);
    assert_true(fixture_log_has(x->f, "phase=tls"));
    proxy_expect_empty(x);
}

/* The proxy has no credentials of its own: what need not be right is taken and told. */
static void proxy_tls__unverified_is_taken_and_told(void **state)
{
    (void)state;
    static const smx_client_verify ways[] = {SMX_VERIFY_IF_AUTH, SMX_VERIFY_NEVER};
    for (size_t i = 0; i < 2; i++) {
        void *own = NULL;
        (void)setup(&own);
        proxy_fixture *x = own;
        x->f->listener.tls = SMX_LISTENER_STARTTLS;
        x->listener.upstream.tls = SMX_TLS_IF_OFFERED;
        x->listener.upstream.verify = ways[i];
        x->listener.upstream.tls_name = "other.example";
        proxy_start(x);
        client *c = client_greet(x->f);
        client_mail(c, "S: x\r\n\r\n", "250 ");
        assert_true(x->f->tls);
        assert_true(fixture_log_has(x->f, "tls_unverified"));
        client_close(c);
        assert_int_equal(proxy_teardown(&own), 0);
    }
}

/* ---- octets that come too early ---- */

/* ATTACKS 12 */
static void proxy_tls__commands_behind_starttls_end_the_session(void **state)
{
    proxy_fixture *x = *state;
    x->listener.listener.tls = SMX_LISTENER_STARTTLS;
    proxy_start(x);
    client *c = client_greet(x->f);
    client_send(c, "STARTTLS\r\nMAIL FROM:<i@evil.example>\r\n");
    client_expect(c, "554 5.5.1");
    client_expect_end(c);
    client_close(c);
    proxy_expect_empty(x);
}

/* ATTACKS 13: whole replies, and the beginning of one. */
static void proxy_tls__replies_behind_the_220_to_starttls_end_the_session(void **state)
{
    (void)state;
    static const char *const injected[] = {"250-x\r\n250 AUTH PLAIN\r\n", "250-x\r\n25"};
    for (size_t i = 0; i < 2; i++) {
        void *own = NULL;
        char octets[128];
        (void)setup(&own);
        proxy_fixture *x = own;
        x->listener.upstream.tls = SMX_TLS_REQUIRED;
        proxy_play(x);
        client *c = client_open(x->f);
        client *up = proxy_accept(x);
        client_say(up, "220 up.example ESMTP");
        client_expect(c, "220 up.example");
        client_say(c, "EHLO client.example");
        upstream_expect(up, "EHLO client.example");
        client_send(up, "250-up.example\r\n250 STARTTLS\r\n");
        upstream_expect(up, "STARTTLS");
        (void)snprintf(octets, sizeof(octets), "220 ok\r\n%s", injected[i]);
        client_send(up, octets);
        client_expect(c, "421 4.");
        client_expect_end(c);
        client_close(c);
        client_close(up);
        proxy_expect_empty(x);
        assert_int_equal(proxy_teardown(&own), 0);
    }
}

static void proxy_tls__handshake_that_fails_is_counted(void **state)
{
    proxy_fixture *x = *state;
    x->listener.listener.tls = SMX_LISTENER_STARTTLS;
    proxy_start(x);
    client *c = client_greet(x->f);
    client_ask(c, "STARTTLS", "220 ");
    client_send(c, "this is no TLS, whatever it is\r\n");
    fixture_wait(proxy_counters(x).tls_failures == 1);
    client_close(c);
    proxy_expect_empty(x);
}

/* ---- octets that pass unread ---- */

static void proxy_tls__starttls_passes_to_the_upstream(void **state)
{
    proxy_fixture *x = *state;
    x->listener.listener.tls = SMX_LISTENER_PASSTHROUGH;
    x->f->listener.tls = SMX_LISTENER_STARTTLS;
    proxy_start(x);
    client *c = client_greet(x->f);
    client_ask(c, "STARTTLS", "220 ");
    assert_true(client_secure(c));
    client_ask(c, "EHLO client.example", "250 ");
    client_mail(c, "S: x\r\n\r\nbody\r\n", "250 2.0.0 kept");
    assert_true(x->f->tls);
    assert_true(fixture_log_has(x->f, "passthrough client=127.0.0.1 from=STARTTLS"));
    client_ask(c, "QUIT", "221 ");
    client_close(c);
    proxy_expect_empty(x);
}

static void proxy_tls__implicit_tls_passes_from_the_first_octet(void **state)
{
    proxy_fixture *x = *state;
    x->listener.listener.tls = SMX_LISTENER_PASSTHROUGH;
    x->listener.upstream.tls = SMX_TLS_IMPLICIT;
    x->f->listener.tls = SMX_LISTENER_IMPLICIT;
    proxy_start(x);
    client *c = client_open(x->f);
    assert_true(client_secure(c));
    client_expect(c, "220 mux.example");
    client_ask(c, "EHLO client.example", "250 ");
    client_mail(c, "S: x\r\n\r\nbody\r\n", "250 2.0.0 kept");
    assert_true(fixture_log_has(x->f, "passthrough client=127.0.0.1 from=the first octet"));
    client_ask(c, "QUIT", "221 ");
    client_close(c);
    proxy_expect_empty(x);
}

/* ---- what does not go together ---- */

static void expect_mistake(proxy_fixture *x, const char *words)
{
    char text[SMX_PROBLEM_TEXT] = "";
    smx_proxy *proxy = NULL;
    assert_int_equal(smx_proxy_new(x->f->loop, &x->options, &proxy), 0);
    assert_int_equal(smx_proxy_listen(proxy, &x->listener, text), SMX_E_INVALID);
    assert_non_null(strstr(text, words));
    smx_proxy_free(proxy);
}

static void proxy_tls__sides_that_do_not_go_together_are_a_problem(void **state)
{
    proxy_fixture *x = *state;
    char text[SMX_PROBLEM_TEXT] = "";
    x->listener.upstream.port = 25;
    x->listener.listener.tls = SMX_LISTENER_PASSTHROUGH;
    x->listener.upstream.tls = SMX_TLS_REQUIRED;
    expect_mistake(x, "passthrough leaves TLS to the client");
    x->listener.listener.tls = SMX_LISTENER_CLEAR;
    x->listener.upstream.tls_context = NULL;
    expect_mistake(x, "tls_context");
    x->listener.listener.tls = SMX_LISTENER_STARTTLS;
    x->listener.upstream.tls = SMX_TLS_OFF;
    x->listener.listener.certificate_count = 0;
    expect_mistake(x, "has no certificate");
    x->f->listener.tls = SMX_LISTENER_PASSTHROUGH;
    smx_server *server = NULL;
    assert_int_equal(smx_server_new(x->f->loop, &x->f->options, &server), 0);
    assert_int_equal(smx_server_listen(server, &x->f->listener, text), SMX_E_INVALID);
    assert_non_null(strstr(text, "is for a transparent proxy"));
    smx_server_free(server);
}

#define WITH_TLS(name) cmocka_unit_test_setup_teardown(name, setup, proxy_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(proxy_tls__each_way_of_the_client_with_each_of_the_upstream),
        WITH_TLS(proxy_tls__if_offered_goes_on_without_it),
        WITH_TLS(proxy_tls__required_of_an_upstream_without_it_is_421),
        WITH_TLS(proxy_tls__wrong_name_is_refused_where_it_must_be_right),
        WITH_TLS(proxy_tls__wrong_name_of_implicit_tls_is_a_421_instead_of_a_banner),
        cmocka_unit_test(proxy_tls__unverified_is_taken_and_told),
        WITH_TLS(proxy_tls__commands_behind_starttls_end_the_session),
        cmocka_unit_test(proxy_tls__replies_behind_the_220_to_starttls_end_the_session),
        WITH_TLS(proxy_tls__handshake_that_fails_is_counted),
        WITH_TLS(proxy_tls__starttls_passes_to_the_upstream),
        WITH_TLS(proxy_tls__implicit_tls_passes_from_the_first_octet),
        WITH_TLS(proxy_tls__sides_that_do_not_go_together_are_a_problem),
    };
    return cmocka_run_group_tests(tests, make_certificate, free_certificate);
}
