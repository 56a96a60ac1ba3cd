/* TLS on real sockets: who is believed, what is refused, and that octets come through. */
#include "test_peers.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <unistd.h>

#include "net/loop_internal.h"
#include "test_certificates.h"

/* The ends, the certificates, and both sides of TLS. */
typedef struct tls_case {
    peers *p;
    test_certificates *certificates;
    tls_server *server;
    tls_client *client;
} tls_case;

static int tls_setup(void **state)
{
    void *ends;
    if (peers_setup_tcp(&ends) != 0)
        return -1;
    tls_case *t = calloc(1, sizeof(*t));
    assert_non_null(t);
    t->p = ends;
    t->certificates = test_certificates_new();
    *state = t;
    return 0;
}

static int tls_teardown(void **state)
{
    tls_case *t = *state;
    void *ends = t->p;
    tls_server_free(t->server);
    tls_client_free(t->client);
    (void)peers_teardown(&ends);
    test_certificates_free(t->certificates);
    free(t);
    assert_int_equal(ERR_peek_error(), 0);
    return 0;
}

#define TLS_TEST(name) cmocka_unit_test_setup_teardown(name, tls_setup, tls_teardown)

static void tls_make_server(tls_case *t, const tls_certificate *certificates, size_t count)
{
    const tls_server_options options = {.certificates = certificates, .certificate_count = count};
    problem why = {0};
    if (tls_server_new(&options, &t->server, &why) != 0)
        fail_msg("%s", why.text);
}

static void tls_make_client(tls_case *t)
{
    const tls_client_options options = {.ca_file = test_certificates_ca(t->certificates)};
    problem why = {0};
    if (tls_client_new(&options, &t->client, &why) != 0)
        fail_msg("%s", why.text);
}

/* A server with one certificate, and a client that believes the CA. */
static void tls_make(tls_case *t, const test_certificate_spec *spec)
{
    const tls_certificate files = test_certificates_make(t->certificates, "server", spec);
    tls_make_server(t, &files, 1);
    tls_make_client(t);
}

static const test_certificate_spec tls_good = {.common_name = "mx",
                                               .names = "DNS:mx.example,IP:127.0.0.1"};

/* Begins TLS at both ends and waits for the client's outcome. */
static int tls_secure(tls_case *t, const char *name, tls_verify verify)
{
    peers *p = t->p;
    assert_int_equal(connection_secure_server(p->server.c, t->server), 0);
    assert_int_equal(connection_secure_client(p->client.c, t->client, slice_of_text(name), verify),
                     0);
    peers_run_until(p, p->client.secured > 0);
    return p->client.secure_error;
}

static int tls_connect(tls_case *t, const char *name, tls_verify verify)
{
    peers_connect(t->p);
    return tls_secure(t, name, verify);
}

/* For a second connection of the same test. */
static void tls_start_over(tls_case *t)
{
    peers_close(t->p);
    buffer_free(&t->p->client.got);
    buffer_free(&t->p->server.got);
    t->p->client = (peer){.appetite = SIZE_MAX};
    t->p->server = (peer){.appetite = SIZE_MAX};
}

static connection_tls_info tls_info(const peer *end)
{
    connection_tls_info info;
    assert_true(connection_get_tls_info(end->c, &info));
    return info;
}

/* ---- what is believed ---- */

static void net_tls__octets_go_both_ways_verified(void **state)
{
    tls_case *t = *state;
    peers *p = t->p;
    tls_make(t, &tls_good);
    assert_int_equal(tls_connect(t, "MX.example.", TLS_VERIFY_REQUIRED), 0);
    peers_run_until(p, p->server.secured > 0);
    assert_int_equal(p->server.secure_error, 0);
    peer_queue(&p->client, "EHLO ");
    peer_queue(&p->client, "a\r\n");
    peer_queue(&p->server, "250 b\r\n");
    peers_run_until(p, buffer_length(&p->server.got) == 8 && buffer_length(&p->client.got) == 7);
    assert_got(&p->server, "EHLO a\r\n");
    assert_got(&p->client, "250 b\r\n");
    connection_tls_info info = tls_info(&p->client);
    assert_string_equal(info.protocol, "TLSv1.3");
    assert_true(info.verified);
    assert_null(info.error);
    assert_string_equal(info.peer_name, "mx");
    assert_false(tls_info(&p->server).verified);
    assert_true(connection_is_tls(p->client.c));
    assert_int_equal(loop_blocks_taken(p->loop), 0);
    peers_close(p);
}

