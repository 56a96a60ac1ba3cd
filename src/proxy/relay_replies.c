/* Replies of the upstream: what each means is told by what it answers, one function for each kind. */
#include <assert.h>

#include "proxy/relay_machine.h"

static bool is_yes(const smx_reply_lines *reply)
{
    return reply->code / 100 == 2;
}

void relay_reply_passes(const relay_wait *w, const smx_reply_lines *reply, relay_event *event)
{
    event->type = RELAY_REPLY;
    event->kind = (relay_kind)w->kind;
    event->code = reply->code;
    event->lines = reply->count;
    event->enhanced = reply->enhanced;
    event->text = reply->raw;
}

static void is_own(const relay_wait *w, const smx_reply_lines *reply, relay_event *event)
{
    event->type = RELAY_OWN_REPLY;
    event->kind = (relay_kind)w->kind;
    event->code = reply->code;
    event->text = reply->raw;
}

/* From here on the two sides would not mean the same octets. */
static void broken(relay *r)
{
    relay_drop(r);
    relay_cut(r);
    relay_close(r, RELAY_SAY(UPSTREAM_BROKEN));
}

typedef void relay_reply_fn(relay *r, relay_wait *w, const smx_reply_lines *reply,
                            relay_event *event);

/* ---- the session ---- */

static void reply_plain(relay *r, relay_wait *w, const smx_reply_lines *reply, relay_event *event)
{
    (void)r;
    relay_reply_passes(w, reply, event);
}

static void reply_hello(relay *r, relay_wait *w, const smx_reply_lines *reply, relay_event *event)
{
    relay_reply_passes(w, reply, event);
    if (!is_yes(reply))
        return;
    relay_reset(r);
    r->offered = 0;
    if (w->kind == RELAY_KIND_HELLO)
        relay_pass_hello(r, reply, event);
}

static void reply_xclient(relay *r, relay_wait *w, const smx_reply_lines *reply, relay_event *event)
{
    relay_reply_passes(w, reply, event);
    if (reply->code != 220)
        return;
    relay_reset(r);
    r->authenticated = false;
    r->offered = 0;
}

/* Octets behind the 220 would be taken for the first of the upstream in TLS (ATTACKS 13). */
static void reply_starttls(relay *r, relay_wait *w, const smx_reply_lines *reply,
                           relay_event *event)
{
    relay_reply_passes(w, reply, event);
    r->raw_due = reply->code == 220;
    relay_enter(r, reply->code == 220 ? RELAY_STATE_RAW : RELAY_STATE_COMMAND);
}

static void reply_auth(relay *r, relay_wait *w, const smx_reply_lines *reply, relay_event *event)
{
    relay_reply_passes(w, reply, event);
    r->asking = false;
    r->decided = 0;
    r->authenticated = r->authenticated || is_yes(reply);
    r->auth_failed = reply->code >= 400;
    relay_enter(r, reply->code == 334 ? RELAY_STATE_DIALOGUE : RELAY_STATE_COMMAND);
    if (reply->code == 334 && r->client_gone)
        relay_cut(r);
}

/* A QUIT that was refused, for its argument perhaps, ends nothing. */
static void reply_quit(relay *r, relay_wait *w, const smx_reply_lines *reply, relay_event *event)
{
    relay_reply_passes(w, reply, event);
    r->has_quit = is_yes(reply) || reply->code == 421;
    if (r->has_quit)
        relay_hang_up(r);
    else
        relay_enter(r, RELAY_STATE_COMMAND);
}

/* ---- the transaction ---- */

static void reply_mail(relay *r, relay_wait *w, const smx_reply_lines *reply, relay_event *event)
{
    relay_reply_passes(w, reply, event);
    if (!is_yes(reply))
        return;
    relay_reset(r);
    r->in_transaction = true;
    r->prdr = (w->flags & RELAY_WAIT_PRDR) != 0;
    r->binary = (w->flags & RELAY_WAIT_BINARY) != 0;
}

static void reply_rcpt(relay *r, relay_wait *w, const smx_reply_lines *reply, relay_event *event)
{
    relay_reply_passes(w, reply, event);
    if (is_yes(reply))
        relay_took_recipient(r, RELAY_BOTH);
}

static void reply_rset(relay *r, relay_wait *w, const smx_reply_lines *reply, relay_event *event)
{
    relay_reply_passes(w, reply, event);
    if (is_yes(reply))
        relay_reset(r);
}

/* A client that has gone sends no message; a body without an end is not to look like one. */
static void reply_data(relay *r, relay_wait *w, const smx_reply_lines *reply, relay_event *event)
{
    relay_reply_passes(w, reply, event);
    if (reply->code != 354)
        relay_enter(r, RELAY_STATE_COMMAND);
    else if (r->state == RELAY_STATE_DEAF)
        relay_cut(r);
    else
        relay_data_taken(r, true);
}

