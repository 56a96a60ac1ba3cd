/* The client's machine: its public functions and feed. The session owns its buffers; options,
 * transactions and input belong to the caller. client_machine.h says where the rest is. */
#include <stdlib.h>

#include "session/client_machine.h"
#include "session/hello_name.h"

int smx_client_session_new(const smx_client_session_options *options, uint64_t now,
                           smx_client_session **session)
{
    if (options->version != SMX_CLIENT_SESSION_VERSION ||
        !session_hello_name_is_valid(options->helo))
        return SMX_E_INVALID;
    smx_client_session *s = calloc(1, sizeof *s);
    if (s == NULL)
        return SMX_E_NOMEM;
    s->options = *options;
    s->now = now;
    s->tls = options->tls == SMX_TLS_IMPLICIT;
#define CLIENT_TIMEOUT(name, option, milliseconds)                                                 \
    s->timeouts[CLIENT_WAIT_##name] = options->option != 0 ? options->option : (milliseconds);
    CLIENT_WAIT_MAP(CLIENT_TIMEOUT)
#undef CLIENT_TIMEOUT
    session_client_expect_reply(s, EXPECT_BANNER, 1);
    session_client_enter(s, CLIENT_STATE_BANNER);
    *session = s;
    return 0;
}

void smx_client_session_free(smx_client_session *s)
{
    if (s == NULL)
        return;
    buffer_free(&s->output);
    buffer_free(&s->ehlo);
    buffer_free(&s->challenge);
    buffer_free(&s->initial_response);
    buffer_free(&s->taken);
    free(s);
}

void smx_client_session_trim(smx_client_session *s)
{
    if (buffer_length(&s->output) == 0)
        buffer_free(&s->output);
    if (s->state != CLIENT_STATE_CHALLENGED)
        buffer_free(&s->challenge);
    if (buffer_length(&s->initial_response) == 0)
        buffer_free(&s->initial_response);
    if (!s->transaction.open)
        buffer_free(&s->taken);
}

/* Gives the event that is owed, if any. */
static bool client_give_owed(smx_client_session *s, smx_client_event *event)
{
    if (s->owed == SMX_CLIENT_NONE)
        return false;
    event->type = s->owed;
    if (s->owed == SMX_CLIENT_FAILED)
        event->failure = &s->failure;
    s->owed = SMX_CLIENT_NONE;
    return true;
}

/* Reads one reply at the start of `in`: 0 and its octets, SMX_E_AGAIN, SMX_E_PROTOCOL. */
static int client_read_reply(smx_client_session *s, smx_slice in, smx_reply_lines *reply,
                             size_t *consumed)
{
    if (s->state == CLIENT_STATE_OVER || in.len == 0)
        return SMX_E_AGAIN;
    /* Clear text where TLS must begin (ATTACKS 13). */
    if (s->state == CLIENT_STATE_TLS)
        return SMX_E_PROTOCOL;
    int error = smx_reply_parse(&s->parser, in, reply, consumed);
    if (error == SMX_E_AGAIN && session_client_next_expected(s) == EXPECT_NOTHING)
        s->unasked = true;
    if (error == SMX_E_PROTOCOL)
        s->transaction.answered = true;
    return error;
}

size_t smx_client_session_feed(smx_client_session *s, uint64_t now, smx_slice in,
                               smx_client_event *event)
{
    size_t used = 0;
    *event = (smx_client_event){0};
    s->now = now;
    while (event->type == SMX_CLIENT_NONE && !client_give_owed(s, event)) {
        smx_reply_lines reply;
        size_t consumed;
        int error = client_read_reply(s, slice_from(in, used), &reply, &consumed);
        if (error == 0) {
            used += consumed;
            s->behind = in.len - used;
            s->parser = (smx_reply_parser){0};
            session_client_dispatch(s, &reply, event);
        } else if (error != SMX_E_AGAIN) {
            session_client_fail(s, error);
        } else if (now >= s->deadline) {
            session_client_fail(s, SMX_E_TIMEOUT);
        } else {
            break;
        }
    }
    return used;
}

smx_slice smx_client_session_output(const smx_client_session *s)
{
    return buffer_slice(&s->output);
}

void smx_client_session_sent(smx_client_session *s, size_t count)
{
    client_transaction *t = &s->transaction;
    buffer_consume(&s->output, count);
    if (t->end_unsent == 0)
        return;
    t->end_unsent -= count < t->end_unsent ? count : t->end_unsent;
    t->end_sent = t->end_unsent == 0;
}

uint64_t smx_client_session_deadline(const smx_client_session *s)
{
    return s->owed != SMX_CLIENT_NONE ? s->now : s->deadline;
}

void smx_client_session_fail(smx_client_session *s, int error)
{
    session_client_fail(s, error);
}

const smx_capabilities *smx_client_session_capabilities(const smx_client_session *s)
{
    return &s->capabilities;
}

bool smx_client_session_is_ready(const smx_client_session *s)
{
    return s->state == CLIENT_STATE_READY && s->owed == SMX_CLIENT_NONE && !s->unasked;
}

smx_client_phase smx_client_session_phase(const smx_client_session *s)
{
    return session_client_phase(s);
}
