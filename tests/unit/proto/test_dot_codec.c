/* The codecs of bodies against references that look at one octet at a time: random and hostile text,
 * cut in every way, at every alignment; and each way in which blocks are looked at. */
#include "test_proto.h"

#include <stdio.h>

#include "proto/newline.h"

enum { CODEC_TEXTS = 400, CODEC_TEXT_MAX = 400, CODEC_ALIGNMENTS = 64 };

/* ---- Text ---- */

static uint32_t codec_random(uint32_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;
    return *seed;
}

/* What goes wrong at the seams of blocks and chunks, and text that does not. */
static const smx_slice codec_words[] = {
    SMX_SLICE("\r"),
    SMX_SLICE("\n"),
    SMX_SLICE("."),
    SMX_SLICE("\0"),
    SMX_SLICE("\r\n"),
    SMX_SLICE("\r\n."),
    SMX_SLICE("\r\n.."),
    SMX_SLICE("\r\n.\r"),
    SMX_SLICE("\r\r\n"),
    SMX_SLICE("\n."),
    SMX_SLICE("\x8d\x8a\xae\x80\x0b\x0c\x0e"), /* one bit away from the odd ones */
    SMX_SLICE("a"),
    SMX_SLICE("An ordinary line. With dots... in it.\r\n"),
    SMX_SLICE("A line that is longer than a block of sixty-four octets, and so fills one."),
};

/* `kinds`: only the last so many of the words, so that some texts have no fault at all. */
static void codec_text(buffer *text, uint32_t *seed)
{
    size_t kinds = 1 + codec_random(seed) % TEST_COUNT(codec_words);
    size_t len = codec_random(seed) % CODEC_TEXT_MAX;
    buffer_clear(text);
    while (buffer_length(text) < len) {
        size_t word = TEST_COUNT(codec_words) - 1 - codec_random(seed) % kinds;
        assert_int_equal(buffer_append(text, codec_words[word]), 0);
    }
}

/* ---- References ---- */

typedef struct codec_result {
    buffer out;
    size_t consumed;
    uint8_t faults;
    bool done;
    bool dotted;
} codec_result;

static bool codec_is_line(smx_slice in, size_t at)
{
    return at == 0 || (at > 1 && in.data[at - 1] == '\n' && in.data[at - 2] == '\r');
}

static uint8_t codec_faults(smx_slice in, size_t at)
{
    bool after_cr = at > 0 && in.data[at - 1] == '\r';
    uint8_t faults = in.data[at] == '\0' ? SMX_FAULT_NUL : 0;
    if (after_cr && in.data[at] != '\n')
        faults |= SMX_FAULT_BARE_CR;
    if (!after_cr && in.data[at] == '\n')
        faults |= SMX_FAULT_BARE_LF;
    return faults;
}

static bool codec_follows(smx_slice in, size_t at, const char *text)
{
    return at <= in.len && slice_starts_with(slice_from(in, at), slice_of_text(text));
}

static codec_result reference_decode(smx_slice in)
{
    codec_result r = {0};
    for (size_t at = 0; at < in.len && !r.done; at++) {
        r.consumed = at + 1;
        if (codec_is_line(in, at) && in.data[at] == '.') {
            r.dotted = r.dotted || codec_follows(in, at + 1, ".");
            r.done = codec_follows(in, at + 1, "\r\n");
            if (r.done || slice_equal(slice_from(in, at + 1), SMX_SLICE("\r")))
                r.consumed = r.done ? at + 3 : in.len;
            if (r.consumed > at + 1)
                break;
            continue;
        }
        r.faults |= codec_faults(in, at);
        assert_int_equal(buffer_append_char(&r.out, in.data[at]), 0);
    }
    return r;
}

/* Up to the first fault, which is where a CR stands that no LF follows. */
static codec_result reference_encode(smx_slice in)
{
    codec_result r = {0};
    for (size_t at = 0; at < in.len; at++) {
        bool bare_cr = in.data[at] == '\r' && !codec_follows(in, at + 1, "\n");
        r.faults = bare_cr ? SMX_FAULT_BARE_CR : codec_faults(in, at);
        if (r.faults != 0)
            return r;
        if (codec_is_line(in, at) && in.data[at] == '.')
            assert_int_equal(buffer_append_char(&r.out, '.'), 0);
        assert_int_equal(buffer_append_char(&r.out, in.data[at]), 0);
    }
    assert_int_equal(buffer_append_text(&r.out, codec_is_line(in, in.len) ? ".\r\n" : "\r\n.\r\n"),
                     0);
    return r;
}

