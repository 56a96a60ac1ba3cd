/* What a server and a transparent proxy have in common: the loop, the log, listeners, hooks, and the
 * lists of sessions with their end. The owner's struct has a `front`, each of its listeners an
 * `entrance`, each of its sessions a `guest`.
 *
 *   front.c     life: hooks, counts, shutdown
 *   entrance.c  listeners: socket, certificates
 *   guest.c     what comes before a session: limits, the PROXY header, implicit TLS
 */
#ifndef SERVER_FRONT_H
#define SERVER_FRONT_H

#include "base/list.h"
#include "hook/runner.h"
#include "net/listener.h"
#include "server/counters.h"
#include "server/shared.h"

typedef struct front front;
typedef struct entrance entrance;
typedef struct guest guest;

/* What the owner does; on the loop's thread. */
typedef struct front_owner {
    void (*enter)(entrance *e, connection *c); /* accepted; not started yet */
    void (*shut_down)(guest *g);
    void (*dismiss)(guest *g);
    void (*cut)(guest *g);              /* at once */
    bool (*is_awaited)(const front *f); /* something beside sessions; NULL: never */
    void (*destroy)(front *f);          /* no session is left: calls front_clear */
} front_owner;

enum { FRONT_NAME_MAX = 256 };

struct front {
    const front_owner *owner;
    smx_loop *loop;
    smx_log_fn *log;
    void *log_arg;
    char hostname[FRONT_NAME_MAX];
    uint32_t id_salt; /* of transactions' names */
    uint32_t id_count;
    bool owns_shared;
    smx_shared *shared;
    smx_hooks *hooks; /* NULL: there are none */
    entrance **entrances;
    size_t entrance_count;
    list open;    /* guests by state */
    list closing; /* their last octets are on their way */

    bool stopping;
    bool overdue;   /* the shutdown's time is over */
    bool dismissed; /* no session may begin another message */
    bool freed;
    timer_entry deadline; /* of the shutdown */
    void (*done)(void *arg);
    void *done_arg;

    smx_counters counters;
};

/* A listener. Stands first in the struct of its owner, which is one piece of memory. */
struct entrance {
    front *front;
    smx_listener_options options; /* with the defaults filled in */
    smx_slice name;               /* as configured */
    listener *socket;
    tls_server *tls;     /* NULL: no TLS */
    timer_entry refresh; /* looks at the certificates' files */
};

/* A client's connection and what is known of it. */
struct guest {
    list_node node;
    entrance *entrance;
    connection *connection;
    smx_session_view view;
    uint64_t setup_due; /* PROXY header, TLS handshake */
    smx_address counted_client;
    bool counted;        /* as a connection */
    bool client_counted; /* as one of its client's */
    bool header_wanted;  /* a PROXY header has to come */
    bool header_taken;   /* it has */
};

/* ---- front.c ---- */

typedef struct front_options {
    const char *hostname; /* NULL: the machine's */
    const smx_hook *const *hooks;
    size_t hook_count;
    smx_shared *shared; /* NULL: one of its own */
    smx_log_fn *log;
    void *log_arg;
    bool passes_on; /* hook_host's */
} front_options;

/* On failure front_clear is still due. */
SMX_MUST_USE int front_init(front *f, smx_loop *loop, const front_owner *owner,
                            const front_options *options);
void front_clear(front *f);
/* With `g` (or NULL) as the session and its client's address as the first field. */
void front_log(const front *f, smx_log_level level, const char *event, const guest *g,
               const smx_log_field *fields, size_t count);
/* A name for a transaction, unique in time and over processes. */
enum { FRONT_ID_MAX = 40 };
smx_slice front_next_id(front *f, uint64_t started, char text[FRONT_ID_MAX]);

/* One more, or one less, with the owner and with the listener's own counters. */
#define front_count_by(e, name, step)                                                              \
    do {                                                                                           \
        const entrance *counted_ = (e);                                                            \
        (void)(counted_->front->counters.name += (step));                                          \
        if (counted_->options.counters != NULL)                                                    \
            (void)(counted_->options.counters->name += (step));                                    \
    } while (0)
#define front_count(e, name) front_count_by(e, name, 1)
/* A message was answered so. */
void front_count_reply(const entrance *e, uint16_t code);

/* A session, or what else was awaited, is gone: goes on with the shutdown, or with the end. */
void front_left(front *f);
void front_shutdown(front *f, uint32_t timeout_ms, void (*done)(void *arg), void *arg);
void front_retire(front *f, void (*done)(void *arg), void *arg);
void front_dismiss(front *f);
/* Ends in the owner's `destroy`, perhaps at once. */
void front_free(front *f);

/* ---- entrance.c ---- */

/* Opens a listener of zeroed memory, which is the front's from now on: freed with it, or here on
 * failure. `adopts`: whose socket options->adopts_nth is taken over, or NULL. `text` as the problem of
 * smx_server_listen's. */
SMX_MUST_USE int front_listen(front *f, entrance *e, const smx_listener_options *options,
                              const front *adopts, char *text);
/* The same for what its owner finds wrong before: says so in `text`, returns `error`. */
int front_refuse_listener(char *text, int error, const char *sentence);
/* The front of a server, or NULL for NULL. */
const front *front_of_server(const smx_server *server);
uint16_t front_port(const front *f, size_t nth);
SMX_MUST_USE int front_socket(const front *f, size_t nth);
SMX_MUST_USE int front_start(front *f);
void front_stop_listening(front *f, void (*stop)(listener *l));
void front_free_entrances(front *f);

/* ---- guest.c ---- */

typedef enum guest_step {
    GUEST_WAITS,   /* for octets, or for TLS: the owner sets the deadline `setup_due` */
    GUEST_READY,   /* the session may begin */
    GUEST_REFUSED, /* the owner says `refusal`, or nothing if it is NULL, and closes */
} guest_step;

/* Before connection_start. */
void guest_init(guest *g, entrance *e, connection *c);
/* The connection was started: enters the front's list. */
guest_step guest_arrive(guest *g, const smx_reply **refusal);
/* Octets while header_wanted. *used is set in any case. */
guest_step guest_header(guest *g, smx_slice in, size_t *used, const smx_reply **refusal);
/* `secured` of the connection, where no session has begun. */
guest_step guest_secured(guest *g, int error, const smx_reply **refusal);
/* A handshake has failed: counts and logs. */
void guest_tls_failed(guest *g, int error);
/* Begins the handshake of STARTTLS. */
SMX_MUST_USE int guest_secure(guest *g);
/* What TLS knows, into the view. */
void guest_view_tls(guest *g);
/* Its octets are on their way: onto the other list. */
void guest_closing(guest *g);
/* In `closed`, before its memory is freed. */
void guest_leave(guest *g);

bool trust_lists(const smx_network *networks, size_t count, const smx_address *client);

#endif
