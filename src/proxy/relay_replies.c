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
    event->text = reply->raw;
}

static void is_own(const relay_wait *w, const smx_reply_lines *reply, relay_event *event)
{
    event->type = RELAY_OWN_REPLY;
    event->kind = (relay_kind)w->kind;
    event->code = reply->code;
    event->text = reply->raw;
}

/* A reply that asks for more, where nobody knows what: from here on the two sides would not mean the
 * same octets. */
static void broken(relay *r)
{
    bool receiving = r->state == RELAY_STATE_DATA_IN || r->state == RELAY_STATE_CHUNK_IN ||
                     r->state == RELAY_STATE_JUDGED;
    relay_cut(r);
    r->drop_due = receiving;
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
    r->esmtp = w->kind == RELAY_KIND_HELLO;
    r->offered = 0;
    if (!r->esmtp)
        return;
    smx_capabilities capabilities;
    smx_capabilities_parse(reply, &capabilities);
    r->offered = capabilities.extensions;
    event->text = relay_filter_hello(r, reply);
    if (event->text.len == 0)
        relay_fail(r);
}

static void reply_xclient(relay *r, relay_wait *w, const smx_reply_lines *reply, relay_event *event)
{
    relay_reply_passes(w, reply, event);
    if (reply->code == 220) {
        relay_reset(r);
        r->esmtp = false;
    }
}

static void reply_starttls(relay *r, relay_wait *w, const smx_reply_lines *reply,
                           relay_event *event)
{
    relay_reply_passes(w, reply, event);
    relay_enter(r, reply->code == 220 ? RELAY_STATE_RAW : RELAY_STATE_COMMAND);
}

/* 235: the owner is asked before the client hears it. */
static void reply_auth(relay *r, relay_wait *w, const smx_reply_lines *reply, relay_event *event)
{
    relay_reply_passes(w, reply, event);
    if (reply->code == 235)
        r->authenticated = true;
    relay_enter(r, reply->code == 334 ? RELAY_STATE_DIALOGUE : RELAY_STATE_COMMAND);
}

static void reply_quit(relay *r, relay_wait *w, const smx_reply_lines *reply, relay_event *event)
{
    relay_reply_passes(w, reply, event);
    r->close_due = true;
}

/* ---- the transaction ---- */

static void reply_mail(relay *r, relay_wait *w, const smx_reply_lines *reply, relay_event *event)
{
    bool prdr = r->prdr;
    relay_reply_passes(w, reply, event);
    if (!is_yes(reply))
        return;
    relay_reset(r);
    r->in_transaction = true;
    r->prdr = prdr;
}

static void reply_rcpt(relay *r, relay_wait *w, const smx_reply_lines *reply, relay_event *event)
{
    relay_reply_passes(w, reply, event);
    if (is_yes(reply) && r->recipients < UINT16_MAX)
        r->recipients++;
}

static void reply_rset(relay *r, relay_wait *w, const smx_reply_lines *reply, relay_event *event)
{
    relay_reply_passes(w, reply, event);
    if (is_yes(reply))
        relay_reset(r);
}

static void reply_data(relay *r, relay_wait *w, const smx_reply_lines *reply, relay_event *event)
{
    relay_reply_passes(w, reply, event);
    if (reply->code == 354)
        relay_data_taken(r);
    else
        relay_enter(r, RELAY_STATE_COMMAND);
}

/* PRDR: 353, a reply for each recipient, and one for all (draft-hall-prdr section 3). A reply may come
 * before the body has ended. */
static void reply_message(relay *r, relay_wait *w, const smx_reply_lines *reply, relay_event *event)
{
    relay_reply_passes(w, reply, event);
    if (reply->code == 353)
        relay_await_next(r, w, (uint16_t)(r->recipients + 1));
    else if (w->number > 1)
        relay_await_next(r, w, (uint16_t)(w->number - 1));
    else if (r->state != RELAY_STATE_DATA && r->state != RELAY_STATE_DATA_IN)
        relay_reset(r);
}

static void reply_chunk(relay *r, relay_wait *w, const smx_reply_lines *reply, relay_event *event)
{
    relay_reply_passes(w, reply, event);
    if (!is_yes(reply))
        r->chunking = false;
}

/* ---- the machine's own commands ---- */

static void reply_own(relay *r, relay_wait *w, const smx_reply_lines *reply, relay_event *event)
{
    (void)r;
    is_own(w, reply, event);
}

static void reply_greeting(relay *r, relay_wait *w, const smx_reply_lines *reply,
                           relay_event *event)
{
    is_own(w, reply, event);
    relay_greeting_reply(r, w, reply, event);
}

static void reply_own_rcpt(relay *r, relay_wait *w, const smx_reply_lines *reply,
                           relay_event *event)
{
    is_own(w, reply, event);
    if (is_yes(reply))
        r->recipients++;
    else
        r->added_refused = true;
}

