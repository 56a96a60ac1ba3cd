/* The URLs of providers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "upstream/upstream.h"

typedef struct row {
    const char *url;
    const char *host;
    unsigned port;
    bool lmtp;
    smx_tls_policy tls;
    smx_client_verify verify;
} row;

static const row good[] = {
    {"smtp://mail.example.net", "mail.example.net", 25, false, SMX_TLS_IF_OFFERED,
     SMX_VERIFY_IF_AUTH},
    {"smtp+tls://mail.example.net", "mail.example.net", 587, false, SMX_TLS_REQUIRED,
     SMX_VERIFY_REQUIRED},
    {"SMTP+TLS://mail.example.net:2587/", "mail.example.net", 2587, false, SMX_TLS_REQUIRED,
     SMX_VERIFY_REQUIRED},
    {"smtp+notls://127.0.0.1:2525", "127.0.0.1", 2525, false, SMX_TLS_OFF, SMX_VERIFY_NEVER},
    {"smtps://[2001:db8::1]", "2001:db8::1", 465, false, SMX_TLS_IMPLICIT, SMX_VERIFY_REQUIRED},
    {"lmtp://localhost", "localhost", 24, true, SMX_TLS_IF_OFFERED, SMX_VERIFY_IF_AUTH},
    {"smtp+unix:/run/mail.sock", "/run/mail.sock", 0, false, SMX_TLS_OFF, SMX_VERIFY_NEVER},
    {"lmtp+unix:/run/lmtp.sock", "/run/lmtp.sock", 0, true, SMX_TLS_OFF, SMX_VERIFY_NEVER},
};

static void upstream_url__each_scheme_has_its_port_and_tls(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        upstream_options o = {0};
        char *host = NULL;
        problem p = {0};
        int error = upstream_url_parse(slice_of_text(good[i].url), &o, &host, &p);
        if (error != 0)
            fail_msg("%s: %s", good[i].url, p.text);
        assert_string_equal(o.host, good[i].host);
        assert_ptr_equal(o.host, host);
        assert_int_equal(o.port, good[i].port);
        assert_int_equal(o.lmtp, good[i].lmtp);
        assert_int_equal(o.tls, good[i].tls);
        assert_int_equal(o.verify, good[i].verify);
        free(host);
    }
}

static void upstream_url__mistakes_are_explained(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "mail.example.net:25",
        "http://mail.example.net",
        "smtp://user:pass@mail.example.net",
        "smtp://",
        "smtp://host:99999",
        "smtp+unix:relative.sock",
        "smtp://[::1",
        "smtp://host:",
        "",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        upstream_options o = {0};
        char *host = NULL;
        problem p = {0};
        if (upstream_url_parse(slice_of_text(bad[i]), &o, &host, &p) == 0)
            fail_msg("%s was taken", bad[i]);
        assert_true(strlen(p.text) > 10);
        assert_null(host);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(upstream_url__each_scheme_has_its_port_and_tls),
        cmocka_unit_test(upstream_url__mistakes_are_explained),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
