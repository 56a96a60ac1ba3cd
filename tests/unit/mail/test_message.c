/* A message's octets in memory, tail and file; the budget; the end of the header section. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/slice.h"
#include "mail/message_stock.h"
#include "smx/message.h"

static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525 + 1013904223;
    return *seed >> 8;
}

/* What stands at `offset` of every test message. */
static char octet_at(uint64_t offset)
{
    return (char)('a' + (offset * 31 + offset / 251) % 26);
}

static smx_message *message_new(smx_budget *budget, const char *temp_dir)
{
    smx_message *message = NULL;
    smx_message_options options = {
        .version = SMX_MESSAGE_VERSION, .budget = budget, .temp_dir = temp_dir};
    assert_int_equal(smx_message_new(&options, &message), 0);
    return message;
}

/* Appends octets up to `size` in pieces of up to `piece`. */
static int fill(smx_message *message, uint64_t size, size_t piece)
{
    char *octets = malloc(piece);
    int error = 0;
    assert_non_null(octets);
    while (error == 0 && smx_message_size(message) < size) {
        uint64_t at = smx_message_size(message);
        size_t len = size - at < piece ? (size_t)(size - at) : piece;
        for (size_t i = 0; i < len; i++)
            octets[i] = octet_at(at + i);
        error = smx_message_append(message, slice_of(octets, len));
    }
    free(octets);
    return error;
}

/* Reads from `offset` to the end and compares. */
static void assert_rest(const smx_message *message, uint64_t offset, size_t capacity)
{
    char *scratch = malloc(capacity);
    assert_non_null(scratch);
    for (;;) {
        smx_slice octets;
        assert_int_equal(smx_message_read(message, offset, scratch, capacity, &octets), 0);
        if (octets.len == 0)
            break;
        for (size_t i = 0; i < octets.len; i++)
            if (octets.data[i] != octet_at(offset + i))
                fail_msg("octet %llu differs", (unsigned long long)(offset + i));
        offset += octets.len;
    }
    assert_int_equal(offset, smx_message_size(message));
    free(scratch);
}

static const uint64_t sizes[] = {0,      1,      4095,   4096,   4097,   262143, 262144,
                                 262145, 278527, 278528, 278529, 294912, 300000, 1000003};
enum { SIZE_COUNT = sizeof(sizes) / sizeof(sizes[0]) };

static void message__what_went_in_comes_out_at_every_size(void **state)
{
    (void)state;
    static const size_t pieces[] = {61, 16384, 16385, 65536, 2000000};
    for (size_t s = 0; s < SIZE_COUNT; s++) {
        for (size_t p = 0; p < sizeof(pieces) / sizeof(pieces[0]); p++) {
            smx_message *message = message_new(NULL, NULL);
            assert_int_equal(fill(message, sizes[s], pieces[p]), 0);
            assert_int_equal(smx_message_size(message), sizes[s]);
            smx_message_end(message);
            assert_rest(message, 0, 8192);
            smx_message_free(message);
        }
    }
}

static void message__reads_from_any_offset(void **state)
{
    (void)state;
    uint32_t seed = 7;
    smx_message *message = message_new(NULL, NULL);
    assert_int_equal(fill(message, 400000, 1000), 0);
    smx_message_end(message);
    for (size_t i = 0; i < 60; i++)
        assert_rest(message, next_random(&seed) % 400001, 1 + next_random(&seed) % 70000);
    assert_rest(message, 262144, 100);
    smx_slice octets;
    assert_int_equal(smx_message_read(message, 400001, NULL, 0, &octets), 0);
    assert_int_equal(octets.len, 0);
    assert_int_equal(smx_message_read(message, 262144, NULL, 0, &octets), SMX_E_INVALID);
    smx_message_free(message);
}

