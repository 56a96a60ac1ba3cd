/* Another address in the From field (DESIGN 4.11), and every other octet as it was. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mail/rewrite_from.h"
#include "other_fields.h"

static void assert_rewritten(const char *header, bool reply_to, const char *expected)
{
    buffer out = {0};
    assert_int_equal(rewrite_from(slice_of_text(header), SMX_SLICE("me@gmail.com"), reply_to, &out),
                     0);
    if (!slice_equal(buffer_slice(&out), slice_of_text(expected)))
        fail_msg("\"%.*s\" is not \"%s\"", (int)buffer_length(&out), buffer_slice(&out).data,
                 expected);
    buffer_free(&out);
}

#define KEEP(header, expected) assert_rewritten(header, false, expected)
#define ADD(header, expected)  assert_rewritten(header, true, expected)

static void rewrite_from__display_name_stays_as_it_came(void **state)
{
    (void)state;
    KEEP("From: joe@x\r\n", "From: me@gmail.com\r\n");
    KEEP("From: <joe@x>\r\n", "From: <me@gmail.com>\r\n");
    KEEP("From: Joe <joe@x>\r\n", "From: Joe <me@gmail.com>\r\n");
    KEEP("FROM:\"Doe, \\\"J\\\" <joe@x>\"<joe@x>\r\n",
         "FROM:\"Doe, \\\"J\\\" <joe@x>\"<me@gmail.com>\r\n");
    KEEP("From: =?utf-8?q?J=C3=B6?= =?utf-8?q?rg?= <joe@x>\r\n",
         "From: =?utf-8?q?J=C3=B6?= =?utf-8?q?rg?= <me@gmail.com>\r\n");
    KEEP("from : joe@x (Joe <x@y>)\r\n", "from : me@gmail.com (Joe <x@y>)\r\n");
    KEEP("From: joe@x <joe@x>\r\n", "From: joe@x <me@gmail.com>\r\n");
    KEEP("From: Joe <@a,@b:joe@x> (c)\r\n", "From: Joe <me@gmail.com> (c)\r\n");
    KEEP("From: Joe <(c) joe @ x>\r\n", "From: Joe <me@gmail.com>\r\n");
    KEEP("From: Joe <>\r\n", "From: Joe <me@gmail.com>\r\n");
}

static void rewrite_from__folded_fields(void **state)
{
    (void)state;
    KEEP("From: Joe\r\n Doe\r\n\t<joe@x>\r\nTo: y\r\n",
         "From: Joe\r\n Doe\r\n\t<me@gmail.com>\r\nTo: y\r\n");
    KEEP("From:\r\n joe@x\r\n", "From:\r\n me@gmail.com\r\n");
    KEEP("From: joe\r\n @\r\n x\r\n", "From: me@gmail.com\r\n");
}

static void rewrite_from__other_fields_are_untouched(void **state)
{
    (void)state;
    KEEP("Received: from joe@x\r\n\tFrom: joe@x\r\nX-From: joe@x\r\nFrom: joe@x\r\n"
         "Resent-From: joe@x\r\nSender: joe@x\r\nno field joe@x\r\nFrom joe@x Mon\r\nTo: joe@x",
         "Received: from joe@x\r\n\tFrom: joe@x\r\nX-From: joe@x\r\nFrom: me@gmail.com\r\n"
         "Resent-From: joe@x\r\nSender: joe@x\r\nno field joe@x\r\nFrom joe@x Mon\r\nTo: joe@x");
}

static void rewrite_from__several_mailboxes_become_one_and_sender_goes(void **state)
{
    (void)state;
    KEEP("Sender: s@x\r\nFrom: \"A, B\" <a@x>,\r\n C <c@x>\r\nTo: y\r\n",
         "From: \"A, B\" <me@gmail.com>\r\nTo: y\r\n");
    KEEP("From: a@x, C <c@x>\r\nSender: s@x\r\n", "From: <me@gmail.com>\r\n");
    KEEP("From: G: A <a@x>, b@x;\r\n", "From: A <me@gmail.com>\r\n");
    KEEP("From: G: A <a@x>;\r\nSender: s@x\r\n", "From: A <me@gmail.com>\r\nSender: s@x\r\n");
    KEEP("From: A <a@x>, , \r\n", "From: A <me@gmail.com>\r\n");
}

static void rewrite_from__several_fields_become_one(void **state)
{
    (void)state;
    KEEP("From: A <a@x>\r\nTo: y\r\nFROM: b@x\r\n c\r\nSender: s@x\r\nFrom : d\r\nCc: z\r\n",
         "From: A <me@gmail.com>\r\nTo: y\r\nCc: z\r\n");
}

static void rewrite_from__missing_field_is_added(void **state)
{
    (void)state;
    KEEP("To: y\r\n", "To: y\r\nFrom: <me@gmail.com>\r\n");
    KEEP("To: y", "To: y\r\nFrom: <me@gmail.com>\r\n");
    KEEP("", "From: <me@gmail.com>\r\n");
    ADD("To: y\r\n", "To: y\r\nFrom: <me@gmail.com>\r\n");
}

static void rewrite_from__field_that_cannot_be_read_is_replaced(void **state)
{
    (void)state;
    KEEP("From:\r\nTo: y\r\n", "From: <me@gmail.com>\r\nTo: y\r\n");
    KEEP("From: \"open <a@x>\r\n", "From: <me@gmail.com>\r\n");
    KEEP("From: A <a@x> <b@x>\r\n", "From: <me@gmail.com>\r\n");
    KEEP("From: A <a@x>, \"open\r\n", "From: A <me@gmail.com>\r\n");
    KEEP("From: a@x\nBcc: b@x\r\n", "From: <me@gmail.com>\r\n");
    KEEP("From: Joe Doe\r\n", "From: me@gmail.com\r\n");
    KEEP("From: G:;\r\n", "From: <me@gmail.com>\r\n");
    ADD("From: \"open <a@x>\r\n", "From: <me@gmail.com>\r\n");
    ADD("From: Joe Doe\r\n", "From: me@gmail.com\r\n");
}

static void rewrite_from__reply_to_keeps_the_old_address(void **state)
{
    (void)state;
    ADD("From: Joe\r\n <joe@x>\r\nTo: y\r\n",
        "From: Joe\r\n <me@gmail.com>\r\nReply-To: Joe\r\n <joe@x>\r\nTo: y\r\n");
    ADD("From: joe@x", "From: me@gmail.com\r\nReply-To: joe@x\r\n");
    ADD("From: a@x, b@x\r\n", "From: <me@gmail.com>\r\nReply-To: a@x, b@x\r\n");
    ADD("From: joe@x\r\nREPLY-TO: z@x\r\n", "From: me@gmail.com\r\nREPLY-TO: z@x\r\n");
    ADD("Reply-To :\r\nFrom: joe@x\r\n", "Reply-To :\r\nFrom: me@gmail.com\r\n");
    /* Nothing is lost. */
    ADD("From: Me <ME@gmail.com>\r\n", "From: Me <me@gmail.com>\r\n");
}

