/* The relay from the inside.
 *
 *   relay.c           the API; what is due; feeding
 *   relay_commands.c  a row for each command: its rules, and what it does
 *   relay_lines.c     where a command line ends
 *   relay_replies.c   what an upstream's reply means, by what it answers
 *   relay_decide.c    what the owner says
 *   relay_time.c      deadlines
 *   relay_waits.c     the replies that are awaited, in order, the machine's own among them
 *   relay_greeting.c  EHLO, STARTTLS and XCLIENT of our own before the client's first command
 *   relay_hello.c     what passes of an EHLO reply
 *   relay_auth.c      whether AUTH is offered
 *   relay_body.c      DATA and BDAT that pass as they are
 *   relay_recipients.c  whom each side believes in, where each recipient has a reply
 *   relay_rest.c      what is left of bodies that nobody gets
 *   relay_message.c   messages that the owner sends on
 */
#ifndef PROXY_RELAY_MACHINE_H
#define PROXY_RELAY_MACHINE_H

#include "base/buffer.h"
#include "proto/body_lines.h"
#include "proxy/relay.h"
#include "proxy/relay_replies.h"
#include "session/rate.h"

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

/* What stands beside an awaited reply; bits. */
enum relay_wait_flag {
    RELAY_WAIT_PRDR = 1,      /* MAIL asked for a reply for each recipient (draft-hall-prdr) */
    RELAY_WAIT_BINARY = 2,    /* MAIL said BODY=BINARYMIME */
    RELAY_WAIT_CHUNK = 4,     /* LOCAL: to a chunk whose parts may be refused upstream */
    RELAY_WAIT_RECIPIENT = 8, /* LOCAL: a recipient that only the client believes in */
    RELAY_WAIT_END = 16,      /* LOCAL: the transaction is over behind it */
};

/* One awaited reply. */
typedef struct relay_wait {
    uint8_t kind;  /* relay_kind */
    uint8_t flags; /* bits of relay_wait_flag */
    uint16_t
        number; /* LOCAL: octets of its text, 0 for "250 taken"; MESSAGE, LAST_CHUNK: replies that are left */
    uint16_t copies; /* LOCAL: how often it is given */
} relay_wait;

/* A line of the machine's own in the queue for the upstream; its octets follow. */
typedef struct relay_own {
    uint8_t kind;
    bool own;   /* false: it ends what the client began */
    bool waits; /* its reply is awaited from when it leaves */
    uint16_t len;
} relay_own;

/* Who believes in a recipient. */
enum relay_recipient {
    RELAY_BOTH = 'b',
    RELAY_DELETED = 'd', /* only the client */
    RELAY_ADDED = 'a',   /* only the upstream */
};

/* Why the line at hand has to wait. */
typedef enum relay_cause {
    RELAY_CAUSE_NONE,     /* it does not: octets are needed */
    RELAY_CAUSE_ROOM,     /* too many replies are outstanding */
    RELAY_CAUSE_REPLIES,  /* it goes when there are none */
    RELAY_CAUSE_GREETING, /* ours comes first */
    RELAY_CAUSE_DECISION, /* the owner was asked */
} relay_cause;

enum {
    RELAY_EACH = UINT16_MAX, /* as many replies as a whole message has, once that is known */
    RELAY_WAITS = 32,        /* commands that may be outstanding; the client's next one waits */
    RELAY_LINE_MAX = SMX_COMMAND_LINE_MAX,
};

/* The message, or chunk, that is being read. */
typedef struct relay_body {
    smx_dot_decoder dot; /* DATA from the client */
    smx_dot_encoder encoder;
    smx_newline_check check; /* BDAT from the client */
    smx_newline_check sent;  /* BDAT to the upstream */
    bool held_cr;            /* bare_newline: normalize */
    body_tail tail;
    uint64_t remaining; /* octets of the chunk */
    bool by_chunks;     /* it came by BDAT and goes so */
    bool last;          /* the chunk is */
    bool began;         /* the upstream has a part of it */
    bool encodes;       /* relay_message_encode may be called */
    bool is_binary;     /* BODY=BINARYMIME: octets mean nothing */
    session_rate rate;
} relay_body;

struct relay {
    const relay_options *options;
    uint64_t now;
    uint64_t client_since;   /* of the client's last progress */
    uint64_t upstream_since; /* of the upstream's */
    uint64_t stalled_since;  /* the upstream takes no octets; UINT64_MAX: it does */
    uint8_t state;           /* relay_state */
    uint8_t greeting;        /* relay_greeting */
    uint8_t cause;           /* relay_cause */

