/* From the banner to READY: EHLO or HELO, STARTTLS, AUTH (RFC 5321 section 3.1, RFC 3207, RFC
 * 4954). Nothing of a transaction and no credentials leave before this file says READY or AUTH. */
#include "session/client_machine.h"

/* RFC 4954 section 4: the command keeps SMTP's line limit, a line of the exchange has its own. */
enum { AUTH_COMMAND_MAX = 512, AUTH_RESPONSE_MAX = 12288, AUTH_MECHANISM_MAX = 20 };

static bool client_wants_tls(const smx_client_session *s)
{
    bool wanted = s->options.tls == SMX_TLS_IF_OFFERED || s->options.tls == SMX_TLS_REQUIRED;
    return wanted && !s->tls && !s->starttls_refused;
}

static smx_slice client_first_word(const smx_reply_lines *reply)
{
    size_t at = 0;
    smx_slice text;
    if (!smx_reply_next_line(reply, &at, &text))
        return SMX_SLICE("");
    return slice_to(text, slice_find(text, ' '));
}

/* A server that bears our name is ourselves: a loop (DESIGN 4.12). */
static bool client_meets_itself(smx_client_session *s, const smx_reply_lines *reply)
{
    smx_slice own = s->options.own_hostname;
    if (own.len == 0 || !slice_equal_nocase(client_first_word(reply), own))
        return false;
    session_client_fail_in(s, s->reply_phase, SMX_E_EXISTS, reply);
    return true;
}

static void client_say_hello(smx_client_session *s, client_state state, const char *verb)
{
    if (session_client_write_hello(s, verb) != 0)
        session_client_fail(s, SMX_E_NOMEM);
    else
        session_client_enter(s, state);
}

static void client_say_ehlo(smx_client_session *s)
{
    client_say_hello(s, CLIENT_STATE_EHLO, s->options.lmtp ? "LHLO" : "EHLO");
}

static void client_say_starttls(smx_client_session *s)
{
    if (session_client_write(s, EXPECT_STARTTLS, "STARTTLS\r\n") != 0)
        session_client_fail(s, SMX_E_NOMEM);
    else
        session_client_enter(s, CLIENT_STATE_STARTTLS);
}

/* What comes next once the server's offers are known. */
static void client_after_hello(smx_client_session *s)
{
    bool auth_offered = client_offers(s, SMX_EXT_AUTH) && s->capabilities.auth_mechanisms.len > 0;
    if (client_wants_tls(s) && client_offers(s, SMX_EXT_STARTTLS))
        client_say_starttls(s);
    else if (client_wants_tls(s) && s->options.tls == SMX_TLS_REQUIRED)
        session_client_fail_in(s, SMX_CLIENT_PHASE_TLS, SMX_E_TLS, NULL);
    else if (!s->options.authenticate)
        session_client_enter_and_tell(s, CLIENT_STATE_READY, SMX_CLIENT_READY);
    else if (auth_offered)
        session_client_enter_and_tell(s, CLIENT_STATE_MECHANISM, SMX_CLIENT_AUTH);
    else
        session_client_fail_in(s, SMX_CLIENT_PHASE_AUTH, SMX_E_AUTH, NULL);
}

/* The reply is the owner's memory: what is learnt from it needs a copy. */
static int client_learn(smx_client_session *s, const smx_reply_lines *reply)
{
    s->capabilities = (smx_capabilities){0};
    buffer_clear(&s->ehlo);
    int error = buffer_append(&s->ehlo, reply->raw);
    if (error != 0)
        return error;
    smx_reply_lines copy = *reply;
    copy.raw = buffer_slice(&s->ehlo);
    smx_capabilities_parse(&copy, &s->capabilities);
    /* RFC 8689 section 2: outside TLS it cannot be had. */
    if (!s->tls)
        s->capabilities.extensions &= ~(smx_extensions)SMX_EXT_REQUIRETLS;
    return 0;
}

void session_client_on_banner(smx_client_session *s, client_expect what,
                              const smx_reply_lines *reply, smx_client_event *event)
{
    (void)what;
    (void)event;
    if (client_reply_class(reply) != 2)
        session_client_fail_by_reply(s, reply);
    else if (!client_meets_itself(s, reply))
        client_say_ehlo(s);
}