static void net_tls__address_is_verified_by_ip_address(void **state)
{
    tls_case *t = *state;
    tls_make(t, &tls_good);
    assert_int_equal(tls_connect(t, "127.0.0.1", TLS_VERIFY_REQUIRED), 0);
    tls_start_over(t);
    assert_int_equal(tls_connect(t, "127.0.0.2", TLS_VERIFY_REQUIRED), SMX_E_CERTIFICATE);
}

/* The client refuses with these words, and the server hears of it. */
static void tls_expect_refusal(tls_case *t, const test_certificate_spec *spec, const char *name,
                               const char *words)
{
    tls_make(t, spec);
    assert_int_equal(tls_connect(t, name, TLS_VERIFY_REQUIRED), SMX_E_CERTIFICATE);
    assert_string_equal(connection_tls_problem(t->p->client.c), words);
    assert_int_equal(connection_queue(t->p->client.c, SMX_SLICE("x")), SMX_E_CLOSED);
    peers_run_until(t->p, t->p->server.secured > 0 || t->p->server.ended > 0);
    assert_non_null(strstr(connection_tls_problem(t->p->server.c), "the peer sent the alert"));
    assert_int_equal(t->p->server.got.end, 0);
}

static void net_tls__expired_is_refused(void **state)
{
    const test_certificate_spec spec = {
        .names = "DNS:mx.example", .from_days = -20, .to_days = -10};
    tls_expect_refusal(*state, &spec, "mx.example", "certificate has expired");
}

static void net_tls__wrong_name_is_refused(void **state)
{
    const test_certificate_spec spec = {.common_name = "mx.example", .names = "DNS:other.example"};
    tls_expect_refusal(*state, &spec, "mx.example", "hostname mismatch");
}

static void net_tls__common_name_alone_is_refused(void **state)
{
    const test_certificate_spec spec = {.common_name = "mx.example"};
    tls_expect_refusal(*state, &spec, "mx.example", "hostname mismatch");
}

static void net_tls__name_with_nul_is_refused(void **state)
{
    const test_certificate_spec spec = {.raw_dns_name = SMX_SLICE("mx.example\0.evil")};
    tls_expect_refusal(*state, &spec, "mx.example", "hostname mismatch");
}

static void net_tls__self_signed_is_refused(void **state)
{
    const test_certificate_spec spec = {.names = "DNS:mx.example", .self_signed = true};
    tls_expect_refusal(*state, &spec, "mx.example", "self-signed certificate");
}

static void net_tls__logged_takes_any_and_tells(void **state)
{
    tls_case *t = *state;
    const test_certificate_spec spec = {.names = "DNS:other.example"};
    tls_make(t, &spec);
    assert_int_equal(tls_connect(t, "mx.example", TLS_VERIFY_LOGGED), 0);
    connection_tls_info info = tls_info(&t->p->client);
    assert_false(info.verified);
    assert_string_equal(info.error, "hostname mismatch");
}

/* ---- clear text and TLS ---- */

/* The environment's names for it hold while the test runs. */
static tls_authorities *tls_authorities_of(const char *file)
{
    tls_authorities *authorities;
    assert_int_equal(setenv("SSL_CERT_FILE", file, 1), 0);
    assert_int_equal(setenv("SSL_CERT_DIR", "/nonexistent", 1), 0);
    assert_int_equal(tls_authorities_new(&authorities), 0);
    return authorities;
}

static void net_tls__the_systems_cas_are_read_once_for_all(void **state)
{
    tls_case *t = *state;
    tls_client *others;
    problem why = {0};
    const tls_certificate files = test_certificates_make(t->certificates, "server", &tls_good);
    tls_make_server(t, &files, 1);
    tls_authorities *authorities = tls_authorities_of(test_certificates_ca(t->certificates));
    assert_int_equal(setenv("SSL_CERT_FILE", "/nonexistent", 1), 0);
    const tls_client_options options = {.authorities = authorities};
    assert_int_equal(tls_client_new(&options, &t->client, &why), 0);
    assert_int_equal(tls_client_new(&options, &others, &why), 0);
    assert_ptr_equal(SSL_CTX_get_cert_store(tls_client_context(others)),
                     SSL_CTX_get_cert_store(tls_client_context(t->client)));
    tls_client_free(others);
    tls_authorities_free(authorities);
    assert_int_equal(tls_connect(t, "mx.example", TLS_VERIFY_REQUIRED), 0);
}

