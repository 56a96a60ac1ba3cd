/* Wire transcripts of the relay, replayed at every chunk size of both sides.
 *
 *     == name
 *     set OPTION [VALUE]     an option of the session (relay_owner.c)
 *     ask: rcpt -> refuse 550 5.1.1 no      what the owner says the next time
 *     whole                  the input is not cut: the outcome hangs on what comes together
 *     C: text                the client sends text and CRLF; escapes are \r \n \0 \xHH \\
 *     c: text                the same without CRLF; also C*3:
 *     U: text   u: text      the upstream sends it
 *     greeted                the banner, EHLO and its reply have passed; `mail`: MAIL and one RCPT too
 *     do: action             what else happens (relay_owner.c)
 *     >: line   >. text      what the upstream was sent since, with CRLF or without; also >*3:
 *     <: line   <. text      ... and the client
 *     E: event               the other events since
 *     W: client upstream     the sides whose octets are not wanted now, or `none`
 *     D: milliseconds        from now to the deadline, or `never`
 *
 * Adjacent lines of one side are one flight. At the next thing that happens, and at the end, nothing may
 * be left of what was sent or told. Sizes from 1 to the longest flight, for each side alone and both. */
#include <stdio.h>
#include <stdlib.h>

#include "../session/relay_owner.h"
#include "../session/server_cases.h"
#include "../session/server_owner.h"

enum { SMALL_FLIGHT = 300 };

typedef struct replay {
    relay_owner owner;
    size_t chunk[2];
    buffer flight;
    relay_side side;
    size_t longest; /* flight */
    size_t line;
    bool started;
    bool whole;
} replay;

static void fail_at(replay *p, const char *what, smx_slice text)
{
    buffer shown = {0};
    server_owner_escape(text, &shown);
    relay_owner_fail(&p->owner, "line %zu, chunks of %zu and %zu: %s \"%.*s\"", p->line,
                     p->chunk[0], p->chunk[1], what, (int)buffer_length(&shown),
                     buffer_slice(&shown).data);
    buffer_free(&shown);
}

static void start(replay *p)
{
    if (p->started)
        return;
    p->started = true;
    relay_owner_start(&p->owner);
}

static void fly(replay *p)
{
    smx_slice rest = buffer_slice(&p->flight);
    size_t chunk = p->chunk[p->side];
    if (rest.len > p->longest)
        p->longest = rest.len;
    start(p);
    while (rest.len > 0 && p->owner.problem[0] == '\0') {
        size_t len = rest.len < chunk ? rest.len : chunk;
        relay_owner_feed(&p->owner, p->side, slice_to(rest, len));
        rest = slice_from(rest, len);
    }
    buffer_clear(&p->flight);
}

/* Nothing unexpected is left of what came before. */
static void check_empty(replay *p)
{
    relay_owner *o = &p->owner;
    relay_owner_end_body(o);
    if (buffer_length(&o->out[RELAY_UPSTREAM]) > 0)
        fail_at(p, "the upstream was sent", buffer_slice(&o->out[RELAY_UPSTREAM]));
    if (buffer_length(&o->out[RELAY_CLIENT]) > 0)
        fail_at(p, "the client was sent", buffer_slice(&o->out[RELAY_CLIENT]));
    if (buffer_length(&o->log) > 0)
        fail_at(p, "event", buffer_slice(&o->log));
}

static void add_flight(replay *p, relay_side side, smx_slice text, uint64_t times, bool line)
{
    if (buffer_length(&p->flight) > 0 && p->side != side)
        fly(p);
    if (buffer_length(&p->flight) == 0)
        check_empty(p);
    p->side = side;
    for (uint64_t i = 0; i < times; i++) {
        server_owner_unescape(text, &p->flight);
        server_owner_must(buffer_append_text(&p->flight, line ? "\r\n" : ""));
    }
}

static void expect(replay *p, buffer *from, smx_slice text, const char *end)
{
    buffer should = {0};
    server_owner_unescape(text, &should);
    server_owner_must(buffer_append_text(&should, end));
    smx_slice is = buffer_slice(from);
    if (slice_starts_with(is, buffer_slice(&should)))
        buffer_consume(from, buffer_length(&should));
    else
        fail_at(p, "not as expected:", is);
    buffer_free(&should);
}

static void expect_event(replay *p, smx_slice text)
{
    buffer line = {0};
    relay_owner_end_body(&p->owner);
    server_owner_must(buffer_append(&line, text));
    server_owner_must(buffer_append_text(&line, "\n"));
    smx_slice is = buffer_slice(&p->owner.log);
    if (slice_starts_with(is, buffer_slice(&line)))
        buffer_consume(&p->owner.log, buffer_length(&line));
    else
        fail_at(p, "other event:", is);
    buffer_free(&line);
}

static void expect_waiting(replay *p, smx_slice text)
{
    const relay *r = p->owner.relay;
    bool client = slice_search(text, SMX_SLICE("client")) < text.len;
    bool upstream = slice_search(text, SMX_SLICE("upstream")) < text.len;
    if (relay_is_waiting(r, RELAY_CLIENT) != client ||
        relay_is_waiting(r, RELAY_UPSTREAM) != upstream)
        fail_at(p, "waiting is not:", text);
}

static void expect_deadline(replay *p, smx_slice text)
{
    uint64_t deadline = relay_deadline(p->owner.relay);
    char is[32] = "never";
    if (deadline != UINT64_MAX)
        (void)snprintf(is, sizeof(is), "%lld", (long long)(deadline - p->owner.now));
    if (!slice_equal(text, slice_of_text(is)))
        fail_at(p, "deadline is", slice_of_text(is));
}

