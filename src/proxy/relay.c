/* The relay's API: what is due comes first, then the octets of the side that is fed are read as the
 * state says. The machine owns its buffers; options and slices of the owner are borrowed. */
#include <assert.h>
#include <stdlib.h>

#include "base/checked.h"
#include "proxy/relay_machine.h"

enum {
    DEFAULT_IDLE_MS = 300000,
    DEFAULT_UPSTREAM_MS = 600000, /* RFC 5321 section 4.5.3.2.6, the longest a client waits */
};

const char *relay_kind_text(relay_kind kind)
{
    static const char *const texts[] = {
#define RELAY_KIND_TEXT(name, text) text,
        RELAY_KIND_MAP(RELAY_KIND_TEXT)
#undef RELAY_KIND_TEXT
    };
    return texts[kind];
}

const smx_reply relay_replies[RELAY_REPLY_COUNT] = {
#define RELAY_REPLY_ENTRY(name, code, class_digit, subject, detail, text)                          \
    [RELAY_REPLY_##                                                                                \
        name] = {(code), {(class_digit), (subject), (detail)}, {(text), sizeof(text) - 1}},
    RELAY_REPLY_MAP(RELAY_REPLY_ENTRY)
#undef RELAY_REPLY_ENTRY
};

/* ---- life ---- */

int relay_new(const relay_options *options, uint64_t now, relay **out)
{
    relay *r = calloc(1, sizeof(*r));
    if (r == NULL)
        return SMX_E_NOMEM;
    r->options = options;
    r->now = r->client_since = r->upstream_since = now;
    r->client_tls = options->client_tls == RELAY_TLS_IMPLICIT;
    r->upstream_tls = options->upstream_tls == RELAY_TLS_IMPLICIT;
    relay_await(r, RELAY_KIND_BANNER);
    *out = r;
    return 0;
}

void relay_free(relay *r)
{
    if (r == NULL)
        return;
    buffer_free(&r->said);
    buffer_free(&r->own);
    buffer_free(&r->scratch);
    buffer_free(&r->refusal_text);
    free(r);
}

void relay_trim(relay *r)
{
    if (r->wait_count > 0 || r->asking || r->line_waits || r->state != RELAY_STATE_COMMAND)
        return;
    buffer_free(&r->said);
    buffer_free(&r->own);
    buffer_free(&r->scratch);
    buffer_free(&r->refusal_text);
}

void relay_set_xclient(relay *r, smx_slice attributes)
{
    r->xclient = attributes;
}

void relay_allow_xclient(relay *r)
{
    r->may_xclient = true;
}

void relay_set_verified(relay *r, bool verified)
{
    r->upstream_verified = verified;
}

/* ---- what the states use ---- */

void relay_enter(relay *r, relay_state state)
{
    r->state = (uint8_t)state;
    r->scanned = 0;
}

void relay_fail(relay *r)
{
    r->failed = true;
    r->close_due = true;
    relay_enter(r, RELAY_STATE_DEAF);
}

void relay_close(relay *r, const smx_reply *reply)
{
    relay_say(r, reply);
    r->close_due = true;
    relay_enter(r, RELAY_STATE_DEAF);
}

void relay_send_own(relay *r, relay_kind kind, smx_slice line)
{
    assert(buffer_length(&r->own) == 0);
    if (buffer_append(&r->own, line) != 0) {
        relay_fail(r);
        return;
    }
    r->own_kind = (uint8_t)kind;
    r->own_changed = false;
    relay_await(r, kind);
}

void relay_command(relay_event *event, relay_kind kind, smx_slice text)
{
    event->type = RELAY_COMMAND;
    event->kind = kind;
    event->text = text;
}

void relay_reset(relay *r)
{
    r->in_transaction = false;
    r->discarding = false;
    r->prdr = false;
    r->added_refused = false;
    r->chunking = false;
    r->by_chunks = false;
    r->began_upstream = false;
    r->to_encode = false;
    r->recipients = 0;
}

/* Replies of the machine's own keep their order; those that the upstream owes never come. */
void relay_cut(relay *r)
{
    uint8_t count = r->wait_count;
    r->wait_count = 0;
    for (uint8_t i = 0; i < count; i++) {
        relay_wait w = r->waits[(r->first_wait + i) % RELAY_WAITS];
        if (w.kind == RELAY_KIND_LOCAL)
            r->waits[(r->first_wait + r->wait_count++) % RELAY_WAITS] = w;
    }
    r->cut_due = !r->upstream_gone;
    r->upstream_gone = true;
    buffer_clear(&r->own);
}

