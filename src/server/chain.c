/* Middleware around a handler: `before` in order, the handler, `after` in reverse for those whose
 * `before` ran. Each answer may come later, from any thread, by the transaction's ticket.
 *
 * A transaction is in the server's map of tickets while somebody may answer. Its `awaited` says whose
 * answer is taken; the first who claims it has given it. All else is the loop's: an answer that was given
 * on its thread waits in the transaction for the turn's end, one of another thread is posted there. */
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
    loop_cancel_turn_end(&tx->arrival);
    if (tx->ticket == 0)
        return;
    (void)pthread_mutex_lock(&tx->server->mutex);
    (void)map_remove_number(&tx->server->waiting, tx->ticket);
    (void)pthread_mutex_unlock(&tx->server->mutex);
    tx->ticket = 0;
}

/* Of `awaited`: the lowest bit says that the answer was given, the next two whose it is, and above them
 * is counted how often that has changed. */
enum { AWAITED_GIVEN = 1, AWAITED_WHOSE = 2, AWAITED_TURN = 8 };

/* From now on this kind of answer is taken. */
static void chain_wait(smx_transaction *tx, transaction_wait wait)
{
    uint64_t turn = tx->awaited / AWAITED_TURN + 1;
    tx->awaited = turn * AWAITED_TURN + (uint64_t)wait * AWAITED_WHOSE;
}

static bool chain_awaits(uint64_t awaited, transaction_wait wait)
{
    return awaited % AWAITED_TURN / AWAITED_WHOSE == (uint64_t)wait;
}

/* The one answer of this kind. *claimed is what `awaited` is from then on, until that is over. */
static bool chain_claim(smx_transaction *tx, transaction_wait wait, uint64_t *claimed)
{
    uint64_t open = tx->awaited;
    *claimed = open | AWAITED_GIVEN;
    return chain_awaits(open, wait) && open != *claimed &&
           atomic_compare_exchange_strong(&tx->awaited, &open, *claimed);
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

/* An answer has come. Its text lives as long as the transaction, since an `after` may hold on to it. */
static void chain_take(smx_transaction *tx, const smx_verdict *verdict)
{
    peer *p = tx->peer;
    if (chain_awaits(tx->awaited, TRANSACTION_WAITS_HANDLER))
        chain_finish(tx, &verdict->reply);
    else if (chain_settle(tx, verdict))
        chain_walk(tx);
    if (p != NULL)
        peer_advance(p);
}

void chain_on_arrival(loop_turn_end *self)
{
    smx_transaction *tx = list_member(self, smx_transaction, arrival);
    if (tx->awaited == tx->given_for)
        chain_take(tx, &tx->given);
}

/* On the loop's thread, which alone changes the map. */
static int chain_answer_here(smx_server *server, smx_ticket ticket, const smx_verdict *verdict,
                             transaction_wait wait)
{
    smx_slice text;
    uint64_t claimed;
    smx_transaction *tx = map_get_number(&server->waiting, ticket);
    if (tx == NULL)
        return SMX_E_GONE;
    if (arena_copy(&tx->draft.memory, verdict->reply.text, &text) != 0)
        return SMX_E_NOMEM;
    if (!chain_claim(tx, wait, &claimed))
        return SMX_E_GONE;
    tx->given = *verdict;
    tx->given.reply.text = text;
    tx->given_for = claimed;
    loop_at_turn_end(server->front.loop, &tx->arrival);
    return 0;
}

/* ---- of other threads ---- */

/* On its way to the loop's thread. */
typedef struct chain_answer {
    server_door *door;
    smx_ticket ticket;
    uint64_t awaited;    /* what it is for */
    smx_verdict verdict; /* its text stands behind the struct; the handler's reply is in it */
    char text[];
} chain_answer;

static void chain_answer_free(chain_answer *answer)
{
    door_release(answer->door);
    free(answer);
}

static void chain_arrived(void *arg)
{
    chain_answer *answer = arg;
    smx_server *server = door_server(answer->door);
    smx_transaction *tx = server == NULL ? NULL : map_get_number(&server->waiting, answer->ticket);
    /* Else it was answered otherwise, or is gone. */
    if (tx != NULL && tx->awaited == answer->awaited) {
        smx_verdict *verdict = &answer->verdict;
        if (arena_copy(&tx->draft.memory, verdict->reply.text, &verdict->reply.text) != 0)
            verdict->reply.text = (smx_slice){NULL, 0};
        chain_take(tx, verdict);
    }
    chain_answer_free(answer);
}

static chain_answer *chain_answer_new(smx_server *server, smx_ticket ticket,
                                      const smx_verdict *verdict)
{
    size_t size;
    if (!checked_add(sizeof(chain_answer), verdict->reply.text.len, &size))
        return NULL;
    chain_answer *answer = malloc(size);
    if (answer == NULL)
        return NULL;
    *answer = (chain_answer){.ticket = ticket, .verdict = *verdict};
    answer->door = door_share(server->door);
    if (verdict->reply.text.len > 0)
        memcpy(answer->text, verdict->reply.text.data, verdict->reply.text.len);
    answer->verdict.reply.text.data = answer->text;
    return answer;
}

/* Under the server's mutex, so that the transaction stays. */
static int chain_post(smx_server *server, chain_answer *answer, transaction_wait wait)
{
    smx_transaction *tx = map_get_number(&server->waiting, answer->ticket);
    if (tx == NULL || !chain_claim(tx, wait, &answer->awaited))
        return SMX_E_GONE;
    uint64_t claimed = answer->awaited;
    int error = door_post(server->door, chain_arrived, answer);
    if (error != 0) /* it may be given again, unless another one is awaited by now */
        (void)atomic_compare_exchange_strong(&tx->awaited, &claimed, claimed - AWAITED_GIVEN);
    return error;
}

static int chain_answer_later(smx_server *server, smx_ticket ticket, const smx_verdict *verdict,
                              transaction_wait wait)
{
    if (loop_is_own_thread(server->front.loop))
        return chain_answer_here(server, ticket, verdict, wait);
    chain_answer *answer = chain_answer_new(server, ticket, verdict);
    if (answer == NULL)
        return SMX_E_NOMEM;
    (void)pthread_mutex_lock(&server->mutex);
    int error = chain_post(server, answer, wait);
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
