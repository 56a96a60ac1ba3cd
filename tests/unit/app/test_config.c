/* What a configuration that is right becomes: values, defaults, secrets, and what is printed. */
#include "test_app.h"

#include <sys/stat.h>
#include <unistd.h>

#define ALL_KEYS                                                                                       \
    "hostname: mux.example.com\nworkers: 3\nmemory_limit: 64MiB\ntemp_dir: /tmp\nthreads: 4\n"         \
    "drain_timeout: 90s\nstore: 'sqlite:/x/y.db'\nlog: {format: json, level: warn, anonymize: true}\n" \
    "listeners:\n"                                                                                     \
    "  - listen: '[::1]:2525'\n    tls: off\n    auth: optional\n    allow_insecure_auth: true\n"      \
    "    trust: {10.0.0.0/8: v, '2001:db8::/32': u}\n    proxy_protocol: [10.1.2.3]\n"                 \
    "    xclient: 10.0.0.2/31\n    max_size: 10M\n    max_recipients: 7\n    max_connections: 8\n"     \
    "    max_connections_per_client: 2\n    idle_timeout: 10m\n    min_rate: 100\n"                    \
    "    bare_newline: normalize\n"                                                                    \
    "upstreams:\n"                                                                                     \
    "  one:\n    url: smtp://mail.example.com\n    user: a\n    pass: b\n    auth: scram-sha-256\n"    \
    "    rewrite_from: me@example.com\n    reply_to: add\n    max_connections: 5\n"                    \
    "    max_messages_per_connection: 6\n    idle: 1s\n    max_age: 2m\n"                              \
    "    timeouts: {connect: 1s, command: 2s, data: 3s, final: 4m}\n    source: 127.0.0.1\n"           \
    "    family: ipv4\n    tls_verify: true\n    pace: 2s\n    probe: 1m\n"                            \
    "    limits: [14 recipients/s, 50_000 recipients/day calendar Europe/Berlin]\n"                    \
    "  two: {url: 'smtp+tls://two.example', tls_verify: false}\n"                                      \
    "  three: {url: 'smtp+unix:/run/mail.sock', user: x, pass: y}\n"                                   \
    "users:\n"                                                                                         \
    "  - email: u\n    password: p\n    allow_from: ['*@example.com', '<>']\n"                         \
    "    selector: round-robin\n    upstreams: [{one: 3, two: 1}, three, {url: 'smtps://a.b'}]\n"      \
    "    deadline: 1m\n    on_unknown: failover\n    received: no-client\n    limits: 100/h\n"         \
    "  - {email: v, upstreams: {two: 1}}\n"

static void app_config__every_key_of_a_listener_is_read(void **state)
{
    (void)state;
    config *c = config_of(ALL_KEYS);
    const smx_listener_options *l = &c->listeners[0].smtp;
    assert_int_equal(c->listener_count, 1);
    assert_int_equal(l->version, SMX_LISTENER_VERSION);
    assert_string_equal(l->listen, "[::1]:2525");
    assert_int_equal(l->tls, SMX_LISTENER_CLEAR);
    assert_int_equal(l->auth, SMX_AUTH_OPTIONAL);
    assert_true(l->allow_insecure_auth);
    assert_int_equal(l->trust_count, 2);
    assert_int_equal(l->trust[0].network.prefix, 8);
    assert_true(slice_equal(l->trust[0].user, SMX_SLICE("v")));
    assert_int_equal(l->trust[1].network.address.family, 6);
    assert_int_equal(l->proxy_protocol_count, 1);
    assert_int_equal(l->proxy_protocol[0].prefix, 32);
    assert_int_equal(l->xclient_count, 1);
    assert_int_equal(l->xclient[0].prefix, 31);
    assert_int_equal(l->max_size, 10000000);
    assert_int_equal(l->max_recipients, 7);
    assert_int_equal(l->max_connections, 8);
    assert_int_equal(l->max_connections_per_client, 2);
    assert_int_equal(l->idle_timeout_ms, 600000);
    assert_int_equal(l->min_rate, 100);
    assert_int_equal(l->bare_newline, SMX_BARE_NEWLINE_NORMALIZE);
    config_free(c);
}

