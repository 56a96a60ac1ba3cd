/* Listeners of the mode proxy in the configuration. */
#include "test_app.h"

#define PROXY(keys) "listeners: [{listen: '127.0.0.1:0', mode: proxy, " keys "}]\n"
#define TO_LOCAL    "upstream: 'smtp://127.0.0.1:1'"

/* ---- what it comes to ---- */

static void app_proxies__a_file_of_proxies_needs_no_users(void **state)
{
    (void)state;
    config *c = config_of(PROXY(TO_LOCAL));
    const config_listener *l = &c->listeners[0];
    assert_int_equal(c->user_count, 0);
    assert_int_equal(l->mode, CONFIG_PROXY);
    assert_string_equal(l->upstream.host, "127.0.0.1");
    assert_int_equal(l->upstream.port, 1);
    assert_int_equal(l->upstream.tls, SMX_TLS_IF_OFFERED);
    assert_int_equal(l->upstream.connect_timeout_ms, 30000);
    assert_int_equal(l->upstream.final_timeout_ms, 600000);
    assert_int_equal(l->client_address, SMX_PROXY_ADDRESS_OWN);
    assert_int_equal(l->smtp.auth, SMX_AUTH_OPTIONAL);
    assert_null(l->audit);
    assert_null(l->capture.dir);
    config_free(c);
}

static void app_proxies__an_upstream_may_be_a_mapping(void **state)
{
    (void)state;
    config *c = config_of(PROXY("upstream: {url: 'smtps://mail.example.net', tls_verify: false, "
                                "source: 192.0.2.1, family: ipv4, timeouts: {reply: 7s}}"));
    const upstream_options *u = &c->listeners[0].upstream;
    assert_string_equal(u->url, "smtps://mail.example.net:465");
    assert_int_equal(u->port, 465);
    assert_int_equal(u->tls, SMX_TLS_IMPLICIT);
    assert_int_equal(u->verify, SMX_VERIFY_NEVER);
    assert_string_equal(u->source, "192.0.2.1");
    assert_int_equal(u->family, 4);
    assert_int_equal(u->connect_timeout_ms, 30000);
    assert_int_equal(u->final_timeout_ms, 7000);
    config_free(c);
}

static uint16_t port_of(const char *text)
{
    config *c = config_of(text);
    uint16_t port = c->listeners[0].upstream.port;
    assert_string_equal(c->listeners[0].upstream.host, CONFIG_ORIGINAL_DESTINATION);
    config_free(c);
    return port;
}

static void app_proxies__original_dst_has_the_clients_port_unless_one_is_given(void **state)
{
    (void)state;
    assert_int_equal(port_of(PROXY("upstream: 'smtp://original-dst'")), 0);
    assert_int_equal(port_of(PROXY("upstream: 'smtp+tls://original-dst/'")), 0);
    assert_int_equal(port_of(PROXY("upstream: 'smtp://original-dst:26'")), 26);
    assert_int_equal(port_of(PROXY("upstream: 'smtps://original-dst:465/'")), 465);
}

static const char ALL[] = PROXY(
    "bare_newline: pass, tls: passthrough, auth: off, " TO_LOCAL
    ", client_address: proxy-header, transparent: true, extensions: [XFOO, X-BAR-2], "
    "audit: stdout, capture: {dir: /tmp, client: [10.0.0.0/8, '::1'], from: ['*@x.y', '<>']}");

static void app_proxies__all_keys_are_taken(void **state)
{
    (void)state;
    config *c = config_of(ALL);
    const config_listener *l = &c->listeners[0];
    assert_int_equal(l->smtp.tls, SMX_LISTENER_PASSTHROUGH);
    assert_int_equal(l->smtp.bare_newline, SMX_BARE_NEWLINE_PASS);
    assert_int_equal(l->smtp.auth, SMX_AUTH_OFF);
    assert_true(l->smtp.transparent);
    assert_int_equal(l->client_address, SMX_PROXY_ADDRESS_HEADER);
    assert_int_equal(l->extension_count, 2);
    assert_true(slice_equal(l->extensions[1], SMX_SLICE("X-BAR-2")));
    assert_string_equal(l->audit, "stdout");
    assert_string_equal(l->capture.dir, "/tmp");
    assert_int_equal(l->capture.client_count, 2);
    assert_int_equal(l->capture.sender_count, 2);
    assert_true(slice_equal(l->capture.senders[1], SMX_SLICE("<>")));
    config_free(c);
}

static void assert_reads_back(const char *file)
{
    config *c = config_of(file);
    char *first = print_of(c);
    config_free(c);
    c = config_of(first);
    char *second = print_of(c);
    config_free(c);
    assert_string_equal(first, second);
    free(first);
    free(second);
}

static void app_proxies__what_is_printed_reads_back(void **state)
{
    (void)state;
    assert_reads_back(ALL);
    assert_reads_back(PROXY(TO_LOCAL));
    assert_reads_back(LISTENERS UPSTREAMS USERS);
}

