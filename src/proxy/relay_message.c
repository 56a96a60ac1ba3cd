/* Messages that the owner sends on, changed or not: decoded on their way in, encoded on their way out,
 * dot-stuffed where they came by DATA and in chunks where they came by BDAT. */
#include <assert.h>
#include <stdio.h>

#include "proxy/relay_machine.h"

/* ---- in ---- */

static void give_body(relay *r, smx_slice piece, relay_event *event)
{
    r->client_since = r->now;
    if (piece.len == 0)
        return;
    event->type = RELAY_BODY;
    event->text = piece;
}

static void give_end(relay *r, relay_event *event)
{
    event->type = RELAY_BODY_END;
    relay_enter(r, RELAY_STATE_JUDGED);
}

static void refuse_faulty(relay *r)
{
    r->drop_due = true;
    relay_refuse_body(r, RELAY_SAY(BARE_IN_BODY));
}

size_t relay_state_data_in(relay *r, smx_slice in, relay_event *event)
{
    size_t used = 0;
    smx_slice piece = {0};
    if (r->dot.done) {
        give_end(r, event);
        return 0;
    }
    while (used < in.len && piece.len == 0 && !r->dot.done) {
        smx_dot_decoder before = r->dot;
        size_t step = smx_dot_decode(&r->dot, slice_from(in, used), &piece);
        if (r->dot.faults != 0) {
            r->dot = before;
            refuse_faulty(r);
            return used;
        }
        used += step;
    }
    give_body(r, piece, event);
    if (r->dot.done && event->type == RELAY_NONE)
        give_end(r, event);
    return used;
}

size_t relay_state_chunk_in(relay *r, smx_slice in, relay_event *event)
{
    size_t used = in.len < r->remaining ? in.len : (size_t)r->remaining;
    give_body(r, slice_to(in, used), event);
    r->remaining -= used;
    if (r->remaining > 0 || used > 0)
        return used;
    if (r->last_chunk) {
        give_end(r, event);
    } else {
        relay_say(r, RELAY_SAY(TAKEN));
        relay_enter(r, RELAY_STATE_COMMAND);
    }
    return 0;
}

size_t relay_state_judged(relay *r, smx_slice in, relay_event *event)
{
    (void)r, (void)in, (void)event;
    return 0;
}

/* ---- out ---- */

static uint16_t final_replies(const relay *r)
{
    return r->options->lmtp && r->recipients > 0 ? r->recipients : 1;
}

/* The last command or octets of a message, and the replies that it will have. */
static int send_end(relay *r, relay_kind kind, smx_slice text)
{
    int error = buffer_append(&r->own, text);
    if (error != 0)
        return error;
    r->own_kind = (uint8_t)kind;
    r->own_changed = true;
    relay_await_many(r, kind, final_replies(r));
    return 0;
}

int relay_message_begin(relay *r, uint64_t size)
{
    char line[48];
    if (r->state != RELAY_STATE_JUDGED || r->upstream_gone)
        return SMX_E_STATE;
    if (!r->by_chunks) {
        relay_send_own(r, RELAY_KIND_OWN_DATA, SMX_SLICE("DATA\r\n"));
        return r->failed ? SMX_E_NOMEM : 0;
    }
    int len = snprintf(line, sizeof(line), "BDAT %llu LAST\r\n", (unsigned long long)size);
    r->to_encode = r->ready_due = r->began_upstream = true;
    return send_end(r, RELAY_KIND_LAST_CHUNK, slice_of(line, (size_t)len));
}

static int encode_chunk(relay *r, smx_slice in, size_t *used, smx_slice *pieces, size_t *count)
{
    if (!relay_has_room(r))
        return SMX_E_AGAIN;
    buffer_clear(&r->scratch);
    int error = buffer_printf(&r->scratch, "BDAT %zu\r\n", in.len);
    if (error != 0)
        return error;
    pieces[0] = buffer_slice(&r->scratch);
    pieces[1] = in;
    *count = 2;
    *used = in.len;
    r->began_upstream = true;
    relay_await(r, RELAY_KIND_OWN_CHUNK);
    return 0;
}

static int encode_dots(relay *r, smx_slice in, size_t *used, smx_slice *pieces, size_t capacity,
                       size_t *count)
{
    size_t taken = 0;
    size_t n = 0;
    while (n < capacity && taken < in.len) {
        smx_slice piece;
        taken += smx_dot_encode(&r->encoder, slice_from(in, taken), &piece);
        if (r->encoder.faults != 0)
            return SMX_E_PROTOCOL;
        if (piece.len > 0) /* a CR is held back until its LF is seen */
            pieces[n++] = piece;
    }
    *used = taken;
    *count = n;
    return 0;
}

int relay_message_encode(relay *r, smx_slice in, size_t *used, smx_slice *pieces, size_t capacity,
                         size_t *count)
{
    if (r->upstream_gone || (!r->to_encode && !r->by_chunks) || capacity < 2)
        return SMX_E_STATE;
    *used = *count = 0;
    if (in.len == 0)
        return 0;
    if (!r->by_chunks)
        return encode_dots(r, in, used, pieces, capacity, count);
    if (!r->options->hold)
        return encode_chunk(r, in, used, pieces, count);
    pieces[0] = in;
    *used = in.len;
    *count = 1;
    return 0;
}

int relay_message_end(relay *r)
{
    int error = 0;
    if (r->state != RELAY_STATE_JUDGED || r->upstream_gone)
        return SMX_E_STATE;
    if (!r->by_chunks) {
        smx_slice end = smx_dot_end(&r->encoder);
        if (r->encoder.faults != 0)
            return SMX_E_PROTOCOL;
        error = send_end(r, RELAY_KIND_MESSAGE, end);
    } else if (!r->options->hold) {
        error = send_end(r, RELAY_KIND_LAST_CHUNK, SMX_SLICE("BDAT 0 LAST\r\n"));
    }
    if (error == 0)
        relay_enter(r, RELAY_STATE_COMMAND);
    return error;
}

int relay_message_refuse(relay *r, const smx_reply *reply)
{
    bool whole = r->state == RELAY_STATE_JUDGED;
    if (!whole && r->state != RELAY_STATE_DATA_IN && r->state != RELAY_STATE_CHUNK_IN)
        return SMX_E_STATE;
    relay_refuse_body(r, reply);
    if (whole && !r->failed)
        relay_finish_refused(r);
    return r->failed ? SMX_E_NOMEM : 0;
}
