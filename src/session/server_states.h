/* The server's machine from the inside: its states, its commands, and what each file of it gives
 * to the others. The public side is smx/session.h. */
#ifndef SESSION_SERVER_STATES_H
#define SESSION_SERVER_STATES_H

#include "base/buffer.h"
#include "proto/body_lines.h"
#include "session/rate.h"
#include "session/server_replies.h"
#include "smx/session.h"

/* state, its function, the timer that runs in it */
#define SERVER_STATE_MAP(X)                                                                        \
    X(GREET, greet, NONE)           /* new, or XCLIENT was taken: the CONNECT event is next */     \
    X(WAIT, wait, NONE)             /* a ticket waits for its answer */                            \
    X(COMMAND, command, IDLE)       /* a command line is next */                                   \
    X(LINE_REST, line_rest, IDLE)   /* a line was too long: up to its LF it is thrown away */      \
    X(AUTH, auth, IDLE)             /* the response to a challenge is next */                      \
    X(TLS_READY, tls_ready, NONE)   /* STARTTLS was taken: 220 and the TLS event are next */       \
    X(TLS, wait, NONE)              /* the owner does the handshake */                             \
    X(DATA, data, DATA)             /* a body up to CRLF.CRLF */                                   \
    X(DATA_REST, data_rest, DATA)   /* the same, thrown away */                                    \
    X(CHUNK, chunk, DATA)           /* the octets of a BDAT */                                     \
    X(CHUNK_REST, chunk_rest, DATA) /* the same, thrown away */                                    \
    X(CLOSED, closed, NONE)         /* the CLOSE event was given or is due */

typedef enum server_state {
#define SERVER_STATE_ENTRY(name, function, timer) SERVER_##name,
    SERVER_STATE_MAP(SERVER_STATE_ENTRY)
#undef SERVER_STATE_ENTRY
        SERVER_STATE_COUNT
} server_state;

typedef enum server_timer { SERVER_TIMER_NONE, SERVER_TIMER_IDLE, SERVER_TIMER_DATA } server_timer;

/* Does one step: uses octets from the start of `in`, gives at most one event, returns the octets
 * used. Nothing used, no event and no change of state mean that more is needed. */
typedef size_t server_state_fn(smx_server_session *s, smx_slice in, smx_server_event *event);
/* What the owner's answer to an event means. */
typedef void server_answered_fn(smx_server_session *s, const smx_reply *reply);

typedef struct server_state_row {
    server_state_fn *run;
    server_timer timer;
} server_state_row;
extern const server_state_row session_server_states[SERVER_STATE_COUNT];

/* What must hold for a command, and what it is; bits. */
enum server_rule {
    SERVER_BEFORE_TLS = 1,  /* allowed on clear text although TLS is required */
    SERVER_HELLO = 2,       /* after EHLO, HELO or LHLO */
    SERVER_ESMTP = 4,       /* after EHLO or LHLO: HELO is not enough */
    SERVER_TRANSACTION = 8, /* after MAIL */
    SERVER_NO_TRANSACTION = 16,
    SERVER_NO_ARGUMENT = 32,
    SERVER_ENDS_TRANSACTION = 64, /* RESET comes before its own event */
    SERVER_IDLE_COMMAND = 128,    /* does no work: counted against max_idle_commands */
    SERVER_ALONE = 256,           /* nothing may be sent behind it before its reply */
    SERVER_PLAIN = 512,           /* its replies bear no enhanced code (RFC 2034 section 4) */
};

/* One command. `check` says what is wrong with it now, and reads its argument; `refuse` says so to
 * the client (NULL: the reply is all); `proceed` gives its event, or answers it if it has none. */
typedef struct server_command {
    smx_verb verb;
    unsigned rules;
    smx_extensions extension; /* without it: 502 */
    const smx_reply *(*check)(smx_server_session *s, const smx_command *command);
    void (*refuse)(smx_server_session *s, const smx_command *command, const smx_reply *reply);
    void (*proceed)(smx_server_session *s, const smx_command *command, smx_server_event *event);
    smx_server_event_type event; /* SMX_SERVER_NONE: the machine answers by itself */
    server_answered_fn *answered;
} server_command;

/* Never NULL: the row of SMX_VERB_UNKNOWN stands for all without a row. */
const server_command *session_server_command_of(smx_verb verb);