/* ---- what is wrong ---- */

static const struct {
    const char *file;
    const char *told;
} WRONG[] = {
    {PROXY("auth: off"), "1:14: `mode: proxy` needs `upstream`: the server behind it, such as "
                         "smtp://mail.example.net:25\n"},
    {PROXY("upstream: mail"),
     "1:60: expected a URL that begins with smtp://, smtp+tls://, smtp+notls://, smtps://, "
     "lmtp://, smtp+unix: or lmtp+unix:, such as smtp+tls://mail\n"},
    {PROXY("upstream: [a]"),
     "1:50: expected the keys of this mapping `upstream` of a listener (`name: value`), found a "
     "list\n"},
    {PROXY("upstream: {url: 'smtp://h', pass: x}"),
     "1:78: unknown key `pass` in this mapping `upstream` of a listener; docs/configuration.md "
     "lists the known ones\n"},
    {PROXY("trust: {10.0.0.1: u}, max_recipients: 5, " TO_LOCAL),
     "1:50: `trust` does nothing with `mode: proxy`: who may send is the upstream's to say\n"
     "1:68: no user is called `u`\n"
     "1:72: `max_recipients` does nothing with `mode: proxy`: the upstream counts them\n"},
    {PROXY("auth: required, " TO_LOCAL),
     "1:50: with `mode: proxy` the upstream says who must sign in: leave `auth` out, or `off` hides "
     "it\n"},
    {PROXY("tls: starttls, " TO_LOCAL),
     "1:50: `tls: starttls` needs `certificates: [{cert: FILE, key: FILE}]`\n"},
    {PROXY("tls: passthrough, client_ca: /dev/null, upstream: 'smtp+tls://h'"),
     "1:68: `client_ca` does nothing with `tls: passthrough`: the client sees the upstream's "
     "certificate\n"
     "1:90: with `tls: passthrough` TLS is the client's to begin: use smtp:// (its STARTTLS passes) "
     "or smtps:// (all octets pass unread)\n"},
    {PROXY("tls: passthrough, client_address: xclient, upstream: 'smtps://h'"),
     "1:68: XCLIENT cannot be put into TLS that passes unread: use `proxy-header`\n"},
    {PROXY("client_address: transparent, upstream: 'smtp+unix:/run/x'"),
     "1:50: a Unix socket has no address that a connection could come from: use `xclient` or "
     "`proxy-header`\n"},
    {"listeners: [{listen: 'unix:/tmp/x', mode: proxy, upstream: 'smtp://original-dst'}]\n",
     "1:50: `original-dst` needs a listener on TCP: what comes over a Unix socket was not "
     "redirected\n"},
    {PROXY("upstream: 'smtp://me:secret@h'"),
     "1:60: a proxy has no credentials of its own: its clients sign in with theirs\n"},
    {PROXY("client_address: mine, " TO_LOCAL),
     "1:66: expected `own`, `proxy-header`, `xclient` or `transparent`, found `mine`\n"},
    {PROXY("extensions: [-X, 'A B'], " TO_LOCAL),
     "1:63: expected a keyword of EHLO, such as XFOO, found `-X`\n"
     "1:67: expected a keyword of EHLO, such as XFOO, found `A B`\n"},
    {PROXY("audit: /nonexistent/a.log, " TO_LOCAL),
     "1:50: `/nonexistent/` cannot be written to: No such file or directory\n"},
    {PROXY("capture: {client: 10.0.0.1}, " TO_LOCAL),
     "1:50: this mapping `capture` needs the key `dir`: the folder of the transcripts; what people "
     "send stands in them\n"},
    {PROXY("capture: {dir: /nonexistent}, " TO_LOCAL),
     "1:60: `/nonexistent` cannot be written to: No such file or directory\n"},
    {"listeners: [{listen: '127.0.0.1:0', allow_insecure_auth: true, upstream: 'smtp://h', audit: "
     "a}]\n" UPSTREAMS USERS,
     "1:64: `upstream` is for a listener with `mode: proxy`\n"
     "1:86: `audit` is for a listener with `mode: proxy`\n"},
    {LISTENERS, " this file needs the key `users`: who may send, and through which upstreams\n"},
};

static void app_proxies__mistakes_are_told_where_they_stand(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(WRONG) / sizeof(WRONG[0]); i++)
        assert_problems(WRONG[i].file, WRONG[i].told);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(app_proxies__a_file_of_proxies_needs_no_users),
        cmocka_unit_test(app_proxies__an_upstream_may_be_a_mapping),
        cmocka_unit_test(app_proxies__original_dst_has_the_clients_port_unless_one_is_given),
        cmocka_unit_test(app_proxies__all_keys_are_taken),
        cmocka_unit_test(app_proxies__what_is_printed_reads_back),
        cmocka_unit_test(app_proxies__mistakes_are_told_where_they_stand),
    };
    return cmocka_run_group_tests_name("app_proxies", tests, NULL, NULL);
}