static codec_result reference_check(smx_slice in)
{
    codec_result r = {0};
    for (size_t at = 0; at < in.len; at++) {
        r.faults |= codec_faults(in, at);
        r.dotted = r.dotted || (codec_is_line(in, at) && in.data[at] == '.');
    }
    if (in.len > 0 && in.data[in.len - 1] == '\r')
        r.faults |= SMX_FAULT_BARE_CR;
    return r;
}

/* ---- The codecs, at one size of chunks ---- */

static smx_slice codec_chunk(smx_slice in, size_t at, size_t chunk)
{
    return slice_of(in.data + at, in.len - at < chunk ? in.len - at : chunk);
}

static codec_result codec_decode(smx_slice in, size_t chunk)
{
    codec_result r = {0};
    smx_dot_decoder decoder = {0};
    for (size_t at = 0; at < in.len; at += chunk) {
        smx_slice rest = codec_chunk(in, at, chunk);
        while (rest.len > 0 && !decoder.done) {
            smx_slice piece;
            size_t taken = smx_dot_decode(&decoder, rest, &piece);
            assert_true(taken > 0 || piece.len > 0);
            assert_int_equal(buffer_append(&r.out, piece), 0);
            r.consumed += taken;
            rest = slice_from(rest, taken);
        }
    }
    r.faults = decoder.faults;
    r.done = decoder.done;
    r.dotted = decoder.dotted;
    return r;
}

static codec_result codec_encode(smx_slice in, size_t chunk)
{
    codec_result r = {0};
    smx_dot_encoder encoder = {0};
    for (size_t at = 0; at < in.len; at += chunk) {
        smx_slice rest = codec_chunk(in, at, chunk);
        while (rest.len > 0 && encoder.faults == 0) {
            smx_slice piece;
            size_t taken = smx_dot_encode(&encoder, rest, &piece);
            assert_true(encoder.faults != 0 || taken > 0 || piece.len > 0);
            assert_int_equal(buffer_append(&r.out, piece), 0);
            rest = slice_from(rest, taken);
        }
    }
    assert_int_equal(buffer_append(&r.out, smx_dot_end(&encoder)), 0);
    r.faults = encoder.faults;
    return r;
}

static codec_result codec_check(smx_slice in, size_t chunk)
{
    smx_newline_check check = {0};
    for (size_t at = 0; at < in.len; at += chunk)
        smx_newline_check_feed(&check, codec_chunk(in, at, chunk));
    smx_newline_check_end(&check);
    return (codec_result){.faults = check.faults, .dotted = check.dotted};
}

/* ---- Both ---- */

static void codec_assert_equal(const codec_result *found, const codec_result *expected)
{
    assert_int_equal(found->faults, expected->faults);
    assert_int_equal(found->done, expected->done);
    assert_int_equal(found->dotted, expected->dotted);
    assert_int_equal(found->consumed, expected->consumed);
    assert_true(slice_equal(buffer_slice(&found->out), buffer_slice(&expected->out)));
}

typedef codec_result codec_reference_fn(smx_slice in);
typedef codec_result codec_chunks_fn(smx_slice in, size_t chunk);

/* Every text ends where its memory does, so that a look beyond it is seen by the sanitizer. */
static void codec_compare(codec_reference_fn *reference, codec_chunks_fn *codec)
{
    uint32_t seed = 5321;
    buffer text = {0};
    for (int i = 0; i < CODEC_TEXTS; i++) {
        codec_text(&text, &seed);
        size_t len = buffer_length(&text);
        size_t offset = (size_t)i % CODEC_ALIGNMENTS;
        char *memory = malloc(offset + len == 0 ? 1 : offset + len);
        assert_non_null(memory);
        smx_slice in = slice_of(memory + offset, len);
        if (len > 0)
            memcpy(memory + offset, text.data, len);
        codec_result expected = reference(in);
        for (size_t chunk = 1; chunk <= len + 1; chunk += 1 + chunk / 24) {
            codec_result found = codec(in, chunk);
            codec_assert_equal(&found, &expected);
            buffer_free(&found.out);
        }
        buffer_free(&expected.out);
        free(memory);
    }
    buffer_free(&text);
}

static void proto_dot_decode__is_the_reference(void **state)
{
    (void)state;
    codec_compare(reference_decode, codec_decode);
}

