/* Tickets of TLS sessions: which server takes whose, and for how long. The two ends of a handshake are
 * OpenSSL's, with memory between them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdlib.h>

#include "net/tls.h"
#include "test_certificates.h"

enum { SERVERS = 3, NAME_SIZE = 16 };

typedef struct tickets_case {
    test_certificates *certificates;
    tls_certificate own;
    tls_certificate other;
    tls_tickets *tickets; /* made at 0 */
    tls_server *servers[SERVERS];
    SSL_CTX *client;
    SSL_SESSION *session; /* the client's latest one */
} tickets_case;

static int tickets_setup(void **state)
{
    const test_certificate_spec spec = {.names = "DNS:mx.example"};
    tickets_case *t = calloc(1, sizeof(*t));
    assert_non_null(t);
    t->certificates = test_certificates_new();
    t->own = test_certificates_make(t->certificates, "own", &spec);
    t->other = test_certificates_make(t->certificates, "other", &spec);
    assert_int_equal(tls_tickets_new(0, &t->tickets), 0);
    t->client = SSL_CTX_new(TLS_client_method());
    assert_non_null(t->client);
    *state = t;
    return 0;
}

static int tickets_teardown(void **state)
{
    tickets_case *t = *state;
    SSL_SESSION_free(t->session);
    SSL_CTX_free(t->client);
    tls_tickets_free(t->tickets); /* before the servers, which hold it */
    for (size_t i = 0; i < SERVERS; i++)
        tls_server_free(t->servers[i]);
    test_certificates_free(t->certificates);
    free(t);
    ERR_clear_error();
    return 0;
}

#define TICKETS_TEST(name) cmocka_unit_test_setup_teardown(name, tickets_setup, tickets_teardown)

static tls_server *server_new(tickets_case *t, size_t nth, const tls_certificate *certificate,
                              const char *client_ca, tls_tickets *tickets)
{
    const tls_server_options options = {certificate, 1, client_ca, tickets};
    problem why = {0};
    if (tls_server_new(&options, &t->servers[nth], &why) != 0)
        fail_msg("%s", why.text);
    return t->servers[nth];
}

/* ---- one handshake ---- */

typedef struct ends {
    SSL *client;
    SSL *server;
} ends;

static ends ends_new(SSL_CTX *client, tls_server *server, SSL_SESSION *session)
{
    BIO *near;
    BIO *far;
    ends e = {SSL_new(client), SSL_new(tls_server_context(server))};
    if (e.client == NULL || e.server == NULL || BIO_new_bio_pair(&near, 0, &far, 0) != 1)
        abort();
    SSL_set_bio(e.client, near, near);
    SSL_set_bio(e.server, far, far);
    SSL_set_connect_state(e.client);
    SSL_set_accept_state(e.server);
    if (session != NULL && SSL_set_session(e.client, session) != 1)
        abort();
    return e;
}

/* Both go on until neither can; reading an octet that never comes takes the tickets of TLS 1.3. */
static bool ends_secure(const ends *e)
{
    char none;
    for (int turn = 0; turn < 6; turn++) {
        (void)SSL_read(e->client, &none, 1);
        (void)SSL_read(e->server, &none, 1);
    }
    return SSL_is_init_finished(e->client) == 1 && SSL_is_init_finished(e->server) == 1;
}

/* Without a goodbye OpenSSL would mark the session as broken. */
static void ends_free(const ends *e)
{
    SSL_set_quiet_shutdown(e->client, 1);
    (void)SSL_shutdown(e->client);
    SSL_free(e->client);
    SSL_free(e->server);
}

/* Comes back with the latest session, and keeps the one that it has then. Was it resumed? */
static bool comes_back(tickets_case *t, tls_server *server)
{
    const ends e = ends_new(t->client, server, t->session);
    assert_true(ends_secure(&e));
    bool resumed = SSL_session_reused(e.server) == 1;
    SSL_SESSION *latest = SSL_get1_session(e.client);
    ends_free(&e);
    SSL_SESSION_free(t->session);
    t->session = latest;
    return resumed;
}

static void key_name(const tickets_case *t, unsigned char name[static NAME_SIZE])
{
    const unsigned char *ticket;
    size_t size = 0;
    SSL_SESSION_get0_ticket(t->session, &ticket, &size);
    assert_true(size > NAME_SIZE);
    memcpy(name, ticket, NAME_SIZE);
}

static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

/* Without a session, in the `nth` of the versions. */
static void begin_version(tickets_case *t, size_t nth)
{
    assert_int_equal(SSL_CTX_set_min_proto_version(t->client, versions[nth]), 1);
    assert_int_equal(SSL_CTX_set_max_proto_version(t->client, versions[nth]), 1);
    SSL_SESSION_free(t->session);
    t->session = NULL;
}

/* ---- whose tickets are taken ---- */

