/* The relay from the inside.
 *
 *   relay.c           the API; what is due; feeding
 *   relay_commands.c  a row for each command: its rules, and what it does
 *   relay_lines.c     where a command line ends
 *   relay_replies.c   what an upstream's reply means, by what it answers
 *   relay_waits.c     the replies that are awaited, in order, the machine's own among them
 *   relay_greeting.c  EHLO, STARTTLS and XCLIENT of our own before the client's first command
 *   relay_hello.c     what passes of an EHLO reply
 *   relay_auth.c      whether AUTH is offered
 *   relay_body.c      DATA and BDAT that pass as they are
 *   relay_message.c   messages that the owner sends on
 */
#ifndef PROXY_RELAY_MACHINE_H
#define PROXY_RELAY_MACHINE_H

#include "base/buffer.h"
#include "proxy/relay.h"
#include "proxy/relay_replies.h"

/* What the client's octets are; one function for each (relay.c). */
#define RELAY_STATE_MAP(X)                                                                         \
    X(COMMAND, command)                                                                            \
    X(LOCKED, locked)     /* what they are, a reply has to tell: to DATA, AUTH, STARTTLS */        \
    X(DIALOGUE, dialogue) /* a line of an AUTH dialogue */                                         \
    X(DATA, data)         /* a body, up to the dot, that passes as it is */                        \
    X(CHUNK, chunk)       /* the octets of BDAT, that pass as they are */                          \
    X(DATA_IN, data_in)   /* the same two for the owner */                                         \
    X(CHUNK_IN, chunk_in)                                                                          \
    X(JUDGED, judged)       /* the owner has it whole, and sends it on or refuses it */            \
    X(DATA_REST, data_rest) /* the rest of a body, or of a chunk, that nobody gets */              \
    X(CHUNK_REST, chunk_rest)                                                                      \
    X(RAW, raw)                                                                                    \
    X(ORPHAN, orphan) /* the upstream was given up: the next command hears 421 */                  \
    X(DEAF, deaf)     /* nothing is read any more */

typedef enum relay_state {
#define RELAY_STATE_ENTRY(name, function) RELAY_STATE_##name,
    RELAY_STATE_MAP(RELAY_STATE_ENTRY)
#undef RELAY_STATE_ENTRY
        RELAY_STATE_COUNT
} relay_state;

/* How far our own greeting of the upstream is. */
typedef enum relay_greeting {
    RELAY_GREETING_NONE,  /* not begun */
    RELAY_GREETING_HELLO, /* our EHLO, STARTTLS or XCLIENT is outstanding */
    RELAY_GREETING_TLS,   /* the handshake */
    RELAY_GREETING_DONE,  /* or there is no need of it */
} relay_greeting;

/* One awaited reply. */
typedef struct relay_wait {
    uint8_t kind;    /* relay_kind */
    uint16_t number; /* LOCAL: octets of its text; MESSAGE, LAST_CHUNK: replies that are left */
} relay_wait;

enum {
    RELAY_WAITS = 32, /* commands that may be outstanding; the client's next one waits */
    RELAY_LINE_MAX = SMX_COMMAND_LINE_MAX,
};

struct relay {
    const relay_options *options;
    uint64_t now;
    uint64_t client_since;   /* of the client's last progress */
    uint64_t upstream_since; /* of the upstream's */
    uint8_t state;           /* relay_state */
    uint8_t greeting;        /* relay_greeting */

    /* What is known of the session. */
    bool client_tls;
    bool upstream_tls;
    bool upstream_verified;
    bool may_xclient;
    bool esmtp;
    bool own_hello; /* our own greeting is the client's EHLO, as it came */
    bool authenticated;
    bool upstream_gone; /* cut, or ended */
    bool client_gone;
    bool in_transaction;
    bool discarding;        /* the transaction is nobody's: the machine answers all of it */
    bool prdr;              /* MAIL asked for a reply for each recipient (draft-hall-prdr) */
    bool added_refused;     /* a recipient that a hook added was not taken */
    bool chunking;          /* within a series of BDAT */
    bool last_chunk;        /* the chunk that is read is the last */
    bool chunk_local;       /* the chunk's reply is not the upstream's */
    bool chunk_refused;     /* a chunk of our own was */
    bool by_chunks;         /* the message came by BDAT and goes so */
    bool began_upstream;    /* the upstream has a part of the message */
    bool to_encode;         /* relay_message_encode may be called */
    uint16_t recipients;    /* taken */
    smx_extensions offered; /* by the upstream's last EHLO reply */

    /* What is due, in this order. */
    uint8_t decided;    /* relay_decision_kind + 1; 0: nothing was */
    bool asking;        /* the owner was asked about the line at hand */
    bool skip_line;     /* the line at hand has been answered */
    bool line_waits;    /* the line at hand waits for something other than octets */
    bool cut_due;       /* RELAY_CUT_UPSTREAM */
    bool drop_due;      /* RELAY_DROPPED */
    bool ready_due;     /* RELAY_BODY_READY */
    uint8_t secure_due; /* relay_side + 1 */
    bool close_due;     /* RELAY_CLOSE, when all replies have been given */
    bool raw_told;
    bool failed; /* out of memory */