static void rewrite_from__address_that_is_none_is_refused(void **state)
{
    (void)state;
    static const smx_slice addresses[] = {
        SMX_SLICE(""),          SMX_SLICE("me"),          SMX_SLICE("<me@x>"),
        SMX_SLICE("me@x\r\n"),  SMX_SLICE("me@x>, <y@z"), SMX_SLICE("me@x\r\nBcc: y@z"),
        SMX_SLICE("me@x, y@z"), SMX_SLICE("me@\0x")};
    buffer out = {0};
    assert_int_equal(buffer_append_text(&out, "before"), 0);
    for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++)
        assert_int_equal(rewrite_from(SMX_SLICE("From: a@x\r\n"), addresses[i], false, &out),
                         SMX_E_INVALID);
    assert_true(slice_equal(buffer_slice(&out), SMX_SLICE("before")));
    buffer_free(&out);
}

static void rewrite_from__quoted_and_utf8_addresses(void **state)
{
    (void)state;
    static const char *const addresses[] = {"\"m e\"@x.y", "m\xc3\xa9@x.y", "me@[192.0.2.1]"};
    for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
        buffer out = {0};
        buffer expected = {0};
        assert_int_equal(buffer_printf(&expected, "From: A <%s>\r\n", addresses[i]), 0);
        assert_int_equal(
            rewrite_from(SMX_SLICE("From: A <a@x>\r\n"), slice_of_text(addresses[i]), false, &out),
            0);
        assert_true(slice_equal(buffer_slice(&out), buffer_slice(&expected)));
        buffer_free(&out);
        buffer_free(&expected);
    }
}

/* Sections of random lines: half of them fields that matter. */
static void rewrite_from__random_sections_change_only_in_from(void **state)
{
    (void)state;
    static const char *const lines[] = {"From: A <a@x>\r\n",
                                        "FROM: a@x,\r\n b@x\r\n",
                                        "From : \"open\r\n",
                                        "Sender: s@x\r\n",
                                        "reply-to: r@x\r\n",
                                        "Subject: From: a@x\r\n",
                                        "no field\r\n",
                                        " leading\r\n",
                                        "To: a@x\r\n",
                                        "X: \xff\x80\r\n",
                                        "\r\n",
                                        "Y: a\nFrom: z@x\r\n"};
    uint32_t seed = 11;
    for (size_t round = 0; round < 3000; round++) {
        buffer header = {0};
        for (size_t i = 0; i < 6; i++) {
            seed = seed * 1664525 + 1013904223;
            const char *line = lines[(seed >> 8) % (sizeof(lines) / sizeof(lines[0]))];
            assert_int_equal(buffer_append_text(&header, line), 0);
        }
        /* The empty line would end the section; here it is one more that is no field. */
        buffer out = {0};
        buffer before = {0};
        buffer after = {0};
        assert_int_equal(
            rewrite_from(buffer_slice(&header), SMX_SLICE("me@gmail.com"), round % 2 == 0, &out),
            0);
        append_others(buffer_slice(&header), &before);
        append_others(buffer_slice(&out), &after);
        assert_true(slice_equal(buffer_slice(&before), buffer_slice(&after)));
        assert_int_equal(smx_field_count(buffer_slice(&out), SMX_SLICE("From")), 1);
        buffer_free(&header);
        buffer_free(&out);
        buffer_free(&before);
        buffer_free(&after);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rewrite_from__display_name_stays_as_it_came),
        cmocka_unit_test(rewrite_from__folded_fields),
        cmocka_unit_test(rewrite_from__other_fields_are_untouched),
        cmocka_unit_test(rewrite_from__several_mailboxes_become_one_and_sender_goes),
        cmocka_unit_test(rewrite_from__several_fields_become_one),
        cmocka_unit_test(rewrite_from__missing_field_is_added),
        cmocka_unit_test(rewrite_from__field_that_cannot_be_read_is_replaced),
        cmocka_unit_test(rewrite_from__reply_to_keeps_the_old_address),
        cmocka_unit_test(rewrite_from__address_that_is_none_is_refused),
        cmocka_unit_test(rewrite_from__quoted_and_utf8_addresses),
        cmocka_unit_test(rewrite_from__random_sections_change_only_in_from),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
