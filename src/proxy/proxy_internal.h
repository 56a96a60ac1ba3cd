/* The I/O half of the transparent proxy: its structs, and what each of its files gives to the others.
 *
 *   proxy.c            the public face; listeners
 *   pair_begin.c       limits, the CONNECT hooks, the way to the upstream, TLS that comes first
 *   pair_upstream.c    where the upstream is, how it learns the client's address, loops
 *   pair.c             two connections and a relay: feeding, backpressure, time, the end
 *   pair_callbacks.c   what the connections call
 *   pair_events.c      what each event of the relay means
 *   pair_watch.c       what is known of a session, where hooks or the program look at it
 *   pair_hooks.c       asks hooks; what the verdict of each phase means
 *   pair_transaction.c the envelope as the replies make it; its record
 *   pair_record.c      what the program is told of a transaction
 *   pair_body.c        messages through hooks, and on to the upstream
 *   pair_trace.c       transcripts
 *   auth_user.c        who an AUTH dialogue names
 *
 * A pair is one client with its upstream. It stands on the front's list of its state, and is freed
 * when both of its connections are closed.
 */
#ifndef PROXY_PROXY_INTERNAL_H
#define PROXY_PROXY_INTERNAL_H

#include "base/arena.h"
#include "base/buffer.h"
#include "hook/draft.h"
#include "proxy/auth_user.h"
#include "proxy/relay.h"
#include "server/front.h"
#include "smx/proxy.h"

typedef struct pair pair;

typedef struct proxy_listener {
    entrance entrance; /* first */
    smx_proxy *proxy;
    smx_proxy_upstream upstream;
    relay_options relay;
    relay_hello_memory hello;
    bool is_raw;          /* TLS passes from the first octet on: nothing is said on clear text */
    uint64_t loops_until; /* the upstream was found to be ourselves: nobody is connected to it */
    bool is_watched;      /* somebody wants to know what passes: hooks, records, transcripts */
} proxy_listener;

struct smx_proxy {
    front front;
    smx_proxy_options options;
};

/* How far a pair is. */
typedef enum pair_state {
    PAIR_ARRIVES,  /* limits, the PROXY header, implicit TLS */
    PAIR_JUDGED,   /* the hooks of CONNECT are asked */
    PAIR_CONNECTS, /* to the upstream, up to its first octet: TCP, implicit TLS */
    PAIR_RELAYS,
    PAIR_ENDS, /* last octets are on their way; nothing is read */
} pair_state;

/* A recipient, in the order of the commands. */
typedef struct pair_rcpt {
    smx_rcpt rcpt;
    uint16_t code; /* 0: its reply has not come */
    bool is_sent;  /* the upstream was asked */
} pair_rcpt;

/* From MAIL to the last reply. */
typedef struct pair_transaction {
    draft draft;    /* its envelope has those whom the upstream took */
    smx_slice mail; /* MAIL's argument, and RCPT's, that hooks are asked about */
    smx_slice asked;
    smx_rcpt rcpt;      /* the one that is asked about */
    size_t rcpt_octets; /* of RCPT's arguments */
    smx_slice id;
    char id_text[FRONT_ID_MAX];
    uint64_t started;      /* wall clock */
    uint64_t began;        /* the loop's */
    pair_rcpt *recipients; /* in the draft's arena */
    size_t recipient_count;
    size_t recipient_capacity;
    size_t answered; /* those before it have their code */
    uint64_t size;   /* octets of the body that passed */
    buffer reply;    /* the last one to the client */
    uint16_t reply_code;
    uint16_t reply_lines; /* 0: it is yet to be parsed */
    smx_enhanced reply_enhanced;
    bool reply_is_own;
    smx_verdict_kind verdict;
    const char *verdict_hook;
    smx_hook_phase verdict_phase;
    const char *outcome; /* NULL: not known yet */
    bool is_taken;       /* MAIL was */
    bool is_refused;     /* ... was not */
    bool is_judged;      /* the end of its octets was acted on */
    bool is_dropped;     /* nobody gets the message: it was refused, or the upstream is gone */
    bool header_sent;    /* to the upstream */
    bool chunk_judged;   /* what is in the draft's chunk goes on as it is */
    bool is_stalled;     /* the upstream owes replies before it can have more */
    bool by_chunks;
    uint64_t body_at; /* of a held message: what was sent of its header, and of its rest */
    size_t header_at;
    bool sending;
    smx_slice message_id; /* once head_is_whole */
    buffer head;          /* the start of a body, until its header section is whole */
    bool head_is_whole;
} pair_transaction;

