/* Messages that the owner sends on, changed or not: decoded on their way in, encoded on their way out,
 * dot-stuffed where they came by DATA and in chunks where they came by BDAT. */
#include <assert.h>
#include <stdio.h>

#include "proxy/relay_machine.h"

enum { NORMALIZE_PIECE = 8192 }; /* octets normalized at once: bounds the scratch buffer */

/* ---- in ---- */

static bool normalizes(const relay *r)
{
    return r->options->bare_newline == SMX_BARE_NEWLINE_NORMALIZE && !r->body.is_binary;
}

static smx_slice bounded(const relay *r, smx_slice in)
{
    return normalizes(r) && in.len > NORMALIZE_PIECE ? slice_to(in, NORMALIZE_PIECE) : in;
}

static void give_body(relay *r, smx_slice piece, relay_event *event)
{
    if (normalizes(r)) {
        buffer_clear(&r->scratch);
        if (body_lines_normalize(&r->body.held_cr, piece, &r->scratch) != 0) {
            relay_fail(r);
            return;
        }
        piece = buffer_slice(&r->scratch);
    }
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
    relay_drop(r);
    relay_refuse_body(r, RELAY_SAY(BARE_IN_BODY));
}

size_t relay_state_data_in(relay *r, smx_slice in, relay_event *event)
{
    smx_dot_decoder decoder = r->body.dot;
    smx_slice piece = {0};
    if (decoder.done) {
        give_end(r, event);
        return 0;
    }
    in = relay_without_last_cr(r, bounded(r, in));
    size_t used = smx_dot_decode(&decoder, in, &piece);
    if (in.len == 0)
        return 0;
    if (relay_is_fatal(r, decoder.faults)) {
        in = slice_to(in, relay_faultless_dots(r, in));
        if (in.len == 0) {
            refuse_faulty(r);
            return 0;
        }
        decoder = r->body.dot;
        used = smx_dot_decode(&decoder, in, &piece);
    }
    r->body.dot = decoder;
    r->body.tail = body_tail_add(r->body.tail, piece);
    relay_progress(r, used);
    give_body(r, piece, event);
    return used;
}

/* The chunk is whole. */
static void end_chunk(relay *r, relay_event *event)
{
    if (!r->body.last) {
        relay_say_octets(r, SMX_SLICE("250 2.0.0 taken\r\n"), RELAY_WAIT_CHUNK, 1);
        relay_enter(r, RELAY_STATE_COMMAND);
        return;
    }
    if (!r->body.is_binary)
        smx_newline_check_end(&r->body.check);
    if (relay_is_fatal(r, r->body.check.faults)) {
        refuse_faulty(r);
    } else if (r->body.held_cr) {
        r->body.held_cr = false;
        event->type = RELAY_BODY;
        event->text = SMX_SLICE("\r\n");
    } else {
        give_end(r, event);
    }
}

size_t relay_state_chunk_in(relay *r, smx_slice in, relay_event *event)
{
    smx_newline_check check = r->body.check;
    if (r->body.remaining == 0) {
        end_chunk(r, event);
        return 0;
    }
    in = bounded(r, in);
    if (in.len > r->body.remaining)
        in = slice_to(in, (size_t)r->body.remaining);
    if (in.len < r->body.remaining && !r->body.is_binary)
        in = relay_without_last_cr(r, in);
    if (in.len == 0)
        return 0;
    if (!r->body.is_binary)
        smx_newline_check_feed(&check, in);
    if (relay_is_fatal(r, check.faults)) {
        in = slice_to(in, relay_faultless_octets(r, in));
        if (in.len == 0) {
            refuse_faulty(r);
            return 0;
        }
        check = r->body.check;
        smx_newline_check_feed(&check, in);
    }
    r->body.check = check;
    r->body.remaining -= in.len;
    relay_progress(r, in.len);
    give_body(r, in, event);
    return in.len;
}

size_t relay_state_judged(relay *r, smx_slice in, relay_event *event)
{
    (void)r, (void)in, (void)event;
    return 0;
}

/* ---- out ---- */

/* The last octets or command of a message. */
static int send_end(relay *r, relay_kind kind, bool waits, smx_slice text)
{
    return relay_queue(r, (relay_own){.kind = (uint8_t)kind, .waits = waits}, text);
}

static int begin_chunk(relay *r, uint64_t size)
{
    char line[48];
    int len = snprintf(line, sizeof(line), "BDAT %llu LAST\r\n", (unsigned long long)size);
    int error = send_end(r, RELAY_KIND_LAST_CHUNK, true, slice_of(line, (size_t)len));
    if (error == 0)
        r->ready_due = r->body.encodes = true;
    return error;
}

