/* The server's side of an exchange: PLAIN, LOGIN and SCRAM-SHA-256, also against our own client. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sasl/password.h"
#include "sasl/sasl.h"

/* RFC 7677 section 3: user "user", password "pencil". */
#define PENCIL_KEYS                                                                                \
    "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"    \
    "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="

static bool secret_of(void *arg, smx_slice user, smx_slice *secret)
{
    static const struct {
        const char *user;
        const char *secret;
    } users[] = {{"user", "pencil"},
                 {"keys", PENCIL_KEYS},
                 {"hash", "$6$saltsalt$"},
                 {"a=b,c", "pencil"},
                 {"sp\xc3\xa4t", "p\xc3\xa4ncil"}};
    size_t *calls = arg;
    if (calls != NULL)
        (*calls)++;
    for (size_t i = 0; i < sizeof(users) / sizeof(users[0]); i++) {
        if (!slice_equal(user, slice_of_text(users[i].user)))
            continue;
        *secret = slice_of_text(users[i].secret);
        return true;
    }
    return false;
}

static sasl_server *server_of(const char *mechanism)
{
    sasl_server *server = NULL;
    assert_int_equal(sasl_server_new(slice_of_text(mechanism), secret_of, NULL, &server), 0);
    return server;
}

#define STEP(server, literal, output) sasl_server_step(server, true, SMX_SLICE(literal), output)

static void assert_text(smx_slice s, const char *text)
{
    assert_int_equal(s.len, strlen(text));
    if (s.len > 0)
        assert_memory_equal(s.data, text, s.len);
}

/* One PLAIN message, and what becomes of it. */
static sasl_step plain(smx_slice message)
{
    buffer output = {0};
    sasl_server *server = server_of("plain");
    sasl_step step = sasl_server_step(server, true, message, &output);
    assert_int_equal(buffer_length(&output), 0);
    sasl_server_free(server);
    buffer_free(&output);
    return step;
}

static void sasl_server__mechanism_that_is_not_offered_is_refused(void **state)
{
    (void)state;
    sasl_server *server = NULL;
    assert_int_equal(sasl_server_new(SMX_SLICE("CRAM-MD5"), secret_of, NULL, &server),
                     SMX_E_UNSUPPORTED);
    assert_int_equal(sasl_server_new(SMX_SLICE("SCRAM-SHA-256-PLUS"), secret_of, NULL, &server),
                     SMX_E_UNSUPPORTED);
    assert_int_equal(sasl_server_new(SMX_SLICE(""), secret_of, NULL, &server), SMX_E_UNSUPPORTED);
    assert_null(server);
    sasl_server_free(NULL);
}

static void sasl_server_plain__name_and_password_are_handed_out(void **state)
{
    (void)state;
    buffer output = {0};
    sasl_server *server = server_of("PLAIN");
    assert_int_equal(STEP(server, "\0joe@example.com\0p \xff", &output), SASL_PASSWORD);
    assert_text(sasl_server_user(server), "joe@example.com");
    assert_text(sasl_server_password(server), "p \xff");
    /* It is over: nothing more can change the outcome. */
    assert_int_equal(STEP(server, "\0eve\0p", &output), SASL_FAILURE);
    assert_text(sasl_server_user(server), "joe@example.com");
    sasl_server_free(server);
    buffer_free(&output);
}

static void sasl_server_plain__without_initial_response_an_empty_challenge_asks(void **state)
{
    (void)state;
    buffer output = {0};
    sasl_server *server = server_of("PLAIN");
    assert_int_equal(sasl_server_step(server, false, SMX_SLICE(""), &output), SASL_CHALLENGE);
    assert_int_equal(buffer_length(&output), 0);
    assert_int_equal(STEP(server, "\0u\0p", &output), SASL_PASSWORD);
    sasl_server_free(server);
    buffer_free(&output);
}