/* "<: text", ">*3. text". */
static bool read_expected(replay *p, smx_slice line)
{
    relay_owner *o = &p->owner;
    buffer *from = &o->out[line.data[0] == '>' ? RELAY_UPSTREAM : RELAY_CLIENT];
    size_t at = 1;
    uint64_t times = 1;
    while (at < line.len && line.data[at] != ':' && line.data[at] != '.')
        at++;
    if (at == line.len ||
        (at > 1 && slice_to_number(slice_of(line.data + 2, at - 2), 1000000, &times) != 0))
        return false;
    bool is_line = line.data[at] == ':';
    smx_slice text = slice_from(line, at + 1);
    if (text.len > 0)
        text = slice_from(text, 1);
    for (uint64_t i = 0; i < times; i++)
        expect(p, from, text, is_line ? "\r\n" : "");
    return true;
}

/* A line of what is expected, or checked. False: it is none. */
static bool read_check(replay *p, smx_slice line)
{
    smx_slice rest;
    fly(p);
    if (line.data[0] == '>' || line.data[0] == '<')
        return read_expected(p, line);
    if (server_cases_word(line, "E:", &rest))
        expect_event(p, rest);
    else if (server_cases_word(line, "W:", &rest))
        expect_waiting(p, rest);
    else if (server_cases_word(line, "D:", &rest))
        expect_deadline(p, rest);
    else
        return false;
    return true;
}

/* What is not looked at: the way to where the case begins. */
static void pass_by(replay *p, relay_side side, const char *text)
{
    check_empty(p);
    start(p);
    relay_owner_feed(&p->owner, side, slice_of_text(text));
    relay_owner_end_body(&p->owner);
    buffer_clear(&p->owner.out[RELAY_CLIENT]);
    buffer_clear(&p->owner.out[RELAY_UPSTREAM]);
    buffer_clear(&p->owner.log);
}

static bool read_way(replay *p, smx_slice line)
{
    if (slice_equal(line, SMX_SLICE("greeted"))) {
        pass_by(p, RELAY_UPSTREAM, "220 mx\r\n");
        pass_by(p, RELAY_CLIENT, p->owner.options.lmtp ? "LHLO c\r\n" : "EHLO c\r\n");
        pass_by(p, RELAY_UPSTREAM, "250-mx\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 PRDR\r\n");
        return true;
    }
    if (!slice_equal(line, SMX_SLICE("mail")))
        return false;
    fly(p);
    pass_by(p, RELAY_CLIENT, "MAIL FROM:<a@b>\r\n");
    pass_by(p, RELAY_UPSTREAM, "250 ok\r\n");
    pass_by(p, RELAY_CLIENT, "RCPT TO:<c@d>\r\n");
    pass_by(p, RELAY_UPSTREAM, "250 ok\r\n");
    return true;
}

static bool read_line(replay *p, smx_slice line)
{
    smx_slice rest;
    uint64_t times = 0;
    if (read_way(p, line))
        return true;
    if (server_cases_word(line, "set", &rest))
        return relay_owner_set(&p->owner, rest);
    if (server_cases_word(line, "ask:", &rest))
        return relay_owner_add_ask(&p->owner, rest);
    if (server_cases_word(line, "whole", &rest))
        return p->whole = true;
    if (server_cases_word(line, "do:", &rest)) {
        fly(p);
        check_empty(p);
        return relay_owner_do(&p->owner, rest);
    }
    if (strchr("CcUu", line.data[0]) != NULL && server_cases_times(line, &times, &rest)) {
        bool is_client = line.data[0] == 'C' || line.data[0] == 'c';
        add_flight(p, is_client ? RELAY_CLIENT : RELAY_UPSTREAM, rest, times,
                   line.data[0] == 'C' || line.data[0] == 'U');
        return true;
    }
    return read_check(p, line);
}

static void run_once(const server_case *c, replay *p)
{
    smx_slice text = c->text;
    smx_slice line;
    size_t number = c->line;
    relay_owner_init(&p->owner);
    while (p->owner.problem[0] == '\0' && server_cases_next_line(&text, &number, &line)) {
        p->line = number;
        if (!read_line(p, line))
            relay_owner_fail(&p->owner, "line %zu is not understood", number);
    }
    if (p->owner.problem[0] == '\0') {
        fly(p);
        check_empty(p);
    }
}

static bool run_sizes(const server_case *c, size_t client, size_t upstream, size_t *longest,
                      char *problem, size_t capacity)
{
    replay p = {.chunk = {client, upstream}};
    run_once(c, &p);
    *longest = p.whole ? 0 : p.longest;
    bool holds = p.owner.problem[0] == '\0';
    if (!holds)
        (void)snprintf(problem, capacity, "%s", p.owner.problem);
    buffer_free(&p.flight);
    relay_owner_free(&p.owner);
    return holds;
}

static bool is_tried(size_t chunk, size_t longest)
{
    static const size_t sizes[] = {512, 998, 1024, 4096, 8192, 65536};
    if (longest <= SMALL_FLIGHT || chunk <= 20)
        return true;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        if (chunk + 1 >= sizes[i] && chunk <= sizes[i] + 1)
            return true;
    return false;
}

static void run(const server_case *c, char *problem, size_t capacity)
{
    size_t longest = 0;
    size_t ignored;
    if (!run_sizes(c, SIZE_MAX, SIZE_MAX, &longest, problem, capacity))
        return;
    for (size_t chunk = 1; chunk < longest; chunk++)
        if (is_tried(chunk, longest) &&
            (!run_sizes(c, chunk, chunk, &ignored, problem, capacity) ||
             !run_sizes(c, chunk, SIZE_MAX, &ignored, problem, capacity) ||
             !run_sizes(c, SIZE_MAX, chunk, &ignored, problem, capacity)))
            return;
}

int main(void)
{
    return server_cases_run("tests/wire/proxy", "wire_proxy_", run);
}
