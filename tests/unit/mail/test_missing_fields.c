/* Date and Message-ID where there are none. */
#include "mail/missing_fields.h"

#include "support/unit_test.h"

#define DATE "Date: Thu, 1 Jan 1970 00:00:00 +0000\r\n"
#define ID   "Message-ID: <0a1b@mux.example>\r\n"

static void assert_added(const char *header, bool date, bool message_id, const char *expected)
{
    buffer out = {0};
    missing_fields wanted = {.date = date,
                             .message_id = message_id,
                             .id = SMX_SLICE("0a1b"),
                             .host = SMX_SLICE("mux.example")};
    assert_int_equal(missing_fields_write(&wanted, slice_of_text(header), &out), 0);
    assert_slice(buffer_slice(&out), expected);
    buffer_free(&out);
}

static void missing_fields__both_are_added_where_there_is_neither(void **state)
{
    (void)state;
    assert_added("Subject: x\r\n", true, true, DATE ID);
    assert_added("", true, true, DATE ID);
    assert_added("Resent-Date: x\r\nX-Date: y\r\nReceived: a;\r\n Date: z\r\n", true, true,
                 DATE ID);
    assert_added("no field\r\nDate\r\n", true, true, DATE ID);
}

static void missing_fields__what_is_there_stays(void **state)
{
    (void)state;
    assert_added("date: today\r\n", true, true, ID);
    assert_added("DATE :\r\n today\r\n", true, true, ID);
    assert_added("Message-Id: <a@b>\r\n", true, true, DATE);
    assert_added("Message-ID:\r\nDate:\r\n", true, true, "");
}

static void missing_fields__only_those_that_are_wanted(void **state)
{
    (void)state;
    assert_added("Subject: x\r\n", false, false, "");
    assert_added("Subject: x\r\n", true, false, DATE);
    assert_added("Subject: x\r\n", false, true, ID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(missing_fields__both_are_added_where_there_is_neither),
        cmocka_unit_test(missing_fields__what_is_there_stays),
        cmocka_unit_test(missing_fields__only_those_that_are_wanted),
    };
    return cmocka_run_group_tests_name("missing_fields", tests, NULL, NULL);
}
