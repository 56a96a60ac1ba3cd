/* The file of the Go program of the same name. */
#include "test_app.h"

#define GO_FILE(selector)                                                                          \
    "users:\n  - email: \"test@user.com\"\n    password: \"password123\"\n" selector               \
    "    downstreams:\n      - addr: \"localhost:1026\"\n        user: \"any\"\n"                  \
    "        pass: \"any\"\n      - addr: \"mail.example.com:1027\"\n"                             \
    "        user: \"me@example.com\"\n        pass: \"any\"\n"

static const char LISTENER_WARNING[] =
    " warning: no `listeners` in this file of the Go program: 0.0.0.0:1020 takes passwords on clear "
    "text, as there; add `listeners` with `tls` to end that\n";

static void app_go_form__loads_with_the_go_programs_defaults(void **state)
{
    (void)state;
    (void)unsetenv("USE_INSECURE_AUTH");
    assert_problems(GO_FILE(""), LISTENER_WARNING);
    config *c = config_of(GO_FILE(""));
    assert_true(c->is_go_form);
    assert_int_equal(c->listener_count, 1);
    assert_string_equal(c->listeners[0].smtp.listen, "0.0.0.0:1020");
    assert_int_equal(c->listeners[0].smtp.tls, SMX_LISTENER_CLEAR);
    assert_int_equal(c->listeners[0].smtp.auth, SMX_AUTH_REQUIRED);
    assert_true(c->listeners[0].smtp.allow_insecure_auth);
    assert_int_equal(c->listeners[0].smtp.max_recipients, 1000);
    assert_int_equal(c->upstream_count, 2);
    assert_string_equal(c->upstreams[0].name, "localhost:1026");
    assert_string_equal(c->upstreams[0].url, "smtp://localhost:1026");
    assert_string_equal(c->upstreams[0].user, "any");
    assert_string_equal(c->upstreams[0].password, "any");
    assert_null(c->upstreams[0].rewrite_from);
    assert_false(c->upstreams[0].allow_insecure_auth);
    assert_string_equal(c->upstreams[1].host, "mail.example.com");
    assert_int_equal(c->upstreams[1].port, 1027);
    assert_string_equal(c->upstreams[1].rewrite_from, "me@example.com");
    assert_string_equal(c->users[0].plan.selector->name, "failover");
    assert_int_equal(c->users[0].plan.choice_count, 2);
    config_free(c);
}

static void app_go_form__the_environment_lets_passwords_out(void **state)
{
    (void)state;
    assert_int_equal(setenv("USE_INSECURE_AUTH", "true", 1), 0);
    config *c = config_of(GO_FILE(""));
    assert_true(c->upstreams[0].allow_insecure_auth);
    assert_true(c->upstreams[1].allow_insecure_auth);
    config_free(c);
    assert_int_equal(setenv("USE_INSECURE_AUTH", "1", 1), 0);
    c = config_of(GO_FILE(""));
    assert_false(c->upstreams[0].allow_insecure_auth);
    config_free(c);
    (void)unsetenv("USE_INSECURE_AUTH");
}

/* `upstreams: [{url: ...}]` is our form: no such defaults, whatever the environment says. */
static void app_go_form__our_form_gets_none_of_it(void **state)
{
    (void)state;
    assert_int_equal(setenv("USE_INSECURE_AUTH", "true", 1), 0);
    config *c = config_of(LISTENERS "users: [{email: u, password: p, upstreams: [{url: "
                                    "'smtp://a.b', user: me@example.com, pass: x}]}]\n");
    assert_false(c->is_go_form);
    assert_false(c->upstreams[0].allow_insecure_auth);
    assert_null(c->upstreams[0].rewrite_from);
    config_free(c);
    (void)unsetenv("USE_INSECURE_AUTH");
}

static void app_go_form__a_listener_of_the_file_stays(void **state)
{
    (void)state;
    config *c = config_of(LISTENERS GO_FILE(""));
    assert_string_equal(c->listeners[0].smtp.listen, "127.0.0.1:0");
    config_free(c);
}

