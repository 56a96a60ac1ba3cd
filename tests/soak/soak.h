/* The soak: a real daemon between clients and providers that fail at random, and a ledger that
 * compares what each client was told with what the providers hold. Client, providers and messages are
 * written without libsmx: what they share a mistake with, they could not find it in. */
#ifndef SOAK_H
#define SOAK_H

#include <stdatomic.h>

#include "base/buffer.h"

enum {
    SOAK_RECIPIENTS = 3, /* at most, of a message */
    SOAK_PROVIDERS = 6,
    SOAK_USERS = 14,
};

#define SOAK_PASSWORD "correct horse battery"

/* ---- chance: the same seed and place give the same numbers ---- */

typedef struct chance {
    uint64_t state;
} chance;

chance chance_at(uint64_t seed, uint64_t place, uint64_t number);
uint64_t chance_below(chance *c, uint64_t limit);
/* True so many times in 100,000. */
bool chance_hits(chance *c, uint32_t per_100k);

/* Stops the program: what it needs to judge is missing. */
void must(bool it, const char *what);

/* ---- messages: number, seed -> octets ---- */

uint32_t message_recipients(uint64_t seed, uint32_t number);
/* Appends the message as it is (not stuffed). */
void message_write(uint64_t seed, uint32_t number, buffer *out);
/* Appends RECIPIENT of NUMBER as a mailbox; reads one. */
void message_write_recipient(uint32_t number, uint32_t recipient, buffer *out);
bool message_read_recipient(smx_slice line, uint32_t *number, uint32_t *recipient);
/* Whether these octets are that message below a Received field. */
bool message_is(uint64_t seed, uint32_t number, smx_slice data);

/* ---- the ledger: who was told what, and who holds it ---- */

typedef enum told {
    TOLD_NOTHING, /* it was never sent */
    TOLD_TAKEN,   /* 250 */
    TOLD_REFUSED, /* 5xx */
    TOLD_PUT_OFF, /* 4xx, each time until it was given up */
    TOLD_LEFT,    /* the client went away */
    TOLD_COUNT
} told;

typedef struct ledger ledger;

ledger *ledger_new(uint32_t messages, uint64_t seed);
void ledger_free(ledger *l);
/* The last word to a client about this recipient. By the thread that has the message. */
void ledger_tell(ledger *l, uint32_t number, uint32_t recipient, told what);
/* Nobody knows about one copy: 451 4.4.2, or the client left behind its final dot. */
void ledger_doubt(ledger *l, uint32_t number, uint32_t recipient);
/* A provider has it. Any thread. */
void ledger_hold(ledger *l, uint32_t number, uint32_t recipient);
/* A provider has what nobody sent. Any thread. */
void ledger_strange(ledger *l, const char *what);

typedef struct verdict {
    uint32_t recipients;
    uint32_t told[TOLD_COUNT];
    uint64_t copies;
    uint32_t doubts;     /* recipients */
    uint32_t lost;       /* told 250, and nobody holds it */
    uint32_t doubled;    /* more copies than words of it explain */
    uint32_t risked;     /* more than one copy, and the client was told that nobody knew */
    uint32_t kept_quiet; /* doubled, where the last word was a refusal: held and refused */
    uint32_t strange;
} verdict;

/* When all threads are done. */
verdict ledger_judge(const ledger *l);

/* ---- providers ---- */

typedef struct provider provider;

/* Listens on a free port of loopback, with threads of its own. */
provider *provider_new(size_t number, uint64_t seed, ledger *l);
const char *provider_name(size_t number);
uint16_t provider_port(const provider *p);
/* Ends its connections and waits for its threads. */
void provider_stop(provider *p);
void provider_show(const provider *p);
void provider_show_head(void);
uint64_t provider_faults(const provider *p);
void provider_free(provider *p);

/* ---- the daemon ---- */

typedef struct child child;

typedef struct child_options {
    const char *program;
    const char *folder; /* for its configuration and its log */
    uint32_t workers;
    provider *const *providers; /* SOAK_PROVIDERS */
} child_options;

child *child_new(const child_options *options);
uint16_t child_port(const child *c);
/* SIGHUP. Any thread. */
void child_reload(const child *c);
/* SIGTERM; true if it ended well. */
bool child_stop(child *c);
/* How many summaries of messages had this outcome; after the stop. */
uint64_t child_outcomes(const child *c, const char *outcome);
uint64_t child_reloads(const child *c);
void child_free(child *c);
/* Name of a user, 0 to SOAK_USERS - 1. */
void child_user(size_t user, char text[static 32]);

/* ---- clients ---- */

/* Transactions by what came of them, over all clients. */
typedef struct client_counts {
    atomic_uint_fast64_t taken;
    atomic_uint_fast64_t unknown;
    atomic_uint_fast64_t put_off;
    atomic_uint_fast64_t refused;
    atomic_uint_fast64_t left_before; /* the final dot */
    atomic_uint_fast64_t left_behind;
    atomic_uint_fast64_t goodbyes; /* 421 */
    atomic_uint_fast64_t broken;   /* the daemon closed, or was silent */
} client_counts;

typedef struct client_plan {
    uint64_t seed;
    uint32_t messages;
    uint16_t port;
    ledger *ledger;
    child *child;
    uint32_t reload_every;     /* so many messages, the daemon takes its configuration anew */
    atomic_uint_fast32_t next; /* message, from 0 */
    client_counts counts;
} client_plan;

/* Sends until all messages were sent; `number` tells clients apart. The body of a thread. */
void client_run(client_plan *plan, size_t number);

#endif
