/* xtext and base64 over every octet, and every length. */
#include "test_proto.h"

static void proto_xtext__every_octet_survives(void **state)
{
    (void)state;
    char octets[256];
    char text[768];
    char back[256];
    size_t len;
    size_t back_len;
    for (int c = 0; c < 256; c++)
        octets[c] = (char)c;
    assert_int_equal(smx_xtext_encode(slice_of(octets, 256), text, sizeof(text), &len), 0);
    for (size_t i = 0; i < len; i++)
        assert_in_range(text[i], '!', '~');
    assert_int_equal(smx_xtext_decode(slice_of(text, len), back, sizeof(back), &back_len), 0);
    assert_int_equal(back_len, 256);
    assert_memory_equal(back, octets, 256);
}

static void proto_xtext__only_upper_case_digits(void **state)
{
    (void)state;
    for (int c = 0; c < 256; c++) {
        char text[3] = {'+', '4', (char)c};
        char out;
        size_t len;
        bool right = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F');
        assert_int_equal(smx_xtext_decode(slice_of(text, 3), &out, 1, &len) == 0, right);
    }
}

static void proto_base64__every_length_survives(void **state)
{
    (void)state;
    char octets[256];
    char text[400];
    char back[256];
    for (int c = 0; c < 256; c++)
        octets[c] = (char)(c * 151 + 7);
    for (size_t count = 0; count <= 256; count++) {
        size_t len;
        size_t back_len;
        assert_int_equal(smx_base64_encode(slice_of(octets, count), text, sizeof(text), &len), 0);
        assert_int_equal(len, smx_base64_size(count));
        assert_int_equal(len, (count + 2) / 3 * 4);
        assert_int_equal(smx_base64_decode(slice_of(text, len), back, count, &back_len), 0);
        assert_int_equal(back_len, count);
        assert_memory_equal(back, octets, count);
    }
}

static void proto_base64__only_its_letters(void **state)
{
    (void)state;
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (int c = 0; c < 256; c++) {
        char text[4] = {'A', (char)c, 'A', 'A'};
        char out[3];
        size_t len;
        const char *hit = c == 0 ? NULL : strchr(letters, c);
        int error = smx_base64_decode(slice_of(text, 4), out, 3, &len);
        assert_int_equal(error, hit == NULL ? SMX_E_SYNTAX : 0);
        if (hit != NULL)
            assert_int_equal((unsigned char)out[0] << 4 | (unsigned char)out[1] >> 4,
                             hit - letters);
    }
}

static void proto_base64__nothing_is_written_on_failure(void **state)
{
    (void)state;
    char out[8];
    size_t len = 77;
    assert_int_equal(smx_base64_decode(SMX_SLICE("Zm9"), out, 8, &len), SMX_E_SYNTAX);
    assert_int_equal(smx_base64_decode(SMX_SLICE("Zm9v"), out, 2, &len), SMX_E_RANGE);
    assert_int_equal(smx_base64_encode(SMX_SLICE("foo"), out, 3, &len), SMX_E_RANGE);
    assert_int_equal(smx_xtext_decode(SMX_SLICE("+"), out, 8, &len), SMX_E_SYNTAX);
    assert_int_equal(len, 77);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(proto_xtext__every_octet_survives),
        cmocka_unit_test(proto_xtext__only_upper_case_digits),
        cmocka_unit_test(proto_base64__every_length_survives),
        cmocka_unit_test(proto_base64__only_its_letters),
        cmocka_unit_test(proto_base64__nothing_is_written_on_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
