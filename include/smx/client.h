/* An SMTP client: one connection to a server and its transactions.
 *
 * A client connects, greets, secures and authenticates itself, and is then ready for one transaction
 * after the other. What happens is told by callbacks on the loop's thread, never from within a call.
 */
#ifndef SMX_CLIENT_H
#define SMX_CLIENT_H

#include "smx/loop.h"
#include "smx/message.h"
#include "smx/session.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct smx_client smx_client;

/* Certificates that a client believes and shows; shared by the clients of one loop. */
typedef struct smx_client_tls smx_client_tls;
/* `ca_file` NULL: the system's CAs. `cert_file` and `key_file`: our own certificate, or NULL.
 * `problem`: SMX_CLIENT_PROBLEM octets, or NULL. */
enum { SMX_CLIENT_PROBLEM = 512 };
SMX_API SMX_MUST_USE int smx_client_tls_new(const char *ca_file, const char *cert_file,
                                            const char *key_file, smx_client_tls **tls,
                                            char *problem);
SMX_API void smx_client_tls_free(smx_client_tls *tls);

typedef enum smx_client_verify {
    SMX_VERIFY_REQUIRED, /* chain and name, or failure of phase tls */
    SMX_VERIFY_IF_AUTH,  /* required with credentials; else taken and told (DESIGN: `smtp://`) */
    SMX_VERIFY_NEVER,    /* taken and told */
} smx_client_verify;

typedef struct smx_client_options {
    uint32_t version;   /* SMX_CLIENT_VERSION */
    const char *host;   /* name or address, or the path of a Unix socket */
    uint16_t port;      /* 0: a Unix socket */
    const char *source; /* local address, or NULL */
    uint8_t family;     /* 0: any, 4, 6 */
    bool lmtp;
    smx_tls_policy tls;
    smx_client_verify verify;
    smx_client_tls *tls_context; /* needed unless tls is SMX_TLS_OFF */
    const uint8_t (*pins)[32];   /* SHA-256 of SubjectPublicKeyInfo: the server's must be one of */
    size_t pin_count;            /* these, or failure of phase tls; 0: any */
    const char *tls_name;        /* for SNI and verification; NULL: host */
    const char *helo;            /* our name; NULL: the machine's */
    const char *own_hostname; /* a server that calls itself so is ourselves; NULL: not looked for */
    const char *user;         /* NULL: no AUTH */
    const char *password;
    const char *token;        /* an OAuth2 access token in place of the password, or NULL */
    const char *mechanism;    /* the only one to use; NULL: the best of SCRAM-SHA-256, CRAM-MD5 on
                                 clear text only, PLAIN, LOGIN, with a token of OAUTHBEARER and
                                 XOAUTH2 (DESIGN 4.16) */
    bool allow_insecure_auth; /* credentials on clear text, or in unverified TLS; else they leave
                                 on clear text only to loopback addresses and Unix sockets */
    uint32_t connect_timeout_ms; /* name, TCP; 0: 30000 */
    uint32_t banner_timeout_ms;  /* these as in smx_client_session_options */
    uint32_t command_timeout_ms;
    uint32_t data_timeout_ms;
    uint32_t block_timeout_ms;
    uint32_t final_timeout_ms;
    smx_log_fn *log; /* TLS that was not verified, and the like; NULL: none */
    void *log_arg;
} smx_client_options;
enum { SMX_CLIENT_VERSION = 1 };

/* What became of a transaction. */
typedef enum smx_outcome {
    SMX_OUTCOME_ACCEPTED, /* the server said 2xx after the message */
    SMX_OUTCOME_REFUSED, /* it said 4xx or 5xx: `phase`, `reply`; the connection may be good still */
    SMX_OUTCOME_FAILED,  /* the connection failed before the last octet was handed over: nothing was
                             delivered */
    SMX_OUTCOME_UNKNOWN,  /* ... and after it, without a reply: nobody knows (DESIGN 4.4) */
    SMX_OUTCOME_GIVEN_UP, /* smx_client_cancel, before the final dot was handed over */
} smx_outcome;

typedef struct smx_client_result {
    smx_outcome outcome;
    smx_client_phase phase;
    int error;       /* a local failure, or 0 */
    smx_reply reply; /* the reply that decided; code 0: none. Lives until the callback ends */
    const smx_reply *recipients; /* the reply to each recipient; code 0: none came */
    size_t recipient_count;
    size_t refused;           /* index of the recipient whose refusal decided; SIZE_MAX: none */
    bool first_reply_missing; /* the connection was lost before any reply to this transaction */
    const char *detail;       /* more words for a person (TLS's reason, the address), or "" */
} smx_client_result;

