/* The transparent relay as a machine: octets of a client and of an upstream in, octets for both and
 * events out. No I/O, no clock, no hooks: its owner has those.
 *
 * Commands go upstream and replies come back as they came; the machine reads them only as far as it
 * must know what the octets behind them are. Replies of its own stand in the order of the commands.
 *
 * Events are pulled: after each relay_feed the owner acts on the event and feeds on until
 * RELAY_NONE. Slices of an event are of what was fed or of the machine, and live until its next call.
 */
#ifndef PROXY_RELAY_H
#define PROXY_RELAY_H

#include "smx/hook.h"
#include "smx/session.h"

typedef struct relay relay;

typedef enum relay_side { RELAY_CLIENT, RELAY_UPSTREAM } relay_side;

typedef enum relay_tls {
    RELAY_TLS_OFF,
    RELAY_TLS_OFFERED,  /* to the client; towards the upstream: used where it is offered */
    RELAY_TLS_REQUIRED, /* of the client before anything else; of the upstream likewise */
    RELAY_TLS_IMPLICIT, /* the connection is in TLS before the machine begins */
    RELAY_TLS_PASSED, /* the client's STARTTLS goes upstream, and then octets pass unread. Where the
                           upstream's is IMPLICIT they do from the first one */
} relay_tls;

/* The last EHLO reply and what became of it, for all sessions of a listener on one loop: most servers
 * say the same to everybody. Zero: none. */
typedef struct relay_hello_memory {
    smx_extensions offered;
    bool auth_hidden;
    uint8_t session; /* what the outcome depends on beside the reply */
    uint16_t said_length;
    uint16_t passed_length;
    char said[1024];
    char passed[1024];
} relay_hello_memory;

/* Of all sessions of a listener; must outlive them. */
typedef struct relay_options {
    smx_slice hostname; /* in the machine's own replies */
    relay_tls client_tls;
    relay_tls upstream_tls; /* never RELAY_TLS_PASSED */
    bool lmtp;              /* a reply for each recipient (RFC 2033) */
    bool upstream_is_near;  /* loopback or a Unix socket: clear text is nobody's */
    bool hide_auth;         /* AUTH is never offered */
    bool allow_insecure_auth;
    const smx_slice *extensions; /* keywords of EHLO that pass beside SMX_EXTENSION_MAP's */
    size_t extension_count;
    smx_bare_newline bare_newline; /* PASS: only where no hook judges the message */
    unsigned asks; /* bits 1 << smx_hook_phase: the owner is asked (HELO AUTH MAIL RCPT DATA), or
                      gets the message decoded to send it on itself (HEADER BODY EOM) */
    bool reads_envelope; /* MAIL and RCPT are asked about only to be read: what is behind them need
                            not wait for their replies */
    bool
        parts_transactions; /* MAIL waits for all replies before it: the owner, who is not asked, follows
                                one transaction at a time */
    bool hold;              /* the upstream hears of DATA when the owner has the whole message */
    uint32_t idle_timeout_ms;     /* of the client; 0: 300000 */
    uint32_t upstream_timeout_ms; /* for a reply; 0: 600000 */
    uint32_t min_rate;            /* octets a second of the client; 0: none */
    relay_hello_memory *hello;    /* NULL: every reply is read anew */
} relay_options;

/* What a reply answers, and what a command is; own ones are the machine's. Its word is for logs. */
#define RELAY_KIND_MAP(X)                                                                          \
    X(BANNER, "connect")                                                                           \
    X(HELLO, "EHLO") /* EHLO, LHLO */                                                              \
    X(HELO, "HELO")                                                                                \
    X(STARTTLS, "STARTTLS")                                                                        \
    X(AUTH, "AUTH") /* and the lines of its dialogue */                                            \
    X(MAIL, "MAIL")                                                                                \
    X(RCPT, "RCPT")                                                                                \
    X(DATA, "DATA")                                                                                \
    X(MESSAGE, "message") /* the final dot */                                                      \
    X(CHUNK, "BDAT")                                                                               \
    X(LAST_CHUNK, "BDAT LAST")                                                                     \
    X(RSET, "RSET")                                                                                \
    X(QUIT, "QUIT")                                                                                \
    X(XCLIENT, "XCLIENT")                                                                          \
    X(OTHER, "other")     /* another command of SMTP */                                            \
    X(UNKNOWN, "unknown") /* any other word */                                                     \
    X(OWN_HELLO, "EHLO")                                                                           \
    X(OWN_STARTTLS, "STARTTLS")                                                                    \
    X(OWN_XCLIENT, "XCLIENT")                                                                      \
    X(OWN_RSET, "RSET")                                                                            \
    X(OWN_RCPT, "RCPT") /* a recipient that a hook added */                                        \
    X(OWN_DATA, "DATA") /* of a message that was held */                                           \
    X(OWN_CHUNK, "BDAT")                                                                           \
    X(LOCAL, "") /* a reply of the machine's own, that waits its turn */