struct smx_server_session {
    smx_server_session_options options; /* with the defaults filled in */
    server_state state;
    uint64_t now;         /* of the last feed */
    uint64_t timer_start; /* of the timer of the state */
    bool timer_restart;   /* at the next feed: an answer does not know the time */
    session_rate line_rate;
    session_rate body_rate;
    size_t scanned; /* octets at the start of the input that hold no LF */

    buffer output;
    buffer scratch; /* what the last event's slices point to, or a reply being composed */

    smx_ticket ticket; /* that waits, or 0 */
    server_answered_fn *answered;
    bool alone; /* octets that come before the last reply was handed out break the protocol */
    bool plain; /* the next reply bears no enhanced code */

    bool tls;
    bool greeted; /* HELO, EHLO or LHLO was taken */
    bool esmtp;
    bool authenticated;
    bool exchange;       /* an AUTH event was given, and its exchange is not over */
    smx_verb hello_verb; /* of the HELO event that waits */
    smx_slice helo;      /* the name that was taken; empty: none */
    char *helo_memory;   /* where that is, or was; NULL: none */
    char *asked;         /* the name of the last HELO event, if it was not taken */

    uint32_t errors;
    uint32_t idle_commands;
    uint32_t transactions;

    struct {
        bool given; /* the MAIL event was given, and neither EOM nor RESET yet */
        bool open;  /* MAIL was taken */
        bool smtputf8;
        bool binary;
        bool chunking; /* the first BDAT was taken */
        bool refused;  /* some RCPT was */
        uint32_t recipients;
    } transaction;

    struct {
        smx_dot_decoder decoder;
        smx_newline_check check;
        bool after_cr;      /* SMX_BARE_NEWLINE_NORMALIZE: a CR is held back */
        bool last;          /* BDAT LAST */
        uint64_t remaining; /* of the chunk */
        uint64_t size;      /* handed on so far */
        body_tail tail;     /* of DATA */
    } body;

    /* The reply to a body that is thrown away, due at its end. */
    smx_reply deferred;
    uint32_t deferred_copies; /* LMTP: one for each recipient */
    buffer deferred_text;

    bool shutdown;
    buffer farewell;

    /* Events that are due before anything else, in this order. */
    bool cancel_due;
    bool reset_due;
    bool close_due;
    smx_reset_reason reset_reason;
    smx_close_reason close_reason;

    union {
        smx_mail mail;
        smx_rcpt rcpt;
        smx_xclient xclient;
        struct {
            smx_slice mechanism;
            bool has_text;
            smx_slice text;
        } auth;
    } parsed; /* by the check of the command that is being run */
};

/* ---- server_states.c ---- */

/* The one setter of the state; a closed session stays closed. */
void session_server_enter(smx_server_session *s, server_state state);
/* Gives an event with a ticket and waits for its answer. */
void session_server_ask(smx_server_session *s, smx_server_event *event, smx_server_event_type type,
                        server_answered_fn *answered);
/* Ends the transaction, if any; RESET is due if its MAIL was given. */
void session_server_reset(smx_server_session *s, smx_reset_reason reason);
/* Forgets what EHLO, AUTH and STARTTLS gave. */
void session_server_forget(smx_server_session *s);
/* The session is over: `reply` (or NULL) is said, the last events are due. */
void session_server_close(smx_server_session *s, smx_close_reason reason, const smx_reply *reply);
/* Gives the event that is due before anything else; false if none is. */
bool session_server_due(smx_server_session *s, smx_server_event *event);

server_state_fn session_server_state_greet, session_server_state_wait, session_server_state_closed;

/* ---- server_command.c ---- */

server_state_fn session_server_state_command, session_server_state_line_rest;

typedef enum server_line {
    SERVER_LINE_PARTIAL,
    SERVER_LINE_WHOLE,
    SERVER_LINE_TOO_LONG, /* answered: its rest is thrown away */
    SERVER_LINE_BARE_LF,  /* answered, and the session is over */
} server_line;

/* Finds the line at the start of `in`: `line` is without its CRLF, `used` with it. */
server_line session_server_cut_line(smx_server_session *s, smx_slice in, smx_slice *line,
                                    size_t *used);

/* ---- server_verbs.c, server_auth.c, server_body.c: the rows of the table ---- */

#define SERVER_CHECK(name)                                                                         \
    const smx_reply *session_server_check_##name(smx_server_session *s, const smx_command *command)