    /* What is known of the session. */
    bool client_tls;
    bool upstream_tls;
    bool upstream_verified;
    bool may_xclient;
    bool spoken;    /* the client's first command was understood */
    bool own_hello; /* our own greeting is the client's EHLO, as it came */
    bool is_named;  /* it bears the client's name, that of HELO too */
    bool authenticated;
    bool auth_hidden;   /* the last EHLO reply lost its AUTH */
    bool auth_failed;   /* unknown words behind it may be the rest of its dialogue */
    bool upstream_gone; /* cut, or ended */
    bool given_up;      /* the upstream hears nothing more, but owes replies to what it heard */
    bool goodbye;       /* its last reply was 421 */
    bool client_gone;
    bool has_quit;          /* and was answered */
    smx_extensions offered; /* by the upstream's last EHLO reply */

    /* The transaction as the replies that were given tell it. */
    bool in_transaction;
    bool prdr;
    bool binary;
    bool added_refused;  /* a recipient that a hook added was not taken */
    uint16_t recipients; /* taken, as the client was told */
    buffer taken;        /* relay_recipient letters, where each has a reply to the message */
    size_t answered;     /* of these */

    /* The transaction as the commands that were read tell it. */
    bool discarding;     /* it is nobody's: the machine answers all of it */
    bool chunking;       /* within a series of BDAT */
    bool series_refused; /* its message is over: the rest of the series is answered here */

    /* What is due. */
    uint8_t decided;    /* relay_decision_kind + 1; 0: nothing was */
    bool asking;        /* the owner was asked, about the line at hand or about the user */
    bool skip_line;     /* the line at hand has been answered */
    bool line_changed;  /* `line` goes in its place */
    bool cut_due;       /* RELAY_CUT_UPSTREAM */
    bool drop_due;      /* RELAY_DROPPED */
    bool begin_due;     /* the held message may go, once added recipients have been answered */
    bool ready_due;     /* RELAY_BODY_READY */
    bool raw_due;       /* RELAY_PASSTHROUGH */
    uint8_t secure_due; /* relay_side + 1 */
    bool close_due;     /* RELAY_CLOSE, when all replies have been given */
    bool closed;        /* it was given */
    bool failed;        /* out of memory */

    relay_wait waits[RELAY_WAITS];
    uint8_t first_wait;
    uint8_t wait_count;
    smx_reply_parser parser;
    size_t scanned; /* octets of the client's line that bear no LF */
    relay_body body;
    buffer said;    /* texts of LOCAL waits */
    buffer own;     /* relay_own and its octets, one after the other */
    buffer line;    /* in place of the client's */
    buffer scratch; /* an EHLO reply as it passes; normalized octets */
    buffer refusal; /* of the message that is thrown away, as it goes over the wire; empty: none */
    uint16_t refusal_count;
    bool part_refused; /* `refusal` is the upstream's, to a chunk of our own */
    char chunk_line[40];
    uint64_t held_size;
    smx_slice xclient;
};

/* ---- relay.c ---- */

/* DEAF is never left. */
void relay_enter(relay *r, relay_state state);
/* The session cannot go on: memory is missing. */
void relay_fail(relay *r);
/* The reply at its place in the order, then the end. Where nothing can be said: the end. */
void relay_close(relay *r, const smx_reply *reply);
void relay_hang_up(relay *r);
/* Sends a line of our own upstream and awaits its reply. */
void relay_send_own(relay *r, relay_kind kind, smx_slice line);
SMX_MUST_USE int relay_queue(relay *r, relay_own own, smx_slice octets);
void relay_command(relay_event *event, relay_kind kind, smx_slice text);
/* The upstream is given up, and with it all that it owes. */
void relay_cut(relay *r);
/* The same when it has answered what it heard before. */
void relay_cut_later(relay *r);
bool relay_is_lost(const relay *r);
/* The message that the owner gets, if there is one, is over. */
void relay_drop(relay *r);
/* The transaction is over, or was never there: for the replies, and for the commands. */
void relay_reset(relay *r);
void relay_forget(relay *r);
bool relay_asks(const relay *r, smx_hook_phase phase);
/* Messages go by way of the owner. */
bool relay_is_filtered(const relay *r);

/* ---- relay_waits.c ---- */

