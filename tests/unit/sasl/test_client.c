/* The client's side of an exchange against servers that play by the rules, and ones that do not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sasl/sasl.h"

static sasl_client *client_of(const char *mechanism)
{
    sasl_client *client = NULL;
    assert_int_equal(sasl_client_new(mechanism, "user", "pencil", &client), 0);
    return client;
}

static void assert_text(smx_slice s, const char *text)
{
    assert_int_equal(s.len, strlen(text));
    assert_memory_equal(s.data, text, s.len);
}

static const char *choose(const char *offered, const char *wanted, bool clear_text)
{
    const char *mechanism = "none";
    int error = sasl_client_choose(slice_of_text(offered), wanted, false, clear_text, &mechanism);
    assert_true(error == 0 || error == SMX_E_NOTFOUND);
    return mechanism;
}

static void sasl_client_choose__strongest_first(void **state)
{
    (void)state;
    const char *all = "LOGIN PLAIN CRAM-MD5 SCRAM-SHA-256";
    assert_string_equal(choose(all, NULL, false), "SCRAM-SHA-256");
    assert_string_equal(choose("LOGIN PLAIN CRAM-MD5", NULL, false), "PLAIN");
    assert_string_equal(choose("LOGIN PLAIN CRAM-MD5", NULL, true), "CRAM-MD5");
    assert_string_equal(choose("login", NULL, false), "LOGIN");
    assert_string_equal(choose("CRAM-MD5", NULL, false), "none");
    assert_string_equal(choose("GSSAPI NTLM  XOAUTH2", NULL, true), "none");
    assert_string_equal(choose("", NULL, true), "none");
    assert_string_equal(choose("PLAINX XPLAIN", NULL, true), "none");
}

static void sasl_client_choose__the_wanted_one_or_none(void **state)
{
    (void)state;
    assert_string_equal(choose("SCRAM-SHA-256 PLAIN LOGIN", "login", false), "LOGIN");
    assert_string_equal(choose("PLAIN CRAM-MD5", "CRAM-MD5", false), "CRAM-MD5");
    assert_string_equal(choose("PLAIN LOGIN", "SCRAM-SHA-256", false), "none");
    assert_string_equal(choose("PLAIN NTLM", "NTLM", false), "none");
}

static const char *choose_with_token(const char *offered, const char *wanted)
{
    const char *mechanism = "none";
    (void)!sasl_client_choose(slice_of_text(offered), wanted, true, false, &mechanism);
    return mechanism;
}

static void sasl_client_choose__a_token_only_goes_where_tokens_are_taken(void **state)
{
    (void)state;
    assert_string_equal(choose_with_token("LOGIN PLAIN XOAUTH2 OAUTHBEARER", NULL), "OAUTHBEARER");
    assert_string_equal(choose_with_token("LOGIN XOAUTH2", NULL), "XOAUTH2");
    assert_string_equal(choose_with_token("OAUTHBEARER XOAUTH2", "xoauth2"), "XOAUTH2");
    assert_string_equal(choose_with_token("XOAUTH2", "OAUTHBEARER"), "none");
    assert_string_equal(choose_with_token("LOGIN PLAIN SCRAM-SHA-256", NULL), "none");
    assert_string_equal(choose_with_token("PLAIN", "PLAIN"), "none");
    assert_string_equal(choose("XOAUTH2 OAUTHBEARER", NULL, true), "none");
    assert_string_equal(choose("XOAUTH2", "XOAUTH2", false), "none");
}

static sasl_client *bearer_begin(const char *mechanism, const char *user, buffer *output)
{
    bool has_initial = false;
    sasl_client *client = NULL;
    assert_int_equal(sasl_client_new(mechanism, user, "ya29.tok-en==", &client), 0);
    assert_int_equal(sasl_client_initial(client, &has_initial, output), 0);
    assert_true(has_initial);
    assert_true(sasl_client_is_complete(client));
    return client;
}

static void sasl_client_bearer__initial_responses(void **state)
{
    (void)state;
    buffer output = {0};
    sasl_client_free(bearer_begin("XOAUTH2", "some@example.com", &output));
    assert_text(buffer_slice(&output), "user=some@example.com\1auth=Bearer ya29.tok-en==\1\1");
    buffer_clear(&output);
    sasl_client_free(bearer_begin("OAUTHBEARER", "a,b=c@example.com", &output));
    assert_text(buffer_slice(&output), "n,a=a=2Cb=3Dc@example.com,\1auth=Bearer ya29.tok-en==\1\1");
    buffer_free(&output);
}

/* CHECKLIST 64: a challenge with JSON, the dummy response, and then no success counts any more. */
static void sasl_client_bearer__a_refusal_is_answered_by_the_dummy(void **state)
{
    (void)state;
    static const char *const cases[][2] = {{"XOAUTH2", ""}, {"OAUTHBEARER", "\1"}};
    for (size_t i = 0; i < 2; i++) {
        buffer output = {0};
        sasl_client *client = bearer_begin(cases[i][0], "u", &output);
        buffer_clear(&output);
        smx_slice json = SMX_SLICE("{\"schemes\":\"Bearer\", \"status\" : \"invalid\n_token\"}");
        assert_int_equal(sasl_client_step(client, json, &output), 0);
        assert_text(buffer_slice(&output), cases[i][1]);
        assert_string_equal(sasl_client_refusal(client), "invalid?_token");
        assert_false(sasl_client_is_complete(client));
        assert_int_equal(sasl_client_step(client, json, &output), SMX_E_AUTH);
        sasl_client_free(client);
        buffer_free(&output);
    }
}

