/* A catch-all server for tests and the demo: takes every message, writes down what it got, and fails
 * on demand. Runs on one loop, and is used on its thread. */
#ifndef APP_SINK_H
#define APP_SINK_H

#include <stdio.h>

#include "app/sink_faults.h"
#include "smx/loop.h"
#include "smx/message.h"

/* One message as it was got. Lives until the call returns. */
typedef struct sink_record {
    uint64_t session;
    smx_slice client;
    smx_slice helo;
    smx_slice user;
    bool tls;
    const smx_envelope *envelope;
    const smx_message *message;
    char sha256[65]; /* of the whole message, in hexadecimal */
    uint16_t code;   /* what the client was told; 0: nothing, the connection was lost */
} sink_record;

typedef struct sink_options {
    const char *listen; /* as smtpmux's `listen` */
    const char *hostname;
    const char *cert_file; /* STARTTLS is offered when there is a certificate */
    const char *key_file;
    bool tls_implicit;
    const char *user; /* AUTH takes these only; NULL: whatever is given */
    const char *password;
    bool auth_required;
    bool no_pipelining;
    bool no_chunking;
    uint64_t max_size;   /* 0: no limit */
    uint32_t latency_ms; /* before every answer */
    uint32_t limit;      /* messages in a window; 0: no limit */
    uint64_t limit_window_ms;
    sink_faults faults;
    FILE *json;          /* a line for each message; NULL: none */
    const char *maildir; /* made if it is not there; NULL: none */
    void (*on_message)(void *arg, const sink_record *record); /* for what was taken; or NULL */
    void *arg;
} sink_options;

typedef struct sink sink;

/* Listens at once. Options are copied, but for their strings. */
SMX_MUST_USE int sink_new(smx_loop *loop, const sink_options *options, sink **s, problem *p);
uint16_t sink_port(const sink *s);
/* Other faults from now on. */
void sink_set_faults(sink *s, const sink_faults *faults);
/* Refuses connections (the port is closed, and open ones are reset), or takes them again. */
SMX_MUST_USE int sink_set_refusing(sink *s, bool refusing, problem *p);
/* Closes everything; frees itself in later turns, before the loop is freed. */
void sink_free(sink *s);

#endif