typedef enum relay_kind {
#define RELAY_KIND_ENTRY(name, text) RELAY_KIND_##name,
    RELAY_KIND_MAP(RELAY_KIND_ENTRY)
#undef RELAY_KIND_ENTRY
        RELAY_KIND_COUNT
} relay_kind;
const char *relay_kind_text(relay_kind kind);
/* As smx_command_parse, but never taking for unknown what some server might take for known. */
void relay_read_command(smx_slice line, smx_command *command);

typedef enum relay_event_type {
    RELAY_NONE,         /* more octets, a decision or time are needed */
    RELAY_COMMAND,      /* `text`, a line of `kind`, goes upstream */
    RELAY_REPLY,        /* `text`, a whole reply with this `code` to `kind`, goes to the client */
    RELAY_OCTETS,       /* `text`, of a body or unread, goes to the other `side` */
    RELAY_OWN_REPLY,    /* nothing is sent: the upstream answered a command of the machine's own */
    RELAY_ASK,          /* may the command of `phase` pass, with this argument as `text`?
                           relay_decide. AUTH: the upstream has said yes (`text` is its reply) */
    RELAY_BODY,         /* `text`: decoded octets of the message, for the owner */
    RELAY_BODY_END,     /* the message is whole: relay_message_end or relay_message_refuse; when it
                           was held, relay_message_begin before */
    RELAY_BODY_READY,   /* the upstream awaits the held message: relay_message_encode */
    RELAY_DROPPED,      /* the message that the owner gets is over without an end: the upstream said
                           no, or the body was faulty */
    RELAY_SECURE,       /* the handshake with `side` is to begin: relay_secured */
    RELAY_PASSTHROUGH,  /* told once: from now on octets pass unread */
    RELAY_CUT_UPSTREAM, /* its connection is to end at once, without a dot; the client's goes on */
    RELAY_CLOSE,        /* both connections end when what was sent has left; of the kind QUIT: the
                           upstream has answered it, and nobody has more to say */
} relay_event_type;

typedef struct relay_event {
    relay_event_type type;
    relay_side side;       /* whom OCTETS go to, whom SECURE is about */
    relay_kind kind;       /* COMMAND, REPLY, OWN_REPLY, CLOSE */
    bool own;              /* COMMAND, REPLY: the machine's, not the peer's */
    bool secret;           /* COMMAND: a line of an AUTH dialogue */
    bool continues;        /* ... and not its first */
    uint16_t code;         /* REPLY, OWN_REPLY */
    uint16_t lines;        /* REPLY that passes as it came: how many; 0: they were not counted */
    smx_enhanced enhanced; /* ... and its enhanced code */
    smx_slice text;
    smx_slice argument;   /* COMMAND of the client: behind its verb */
    smx_hook_phase phase; /* ASK */
} relay_event;

SMX_MUST_USE int relay_new(const relay_options *options, uint64_t now, relay **r);
void relay_free(relay *r);
/* Gives back buffers of a session that has nothing to do. */
void relay_trim(relay *r);

/* What the upstream is told of the client before its EHLO, if it offers XCLIENT: attributes in
 * xtext, as "ADDR=192.0.2.1 PORT=4711". Must live as long as the machine. */
void relay_set_xclient(relay *r, smx_slice attributes);
/* The client may use XCLIENT itself, where the upstream offers it. */
void relay_allow_xclient(relay *r);
/* RELAY_TLS_IMPLICIT towards the upstream: whether its certificate was right. */
void relay_set_verified(relay *r, bool verified);

/* Takes octets of a side from the start of `in`: returns how many. Empty input gives what is due. */
size_t relay_feed(relay *r, relay_side side, uint64_t now, smx_slice in, relay_event *event);
/* To be fed without octets would give nothing. */
bool relay_is_quiet(const relay *r);
/* This side's octets are not wanted until the other side, the owner or time has done something. */
bool relay_is_waiting(const relay *r, relay_side side);