static void sasl_client_bearer__nonsense_of_a_server_is_no_word(void **state)
{
    (void)state;
    static const char *const cases[] = {"", "{}", "\"status\"", "{\"status\":401}", "\"status\":"};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        buffer output = {0};
        sasl_client *client = bearer_begin("XOAUTH2", "u", &output);
        assert_int_equal(sasl_client_step(client, slice_of_text(cases[i]), &output), 0);
        assert_string_equal(sasl_client_refusal(client), "");
        sasl_client_free(client);
        buffer_free(&output);
    }
}

static void sasl_client_bearer__octets_that_part_fields_are_refused(void **state)
{
    (void)state;
    static const char *const cases[][2] = {{"u\1", "t"}, {"u\n", "t"},   {"u", "t\1"},
                                           {"u", "t t"}, {"u", "t\r\n"}, {"u", ""}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        buffer output = {0};
        bool has_initial;
        sasl_client *client = NULL;
        assert_int_equal(sasl_client_new("OAUTHBEARER", cases[i][0], cases[i][1], &client), 0);
        assert_int_equal(sasl_client_initial(client, &has_initial, &output), SMX_E_INVALID);
        sasl_client_free(client);
        assert_int_equal(buffer_length(&output), 0);
        buffer_free(&output);
    }
}

static void sasl_client__unknown_mechanism_and_empty_name_are_refused(void **state)
{
    (void)state;
    sasl_client *client = NULL;
    assert_int_equal(sasl_client_new("NTLM", "u", "p", &client), SMX_E_UNSUPPORTED);
    assert_int_equal(sasl_client_new("PLAIN", "", "p", &client), SMX_E_INVALID);
    assert_int_equal(sasl_client_new("PLAIN", "u", NULL, &client), SMX_E_INVALID);
    assert_null(client);
    sasl_client_free(NULL);
}

static void sasl_client_plain__everything_in_the_initial_response(void **state)
{
    (void)state;
    buffer output = {0};
    bool has_initial = false;
    sasl_client *client = client_of("PLAIN");
    assert_false(sasl_client_is_complete(client));
    assert_int_equal(sasl_client_initial(client, &has_initial, &output), 0);
    assert_true(has_initial);
    assert_int_equal(buffer_length(&output), sizeof("\0user\0pencil") - 1);
    assert_memory_equal(buffer_slice(&output).data, "\0user\0pencil", buffer_length(&output));
    assert_true(sasl_client_is_complete(client));
    /* A further challenge has no answer. */
    assert_int_equal(sasl_client_step(client, SMX_SLICE("more?"), &output), SMX_E_AUTH);
    sasl_client_free(client);
    buffer_free(&output);
}

static void sasl_client_login__whatever_the_prompts_say(void **state)
{
    (void)state;
    buffer output = {0};
    bool has_initial = true;
    sasl_client *client = client_of("LOGIN");
    assert_int_equal(sasl_client_initial(client, &has_initial, &output), 0);
    assert_false(has_initial);
    assert_int_equal(buffer_length(&output), 0);
    assert_int_equal(sasl_client_step(client, SMX_SLICE("Benutzer"), &output), 0);
    assert_text(buffer_slice(&output), "user");
    assert_false(sasl_client_is_complete(client));
    buffer_clear(&output);
    assert_int_equal(sasl_client_step(client, SMX_SLICE("Kennwort"), &output), 0);
    assert_text(buffer_slice(&output), "pencil");
    assert_true(sasl_client_is_complete(client));
    sasl_client_free(client);
    buffer_free(&output);
}

/* RFC 2195 section 2. */
static void sasl_client_cram_md5__rfc_2195_example(void **state)
{
    (void)state;
    buffer output = {0};
    bool has_initial = true;
    sasl_client *client = NULL;
    assert_int_equal(sasl_client_new("CRAM-MD5", "tim", "tanstaaftanstaaf", &client), 0);
    assert_int_equal(sasl_client_initial(client, &has_initial, &output), 0);
    assert_false(has_initial);
    assert_int_equal(
        sasl_client_step(client, SMX_SLICE("<1896.697170952@postoffice.reston.mci.net>"), &output),
        0);
    assert_text(buffer_slice(&output), "tim b913a602c7eda7a495b4e6e7334d3890");
    assert_true(sasl_client_is_complete(client));
    sasl_client_free(client);
    buffer_free(&output);
}