static void net_tls__without_shared_cas_a_context_reads_the_systems(void **state)
{
    tls_case *t = *state;
    problem why = {0};
    const tls_certificate files = test_certificates_make(t->certificates, "server", &tls_good);
    tls_make_server(t, &files, 1);
    tls_authorities_free(tls_authorities_of(test_certificates_ca(t->certificates)));
    assert_int_equal(tls_client_new(&(tls_client_options){0}, &t->client, &why), 0);
    assert_int_equal(tls_connect(t, "mx.example", TLS_VERIFY_REQUIRED), 0);
}

static void net_tls__the_systems_cas_are_current_until_they_change(void **state)
{
    tls_case *t = *state;
    const char *file = test_certificates_write(t->certificates, "system.pem", "");
    tls_authorities *authorities = tls_authorities_of(file);
    assert_true(tls_authorities_are_current(authorities));
    (void)test_certificates_write(t->certificates, "system.pem", "more");
    assert_false(tls_authorities_are_current(authorities));
    tls_authorities_free(authorities);
    authorities = tls_authorities_of(file);
    assert_int_equal(setenv("SSL_CERT_DIR", "/tmp", 1), 0);
    assert_false(tls_authorities_are_current(authorities));
    tls_authorities_free(authorities);
}

static void net_tls__octets_behind_starttls_are_refused(void **state)
{
    tls_case *t = *state;
    peers *p = t->p;
    tls_make(t, &tls_good);
    peers_connect(p);
    p->server.appetite = 10;
    p->server.secure_server = t->server;
    peer_queue(&p->client, "STARTTLS\r\nMAIL FROM:<i@e>\r\n");
    peers_run_until(p, p->server.secured > 0);
    assert_int_equal(p->server.secure_error, SMX_E_PROTOCOL);
    assert_got(&p->server, "STARTTLS\r\n");
    assert_int_equal(connection_kept(p->server.c), 0);
    p->server.appetite = SIZE_MAX;
    peers_settle(p);
    assert_got(&p->server, "STARTTLS\r\n");
}

static void net_tls__kept_octets_forbid_tls(void **state)
{
    tls_case *t = *state;
    peers *p = t->p;
    tls_make(t, &tls_good);
    peers_connect(p);
    p->client.appetite = 8;
    peer_queue(&p->server, "220 ok\r\n250 AUTH PLAIN\r\n");
    peers_run_until(p, connection_kept(p->client.c) > 0);
    assert_int_equal(connection_secure_client(p->client.c, t->client, SMX_SLICE("mx.example"),
                                              TLS_VERIFY_LOGGED),
                     SMX_E_PROTOCOL);
    assert_false(connection_is_tls(p->client.c));
}

static void net_tls__clear_text_goes_out_before_the_handshake(void **state)
{
    tls_case *t = *state;
    peers *p = t->p;
    tls_make(t, &tls_good);
    peers_connect(p);
    p->server.secure_server = t->server;
    peer_queue(&p->client, "STARTTLS\r\n");
    peers_run_until(p, p->server.secure_server == NULL);
    /* Queued within TLS before the handshake: waits for it. */
    peer_queue(&p->server, "250 inside\r\n");
    assert_int_equal(connection_secure_client(p->client.c, t->client, SMX_SLICE("mx.example"),
                                              TLS_VERIFY_REQUIRED),
                     0);
    peers_run_until(p, buffer_length(&p->client.got) > 0);
    assert_got(&p->client, "250 inside\r\n");
    assert_int_equal(p->client.secured, 1);
}

