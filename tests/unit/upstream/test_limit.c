/* The texts of limits: what they mean, and what is said of wrong ones. */
#include "upstream/limit.h"

#include "support/unit_test.h"

typedef struct good_limit {
    const char *text;
    uint64_t amount;
    quota_unit unit;
    uint64_t seconds;
    const char *key;
} good_limit;

static const good_limit GOOD[] = {
    {"14 recipients/s", 14, QUOTA_RECIPIENTS, 1, "recipients/1s"},
    {"50000 recipients/day", 50000, QUOTA_RECIPIENTS, 86400, "recipients/86400s"},
    {"50_000 recipients/day", 50000, QUOTA_RECIPIENTS, 86400, "recipients/86400s"},
    {"1 message / minute", 1, QUOTA_MESSAGES, 60, "messages/60s"},
    {"100/5m", 100, QUOTA_MESSAGES, 300, "messages/300s"},
    {"  7 /90s ", 7, QUOTA_MESSAGES, 90, "messages/90s"},
    {"100/h", 100, QUOTA_MESSAGES, 3600, "messages/3600s"},
    {"100 Messages/Hour", 100, QUOTA_MESSAGES, 3600, "messages/3600s"},
    {"9/week", 9, QUOTA_MESSAGES, 604800, "messages/604800s"},
    {"9/30d", 9, QUOTA_MESSAGES, 2592000, "messages/2592000s"},
    {"1000000000/d", 1000000000, QUOTA_MESSAGES, 86400, "messages/86400s"},
    {"500/day calendar", 500, QUOTA_MESSAGES, 86400, "messages/day UTC"},
    {"500/month calendar Europe/Berlin", 500, QUOTA_MESSAGES, 2592000,
     "messages/month Europe/Berlin"},
    {"5 recipients/hour calendar America/New_York", 5, QUOTA_RECIPIENTS, 3600,
     "recipients/hour America/New_York"},
};

static void limit__good_ones_are_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(GOOD) / sizeof(GOOD[0]); i++) {
        quota_limit limit;
        problem p = {0};
        char key[QUOTA_TEXT];
        if (quota_limit_parse(slice_of_text(GOOD[i].text), &limit, &p) != 0)
            fail_msg("%s: %s", GOOD[i].text, p.text);
        assert_int_equal(limit.amount, GOOD[i].amount);
        assert_int_equal(limit.unit, GOOD[i].unit);
        assert_int_equal(limit.window_ms, GOOD[i].seconds * 1000);
        quota_limit_key(&limit, key);
        assert_string_equal(key, GOOD[i].key);
    }
}

typedef struct bad_limit {
    const char *text;
    int error;
    const char *said; /* somewhere in the problem */
} bad_limit;

static const bad_limit BAD[] = {
    {"", SMX_E_SYNTAX, "`` is no number"},
    {"many/day", SMX_E_SYNTAX, "`many` is no number"},
    {"10k/day", SMX_E_SYNTAX, "`10k` is no number"},
    {"-1/day", SMX_E_SYNTAX, "no number"},
    {"1_/day", SMX_E_SYNTAX, "no number"},
    {"1__0/day", SMX_E_SYNTAX, "no number"},
    {"0/day", SMX_E_RANGE, "1 to 1000000000"},
    {"1000000001/day", SMX_E_RANGE, "1 to 1000000000"},
    {"99999999999999999999999999/day", SMX_E_RANGE, "1 to 1000000000"},
    {"5 mails/day", SMX_E_SYNTAX, "write `messages` or `recipients`"},
    {"5", SMX_E_SYNTAX, "a limit is written"},
    {"5 messages day", SMX_E_SYNTAX, "a limit is written"},
    {"5/", SMX_E_SYNTAX, "`` is no window"},
    {"5/fortnight", SMX_E_SYNTAX, "`fortnight` is no window"},
    {"5/0s", SMX_E_RANGE, "1s to 366d"},
    {"5/367d", SMX_E_RANGE, "1s to 366d"},
    {"5/99999999999999999999d", SMX_E_RANGE, "1s to 366d"},
    {"5/month", SMX_E_SYNTAX, "`month calendar`"},
    {"5/day sometimes", SMX_E_SYNTAX, "only `calendar`"},
    {"5/day UTC", SMX_E_SYNTAX, "only `calendar`"},
    {"5/2h calendar", SMX_E_SYNTAX, "one minute, hour, day"},
    {"5/day calendar Europe/Atlantis", SMX_E_NOTFOUND, "`Europe/Atlantis` is no time zone"},
    {"5/day calendar UTC now", SMX_E_NOTFOUND, "no time zone"},
};

static void limit__wrong_ones_are_told_what_was_expected(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(BAD) / sizeof(BAD[0]); i++) {
        quota_limit limit = {.amount = 77};
        problem p = {0};
        int error = quota_limit_parse(slice_of_text(BAD[i].text), &limit, &p);
        if (error != BAD[i].error || strstr(p.text, BAD[i].said) == NULL)
            fail_msg("%s: %d %s", BAD[i].text, error, p.text);
        assert_int_equal(limit.amount, 77);
    }
}

static void limit__an_endless_text_is_refused(void **state)
{
    (void)state;
    char text[1000];
    memset(text, '1', sizeof(text));
    quota_limit limit;
    problem p = {0};
    assert_int_equal(quota_limit_parse(slice_of(text, sizeof(text)), &limit, &p), SMX_E_SYNTAX);
    memset(text, ' ', sizeof(text));
    memcpy(text, "5/day calendar ", 15);
    memset(text + 15, 'Z', 100);
    assert_int_equal(quota_limit_parse(slice_of(text, 115), &limit, &p), SMX_E_NOTFOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(limit__good_ones_are_read),
        cmocka_unit_test(limit__wrong_ones_are_told_what_was_expected),
        cmocka_unit_test(limit__an_endless_text_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
