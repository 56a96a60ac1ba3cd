/* What the server's machine says by itself: one line per reply. */
#ifndef SESSION_SERVER_REPLIES_H
#define SESSION_SERVER_REPLIES_H

#include "smx/proto.h"

/* name, code, enhanced code, text */
#define SERVER_REPLY_MAP(X)                                                                        \
    X(RESET, 250, 2, 0, 0, "OK")                                                                   \
    X(NOOP, 250, 2, 0, 0, "OK")                                                                    \
    X(CHUNK, 250, 2, 0, 0, "Chunk received")                                                       \
    X(HELP, 214, 2, 0, 0,                                                                          \
      "HELO EHLO LHLO MAIL RCPT DATA BDAT RSET NOOP VRFY HELP STARTTLS AUTH QUIT\nSee RFC 5321")   \
    X(QUIT, 221, 2, 0, 0, "Bye")                                                                   \
    X(TLS, 220, 2, 0, 0, "Ready to start TLS")                                                     \
    X(VRFY, 252, 2, 5, 0, "Cannot verify; send some mail and see")                                 \
    X(DATA, 354, 0, 0, 0, "End data with <CR><LF>.<CR><LF>")                                       \
    /* the line */                                                                                 \
    X(LINE_TOO_LONG, 500, 5, 5, 6, "Line too long")                                                \
    X(BARE_LF, 500, 5, 5, 2, "A line ends with CR and LF")                                         \
    X(OCTET, 500, 5, 5, 2, "CR or NUL within the line")                                            \
    X(HTTP, 554, 5, 5, 1, "This is not HTTP")                                                      \
    X(PROXY_HEADER, 554, 5, 5, 1, "No PROXY header is expected from you")                          \
    X(EARLY, 554, 5, 5, 1, "Octets came before it was your turn")                                  \
    /* the verb and its place */                                                                   \
    X(UNKNOWN, 500, 5, 5, 1, "Command not recognized")                                             \
    X(NOT_IMPLEMENTED, 502, 5, 5, 1, "Command not implemented")                                    \
    X(LHLO_ONLY, 500, 5, 5, 1, "This is LMTP: say LHLO")                                           \
    X(NO_LHLO, 500, 5, 5, 1, "This is SMTP: say EHLO")                                             \
    X(NO_ARGUMENT, 501, 5, 5, 4, "No argument is allowed")                                         \
    X(HELLO_ARGUMENT, 501, 5, 5, 4, "A domain or address literal is needed")                       \
    X(VRFY_ARGUMENT, 501, 5, 5, 4, "A mailbox is needed")                                          \
    X(HELLO_FIRST, 503, 5, 5, 1, "Say EHLO first")                                                 \
    X(ESMTP_FIRST, 503, 5, 5, 1, "Say EHLO first, HELO is not enough")                             \
    X(MAIL_FIRST, 503, 5, 5, 1, "MAIL first")                                                      \
    X(IN_TRANSACTION, 503, 5, 5, 1, "Not within a mail transaction")                               \
    X(TLS_REQUIRED, 530, 5, 7, 0, "STARTTLS first")                                                \
    X(AUTH_REQUIRED, 530, 5, 7, 0, "Authentication required")                                      \
    X(TLS_ACTIVE, 503, 5, 5, 1, "TLS is active already")                                           \
    X(TLS_AFTER_AUTH, 503, 5, 5, 1, "Too late for STARTTLS: already authenticated")                \
    /* AUTH (RFC 4954 section 4) */                                                                \
    X(AUTH_ARGUMENT, 501, 5, 5, 4, "AUTH mechanism [initial-response]")                            \
    X(AUTH_TWICE, 503, 5, 5, 1, "Already authenticated")                                           \
    X(AUTH_MECHANISM, 504, 5, 5, 4, "Authentication mechanism not supported")                      \
    X(AUTH_NEEDS_TLS, 538, 5, 7, 11, "Encryption required for this mechanism")                     \
    X(AUTH_BASE64, 501, 5, 5, 2, "Malformed base64")                                               \
    X(AUTH_CANCELLED, 501, 5, 7, 0, "Authentication cancelled")                                    \
    /* XCLIENT */                                                                                  \
    X(XCLIENT_PEER, 550, 5, 7, 0, "You may not use XCLIENT")                                       \
    X(XCLIENT_SYNTAX, 501, 5, 5, 4, "Malformed XCLIENT attribute")                                 \
    /* the transaction */                                                                          \
    X(TOO_MANY_RECIPIENTS, 452, 4, 5, 3, "Too many recipients")                                    \
    X(TOO_MANY_MESSAGES, 421, 4, 7, 0, "Too many messages in this session, come back")             \
    X(TOO_BIG, 552, 5, 3, 4, "Message too big")                                                    \
    X(NO_RECIPIENTS, 503, 5, 5, 1, "RCPT first")                                                   \
    X(NO_VALID_RECIPIENTS, 554, 5, 5, 1, "No valid recipients")                                    \
    X(BDAT_BEGUN, 503, 5, 5, 1, "Not between BDAT and BDAT LAST")                                  \
    X(BINARYMIME, 503, 5, 5, 1, "BINARYMIME goes with BDAT only")                                  \
    X(BDAT_SYNTAX, 501, 5, 5, 4, "BDAT size [LAST]")                                               \
    X(NEWLINE, 550, 5, 5, 2, "Bare CR, bare LF or NUL in the message")                             \
    /* the end */                                                                                  \
    X(TIMEOUT, 421, 4, 4, 2, "Timeout, closing the connection")                                    \
    X(ERRORS, 421, 4, 7, 0, "Too many errors, closing the connection")                             \
    X(IDLE_COMMANDS, 421, 4, 7, 0, "Too many commands without mail, closing the connection")       \
    X(NOMEM, 421, 4, 3, 0, "Out of memory, closing the connection")

typedef enum server_reply_name {
#define SERVER_REPLY_ENTRY(name, code, class_digit, subject, detail, text) SERVER_REPLY_##name,
    SERVER_REPLY_MAP(SERVER_REPLY_ENTRY)
#undef SERVER_REPLY_ENTRY
        SERVER_REPLY_COUNT
} server_reply_name;

extern const smx_reply session_server_replies[SERVER_REPLY_COUNT];

/* A constant reply; equal pointers are equal replies. */
#define SERVER_REPLY(name) (&session_server_replies[SERVER_REPLY_##name])

#endif
