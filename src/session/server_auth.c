/* AUTH (RFC 4954): the frame of an exchange. What is said in it passes through as octets; decoded
 * responses stand in the scratch buffer, which is wiped when the exchange is over. */
#include "session/server_states.h"

/* The mechanism as it stands in the list of those offered; empty if it does not. */
static smx_slice find_mechanism(smx_slice offered, smx_slice name)
{
    smx_slice word;
    while (slice_cut(&offered, ' ', &word))
        if (word.len > 0 && slice_equal_nocase(word, name))
            return word;
    return (smx_slice){0};
}

static void wipe_scratch(smx_server_session *s)
{
    if (s->scratch.data != NULL)
        explicit_bzero(s->scratch.data, s->scratch.capacity);
    buffer_clear(&s->scratch);
}

/* base64 into the scratch buffer. */
static const smx_reply *decode(smx_server_session *s, smx_slice encoded, smx_slice *text)
{
    size_t len = 0;
    wipe_scratch(s);
    if (buffer_reserve(&s->scratch, encoded.len + 1) != 0)
        return SERVER_REPLY(NOMEM);
    if (smx_base64_decode(encoded, s->scratch.data, s->scratch.capacity, &len) != 0)
        return SERVER_REPLY(AUTH_BASE64);
    *text = slice_of(s->scratch.data, len);
    return NULL;
}

static const smx_reply *check_mechanism(smx_server_session *s, smx_slice name)
{
    smx_slice found = find_mechanism(session_server_mechanisms(s), name);
    if (found.len > 0) {
        s->parsed.auth.mechanism = found;
        return NULL;
    }
    if (!s->tls && find_mechanism(s->options.auth_tls, name).len > 0)
        return SERVER_REPLY(AUTH_NEEDS_TLS);
    return SERVER_REPLY(AUTH_MECHANISM);
}

SERVER_CHECK(auth)
{
    smx_slice name = slice_to(command->argument, slice_find(command->argument, ' '));
    smx_slice initial = slice_trim(slice_from(command->argument, name.len));
    bool later = !s->tls && s->options.auth_tls.len > 0;
    if (s->authenticated)
        return SERVER_REPLY(AUTH_TWICE);
    if ((s->options.offered & SMX_EXT_AUTH) == 0 ||
        (session_server_mechanisms(s).len == 0 && !later))
        return SERVER_REPLY(NOT_IMPLEMENTED);
    if (name.len == 0)
        return SERVER_REPLY(AUTH_ARGUMENT);
    const smx_reply *wrong = check_mechanism(s, name);
    if (wrong != NULL)
        return wrong;
    if (slice_find(initial, ' ') < initial.len)
        return SERVER_REPLY(AUTH_ARGUMENT);
    s->parsed.auth.has_text = initial.len > 0;
    s->parsed.auth.text = (smx_slice){0};
    if (initial.len == 0 || slice_equal(initial, SMX_SLICE("="))) /* "=" is an empty response */
        return NULL;
    return decode(s, initial, &s->parsed.auth.text);
}

SERVER_PROCEED(auth)
{
    (void)command;
    s->exchange = true;
    event->mechanism = s->parsed.auth.mechanism;
    event->has_text = s->parsed.auth.has_text;
    event->text = s->parsed.auth.text;
    session_server_ask(s, event, SMX_SERVER_AUTH, session_server_answered_auth);
}

void session_server_end_exchange(smx_server_session *s)
{
    s->exchange = false;
    wipe_scratch(s);
}

SERVER_ANSWERED(auth)
{
    session_server_end_exchange(s);
    session_server_enter(s, SERVER_COMMAND);
    s->authenticated = reply->code == 235;
    session_server_reply(s, reply);
}

/* The client gave up, or its response cannot be read: the owner hears that it is over. */
static void cancel(smx_server_session *s, const smx_reply *reply)
{
    session_server_end_exchange(s);
    s->cancel_due = true;
    session_server_enter(s, SERVER_COMMAND);
    session_server_reply(s, reply);
}

static void take_response(smx_server_session *s, smx_slice line, smx_server_event *event)
{
    smx_slice text = {0};
    if (slice_equal(line, SMX_SLICE("*"))) {
        cancel(s, SERVER_REPLY(AUTH_CANCELLED));
        return;
    }
    const smx_reply *wrong = line.len > 0 ? decode(s, line, &text) : NULL;
    if (wrong == SERVER_REPLY(NOMEM)) {
        session_server_nomem(s);
    } else if (wrong != NULL) {
        cancel(s, wrong);
    } else {
        s->alone = true;
        event->text = text;
        event->has_text = true;
        session_server_ask(s, event, SMX_SERVER_AUTH_RESPONSE, session_server_answered_auth);
    }
}

size_t session_server_state_auth(smx_server_session *s, smx_slice in, smx_server_event *event)
{
    smx_slice line;
    size_t used;
    if (session_server_cut_line(s, in, &line, &used) != SERVER_LINE_WHOLE)
        return 0;
    s->scanned = 0;
    session_server_touch(s);
    if (in.len > used) /* sent without waiting for our reply */
        session_server_close(s, SMX_CLOSE_PROTOCOL, SERVER_REPLY(EARLY));
    else
        take_response(s, line, event);
    return used;
}
