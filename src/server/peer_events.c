/* What each event of the machine means: one function for each. Those that hooks may judge go on in
 * peer_verdicts.c, at once where no hook is asked. Octets of an event live only until the machine is
 * fed again: what a hook might look at later is copied first. */
#include "mail/envelope.h"
#include "server/internal.h"
#include "server/replies.h"

/* ---- hooks ---- */

void peer_hooks_done(void *owner, smx_hook_phase phase, const smx_verdict *verdict,
                     const hook_change *changes)
{
    peer *p = owner;
    p->asking = false;
    peer_decided(p, phase, verdict, changes);
    peer_advance(p);
}

static smx_hook_view peer_hook_view(const peer *p, smx_hook_phase phase, smx_slice text)
{
    smx_transaction *tx = phase < SMX_HOOK_MAIL ? NULL : p->transaction;
    return (smx_hook_view){
        .phase = phase,
        .session = &p->guest.view,
        .envelope = tx == NULL ? NULL : &tx->draft.envelope,
        .rcpt = tx != NULL && phase == SMX_HOOK_RCPT ? &tx->rcpt : NULL,
        .message = tx != NULL && phase == SMX_HOOK_EOM ? tx->draft.message : NULL,
        .text = text,
        .started = tx == NULL ? 0 : tx->started,
        .transaction = tx,
    };
}

bool peer_hooks_want(const peer *p, smx_hook_phase phase)
{
    const smx_hooks *table = p->server->front.hooks;
    if (p->hooks != NULL)
        return hook_session_wants(p->hooks, phase);
    return table != NULL && hooks_want(table, phase);
}

/* Its place in the table: most sessions are told of no phase before MAIL, and idle ones of none. */
static int peer_enter_hooks(peer *p)
{
    return p->hooks != NULL
               ? 0
               : hook_session_new(p->server->front.hooks, peer_hooks_done, p, &p->hooks);
}

void peer_ask(peer *p, smx_hook_phase phase, smx_slice text)
{
    smx_verdict verdict = {.kind = SMX_CONTINUE};
    const hook_change *changes = NULL;
    if (peer_hooks_want(p, phase)) {
        bool early = phase < SMX_HOOK_MAIL;
        arena *memory = early ? &p->asked : &p->transaction->draft.memory;
        smx_hook_view view = peer_hook_view(p, phase, text);
        if (early)
            arena_reset(memory);
        if (peer_enter_hooks(p) != 0 || (early && arena_copy(memory, text, &view.text) != 0)) {
            peer_cut(p);
            return;
        }
        int decided = hook_session_ask(p->hooks, &view, memory, &verdict, &changes);
        p->asking = decided == 0;
        if (decided < 0)
            peer_cut(p);
        if (decided <= 0)
            return;
    }
    peer_decided(p, phase, &verdict, changes);
}

void peer_tell(peer *p, smx_hook_phase phase)
{
    if (p->hooks == NULL && (!peer_hooks_want(p, phase) || peer_enter_hooks(p) != 0))
        return;
    p->asking = false;
    smx_hook_view view = peer_hook_view(p, phase, (smx_slice){0});
    hook_session_tell(p->hooks, &view);
}

/* ---- the session ---- */

static void event_none(peer *p, const smx_server_event *event)
{
    (void)p;
    (void)event;
}

static void event_connect(peer *p, const smx_server_event *event)
{
    (void)event;
    trust_apply(p);
    peer_ask(p, SMX_HOOK_CONNECT, (smx_slice){0});
}

static void event_helo(peer *p, const smx_server_event *event)
{
    peer_ask(p, SMX_HOOK_HELO, event->text);
}

static void event_starttls(peer *p, const smx_server_event *event)
{
    (void)event;
    peer_answer(p, p->listener->entrance.tls == NULL ? PEER_REPLY(NO_TLS) : PEER_REPLY(START_TLS));
}

static void event_tls(peer *p, const smx_server_event *event)
{
    (void)event;
    /* Nothing that was said on clear text counts behind it (RFC 3207 section 4.2, ATTACKS 17). */
    p->guest.view.helo = (smx_slice){0};
    peer_set_user(p, NULL);
    trust_apply(p);
    peer_secure(p);
}

static void event_auth_response(peer *p, const smx_server_event *event)
{
    peer_auth_response(p, event->text);
}

static void event_auth_cancelled(peer *p, const smx_server_event *event)
{
    (void)event;
    peer_auth_drop(p);
}

static void event_xclient(peer *p, const smx_server_event *event)
{
    peer_xclient(p, event->xclient);
}

static void event_vrfy(peer *p, const smx_server_event *event)
{
    peer_answer(p, event->verb == SMX_VERB_EXPN ? PEER_REPLY(EXPN) : PEER_REPLY(VRFY));
}