/* EHLO is not known there: HELO (RFC 5321 section 3.2), unless something of EHLO's is needed. */
static void client_fall_back(smx_client_session *s, const smx_reply_lines *reply)
{
    bool needs_tls = client_wants_tls(s) && s->options.tls == SMX_TLS_REQUIRED;
    if (needs_tls || s->options.authenticate)
        session_client_fail_by_reply(s, reply);
    else
        client_say_hello(s, CLIENT_STATE_HELO, "HELO");
}

void session_client_on_ehlo(smx_client_session *s, client_expect what, const smx_reply_lines *reply,
                            smx_client_event *event)
{
    (void)what;
    (void)event;
    if (client_reply_class(reply) == 5 && !s->options.lmtp)
        client_fall_back(s, reply);
    else if (client_reply_class(reply) != 2)
        session_client_fail_by_reply(s, reply);
    else if (client_meets_itself(s, reply))
        return;
    else if (client_learn(s, reply) != 0)
        session_client_fail(s, SMX_E_NOMEM);
    else
        client_after_hello(s);
}

void session_client_on_helo(smx_client_session *s, client_expect what, const smx_reply_lines *reply,
                            smx_client_event *event)
{
    (void)what;
    (void)event;
    if (client_reply_class(reply) != 2)
        session_client_fail_by_reply(s, reply);
    else if (client_meets_itself(s, reply))
        return;
    else if (client_learn(s, reply) != 0)
        session_client_fail(s, SMX_E_NOMEM);
    else {
        s->capabilities = (smx_capabilities){.domain = s->capabilities.domain};
        client_after_hello(s);
    }
}

/* ---- STARTTLS (RFC 3207) ---- */

static void client_forget_offers(smx_client_session *s)
{
    s->capabilities = (smx_capabilities){0};
    buffer_clear(&s->ehlo);
}

/* A reply of 4xx or 5xx is no failed handshake: where TLS was only wished for and no credentials
 * are at stake the session goes on without. */
void session_client_on_starttls(smx_client_session *s, client_expect what,
                                const smx_reply_lines *reply, smx_client_event *event)
{
    (void)what;
    (void)event;
    bool optional = s->options.tls == SMX_TLS_IF_OFFERED && !s->options.authenticate;
    if (reply->code == 220 && s->behind > 0) {
        /* Response injection (ATTACKS 13): clear text that wants to pass for TLS. */
        session_client_fail_in(s, SMX_CLIENT_PHASE_TLS, SMX_E_PROTOCOL, NULL);
    } else if (reply->code == 220) {
        client_forget_offers(s);
        session_client_enter_and_tell(s, CLIENT_STATE_TLS, SMX_CLIENT_TLS);
    } else if (client_reply_refuses(reply) && optional) {
        s->starttls_refused = true;
        client_after_hello(s);
    } else {
        session_client_fail_by_reply(s, reply);
    }
}

void smx_client_session_tls_done(smx_client_session *s, uint64_t now, int error)
{
    if (s->state != CLIENT_STATE_TLS)
        return;
    s->now = now;
    if (error != 0) {
        session_client_fail(s, error);
        return;
    }
    s->tls = true;
    client_say_ehlo(s);
}

/* ---- AUTH (RFC 4954): the exchange passes through, its meaning is the owner's ---- */

static bool client_is_mechanism(smx_slice name)
{
    if (name.len == 0 || name.len > AUTH_MECHANISM_MAX)
        return false;
    for (size_t i = 0; i < name.len; i++) {
        char c = name.data[i];
        if (!ascii_is_alnum(c) && c != '-' && c != '_')
            return false;
    }
    return true;
}

/* "AUTH mechanism", and the initial response if it fits. */
static int client_write_auth(smx_client_session *s, smx_slice mechanism, bool has_initial,
                             smx_slice initial)
{
    size_t size = sizeof "AUTH  \r\n" - 1 + mechanism.len + smx_base64_size(initial.len);
    bool inline_initial = has_initial && size <= AUTH_COMMAND_MAX;
    buffer *out = &s->output;
    int error = buffer_reserve(out, AUTH_COMMAND_MAX);
    if (error == 0 && has_initial && !inline_initial)
        error = session_client_append_base64(&s->initial_response, initial);
    if (error == 0)
        error = buffer_printf(out, "AUTH %.*s", (int)mechanism.len, mechanism.data);
    if (error == 0 && inline_initial)
        error = buffer_append_char(out, ' ');
    if (error == 0 && inline_initial)
        error = initial.len == 0 ? buffer_append_char(out, '=')
                                 : session_client_append_base64(out, initial);
    return error == 0 ? session_client_write(s, EXPECT_AUTH, "\r\n") : error;
}

