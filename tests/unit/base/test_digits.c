/* Digits, as printf writes them. */
#include "base/digits.h"

#include <inttypes.h>
#include <stdio.h>

#include "support/unit_test.h"

typedef char *digits_fn(char *out, uint64_t number, size_t width);

static void assert_digits(digits_fn *fn, const char *form, uint64_t number, size_t width)
{
    char expected[64];
    char text[64];
    memset(text, 'x', sizeof(text));
    int len = snprintf(expected, sizeof(expected), form, (int)width, number);
    assert_ptr_equal(fn(text, number, width), text + len);
    assert_memory_equal(text, expected, (size_t)len);
    assert_int_equal(text[len], 'x');
}

/* Around each power of the base, where another digit begins. */
static void assert_numbers(digits_fn *fn, const char *form, uint64_t base, size_t widest)
{
    for (size_t width = 1; width <= widest; width++) {
        uint64_t power = 1;
        for (uint64_t last = 0; power > last; last = power, power *= base) {
            for (uint64_t number = power - 1; number <= power + 1; number++)
                assert_digits(fn, form, number, width);
            if (power > UINT64_MAX / base)
                break;
        }
        assert_digits(fn, form, 0, width);
        assert_digits(fn, form, UINT64_MAX, width);
    }
}

static void base_digits__decimal_is_what_printf_writes(void **state)
{
    (void)state;
    assert_numbers(digits_padded, "%0*" PRIu64, 10, DIGITS_MAX);
}

static void base_digits__hex_is_what_printf_writes(void **state)
{
    (void)state;
    assert_numbers(digits_hex, "%0*" PRIx64, 16, 16);
}

static void base_digits__two_digits(void **state)
{
    (void)state;
    for (unsigned number = 0; number < 100; number++) {
        char expected[4];
        char text[] = "xxx";
        (void)snprintf(expected, sizeof(expected), "%02ux", number);
        assert_ptr_equal(digits_two(text, number), text + 2);
        assert_string_equal(text, expected);
    }
}

static void base_digits__of_a_number(void **state)
{
    (void)state;
    char text[DIGITS_MAX];
    assert_slice(digits_of(0, text), "0");
    assert_slice(digits_of(4245, text), "4245");
    assert_slice(digits_of(UINT64_MAX, text), "18446744073709551615");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(base_digits__decimal_is_what_printf_writes),
        cmocka_unit_test(base_digits__hex_is_what_printf_writes),
        cmocka_unit_test(base_digits__two_digits),
        cmocka_unit_test(base_digits__of_a_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