void relay_begin_held(relay *r)
{
    int error = 0;
    r->begin_due = false;
    if (r->added_refused) {
        relay_drop(r);
        relay_refuse_body(r, RELAY_SAY(ADDED_REFUSED));
        relay_finish_refused(r);
        return;
    }
    if (r->body.began) /* the upstream has asked for it by itself: DATA without a recipient */
        r->ready_due = true;
    else if (r->body.by_chunks)
        error = begin_chunk(r, r->held_size);
    else
        error = relay_queue(r, (relay_own){RELAY_KIND_OWN_DATA, .own = true, .waits = true},
                            SMX_SLICE("DATA\r\n"));
    r->body.began = true;
    if (error != 0)
        relay_fail(r);
}

int relay_message_begin(relay *r, uint64_t size)
{
    if (r->state != RELAY_STATE_JUDGED || relay_is_lost(r))
        return SMX_E_STATE;
    r->held_size = size;
    r->begin_due = true;
    if (!relay_awaits(r, RELAY_KIND_OWN_RCPT, 0) && buffer_length(&r->own) == 0)
        relay_begin_held(r);
    return r->failed ? SMX_E_NOMEM : 0;
}

static int check_chunk(relay *r, smx_slice in)
{
    if (r->body.is_binary)
        return 0;
    smx_newline_check_feed(&r->body.sent, in);
    return r->body.sent.faults != 0 ? SMX_E_PROTOCOL : 0;
}

static int encode_chunk(relay *r, smx_slice in, size_t *used, smx_slice *pieces, size_t *count)
{
    if (!relay_has_room(r) || buffer_length(&r->own) > 0)
        return SMX_E_AGAIN;
    if (check_chunk(r, in) != 0)
        return SMX_E_PROTOCOL;
    int len = snprintf(r->chunk_line, sizeof(r->chunk_line), "BDAT %zu\r\n", in.len);
    pieces[0] = slice_of(r->chunk_line, (size_t)len);
    pieces[1] = in;
    *count = 2;
    *used = in.len;
    r->body.began = true;
    relay_await(r, RELAY_KIND_OWN_CHUNK, 0);
    return 0;
}

/* Within the one chunk of a message that was held. */
static int encode_held(relay *r, smx_slice in, size_t *used, smx_slice *pieces, size_t *count)
{
    if (check_chunk(r, in) != 0)
        return SMX_E_PROTOCOL;
    pieces[0] = in;
    *used = in.len;
    *count = 1;
    return 0;
}

static int encode_dots(relay *r, smx_slice in, size_t *used, smx_slice *pieces, size_t capacity,
                       size_t *count)
{
    size_t taken = 0;
    size_t n = 0;
    while (n < capacity && taken < in.len) {
        smx_slice piece;
        taken += smx_dot_encode(&r->body.encoder, slice_from(in, taken), &piece);
        if (r->body.encoder.faults != 0)
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
    if (relay_is_lost(r) || !r->body.encodes || capacity < 2)
        return SMX_E_STATE;
    *used = *count = 0;
    if (in.len == 0)
        return 0;
    if (!r->body.by_chunks)
        return encode_dots(r, in, used, pieces, capacity, count);
    return r->options->hold ? encode_held(r, in, used, pieces, count)
                            : encode_chunk(r, in, used, pieces, count);
}

static int end_dots(relay *r)
{
    smx_slice end = smx_dot_end(&r->body.encoder);
    return r->body.encoder.faults != 0 ? SMX_E_PROTOCOL
                                       : send_end(r, RELAY_KIND_MESSAGE, false, end);
}

static int end_chunks(relay *r)
{
    if (check_chunk(r, SMX_SLICE("")) != 0 || r->body.sent.after_cr)
        return SMX_E_PROTOCOL;
    if (r->options->hold)
        return 0;
    return send_end(r, RELAY_KIND_LAST_CHUNK, true, SMX_SLICE("BDAT 0 LAST\r\n"));
}

int relay_message_end(relay *r)
{
    if (r->state != RELAY_STATE_JUDGED || relay_is_lost(r) || !r->body.encodes)
        return SMX_E_STATE;
    int error = r->body.by_chunks ? end_chunks(r) : end_dots(r);
    if (error != 0)
        return error;
    r->body.encodes = false;
    relay_enter(r, RELAY_STATE_COMMAND);
    return 0;
}

/* All its octets have been read. */
static bool is_whole(const relay *r)
{
    if (r->state == RELAY_STATE_DATA_IN)
        return r->body.dot.done;
    return r->state == RELAY_STATE_JUDGED;
}

int relay_message_refuse(relay *r, const smx_reply *reply)
{
    bool whole = is_whole(r);
    if (r->state == RELAY_STATE_COMMAND && r->chunking && relay_is_filtered(r) &&
        !r->series_refused) {
        relay_refuse_series(r, reply);
        return r->failed ? SMX_E_NOMEM : 0;
    }
    if (!whole && r->state != RELAY_STATE_DATA_IN && r->state != RELAY_STATE_CHUNK_IN)
        return SMX_E_STATE;
    relay_refuse_body(r, reply);
    if (whole && !r->failed)
        relay_finish_refused(r);
    return r->failed ? SMX_E_NOMEM : 0;
}
