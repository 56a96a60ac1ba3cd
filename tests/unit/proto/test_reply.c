/* The reply parser's contract: no octet twice, one parser for reply after reply, and what comes
 * of a reply's lines. */
#include "test_proto.h"

/* Octets that were looked at are spoiled: looking again would be an error of protocol. */
static void proto_reply__no_octet_is_looked_at_twice(void **state)
{
    (void)state;
    buffer text = {0};
    for (int line = 0; line < 15; line++) {
        assert_int_equal(buffer_append_text(&text, "250-"), 0);
        for (int i = 0; i < 4000; i++)
            assert_int_equal(buffer_append_char(&text, 'x'), 0);
        assert_int_equal(buffer_append_text(&text, "\r\n"), 0);
    }
    assert_int_equal(buffer_append_text(&text, "250 end\r\n"), 0);
    smx_reply_parser parser = {0};
    smx_reply_lines reply;
    size_t consumed = 0;
    size_t len = 1;
    int error;
    do {
        error = smx_reply_parse(&parser, slice_of(text.data, len), &reply, &consumed);
        if (len >= 2 && text.data[len - 2] == 'x')
            text.data[len - 2] = '\0';
        len++;
    } while (error == SMX_E_AGAIN && len <= buffer_length(&text));
    assert_int_equal(error, 0);
    assert_int_equal(consumed, buffer_length(&text));
    assert_int_equal(reply.count, 16);
    buffer_free(&text);
}

static void proto_reply__replies_follow_one_another(void **state)
{
    (void)state;
    smx_slice in = SMX_SLICE("250-a\r\n250 b\r\n354 c\r\n5");
    smx_reply_parser parser = {0};
    smx_reply_lines reply;
    size_t consumed;
    assert_int_equal(smx_reply_parse(&parser, in, &reply, &consumed), 0);
    assert_int_equal(reply.code, 250);
    in = slice_from(in, consumed);
    parser = (smx_reply_parser){0};
    assert_int_equal(smx_reply_parse(&parser, in, &reply, &consumed), 0);
    assert_int_equal(reply.code, 354);
    in = slice_from(in, consumed);
    parser = (smx_reply_parser){0};
    assert_int_equal(smx_reply_parse(&parser, in, &reply, &consumed), SMX_E_AGAIN);
    assert_int_equal(parser.scanned, 1);
}

static void proto_reply__nothing_is_written_on_failure(void **state)
{
    (void)state;
    smx_reply_parser parser = {0};
    smx_reply_lines reply = {.code = 7};
    size_t consumed = 77;
    assert_int_equal(smx_reply_parse(&parser, SMX_SLICE("25x"), &reply, &consumed), SMX_E_PROTOCOL);
    assert_int_equal(reply.code, 7);
    assert_int_equal(consumed, 77);
}

static void proto_reply__lines_are_without_code_and_end(void **state)
{
    (void)state;
    smx_slice in = SMX_SLICE("250-one\r\n250-\r\n250\r\n");
    smx_reply_parser parser = {0};
    smx_reply_lines reply;
    smx_slice line;
    size_t consumed;
    size_t at = 0;
    assert_int_equal(smx_reply_parse(&parser, in, &reply, &consumed), 0);
    assert_true(smx_reply_next_line(&reply, &at, &line));
    assert_slice(line, "one");
    assert_true(smx_reply_next_line(&reply, &at, &line));
    assert_slice(line, "");
    assert_true(smx_reply_next_line(&reply, &at, &line));
    assert_slice(line, "");
    assert_false(smx_reply_next_line(&reply, &at, &line));
}

static void proto_reply_write__every_code_is_written_and_read(void **state)
{
    (void)state;
    for (uint16_t code = 200; code <= 599; code++) {
        smx_reply reply = {code, {(uint16_t)(code / 100), 0, 0}, SMX_SLICE("a\nb")};
        char out[64];
        size_t len;
        size_t consumed;
        smx_reply_parser parser = {0};
        smx_reply_lines back;
        assert_int_equal(smx_reply_write(&reply, true, out, sizeof(out), &len), 0);
        assert_int_equal(smx_reply_parse(&parser, slice_of(out, len), &back, &consumed), 0);
        assert_int_equal(back.code, code);
        assert_int_equal(back.enhanced.class_digit, code / 100 == 3 ? 0 : code / 100);
        assert_int_equal(back.count, 2);
    }
}

static void proto_reply_write__size_is_enough_for_every_text(void **state)
{
    (void)state;
    char text[1600];
    memset(text, 'x', sizeof(text));
    for (size_t i = 490; i + 1 < sizeof(text); i += 497)
        memcpy(text + i, "\xe2\x82\xac", 3);
    for (size_t len = 0; len < sizeof(text) - 8; len++) {
        smx_reply reply = {550, {5, 999, 999}, slice_of(text, len)};
        char out[4096];
        size_t written = 0;
        size_t size = smx_reply_size(&reply);
        assert_true(size <= sizeof(out));
        assert_int_equal(smx_reply_write(&reply, true, out, size, &written), 0);
        assert_true(written <= size);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(proto_reply__no_octet_is_looked_at_twice),
        cmocka_unit_test(proto_reply__replies_follow_one_another),
        cmocka_unit_test(proto_reply__nothing_is_written_on_failure),
        cmocka_unit_test(proto_reply__lines_are_without_code_and_end),
        cmocka_unit_test(proto_reply_write__every_code_is_written_and_read),
        cmocka_unit_test(proto_reply_write__size_is_enough_for_every_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
