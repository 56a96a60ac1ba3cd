/* AUTH with every mechanism and every form of a stored secret; failures; users without AUTH. */
#include <stdio.h>

#include "fixture.h"
#include "sasl/password.h"

static const char wrong[] = "wrong";

/* Made once: hashes take their time. */
static buffer crypt_secret;
static buffer scram_secret;

static smx_user users[4];

static const smx_user *find_user(void *arg, smx_slice name)
{
    (void)arg;
    for (size_t i = 0; i < sizeof(users) / sizeof(users[0]); i++)
        if (slice_equal(users[i].name, name))
            return &users[i];
    return NULL;
}

static int make_users(void **state)
{
    (void)state;
    if (password_hash(SMX_SLICE("secret"), &crypt_secret) != 0 ||
        password_scram(SMX_SLICE("secret"), &scram_secret) != 0)
        return -1;
    users[0] = (smx_user){.name = SMX_SLICE("clear"), .secret = SMX_SLICE("secret")};
    users[1] = (smx_user){.name = SMX_SLICE("crypt"), .secret = buffer_slice(&crypt_secret)};
    users[2] = (smx_user){.name = SMX_SLICE("scram"), .secret = buffer_slice(&scram_secret)};
    users[3] = (smx_user){.name = SMX_SLICE("none")};
    return 0;
}

static int free_users(void **state)
{
    (void)state;
    buffer_free(&crypt_secret);
    buffer_free(&scram_secret);
    return 0;
}

static int setup(void **state)
{
    (void)fixture_setup(state);
    fixture *f = *state;
    f->options.find_user = find_user;
    f->listener.auth = SMX_AUTH_REQUIRED;
    f->listener.allow_insecure_auth = true;
    return 0;
}

static void say_base64(client *c, smx_slice text)
{
    char line[1024];
    size_t len;
    assert_int_equal(smx_base64_encode(text, line, sizeof(line) - 1, &len), 0);
    line[len] = '\0';
    client_say(c, line);
}

/* The text of the 334 that came last, decoded. */
static smx_slice challenge(const client *c, char *text, size_t capacity)
{
    size_t len;
    smx_slice encoded = slice_of_text(c->reply + 4);
    encoded.len -= 2;
    assert_int_equal(smx_base64_decode(encoded, text, capacity, &len), 0);
    return slice_of(text, len);
}

static void login(client *c, const char *user, const char *password, const char *start)
{
    client_ask(c, "AUTH LOGIN", "334 VXNlcm5hbWU6");
    say_base64(c, slice_of_text(user));
    client_expect(c, "334 UGFzc3dvcmQ6");
    say_base64(c, slice_of_text(password));
    client_expect(c, start);
}

static void scram(client *c, const char *user, const char *password, const char *start)
{
    sasl_client *sasl;
    buffer output = {0};
    bool has_initial = false;
    char line[2048] = "AUTH SCRAM-SHA-256 ";
    char text[1024];
    size_t len;
    assert_int_equal(sasl_client_new("SCRAM-SHA-256", user, password, &sasl), 0);
    assert_int_equal(sasl_client_initial(sasl, &has_initial, &output), 0);
    assert_int_equal(smx_base64_encode(buffer_slice(&output), line + 19, sizeof(line) - 20, &len),
                     0);
    line[19 + len] = '\0';
    client_say(c, line);
    for (;;) {
        client_expect(c, "");
        if (strncmp(c->reply, "334 ", 4) != 0)
            break;
        buffer_clear(&output);
        assert_int_equal(sasl_client_step(sasl, challenge(c, text, sizeof(text)), &output), 0);
        say_base64(c, buffer_slice(&output));
    }
    assert_memory_equal(c->reply, start, strlen(start));
    sasl_client_free(sasl);
    buffer_free(&output);
}

typedef void authenticate(client *c, const char *user, const char *password, const char *start);

static void expect_authenticated(fixture *f, authenticate *how, const char *user)
{
    client *c = client_greet(f);
    how(c, user, "secret", "235 2.7.0");
    client_mail(c, "S: x\r\n\r\n", "250 ");
    assert_buffer(&f->user, user);
    client_close(c);
}

static void server_auth__plain_with_every_secret(void **state)
{
    fixture *f = *state;
    fixture_start(f);
    expect_authenticated(f, client_auth_plain, "clear");
    expect_authenticated(f, client_auth_plain, "crypt");
    expect_authenticated(f, client_auth_plain, "crypt"); /* remembered now */
    expect_authenticated(f, client_auth_plain, "scram");
    assert_int_equal(fixture_counters(f).auth_successes, 4);
    assert_true(fixture_log_has(f, "auth client=127.0.0.1 user=crypt"));
}

