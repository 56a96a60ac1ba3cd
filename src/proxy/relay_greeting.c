/* Our own greeting of the upstream, before the client's first command goes on: EHLO with the client's
 * name, STARTTLS, XCLIENT. Where nothing comes of it, its EHLO reply is the client's: the upstream then
 * hears the client's EHLO once, as it came. */
#include "proxy/relay_machine.h"

static bool wants_tls(const relay *r)
{
    relay_tls tls = r->options->upstream_tls;
    return (tls == RELAY_TLS_OFFERED || tls == RELAY_TLS_REQUIRED) && !r->upstream_tls;
}

/* A client that goes at once needs no greeting. */
static bool is_needed(const relay *r, const smx_command *command)
{
    return (wants_tls(r) || r->xclient.len > 0) && command->verb != SMX_VERB_QUIT;
}

static bool is_hello(const smx_command *command)
{
    return command->verb == SMX_VERB_EHLO || command->verb == SMX_VERB_LHLO;
}

/* Our EHLO, or the client's own line where it is one: with it go its octets. */
static int send_hello(relay *r, const smx_command *command, smx_slice line)
{
    const relay_own own = {RELAY_KIND_OWN_HELLO, .own = true, .waits = true};
    smx_slice name = command->verb == SMX_VERB_HELO ? command->argument : r->options->hostname;
    r->own_hello = is_hello(command);
    r->is_named = r->own_hello || command->verb == SMX_VERB_HELO;
    r->greeting = RELAY_GREETING_HELLO;
    if (is_hello(command))
        return relay_queue(r, own, line);
    buffer_clear(&r->scratch);
    int error = buffer_append_text(&r->scratch, r->options->lmtp ? "LHLO " : "EHLO ");
    if (error == 0)
        error = buffer_append(&r->scratch, name);
    if (error == 0)
        error = buffer_append_text(&r->scratch, "\r\n");
    return error == 0 ? relay_queue(r, own, buffer_slice(&r->scratch)) : error;
}

bool relay_greet(relay *r, const smx_command *command, smx_slice line)
{
    if (r->greeting == RELAY_GREETING_DONE ||
        (r->greeting == RELAY_GREETING_NONE && !is_needed(r, command)))
        return true;
    if (r->greeting == RELAY_GREETING_NONE && r->wait_count == 0 &&
        send_hello(r, command, line) != 0)
        relay_fail(r);
    return false;
}

static void give_up(relay *r, const smx_reply *why)
{
    relay_cut(r);
    relay_close(r, why);
}

/* Goes on with the client's command. */
static void is_done(relay *r)
{
    r->greeting = RELAY_GREETING_DONE;
}

static void send_xclient(relay *r)
{
    buffer_clear(&r->scratch);
    if (buffer_printf(&r->scratch, "XCLIENT %.*s\r\n", (int)r->xclient.len, r->xclient.data) != 0)
        relay_fail(r);
    else
        relay_send_own(r, RELAY_KIND_OWN_XCLIENT, buffer_slice(&r->scratch));
    r->xclient = (smx_slice){0};
}

/* The client's EHLO has this reply, as it came from the upstream. */
static void pass_hello(relay *r, const smx_reply_lines *reply, relay_event *event)
{
    event->type = RELAY_REPLY;
    event->kind = RELAY_KIND_HELLO;
    r->skip_line = true;
    r->greeting = reply->code / 100 == 2 ? RELAY_GREETING_DONE : RELAY_GREETING_NONE;
    if (reply->code / 100 == 2)
        relay_pass_hello(r, reply, event);
}

static void hello_refused(relay *r, const smx_reply_lines *reply, relay_event *event)
{
    if (r->own_hello)
        pass_hello(r, reply, event);
    else if (r->options->upstream_tls == RELAY_TLS_REQUIRED && !r->upstream_tls)
        give_up(r, RELAY_SAY(UPSTREAM_CLEAR));
    else
        is_done(r);
}

static void hello_taken(relay *r, const smx_reply_lines *reply, relay_event *event)
{
    smx_capabilities capabilities;
    smx_capabilities_parse(reply, &capabilities);
    r->offered = capabilities.extensions;
    if (wants_tls(r) && (r->offered & SMX_EXT_STARTTLS) != 0)
        relay_send_own(r, RELAY_KIND_OWN_STARTTLS, SMX_SLICE("STARTTLS\r\n"));
    else if (wants_tls(r) && r->options->upstream_tls == RELAY_TLS_REQUIRED)
        give_up(r, RELAY_SAY(UPSTREAM_CLEAR));
    else if (r->xclient.len > 0 && (r->offered & SMX_EXT_XCLIENT) != 0)
        send_xclient(r);
    else if (r->own_hello)
        pass_hello(r, reply, event);
    else
        is_done(r);
}

/* Clear text stays only where TLS is not required, and where no handshake has failed. */
static void starttls_answered(relay *r, const smx_reply_lines *reply)
{
    if (reply->code == 220) {
        r->greeting = RELAY_GREETING_TLS;
        r->secure_due = RELAY_UPSTREAM + 1;
    } else if (r->options->upstream_tls == RELAY_TLS_REQUIRED) {
        give_up(r, RELAY_SAY(UPSTREAM_CLEAR));
    } else if (r->xclient.len > 0 && (r->offered & SMX_EXT_XCLIENT) != 0) {
        send_xclient(r);
    } else {
        is_done(r);
    }
}

void relay_greeting_reply(relay *r, const relay_wait *w, const smx_reply_lines *reply,
                          relay_event *event)
{
    if (w->kind == RELAY_KIND_OWN_STARTTLS)
        starttls_answered(r, reply);
    else if (w->kind == RELAY_KIND_OWN_XCLIENT)
        is_done(r);
    else if (reply->code / 100 == 2)
        hello_taken(r, reply, event);
    else
        hello_refused(r, reply, event);
}

/* Behind TLS the client's EHLO goes on as the first one; where XCLIENT is due it is ours once more. */
void relay_greeting_secured(relay *r, int error, bool verified)
{
    r->greeting = RELAY_GREETING_DONE;
    if (error != 0) {
        give_up(r, RELAY_SAY(UPSTREAM_TLS));
        return;
    }
    r->upstream_tls = true;
    r->upstream_verified = verified;
    r->upstream_since = r->now;
    r->offered = 0;
    if (r->xclient.len > 0)
        r->greeting = RELAY_GREETING_NONE;
}
