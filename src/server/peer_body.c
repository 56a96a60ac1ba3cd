/* Octets of a message on their way into the transaction: the header section first, then, where hooks
 * want it, chunk by chunk through them. A message that is refused within its body is read on and
 * thrown away, and answered at its end.
 *
 * Without a hook of HEADER or BODY octets are appended as they come. With one they are copied to the
 * transaction's chunk, since they may have to wait. */
#include "server/internal.h"
#include "server/replies.h"

/* From here on the message is thrown away. */
static void body_refuse(smx_transaction *tx, const smx_reply *reply)
{
    if (tx->refusal.code != 0)
        return;
    tx->refusal = *reply;
    if (arena_copy(&tx->draft.memory, reply->text, &tx->refusal.text) != 0)
        tx->refusal.text = (smx_slice){0};
    draft_drop(&tx->draft);
}

/* What is only kept for later gives way. */
static void body_failed(smx_transaction *tx, int error)
{
    message_stock_clear(&tx->server->messages);
    if (error == SMX_E_LIMIT)
        body_refuse(tx, PEER_REPLY(NO_ROOM));
    else
        body_refuse(tx, error == SMX_E_NOMEM ? PEER_REPLY(NO_ROOM) : PEER_REPLY(LOCAL_ERROR));
}

static bool body_is_dropped(const smx_transaction *tx)
{
    return tx->refusal.code != 0 || tx->discard;
}

static void body_append(smx_transaction *tx, smx_slice octets)
{
    int error = smx_message_append(tx->draft.message, octets);
    if (error != 0) {
        body_failed(tx, error);
        return;
    }
    smx_slice header;
    if (!tx->draft.header_told && smx_message_header(tx->draft.message, &header) == SMX_E_LIMIT)
        body_refuse(tx, PEER_REPLY(LONG_HEADER));
}

/* ---- through the hooks ---- */

/* The changes so far are made, and the hooks of HEADER see the result. */
static void body_ask_header(peer *p)
{
    smx_transaction *tx = p->transaction;
    tx->draft.header_told = true;
    int error = draft_change_header(&tx->draft);
    smx_slice header = draft_header(&tx->draft);
    if (error == 0 && header.data == NULL)
        error = SMX_E_NOMEM;
    if (error != 0)
        body_failed(tx, error);
    else
        peer_ask(p, SMX_HOOK_HEADER, header);
}

/* The header section's octets, or all the rest as one chunk. */
static void body_take_octets(peer *p)
{
    smx_transaction *tx = p->transaction;
    smx_slice octets = buffer_slice(&tx->draft.chunk);
    if (!draft_is_in_header(&tx->draft) && peer_hooks_want(p, SMX_HOOK_BODY)) {
        peer_ask(p, SMX_HOOK_BODY, octets);
        return;
    }
    size_t len =
        draft_is_in_header(&tx->draft) ? draft_header_length(&tx->draft, octets) : octets.len;
    body_append(tx, slice_to(octets, len));
    if (body_is_dropped(tx))
        return;
    buffer_consume(&tx->draft.chunk, len);
    if (!tx->draft.header_told && !draft_is_in_header(&tx->draft))
        body_ask_header(p);
}

static void body_take_end(peer *p);

/* What can be done now: there are octets of a message that is wanted, or its end is due. */
static bool body_has_work(const peer *p)
{
    const smx_transaction *tx = p->transaction;
    if (p->asking || p->gone || p->machine == NULL || tx == NULL)
        return false;
    return (buffer_length(&tx->draft.chunk) > 0 && !body_is_dropped(tx)) ||
           (tx->draft.ended && !tx->judged);
}

void peer_body_go_on(peer *p)
{
    while (body_has_work(p)) {
        const smx_transaction *tx = p->transaction;
        if (buffer_length(&tx->draft.chunk) > 0 && !body_is_dropped(tx))
            body_take_octets(p);
        else
            body_take_end(p);
    }
}

