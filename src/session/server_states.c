/* The two tables of the server's machine, its states and its commands, and the few transitions
 * that many of them share. */
#include <assert.h>

#include "session/server_states.h"

const server_state_row session_server_states[SERVER_STATE_COUNT] = {
#define SERVER_STATE_ROW(name, function, timer)                                                    \
    [SERVER_##name] = {session_server_state_##function, SERVER_TIMER_##timer},
    SERVER_STATE_MAP(SERVER_STATE_ROW)
#undef SERVER_STATE_ROW
};

#define CHECK(name)   .check = session_server_check_##name
#define REFUSE(name)  .refuse = session_server_refuse_##name
#define PROCEED(name) .proceed = session_server_proceed_##name
#define ASK(type, name)                                                                            \
    .event = SMX_SERVER_##type, .answered = session_server_answered_##name,                        \
    .proceed = session_server_proceed_##name

enum {
    /* EHLO, HELO, LHLO. Their replies bear no enhanced code. */
    HELLO_RULES = SERVER_ENDS_TRANSACTION | SERVER_IDLE_COMMAND | SERVER_PLAIN,
    VRFY_RULES = SERVER_IDLE_COMMAND,
};

static const server_command commands[SMX_VERB_COUNT] = {
    [SMX_VERB_UNKNOWN] = {.rules = SERVER_BEFORE_TLS, CHECK(unknown), REFUSE(unknown)},
    [SMX_VERB_EHLO] = {.rules = HELLO_RULES | SERVER_BEFORE_TLS, CHECK(hello), ASK(HELO, hello)},
    [SMX_VERB_LHLO] = {.rules = HELLO_RULES | SERVER_BEFORE_TLS, CHECK(hello), ASK(HELO, hello)},
    [SMX_VERB_HELO] = {.rules = HELLO_RULES, CHECK(hello), ASK(HELO, hello)},
    [SMX_VERB_STARTTLS] = {.rules = SERVER_BEFORE_TLS | SERVER_NO_ARGUMENT | SERVER_ALONE |
                                    SERVER_IDLE_COMMAND,
                           CHECK(starttls),
                           ASK(STARTTLS, starttls)},
    [SMX_VERB_AUTH] = {.rules = SERVER_ESMTP | SERVER_NO_TRANSACTION | SERVER_ALONE,
                       CHECK(auth),
                       ASK(AUTH, auth)},
    [SMX_VERB_XCLIENT] = {.rules = SERVER_NO_TRANSACTION | SERVER_IDLE_COMMAND,
                          CHECK(xclient),
                          ASK(XCLIENT, xclient)},
    [SMX_VERB_MAIL] = {.rules = SERVER_HELLO | SERVER_NO_TRANSACTION,
                       CHECK(mail),
                       REFUSE(mail),
                       ASK(MAIL, mail)},
    [SMX_VERB_RCPT] = {.rules = SERVER_HELLO | SERVER_TRANSACTION, CHECK(rcpt), ASK(RCPT, rcpt)},
    [SMX_VERB_DATA] = {.rules = SERVER_HELLO | SERVER_TRANSACTION | SERVER_NO_ARGUMENT,
                       CHECK(data),
                       REFUSE(data),
                       ASK(DATA, data)},
    [SMX_VERB_BDAT] = {.rules = SERVER_ESMTP | SERVER_TRANSACTION,
                       .extension = SMX_EXT_CHUNKING,
                       CHECK(bdat),
                       REFUSE(bdat),
                       ASK(DATA, bdat)},
    [SMX_VERB_RSET] = {.rules = SERVER_BEFORE_TLS | SERVER_NO_ARGUMENT | SERVER_ENDS_TRANSACTION |
                                SERVER_IDLE_COMMAND,
                       PROCEED(rset)},
    [SMX_VERB_NOOP] = {.rules = SERVER_BEFORE_TLS | SERVER_IDLE_COMMAND, PROCEED(noop)},
    [SMX_VERB_HELP] = {.rules = SERVER_IDLE_COMMAND, PROCEED(help)},
    [SMX_VERB_QUIT] = {.rules = SERVER_BEFORE_TLS | SERVER_NO_ARGUMENT, PROCEED(quit)},
    [SMX_VERB_VRFY] = {.rules = VRFY_RULES, CHECK(vrfy), ASK(VRFY, vrfy)},
    [SMX_VERB_EXPN] = {.rules = VRFY_RULES, CHECK(expn), ASK(VRFY, vrfy)},
    [SMX_VERB_TURN] = {CHECK(unimplemented)},
    [SMX_VERB_ETRN] = {CHECK(unimplemented)},
};

const server_command *session_server_command_of(smx_verb verb)
{
    return &commands[verb];
}

void session_server_enter(smx_server_session *s, server_state state)
{
    if (s->state != SERVER_CLOSED)
        s->state = state;
}

void session_server_ask(smx_server_session *s, smx_server_event *event, smx_server_event_type type,
                        server_answered_fn *answered)
{
    assert(s->ticket == 0);
    *s->options.tickets += s->options.ticket_step;
    s->ticket = *s->options.tickets;
    s->answered = answered;
    event->type = type;
    event->ticket = s->ticket;
    session_server_enter(s, SERVER_WAIT);
}

void session_server_reset(smx_server_session *s, smx_reset_reason reason)
{
    if (s->transaction.given) {
        s->reset_due = true;
        s->reset_reason = reason;
    }
    memset(&s->transaction, 0, sizeof s->transaction);
}

void session_server_forget(smx_server_session *s)
{
    s->greeted = false;
    s->esmtp = false;
    s->authenticated = false;
    s->helo = (smx_slice){0};
}

void session_server_close(smx_server_session *s, smx_close_reason reason, const smx_reply *reply)
{
    if (s->state == SERVER_CLOSED)
        return;
    if (reply != NULL)
        (void)!session_server_write(s, reply);
    if (s->exchange) {
        s->cancel_due = true;
        session_server_end_exchange(s);
    }
    session_server_reset(s, SMX_RESET_CLOSED);
    s->ticket = 0;
    s->alone = false;
    s->plain = false;
    s->close_due = true;
    s->close_reason = reason;
    session_server_enter(s, SERVER_CLOSED);
}

bool session_server_due(smx_server_session *s, smx_server_event *event)
{
    if (s->cancel_due) {
        s->cancel_due = false;
        event->type = SMX_SERVER_AUTH_CANCELLED;
    } else if (s->reset_due) {
        s->reset_due = false;
        event->type = SMX_SERVER_RESET;
        event->reset_reason = s->reset_reason;
    } else if (s->close_due) {
        s->close_due = false;
        event->type = SMX_SERVER_CLOSE;
        event->close_reason = s->close_reason;
    } else {
        return false;
    }
    return true;
}

size_t session_server_state_greet(smx_server_session *s, smx_slice in, smx_server_event *event)
{
    (void)in;
    session_server_ask(s, event, SMX_SERVER_CONNECT, session_server_answered_connect);
    s->plain = true; /* RFC 2034 section 4: no enhanced code in the greeting */
    return 0;
}

size_t session_server_state_wait(smx_server_session *s, smx_slice in, smx_server_event *event)
{
    (void)s;
    (void)in;
    (void)event;
    return 0;
}

/* Octets behind QUIT, and behind whatever else ended the session, have no effect. */
size_t session_server_state_closed(smx_server_session *s, smx_slice in, smx_server_event *event)
{
    (void)s;
    (void)event;
    return in.len;
}
