/* What server and proxy say beside what their machines say by themselves: one line for each reply. */
#ifndef SERVER_REPLIES_H
#define SERVER_REPLIES_H

#include "smx/proto.h"

/* name, code, enhanced code, text */
#define PEER_REPLY_MAP(X)                                                                          \
    X(GREETING, 220, 0, 0, 0, "")                                                                  \
    X(HELLO, 250, 0, 0, 0, "")                                                                     \
    X(START_TLS, 220, 2, 0, 0, "ready to start TLS")                                               \
    X(NO_TLS, 454, 4, 7, 0, "TLS is not available")                                                \
    X(AUTHENTICATED, 235, 2, 7, 0, "authenticated")                                                \
    X(AUTH_WRONG, 535, 5, 7, 8, "wrong user or password")                                          \
    X(AUTH_TOO_MANY, 421, 4, 7, 0, "too many failed attempts")                                     \
    X(AUTH_MALFORMED, 501, 5, 5, 2, "malformed response")                                          \
    X(AUTH_LATER, 454, 4, 7, 0, "try to authenticate again later")                                 \
    X(AUTH_MECHANISM, 504, 5, 5, 4, "unknown mechanism")                                           \
    X(AUTH_REQUIRED, 530, 5, 7, 0, "authentication required")                                      \
    X(XCLIENT_TAKEN, 220, 2, 0, 0, "")                                                             \
    X(XCLIENT_VALUE, 501, 5, 5, 4, "bad value of an attribute")                                    \
    X(XCLIENT_USER, 550, 5, 7, 0, "LOGIN names no known user")                                     \
    X(VRFY, 252, 2, 5, 0, "cannot verify, but send some mail and it will be tried")                \
    X(EXPN, 502, 5, 5, 1, "there are no lists to expand")                                          \
    X(SENDER, 250, 2, 1, 0, "sender taken")                                                        \
    X(RECIPIENT, 250, 2, 1, 5, "recipient taken")                                                  \
    X(DATA, 354, 0, 0, 0, "end data with <CRLF>.<CRLF>")                                           \
    X(TAKEN, 250, 2, 0, 0, "message taken")                                                        \
    X(NO_ROOM, 452, 4, 3, 1, "not enough memory now, try again later")                             \
    X(LOCAL_ERROR, 451, 4, 3, 0, "local error, try again later")                                   \
    X(TOO_BIG, 552, 5, 3, 4, "the message is too big")                                             \
    X(LONG_HEADER, 554, 5, 6, 0, "the header section is too long")                                 \
    X(SETUP, 421, 4, 3, 0, "local error, try again later")                                         \
    X(DISMISSED, 421, 4, 3, 2, "the configuration has changed, please connect again")              \
    X(FULL, 421, 4, 3, 2, "too many connections, try again later")                                 \
    X(CLIENT_FULL, 421, 4, 7, 0, "too many connections from your address")                         \
    X(GOING, 421, 4, 3, 2, "shutting down, please try again later")                                \
    X(NO_UPSTREAM, 421, 4, 4, 1, "the mail server cannot be reached, try again later")             \
    X(LOOP, 421, 4, 4, 6, "the mail server behind this proxy is the proxy itself")

typedef enum peer_reply_name {
#define PEER_REPLY_NAME(name, code, class_digit, subject, detail, text) PEER_REPLY_##name,
    PEER_REPLY_MAP(PEER_REPLY_NAME)
#undef PEER_REPLY_NAME
        PEER_REPLY_COUNT
} peer_reply_name;

extern const smx_reply peer_replies[PEER_REPLY_COUNT];

#define PEER_REPLY(name) (&peer_replies[PEER_REPLY_##name])

#endif
