/* Tries an upstream without a message: connect, TLS, EHLO, AUTH, QUIT. */
#ifndef UPSTREAM_TEST_CONNECTION_H
#define UPSTREAM_TEST_CONNECTION_H

#include <stdatomic.h>

#include "upstream/upstream.h"

enum { UPSTREAM_TEST_TEXT = 512, UPSTREAM_TEST_STEPS = 9 };

/* Time spent in one phase. TLS by STARTTLS lies between two EHLO; a token of OAuth2 comes first. */
typedef struct upstream_test_step {
    smx_client_phase phase;
    uint64_t ms;
} upstream_test_step;

typedef struct upstream_test {
    bool ok;
    uint64_t took_ms;
    upstream_test_step steps[UPSTREAM_TEST_STEPS];
    size_t step_count;

    bool tls;
    bool verified;
    char tls_protocol[32];
    char tls_cipher[64];
    char unverified[UPSTREAM_TEST_TEXT]; /* why the certificate is not believed, or "" */

    bool is_ready;      /* these are known: */
    char mechanism[32]; /* that AUTH succeeded by; "" without credentials */
    smx_extensions extensions;
    uint64_t max_size;
    char auth[256]; /* mechanisms that it offers */
    char name[256]; /* what it calls itself */

    /* Not ok: */
    smx_client_phase phase;
    int error;     /* a local failure, or 0 */
    uint16_t code; /* of the reply that decided, or 0 */
    char reply[UPSTREAM_TEST_TEXT];
    char detail[UPSTREAM_TEST_TEXT];
} upstream_test;

/* Runs on the calling thread, on a loop of its own, for at most `patience_ms` or until *stop (which
 * may be NULL) is true. `tokens`: where an OAuth2 access token comes from in place of the password, or
 * NULL; what it takes to have one is a step of AUTH before all others, and a token that is refused is
 * replaced once, as for a message. SMX_E_* only if there could be no test: what the upstream or the
 * token endpoint does wrong is in the result. */
SMX_MUST_USE int upstream_test_run(const upstream_options *options, const char *hostname,
                                   oauth2 *tokens, uint32_t patience_ms, const atomic_bool *stop,
                                   upstream_test *result, problem *p);

#endif
