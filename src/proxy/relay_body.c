/* Bodies that pass as they are: DATA up to its dot, the octets of BDAT. Also the rest of those that
 * nobody gets. A body that one side could take for something else is refused where it becomes so,
 * before any octet of that leaves (DESIGN 4.13). */
#include "proxy/relay_machine.h"

void relay_begin_body(relay *r)
{
    r->dot = (smx_dot_decoder){0};
    r->encoder = (smx_dot_encoder){0};
    r->refusal = (smx_reply){0};
    r->to_encode = r->began_upstream = r->chunk_refused = false;
    r->body_since = r->now;
    r->body_octets = 0;
}

/* Replies to the whole message: LMTP has one for each recipient. */
static uint16_t final_replies(const relay *r)
{
    return r->options->lmtp && r->recipients > 0 ? r->recipients : 1;
}

void relay_data_taken(relay *r)
{
    bool local = r->discarding || r->options->hold;
    relay_begin_body(r);
    if (!local) {
        r->began_upstream = true;
        if (!relay_is_filtered(r))
            relay_await_many(r, RELAY_KIND_MESSAGE, final_replies(r));
    }
    r->to_encode = r->began_upstream;
    if (r->discarding)
        relay_enter(r, RELAY_STATE_DATA_REST);
    else
        relay_enter(r, relay_is_filtered(r) ? RELAY_STATE_DATA_IN : RELAY_STATE_DATA);
}

void relay_chunk_begin(relay *r, uint64_t size, bool last)
{
    if (!r->chunking)
        relay_begin_body(r);
    r->remaining = size;
    r->last_chunk = last;
    r->chunking = !last;
    r->by_chunks = true;
    r->chunk_local = r->discarding;
    if (r->discarding) {
        relay_enter(r, RELAY_STATE_CHUNK_REST);
    } else if (relay_is_filtered(r)) {
        relay_enter(r, RELAY_STATE_CHUNK_IN);
    } else {
        relay_await_many(r, last ? RELAY_KIND_LAST_CHUNK : RELAY_KIND_CHUNK,
                         last ? final_replies(r) : 1);
        relay_enter(r, RELAY_STATE_CHUNK);
    }
}

/* ---- as it came ---- */

static bool is_fatal(const relay *r, uint8_t faults)
{
    return faults != 0 && r->options->bare_newline == SMX_BARE_NEWLINE_REJECT;
}

/* Octets from the start of `in` up to the end of data, or up to the piece with a fault. */
static size_t pass_dots(relay *r, smx_slice in)
{
    size_t used = 0;
    while (used < in.len && !r->dot.done) {
        smx_dot_decoder before = r->dot;
        smx_slice piece;
        size_t step = smx_dot_decode(&r->dot, slice_from(in, used), &piece);
        if (is_fatal(r, r->dot.faults)) {
            r->dot = before;
            break;
        }
        used += step;
    }
    return used;
}

static void give_octets(relay *r, smx_slice text, relay_event *event)
{
    r->client_since = r->now;
    event->type = RELAY_OCTETS;
    event->side = RELAY_UPSTREAM;
    event->text = text;
}

size_t relay_state_data(relay *r, smx_slice in, relay_event *event)
{
    if (in.len == 0)
        return 0;
    size_t used = pass_dots(r, in);
    if (used == 0) {
        relay_refuse_body(r, RELAY_SAY(BARE_IN_BODY));
        return 0;
    }
    give_octets(r, slice_to(in, used), event);
    if (r->dot.done) {
        if (r->wait_count == 0) /* it was answered before its end */
            relay_reset(r);
        relay_enter(r, RELAY_STATE_COMMAND);
    }
    return used;
}

static size_t of_chunk(const relay *r, smx_slice in)
{
    return in.len < r->remaining ? in.len : (size_t)r->remaining;
}

size_t relay_state_chunk(relay *r, smx_slice in, relay_event *event)
{
    size_t used = of_chunk(r, in);
    if (used > 0)
        give_octets(r, slice_to(in, used), event);
    r->remaining -= used;
    if (r->remaining == 0)
        relay_enter(r, RELAY_STATE_COMMAND);
    return used;
}

size_t relay_state_raw(relay *r, smx_slice in, relay_event *event)
{
    if (!r->raw_told) {
        r->raw_told = true;
        event->type = RELAY_PASSTHROUGH;
        return 0;
    }
    if (in.len > 0)
        give_octets(r, in, event);
    return in.len;
}

/* ---- what nobody gets ---- */

void relay_refuse_body(relay *r, const smx_reply *reply)
{
    r->refusal = *reply;
    buffer_clear(&r->refusal_text);
    if (buffer_append(&r->refusal_text, reply->text) != 0) {
        relay_fail(r);
        return;
    }
    r->refusal.text = buffer_slice(&r->refusal_text);
    r->chunk_local = true;
    if (r->began_upstream || r->state == RELAY_STATE_DATA || r->state == RELAY_STATE_CHUNK)
        relay_cut(r);
    relay_enter(r, r->by_chunks ? RELAY_STATE_CHUNK_REST : RELAY_STATE_DATA_REST);
}

/* Where the upstream has a part of what was refused it was given up. */
void relay_finish_refused(relay *r)
{
    const smx_reply *reply = r->refusal.code != 0 ? &r->refusal : RELAY_SAY(TAKEN);
    uint16_t count = final_replies(r);
    for (uint16_t i = 0; i < count; i++)
        relay_say(r, reply);
    if (!r->upstream_gone && r->in_transaction && !r->discarding)
        relay_send_own(r, RELAY_KIND_OWN_RSET, SMX_SLICE("RSET\r\n"));
    relay_reset(r);
    if (r->state != RELAY_STATE_DEAF)
        relay_enter(r, r->upstream_gone ? RELAY_STATE_ORPHAN : RELAY_STATE_COMMAND);
}

size_t relay_state_data_rest(relay *r, smx_slice in, relay_event *event)
{
    size_t used = 0;
    (void)event;
    while (used < in.len && !r->dot.done) {
        smx_slice piece;
        used += smx_dot_decode(&r->dot, slice_from(in, used), &piece);
    }
    if (used > 0)
        r->client_since = r->now;
    if (r->dot.done)
        relay_finish_refused(r);
    return used;
}

size_t relay_state_chunk_rest(relay *r, smx_slice in, relay_event *event)
{
    size_t used = of_chunk(r, in);
    (void)event;
    r->remaining -= used;
    if (r->remaining > 0)
        return used;
    if (r->chunk_local && r->last_chunk)
        relay_finish_refused(r);
    else if (r->chunk_local)
        relay_say(r, r->refusal.code != 0 ? &r->refusal : RELAY_SAY(TAKEN));
    if (r->state == RELAY_STATE_CHUNK_REST)
        relay_enter(r, RELAY_STATE_COMMAND);
    return used;
}