static void app_config__every_key_of_an_upstream_is_read(void **state)
{
    (void)state;
    config *c = config_of(ALL_KEYS);
    const upstream_options *u = &c->upstreams[0];
    assert_string_equal(u->name, "one");
    assert_string_equal(u->url, "smtp://mail.example.com:25");
    assert_string_equal(u->host, "mail.example.com");
    assert_int_equal(u->port, 25);
    assert_string_equal(u->user, "a");
    assert_string_equal(u->password, "b");
    assert_string_equal(u->mechanism, "SCRAM-SHA-256");
    assert_string_equal(u->rewrite_from, "me@example.com");
    assert_true(u->reply_to_add);
    assert_int_equal(u->max_connections, 5);
    assert_int_equal(u->max_messages_per_connection, 6);
    assert_int_equal(u->idle_ms, 1000);
    assert_int_equal(u->max_age_ms, 120000);
    assert_int_equal(u->connect_timeout_ms, 1000);
    assert_int_equal(u->command_timeout_ms, 2000);
    assert_int_equal(u->data_timeout_ms, 3000);
    assert_int_equal(u->final_timeout_ms, 240000);
    assert_string_equal(u->source, "127.0.0.1");
    assert_int_equal(u->family, 4);
    assert_int_equal(u->pace_ms, 2000);
    assert_int_equal(u->limits.count, 2);
    assert_int_equal(u->limits.items[1].amount, 50000);
    assert_string_equal(u->limits.items[1].zone, "Europe/Berlin");
    assert_int_equal(u->tls, SMX_TLS_IF_OFFERED);
    assert_int_equal(u->verify, SMX_VERIFY_REQUIRED);
    assert_int_equal(u[1].verify, SMX_VERIFY_NEVER);
    assert_string_equal(u[1].url, "smtp+tls://two.example:587");
    assert_string_equal(u[2].url, "smtp+unix:/run/mail.sock");
    assert_false(u[2].lmtp);
    assert_string_equal(u[3].name, "a.b:465");
    config_free(c);
}

static void app_config__every_key_of_a_user_is_read(void **state)
{
    (void)state;
    config *c = config_of(ALL_KEYS);
    const mux_user_options *u = &c->users[0];
    assert_int_equal(c->user_count, 2);
    assert_true(slice_equal(u->user.name, SMX_SLICE("u")));
    assert_true(slice_equal(u->user.secret, SMX_SLICE("p")));
    assert_int_equal(u->user.allow_from_count, 2);
    assert_true(slice_equal(u->user.allow_from[1], SMX_SLICE("<>")));
    assert_string_equal(u->plan.selector->name, "round-robin");
    assert_int_equal(u->plan.choice_count, 4);
    assert_int_equal(u->plan.choices[0].upstream, 0);
    assert_int_equal(u->plan.choices[0].weight, 3);
    assert_int_equal(u->plan.choices[3].upstream, 3);
    assert_int_equal(u->plan.choices[3].weight, 1);
    assert_int_equal(u->plan.deadline_ms, 60000);
    assert_int_equal(u->plan.on_unknown, MUX_UNKNOWN_FAILOVER);
    assert_int_equal(u->plan.received, MUX_RECEIVED_NO_CLIENT);
    assert_int_equal(u->plan.limits.count, 1);
    assert_string_equal(u->plan.limits.items[0].text, "100/h");
    assert_null(u[1].user.allow_from);
    assert_int_equal(u[1].user.secret.len, 0);
    assert_int_equal(u[1].plan.choice_count, 1);
    assert_int_equal(u[1].plan.choices[0].upstream, 1);
    config_free(c);
}

static void app_config__every_other_key_is_read(void **state)
{
    (void)state;
    config *c = config_of(ALL_KEYS);
    assert_string_equal(c->hostname, "mux.example.com");
    assert_int_equal(c->workers, 3);
    assert_int_equal(c->memory_limit, 64 << 20);
    assert_string_equal(c->temp_dir, "/tmp");
    assert_string_equal(c->store, "sqlite:/x/y.db");
    assert_int_equal(c->threads, 4);
    assert_int_equal(c->drain_timeout_ms, 90000);
    assert_int_equal(c->log.format, LOG_JSON);
    assert_int_equal(c->log.level, SMX_LOG_WARN);
    assert_true(c->log.anonymize);
    assert_false(c->is_go_form);
    config_free(c);
}