typedef struct smx_client_handler {
    /* Ready for a transaction: after connecting, and after each transaction. */
    void (*ready)(void *arg, smx_client *client);
    /* The transaction is over. `ready`, or `closed`, follows. */
    void (*result)(void *arg, smx_client *client, const smx_client_result *result);
    /* The connection is over: the last callback; the client frees itself behind it. For one that
     * never was ready, or failed between transactions, `result` says why (outcome FAILED). */
    void (*closed)(void *arg, smx_client *client, const smx_client_result *result);
    /* Only of a submission that comes in steps; may be NULL: the reply to a recipient, as it comes.
     * It lives until the result's callback ends. */
    void (*recipient)(void *arg, smx_client *client, size_t index, const smx_reply *reply);
} smx_client_handler;

/* Begins to connect. Strings of the options must outlive the client. */
SMX_API SMX_MUST_USE int smx_client_new(smx_loop *loop, const smx_client_options *options,
                                        const smx_client_handler *handler, void *arg,
                                        smx_client **client);

/* How much of a message its owner has. */
typedef enum smx_submission_stage {
    SMX_SUBMISSION_WHOLE,      /* all of it */
    SMX_SUBMISSION_RECIPIENTS, /* the sender and some recipients, or none yet; more may come */
    SMX_SUBMISSION_DATA,       /* all recipients */
    SMX_SUBMISSION_BODY,       /* and the header; the message grows */
} smx_submission_stage;

/* A message to submit; all of it must live until the result. */
typedef struct smx_submission {
    const smx_envelope *envelope;
    smx_slice header;           /* sent first: a header section of the caller's making */
    const smx_message *message; /* then this from `body_offset` on; NULL: nothing */
    uint64_t body_offset;
    bool all_or_nothing;        /* a refused recipient ends the transaction before DATA */
    smx_submission_stage stage; /* other than WHOLE: it comes in steps (smx_client_advance) */
    size_t required; /* in steps, instead of all_or_nothing: so many recipients, the first
                                   ones, must all be taken */
} smx_submission;

/* Only when ready. SMX_E_STATE; SMX_E_INVALID: an address that cannot be sent; SMX_E_NOMEM: the
 * transaction has not begun and no result comes. */
SMX_API SMX_MUST_USE int smx_client_submit(smx_client *client, const smx_submission *submission);

/* A submission that was not WHOLE when it began has come further: what it says now replaces what it
 * said before. Its recipients may only grow in number, and only up to stage DATA; the header is read
 * from stage BODY on and stays; the message grows. MAIL and each RCPT leave as soon as they are
 * known, DATA at stage DATA behind the replies to all of them, the body (by DATA, not BDAT) as far
 * as it is there, the final dot when it is WHOLE. A pause of the owner's never times out; a server
 * that does not take what is there does. SMX_E_STATE: there is no such transaction (its result is
 * on the way, or was told); SMX_E_INVALID, SMX_E_NOMEM: nothing has changed. */
SMX_API SMX_MUST_USE int smx_client_advance(smx_client *client, const smx_submission *submission);

/* Gives the transaction up if its final dot was not handed over: result GIVEN_UP follows, and the
 * connection closes, unless it stands between the replies to recipients and DATA in steps: then
 * RSET does. Afterwards SMX_E_LATE: the result will come. */
SMX_API SMX_MUST_USE int smx_client_cancel(smx_client *client);

/* NOOP, only when ready: asks whether the server is there still. `ready` follows, or `closed` if it
 * does not answer 2xx. SMX_E_STATE, SMX_E_NOMEM: nothing was sent. */
SMX_API SMX_MUST_USE int smx_client_noop(smx_client *client);

/* What the server offers; NULL before it is ready. */
SMX_API const smx_capabilities *smx_client_capabilities(const smx_client *client);

/* How the connection stands. */
typedef struct smx_client_info {
    bool tls;
    bool verified;
    bool resumed; /* a session of TLS that an earlier connection left */
    smx_slice tls_protocol;
    smx_slice tls_cipher;
    const char *auth_mechanism; /* that AUTH was begun by; NULL: none */
    uint32_t transactions;      /* begun so far */
    uint64_t connected_at;      /* the loop's clock, milliseconds; 0: not connected yet */
    smx_client_phase phase;
    bool caught_up; /* in steps: the server has had, and answered, all that there is so far */
} smx_client_info;
SMX_API void smx_client_get_info(const smx_client *client, smx_client_info *info);

/* QUIT and close when ready, else close without a dot. `closed` follows. QUIT's reply is waited for
 * at most 5 seconds; a second call does not wait for it any more. */
SMX_API void smx_client_close(smx_client *client);

#ifdef __cplusplus
}
#endif

#endif
