/* The two protocol machines of SMTP: the server's side and the client's side of one session.
 *
 * No I/O, no clock, no threads. Octets and the time go in; events and octets come out. Events are
 * pulled, one a call, so a machine never calls its owner and cannot be re-entered; a machine that
 * waits is an ordinary state. An event's slices live until the next call on that session.
 *
 * A session may be used by one thread at a time. Times are milliseconds on any clock that does not
 * go back; DEADLINE_NEVER means that nothing is due.
 *
 * The owner's loop is the same for both:
 *
 *     for (;;) {
 *         used = smx_server_session_feed(session, now, input, &event);
 *         input = the octets behind `used`;
 *         if (event.type == SMX_SERVER_NONE)
 *             break;                           // keeps what is left of `input` for the next feed
 *         ... act on the event, perhaps answer its ticket ...
 *     }
 *     send smx_server_session_output(), then smx_server_session_sent();
 *     call feed again when octets come, when a ticket was answered, at ..._deadline().
 *
 * Octets that feed did not use belong to the owner, who hands them in again, with later ones behind
 * them: a command is used only as a whole. At most SMX_SESSION_REST octets can be left while the
 * session wants more of them; while a ticket waits for its answer any number can be left.
 */
#ifndef SMX_SESSION_H
#define SMX_SESSION_H

#include "smx/proto.h"

