/* The keys of SCRAM-SHA-256 (RFC 5802 section 3, RFC 7677): derived, stored, compared. */
#ifndef SASL_SCRAM_H
#define SASL_SCRAM_H

#include "base/buffer.h"

enum {
    SCRAM_KEY = 32,                /* octets of a SHA-256 */
    SCRAM_SALT_MAX = 64,           /* octets of a salt */
    SCRAM_SALT = 16,               /* of one that we make */
    SCRAM_ITERATIONS = 4096,       /* of keys that we make, and the least that we take */
    SCRAM_ITERATIONS_MAX = 600000, /* more would hold up everybody else */
};

typedef struct scram_keys {
    uint32_t iterations;
    size_t salt_len;
    unsigned char salt[SCRAM_SALT_MAX];
    unsigned char stored_key[SCRAM_KEY];
    unsigned char server_key[SCRAM_KEY];
} scram_keys;

/* Whether a stored secret is meant to be SCRAM keys. */
bool scram_is_stored(smx_slice stored);
/* Reads SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey. SMX_E_SYNTAX, SMX_E_RANGE. */
SMX_MUST_USE int scram_parse(smx_slice stored, scram_keys *keys);
SMX_MUST_USE int scram_write(const scram_keys *keys, buffer *out);

/* Fills in the two keys from a clear password, the salt and the iterations, which are set. Takes
 * some milliseconds. SMX_E_NOMEM. */
SMX_MUST_USE int scram_derive(smx_slice clear, scram_keys *keys);

/* Appends octets in base64. */
SMX_MUST_USE int scram_append_base64(buffer *out, const unsigned char *octets, size_t len);

#endif
