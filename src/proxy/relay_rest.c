/* What is left of bodies that nobody gets, and what the client is told at their end. */
#include "proxy/relay_machine.h"

/* How many replies the client is still owed for the message, or the chunk, at hand. The upstream's are
 * not waited for any more: some may have come before the body's end. */
static uint16_t take_back_replies(relay *r)
{
    uint16_t count = r->body.by_chunks && !r->body.last ? 1 : RELAY_EACH;
    bool by_parts = r->body.by_chunks && relay_is_filtered(r) && !r->options->hold;
    const relay_wait *w = relay_tail(r);
    if (!r->body.began || by_parts || buffer_length(&r->own) > 0)
        return count;
    if (w == NULL || w->kind == RELAY_KIND_LOCAL)
        return 0;
    if (r->answered > 0)
        count = relay_replies_left(r);
    else if (w->kind == RELAY_KIND_CHUNK)
        count = 1;
    relay_take_back(r);
    return count;
}

static void enter_rest(relay *r)
{
    if (r->body.began)
        relay_cut_later(r);
    relay_enter(r, r->body.by_chunks ? RELAY_STATE_CHUNK_REST : RELAY_STATE_DATA_REST);
}

static void write_refusal(relay *r, const smx_reply *reply)
{
    size_t size = smx_reply_size(reply);
    size_t len = 0;
    r->body.encodes = false;
    buffer_clear(&r->refusal);
    if (buffer_reserve(&r->refusal, size) != 0 ||
        smx_reply_write(reply, true, r->refusal.data + r->refusal.end, size, &len) != 0)
        relay_fail(r);
    r->refusal.end += len;
}

void relay_refuse_body(relay *r, const smx_reply *reply)
{
    write_refusal(r, reply);
    r->refusal_count = take_back_replies(r);
    enter_rest(r);
}

void relay_refuse_series(relay *r, const smx_reply *reply)
{
    write_refusal(r, reply);
    r->series_refused = true;
    if (!r->body.began) {
        relay_send_own(r, RELAY_KIND_OWN_RSET, SMX_SLICE("RSET\r\n"));
        return;
    }
    relay_cut_later(r);
    relay_enter(r, RELAY_STATE_ORPHAN);
}

/* The chunks before it were whole: the upstream goes on to be of use, but not for this message. What the
 * client hears of its chunk, at its place, is this. */
void relay_refuse_part(relay *r, smx_slice reply)
{
    if (r->part_refused || relay_is_lost(r))
        return;
    relay_drop(r);
    buffer_clear(&r->refusal);
    if (buffer_append(&r->refusal, reply) != 0) {
        relay_fail(r);
        return;
    }
    bool was_judged = r->state == RELAY_STATE_JUDGED;
    r->part_refused = true;
    r->body.encodes = false;
    r->refusal_count = r->body.last ? RELAY_EACH : 1;
    if (r->state == RELAY_STATE_CHUNK_IN)
        relay_enter(r, RELAY_STATE_CHUNK_REST);
    else if (was_judged)
        relay_finish_refused(r);
    else if (r->chunking)
        r->series_refused = true;
    if (r->series_refused)
        relay_send_own(r, RELAY_KIND_OWN_RSET, SMX_SLICE("RSET\r\n"));
}

static void say_refusal(relay *r, uint16_t count, uint8_t flags)
{
    smx_slice text = buffer_slice(&r->refusal);
    if (text.len == 0)
        text = r->series_refused ? SMX_SLICE("503 5.5.1 the message was refused\r\n")
                                 : SMX_SLICE("250 2.0.0 taken\r\n");
    relay_say_octets(r, text, flags, count);
}

/* A chunk's octets come whether it is taken or not (RFC 3030 section 2). */
void relay_skip_chunk(relay *r, uint64_t size, bool last)
{
    if (r->series_refused) {
        say_refusal(r, last ? RELAY_EACH : 1, 0);
        r->chunking = r->series_refused = !last;
    }
    r->body.by_chunks = true;
    r->body.remaining = size;
    r->refusal_count = 0;
    relay_enter(r, RELAY_STATE_CHUNK_REST);
}

/* Where the upstream has a part of what was refused it is given up; otherwise it has a transaction that
 * the client takes for ended. */
void relay_finish_refused(relay *r)
{
    bool doubtful = !r->body.by_chunks && body_tail_is_doubtful(r->body.tail);
    say_refusal(r, r->refusal_count, RELAY_WAIT_END);
    if (!r->discarding)
        relay_send_own(r, RELAY_KIND_OWN_RSET, SMX_SLICE("RSET\r\n"));
    r->discarding = r->chunking = r->series_refused = false;
    relay_enter(r, relay_is_lost(r) ? RELAY_STATE_ORPHAN : RELAY_STATE_COMMAND);
    if (doubtful)
        relay_hang_up(r);
}

size_t relay_state_data_rest(relay *r, smx_slice in, relay_event *event)
{
    size_t used = 0;
    (void)event;
    while (used < in.len && !r->body.dot.done) {
        smx_slice piece;
        used += smx_dot_decode(&r->body.dot, slice_from(in, used), &piece);
        r->body.tail = body_tail_add(r->body.tail, piece);
    }
    relay_progress(r, used);
    if (r->body.dot.done)
        relay_finish_refused(r);
    return used;
}

/* The refusal of a chunk within a series: of the rest nothing is heard. */
static void finish_chunk(relay *r)
{
    say_refusal(r, r->refusal_count, 0);
    if (r->discarding)
        return;
    r->series_refused = true;
    relay_send_own(r, RELAY_KIND_OWN_RSET, SMX_SLICE("RSET\r\n"));
}

size_t relay_state_chunk_rest(relay *r, smx_slice in, relay_event *event)
{
    size_t used = in.len < r->body.remaining ? in.len : (size_t)r->body.remaining;
    (void)event;
    r->body.remaining -= used;
    relay_progress(r, used);
    if (r->body.remaining > 0)
        return used;
    if (r->refusal_count > 0 && r->body.last)
        relay_finish_refused(r);
    else if (r->refusal_count > 0)
        finish_chunk(r);
    if (r->state == RELAY_STATE_CHUNK_REST)
        relay_enter(r, relay_is_lost(r) ? RELAY_STATE_ORPHAN : RELAY_STATE_COMMAND);
    return used;
}
