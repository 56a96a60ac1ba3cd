/* Inside of a client: the connection and the protocol machine it brings together, the exchange of
 * AUTH, and the transaction under way. */
#ifndef CLIENT_CLIENT_INTERNAL_H
#define CLIENT_CLIENT_INTERNAL_H

#include "base/arena.h"
#include "base/buffer.h"
#include "client/client_tls.h"
#include "sasl/sasl.h"
#include "smx/client.h"

enum { CLIENT_DETAIL = 256 };

struct smx_client {
    smx_loop *loop;
    smx_client_options options;
    const smx_client_handler *handler;
    void *arg;
    connection *connection;
    smx_client_session *session; /* from the connection's opening on */
    sasl_client *sasl;           /* during AUTH */
    const char *mechanism;       /* of AUTH, once it has begun */
    loop_turn_end kick;          /* pumps once at the end of the turn */
    uint64_t connected_at;       /* 0: not connected yet */
    char machine[256];           /* our name, if the options give none */
    bool failed;                 /* the session is over: `outcome` says why */
    bool closing;                /* smx_client_close was called */
    bool handshaking;            /* implicit TLS: the machine begins behind it */
    uint64_t quit_by;            /* when closing: the reply to QUIT is not waited for longer */
    bool was_ready;
    uint32_t transactions;

    bool active; /* a transaction waits for its result */
    bool cancelled;
    bool body_open; /* the server waits for more of the body */
    bool in_steps;  /* the submission was not whole when it began */
    bool deciding;  /* in steps: all recipients so far have their reply */
    smx_submission submission;
    uint64_t position; /* octets of header and message handed on */
    bool as_it_is;     /* the message behind the header section goes octet for octet */
    size_t end_taken;  /* octets of the final dot that left with the body */
    char *block;       /* the file's octets, while the body is sent: */
    uint64_t block_from;
    size_t block_length;
    arena arena;        /* the transaction's: replies and their texts */
    smx_reply *replies; /* one for each recipient */
    size_t replies_capacity;
    smx_client_result outcome; /* of the transaction, or of the session */
    char detail[CLIENT_DETAIL];
};

/* client.c: feeds the machine, acts on its events, sends its output. Returns the octets used. */
size_t client_pump(smx_client *client, smx_slice in);
/* Sends what is new of the machine's output and sets its deadline. */
void client_push(smx_client *client);
/* Hands the machine's output to the connection. */
void client_push_output(smx_client *client);
/* Ends the session with a local error: FAILED comes at the end of this turn. */
void client_end(smx_client *client, int error, const char *detail);
uint64_t client_now(const smx_client *client);
smx_client_phase client_phase(const smx_client *client);

/* client_auth.c */
void client_auth_begin(smx_client *client);
void client_auth_challenge(smx_client *client, smx_slice challenge);
/* 0 or SMX_E_AUTH: the server took the credentials but has not proved itself. */
SMX_MUST_USE int client_auth_finish(smx_client *client);

/* client_body.c: sends as much of the body as the socket takes. */
void client_body_send(smx_client *client);
/* All of the body that is there was sent, and it is not whole. */
bool client_body_waits(const smx_client *client);
/* The body is over, whether all of it was sent or not. */
void client_body_end(smx_client *client);

/* client_steps.c */
/* All recipients so far have their reply: on to DATA, or back, or the owner has to say more. */
void client_decide(smx_client *client);
bool client_is_caught_up(const smx_client *client);
/* In the state in which nothing but RSET is needed to give up. */
SMX_MUST_USE bool client_reset(smx_client *client);

/* client_result.c */
void client_result_begin(smx_client *client);
/* All recipients in steps were refused: the first one's reply decides. */
void client_result_none_taken(smx_client *client);
void client_result_refused(smx_client *client, smx_client_phase phase, size_t recipient,
                           const smx_reply_lines *reply);
void client_result_recipient(smx_client *client, size_t index, const smx_reply_lines *reply);
void client_result_final(smx_client *client, size_t index, const smx_reply_lines *reply);
void client_result_failed(smx_client *client, const smx_client_failure *failure);
void client_result_detail(smx_client *client, const char *detail);
/* Tells the owner, if a transaction is under way. */
void client_result_tell(smx_client *client);

#endif
