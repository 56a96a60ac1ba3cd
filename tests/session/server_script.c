/* Session scripts of the server's machine: a dialogue in time, on a virtual clock, without sockets.
 *
 *     == name
 *     set OPTION [VALUE]       an option of the session (server_owner.c), before anything else
 *     hook: rcpt -> 550 no     the answer to the next event of this kind (`rcpt*`: to all);
 *                              `later` leaves the ticket waiting; for tls: `fail`, `later`
 *     C: text                  the client sends text and CRLF; escapes are \r \n \0 \xHH \\
 *     C*3: text                ... three times; adjacent C: and c: come in one piece
 *     c: text                  the same without CRLF
 *     S: pattern               the next line of output (* and ? as in a shell)
 *     S*3: pattern             ... three such lines
 *     S+: pattern              the next reply of several lines: its first line
 *     silence                  no output is left unread
 *     event: pattern           an event that came, behind the last one asked for
 *     never: pattern           no such event came
 *     answer: 250 text         answers the ticket that waits
 *     gone: 250 text           ... and the session no longer wants the answer
 *     tls-done                 the handshake that was left for later
 *     after 300s               the time passes (ms, s)
 *     client-gone              the client closed the connection
 *     shutdown: text           the owner ends the session
 *     trim                     the owner asks for memory
 *     open                     the session is not closed
 *     close: reason            the session is closed, and why (quit refused timeout ...)
 *
 * At the end all output must have been read. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "server_cases.h"
#include "server_owner.h"

typedef struct script {
    server_owner owner;
    buffer flight; /* what the client is about to send */
    size_t read;   /* octets of the output */
    size_t events; /* octets of the log, up to the last event asked for */
    bool started;
} script;

static smx_slice unread(const script *s)
{
    return slice_from(buffer_slice(&s->owner.output), s->read);
}

static smx_slice next_output(script *s)
{
    smx_slice out = unread(s);
    size_t end = slice_search(out, SMX_SLICE("\r\n"));
    smx_slice line = slice_to(out, end);
    s->read += end == out.len ? end : end + 2;
    return line;
}

static void expect_line(script *s, smx_slice pattern)
{
    smx_slice line = next_output(s);
    if (!slice_matches_glob(line, pattern))
        server_owner_fail(&s->owner, "output \"%.*s\"", (int)line.len, line.data);
}

static void expect_reply(script *s, smx_slice pattern)
{
    smx_slice out = unread(s);
    expect_line(s, pattern);
    while (out.len > 3 && out.data[3] == '-') {
        out = unread(s);
        (void)next_output(s);
    }
}

static void expect_event(script *s, smx_slice pattern)
{
    server_owner_end_body(&s->owner);
    smx_slice rest = slice_from(buffer_slice(&s->owner.log), s->events), line;
    const char *start = rest.data;
    size_t from = s->events;
    while (slice_cut(&rest, '\n', &line)) {
        if (!slice_matches_glob(line, pattern))
            continue;
        s->events = from + (size_t)(line.data - start) + line.len + 1;
        return;
    }
    rest = slice_from(buffer_slice(&s->owner.log), from);
    server_owner_fail(&s->owner, "no such event in \"%.*s\"", (int)rest.len, rest.data);
}

static void expect_never(script *s, smx_slice pattern)
{
    server_owner_end_body(&s->owner);
    smx_slice rest = buffer_slice(&s->owner.log), line;
    while (slice_cut(&rest, '\n', &line))
        if (line.len > 0 && slice_matches_glob(line, pattern))
            server_owner_fail(&s->owner, "event \"%.*s\"", (int)line.len, line.data);
}

static void expect_close(script *s, smx_slice reason)
{
    buffer pattern = {0};
    server_owner_must(buffer_printf(&pattern, "CLOSE %.*s", (int)reason.len, reason.data));
    expect_event(s, buffer_slice(&pattern));
    buffer_free(&pattern);
}

static void expect_silence(script *s, smx_slice rest)
{
    (void)rest;
    if (unread(s).len > 0)
        server_owner_fail(&s->owner, "unread: \"%.*s\"", (int)unread(s).len, unread(s).data);
}

static void expect_open(script *s, smx_slice rest)
{
    (void)rest;
    if (s->owner.closed)
        server_owner_fail(&s->owner, "it is closed");
}

static void pass_time(script *s, smx_slice text)
{
    size_t digits = 0;
    uint64_t number = 0;
    while (digits < text.len && ascii_is_digit(text.data[digits]))
        digits++;
    bool seconds = slice_equal(slice_from(text, digits), SMX_SLICE("s"));
    if (slice_to_number(slice_to(text, digits), 1000000000, &number) != 0)
        server_owner_fail(&s->owner, "not a time");
    server_owner_wait(&s->owner, s->owner.now + (seconds ? number * 1000 : number));
}

