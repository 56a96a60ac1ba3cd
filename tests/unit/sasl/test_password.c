/* Stored passwords in all their forms, and the memory of what was right. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "sasl/password.h"

/* Cheap hashes of "pencil". */
static const char *const hashes[] = {
    "$y$j75$zHtbJNzkjpP7XILT/app40$ss1kjXzk.x6bsHQbtQwQO6SctCbCigHTPzPVOyQF967",
    "$gy$j75$l1lduGEwalO6AW/1jOxi00$zTcIIxMVQdB0TvPuxXANDhkcVOqMm3/DCB4BLiUsD16",
    "$7$BU..../....xNiOY9dqCXI4Cwk/T9KSA.$euM8dEDS/h9xYAp4zfA9Ed8Urab.roJBfJYSUk/55L0",
    "$2a$04$zoLos/PA/OtSi0eunLA1Z.lBgkDELLYmY.5IXJ51AdZePQ1OiQysS",
    "$2b$04$hNnM9pdo3LpJVuQl2JAkDOVsuhz9Bu4lSrPQi3buFX5AY5jpL.0WW",
    "$2y$04$Ic2FSYbeApWzrI0Jm1XUgOzp18Xv0ogpQIqJjBZmrzCf/X0AIafp2",
    ("$6$rounds=1000$1U7P5MYCWpCc9f/r$RNt9ayOm6.v0BUTgMwiSM7SQj4.0APz2fsu8wMOXnKNvn9btqhAdtPhFsXba."
     "gNG1kNN0oHWPqA13HmavVtYt/"),
    "$5$rounds=1000$ULZCMQpi.irIP1R5$BIIJV0gYTRCdv46fySwthx13OVrdHKeTi7DJgaugr7B",
};
enum { HASH_COUNT = sizeof(hashes) / sizeof(hashes[0]) };

static const char *const md5_hash = "$1$5PSqa6Oq$CabvN4iTmP2ZCpDWc.bwL0";

/* RFC 7677 section 3. */
#define PENCIL_KEYS                                                                                \
    "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"    \
    "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="

static bool right(const char *stored, const char *given)
{
    return password_is_right(slice_of_text(stored), slice_of_text(given));
}

static void password__clear_text_is_compared_whole(void **state)
{
    (void)state;
    assert_int_equal(password_kind_of(SMX_SLICE("secret")), PASSWORD_CLEAR);
    assert_true(right("secret", "secret"));
    assert_false(right("secret", "secre"));
    assert_false(right("secret", "secrets"));
    assert_false(right("secret", "Secret"));
    assert_false(right("secret", ""));
    assert_true(password_is_right(SMX_SLICE("a\0b"), SMX_SLICE("a\0b")));
    assert_false(password_is_right(SMX_SLICE("a\0b"), SMX_SLICE("a\0c")));
}

static void password__nothing_stored_is_never_right(void **state)
{
    (void)state;
    assert_int_equal(password_kind_of(SMX_SLICE("")), PASSWORD_NONE);
    assert_false(right("", ""));
    assert_false(right("", "x"));
}

static void password__every_crypt_hash_is_checked(void **state)
{
    (void)state;
    for (size_t i = 0; i < HASH_COUNT; i++) {
        assert_int_equal(password_kind_of(slice_of_text(hashes[i])), PASSWORD_CRYPT);
        assert_true(right(hashes[i], "pencil"));
        assert_false(right(hashes[i], "pencils"));
        assert_false(right(hashes[i], ""));
        assert_false(right(hashes[i], hashes[i]));
        assert_false(password_is_right(slice_of_text(hashes[i]), SMX_SLICE("pencil\0")));
    }
}

static void password__unknown_and_weak_hashes_are_never_right(void **state)
{
    (void)state;
    assert_int_equal(password_kind_of(slice_of_text(md5_hash)), PASSWORD_NONE);
    assert_false(right(md5_hash, "pencil"));
    assert_false(right("$w0rdfish", "$w0rdfish"));
    assert_false(right("$argon2id$v=19$m=65536,t=3,p=4$c2FsdA$aGFzaA", "x"));
}

