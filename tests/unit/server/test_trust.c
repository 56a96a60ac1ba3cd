/* Who is asking: trusted networks, XCLIENT, the PROXY header. */
#include <stdio.h>

#include "fixture.h"

static const smx_user known[] = {
    {.name = {"printers", 8}},
    {.name = {"login", 5}, .secret = {"secret", 6}},
};

static const smx_user *find_user(void *arg, smx_slice name)
{
    (void)arg;
    for (size_t i = 0; i < 2; i++)
        if (slice_equal(known[i].name, name))
            return &known[i];
    return NULL;
}

static smx_network loopback;
static smx_network elsewhere;

static int setup(void **state)
{
    (void)fixture_setup(state);
    fixture *f = *state;
    assert_int_equal(smx_network_parse(SMX_SLICE("127.0.0.1"), &loopback), 0);
    assert_int_equal(smx_network_parse(SMX_SLICE("203.0.113.0/24"), &elsewhere), 0);
    f->options.find_user = find_user;
    f->listener.auth = SMX_AUTH_REQUIRED;
    return 0;
}

static void expect_client(fixture *f, const char *address, uint16_t port)
{
    char text[SMX_ADDRESS_TEXT];
    smx_slice got = smx_address_write(&f->client, text);
    assert_string_equal(got.data, address);
    if (port != 0)
        assert_int_equal(f->client.port, port);
}

/* Another greeting and a message, which the handler takes for this client's; at 0 whatever its port. */
static void expect_mail_of(fixture *f, client *c, const char *hello, const char *address,
                           uint16_t port)
{
    client_ask(c, hello, "250 ");
    client_mail(c, "S: x\r\n\r\n", "250 ");
    expect_client(f, address, port);
}

/* ---- trust ---- */

static void server_trust__client_of_the_network_is_its_user(void **state)
{
    fixture *f = *state;
    const smx_trust trust[] = {{loopback, SMX_SLICE("unknown")}, {loopback, SMX_SLICE("printers")}};
    static smx_trust kept[2];
    memcpy(kept, trust, sizeof(trust));
    f->listener.trust = kept;
    f->listener.trust_count = 2;
    client *c = client_first(f);
    client_mail(c, "S: x\r\n\r\n", "250 ");
    assert_buffer(&f->user, "printers");
    client_close(c);
    client *stranger = client_open_from(f, "127.0.0.2");
    client_expect(stranger, "220 ");
    client_ask(stranger, "EHLO x.example", "250 ");
    client_ask(stranger, "MAIL FROM:<a@from.example>", "530 5.7.0");
    client_close(stranger);
}

static void server_trust__unknown_user_is_not_trusted(void **state)
{
    fixture *f = *state;
    static smx_trust trust;
    trust = (smx_trust){loopback, SMX_SLICE("unknown")};
    f->listener.trust = &trust;
    f->listener.trust_count = 1;
    client *c = client_first(f);
    client_ask(c, "MAIL FROM:<a@from.example>", "530 5.7.0");
    client_close(c);
}

/* ---- XCLIENT ---- */

static void allow_xclient(fixture *f)
{
    f->listener.xclient = &loopback;
    f->listener.xclient_count = 1;
}

static void server_xclient__changes_what_is_known_of_the_client(void **state)
{
    fixture *f = *state;
    allow_xclient(f);
    client *c = client_first(f);
    assert_non_null(strstr(c->reply, "XCLIENT "));
    client_ask(c, "XCLIENT NAME=host.example ADDR=203.0.113.7 PORT=4711 LOGIN=login HELO=its.name",
               "220 mux.example");
    expect_mail_of(f, c, "EHLO its.name", "203.0.113.7", 4711);
    assert_buffer(&f->user, "login");
    client_ask(c, "XCLIENT ADDR=IPV6:2001:db8::1 LOGIN=login", "220 ");
    expect_mail_of(f, c, "EHLO other.name", "2001:db8::1", 4711);
    assert_buffer(&f->helo, "other.name");
    client_close(c);
}

static void server_xclient__without_login_nobody_is_authenticated(void **state)
{
    fixture *f = *state;
    allow_xclient(f);
    f->listener.allow_insecure_auth = true;
    client *c = client_first(f);
    client_auth_plain(c, "login", "secret", "235 ");
    client_ask(c, "XCLIENT ADDR=203.0.113.7", "220 ");
    client_ask(c, "EHLO its.name", "250 ");
    client_ask(c, "MAIL FROM:<a@from.example>", "530 5.7.0");
    client_close(c);
}

static void server_xclient__login_must_name_a_known_user(void **state)
{
    fixture *f = *state;
    allow_xclient(f);
    client *c = client_first(f);
    client_ask(c, "XCLIENT ADDR=203.0.113.7 LOGIN=nobody", "550 5.7.0");
    client_ask(c, "XCLIENT ADDR=x.y", "501 ");
    client_ask(c, "XCLIENT PORT=65536", "501 ");
    client_ask(c, "XCLIENT NAME=a+4", "501 ");
    client_ask(c, "XCLIENT LOGIN=login", "220 ");
    expect_mail_of(f, c, "EHLO its.name", "127.0.0.1", 0); /* nothing of the refused ones */
    client_close(c);
}

static void server_xclient__only_listed_peers_may(void **state)
{
    fixture *f = *state;
    f->listener.xclient = &elsewhere;
    f->listener.xclient_count = 1;
    client *c = client_first(f);
    assert_null(strstr(c->reply, "XCLIENT"));
    client_ask(c, "XCLIENT LOGIN=login", "550 ");
    client_close(c);
}

