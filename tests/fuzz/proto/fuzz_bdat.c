/* BDAT's argument against a reader of its own; the newline check against the plainest one. */
#include "fuzz.h"
#include "smx/proto.h"

static bool bdat_is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* Digits, and their number unless it passes 64 bits: 0, SMX_E_SYNTAX or SMX_E_RANGE. */
static int bdat_reference_number(smx_slice digits, uint64_t *number)
{
    __extension__ typedef unsigned __int128 wide;
    wide sum = 0;
    bool over = false;
    for (size_t i = 0; i < digits.len; i++) {
        if (digits.data[i] < '0' || digits.data[i] > '9')
            return SMX_E_SYNTAX;
        wide digit = (unsigned)(digits.data[i] - '0');
        sum = sum * 10 + digit;
        over = over || sum > UINT64_MAX;
        sum = over ? 0 : sum;
    }
    *number = (uint64_t)sum;
    return digits.len == 0 ? SMX_E_SYNTAX : over ? SMX_E_RANGE : 0;
}

static void bdat_check(smx_slice in)
{
    uint64_t size = 77;
    uint64_t expected = 0;
    bool last = false;
    int error = smx_bdat_parse(in, &size, &last);
    size_t at = 0;
    size_t end = in.len;
    while (at < end && bdat_is_blank(in.data[at]))
        at++;
    while (end > at && bdat_is_blank(in.data[end - 1]))
        end--;
    size_t word = at;
    while (word < end && !bdat_is_blank(in.data[word]))
        word++;
    int number = bdat_reference_number(slice_of(in.data + at, word - at), &expected);
    while (word < end && bdat_is_blank(in.data[word]))
        word++;
    bool is_last = end - word == 4 && strncasecmp(in.data + word, "LAST", 4) == 0;
    if (end > word && !is_last)
        number = SMX_E_SYNTAX;
    FUZZ_CHECK(error == number);
    FUZZ_CHECK(error == 0 ? size == expected && last == is_last : size == 77 && !last);
}

static uint8_t bdat_reference_faults(smx_slice in)
{
    uint8_t faults = 0;
    for (size_t i = 0; i < in.len; i++) {
        bool after_cr = i > 0 && in.data[i - 1] == '\r';
        bool before_lf = i + 1 < in.len && in.data[i + 1] == '\n';
        if (in.data[i] == '\0')
            faults |= SMX_FAULT_NUL;
        if (in.data[i] == '\n' && !after_cr)
            faults |= SMX_FAULT_BARE_LF;
        if (in.data[i] == '\r' && !before_lf)
            faults |= SMX_FAULT_BARE_CR;
    }
    return faults;
}

static void bdat_check_newlines(smx_slice in)
{
    for (enum fuzz_cut way = 0; way < FUZZ_CUTS; way++) {
        fuzz_cutter cutter = fuzz_cutter_of(way, in);
        smx_newline_check check = {0};
        for (size_t at = 0; at < in.len;) {
            size_t len = fuzz_next(&cutter, in.len - at);
            char *copy = fuzz_copy(in.data + at, len);
            smx_newline_check_feed(&check, slice_of(copy, len));
            free(copy);
            at += len;
        }
        smx_newline_check_end(&check);
        FUZZ_CHECK(check.faults == bdat_reference_faults(in));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    smx_slice in = slice_of((const char *)data, size);
    bdat_check(in);
    bdat_check_newlines(in);
    return 0;
}
