/* The replies that the client awaits, in the order of its commands: the upstream's, and among them
 * the machine's own, whose texts wait in a buffer. */
#include <assert.h>

#include "proxy/relay_machine.h"

/* One place is kept for a last word of the machine's own. */
bool relay_has_room(const relay *r)
{
    return r->wait_count < RELAY_WAITS - 4;
}

void relay_await_many(relay *r, relay_kind kind, uint16_t number)
{
    if (r->wait_count == RELAY_WAITS) {
        relay_fail(r);
        return;
    }
    if (!r->upstream_gone && r->wait_count == 0)
        r->upstream_since = r->now;
    size_t at = (size_t)(r->first_wait + r->wait_count++) % RELAY_WAITS;
    r->waits[at] = (relay_wait){.kind = (uint8_t)kind, .number = number};
}

void relay_await_next(relay *r, const relay_wait *w, uint16_t number)
{
    if (number == 0 || r->wait_count == RELAY_WAITS)
        return;
    r->first_wait = (uint8_t)((r->first_wait + RELAY_WAITS - 1) % RELAY_WAITS);
    r->wait_count++;
    r->waits[r->first_wait] = *w;
    r->waits[r->first_wait].number = number;
}

void relay_await(relay *r, relay_kind kind)
{
    relay_await_many(r, kind, 1);
}

void relay_say(relay *r, const smx_reply *reply)
{
    size_t size = smx_reply_size(reply);
    size_t len = 0;
    if (size > UINT16_MAX || buffer_reserve(&r->said, size) != 0 ||
        smx_reply_write(reply, true, r->said.data + r->said.end, size, &len) != 0) {
        relay_fail(r);
        return;
    }
    r->said.end += len;
    relay_await_many(r, RELAY_KIND_LOCAL, (uint16_t)len);
}

relay_wait *relay_head(relay *r)
{
    return r->wait_count == 0 ? NULL : &r->waits[r->first_wait];
}

void relay_took(relay *r)
{
    assert(r->wait_count > 0);
    r->first_wait = (uint8_t)((r->first_wait + 1) % RELAY_WAITS);
    r->wait_count--;
}

static uint16_t code_of(smx_slice text)
{
    return (uint16_t)((text.data[0] - '0') * 100 + (text.data[1] - '0') * 10 + text.data[2] - '0');
}

bool relay_give_local(relay *r, relay_event *event)
{
    const relay_wait *w = relay_head(r);
    if (w == NULL || w->kind != RELAY_KIND_LOCAL)
        return false;
    event->type = RELAY_REPLY;
    event->kind = RELAY_KIND_LOCAL;
    event->own = true;
    event->text = slice_to(buffer_slice(&r->said), w->number);
    event->code = code_of(event->text);
    buffer_consume(&r->said, w->number);
    relay_took(r);
    return true;
}