static void server_xclient__trust_follows_the_new_address(void **state)
{
    fixture *f = *state;
    static smx_trust trust;
    trust = (smx_trust){elsewhere, SMX_SLICE("printers")};
    allow_xclient(f);
    f->listener.trust = &trust;
    f->listener.trust_count = 1;
    client *c = client_first(f);
    client_ask(c, "MAIL FROM:<a@from.example>", "530 ");
    client_ask(c, "XCLIENT ADDR=203.0.113.9", "220 ");
    expect_mail_of(f, c, "EHLO its.name", "203.0.113.9", 0);
    assert_buffer(&f->user, "printers");
    client_ask(c, "XCLIENT ADDR=203.0.113.9 LOGIN=login", "220 ");
    expect_mail_of(f, c, "EHLO its.name", "203.0.113.9", 0);
    assert_buffer(&f->user, "login"); /* who was named counts more than where it came from */
    client_close(c);
}

/* ---- the PROXY header ---- */

static void want_proxy_header(fixture *f)
{
    f->listener.auth = SMX_AUTH_OFF;
    f->listener.proxy_protocol = &loopback;
    f->listener.proxy_protocol_count = 1;
}

static void server_proxy_header__version_1_names_the_client(void **state)
{
    fixture *f = *state;
    want_proxy_header(f);
    fixture_start(f);
    client *c = client_open(f);
    client_send(c, "PROXY TCP4 203.0.113.5 192.0.2.1 1025 25\r\n");
    client_expect(c, "220 ");
    expect_mail_of(f, c, "EHLO x.example", "203.0.113.5", 1025);
    client_close(c);
}

static void server_proxy_header__version_2_names_the_client_in_any_pieces(void **state)
{
    fixture *f = *state;
    want_proxy_header(f);
    fixture_start(f);
    smx_proxy_header header = {.version = 2};
    assert_int_equal(smx_address_parse(SMX_SLICE("2001:db8::5"), &header.source), 0);
    assert_int_equal(smx_address_parse(SMX_SLICE("2001:db8::1"), &header.destination), 0);
    header.source.port = 1025;
    char octets[64];
    size_t len;
    assert_int_equal(smx_proxy_header_write(&header, octets, sizeof(octets), &len), 0);
    client *c = client_open(f);
    for (size_t i = 0; i < len; i++)
        client_send_octets(c, octets + i, 1);
    client_expect(c, "220 ");
    expect_mail_of(f, c, "EHLO x.example", "2001:db8::5", 1025);
    client_close(c);
}

static void server_proxy_header__local_keeps_the_address_of_the_connection(void **state)
{
    fixture *f = *state;
    want_proxy_header(f);
    fixture_start(f);
    client *c = client_open(f);
    static const char local[] = "\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    client_send_octets(c, local, 16);
    client_expect(c, "220 ");
    expect_mail_of(f, c, "EHLO x.example", "127.0.0.1", 0);
    client_close(c);
}

static void server_proxy_header__without_it_the_connection_is_closed(void **state)
{
    fixture *f = *state;
    want_proxy_header(f);
    fixture_start(f);
    client *c = client_open(f);
    client_send(c, "EHLO x.example\r\n");
    client_expect_end(c);
    client_close(c);
    assert_int_equal(fixture_counters(f).refused_connections, 1);
}

static void server_proxy_header__from_others_is_refused(void **state)
{
    fixture *f = *state;
    want_proxy_header(f);
    f->listener.proxy_protocol = &elsewhere;
    fixture_start(f);
    client *c = client_open(f);
    client_expect(c, "220 ");
    client_send(c, "PROXY TCP4 203.0.113.5 192.0.2.1 1025 25\r\n");
    client_expect(c, "554 5.5.1 ");
    client_expect_end(c);
    client_close(c);
}

static void server_proxy_header__limit_counts_the_named_client(void **state)
{
    fixture *f = *state;
    want_proxy_header(f);
    f->listener.max_connections_per_client = 1;
    fixture_start(f);
    client *one = client_open(f);
    client_send(one, "PROXY TCP4 203.0.113.5 192.0.2.1 1025 25\r\n");
    client_expect(one, "220 ");
    client *two = client_open(f);
    client_send(two, "PROXY TCP4 203.0.113.6 192.0.2.1 1025 25\r\n");
    client_expect(two, "220 ");
    client *three = client_open(f);
    client_send(three, "PROXY TCP4 203.0.113.5 192.0.2.1 1026 25\r\n");
    client_expect(three, "421 ");
    client_expect_end(three);
    client_close(one);
    client_close(two);
    client_close(three);
}

#define WITH_FIXTURE(test) cmocka_unit_test_setup_teardown(test, setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FIXTURE(server_trust__client_of_the_network_is_its_user),
        WITH_FIXTURE(server_trust__unknown_user_is_not_trusted),
        WITH_FIXTURE(server_xclient__changes_what_is_known_of_the_client),
        WITH_FIXTURE(server_xclient__without_login_nobody_is_authenticated),
        WITH_FIXTURE(server_xclient__login_must_name_a_known_user),
        WITH_FIXTURE(server_xclient__only_listed_peers_may),
        WITH_FIXTURE(server_xclient__trust_follows_the_new_address),
        WITH_FIXTURE(server_proxy_header__version_1_names_the_client),
        WITH_FIXTURE(server_proxy_header__version_2_names_the_client_in_any_pieces),
        WITH_FIXTURE(server_proxy_header__local_keeps_the_address_of_the_connection),
        WITH_FIXTURE(server_proxy_header__without_it_the_connection_is_closed),
        WITH_FIXTURE(server_proxy_header__from_others_is_refused),
        WITH_FIXTURE(server_proxy_header__limit_counts_the_named_client),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
