/* The one hook table at work in a proxy: when its hooks are asked, and what the verdict of each phase
 * means for the relay. What a hook might look at later is copied first. */
#include "hook/apply.h"
#include "proxy/proxy_internal.h"
#include "server/replies.h"

static const smx_reply no_second_mail = {
    503, {5, 5, 1}, {"a transaction is in progress", sizeof("a transaction is in progress") - 1}};

/* ---- asking ---- */

bool pair_hooks_want(const pair *p, smx_hook_phase phase)
{
    return p->watch != NULL && p->watch->hooks != NULL &&
           hook_session_wants(p->watch->hooks, phase);
}

static smx_hook_view hook_view(const pair *p, smx_hook_phase phase, smx_slice text)
{
    const pair_transaction *tx = phase < SMX_HOOK_MAIL ? NULL : p->watch->transaction;
    bool whole = phase == SMX_HOOK_EOM && p->listener->relay.hold;
    return (smx_hook_view){
        .phase = phase,
        .session = &p->guest.view,
        .envelope = tx == NULL ? NULL : &tx->draft.envelope,
        .rcpt = tx != NULL && phase == SMX_HOOK_RCPT ? &tx->rcpt : NULL,
        .message = tx != NULL && whole ? tx->draft.message : NULL,
        .text = text,
        .started = tx == NULL ? 0 : tx->started,
    };
}

/* True: the hooks have spoken. */
static bool ask(pair *p, smx_hook_phase phase, smx_slice text, smx_verdict *verdict,
                const hook_change **changes)
{
    pair_watch *w = p->watch;
    bool early = phase < SMX_HOOK_MAIL;
    arena *memory = early ? &w->asked : &w->transaction->draft.memory;
    smx_hook_view view = hook_view(p, phase, text);
    if (early)
        arena_reset(memory);
    int decided = early ? arena_copy(memory, text, &view.text) : 0;
    if (decided == 0)
        decided = hook_session_ask(w->hooks, &view, memory, verdict, changes);
    p->asking = decided == 0;
    if (decided < 0)
        pair_cut(p);
    return decided > 0;
}

void pair_ask(pair *p, smx_hook_phase phase, smx_slice text)
{
    smx_verdict verdict = {.kind = SMX_CONTINUE};
    const hook_change *changes = NULL;
    if (!pair_hooks_want(p, phase) || ask(p, phase, text, &verdict, &changes))
        pair_decided(p, phase, &verdict, changes);
}

void pair_hooks_done(void *owner, smx_hook_phase phase, const smx_verdict *verdict,
                     const hook_change *changes)
{
    pair *p = owner;
    p->asking = false;
    pair_decided(p, phase, verdict, changes);
    pair_advance(p);
}

void pair_tell(pair *p, smx_hook_phase phase)
{
    if (p->watch->hooks == NULL)
        return;
    smx_hook_view view = hook_view(p, phase, (smx_slice){0});
    hook_session_tell(p->watch->hooks, &view);
}

/* ---- answers to the relay ---- */

/* False: a line of ours cannot be sent, and the command was refused. */
static bool decide(pair *p, const relay_decision *decision)
{
    int error = relay_decide(p->relay, decision);
    bool sendable = error != SMX_E_INVALID;
    if (!sendable) {
        const relay_decision refusal = {.kind = RELAY_REFUSE, .reply = *PEER_REPLY(LOCAL_ERROR)};
        error = relay_decide(p->relay, &refusal);
    }
    /* Out of memory the relay closes by itself. */
    if (error != 0)
        pair_log(p, SMX_LOG_WARN, "out_of_memory", NULL, (smx_slice){0});
    return sendable;
}

static void decide_pass(pair *p)
{
    (void)decide(p, &(relay_decision){.kind = RELAY_PASS});
}

static void decide_refuse(pair *p, const smx_reply *reply)
{
    (void)decide(p, &(relay_decision){.kind = RELAY_REFUSE, .reply = *reply});
}

static void note_verdict(pair *p, smx_hook_phase phase, const smx_verdict *verdict)
{
    pair_watch *w = p->watch;
    if (verdict->kind == SMX_CONTINUE)
        return;
    pair_transaction *tx = w->transaction;
    const smx_log_field fields[] = {
        {"phase", slice_of_text(smx_hook_phase_text(phase))},
        {"hook", slice_of_text(hook_session_decider(p->watch->hooks))},
        {"text", verdict->reply.text},
    };
    front_log(&p->proxy->front, SMX_LOG_DEBUG, "refused", &p->guest, fields, 3);
    *(tx == NULL ? &w->verdict : &tx->verdict) = verdict->kind;
    *(tx == NULL ? &w->verdict_phase : &tx->verdict_phase) = phase;
    *(tx == NULL ? &w->verdict_hook : &tx->verdict_hook) = hook_session_decider(w->hooks);
}

