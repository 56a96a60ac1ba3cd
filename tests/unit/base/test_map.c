/* Maps against plain arrays, through growth and removal. */
#include "base/map.h"

#include "support/unit_test.h"

enum { MAP_KEYS = 2000 };

static void base_map__empty_map_has_nothing(void **state)
{
    (void)state;
    map m = {0};
    size_t at = 0;
    assert_null(map_get(&m, SMX_SLICE("a")));
    assert_null(map_remove(&m, SMX_SLICE("a")));
    assert_null(map_get_number(&m, 0));
    assert_null(map_next(&m, &at));
    map_free(&m);
}

static void base_map__put_replaces(void **state)
{
    (void)state;
    map m = {0};
    int one;
    int two;
    assert_int_equal(map_put(&m, SMX_SLICE("k"), &one), 0);
    assert_int_equal(map_put(&m, SMX_SLICE("k"), &two), 0);
    assert_int_equal(m.count, 1);
    assert_ptr_equal(map_get(&m, SMX_SLICE("k")), &two);
    map_free(&m);
}

static void base_map__keys_are_copied_octets(void **state)
{
    (void)state;
    map m = {0};
    int value;
    int other;
    char key[] = "a\0b";
    assert_int_equal(map_put(&m, slice_of(key, 3), &value), 0);
    assert_int_equal(map_put(&m, SMX_SLICE(""), &other), 0);
    key[0] = 'x';
    assert_ptr_equal(map_get(&m, SMX_SLICE("a\0b")), &value);
    assert_null(map_get(&m, SMX_SLICE("a\0c")));
    assert_null(map_get(&m, SMX_SLICE("a")));
    assert_null(map_get(&m, SMX_SLICE("\0")));
    assert_ptr_equal(map_get(&m, SMX_SLICE("")), &other);
    map_free(&m);
}

/* Puts and removes in an order without order; the map must agree with the array at all times. */
static void base_map__agrees_with_an_array(void **state)
{
    (void)state;
    static bool present[MAP_KEYS];
    static int values[MAP_KEYS];
    map m = {0};
    size_t count = 0;
    uint64_t random = 12345;
    for (int step = 0; step < 60000; step++) {
        random = random * 6364136223846793005ULL + 1442695040888963407ULL;
        uint64_t key = (random >> 33) % MAP_KEYS;
        if ((random >> 60) < 8) {
            assert_int_equal(map_put_number(&m, key, &values[key]), 0);
            count += !present[key];
            present[key] = true;
        } else {
            void *expected = present[key] ? &values[key] : NULL;
            assert_ptr_equal(map_remove_number(&m, key), expected);
            count -= present[key];
            present[key] = false;
        }
        assert_int_equal(m.count, count);
    }
    for (uint64_t key = 0; key < MAP_KEYS; key++)
        assert_ptr_equal(map_get_number(&m, key), present[key] ? &values[key] : NULL);
    map_free(&m);
}

static void base_map__next_gives_every_entry_once(void **state)
{
    (void)state;
    static int values[100];
    bool seen[100] = {false};
    map m = {0};
    for (uint64_t key = 0; key < 100; key++)
        assert_int_equal(map_put_number(&m, key, &values[key]), 0);
    size_t at = 0;
    size_t count = 0;
    const map_entry *entry;
    while ((entry = map_next(&m, &at)) != NULL) {
        size_t index = (size_t)((int *)entry->value - values);
        assert_false(seen[index]);
        seen[index] = true;
        count++;
    }
    assert_int_equal(count, 100);
    map_free(&m);
    assert_int_equal(m.count, 0);
}

static void base_map__keys_of_every_length(void **state)
{
    (void)state;
    char key[64];
    static int values[64];
    map m = {0};
    memset(key, 'k', sizeof(key));
    for (size_t len = 0; len < 64; len++)
        assert_int_equal(map_put(&m, slice_of(key, len), &values[len]), 0);
    for (size_t len = 0; len < 64; len++)
        assert_ptr_equal(map_get(&m, slice_of(key, len)), &values[len]);
    map_free(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(base_map__empty_map_has_nothing),
        cmocka_unit_test(base_map__put_replaces),
        cmocka_unit_test(base_map__keys_are_copied_octets),
        cmocka_unit_test(base_map__agrees_with_an_array),
        cmocka_unit_test(base_map__next_gives_every_entry_once),
        cmocka_unit_test(base_map__keys_of_every_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
