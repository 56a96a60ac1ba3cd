/* Messages that serve again: what is kept, what is not, and that nothing of one is seen in the next. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/slice.h"
#include "mail/message_reuse.h"
#include "mail/message_stock.h"

static smx_message *take(message_stock *stock, smx_budget *budget)
{
    const smx_message_options options = {.version = SMX_MESSAGE_VERSION, .budget = budget};
    smx_message *message = NULL;
    assert_int_equal(message_stock_take(stock, &options, &message), 0);
    assert_int_equal(smx_message_size(message), 0);
    assert_int_equal(smx_message_traits(message), 0);
    return message;
}

static void fill(smx_message *message, size_t size, char c)
{
    static char octets[50000];
    memset(octets, c, sizeof(octets));
    for (size_t at = 0; at < size; at += sizeof(octets)) {
        size_t len = size - at < sizeof(octets) ? size - at : sizeof(octets);
        assert_int_equal(smx_message_append(message, slice_of(octets, len)), 0);
    }
    smx_message_end(message);
}

/* All of it is `c`, and there are `size` octets. */
static void assert_all(const smx_message *message, size_t size, char c)
{
    static char scratch[65536];
    smx_slice octets = {0};
    assert_int_equal(smx_message_size(message), size);
    for (uint64_t at = 0;; at += octets.len) {
        assert_int_equal(smx_message_read(message, at, scratch, sizeof(scratch), &octets), 0);
        if (octets.len == 0)
            break;
        for (size_t i = 0; i < octets.len; i++)
            if (octets.data[i] != c)
                fail_msg("octet %llu is of another message", (unsigned long long)(at + i));
    }
}

static void message_stock__nothing_of_a_message_is_seen_in_the_next(void **state)
{
    (void)state;
    static const size_t sizes[] = {1000000, 300000, 10, 262145, 700001, 262144, 0, 900000, 278529};
    message_stock stock = {0};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        smx_message *message = take(&stock, NULL);
        fill(message, sizes[i], (char)('a' + i));
        smx_message_promise(message, SMX_BODY_CLEAN);
        assert_all(message, sizes[i], (char)('a' + i));
        message_stock_give(&stock, message);
        assert_int_equal(stock.count, 1);
        assert_int_equal(stock.files, 1);
    }
    message_stock_clear(&stock);
    assert_int_equal(stock.count + stock.files + stock.octets, 0);
}

static void message_stock__a_large_file_and_a_shared_message_are_not_kept(void **state)
{
    (void)state;
    message_stock stock = {0};
    smx_message *message = take(&stock, NULL);
    fill(message, (size_t)9 << 20, 'a');
    message_stock_give(&stock, message);
    assert_int_equal(stock.count, 0);
    message = take(&stock, NULL);
    smx_message *shared = smx_message_share(message);
    message_stock_give(&stock, message);
    assert_int_equal(stock.count, 0);
    message_stock_give(&stock, shared);
    assert_int_equal(stock.count, 1);
    message_stock_clear(&stock);
}

static void message_stock__files_and_octets_are_bounded(void **state)
{
    (void)state;
    smx_message *messages[MESSAGE_STOCK_FILES + 4];
    message_stock stock = {0};
    smx_budget *budget = NULL;
    assert_int_equal(smx_budget_new(0, &budget), 0);
    for (size_t i = 0; i < MESSAGE_STOCK_FILES + 4; i++) {
        messages[i] = take(&stock, budget);
        fill(messages[i], 270000, 'a');
    }
    for (size_t i = 0; i < MESSAGE_STOCK_FILES + 4; i++)
        message_stock_give(&stock, messages[i]);
    assert_true(stock.files > 0 && stock.files <= MESSAGE_STOCK_FILES);
    assert_true(stock.octets <= MESSAGE_STOCK_OCTETS);
    assert_int_equal(smx_budget_used(budget), 0);
    smx_message *message = take(&stock, budget);
    assert_int_equal(smx_budget_used(budget), message_capacity(message));
    assert_true(message_has_file(message));
    smx_message_free(message);
    message_stock_clear(&stock);
    assert_int_equal(smx_budget_used(budget), 0);
    smx_budget_free(budget);
}

static void message_stock__a_budget_that_is_used_up_gets_memory_and_tail_back(void **state)
{
    (void)state;
    message_stock stock = {0};
    smx_budget *budget = NULL;
    assert_int_equal(smx_budget_new(0, &budget), 0);
    smx_message *message = take(&stock, budget);
    fill(message, 270000, 'a');
    message_stock_give(&stock, message);
    smx_budget_set_limit(budget, 8192);
    message = take(&stock, budget);
    assert_int_equal(message_capacity(message), 0);
    fill(message, 5000, 'b');
    assert_all(message, 5000, 'b');
    assert_int_equal(smx_budget_used(budget), 8192);
    smx_message_free(message);
    message_stock_clear(&stock);
    smx_budget_free(budget);
}

static void message_stock__trim_frees_what_was_not_taken_since(void **state)
{
    (void)state;
    message_stock stock = {0};
    smx_message *messages[5];
    for (size_t i = 0; i < 5; i++)
        messages[i] = take(&stock, NULL);
    for (size_t i = 0; i < 5; i++)
        message_stock_give(&stock, messages[i]);
    assert_true(message_stock_trim(&stock));
    assert_int_equal(stock.count, 5);
    smx_message *one = take(&stock, NULL);
    smx_message *two = take(&stock, NULL);
    message_stock_give(&stock, one);
    message_stock_give(&stock, two);
    assert_true(message_stock_trim(&stock));
    assert_int_equal(stock.count, 2);
    assert_ptr_equal(stock.messages[1], two);
    assert_false(message_stock_trim(&stock));
    assert_int_equal(stock.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(message_stock__nothing_of_a_message_is_seen_in_the_next),
        cmocka_unit_test(message_stock__a_large_file_and_a_shared_message_are_not_kept),
        cmocka_unit_test(message_stock__files_and_octets_are_bounded),
        cmocka_unit_test(message_stock__a_budget_that_is_used_up_gets_memory_and_tail_back),
        cmocka_unit_test(message_stock__trim_frees_what_was_not_taken_since),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
