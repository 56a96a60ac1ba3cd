/* The server's machine: cut the input anywhere, and the events and the output stay the same. What
 * must hold for every session besides is watched over by the scripted owner.
 *
 * Octet 0 of the input chooses options, octet 1 the owner's verdicts; the rest is what the client
 * sends. An octet of 0xff is no octet but the client waiting for all replies: AUTH and STARTTLS
 * may have nothing behind them that comes early. */
#include "../session/server_owner.h"
#include "fuzz.h"
#include "session/server_states.h"

enum { OPTION_OCTETS = 2, WAIT = 0xff };

static void choose(server_owner *o, const uint8_t *data)
{
    static const char *const sets[] = {"lmtp",         "normalize",     "max_size 60",
                                       "xclient",      "auth_required", "tls",
                                       "max_errors 4", "tls_required"};
    static const char *const hooks[] = {"mail -> 550 no", "rcpt -> 451 later", "data -> 450 no",
                                        "eom -> 554 no",  "auth -> 334 more",  "helo -> 550 no",
                                        "xclient -> 550", "rcpt -> 421 bye"};
    server_owner_init(o);
    (void)server_owner_set(o, SMX_SLICE("auth_clear PLAIN LOGIN"));
    (void)server_owner_set(o, SMX_SLICE("auth_tls PLAIN"));
    for (size_t i = 0; i < 8; i++) {
        if ((data[0] >> i & 1) != 0)
            FUZZ_CHECK(server_owner_set(o, slice_of_text(sets[i])));
        if ((data[1] >> i & 1) != 0)
            FUZZ_CHECK(server_owner_add_hook(o, slice_of_text(hooks[i])));
    }
}

/* True if the octets before `end` may be a line that nothing may follow before its reply: AUTH,
 * STARTTLS, a response. (Where a command begins is not known behind a chunk: anywhere in it.) */
static bool ends_alone(const server_owner *o, smx_slice in, size_t end)
{
    char line[16] = {0}; /* the last octets, as capitals */
    if (end == 0 || in.data[end - 1] != '\n')
        return false;
    if (o->exchange)
        return true;
    for (size_t i = end - 1; i > 0 && in.data[i - 1] != '\n'; i--) {
        if (in.data[i - 1] == (char)WAIT)
            continue;
        memmove(line + 1, line, sizeof line - 2);
        line[0] = ascii_upper(in.data[i - 1]);
        smx_slice start = slice_of_text(line);
        if (slice_starts_with(start, SMX_SLICE("AUTH")) ||
            slice_starts_with(start, SMX_SLICE("STARTTLS")))
            return true;
    }
    return false;
}

/* Octets that the client sends without waiting. */
static size_t flight_end(smx_slice in, size_t at)
{
    return at + slice_find(slice_from(in, at), (char)WAIT);
}

/* Counts what must have been answered, from the states between which an octet led. */
typedef struct reply_count {
    size_t due;
    bool known;
} reply_count;

static void count_due(reply_count *count, server_state before, server_state after, smx_slice piece)
{
    bool was_body = before == SERVER_DATA || before == SERVER_DATA_REST;
    bool is_body = after == SERVER_DATA || after == SERVER_DATA_REST;
    bool was_line = before == SERVER_COMMAND || before == SERVER_AUTH || before == SERVER_LINE_REST;
    count->known = count->known && piece.len == 1;
    if (was_line && piece.data[0] == '\n')
        count->due++;
    if (was_body && !is_body) /* the reply behind 354 */
        count->due++;
}

static size_t count_replies(smx_slice output)
{
    size_t count = 0;
    smx_slice line;
    while (slice_cut(&output, '\n', &line))
        count += line.len > 3 && line.data[3] != '-';
    return count;
}

/* The banner, and exactly one reply for each command. */
static void check_replies(const server_owner *o, const reply_count *count)
{
    server_state state = o->session->state;
    bool quiet = (state == SERVER_COMMAND || state == SERVER_AUTH) && buffer_length(&o->input) == 0;
    if (quiet && count->known && !o->options.lmtp)
        FUZZ_CHECK(count_replies(buffer_slice(&o->output)) == 1 + count->due);
}

static void feed_all(server_owner *o, smx_slice in, enum fuzz_cut way)
{
    fuzz_cutter cutter = fuzz_cutter_of(way, in);
    reply_count count = {.known = way == FUZZ_SINGLE};
    size_t at = 0;
    while (at < in.len) {
        size_t end = flight_end(in, at);
        if (end == at) {
            at++;
            continue;
        }
        size_t len = fuzz_next(&cutter, end - at);
        while (at + len < end && ends_alone(o, in, at + len))
            len++;
        smx_slice piece = slice_of(in.data + at, len);
        server_state before = o->session->state;
        server_owner_feed(o, piece);
        count_due(&count, before, o->session->state, piece);
        at += len;
    }
    check_replies(o, &count);
}

static void run(server_owner *o, const uint8_t *data, smx_slice in, enum fuzz_cut way)
{
    choose(o, data);
    server_owner_start(o);
    feed_all(o, in, way);
    server_owner_end_body(o);
    if (o->problem[0] != '\0')
        (void)fprintf(stderr, "%s\n", o->problem);
    FUZZ_CHECK(o->problem[0] == '\0');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < OPTION_OCTETS)
        return 0;
    smx_slice in = slice_of((const char *)data + OPTION_OCTETS, size - OPTION_OCTETS);
    server_owner whole;
    run(&whole, data, in, FUZZ_WHOLE);
    for (enum fuzz_cut way = FUZZ_SINGLE; way < FUZZ_CUTS; way++) {
        server_owner cut;
        run(&cut, data, in, way);
        FUZZ_CHECK(slice_equal(buffer_slice(&cut.log), buffer_slice(&whole.log)));
        FUZZ_CHECK(slice_equal(buffer_slice(&cut.output), buffer_slice(&whole.output)));
        server_owner_free(&cut);
    }
    server_owner_free(&whole);
    return 0;
}
