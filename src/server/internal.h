/* The server from the inside: its structs, and what each of its files gives to the others.
 *
 *   front.h        what it has in common with a proxy: listeners, limits, the lists of sessions
 *   listen.c       listeners: the options of the machines
 *   peer_begin.c   a peer for each connection, and its machine
 *   peer.c         one connection: connection <-> machine <-> events
 *   peer_events.c  what each event of the machine means; asks hooks
 *   peer_verdicts.c  what each phase's verdict means
 *   peer_body.c    octets of a message, through the hooks, into the transaction
 *   peer_auth.c, peer_password.c, peer_xclient.c, trust.c
 *   transaction.c  a message and its envelope; outlives its peer while its reply is awaited
 *   chain.c        middleware, handler, and their later answers
 *
 * A peer belongs to the server's list of its state, and frees itself when its connection is closed.
 */
#ifndef SERVER_INTERNAL_H
#define SERVER_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/arena.h"
#include "base/map.h"
#include "hook/draft.h"
#include "mail/message_stock.h"
#include "sasl/sasl.h"
#include "server/front.h"

typedef struct peer peer;
typedef struct server_door server_door;

typedef struct server_listener {
    entrance entrance; /* first */
    smx_server *server;
    smx_server_session_options session;
} server_listener;

struct smx_server {
    front front;
    smx_server_options options;
    char banner[FRONT_NAME_MAX]; /* the text behind the host's name */
    server_door *door;
    list transactions;
    map checks;            /* ticket of an AUTH to the peer whose password a thread looks at */
    pthread_mutex_t mutex; /* guards `waiting`, which only the loop's thread changes */
    map waiting;           /* ticket to the transaction whose reply is awaited */
    message_stock messages;
    timer_entry trim; /* of what is in stock and not needed */

    uint32_t auth_delay_ms; /* before a failure is told, times the failures so far */
};

/* Whose answer a transaction awaits. */
typedef enum transaction_wait {
    TRANSACTION_WAITS_NOT,
    TRANSACTION_WAITS_BEFORE,  /* a middleware's */
    TRANSACTION_WAITS_HANDLER, /* the handler's */
} transaction_wait;

struct smx_transaction {
    list_node node;
    smx_server *server;
    peer *peer; /* NULL: the client is gone */
    server_listener *listener;
    draft draft;
    smx_rcpt rcpt;            /* the one that hooks are asked about */
    smx_session_view session; /* a copy, made when the message is whole */
    uint64_t started;
    smx_slice id;
    char id_text[FRONT_ID_MAX];

    /* The body on its way in. */
    bool judged;       /* its end was acted on */
    bool discard;      /* 250, and nothing else */
    smx_reply refusal; /* code 0: none; for the end of the data */
    uint64_t arrived;  /* octets of the body, as the client sent it */
    unsigned traits;   /* ... and what is known of them */

    /* The chain. */
    void *value; /* the program's own */
    smx_ticket ticket;
    size_t ran;               /* middlewares whose `before` ran */
    _Atomic uint64_t awaited; /* whose answer, for the how manieth time, and if it was given */
    smx_verdict given;        /* on the loop's thread: the answer, for this value of `awaited` */
    uint64_t given_for;
    loop_turn_end arrival; /* acts on it */
    void (*on_gone)(void *arg);
    void *on_gone_arg;
};

/* An AUTH exchange. */
typedef struct peer_exchange {
    sasl_server *sasl;
    uint64_t started; /* of the last step */
    bool proved;      /* only the client's last, empty response is missing */
    bool checking;    /* a thread looks at the password */
} peer_exchange;

struct peer {
    guest guest;
    smx_server *server;
    server_listener *listener;
    smx_server_session *machine;  /* NULL: before the PROXY header or TLS, and when all is over */
    hook_session *hooks;          /* made for the first hook that is asked or told; NULL before */
    smx_transaction *transaction; /* kept for the next one; NULL when idle */
    peer_exchange *exchange;      /* NULL: none */
    arena memory;                 /* strings of the view that are the peer's own */
    arena asked;                  /* what hooks are asked about before MAIL */
    smx_ticket ticket;            /* the machine's, that waits */
    uint64_t auth_due;            /* a failure is told */
    uint64_t trim_due;
    uint8_t auth_failures;
    bool may_xclient;
    bool asking;  /* hooks: nothing is read on */
    bool gone;    /* no more octets are wanted: the machine's last events are due */
    bool full;    /* the client does not read its replies: nothing is read of it */
    bool running; /* the machine is being fed */
};

/* ---- server.c ---- */

const smx_user *server_find_user(const smx_server *server, smx_slice name);
/* A message that is done with, into stock. NULL is nothing. */
void server_stock(smx_server *server, smx_message *message);

/* ---- door.c: the way back onto the loop, which may be closed ---- */