/* At the first of them all recipients are known. */
static void count_replies(const relay *r, relay_wait *w)
{
    if (w->number == RELAY_EACH)
        w->number = relay_upstream_replies(r);
}

/* What a refused chunk leaves of the transaction is not known before RSET (RFC 3030 section 2): hooks
 * were told that it is over. */
static void leave_no_transaction(relay *r, const relay_wait *w, const smx_reply_lines *reply)
{
    if (w->kind == RELAY_KIND_LAST_CHUNK && !is_yes(reply) && relay_is_filtered(r))
        relay_send_own(r, RELAY_KIND_OWN_RSET, SMX_SLICE("RSET\r\n"));
}

/* PRDR: 353, a reply for each recipient, and one for all (draft-hall-prdr section 3). A reply may come
 * before the body has ended. */
static void reply_message(relay *r, relay_wait *w, const smx_reply_lines *reply, relay_event *event)
{
    count_replies(r, w);
    if (relay_hides_for_added(r, w))
        is_own(w, reply, event);
    else
        relay_reply_passes(w, reply, event);
    if (reply->code == 353) {
        w->flags = RELAY_WAIT_PRDR;
        relay_await_next(r, w, (uint16_t)(relay_upstream_recipients(r) + 1));
    } else if (w->number > 1) {
        relay_await_next(r, w, (uint16_t)(w->number - 1));
    } else {
        relay_give_the_rest(r, w);
        leave_no_transaction(r, w, reply);
    }
}

/* A message of which a chunk was refused is nobody's (RFC 3030 section 2): to the chunks behind it there
 * is one reply each, the last one included. */
static void reply_chunk(relay *r, relay_wait *w, const smx_reply_lines *reply, relay_event *event)
{
    relay_reply_passes(w, reply, event);
    if (is_yes(reply))
        return;
    r->recipients = 0;
    r->answered = 0;
    buffer_clear(&r->taken);
}

/* Of a message that went in parts of our own the client hears what was said to the first one refused. */
static void reply_last_chunk(relay *r, relay_wait *w, const smx_reply_lines *reply,
                             relay_event *event)
{
    if (!r->part_refused) {
        reply_message(r, w, reply, event);
        return;
    }
    is_own(w, reply, event);
    count_replies(r, w);
    if (w->number > 1) {
        relay_await_next(r, w, (uint16_t)(w->number - 1));
        return;
    }
    relay_say_octets(r, buffer_slice(&r->refusal), RELAY_WAIT_END, RELAY_EACH);
    relay_send_own(r, RELAY_KIND_OWN_RSET, SMX_SLICE("RSET\r\n"));
}

/* ---- the machine's own commands ---- */

static void reply_greeting(relay *r, relay_wait *w, const smx_reply_lines *reply,
                           relay_event *event)
{
    is_own(w, reply, event);
    relay_greeting_reply(r, w, reply, event);
}

/* Those who still count are recipients of a message that nobody gets. */
static void reply_own_rset(relay *r, relay_wait *w, const smx_reply_lines *reply,
                           relay_event *event)
{
    bool count = r->discarding || relay_awaits(r, RELAY_KIND_LOCAL, RELAY_WAIT_END);
    is_own(w, reply, event);
    if (count)
        r->in_transaction = false;
    else
        relay_reset(r);
}

static void reply_own_rcpt(relay *r, relay_wait *w, const smx_reply_lines *reply,
                           relay_event *event)
{
    is_own(w, reply, event);
    if (is_yes(reply))
        relay_took_recipient(r, RELAY_ADDED);
    else
        r->added_refused = true;
}

/* 354, and the held message may go; otherwise this is the reply to the message, whose transaction the
 * client takes for ended. */
static void reply_own_data(relay *r, relay_wait *w, const smx_reply_lines *reply,
                           relay_event *event)
{
    uint16_t count = relay_final_replies(r);
    if (reply->code == 354) {
        is_own(w, reply, event);
        r->body.encodes = r->ready_due = true;
        relay_await_many(r, RELAY_KIND_MESSAGE, relay_upstream_replies(r));
        return;
    }
    w->kind = RELAY_KIND_MESSAGE;
    relay_reply_passes(w, reply, event);
    relay_say_octets(r, reply->raw, 0, (uint16_t)(count - 1));
    relay_drop(r);
    relay_enter(r, RELAY_STATE_COMMAND);
    relay_send_own(r, RELAY_KIND_OWN_RSET, SMX_SLICE("RSET\r\n"));
}

static void reply_own_chunk(relay *r, relay_wait *w, const smx_reply_lines *reply,
                            relay_event *event)
{
    is_own(w, reply, event);
    if (!is_yes(reply))
        relay_refuse_part(r, reply->raw);
}