/* What comes of a server-first-message whose nonce begins with the client's, or not. */
static int scram_first(const char *before_nonce, const char *behind_nonce)
{
    buffer output = {0};
    buffer challenge = {0};
    bool has_initial = false;
    sasl_client *client = client_of("SCRAM-SHA-256");
    assert_int_equal(sasl_client_initial(client, &has_initial, &output), 0);
    assert_true(has_initial);
    smx_slice first = buffer_slice(&output);
    assert_true(slice_starts_with(first, SMX_SLICE("n,,n=user,r=")));
    smx_slice nonce = slice_from(first, strlen("n,,n=user,r="));
    assert_int_equal(buffer_append_text(&challenge, before_nonce), 0);
    assert_int_equal(buffer_append(&challenge, nonce), 0);
    assert_int_equal(buffer_append_text(&challenge, behind_nonce), 0);
    buffer_clear(&output);
    int error = sasl_client_step(client, buffer_slice(&challenge), &output);
    assert_true(error == 0 || buffer_length(&output) == 0);
    assert_false(sasl_client_is_complete(client));
    if (error != 0)
        assert_int_equal(sasl_client_step(client, buffer_slice(&challenge), &output), SMX_E_AUTH);
    sasl_client_free(client);
    buffer_free(&output);
    buffer_free(&challenge);
    return error;
}

static void sasl_client_scram__iterations_are_bounded(void **state)
{
    (void)state;
    assert_int_equal(scram_first("r=", "srv,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"), 0);
    assert_int_equal(scram_first("r=", "srv,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4095"), SMX_E_AUTH);
    assert_int_equal(scram_first("r=", "srv,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=1"), SMX_E_AUTH);
    assert_int_equal(scram_first("r=", "srv,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=600001"), SMX_E_AUTH);
    assert_int_equal(scram_first("r=", "srv,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4294971392"), SMX_E_AUTH);
    assert_int_equal(scram_first("r=", "srv,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=-1"), SMX_E_AUTH);
    assert_int_equal(scram_first("r=", "srv,s=W22ZaJ0SNY7soEsUEjb6gQ=="), SMX_E_AUTH);
}

static void sasl_client_scram__nonce_must_begin_with_ours(void **state)
{
    (void)state;
    assert_int_equal(scram_first("r=x", "srv,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"), SMX_E_AUTH);
    assert_int_equal(scram_first("r=other,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,x=", ""), SMX_E_AUTH);
}

static void sasl_client_scram__server_that_has_not_proved_itself_is_refused(void **state)
{
    (void)state;
    static const char *const proofs[] = {
        "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", "v=", "e=invalid-proof", "", "v=!"};
    for (size_t i = 0; i < sizeof(proofs) / sizeof(proofs[0]); i++) {
        buffer output = {0};
        buffer challenge = {0};
        bool has_initial;
        sasl_client *client = client_of("SCRAM-SHA-256");
        assert_int_equal(sasl_client_initial(client, &has_initial, &output), 0);
        smx_slice nonce = slice_from(buffer_slice(&output), strlen("n,,n=user,r="));
        assert_int_equal(buffer_printf(&challenge, "r=%.*ssrv,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
                                       (int)nonce.len, nonce.data),
                         0);
        buffer_clear(&output);
        assert_int_equal(sasl_client_step(client, buffer_slice(&challenge), &output), 0);
        assert_int_equal(sasl_client_step(client, slice_of_text(proofs[i]), &output), SMX_E_AUTH);
        assert_false(sasl_client_is_complete(client));
        sasl_client_free(client);
        buffer_free(&output);
        buffer_free(&challenge);
    }
}

static void sasl_client__nul_in_a_challenge_is_refused(void **state)
{
    (void)state;
    buffer output = {0};
    sasl_client *client = client_of("CRAM-MD5");
    assert_int_equal(sasl_client_step(client, SMX_SLICE("<1@h>\0x"), &output), SMX_E_AUTH);
    assert_int_equal(buffer_length(&output), 0);
    sasl_client_free(client);
    buffer_free(&output);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sasl_client_choose__strongest_first),
        cmocka_unit_test(sasl_client_choose__the_wanted_one_or_none),
        cmocka_unit_test(sasl_client_choose__a_token_only_goes_where_tokens_are_taken),
        cmocka_unit_test(sasl_client_bearer__initial_responses),
        cmocka_unit_test(sasl_client_bearer__a_refusal_is_answered_by_the_dummy),
        cmocka_unit_test(sasl_client_bearer__nonsense_of_a_server_is_no_word),
        cmocka_unit_test(sasl_client_bearer__octets_that_part_fields_are_refused),
        cmocka_unit_test(sasl_client__unknown_mechanism_and_empty_name_are_refused),
        cmocka_unit_test(sasl_client_plain__everything_in_the_initial_response),
        cmocka_unit_test(sasl_client_login__whatever_the_prompts_say),
        cmocka_unit_test(sasl_client_cram_md5__rfc_2195_example),
        cmocka_unit_test(sasl_client_scram__iterations_are_bounded),
        cmocka_unit_test(sasl_client_scram__nonce_must_begin_with_ours),
        cmocka_unit_test(sasl_client_scram__server_that_has_not_proved_itself_is_refused),
        cmocka_unit_test(sasl_client__nul_in_a_challenge_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
