/* Hooks: functions that see each step of a session and say what becomes of it.
 *
 * Hooks stand in a table, in the order of the configuration; each sees the changes of those before
 * it. The same table serves the server, the multiplexer and the transparent proxy. An entry that is
 * absent costs nothing.
 */
#ifndef SMX_HOOK_H
#define SMX_HOOK_H

#include "smx/message.h"

#ifdef __cplusplus
extern "C" {
#endif

/* phase, its word in configuration and logs, and what a hook sees there beside the session */
#define SMX_HOOK_PHASE_MAP(X)                                                                      \
    X(CONNECT, "connect") /* before the banner */                                                  \
    X(HELO, "helo")       /* `text`: the client's name */                                          \
    X(AUTH, "auth")       /* `text`: the user, who has proved to be it */                          \
    X(MAIL, "mail")       /* `envelope->mail` */                                                   \
    X(RCPT, "rcpt")       /* `rcpt`, which is not in the envelope yet */                           \
    X(DATA, "data")       /* the whole envelope; before 354, or at the first BDAT */               \
    X(HEADER, "header")   /* `text`: the header section is complete */                             \
    X(BODY, "body")       /* `text`: a chunk of the body, as it came */                            \
    X(EOM, "eom")         /* `message`: whole; `text`: its header section as changed so far */     \
    X(RESET, "reset")     /* the transaction is over; no verdict is asked for */                   \
    X(CLOSE, "close")     /* the session is over; no verdict is asked for */

typedef enum smx_hook_phase {
#define SMX_HOOK_PHASE_ENTRY(name, text) SMX_HOOK_##name,
    SMX_HOOK_PHASE_MAP(SMX_HOOK_PHASE_ENTRY)
#undef SMX_HOOK_PHASE_ENTRY
        SMX_HOOK_PHASE_COUNT
} smx_hook_phase;

/* "mail" for SMX_HOOK_MAIL. */
SMX_API const char *smx_hook_phase_text(smx_hook_phase phase);
/* The other way round; SMX_E_NOTFOUND. */
SMX_API SMX_MUST_USE int smx_hook_phase_parse(smx_slice text, smx_hook_phase *phase);

typedef enum smx_verdict_kind {
    SMX_CONTINUE,      /* go on to the next hook */
    SMX_REPLY_WITH,    /* answer with `reply` (4xx or 5xx); the command has no effect */
    SMX_ACCEPT,        /* go on, and do not ask this hook again in this transaction */
    SMX_DISCARD,       /* tell the client 250 and drop the message */
    SMX_DISCONNECT,    /* answer with `reply` (or 421 4.7.0) and close */
    SMX_VERDICT_LATER, /* smx_hooks_answer will follow with the call's ticket */
} smx_verdict_kind;

typedef struct smx_verdict {
    smx_verdict_kind kind;
    smx_reply reply; /* copied when the hook returns */
} smx_verdict;

struct smx_user;
struct smx_transaction;

/* What is known of the session that a hook, a middleware or a handler is asked about. */
typedef struct smx_session_view {
    uint64_t id;           /* number of the session in this process */
    smx_slice listener;    /* address as configured */
    smx_address client;    /* after PROXY and XCLIENT */
    smx_slice client_name; /* XCLIENT NAME, or empty */
    smx_address server;    /* our end */
    smx_slice helo;
    bool esmtp;
    bool tls;
    smx_slice tls_protocol; /* "TLSv1.3" */
    smx_slice tls_cipher;
    bool authenticated;             /* by AUTH or XCLIENT LOGIN, not by trust */
    smx_slice user;                 /* the user's name, or empty */
    const struct smx_user *account; /* the same user's record (smx/server.h), or NULL */
} smx_session_view;

typedef struct smx_hook_call smx_hook_call;

/* What a call is about; slices and pointers live until the verdict is given. */
typedef struct smx_hook_view {
    smx_hook_phase phase;
    const smx_session_view *session;
    const smx_envelope *envelope; /* MAIL to RESET; NULL before */
    const smx_rcpt *rcpt;         /* RCPT */
    smx_slice text;               /* see SMX_HOOK_PHASE_MAP */
    const smx_message *message;   /* EOM */
    uint64_t started; /* MAIL to RESET: wall clock of MAIL, milliseconds since 1970; else 0 */
    /* A server's (smx/server.h), MAIL to RESET, for its id, its value and its message, which grows
     * from DATA on; NULL elsewhere and for BLOCKING hooks. */
    struct smx_transaction *transaction;
} smx_hook_view;

SMX_API const smx_hook_view *smx_hook_get_view(const smx_hook_call *call);

/* Names this call, for a verdict that comes later. */
SMX_API smx_ticket smx_hook_ticket(const smx_hook_call *call);

/* A value of the hook's own that lives with the session; NULL at first. `release` (may be NULL) is
 * called with it when the session ends. Not for BLOCKING hooks. */
SMX_API void smx_hook_set_value(smx_hook_call *call, void *value, void (*release)(void *value));
SMX_API void *smx_hook_value(const smx_hook_call *call);

/* Changes; made when the verdict lets the command through. SMX_E_LATE: this phase is too late for
 * it (header and body: after EOM, or at EOM without SMX_HOOK_HOLD in the proxy; sender: after the
 * MAIL was passed on; recipients likewise). SMX_E_INVALID: octets that cannot be sent. */
SMX_API SMX_MUST_USE int smx_hook_add_header(smx_hook_call *call, smx_slice name, smx_slice value);
SMX_API SMX_MUST_USE int smx_hook_change_header(smx_hook_call *call, smx_slice name, size_t nth,
                                                smx_slice value);
SMX_API SMX_MUST_USE int smx_hook_delete_header(smx_hook_call *call, smx_slice name, size_t nth);
SMX_API SMX_MUST_USE int smx_hook_set_sender(smx_hook_call *call, smx_slice mailbox);
SMX_API SMX_MUST_USE int smx_hook_add_recipient(smx_hook_call *call, smx_slice mailbox);
SMX_API SMX_MUST_USE int smx_hook_delete_recipient(smx_hook_call *call, smx_slice mailbox);
/* At BODY: instead of this chunk; at EOM: instead of the whole body. Copied. */
SMX_API SMX_MUST_USE int smx_hook_replace_body(smx_hook_call *call, smx_slice octets);

typedef smx_verdict smx_hook_fn(void *arg, smx_hook_call *call);

enum smx_hook_flag {
    SMX_HOOK_HOLD = 1,     /* it may change header or body at EOM: the message is held whole */
    SMX_HOOK_BLOCKING = 2, /* it may block: it runs on the pool's threads, several at a time, and
                              gives its verdict when it returns, never SMX_VERDICT_LATER */
};

/* What happens when a hook fails: its time is over, it gave nonsense, or a change was too late. */
typedef enum smx_hook_on_error {
    SMX_ON_ERROR_TEMPFAIL, /* 451 4.3.0 */
    SMX_ON_ERROR_REJECT,   /* 550 5.7.1 */
    SMX_ON_ERROR_CONTINUE, /* as if it was not there */
} smx_hook_on_error;

enum { SMX_HOOK_VERSION = 1 };

typedef struct smx_hook {
    uint32_t version;    /* SMX_HOOK_VERSION */
    const char *name;    /* in logs */
    unsigned flags;      /* bits of smx_hook_flag */
    uint32_t timeout_ms; /* for one verdict; 0: 30000 */
    smx_hook_on_error on_error;
    void *arg;
    smx_hook_fn *phases[SMX_HOOK_PHASE_COUNT]; /* NULL: not asked */
} smx_hook;

/* A table of hooks at work on one loop. The hooks must outlive it. */
typedef struct smx_hooks smx_hooks;

/* The verdict for a call that returned SMX_VERDICT_LATER. Texts are copied. SMX_E_GONE: it was
 * answered, its time was over, or its session is gone. Any thread, also within the hook's call. */
SMX_API SMX_MUST_USE int smx_hooks_answer(smx_hooks *hooks, smx_ticket ticket,
                                          const smx_verdict *verdict);
/* The table that a call belongs to. */
SMX_API smx_hooks *smx_hook_table(const smx_hook_call *call);

#ifdef __cplusplus
}
#endif

#endif
