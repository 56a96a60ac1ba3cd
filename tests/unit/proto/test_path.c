/* Paths: what the parser promises its callers beyond what the transcripts show. */
#include "test_proto.h"

static void proto_path__slices_point_into_the_input(void **state)
{
    (void)state;
    smx_slice in = SMX_SLICE("<@r.example:user@example.com>");
    smx_path path;
    size_t consumed;
    assert_int_equal(smx_path_parse(in, 0, &path, &consumed), 0);
    assert_ptr_equal(path.mailbox.data, in.data + 12);
    assert_ptr_equal(path.local.data, in.data + 12);
    assert_ptr_equal(path.domain.data, in.data + 17);
}

static void proto_path__nothing_is_written_on_failure(void **state)
{
    (void)state;
    smx_path path = {.domain_kind = SMX_DOMAIN_LITERAL};
    size_t consumed = 77;
    assert_int_equal(smx_path_parse(SMX_SLICE("<a@b"), 0, &path, &consumed), SMX_E_SYNTAX);
    assert_int_equal(smx_path_parse(SMX_SLICE("<a@\xc3\xa4>"), 0, &path, &consumed),
                     SMX_E_UNSUPPORTED);
    assert_int_equal(smx_mailbox_parse(SMX_SLICE("a@b>"), 0, &path), SMX_E_SYNTAX);
    assert_int_equal(path.domain_kind, SMX_DOMAIN_LITERAL);
    assert_int_equal(consumed, 77);
}

/* RFC 5321 section 4.1.2: atext and the dot, each octet alone as a local-part. */
static void proto_path__every_octet_as_a_local_part(void **state)
{
    (void)state;
    static const char marks[] = "!#$%&'*+-/=?^_`{|}~";
    for (int c = 0; c < 256; c++) {
        char text[] = "?@example.com";
        text[0] = (char)c;
        smx_path path;
        bool right = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                     (c != 0 && strchr(marks, c) != NULL);
        int error = smx_mailbox_parse(slice_of_text(c == 0 ? "" : text), SMX_PATH_UTF8, &path);
        assert_int_equal(error == 0, right);
    }
}

static void proto_path__every_octet_in_a_quoted_string(void **state)
{
    (void)state;
    for (int c = 0; c < 256; c++) {
        char plain[] = "\"?\"@example.com";
        char pair[] = "\"\\?\"@example.com";
        smx_path path;
        plain[1] = (char)c;
        pair[2] = (char)c;
        bool printable = c >= ' ' && c <= '~';
        assert_int_equal(smx_mailbox_parse(slice_of(plain, sizeof(plain) - 1), 0, &path) == 0,
                         printable && c != '"' && c != '\\');
        assert_int_equal(smx_mailbox_parse(slice_of(pair, sizeof(pair) - 1), 0, &path) == 0,
                         printable);
    }
}

static void proto_path__every_prefix_of_a_path_is_refused(void **state)
{
    (void)state;
    smx_slice whole = SMX_SLICE("<@a.example,@b.example:\"q\\\"x\"@[IPv6:2001:db8::1]>");
    smx_path path;
    size_t consumed;
    for (size_t len = 0; len < whole.len; len++) {
        char *exact = malloc(len + 1);
        memcpy(exact, whole.data, len);
        assert_int_equal(smx_path_parse(slice_of(exact, len), SMX_PATH_NULL, &path, &consumed),
                         SMX_E_SYNTAX);
        free(exact);
    }
    assert_int_equal(smx_path_parse(whole, 0, &path, &consumed), 0);
    assert_int_equal(path.domain_kind, SMX_DOMAIN_IPV6);
}

static void proto_domain__kind_may_be_null(void **state)
{
    (void)state;
    assert_true(smx_domain_is_valid(SMX_SLICE("example.com"), false, NULL));
    assert_false(smx_domain_is_valid(SMX_SLICE("example..com"), false, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(proto_path__slices_point_into_the_input),
        cmocka_unit_test(proto_path__nothing_is_written_on_failure),
        cmocka_unit_test(proto_path__every_octet_as_a_local_part),
        cmocka_unit_test(proto_path__every_octet_in_a_quoted_string),
        cmocka_unit_test(proto_path__every_prefix_of_a_path_is_refused),
        cmocka_unit_test(proto_domain__kind_may_be_null),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
