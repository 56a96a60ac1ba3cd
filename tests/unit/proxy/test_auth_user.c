/* Who an AUTH dialogue names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/auth_user.h"
#include "smx/proto.h"

static smx_slice encoded(const char *text, size_t len, char *out, size_t capacity)
{
    size_t written = 0;
    assert_int_equal(smx_base64_encode(slice_of(text, len), out, capacity, &written), 0);
    return slice_of(out, written);
}

typedef struct row {
    const char *mechanism;
    const char *response;
    size_t len;
    const char *user;
} row;
#define ROW(mechanism, response, user)                                                             \
    {                                                                                              \
        mechanism, response, sizeof(response) - 1, user                                            \
    }

static const row rows[] = {
    ROW("PLAIN", "\0tim\0secret", "tim"),
    ROW("plain", "admin\0tim\0secret", "tim"),
    ROW("PLAIN", "tim", ""),
    ROW("PLAIN", "", ""),
    ROW("LOGIN", "tim@example.org", "tim@example.org"),
    ROW("CRAM-MD5", "tim b913a602c7eda7a495b4e6e7334d3890", "tim"),
    ROW("CRAM-MD5", "tim kim b913a602", "tim kim"),
    ROW("XOAUTH2", "user=tim@example.org\1auth=Bearer token\1\1", "tim@example.org"),
    ROW("XOAUTH2", "auth=Bearer token\1\1", ""),
    ROW("OAUTHBEARER", "n,a=tim@example.org,\1host=x\1auth=Bearer t\1\1", "tim@example.org"),
    ROW("OAUTHBEARER", "n,,\1auth=Bearer t\1\1", ""),
    ROW("SCRAM-SHA-256", "n,,n=tim,r=rOprNGfwEbeRWgbNEkqO", "tim"),
    ROW("SCRAM-SHA-1", "y,a=boss,n=a=2Cb=3Dc,r=nonce", "a,b=c"),
    ROW("SCRAM-SHA-1", "n,,m=x", ""),
    ROW("SCRAM-SHA-1", "", ""),
    ROW("GSSAPI", "\0tim\0secret", ""),
};

/* By an initial response, and behind an empty challenge. */
static void proxy_auth_user__each_mechanism_names_its_user(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const row *r = &rows[i];
        char base64[256];
        char argument[512];
        auth_user a = {0};
        smx_slice response = encoded(r->response, r->len, base64, sizeof(base64));
        int len = snprintf(argument, sizeof(argument), "%s %.*s", r->mechanism, (int)response.len,
                           response.data);
        auth_user_begin(&a, slice_of(argument, (size_t)len));
        assert_true(slice_equal(auth_user_name(&a), slice_of_text(r->user)));
        auth_user_begin(&a, slice_of_text(r->mechanism));
        assert_int_equal(auth_user_name(&a).len, 0);
        auth_user_response(&a, response);
        assert_true(slice_equal(auth_user_name(&a), slice_of_text(r->user)));
        auth_user_response(&a, SMX_SLICE("b3RoZXI="));
        assert_true(slice_equal(auth_user_name(&a), slice_of_text(r->user)));
        auth_user_free(&a);
    }
}

static void proxy_auth_user__octets_that_are_no_base64_name_nobody(void **state)
{
    (void)state;
    auth_user a = {0};
    auth_user_begin(&a, SMX_SLICE("LOGIN dGlt!"));
    assert_int_equal(auth_user_name(&a).len, 0);
    auth_user_begin(&a, SMX_SLICE("LOGIN ="));
    assert_int_equal(auth_user_name(&a).len, 0);
    auth_user_begin(&a, SMX_SLICE(""));
    assert_int_equal(auth_user_name(&a).len, 0);
    auth_user_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(proxy_auth_user__each_mechanism_names_its_user),
        cmocka_unit_test(proxy_auth_user__octets_that_are_no_base64_name_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
