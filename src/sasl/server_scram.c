/* SCRAM-SHA-256 (RFC 5802, RFC 7677) on libgsasl, which asks for salt and keys in a callback once it
 * knows the name. Names are not to be told apart by what is answered: the salt of a user without
 * stored keys and of one that does not exist is made from the name, and the keys of each are derived
 * whether they are needed or not, so that all take the same time. */
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <sys/auxv.h>

#include "sasl/password.h"
#include "sasl/scram.h"
#include "sasl/server.h"

enum { SCRAM_FIRST, SCRAM_FINAL, SCRAM_DONE };

/* The salt of a name: the same as long as the process runs, and nobody else can make it. The key is
 * what the kernel gives each process for such ends. */
static bool scram_salt_of(smx_slice user, unsigned char salt[SCRAM_SALT])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    const void *key = (const void *)getauxval(AT_RANDOM);
    if (key == NULL || HMAC(EVP_sha256(), key, 16, (const unsigned char *)user.data, user.len,
                            digest, NULL) == NULL)
        return false;
    memcpy(salt, digest, SCRAM_SALT);
    return true;
}

/* The keys of `user`, or keys that no password fits. */
static int scram_keys_of(sasl_server *server, smx_slice user, scram_keys *keys)
{
    char nobody[SCRAM_KEY];
    smx_slice secret = slice_of("", 0);
    scram_keys stored;
    scram_keys derived = {.iterations = SCRAM_ITERATIONS, .salt_len = SCRAM_SALT};
    bool known = server->secret(server->secret_arg, user, &secret);
    password_kind kind = known ? password_kind_of(secret) : PASSWORD_NONE;
    bool has_keys = kind == PASSWORD_SCRAM && scram_parse(secret, &stored) == 0;
    server->is_known = has_keys || kind == PASSWORD_CLEAR;
    if (!scram_salt_of(user, derived.salt) || RAND_bytes((unsigned char *)nobody, SCRAM_KEY) != 1)
        return SMX_E_NOMEM;
    int error =
        scram_derive(kind == PASSWORD_CLEAR ? secret : slice_of(nobody, sizeof(nobody)), &derived);
    if (error == 0)
        *keys = has_keys ? stored : derived;
    OPENSSL_cleanse(&derived, sizeof(derived));
    return error;
}

static int scram_set(Gsasl_session *session, Gsasl_property property, const unsigned char *octets,
                     size_t len)
{
    buffer text = {0};
    int result = GSASL_MALLOC_ERROR;
    if (scram_append_base64(&text, octets, len) == 0 && buffer_append_char(&text, '\0') == 0)
        result = gsasl_property_set(session, property, text.data + text.start);
    if (text.data != NULL)
        OPENSSL_cleanse(text.data, text.capacity);
    buffer_free(&text);
    return result;
}

/* Hands libgsasl all that it needs of this user. */
static int scram_load(sasl_server *server, Gsasl_session *session)
{
    scram_keys keys;
    buffer iterations = {0};
    smx_slice user = slice_of_text(gsasl_property_fast(session, GSASL_AUTHID));
    if (user.len == 0 || scram_keys_of(server, user, &keys) != 0)
        return user.len == 0 ? GSASL_NO_AUTHID : GSASL_MALLOC_ERROR;
    int result = GSASL_MALLOC_ERROR;
    if (buffer_printf(&iterations, "%u", (unsigned)keys.iterations) == 0)
        result = gsasl_property_set(session, GSASL_SCRAM_ITER, iterations.data);
    buffer_free(&iterations);
    if (result == GSASL_OK)
        result = scram_set(session, GSASL_SCRAM_SALT, keys.salt, keys.salt_len);
    if (result == GSASL_OK)
        result = scram_set(session, GSASL_SCRAM_STOREDKEY, keys.stored_key, SCRAM_KEY);
    if (result == GSASL_OK)
        result = scram_set(session, GSASL_SCRAM_SERVERKEY, keys.server_key, SCRAM_KEY);
    OPENSSL_cleanse(&keys, sizeof(keys));
    return result;
}

static int scram_callback(Gsasl *gsasl, Gsasl_session *session, Gsasl_property property)
{
    (void)gsasl;
    if (property != GSASL_SCRAM_ITER)
        return GSASL_NO_CALLBACK;
    sasl_server *server = gsasl_session_hook_get(session);
    server->load_result = scram_load(server, session);
    return server->load_result;
}

static int scram_start(sasl_server *server)
{
    if (gsasl_init(&server->gsasl) != GSASL_OK)
        return SMX_E_NOMEM;
    gsasl_callback_set(server->gsasl, scram_callback);
    if (gsasl_server_start(server->gsasl, "SCRAM-SHA-256", &server->session) != GSASL_OK)
        return SMX_E_NOMEM;
    gsasl_session_hook_set(server->session, server);
    return 0;
}

static sasl_step scram_refusal(int result)
{
    switch (result) {
    case GSASL_MALLOC_ERROR:
        return SASL_NOMEM;
    case GSASL_MECHANISM_PARSE_ERROR:
    case GSASL_BASE64_ERROR:
    case GSASL_NEEDS_MORE:
        return SASL_MALFORMED;
    default:
        return SASL_FAILURE;
    }
}

/* The name of the client's first message, which may also ask to act as another. */
static sasl_step scram_take_user(sasl_server *server)
{
    smx_slice user = slice_of_text(gsasl_property_fast(server->session, GSASL_AUTHID));
    smx_slice other = slice_of_text(gsasl_property_fast(server->session, GSASL_AUTHZID));
    if (!sasl_user_is_valid(user) || (other.len > 0 && !slice_equal(other, user)))
        return SASL_FAILURE;
    return buffer_append(&server->user, user) == 0 ? SASL_CHALLENGE : SASL_NOMEM;
}

static sasl_step scram_step(sasl_server *server, bool has_input, smx_slice input, buffer *output)
{
    char *answer = NULL;
    size_t len = 0;
    (void)has_input;
    if (server->stage == SCRAM_DONE)
        return input.len == 0 ? SASL_SUCCESS : SASL_MALFORMED;
    /* libgsasl reads up to a NUL: what stands behind it must not go unseen. */
    if (input.len == 0 || slice_find(input, '\0') < input.len)
        return SASL_MALFORMED;
    /* Channel binding, which is not offered: the flag p (RFC 5802 section 6), let through by
     * libgsasl. */
    if (server->stage == SCRAM_FIRST && input.data[0] == 'p')
        return SASL_FAILURE;
    int result = gsasl_step(server->session, input.data, input.len, &answer, &len);
    /* Without keys libgsasl would go on with a salt of its own. */
    if (server->load_result != GSASL_OK)
        result = server->load_result;
    sasl_step step = SASL_CHALLENGE;
    if (result != (server->stage == SCRAM_FIRST ? GSASL_NEEDS_MORE : GSASL_OK))
        step = scram_refusal(result);
    else if (server->stage == SCRAM_FIRST)
        step = scram_take_user(server);
    else if (!server->is_known)
        step = SASL_FAILURE;
    if (step == SASL_CHALLENGE && buffer_append(output, slice_of(answer, len)) != 0)
        step = SASL_NOMEM;
    gsasl_free(answer);
    /* The proof of the server goes out as a challenge; the empty answer to it ends the exchange
     * (RFC 4954 section 4). */
    server->stage++;
    return step;
}

const sasl_mechanism sasl_server_scram = {
    .name = "SCRAM-SHA-256", .client_first = true, .start = scram_start, .step = scram_step};
