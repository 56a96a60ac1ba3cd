/* Inside of the admin: its loop and its HTTP daemon, connections with their deadlines, requests. */
#ifndef ADMIN_ADMIN_INTERNAL_H
#define ADMIN_ADMIN_INTERNAL_H

#include <microhttpd.h>
#include <pthread.h>
#include <uv.h>

#include "admin/admin.h"
#include "admin/gate.h"
#include "base/buffer.h"
#include "base/list.h"
#include "base/pool.h"
#include "net/endpoint.h"
#include "net/listener.h"

struct admin {
    admin_options options;
    endpoint at; /* slices of options.listen */
    gate_rules rules;
    smx_loop *loop; /* everything but jobs happens on its thread */
    listener *listener;
    struct MHD_Daemon *daemon;
    uv_poll_t poll; /* on libmicrohttpd's epoll descriptor */
    uv_timer_t timer;
    uv_async_t wake; /* jobs are done, or it ends; needs no memory */
    bool has_poll;
    bool has_timer;
    bool has_wake;
    pthread_t thread;
    bool is_running;
    list peers;          /* the one that waits longest first */
    uint64_t late_after; /* deadlines are looked at again */
    size_t requests;     /* whose head is there and whose answer has not left */
    size_t body_octets;  /* of all requests */
    uint64_t tell_after; /* refusals are logged once in a second */

    pool *jobs;       /* threads for what takes long */
    atomic_bool stop; /* ends them, and the loop */
    pthread_mutex_t done_mutex;
    list done;    /* requests whose jobs are done; under the mutex */
    list woken;   /* streams that have something to say; under the mutex */
    list follows; /* all streams */
};

typedef struct admin_follow admin_follow;

/* One connection. */
typedef struct admin_peer {
    list_node node;
    struct MHD_Connection *http;
    uint64_t since; /* when it connected, or its last request was over */
    bool is_held;   /* a job works for it: it has no deadline */
} admin_peer;

typedef struct admin_answer {
    unsigned status; /* 0: none yet */
    const char *type;
    const char *allow; /* of 405 */
    buffer body;
} admin_answer;

struct admin_request;

/* What may be asked for: one line each in routes.c. */
typedef struct admin_route {
    const char *method; /* GET is HEAD too */
    const char *path;   /* "/api/upstreams/" + NAME + "/suspend" is "/api/upstreams/?/suspend" */
    void (*run)(struct admin_request *request);
    bool is_open;   /* without a token */
    bool is_slow;   /* runs on a thread of the pool */
    bool is_stream; /* the answer goes on; there is no `run` */
} admin_route;

typedef struct admin_request {
    admin *admin;
    admin_peer *peer;
    const admin_route *route;
    char *name; /* what stood for `?`, or NULL */
    buffer body;
    admin_answer answer;
    list_node done;
    bool is_begun; /* its job was handed over */
} admin_request;

/* routes.c: the route, and *name (a new string, the caller's). Without one the answer is filled: 404,
 * 405, 503. */
const admin_route *admin_route_find(const char *method, const char *path, char **name,
                                    admin_answer *answer);
/* Whether the path needs no token, whatever is asked of it. */
bool admin_route_is_open(const char *path);

/* serve.c: libmicrohttpd's callbacks; `cls` is the admin. */
enum MHD_Result admin_serve(void *cls, struct MHD_Connection *http, const char *path,
                            const char *method, const char *version, const char *octets,
                            size_t *count, void **state);
void admin_completed(void *cls, struct MHD_Connection *http, void **state,
                     enum MHD_RequestTerminationCode code);
void admin_on_peer(void *cls, struct MHD_Connection *http, void **context,
                   enum MHD_ConnectionNotificationCode code);

/* A job is done with the request. Any thread. */
void admin_job_done(admin_request *r);
/* Wakes the connections of requests that are done. */
void admin_take_done(admin *a);
/* The peer's time begins anew. */
void admin_peer_rest(admin *a, admin_peer *peer);

/* stream.c: the response that goes on, or NULL: the answer says why not. */
struct MHD_Response *admin_stream_begin(admin_request *r, struct MHD_Connection *http);
/* Wakes the connections of streams that have something to say, */
void admin_rouse_woken(admin *a);
/* and of those whose empty line is due. UINT64_MAX: of all. */
void admin_rouse_follows(admin *a, uint64_t due);

/* answer.c */
void admin_answer_text(admin_answer *answer, unsigned status, const char *type, const char *text);
/* {"error": "..."}; what stood in the answer goes. */
void admin_answer_error(admin_answer *answer, unsigned status, const char *why);
/* A failed operation: the status by its error. `more`, taken over, may be NULL: {"error", ...more}. */
void admin_answer_failure(admin_answer *answer, int error, const problem *p, json_t *more);
/* Takes `value` over; NULL: out of memory. */
void admin_answer_json(admin_answer *answer, unsigned status, json_t *value);

/* status_json.c: new values, NULL when out of memory. */
json_t *admin_json_status(const admin_status *status);
json_t *admin_json_upstreams(const admin_status *status);

#endif