bool relay_asks(const relay *r, smx_hook_phase phase)
{
    return (r->options->asks & 1U << phase) != 0;
}

bool relay_is_filtered(const relay *r)
{
    static const unsigned phases = 1U << SMX_HOOK_HEADER | 1U << SMX_HOOK_BODY | 1U << SMX_HOOK_EOM;
    return r->options->hold || (r->options->asks & phases) != 0 ||
           r->options->bare_newline == SMX_BARE_NEWLINE_NORMALIZE;
}

/* ---- feeding ---- */

static bool give_own(relay *r, relay_event *event)
{
    if (buffer_length(&r->own) == 0)
        return false;
    relay_command(event, r->own_kind, buffer_slice(&r->own));
    event->own = !r->own_changed;
    buffer_clear(&r->own);
    return true;
}

static bool give_flag(bool *due, relay_event_type type, relay_event *event)
{
    if (!*due)
        return false;
    *due = false;
    event->type = type;
    return true;
}

/* The handshake begins when all replies before it have left. */
static bool give_secure(relay *r, relay_event *event)
{
    if (r->secure_due == 0 || r->wait_count > 0)
        return false;
    event->type = RELAY_SECURE;
    event->side = (relay_side)(r->secure_due - 1);
    r->secure_due = 0;
    return true;
}

static bool give_close(relay *r, relay_event *event)
{
    return r->close_due && (r->failed || r->wait_count == 0) &&
           give_flag(&r->close_due, RELAY_CLOSE, event);
}

static bool give_due(relay *r, relay_event *event)
{
    return give_flag(&r->cut_due, RELAY_CUT_UPSTREAM, event) ||
           give_flag(&r->drop_due, RELAY_DROPPED, event) || give_own(r, event) ||
           relay_give_local(r, event) || give_flag(&r->ready_due, RELAY_BODY_READY, event) ||
           give_secure(r, event) || give_close(r, event);
}

static relay_state_fn *const states[] = {
#define RELAY_STATE_FUNCTION(name, function) relay_state_##function,
    RELAY_STATE_MAP(RELAY_STATE_FUNCTION)
#undef RELAY_STATE_FUNCTION
};

size_t relay_feed(relay *r, relay_side side, uint64_t now, smx_slice in, relay_event *event)
{
    *event = (relay_event){.type = RELAY_NONE};
    r->now = now;
    if (give_due(r, event))
        return 0;
    size_t used =
        side == RELAY_CLIENT ? states[r->state](r, in, event) : relay_upstream_octets(r, in, event);
    if (event->type == RELAY_NONE)
        (void)give_due(r, event);
    return used;
}

bool relay_is_waiting(const relay *r, relay_side side)
{
    if (side == RELAY_UPSTREAM)
        return r->asking && r->state == RELAY_STATE_LOCKED;
    return r->state == RELAY_STATE_LOCKED || r->state == RELAY_STATE_JUDGED ||
           (r->state == RELAY_STATE_COMMAND && r->line_waits);
}

/* ---- decisions ---- */

static void decide_line(relay *r, const relay_decision *d)
{
    if (!d->is_changed)
        return;
    buffer_clear(&r->scratch);
    if (buffer_append(&r->scratch, d->line) != 0)
        relay_fail(r);
}

int relay_decide(relay *r, const relay_decision *d)
{
    r->decided = (uint8_t)(1 + d->kind);
    r->own_changed = d->is_changed;
    if (d->kind == RELAY_PASS)
        decide_line(r, d);
    else if (d->kind == RELAY_REFUSE)
        relay_say(r, &d->reply);
    else if (d->kind == RELAY_DISCONNECT)
        relay_close(r, &d->reply);
    if (d->kind == RELAY_REFUSE)
        r->skip_line = true;
    return r->failed ? SMX_E_NOMEM : 0;
}

static bool is_sendable(smx_slice mailbox)
{
    smx_path path;
    return smx_mailbox_parse(mailbox, SMX_PATH_UTF8, &path) == 0;
}

