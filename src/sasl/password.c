/* Stored passwords. Nothing is kept: all comes in as slices and goes out as bool or text. What is
 * secret on the stack is wiped. */
#include "sasl/password.h"

#include <crypt.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>

#include "sasl/scram.h"

/* Hashes of crypt(5): what they begin with, octets of the hash proper at their end, and whether
 * they are worth something. */
typedef struct crypt_form {
    const char *prefix;
    size_t hash_len;
    bool is_strong;
    const char *name;
} crypt_form;

static const crypt_form crypt_forms[] = {
    {"$y$", 43, true, "yescrypt"}, {"$gy$", 43, true, "gost-yescrypt"},
    {"$7$", 43, true, "scrypt"},   {"$2a$", 31, true, "bcrypt"},
    {"$2b$", 31, true, "bcrypt"},  {"$2y$", 31, true, "bcrypt"},
    {"$6$", 86, true, "sha512"},   {"$5$", 43, true, "sha256"},
    {"$1$", 22, false, "md5"},
};

static const crypt_form *crypt_form_of(smx_slice stored)
{
    for (size_t i = 0; i < sizeof(crypt_forms) / sizeof(crypt_forms[0]); i++)
        if (slice_starts_with(stored, slice_of_text(crypt_forms[i].prefix)))
            return &crypt_forms[i];
    return NULL;
}

password_kind password_kind_of(smx_slice stored)
{
    if (scram_is_stored(stored))
        return PASSWORD_SCRAM;
    if (stored.len == 0)
        return PASSWORD_NONE;
    if (stored.data[0] != '$')
        return PASSWORD_CLEAR;
    /* A hash that we do not know must not be taken for a password. */
    const crypt_form *form = crypt_form_of(stored);
    return form != NULL && form->is_strong ? PASSWORD_CRYPT : PASSWORD_NONE;
}

/* Whether all of a hash is there: a cut one could never be right. */
static bool crypt_is_whole(const crypt_form *form, smx_slice stored)
{
    char setting[CRYPT_OUTPUT_SIZE];
    size_t last = slice_find_last(stored, '$');
    /* bcrypt: 22 octets of salt stand before the hash, without a separator. */
    size_t salt = form->hash_len == 31 ? 22 : 0;
    if (stored.len >= sizeof(setting) || memchr(stored.data, '\0', stored.len) != NULL ||
        stored.len - last - 1 != salt + form->hash_len || last < strlen(form->prefix))
        return false;
    memcpy(setting, stored.data, stored.len);
    setting[stored.len] = '\0';
    return crypt_checksalt(setting) != CRYPT_SALT_INVALID;
}

static int password_check_crypt(smx_slice stored, problem *p)
{
    const crypt_form *form = crypt_form_of(stored);
    if (form == NULL)
        return problem_set(p, SMX_E_INVALID,
                           "the password begins with $ but is no known hash: write a hash made by "
                           "`smtpmux passwd`, or a password that does not begin with $");
    if (!form->is_strong)
        return problem_set(p, SMX_E_INVALID,
                           "%s hashes (%s) are too weak: make a new one with `smtpmux passwd`",
                           form->name, form->prefix);
    if (!crypt_is_whole(form, stored))
        return problem_set(p, SMX_E_INVALID,
                           "the %s hash (%s) is malformed or cut short: make a new one with "
                           "`smtpmux passwd`",
                           form->name, form->prefix);
    return 0;
}

int password_check_form(smx_slice stored, problem *p)
{
    scram_keys keys;
    if (stored.len == 0)
        return problem_set(p, SMX_E_INVALID, "the password is empty");
    if (stored.data[0] == '$')
        return password_check_crypt(stored, p);
    if (!scram_is_stored(stored))
        return 0;
    int error = scram_parse(stored, &keys);
    if (error == SMX_E_RANGE)
        return problem_set(p, SMX_E_INVALID,
                           "the SCRAM secret needs %d to %d iterations and keys of %d octets: make "
                           "a new one with `smtpmux passwd --scram`",
                           SCRAM_ITERATIONS, SCRAM_ITERATIONS_MAX, SCRAM_KEY);
    if (error != 0)
        return problem_set(p, SMX_E_INVALID,
                           "the SCRAM secret is malformed: it is "
                           "SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey in base64; make one "
                           "with `smtpmux passwd --scram`");
    return 0;
}