static void server_auth__login_with_every_secret(void **state)
{
    fixture *f = *state;
    fixture_start(f);
    expect_authenticated(f, login, "clear");
    expect_authenticated(f, login, "crypt");
    expect_authenticated(f, login, "scram");
}

static void server_auth__scram_with_the_secrets_that_can(void **state)
{
    fixture *f = *state;
    fixture_start(f);
    expect_authenticated(f, scram, "clear");
    expect_authenticated(f, scram, "scram");
}

static void server_auth__wrong_passwords_are_535(void **state)
{
    fixture *f = *state;
    fixture_start(f);
    static const char *const names[] = {"clear", "crypt", "scram", "none", "nobody"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        client *c = client_greet(f);
        client_auth_plain(c, names[i], wrong, "535 5.7.8");
        login(c, names[i], wrong, "535 5.7.8");
        client_ask(c, "MAIL FROM:<a@from.example>", "530 5.7.0");
        client_close(c);
    }
    assert_int_equal(fixture_counters(f).auth_failures, 10);
    assert_int_equal(fixture_counters(f).auth_successes, 0);
}

static void server_auth__empty_password_is_never_right(void **state)
{
    fixture *f = *state;
    client *c = client_first(f);
    client_auth_plain(c, "none", "", "5");
    client_ask(c, "MAIL FROM:<a@from.example>", "530 5.7.0");
    client_close(c);
}

static void server_auth__third_failure_ends_the_session(void **state)
{
    fixture *f = *state;
    client *c = client_first(f);
    client_auth_plain(c, "clear", wrong, "535 5.7.8");
    client_auth_plain(c, "clear", wrong, "535 5.7.8");
    client_auth_plain(c, "clear", wrong, "421 4.7.0");
    client_expect_end(c);
    client_close(c);
}

static void server_auth__right_after_wrong_is_taken(void **state)
{
    fixture *f = *state;
    client *c = client_first(f);
    client_auth_plain(c, "crypt", wrong, "535 5.7.8");
    client_auth_plain(c, "crypt", "secret", "235 2.7.0");
    client_ask(c, "AUTH PLAIN AGNsZWFyAHNlY3JldA==", "503 ");
    client_close(c);
}

static void server_auth__secrets_are_not_in_the_log(void **state)
{
    fixture *f = *state;
    client *c = client_first(f);
    client_auth_plain(c, "clear", "guessed-password", "535 ");
    client_auth_plain(c, "clear", "secret", "235 ");
    assert_true(fixture_log_has(f, "auth_failed client=127.0.0.1 user=clear"));
    assert_false(fixture_log_has(f, "secret"));
    assert_false(fixture_log_has(f, "guessed"));
    client_close(c);
}

static void server_auth__failures_wait_their_time_without_a_thread(void **state)
{
    fixture *f = *state;
    f->auth_delay_ms = 3600000;
    client *c = client_first(f);
    client_say(c, "AUTH PLAIN AGNsZWFyAHdyb25n");
    fixture_wait(fixture_counters(f).auth_failures == 1);
    client *other = client_greet(f);
    client_auth_plain(other, "crypt", "secret", "235 ");
    client_close(other);
    client_close(c); /* nobody is told */
    fixture_wait(fixture_counters(f).sessions == 0);
}

static void server_auth__client_gone_while_a_thread_looks_at_its_password(void **state)
{
    fixture *f = *state;
    fixture_start(f);
    for (int i = 0; i < 20; i++) {
        client *c = client_greet(f);
        client_say(c, "AUTH PLAIN AGNyeXB0AHdyb25n");
        client_close(c);
    }
    fixture_wait(fixture_counters(f).sessions == 0);
    expect_authenticated(f, client_auth_plain, "crypt");
}

static void server_auth__cancelled_exchange_can_be_begun_again(void **state)
{
    fixture *f = *state;
    client *c = client_first(f);
    client_ask(c, "AUTH LOGIN", "334 ");
    client_ask(c, "*", "501 ");
    client_ask(c, "AUTH PLAIN", "334");
    client_ask(c, "!", "501 ");
    client_auth_plain(c, "clear", "secret", "235 ");
    client_close(c);
}