static void message__is_whole_after_its_end(void **state)
{
    (void)state;
    smx_message *message = message_new(NULL, NULL);
    smx_message_end(message);
    assert_int_equal(smx_message_append(message, SMX_SLICE("x")), SMX_E_STATE);
    assert_int_equal(smx_message_size(message), 0);
    smx_message_free(message);
    assert_int_equal(smx_message_new(NULL, &message), 0);
    assert_int_equal(smx_message_append(message, SMX_SLICE("x")), 0);
    smx_message_free(message);
    smx_message_free(NULL);
}

static void message_budget__is_given_back_to_the_octet(void **state)
{
    (void)state;
    smx_budget *budget = NULL;
    assert_int_equal(smx_budget_new(0, &budget), 0);
    for (size_t s = 0; s < SIZE_COUNT; s++) {
        smx_message *first = message_new(budget, NULL);
        smx_message *second = message_new(budget, NULL);
        assert_int_equal(fill(first, sizes[s], 1000), 0);
        assert_int_equal(fill(second, 5000, 1000), 0);
        uint64_t used = smx_budget_used(budget);
        assert_true(used >= 5000 + (sizes[s] < 262144 ? sizes[s] : 262144));
        /* The file does not count. */
        assert_true(used <= 2 * (262144 + 16384));
        smx_message_free(first);
        assert_int_equal(smx_budget_used(budget), 8192);
        smx_message_free(second);
        assert_int_equal(smx_budget_used(budget), 0);
    }
    smx_budget_free(budget);
    smx_budget_free(NULL);
}

static void message_budget__limit_refuses_and_changes_nothing(void **state)
{
    (void)state;
    smx_budget *budget = NULL;
    assert_int_equal(smx_budget_new(10000, &budget), 0);
    smx_message *message = message_new(budget, NULL);
    assert_int_equal(fill(message, 8192, 1000), 0);
    assert_int_equal(smx_message_append(message, SMX_SLICE("x")), SMX_E_LIMIT);
    assert_int_equal(smx_message_size(message), 8192);
    assert_int_equal(smx_budget_used(budget), 8192);
    smx_message *other = message_new(budget, NULL);
    assert_int_equal(smx_message_append(other, SMX_SLICE("x")), SMX_E_LIMIT);
    smx_message_free(message);
    assert_int_equal(smx_message_append(other, SMX_SLICE("x")), 0);
    smx_message_free(other);
    assert_int_equal(smx_budget_used(budget), 0);
    smx_budget_free(budget);
}

static void message__last_reference_frees(void **state)
{
    (void)state;
    smx_budget *budget = NULL;
    assert_int_equal(smx_budget_new(0, &budget), 0);
    smx_message *message = message_new(budget, NULL);
    assert_int_equal(fill(message, 300000, 10000), 0);
    smx_message *second = smx_message_share(message);
    assert_ptr_equal(second, message);
    smx_message_free(message);
    assert_true(smx_budget_used(budget) > 0);
    assert_rest(second, 0, 1000);
    smx_message_free(second);
    assert_int_equal(smx_budget_used(budget), 0);
    smx_budget_free(budget);
}

static void message_file__missing_directory_is_told_at_the_spill(void **state)
{
    (void)state;
    smx_budget *budget = NULL;
    assert_int_equal(smx_budget_new(0, &budget), 0);
    smx_message *message = message_new(budget, "/nonexistent/directory");
    assert_int_equal(fill(message, 262144, 10000), 0);
    assert_int_equal(smx_message_append(message, SMX_SLICE("x")), SMX_E_IO);
    assert_int_equal(smx_message_size(message), 262144);
    assert_rest(message, 0, 1000);
    smx_message_free(message);
    assert_int_equal(smx_budget_used(budget), 0);
    smx_budget_free(budget);
}

static void message_file__piece_across_the_border_is_all_or_nothing(void **state)
{
    (void)state;
    smx_message *message = message_new(NULL, "/nonexistent/directory");
    assert_int_equal(fill(message, 262140, 10000), 0);
    assert_int_equal(smx_message_append(message, SMX_SLICE("12345")), SMX_E_IO);
    assert_int_equal(smx_message_size(message), 262140);
    assert_int_equal(fill(message, 262144, 10), 0);
    assert_rest(message, 0, 1000);
    smx_message_free(message);
}

