/* A scripted owner of a relay for the tests: keeps what feed leaves over, decides as it was told, sends
 * messages on, and writes down what goes to each side and a log of the other events. */
#ifndef TESTS_RELAY_OWNER_H
#define TESTS_RELAY_OWNER_H

#include "base/arena.h"
#include "base/buffer.h"
#include "proxy/relay.h"

enum { RELAY_OWNER_ASKS = 16, RELAY_OWNER_PROBLEM = 512, RELAY_OWNER_EXTENSIONS = 4 };

/* What to say the next time: "rcpt" -> "refuse 550 5.1.1 no"; for the message "body" and "end". */
typedef struct relay_owner_ask {
    smx_slice phase;
    smx_slice verdict;
    bool used;
} relay_owner_ask;

typedef struct relay_owner {
    relay_options options;
    relay_hello_memory hello;
    relay *relay;
    uint64_t now;
    arena memory;  /* of options and verdicts */
    buffer in[2];  /* of each side, what the relay has not used yet */
    buffer out[2]; /* to each side */
    buffer
        log; /* a line for each event but COMMAND, REPLY and OCTETS; adjacent BODY events are one */
    buffer body; /* of BODY events that are not in the log yet */
    bool in_body;
    buffer kept; /* octets of the message that are to be sent on */
    bool gather; /* nothing of it before its end */
    bool ends;   /* BODY_END was given, and its end not sent */
    bool ready;  /* it may be sent */
    bool closed;
    bool cut;
    smx_slice extensions[RELAY_OWNER_EXTENSIONS];
    relay_owner_ask asks[RELAY_OWNER_ASKS];
    size_t ask_count;
    bool xclient_allowed;
    bool verified;
    smx_slice xclient;
    char problem[RELAY_OWNER_PROBLEM]; /* what went wrong first; empty: nothing */
} relay_owner;

void relay_owner_init(relay_owner *o);
void relay_owner_free(relay_owner *o);
/* "client_tls required", "lmtp", "asks mail rcpt": an option by its name. False: unknown. */
bool relay_owner_set(relay_owner *o, smx_slice line);
/* "rcpt -> refuse 550 5.1.1 no". False: malformed. */
bool relay_owner_add_ask(relay_owner *o, smx_slice line);
void relay_owner_start(relay_owner *o);
void relay_owner_feed(relay_owner *o, relay_side side, smx_slice octets);
/* "secured client", "add a@b.example", "end upstream", "after 300s", "shutdown 421 bye" ... */
bool relay_owner_do(relay_owner *o, smx_slice action);
/* The log is complete up to here. */
void relay_owner_end_body(relay_owner *o);
void relay_owner_fail(relay_owner *o, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