    relay_wait waits[RELAY_WAITS];
    uint8_t first_wait;
    uint8_t wait_count;
    smx_reply_parser parser;
    size_t scanned;      /* octets of the client's line that bear no LF */
    smx_dot_decoder dot; /* DATA from the client */
    smx_dot_encoder encoder;
    uint64_t remaining;  /* octets of the chunk */
    uint64_t held_size;  /* of the message that is sent on by one BDAT */
    uint64_t body_since; /* min_rate */
    uint64_t body_octets;
    buffer said;       /* texts of LOCAL waits */
    buffer own;        /* commands of the machine's own, or changed lines, for the upstream */
    buffer scratch;    /* an EHLO reply as it passes; a BDAT line */
    uint8_t own_kind;  /* of what is in `own` */
    bool own_changed;  /* it is the client's command, changed by a hook */
    smx_reply refusal; /* of the message that is thrown away; code 0: none */
    buffer refusal_text;
    smx_slice xclient;
};

/* ---- relay.c ---- */

void relay_enter(relay *r, relay_state state);
/* The session cannot go on: memory is missing. */
void relay_fail(relay *r);
/* The reply at its place in the order, then the end. */
void relay_close(relay *r, const smx_reply *reply);
/* Sends a line of our own upstream and awaits its reply. */
void relay_send_own(relay *r, relay_kind kind, smx_slice line);
void relay_command(relay_event *event, relay_kind kind, smx_slice text);
/* The upstream is given up, and with it all that it owes. */
void relay_cut(relay *r);
/* The transaction is over, or was never there. */
void relay_reset(relay *r);
bool relay_asks(const relay *r, smx_hook_phase phase);
/* Messages go by way of the owner. */
bool relay_is_filtered(const relay *r);

/* ---- relay_waits.c ---- */

bool relay_has_room(const relay *r);
void relay_await(relay *r, relay_kind kind);
void relay_await_many(relay *r, relay_kind kind, uint16_t number);
/* `number` more replies like the one that was just taken come before all others. */
void relay_await_next(relay *r, const relay_wait *w, uint16_t number);
/* The machine's own reply, at its place. */
void relay_say(relay *r, const smx_reply *reply);
relay_wait *relay_head(relay *r);
void relay_took(relay *r);
/* The reply at the head is the machine's own: gives it. */
bool relay_give_local(relay *r, relay_event *event);

/* ---- relay_lines.c ---- */

typedef enum relay_line { RELAY_LINE_PARTIAL, RELAY_LINE_WHOLE, RELAY_LINE_BAD } relay_line;
/* BAD: the client was told, and the session is over. */
relay_line relay_cut_line(relay *r, smx_slice in, smx_slice *line, size_t *used);

/* ---- the states; they return the octets used ---- */

typedef size_t relay_state_fn(relay *r, smx_slice in, relay_event *event);
#define RELAY_STATE_DECLARE(name, function) relay_state_fn relay_state_##function;
RELAY_STATE_MAP(RELAY_STATE_DECLARE)
#undef RELAY_STATE_DECLARE

/* ---- relay_replies.c ---- */

size_t relay_upstream_octets(relay *r, smx_slice in, relay_event *event);
void relay_reply_passes(const relay_wait *w, const smx_reply_lines *reply, relay_event *event);

/* ---- relay_greeting.c ---- */

/* True: the command may go on. False: the greeting comes first; the command stays where it is. */
bool relay_greet(relay *r, const smx_command *command, smx_slice line, relay_event *event);
void relay_greeting_reply(relay *r, const relay_wait *w, const smx_reply_lines *reply,
                          relay_event *event);
void relay_greeting_secured(relay *r, int error, bool verified);

/* ---- relay_hello.c, relay_auth.c ---- */

/* The reply as the client may see it; empty when out of memory. */
smx_slice relay_filter_hello(relay *r, const smx_reply_lines *reply);
bool relay_offers_starttls(const relay *r);
bool relay_offers_auth(const relay *r);
/* Channel binding ends where TLS ends (RFC 5929): not a mechanism that a proxy can pass. */
bool relay_is_bound_mechanism(smx_slice mechanism);

/* ---- relay_body.c, relay_message.c ---- */

void relay_begin_body(relay *r);
/* DATA was answered 354, by the upstream or by ourselves. */
void relay_data_taken(relay *r);
/* BDAT's octets follow. */
void relay_chunk_begin(relay *r, uint64_t size, bool last);
/* The body is faulty, or nobody wants it: the rest is read and thrown away. */
void relay_refuse_body(relay *r, const smx_reply *reply);
/* Gives the replies at the end of a message that was refused or discarded. */
void relay_finish_refused(relay *r);

#endif
