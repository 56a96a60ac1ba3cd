/* How long each side may take. The client's time runs while octets of it are needed, the upstream's
 * while a reply is, or while it takes no octets; the owner keeps its own. */
#include "proxy/relay_machine.h"

enum {
    DEFAULT_IDLE_MS = 300000,     /* RFC 5321 section 4.5.3.2.7 */
    DEFAULT_UPSTREAM_MS = 600000, /* RFC 5321 section 4.5.3.2.6, the longest a client waits */
};

void relay_progress(relay *r, size_t octets)
{
    if (octets == 0)
        return;
    r->client_since = r->now;
    session_rate_add(&r->body.rate, r->now, octets);
}

static bool is_reading_body(const relay *r)
{
    return r->state >= RELAY_STATE_DATA && r->state <= RELAY_STATE_CHUNK_REST &&
           r->state != RELAY_STATE_JUDGED;
}

/* The reply to a message is not due before its end. */
static bool waits_for_upstream(const relay *r)
{
    if (r->stalled_since != UINT64_MAX || r->greeting == RELAY_GREETING_TLS)
        return true;
    if (r->upstream_gone || is_reading_body(r) || r->wait_count == 0)
        return false;
    uint8_t kind = r->waits[r->first_wait].kind;
    bool asked = r->asking && r->decided == 0 && kind == RELAY_KIND_AUTH;
    bool unfinished = r->state == RELAY_STATE_JUDGED &&
                      (kind == RELAY_KIND_MESSAGE || kind == RELAY_KIND_LAST_CHUNK);
    return !asked && !unfinished;
}

static bool waits_for_owner(const relay *r)
{
    return r->state == RELAY_STATE_JUDGED || (r->asking && r->decided == 0);
}

static uint64_t after(uint64_t since, uint32_t ms, uint64_t otherwise)
{
    return since + (ms == 0 ? otherwise : ms);
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t rate_expires(const relay *r)
{
    return is_reading_body(r) ? session_rate_expires(&r->body.rate, r->options->min_rate)
                              : SMX_DEADLINE_NEVER;
}

uint64_t relay_deadline(const relay *r)
{
    const relay_options *o = r->options;
    uint64_t latest = r->client_since > r->upstream_since ? r->client_since : r->upstream_since;
    if (r->closed)
        return SMX_DEADLINE_NEVER;
    if (waits_for_upstream(r))
        return after(r->upstream_since, o->upstream_timeout_ms, DEFAULT_UPSTREAM_MS);
    if (is_reading_body(r))
        return least(after(r->client_since, o->idle_timeout_ms, DEFAULT_IDLE_MS), rate_expires(r));
    if (waits_for_owner(r))
        return SMX_DEADLINE_NEVER;
    return after(latest, o->idle_timeout_ms, DEFAULT_IDLE_MS);
}

void relay_expire(relay *r, uint64_t now)
{
    r->now = now;
    if (now < relay_deadline(r))
        return;
    const smx_reply *why = RELAY_SAY(IDLE);
    if (waits_for_upstream(r))
        why = RELAY_SAY(UPSTREAM_SILENT);
    else if (now >= rate_expires(r))
        why = RELAY_SAY(SLOW);
    relay_drop(r);
    relay_cut(r);
    relay_close(r, why);
}

/* The time that was the upstream's is none of the client's. */
void relay_stalled(relay *r, uint64_t now, bool stalled)
{
    r->now = now;
    if (stalled == (r->stalled_since != UINT64_MAX))
        return;
    if (stalled) {
        r->stalled_since = r->upstream_since = now;
        return;
    }
    r->body.rate.start += now - r->stalled_since;
    r->client_since = now;
    r->stalled_since = UINT64_MAX;
}
