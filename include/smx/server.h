/* An SMTP server: listeners, a chain of middleware, a handler.
 *
 *     static smx_reply keep(void *arg, smx_transaction *tx)
 *     {
 *         const smx_envelope *envelope = smx_transaction_envelope(tx);
 *         ... read smx_transaction_message(tx) ...
 *         return SMX_REPLY(250, 2, 0, 0, "thank you");
 *     }
 *
 *     smx_loop *loop;
 *     smx_server *server;
 *     smx_server_options options = {SMX_SERVER_VERSION, .handler = keep};
 *     smx_listener_options listener = {SMX_LISTENER_VERSION, .listen = "127.0.0.1:2525"};
 *     if (smx_loop_new(NULL, &loop) == 0 && smx_server_new(loop, &options, &server) == 0 &&
 *         smx_server_listen(server, &listener, NULL) == 0 && smx_server_start(server) == 0)
 *         smx_loop_run(loop);
 *
 * A server belongs to one loop and is used on its thread, but for the functions that say "any
 * thread". Several threads: a loop and a server in each, on the same address, with one smx_shared.
 */
#ifndef SMX_SERVER_H
#define SMX_SERVER_H

#include "smx/hook.h"
#include "smx/loop.h"
#include "smx/session.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- The transaction, as a handler sees it ---- */

/* One message on its way: MAIL, RCPT, and the whole of DATA. Lives until its reply was given, even
 * if the client goes away meanwhile. */
typedef struct smx_server smx_server;
typedef struct smx_transaction smx_transaction;

SMX_API const smx_envelope *smx_transaction_envelope(const smx_transaction *tx);
SMX_API smx_message *smx_transaction_message(const smx_transaction *tx);
SMX_API const smx_session_view *smx_transaction_session(const smx_transaction *tx);
/* A short name, unique in time and over processes, for logs and Received. */
SMX_API smx_slice smx_transaction_id(const smx_transaction *tx);
/* Wall clock of its MAIL, milliseconds since 1970. */
SMX_API uint64_t smx_transaction_started(const smx_transaction *tx);
/* The header section as hooks and middleware have left it, and the message's body offset: what a
 * handler should pass on. The slice lives as long as the transaction, or until the next edit; its
 * data is NULL when out of memory. */
SMX_API smx_slice smx_transaction_header(const smx_transaction *tx);
/* Edits of the header section (smx/message.h). NULL when out of memory. */
SMX_API smx_header_edit *smx_transaction_edit(smx_transaction *tx);
/* Memory that lives as long as the transaction; NULL when there is none. */
SMX_API SMX_MUST_USE void *smx_transaction_alloc(smx_transaction *tx, size_t size);
/* One pointer of the program's own, for what its middleware and its handler tell each other; NULL at
 * first. Nothing is called when the transaction ends: point to smx_transaction_alloc's memory. */
SMX_API void smx_transaction_set_value(smx_transaction *tx, void *value);
SMX_API void *smx_transaction_value(const smx_transaction *tx);
/* The user that sends, or NULL. */
typedef struct smx_user smx_user;
SMX_API const smx_user *smx_transaction_user(const smx_transaction *tx);
/* What the listener's options say in `data`. */
SMX_API void *smx_transaction_listener_data(const smx_transaction *tx);

/* Names the transaction for smx_transaction_reply. */
SMX_API smx_ticket smx_transaction_ticket(const smx_transaction *tx);
/* Calls fn(arg) once when the client goes away before the reply. On the loop's thread. The
 * transaction still needs its reply, which nobody will read. NULL takes it back. */
SMX_API void smx_transaction_on_gone(smx_transaction *tx, void (*fn)(void *arg), void *arg);

/* ---- Handler and middleware ---- */

/* Returned by a handler that answers later, exactly once, with smx_transaction_reply. */
#define SMX_LATER ((smx_reply){0, {0, 0, 0}, {NULL, 0}})

/* Called when the message is whole and no hook objected. */
typedef smx_reply smx_handler_fn(void *arg, smx_transaction *tx);

/* The reply to a transaction whose handler said SMX_LATER. The text is copied. SMX_E_GONE: it was
 * given before. Any thread. */
SMX_API SMX_MUST_USE int smx_transaction_reply(smx_server *server, smx_ticket ticket,
                                               const smx_reply *reply);

enum { SMX_MIDDLEWARE_VERSION = 1 };

/* Stands around the handler. `before` runs in order, each may answer (SMX_REPLY_WITH, any code) and
 * so end the way in; SMX_VERDICT_LATER waits for smx_transaction_continue. `after` runs in reverse
 * for those whose `before` ran, once the reply is known, however late; it may change the reply,
 * whose text must then live as long as the transaction (smx_transaction_alloc). */
typedef struct smx_middleware {
    uint32_t version;
    const char *name;
    void *arg;
    smx_verdict (*before)(void *arg, smx_transaction *tx);
    void (*after)(void *arg, smx_transaction *tx, smx_reply *reply);
} smx_middleware;

