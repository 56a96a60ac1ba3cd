/* Both sides of an AUTH exchange as octets in and octets out, on libgsasl (RFC 4954, RFC 4422). The
 * sessions carry the octets, the owner brings the two together. No I/O. */
#ifndef SASL_SASL_H
#define SASL_SASL_H

#include "base/buffer.h"

/* ---- the server's side: SCRAM-SHA-256, PLAIN, LOGIN, CRAM-MD5 is not offered ---- */

typedef struct sasl_server sasl_server;

typedef enum sasl_step {
    SASL_CHALLENGE, /* send `output` and come again with the response */
    SASL_PASSWORD,  /* PLAIN, LOGIN: over; the owner judges sasl_server_user's password */
    SASL_SUCCESS,   /* the client has proved to be sasl_server_user */
    SASL_FAILURE,   /* it has not (535 5.7.8) */
    SASL_MALFORMED, /* it broke the mechanism's syntax (501 5.5.2) */
    SASL_NOMEM,
} sasl_step;

/* The stored secret of a user for SCRAM: clear text or SCRAM-SHA-256$iterations:salt$stored:server.
 * False: no such user, or no such secret. */
typedef bool sasl_secret_fn(void *arg, smx_slice user, smx_slice *secret);

SMX_MUST_USE int sasl_server_new(smx_slice mechanism, sasl_secret_fn *secret, void *arg,
                                 sasl_server **server); /* SMX_E_UNSUPPORTED */
void sasl_server_free(sasl_server *server);

/* `has_input` false: no initial response. The output goes to the end of `output`. User names with
 * control octets, or an authorization identity other than empty or the user: FAILURE (ATTACKS 22,
 * CHECKLIST 62). */
sasl_step sasl_server_step(sasl_server *server, bool has_input, smx_slice input, buffer *output);
/* Known from SASL_PASSWORD or SASL_SUCCESS on; live as long as the exchange. */
smx_slice sasl_server_user(const sasl_server *server);
smx_slice sasl_server_password(const sasl_server *server);

/* ---- the client's side ---- */

typedef struct sasl_client sasl_client;

/* The best mechanism of `offered` (words parted by blanks): `wanted` if it is given, else
 * SCRAM-SHA-256, CRAM-MD5 where `clear_text`, PLAIN, LOGIN; with a `token` OAUTHBEARER, XOAUTH2.
 * SMX_E_NOTFOUND. The result is a constant. */
SMX_MUST_USE int sasl_client_choose(smx_slice offered, const char *wanted, bool token,
                                    bool clear_text, const char **mechanism);
/* `password`: the access token for OAUTHBEARER and XOAUTH2, which must live as long as the client. */
SMX_MUST_USE int sasl_client_new(const char *mechanism, const char *user, const char *password,
                                 sasl_client **client);
void sasl_client_free(sasl_client *client);
/* The initial response, if the mechanism has one. */
SMX_MUST_USE int sasl_client_initial(sasl_client *client, bool *has_initial, buffer *output);
/* The response to a challenge. SMX_E_AUTH: the server has not proved itself, or sent nonsense. */
SMX_MUST_USE int sasl_client_step(sasl_client *client, smx_slice challenge, buffer *output);
/* True when the mechanism is content with a success now (SCRAM: the server has proved itself). */
bool sasl_client_is_complete(const sasl_client *client);
/* A word for the log: why the server refuses the token, as it said in a challenge; "" if it did not. */
const char *sasl_client_refusal(const sasl_client *client);

#endif