static const char *const close_texts[] = {
    [SMX_CLOSE_QUIT] = "quit",         [SMX_CLOSE_REFUSED] = "refused",
    [SMX_CLOSE_TIMEOUT] = "timeout",   [SMX_CLOSE_ERRORS] = "errors",
    [SMX_CLOSE_PROTOCOL] = "protocol", [SMX_CLOSE_PEER] = "peer",
    [SMX_CLOSE_SHUTDOWN] = "shutdown", [SMX_CLOSE_NOMEM] = "nomem",
};

static void event_close(peer *p, const smx_server_event *event)
{
    const smx_log_field reason = {"reason", slice_of_text(close_texts[event->close_reason])};
    front_log(&p->server->front, SMX_LOG_DEBUG, "disconnect", &p->guest, &reason, 1);
    if (event->close_reason == SMX_CLOSE_QUIT)
        connection_peer_is_done(p->guest.connection);
    peer_end(p);
}

/* ---- the transaction ---- */

static void event_mail(peer *p, const smx_server_event *event)
{
    if (p->server->front.dismissed) {
        peer_answer(p, PEER_REPLY(DISMISSED));
        return;
    }
    if (p->listener->entrance.options.auth == SMX_AUTH_REQUIRED && p->guest.view.account == NULL) {
        peer_answer(p, PEER_REPLY(AUTH_REQUIRED));
        return;
    }
    smx_mail mail = *event->mail;
    /* Whose word is this? Without a user to trust, nobody's (RFC 4954 section 5). */
    if (mail.has_auth && p->guest.view.account == NULL)
        mail.auth = SMX_SLICE("<>");
    smx_transaction *tx = transaction_begin(p, &mail);
    if (tx == NULL)
        peer_answer(p, PEER_REPLY(NO_ROOM));
    else
        peer_ask(p, SMX_HOOK_MAIL, (smx_slice){0});
}

static void event_rcpt(peer *p, const smx_server_event *event)
{
    smx_transaction *tx = p->transaction;
    const smx_verdict go_on = {.kind = SMX_CONTINUE};
    if (envelope_copy_rcpt(&tx->draft.memory, event->rcpt, &tx->rcpt) != 0)
        peer_answer(p, PEER_REPLY(NO_ROOM));
    else if (tx->discard)
        peer_decided(p, SMX_HOOK_RCPT, &go_on, NULL);
    else
        peer_ask(p, SMX_HOOK_RCPT, (smx_slice){0});
}

static void event_data(peer *p, const smx_server_event *event)
{
    (void)event;
    const smx_verdict go_on = {.kind = SMX_CONTINUE};
    if (shared_is_over_budget(p->server->front.shared) ||
        transaction_open_message(p->transaction) != 0)
        peer_answer(p, PEER_REPLY(NO_ROOM));
    else if (p->transaction->discard)
        peer_decided(p, SMX_HOOK_DATA, &go_on, NULL);
    else
        peer_ask(p, SMX_HOOK_DATA, (smx_slice){0});
}

static void event_body(peer *p, const smx_server_event *event)
{
    peer_body(p, event->text);
}

static void event_eom(peer *p, const smx_server_event *event)
{
    front_count(&p->listener->entrance, transactions);
    peer_body_end(p, event->size, event->traits);
}

static void event_reset(peer *p, const smx_server_event *event)
{
    (void)event;
    if (p->transaction == NULL)
        return;
    peer_tell(p, SMX_HOOK_RESET);
    transaction_reset(p->transaction);
}

static void (*const peer_events[])(peer *p, const smx_server_event *event) = {
    [SMX_SERVER_NONE] = event_none,
    [SMX_SERVER_CONNECT] = event_connect,
    [SMX_SERVER_HELO] = event_helo,
    [SMX_SERVER_STARTTLS] = event_starttls,
    [SMX_SERVER_TLS] = event_tls,
    [SMX_SERVER_AUTH] = peer_auth_begin,
    [SMX_SERVER_AUTH_RESPONSE] = event_auth_response,
    [SMX_SERVER_AUTH_CANCELLED] = event_auth_cancelled,
    [SMX_SERVER_XCLIENT] = event_xclient,
    [SMX_SERVER_MAIL] = event_mail,
    [SMX_SERVER_RCPT] = event_rcpt,
    [SMX_SERVER_DATA] = event_data,
    [SMX_SERVER_BODY] = event_body,
    [SMX_SERVER_EOM] = event_eom,
    [SMX_SERVER_RESET] = event_reset,
    [SMX_SERVER_VRFY] = event_vrfy,
    [SMX_SERVER_CLOSE] = event_close,
};

void peer_event(peer *p, const smx_server_event *event)
{
    if (event->ticket != 0)
        p->ticket = event->ticket;
    peer_events[event->type](p, event);
}