static void password__failure_tokens_of_crypt_are_never_right(void **state)
{
    (void)state;
    /* crypt(3) answers these with "*0": they must not be right for anybody. */
    assert_false(right("$6$", "*0"));
    assert_false(right("$y$j9T$", "x"));
    assert_false(right("$2b$99$zzz", "*0"));
}

static void password__scram_keys_are_checked(void **state)
{
    (void)state;
    assert_int_equal(password_kind_of(SMX_SLICE(PENCIL_KEYS)), PASSWORD_SCRAM);
    assert_true(right(PENCIL_KEYS, "pencil"));
    assert_false(right(PENCIL_KEYS, "Pencil"));
    assert_false(right("SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$x:y", "pencil"));
}

static int form(const char *stored, problem *p)
{
    p->text[0] = '\0';
    return password_check_form(slice_of_text(stored), p);
}

static void password_form__good_secrets_pass(void **state)
{
    (void)state;
    problem p;
    for (size_t i = 0; i < HASH_COUNT; i++)
        assert_int_equal(form(hashes[i], &p), 0);
    assert_int_equal(form("secret", &p), 0);
    assert_int_equal(form(PENCIL_KEYS, &p), 0);
    assert_int_equal(password_check_form(SMX_SLICE("secret"), NULL), 0);
}

static void password_form__problems_say_what_to_do(void **state)
{
    (void)state;
    problem p;
    assert_int_equal(form("", &p), SMX_E_INVALID);
    assert_non_null(strstr(p.text, "empty"));
    assert_int_equal(form("$w0rdfish", &p), SMX_E_INVALID);
    assert_non_null(strstr(p.text, "no known hash"));
    assert_int_equal(form(md5_hash, &p), SMX_E_INVALID);
    assert_non_null(strstr(p.text, "too weak"));
    assert_int_equal(form("$", &p), SMX_E_INVALID);
    assert_int_equal(password_check_form(SMX_SLICE("$"), NULL), SMX_E_INVALID);
    assert_null(strstr(p.text, "w0rdfish"));
}

static void password_form__every_cut_hash_is_refused(void **state)
{
    (void)state;
    problem p;
    for (size_t i = 0; i < HASH_COUNT; i++) {
        for (size_t len = 4; len < strlen(hashes[i]); len++)
            assert_int_equal(password_check_form(slice_of(hashes[i], len), &p), SMX_E_INVALID);
        char longer[256];
        assert_true(snprintf(longer, sizeof(longer), "%sx", hashes[i]) > 0);
        assert_int_equal(form(longer, &p), SMX_E_INVALID);
        assert_non_null(strstr(p.text, "cut short"));
    }
}

static void password_form__scram_keys_are_read_strictly(void **state)
{
    (void)state;
    problem p;
    const smx_slice keys = SMX_SLICE(PENCIL_KEYS);
    for (size_t len = strlen("SCRAM-SHA-256$"); len < keys.len; len++)
        assert_int_equal(password_check_form(slice_to(keys, len), &p), SMX_E_INVALID);
    assert_int_equal(form(PENCIL_KEYS ":", &p), SMX_E_INVALID);
    assert_non_null(strstr(p.text, "malformed"));
    assert_int_equal(form("SCRAM-SHA-256$4095:W22ZaJ0SNY7soEsUEjb6gQ==$"
                          "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
                          "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
                          &p),
                     SMX_E_INVALID);
    assert_non_null(strstr(p.text, "4096"));
    assert_int_equal(form("SCRAM-SHA-256$4096:$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
                          "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
                          &p),
                     SMX_E_INVALID);
}

static void password_hash__result_is_right_and_new_each_time(void **state)
{
    (void)state;
    buffer first = {0};
    buffer second = {0};
    problem p;
    assert_int_equal(password_hash(SMX_SLICE("p\xc3\xa4ss"), &first), 0);
    assert_int_equal(password_hash(SMX_SLICE("p\xc3\xa4ss"), &second), 0);
    assert_true(slice_starts_with(buffer_slice(&first), SMX_SLICE("$y$")));
    assert_int_equal(password_check_form(buffer_slice(&first), &p), 0);
    assert_true(password_is_right(buffer_slice(&first), SMX_SLICE("p\xc3\xa4ss")));
    assert_false(slice_equal(buffer_slice(&first), buffer_slice(&second)));
    assert_int_equal(password_hash(SMX_SLICE(""), &first), SMX_E_INVALID);
    assert_int_equal(password_hash(SMX_SLICE("a\0b"), &first), SMX_E_INVALID);
    buffer_free(&first);
    buffer_free(&second);
}

