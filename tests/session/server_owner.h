/* A scripted owner of a server session for the tests: keeps what feed leaves over, answers tickets
 * as it was told, writes a log of the events, and watches over what must hold for every session. */
#ifndef TESTS_SERVER_OWNER_H
#define TESTS_SERVER_OWNER_H

#include "base/arena.h"
#include "base/buffer.h"
#include "smx/session.h"

enum { SERVER_OWNER_HOOKS = 32, SERVER_OWNER_PROBLEM = 512 };

/* What to answer to the next event of a kind. */
typedef struct server_owner_hook {
    smx_slice event;   /* as in the log, in lower case: "rcpt", "auth_response" */
    smx_slice verdict; /* "550 5.1.1 no", "later", for tls "fail"; eom: "250 a | 550 b" */
    bool always;       /* not for the next event only */
    bool used;
} server_owner_hook;

typedef struct server_owner {
    smx_server_session_options options;
    smx_server_session *session;
    uint64_t tickets;
    uint64_t now;
    arena memory;  /* options and hooks */
    buffer input;  /* what the session has not used yet */
    buffer output; /* all that it said */
    buffer log;    /* a line for each event; adjacent BODY events are one */
    buffer body;   /* of BODY events that are not in the log yet */
    bool in_body;
    server_owner_hook hooks[SERVER_OWNER_HOOKS];
    size_t hook_count;
    smx_ticket last_ticket;
    smx_server_event_type waiting; /* of the ticket that was left waiting, or NONE */
    bool closed;
    bool exchange;                      /* a challenge was given */
    unsigned mails;                     /* MAIL events that neither EOM nor RESET has followed */
    char problem[SERVER_OWNER_PROBLEM]; /* what went wrong first; empty: nothing */
} server_owner;

/* Options as most tests want them: hostname mx.example, all extensions. */
void server_owner_init(server_owner *o);
void server_owner_free(server_owner *o);

/* "max_size 1000", "lmtp", "offered -CHUNKING": an option by its name. False: unknown. */
bool server_owner_set(server_owner *o, smx_slice line);
/* "rcpt -> 550 5.1.1 no"; "rcpt* -> ..." holds for all that follow. False: malformed. */
bool server_owner_add_hook(server_owner *o, smx_slice line);

/* Makes the session. */
void server_owner_start(server_owner *o);
/* Hands in the octets, with what was left before them, until the session has nothing to say. */
void server_owner_feed(server_owner *o, smx_slice octets);
/* Lets the time pass: feeds at every deadline up to `until`. */
void server_owner_wait(server_owner *o, uint64_t until);
/* Answers the ticket that waits. */
void server_owner_answer(server_owner *o, smx_slice verdict);
/* The handshake that was left for later. */
void server_owner_tls_done(server_owner *o, int error);
/* What the session may not be asked before the log is complete. */
void server_owner_end_body(server_owner *o);

void server_owner_fail(server_owner *o, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* "a\r\n\0\x80\\" with these escapes undone, appended to `b`. */
void server_owner_unescape(smx_slice text, buffer *b);
void server_owner_escape(smx_slice octets, buffer *b);

/* For test programs, where an allocation that fails is the end: all of these return 0. */
void server_owner_must(int error);

#endif
