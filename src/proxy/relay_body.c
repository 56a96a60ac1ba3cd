/* Bodies that pass as they are: DATA up to its dot, the octets of BDAT. A body that one side could take
 * for something else is refused where it becomes so, before any octet of that leaves (DESIGN 4.13). */
#include "proxy/relay_machine.h"

static void begin_body(relay *r)
{
    r->body = (relay_body){.is_binary = r->binary};
    r->part_refused = false;
    r->refusal_count = 0;
    buffer_clear(&r->refusal);
}

void relay_data_taken(relay *r, bool by_upstream)
{
    begin_body(r);
    if (by_upstream) {
        r->body.began = r->body.encodes = true;
        relay_await_many(r, RELAY_KIND_MESSAGE, relay_upstream_replies(r));
    }
    if (r->discarding) {
        r->refusal_count = RELAY_EACH;
        relay_enter(r, RELAY_STATE_DATA_REST);
    } else {
        relay_enter(r, relay_is_filtered(r) ? RELAY_STATE_DATA_IN : RELAY_STATE_DATA);
    }
}

void relay_chunk_begin(relay *r, uint64_t size, bool last)
{
    if (!r->chunking)
        begin_body(r);
    r->chunking = !last;
    r->body.remaining = size;
    r->body.last = last;
    r->body.by_chunks = true;
    if (r->discarding) {
        r->refusal_count = last ? RELAY_EACH : 1;
        relay_enter(r, RELAY_STATE_CHUNK_REST);
    } else if (relay_is_filtered(r)) {
        r->body.encodes = !r->options->hold;
        relay_enter(r, RELAY_STATE_CHUNK_IN);
    } else {
        r->body.began = true;
        relay_await(r, last ? RELAY_KIND_LAST_CHUNK : RELAY_KIND_CHUNK, 0);
        relay_enter(r, RELAY_STATE_CHUNK);
    }
}

/* ---- where a body becomes faulty ---- */

bool relay_is_fatal(const relay *r, uint8_t faults)
{
    switch (r->options->bare_newline) {
    case SMX_BARE_NEWLINE_PASS: /* what hooks judge must be the same to all */
        return relay_is_filtered(r) && faults != 0;
    case SMX_BARE_NEWLINE_NORMALIZE:
        return (faults & SMX_FAULT_NUL) != 0;
    default:
        return faults != 0;
    }
}

/* A CR at the end is faulty or not by what follows it: it is none of the octets that are known to be
 * right, as is one before the octet that shows the fault. */
static size_t before_cr(smx_slice in, size_t count, bool found)
{
    return found && count > 0 && in.data[count - 1] == '\r' ? count - 1 : count;
}

size_t relay_faultless_dots(const relay *r, smx_slice in)
{
    smx_dot_decoder decoder = r->body.dot;
    size_t count = 0;
    bool found = false;
    while (count < in.len && !decoder.done && !found) {
        smx_slice piece;
        size_t used = smx_dot_decode(&decoder, slice_of(in.data + count, 1), &piece);
        found = relay_is_fatal(r, decoder.faults);
        count += found ? 0 : used;
    }
    return before_cr(in, count, found);
}

size_t relay_faultless_octets(const relay *r, smx_slice in)
{
    smx_newline_check check = r->body.check;
    size_t count = 0;
    while (count < in.len) {
        smx_newline_check_feed(&check, slice_of(in.data + count, 1));
        if (relay_is_fatal(r, check.faults))
            break;
        count++;
    }
    return before_cr(in, count, count < in.len);
}

/* ---- as it came ---- */

static void give_octets(relay *r, smx_slice text, relay_event *event)
{
    relay_progress(r, text.len);
    event->type = RELAY_OCTETS;
    event->side = RELAY_UPSTREAM;
    event->text = text;
}

/* A CR that ends what is here stays until its LF is seen: a server that ends a body at CR alone never
 * sees one that does not end it. */
smx_slice relay_without_last_cr(const relay *r, smx_slice in)
{
    bool held = in.len > 0 && in.data[in.len - 1] == '\r' && relay_is_fatal(r, SMX_FAULT_BARE_CR);
    bool faulty = in.len > 1 && in.data[in.len - 2] == '\r';
    return held && !faulty ? slice_to(in, in.len - 1) : in;
}

/* Octets from the start of `in` up to the end of data. */
static size_t pass_dots(relay *r, smx_slice in)
{
    size_t used = 0;
    while (used < in.len && !r->body.dot.done) {
        smx_slice piece;
        used += smx_dot_decode(&r->body.dot, slice_from(in, used), &piece);
        r->body.tail = body_tail_add(r->body.tail, piece);
    }
    return used;
}

size_t relay_state_data(relay *r, smx_slice in, relay_event *event)
{
    const relay_body before = r->body;
    in = relay_without_last_cr(r, in);
    if (in.len == 0)
        return 0;
    size_t used = pass_dots(r, in);
    if (relay_is_fatal(r, r->body.dot.faults)) {
        r->body = before;
        used = pass_dots(r, slice_to(in, relay_faultless_dots(r, in)));
        if (used == 0) {
            relay_refuse_body(r, RELAY_SAY(BARE_IN_BODY));
            return 0;
        }
    }
    give_octets(r, slice_to(in, used), event);
    if (r->body.dot.done)
        relay_enter(r, RELAY_STATE_COMMAND);
    return used;
}

/* The octets of a chunk that may go. A CR that ends the last chunk of all is a fault. */
static smx_slice faultless_part(relay *r, smx_slice in)
{
    smx_newline_check check = r->body.check;
    if (r->body.is_binary)
        return in;
    smx_newline_check_feed(&check, in);
    if (r->body.last && in.len == r->body.remaining)
        smx_newline_check_end(&check);
    if (!relay_is_fatal(r, check.faults)) {
        r->body.check = check;
        return in;
    }
    size_t count = relay_faultless_octets(r, in);
    smx_slice part = slice_to(in, count);
    if (count == in.len) /* the CR at its end is the fault */
        part = slice_to(in, count - 1);
    smx_newline_check_feed(&r->body.check, part);
    return part;
}

size_t relay_state_chunk(relay *r, smx_slice in, relay_event *event)
{
    if (r->body.remaining == 0) {
        relay_enter(r, RELAY_STATE_COMMAND);
        return 0;
    }
    if (in.len > r->body.remaining)
        in = slice_to(in, (size_t)r->body.remaining);
    if (in.len < r->body.remaining && !r->body.is_binary)
        in = relay_without_last_cr(r, in);
    if (in.len == 0)
        return 0;
    in = faultless_part(r, in);
    if (in.len == 0) {
        relay_refuse_body(r, RELAY_SAY(BARE_IN_BODY));
        return 0;
    }
    r->body.remaining -= in.len;
    give_octets(r, in, event);
    if (r->body.remaining == 0)
        relay_enter(r, RELAY_STATE_COMMAND);
    return in.len;
}

size_t relay_state_raw(relay *r, smx_slice in, relay_event *event)
{
    if (in.len > 0)
        give_octets(r, in, event);
    return in.len;
}
