/* The keys of SCRAM-SHA-256. Values only; what is secret on the stack is wiped. */
#include "sasl/scram.h"

#include <gsasl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <stdlib.h>

#include "smx/proto.h"

#define SCRAM_PREFIX SMX_SLICE("SCRAM-SHA-256$")

bool scram_is_stored(smx_slice stored)
{
    return slice_starts_with(stored, SCRAM_PREFIX);
}

static int scram_parse_key(smx_slice text, unsigned char key[SCRAM_KEY])
{
    size_t len;
    int error = smx_base64_decode(text, (char *)key, SCRAM_KEY, &len);
    return error == 0 && len != SCRAM_KEY ? SMX_E_SYNTAX : error;
}

int scram_parse(smx_slice stored, scram_keys *keys)
{
    scram_keys k = {0};
    uint64_t iterations;
    if (!scram_is_stored(stored))
        return SMX_E_SYNTAX;
    smx_slice rest = slice_from(stored, SCRAM_PREFIX.len);
    smx_slice count;
    smx_slice salt;
    smx_slice stored_key;
    if (!slice_cut(&rest, ':', &count) || !slice_cut(&rest, '$', &salt) ||
        !slice_cut(&rest, ':', &stored_key) || rest.data == NULL)
        return SMX_E_SYNTAX;
    int error = slice_to_number(count, SCRAM_ITERATIONS_MAX, &iterations);
    if (error == 0 && iterations < SCRAM_ITERATIONS)
        error = SMX_E_RANGE;
    if (error == 0)
        error = smx_base64_decode(salt, (char *)k.salt, sizeof(k.salt), &k.salt_len);
    if (error == 0 && k.salt_len == 0)
        error = SMX_E_SYNTAX;
    if (error == 0)
        error = scram_parse_key(stored_key, k.stored_key);
    if (error == 0)
        error = scram_parse_key(rest, k.server_key);
    if (error != 0)
        return error;
    k.iterations = (uint32_t)iterations;
    *keys = k;
    return 0;
}

int scram_append_base64(buffer *out, const unsigned char *octets, size_t len)
{
    size_t written;
    size_t size = smx_base64_size(len);
    int error = buffer_reserve(out, size);
    if (error == 0)
        error = smx_base64_encode(slice_of((const char *)octets, len), out->data + out->end, size,
                                  &written);
    if (error == 0)
        out->end += written;
    return error;
}

int scram_write(const scram_keys *keys, buffer *out)
{
    size_t before = buffer_length(out);
    int error = buffer_printf(out, "SCRAM-SHA-256$%u:", (unsigned)keys->iterations);
    if (error == 0)
        error = scram_append_base64(out, keys->salt, keys->salt_len);
    if (error == 0)
        error = buffer_append_char(out, '$');
    if (error == 0)
        error = scram_append_base64(out, keys->stored_key, SCRAM_KEY);
    if (error == 0)
        error = buffer_append_char(out, ':');
    if (error == 0)
        error = scram_append_base64(out, keys->server_key, SCRAM_KEY);
    if (error != 0)
        buffer_truncate(out, before);
    return error;
}

static bool scram_hmac(const unsigned char key[SCRAM_KEY], const char *text,
                       unsigned char out[SCRAM_KEY])
{
    return HMAC(EVP_sha256(), key, SCRAM_KEY, (const unsigned char *)text, strlen(text), out,
                NULL) != NULL;
}

/* The password as both sides prepare it (RFC 4013). One that cannot be prepared stays as it is. */
static int scram_prepare(smx_slice clear, char **prepared)
{
    char *text = slice_to_text(clear);
    char *prepared_by_gsasl = NULL;
    if (text == NULL)
        return SMX_E_NOMEM;
    if (memchr(text, '\0', clear.len) != NULL ||
        gsasl_saslprep(text, 0, &prepared_by_gsasl, NULL) != GSASL_OK) {
        *prepared = text;
        return 0;
    }
    OPENSSL_cleanse(text, clear.len);
    free(text);
    *prepared = prepared_by_gsasl;
    return 0;
}

int scram_derive(smx_slice clear, scram_keys *keys)
{
    unsigned char salted[SCRAM_KEY];
    unsigned char client[SCRAM_KEY];
    char *password = NULL;
    int error = scram_prepare(clear, &password);
    if (error != 0)
        return error;
    bool done = PKCS5_PBKDF2_HMAC(password, (int)strlen(password), keys->salt, (int)keys->salt_len,
                                  (int)keys->iterations, EVP_sha256(), SCRAM_KEY, salted) == 1 &&
                scram_hmac(salted, "Client Key", client) &&
                SHA256(client, SCRAM_KEY, keys->stored_key) != NULL &&
                scram_hmac(salted, "Server Key", keys->server_key);
    OPENSSL_cleanse(salted, sizeof(salted));
    OPENSSL_cleanse(client, sizeof(client));
    OPENSSL_cleanse(password, strlen(password));
    free(password);
    return done ? 0 : SMX_E_NOMEM;
}