static void net_tls__clear_text_instead_of_a_handshake_fails(void **state)
{
    tls_case *t = *state;
    peers *p = t->p;
    tls_make(t, &tls_good);
    peers_connect(p);
    assert_int_equal(connection_secure_server(p->server.c, t->server), 0);
    peer_queue(&p->client, "EHLO a\r\n");
    peers_run_until(p, p->server.secured > 0);
    assert_int_equal(p->server.secure_error, SMX_E_TLS);
    assert_string_not_equal(connection_tls_problem(p->server.c), "");
}

static void net_tls__end_within_the_handshake_is_closed(void **state)
{
    tls_case *t = *state;
    peers *p = t->p;
    tls_make(t, &tls_good);
    peers_connect(p);
    assert_int_equal(connection_secure_client(p->client.c, t->client, SMX_SLICE("mx.example"),
                                              TLS_VERIFY_REQUIRED),
                     0);
    connection_close(p->server.c);
    peers_run_until(p, p->client.secured > 0);
    assert_int_equal(p->client.secure_error, SMX_E_CLOSED);
    peers_settle(p);
    assert_int_equal(p->client.ended, 0);
}

static void net_tls__close_is_told_to_the_peer(void **state)
{
    tls_case *t = *state;
    peers *p = t->p;
    tls_make(t, &tls_good);
    assert_int_equal(tls_connect(t, "mx.example", TLS_VERIFY_REQUIRED), 0);
    peer_queue(&p->client, "QUIT\r\n");
    connection_close(p->client.c);
    peers_run_until(p, p->server.ended > 0);
    assert_int_equal(p->server.end_error, 0);
    assert_got(&p->server, "QUIT\r\n");
}

/* ---- what kinds of TLS ---- */

/* A client whose context was changed by `change`; returns what the handshake gave. */
static int tls_connect_changed(tls_case *t, int (*change)(SSL_CTX *context))
{
    tls_make(t, &tls_good);
    assert_int_equal(change(tls_client_context(t->client)), 0);
    return tls_connect(t, "mx.example", TLS_VERIFY_REQUIRED);
}

static int tls_offer_h2(SSL_CTX *context)
{
    return SSL_CTX_set_alpn_protos(context, (const unsigned char *)"\2h2\10http/1.1", 12);
}

static int tls_offer_smtp(SSL_CTX *context)
{
    return SSL_CTX_set_alpn_protos(context, (const unsigned char *)"\2h2\4smtp", 8);
}

static int tls_only_1_1(SSL_CTX *context)
{
    SSL_CTX_set_security_level(context, 0);
    return SSL_CTX_set_min_proto_version(context, TLS1_1_VERSION) == 1 &&
                   SSL_CTX_set_max_proto_version(context, TLS1_1_VERSION) == 1
               ? 0
               : -1;
}

static int tls_only_1_2(SSL_CTX *context)
{
    return SSL_CTX_set_max_proto_version(context, TLS1_2_VERSION) == 1 ? 0 : -1;
}

static void net_tls__alpn_without_smtp_is_alert_120(void **state)
{
    tls_case *t = *state;
    assert_int_equal(tls_connect_changed(t, tls_offer_h2), SMX_E_TLS);
    assert_string_equal(connection_tls_problem(t->p->client.c),
                        "the peer sent the alert: no application protocol");
}

static void net_tls__alpn_smtp_is_taken(void **state)
{
    assert_int_equal(tls_connect_changed(*state, tls_offer_smtp), 0);
}

static void net_tls__version_1_1_is_refused(void **state)
{
    tls_case *t = *state;
    assert_int_equal(tls_connect_changed(t, tls_only_1_1), SMX_E_TLS);
    assert_string_equal(connection_tls_problem(t->p->client.c),
                        "the peer sent the alert: protocol version");
}

static void net_tls__version_1_2_is_taken(void **state)
{
    tls_case *t = *state;
    assert_int_equal(tls_connect_changed(t, tls_only_1_2), 0);
    assert_string_equal(tls_info(&t->p->client).protocol, "TLSv1.2");
}

/* ---- sessions ---- */

static void tls_expect_resumption(tls_case *t)
{
    peers *p = t->p;
    assert_false(tls_info(&p->client).resumed);
    /* The ticket of TLS 1.3 comes behind the handshake. */
    peers_run_until(p, p->server.secured > 0);
    peer_queue(&p->server, "x");
    peers_run_until(p, buffer_length(&p->client.got) == 1);
    tls_start_over(t);
    assert_int_equal(tls_connect(t, "mx.example", TLS_VERIFY_REQUIRED), 0);
    assert_true(tls_info(&p->client).resumed);
    assert_true(tls_info(&p->client).verified);
}

