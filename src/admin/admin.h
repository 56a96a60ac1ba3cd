/* The door for operators: metrics, health and a JSON API over HTTP (DESIGN 5).
 *
 * It serves on a loop and a thread of its own, by libmicrohttpd, so that whatever a client of it does
 * no mail waits. What it tells and does comes from a table of operations that the application fills.
 */
#ifndef ADMIN_ADMIN_H
#define ADMIN_ADMIN_H

#include <jansson.h>
#include <stdatomic.h>

#include "admin/status.h"
#include "base/problem.h"

/* Which sessions are followed; NULL: any. */
typedef struct admin_filter {
    const char *client;
    const char *from;
    const char *listener;
} admin_filter;

/* Lines that go on until it is closed. On the admin's thread. */
typedef struct admin_stream {
    void *state;
    /* Octets of what there is; 0: nothing now. */
    size_t (*read)(void *state, char *octets, size_t capacity);
    void (*close)(void *state);
} admin_stream;

/* Each is called on the admin's threads, several at a time, while the daemon works: it must be safe
 * there. NULL: answered 501. A negative SMX_E* comes with a problem that says what and what to do:
 * NOTFOUND is answered 404, INVALID and SYNTAX 400, BUSY 409, UNSUPPORTED 501, TIMEOUT 504. */
typedef struct admin_ops {
    /* Needed. Fills the status, whose memory is empty at first and freed by the caller. */
    int (*status)(void *arg, admin_status *status);
    /* `duration` as in the configuration ("15m"); NULL: as after refused credentials. */
    int (*suspend)(void *arg, const char *upstream, const char *duration, problem *p);
    int (*resume)(void *arg, const char *upstream, problem *p);
    /* These three may take long, and end soon when *stop becomes true. The answer is the caller's.
     * On failure it may be there too: what is told beside the problem. */
    int (*test)(void *arg, const char *upstream, const atomic_bool *stop, json_t **answer,
                problem *p);
    int (*explain)(void *arg, const json_t *query, const atomic_bool *stop, json_t **answer,
                   problem *p);
    int (*reload)(void *arg, const atomic_bool *stop, json_t **answer, problem *p);
    /* Transcripts of sessions as lines of JSON. `news(news_arg)` is called on any thread when there is
     * something to read where there was nothing, until the stream is closed. */
    int (*follow)(void *arg, const admin_filter *filter, void (*news)(void *news_arg),
                  void *news_arg, admin_stream *stream, problem *p);
} admin_ops;

typedef struct admin_options {
    const char *listen;       /* "unix:/path", "127.0.0.1:8025" */
    const char *token;        /* of the Authorization header; needed on TCP */
    const char *const *hosts; /* names of this machine, for the Host header, beside `listen` */
    size_t host_count;
    const admin_ops *ops;
    void *arg;
    smx_log_fn *log; /* on the admin's threads; or NULL */
    void *log_arg;
    uint32_t request_ms; /* a request has so long to arrive, and its answer to leave; 0: 20000 */
    uint32_t max_connections; /* 0: 256 */
} admin_options;

typedef struct admin admin;

/* Opens the socket; a Unix socket gets the mode 0660, a stale one is replaced. The options' strings
 * must outlive it. SMX_E_INVALID: TCP without a token. The problem says what is wrong. */
SMX_MUST_USE int admin_new(const admin_options *options, admin **out, problem *p);
/* Starts its thread. */
SMX_MUST_USE int admin_start(admin *a, problem *p);
/* Of a TCP socket. */
uint16_t admin_port(const admin *a);
/* Ends the thread, whatever is under way, and frees. NULL is nothing. */
void admin_free(admin *a);

#endif