static void app_go_form__a_plugins_name_chooses_the_selector(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        const char *selector;
    } PATHS[] = {{"./plugins/roundrobin/roundrobin", "round-robin"},
                 {"./plugins/round_robin/main", "round-robin"},
                 {"/opt/Round-Robin", "round-robin"},
                 {"./waterfall.star", "failover"},
                 {"./plugins/failover", "failover"}};
    char text[1024];
    char warning[256];
    for (size_t i = 0; i < sizeof(PATHS) / sizeof(PATHS[0]); i++) {
        (void)snprintf(text, sizeof(text), GO_FILE("    selector_algo_path: %s\n"), PATHS[i].path);
        (void)snprintf(warning, sizeof(warning),
                       "4:25: warning: `%s` is not run; by its name, `selector: %s` takes its "
                       "place\n",
                       PATHS[i].path, PATHS[i].selector);
        char *told = problems_of(text);
        assert_string_equal(strchr(told, '\n') + 1, warning);
        free(told);
        config *c = config_of(text);
        assert_string_equal(c->users[0].plan.selector->name, PATHS[i].selector);
        config_free(c);
    }
}

static void app_go_form__another_name_says_what_to_write(void **state)
{
    (void)state;
    char *told = problems_of(GO_FILE("    selector_algo_path: ./plugins/mine\n"));
    assert_non_null(strstr(told, "4:25: `./plugins/mine` cannot be run, and its name does not say "
                                 "what it does: write `selector: failover`, "));
    free(told);
}

static void app_go_form__mistakes_have_their_place(void **state)
{
    (void)state;
    assert_problems(LISTENERS "users:\n  - email: u\n    password: p\n    downstreams:\n"
                              "      - adr: a:1\n      - {user: x}\n      - b\n"
                              "    upstreams: []\n",
                    "5:5: `upstreams` and `downstreams` are both given; keep one of them\n"
                    "6:9: unknown key `adr` in this downstream; did you mean `addr`?\n"
                    "7:10: this downstream needs the key `addr`: host and port\n"
                    "8:9: expected a downstream, {addr, user, pass}, found a value\n"
                    "9:5: `upstreams` names no upstream\n");
    assert_problems(LISTENERS "users: [{email: u, password: p, downstreams: [{addr: 'a:1:2', user: "
                              "x}]}]\n",
                    "2:54: \"a:1:2\": expected HOST:PORT, [IPV6]:PORT or unix:/PATH\n"
                    "2:63: `user` needs `pass`, `pass_file` or `oauth2`\n");
}

static void app_go_form__print_is_our_form(void **state)
{
    (void)state;
    config *c = config_of(GO_FILE("    selector_algo_path: ./waterfall\n"));
    char *text = print_of(c);
    config_free(c);
    assert_null(strstr(text, "downstreams"));
    assert_null(strstr(text, "selector_algo_path"));
    c = config_of(text);
    assert_false(c->is_go_form);
    assert_string_equal(c->upstreams[1].rewrite_from, "me@example.com");
    assert_true(c->listeners[0].smtp.allow_insecure_auth);
    config_free(c);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(app_go_form__loads_with_the_go_programs_defaults),
        cmocka_unit_test(app_go_form__the_environment_lets_passwords_out),
        cmocka_unit_test(app_go_form__our_form_gets_none_of_it),
        cmocka_unit_test(app_go_form__a_listener_of_the_file_stays),
        cmocka_unit_test(app_go_form__a_plugins_name_chooses_the_selector),
        cmocka_unit_test(app_go_form__another_name_says_what_to_write),
        cmocka_unit_test(app_go_form__mistakes_have_their_place),
        cmocka_unit_test(app_go_form__print_is_our_form),
    };
    return cmocka_run_group_tests_name("app_go_form", tests, NULL, NULL);
}