static void net_tls__session_of_1_3_is_resumed(void **state)
{
    tls_case *t = *state;
    tls_make(t, &tls_good);
    assert_int_equal(tls_connect(t, "mx.example", TLS_VERIFY_REQUIRED), 0);
    tls_expect_resumption(t);
}

static void net_tls__session_of_1_2_is_resumed(void **state)
{
    tls_case *t = *state;
    assert_int_equal(tls_connect_changed(t, tls_only_1_2), 0);
    tls_expect_resumption(t);
}

static void net_tls__unverified_session_never_counts_as_verified(void **state)
{
    tls_case *t = *state;
    const test_certificate_spec spec = {.names = "DNS:other.example"};
    tls_make(t, &spec);
    assert_int_equal(tls_connect(t, "mx.example", TLS_VERIFY_LOGGED), 0);
    peers_run_until(t->p, t->p->server.secured > 0);
    peer_queue(&t->p->server, "x");
    peers_run_until(t->p, buffer_length(&t->p->client.got) == 1);
    tls_start_over(t);
    assert_int_equal(tls_connect(t, "mx.example", TLS_VERIFY_REQUIRED), SMX_E_CERTIFICATE);
}

/* ---- certificates of the server ---- */

static void net_tls__certificate_is_chosen_by_sni(void **state)
{
    tls_case *t = *state;
    static const struct {
        const char *name;
        const char *chosen;
    } asked[] = {{"a.example", "first"},       {"b.example", "second"},
                 {"x.wild.example", "third"},  {"x.y.wild.example", "first"},
                 {"unknown.example", "first"}, {"127.0.0.1", "first"}};
    const test_certificate_spec first = {.common_name = "first", .names = "DNS:a.example"};
    const test_certificate_spec second = {
        .common_name = "second", .names = "DNS:b.example", .rsa = true};
    const test_certificate_spec third = {.common_name = "third", .names = "DNS:*.wild.example"};
    const tls_certificate files[] = {test_certificates_make(t->certificates, "1", &first),
                                     test_certificates_make(t->certificates, "2", &second),
                                     test_certificates_make(t->certificates, "3", &third)};
    tls_make_server(t, files, 3);
    tls_make_client(t);
    for (size_t i = 0; i < sizeof(asked) / sizeof(asked[0]); i++) {
        assert_int_equal(tls_connect(t, asked[i].name, TLS_VERIFY_LOGGED), 0);
        assert_string_equal(tls_info(&t->p->client).peer_name, asked[i].chosen);
        tls_start_over(t);
    }
}

static void net_tls__refresh_takes_new_files(void **state)
{
    tls_case *t = *state;
    const test_certificate_spec renewed = {.common_name = "renewed", .names = "DNS:mx.example"};
    problem why = {0};
    tls_make(t, &tls_good);
    assert_int_equal(tls_server_refresh(t->server, &why), 0);
    (void)test_certificates_make(t->certificates, "server", &renewed);
    assert_int_equal(tls_server_refresh(t->server, &why), 1);
    assert_int_equal(tls_server_refresh(t->server, &why), 0);
    assert_int_equal(tls_connect(t, "mx.example", TLS_VERIFY_REQUIRED), 0);
    assert_string_equal(tls_info(&t->p->client).peer_name, "renewed");
}

static void net_tls__refresh_keeps_the_old_when_the_new_is_bad(void **state)
{
    tls_case *t = *state;
    problem why = {0};
    tls_make(t, &tls_good);
    (void)test_certificates_write(t->certificates, "server.pem", "no certificate\n");
    assert_int_equal(tls_server_refresh(t->server, &why), SMX_E_INVALID);
    assert_non_null(strstr(why.text, "server.pem is not PEM"));
    assert_int_equal(tls_connect(t, "mx.example", TLS_VERIFY_REQUIRED), 0);
    assert_string_equal(tls_info(&t->p->client).peer_name, "mx");
}

