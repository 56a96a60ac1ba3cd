/* The client's machine from inside. Only src/session/client*.c includes this.
 *
 * client.c            the public functions that are not of a transaction; feed
 * client_states.c     THE table of states and of what a reply can answer
 * client_greeting.c   banner to READY: EHLO, STARTTLS, AUTH
 * client_envelope.c   MAIL, RCPT, DATA, giving up, RSET, NOOP, QUIT
 * client_body.c       the body and the final reply
 * client_commands.c   the output, and the queue of replies that are outstanding
 * client_failure.c    how a session ends
 */
#ifndef SESSION_CLIENT_MACHINE_H
#define SESSION_CLIENT_MACHINE_H

#include "base/buffer.h"
#include "session/client_states.h"
#include "smx/session.h"

/* Replies that are owed to us, oldest first, in runs: a thousand pipelined RCPT are one run. */
enum { CLIENT_RUNS = 8 };
typedef struct client_outstanding {
    struct {
        client_expect what;
        size_t count;
    } runs[CLIENT_RUNS];
    size_t first;
    size_t used;
} client_outstanding;

/* The transaction in progress. */
typedef struct client_transaction {
    smx_client_transaction given;
    bool open;      /* begun, and neither decided nor given up */
    bool answered;  /* a reply to one of its commands came */
    bool data_sent; /* DATA is on its way or answered */
    bool chunking;  /* BDAT, not DATA */
    bool chunked;   /* at least one BDAT was handed out */
    bool end_written;
    bool end_sent;     /* the last octet of the final dot was handed to the socket */
    size_t end_unsent; /* octets of the output up to the end of the final dot */
    size_t rcpt_sent;
    size_t rcpt_answered;
    size_t rcpt_taken;
    size_t final_index; /* LMTP: the recipient that the next final reply is for */
    smx_dot_encoder dots;
    smx_newline_check newlines;
    bool trusted; /* the rest of the body needs neither */
    char chunk_header[32];
} client_transaction;

struct smx_client_session {
    smx_client_session_options options;
    uint64_t timeouts[CLIENT_WAIT_COUNT];
    uint64_t now; /* of the last call that told it */
    uint64_t deadline;
    client_state state;
    smx_client_event_type owed; /* to be given by the next feed, before any input is looked at */
    smx_reply_parser parser;
    client_outstanding outstanding;
    smx_client_phase reply_phase; /* the phase that the reply in hand belongs to */
    size_t behind;                /* octets of feed's input behind the reply in hand */
    bool unasked; /* a reply began while none was outstanding: it ends the session */
    bool tls;
    bool starttls_refused; /* policy IF_OFFERED: go on without */
    bool authenticated;
    bool server_has_mail; /* the server took a MAIL that has not ended: RSET before the next */
    buffer output;
    buffer ehlo; /* the EHLO reply: the capabilities point into it */
    smx_capabilities capabilities;
    buffer challenge;        /* the decoded challenge of the last event */
    buffer initial_response; /* in base64: too long for the AUTH command */
    buffer taken;            /* LMTP: an octet per recipient, 1 if it was taken */
    client_transaction transaction;
    smx_client_failure failure;
};

/* The first digit of a reply is what counts (RFC 5321 section 4.2.1). */
static inline unsigned client_reply_class(const smx_reply_lines *reply)
{
    return reply->code / 100u;
}
static inline bool client_reply_refuses(const smx_reply_lines *reply)
{
    return client_reply_class(reply) == 4 || client_reply_class(reply) == 5;
}
static inline bool client_offers(const smx_client_session *s, smx_extensions extension)
{
    return (s->capabilities.extensions & extension) != 0;
}

/* ---- client_states.c ---- */
/* Moves to a state and starts its timeout. */
void session_client_enter(smx_client_session *s, client_state state);
/* The same, and `event` is the next that feed gives. */
void session_client_enter_and_tell(smx_client_session *s, client_state state,
                                   smx_client_event_type event);
/* Hands a reply to the function of the state. */
void session_client_dispatch(smx_client_session *s, const smx_reply_lines *reply,
                             smx_client_event *event);
smx_client_phase session_client_phase(const smx_client_session *s);

/* ---- client_commands.c ---- */
void session_client_expect_reply(smx_client_session *s, client_expect what, size_t count);
/* What the next reply answers; EXPECT_NOTHING if none is outstanding. */
client_expect session_client_next_expected(const smx_client_session *s);
void session_client_reply_came(smx_client_session *s);
/* Appends a command, CRLF included, and expects its reply. SMX_E_NOMEM changes nothing. */
SMX_MUST_USE int session_client_write(smx_client_session *s, client_expect what, const char *line);
SMX_MUST_USE int session_client_write_hello(smx_client_session *s, const char *verb);
SMX_MUST_USE int session_client_write_mail(smx_client_session *s);
SMX_MUST_USE int session_client_write_rcpt(smx_client_session *s, size_t index);
/* Appends `octets` in base64. */
SMX_MUST_USE int session_client_append_base64(buffer *b, smx_slice octets);

/* ---- client_failure.c ---- */
/* Ends the session in its current phase: FAILED follows (CLOSED after QUIT). */
void session_client_fail(smx_client_session *s, int error);
/* A reply ended it: SMX_E_REFUSED if it says no, SMX_E_PROTOCOL if it makes no sense there. */
void session_client_fail_by_reply(smx_client_session *s, const smx_reply_lines *reply);
/* All of it; `reply` may be NULL. */
void session_client_fail_in(smx_client_session *s, smx_client_phase phase, int error,
                            const smx_reply_lines *reply);

/* ---- client_envelope.c ---- */
/* The transaction is over: READY follows once nothing is outstanding. */
void session_client_settle(smx_client_session *s);

#endif