/* Answers for a verdict that does not let the command through. True: it did not. */
static bool refused(pair *p, const smx_verdict *verdict)
{
    static const relay_decision_kind kinds[] = {
        [SMX_REPLY_WITH] = RELAY_REFUSE,
        [SMX_DISCARD] = RELAY_DISCARD,
        [SMX_DISCONNECT] = RELAY_DISCONNECT,
    };
    if (verdict->kind == SMX_CONTINUE)
        return false;
    (void)decide(p, &(relay_decision){.kind = kinds[verdict->kind], .reply = verdict->reply});
    return true;
}

/* ---- the session ---- */

/* The banner is 220, 554 or 421 (RFC 5321 section 3.1). */
static void decided_connect(pair *p, const smx_verdict *verdict, const hook_change *changes)
{
    (void)changes;
    smx_reply reply = verdict->reply;
    if (verdict->kind == SMX_CONTINUE) {
        pair_connect(p);
        return;
    }
    if (verdict->kind == SMX_REPLY_WITH)
        reply.code = reply.code < 500 ? 421 : 554;
    pair_refuse(p, &reply);
}

static void decided_session(pair *p, const smx_verdict *verdict, const hook_change *changes)
{
    (void)changes;
    if (!refused(p, verdict))
        decide_pass(p);
}

/* ---- the envelope ---- */

int pair_add_recipients(pair *p, const hook_change *changes)
{
    int error = 0;
    for (const hook_change *at = changes; at != NULL && error == 0; at = at->next)
        if (at->kind == HOOK_ADD_RECIPIENT)
            error = relay_add_recipient(p->relay, at->name);
    return error;
}

static bool has_change(const hook_change *changes, hook_change_kind kind)
{
    for (; changes != NULL; changes = changes->next)
        if (changes->kind == kind)
            return true;
    return false;
}

/* Makes the changes; what cannot be made refuses the command. False: it did. */
static bool change_envelope(pair *p, const hook_change *changes)
{
    int error = draft_change(&p->watch->transaction->draft, NULL, changes);
    if (error == 0)
        error = pair_add_recipients(p, changes);
    if (error == 0)
        return true;
    decide_refuse(p, error == SMX_E_NOMEM ? PEER_REPLY(NO_ROOM) : PEER_REPLY(LOCAL_ERROR));
    return false;
}

/* The client's own line, but for the path: parameters keep their octets. */
static void decide_mail(pair *p, const hook_change *changes)
{
    pair_transaction *tx = p->watch->transaction;
    smx_slice sender = tx->draft.envelope.mail.path.mailbox;
    buffer line = {0};
    if (!has_change(changes, HOOK_SET_SENDER)) {
        decide_pass(p);
        return;
    }
    smx_slice rest = pair_transaction_parameters(tx->mail);
    tx->is_refused = buffer_printf(&line, "MAIL FROM:<%.*s>%.*s\r\n", (int)sender.len, sender.data,
                                   (int)rest.len, rest.data) != 0;
    if (tx->is_refused)
        decide_refuse(p, PEER_REPLY(NO_ROOM));
    else
        tx->is_refused = !decide(
            p,
            &(relay_decision){.kind = RELAY_PASS, .is_changed = true, .line = buffer_slice(&line)});
    buffer_free(&line);
}

static void decided_mail(pair *p, const smx_verdict *verdict, const hook_change *changes)
{
    if (refused(p, verdict))
        p->watch->transaction->is_refused = verdict->kind != SMX_DISCARD;
    else if (change_envelope(p, changes))
        decide_mail(p, changes);
    else
        p->watch->transaction->is_refused = true;
}

/* True: the client was told no, or yes where the upstream hears nothing of it. */
static bool is_answered_here(pair *p, const smx_verdict *verdict, const hook_change *changes)
{
    return refused(p, verdict) || !change_envelope(p, changes) ||
           has_change(changes, HOOK_DELETE_RECIPIENT);
}