static void net_tls__server_lives_while_connections_use_it(void **state)
{
    tls_case *t = *state;
    peers_connect(t->p);
    tls_make(t, &tls_good);
    assert_int_equal(connection_secure_server(t->p->server.c, t->server), 0);
    tls_server_free(t->server);
    t->server = NULL;
    assert_int_equal(connection_secure_client(t->p->client.c, t->client, SMX_SLICE("mx.example"),
                                              TLS_VERIFY_REQUIRED),
                     0);
    tls_client_free(t->client);
    t->client = NULL;
    peers_run_until(t->p, t->p->client.secured > 0);
    assert_int_equal(t->p->client.secure_error, 0);
}

/* ---- problems with files ---- */

static void tls_expect_problem(const tls_certificate *files, int error, const char *file,
                               const char *words)
{
    const tls_server_options options = {.certificates = files, .certificate_count = 1};
    tls_server *server = NULL;
    problem why = {0};
    assert_int_equal(tls_server_new(&options, &server, &why), error);
    assert_null(server);
    if (strstr(why.text, file) == NULL || strstr(why.text, words) == NULL)
        fail_msg("\"%s\" does not say \"%s\" of %s", why.text, words, file);
}

static void net_tls__bad_files_are_named(void **state)
{
    tls_case *t = *state;
    test_certificates *c = t->certificates;
    const tls_certificate good = test_certificates_make(c, "good", &tls_good);
    const tls_certificate other = test_certificates_make(c, "other", &tls_good);
    const char *empty = test_certificates_write(c, "empty.pem", "");
    const char *text = test_certificates_write(c, "text.pem", "hello\n");
    const char *missing = test_certificates_path(c, "missing.pem");
    const tls_certificate bad[] = {{missing, good.key_file}, {empty, good.key_file},
                                   {text, good.key_file},    {good.cert_file, missing},
                                   {good.cert_file, text},   {good.cert_file, other.key_file},
                                   {"/tmp", good.key_file}};
    tls_expect_problem(&bad[0], SMX_E_NOTFOUND, missing, "No such file");
    tls_expect_problem(&bad[1], SMX_E_INVALID, empty, "is empty");
    tls_expect_problem(&bad[2], SMX_E_INVALID, text, "is not PEM");
    tls_expect_problem(&bad[3], SMX_E_NOTFOUND, missing, "No such file");
    tls_expect_problem(&bad[4], SMX_E_INVALID, text, "not an unencrypted PEM private key");
    tls_expect_problem(&bad[5], SMX_E_INVALID, other.key_file, "does not belong to");
    tls_expect_problem(&bad[6], SMX_E_INVALID, "/tmp", "not a regular file");
}

static void net_tls__expired_certificate_is_a_warning(void **state)
{
    tls_case *t = *state;
    const test_certificate_spec spec = {
        .names = "DNS:mx.example", .from_days = -20, .to_days = -10};
    const tls_certificate files = test_certificates_make(t->certificates, "old", &spec);
    const tls_server_options options = {.certificates = &files, .certificate_count = 1};
    problem why = {0};
    assert_int_equal(tls_server_new(&options, &t->server, &why), 0);
    assert_non_null(strstr(why.text, "old.pem has expired"));
}

/* ---- client certificates ---- */

static void tls_make_mutual(tls_case *t, const tls_certificate *own)
{
    const tls_certificate files = test_certificates_make(t->certificates, "server", &tls_good);
    const char *ca = test_certificates_ca(t->certificates);
    const tls_server_options server = {
        .certificates = &files, .certificate_count = 1, .client_ca_file = ca};
    const tls_client_options client = {
        .ca_file = ca, .cert_file = own->cert_file, .key_file = own->key_file};
    problem why = {0};
    if (tls_server_new(&server, &t->server, &why) != 0 ||
        tls_client_new(&client, &t->client, &why) != 0)
        fail_msg("%s", why.text);
    (void)tls_connect(t, "mx.example", TLS_VERIFY_REQUIRED);
    peers_run_until(t->p, t->p->server.secured > 0);
}

static void net_tls__client_certificate_is_verified(void **state)
{
    tls_case *t = *state;
    const test_certificate_spec spec = {.common_name = "client"};
    const tls_certificate own = test_certificates_make(t->certificates, "client", &spec);
    tls_make_mutual(t, &own);
    assert_int_equal(t->p->server.secure_error, 0);
    assert_true(tls_info(&t->p->server).verified);
    assert_string_equal(tls_info(&t->p->server).peer_name, "client");
}