static void sasl_server_plain__broken_messages_are_malformed(void **state)
{
    (void)state;
    assert_int_equal(plain(SMX_SLICE("")), SASL_MALFORMED);
    assert_int_equal(plain(SMX_SLICE("u")), SASL_MALFORMED);
    assert_int_equal(plain(SMX_SLICE("u\0p")), SASL_MALFORMED);
    assert_int_equal(plain(SMX_SLICE("\0u\0")), SASL_MALFORMED);
    assert_int_equal(plain(SMX_SLICE("\0\0p")), SASL_MALFORMED);
    assert_int_equal(plain(SMX_SLICE("\0u\0p\0")), SASL_MALFORMED);
    assert_int_equal(plain(SMX_SLICE("\0u\0p\0q")), SASL_MALFORMED);
    assert_int_equal(plain(SMX_SLICE("\0\0\0\0")), SASL_MALFORMED);
}

static void sasl_server_plain__control_octets_in_the_name_fail(void **state)
{
    (void)state;
    assert_int_equal(plain(SMX_SLICE("\0u\r\nX\0p")), SASL_FAILURE);
    assert_int_equal(plain(SMX_SLICE("\0u\n\0p")), SASL_FAILURE);
    assert_int_equal(plain(SMX_SLICE("\0u\x7f\0p")), SASL_FAILURE);
    assert_int_equal(plain(SMX_SLICE("\0\tu\0p")), SASL_FAILURE);
    assert_int_equal(plain(SMX_SLICE("\0\xff\xfe\0p")), SASL_FAILURE);
}

static void sasl_server_plain__only_the_own_authorization_identity_is_taken(void **state)
{
    (void)state;
    assert_int_equal(plain(SMX_SLICE("u\0u\0p")), SASL_PASSWORD);
    assert_int_equal(plain(SMX_SLICE("other\0u\0p")), SASL_FAILURE);
    assert_int_equal(plain(SMX_SLICE("U\0u\0p")), SASL_FAILURE);
    assert_int_equal(plain(SMX_SLICE("u\r\n\0u\0p")), SASL_FAILURE);
}

static void sasl_server_login__name_then_password(void **state)
{
    (void)state;
    buffer output = {0};
    sasl_server *server = server_of("Login");
    assert_int_equal(sasl_server_step(server, false, SMX_SLICE(""), &output), SASL_CHALLENGE);
    assert_text(buffer_slice(&output), "Username:");
    buffer_clear(&output);
    assert_int_equal(STEP(server, "joe", &output), SASL_CHALLENGE);
    assert_text(buffer_slice(&output), "Password:");
    assert_int_equal(STEP(server, "secret", &output), SASL_PASSWORD);
    assert_text(sasl_server_user(server), "joe");
    assert_text(sasl_server_password(server), "secret");
    sasl_server_free(server);
    buffer_free(&output);
}

static void sasl_server_login__initial_response_is_the_name(void **state)
{
    (void)state;
    buffer output = {0};
    sasl_server *server = server_of("LOGIN");
    assert_int_equal(STEP(server, "joe", &output), SASL_CHALLENGE);
    assert_text(buffer_slice(&output), "Password:");
    assert_int_equal(STEP(server, "x\0y", &output), SASL_MALFORMED);
    assert_int_equal(STEP(server, "secret", &output), SASL_FAILURE);
    sasl_server_free(server);
    buffer_free(&output);
}

static void sasl_server_login__bad_names_and_empty_answers_are_refused(void **state)
{
    (void)state;
    buffer output = {0};
    sasl_server *server = server_of("LOGIN");
    assert_int_equal(STEP(server, "", &output), SASL_MALFORMED);
    sasl_server_free(server);
    server = server_of("LOGIN");
    assert_int_equal(STEP(server, "u\r\nRCPT", &output), SASL_FAILURE);
    sasl_server_free(server);
    server = server_of("LOGIN");
    assert_int_equal(STEP(server, "u\0x", &output), SASL_FAILURE);
    sasl_server_free(server);
    server = server_of("LOGIN");
    assert_int_equal(STEP(server, "joe", &output), SASL_CHALLENGE);
    assert_int_equal(STEP(server, "", &output), SASL_MALFORMED);
    sasl_server_free(server);
    buffer_free(&output);
}

/* ---- both sides together ---- */

