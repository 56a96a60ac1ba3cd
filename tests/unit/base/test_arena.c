/* Arenas: aligned memory, given back all at once, one block kept. */
#include "base/arena.h"

#include <stdalign.h>

#include "support/unit_test.h"

static void base_arena__memory_is_aligned_and_its_own(void **state)
{
    (void)state;
    arena a = {0};
    unsigned char *parts[200];
    for (size_t i = 0; i < 200; i++) {
        parts[i] = arena_alloc(&a, i + 1);
        assert_non_null(parts[i]);
        assert_int_equal((uintptr_t)parts[i] % alignof(max_align_t), 0);
        memset(parts[i], (int)i, i + 1);
    }
    for (size_t i = 0; i < 200; i++)
        for (size_t k = 0; k <= i; k++)
            assert_int_equal(parts[i][k], (unsigned char)i);
    arena_free(&a);
}

static void base_arena__large_pieces_have_blocks_of_their_own(void **state)
{
    (void)state;
    arena a = {0};
    char *small = arena_alloc(&a, 10);
    char *large = arena_alloc(&a, 100000);
    assert_non_null(small);
    assert_non_null(large);
    memset(small, 'a', 10);
    memset(large, 'b', 100000);
    assert_int_equal(small[9], 'a');
    assert_true(a.used >= 100010);
    arena_free(&a);
    assert_int_equal(a.used, 0);
}

static void base_arena__calloc_clears_what_was_used_before(void **state)
{
    (void)state;
    arena a = {0};
    memset(arena_alloc(&a, 500), 0xff, 500);
    arena_reset(&a);
    const char *memory = arena_calloc(&a, 500);
    for (size_t i = 0; i < 500; i++)
        assert_int_equal(memory[i], 0);
    arena_free(&a);
}

static void base_arena__reset_keeps_one_block(void **state)
{
    (void)state;
    arena a = {0};
    assert_non_null(arena_alloc(&a, 100));
    assert_non_null(arena_alloc(&a, 100000));
    arena_reset(&a);
    assert_int_equal(a.used, 0);
    assert_non_null(a.current);
    const arena_block *kept = a.current;
    assert_non_null(arena_alloc(&a, 100));
    assert_ptr_equal(a.current, kept);
    arena_free(&a);
}

static void base_arena__copy_ends_with_nul(void **state)
{
    (void)state;
    arena a = {0};
    smx_slice copy;
    char text[] = "abc";
    assert_int_equal(arena_copy(&a, slice_of(text, 3), &copy), 0);
    text[0] = 'x';
    assert_slice(copy, "abc");
    assert_int_equal(copy.data[3], '\0');
    assert_int_equal(arena_copy(&a, (smx_slice){0}, &copy), 0);
    assert_int_equal(copy.len, 0);
    arena_free(&a);
}

static void base_arena__impossible_size_gives_null(void **state)
{
    (void)state;
    arena a = {0};
    assert_null(arena_alloc(&a, SIZE_MAX));
    assert_null(arena_alloc(&a, SIZE_MAX - 16));
    assert_int_equal(a.used, 0);
    arena_free(&a);
    arena_reset(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(base_arena__memory_is_aligned_and_its_own),
        cmocka_unit_test(base_arena__large_pieces_have_blocks_of_their_own),
        cmocka_unit_test(base_arena__calloc_clears_what_was_used_before),
        cmocka_unit_test(base_arena__reset_keeps_one_block),
        cmocka_unit_test(base_arena__copy_ends_with_nul),
        cmocka_unit_test(base_arena__impossible_size_gives_null),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