static void app_config__absent_keys_have_their_defaults(void **state)
{
    (void)state;
    config *c = config_of(LISTENERS UPSTREAMS USERS);
    assert_true(c->workers >= 1);
    assert_true(strlen(c->hostname) > 0);
    assert_int_equal(c->threads, 32);
    assert_int_equal(c->drain_timeout_ms, 30000);
    assert_string_equal(c->store, "memory");
    assert_int_equal(c->log.level, SMX_LOG_INFO);
    assert_int_equal(c->listeners[0].smtp.auth, SMX_AUTH_REQUIRED);
    assert_int_equal(c->listeners[0].smtp.max_size, 25 << 20);
    assert_int_equal(c->listeners[0].smtp.idle_timeout_ms, 300000);
    assert_int_equal(c->upstreams[0].max_connections, 20);
    assert_int_equal(c->upstreams[0].limits.count, 0);
    assert_int_equal(c->upstreams[0].pace_ms, 5000);
    assert_int_equal(c->upstreams[0].final_timeout_ms, 600000);
    assert_int_equal(c->upstreams[0].verify, SMX_VERIFY_IF_AUTH);
    assert_string_equal(c->users[0].plan.selector->name, "failover");
    assert_int_equal(c->users[0].plan.deadline_ms, 30000);
    config_free(c);
}

static void app_config__a_listener_that_trusts_needs_no_auth(void **state)
{
    (void)state;
    config *c = config_of("listeners: [{listen: '127.0.0.1:0', trust: {127.0.0.1: u}}]\n" UPSTREAMS
                          "users: [{email: u, upstreams: [one]}]\n");
    assert_int_equal(c->listeners[0].smtp.auth, SMX_AUTH_OFF);
    config_free(c);
}

static void app_config__passwords_may_go_to_loopback_on_clear_text(void **state)
{
    (void)state;
    static const char *const PLACES[] = {"smtp+notls://127.0.0.5:25", "smtp+notls://[::1]:25",
                                         "smtp+notls://localhost", "smtp+unix:/run/x"};
    char text[512];
    for (size_t i = 0; i < sizeof(PLACES) / sizeof(PLACES[0]); i++) {
        (void)snprintf(text, sizeof(text),
                       LISTENERS "upstreams: {one: {url: '%s', user: a, pass: b}}\n" USERS,
                       PLACES[i]);
        assert_problems(text, "");
    }
}

static void app_config__scram_needs_that_every_user_can(void **state)
{
    (void)state;
    config *c = config_of(LISTENERS UPSTREAMS USERS);
    assert_false(c->listeners[0].smtp.no_scram);
    config_free(c);
    c = config_of(LISTENERS UPSTREAMS
                  "users: [{email: u, password: p, upstreams: [one]}, {email: v, password: "
                  "'$y$j9T$C7lbj0RwnEPSrHiiE337L.$ZPstNsdTCgW9uioh6Ffx4FWOGgypsdWI1MF4IWoUDP4', "
                  "upstreams: [one]}]\n");
    assert_true(c->listeners[0].smtp.no_scram);
    config_free(c);
}

static void app_config__the_environment_expands_in_values(void **state)
{
    (void)state;
    assert_int_equal(setenv("SMX_TEST_A", "a: [", 1), 0);
    config *c =
        config_of(LISTENERS UPSTREAMS "users: [{email: 'x${SMX_TEST_A}y${SMX_TEST_A}', password: "
                                      "'p$x$b$$$${SMX_TEST_A}$', upstreams: [one]}]\n");
    assert_true(slice_equal(c->users[0].user.name, SMX_SLICE("xa: [ya: [")));
    assert_true(slice_equal(c->users[0].user.secret, SMX_SLICE("p$x$b$$${SMX_TEST_A}$")));
    config_free(c);
    (void)unsetenv("SMX_TEST_A");
}

static void app_config__a_secret_file_loses_its_last_newline(void **state)
{
    (void)state;
    char path[] = "/tmp/smx-secret-XXXXXX";
    char text[1024];
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "se cret\n\n", 9), 9);
    (void)close(fd);
    (void)snprintf(text, sizeof(text),
                   LISTENERS UPSTREAMS "users: [{email: u, password_file: %s, upstreams: [one]}]\n",
                   path);
    assert_problems(text, "");
    config *c = config_of(text);
    assert_true(slice_equal(c->users[0].user.secret, SMX_SLICE("se cret\n")));
    config_free(c);
    assert_int_equal(chmod(path, 0644), 0);
    char *told = problems_of(text);
    assert_non_null(strstr(told, "3:35: warning: everybody on this machine may read"));
    free(told);
    (void)unlink(path);
}