#define SERVER_REFUSE(name)                                                                        \
    void session_server_refuse_##name(smx_server_session *s, const smx_command *command,           \
                                      const smx_reply *reply)
#define SERVER_PROCEED(name)                                                                       \
    void session_server_proceed_##name(smx_server_session *s, const smx_command *command,          \
                                       smx_server_event *event)
#define SERVER_ANSWERED(name)                                                                      \
    void session_server_answered_##name(smx_server_session *s, const smx_reply *reply)

SERVER_CHECK(unknown);
SERVER_CHECK(unimplemented);
SERVER_CHECK(hello);
SERVER_CHECK(starttls);
SERVER_CHECK(xclient);
SERVER_CHECK(vrfy);
SERVER_CHECK(expn);
SERVER_CHECK(mail);
SERVER_CHECK(rcpt);
SERVER_CHECK(auth);
SERVER_CHECK(data);
SERVER_CHECK(bdat);
SERVER_REFUSE(unknown);
SERVER_REFUSE(mail);
SERVER_REFUSE(data);
SERVER_REFUSE(bdat);
SERVER_PROCEED(hello);
SERVER_PROCEED(starttls);
SERVER_PROCEED(xclient);
SERVER_PROCEED(vrfy);
SERVER_PROCEED(mail);
SERVER_PROCEED(rcpt);
SERVER_PROCEED(noop);
SERVER_PROCEED(rset);
SERVER_PROCEED(help);
SERVER_PROCEED(quit);
SERVER_PROCEED(auth);
SERVER_PROCEED(data);
SERVER_PROCEED(bdat);
SERVER_ANSWERED(connect);
SERVER_ANSWERED(hello);
SERVER_ANSWERED(starttls);
SERVER_ANSWERED(xclient);
SERVER_ANSWERED(vrfy);
SERVER_ANSWERED(mail);
SERVER_ANSWERED(rcpt);
SERVER_ANSWERED(auth);
SERVER_ANSWERED(data);
SERVER_ANSWERED(bdat);

server_state_fn session_server_state_tls_ready;

/* The exchange is over: secrets leave the memory. */
void session_server_end_exchange(smx_server_session *s);
server_state_fn session_server_state_auth;

/* ---- server_body.c ---- */

server_state_fn session_server_state_data, session_server_state_data_rest,
    session_server_state_chunk, session_server_state_chunk_rest;
SERVER_ANSWERED(eom);
/* The transaction's last replies: its message was taken or not. */
void session_server_end_body(smx_server_session *s, const smx_reply *replies, size_t count);

/* ---- server_reply.c ---- */

/* What the EHLO reply offers now. */
smx_extensions session_server_offered(const smx_server_session *s);
/* The mechanisms that AUTH takes now, parted by blanks. */
smx_slice session_server_mechanisms(const smx_server_session *s);

/* Writes a reply and counts it. The last thing a function does: the session may be closed by it. */
void session_server_reply(smx_server_session *s, const smx_reply *reply);
/* The same for one command's replies to `count` LMTP recipients. */
void session_server_reply_each(smx_server_session *s, const smx_reply *replies, size_t count);
/* Writes it and nothing else. SMX_E_NOMEM. */
SMX_MUST_USE int session_server_write(smx_server_session *s, const smx_reply *reply);
void session_server_write_banner(smx_server_session *s, smx_slice text);
void session_server_write_hello(smx_server_session *s, const smx_reply *reply);
void session_server_write_challenge(smx_server_session *s, smx_slice text);
/* Keeps a reply until the body that it refuses is over. */
void session_server_defer(smx_server_session *s, const smx_reply *reply, uint32_t copies);
void session_server_reply_deferred(smx_server_session *s);
void session_server_nomem(smx_server_session *s);

/* ---- server_limits.c ---- */

/* Fills in the defaults. */
void session_server_limits_set(smx_server_session_options *options);
/* Counts a reply of this code against max_errors; too many close the session. */
void session_server_count_reply(smx_server_session *s, const smx_reply *reply);
/* Counts a command that does no work; true if it was one too many and the session is closed. */
bool session_server_count_idle(smx_server_session *s);
/* The timer of the state begins anew. */
void session_server_touch(smx_server_session *s);
/* The partial line at the start of the input has this length now. */
void session_server_rate_line(smx_server_session *s, uint64_t octets);
/* When the state's time is over. */
uint64_t session_server_expires(const smx_server_session *s);

#endif