SMX_MUST_USE int door_new(smx_server *server, server_door **door);
server_door *door_share(server_door *door);
/* No function that was posted finds the server any more. */
void door_close(server_door *door);
void door_release(server_door *door);
/* The server, or NULL. On the loop's thread. */
smx_server *door_server(const server_door *door);
/* SMX_E_GONE when it is closed. Any thread. */
SMX_MUST_USE int door_post(server_door *door, smx_loop_fn *fn, void *arg);

/* ---- peer_begin.c ---- */

/* Takes an accepted connection in. */
void peer_new(entrance *e, connection *c);
/* The PROXY header, of which these octets are the first. */
size_t peer_header(peer *p, smx_slice in);
/* Implicit TLS has begun, or failed. */
void peer_secured_first(peer *p, int error);
/* Begins the handshake of STARTTLS. */
void peer_secure(peer *p);

/* ---- peer.c ---- */

extern const connection_handler peer_handler;
void peer_set_deadline(peer *p);
void peer_send_output(peer *p);
/* Feeds the machine and acts on its events until it needs more; returns the octets used. */
size_t peer_run(peer *p, smx_slice in);
/* The same after a later answer, with what the connection keeps. */
void peer_advance(peer *p);
/* Answers the ticket that waits. */
void peer_answer(peer *p, const smx_reply *reply);
/* Writes a last reply, past the machine, and closes. */
void peer_refuse(peer *p, const smx_reply *reply);
/* Without the machine: the peer is done with. */
void peer_end(peer *p);
void peer_cut(peer *p);
/* As front_owner has them; `dismiss`: if it is idle between two messages. */
void peer_shut_down(guest *g);
void peer_dismiss(guest *g);
void peer_cut_guest(guest *g);

/* ---- peer_events.c ---- */

void peer_event(peer *p, const smx_server_event *event);
/* Some hook of this phase has to be asked. */
bool peer_hooks_want(const peer *p, smx_hook_phase phase);
/* Asks the hooks of a phase; the verdict comes to peer_decided, now or later. */
void peer_ask(peer *p, smx_hook_phase phase, smx_slice text);
void peer_tell(peer *p, smx_hook_phase phase);
hook_done_fn peer_hooks_done;

/* ---- peer_verdicts.c ---- */

void peer_decided(peer *p, smx_hook_phase phase, const smx_verdict *verdict,
                  const hook_change *changes);

/* ---- peer_body.c ---- */

void peer_body(peer *p, smx_slice octets);
/* EOM was given by the machine: of how many octets, with which traits. */
void peer_body_end(peer *p, uint64_t size, unsigned traits);
/* Goes on with what waited for a hook. */
void peer_body_go_on(peer *p);
/* The verdicts of HEADER and BODY. */
void peer_header_decided(peer *p, const smx_verdict *verdict, const hook_change *changes);
void peer_body_decided(peer *p, const smx_verdict *verdict, const hook_change *changes);

/* ---- peer_auth.c ---- */

void peer_auth_begin(peer *p, const smx_server_event *event);
void peer_auth_response(peer *p, smx_slice text);
void peer_auth_decided(peer *p, const smx_verdict *verdict);
void peer_auth_fail(peer *p);
void peer_auth_succeed(peer *p);
/* The time of a failure has come. */
void peer_auth_due(peer *p);
void peer_auth_drop(peer *p);
void peer_set_user(peer *p, const smx_user *user);

/* ---- peer_password.c ---- */

/* Ends in peer_auth_succeed or peer_auth_fail, now or later. */
void peer_password_check(peer *p);

/* ---- peer_xclient.c, trust.c ---- */

void peer_xclient(peer *p, const smx_xclient *xclient);
/* A client of a trusted network is its user from the start. */
void trust_apply(peer *p);

/* ---- view.c ---- */

/* What the machine and TLS know of the session, into its view. */
void peer_view_refresh(peer *p);

/* ---- transaction.c ---- */

/* For a new MAIL. NULL when out of memory. */
smx_transaction *transaction_begin(peer *p, const smx_mail *mail);
/* Over: the object waits for the next message. */
void transaction_reset(smx_transaction *tx);
void transaction_free(smx_transaction *tx);
/* The client went away while a reply is awaited. */
void transaction_leave(smx_transaction *tx);
SMX_MUST_USE int transaction_open_message(smx_transaction *tx);
SMX_MUST_USE int transaction_replace_body(smx_transaction *tx, smx_slice body);

/* ---- chain.c ---- */

/* The message is whole and no hook objected. */
void chain_begin(smx_transaction *tx);
/* Gives the reply to the client, and ends the transaction. */
void chain_reply(smx_transaction *tx, const smx_reply *reply);
/* Nobody's answer is awaited any more. */
void chain_forget(smx_transaction *tx);
/* An answer that was given on the loop's thread arrives. */
void chain_on_arrival(loop_turn_end *self);

#endif