static void proto_dot_encode__is_the_reference(void **state)
{
    (void)state;
    codec_compare(reference_encode, codec_encode);
}

static void proto_newline_check__is_the_reference(void **state)
{
    (void)state;
    codec_compare(reference_check, codec_check);
}

/* ---- Blocks ---- */

static bool codec_is_odd(const char *p)
{
    return (p[0] == '\n') != (p[-1] == '\r') || p[0] == '\0' || (p[0] == '.' && p[-1] == '\n');
}

static void codec_skip(newline_skip_fn *way)
{
    uint32_t seed = 3030;
    buffer text = {0};
    for (int i = 0; i < CODEC_TEXTS * 8; i++) {
        codec_text(&text, &seed);
        size_t len = buffer_length(&text);
        size_t offset = (size_t)i % CODEC_ALIGNMENTS;
        char *memory = malloc(offset + len + 1);
        assert_non_null(memory);
        memory[offset] = "\r\n.a"[i % 4]; /* what stands before */
        char *p = memory + offset + 1;
        if (len > 0)
            memcpy(p, text.data, len);
        size_t odd = 0;
        while (odd < len && !codec_is_odd(p + odd))
            odd++;
        assert_int_equal(way(p, len), odd - odd % NEWLINE_BLOCK);
        free(memory);
    }
    buffer_free(&text);
}

static void proto_newline__narrow_blocks_are_the_reference(void **state)
{
    (void)state;
    codec_skip(newline_skip_narrow);
}

static void proto_newline__wide_blocks_are_the_reference(void **state)
{
    (void)state;
    if (!newline_is_wide())
        skip();
#ifdef __x86_64__
    codec_skip(newline_skip_wide);
#endif
}

/* Each octet behind each other one, at each place of a block. */
static void proto_newline__every_pair_is_judged_at_every_place(void **state)
{
    (void)state;
    char text[2 * NEWLINE_BLOCK];
    for (int before = 0; before < 256; before++) {
        for (int now = 0; now < 256; now++) {
            size_t at = 1 + (size_t)(before * 7 + now * 3) % (sizeof(text) - 2);
            memset(text, 'x', sizeof(text));
            text[at] = (char)before;
            text[at + 1] = (char)now;
            smx_slice in = slice_of(text, sizeof(text));
            codec_result expected = reference_check(in);
            codec_result found = codec_check(in, sizeof(text));
            codec_assert_equal(&found, &expected);
        }
    }
}

/* ---- What a body needs to go on ---- */

static void proto_dot_decode__a_body_without_a_leading_dot_is_not_dotted(void **state)
{
    (void)state;
    static const struct {
        smx_slice wire;
        bool dotted;
    } cases[] = {
        {SMX_SLICE("a.b\r\n.\r\n"), false},       {SMX_SLICE(".\r\n"), false},
        {SMX_SLICE(".a\r\n.\r\n"), false},        {SMX_SLICE("a\r\n.b\r\n.\r\n"), false},
        {SMX_SLICE("..a\r\n.\r\n"), true},        {SMX_SLICE("a\r\n..b\r\n.\r\n"), true},
        {SMX_SLICE("a\r\n..\r\n.\r\n"), true},    {SMX_SLICE("a..b\r\nc..\r\n.\r\n"), false},
        {SMX_SLICE("a\r\n.\rb\r\n.\r\n"), false},
    };
    for (size_t i = 0; i < TEST_COUNT(cases); i++) {
        codec_result r = codec_decode(cases[i].wire, 1 + i % 3);
        assert_true(r.done);
        assert_int_equal(r.dotted, cases[i].dotted);
        /* The mark says what dot-stuffing does to the body. */
        codec_result again = codec_encode(buffer_slice(&r.out), SIZE_MAX / 2);
        if (again.faults == 0)
            assert_int_equal(buffer_length(&again.out) - buffer_length(&r.out) > 3, r.dotted);
        buffer_free(&again.out);
        buffer_free(&r.out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(proto_dot_decode__is_the_reference),
        cmocka_unit_test(proto_dot_encode__is_the_reference),
        cmocka_unit_test(proto_newline_check__is_the_reference),
        cmocka_unit_test(proto_newline__narrow_blocks_are_the_reference),
        cmocka_unit_test(proto_newline__wide_blocks_are_the_reference),
        cmocka_unit_test(proto_newline__every_pair_is_judged_at_every_place),
        cmocka_unit_test(proto_dot_decode__a_body_without_a_leading_dot_is_not_dotted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
