/* The public side of the server's machine: the pump that turns octets into events, answers,
 * output. What each state and each command does stands in the tables of server_states.c.
 *
 * The session owns its buffers. It keeps no slice of the input beyond the call that got it. */
#include <assert.h>
#include <stdlib.h>

#include "session/server_states.h"

int smx_server_session_new(const smx_server_session_options *options, uint64_t now,
                           smx_server_session **session)
{
    assert(options->version == SMX_SERVER_SESSION_VERSION);
    assert(options->tickets != NULL);
    smx_server_session *s = calloc(1, sizeof *s);
    if (s == NULL)
        return SMX_E_NOMEM;
    s->options = *options;
    session_server_limits_set(&s->options);
    s->tls = options->tls;
    s->now = now;
    s->timer_start = now;
    s->alone = true;
    *session = s;
    return 0;
}

void smx_server_session_free(smx_server_session *session)
{
    if (session == NULL)
        return;
    session_server_end_exchange(session);
    free(session->helo_memory);
    free(session->asked);
    buffer_free(&session->output);
    buffer_free(&session->scratch);
    buffer_free(&session->deferred_text);
    buffer_free(&session->farewell);
    free(session);
}

/* ---- The pump ---- */

/* A shutdown waits for what is under way: a ticket, a body, a handshake. */
static bool may_shut_down(const smx_server_session *s)
{
    return s->shutdown && !s->transaction.chunking && s->ticket == 0 &&
           (s->state == SERVER_GREET || session_server_states[s->state].timer == SERVER_TIMER_IDLE);
}

/* What ends the session whatever its state is. */
static void guard(smx_server_session *s, smx_slice in)
{
    if (s->alone && in.len > 0) {
        s->plain = false;
        session_server_close(s, SMX_CLOSE_PROTOCOL, SERVER_REPLY(EARLY));
    }
    if (may_shut_down(s)) {
        smx_reply reply = {421, {4, 3, 2}, buffer_slice(&s->farewell)};
        session_server_close(s, SMX_CLOSE_SHUTDOWN, &reply);
    }
}

/* The state has nothing to do with what is there: is its time over? */
static bool expire(smx_server_session *s)
{
    if (s->now < session_server_expires(s))
        return false;
    session_server_close(s, SMX_CLOSE_TIMEOUT, SERVER_REPLY(TIMEOUT));
    return true;
}

static void set_time(smx_server_session *s, uint64_t now)
{
    s->now = now;
    if (s->timer_restart)
        session_server_touch(s);
    s->timer_restart = false;
}

size_t smx_server_session_feed(smx_server_session *session, uint64_t now, smx_slice in,
                               smx_server_event *event)
{
    smx_server_session *s = session;
    size_t used = 0;
    *event = (smx_server_event){.type = SMX_SERVER_NONE};
    set_time(s, now);
    for (;;) {
        guard(s, in);
        if (session_server_due(s, event))
            return event->type == SMX_SERVER_CLOSE ? used + in.len : used;
        server_state before = s->state;
        size_t step = session_server_states[before].run(s, in, event);
        used += step;
        in = slice_from(in, step);
        if (event->type != SMX_SERVER_NONE)
            return used;
        bool due = s->cancel_due || s->reset_due || s->close_due;
        if (step == 0 && s->state == before && !due && !expire(s))
            return used;
    }
}

smx_slice smx_server_session_output(const smx_server_session *session)
{
    return buffer_slice(&session->output);
}

void smx_server_session_sent(smx_server_session *session, size_t count)
{
    buffer_consume(&session->output, count);
    if (buffer_length(&session->output) == 0 && session->ticket == 0 &&
        session->state != SERVER_GREET && session->state != SERVER_TLS_READY)
        session->alone = false;
}

uint64_t smx_server_session_deadline(const smx_server_session *session)
{
    const smx_server_session *s = session;
    bool due = s->cancel_due || s->reset_due || s->close_due || s->timer_restart;
    if (due || may_shut_down(s) || s->state == SERVER_GREET || s->state == SERVER_TLS_READY)
        return s->now;
    return session_server_expires(s);
}

/* ---- Answers ---- */

static bool is_reply(const smx_reply *reply)
{
    return reply->code >= 200 && reply->code <= 599;
}