/* Runs an exchange to its end; what the client thinks of it in *proved. */
static sasl_step run(const char *mechanism, const char *user, const char *password, bool *proved,
                     smx_slice *seen_password)
{
    static char copy[64];
    sasl_server *server = server_of(mechanism);
    sasl_client *client = NULL;
    buffer out = {0};
    buffer in = {0};
    bool has_initial = false;
    assert_int_equal(sasl_client_new(mechanism, user, password, &client), 0);
    assert_int_equal(sasl_client_initial(client, &has_initial, &out), 0);
    sasl_step step = sasl_server_step(server, has_initial, buffer_slice(&out), &in);
    while (step == SASL_CHALLENGE) {
        buffer_clear(&out);
        if (sasl_client_step(client, buffer_slice(&in), &out) != 0) {
            step = SASL_MALFORMED;
            break;
        }
        buffer_clear(&in);
        step = sasl_server_step(server, true, buffer_slice(&out), &in);
    }
    *proved = sasl_client_is_complete(client);
    if (step == SASL_PASSWORD || step == SASL_SUCCESS)
        assert_text(sasl_server_user(server), user);
    smx_slice given = sasl_server_password(server);
    if (seen_password != NULL && given.len < sizeof(copy)) {
        if (given.len > 0)
            memcpy(copy, given.data, given.len);
        *seen_password = slice_of(copy, given.len);
    }
    sasl_client_free(client);
    sasl_server_free(server);
    buffer_free(&out);
    buffer_free(&in);
    return step;
}

static void sasl__plain_and_login_reach_the_server(void **state)
{
    (void)state;
    bool proved;
    smx_slice password;
    assert_int_equal(run("PLAIN", "joe", "pass word", &proved, &password), SASL_PASSWORD);
    assert_text(password, "pass word");
    assert_true(proved);
    assert_int_equal(run("LOGIN", "joe", "pass word", &proved, &password), SASL_PASSWORD);
    assert_text(password, "pass word");
    assert_true(proved);
}

static void sasl__scram_with_clear_password_succeeds(void **state)
{
    (void)state;
    bool proved;
    assert_int_equal(run("SCRAM-SHA-256", "user", "pencil", &proved, NULL), SASL_SUCCESS);
    assert_true(proved);
    assert_int_equal(run("SCRAM-SHA-256", "a=b,c", "pencil", &proved, NULL), SASL_SUCCESS);
    assert_int_equal(run("SCRAM-SHA-256", "sp\xc3\xa4t", "p\xc3\xa4ncil", &proved, NULL),
                     SASL_SUCCESS);
}

static void sasl__scram_with_stored_keys_succeeds(void **state)
{
    (void)state;
    bool proved;
    assert_int_equal(run("SCRAM-SHA-256", "keys", "pencil", &proved, NULL), SASL_SUCCESS);
    assert_true(proved);
}

static void sasl__scram_with_a_wrong_password_fails(void **state)
{
    (void)state;
    bool proved = true;
    assert_int_equal(run("SCRAM-SHA-256", "user", "pencil2", &proved, NULL), SASL_FAILURE);
    assert_false(proved);
    assert_int_equal(run("SCRAM-SHA-256", "keys", "Pencil", &proved, NULL), SASL_FAILURE);
    assert_false(proved);
}

static void sasl__scram_of_nobody_and_of_hashed_users_fails(void **state)
{
    (void)state;
    bool proved = true;
    assert_int_equal(run("SCRAM-SHA-256", "nobody", "pencil", &proved, NULL), SASL_FAILURE);
    assert_false(proved);
    assert_int_equal(run("SCRAM-SHA-256", "hash", "pencil", &proved, NULL), SASL_FAILURE);
    assert_false(proved);
}

/* The server's first message for a client nonce of "abcdefghij", without its own nonce. */
static void first_message(const char *user, buffer *rest)
{
    buffer message = {0};
    buffer output = {0};
    sasl_server *server = server_of("SCRAM-SHA-256");
    assert_int_equal(buffer_printf(&message, "n,,n=%s,r=abcdefghij", user), 0);
    assert_int_equal(sasl_server_step(server, true, buffer_slice(&message), &output),
                     SASL_CHALLENGE);
    smx_slice text = buffer_slice(&output);
    assert_true(slice_starts_with(text, SMX_SLICE("r=abcdefghij")));
    assert_true(slice_find(text, ',') > strlen("r=abcdefghij"));
    assert_int_equal(buffer_append(rest, slice_from(text, slice_find(text, ','))), 0);
    sasl_server_free(server);
    buffer_free(&message);
    buffer_free(&output);
}