int smx_client_session_auth(smx_client_session *s, uint64_t now, smx_slice mechanism,
                            bool has_initial, smx_slice initial)
{
    if (s->state != CLIENT_STATE_MECHANISM || s->owed != SMX_CLIENT_NONE)
        return SMX_E_STATE;
    if (!client_is_mechanism(mechanism) || initial.len > AUTH_RESPONSE_MAX / 4 * 3 - 3)
        return SMX_E_INVALID;
    size_t before = buffer_length(&s->output);
    buffer_clear(&s->initial_response);
    int error = client_write_auth(s, mechanism, has_initial, initial);
    if (error != 0) {
        buffer_truncate(&s->output, before);
        return error;
    }
    s->now = now;
    session_client_enter(s, CLIENT_STATE_AUTH);
    return 0;
}

static int client_write_response(smx_client_session *s, smx_slice encoded)
{
    size_t before = buffer_length(&s->output);
    int error = buffer_append(&s->output, encoded);
    if (error == 0)
        error = session_client_write(s, EXPECT_AUTH, "\r\n");
    if (error != 0)
        buffer_truncate(&s->output, before);
    return error;
}

int smx_client_session_auth_response(smx_client_session *s, uint64_t now, smx_slice response)
{
    if (s->state != CLIENT_STATE_CHALLENGED || s->owed != SMX_CLIENT_NONE)
        return SMX_E_STATE;
    if (response.len > AUTH_RESPONSE_MAX / 4 * 3 - 3)
        return SMX_E_INVALID;
    size_t before = buffer_length(&s->output);
    int error = session_client_append_base64(&s->output, response);
    if (error == 0)
        error = session_client_write(s, EXPECT_AUTH, "\r\n");
    if (error != 0) {
        buffer_truncate(&s->output, before);
        return error;
    }
    s->now = now;
    session_client_enter(s, CLIENT_STATE_AUTH);
    return 0;
}

/* Decodes a challenge; it is one line (RFC 4954 section 4). */
static int client_read_challenge(smx_client_session *s, const smx_reply_lines *reply,
                                 smx_slice *challenge)
{
    size_t at = 0;
    smx_slice text;
    if (reply->count != 1 || !smx_reply_next_line(reply, &at, &text))
        return SMX_E_PROTOCOL;
    buffer_clear(&s->challenge);
    int error = buffer_reserve(&s->challenge, text.len + 1);
    if (error != 0)
        return error;
    size_t len;
    if (smx_base64_decode(text, s->challenge.data, s->challenge.capacity, &len) != 0)
        return SMX_E_PROTOCOL;
    s->challenge.end = len;
    *challenge = buffer_slice(&s->challenge);
    return 0;
}

static void client_take_challenge(smx_client_session *s, const smx_reply_lines *reply,
                                  smx_client_event *event)
{
    int error;
    if (buffer_length(&s->initial_response) > 0) {
        error = client_write_response(s, buffer_slice(&s->initial_response));
        buffer_clear(&s->initial_response);
        if (error != 0)
            session_client_fail(s, error);
        return;
    }
    error = client_read_challenge(s, reply, &event->text);
    if (error != 0) {
        session_client_fail_in(s, SMX_CLIENT_PHASE_AUTH, error,
                               error == SMX_E_PROTOCOL ? reply : NULL);
        return;
    }
    event->type = SMX_CLIENT_CHALLENGE;
    session_client_enter(s, CLIENT_STATE_CHALLENGED);
}

void session_client_on_auth(smx_client_session *s, client_expect what, const smx_reply_lines *reply,
                            smx_client_event *event)
{
    (void)what;
    if (client_reply_class(reply) == 3) {
        client_take_challenge(s, reply, event);
    } else if (client_reply_class(reply) == 2) {
        s->authenticated = true;
        session_client_enter_and_tell(s, CLIENT_STATE_READY, SMX_CLIENT_READY);
    } else {
        session_client_fail_by_reply(s, reply);
    }
}