void peer_body(peer *p, smx_slice octets)
{
    smx_transaction *tx = p->transaction;
    if (body_is_dropped(tx))
        return;
    bool hooked = peer_hooks_want(p, SMX_HOOK_HEADER) || peer_hooks_want(p, SMX_HOOK_BODY);
    if (!hooked && buffer_length(&tx->draft.chunk) == 0) {
        body_append(tx, octets);
        return;
    }
    if (buffer_append(&tx->draft.chunk, octets) != 0)
        body_failed(tx, SMX_E_NOMEM);
    peer_body_go_on(p);
}

void peer_body_end(peer *p, uint64_t size, unsigned traits)
{
    p->transaction->arrived = size;
    p->transaction->traits = traits;
    p->transaction->draft.ended = true;
    peer_body_go_on(p);
}

/* ---- verdicts ---- */

/* True when the message goes on. */
static bool body_passes(peer *p, const smx_verdict *verdict)
{
    smx_transaction *tx = p->transaction;
    if (verdict->kind == SMX_CONTINUE)
        return true;
    if (verdict->kind == SMX_REPLY_WITH)
        body_refuse(tx, &verdict->reply);
    else
        tx->discard = true;
    if (verdict->kind == SMX_DISCONNECT)
        peer_refuse(p, &verdict->reply);
    return false;
}

void peer_header_decided(peer *p, const smx_verdict *verdict, const hook_change *changes)
{
    smx_transaction *tx = p->transaction;
    if (body_passes(p, verdict)) {
        int error = draft_change(&tx->draft, NULL, changes);
        if (error != 0)
            body_failed(tx, error);
    }
}

static void body_take_chunk(smx_transaction *tx, const hook_change *changes)
{
    body_append(tx, draft_chunk(&tx->draft, changes));
    buffer_clear(&tx->draft.chunk);
}

void peer_body_decided(peer *p, const smx_verdict *verdict, const hook_change *changes)
{
    smx_transaction *tx = p->transaction;
    if (body_passes(p, verdict)) {
        int error = draft_change(&tx->draft, NULL, changes);
        if (error != 0)
            body_failed(tx, error);
        else
            body_take_chunk(tx, changes);
    }
}

/* ---- the end ---- */

/* The hooks of EOM see the header section as changed so far. */
static void body_ask_eom(peer *p)
{
    smx_transaction *tx = p->transaction;
    int error = draft_change_header(&tx->draft);
    smx_slice header = draft_header(&tx->draft);
    if (error != 0 || header.data == NULL)
        chain_reply(tx, PEER_REPLY(NO_ROOM));
    else
        peer_ask(p, SMX_HOOK_EOM, header);
}

/* What is known of the client's octets holds for the message if a hook has put no others in. */
static void body_end_message(const smx_transaction *tx)
{
    smx_message *message = tx->draft.message;
    smx_message_end(message);
    if (!tx->draft.body_changed && smx_message_size(message) == tx->arrived)
        smx_message_promise(message, tx->traits);
}

/* The message is whole. Hooks of HEADER are asked here where there is no body behind the section. */
static void body_take_end(peer *p)
{
    smx_transaction *tx = p->transaction;
    const smx_verdict go_on = {.kind = SMX_CONTINUE};
    if (!body_is_dropped(tx)) {
        body_end_message(tx);
        if (!tx->draft.header_told && peer_hooks_want(p, SMX_HOOK_HEADER)) {
            body_ask_header(p);
            return;
        }
        if (!draft_is_sendable(&tx->draft))
            body_refuse(tx, PEER_REPLY(LOCAL_ERROR));
    }
    tx->judged = true;
    if (tx->refusal.code != 0)
        chain_reply(tx, &tx->refusal);
    else if (tx->discard)
        peer_decided(p, SMX_HOOK_EOM, &go_on, NULL);
    else
        body_ask_eom(p);
}