static void app_config__anchors_and_merges_are_followed(void **state)
{
    (void)state;
    config *c = config_of(LISTENERS "upstreams:\n  one: &base {url: 'smtp://a.b', idle: 1s}\n"
                                    "  two:\n    <<: *base\n    url: 'smtp://c.d'\n" USERS);
    assert_string_equal(c->upstreams[1].host, "c.d");
    assert_int_equal(c->upstreams[1].idle_ms, 1000);
    config_free(c);
}

static void app_config__aliases_of_aliases_end(void **state)
{
    (void)state;
    char text[4096] = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
    size_t len = strlen(text);
    for (int i = 1; i < 12; i++)
        len += (size_t)snprintf(text + len, sizeof(text) - len,
                                "a%d: &a%d [*a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d]\n", i,
                                i, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1);
    char *told = problems_of(text);
    assert_non_null(strstr(told, "nested too deeply"));
    free(told);
    told = problems_of("users: &a [*a]\n");
    assert_non_null(strstr(told, "1:"));
    free(told);
}

static void app_config__print_loads_again_and_prints_the_same(void **state)
{
    (void)state;
    config *c = config_of(ALL_KEYS);
    char *first = print_of(c);
    config_free(c);
    assert_null(strstr(first, ": b\n"));
    assert_non_null(strstr(first, "password: \"********\"\n"));
    assert_non_null(strstr(first, "    idle_timeout: 10m\n"));
    c = config_of(first);
    char *second = print_of(c);
    assert_string_equal(first, second);
    assert_int_equal(c->users[0].plan.choice_count, 4);
    assert_int_equal(c->listeners[0].smtp.trust_count, 2);
    config_free(c);
    free(first);
    free(second);
}

static void app_config__print_keeps_what_yaml_would_change(void **state)
{
    (void)state;
    config *c =
        config_of(LISTENERS "upstreams: {'y: #': {url: 'smtp://127.0.0.1:1'}}\n"
                            "users: [{email: \"no\", password: p, allow_from: [\"$${x}\\n\","
                            " 'a\"\\b', ''], upstreams: ['y: #']}]\n");
    char *text = print_of(c);
    config_free(c);
    c = config_of(text);
    free(text);
    assert_string_equal(c->upstreams[0].name, "y: #");
    assert_true(slice_equal(c->users[0].user.name, SMX_SLICE("no")));
    assert_true(slice_equal(c->users[0].user.allow_from[0], SMX_SLICE("${x}\n")));
    assert_true(slice_equal(c->users[0].user.allow_from[1], SMX_SLICE("a\"\\b")));
    assert_int_equal(c->users[0].user.allow_from[2].len, 0);
    config_free(c);
}

static void app_config__problems_come_in_the_order_of_the_file(void **state)
{
    (void)state;
    assert_problems("users: [{email: u, upstreams: [x]}]\nlisteners: [{listen: '127.0.0.1:1'}]\n"
                    "wrkers: 1\n",
                    "1:10: warning: `u` has no password and stands in no `trust`, so cannot send\n"
                    "1:32: no upstream is called `x`: add to the file `upstreams: {x: {url: "
                    "\"smtp+tls://smtp.example.com:587\"}}`\n"
                    "2:14: nobody may send here: set `tls` and `certificates` so that users can "
                    "sign in, or `allow_insecure_auth: true` where nobody can listen in, or name "
                    "the clients that need not sign in with `trust`\n"
                    "3:1: unknown key `wrkers` in this file; did you mean `workers`?\n");
}

static void app_config__shares_keep_a_snapshot(void **state)
{
    (void)state;
    config *c = config_of(LISTENERS UPSTREAMS USERS);
    config *other = config_share(c);
    assert_ptr_equal(other, c);
    config_free(c);
    assert_string_equal(other->upstreams[0].name, "one");
    mux_options options = config_mux_options(other);
    assert_int_equal(options.user_count, 1);
    assert_ptr_equal(options.upstreams, other->upstreams);
    config_free(other);
    config_free(NULL);
}

/* The example of the repository, whole and cut after each octet: it is read, or it is not, and
 * nothing else happens. */
