/* What the verdict of each phase means for the session: one function for each phase, and one for
 * what refuses a command. */
#include "server/internal.h"
#include "server/replies.h"

/* Answers for a verdict that does not let the command through. True: it did not. */
static bool refused(peer *p, smx_hook_phase phase, const smx_verdict *verdict)
{
    smx_reply reply = verdict->reply;
    if (verdict->kind != SMX_REPLY_WITH && verdict->kind != SMX_DISCONNECT)
        return false;
    const smx_log_field fields[] = {
        {"phase", slice_of_text(smx_hook_phase_text(phase))},
        {"text", reply.text},
    };
    front_log(&p->server->front, SMX_LOG_DEBUG, "refused", &p->guest, fields, 2);
    if (verdict->kind == SMX_DISCONNECT)
        peer_refuse(p, &reply);
    else
        peer_answer(p, &reply);
    return true;
}

/* The banner is 220, 554 or 421 (RFC 5321 section 3.1). */
static void decided_connect(peer *p, const smx_verdict *verdict, const hook_change *changes)
{
    (void)changes;
    smx_verdict turned = *verdict;
    if (verdict->kind == SMX_REPLY_WITH)
        turned.reply.code = verdict->reply.code < 500 ? 421 : 554;
    if (!refused(p, SMX_HOOK_CONNECT, &turned))
        peer_answer(p, PEER_REPLY(GREETING));
}

static void decided_helo(peer *p, const smx_verdict *verdict, const hook_change *changes)
{
    (void)changes;
    if (!refused(p, SMX_HOOK_HELO, verdict))
        peer_answer(p, PEER_REPLY(HELLO));
    if (p->machine != NULL)
        peer_view_refresh(p);
}

static void decided_auth(peer *p, const smx_verdict *verdict, const hook_change *changes)
{
    (void)changes;
    if (refused(p, SMX_HOOK_AUTH, verdict))
        peer_auth_drop(p);
    else
        peer_auth_decided(p, verdict);
}

/* A command of the envelope has all of its effect or, when it is not answered with `reply`, none.
 * `rcpt`: the recipient that it adds, or NULL. */
static void envelope_decided(peer *p, smx_hook_phase phase, const smx_verdict *verdict,
                             const smx_rcpt *rcpt, const hook_change *changes,
                             const smx_reply *reply)
{
    if (refused(p, phase, verdict))
        return;
    int error = draft_change(&p->transaction->draft, rcpt, changes);
    if (error == SMX_E_NOMEM)
        reply = PEER_REPLY(NO_ROOM);
    else if (error != 0)
        reply = PEER_REPLY(LOCAL_ERROR);
    else if (verdict->kind == SMX_DISCARD)
        p->transaction->discard = true;
    peer_answer(p, reply);
}

static void decided_mail(peer *p, const smx_verdict *verdict, const hook_change *changes)
{
    envelope_decided(p, SMX_HOOK_MAIL, verdict, NULL, changes, PEER_REPLY(SENDER));
}

static void decided_rcpt(peer *p, const smx_verdict *verdict, const hook_change *changes)
{
    const smx_rcpt *rcpt = &p->transaction->rcpt;
    envelope_decided(p, SMX_HOOK_RCPT, verdict, rcpt, changes, PEER_REPLY(RECIPIENT));
}

static void decided_data(peer *p, const smx_verdict *verdict, const hook_change *changes)
{
    envelope_decided(p, SMX_HOOK_DATA, verdict, NULL, changes, PEER_REPLY(DATA));
}

/* The message as the hooks left it goes to the chain, unless nobody is to get it. */
static void message_passes(peer *p)
{
    smx_transaction *tx = p->transaction;
    if (!tx->discard && tx->draft.envelope.recipient_count > 0) {
        chain_begin(tx);
        return;
    }
    const smx_log_field id = {"id", tx->id};
    front_log(&p->server->front, SMX_LOG_INFO, "discarded", &p->guest, &id, 1);
    chain_reply(tx, PEER_REPLY(TAKEN));
}

static int replaced_body(smx_transaction *tx, const hook_change *changes)
{
    smx_slice body;
    return draft_new_body(changes, &body) ? transaction_replace_body(tx, body) : 0;
}

static void decided_eom(peer *p, const smx_verdict *verdict, const hook_change *changes)
{
    smx_transaction *tx = p->transaction;
    if (verdict->kind == SMX_DISCONNECT) {
        peer_refuse(p, &verdict->reply);
        return;
    }
    if (verdict->kind == SMX_REPLY_WITH) {
        chain_reply(tx, &verdict->reply);
        return;
    }
    tx->discard = tx->discard || verdict->kind == SMX_DISCARD;
    int error = draft_change(&tx->draft, NULL, changes);
    if (error == 0)
        error = replaced_body(tx, changes);
    if (error == 0)
        message_passes(p);
    else
        chain_reply(tx, error == SMX_E_NOMEM || error == SMX_E_LIMIT ? PEER_REPLY(NO_ROOM)
                                                                     : PEER_REPLY(LOCAL_ERROR));
}

static void decided_nothing(peer *p, const smx_verdict *verdict, const hook_change *changes)
{
    (void)p;
    (void)verdict;
    (void)changes;
}

static void (*const decisions[])(peer *p, const smx_verdict *verdict,
                                 const hook_change *changes) = {
    [SMX_HOOK_CONNECT] = decided_connect,
    [SMX_HOOK_HELO] = decided_helo,
    [SMX_HOOK_AUTH] = decided_auth,
    [SMX_HOOK_MAIL] = decided_mail,
    [SMX_HOOK_RCPT] = decided_rcpt,
    [SMX_HOOK_DATA] = decided_data,
    [SMX_HOOK_HEADER] = peer_header_decided,
    [SMX_HOOK_BODY] = peer_body_decided,
    [SMX_HOOK_EOM] = decided_eom,
    [SMX_HOOK_RESET] = decided_nothing,
    [SMX_HOOK_CLOSE] = decided_nothing,
};

void peer_decided(peer *p, smx_hook_phase phase, const smx_verdict *verdict,
                  const hook_change *changes)
{
    decisions[phase](p, verdict, changes);
}
