/* A transparent SMTP proxy: a client and a server that know nothing of it, and hooks that see, change
 * or refuse what passes.
 *
 *     static smx_verdict see(void *arg, smx_hook_call *call)
 *     {
 *         const smx_hook_view *view = smx_hook_get_view(call);
 *         ... view->envelope, view->rcpt, view->text ...
 *         return (smx_verdict){.kind = SMX_CONTINUE};
 *     }
 *
 *     static const smx_hook hook = {SMX_HOOK_VERSION, "see", .phases = {[SMX_HOOK_RCPT] = see}};
 *     const smx_hook *hooks[] = {&hook};
 *     smx_proxy_options options = {SMX_PROXY_VERSION, .hooks = hooks, .hook_count = 1};
 *     smx_proxy_listener listener = {.listener = {SMX_LISTENER_VERSION, .listen = "127.0.0.1:2525"},
 *                                    .upstream = {.host = "mail.example.net", .port = 25}};
 *     if (smx_loop_new(NULL, &loop) == 0 && smx_proxy_new(loop, &options, &proxy) == 0 &&
 *         smx_proxy_listen(proxy, &listener, NULL) == 0 && smx_proxy_start(proxy) == 0)
 *         smx_loop_run(loop);
 *
 * Hooks see what passes as those of a server do (smx/hook.h). What was let through has gone on: the sender
 * changes at MAIL, a recipient is deleted at its own RCPT and added up to DATA, header fields change up to
 * HEADER and the body chunk by chunk. A hook with SMX_HOOK_HOLD has the message held: it may change it,
 * and add recipients, up to EOM, where only then `view->message` is set. The envelope has the recipients
 * that the upstream took.
 *
 * Each client has a connection of its own to the upstream; nothing is shared between sessions. A proxy
 * belongs to one loop and is used on its thread, but for the functions that say "any thread".
 */
#ifndef SMX_PROXY_H
#define SMX_PROXY_H

#include "smx/client.h"
#include "smx/server.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct smx_proxy smx_proxy;

/* How the upstream learns the client's address. */
typedef enum smx_proxy_address {
    SMX_PROXY_ADDRESS_OWN,         /* it sees ours */
    SMX_PROXY_ADDRESS_HEADER,      /* by a PROXY header, version 2 */
    SMX_PROXY_ADDRESS_XCLIENT,     /* by XCLIENT, where it is offered */
    SMX_PROXY_ADDRESS_TRANSPARENT, /* the connection comes from it (Linux, IP_TRANSPARENT) */
} smx_proxy_address;

/* The server behind a listener. */
typedef struct smx_proxy_upstream {
    const char *host;          /* name or address, or the path of a Unix socket */
    uint16_t port;             /* 0: a Unix socket */
    bool original_destination; /* where the client wanted to go before REDIRECT or TPROXY (Linux);
                                  host is then not looked at, and port 0 is the client's */
    bool lmtp;
    smx_tls_policy tls;
    smx_client_verify verify;
    smx_client_tls *tls_context; /* needed unless tls is SMX_TLS_OFF */
    const char *tls_name;        /* for SNI and verification; NULL: host, or the client's SNI */
    const char *source;          /* local address, or NULL */
    uint8_t family;              /* 0: any, 4, 6 */
    smx_proxy_address address;
    uint32_t connect_timeout_ms; /* name, TCP, TLS of the first octet; 0: 30000 */
    uint32_t reply_timeout_ms;   /* 0: 600000 */
} smx_proxy_upstream;

typedef struct smx_proxy_listener {
    /* Of its fields `auth`, `trust`, `mechanisms`, `offered`, `max_recipients` and `lmtp` do not
     * matter; `xclient` are peers whose XCLIENT passes; `max_size` bounds a message that is held;
     * `tls` and `bare_newline` may also be what is for proxies alone; `adopts` is a server's
     * listener, `adopts_proxy` a proxy's. */
    smx_listener_options listener;
    smx_proxy *adopts_proxy; /* with listener.adopts_nth, or NULL */
    bool hide_auth;          /* AUTH is never offered */
    smx_proxy_upstream upstream;
    const smx_slice *extensions; /* keywords of EHLO that pass beside the registered ones */
    size_t extension_count;
} smx_proxy_listener;

/* ---- What is told of each transaction ---- */

typedef struct smx_proxy_recipient {
    smx_slice address;
    uint16_t code; /* the reply to its RCPT; 0: none came */
} smx_proxy_recipient;

