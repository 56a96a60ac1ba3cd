/* The dot decoder: size of the runs, contract of its calls, and ATTACKS row 5 at every boundary. */
#include "test_proto.h"

#include <stdio.h>

static void proto_dot_decode__text_without_leading_dots_is_one_run(void **state)
{
    (void)state;
    buffer text = {0};
    for (int line = 0; line < 1000; line++)
        assert_int_equal(buffer_append_text(&text, "An ordinary line. With dots... in it.\r\n"), 0);
    smx_dot_decoder decoder = {0};
    smx_slice in = buffer_slice(&text);
    smx_slice piece;
    assert_int_equal(smx_dot_decode(&decoder, in, &piece), in.len);
    assert_ptr_equal(piece.data, in.data);
    assert_int_equal(piece.len, in.len);
    assert_int_equal(decoder.faults, 0);
    buffer_free(&text);
}

static void proto_dot_decode__run_ends_only_at_a_leading_dot(void **state)
{
    (void)state;
    smx_dot_decoder decoder = {0};
    smx_slice in = SMX_SLICE("a.b\r\n..c\r\nd\r\n.\r\nQUIT");
    smx_slice piece;
    size_t taken = smx_dot_decode(&decoder, in, &piece);
    assert_int_equal(taken, 6);
    assert_slice(piece, "a.b\r\n");
    in = slice_from(in, taken);
    taken = smx_dot_decode(&decoder, in, &piece);
    assert_slice(piece, ".c\r\nd\r\n");
    in = slice_from(in, taken);
    assert_int_equal(smx_dot_decode(&decoder, in, &piece), 2);
    assert_int_equal(piece.len, 0);
    assert_true(decoder.done);
}

static void proto_dot_decode__nothing_is_taken_once_done(void **state)
{
    (void)state;
    smx_dot_decoder decoder = {0};
    smx_slice piece;
    assert_int_equal(smx_dot_decode(&decoder, SMX_SLICE(".\r\nabc"), &piece), 3);
    assert_true(decoder.done);
    assert_int_equal(smx_dot_decode(&decoder, SMX_SLICE("abc"), &piece), 0);
    assert_int_equal(piece.len, 0);
}

static void proto_dot_decode__empty_input_changes_nothing(void **state)
{
    (void)state;
    smx_dot_decoder decoder = {0};
    smx_slice piece;
    assert_int_equal(smx_dot_decode(&decoder, (smx_slice){0}, &piece), 0);
    assert_int_equal(piece.len, 0);
    assert_false(decoder.done);
    assert_int_equal(smx_dot_decode(&decoder, SMX_SLICE(".\r\n"), &piece), 3);
    assert_true(decoder.done);
}

/* ---- ATTACKS row 5: `.\r\n` in the middle of a line, around every likely size of buffer ---- */

typedef struct boundary {
    size_t letters;
    char name[80];
} boundary;

static void boundary_decode(smx_slice in, size_t chunk, buffer *out, smx_dot_decoder *decoder)
{
    for (size_t at = 0; at < in.len && !decoder->done; at += chunk) {
        smx_slice rest = slice_of(in.data + at, in.len - at < chunk ? in.len - at : chunk);
        while (rest.len > 0 && !decoder->done) {
            smx_slice piece;
            rest = slice_from(rest, smx_dot_decode(decoder, rest, &piece));
            assert_int_equal(buffer_append(out, piece), 0);
        }
    }
}

static void boundary_encode(smx_slice in, size_t chunk, buffer *out, smx_dot_encoder *encoder)
{
    for (size_t at = 0; at < in.len; at += chunk) {
        smx_slice rest = slice_of(in.data + at, in.len - at < chunk ? in.len - at : chunk);
        while (rest.len > 0 && encoder->faults == 0) {
            smx_slice piece;
            rest = slice_from(rest, smx_dot_encode(encoder, rest, &piece));
            assert_int_equal(buffer_append(out, piece), 0);
        }
    }
}

static void boundary_check(void **state)
{
    static const size_t chunks[] = {998, 1000, 1024, 4096, 8192, 16384, 65536, SIZE_MAX / 2};
    const boundary *b = *state;
    buffer body = {0};
    assert_int_equal(buffer_reserve(&body, b->letters), 0);
    memset(body.data, 'a', b->letters);
    body.end = b->letters;
    assert_int_equal(buffer_append_text(&body, ".\r\nrest\r\n"), 0);
    size_t len = buffer_length(&body);
    assert_int_equal(buffer_append_text(&body, ".\r\n"), 0);
    smx_slice wire = buffer_slice(&body);
    for (size_t i = 0; i < TEST_COUNT(chunks); i++) {
        smx_dot_decoder decoder = {0};
        smx_dot_encoder encoder = {0};
        buffer decoded = {0};
        buffer encoded = {0};
        boundary_decode(wire, chunks[i], &decoded, &decoder);
        assert_true(decoder.done);
        assert_int_equal(decoder.faults, 0);
        assert_true(slice_equal(buffer_slice(&decoded), slice_to(wire, len)));
        boundary_encode(slice_to(wire, len), chunks[i], &encoded, &encoder);
        assert_int_equal(encoder.faults, 0);
        assert_true(slice_equal(buffer_slice(&encoded), slice_to(wire, len)));
        buffer_free(&decoded);
        buffer_free(&encoded);
    }
    buffer_free(&body);
}

int main(void)
{
    static const size_t sizes[] = {998, 1024, 4096, 8192, 65536};
    static boundary boundaries[35];
    struct CMUnitTest tests[4 + 35] = {
        cmocka_unit_test(proto_dot_decode__text_without_leading_dots_is_one_run),
        cmocka_unit_test(proto_dot_decode__run_ends_only_at_a_leading_dot),
        cmocka_unit_test(proto_dot_decode__nothing_is_taken_once_done),
        cmocka_unit_test(proto_dot_decode__empty_input_changes_nothing),
    };
    for (size_t i = 0; i < 35; i++) {
        boundary *b = &boundaries[i];
        int distance = (int)(i % 7) - 3;
        b->letters = (size_t)((long)sizes[i / 7] + distance);
        (void)snprintf(b->name, sizeof(b->name),
                       "proto_dot__attack5_dot_behind_%zu%+d_letters_is_no_end", sizes[i / 7],
                       distance);
        tests[4 + i] = (struct CMUnitTest){b->name, boundary_check, NULL, NULL, b};
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
