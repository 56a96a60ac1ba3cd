/* The dot codec against references that look at one octet after the other and think of nothing
 * else, at every way to cut the input; and encoding, then decoding, which must change nothing. */
#include "base/buffer.h"
#include "fuzz.h"
#include "smx/proto.h"

typedef struct dot_result {
    buffer out;
    size_t consumed;
    bool done;
    uint8_t faults;
} dot_result;

static void dot_append(buffer *out, smx_slice piece)
{
    if (buffer_append(out, piece) != 0)
        abort();
}

static char dot_at(smx_slice in, size_t at)
{
    return at < in.len ? in.data[at] : 'x';
}

/* A line begins at `at`: at the very start, or behind CRLF. */
static bool dot_is_line(smx_slice in, size_t at)
{
    return at == 0 || (at >= 2 && in.data[at - 1] == '\n' && in.data[at - 2] == '\r');
}

/* RFC 5321 section 4.5.2 by the letter. A dot that ends the input is not yet judged. */
static dot_result dot_reference(smx_slice in)
{
    dot_result result = {0};
    size_t at = 0;
    for (; at < in.len; at++) {
        char c = in.data[at];
        if (dot_is_line(in, at) && c == '.') {
            if (at + 2 < in.len && in.data[at + 1] == '\r' && in.data[at + 2] == '\n') {
                result.done = true;
                at += 3;
                break;
            }
            if (at + 2 == in.len && in.data[at + 1] == '\r') {
                at += 2;
                break;
            }
            continue;
        }
        if (c == '\0')
            result.faults |= SMX_FAULT_NUL;
        if (c == '\n' && (at == 0 || in.data[at - 1] != '\r'))
            result.faults |= SMX_FAULT_BARE_LF;
        if (c == '\r' && at + 1 < in.len && in.data[at + 1] != '\n')
            result.faults |= SMX_FAULT_BARE_CR;
        dot_append(&result.out, slice_of(&c, 1));
    }
    result.consumed = at;
    return result;
}

static dot_result dot_decode(smx_slice in, enum fuzz_cut way)
{
    dot_result result = {0};
    fuzz_cutter cutter = fuzz_cutter_of(way, in);
    smx_dot_decoder decoder = {0};
    while (result.consumed < in.len && !decoder.done) {
        size_t len = fuzz_next(&cutter, in.len - result.consumed);
        char *copy = fuzz_copy(in.data + result.consumed, len);
        smx_slice rest = slice_of(copy, len);
        while (rest.len > 0 && !decoder.done) {
            smx_slice piece;
            size_t taken = smx_dot_decode(&decoder, rest, &piece);
            FUZZ_CHECK(taken <= rest.len);
            FUZZ_CHECK(taken > 0 || piece.len > 0);
            dot_append(&result.out, piece);
            rest = slice_from(rest, taken);
            result.consumed += taken;
        }
        free(copy);
    }
    result.done = decoder.done;
    result.faults = decoder.faults;
    return result;
}

static void dot_check_decode(smx_slice in)
{
    dot_result expected = dot_reference(in);
    for (enum fuzz_cut way = 0; way < FUZZ_CUTS; way++) {
        dot_result found = dot_decode(in, way);
        FUZZ_CHECK(slice_equal(buffer_slice(&expected.out), buffer_slice(&found.out)));
        FUZZ_CHECK(expected.consumed == found.consumed);
        FUZZ_CHECK(expected.done == found.done);
        FUZZ_CHECK(expected.faults == found.faults);
        buffer_free(&found.out);
    }
    buffer_free(&expected.out);
}

/* Octets before the first fault, and what fault it is. */
static size_t dot_first_fault(smx_slice in, uint8_t *fault)
{
    for (size_t at = 0; at < in.len; at++) {
        char c = in.data[at];
        *fault = 0;
        if (c == '\0')
            *fault = SMX_FAULT_NUL;
        if (c == '\n' && (at == 0 || in.data[at - 1] != '\r'))
            *fault = SMX_FAULT_BARE_LF;
        if (c == '\r' && dot_at(in, at + 1) != '\n')
            *fault = SMX_FAULT_BARE_CR;
        if (*fault != 0)
            return at;
    }
    return in.len;
}

static dot_result dot_encode(smx_slice in, enum fuzz_cut way)
{
    dot_result result = {0};
    fuzz_cutter cutter = fuzz_cutter_of(way, in);
    smx_dot_encoder encoder = {0};
    for (size_t at = 0; at < in.len && encoder.faults == 0;) {
        size_t len = fuzz_next(&cutter, in.len - at);
        char *copy = fuzz_copy(in.data + at, len);
        smx_slice rest = slice_of(copy, len);
        at += len;
        while (rest.len > 0 && encoder.faults == 0) {
            smx_slice piece;
            size_t taken = smx_dot_encode(&encoder, rest, &piece);
            FUZZ_CHECK(encoder.faults == 0 || (taken == 0 && piece.len == 0));
            FUZZ_CHECK(encoder.faults != 0 || taken > 0 || piece.len > 0);
            dot_append(&result.out, piece);
            rest = slice_from(rest, taken);
        }
        free(copy);
    }
    dot_append(&result.out, smx_dot_end(&encoder));
    result.faults = encoder.faults;
    return result;
}

/* What was encoded decodes to what it was, and nowhere bears an end but at its end. */
static void dot_check_identity(smx_slice in, smx_slice encoded)
{
    dot_result decoded = dot_reference(encoded);
    FUZZ_CHECK(decoded.done && decoded.faults == 0 && decoded.consumed == encoded.len);
    smx_slice out = buffer_slice(&decoded.out);
    FUZZ_CHECK(slice_starts_with(out, in));
    smx_slice added = slice_from(out, in.len);
    FUZZ_CHECK(added.len == (dot_is_line(in, in.len) ? 0 : 2));
    buffer_free(&decoded.out);
}

static void dot_check_encode(smx_slice in)
{
    uint8_t fault;
    size_t good = dot_first_fault(in, &fault);
    for (enum fuzz_cut way = 0; way < FUZZ_CUTS; way++) {
        dot_result found = dot_encode(in, way);
        if (good == in.len) {
            FUZZ_CHECK(found.faults == 0);
            dot_check_identity(in, buffer_slice(&found.out));
        } else {
            size_t dots = 0;
            for (size_t at = 0; at < good; at++)
                dots += dot_is_line(in, at) && in.data[at] == '.';
            FUZZ_CHECK(found.faults == fault);
            FUZZ_CHECK(buffer_length(&found.out) == good + dots);
        }
        buffer_free(&found.out);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    smx_slice in = slice_of((const char *)data, size);
    dot_check_decode(in);
    dot_check_encode(in);
    return 0;
}
