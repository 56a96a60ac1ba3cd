/* Middleware around a handler: `before` in order, the handler, `after` in reverse for those whose
 * `before` ran. Each answer may come later, from any thread, by the transaction's ticket.
 *
 * A transaction is in the server's map of tickets while somebody may answer; `wait`, `answered` and
 * `turn` are guarded by the server's mutex, all else is the loop's. */
#include <stdlib.h>

#include "base/checked.h"
#include "hook/apply.h"
#include "server/internal.h"
#include "server/replies.h"

/* ---- waiting ---- */

static int chain_enter(smx_transaction *tx)
{
    smx_server *server = tx->server;
    tx->ticket = loop_next_ticket(server->front.loop);
    (void)pthread_mutex_lock(&server->mutex);
    int error = map_put_number(&server->waiting, tx->ticket, tx);
    (void)pthread_mutex_unlock(&server->mutex);
    if (error != 0)
        tx->ticket = 0;
    return error;
}

void chain_forget(smx_transaction *tx)
{
    if (tx->ticket == 0)
        return;
    (void)pthread_mutex_lock(&tx->server->mutex);
    (void)map_remove_number(&tx->server->waiting, tx->ticket);
    (void)pthread_mutex_unlock(&tx->server->mutex);
    tx->ticket = 0;
}

/* From now on this kind of answer is taken. */
static void chain_wait(smx_transaction *tx, transaction_wait wait)
{
    (void)pthread_mutex_lock(&tx->server->mutex);
    tx->wait = wait;
    tx->answered = false;
    tx->turn++;
    (void)pthread_mutex_unlock(&tx->server->mutex);
}

/* ---- the way in, and out ---- */

static void chain_finish(smx_transaction *tx, const smx_reply *given)
{
    const smx_server_options *options = &tx->server->options;
    smx_reply reply = *given;
    chain_wait(tx, TRANSACTION_WAITS_NOT);
    while (tx->ran > 0) {
        const smx_middleware *m = options->middleware[--tx->ran];
        if (m->after != NULL)
            m->after(m->arg, tx, &reply);
    }
    if (reply.code < 200 || reply.code > 599 || reply.code / 100 == 3)
        reply = *PEER_REPLY(LOCAL_ERROR);
    chain_reply(tx, &reply);
}

static void chain_handle(smx_transaction *tx)
{
    smx_server *server = tx->server;
    chain_wait(tx, TRANSACTION_WAITS_HANDLER);
    smx_reply reply = server->options.handler(server->options.handler_arg, tx);
    if (reply.code != 0)
        chain_finish(tx, &reply);
}

/* What a `before` said. True: on to the next one; false: the way in ended, or waits. */
static bool chain_settle(smx_transaction *tx, const smx_verdict *verdict)
{
    smx_reply reply = verdict->reply;
    switch (verdict->kind) {
    case SMX_CONTINUE:
    case SMX_ACCEPT:
        return true;
    case SMX_VERDICT_LATER:
        return false;
    case SMX_REPLY_WITH:
        chain_finish(tx, &reply);
        return false;
    case SMX_DISCARD:
        chain_finish(tx, PEER_REPLY(TAKEN));
        return false;
    case SMX_DISCONNECT:
        reply.code = 421;
        reply.enhanced = (smx_enhanced){4, 7, 0};
        chain_finish(tx, &reply);
        return false;
    }
    chain_finish(tx, PEER_REPLY(LOCAL_ERROR));
    return false;
}

static void chain_walk(smx_transaction *tx)
{
    const smx_server_options *options = &tx->server->options;
    while (tx->ran < options->middleware_count) {
        const smx_middleware *m = options->middleware[tx->ran++];
        if (m->before == NULL)
            continue;
        chain_wait(tx, TRANSACTION_WAITS_BEFORE);
        smx_verdict verdict = m->before(m->arg, tx);
        if (!chain_settle(tx, &verdict))
            return;
    }
    chain_handle(tx);
}

void chain_begin(smx_transaction *tx)
{
    int error = session_view_copy(&tx->draft.memory, &tx->peer->guest.view, &tx->session);
    if (error == 0)
        error = chain_enter(tx);
    if (error != 0)
        chain_reply(tx, PEER_REPLY(NO_ROOM));
    else
        chain_walk(tx);
}

/* ---- the reply ---- */

/* LMTP: the one reply, once for each recipient (RFC 2033 section 4.2). */
static int chain_answer_each(peer *p, smx_ticket ticket, const smx_reply *reply)
{
    smx_server_session_info info;
    smx_server_session_get_info(p->machine, &info);
    smx_reply *replies =
        arena_alloc(&p->transaction->draft.memory, info.recipients * sizeof(*replies));
    if (replies == NULL)
        return SMX_E_NOMEM;
    for (uint32_t i = 0; i < info.recipients; i++)
        replies[i] = *reply;
    return smx_server_session_answer_each(p->machine, ticket, replies, info.recipients);
}

