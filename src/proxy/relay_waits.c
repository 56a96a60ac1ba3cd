/* The replies that the client awaits, in the order of its commands: the upstream's, and among them
 * the machine's own, whose texts wait in a buffer. */
#include <assert.h>

#include "proxy/relay_machine.h"

/* Some places are kept for words of the machine's own. */
bool relay_has_room(const relay *r)
{
    return r->wait_count < RELAY_WAITS - 4;
}

/* Also of lines that are yet to leave. */
bool relay_has_waits(const relay *r)
{
    return r->wait_count > 0 || buffer_length(&r->own) > 0;
}

static const relay_wait *wait_at(const relay *r, uint8_t i)
{
    return &r->waits[(r->first_wait + i) % RELAY_WAITS];
}

bool relay_awaits(const relay *r, relay_kind kind, uint8_t flags)
{
    for (uint8_t i = 0; i < r->wait_count; i++)
        if (wait_at(r, i)->kind == kind && (wait_at(r, i)->flags & flags) == flags)
            return true;
    return false;
}

static void await(relay *r, relay_wait w)
{
    if (r->wait_count == RELAY_WAITS) {
        relay_fail(r);
        return;
    }
    if (r->wait_count == 0)
        r->upstream_since = r->now;
    r->waits[(size_t)(r->first_wait + r->wait_count++) % RELAY_WAITS] = w;
}

void relay_await(relay *r, relay_kind kind, uint8_t flags)
{
    uint16_t number = kind == RELAY_KIND_LAST_CHUNK ? RELAY_EACH : 1;
    await(r, (relay_wait){.kind = (uint8_t)kind, .flags = flags, .number = number});
}

void relay_await_many(relay *r, relay_kind kind, uint16_t number)
{
    await(r, (relay_wait){.kind = (uint8_t)kind, .number = number});
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

static void await_local(relay *r, size_t len, uint8_t flags, uint16_t copies)
{
    if (copies == 0) {
        buffer_truncate(&r->said, buffer_length(&r->said) - len);
        return;
    }
    await(r, (relay_wait){RELAY_KIND_LOCAL, flags, (uint16_t)len, copies});
}

void relay_say_octets(relay *r, smx_slice text, uint8_t flags, uint16_t copies)
{
    if (text.len > UINT16_MAX || buffer_append(&r->said, text) != 0)
        relay_fail(r);
    else
        await_local(r, text.len, flags, copies);
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
    await_local(r, len, 0, 1);
}

void relay_say_next(relay *r, uint8_t flags, uint16_t copies)
{
    const relay_wait w = {.kind = RELAY_KIND_LOCAL, .flags = flags, .copies = copies};
    relay_await_next(r, &w, 1);
    r->waits[r->first_wait].number = 0;
}

relay_wait *relay_head(relay *r)
{
    return r->wait_count == 0 ? NULL : &r->waits[r->first_wait];
}

relay_wait *relay_tail(relay *r)
{
    return r->wait_count == 0 ? NULL : &r->waits[(r->first_wait + r->wait_count - 1) % RELAY_WAITS];
}

void relay_took(relay *r)
{
    assert(r->wait_count > 0);
    r->first_wait = (uint8_t)((r->first_wait + 1) % RELAY_WAITS);
    r->wait_count--;
}

void relay_take_back(relay *r)
{
    assert(r->wait_count > 0);
    r->wait_count--;
}

void relay_forgive(relay *r)
{
    uint8_t count = r->wait_count;
    r->wait_count = 0;
    for (uint8_t i = 0; i < count; i++) {
        relay_wait w = *wait_at(r, i);
        if (w.kind == RELAY_KIND_LOCAL)
            r->waits[(size_t)(r->first_wait + r->wait_count++) % RELAY_WAITS] = w;
    }
}

static uint16_t code_of(smx_slice text)
{
    return (uint16_t)((text.data[0] - '0') * 100 + (text.data[1] - '0') * 10 + text.data[2] - '0');
}

bool relay_give_local(relay *r, relay_event *event)
{
    relay_wait *w = relay_head(r);
    if (w == NULL || w->kind != RELAY_KIND_LOCAL)
        return false;
    if (w->copies == RELAY_EACH)
        w->copies = relay_final_replies(r);
    bool refused = (w->flags & RELAY_WAIT_CHUNK) != 0 && r->part_refused;
    smx_slice text = slice_to(buffer_slice(&r->said), w->number);
    if (w->number == 0)
        text = SMX_SLICE("250 2.0.0 taken\r\n");
    event->type = RELAY_REPLY;
    event->kind = RELAY_KIND_LOCAL;
    event->own = !refused;
    event->text = refused ? buffer_slice(&r->refusal) : text;
    event->code = code_of(event->text);
    if ((w->flags & RELAY_WAIT_RECIPIENT) != 0)
        relay_took_recipient(r, RELAY_DELETED);
    if (--w->copies > 0)
        return true;
    if ((w->flags & RELAY_WAIT_END) != 0)
        relay_reset(r);
    buffer_consume(&r->said, w->number);
    relay_took(r);
    return true;
}
