/* The dot encoder's contract: runs, constants, held-back CR, faults before their octet. */
#include "test_proto.h"

static void proto_dot_encode__ordinary_text_is_one_run(void **state)
{
    (void)state;
    buffer text = {0};
    for (int line = 0; line < 1000; line++)
        assert_int_equal(buffer_append_text(&text, "An ordinary line. With dots... in it.\r\n"), 0);
    smx_dot_encoder encoder = {0};
    smx_slice in = buffer_slice(&text);
    smx_slice piece;
    assert_int_equal(smx_dot_encode(&encoder, in, &piece), in.len);
    assert_ptr_equal(piece.data, in.data);
    assert_int_equal(piece.len, in.len);
    assert_slice(smx_dot_end(&encoder), ".\r\n");
    buffer_free(&text);
}

static void proto_dot_encode__dot_is_put_in_as_a_piece_of_its_own(void **state)
{
    (void)state;
    smx_dot_encoder encoder = {0};
    smx_slice in = SMX_SLICE(".a");
    smx_slice piece;
    assert_int_equal(smx_dot_encode(&encoder, in, &piece), 0);
    assert_slice(piece, ".");
    assert_int_equal(smx_dot_encode(&encoder, in, &piece), 2);
    assert_slice(piece, ".a");
}

static void proto_dot_encode__cr_at_the_end_of_a_piece_is_held_back(void **state)
{
    (void)state;
    smx_dot_encoder encoder = {0};
    smx_slice piece;
    assert_int_equal(smx_dot_encode(&encoder, SMX_SLICE("a\r"), &piece), 2);
    assert_slice(piece, "a");
    assert_int_equal(smx_dot_encode(&encoder, SMX_SLICE("\nb"), &piece), 1);
    assert_slice(piece, "\r\n");
    assert_int_equal(smx_dot_encode(&encoder, SMX_SLICE("b"), &piece), 1);
    assert_slice(piece, "b");
    assert_int_equal(encoder.faults, 0);
}

static void proto_dot_encode__held_back_cr_is_never_sent_when_it_is_bare(void **state)
{
    (void)state;
    smx_dot_encoder encoder = {0};
    smx_slice piece;
    assert_int_equal(smx_dot_encode(&encoder, SMX_SLICE("a\r"), &piece), 2);
    assert_int_equal(smx_dot_encode(&encoder, SMX_SLICE("b"), &piece), 0);
    assert_int_equal(piece.len, 0);
    assert_int_equal(encoder.faults, SMX_FAULT_BARE_CR);
    assert_int_equal(smx_dot_end(&encoder).len, 0);
}

static void proto_dot_encode__good_octets_before_a_fault_go_first(void **state)
{
    (void)state;
    smx_dot_encoder encoder = {0};
    smx_slice in = SMX_SLICE("good\nbad");
    smx_slice piece;
    assert_int_equal(smx_dot_encode(&encoder, in, &piece), 4);
    assert_slice(piece, "good");
    assert_int_equal(encoder.faults, 0);
    assert_int_equal(smx_dot_encode(&encoder, slice_from(in, 4), &piece), 0);
    assert_int_equal(piece.len, 0);
    assert_int_equal(encoder.faults, SMX_FAULT_BARE_LF);
}

static void proto_dot_encode__nothing_goes_on_after_a_fault(void **state)
{
    (void)state;
    smx_dot_encoder encoder = {0};
    smx_slice piece;
    assert_int_equal(smx_dot_encode(&encoder, SMX_SLICE("\n"), &piece), 0);
    assert_int_equal(smx_dot_encode(&encoder, SMX_SLICE("good"), &piece), 0);
    assert_int_equal(piece.len, 0);
    assert_int_equal(smx_dot_end(&encoder).len, 0);
}

static void proto_dot_end__bare_cr_at_the_end_is_a_fault(void **state)
{
    (void)state;
    smx_dot_encoder encoder = {0};
    smx_slice piece;
    assert_int_equal(smx_dot_encode(&encoder, SMX_SLICE("a\r"), &piece), 2);
    assert_int_equal(smx_dot_end(&encoder).len, 0);
    assert_int_equal(encoder.faults, SMX_FAULT_BARE_CR);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(proto_dot_encode__ordinary_text_is_one_run),
        cmocka_unit_test(proto_dot_encode__dot_is_put_in_as_a_piece_of_its_own),
        cmocka_unit_test(proto_dot_encode__cr_at_the_end_of_a_piece_is_held_back),
        cmocka_unit_test(proto_dot_encode__held_back_cr_is_never_sent_when_it_is_bare),
        cmocka_unit_test(proto_dot_encode__good_octets_before_a_fault_go_first),
        cmocka_unit_test(proto_dot_encode__nothing_goes_on_after_a_fault),
        cmocka_unit_test(proto_dot_end__bare_cr_at_the_end_is_a_fault),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