static void answer(script *s, smx_slice verdict)
{
    server_owner_answer(&s->owner, verdict);
}

static void answer_gone(script *s, smx_slice verdict)
{
    (void)verdict;
    smx_reply reply = {.code = 250};
    if (smx_server_session_answer(s->owner.session, s->owner.last_ticket, &reply) != SMX_E_GONE)
        server_owner_fail(&s->owner, "the ticket is not gone");
}

static void finish_tls(script *s, smx_slice rest)
{
    (void)rest;
    server_owner_tls_done(&s->owner, 0);
    server_owner_feed(&s->owner, (smx_slice){0});
}

static void leave(script *s, smx_slice rest)
{
    (void)rest;
    smx_server_session_ended(s->owner.session);
    server_owner_feed(&s->owner, (smx_slice){0});
}

static void shut_down(script *s, smx_slice text)
{
    server_owner_must(smx_server_session_shutdown(s->owner.session, text));
    server_owner_feed(&s->owner, (smx_slice){0});
}

static void trim(script *s, smx_slice rest)
{
    (void)rest;
    smx_server_session_trim(s->owner.session);
}

static void hook(script *s, smx_slice rest)
{
    if (!server_owner_add_hook(&s->owner, rest))
        server_owner_fail(&s->owner, "not a hook");
}

static const struct {
    const char *word;
    void (*run)(script *s, smx_slice rest);
} words[] = {
    {"S+:", expect_reply},    {"silence", expect_silence},
    {"event:", expect_event}, {"never:", expect_never},
    {"answer:", answer},      {"gone:", answer_gone},
    {"tls-done", finish_tls}, {"after", pass_time},
    {"client-gone", leave},   {"shutdown:", shut_down},
    {"trim", trim},           {"open", expect_open},
    {"close:", expect_close},
};

/* Collects what the client sends; false if the line is none of it. */
static bool send_line(script *s, smx_slice line)
{
    uint64_t times;
    smx_slice text;
    bool crlf = line.data[0] == 'C';
    if ((!crlf && line.data[0] != 'c') || !server_cases_times(line, &times, &text))
        return false;
    for (uint64_t i = 0; i < times; i++) {
        server_owner_unescape(text, &s->flight);
        if (crlf)
            server_owner_must(buffer_append_text(&s->flight, "\r\n"));
    }
    return true;
}

/* "S: pattern", "S*3: pattern" */
static bool expect_lines(script *s, smx_slice line)
{
    uint64_t times;
    smx_slice pattern;
    if (line.data[0] != 'S' || !server_cases_times(line, &times, &pattern))
        return false;
    for (uint64_t i = 0; i < times; i++)
        expect_line(s, pattern);
    return true;
}

static void start(script *s)
{
    if (!s->started)
        server_owner_start(&s->owner);
    s->started = true;
}

static void send_flight(script *s)
{
    if (buffer_length(&s->flight) == 0)
        return;
    server_owner_feed(&s->owner, buffer_slice(&s->flight));
    buffer_clear(&s->flight);
}

static void run_line(script *s, smx_slice line)
{
    smx_slice rest;
    if (!s->started && server_cases_word(line, "set", &rest)) {
        if (!server_owner_set(&s->owner, rest))
            server_owner_fail(&s->owner, "no such option");
        return;
    }
    if (server_cases_word(line, "hook:", &rest)) {
        hook(s, rest);
        return;
    }
    start(s);
    if (send_line(s, line))
        return;
    send_flight(s);
    if (expect_lines(s, line))
        return;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (!server_cases_word(line, words[i].word, &rest))
            continue;
        words[i].run(s, rest);
        return;
    }
    server_owner_fail(&s->owner, "not understood");
}

static void run(const server_case *c, char *problem, size_t capacity)
{
    script s = {0};
    server_owner_init(&s.owner);
    smx_slice text = c->text, line;
    size_t number = c->line;
    while (s.owner.problem[0] == '\0' && server_cases_next_line(&text, &number, &line))
        run_line(&s, line);
    if (s.owner.problem[0] == '\0') {
        send_flight(&s);
        expect_silence(&s, (smx_slice){0});
    }
    if (s.owner.problem[0] != '\0')
        (void)snprintf(problem, capacity, "line %zu: %s", number, s.owner.problem);
    buffer_free(&s.flight);
    server_owner_free(&s.owner);
}

int main(void)
{
    return server_cases_run("tests/session/server", "session_server_", run);
}
