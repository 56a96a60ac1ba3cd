/* The relay's API: what is due comes first, then the octets of the side that is fed are read as the
 * state says. The machine owns its buffers; options and slices of the owner are borrowed. */
#include <assert.h>
#include <stdlib.h>

#include "base/checked.h"
#include "base/fresh.h"
#include "proxy/relay_machine.h"

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

/* Behind a port that is in TLS from its first octet nothing is read at all. */
static bool is_sealed(const relay_options *o)
{
    return o->client_tls == RELAY_TLS_PASSED && o->upstream_tls == RELAY_TLS_IMPLICIT;
}

int relay_new(const relay_options *options, uint64_t now, relay **out)
{
    relay *r = fresh(relay);
    if (r == NULL)
        return SMX_E_NOMEM;
    r->options = options;
    r->now = r->client_since = r->upstream_since = now;
    r->stalled_since = UINT64_MAX;
    r->client_tls = options->client_tls == RELAY_TLS_IMPLICIT;
    r->upstream_tls = options->upstream_tls == RELAY_TLS_IMPLICIT;
    if (is_sealed(options)) {
        r->raw_due = true;
        relay_enter(r, RELAY_STATE_RAW);
    } else {
        relay_await(r, RELAY_KIND_BANNER, 0);
    }
    *out = r;
    return 0;
}

static void free_buffers(relay *r)
{
    buffer_free(&r->said);
    buffer_free(&r->own);
    buffer_free(&r->line);
    buffer_free(&r->scratch);
    buffer_free(&r->refusal);
    buffer_free(&r->taken);
}

void relay_free(relay *r)
{
    if (r == NULL)
        return;
    free_buffers(r);
    free(r);
}

void relay_trim(relay *r)
{
    if (relay_has_waits(r) || r->asking || r->cause != RELAY_CAUSE_NONE || r->skip_line ||
        r->chunking || r->in_transaction || r->state != RELAY_STATE_COMMAND)
        return;
    free_buffers(r);
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
    if (r->state == RELAY_STATE_DEAF)
        return;
    r->state = (uint8_t)state;
    r->cause = RELAY_CAUSE_NONE;
    r->scanned = 0;
}

void relay_hang_up(relay *r)
{
    r->close_due = true;
    r->asking = false;
    relay_enter(r, RELAY_STATE_DEAF);
}

void relay_fail(relay *r)
{
    r->failed = true;
    relay_hang_up(r);
}

void relay_close(relay *r, const smx_reply *reply)
{
    if (r->state != RELAY_STATE_DEAF && r->state != RELAY_STATE_RAW)
        relay_say(r, reply);
    relay_hang_up(r);
}

int relay_queue(relay *r, relay_own own, smx_slice octets)
{
    own.len = (uint16_t)octets.len;
    int error = buffer_reserve(&r->own, sizeof(own) + octets.len);
    if (error == 0)
        error = buffer_append(&r->own, slice_of((const char *)&own, sizeof(own)));
    return error == 0 ? buffer_append(&r->own, octets) : error;
}

void relay_send_own(relay *r, relay_kind kind, smx_slice line)
{
    if (relay_is_lost(r))
        return;
    if (relay_queue(r, (relay_own){(uint8_t)kind, .own = true, .waits = true}, line) != 0)
        relay_fail(r);
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
    r->prdr = false;
    r->binary = false;
    r->added_refused = false;
    r->recipients = 0;
    r->answered = 0;
    buffer_clear(&r->taken);
}

void relay_forget(relay *r)
{
    relay_drop(r);
    r->discarding = false;
    r->chunking = false;
    r->series_refused = false;
}

bool relay_is_lost(const relay *r)
{
    return r->upstream_gone || r->given_up;
}

void relay_cut(relay *r)
{
    relay_forgive(r);
    r->cut_due = r->cut_due || !r->upstream_gone;
    r->upstream_gone = true;
    r->begin_due = r->ready_due = false;
    r->asking = r->asking && r->state == RELAY_STATE_COMMAND;
    if (r->secure_due == RELAY_UPSTREAM + 1)
        r->secure_due = 0;
    buffer_clear(&r->own);
}