static void sasl_server_scram__nobody_looks_like_somebody(void **state)
{
    (void)state;
    buffer user[2] = {{0}, {0}};
    buffer nobody[2] = {{0}, {0}};
    buffer other = {0};
    for (size_t i = 0; i < 2; i++) {
        first_message("user", &user[i]);
        first_message("nobody", &nobody[i]);
    }
    first_message("other", &other);
    /* The same salt each time, another for each name, and all of the same form. */
    assert_true(slice_equal(buffer_slice(&user[0]), buffer_slice(&user[1])));
    assert_true(slice_equal(buffer_slice(&nobody[0]), buffer_slice(&nobody[1])));
    assert_false(slice_equal(buffer_slice(&nobody[0]), buffer_slice(&user[0])));
    assert_false(slice_equal(buffer_slice(&nobody[0]), buffer_slice(&other)));
    assert_int_equal(buffer_length(&user[0]), buffer_length(&nobody[0]));
    assert_true(slice_search(buffer_slice(&nobody[0]), SMX_SLICE(",i=4096")) <
                buffer_length(&nobody[0]));
    for (size_t i = 0; i < 2; i++) {
        buffer_free(&user[i]);
        buffer_free(&nobody[i]);
    }
    buffer_free(&other);
}

static void sasl_server_scram__stored_salt_is_sent(void **state)
{
    (void)state;
    buffer rest = {0};
    first_message("keys", &rest);
    assert_text(buffer_slice(&rest), ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
    buffer_free(&rest);
}

static sasl_step scram_first(smx_slice message)
{
    buffer output = {0};
    sasl_server *server = server_of("SCRAM-SHA-256");
    sasl_step step = sasl_server_step(server, true, message, &output);
    sasl_server_free(server);
    buffer_free(&output);
    return step;
}

static void sasl_server_scram__first_messages_are_judged(void **state)
{
    (void)state;
    assert_int_equal(scram_first(SMX_SLICE("n,,n=user,r=abcdefghij")), SASL_CHALLENGE);
    assert_int_equal(scram_first(SMX_SLICE("y,,n=user,r=abcdefghij")), SASL_CHALLENGE);
    assert_int_equal(scram_first(SMX_SLICE("n,a=user,n=user,r=abcdefghij")), SASL_CHALLENGE);
    assert_int_equal(scram_first(SMX_SLICE("n,a=boss,n=user,r=abcdefghij")), SASL_FAILURE);
    assert_true(scram_first(SMX_SLICE("p=tls-unique,,n=user,r=abcdefghij")) != SASL_CHALLENGE);
    assert_int_equal(scram_first(SMX_SLICE("")), SASL_MALFORMED);
    assert_int_equal(scram_first(SMX_SLICE("n,,n=user")), SASL_MALFORMED);
    assert_int_equal(scram_first(SMX_SLICE("n,,n=user,r=abc\0def")), SASL_MALFORMED);
    assert_int_equal(scram_first(SMX_SLICE("n,,n=us\r\ner,r=abcdefghij")), SASL_FAILURE);
    assert_true(scram_first(SMX_SLICE("n,,n=,r=abcdefghij")) != SASL_CHALLENGE);
    assert_true(scram_first(SMX_SLICE("x")) != SASL_CHALLENGE);
}

static void sasl_server_scram__wrong_nonce_and_garbage_are_refused(void **state)
{
    (void)state;
    static const char *const finals[] = {
        "c=biws,r=abcdefghijk,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", "c=biws", "x",
        "\xff"};
    for (size_t i = 0; i < sizeof(finals) / sizeof(finals[0]); i++) {
        buffer output = {0};
        sasl_server *server = server_of("SCRAM-SHA-256");
        assert_int_equal(STEP(server, "n,,n=user,r=abcdefghij", &output), SASL_CHALLENGE);
        sasl_step step = sasl_server_step(server, true, slice_of_text(finals[i]), &output);
        assert_true(step == SASL_FAILURE || step == SASL_MALFORMED);
        assert_int_equal(STEP(server, "", &output), SASL_FAILURE);
        sasl_server_free(server);
        buffer_free(&output);
    }
}

static void sasl_server_scram__secret_is_asked_for_once(void **state)
{
    (void)state;
    size_t calls = 0;
    buffer output = {0};
    sasl_server *server = NULL;
    assert_int_equal(sasl_server_new(SMX_SLICE("SCRAM-SHA-256"), secret_of, &calls, &server), 0);
    assert_int_equal(sasl_server_step(server, false, SMX_SLICE(""), &output), SASL_CHALLENGE);
    assert_int_equal(calls, 0);
    assert_int_equal(STEP(server, "n,,n=user,r=abcdefghij", &output), SASL_CHALLENGE);
    assert_int_equal(calls, 1);
    /* Cancelled here: nothing leaks. */
    sasl_server_free(server);
    buffer_free(&output);
}

static void sasl_server_scram__server_proof_must_be_acknowledged_empty(void **state)
{
    (void)state;
    buffer out = {0};
    buffer in = {0};
    bool has_initial;
    sasl_client *client = NULL;
    sasl_server *server = server_of("SCRAM-SHA-256");
    assert_int_equal(sasl_client_new("SCRAM-SHA-256", "user", "pencil", &client), 0);
    assert_int_equal(sasl_client_initial(client, &has_initial, &out), 0);
    assert_int_equal(sasl_server_step(server, true, buffer_slice(&out), &in), SASL_CHALLENGE);
    buffer_clear(&out);
    assert_int_equal(sasl_client_step(client, buffer_slice(&in), &out), 0);
    assert_false(sasl_client_is_complete(client));
    buffer_clear(&in);
    assert_int_equal(sasl_server_step(server, true, buffer_slice(&out), &in), SASL_CHALLENGE);
    assert_true(slice_starts_with(buffer_slice(&in), SMX_SLICE("v=")));
    assert_int_equal(STEP(server, "x", &in), SASL_MALFORMED);
    assert_int_equal(STEP(server, "", &in), SASL_FAILURE);
    sasl_client_free(client);
    sasl_server_free(server);
    buffer_free(&out);
    buffer_free(&in);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sasl_server__mechanism_that_is_not_offered_is_refused),
        cmocka_unit_test(sasl_server_plain__name_and_password_are_handed_out),
        cmocka_unit_test(sasl_server_plain__without_initial_response_an_empty_challenge_asks),
        cmocka_unit_test(sasl_server_plain__broken_messages_are_malformed),
        cmocka_unit_test(sasl_server_plain__control_octets_in_the_name_fail),
        cmocka_unit_test(sasl_server_plain__only_the_own_authorization_identity_is_taken),
        cmocka_unit_test(sasl_server_login__name_then_password),
        cmocka_unit_test(sasl_server_login__initial_response_is_the_name),
        cmocka_unit_test(sasl_server_login__bad_names_and_empty_answers_are_refused),
        cmocka_unit_test(sasl__plain_and_login_reach_the_server),
        cmocka_unit_test(sasl__scram_with_clear_password_succeeds),
        cmocka_unit_test(sasl__scram_with_stored_keys_succeeds),
        cmocka_unit_test(sasl__scram_with_a_wrong_password_fails),
        cmocka_unit_test(sasl__scram_of_nobody_and_of_hashed_users_fails),
        cmocka_unit_test(sasl_server_scram__nobody_looks_like_somebody),
        cmocka_unit_test(sasl_server_scram__stored_salt_is_sent),
        cmocka_unit_test(sasl_server_scram__first_messages_are_judged),
        cmocka_unit_test(sasl_server_scram__wrong_nonce_and_garbage_are_refused),
        cmocka_unit_test(sasl_server_scram__secret_is_asked_for_once),
        cmocka_unit_test(sasl_server_scram__server_proof_must_be_acknowledged_empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
