/* Buffers: written at the end, read from the start, memory kept. */
#include "base/buffer.h"

#include "support/unit_test.h"

static void base_buffer__zero_is_empty(void **state)
{
    (void)state;
    buffer b = {0};
    assert_int_equal(buffer_length(&b), 0);
    assert_slice(buffer_slice(&b), "");
    assert_non_null(buffer_slice(&b).data);
    buffer_free(&b);
    buffer_free(NULL);
}

static void base_buffer__what_is_appended_is_read(void **state)
{
    (void)state;
    buffer b = {0};
    assert_int_equal(buffer_append(&b, SMX_SLICE("ab")), 0);
    assert_int_equal(buffer_append_text(&b, "cd"), 0);
    assert_int_equal(buffer_append_char(&b, '\0'), 0);
    assert_int_equal(buffer_printf(&b, "%d-%s", 42, "x"), 0);
    assert_int_equal(buffer_length(&b), 9);
    assert_memory_equal(buffer_slice(&b).data,
                        "abcd\0"
                        "42-x",
                        9);
    buffer_free(&b);
    assert_int_equal(b.capacity, 0);
}

static void base_buffer__consuming_forgets_the_start(void **state)
{
    (void)state;
    buffer b = {0};
    assert_int_equal(buffer_append_text(&b, "abcdef"), 0);
    buffer_consume(&b, 2);
    assert_slice(buffer_slice(&b), "cdef");
    buffer_truncate(&b, 3);
    assert_slice(buffer_slice(&b), "cde");
    assert_int_equal(buffer_append_text(&b, "X"), 0);
    assert_slice(buffer_slice(&b), "cdeX");
    buffer_consume(&b, 4);
    assert_int_equal(buffer_length(&b), 0);
    assert_int_equal(b.start, 0);
    buffer_free(&b);
}

static void base_buffer__emptied_buffer_keeps_its_memory(void **state)
{
    (void)state;
    buffer b = {0};
    assert_int_equal(buffer_append_text(&b, "abc"), 0);
    char *data = b.data;
    buffer_clear(&b);
    assert_int_equal(buffer_append_text(&b, "def"), 0);
    assert_ptr_equal(b.data, data);
    assert_slice(buffer_slice(&b), "def");
    buffer_free(&b);
}

/* A queue that is never empty and never long must not grow for ever. */
static void base_buffer__space_before_the_start_serves_again(void **state)
{
    (void)state;
    buffer b = {0};
    assert_int_equal(buffer_append_text(&b, "0123456789"), 0);
    for (int i = 0; i < 100000; i++) {
        assert_int_equal(buffer_append_char(&b, (char)('0' + i % 10)), 0);
        assert_int_equal(buffer_slice(&b).data[0], '0' + i % 10);
        buffer_consume(&b, 1);
    }
    assert_int_equal(buffer_length(&b), 10);
    assert_true(b.capacity <= 512);
    buffer_free(&b);
}

static void base_buffer__growth_keeps_the_octets(void **state)
{
    (void)state;
    buffer b = {0};
    for (int i = 0; i < 100000; i++)
        assert_int_equal(buffer_append_char(&b, (char)(i * 31)), 0);
    smx_slice all = buffer_slice(&b);
    for (int i = 0; i < 100000; i++)
        assert_int_equal((unsigned char)all.data[i], (unsigned char)(i * 31));
    buffer_free(&b);
}

static void base_buffer__impossible_size_changes_nothing(void **state)
{
    (void)state;
    buffer b = {0};
    assert_int_equal(buffer_append_text(&b, "abc"), 0);
    assert_int_equal(buffer_reserve(&b, SIZE_MAX), SMX_E_NOMEM);
    assert_int_equal(buffer_reserve(&b, SIZE_MAX / 2 + 2), SMX_E_NOMEM);
    assert_slice(buffer_slice(&b), "abc");
    buffer_free(&b);
}

static void base_buffer__numbers_are_decimal(void **state)
{
    (void)state;
    buffer b = {0};
    assert_int_equal(buffer_append_number(&b, 0), 0);
    assert_int_equal(buffer_append_char(&b, ' '), 0);
    assert_int_equal(buffer_append_number(&b, UINT64_MAX), 0);
    assert_slice(buffer_slice(&b), "0 18446744073709551615");
    buffer_free(&b);
}

static void base_buffer__long_printf(void **state)
{
    (void)state;
    buffer b = {0};
    assert_int_equal(buffer_printf(&b, "%1000d", 7), 0);
    assert_int_equal(buffer_length(&b), 1000);
    assert_int_equal(buffer_slice(&b).data[999], '7');
    buffer_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(base_buffer__zero_is_empty),
        cmocka_unit_test(base_buffer__what_is_appended_is_read),
        cmocka_unit_test(base_buffer__consuming_forgets_the_start),
        cmocka_unit_test(base_buffer__emptied_buffer_keeps_its_memory),
        cmocka_unit_test(base_buffer__space_before_the_start_serves_again),
        cmocka_unit_test(base_buffer__growth_keeps_the_octets),
        cmocka_unit_test(base_buffer__impossible_size_changes_nothing),
        cmocka_unit_test(base_buffer__numbers_are_decimal),
        cmocka_unit_test(base_buffer__long_printf),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