static void server_auth__is_not_offered_on_clear_text_by_default(void **state)
{
    fixture *f = *state;
    f->listener.allow_insecure_auth = false;
    client *c = client_first(f);
    assert_null(strstr(c->reply, "AUTH"));
    client_ask(c, "AUTH PLAIN AGNsZWFyAHNlY3JldA==", "538 ");
    client_ask(c, "MAIL FROM:<a@from.example>", "530 5.7.0");
    client_close(c);
}

static void server_auth__mechanisms_are_the_configured_ones(void **state)
{
    fixture *f = *state;
    f->listener.no_scram = true;
    client *c = client_first(f);
    assert_non_null(strstr(c->reply, "AUTH PLAIN LOGIN\r\n"));
    client_ask(c, "AUTH SCRAM-SHA-256", "504 ");
    client_close(c);
}

static void server_auth__optional_takes_mail_without(void **state)
{
    fixture *f = *state;
    f->listener.auth = SMX_AUTH_OPTIONAL;
    client *c = client_first(f);
    assert_non_null(strstr(c->reply, "AUTH SCRAM-SHA-256 PLAIN LOGIN\r\n"));
    client_mail(c, "S: x\r\n\r\n", "250 ");
    assert_buffer(&f->user, "");
    client_close(c);
}

static void server_auth__auth_of_mail_passes_only_from_a_user(void **state)
{
    fixture *f = *state;
    f->listener.auth = SMX_AUTH_OPTIONAL;
    client *c = client_first(f);
    for (int round = 0; round < 2; round++) {
        client_ask(c, "MAIL FROM:<a@from.example> AUTH=someone@else.example", "250 ");
        client_ask(c, "RCPT TO:<b@to.example>", "250 ");
        client_ask(c, "DATA", "354 ");
        client_ask(c, ".", "250 ");
        assert_buffer(&f->mail_auth, round == 0 ? "<>" : "someone@else.example");
        if (round == 0)
            client_auth_plain(c, "clear", "secret", "235 ");
    }
    client_close(c);
}

/* ---- hooks ---- */

static smx_verdict judge_user(void *arg, smx_hook_call *call)
{
    (void)arg;
    const smx_hook_view *view = smx_hook_get_view(call);
    if (slice_equal(view->text, SMX_SLICE("crypt")))
        return (smx_verdict){SMX_REPLY_WITH, SMX_REPLY(454, 4, 7, 0, "not today")};
    return (smx_verdict){.kind = SMX_CONTINUE};
}

static void server_auth__hook_may_refuse_a_user_with_the_right_password(void **state)
{
    fixture *f = *state;
    static smx_hook hook = {.version = SMX_HOOK_VERSION, .name = "user"};
    hook.phases[SMX_HOOK_AUTH] = judge_user;
    fixture_add_hook(f, &hook);
    client *c = client_first(f);
    client_auth_plain(c, "crypt", "secret", "454 4.7.0 not today");
    client_ask(c, "MAIL FROM:<a@from.example>", "530 ");
    client_auth_plain(c, "clear", "secret", "235 ");
    client_mail(c, "S: x\r\n\r\n", "250 ");
    assert_buffer(&f->user, "clear");
    client_close(c);
}

#define WITH_FIXTURE(test) cmocka_unit_test_setup_teardown(test, setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FIXTURE(server_auth__plain_with_every_secret),
        WITH_FIXTURE(server_auth__login_with_every_secret),
        WITH_FIXTURE(server_auth__scram_with_the_secrets_that_can),
        WITH_FIXTURE(server_auth__wrong_passwords_are_535),
        WITH_FIXTURE(server_auth__empty_password_is_never_right),
        WITH_FIXTURE(server_auth__third_failure_ends_the_session),
        WITH_FIXTURE(server_auth__right_after_wrong_is_taken),
        WITH_FIXTURE(server_auth__secrets_are_not_in_the_log),
        WITH_FIXTURE(server_auth__failures_wait_their_time_without_a_thread),
        WITH_FIXTURE(server_auth__client_gone_while_a_thread_looks_at_its_password),
        WITH_FIXTURE(server_auth__cancelled_exchange_can_be_begun_again),
        WITH_FIXTURE(server_auth__is_not_offered_on_clear_text_by_default),
        WITH_FIXTURE(server_auth__mechanisms_are_the_configured_ones),
        WITH_FIXTURE(server_auth__optional_takes_mail_without),
        WITH_FIXTURE(server_auth__auth_of_mail_passes_only_from_a_user),
        WITH_FIXTURE(server_auth__hook_may_refuse_a_user_with_the_right_password),
    };
    return cmocka_run_group_tests(tests, make_users, free_users);
}