#ifdef __cplusplus
extern "C" {
#endif

#define SMX_DEADLINE_NEVER UINT64_MAX

/* A reply of SMX_REPLY_MAX octets, the longest thing that is used only as a whole. */
enum { SMX_SESSION_REST = 65536 };

/* ================================ the server's side ================================ */

typedef struct smx_server_session smx_server_session;

enum { SMX_SERVER_SESSION_VERSION = 1 };

typedef enum smx_bare_newline {
    SMX_BARE_NEWLINE_REJECT,    /* 550 5.5.2 at the dot, nothing of the message is handed on */
    SMX_BARE_NEWLINE_NORMALIZE, /* bare CR and bare LF each become CRLF; NUL is refused still */
    SMX_BARE_NEWLINE_PASS, /* the transparent proxy only: octets pass as they are (smx/proxy.h) */
} smx_bare_newline;

/* Everything is copied by reference: strings and arrays must outlive the session. */
typedef struct smx_server_session_options {
    uint32_t version;        /* SMX_SERVER_SESSION_VERSION */
    smx_slice hostname;      /* in the banner and the EHLO reply */
    smx_slice banner;        /* text behind the hostname; empty: "ESMTP smtpmux" */
    bool lmtp;               /* LHLO only, a reply per recipient (RFC 2033) */
    bool tls;                /* the connection is in TLS already */
    smx_extensions offered;  /* of what the owner can honour: the session leaves out STARTTLS inside
                                 TLS, AUTH without mechanisms, XCLIENT unless `xclient` */
    smx_slice auth_clear;    /* mechanisms on clear text, parted by blanks; empty: none */
    smx_slice auth_tls;      /* mechanisms inside TLS */
    bool auth_required;      /* MAIL before AUTH: 530 5.7.0 */
    bool tls_required;       /* all but NOOP, EHLO, STARTTLS, RSET, QUIT: 530 5.7.0 */
    bool xclient;            /* this peer may use XCLIENT */
    uint64_t max_size;       /* octets of a message; 0: no limit */
    uint32_t max_recipients; /* of one transaction; past it 452 4.5.3; at least 100 */
    uint32_t max_errors;     /* 4xx/5xx replies to commands in a row before 421; 0: 20 */
    uint32_t
        max_idle_commands; /* commands that do no work (NOOP, RSET, VRFY, HELP, EHLO ...) between
                                 two accepted messages before 421; 0: 1000 */
    uint32_t max_transactions; /* messages of one session before 421; 0: no limit */
    uint32_t idle_timeout_ms;  /* between two commands; 0: 300000 */
    uint32_t data_timeout_ms;  /* between two pieces of a body; 0: 180000 */
    uint32_t min_rate; /* octets a second, measured over each body and each command line from
                                 its first octet on, after a grace of 30 s; 0: no minimum */
    smx_bare_newline bare_newline;
    uint64_t *tickets;    /* the source of tickets, shared by all sessions of a thread: the session
                                 adds `ticket_step` and uses the result. Not NULL */
    uint64_t ticket_step; /* so that threads never give the same; 0: 1 */
} smx_server_session_options;

/* What happened; the events that bear a ticket wait for an answer, and no later command is looked
 * at until they have it. */
typedef enum smx_server_event_type {
    SMX_SERVER_NONE,     /* nothing now: more input, an answer, or time is needed */
    SMX_SERVER_CONNECT,  /* ticket: the first event; answer 220 to greet (its text is replaced by
                            the banner when empty), 554 or 421 to refuse */
    SMX_SERVER_HELO,     /* ticket: `text` is the name, `verb` which of EHLO, HELO, LHLO; a
                            transaction in progress is gone (RFC 5321 section 4.1.4) */
    SMX_SERVER_STARTTLS, /* ticket: answer 220 to go on, 454 when TLS cannot be had */
    SMX_SERVER_TLS,      /* output is "220"; the owner sends it, does the handshake, and calls
                            smx_server_session_tls_done; feed uses nothing until then */
    SMX_SERVER_AUTH,     /* ticket: `mechanism` as offered, `text` the initial response decoded,
                            `has_text` whether there is one. Answer with a challenge, or 235, 535 ... */
    SMX_SERVER_AUTH_RESPONSE,  /* ticket: `text` is the decoded response to the challenge */
    SMX_SERVER_AUTH_CANCELLED, /* the client sent `*` (the session answered 501) or broke off:
                            the owner drops its state of the exchange */
    SMX_SERVER_XCLIENT, /* ticket: `xclient`; answer 220 to take it: the session is then as new,
                            and a CONNECT event follows; 550 to refuse */
    SMX_SERVER_MAIL,    /* ticket: `mail` */
    SMX_SERVER_RCPT,    /* ticket: `rcpt` */
    SMX_SERVER_DATA,    /* ticket: DATA, or the first BDAT (`verb`) of a transaction. Answer 354 to
                            have the body; any other reply refuses, for BDAT after its octets */
    SMX_SERVER_BODY,    /* `text`: octets of the body, without dot-stuffing, in order */
    SMX_SERVER_EOM,   /* ticket: the body is whole; `size` is its length, `traits` what was seen of
                            it. LMTP: answer with smx_server_session_answer_each */
    SMX_SERVER_RESET, /* the transaction is over without a message being taken from it: RSET,
                            EHLO, a refused or faulty body, STARTTLS ...; `reason` says why. Follows
                            MAIL at most once. From here on the rest of a faulty body is
                            swallowed and answered by the session itself */
    SMX_SERVER_VRFY,  /* ticket: `text` is the argument; `verb` VRFY or EXPN */
    SMX_SERVER_CLOSE, /* the last event: send the output that is left and close */
} smx_server_event_type;

typedef enum smx_reset_reason {
    SMX_RESET_COMMAND,  /* RSET, EHLO, HELO, LHLO, XCLIENT */
    SMX_RESET_REFUSED,  /* MAIL or DATA was refused by its answer */
    SMX_RESET_TOO_BIG,  /* over max_size: 552 5.3.4 at the end */
    SMX_RESET_NEWLINE,  /* bare CR, bare LF or NUL: 550 5.5.2 at the end */
    SMX_RESET_PROTOCOL, /* BDAT after a failed BDAT, and the like */
    SMX_RESET_CLOSED,   /* the session ended within the transaction */
} smx_reset_reason;

/* Why the session ends. */
typedef enum smx_close_reason {
    SMX_CLOSE_QUIT,
    SMX_CLOSE_REFUSED,  /* CONNECT was refused, or an answer was 421 */
    SMX_CLOSE_TIMEOUT,  /* 421 4.4.2 */
    SMX_CLOSE_ERRORS,   /* too many errors or idle commands: 421 4.7.0 */
    SMX_CLOSE_PROTOCOL, /* early talker, octets behind STARTTLS, bare LF in a command, HTTP ... */
    SMX_CLOSE_PEER,     /* smx_server_session_ended */
    SMX_CLOSE_SHUTDOWN, /* smx_server_session_shutdown */
    SMX_CLOSE_NOMEM,
} smx_close_reason;

typedef struct smx_server_event {
    smx_server_event_type type;
    smx_ticket ticket;
    smx_verb verb;
    bool has_text;
    smx_slice text;
    smx_slice mechanism;
    const smx_mail *mail;
    const smx_rcpt *rcpt;
    const smx_xclient *xclient;
    uint64_t size;
    unsigned traits; /* bits of smx_body_trait */
    smx_reset_reason reset_reason;
    smx_close_reason close_reason;
} smx_server_event;

/* The session owns nothing of `options` but a copy of the struct. SMX_E_NOMEM. */
SMX_API SMX_MUST_USE int smx_server_session_new(const smx_server_session_options *options,
                                                uint64_t now, smx_server_session **session);
SMX_API void smx_server_session_free(smx_server_session *session);

/* Uses octets from the start of `in` and gives at most one event. Returns the octets used. With
 * event NONE nothing more can be done with what was handed in. The time alone can give an event:
 * call with an empty `in` at the deadline. */
SMX_API size_t smx_server_session_feed(smx_server_session *session, uint64_t now, smx_slice in,
                                       smx_server_event *event);

/* Octets to send, in order; they live until the next call on the session. */
SMX_API smx_slice smx_server_session_output(const smx_server_session *session);
/* The first `count` octets of the output were handed to the socket. */
SMX_API void smx_server_session_sent(smx_server_session *session, size_t count);

/* When feed must be called at the latest, or SMX_DEADLINE_NEVER. */
SMX_API uint64_t smx_server_session_deadline(const smx_server_session *session);

/* Answers the event that bore `ticket`; the reply is copied. An answer of 421 to any ticket closes
 * the session after it. SMX_E_GONE for a ticket that is not waiting (any more); SMX_E_NOMEM. */
SMX_API SMX_MUST_USE int smx_server_session_answer(smx_server_session *session, smx_ticket ticket,
                                                   const smx_reply *reply);
/* LMTP's EOM: one reply for each recipient that got 250, in their order. */
SMX_API SMX_MUST_USE int smx_server_session_answer_each(smx_server_session *session,
                                                        smx_ticket ticket, const smx_reply *replies,
                                                        size_t count);
/* AUTH: asks the client for more (334); `text` is encoded here. */
SMX_API SMX_MUST_USE int smx_server_session_challenge(smx_server_session *session,
                                                      smx_ticket ticket, smx_slice text);

/* After a TLS event: the handshake is done (error 0), or it failed and the session ends. What was
 * known from EHLO is forgotten (RFC 3207 section 4.2). */
SMX_API void smx_server_session_tls_done(smx_server_session *session, uint64_t now, int error);

/* The client went away: RESET (if a transaction was open) and CLOSE follow from feed. */
SMX_API void smx_server_session_ended(smx_server_session *session);

/* Ends the session with 421 (RFC 5321 section 3.8) as soon as no ticket waits and no body comes in;
 * `text` may be empty. */
SMX_API SMX_MUST_USE int smx_server_session_shutdown(smx_server_session *session, smx_slice text);

/* Gives back the memory that a session between two messages does not need. */
SMX_API void smx_server_session_trim(smx_server_session *session);

/* What is known of the session now. */
typedef struct smx_server_session_info {
    bool tls;
    bool esmtp;          /* EHLO or LHLO, not HELO */
    bool authenticated;  /* an AUTH was answered 235 */
    bool in_transaction; /* MAIL was taken */
    bool waiting;        /* a ticket waits for its answer */
    bool receiving;      /* within a body */
    uint32_t recipients; /* taken in this transaction */
    smx_slice helo;      /* the client's name for itself; lives until the next HELO */
} smx_server_session_info;
SMX_API void smx_server_session_get_info(const smx_server_session *session,
                                         smx_server_session_info *info);

/* ================================ the client's side ================================ */

typedef struct smx_client_session smx_client_session;

enum { SMX_CLIENT_SESSION_VERSION = 1 };

typedef enum smx_tls_policy {
    SMX_TLS_OFF,        /* never STARTTLS */
    SMX_TLS_IF_OFFERED, /* STARTTLS when offered; a failure ends the session: never back to clear */
    SMX_TLS_REQUIRED,   /* STARTTLS, or the session fails in phase tls */
    SMX_TLS_IMPLICIT,   /* the connection is in TLS from its first octet */
} smx_tls_policy;

typedef struct smx_client_session_options {
    uint32_t version; /* SMX_CLIENT_SESSION_VERSION */
    smx_slice helo;   /* our name */
    smx_slice
        own_hostname; /* a server that calls itself so is us: a loop (DESIGN 4.12); empty: off */
    bool lmtp;        /* LHLO, a reply per recipient */
    smx_tls_policy tls;
    bool authenticate; /* an AUTH event is wanted; without AUTH offered: failure of phase auth */
    uint32_t banner_timeout_ms;  /* each 0: the minimum of RFC 5321 section 4.5.3.2 */
    uint32_t command_timeout_ms; /* EHLO, STARTTLS, AUTH, MAIL, RCPT, RSET */
    uint32_t data_timeout_ms;    /* from DATA to 354 */
    uint32_t block_timeout_ms;   /* without a call of _body while the body is open */
    uint32_t final_timeout_ms;   /* after the final dot: 600000 */
} smx_client_session_options;

/* Where a session was when it failed (DESIGN 4.3). `connect` is the owner's to say. */
#define SMX_PHASE_MAP(X)                                                                           \
    X(CONNECT, "connect")                                                                          \
    X(BANNER, "banner")                                                                            \
    X(EHLO, "ehlo")                                                                                \
    X(TLS, "tls")                                                                                  \
    X(AUTH, "auth")                                                                                \
    X(MAIL, "mail")                                                                                \
    X(RCPT, "rcpt")                                                                                \
    X(DATA, "data")                                                                                \
    X(BODY, "body")   /* between 354 and the last octet of the final dot */                        \
    X(FINAL, "final") /* behind it */                                                              \
    X(QUIT, "quit")

typedef enum smx_client_phase {
#define SMX_PHASE_ENTRY(name, text) SMX_CLIENT_PHASE_##name,
    SMX_PHASE_MAP(SMX_PHASE_ENTRY)
#undef SMX_PHASE_ENTRY
        SMX_CLIENT_PHASE_COUNT
} smx_client_phase;

SMX_API const char *smx_client_phase_text(smx_client_phase phase);

typedef enum smx_client_event_type {
    SMX_CLIENT_NONE,
    SMX_CLIENT_TLS,        /* 220 to STARTTLS came: the owner does the handshake (nothing of `in` is
                             left: octets behind the 220 fail the session) and calls
                             smx_client_session_tls_done */
    SMX_CLIENT_AUTH,       /* choose among `capabilities.auth_mechanisms` and call
                             smx_client_session_auth, or smx_client_session_fail */
    SMX_CLIENT_CHALLENGE,  /* `text`: decoded; call smx_client_session_auth_response */
    SMX_CLIENT_READY,      /* a transaction may begin; also again after each one and after RSET */
    SMX_CLIENT_MAIL_REPLY, /* `reply` to MAIL. Not 2xx: the transaction is over; READY follows */
    SMX_CLIENT_RCPT_REPLY, /* `reply` to recipient `index` */
    SMX_CLIENT_BODY,       /* the server waits for the body: call smx_client_session_body until it
                             is whole, then _body_end. Not given while the owner has to decide: see
                             `hold_data` */
    SMX_CLIENT_DECIDE, /* all RCPT replies are in, some but not all were refused, and `hold_data`
                             was set, or they are in and the transaction comes in steps: call
                             smx_client_session_proceed or _reset (in steps also _recipients) */
    SMX_CLIENT_DATA_REPLY, /* DATA (or a BDAT before the last) was answered by other than 354 (250):
                             the transaction is over; READY follows */
    SMX_CLIENT_REPLY,      /* the final reply: the outcome is known. LMTP: one for each taken
                             recipient, with its `index`; READY follows the last */
    SMX_CLIENT_FAILED,     /* the session is over: `failure` says all; close the connection */
    SMX_CLIENT_CLOSED,     /* the end after QUIT: close the connection */
} smx_client_event_type;

/* How a session failed. */
typedef struct smx_client_failure {
    smx_client_phase phase;
    int error; /* SMX_E_TIMEOUT, _CLOSED, _RESET, _PROTOCOL, _TLS, _CERTIFICATE, _AUTH,
                                _REFUSED (a reply said no: `reply`), _EXISTS (it is ourselves) ... */
    bool has_reply;
    smx_reply_lines reply; /* the reply that ended it, if one did */
    bool in_transaction;   /* a transaction had begun, and has no reply yet */
    bool first_reply;      /* no reply at all came in answer to this transaction: on a reused
                                connection a fresh one may try the same again, not counted */
    bool outcome_unknown;  /* the last octet of the final dot was handed to the socket and no
                                final reply came (DESIGN 4.4) */
} smx_client_failure;

typedef struct smx_client_event {
    smx_client_event_type type;
    smx_slice text;
    size_t index;
    smx_reply_lines reply;
    const smx_client_failure *failure;
} smx_client_event;

SMX_API SMX_MUST_USE int smx_client_session_new(const smx_client_session_options *options,
                                                uint64_t now, smx_client_session **session);
SMX_API void smx_client_session_free(smx_client_session *session);

/* As smx_server_session_feed. */
SMX_API size_t smx_client_session_feed(smx_client_session *session, uint64_t now, smx_slice in,
                                       smx_client_event *event);
SMX_API smx_slice smx_client_session_output(const smx_client_session *session);
/* Octets handed to the socket: what decides whether an outcome is unknown. To be told
 * before the next feed: a reply to the final dot that comes while the dot has not left ends the session. */
SMX_API void smx_client_session_sent(smx_client_session *session, size_t count);
SMX_API uint64_t smx_client_session_deadline(const smx_client_session *session);

SMX_API void smx_client_session_tls_done(smx_client_session *session, uint64_t now, int error);

/* In answer to AUTH: the mechanism's name and, if it has one, its initial response (raw octets; an
 * empty one is sent as "="). A response too long for the command line is sent after an empty
 * challenge (RFC 4954 section 4). */
SMX_API SMX_MUST_USE int smx_client_session_auth(smx_client_session *session, uint64_t now,
                                                 smx_slice mechanism, bool has_initial,
                                                 smx_slice initial);
SMX_API SMX_MUST_USE int smx_client_session_auth_response(smx_client_session *session, uint64_t now,
                                                          smx_slice response);

/* The owner ends the session before its time: FAILED follows with this error and the current
 * phase. For the end of the connection: SMX_E_CLOSED or SMX_E_RESET. */
SMX_API void smx_client_session_fail(smx_client_session *session, int error);

/* A transaction as the server is to get it. Strings live until it is over. */
typedef struct smx_client_transaction {
    smx_mail mail; /* parameters that the server does not offer are left out; the caller has judged
                      whether that is right (smx_client_session_lacks) */
    const smx_rcpt *recipients;
    size_t recipient_count;
    uint64_t size;    /* octets of the body, if has_size */
    bool has_size;    /* SIZE is declared when offered; and BDAT is used when CHUNKING is */
    bool hold_data;   /* all or nothing: when some RCPT is refused, DECIDE instead of DATA */
    bool no_chunking; /* DATA even where CHUNKING is offered */
    bool in_steps;    /* recipients may come later (smx_client_session_recipients): DECIDE whenever
                         the replies to those so far are in, even if there are none yet; DATA goes
                         out on smx_client_session_proceed only, and BDAT is not used */
} smx_client_transaction;

/* Begins a transaction: only after READY. Where PIPELINING is offered MAIL and RCPT go out at once,
 * and DATA with them for a single recipient (DESIGN 4.7). SMX_E_STATE, SMX_E_INVALID (an octet that
 * cannot be sent: ATTACKS 20), SMX_E_NOMEM: nothing was sent. */
SMX_API SMX_MUST_USE int smx_client_session_begin(smx_client_session *session, uint64_t now,
                                                  const smx_client_transaction *transaction);

/* In steps: the list of recipients has grown to `count`; its first entries are those of before. From
 * the beginning until smx_client_session_proceed; new ones leave at once where PIPELINING is offered
 * or nothing is outstanding. SMX_E_STATE, SMX_E_INVALID, SMX_E_NOMEM: none of the new ones is asked
 * for. */
SMX_API SMX_MUST_USE int smx_client_session_recipients(smx_client_session *session, uint64_t now,
                                                       const smx_rcpt *recipients, size_t count);

/* After DECIDE: go on with the recipients that were taken. SMX_E_STATE where there are none. */
SMX_API SMX_MUST_USE int smx_client_session_proceed(smx_client_session *session, uint64_t now);

/* After BODY: turns octets of the body into pieces of the wire: dot-stuffed, or behind a BDAT
 * command. Takes octets from the start of `in`: *used of them; fills at most `capacity` pieces, which
 * are slices of `in`, of constants or of the session and live until the next call; they must be
 * sent in order, behind what smx_client_session_output held before. Where `in` is a part of the
 * body BDAT makes a chunk of each call (use pieces of 64 KiB or more) and two pieces of that;
 * SMX_E_AGAIN where the server offers no PIPELINING and the chunk before has no reply yet: nothing
 * was taken, BODY comes again. A chunk's pieces must be sent whole even if DATA_REPLY comes
 * meanwhile. SMX_E_PROTOCOL for bare CR, bare LF or NUL: the transaction cannot go on, the owner
 * closes without a dot (BDAT too); FAILED follows. */
SMX_API SMX_MUST_USE int smx_client_session_body(smx_client_session *session, uint64_t now,
                                                 smx_slice in, size_t *used, smx_slice *pieces,
                                                 size_t capacity, size_t *count);
/* What is handed in from here on is the rest of the body, and known to be so (bits of
 * smx_body_trait). True if it goes as it is: smx_client_session_body then gives it back as one piece, and
 * takes octets that could not be sent once more. False: it works as before, with less to look for. */
SMX_API bool smx_client_session_trust(smx_client_session *session, unsigned traits);
/* The octets that smx_client_session_body_end will add to the output behind a body that goes as it is,
 * so that they can leave in one write with it. That cannot fail then. SMX_E_NOMEM. */
SMX_API SMX_MUST_USE int smx_client_session_body_end_octets(smx_client_session *session,
                                                            smx_slice *end);
/* The owner has no more octets yet and all before have left: no time runs until the next call. */
SMX_API void smx_client_session_body_wait(smx_client_session *session);
/* The body is whole: the final dot (or BDAT 0 LAST) goes to the output. */
SMX_API SMX_MUST_USE int smx_client_session_body_end(smx_client_session *session, uint64_t now);

/* Gives the transaction up: RSET if it has begun and no body is open. SMX_E_STATE within a body:
 * then only closing the connection without a dot helps. READY follows. */
SMX_API SMX_MUST_USE int smx_client_session_reset(smx_client_session *session, uint64_t now);

/* NOOP: after READY, which follows again behind a 2xx; any other reply ends the session (FAILED, of
 * phase mail). */
SMX_API SMX_MUST_USE int smx_client_session_noop(smx_client_session *session, uint64_t now);

/* QUIT: after READY. CLOSED follows, whatever the server says. */
SMX_API SMX_MUST_USE int smx_client_session_quit(smx_client_session *session, uint64_t now);

/* What the server offers now; its slices live as long as the session is not in TLS's or EHLO's
 * next round. */
SMX_API const smx_capabilities *smx_client_session_capabilities(const smx_client_session *session);

/* True between transactions, when nothing was sent that waits for a reply. */
SMX_API bool smx_client_session_is_ready(const smx_client_session *session);
SMX_API smx_client_phase smx_client_session_phase(const smx_client_session *session);

/* Gives back the memory that an idle session does not need. */
SMX_API void smx_client_session_trim(smx_client_session *session);

#ifdef __cplusplus
}
#endif

#endif
