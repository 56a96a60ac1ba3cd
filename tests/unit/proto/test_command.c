/* Verbs and their limits, from the map in the header; BDAT's contract. */
#include "test_proto.h"

static void proto_command__every_verb_of_the_map_is_known(void **state)
{
    (void)state;
#define CHECK_VERB(name_, text, limit)                                                             \
    {                                                                                              \
        smx_command command;                                                                       \
        smx_command_parse(SMX_SLICE(text " x"), &command);                                         \
        assert_int_equal(command.verb, SMX_VERB_##name_);                                          \
        assert_string_equal(smx_verb_text(command.verb), text);                                    \
        assert_int_equal(smx_verb_line_max(command.verb), limit);                                  \
        assert_int_equal(smx_line_limit(SMX_SLICE(text " ")), limit);                              \
    }
    SMX_VERB_MAP(CHECK_VERB)
#undef CHECK_VERB
}

static void proto_command__unknown_verb_has_no_text(void **state)
{
    (void)state;
    assert_null(smx_verb_text(SMX_VERB_UNKNOWN));
    assert_null(smx_verb_text(SMX_VERB_COUNT));
    assert_int_equal(smx_verb_line_max(SMX_VERB_UNKNOWN), 512);
    assert_int_equal(smx_verb_line_max(SMX_VERB_COUNT), 512);
}

static void proto_line_limit__shrinks_while_a_line_grows(void **state)
{
    (void)state;
    static const size_t limits[] = {12288, 2048, 2048, 2048, 2048, 2048};
    for (size_t len = 0; len < TEST_COUNT(limits); len++)
        assert_int_equal(smx_line_limit(slice_of("MAIL ", len)), limits[len]);
}

static void proto_bdat__nothing_is_written_on_failure(void **state)
{
    (void)state;
    uint64_t size = 77;
    bool last = true;
    assert_int_equal(smx_bdat_parse(SMX_SLICE("12 LASTX"), &size, &last), SMX_E_SYNTAX);
    assert_int_equal(smx_bdat_parse(SMX_SLICE("18446744073709551616"), &size, &last), SMX_E_RANGE);
    assert_int_equal(size, 77);
    assert_true(last);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(proto_command__every_verb_of_the_map_is_known),
        cmocka_unit_test(proto_command__unknown_verb_has_no_text),
        cmocka_unit_test(proto_line_limit__shrinks_while_a_line_grows),
        cmocka_unit_test(proto_bdat__nothing_is_written_on_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
