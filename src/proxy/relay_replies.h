/* What the relay says by itself: one line for each reply. */
#ifndef PROXY_RELAY_REPLIES_H
#define PROXY_RELAY_REPLIES_H

#include "smx/proto.h"

/* name, code, enhanced code, text */
#define RELAY_REPLY_MAP(X)                                                                         \
    X(LONG_LINE, 500, 5, 5, 2, "line too long")                                                    \
    X(BARE_NEWLINE, 500, 5, 5, 2, "lines end with CRLF")                                           \
    X(BARE_IN_BODY, 550, 5, 5, 2, "bare CR, LF or NUL in the message")                             \
    X(NO_TLS, 502, 5, 5, 1, "STARTTLS is not offered here")                                        \
    X(START_TLS, 220, 2, 0, 0, "ready to start TLS")                                               \
    X(TLS_REQUIRED, 530, 5, 7, 0, "use STARTTLS first")                                            \
    X(BEHIND_TLS, 554, 5, 5, 1, "octets behind STARTTLS")                                          \
    X(TLS_AFTER_AUTH, 503, 5, 5, 1, "STARTTLS comes before AUTH")                                  \
    X(AUTH_HIDDEN, 538, 5, 7, 11, "AUTH needs TLS")                                                \
    X(AUTH_BOUND, 504, 5, 5, 4, "channel binding does not pass a proxy")                           \
    X(BDAT_SYNTAX, 501, 5, 5, 4, "BDAT needs a size, and LAST or nothing behind it")               \
    X(BDAT_BEGUN, 503, 5, 5, 1, "the message is being sent by BDAT")                               \
    X(BDAT_REFUSED, 503, 5, 5, 1, "the message was refused")                                       \
    X(HTTP, 554, 5, 5, 1, "this is not HTTP")                                                      \
    X(NO_ARGUMENT, 501, 5, 5, 4, "no argument is allowed")                                         \
    X(NO_CHUNKING, 502, 5, 5, 1, "the mail server offers no CHUNKING")                             \
    X(NO_XCLIENT, 550, 5, 7, 0, "you may not use XCLIENT")                                         \
    X(NO_BURL, 502, 5, 5, 1, "a message by BURL cannot be judged")                                 \
    X(TAKEN, 250, 2, 0, 0, "taken")                                                                \
    X(DATA, 354, 0, 0, 0, "end data with <CRLF>.<CRLF>")                                           \
    X(NO_ROOM, 452, 4, 3, 1, "not enough memory now, try again later")                             \
    X(ADDED_REFUSED, 451, 4, 3, 0, "the mail server refused a recipient that a policy added")      \
    X(BYE, 221, 2, 0, 0, "bye")                                                                    \
    X(AGAIN, 421, 4, 3, 0, "please connect again for another message")                             \
    X(IDLE, 421, 4, 4, 2, "idle for too long")                                                     \
    X(SLOW, 421, 4, 4, 2, "too slow")                                                              \
    X(UPSTREAM_SILENT, 421, 4, 4, 2, "the mail server does not answer")                            \
    X(UPSTREAM_LOST, 421, 4, 4, 2, "the connection to the mail server was lost")                   \
    X(UPSTREAM_BROKEN, 421, 4, 5, 0, "the mail server broke the protocol")                         \
    X(UPSTREAM_CLEAR, 421, 4, 7, 0, "the mail server offers no TLS")                               \
    X(UPSTREAM_TLS, 421, 4, 7, 0, "the TLS handshake with the mail server failed")

typedef enum relay_reply_name {
#define RELAY_REPLY_NAME(name, code, class_digit, subject, detail, text) RELAY_REPLY_##name,
    RELAY_REPLY_MAP(RELAY_REPLY_NAME)
#undef RELAY_REPLY_NAME
        RELAY_REPLY_COUNT
} relay_reply_name;

extern const smx_reply relay_replies[RELAY_REPLY_COUNT];

/* Beware of the event type of the same beginning: this is a pointer to the reply `name`. */
#define RELAY_SAY(name) (&relay_replies[RELAY_REPLY_##name])

#endif