static void decided_rcpt(pair *p, const smx_verdict *verdict, const hook_change *changes)
{
    pair_transaction *tx = p->watch->transaction;
    bool is_deleted = has_change(changes, HOOK_DELETE_RECIPIENT);
    bool here = is_answered_here(p, verdict, changes);
    uint16_t code = verdict->kind == SMX_DISCARD || is_deleted ? 250 : verdict->reply.code;
    int error = pair_transaction_add_rcpt(tx, code, !here);
    if (here && !is_deleted)
        return;
    if (error != 0 && p->watch->hooks != NULL)
        decide_refuse(p, PEER_REPLY(NO_ROOM));
    else
        (void)decide(p, &(relay_decision){.kind = RELAY_PASS, .is_changed = is_deleted});
}

static void decided_data(pair *p, const smx_verdict *verdict, const hook_change *changes)
{
    if (!refused(p, verdict) && change_envelope(p, changes))
        decide_pass(p);
}

/* ---- what the relay asks ---- */

/* Hooks judge only what they can be shown; without them the upstream judges what it is sent. */
static void ask_mail(pair *p, smx_slice argument)
{
    const pair_watch *w = p->watch;
    if (w->transaction != NULL) {
        if (w->hooks != NULL)
            decide_refuse(p, &no_second_mail);
        else
            decide_pass(p);
        return;
    }
    pair_transaction *tx = pair_transaction_begin_mail(p, argument);
    if (tx == NULL) {
        decide_refuse(p, PEER_REPLY(NO_ROOM));
        return;
    }
    const smx_reply *wrong = pair_transaction_read_mail(tx);
    if (wrong != NULL && w->hooks != NULL) {
        tx->is_refused = true;
        decide_refuse(p, wrong);
    } else {
        pair_ask(p, SMX_HOOK_MAIL, (smx_slice){0});
    }
}

void pair_ask_mail(pair *p)
{
    p->watch->mail_waits = false;
    ask_mail(p, p->watch->mail_argument);
}

static void asked_mail(pair *p, smx_slice argument)
{
    pair_watch *w = p->watch;
    if (relay_outstanding(p->relay) == 0) {
        ask_mail(p, argument);
        return;
    }
    arena_reset(&w->asked);
    w->mail_waits = arena_copy(&w->asked, argument, &w->mail_argument) == 0;
    if (!w->mail_waits)
        decide_refuse(p, PEER_REPLY(NO_ROOM));
}

static void asked_rcpt(pair *p, smx_slice argument)
{
    pair_transaction *tx = p->watch->transaction;
    if (tx == NULL) {
        decide_pass(p); /* there was no MAIL: the upstream says so */
        return;
    }
    const smx_reply *wrong = pair_transaction_read_rcpt(tx, argument);
    if (wrong != NULL && p->watch->hooks != NULL)
        decide_refuse(p, wrong);
    else
        pair_ask(p, SMX_HOOK_RCPT, (smx_slice){0});
}

static void asked_helo(pair *p, smx_slice argument)
{
    pair_ask(p, SMX_HOOK_HELO, argument);
}

static void asked_auth(pair *p, smx_slice reply)
{
    (void)reply;
    pair_ask(p, SMX_HOOK_AUTH, auth_user_name(&p->watch->auth));
}

static void asked_data(pair *p, smx_slice argument)
{
    (void)argument;
    if (p->watch->transaction == NULL)
        decide_pass(p);
    else
        pair_ask(p, SMX_HOOK_DATA, (smx_slice){0});
}

void pair_asked(pair *p, const relay_event *event)
{
    static void (*const asked[])(pair * p, smx_slice text) = {
        [SMX_HOOK_HELO] = asked_helo, [SMX_HOOK_AUTH] = asked_auth, [SMX_HOOK_MAIL] = asked_mail,
        [SMX_HOOK_RCPT] = asked_rcpt, [SMX_HOOK_DATA] = asked_data,
    };
    asked[event->phase](p, event->text);
}

/* ---- verdicts ---- */

static void (*const decisions[])(pair *p, const smx_verdict *verdict,
                                 const hook_change *changes) = {
    [SMX_HOOK_CONNECT] = decided_connect, [SMX_HOOK_HELO] = decided_session,
    [SMX_HOOK_AUTH] = decided_session,    [SMX_HOOK_MAIL] = decided_mail,
    [SMX_HOOK_RCPT] = decided_rcpt,       [SMX_HOOK_DATA] = decided_data,
};

void pair_decided(pair *p, smx_hook_phase phase, const smx_verdict *verdict,
                  const hook_change *changes)
{
    note_verdict(p, phase, verdict);
    if (phase <= SMX_HOOK_DATA)
        decisions[phase](p, verdict, changes);
    else
        pair_body_decided(p, phase, verdict, changes);
}