int relay_add_recipient(relay *r, smx_slice mailbox)
{
    if (!is_sendable(mailbox))
        return SMX_E_INVALID;
    if (r->discarding || !relay_has_room(r) || r->upstream_gone)
        return SMX_E_STATE;
    int error = buffer_printf(&r->own, "RCPT TO:<%.*s>\r\n", (int)mailbox.len, mailbox.data);
    if (error != 0)
        return error;
    r->own_kind = RELAY_KIND_OWN_RCPT;
    r->own_changed = false;
    relay_await(r, RELAY_KIND_OWN_RCPT);
    return 0;
}

/* ---- the outside ---- */

void relay_secured(relay *r, relay_side side, uint64_t now, int error, bool verified)
{
    r->now = now;
    if (side == RELAY_UPSTREAM) {
        relay_greeting_secured(r, error, verified);
        return;
    }
    if (error != 0) {
        relay_fail(r);
        return;
    }
    /* What the client said before is forgotten (RFC 3207 section 4.2); the upstream keeps at most a
     * transaction of it. */
    r->client_tls = true;
    r->client_since = now;
    relay_enter(r, RELAY_STATE_COMMAND);
    if (r->in_transaction && !r->discarding)
        relay_send_own(r, RELAY_KIND_OWN_RSET, SMX_SLICE("RSET\r\n"));
    relay_reset(r);
}

static void upstream_ended(relay *r)
{
    if (r->upstream_gone)
        return;
    bool owes = r->wait_count > 0 || r->state != RELAY_STATE_COMMAND;
    bool silent = r->state == RELAY_STATE_RAW || r->state == RELAY_STATE_DEAF;
    relay_cut(r);
    r->cut_due = false;
    r->drop_due = r->state == RELAY_STATE_DATA_IN || r->state == RELAY_STATE_CHUNK_IN ||
                  r->state == RELAY_STATE_JUDGED;
    (void)owes;
    if (silent)
        r->close_due = true;
    else
        relay_close(r, RELAY_SAY(UPSTREAM_LOST));
}

/* A client that has sent all it wants to say may still read: what it is owed is waited for. */
static void client_ended(relay *r)
{
    bool mid_body = r->state != RELAY_STATE_COMMAND && r->state != RELAY_STATE_LOCKED &&
                    r->state != RELAY_STATE_DEAF;
    r->client_gone = true;
    r->close_due = true;
    r->failed = mid_body || r->upstream_gone;
    relay_enter(r, RELAY_STATE_DEAF);
}

void relay_ended(relay *r, relay_side side)
{
    if (side == RELAY_UPSTREAM)
        upstream_ended(r);
    else
        client_ended(r);
}

int relay_shutdown(relay *r, const smx_reply *reply)
{
    relay_cut(r);
    relay_close(r, reply);
    return r->failed ? SMX_E_NOMEM : 0;
}

/* ---- time ---- */

static bool waits_for_upstream(const relay *r)
{
    return r->wait_count > 0 && !r->upstream_gone;
}

static uint64_t or_default(uint32_t ms, uint64_t otherwise)
{
    return ms == 0 ? otherwise : ms;
}

uint64_t relay_deadline(const relay *r)
{
    const relay_options *o = r->options;
    uint64_t latest = r->client_since > r->upstream_since ? r->client_since : r->upstream_since;
    if (r->state == RELAY_STATE_JUDGED && !waits_for_upstream(r))
        return UINT64_MAX; /* the owner's time */
    if (waits_for_upstream(r))
        return latest + or_default(o->upstream_timeout_ms, DEFAULT_UPSTREAM_MS);
    return latest + or_default(o->idle_timeout_ms, DEFAULT_IDLE_MS);
}

void relay_expire(relay *r, uint64_t now)
{
    r->now = now;
    if (now < relay_deadline(r) || r->close_due)
        return;
    const smx_reply *why = waits_for_upstream(r) ? RELAY_SAY(UPSTREAM_SILENT) : RELAY_SAY(IDLE);
    relay_cut(r);
    relay_close(r, why);
}

void relay_get_info(const relay *r, relay_info *info)
{
    *info = (relay_info){
        .in_transaction = r->in_transaction,
        .receiving = r->state >= RELAY_STATE_DATA && r->state <= RELAY_STATE_CHUNK_REST,
        .authenticated = r->authenticated,
        .client_tls = r->client_tls,
        .upstream_tls = r->upstream_tls,
        .is_raw = r->state == RELAY_STATE_RAW,
        .outstanding = r->wait_count,
    };
}