/* Ends the waiting of a `before`. SMX_E_GONE. Any thread. */
SMX_API SMX_MUST_USE int smx_transaction_continue(smx_server *server, smx_ticket ticket,
                                                  const smx_verdict *verdict);

/* ---- Users ---- */

/* A user who may send. Immutable; lives as long as the server's options. */
struct smx_user {
    smx_slice name;
    smx_slice secret; /* clear text, a crypt(3) hash, or SCRAM-SHA-256$...; empty: no password is
                         right (a user that only `trust` names) */
    const smx_slice *allow_from; /* globs on addresses; NULL: any sender. `<>` must be listed */
    size_t allow_from_count;
    void *data; /* the caller's */
};

/* The user of this name, or NULL. On the loop's thread. */
typedef const smx_user *smx_find_user_fn(void *arg, smx_slice name);

/* ---- What several servers share ---- */

/* Threads for what blocks, memory of messages, counts of connections, and the keys by which clients resume
 * their TLS sessions: a session begun at one server goes on at another that shares them. */
typedef struct smx_shared smx_shared;

typedef struct smx_shared_options {
    uint32_t version;      /* SMX_SHARED_VERSION */
    size_t threads;        /* for password hashes and blocking hooks; 0: 32, started when needed */
    size_t queue;          /* works that may wait for a thread; 0: 1024 */
    uint64_t memory_limit; /* octets of messages in memory; 0: no limit */
} smx_shared_options;
enum { SMX_SHARED_VERSION = 1 };

SMX_API SMX_MUST_USE int smx_shared_new(const smx_shared_options *options, smx_shared **shared);
/* Another number of threads and another limit of memory from now on; `queue` stays. Any thread.
 * SMX_E_INVALID: another version. SMX_E_NOMEM: threads could not be started, the rest holds. */
SMX_API SMX_MUST_USE int smx_shared_configure(smx_shared *shared,
                                              const smx_shared_options *options);
/* Octets of messages in memory now. Any thread. */
SMX_API uint64_t smx_shared_memory(const smx_shared *shared);
/* After the servers that use it. */
SMX_API void smx_shared_free(smx_shared *shared);

/* ---- The server ---- */

typedef struct smx_listener_options smx_listener_options;

typedef struct smx_server_options {
    uint32_t version;     /* SMX_SERVER_VERSION */
    const char *hostname; /* NULL: the machine's */
    const char *product;  /* in the banner, behind "ESMTP "; NULL: "smtpmux" */
    smx_handler_fn *handler;
    void *handler_arg;
    const smx_middleware *const *middleware; /* outermost first */
    size_t middleware_count;
    const smx_hook *const *hooks;
    size_t hook_count;
    smx_find_user_fn *find_user; /* NULL: no AUTH */
    void *find_user_arg;
    /* Further extensions for a client that has connected just now, beside those of its listener: what
     * depends on where messages may go at the moment. On the loop's thread. NULL: none. */
    smx_extensions (*offer)(void *arg, const smx_listener_options *listener);
    void *offer_arg;
    smx_shared *shared;   /* NULL: one of its own */
    const char *temp_dir; /* for large messages; NULL: TMPDIR, or /tmp */
    smx_log_fn *log;
    void *log_arg;
} smx_server_options;
enum { SMX_SERVER_VERSION = 1 };

/* Strings, arrays, users and hooks must outlive the server. */
SMX_API SMX_MUST_USE int smx_server_new(smx_loop *loop, const smx_server_options *options,
                                        smx_server **server);

/* Counts that listeners of several servers share. Must outlive them. */
typedef struct smx_counters smx_counters;
SMX_API SMX_MUST_USE int smx_counters_new(smx_counters **counters);
SMX_API void smx_counters_free(smx_counters *counters);

typedef enum smx_listener_tls {
    SMX_LISTENER_CLEAR,       /* off */
    SMX_LISTENER_STARTTLS,    /* offered */
    SMX_LISTENER_REQUIRED,    /* offered, and asked for before anything else */
    SMX_LISTENER_IMPLICIT,    /* from the first octet on */
    SMX_LISTENER_PASSTHROUGH, /* not ours: a transparent proxy's server has it (smx/proxy.h) */
} smx_listener_tls;

typedef enum smx_listener_auth {
    SMX_AUTH_OFF,
    SMX_AUTH_OPTIONAL,
    SMX_AUTH_REQUIRED
} smx_listener_auth;

/* Clients of this network send without AUTH, as this user. */
typedef struct smx_trust {
    smx_network network;
    smx_slice user;
} smx_trust;

typedef struct smx_certificate {
    const char *cert_file; /* PEM, the chain */
    const char *key_file;
} smx_certificate;

