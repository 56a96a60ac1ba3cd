/* The states of the client's machine and what a reply can answer: one line each. */
#ifndef SESSION_CLIENT_STATES_H
#define SESSION_CLIENT_STATES_H

#include "smx/session.h"

/* What an outstanding reply answers, and the phase in which its absence is a failure. */
#define CLIENT_EXPECT_MAP(X)                                                                       \
    X(NOTHING, QUIT)                                                                               \
    X(BANNER, BANNER)                                                                              \
    X(EHLO, EHLO) /* LHLO and HELO too */                                                          \
    X(STARTTLS, TLS)                                                                               \
    X(AUTH, AUTH) /* the command or a response */                                                  \
    X(NOOP, MAIL)                                                                                  \
    X(RSET, MAIL)                                                                                  \
    X(MAIL, MAIL)                                                                                  \
    X(RCPT, RCPT)                                                                                  \
    X(DATA, DATA)                                                                                  \
    X(BDAT, BODY)   /* a chunk that is not the last */                                             \
    X(FINAL, FINAL) /* the final dot, or BDAT LAST */                                              \
    X(QUIT, QUIT)

typedef enum client_expect {
#define CLIENT_EXPECT_ENTRY(name, phase) EXPECT_##name,
    CLIENT_EXPECT_MAP(CLIENT_EXPECT_ENTRY)
#undef CLIENT_EXPECT_ENTRY
} client_expect;

/* Which of the timeouts runs in a state (RFC 5321 section 4.5.3.2): option, default. */
#define CLIENT_WAIT_MAP(X)                                                                         \
    X(BANNER, banner_timeout_ms, 300000)                                                           \
    X(COMMAND, command_timeout_ms, 300000)                                                         \
    X(DATA, data_timeout_ms, 120000)                                                               \
    X(BLOCK, block_timeout_ms, 180000)                                                             \
    X(FINAL, final_timeout_ms, 600000)

typedef enum client_wait {
    CLIENT_WAIT_NEVER, /* it is the owner's turn */
#define CLIENT_WAIT_ENTRY(name, option, milliseconds) CLIENT_WAIT_##name,
    CLIENT_WAIT_MAP(CLIENT_WAIT_ENTRY)
#undef CLIENT_WAIT_ENTRY
        CLIENT_WAIT_COUNT
} client_wait;

#define CLIENT_TAKES(what)    (1u << EXPECT_##what)
#define CLIENT_TAKES_ENVELOPE (CLIENT_TAKES(MAIL) | CLIENT_TAKES(RCPT) | CLIENT_TAKES(DATA))

/* State, phase while nothing is outstanding, timeout, the replies it takes, and the function that
 * takes them. States without replies wait for the owner. READY has the phase quit: what fails
 * between two transactions fails none of them. */
#define CLIENT_STATE_MAP(X)                                                                        \
    X(BANNER, BANNER, BANNER, CLIENT_TAKES(BANNER), session_client_on_banner)                      \
    X(EHLO, EHLO, COMMAND, CLIENT_TAKES(EHLO), session_client_on_ehlo)                             \
    X(HELO, EHLO, COMMAND, CLIENT_TAKES(EHLO), session_client_on_helo)                             \
    X(STARTTLS, TLS, COMMAND, CLIENT_TAKES(STARTTLS), session_client_on_starttls)                  \
    X(TLS, TLS, COMMAND, 0, client_on_nothing)      /* the owner does the handshake */             \
    X(MECHANISM, AUTH, NEVER, 0, client_on_nothing) /* ... chooses the mechanism */                \
    X(AUTH, AUTH, COMMAND, CLIENT_TAKES(AUTH), session_client_on_auth)                             \
    X(CHALLENGED, AUTH, NEVER, 0, client_on_nothing) /* ... answers the challenge */               \
    X(READY, QUIT, NEVER, 0, client_on_nothing)      /* ... begins a transaction, or quits */      \
    X(NOOP, MAIL, COMMAND, CLIENT_TAKES(NOOP), session_client_on_noop)                             \
    X(MAIL, MAIL, COMMAND, CLIENT_TAKES(RSET) | CLIENT_TAKES(MAIL), session_client_on_mail)        \
    X(RCPT, RCPT, COMMAND, CLIENT_TAKES(RCPT), session_client_on_rcpt)                             \
    X(DECIDE, RCPT, NEVER, 0, client_on_nothing) /* ... decides */                                 \
    X(DATA, DATA, DATA, CLIENT_TAKES(DATA), session_client_on_data)                                \
    X(BODY, BODY, BLOCK, CLIENT_TAKES(BDAT), session_client_on_body) /* ... sends the body */      \
    X(FINAL, FINAL, FINAL, CLIENT_TAKES(BDAT) | CLIENT_TAKES(FINAL), session_client_on_final)      \
    X(DRAIN, MAIL, COMMAND,                                                                        \
      CLIENT_TAKES_ENVELOPE | CLIENT_TAKES(RSET) | CLIENT_TAKES(BDAT) | CLIENT_TAKES(FINAL),       \
      session_client_on_drain) /* replies to a transaction that is over */                         \
    X(RESET, MAIL, COMMAND, CLIENT_TAKES(RSET), session_client_on_reset)                           \
    X(QUIT, QUIT, COMMAND, CLIENT_TAKES(QUIT), session_client_on_quit)                             \
    X(OVER, QUIT, NEVER, 0, client_on_nothing)

typedef enum client_state {
#define CLIENT_STATE_ENTRY(name, phase, wait, takes, function) CLIENT_STATE_##name,
    CLIENT_STATE_MAP(CLIENT_STATE_ENTRY)
#undef CLIENT_STATE_ENTRY
} client_state;

/* Takes a reply in its state: moves the session on and may give an event. */
typedef void client_state_fn(smx_client_session *s, client_expect what,
                             const smx_reply_lines *reply, smx_client_event *event);

client_state_fn session_client_on_banner;
client_state_fn session_client_on_ehlo;
client_state_fn session_client_on_helo;
client_state_fn session_client_on_starttls;
client_state_fn session_client_on_auth;
client_state_fn session_client_on_noop;
client_state_fn session_client_on_mail;
client_state_fn session_client_on_rcpt;
client_state_fn session_client_on_data;
client_state_fn session_client_on_body;
client_state_fn session_client_on_final;
client_state_fn session_client_on_drain;
client_state_fn session_client_on_reset;
client_state_fn session_client_on_quit;

#endif