static void net_tls_tickets__one_is_good_at_each_server_of_its_keys(void **state)
{
    tickets_case *t = *state;
    (void)server_new(t, 0, &t->own, NULL, t->tickets);
    (void)server_new(t, 1, &t->own, NULL, t->tickets);
    for (size_t v = 0; v < 2; v++) {
        begin_version(t, v);
        assert_false(comes_back(t, t->servers[0]));
        for (size_t i = 1; i < 6; i++)
            assert_true(comes_back(t, t->servers[i % 2]));
    }
}

static void net_tls_tickets__keys_of_another_are_unknown(void **state)
{
    tickets_case *t = *state;
    tls_tickets *others;
    assert_int_equal(tls_tickets_new(0, &others), 0);
    (void)server_new(t, 0, &t->own, NULL, t->tickets);
    (void)server_new(t, 1, &t->own, NULL, others);
    (void)server_new(t, 2, &t->own, NULL, NULL);
    tls_tickets_free(others);
    for (size_t v = 0; v < 2; v++) {
        begin_version(t, v);
        for (size_t i = 0; i < SERVERS; i++) {
            assert_false(comes_back(t, t->servers[i]));
            assert_true(comes_back(t, t->servers[i]));
        }
    }
}

static void net_tls_tickets__other_certificates_are_another_session(void **state)
{
    tickets_case *t = *state;
    (void)server_new(t, 0, &t->own, NULL, t->tickets);
    (void)server_new(t, 1, &t->other, NULL, t->tickets);
    for (size_t v = 0; v < 2; v++) {
        begin_version(t, v);
        assert_false(comes_back(t, t->servers[0]));
        assert_false(comes_back(t, t->servers[1]));
        assert_false(comes_back(t, t->servers[0]));
        assert_true(comes_back(t, t->servers[0]));
    }
}

static void net_tls_tickets__no_way_round_a_client_certificate(void **state)
{
    tickets_case *t = *state;
    (void)server_new(t, 0, &t->own, NULL, t->tickets);
    (void)server_new(t, 1, &t->own, test_certificates_ca(t->certificates), t->tickets);
    for (size_t v = 0; v < 2; v++) {
        begin_version(t, v);
        assert_false(comes_back(t, t->servers[0]));
        assert_true(comes_back(t, t->servers[0]));
        const ends e = ends_new(t->client, t->servers[1], t->session);
        assert_false(ends_secure(&e));
        assert_int_equal(SSL_session_reused(e.server), 0);
        ends_free(&e);
    }
}

static void net_tls_tickets__client_certificates_are_shown_each_time(void **state)
{
    tickets_case *t = *state;
    (void)server_new(t, 0, &t->own, test_certificates_ca(t->certificates), t->tickets);
    assert_int_equal(SSL_CTX_use_certificate_file(t->client, t->other.cert_file, SSL_FILETYPE_PEM),
                     1);
    assert_int_equal(SSL_CTX_use_PrivateKey_file(t->client, t->other.key_file, SSL_FILETYPE_PEM),
                     1);
    for (size_t v = 0; v < 2; v++) {
        begin_version(t, v);
        assert_false(comes_back(t, t->servers[0]));
        assert_int_equal(SSL_SESSION_has_ticket(t->session), 0);
        assert_false(comes_back(t, t->servers[0]));
    }
}

/* ---- for how long ---- */

static void net_tls_tickets__key_before_is_taken_and_renewed(void **state)
{
    tickets_case *t = *state;
    uint64_t now = 0;
    (void)server_new(t, 0, &t->own, NULL, t->tickets);
    for (size_t v = 0; v < 2; v++) {
        unsigned char before[NAME_SIZE];
        unsigned char after[NAME_SIZE];
        begin_version(t, v);
        assert_false(comes_back(t, t->servers[0]));
        key_name(t, before);
        tls_tickets_turn(t->tickets, now += TLS_TICKETS_TURN_MS);
        assert_true(comes_back(t, t->servers[0]));
        key_name(t, after);
        assert_memory_not_equal(before, after, NAME_SIZE);
        tls_tickets_turn(t->tickets, now += TLS_TICKETS_TURN_MS);
        assert_true(comes_back(t, t->servers[0]));
    }
}

static void net_tls_tickets__key_before_that_is_gone(void **state)
{
    tickets_case *t = *state;
    uint64_t now = 0;
    (void)server_new(t, 0, &t->own, NULL, t->tickets);
    for (size_t v = 0; v < 2; v++) {
        begin_version(t, v);
        assert_false(comes_back(t, t->servers[0]));
        tls_tickets_turn(t->tickets, now += TLS_TICKETS_TURN_MS);
        tls_tickets_turn(t->tickets, now += TLS_TICKETS_TURN_MS);
        assert_false(comes_back(t, t->servers[0]));
        assert_true(comes_back(t, t->servers[0]));
    }
}