struct smx_listener_options {
    uint32_t version;   /* SMX_LISTENER_VERSION */
    const char *listen; /* "0.0.0.0:587", "[::1]:25", "unix:/path"; port 0: any free one */
    bool shared_port;   /* another loop of this process listens here too */
    bool lmtp;
    smx_listener_tls tls;
    const smx_certificate *certificates; /* loaded again when the files change */
    size_t certificate_count;
    const char *client_ca_file;
    smx_listener_auth auth;
    bool allow_insecure_auth; /* AUTH on clear text */
    const char *mechanisms;   /* parted by blanks; NULL: "SCRAM-SHA-256 PLAIN LOGIN", without SCRAM
                                 where some user's secret cannot do it (`no_scram`) */
    bool no_scram;
    const smx_trust *trust;
    size_t trust_count;
    const smx_network *proxy_protocol; /* peers that must send a PROXY header */
    size_t proxy_protocol_count;
    const smx_network *xclient; /* peers that may use XCLIENT */
    size_t xclient_count;
    smx_extensions offered;   /* 0: PIPELINING SIZE 8BITMIME ENHANCEDSTATUSCODES CHUNKING LIMITS */
    uint64_t max_size;        /* octets; 0: 25 MiB */
    uint32_t max_recipients;  /* 0: 1000 */
    uint32_t max_connections; /* over all loops that share; 0: 10000 */
    uint32_t max_connections_per_client; /* by address; 0: no limit */
    uint32_t idle_timeout_ms;            /* 0: 300000 */
    uint32_t min_rate;                   /* octets a second; 0: none */
    smx_bare_newline bare_newline;
    smx_counters *counters; /* counted there too, or NULL */
    void *data;             /* the caller's: smx_transaction_listener_data */
    /* The socket of a running server's listener is taken over instead of binding `listen`: what waits
     * in its queue is accepted by whichever of the two accepts. NULL: none. */
    smx_server *adopts;
    size_t adopts_nth;
    bool transparent; /* connections to any address that the kernel's TPROXY rules hand over (Linux;
                         needs CAP_NET_ADMIN) */
    bool has_socket;  /* a listening socket of the caller's is duplicated instead of binding, as one
                        that came from a service manager: */
    int socket;
};
enum { SMX_LISTENER_VERSION = 1, SMX_PROBLEM_TEXT = 512 };

/* Binds, and loads certificates; nothing is accepted before smx_server_start. Options are as the
 * server's: they must outlive it. `problem` (SMX_PROBLEM_TEXT octets, or NULL) gets a sentence that
 * says what is wrong, where, and what to do. */
SMX_API SMX_MUST_USE int smx_server_listen(smx_server *server, const smx_listener_options *options,
                                           char *problem);
/* Port of the `nth` listener, in the order of the calls. */
SMX_API uint16_t smx_server_port(const smx_server *server, size_t nth);
/* A duplicate of the `nth` listener's socket, which the caller closes; SMX_E_INVALID: there is none
 * (any more), SMX_E_IO. */
SMX_API SMX_MUST_USE int smx_server_socket(const smx_server *server, size_t nth);
SMX_API SMX_MUST_USE int smx_server_start(smx_server *server);

/* Stops accepting, says 421 to sessions as they become free, and calls `done` when the last one is
 * gone: at the latest after `timeout_ms`, when what is left is cut off. */
SMX_API void smx_server_shutdown(smx_server *server, uint32_t timeout_ms, void (*done)(void *arg),
                                 void *arg);

/* Gives way to another server: stops accepting, takes what waits in the queues of sockets that nobody
 * else has, and leaves the sessions alone until they end by themselves. `done` is called when the
 * last one is gone. smx_server_shutdown may follow, whose `done` replaces this one. */
SMX_API void smx_server_retire(smx_server *server, void (*done)(void *arg), void *arg);
/* Sends the sessions away, each between two messages: idle ones hear 421 4.3.2 now, others in answer
 * to their next MAIL. */
SMX_API void smx_server_dismiss(smx_server *server);

/* Counts since the start. Any thread may read them. */
#define SMX_SERVER_COUNTER_MAP(X)                                                                  \
    X(connections, "connections accepted")                                                         \
    X(refused_connections, "connections refused by a limit")                                       \
    X(tls_failures, "TLS handshakes that failed")                                                  \
    X(auth_successes, "AUTH exchanges that succeeded")                                             \
    X(auth_failures, "AUTH exchanges that failed")                                                 \
    X(transactions, "messages received whole")                                                     \
    X(accepted, "messages answered 2xx")                                                           \
    X(deferred, "messages answered 4xx")                                                           \
    X(rejected, "messages answered 5xx")
typedef struct smx_server_counters {
#define SMX_SERVER_COUNTER_ENTRY(name, text) uint64_t name;
    SMX_SERVER_COUNTER_MAP(SMX_SERVER_COUNTER_ENTRY)
#undef SMX_SERVER_COUNTER_ENTRY
    uint64_t sessions; /* open now */
} smx_server_counters;
/* Any thread. */
SMX_API void smx_counters_read(const smx_counters *counters, smx_server_counters *read);
SMX_API void smx_server_get_counters(const smx_server *server, smx_server_counters *counters);

/* Cuts off what is left and frees everything, in later turns of the loop. NULL is nothing. */
SMX_API void smx_server_free(smx_server *server);

#ifdef __cplusplus
}
#endif

#endif