static void password_scram__result_is_right_and_new_each_time(void **state)
{
    (void)state;
    buffer first = {0};
    buffer second = {0};
    problem p;
    assert_int_equal(password_scram(SMX_SLICE("pencil"), &first), 0);
    assert_int_equal(password_scram(SMX_SLICE("pencil"), &second), 0);
    assert_true(slice_starts_with(buffer_slice(&first), SMX_SLICE("SCRAM-SHA-256$4096:")));
    assert_int_equal(password_check_form(buffer_slice(&first), &p), 0);
    assert_true(password_is_right(buffer_slice(&first), SMX_SLICE("pencil")));
    assert_false(password_is_right(buffer_slice(&first), SMX_SLICE("pencil ")));
    assert_false(slice_equal(buffer_slice(&first), buffer_slice(&second)));
    assert_int_equal(password_scram(SMX_SLICE(""), &first), SMX_E_INVALID);
    assert_int_equal(password_scram(SMX_SLICE("a\0b"), &first), SMX_E_INVALID);
    buffer_free(&first);
    buffer_free(&second);
}

static void password_memory__knows_the_pair_and_nothing_else(void **state)
{
    (void)state;
    password_memory *memory = NULL;
    assert_int_equal(password_memory_new(&memory), 0);
    const smx_slice stored = SMX_SLICE("$y$hash");
    assert_false(password_memory_knows(memory, stored, SMX_SLICE("pencil")));
    password_memory_add(memory, stored, SMX_SLICE("pencil"));
    password_memory_add(memory, stored, SMX_SLICE("pencil"));
    assert_true(password_memory_knows(memory, stored, SMX_SLICE("pencil")));
    assert_false(password_memory_knows(memory, stored, SMX_SLICE("pencils")));
    assert_false(password_memory_knows(memory, SMX_SLICE("$y$hash2"), SMX_SLICE("pencil")));
    /* The border between the two counts. */
    assert_false(password_memory_knows(memory, SMX_SLICE("$y$hashp"), SMX_SLICE("encil")));
    assert_false(password_memory_knows(memory, SMX_SLICE("$y$has"), SMX_SLICE("hpencil")));
    password_memory_free(memory);
    password_memory_free(NULL);
}

static void password_memory__oldest_makes_room(void **state)
{
    (void)state;
    enum { ROOM = 4096 };
    password_memory *memory = NULL;
    assert_int_equal(password_memory_new(&memory), 0);
    for (uint32_t i = 0; i < ROOM + 10; i++)
        password_memory_add(memory, SMX_SLICE("s"), slice_of((const char *)&i, sizeof(i)));
    for (uint32_t i = 0; i < ROOM + 10; i++)
        assert_int_equal(
            password_memory_knows(memory, SMX_SLICE("s"), slice_of((const char *)&i, sizeof(i))),
            i >= 10);
    password_memory_free(memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(password__clear_text_is_compared_whole),
        cmocka_unit_test(password__nothing_stored_is_never_right),
        cmocka_unit_test(password__every_crypt_hash_is_checked),
        cmocka_unit_test(password__unknown_and_weak_hashes_are_never_right),
        cmocka_unit_test(password__failure_tokens_of_crypt_are_never_right),
        cmocka_unit_test(password__scram_keys_are_checked),
        cmocka_unit_test(password_form__good_secrets_pass),
        cmocka_unit_test(password_form__problems_say_what_to_do),
        cmocka_unit_test(password_form__every_cut_hash_is_refused),
        cmocka_unit_test(password_form__scram_keys_are_read_strictly),
        cmocka_unit_test(password_hash__result_is_right_and_new_each_time),
        cmocka_unit_test(password_scram__result_is_right_and_new_each_time),
        cmocka_unit_test(password_memory__knows_the_pair_and_nothing_else),
        cmocka_unit_test(password_memory__oldest_makes_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