static void app_config__the_example_and_its_prefixes(void **state)
{
    (void)state;
    char path[1024];
    const char *root = getenv("SMX_SOURCE_ROOT");
    (void)snprintf(path, sizeof(path), "%s/examples/config.yaml", root == NULL ? "." : root);
    static const char *const NAMES[] = {"SES_USER", "SES_PASSWORD", "GMAIL_APP_PASSWORD",
                                        "VAULTWARDEN_PASSWORD", "NEWSLETTER_PASSWORD"};
    for (size_t i = 0; i < sizeof(NAMES) / sizeof(NAMES[0]); i++)
        assert_int_equal(setenv(NAMES[i], "x", 1), 0);
    buffer text = {0};
    problem p;
    assert_int_equal(config_read_file(path, &text, &p), 0);
    smx_slice whole = buffer_slice(&text);
    for (size_t len = 0; len <= whole.len; len++) {
        char *cut = malloc(len + 1);
        assert_non_null(cut);
        memcpy(cut, whole.data, len);
        problems told = {.file = "f", .text = slice_of(cut, len)};
        config *c = NULL;
        int error = config_load(&told, &c);
        assert_true(error == 0 || (error == SMX_E_SYNTAX && told.count > 0));
        if (len == whole.len)
            assert_int_equal(error, 0);
        buffer shown = {0};
        assert_int_equal(problems_write(&told, &shown), 0);
        buffer_free(&shown);
        config_free(c);
        problems_free(&told);
        free(cut);
    }
    buffer_free(&text);
}

static void app_config__a_file_that_is_not_there_is_named(void **state)
{
    (void)state;
    buffer text = {0};
    problem p;
    assert_int_equal(config_read_file("/nonexistent", &text, &p), SMX_E_IO);
    assert_string_equal(p.text, "/nonexistent: cannot be read: No such file or directory");
    buffer_free(&text);
}

static void app_config__add_missing_is_a_plan_s_and_a_route_may_take_it_back(void **state)
{
    (void)state;
    config *c =
        config_of(LISTENERS UPSTREAMS
                  "users: [{email: u, password: p, upstreams: [one], add_missing: [message-id, "
                  "date]}]\n"
                  "routes: [{match: {}, upstreams: [one], add_missing: []}, "
                  "{match: {}, upstreams: [one], add_missing: date}, "
                  "{match: {}, upstreams: [one]}]\n");
    assert_int_equal(c->users[0].plan.add_missing, MUX_ADD_DATE | MUX_ADD_MESSAGE_ID);
    assert_int_equal(c->routes[0].given >> MUX_PLAN_BIT_add_missing & 1U, 1);
    assert_int_equal(c->routes[0].plan.add_missing, 0);
    assert_int_equal(c->routes[1].plan.add_missing, MUX_ADD_DATE);
    assert_int_equal(c->routes[2].given >> MUX_PLAN_BIT_add_missing & 1U, 0);
    char *text = print_of(c);
    assert_non_null(strstr(text, "    add_missing: [date, message-id]\n"));
    assert_non_null(strstr(text, "    add_missing: []\n"));
    config_free(c);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(app_config__add_missing_is_a_plan_s_and_a_route_may_take_it_back),
        cmocka_unit_test(app_config__every_key_of_a_listener_is_read),
        cmocka_unit_test(app_config__every_key_of_an_upstream_is_read),
        cmocka_unit_test(app_config__every_key_of_a_user_is_read),
        cmocka_unit_test(app_config__every_other_key_is_read),
        cmocka_unit_test(app_config__absent_keys_have_their_defaults),
        cmocka_unit_test(app_config__a_listener_that_trusts_needs_no_auth),
        cmocka_unit_test(app_config__passwords_may_go_to_loopback_on_clear_text),
        cmocka_unit_test(app_config__scram_needs_that_every_user_can),
        cmocka_unit_test(app_config__the_environment_expands_in_values),
        cmocka_unit_test(app_config__a_secret_file_loses_its_last_newline),
        cmocka_unit_test(app_config__anchors_and_merges_are_followed),
        cmocka_unit_test(app_config__aliases_of_aliases_end),
        cmocka_unit_test(app_config__print_loads_again_and_prints_the_same),
        cmocka_unit_test(app_config__print_keeps_what_yaml_would_change),
        cmocka_unit_test(app_config__problems_come_in_the_order_of_the_file),
        cmocka_unit_test(app_config__shares_keep_a_snapshot),
        cmocka_unit_test(app_config__the_example_and_its_prefixes),
        cmocka_unit_test(app_config__a_file_that_is_not_there_is_named),
    };
    return cmocka_run_group_tests_name("app_config", tests, NULL, NULL);
}
