/* A transaction: the envelope, the message, and what hooks changed of both.
 *
 * While mail comes in it is its peer's, who keeps the object for the next message. Once the chain
 * waits for somebody's answer it may outlive the peer; then it is freed with its reply. Everything
 * of one message lies in its arena. */
#include <stdlib.h>

#include "base/clock.h"
#include "mail/envelope.h"
#include "server/internal.h"

static smx_transaction *transaction_new(peer *p)
{
    smx_transaction *tx = calloc(1, sizeof(*tx));
    if (tx == NULL)
        return NULL;
    tx->server = p->server;
    tx->peer = p;
    tx->listener = p->listener;
    tx->arrival.fn = chain_on_arrival;
    list_append(&p->server->transactions, &tx->node);
    return tx;
}

smx_transaction *transaction_begin(peer *p, const smx_mail *mail)
{
    if (p->transaction == NULL)
        p->transaction = transaction_new(p);
    smx_transaction *tx = p->transaction;
    if (tx == NULL || envelope_set_mail(&tx->draft.envelope, &tx->draft.memory, mail) != 0)
        return NULL;
    tx->started = clock_wall_ms();
    tx->id = front_next_id(&p->server->front, tx->started, tx->id_text);
    return tx;
}

/* Gives back all that belongs to one message. */
static void transaction_clear(smx_transaction *tx)
{
    chain_forget(tx);
    server_stock(tx->server, tx->draft.message);
    tx->draft.message = NULL;
    draft_drop(&tx->draft);
}

/* What the next message does not set by itself is as in a new one. */
void transaction_reset(smx_transaction *tx)
{
    transaction_clear(tx);
    draft_reset(&tx->draft);
    tx->judged = false;
    tx->discard = false;
    tx->refusal = (smx_reply){0};
    tx->value = NULL;
    tx->ran = 0;
    tx->on_gone = NULL;
}

void transaction_free(smx_transaction *tx)
{
    if (tx == NULL)
        return;
    transaction_clear(tx);
    arena_free(&tx->draft.memory);
    list_remove(&tx->node);
    free(tx);
}

void transaction_leave(smx_transaction *tx)
{
    tx->peer = NULL;
    void (*on_gone)(void *arg) = tx->on_gone;
    tx->on_gone = NULL;
    if (on_gone != NULL)
        on_gone(tx->on_gone_arg);
}

static smx_message_options transaction_message_options(const smx_transaction *tx)
{
    return (smx_message_options){
        .version = SMX_MESSAGE_VERSION,
        .budget = tx->server->front.shared->budget,
        .temp_dir = tx->server->options.temp_dir,
    };
}

int transaction_open_message(smx_transaction *tx)
{
    const smx_message_options options = transaction_message_options(tx);
    smx_message *message;
    int error = message_stock_take(&tx->server->messages, &options, &message);
    if (error == 0)
        draft_begin(&tx->draft, message);
    return error;
}

int transaction_replace_body(smx_transaction *tx, smx_slice body)
{
    const smx_message_options options = transaction_message_options(tx);
    return draft_replace_body(&tx->draft, body, &options);
}

/* ---- as handlers see it ---- */

const smx_envelope *smx_transaction_envelope(const smx_transaction *tx)
{
    return &tx->draft.envelope;
}

smx_message *smx_transaction_message(const smx_transaction *tx)
{
    return tx->draft.message;
}

const smx_session_view *smx_transaction_session(const smx_transaction *tx)
{
    return tx->ticket == 0 && tx->peer != NULL ? &tx->peer->guest.view : &tx->session;
}

smx_slice smx_transaction_id(const smx_transaction *tx)
{
    return tx->id;
}

uint64_t smx_transaction_started(const smx_transaction *tx)
{
    return tx->started;
}

smx_slice smx_transaction_header(const smx_transaction *tx)
{
    return draft_header(&tx->draft);
}

smx_header_edit *smx_transaction_edit(smx_transaction *tx)
{
    return draft_edit(&tx->draft) == 0 ? tx->draft.edit : NULL;
}

void *smx_transaction_alloc(smx_transaction *tx, size_t size)
{
    return arena_alloc(&tx->draft.memory, size);
}

const smx_user *smx_transaction_user(const smx_transaction *tx)
{
    return smx_transaction_session(tx)->account;
}

void smx_transaction_set_value(smx_transaction *tx, void *value)
{
    tx->value = value;
}

void *smx_transaction_value(const smx_transaction *tx)
{
    return tx->value;
}

void *smx_transaction_listener_data(const smx_transaction *tx)
{
    return tx->listener->entrance.options.data;
}

smx_ticket smx_transaction_ticket(const smx_transaction *tx)
{
    return tx->ticket;
}

void smx_transaction_on_gone(smx_transaction *tx, void (*fn)(void *arg), void *arg)
{
    tx->on_gone = fn;
    tx->on_gone_arg = arg;
}
