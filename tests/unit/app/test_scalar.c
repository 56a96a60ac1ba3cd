/* Durations, sizes and words, read and written. */
#include "test_app.h"

#include "app/scalar.h"

static int duration(const char *text, uint32_t *ms)
{
    return scalar_duration(slice_of_text(text), ms);
}

static void app_scalar__durations_have_units(void **state)
{
    (void)state;
    uint32_t ms = 7;
    assert_int_equal(duration("500ms", &ms), 0);
    assert_int_equal(ms, 500);
    assert_int_equal(duration("30s", &ms), 0);
    assert_int_equal(ms, 30000);
    assert_int_equal(duration("5 m", &ms), 0);
    assert_int_equal(ms, 300000);
    assert_int_equal(duration("1H", &ms), 0);
    assert_int_equal(ms, 3600000);
    assert_int_equal(duration("0", &ms), 0);
    assert_int_equal(ms, 0);
    ms = 7;
    static const char *const WRONG[] = {"", "5", "s", "-5s", "5x", "5ss", "1.5s", "5s 3m", "0x5s"};
    for (size_t i = 0; i < sizeof(WRONG) / sizeof(WRONG[0]); i++)
        assert_int_equal(duration(WRONG[i], &ms), SMX_E_SYNTAX);
    assert_int_equal(duration("4294967296ms", &ms), SMX_E_RANGE);
    assert_int_equal(duration("18446744073709551615h", &ms), SMX_E_RANGE);
    assert_int_equal(ms, 7);
    assert_int_equal(duration("4294967295ms", &ms), 0);
}

static void app_scalar__sizes_are_binary_with_an_i(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t octets;
    } SIZES[] = {{"25MiB", 26214400}, {"10M", 10000000},
                 {"10MB", 10000000},  {"64KiB", 65536},
                 {"1k", 1000},        {"2GiB", 2147483648},
                 {"2g", 2000000000},  {"123", 123},
                 {"5B", 5},           {"0", 0}};
    uint64_t octets;
    for (size_t i = 0; i < sizeof(SIZES) / sizeof(SIZES[0]); i++) {
        assert_int_equal(scalar_size(slice_of_text(SIZES[i].text), &octets), 0);
        assert_int_equal(octets, SIZES[i].octets);
    }
    assert_int_equal(scalar_size(SMX_SLICE("5T"), &octets), SMX_E_SYNTAX);
    assert_int_equal(scalar_size(SMX_SLICE("MiB"), &octets), SMX_E_SYNTAX);
    assert_int_equal(scalar_size(SMX_SLICE("18446744073709551615K"), &octets), SMX_E_RANGE);
}

static void app_scalar__yes_and_no(void **state)
{
    (void)state;
    bool value = false;
    static const char *const YES[] = {"true", "Yes", "ON"};
    static const char *const NO[] = {"false", "no", "Off"};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(scalar_bool(slice_of_text(YES[i]), &value), 0);
        assert_true(value);
        assert_int_equal(scalar_bool(slice_of_text(NO[i]), &value), 0);
        assert_false(value);
    }
    assert_int_equal(scalar_bool(SMX_SLICE("1"), &value), SMX_E_SYNTAX);
    assert_int_equal(scalar_bool(SMX_SLICE(""), &value), SMX_E_SYNTAX);
}

static void app_scalar__what_is_written_reads_back(void **state)
{
    (void)state;
    static const uint32_t TIMES[] = {0,     1,     999,     1000,    1500,
                                     60000, 61000, 3600000, 5400000, UINT32_MAX};
    static const uint64_t SIZES[] = {0,       1,        1000,       1024,      1025,
                                     1048576, 26214400, 1073741824, UINT64_MAX};
    buffer out = {0};
    for (size_t i = 0; i < sizeof(TIMES) / sizeof(TIMES[0]); i++) {
        uint32_t ms = 0;
        buffer_clear(&out);
        assert_int_equal(scalar_write_duration(TIMES[i], &out), 0);
        assert_int_equal(scalar_duration(buffer_slice(&out), &ms), 0);
        assert_int_equal(ms, TIMES[i]);
    }
    for (size_t i = 0; i < sizeof(SIZES) / sizeof(SIZES[0]); i++) {
        uint64_t octets = 0;
        buffer_clear(&out);
        assert_int_equal(scalar_write_size(SIZES[i], &out), 0);
        assert_int_equal(scalar_size(buffer_slice(&out), &octets), 0);
        assert_int_equal(octets, SIZES[i]);
    }
    buffer_free(&out);
}

static void assert_written(const char *text, const char *expected)
{
    buffer out = {0};
    assert_int_equal(scalar_write_text(slice_of_text(text), &out), 0);
    char *written = slice_to_text(buffer_slice(&out));
    assert_string_equal(written, expected);
    free(written);
    buffer_free(&out);
}

static void app_scalar__texts_are_quoted_where_yaml_would_err(void **state)
{
    (void)state;
    assert_written("smtp://a.b:25", "smtp://a.b:25");
    assert_written("me@example.com", "me@example.com");
    assert_written("", "\"\"");
    assert_written("no", "\"no\"");
    assert_written("Null", "\"Null\"");
    assert_written("a: b", "\"a: b\"");
    assert_written("a:", "\"a:\"");
    assert_written("*@x", "\"*@x\"");
    assert_written("[::1]:25", "\"[::1]:25\"");
    assert_written("a\"\\\n", "\"a\\\"\\\\\\x0A\"");
    assert_written("${A}", "\"$${A}\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(app_scalar__durations_have_units),
        cmocka_unit_test(app_scalar__sizes_are_binary_with_an_i),
        cmocka_unit_test(app_scalar__yes_and_no),
        cmocka_unit_test(app_scalar__what_is_written_reads_back),
        cmocka_unit_test(app_scalar__texts_are_quoted_where_yaml_would_err),
    };
    return cmocka_run_group_tests_name("app_scalar", tests, NULL, NULL);
}