/* Takes the ticket back: the function that knows what an answer to it means. */
static server_answered_fn *take_ticket(smx_server_session *s)
{
    server_answered_fn *answered = s->answered;
    s->ticket = 0;
    s->answered = NULL;
    s->timer_restart = true;
    return answered;
}

static int outcome(const smx_server_session *s)
{
    return s->close_due && s->close_reason == SMX_CLOSE_NOMEM ? SMX_E_NOMEM : 0;
}

int smx_server_session_answer(smx_server_session *session, smx_ticket ticket,
                              const smx_reply *reply)
{
    smx_server_session *s = session;
    if (ticket == 0 || ticket != s->ticket)
        return SMX_E_GONE;
    if (!is_reply(reply))
        return SMX_E_INVALID;
    server_answered_fn *answered = take_ticket(s);
    if (reply->code == 421)
        session_server_close(s, SMX_CLOSE_REFUSED, reply);
    else
        answered(s, reply);
    return outcome(s);
}

int smx_server_session_answer_each(smx_server_session *session, smx_ticket ticket,
                                   const smx_reply *replies, size_t count)
{
    smx_server_session *s = session;
    if (ticket == 0 || ticket != s->ticket)
        return SMX_E_GONE;
    if (s->answered != session_server_answered_eom)
        return SMX_E_STATE;
    if (count != (s->options.lmtp ? s->transaction.recipients : 1))
        return SMX_E_INVALID;
    bool leave = false;
    for (size_t i = 0; i < count; i++) {
        if (!is_reply(&replies[i]))
            return SMX_E_INVALID;
        leave = leave || replies[i].code == 421;
    }
    (void)take_ticket(s);
    session_server_end_body(s, replies, count);
    if (leave)
        session_server_close(s, SMX_CLOSE_REFUSED, NULL);
    return outcome(s);
}

int smx_server_session_challenge(smx_server_session *session, smx_ticket ticket, smx_slice text)
{
    smx_server_session *s = session;
    if (ticket == 0 || ticket != s->ticket)
        return SMX_E_GONE;
    if (s->answered != session_server_answered_auth)
        return SMX_E_STATE;
    (void)take_ticket(s);
    session_server_enter(s, SERVER_AUTH);
    session_server_write_challenge(s, text);
    return outcome(s);
}

/* ---- What happens to the connection ---- */

void smx_server_session_tls_done(smx_server_session *session, uint64_t now, int error)
{
    smx_server_session *s = session;
    if (s->state != SERVER_TLS) /* the session ended meanwhile */
        return;
    set_time(s, now);
    buffer_clear(&s->output); /* nothing that was meant for clear text goes through TLS */
    if (error != 0) {
        session_server_close(s, SMX_CLOSE_PROTOCOL, NULL);
        return;
    }
    session_server_forget(s);
    s->tls = true;
    session_server_touch(s);
    session_server_enter(s, SERVER_COMMAND);
}

void smx_server_session_ended(smx_server_session *session)
{
    session_server_close(session, SMX_CLOSE_PEER, NULL);
}

int smx_server_session_shutdown(smx_server_session *session, smx_slice text)
{
    static const smx_slice standard = SMX_SLICE("The server is going down");
    buffer_clear(&session->farewell);
    int error = buffer_append(&session->farewell, text.len > 0 ? text : standard);
    if (error != 0)
        return error;
    session->shutdown = true;
    return 0;
}

void smx_server_session_trim(smx_server_session *session)
{
    if (buffer_length(&session->output) == 0)
        buffer_free(&session->output);
    if (!session->exchange) /* else it is wiped first, when that is over */
        buffer_free(&session->scratch);
    if (session->state != SERVER_CHUNK_REST && session->state != SERVER_DATA_REST &&
        session->ticket == 0)
        buffer_free(&session->deferred_text);
}

void smx_server_session_get_info(const smx_server_session *session, smx_server_session_info *info)
{
    const smx_server_session *s = session;
    *info = (smx_server_session_info){
        .tls = s->tls,
        .esmtp = s->esmtp,
        .authenticated = s->authenticated,
        .in_transaction = s->transaction.open,
        .waiting = s->ticket != 0,
        .receiving =
            s->transaction.chunking || session_server_states[s->state].timer == SERVER_TIMER_DATA,
        .recipients = s->transaction.recipients,
        .helo = s->helo,
    };
}
