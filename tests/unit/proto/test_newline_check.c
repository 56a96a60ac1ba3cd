/* The newline check: every fault at every place of a few blocks, and nowhere else. */
#include "test_proto.h"

enum { CHECK_LEN = 300 };

static uint8_t check_feed(const char *text, size_t chunk)
{
    smx_newline_check check = {0};
    for (size_t at = 0; at < CHECK_LEN; at += chunk)
        smx_newline_check_feed(
            &check, slice_of(text + at, CHECK_LEN - at < chunk ? CHECK_LEN - at : chunk));
    smx_newline_check_end(&check);
    return check.faults;
}

static void check_everywhere(char c, uint8_t fault)
{
    char text[CHECK_LEN];
    for (size_t place = 0; place < CHECK_LEN; place++) {
        memset(text, 'x', sizeof(text));
        text[place] = c;
        for (size_t chunk = 1; chunk <= CHECK_LEN; chunk += chunk < 70 ? 1 : 23)
            assert_int_equal(check_feed(text, chunk), fault);
    }
}

static void proto_newline_check__bare_cr_is_found_at_every_place(void **state)
{
    (void)state;
    check_everywhere('\r', SMX_FAULT_BARE_CR);
}

static void proto_newline_check__bare_lf_is_found_at_every_place(void **state)
{
    (void)state;
    check_everywhere('\n', SMX_FAULT_BARE_LF);
}

static void proto_newline_check__nul_is_found_at_every_place(void **state)
{
    (void)state;
    check_everywhere('\0', SMX_FAULT_NUL);
}

static void proto_newline_check__no_other_octet_is_a_fault(void **state)
{
    (void)state;
    for (int c = 1; c < 256; c++) {
        if (c == '\r' || c == '\n')
            continue;
        char text[CHECK_LEN];
        memset(text, c, sizeof(text));
        assert_int_equal(check_feed(text, CHECK_LEN), 0);
        assert_int_equal(check_feed(text, 7), 0);
    }
}

static void proto_newline_check__crlf_is_right_at_every_place(void **state)
{
    (void)state;
    char text[CHECK_LEN];
    for (size_t place = 0; place + 1 < CHECK_LEN; place++) {
        memset(text, 'x', sizeof(text));
        memcpy(text + place, "\r\n", 2);
        for (size_t chunk = 1; chunk <= CHECK_LEN; chunk += chunk < 70 ? 1 : 23)
            assert_int_equal(check_feed(text, chunk), 0);
    }
}

static void proto_newline_check__cr_before_the_end_is_known_only_at_the_end(void **state)
{
    (void)state;
    smx_newline_check check = {0};
    smx_newline_check_feed(&check, SMX_SLICE("a\r"));
    assert_int_equal(check.faults, 0);
    smx_newline_check_end(&check);
    assert_int_equal(check.faults, SMX_FAULT_BARE_CR);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(proto_newline_check__bare_cr_is_found_at_every_place),
        cmocka_unit_test(proto_newline_check__bare_lf_is_found_at_every_place),
        cmocka_unit_test(proto_newline_check__nul_is_found_at_every_place),
        cmocka_unit_test(proto_newline_check__no_other_octet_is_a_fault),
        cmocka_unit_test(proto_newline_check__crlf_is_right_at_every_place),
        cmocka_unit_test(proto_newline_check__cr_before_the_end_is_known_only_at_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