/* What somebody wants to know of a session. */
typedef struct pair_watch {
    hook_session *hooks;           /* NULL: there are none */
    pair_transaction *transaction; /* NULL: none */
    pair_transaction *spare;       /* the last one, empty, for the next; NULL: none */
    arena asked;                   /* what hooks are asked about before MAIL */
    buffer helo;
    auth_user auth;
    buffer user;             /* who was let in */
    smx_slice mail_argument; /* in `asked` */
    bool mail_waits;         /* the transaction before it is not over */
    uint32_t transactions;
    smx_verdict_kind verdict; /* the last one outside of transactions */
    const char *verdict_hook;
    smx_hook_phase verdict_phase;
    smx_address upstream;
    smx_slice upstream_protocol; /* of its TLS */
    smx_slice upstream_cipher;
    bool upstream_verified;
    uint64_t octets; /* of a body, not traced yet */
    bool has_quit;   /* the client said so */
    bool is_closed;  /* the session is over, and told so */
} pair_watch;

struct pair {
    guest guest; /* the client's connection, and what is known of the session */
    smx_proxy *proxy;
    proxy_listener *listener;
    connection *upstream; /* NULL: not yet, or no more */
    relay *relay;         /* in PAIR_RELAYS */
    pair_watch *watch;    /* NULL: nobody looks */
    loop_turn_end kick;   /* looks whether a side that ended was read to its end */
    arena memory;         /* strings of the view, attributes of XCLIENT */
    uint64_t trim_due;    /* buffers are given back */
    pair_state state : 8;
    smx_address route_from; /* the ends of the upstream's connection, while is_routed */
    smx_address route_to;
    bool is_routed;          /* they are kept in smx_shared */
    bool client_open;        /* its `closed` has not come */
    bool pair_upstream_open; /* likewise */
    bool client_ended;       /* it will send no more; what is kept of it may still be read */
    bool upstream_ended;     /* likewise */
    bool asking;             /* hooks: nothing of the client is read on */
    bool running;            /* the relay is being fed */
    bool progress;           /* ... and something came of it */
    bool securing;           /* the upstream's handshake is under way */
    bool leaving;            /* a shutdown waits for the transaction's end */
    bool upstream_full;
    bool held_up[2]; /* relay_side: it is not read until the other takes its octets */
    smx_slice read;  /* while the relay is fed: what came, and of it what is on its way as it is */
    smx_slice passing;
    relay_side reads; /* whose it is */
};

/* ---- pair_begin.c ---- */

/* Takes an accepted connection in. */
void pair_new(entrance *e, connection *c);
/* The client's octets before the session. */
size_t pair_header(pair *p, smx_slice in);
/* Implicit TLS towards the client has begun, or failed. */
void pair_secured_first(pair *p, int error);
/* The hooks let the client in. */
void pair_connect(pair *p);
void pair_connected(pair *p, int error);
void pair_upstream_secured_first(pair *p, int error);
/* There is no upstream for this client, for this reason. */
void pair_no_upstream(pair *p, const char *what, const char *why);

/* ---- pair_upstream.c ---- */

/* NULL, or why there cannot be a connection, in words for the log. */
SMX_MUST_USE const char *pair_upstream_open(pair *p, int *error);
/* As configured, or where the client wanted to go. */
smx_slice pair_upstream_name(const pair *p, char text[SMX_ADDRESS_TEXT]);
/* The connection is to one of our own listeners. */
bool pair_upstream_is_ourselves(const pair *p, const smx_address *to);
/* The ends of our connection to the upstream, for all proxies of the process, until it is closed. */
void pair_upstream_enter_route(pair *p, const smx_address *from, const smx_address *to);
void pair_upstream_leave_route(pair *p);
/* The client is such a connection: a firewall's rule has redirected it to us. */
bool pair_upstream_is_client(const pair *p);
/* What the upstream is told of the client before all else. */
SMX_MUST_USE int pair_upstream_introduce(pair *p);
SMX_MUST_USE int pair_upstream_secure(pair *p);
/* Writes what XCLIENT tells, into the pair's memory. */
SMX_MUST_USE int pair_upstream_xclient(pair *p, smx_slice *attributes);

/* ---- pair.c ---- */

void pair_init_kick(pair *p);
uint64_t pair_now(const pair *p);
connection *pair_connection(const pair *p, relay_side side);
void pair_set_deadline(pair *p);
/* Feeds one side, and then lets the other go on with what is kept of it. Returns the octets used. */
size_t pair_run(pair *p, relay_side side, smx_slice in);
/* A client that reads no replies holds up itself and its upstream. */
void pair_look_at_queues(pair *p);
/* This side will send no more; *ended is its flag. */
void pair_ended(pair *p, bool *ended, relay_side side, int error);
/* Gives up all but the connections. */
void pair_drop(pair *p);
/* Goes on with what both connections keep. */
void pair_advance(pair *p);
/* Writes a last reply, past the relay, and ends. */
void pair_refuse(pair *p, const smx_reply *reply);
/* Both connections end, behind what was queued. */
void pair_end(pair *p);
/* The same after QUIT: neither is waited for. */
void pair_part(pair *p);
/* The upstream's connection ends now. */
void pair_cut_upstream(pair *p);
void pair_cut(pair *p);
/* Sends octets of the relay, in order with those that pass. */
void pair_send(pair *p, relay_side to, smx_slice octets);
/* What passes leaves now: before all that is not pair_send. */
void pair_let_pass(pair *p);
/* As front_owner has them. */
void pair_shut_down(guest *g);
void pair_dismiss(guest *g);
void pair_cut_guest(guest *g);