/* One transaction, MAIL to its end, or a session that had none. Slices live during the call. */
typedef struct smx_proxy_record {
    const smx_session_view *session;
    smx_slice id;      /* unique in time and over processes */
    uint64_t started;  /* wall clock of MAIL, milliseconds since 1970 */
    uint64_t duration; /* milliseconds */
    smx_slice from;    /* without brackets */
    bool has_from;     /* false: no transaction */
    const smx_proxy_recipient *recipients;
    size_t recipient_count;
    uint64_t size;           /* octets of the message that passed, as they were on the wire */
    smx_slice message_id;    /* of the header section, or empty */
    smx_slice verdict;       /* "continue", "reject", "discard", "disconnect" */
    smx_slice verdict_hook;  /* the hook that gave it, or empty */
    smx_slice verdict_phase; /* where */
    smx_reply_lines reply;   /* the last one that the client was given for it; code 0: none */
    bool reply_is_own;       /* it was not the upstream's */
    smx_slice outcome;       /* "relayed", "refused", "discarded", "reset", "lost";
                                without a transaction "none", or "unread" behind passthrough */
    smx_address upstream;
    bool upstream_tls;
    bool upstream_verified;
    smx_slice upstream_tls_protocol;
    smx_slice upstream_tls_cipher;
    smx_slice
        user; /* as the AUTH dialogue named it, where the mechanism shows it; not proved here */
} smx_proxy_record;
typedef void smx_proxy_record_fn(void *arg, const smx_proxy_record *record);

/* ---- Transcripts ---- */

typedef enum smx_proxy_way {
    SMX_PROXY_TO_UPSTREAM, /* -> */
    SMX_PROXY_TO_CLIENT,   /* <- */
    SMX_PROXY_NOTE,        /* == what happened: connected, TLS, closed */
    SMX_PROXY_END,         /* the session is over: told last of all, without a text */
} smx_proxy_way;

/* One line without its CRLF; of a body its count of octets. Secrets of AUTH are not in it. */
typedef struct smx_proxy_line {
    const smx_session_view *session;
    uint64_t time; /* wall clock, milliseconds since 1970 */
    smx_proxy_way way;
    bool in_tls; /* on the side where it was read */
    bool own;    /* the proxy said it */
    smx_slice text;
} smx_proxy_line;
/* Lines of which sessions are told: asked for each line, cheap. */
typedef bool smx_proxy_wants_fn(void *arg, const smx_session_view *session, smx_slice from);
typedef void smx_proxy_trace_fn(void *arg, const smx_proxy_line *line);

/* ---- The proxy ---- */

typedef struct smx_proxy_options {
    uint32_t version;     /* SMX_PROXY_VERSION */
    const char *hostname; /* in replies of its own; NULL: the machine's */
    const smx_hook *const *hooks;
    size_t hook_count;
    smx_shared *shared;   /* NULL: one of its own */
    const char *temp_dir; /* for large messages that are held; NULL: TMPDIR, or /tmp */
    smx_log_fn *log;
    void *log_arg;
    smx_proxy_record_fn *record; /* NULL: nothing is told */
    void *record_arg;
    smx_proxy_wants_fn *wants; /* NULL: no transcripts */
    smx_proxy_trace_fn *trace;
    void *trace_arg;
} smx_proxy_options;
enum { SMX_PROXY_VERSION = 1 };

/* Strings, arrays and hooks must outlive the proxy. */
SMX_API SMX_MUST_USE int smx_proxy_new(smx_loop *loop, const smx_proxy_options *options,
                                       smx_proxy **proxy);
/* As smx_server_listen: binds, and loads certificates. SMX_E_INVALID with a problem where the client's
 * side and the upstream's do not go together. */
SMX_API SMX_MUST_USE int smx_proxy_listen(smx_proxy *proxy, const smx_proxy_listener *listener,
                                          char *problem);
/* These as those of smx_server. */
SMX_API uint16_t smx_proxy_port(const smx_proxy *proxy, size_t nth);
SMX_API SMX_MUST_USE int smx_proxy_socket(const smx_proxy *proxy, size_t nth);
SMX_API SMX_MUST_USE int smx_proxy_start(smx_proxy *proxy);
SMX_API void smx_proxy_shutdown(smx_proxy *proxy, uint32_t timeout_ms, void (*done)(void *arg),
                                void *arg);
SMX_API void smx_proxy_retire(smx_proxy *proxy, void (*done)(void *arg), void *arg);
SMX_API void smx_proxy_dismiss(smx_proxy *proxy);
SMX_API void smx_proxy_get_counters(const smx_proxy *proxy, smx_server_counters *counters);
SMX_API void smx_proxy_free(smx_proxy *proxy);

#ifdef __cplusplus
}
#endif

#endif