/* The hash of `given` with the salt and method of `setting`; false if crypt(3) gave none. */
static bool crypt_text(smx_slice given, const char *setting, char out[CRYPT_OUTPUT_SIZE])
{
    struct crypt_data data;
    char phrase[CRYPT_MAX_PASSPHRASE_SIZE];
    if (given.len >= sizeof(phrase) || (given.len > 0 && memchr(given.data, '\0', given.len)))
        return false;
    memset(&data, 0, sizeof(data));
    if (given.len > 0)
        memcpy(phrase, given.data, given.len);
    phrase[given.len] = '\0';
    const char *hash = crypt_rn(phrase, setting, &data, (int)sizeof(data));
    /* Failure tokens, "*0" and "*1", are no hashes. */
    bool done = hash != NULL && hash[0] != '*' && strlen(hash) < CRYPT_OUTPUT_SIZE;
    if (done)
        memcpy(out, hash, strlen(hash) + 1);
    OPENSSL_cleanse(phrase, sizeof(phrase));
    OPENSSL_cleanse(&data, sizeof(data));
    return done;
}

static bool crypt_is_right(smx_slice stored, smx_slice given)
{
    char setting[CRYPT_OUTPUT_SIZE];
    char hash[CRYPT_OUTPUT_SIZE];
    if (stored.len >= sizeof(setting))
        return false;
    memcpy(setting, stored.data, stored.len);
    setting[stored.len] = '\0';
    bool right =
        crypt_text(given, setting, hash) && slice_equal_constant_time(slice_of_text(hash), stored);
    OPENSSL_cleanse(hash, sizeof(hash));
    return right;
}

static bool scram_is_right(smx_slice stored, smx_slice given)
{
    scram_keys keys;
    if (scram_parse(stored, &keys) != 0)
        return false;
    scram_keys tried = keys;
    bool right = scram_derive(given, &tried) == 0 &&
                 CRYPTO_memcmp(keys.stored_key, tried.stored_key, SCRAM_KEY) == 0;
    OPENSSL_cleanse(&tried, sizeof(tried));
    return right;
}

bool password_is_right(smx_slice stored, smx_slice given)
{
    switch (password_kind_of(stored)) {
    case PASSWORD_CLEAR:
        return slice_equal_constant_time(given, stored);
    case PASSWORD_CRYPT:
        return crypt_is_right(stored, given);
    case PASSWORD_SCRAM:
        return scram_is_right(stored, given);
    case PASSWORD_NONE:
        break;
    }
    return false;
}

void password_waste_time(smx_slice like_stored)
{
    (void)password_is_right(like_stored, SMX_SLICE("no password of anybody"));
}

int password_hash(smx_slice clear, buffer *out)
{
    char setting[CRYPT_GENSALT_OUTPUT_SIZE];
    char hash[CRYPT_OUTPUT_SIZE];
    if (clear.len == 0)
        return SMX_E_INVALID;
    if (crypt_gensalt_rn("$y$", 0, NULL, 0, setting, (int)sizeof(setting)) == NULL)
        return SMX_E_IO;
    if (!crypt_text(clear, setting, hash))
        return SMX_E_INVALID;
    return buffer_append_text(out, hash);
}

int password_scram(smx_slice clear, buffer *out)
{
    scram_keys keys = {.iterations = SCRAM_ITERATIONS, .salt_len = SCRAM_SALT};
    if (clear.len == 0 || memchr(clear.data, '\0', clear.len) != NULL)
        return SMX_E_INVALID;
    if (RAND_bytes(keys.salt, SCRAM_SALT) != 1)
        return SMX_E_IO;
    int error = scram_derive(clear, &keys);
    return error == 0 ? scram_write(&keys, out) : error;
}