/* ---- pair_callbacks.c ---- */

extern const connection_handler pair_client_handler;
extern const connection_handler pair_upstream_handler;

/* ---- pair_events.c ---- */

void pair_event(pair *p, const relay_event *event);
/* The handshake with the upstream is done. */
void pair_upstream_is_secure(pair *p);
void pair_log(const pair *p, smx_log_level level, const char *event, const char *key,
              smx_slice value);

/* ---- pair_watch.c ---- */

SMX_MUST_USE int watch_new(pair *p);
/* The session is over: its last transaction and its hooks are told. */
void watch_close(pair *p);
void watch_free(pair_watch *w);
/* The upstream is connected to, or its TLS has begun. */
void watch_upstream(pair *p);
/* MAIL and RCPT that nobody is asked about. */
void watch_envelope(pair *p, const relay_event *event);
/* What passes, before it does. */
void watch_command(pair *p, const relay_event *event);
void watch_reply(pair *p, const relay_event *event);
void watch_octets(pair *p, const relay_event *event);
/* Octets of a message: its start bears the Message-ID. */
void watch_head(pair *p, smx_slice octets);
/* The header section is over, whether it was whole or not. */
void watch_message_id(pair_transaction *tx);
/* An event was acted on: what was over is, and what waited for it goes on. */
void watch_settle(pair *p);
/* Buffers that an idle session does not need. */
void watch_trim(pair *p);

/* ---- pair_hooks.c ---- */

bool pair_hooks_want(const pair *p, smx_hook_phase phase);
/* Asks the hooks of a phase; what they say is acted on, now or later. */
void pair_ask(pair *p, smx_hook_phase phase, smx_slice text);
void pair_tell(pair *p, smx_hook_phase phase);
hook_done_fn pair_hooks_done;
/* RELAY_ASK. */
void pair_asked(pair *p, const relay_event *event);
/* Recipients that hooks added go ahead of the command, or the message, at hand. */
SMX_MUST_USE int pair_add_recipients(pair *p, const hook_change *changes);
/* The MAIL that waited for the transaction before it. */
void pair_ask_mail(pair *p);
void pair_decided(pair *p, smx_hook_phase phase, const smx_verdict *verdict,
                  const hook_change *changes);

/* ---- pair_transaction.c ---- */

/* The one that MAIL begins; NULL without memory. */
SMX_MUST_USE pair_transaction *pair_transaction_begin_mail(pair *p, smx_slice argument);
/* NULL: it was read into tx->rcpt; else what is wrong with it. */
SMX_MUST_USE const smx_reply *pair_transaction_read_rcpt(pair_transaction *tx, smx_slice argument);
/* The same for MAIL, into the envelope. */
SMX_MUST_USE const smx_reply *pair_transaction_read_mail(pair_transaction *tx);
/* tx->rcpt joins those that were given; `code`: of a reply that is not the upstream's. */
SMX_MUST_USE int pair_transaction_add_rcpt(pair_transaction *tx, uint16_t code, bool is_sent);
void pair_transaction_reply(pair *p, const relay_event *event);
/* It is over: tells so. NULL: the outcome is what it looks like. */
void pair_transaction_tell(pair *p, const char *outcome);
/* The same, and keeps its memory for the next one. */
void pair_transaction_end(pair *p);
void pair_transaction_free(pair_transaction *tx);
/* What stands behind the path in MAIL's or RCPT's argument: its parameters. */
smx_slice pair_transaction_parameters(smx_slice argument);

/* ---- pair_record.c ---- */

/* A transaction, or with NULL a session that had none. */
void pair_record(pair *p, pair_transaction *tx);

/* ---- pair_body.c ---- */

void pair_body(pair *p, const relay_event *event);
void pair_body_end(pair *p, const relay_event *event);
void pair_body_ready(pair *p, const relay_event *event);
void pair_body_dropped(pair *p, const relay_event *event);
/* Goes on with what waited for a hook, or for the upstream. False: there was nothing that could. */
bool pair_body_go_on(pair *p);
/* Octets wait here: the client's next ones are not wanted yet. */
bool pair_body_waits(const pair *p);
void pair_body_decided(pair *p, smx_hook_phase phase, const smx_verdict *verdict,
                       const hook_change *changes);

/* ---- pair_trace.c ---- */

/* Somebody reads along: what is for them alone need not be written otherwise. */
bool trace_is_wanted(const pair *p);
void trace_event(pair *p, const relay_event *event);
/* The session is over. */
void trace_end(pair *p);
/* The handshake with the client is over. */
void trace_client_tls(pair *p);
void trace_note(pair *p, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
