/* The recipients of a transaction whose message has a reply for each of them (LMTP, RFC 2033 section 4.2;
 * PRDR): those that the client believes in and those that the upstream took are not the same where hooks
 * deleted some, or added others. Each is a letter, in the order in which they were taken. */
#include "proxy/relay_machine.h"

static bool has_a_reply_each(const relay *r)
{
    return r->options->lmtp || r->prdr;
}

void relay_took_recipient(relay *r, char which)
{
    if (which != RELAY_ADDED && r->recipients < UINT16_MAX)
        r->recipients++;
    if (has_a_reply_each(r) && buffer_append_char(&r->taken, which) != 0)
        relay_fail(r);
}

static uint16_t count(const relay *r, size_t from, char other)
{
    smx_slice taken = buffer_slice(&r->taken);
    uint16_t n = 0;
    for (size_t i = from; i < taken.len; i++)
        n = (uint16_t)(n + (taken.data[i] != other));
    return n;
}

uint16_t relay_final_replies(const relay *r)
{
    return r->options->lmtp && r->recipients > 0 ? r->recipients : 1;
}

uint16_t relay_upstream_recipients(const relay *r)
{
    return count(r, 0, RELAY_DELETED);
}

uint16_t relay_upstream_replies(const relay *r)
{
    uint16_t replies = relay_upstream_recipients(r);
    return r->options->lmtp && replies > 0 ? replies : 1;
}

uint16_t relay_replies_left(const relay *r)
{
    return count(r, r->answered, RELAY_ADDED);
}

static bool is_next(const relay *r, char which)
{
    smx_slice taken = buffer_slice(&r->taken);
    return r->answered < taken.len && taken.data[r->answered] == which;
}

static bool is_of_recipients(const relay *r, const relay_wait *w)
{
    bool final = w->kind == RELAY_KIND_MESSAGE || w->kind == RELAY_KIND_LAST_CHUNK;
    return final && !r->part_refused && (r->options->lmtp || (w->flags & RELAY_WAIT_PRDR) != 0);
}

bool relay_gives_for_deleted(relay *r, relay_event *event)
{
    const relay_wait *w = relay_head(r);
    if (w == NULL || !is_of_recipients(r, w) || !is_next(r, RELAY_DELETED))
        return false;
    r->answered++;
    event->type = RELAY_REPLY;
    event->kind = (relay_kind)w->kind;
    event->own = true;
    event->code = 250;
    event->text = SMX_SLICE("250 2.0.0 taken\r\n");
    return true;
}

bool relay_hides_for_added(relay *r, const relay_wait *w)
{
    bool hides = is_of_recipients(r, w) && is_next(r, RELAY_ADDED);
    r->answered += is_of_recipients(r, w);
    return hides;
}

/* Those that were deleted behind the last one that the upstream has answered. */
void relay_give_the_rest(relay *r, const relay_wait *w)
{
    uint16_t left = is_of_recipients(r, w) ? relay_replies_left(r) : 0;
    if (left > 0)
        relay_say_next(r, RELAY_WAIT_END, left);
    else
        relay_reset(r);
}