static void net_tls__client_without_certificate_is_refused(void **state)
{
    tls_case *t = *state;
    const tls_certificate none = {0};
    tls_make_mutual(t, &none);
    assert_int_equal(t->p->server.secure_error, SMX_E_CERTIFICATE);
    assert_string_equal(connection_tls_problem(t->p->server.c), "the peer showed no certificate");
    /* With TLS 1.3 the client hears of it after its handshake. */
    peers_run_until(t->p, t->p->client.ended > 0);
    assert_int_equal(t->p->client.end_error, SMX_E_CERTIFICATE);
}

static void net_tls__client_of_another_ca_is_refused(void **state)
{
    tls_case *t = *state;
    const test_certificate_spec spec = {.common_name = "stranger", .self_signed = true};
    const tls_certificate own = test_certificates_make(t->certificates, "client", &spec);
    tls_make_mutual(t, &own);
    assert_int_equal(t->p->server.secure_error, SMX_E_CERTIFICATE);
}

/* ---- much ---- */

enum { TLS_MUCH = 8 * 1024 * 1024 };

/* Sends a pattern until all of it is taken. */
static size_t tls_send_some(peers *p, const char *octets, size_t sent)
{
    const smx_slice rest[] = {slice_of(octets + sent, 100), slice_of(octets + sent + 100, 0),
                              slice_of(octets + sent + 100, TLS_MUCH - sent - 100)};
    size_t taken = 0;
    assert_int_equal(connection_send(p->client.c, rest, 3, &taken), 0);
    assert_true(connection_queued(p->client.c) <= CONNECTION_HIGH + 2 * 16384);
    return sent + taken;
}

static void net_tls__much_goes_through_with_backpressure(void **state)
{
    tls_case *t = *state;
    peers *p = t->p;
    char *octets = malloc(TLS_MUCH);
    assert_non_null(octets);
    for (size_t i = 0; i < TLS_MUCH; i++)
        octets[i] = (char)(i * 31 + i / 251);
    tls_make(t, &tls_good);
    assert_int_equal(tls_connect(t, "mx.example", TLS_VERIFY_REQUIRED), 0);
    peers_run_until(p, p->server.secured > 0);
    peers_shrink_buffers(p);
    connection_pause(p->server.c, true);
    size_t sent = 0;
    int drained;
    do { /* until nothing moves any more */
        drained = p->client.drained;
        sent = tls_send_some(p, octets, sent);
        peers_settle(p);
    } while (p->client.drained > drained);
    assert_true(sent < TLS_MUCH / 2);
    assert_int_equal(buffer_length(&p->server.got), 0);
    connection_pause(p->server.c, false);
    while (sent < TLS_MUCH - 200) {
        peers_run_until(p, p->client.drained > drained);
        drained = p->client.drained;
        sent = tls_send_some(p, octets, sent);
    }
    peers_run_until(p, buffer_length(&p->server.got) == sent);
    assert_memory_equal(buffer_slice(&p->server.got).data, octets, sent);
    assert_int_equal(loop_blocks_taken(p->loop), 0);
    free(octets);
}

/* The owner takes some now and then: what stays encrypted meanwhile is used in its order. */
static void net_tls__held_octets_come_in_order(void **state)
{
    enum { ALL = 200000 };
    tls_case *t = *state;
    peers *p = t->p;
    char *octets = malloc(ALL);
    assert_non_null(octets);
    for (size_t i = 0; i < ALL; i++)
        octets[i] = (char)(i * 31 + i / 251);
    tls_make(t, &tls_good);
    assert_int_equal(tls_connect(t, "mx.example", TLS_VERIFY_REQUIRED), 0);
    peers_run_until(p, p->server.secured > 0);
    p->server.appetite = 0;
    assert_int_equal(connection_queue(p->client.c, slice_of(octets, ALL)), 0);
    peers_run_until(p, connection_kept(p->server.c) == LOOP_BLOCK);
    for (size_t used = 0; used + 7000 < ALL - LOOP_BLOCK; used += 7000) {
        p->server.appetite = 7000;
        connection_resume(p->server.c);
        peers_run_until(p, connection_kept(p->server.c) == LOOP_BLOCK);
        assert_int_equal(p->server.appetite, 0);
    }
    p->server.appetite = SIZE_MAX;
    connection_resume(p->server.c);
    peers_run_until(p, buffer_length(&p->server.got) == ALL);
    assert_memory_equal(buffer_slice(&p->server.got).data, octets, ALL);
    assert_int_equal(loop_blocks_taken(p->loop), 0);
    free(octets);
}

