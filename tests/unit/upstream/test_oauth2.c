/* The form and the answers of a token endpoint, and URLs that secrets may go to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "net/http.h"
#include "upstream/oauth2_exchange.h"

static void assert_form(const oauth2_options *options, const char *refresh_token, const char *text)
{
    buffer form = {0};
    assert_int_equal(oauth2_write_form(options, refresh_token, &form), 0);
    assert_int_equal(buffer_append_char(&form, '\0'), 0);
    assert_string_equal(buffer_slice(&form).data, text);
    buffer_free(&form);
}

static void oauth2_form__is_of_the_grant_and_encoded(void **state)
{
    (void)state;
    oauth2_options options = {.token_url = "https://x/",
                              .client_id = "a b&c=d+e",
                              .client_secret = "s\xc3\xa9~._-",
                              .refresh_token = "configured",
                              .scope = "https://mail/"};
    assert_form(&options, "newest/1",
                "grant_type=refresh_token&refresh_token=newest%2F1&client_id=a%20b%26c%3Dd%2Be&"
                "client_secret=s%C3%A9~._-&scope=https%3A%2F%2Fmail%2F");
    options = (oauth2_options){
        .client_id = "i", .client_secret = "s", .grant = OAUTH2_CLIENT_CREDENTIALS};
    assert_form(&options, "unused", "grant_type=client_credentials&client_id=i&client_secret=s");
}

typedef struct answer_case {
    unsigned status;
    const char *body;
    oauth2_state state;
    const char *token;
    const char *refresh_token;
    uint64_t life_ms;
    const char *reason;
} answer_case;

static const answer_case answer_cases[] = {
    {200, "{\"access_token\":\"t\",\"token_type\":\"bEARER\",\"expires_in\":120}", OAUTH2_TOKEN,
     "t", NULL, 120000, ""},
    {200, "{\"access_token\":\"t\",\"expires_in\":\"90\",\"refresh_token\":\"r\"}", OAUTH2_TOKEN,
     "t", "r", 90000, ""},
    {200, "{\"access_token\":\"t\"}", OAUTH2_TOKEN, "t", NULL, 3600000, ""},
    {200, "{\"access_token\":\"t\",\"expires_in\":-5}", OAUTH2_TOKEN, "t", NULL, 1000, ""},
    {200, "{\"access_token\":\"t\",\"expires_in\":1e300}", OAUTH2_TOKEN, "t", NULL, 2592000000, ""},
    {200, "{\"access_token\":\"t\",\"expires_in\":\"soon\"}", OAUTH2_TOKEN, "t", NULL, 3600000, ""},
    {200, "{\"access_token\":7}", OAUTH2_UNAVAILABLE, NULL, NULL, 0,
     "the token endpoint answered without an access_token"},
    {200, "[]", OAUTH2_UNAVAILABLE, NULL, NULL, 0,
     "the token endpoint's answer is not a JSON object"},
    {200, "", OAUTH2_UNAVAILABLE, NULL, NULL, 0,
     "the token endpoint's answer is not a JSON object"},
    {200, "{\"access_token\":\"t\",\"token_type\":\"mac\"}", OAUTH2_UNAVAILABLE, NULL, NULL, 0,
     "the token endpoint's token is not of the type Bearer"},
    {400, "{\"error\":\"invalid_grant\"}", OAUTH2_REFUSED, NULL, NULL, 0,
     "the token endpoint answered 400: invalid_grant"},
    {401, "{\"error\":\"invalid_client\",\"error_description\":\"no\\u001b[1m\\n\"}",
     OAUTH2_REFUSED, NULL, NULL, 0, "the token endpoint answered 401: invalid_client (no?[1m?)"},
    {403, "<html>", OAUTH2_REFUSED, NULL, NULL, 0, "the token endpoint answered 403"},
    {408, "", OAUTH2_UNAVAILABLE, NULL, NULL, 0, "the token endpoint answered 408"},
    {429, "{}", OAUTH2_UNAVAILABLE, NULL, NULL, 0, "the token endpoint answered 429"},
    {302, "", OAUTH2_UNAVAILABLE, NULL, NULL, 0, "the token endpoint answered 302"},
    {500, "{\"error\":\"invalid_grant\"}", OAUTH2_UNAVAILABLE, NULL, NULL, 0,
     "the token endpoint answered 500: invalid_grant"},
};

static void assert_text_or_null(const char *text, const char *expected)
{
    assert_int_equal(text == NULL, expected == NULL);
    if (text != NULL)
        assert_string_equal(text, expected);
}

static void oauth2_answer__by_status_and_body(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(answer_cases) / sizeof(answer_cases[0]); i++) {
        const answer_case *c = &answer_cases[i];
        oauth2_grant_answer answer = oauth2_read_answer(c->status, slice_of_text(c->body));
        assert_int_equal(answer.state, c->state);
        assert_text_or_null(answer.token, c->token);
        assert_text_or_null(answer.refresh_token, c->refresh_token);
        assert_int_equal(answer.life_ms, c->life_ms);
        assert_string_equal(answer.reason, c->reason);
        oauth2_grant_answer_free(&answer);
    }
}

static void http_url__secrets_go_by_https_or_stay_here(void **state)
{
    (void)state;
    static const char *const good[] = {"https://x.example/t", "http://localhost/t",
                                       "http://127.3.2.1:80/t", "http://[::1]:8080/",
                                       "HTTPS://x.example"};
    static const char *const bad[] = {"http://x.example/t",
                                      "http://localhost.example/",
                                      "http://[::2]/",
                                      "ftp://localhost/",
                                      "file:///etc/passwd",
                                      "x.example",
                                      "",
                                      "https://"};
    problem p;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        assert_int_equal(http_url_check(good[i], true, &p), 0);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(http_url_check(bad[i], true, &p), SMX_E_SYNTAX);
    assert_int_equal(http_url_check("http://x.example/t", false, &p), 0);
}

static void http_url__is_shown_without_what_may_be_secret(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"https://user:secret@x.example/a", "https://********:********@x.example/a"},
        {"https://x.example/a?token=secret", "https://x.example/a?********"},
        {"https://x.example/a", "https://x.example/a"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        buffer out = {0};
        assert_int_equal(http_url_mask(cases[i][0], &out), 0);
        assert_int_equal(buffer_append_char(&out, '\0'), 0);
        assert_string_equal(buffer_slice(&out).data, cases[i][1]);
        buffer_free(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(oauth2_form__is_of_the_grant_and_encoded),
        cmocka_unit_test(oauth2_answer__by_status_and_body),
        cmocka_unit_test(http_url__secrets_go_by_https_or_stay_here),
        cmocka_unit_test(http_url__is_shown_without_what_may_be_secret),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