static void net_tls_tickets__key_turns_when_it_is_time(void **state)
{
    tickets_case *t = *state;
    unsigned char first[NAME_SIZE];
    unsigned char now[NAME_SIZE];
    (void)server_new(t, 0, &t->own, NULL, t->tickets);
    begin_version(t, 1);
    (void)comes_back(t, t->servers[0]);
    key_name(t, first);
    for (size_t i = 0; i < 3; i++) {
        tls_tickets_turn(t->tickets, TLS_TICKETS_TURN_MS - 1);
        assert_true(comes_back(t, t->servers[0]));
        key_name(t, now);
        assert_memory_equal(first, now, NAME_SIZE);
    }
    tls_tickets_turn(t->tickets, TLS_TICKETS_TURN_MS);
    tls_tickets_turn(t->tickets, TLS_TICKETS_TURN_MS); /* another loop's, at the same time */
    assert_true(comes_back(t, t->servers[0]));
    key_name(t, now);
    assert_memory_not_equal(first, now, NAME_SIZE);
}

/* RFC 8446 section C.4: who watches is not to know a client again by its ticket. */
static void net_tls_tickets__of_tls_13_are_used_once(void **state)
{
    tickets_case *t = *state;
    (void)server_new(t, 0, &t->own, NULL, t->tickets);
    begin_version(t, 1);
    (void)comes_back(t, t->servers[0]);
    SSL_SESSION *before = SSL_SESSION_dup(t->session);
    assert_true(comes_back(t, t->servers[0]));
    const unsigned char *tickets[2];
    size_t sizes[2];
    SSL_SESSION_get0_ticket(before, &tickets[0], &sizes[0]);
    SSL_SESSION_get0_ticket(t->session, &tickets[1], &sizes[1]);
    bool same = sizes[0] == sizes[1] && memcmp(tickets[0], tickets[1], sizes[0]) == 0;
    SSL_SESSION_free(before);
    assert_false(same);
}

static void net_tls_tickets__say_how_long_they_live_and_take_no_early_data(void **state)
{
    tickets_case *t = *state;
    (void)server_new(t, 0, &t->own, NULL, t->tickets);
    for (size_t v = 0; v < 2; v++) {
        begin_version(t, v);
        assert_false(comes_back(t, t->servers[0]));
        assert_int_equal(SSL_SESSION_get_ticket_lifetime_hint(t->session),
                         TLS_TICKETS_TURN_MS / 1000);
        assert_int_equal(SSL_SESSION_get_max_early_data(t->session), 0);
    }
}

/* ---- several threads ---- */

enum { THREADS = 4, HANDSHAKES = 40 };

typedef struct visitor {
    pthread_t thread;
    tls_server *server;
    SSL_CTX *client;
    SSL_SESSION *session;
    int resumed;
} visitor;

static void *visit(void *arg)
{
    visitor *v = arg;
    for (int i = 0; i < HANDSHAKES; i++) {
        const ends e = ends_new(v->client, v->server, v->session);
        bool secure = ends_secure(&e);
        v->resumed += secure && SSL_session_reused(e.server) == 1;
        ends_free(&e);
    }
    return NULL;
}

static void net_tls_tickets__threads_take_them_while_the_key_turns(void **state)
{
    tickets_case *t = *state;
    visitor visitors[THREADS] = {0};
    int resumed = 0;
    const tls_server_options options = {&t->own, 1, NULL, t->tickets};
    (void)server_new(t, 0, &t->own, NULL, t->tickets);
    (void)comes_back(t, t->servers[0]);
    for (size_t i = 0; i < THREADS; i++) {
        visitors[i].client = SSL_CTX_new(TLS_client_method());
        visitors[i].session = SSL_SESSION_dup(t->session);
        assert_int_equal(tls_server_new(&options, &visitors[i].server, NULL), 0);
        assert_int_equal(pthread_create(&visitors[i].thread, NULL, visit, &visitors[i]), 0);
    }
    for (int i = 0; i < 1000; i++) /* once it is done */
        tls_tickets_turn(t->tickets, TLS_TICKETS_TURN_MS);
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(visitors[i].thread, NULL), 0);
        resumed += visitors[i].resumed;
        tls_server_free(visitors[i].server);
        SSL_SESSION_free(visitors[i].session);
        SSL_CTX_free(visitors[i].client);
    }
    assert_int_equal(resumed, THREADS * HANDSHAKES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TICKETS_TEST(net_tls_tickets__one_is_good_at_each_server_of_its_keys),
        TICKETS_TEST(net_tls_tickets__keys_of_another_are_unknown),
        TICKETS_TEST(net_tls_tickets__other_certificates_are_another_session),
        TICKETS_TEST(net_tls_tickets__no_way_round_a_client_certificate),
        TICKETS_TEST(net_tls_tickets__client_certificates_are_shown_each_time),
        TICKETS_TEST(net_tls_tickets__key_before_is_taken_and_renewed),
        TICKETS_TEST(net_tls_tickets__key_before_that_is_gone),
        TICKETS_TEST(net_tls_tickets__key_turns_when_it_is_time),
        TICKETS_TEST(net_tls_tickets__of_tls_13_are_used_once),
        TICKETS_TEST(net_tls_tickets__say_how_long_they_live_and_take_no_early_data),
        TICKETS_TEST(net_tls_tickets__threads_take_them_while_the_key_turns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