void chain_reply(smx_transaction *tx, const smx_reply *reply)
{
    smx_server *server = tx->server;
    peer *p = tx->peer;
    front_count_reply(&tx->listener->entrance, reply->code);
    chain_forget(tx);
    if (p == NULL) {
        transaction_free(tx);
        front_left(&server->front);
        return;
    }
    if (p->listener->entrance.options.lmtp) {
        smx_ticket ticket = p->ticket;
        p->ticket = 0;
        if (chain_answer_each(p, ticket, reply) != 0) {
            peer_cut(p);
            return;
        }
    } else {
        peer_answer(p, reply);
    }
    peer_tell(p, SMX_HOOK_RESET);
    transaction_reset(tx);
}

/* ---- later answers ---- */

/* On its way to the loop's thread. */
typedef struct chain_answer {
    server_door *door;
    smx_ticket ticket;
    uint32_t turn;
    transaction_wait wait;
    smx_verdict verdict; /* its text stands behind the struct; the handler's reply is in it */
    char text[];
} chain_answer;

static void chain_answer_free(chain_answer *answer)
{
    door_release(answer->door);
    free(answer);
}

/* The transaction that the answer is for, or NULL: it was answered otherwise, or is gone. */
static smx_transaction *chain_find(smx_server *server, const chain_answer *answer)
{
    (void)pthread_mutex_lock(&server->mutex);
    smx_transaction *tx = map_get_number(&server->waiting, answer->ticket);
    if (tx != NULL && (tx->turn != answer->turn || tx->wait != answer->wait))
        tx = NULL;
    (void)pthread_mutex_unlock(&server->mutex);
    return tx;
}

static void chain_arrived(void *arg)
{
    chain_answer *answer = arg;
    smx_server *server = door_server(answer->door);
    smx_transaction *tx = server == NULL ? NULL : chain_find(server, answer);
    if (tx != NULL) {
        peer *p = tx->peer;
        smx_verdict *verdict = &answer->verdict;
        /* An `after` may hold on to the text as long as to the transaction. */
        if (arena_copy(&tx->draft.memory, verdict->reply.text, &verdict->reply.text) != 0)
            verdict->reply.text = (smx_slice){NULL, 0};
        if (answer->wait == TRANSACTION_WAITS_HANDLER)
            chain_finish(tx, &verdict->reply);
        else if (chain_settle(tx, verdict))
            chain_walk(tx);
        if (p != NULL)
            peer_advance(p);
    }
    chain_answer_free(answer);
}

static chain_answer *chain_answer_new(smx_server *server, smx_ticket ticket,
                                      const smx_verdict *verdict, transaction_wait wait)
{
    size_t size;
    if (!checked_add(sizeof(chain_answer), verdict->reply.text.len, &size))
        return NULL;
    chain_answer *answer = malloc(size);
    if (answer == NULL)
        return NULL;
    *answer = (chain_answer){.ticket = ticket, .wait = wait, .verdict = *verdict};
    answer->door = door_share(server->door);
    if (verdict->reply.text.len > 0)
        memcpy(answer->text, verdict->reply.text.data, verdict->reply.text.len);
    answer->verdict.reply.text.data = answer->text;
    return answer;
}

static int chain_answer_later(smx_server *server, smx_ticket ticket, const smx_verdict *verdict,
                              transaction_wait wait)
{
    chain_answer *answer = chain_answer_new(server, ticket, verdict, wait);
    if (answer == NULL)
        return SMX_E_NOMEM;
    (void)pthread_mutex_lock(&server->mutex);
    smx_transaction *tx = map_get_number(&server->waiting, ticket);
    int error = SMX_E_GONE;
    if (tx != NULL && tx->wait == wait && !tx->answered) {
        answer->turn = tx->turn;
        error = door_post(server->door, chain_arrived, answer);
        tx->answered = error == 0;
    }
    (void)pthread_mutex_unlock(&server->mutex);
    if (error != 0)
        chain_answer_free(answer);
    return error;
}

int smx_transaction_reply(smx_server *server, smx_ticket ticket, const smx_reply *reply)
{
    const smx_verdict verdict = {SMX_REPLY_WITH, *reply};
    if (reply->code < 200 || reply->code > 599)
        return SMX_E_INVALID;
    return chain_answer_later(server, ticket, &verdict, TRANSACTION_WAITS_HANDLER);
}

int smx_transaction_continue(smx_server *server, smx_ticket ticket, const smx_verdict *verdict)
{
    if (verdict->kind == SMX_VERDICT_LATER)
        return SMX_E_INVALID;
    return chain_answer_later(server, ticket, verdict, TRANSACTION_WAITS_BEFORE);
}
