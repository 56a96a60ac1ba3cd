/* AUTH: an exchange of the machine's octets with a mechanism, its success and its failures.
 *
 * A failure is told after a time that grows with the failures of the session, counted from the
 * attempt, so that neither guessing is fast nor the time tells whether the user exists. No thread
 * sleeps for it: it is a deadline. Secrets are never logged. */
#include <stdlib.h>

#include "server/internal.h"
#include "server/replies.h"

enum { MAX_FAILURES = 3 };

void peer_set_user(peer *p, const smx_user *user)
{
    p->guest.view.account = user;
    p->guest.view.user = user == NULL ? (smx_slice){0} : user->name;
    p->guest.view.authenticated = user != NULL;
}

void peer_auth_drop(peer *p)
{
    if (p->exchange == NULL)
        return;
    if (p->exchange->checking)
        (void)map_remove_number(&p->server->checks, p->ticket);
    sasl_server_free(p->exchange->sasl);
    free(p->exchange);
    p->exchange = NULL;
    p->auth_due = UINT64_MAX;
}

/* The exchange ends without a success that is told, or counted, as such. */
static void auth_end(peer *p, const smx_reply *reply)
{
    peer_auth_drop(p);
    peer_answer(p, reply);
}

static void auth_log(const peer *p, smx_log_level level, const char *event)
{
    const smx_log_field user = {"user", sasl_server_user(p->exchange->sasl)};
    front_log(&p->server->front, level, event, &p->guest, &user, 1);
}

void peer_auth_fail(peer *p)
{
    uint64_t delay = (uint64_t)p->server->auth_delay_ms * ++p->auth_failures;
    front_count(&p->listener->entrance, auth_failures);
    auth_log(p, SMX_LOG_WARN, "auth_failed");
    p->auth_due = p->exchange->started + delay;
}

void peer_auth_due(peer *p)
{
    p->auth_due = UINT64_MAX;
    auth_end(p,
             p->auth_failures < MAX_FAILURES ? PEER_REPLY(AUTH_WRONG) : PEER_REPLY(AUTH_TOO_MANY));
}

/* The client has proved to be a user; hooks may object. */
void peer_auth_succeed(peer *p)
{
    smx_slice name = sasl_server_user(p->exchange->sasl);
    if (server_find_user(p->server, name) == NULL)
        peer_auth_fail(p);
    else
        peer_ask(p, SMX_HOOK_AUTH, name);
}

void peer_auth_decided(peer *p, const smx_verdict *verdict)
{
    (void)verdict;
    peer_set_user(p, server_find_user(p->server, sasl_server_user(p->exchange->sasl)));
    front_count(&p->listener->entrance, auth_successes);
    auth_log(p, SMX_LOG_INFO, "auth");
    auth_end(p, PEER_REPLY(AUTHENTICATED));
}

/* ---- the exchange ---- */

static void auth_challenge(peer *p, const buffer *output)
{
    smx_ticket ticket = p->ticket;
    p->ticket = 0;
    if (smx_server_session_challenge(p->machine, ticket, buffer_slice(output)) == SMX_E_NOMEM)
        peer_auth_drop(p);
}

static void auth_success(peer *p, const buffer *output)
{
    if (buffer_length(output) == 0) {
        peer_auth_succeed(p);
        return;
    }
    /* What the server has still to prove goes before the success (RFC 4954 section 4). */
    p->exchange->proved = true;
    auth_challenge(p, output);
}

static void auth_password(peer *p, const buffer *output)
{
    (void)output;
    peer_password_check(p);
}

static void auth_failure(peer *p, const buffer *output)
{
    (void)output;
    peer_auth_fail(p);
}

static void auth_malformed(peer *p, const buffer *output)
{
    (void)output;
    auth_end(p, PEER_REPLY(AUTH_MALFORMED));
}

static void auth_nomem(peer *p, const buffer *output)
{
    (void)output;
    auth_end(p, PEER_REPLY(AUTH_LATER));
}

static void (*const auth_steps[])(peer *p, const buffer *output) = {
    [SASL_CHALLENGE] = auth_challenge, [SASL_PASSWORD] = auth_password,
    [SASL_SUCCESS] = auth_success,     [SASL_FAILURE] = auth_failure,
    [SASL_MALFORMED] = auth_malformed, [SASL_NOMEM] = auth_nomem,
};

static void auth_step(peer *p, bool has_input, smx_slice input)
{
    buffer output = {0};
    p->exchange->started = loop_now(p->server->front.loop);
    sasl_step step = sasl_server_step(p->exchange->sasl, has_input, input, &output);
    auth_steps[step](p, &output);
    buffer_free(&output);
}

/* For SCRAM: the user's stored secret. */
static bool auth_secret(void *arg, smx_slice name, smx_slice *secret)
{
    const peer *p = arg;
    const smx_user *user = server_find_user(p->server, name);
    if (user == NULL)
        return false;
    password_kind kind = password_kind_of(user->secret);
    if (kind != PASSWORD_CLEAR && kind != PASSWORD_SCRAM)
        return false;
    *secret = user->secret;
    return true;
}

void peer_auth_begin(peer *p, const smx_server_event *event)
{
    peer_auth_drop(p);
    p->exchange = calloc(1, sizeof(*p->exchange));
    if (p->exchange == NULL) {
        peer_answer(p, PEER_REPLY(AUTH_LATER));
        return;
    }
    int error = sasl_server_new(event->mechanism, auth_secret, p, &p->exchange->sasl);
    if (error != 0)
        auth_end(p,
                 error == SMX_E_UNSUPPORTED ? PEER_REPLY(AUTH_MECHANISM) : PEER_REPLY(AUTH_LATER));
    else
        auth_step(p, event->has_text, event->text);
}

void peer_auth_response(peer *p, smx_slice text)
{
    if (p->exchange == NULL)
        peer_answer(p, PEER_REPLY(AUTH_LATER));
    else if (p->exchange->proved && text.len == 0)
        peer_auth_succeed(p);
    else if (p->exchange->proved)
        auth_end(p, PEER_REPLY(AUTH_MALFORMED));
    else
        auth_step(p, true, text);
}
