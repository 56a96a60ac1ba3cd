/* Time, rate, and what a client may do wrong before it has to go. */
#include "session/server_states.h"

enum {
    DEFAULT_IDLE_MS = 300000, /* RFC 5321 section 4.5.3.2.7 */
    DEFAULT_DATA_MS = 180000,
    DEFAULT_ERRORS = 20,
    DEFAULT_IDLE_COMMANDS = 1000,
    LEAST_RECIPIENTS = 100, /* RFC 5321 section 4.5.3.1.8 */
};

static void set_default(uint32_t *option, uint32_t value)
{
    if (*option == 0)
        *option = value;
}

void session_server_limits_set(smx_server_session_options *options)
{
    set_default(&options->idle_timeout_ms, DEFAULT_IDLE_MS);
    set_default(&options->data_timeout_ms, DEFAULT_DATA_MS);
    set_default(&options->max_errors, DEFAULT_ERRORS);
    set_default(&options->max_idle_commands, DEFAULT_IDLE_COMMANDS);
    if (options->max_recipients < LEAST_RECIPIENTS)
        options->max_recipients = LEAST_RECIPIENTS;
    if (options->ticket_step == 0)
        options->ticket_step = 1;
}

/* 452 4.5.3 is no error of the client, who sends these recipients later (RFC 5321 section
 * 4.5.3.1.10): it counts as a command without work. */
static bool is_recipient_limit(const smx_reply *reply)
{
    const smx_enhanced limit = SERVER_REPLY(TOO_MANY_RECIPIENTS)->enhanced;
    return reply->code == SERVER_REPLY(TOO_MANY_RECIPIENTS)->code &&
           reply->enhanced.subject == limit.subject && reply->enhanced.detail == limit.detail;
}

void session_server_count_reply(smx_server_session *s, const smx_reply *reply)
{
    if (is_recipient_limit(reply)) {
        (void)session_server_count_idle(s);
        return;
    }
    if (reply->code < 400)
        s->errors = 0;
    else if (++s->errors >= s->options.max_errors)
        session_server_close(s, SMX_CLOSE_ERRORS, SERVER_REPLY(ERRORS));
}

bool session_server_count_idle(smx_server_session *s)
{
    if (s->idle_commands < s->options.max_idle_commands) {
        s->idle_commands++;
        return false;
    }
    session_server_close(s, SMX_CLOSE_ERRORS, SERVER_REPLY(IDLE_COMMANDS));
    return true;
}

void session_server_touch(smx_server_session *s)
{
    s->timer_start = s->now;
    s->line_rate = (session_rate){0};
}

void session_server_rate_line(smx_server_session *s, uint64_t octets)
{
    if (octets > s->line_rate.octets)
        session_rate_add(&s->line_rate, s->now, octets - s->line_rate.octets);
}

uint64_t session_server_expires(const smx_server_session *s)
{
    server_timer timer = session_server_states[s->state].timer;
    if (timer == SERVER_TIMER_NONE)
        return SMX_DEADLINE_NEVER;
    bool body = timer == SERVER_TIMER_DATA;
    uint64_t silence =
        s->timer_start + (body ? s->options.data_timeout_ms : s->options.idle_timeout_ms);
    uint64_t slow = session_rate_expires(body ? &s->body_rate : &s->line_rate, s->options.min_rate);
    return slow < silence ? slow : silence;
}