static void message_file__named_directory_is_used_and_left_empty(void **state)
{
    (void)state;
    char directory[] = "/tmp/smx-test-XXXXXX";
    assert_non_null(mkdtemp(directory));
    smx_message *message = message_new(NULL, directory);
    assert_int_equal(fill(message, 300000, 10000), 0);
    /* Only an empty directory can be removed: the file has no name. */
    assert_int_equal(rmdir(directory), 0);
    assert_rest(message, 0, 1000);
    smx_message_free(message);
}

/* ---- the header section ---- */

/* The section of a text fed in pieces of `piece`, or the error. */
static int header_of(smx_slice text, size_t piece, bool end, size_t *len, uint64_t *body)
{
    smx_slice header = {0};
    smx_message *message = message_new(NULL, NULL);
    for (size_t at = 0; at < text.len; at += piece) {
        smx_slice rest = slice_from(text, at);
        rest.len = rest.len < piece ? rest.len : piece;
        assert_int_equal(smx_message_append(message, rest), 0);
    }
    if (end)
        smx_message_end(message);
    int error = smx_message_header(message, &header);
    if (error == 0)
        assert_memory_equal(header.data, text.data, header.len);
    *len = header.len;
    *body = smx_message_body_offset(message);
    smx_message_free(message);
    return error;
}

static void message_header__ends_at_the_first_empty_line(void **state)
{
    (void)state;
    static const struct {
        smx_slice text;
        size_t len;
    } cases[] = {
        {SMX_SLICE("A: b\r\n\r\nbody\r\n\r\n"), 6},
        {SMX_SLICE("\r\nbody"), 0},
        {SMX_SLICE("\r\n\r\n"), 0},
        {SMX_SLICE("A: b\r\n c\r\nno field\r\n\r\n"), 20},
        {SMX_SLICE("A: b\r\n \r\n\r\nx"), 9},
        {SMX_SLICE("A: b\n\nc\r\n\r\nx"), 9},
        {SMX_SLICE("A: b\r\r\n\r\nx"), 7},
        {SMX_SLICE("A: b\r\n\r\r\nC: d\r\n\r\nx"), 15},
        {SMX_SLICE("\n\r\nA\r\n\r\nx"), 6},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (size_t piece = 1; piece <= cases[i].text.len; piece++) {
            size_t len;
            uint64_t body;
            assert_int_equal(header_of(cases[i].text, piece, false, &len, &body), 0);
            assert_int_equal(len, cases[i].len);
            assert_int_equal(body, cases[i].len);
        }
    }
}

static void message_header__is_all_where_no_empty_line_comes(void **state)
{
    (void)state;
    static const smx_slice texts[] = {SMX_SLICE(""), SMX_SLICE("\r"), SMX_SLICE("A: b"),
                                      SMX_SLICE("A: b\r\n"), SMX_SLICE("A: b\r\n\r")};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        size_t len;
        uint64_t body;
        assert_int_equal(header_of(texts[i], 1, false, &len, &body), SMX_E_AGAIN);
        assert_int_equal(header_of(texts[i], 1, true, &len, &body), 0);
        assert_int_equal(len, texts[i].len);
        assert_int_equal(body, texts[i].len);
    }
}