/* 354, and the held message may go; otherwise this is the reply to the message. */
static void reply_own_data(relay *r, relay_wait *w, const smx_reply_lines *reply,
                           relay_event *event)
{
    if (reply->code == 354) {
        is_own(w, reply, event);
        r->to_encode = r->ready_due = r->began_upstream = true;
        return;
    }
    w->kind = RELAY_KIND_MESSAGE;
    relay_reply_passes(w, reply, event);
    r->drop_due = true;
    relay_reset(r);
    relay_enter(r, RELAY_STATE_COMMAND);
}

/* The first refusal of a part stands for the client's chunk. */
static void reply_own_chunk(relay *r, relay_wait *w, const smx_reply_lines *reply,
                            relay_event *event)
{
    is_own(w, reply, event);
    if (!is_yes(reply))
        r->chunk_refused = true;
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
    [RELAY_KIND_LAST_CHUNK] = reply_message,
    [RELAY_KIND_RSET] = reply_rset,
    [RELAY_KIND_QUIT] = reply_quit,
    [RELAY_KIND_XCLIENT] = reply_xclient,
    [RELAY_KIND_OTHER] = reply_plain,
    [RELAY_KIND_UNKNOWN] = reply_plain,
    [RELAY_KIND_OWN_HELLO] = reply_greeting,
    [RELAY_KIND_OWN_STARTTLS] = reply_greeting,
    [RELAY_KIND_OWN_XCLIENT] = reply_greeting,
    [RELAY_KIND_OWN_RSET] = reply_own,
    [RELAY_KIND_OWN_RCPT] = reply_own_rcpt,
    [RELAY_KIND_OWN_DATA] = reply_own_data,
    [RELAY_KIND_OWN_CHUNK] = reply_own_chunk,
};

/* 3xx asks for octets: only where the machine knows which (an exception to transparency). */
static bool is_understood(const relay *r, const relay_wait *w, uint16_t code)
{
    if (code / 100 != 3)
        return code / 100 != 1;
    return (code == 354 && (w->kind == RELAY_KIND_DATA || w->kind == RELAY_KIND_OWN_DATA)) ||
           (code == 334 && w->kind == RELAY_KIND_AUTH) ||
           (code == 353 && w->kind >= RELAY_KIND_MESSAGE && w->kind <= RELAY_KIND_LAST_CHUNK &&
            r->prdr);
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

static void take_reply(relay *r, const smx_reply_lines *reply, relay_event *event)
{
    relay_wait w = {.kind = RELAY_KIND_OTHER};
    if (r->wait_count == 0) {
        unasked(r, reply, event);
        return;
    }
    w = *relay_head(r);
    if (!is_understood(r, &w, reply->code)) {
        broken(r);
        return;
    }
    relay_took(r);
    meanings[w.kind](r, &w, reply, event);
}

static bool is_asked_about_user(const relay *r, const smx_reply_lines *reply)
{
    const relay_wait *w = &r->waits[r->first_wait];
    return r->wait_count > 0 && w->kind == RELAY_KIND_AUTH && reply->code == 235 &&
           relay_asks(r, SMX_HOOK_AUTH) && r->decided == 0;
}

/* The user has proved who he is, but the owner does not want him: the upstream believes in him, so it
 * is given up. */
static bool user_is_refused(relay *r)
{
    uint8_t decided = r->decided;
    r->decided = 0;
    r->asking = false;
    if (decided == 0 || decided == 1 + RELAY_PASS)
        return false;
    r->skip_line = false;
    relay_cut(r);
    if (r->state != RELAY_STATE_DEAF)
        relay_enter(r, RELAY_STATE_ORPHAN);
    return true;
}

size_t relay_upstream_octets(relay *r, smx_slice in, relay_event *event)
{
    if (r->state == RELAY_STATE_RAW) {
        event->type = in.len == 0 ? RELAY_NONE : RELAY_OCTETS;
        event->side = RELAY_CLIENT;
        event->text = in;
        return in.len;
    }
    if (r->upstream_gone || in.len == 0)
        return in.len;
    smx_reply_lines reply;
    size_t used = 0;
    int error = smx_reply_parse(&r->parser, in, &reply, &used);
    if (error == SMX_E_AGAIN)
        return 0;
    r->parser = (smx_reply_parser){0};
    r->upstream_since = r->now;
    if (error != 0) {
        broken(r);
        return in.len;
    }
    if (is_asked_about_user(r, &reply)) {
        event->type = r->asking ? RELAY_NONE : RELAY_ASK;
        event->phase = SMX_HOOK_AUTH;
        event->kind = RELAY_KIND_AUTH;
        event->text = reply.raw;
        r->asking = true;
        return 0;
    }
    if (reply.code == 235 && relay_asks(r, SMX_HOOK_AUTH) && user_is_refused(r))
        return in.len;
    take_reply(r, &reply, event);
    return used;
}
