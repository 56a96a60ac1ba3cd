/* The scripted server and the recorder of the client's callbacks; both end with the test. */
#include "script.h"

#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

#include "base/clock.h"

const char SCRIPT_CLOSE[] = "close";
const char SCRIPT_RESET[] = "reset";

/* ---- the server ---- */

static bool script_ends_in(const script *s, const char *text)
{
    smx_slice got = buffer_slice(&s->got);
    size_t len = strlen(text);
    return got.len >= len && memcmp(got.data + got.len - len, text, len) == 0;
}

static void script_say(script *s, const char *text)
{
    if (text == SCRIPT_CLOSE)
        connection_close(s->server);
    else if (text == SCRIPT_RESET)
        connection_abort(s->server);
    else if (text != NULL)
        assert_int_equal(connection_queue(s->server, slice_of_text(text)), 0);
}

static bool script_is_over(const script *s)
{
    return s->steps[s->at].expect == NULL && s->steps[s->at].say == NULL;
}

static void script_advance(script *s)
{
    while (!script_is_over(s)) {
        const script_step *step = &s->steps[s->at];
        if (step->expect != NULL && !script_ends_in(s, step->expect))
            return;
        buffer_clear(&s->got);
        s->at++;
        script_say(s, step->say);
    }
}

static size_t script_on_data(void *owner, smx_slice in)
{
    script *s = owner;
    assert_int_equal(buffer_append(&s->heard, in), 0);
    for (size_t i = 0; i < in.len; i++) {
        assert_int_equal(buffer_append_char(&s->got, in.data[i]), 0);
        if (in.data[i] == '\n')
            script_advance(s);
    }
    return in.len;
}

static void script_on_ended(void *owner, int error)
{
    script *s = owner;
    (void)error;
    s->server_ended = true;
    connection_close(s->server);
}

static void script_on_closed(void *owner)
{
    script *s = owner;
    s->server = NULL;
}

static void script_on_nothing(void *owner)
{
    (void)owner;
}

static void script_on_accept(void *owner, connection *c)
{
    static const connection_handler handler = {
        .data = script_on_data,
        .ended = script_on_ended,
        .drained = script_on_nothing,
        .timeout = script_on_nothing,
        .closed = script_on_closed,
    };
    script *s = owner;
    assert_null(s->server);
    s->server = c;
    assert_int_equal(connection_start(c, &handler, s), 0);
    script_advance(s);
}

/* ---- the client ---- */

static void script_note(script *s, char call)
{
    assert_true(s->calls_count < sizeof(s->calls) - 1);
    s->calls[s->calls_count++] = call;
}

static void script_on_ready(void *arg, smx_client *client)
{
    script *s = arg;
    script_note(s, 'r');
    if (!s->submits)
        return;
    if (s->results == 0)
        assert_int_equal(smx_client_submit(client, &s->submission), 0);
    else
        smx_client_close(client);
}

static void script_keep(script *s, const smx_client_result *result)
{
    s->result = *result;
    s->code = result->reply.code;
    (void)snprintf(s->detail, sizeof(s->detail), "%s", result->detail);
    for (size_t i = 0; i < result->recipient_count && i < 4; i++)
        s->recipient_codes[i] = result->recipients[i].code;
}

static void script_on_result(void *arg, smx_client *client, const smx_client_result *result)
{
    script *s = arg;
    (void)client;
    script_note(s, '=');
    s->results++;
    script_keep(s, result);
}

static void script_on_recipient(void *arg, smx_client *client, size_t index, const smx_reply *reply)
{
    script *s = arg;
    (void)client;
    script_note(s, 'a');
    s->recipient_codes[index] = reply->code;
}

static void script_on_client_closed(void *arg, smx_client *client, const smx_client_result *result)
{
    script *s = arg;
    (void)client;
    script_note(s, '.');
    s->closed = true;
    s->client = NULL;
    if (s->results == 0)
        script_keep(s, result);
}

void script_open(script *s, const script_step *steps)
{
    static const smx_client_handler handler = {script_on_ready, script_on_result,
                                               script_on_client_closed, script_on_recipient};
    s->steps = steps;
    assert_int_equal(smx_client_new(s->loop, &s->options, &handler, s, &s->client), 0);
}

void script_run(script *s, const script_step *steps)
{
    script_open(s, steps);
    script_until(s, s->closed);
}

void script_run_to(script *s, size_t step)
{
    script_until(s, s->at >= step);
}

bool script_heard(const script *s, const char *text)
{
    smx_slice heard = buffer_slice(&s->heard);
    return memmem(heard.data, heard.len, text, strlen(text)) != NULL;
}

/* ---- the loop ---- */

static void script_on_tick(uv_timer_t *timer)
{
    (void)timer;
}

void script_turn(script *s)
{
    (void)uv_run(smx_loop_uv(s->loop), UV_RUN_ONCE);
}

uint64_t script_clock(void)
{
    return clock_monotonic_ms();
}

static void script_listen(script *s)
{
    const listener_options options = {.fd = -1};
    endpoint at;
    problem p = {0};
    assert_int_equal(endpoint_parse(SMX_SLICE("127.0.0.1:0"), 0, &at, &p), 0);
    assert_int_equal(listener_new(s->loop, &at, &options, script_on_accept, s, &s->listener, &p),
                     0);
    assert_int_equal(listener_start(s->listener), 0);
}

int script_setup(void **state)
{
    script *s = calloc(1, sizeof(*s));
    *state = s;
    if (s == NULL || smx_loop_new(NULL, &s->loop) != 0)
        return -1;
    s->tick = calloc(1, sizeof(*s->tick));
    (void)uv_timer_init(smx_loop_uv(s->loop), s->tick);
    (void)uv_timer_start(s->tick, script_on_tick, 10, 10);
    script_listen(s);
    s->options = (smx_client_options){.version = SMX_CLIENT_VERSION,
                                      .host = "127.0.0.1",
                                      .port = listener_port(s->listener),
                                      .helo = "me.example",
                                      .connect_timeout_ms = 5000};
    static const char *const addresses[] = {"bob@example.org", "carol@example.org"};
    assert_int_equal(smx_mailbox_parse(SMX_SLICE("ann@example.com"), 0, &s->envelope.mail.path), 0);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(smx_mailbox_parse(slice_of_text(addresses[i]), 0, &s->recipients[i].path),
                         0);
    s->envelope.recipients = s->recipients;
    s->envelope.recipient_count = 1;
    s->submission = (smx_submission){.envelope = &s->envelope,
                                     .header = SMX_SLICE("Subject: x\r\n\r\nbody\r\n"),
                                     .all_or_nothing = true};
    s->submits = true;
    return 0;
}

int script_teardown(void **state)
{
    script *s = *state;
    if (s->client != NULL) {
        smx_client_close(s->client);
        script_until(s, s->closed);
    }
    if (s->server != NULL)
        connection_abort(s->server);
    script_until(s, s->server == NULL);
    listener_free(s->listener);
    uv_close((uv_handle_t *)s->tick, NULL);
    script_turn(s);
    smx_loop_free(s->loop);
    free(s->tick);
    buffer_free(&s->got);
    buffer_free(&s->heard);
    free(s);
    return 0;
}
