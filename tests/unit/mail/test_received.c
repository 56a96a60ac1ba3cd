/* The Received field. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "base/slice.h"
#include "smx/message.h"

static void assert_field(const smx_received *received, const char *expected)
{
    char out[SMX_RECEIVED_MAX];
    size_t len = 0;
    assert_int_equal(smx_received_write(received, out, sizeof(out), &len), 0);
    if (len != strlen(expected) || memcmp(out, expected, len) != 0)
        fail_msg("\"%.*s\" is not \"%s\"", (int)len, out, expected);
    /* It is one field, as it stands. */
    size_t at = 0;
    smx_field field;
    assert_true(smx_field_next(slice_of(out, len), &at, &field));
    assert_int_equal(at, len);
    assert_true(slice_equal(field.name, SMX_SLICE("Received")));
    for (size_t room = 0; room < len; room++)
        assert_int_equal(smx_received_write(received, out, room, &at), SMX_E_RANGE);
    assert_int_equal(at, len);
}

static smx_address address_of(const char *text)
{
    smx_address address;
    assert_int_equal(smx_address_parse(slice_of_text(text), &address), 0);
    return address;
}

#define DATE "\r\n\tTue, 14 Nov 2023 22:13:20 +0000\r\n"

static const uint64_t moment = 1700000000000;

static void received__full(void **state)
{
    (void)state;
    smx_address client = address_of("192.0.2.1");
    smx_received received = {.helo = SMX_SLICE("client.example"),
                             .client = &client,
                             .by = SMX_SLICE("mux.example.com"),
                             .protocol = SMX_SLICE("ESMTPSA"),
                             .id = SMX_SLICE("4f2a"),
                             .recipient = SMX_SLICE("joe@example.org"),
                             .tls = SMX_SLICE("TLSv1.3 TLS_AES_256_GCM_SHA384"),
                             .wall_ms = moment};
    assert_field(&received, "Received: from client.example ([192.0.2.1])\r\n"
                            "\tby mux.example.com with ESMTPSA\r\n"
                            "\t(TLSv1.3 TLS_AES_256_GCM_SHA384)\r\n"
                            "\tid 4f2a\r\n"
                            "\tfor <joe@example.org>;" DATE);
}

static void received__what_is_empty_is_left_out(void **state)
{
    (void)state;
    smx_received received = {.by = SMX_SLICE("mux"), .wall_ms = moment};
    assert_field(&received, "Received: by mux;" DATE);
    received.protocol = SMX_SLICE("SMTP");
    assert_field(&received, "Received: by mux with SMTP;" DATE);
    received.helo = SMX_SLICE("h");
    assert_field(&received, "Received: from h\r\n\tby mux with SMTP;" DATE);
}

static void received__clients_of_every_family(void **state)
{
    (void)state;
    smx_address client = address_of("2001:db8::1");
    smx_received received = {.client = &client, .by = SMX_SLICE("mux"), .wall_ms = moment};
    assert_field(&received, "Received: from unknown ([IPv6:2001:db8::1])\r\n\tby mux;" DATE);
    client = (smx_address){.family = 1};
    received.helo = SMX_SLICE("app");
    assert_field(&received, "Received: from app (unix)\r\n\tby mux;" DATE);
    client = (smx_address){.family = 0};
    assert_field(&received, "Received: from app\r\n\tby mux;" DATE);
}

static void received__a_date_that_is_given_is_written(void **state)
{
    (void)state;
    smx_received received = {
        .by = SMX_SLICE("mux"), .wall_ms = 1, .date = SMX_SLICE("Tue, 14 Nov 2023 22:13:20 +0000")};
    assert_field(&received, "Received: by mux;" DATE);
}

/* ATTACKS 20: what peers say cannot leave its place. */
static void received__octets_out_of_place_become_question_marks(void **state)
{
    (void)state;
    smx_received received = {.helo = SMX_SLICE("a b\r\nX: (y);\0\xff[1.2.3.4]"),
                             .by = SMX_SLICE("m\xc3\xbcx"),
                             .recipient = SMX_SLICE("\"a b\">\r\n@x"),
                             .tls = SMX_SLICE("a)\r\n(\\b c"),
                             .wall_ms = moment};
    assert_field(&received, "Received: from a?b??X:??y????[1.2.3.4]\r\n"
                            "\tby m\xc3\xbcx\r\n"
                            "\t(a?????b c)\r\n"
                            "\tfor <\"a b\"???@x>;" DATE);
}

static void received__longer_than_its_limit_is_refused(void **state)
{
    (void)state;
    static char helo[SMX_RECEIVED_MAX];
    static char out[2 * SMX_RECEIVED_MAX];
    size_t len = 0;
    memset(helo, 'a', sizeof(helo));
    smx_received received = {.helo = slice_of(helo, sizeof(helo)), .by = SMX_SLICE("m")};
    assert_int_equal(smx_received_write(&received, out, sizeof(out), &len), SMX_E_RANGE);
}

static void received_protocol__every_combination(void **state)
{
    (void)state;
    static const struct {
        bool esmtp, lmtp, utf8, tls, auth;
        const char *name;
    } cases[] = {
        {false, false, false, false, false, "SMTP"},
        {true, false, false, false, false, "ESMTP"},
        {true, false, false, true, false, "ESMTPS"},
        {true, false, false, false, true, "ESMTPA"},
        {true, false, false, true, true, "ESMTPSA"},
        {true, true, false, false, false, "LMTP"},
        {false, true, false, false, false, "LMTP"},
        {true, true, false, true, true, "LMTPSA"},
        {true, false, true, false, false, "UTF8SMTP"},
        {true, false, true, true, true, "UTF8SMTPSA"},
        {true, true, true, false, true, "UTF8LMTPA"},
        {true, true, true, true, false, "UTF8LMTPS"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        smx_slice name = smx_received_protocol(cases[i].esmtp, cases[i].lmtp, cases[i].utf8,
                                               cases[i].tls, cases[i].auth);
        assert_true(slice_equal(name, slice_of_text(cases[i].name)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(received__full),
        cmocka_unit_test(received__what_is_empty_is_left_out),
        cmocka_unit_test(received__clients_of_every_family),
        cmocka_unit_test(received__a_date_that_is_given_is_written),
        cmocka_unit_test(received__octets_out_of_place_become_question_marks),
        cmocka_unit_test(received__longer_than_its_limit_is_refused),
        cmocka_unit_test(received_protocol__every_combination),
    };
    (void)setenv("TZ", "UTC", 1);
    tzset();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
