/* Wire transcripts of the server's machine, replayed at every chunk size.
 *
 *     == name
 *     set OPTION [VALUE]     an option of the session (server_owner.c)
 *     hook: rcpt -> 550 no   the answer to the next event of this kind (`rcpt*`: to all)
 *     whole                  the input is not cut: the outcome hangs on what comes together
 *     C: text                the client sends text and CRLF; escapes are \r \n \0 \xHH \\
 *     C*3: text              ... three times
 *     c: text                the same without CRLF;  c*70000: a
 *     wait                   the client waits here until all it sent was answered
 *     E: event               the events that are expected, in order
 *     S: line                the lines of output that are expected, in order; also E*3:, S*3:
 *
 * Every size from 1 to the length of the input is tried; of long inputs all up to 80 and some around
 * the sizes that buffers have. The events (adjacent BODY events as one) and the output must be the
 * expected ones each time. */
#include <stdio.h>
#include <stdlib.h>

#include "../session/server_cases.h"
#include "../session/server_owner.h"

enum { FLIGHTS = 16, SMALL_INPUT = 700 };

typedef struct transcript {
    buffer setup; /* the lines of set and hook */
    buffer input;
    size_t flights[FLIGHTS]; /* where each ends in the input */
    size_t flight_count;
    buffer events;
    buffer output;
    bool whole;
    size_t bad_line; /* that cannot be read, or 0 */
} transcript;

static void add_line(buffer *b, smx_slice text, const char *end)
{
    server_owner_must(buffer_append(b, text));
    server_owner_must(buffer_append_text(b, end));
}

/* What one of the letters C c E S adds. */
static bool add_text(transcript *t, char letter, smx_slice text)
{
    switch (letter) {
    case 'C':
    case 'c':
        server_owner_unescape(text, &t->input);
        add_line(&t->input, (smx_slice){0}, letter == 'C' ? "\r\n" : "");
        return true;
    case 'E':
        add_line(&t->events, text, "\n");
        return true;
    case 'S':
        server_owner_unescape(text, &t->output);
        add_line(&t->output, (smx_slice){0}, "\r\n");
        return true;
    default:
        return false;
    }
}

static void read_line(transcript *t, smx_slice line, size_t number)
{
    smx_slice rest;
    uint64_t times = 0; /* none of the letters */
    bool known = true;
    if (server_cases_word(line, "set", &rest) || server_cases_word(line, "hook:", &rest))
        add_line(&t->setup, line, "\n");
    else if (server_cases_word(line, "whole", &rest))
        t->whole = true;
    else if (server_cases_word(line, "wait", &rest) && t->flight_count + 1 < FLIGHTS)
        t->flights[t->flight_count++] = buffer_length(&t->input);
    else
        known = server_cases_times(line, &times, &rest);
    for (uint64_t i = 0; known && i < times; i++)
        known = add_text(t, line.data[0], rest);
    if (!known)
        t->bad_line = number;
}

static void read_transcript(transcript *t, const server_case *c)
{
    smx_slice text = c->text, line;
    size_t number = c->line;
    while (server_cases_next_line(&text, &number, &line))
        read_line(t, line, number);
    t->flights[t->flight_count++] = buffer_length(&t->input);
}

static void transcript_free(transcript *t)
{
    buffer_free(&t->setup);
    buffer_free(&t->input);
    buffer_free(&t->events);
    buffer_free(&t->output);
}

static void set_up(server_owner *o, const transcript *t)
{
    smx_slice setup = buffer_slice(&t->setup), line, rest;
    while (slice_cut(&setup, '\n', &line)) {
        bool known = true;
        if (server_cases_word(line, "set", &rest))
            known = server_owner_set(o, rest);
        else if (server_cases_word(line, "hook:", &rest))
            known = server_owner_add_hook(o, rest);
        if (!known)
            server_owner_fail(o, "not understood: %.*s", (int)line.len, line.data);
    }
}

/* The first line in which two texts differ. */
static void compare(server_owner *o, const char *what, const buffer *is, const buffer *should)
{
    smx_slice a = buffer_slice(is), b = buffer_slice(should), line_a = {0}, line_b = {0};
    if (slice_equal(a, b))
        return;
    for (;;) {
        bool more_a = slice_cut(&a, '\n', &line_a), more_b = slice_cut(&b, '\n', &line_b);
        if (more_a && more_b && slice_equal(line_a, line_b))
            continue;
        server_owner_fail(o, "%s: got \"%.*s\", not \"%.*s\"", what, more_a ? (int)line_a.len : 4,
                          more_a ? line_a.data : "end.", more_b ? (int)line_b.len : 4,
                          more_b ? line_b.data : "end.");
        return;
    }
}

static void replay(const transcript *t, size_t chunk, server_owner *o)
{
    server_owner_init(o);
    set_up(o, t);
    server_owner_start(o);
    smx_slice input = buffer_slice(&t->input);
    size_t at = 0;
    for (size_t flight = 0; flight < t->flight_count; flight++) {
        while (at < t->flights[flight]) {
            size_t len = t->flights[flight] - at;
            len = len < chunk ? len : chunk;
            server_owner_feed(o, slice_of(input.data + at, len));
            at += len;
        }
    }
    server_owner_end_body(o);
    compare(o, "event", &o->log, &t->events);
    compare(o, "output", &o->output, &t->output);
}

static bool is_tried(const transcript *t, size_t chunk)
{
    static const size_t sizes[] = {512, 1000, 1024, 4096, 8192, 65536};
    size_t len = buffer_length(&t->input);
    if (t->whole)
        return chunk == len;
    if (len <= SMALL_INPUT || chunk <= 80 || chunk == len)
        return true;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        if (chunk + 1 >= sizes[i] && chunk <= sizes[i] + 1)
            return true;
    return false;
}

static void run(const server_case *c, char *problem, size_t capacity)
{
    transcript t = {0};
    read_transcript(&t, c);
    if (t.bad_line != 0)
        (void)snprintf(problem, capacity, "line %zu is not understood", t.bad_line);
    size_t len = buffer_length(&t.input);
    for (size_t chunk = 1; chunk <= len && problem[0] == '\0'; chunk++) {
        if (!is_tried(&t, chunk))
            continue;
        server_owner o;
        replay(&t, chunk, &o);
        if (o.problem[0] != '\0')
            (void)snprintf(problem, capacity, "line %zu, chunks of %zu: %s", c->line, chunk,
                           o.problem);
        server_owner_free(&o);
    }
    transcript_free(&t);
}

int main(void)
{
    return server_cases_run("tests/wire/server", "wire_server_", run);
}