static void net_tls__waiting_owner_is_given_little(void **state)
{
    tls_case *t = *state;
    peers *p = t->p;
    char octets[60000];
    memset(octets, 'x', sizeof(octets));
    tls_make(t, &tls_good);
    assert_int_equal(tls_connect(t, "mx.example", TLS_VERIFY_REQUIRED), 0);
    peers_run_until(p, p->server.secured > 0);
    p->server.appetite = 0;
    connection_waiting(p->server.c, true);
    assert_int_equal(connection_queue(p->client.c, slice_of(octets, sizeof(octets))), 0);
    peers_run_until(p, connection_kept(p->server.c) == CONNECTION_KEEP);
    peers_settle(p);
    assert_int_equal(connection_kept(p->server.c), CONNECTION_KEEP);
    p->server.appetite = SIZE_MAX;
    connection_resume(p->server.c);
    peers_run_until(p, buffer_length(&p->server.got) == sizeof(octets));
    assert_memory_equal(buffer_slice(&p->server.got).data, octets, sizeof(octets));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TLS_TEST(net_tls__octets_go_both_ways_verified),
        TLS_TEST(net_tls__address_is_verified_by_ip_address),
        TLS_TEST(net_tls__expired_is_refused),
        TLS_TEST(net_tls__wrong_name_is_refused),
        TLS_TEST(net_tls__common_name_alone_is_refused),
        TLS_TEST(net_tls__name_with_nul_is_refused),
        TLS_TEST(net_tls__self_signed_is_refused),
        TLS_TEST(net_tls__logged_takes_any_and_tells),
        TLS_TEST(net_tls__the_systems_cas_are_read_once_for_all),
        TLS_TEST(net_tls__without_shared_cas_a_context_reads_the_systems),
        TLS_TEST(net_tls__the_systems_cas_are_current_until_they_change),
        TLS_TEST(net_tls__octets_behind_starttls_are_refused),
        TLS_TEST(net_tls__kept_octets_forbid_tls),
        TLS_TEST(net_tls__clear_text_goes_out_before_the_handshake),
        TLS_TEST(net_tls__clear_text_instead_of_a_handshake_fails),
        TLS_TEST(net_tls__end_within_the_handshake_is_closed),
        TLS_TEST(net_tls__close_is_told_to_the_peer),
        TLS_TEST(net_tls__alpn_without_smtp_is_alert_120),
        TLS_TEST(net_tls__alpn_smtp_is_taken),
        TLS_TEST(net_tls__version_1_1_is_refused),
        TLS_TEST(net_tls__version_1_2_is_taken),
        TLS_TEST(net_tls__session_of_1_3_is_resumed),
        TLS_TEST(net_tls__session_of_1_2_is_resumed),
        TLS_TEST(net_tls__unverified_session_never_counts_as_verified),
        TLS_TEST(net_tls__certificate_is_chosen_by_sni),
        TLS_TEST(net_tls__refresh_takes_new_files),
        TLS_TEST(net_tls__refresh_keeps_the_old_when_the_new_is_bad),
        TLS_TEST(net_tls__server_lives_while_connections_use_it),
        TLS_TEST(net_tls__bad_files_are_named),
        TLS_TEST(net_tls__expired_certificate_is_a_warning),
        TLS_TEST(net_tls__client_certificate_is_verified),
        TLS_TEST(net_tls__client_without_certificate_is_refused),
        TLS_TEST(net_tls__client_of_another_ca_is_refused),
        TLS_TEST(net_tls__much_goes_through_with_backpressure),
        TLS_TEST(net_tls__held_octets_come_in_order),
        TLS_TEST(net_tls__waiting_owner_is_given_little),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