typedef enum relay_decision_kind {
    RELAY_PASS,
    RELAY_REFUSE,     /* the client is told `reply`, the upstream hears nothing */
    RELAY_DISCARD,    /* the client is told that all is well, nobody gets the message */
    RELAY_DISCONNECT, /* `reply`, and the end */
} relay_decision_kind;

typedef struct relay_decision {
    relay_decision_kind kind;
    smx_reply reply;
    bool is_changed;
    smx_slice line; /* PASS of MAIL and RCPT, if is_changed: with CRLF, in place of the client's;
                       empty: the upstream hears nothing of it and the client is told 250 */
} relay_decision;

/* Answers ASK. Texts are copied. SMX_E_NOMEM: the session is over, RELAY_CLOSE follows. SMX_E_INVALID: the
 * line is not one line, and nothing was decided. SMX_E_STATE: nobody asks any more, the session ended
 * meanwhile. DISCARD means PASS at HELO and AUTH. */
SMX_MUST_USE int relay_decide(relay *r, const relay_decision *decision);

/* A further recipient, between the answer to MAIL and to DATA, and also before relay_message_begin. If the
 * upstream refuses it DATA is refused too. Any number of them wait for their turn. SMX_E_INVALID: octets
 * that cannot be sent. SMX_E_STATE: too early, too late, or nobody to send to. SMX_E_NOMEM. */
SMX_MUST_USE int relay_add_recipient(relay *r, smx_slice mailbox);

/* ---- messages that the owner sends on (asks: HEADER, BODY, EOM; hold; normalize) ---- */

/* A held message is to go: `size` octets. BODY_READY, or a REPLY and DROPPED, follow. */
SMX_MUST_USE int relay_message_begin(relay *r, uint64_t size);
/* Turns octets into pieces of the wire, dot-stuffed or behind BDAT; as smx_client_session_body.
 * SMX_E_PROTOCOL for a bare CR, LF or NUL: nothing more may be sent, relay_message_refuse. SMX_E_AGAIN: too
 * many chunks are unanswered, once more when the upstream has replied. SMX_E_STATE: nobody wants it. */
SMX_MUST_USE int relay_message_encode(relay *r, smx_slice in, size_t *used, smx_slice *pieces,
                                      size_t capacity, size_t *count);
/* No more octets follow: the dot, or BDAT LAST, goes out as a COMMAND or OCTETS event. */
SMX_MUST_USE int relay_message_end(relay *r);
/* Also between two chunks. From now on the message is thrown away and answered so at its end. If the upstream has a part of it
 * the session cannot go on with it: CUT_UPSTREAM, and the client's next command hears 421. */
SMX_MUST_USE int relay_message_refuse(relay *r, const smx_reply *reply);

/* ---- the rest ---- */

/* The handshake that SECURE asked for is over: 0, or why it failed. `verified`: the upstream's
 * certificate was right. */
void relay_secured(relay *r, relay_side side, uint64_t now, int error, bool verified);
/* The connection of this side has ended. The client is told of its upstream's end where it can be. Octets
 * that a client sent before its end, and that are not used yet, are lost by this: call it when they are,
 * or when it was reset. */
void relay_ended(relay *r, relay_side side);
/* The machine says this and closes: a shutdown, a hook's deadline, no upstream. */
SMX_MUST_USE int relay_shutdown(relay *r, const smx_reply *reply);
/* The upstream takes no octets for now (its connection's buffers are full), or takes them again: until
 * then the client is not to blame, and upstream_timeout_ms runs. */
void relay_stalled(relay *r, uint64_t now, bool stalled);
/* When relay_expire is to be called; UINT64_MAX: never. */
uint64_t relay_deadline(const relay *r);
void relay_expire(relay *r, uint64_t now);

/* MAIL was taken, and its transaction is not over. */
bool relay_in_transaction(const relay *r);
/* No transaction, no body, and all commands were answered. */
bool relay_is_idle(const relay *r);
/* How many replies are awaited. */
size_t relay_outstanding(const relay *r);

/* All that is known, for those who want more than one of it. */
typedef struct relay_info {
    bool in_transaction; /* MAIL was taken */
    bool receiving;      /* within a body */
    bool authenticated;
    bool client_tls;
    bool upstream_tls;
    bool is_raw;
    bool is_named;      /* our own greeting bears the client's name */
    bool auth_hidden;   /* the upstream offers AUTH, and its last EHLO reply passed without it */
    size_t outstanding; /* replies that are awaited */
} relay_info;
void relay_get_info(const relay *r, relay_info *info);

#endif
