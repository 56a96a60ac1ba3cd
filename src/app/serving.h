/* One generation on one worker: its server, its transparent proxy, the listeners, its part of the
 * multiplexer. On the loop's thread, or before that runs. */
#ifndef APP_SERVING_H
#define APP_SERVING_H

#include "app/counter_book.h"
#include "app/generation.h"
#include "app/witness.h"
#include "middleware/middleware.h"

typedef struct serving serving;
/* Nothing of it is left to do: it may be freed now. */
typedef void serving_ended_fn(void *arg, serving *s);

typedef struct serving_options {
    generation *generation; /* takes a share */
    upstream_pool_set *pools;
    smx_shared *shared;
    log_sink *log;
    counter_book *book;
    outlets *outlets;
    followers *followers;
    const serving *previous; /* whose sockets are taken over; NULL: this is the start */
    bool is_first;           /* of the workers: it alone accepts from Unix sockets */
} serving_options;

enum { SERVING_LISTEN_TEXT = 256, SERVING_MIDDLEWARE = 4, SERVING_HOOKS = 3 };

struct serving {
    list_node node; /* the owner's */
    generation *generation;
    smx_server *server;
    smx_proxy *proxy; /* NULL: no listener is one */
    mux_worker *mux;
    smx_loop *loop;
    const smx_middleware *middleware[SERVING_MIDDLEWARE];
    const smx_hook *hooks[SERVING_HOOKS];
    smx_listener_options *listeners; /* the configuration's, with ports that are known by now */
    char (*addresses)[SERVING_LISTEN_TEXT];
    size_t *indices;  /* in server or proxy, of each listener of the configuration; SIZE_MAX: not
                        here */
    witness *witness; /* of the proxy */
    smx_client_tls **contexts;   /* towards the upstream of each, where it is a proxy with TLS */
    size_t counts[CONFIG_MODES]; /* listeners of each mode so far */
    uint64_t deadline;           /* of a drain, by the loop's clock; UINT64_MAX: none */
    bool is_server_done;
    bool is_proxy_done;
    bool is_mux_done;
    bool is_dismissed;
    serving_ended_fn *ended;
    void *ended_arg;
};

/* Makes all and binds what the previous one does not have, without accepting. The problem says which
 * listener. */
SMX_MUST_USE int serving_new(const serving_options *options, serving **out, problem *p);

/* From now on clients may connect, and its limits hold for the pools. */
SMX_MUST_USE int serving_start(serving *s);
/* Takes no more sessions; `ended` when the last one has ended by itself, and its deliveries. */
void serving_retire(serving *s, serving_ended_fn *ended, void *arg);
/* Behind that: sessions are told 421 between two messages. */
void serving_dismiss(serving *s);
/* Finishes messages under way in at most `timeout_ms`; `ended` follows, in place of an earlier one. */
void serving_drain(serving *s, uint32_t timeout_ms, serving_ended_fn *ended, void *arg);
/* The time of a drain is nearly over: what has no final reply by now is unknown (DESIGN 4.4), and its
 * client is still there to be told. */
void serving_cut(serving *s);
/* NULL is nothing. */
void serving_free(serving *s);

/* ---- serving_proxy.c ---- */

/* Makes the proxy, if some listener is one. */
SMX_MUST_USE int serving_open_proxy(serving *s, const serving_options *o, problem *p);
/* A listener of the proxy: `l` as it would be for a server. `kept`: the previous generation's listener
 * whose socket is taken over, or SIZE_MAX. Text as smx_proxy_listen's. */
SMX_MUST_USE int serving_listen_proxy(serving *s, const serving_options *o, size_t nth, size_t kept,
                                      char *text);

#endif
