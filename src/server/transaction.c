/* A transaction: the envelope, the message, and what hooks changed of both.
 *
 * While mail comes in it is its peer's, who keeps the object for the next message. Once the chain
 * waits for somebody's answer it may outlive the peer; then it is freed with its reply. Everything
 * of one message lies in its arena. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "hook/apply.h"
#include "mail/envelope.h"
#include "server/internal.h"

static void transaction_name(smx_transaction *tx)
{
    int len = snprintf(tx->id_text, sizeof(tx->id_text), "%011" PRIx64 "%06" PRIx32 "%" PRIx32,
                       tx->started, tx->server->id_salt & 0xffffff, ++tx->server->id_count);
    tx->id = slice_of(tx->id_text, (size_t)len);
}

static smx_transaction *transaction_new(peer *p)
{
    smx_transaction *tx = calloc(1, sizeof(*tx));
    if (tx == NULL)
        return NULL;
    tx->server = p->server;
    tx->peer = p;
    tx->listener = p->listener;
    list_append(&p->server->transactions, &tx->node);
    return tx;
}

smx_transaction *transaction_begin(peer *p, const smx_mail *mail)
{
    if (p->transaction == NULL)
        p->transaction = transaction_new(p);
    smx_transaction *tx = p->transaction;
    if (tx == NULL || envelope_set_mail(&tx->envelope, &tx->memory, mail) != 0)
        return NULL;
    tx->started = clock_wall_ms();
    transaction_name(tx);
    return tx;
}

/* Gives back all that belongs to one message. */
static void transaction_clear(smx_transaction *tx)
{
    chain_forget(tx);
    smx_message_free(tx->message);
    smx_header_edit_free(tx->edit);
    buffer_free(&tx->chunk);
}

void transaction_reset(smx_transaction *tx)
{
    transaction_clear(tx);
    arena_reset(&tx->memory);
    smx_transaction kept = {
        .node = tx->node,
        .server = tx->server,
        .peer = tx->peer,
        .listener = tx->listener,
        .memory = tx->memory,
    };
    *tx = kept;
}

void transaction_free(smx_transaction *tx)
{
    if (tx == NULL)
        return;
    transaction_clear(tx);
    arena_free(&tx->memory);
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

int transaction_open_message(smx_transaction *tx)
{
    const smx_message_options options = {
        .version = SMX_MESSAGE_VERSION,
        .budget = tx->server->shared->budget,
        .temp_dir = tx->server->options.temp_dir,
    };
    return smx_message_new(&options, &tx->message);
}

/* ---- changes ---- */

static int transaction_edit_made(smx_transaction *tx)
{
    smx_slice header;
    if (tx->edit != NULL)
        return 0;
    int error = smx_message_header(tx->message, &header);
    return error != 0 ? error : smx_header_edit_new(header, &tx->edit);
}

static int transaction_change_header_now(smx_transaction *tx, const hook_change *change)
{
    int error = transaction_edit_made(tx);
    return error != 0 ? error : apply_to_header(change, tx->edit);
}

/* A copy in the arena, at the end of those that wait for the header section. */
static int transaction_defer_change(smx_transaction *tx, const hook_change *change)
{
    hook_change *copy = arena_alloc(&tx->memory, sizeof(*copy));
    if (copy == NULL)
        return SMX_E_NOMEM;
    *copy = *change;
    copy->next = NULL;
    if (tx->last_change != NULL)
        tx->last_change->next = copy;
    else
        tx->first_change = copy;
    tx->last_change = copy;
    return 0;
}

static int transaction_make_changes(smx_transaction *tx, const hook_change *changes)
{
    int error = 0;
    for (const hook_change *at = changes; at != NULL && error == 0; at = at->next) {
        if (at->kind == HOOK_REPLACE_BODY)
            continue;
        if (!change_is_of_header(at->kind))
            error = apply_to_envelope(at, &tx->envelope, &tx->memory, &tx->capacity);
        else if (tx->header_told || tx->ended)
            error = transaction_change_header_now(tx, at);
        else
            error = transaction_defer_change(tx, at);
    }
    return error;
}

/* Deletions move recipients within the array: one that can be gone back to must be another one. */
static int transaction_part_recipients(smx_transaction *tx, const hook_change *changes)
{
    while (changes != NULL && changes->kind != HOOK_DELETE_RECIPIENT)
        changes = changes->next;
    if (changes == NULL || tx->envelope.recipient_count == 0)
        return 0;
    size_t size = tx->capacity * sizeof(smx_rcpt); /* as the old one has */
    smx_rcpt *recipients = arena_alloc(&tx->memory, size);
    if (recipients == NULL)
        return SMX_E_NOMEM;
    memcpy(recipients, tx->envelope.recipients, tx->envelope.recipient_count * sizeof(smx_rcpt));
    tx->envelope.recipients = recipients;
    return 0;
}

int transaction_change(smx_transaction *tx, const smx_rcpt *rcpt, const hook_change *changes)
{
    const smx_envelope envelope = tx->envelope;
    const size_t capacity = tx->capacity;
    hook_change *last = tx->last_change;
    int error = transaction_part_recipients(tx, changes);
    if (error == 0 && rcpt != NULL)
        error = envelope_add_rcpt(&tx->envelope, &tx->memory, rcpt, &tx->capacity);
    if (error == 0)
        error = transaction_make_changes(tx, changes);
    if (error == 0)
        return 0;
    tx->envelope = envelope;
    tx->capacity = capacity;
    tx->last_change = last;
    if (last == NULL)
        tx->first_change = NULL;
    else
        last->next = NULL;
    return error;
}

int transaction_change_header(smx_transaction *tx)
{
    int error = 0;
    for (const hook_change *at = tx->first_change; at != NULL && error == 0; at = at->next)
        error = transaction_change_header_now(tx, at);
    tx->first_change = NULL;
    tx->last_change = NULL;
    return error;
}

int transaction_replace_body(smx_transaction *tx, smx_slice body)
{
    const smx_message_options options = {
        .version = SMX_MESSAGE_VERSION,
        .budget = tx->server->shared->budget,
        .temp_dir = tx->server->options.temp_dir,
    };
    smx_message *changed;
    int error = apply_body(tx->message, body, &options, &changed);
    if (error != 0)
        return error;
    smx_message_free(tx->message);
    tx->message = changed;
    return 0;
}

/* ---- as handlers see it ---- */

const smx_envelope *smx_transaction_envelope(const smx_transaction *tx)
{
    return &tx->envelope;
}

smx_message *smx_transaction_message(const smx_transaction *tx)
{
    return tx->message;
}

const smx_session_view *smx_transaction_session(const smx_transaction *tx)
{
    return tx->ticket == 0 && tx->peer != NULL ? &tx->peer->view : &tx->session;
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
    smx_slice header = {0};
    int error = tx->edit != NULL ? smx_header_edit_result(tx->edit, &header)
                                 : smx_message_header(tx->message, &header);
    if (error != 0)
        return (smx_slice){NULL, 0};
    return header.data == NULL ? SMX_SLICE("") : header;
}

smx_header_edit *smx_transaction_edit(smx_transaction *tx)
{
    return transaction_edit_made(tx) == 0 ? tx->edit : NULL;
}

void *smx_transaction_alloc(smx_transaction *tx, size_t size)
{
    return arena_alloc(&tx->memory, size);
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
    return tx->listener->options.data;
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
