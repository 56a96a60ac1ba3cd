/* The table of octets against the grammars, written out; runs of octets at every length. */
#include "test_proto.h"

#include "proto/octet.h"
#include "proto/utf8.h"

static bool octet_is_one_of(int c, const char *octets)
{
    return c != 0 && strchr(octets, c) != NULL;
}

static bool octet_is_alnum(int c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static void proto_octet__classes_are_the_grammars(void **state)
{
    (void)state;
    for (int c = 0; c < 256; c++) {
        bool printable = c > ' ' && c < 0x7f;
        bool atext = octet_is_alnum(c) || octet_is_one_of(c, "!#$%&'*+-/=?^_`{|}~");
        assert_int_equal(octet_is((char)c, OCTET_LET_DIG), octet_is_alnum(c));
        assert_int_equal(octet_is((char)c, OCTET_HYPHEN), c == '-');
        assert_int_equal(octet_is((char)c, OCTET_ATEXT), atext);
        assert_int_equal(octet_is((char)c, OCTET_NON_ASCII), c >= 0x80);
        assert_int_equal(octet_is((char)c, OCTET_VALUE), printable && c != '=');
        assert_int_equal(octet_is((char)c, OCTET_SHOWN), printable || c == ' ' || c == '\t');
        assert_int_equal(octet_is((char)c, OCTET_PATH_MARK), octet_is_one_of(c, ">,:"));
    }
}

/* One octet among ordinary ones, at every place of texts of every length. */
static void proto_octet__a_run_ends_at_every_place(void **state)
{
    (void)state;
    char text[40];
    for (size_t len = 0; len <= sizeof(text); len++) {
        for (size_t place = 0; place <= len; place++) {
            for (int c = 0; c < 256; c++) {
                memset(text, "a ~"[c % 3], sizeof(text));
                if (place < len)
                    text[place] = (char)c;
                smx_slice in = slice_of(text, len);
                size_t shown = octet_is((char)c, OCTET_SHOWN) ? len : place;
                assert_int_equal(octet_shown(in), shown);
                assert_int_equal(utf8_is_needed(in), c >= 0x80 && place < len);
                assert_int_equal(smx_utf8_is_valid(in), c < 0x80 || place == len);
            }
        }
    }
}

static void proto_utf8__characters_are_judged_at_every_place(void **state)
{
    (void)state;
    static const struct {
        const char *octets;
        bool valid;
    } cases[] = {
        {"\xc3\xbc", true},          {"\xe2\x82\xac", true},
        {"\xf0\x9f\x93\xa7", true},  {"\xc0\xaf", false},
        {"\xed\xa0\x80", false},     {"\xf4\x90\x80\x80", false},
        {"\xe2\x82", false},         {"\x80", false},
        {"\xc3\xbc\xc3\xbc", true},  {"\xc3\xbc\xbc", false},
        {"\xf0\x9f\x93\xa7x", true}, {"\xff", false},
    };
    for (size_t i = 0; i < TEST_COUNT(cases); i++) {
        for (size_t before = 0; before < 20; before++) {
            for (size_t behind = 0; behind < 20; behind++) {
                char text[64];
                size_t len = strlen(cases[i].octets);
                memset(text, 'x', sizeof(text));
                memcpy(text + before, cases[i].octets, len);
                assert_int_equal(smx_utf8_is_valid(slice_of(text, before + len + behind)),
                                 cases[i].valid);
            }
        }
    }
}

/* A sub-code that RFC 3463 does not know is left out: it has no room in the line. */
static void proto_reply_write__a_sub_code_over_999_is_left_out(void **state)
{
    (void)state;
    char out[64];
    size_t written;
    smx_reply reply = SMX_REPLY(550, 5, 7, 1000, "no");
    assert_int_equal(smx_reply_write(&reply, true, out, sizeof(out), &written), 0);
    assert_slice(slice_of(out, written), "550 no\r\n");
    reply.enhanced.detail = 999;
    assert_int_equal(smx_reply_write(&reply, true, out, sizeof(out), &written), 0);
    assert_slice(slice_of(out, written), "550 5.7.999 no\r\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(proto_octet__classes_are_the_grammars),
        cmocka_unit_test(proto_octet__a_run_ends_at_every_place),
        cmocka_unit_test(proto_utf8__characters_are_judged_at_every_place),
        cmocka_unit_test(proto_reply_write__a_sub_code_over_999_is_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
