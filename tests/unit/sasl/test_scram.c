/* The keys of SCRAM-SHA-256 against the exchange of RFC 7677 section 3. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>

#include "sasl/scram.h"
#include "smx/proto.h"

static const char auth_message[] =
    "n=user,r=rOprNGfwEbeRWgbNEkqO,"
    "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,"
    "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";

static scram_keys rfc_keys(void)
{
    scram_keys keys = {.iterations = 4096};
    assert_int_equal(smx_base64_decode(SMX_SLICE("W22ZaJ0SNY7soEsUEjb6gQ=="), (char *)keys.salt,
                                       sizeof(keys.salt), &keys.salt_len),
                     0);
    assert_int_equal(scram_derive(SMX_SLICE("pencil"), &keys), 0);
    return keys;
}

static void sign(const unsigned char key[SCRAM_KEY], unsigned char out[SCRAM_KEY])
{
    assert_non_null(HMAC(EVP_sha256(), key, SCRAM_KEY, (const unsigned char *)auth_message,
                         strlen(auth_message), out, NULL));
}

static void scram__server_signature_of_rfc_7677(void **state)
{
    (void)state;
    unsigned char signature[SCRAM_KEY];
    buffer text = {0};
    scram_keys keys = rfc_keys();
    sign(keys.server_key, signature);
    assert_int_equal(scram_append_base64(&text, signature, SCRAM_KEY), 0);
    assert_true(slice_equal(buffer_slice(&text),
                            SMX_SLICE("6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")));
    buffer_free(&text);
}

static void scram__client_proof_of_rfc_7677_fits_the_stored_key(void **state)
{
    (void)state;
    unsigned char proof[SCRAM_KEY];
    unsigned char signature[SCRAM_KEY];
    unsigned char hash[SCRAM_KEY];
    size_t len;
    scram_keys keys = rfc_keys();
    assert_int_equal(smx_base64_decode(SMX_SLICE("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="),
                                       (char *)proof, sizeof(proof), &len),
                     0);
    sign(keys.stored_key, signature);
    for (size_t i = 0; i < SCRAM_KEY; i++)
        proof[i] ^= signature[i];
    (void)SHA256(proof, SCRAM_KEY, hash);
    assert_memory_equal(hash, keys.stored_key, SCRAM_KEY);
}

static void scram__what_is_written_is_read_again(void **state)
{
    (void)state;
    buffer text = {0};
    scram_keys keys = rfc_keys();
    scram_keys again;
    assert_int_equal(scram_write(&keys, &text), 0);
    assert_int_equal(scram_parse(buffer_slice(&text), &again), 0);
    assert_int_equal(again.iterations, keys.iterations);
    assert_int_equal(again.salt_len, keys.salt_len);
    assert_memory_equal(again.salt, keys.salt, keys.salt_len);
    assert_memory_equal(again.stored_key, keys.stored_key, SCRAM_KEY);
    assert_memory_equal(again.server_key, keys.server_key, SCRAM_KEY);
    buffer_free(&text);
}

/* RFC 4013: a no-break space is a space, a soft hyphen is nothing. */
static void scram__passwords_are_prepared(void **state)
{
    (void)state;
    scram_keys plain = {.iterations = 4096, .salt_len = 1, .salt = {1}};
    scram_keys fancy = plain;
    scram_keys other = plain;
    assert_int_equal(scram_derive(SMX_SLICE("my password"), &plain), 0);
    assert_int_equal(scram_derive(SMX_SLICE("my\xc2\xa0pass\xc2\xadword"), &fancy), 0);
    assert_int_equal(scram_derive(SMX_SLICE("my\xff password"), &other), 0);
    assert_memory_equal(plain.stored_key, fancy.stored_key, SCRAM_KEY);
    assert_memory_not_equal(plain.stored_key, other.stored_key, SCRAM_KEY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scram__server_signature_of_rfc_7677),
        cmocka_unit_test(scram__client_proof_of_rfc_7677_fits_the_stored_key),
        cmocka_unit_test(scram__what_is_written_is_read_again),
        cmocka_unit_test(scram__passwords_are_prepared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
