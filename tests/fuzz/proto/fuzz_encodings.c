/* xtext and base64: what was encoded decodes to what it was; base64 has one text for each. */
#include "fuzz.h"
#include "smx/proto.h"

typedef int encodings_fn(smx_slice in, char *out, size_t capacity, size_t *len);

/* Runs with room enough, then with exactly enough, then with one octet less. */
static int encodings_run(encodings_fn *fn, smx_slice in, size_t most, char **out, size_t *len)
{
    *out = malloc(most + 1);
    if (*out == NULL)
        abort();
    int error = fn(in, *out, most, len);
    if (error != 0)
        return error;
    FUZZ_CHECK(*len <= most);
    char *exact = fuzz_copy(*out, *len);
    size_t again = 0;
    FUZZ_CHECK(fn(in, exact, *len, &again) == 0 && again == *len);
    FUZZ_CHECK(slice_equal(slice_of(exact, again), slice_of(*out, *len)));
    FUZZ_CHECK(*len == 0 || fn(in, exact, *len - 1, &again) == SMX_E_RANGE);
    free(exact);
    return 0;
}

static void encodings_check(smx_slice in, encodings_fn *encode, encodings_fn *decode,
                            bool canonical)
{
    char *text;
    char *octets;
    char *back;
    size_t len;
    size_t octets_len;
    FUZZ_CHECK(encodings_run(encode, in, in.len * 3 + 4, &text, &len) == 0);
    FUZZ_CHECK(encodings_run(decode, slice_of(text, len), len, &octets, &octets_len) == 0);
    FUZZ_CHECK(slice_equal(slice_of(octets, octets_len), in));
    free(octets);
    free(text);
    if (encodings_run(decode, in, in.len, &octets, &octets_len) == 0) {
        smx_slice decoded = slice_of(octets, octets_len);
        FUZZ_CHECK(encodings_run(encode, decoded, decoded.len * 3 + 4, &back, &len) == 0);
        FUZZ_CHECK(!canonical || slice_equal(slice_of(back, len), in));
        free(back);
    }
    free(octets);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    smx_slice in = slice_of((const char *)data, size);
    char *text;
    size_t len;
    encodings_check(in, smx_xtext_encode, smx_xtext_decode, false);
    encodings_check(in, smx_base64_encode, smx_base64_decode, true);
    FUZZ_CHECK(encodings_run(smx_base64_encode, in, in.len * 3 + 4, &text, &len) == 0);
    FUZZ_CHECK(len == smx_base64_size(in.len));
    free(text);
    return 0;
}