static relay_reply_fn *const meanings[RELAY_KIND_COUNT] = {
    [RELAY_KIND_BANNER] = reply_plain,
    [RELAY_KIND_HELLO] = reply_hello,
    [RELAY_KIND_HELO] = reply_hello,
    [RELAY_KIND_STARTTLS] = reply_starttls,
    [RELAY_KIND_AUTH] = reply_auth,
    [RELAY_KIND_MAIL] = reply_mail,
    [RELAY_KIND_RCPT] = reply_rcpt,
    [RELAY_KIND_DATA] = reply_data,
    [RELAY_KIND_MESSAGE] = reply_message,
    [RELAY_KIND_CHUNK] = reply_chunk,
    [RELAY_KIND_LAST_CHUNK] = reply_last_chunk,
    [RELAY_KIND_RSET] = reply_rset,
    [RELAY_KIND_QUIT] = reply_quit,
    [RELAY_KIND_XCLIENT] = reply_xclient,
    [RELAY_KIND_OTHER] = reply_plain,
    [RELAY_KIND_UNKNOWN] = reply_plain,
    [RELAY_KIND_OWN_HELLO] = reply_greeting,
    [RELAY_KIND_OWN_STARTTLS] = reply_greeting,
    [RELAY_KIND_OWN_XCLIENT] = reply_greeting,
    [RELAY_KIND_OWN_RSET] = reply_own_rset,
    [RELAY_KIND_OWN_RCPT] = reply_own_rcpt,
    [RELAY_KIND_OWN_DATA] = reply_own_data,
    [RELAY_KIND_OWN_CHUNK] = reply_own_chunk,
};

/* 3xx asks for octets: only where the machine knows which (an exception to transparency). */
static bool is_understood(const relay *r, const relay_wait *w, uint16_t code)
{
    bool final = w->kind == RELAY_KIND_MESSAGE || w->kind == RELAY_KIND_LAST_CHUNK;
    if (code / 100 != 3)
        return true;
    return (code == 354 && (w->kind == RELAY_KIND_DATA || w->kind == RELAY_KIND_OWN_DATA)) ||
           (code == 334 && w->kind == RELAY_KIND_AUTH) || (code == 353 && final && r->prdr);
}

/* Nobody asked: a server that closes may say so at any time (RFC 5321 section 3.8). */
static void unasked(relay *r, const smx_reply_lines *reply, relay_event *event)
{
    const relay_wait nothing = {.kind = RELAY_KIND_OTHER};
    if (reply->code == 421)
        relay_reply_passes(&nothing, reply, event);
    else
        broken(r);
}

static bool begins_tls(const relay_wait *w, uint16_t code)
{
    return code == 220 && (w->kind == RELAY_KIND_STARTTLS || w->kind == RELAY_KIND_OWN_STARTTLS);
}

static void take_reply(relay *r, const smx_reply_lines *reply, bool has_more, relay_event *event)
{
    r->goodbye = reply->code == 421;
    if (r->wait_count == 0) {
        unasked(r, reply, event);
        return;
    }
    relay_wait w = *relay_head(r);
    if (!is_understood(r, &w, reply->code) || (has_more && begins_tls(&w, reply->code))) {
        broken(r);
        return;
    }
    relay_took(r);
    meanings[w.kind](r, &w, reply, event);
}

/* Yes: the owner is asked before the client hears it. */
static bool asks_about_user(relay *r, const smx_reply_lines *reply, relay_event *event)
{
    const relay_wait *w = relay_head(r);
    if (w == NULL || w->kind != RELAY_KIND_AUTH || !is_yes(reply) || r->client_gone ||
        !relay_asks(r, SMX_HOOK_AUTH) || r->decided != 0)
        return false;
    event->type = r->asking ? RELAY_NONE : RELAY_ASK;
    event->phase = SMX_HOOK_AUTH;
    event->kind = RELAY_KIND_AUTH;
    event->text = reply->raw;
    r->asking = true;
    return true;
}

static size_t pass_raw(relay *r, smx_slice in, relay_event *event)
{
    if (in.len == 0)
        return 0;
    r->upstream_since = r->now;
    event->type = RELAY_OCTETS;
    event->side = RELAY_CLIENT;
    event->text = in;
    return in.len;
}

size_t relay_upstream_octets(relay *r, smx_slice in, relay_event *event)
{
    if (r->state == RELAY_STATE_RAW)
        return pass_raw(r, in, event);
    if (r->upstream_gone || in.len == 0)
        return in.len;
    if (r->greeting == RELAY_GREETING_TLS) { /* in clear text, between 220 and the handshake */
        broken(r);
        return in.len;
    }
    smx_reply_lines reply;
    size_t used = 0;
    int error = smx_reply_parse(&r->parser, in, &reply, &used);
    if (error == SMX_E_AGAIN)
        return 0;
    r->parser = (smx_reply_parser){0};
    if (error != 0) {
        broken(r);
        return in.len;
    }
    if (asks_about_user(r, &reply, event) || relay_gives_for_deleted(r, event))
        return 0;
    r->upstream_since = r->now;
    take_reply(r, &reply, in.len > used, event);
    return used;
}
