/* The breaker: three states, and what moves between them. */
#include "upstream/breaker.h"

enum { FAILURES_DEFAULT = 5, PAUSE_DEFAULT_MS = 30000, PAUSE_LONGEST_DEFAULT_MS = 600000 };

static uint32_t breaker_setting(uint32_t configured, uint32_t usual)
{
    return configured == 0 ? usual : configured;
}

void breaker_configure(breaker *b, const breaker_options *options)
{
    b->options = (breaker_options){
        .failures = breaker_setting(options->failures, FAILURES_DEFAULT),
        .pause_ms = breaker_setting(options->pause_ms, PAUSE_DEFAULT_MS),
        .max_pause_ms = breaker_setting(options->max_pause_ms, PAUSE_LONGEST_DEFAULT_MS),
    };
    if (b->options.max_pause_ms < b->options.pause_ms)
        b->options.max_pause_ms = b->options.pause_ms;
}

breaker_permission breaker_ask(breaker *b, uint64_t now)
{
    if (b->state == BREAKER_CLOSED)
        return BREAKER_ALLOWS;
    if (b->state == BREAKER_HALF_OPEN || now < b->until)
        return BREAKER_REFUSES;
    b->state = BREAKER_HALF_OPEN;
    return BREAKER_ALLOWS_PROBE;
}

bool breaker_succeed(breaker *b)
{
    bool was_closed = b->state == BREAKER_CLOSED;
    b->state = BREAKER_CLOSED;
    b->failures = 0;
    b->pause_ms = 0;
    return !was_closed;
}

static uint32_t breaker_next_pause(const breaker *b)
{
    if (b->pause_ms == 0)
        return b->options.pause_ms;
    return b->pause_ms > b->options.max_pause_ms / 2 ? b->options.max_pause_ms : b->pause_ms * 2;
}

bool breaker_fail(breaker *b, uint64_t now)
{
    if (b->failures < UINT32_MAX)
        b->failures++;
    if (b->state == BREAKER_OPEN ||
        (b->state == BREAKER_CLOSED && b->failures < b->options.failures))
        return false;
    b->state = BREAKER_OPEN;
    b->pause_ms = breaker_next_pause(b);
    b->until = now + b->pause_ms;
    return true;
}

void breaker_give_back(breaker *b)
{
    if (b->state == BREAKER_HALF_OPEN)
        b->state = BREAKER_OPEN;
}

const char *breaker_state_text(breaker_state state)
{
    static const char *const texts[] = {"closed", "open", "half-open"};
    return texts[state];
}