bool relay_has_room(const relay *r);
bool relay_has_waits(const relay *r);
bool relay_awaits(const relay *r, relay_kind kind, uint8_t flags);
void relay_await(relay *r, relay_kind kind, uint8_t flags);
void relay_await_many(relay *r, relay_kind kind, uint16_t number);
/* `number` more replies like the one that was just taken come before all others. */
void relay_await_next(relay *r, const relay_wait *w, uint16_t number);
/* The machine's own reply, at its place. */
void relay_say(relay *r, const smx_reply *reply);
/* "250 taken", before all others. */
void relay_say_next(relay *r, uint8_t flags, uint16_t copies);
void relay_say_octets(relay *r, smx_slice text, uint8_t flags, uint16_t copies);
relay_wait *relay_head(relay *r);
relay_wait *relay_tail(relay *r);
void relay_took(relay *r);
void relay_take_back(relay *r);
/* The upstream owes nothing any more; the machine's own replies stay. */
void relay_forgive(relay *r);
/* The reply at the head is the machine's own: gives it. */
bool relay_give_local(relay *r, relay_event *event);

/* ---- relay_time.c ---- */

void relay_progress(relay *r, size_t octets);

/* ---- relay_lines.c ---- */

typedef enum relay_line { RELAY_LINE_PARTIAL, RELAY_LINE_WHOLE, RELAY_LINE_BAD } relay_line;
/* `used` stays 0 when it is PARTIAL. BAD: the client was told, and the session is over. */
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
bool relay_greet(relay *r, const smx_command *command, smx_slice line);
void relay_greeting_reply(relay *r, const relay_wait *w, const smx_reply_lines *reply,
                          relay_event *event);
void relay_greeting_secured(relay *r, int error, bool verified);

/* ---- relay_hello.c, relay_auth.c ---- */

/* Notes what is offered, and makes the event's text what the client may see of it. */
void relay_pass_hello(relay *r, const smx_reply_lines *reply, relay_event *event);
/* Some TLS of this session ends here. */
bool relay_ends_tls(const relay *r);
bool relay_offers_starttls(const relay *r);
bool relay_offers_auth(const relay *r);
/* Channel binding ends where TLS ends (RFC 5929): not a mechanism that a proxy can pass. */
bool relay_is_bound_mechanism(smx_slice mechanism);

/* ---- relay_body.c ---- */

/* DATA was answered 354, by the upstream or by ourselves. */
void relay_data_taken(relay *r, bool by_upstream);
/* BDAT's octets follow. */
void relay_chunk_begin(relay *r, uint64_t size, bool last);
/* Octets at the start of `in` before the first that makes the body faulty; DATA, or a chunk. */
size_t relay_faultless_dots(const relay *r, smx_slice in);
size_t relay_faultless_octets(const relay *r, smx_slice in);
bool relay_is_fatal(const relay *r, uint8_t faults);
smx_slice relay_without_last_cr(const relay *r, smx_slice in);

/* ---- relay_message.c ---- */

/* Sends DATA, or BDAT, for the held message; or refuses it for a recipient that was refused. */
void relay_begin_held(relay *r);

/* ---- relay_recipients.c ---- */

void relay_took_recipient(relay *r, char which);
/* Replies to a whole message, for the client and of the upstream: LMTP has one for each recipient. */
uint16_t relay_final_replies(const relay *r);
uint16_t relay_upstream_replies(const relay *r);
uint16_t relay_upstream_recipients(const relay *r);
/* To recipients that have not been answered for. */
uint16_t relay_replies_left(const relay *r);
/* The next reply that the client is to have is about one whom the upstream does not know. */
bool relay_gives_for_deleted(relay *r, relay_event *event);
/* This reply is about one whom the client does not know. */
bool relay_hides_for_added(relay *r, const relay_wait *w);
/* The upstream has said all it has to. */
void relay_give_the_rest(relay *r, const relay_wait *w);

/* ---- relay_rest.c ---- */

/* The body is faulty, or nobody wants it: the rest is read and thrown away. */
void relay_refuse_body(relay *r, const smx_reply *reply);
/* The same between two chunks: the next one's reply says so. */
void relay_refuse_series(relay *r, const smx_reply *reply);
/* The octets of a chunk that was answered, or is of a series that was refused. */
void relay_skip_chunk(relay *r, uint64_t size, bool last);
/* A chunk of our own was refused with these octets. */
void relay_refuse_part(relay *r, smx_slice reply);
/* Gives the replies at the end of a message that was refused or discarded. */
void relay_finish_refused(relay *r);

#endif