void relay_cut_later(relay *r)
{
    r->given_up = true;
    buffer_clear(&r->own);
}

void relay_drop(relay *r)
{
    bool in_series = r->chunking && relay_is_filtered(r) && !r->series_refused && !r->discarding;
    r->drop_due = r->drop_due || in_series || r->state == RELAY_STATE_DATA_IN ||
                  r->state == RELAY_STATE_CHUNK_IN || r->state == RELAY_STATE_JUDGED;
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

/* The queue may empty its buffer, but the octets stay where they are until it is written again. */
static bool give_own(relay *r, relay_event *event)
{
    relay_own own;
    if (buffer_length(&r->own) == 0 || !relay_has_room(r))
        return false;
    smx_slice queue = buffer_slice(&r->own);
    memcpy(&own, queue.data, sizeof(own));
    relay_command(event, own.kind, slice_of(queue.data + sizeof(own), own.len));
    event->own = own.own;
    buffer_consume(&r->own, sizeof(own) + own.len);
    if (own.waits)
        relay_await(r, own.kind, 0);
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
    if (r->closed || (!r->failed && r->wait_count > 0) ||
        !give_flag(&r->close_due, RELAY_CLOSE, event))
        return false;
    event->kind = r->has_quit ? RELAY_KIND_QUIT : RELAY_KIND_OTHER;
    r->closed = true;
    return true;
}

static bool owes_replies(const relay *r)
{
    for (uint8_t i = 0; i < r->wait_count; i++)
        if (r->waits[(r->first_wait + i) % RELAY_WAITS].kind != RELAY_KIND_LOCAL)
            return true;
    return false;
}

static bool give_due(relay *r, relay_event *event)
{
    if (r->failed)
        return give_close(r, event);
    if (r->begin_due && !relay_has_waits(r))
        relay_begin_held(r);
    if (r->given_up && !r->upstream_gone && !owes_replies(r))
        relay_cut(r);
    return give_flag(&r->cut_due, RELAY_CUT_UPSTREAM, event) ||
           give_flag(&r->drop_due, RELAY_DROPPED, event) || give_own(r, event) ||
           relay_give_local(r, event) || give_flag(&r->ready_due, RELAY_BODY_READY, event) ||
           give_flag(&r->raw_due, RELAY_PASSTHROUGH, event) || give_secure(r, event) ||
           give_close(r, event);
}

/* What give_due would look at, at a glance. */
static bool is_due(const relay *r)
{
    bool of_upstream = r->cut_due || r->drop_due || r->begin_due || r->ready_due || r->given_up ||
                       buffer_length(&r->own) > 0;
    bool of_session = r->raw_due || r->secure_due != 0 || r->close_due || r->failed;
    bool is_local = r->wait_count > 0 && r->waits[r->first_wait].kind == RELAY_KIND_LOCAL;
    return of_upstream || of_session || is_local;
}

bool relay_is_quiet(const relay *r)
{
    return r->state <= RELAY_STATE_DATA && !is_due(r);
}

static relay_state_fn *const states[] = {
#define RELAY_STATE_FUNCTION(name, function) relay_state_##function,
    RELAY_STATE_MAP(RELAY_STATE_FUNCTION)
#undef RELAY_STATE_FUNCTION
};

/* A state that finds itself over uses nothing. */
static size_t client_octets(relay *r, smx_slice in, relay_event *event)
{
    size_t used;
    uint8_t before;
    do {
        before = r->state;
        used = states[before](r, in, event);
    } while (used == 0 && event->type == RELAY_NONE && r->state != before);
    return used;
}

size_t relay_feed(relay *r, relay_side side, uint64_t now, smx_slice in, relay_event *event)
{
    *event = (relay_event){.type = RELAY_NONE};
    r->now = now;
    if (r->closed)
        return in.len;
    if (is_due(r) && give_due(r, event))
        return 0;
    size_t used =
        side == RELAY_CLIENT ? client_octets(r, in, event) : relay_upstream_octets(r, in, event);
    if (event->type == RELAY_NONE && is_due(r))
        (void)give_due(r, event);
    return used;
}

static bool line_is_waiting(const relay *r)
{
    switch ((relay_cause)r->cause) {
    case RELAY_CAUSE_NONE:
        return false;
    case RELAY_CAUSE_ROOM:
        return !relay_has_room(r);
    case RELAY_CAUSE_REPLIES:
        return relay_has_waits(r);
    case RELAY_CAUSE_GREETING:
        return r->greeting != RELAY_GREETING_DONE && !r->skip_line &&
               (r->greeting != RELAY_GREETING_NONE || r->wait_count > 0);
    case RELAY_CAUSE_DECISION:
        return r->asking && r->decided == 0;
    }
    return false;
}

bool relay_is_waiting(const relay *r, relay_side side)
{
    if (side == RELAY_UPSTREAM)
        return r->asking && r->decided == 0 && r->state == RELAY_STATE_LOCKED;
    return r->state == RELAY_STATE_LOCKED || r->state == RELAY_STATE_JUDGED ||
           (r->state == RELAY_STATE_COMMAND && line_is_waiting(r));
}

/* ---- the outside ---- */

/* What the client said before is forgotten (RFC 3207 section 4.2); the upstream keeps at most a
 * transaction of it. */
static void client_secured(relay *r, int error)
{
    if (error != 0) {
        relay_cut(r);
        relay_hang_up(r);
        return;
    }
    r->client_tls = true;
    r->client_since = r->now;
    relay_enter(r, RELAY_STATE_COMMAND);
    if (r->in_transaction)
        relay_send_own(r, RELAY_KIND_OWN_RSET, SMX_SLICE("RSET\r\n"));
    relay_reset(r);
    relay_forget(r);
}

void relay_secured(relay *r, relay_side side, uint64_t now, int error, bool verified)
{
    r->now = now;
    if (r->state == RELAY_STATE_DEAF)
        return;
    if (side == RELAY_UPSTREAM)
        relay_greeting_secured(r, error, verified);
    else
        client_secured(r, error);
}

/* One that has said 421 has told the client all. */
static void upstream_ended(relay *r)
{
    bool was_cut = r->upstream_gone;
    if (was_cut)
        return;
    relay_drop(r);
    relay_cut(r);
    r->cut_due = false;
    if (r->goodbye)
        relay_hang_up(r);
    else
        relay_close(r, RELAY_SAY(UPSTREAM_LOST));
}

/* A client that has said all it wants to may still read: what it is owed is waited for, but nobody
 * gets a message that has no end. */
static void client_ended(relay *r)
{
    bool is_whole = r->state == RELAY_STATE_COMMAND || r->state == RELAY_STATE_LOCKED ||
                    r->state == RELAY_STATE_DEAF;
    r->client_gone = true;
    relay_drop(r);
    bool greets = r->greeting == RELAY_GREETING_HELLO || r->greeting == RELAY_GREETING_TLS;
    if (!is_whole || r->chunking || greets)
        relay_cut(r);
    relay_hang_up(r);
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
    relay_drop(r);
    relay_cut(r);
    relay_close(r, reply);
    return r->failed ? SMX_E_NOMEM : 0;
}

bool relay_in_transaction(const relay *r)
{
    return r->in_transaction || r->discarding;
}

static bool is_receiving(const relay *r)
{
    return r->state >= RELAY_STATE_DATA && r->state <= RELAY_STATE_CHUNK_REST;
}

bool relay_is_idle(const relay *r)
{
    return r->wait_count == 0 && !relay_in_transaction(r) && !is_receiving(r);
}

size_t relay_outstanding(const relay *r)
{
    return r->wait_count;
}

void relay_get_info(const relay *r, relay_info *info)
{
    *info = (relay_info){
        .in_transaction = relay_in_transaction(r),
        .receiving = is_receiving(r),
        .authenticated = r->authenticated,
        .client_tls = r->client_tls,
        .upstream_tls = r->upstream_tls,
        .is_named = r->is_named,
        .auth_hidden = r->auth_hidden,
        .is_raw = r->state == RELAY_STATE_RAW,
        .outstanding = r->wait_count,
    };
}