static void message_header__longest_section_and_one_octet_more(void **state)
{
    (void)state;
    size_t len;
    uint64_t body;
    char *text = malloc(SMX_HEADER_MAX + 8);
    assert_non_null(text);
    memset(text, 'a', SMX_HEADER_MAX + 8);
    for (size_t more = 0; more < 2; more++) {
        size_t end = SMX_HEADER_MAX + more;
        int expected = more == 0 ? 0 : SMX_E_LIMIT;
        memset(text, 'a', SMX_HEADER_MAX + 8);
        memcpy(text + end - 2, "\r\n\r\n", 4);
        for (size_t piece = 1000; piece < 400000; piece *= 7) {
            assert_int_equal(header_of(slice_of(text, end + 2), piece, false, &len, &body),
                             expected);
            /* Not known yet without the empty line. */
            if (more == 0) {
                assert_int_equal(len, SMX_HEADER_MAX);
                assert_int_equal(header_of(slice_of(text, end + 1), piece, false, &len, &body),
                                 SMX_E_AGAIN);
            }
            assert_int_equal(header_of(slice_of(text, end), piece, true, &len, &body), expected);
        }
    }
    memset(text, 'a', SMX_HEADER_MAX + 8);
    assert_int_equal(header_of(slice_of(text, SMX_HEADER_MAX + 2), 5000, false, &len, &body),
                     SMX_E_LIMIT);
    free(text);
}

/* ---- the stock ---- */

static void message_stock__gives_the_last_one_back_empty(void **state)
{
    (void)state;
    message_stock stock = {0};
    smx_budget *budget = NULL;
    smx_message *message = NULL;
    smx_slice header;
    assert_int_equal(smx_budget_new(8192, &budget), 0);
    const smx_message_options options = {.version = SMX_MESSAGE_VERSION, .budget = budget};
    assert_int_equal(message_stock_take(&stock, &options, &message), 0);
    const smx_message *first = message;
    assert_int_equal(smx_message_append(message, SMX_SLICE("A: b\r\n\r\nbody")), 0);
    smx_message_end(message);
    message_stock_give(&stock, message);
    assert_int_equal(smx_budget_used(budget), 0);
    assert_int_equal(message_stock_take(&stock, &options, &message), 0);
    assert_ptr_equal(message, first);
    assert_int_equal(smx_budget_used(budget), 4096);
    assert_int_equal(smx_message_size(message), 0);
    assert_int_equal(smx_message_header(message, &header), SMX_E_AGAIN);
    assert_int_equal(fill(message, 5000, 700), 0);
    assert_rest(message, 0, 1);
    message_stock_give(&stock, message);
    message_stock_clear(&stock);
    assert_int_equal(smx_budget_used(budget), 0);
    smx_budget_free(budget);
}

static void message_stock__keeps_none_that_is_shared_or_is_too_much(void **state)
{
    (void)state;
    message_stock stock = {0};
    smx_message *shared = smx_message_share(message_new(NULL, NULL));
    message_stock_give(&stock, shared);
    smx_message_free(shared);
    assert_int_equal(stock.count, 0);
    for (size_t i = 0; i < MESSAGE_STOCK; i++) {
        smx_message *large = message_new(NULL, NULL);
        assert_int_equal(fill(large, SMX_MESSAGE_MEMORY, 65536), 0);
        message_stock_give(&stock, large);
    }
    assert_int_equal(stock.count, MESSAGE_STOCK_OCTETS / SMX_MESSAGE_MEMORY);
    message_stock_clear(&stock);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(message__what_went_in_comes_out_at_every_size),
        cmocka_unit_test(message__reads_from_any_offset),
        cmocka_unit_test(message__is_whole_after_its_end),
        cmocka_unit_test(message_budget__is_given_back_to_the_octet),
        cmocka_unit_test(message_budget__limit_refuses_and_changes_nothing),
        cmocka_unit_test(message__last_reference_frees),
        cmocka_unit_test(message_file__missing_directory_is_told_at_the_spill),
        cmocka_unit_test(message_file__piece_across_the_border_is_all_or_nothing),
        cmocka_unit_test(message_file__named_directory_is_used_and_left_empty),
        cmocka_unit_test(message_stock__gives_the_last_one_back_empty),
        cmocka_unit_test(message_stock__keeps_none_that_is_shared_or_is_too_much),
        cmocka_unit_test(message_header__ends_at_the_first_empty_line),
        cmocka_unit_test(message_header__is_all_where_no_empty_line_comes),
        cmocka_unit_test(message_header__longest_section_and_one_octet_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
