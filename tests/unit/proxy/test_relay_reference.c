/* Random pipelined dialogues with a small model of a server: a client behind the relay, fed in random
 * pieces, sees what it would see of the server itself, and the server hears what it would hear. */
#include "support/unit_test.h"

#include "base/buffer.h"
#include "base/slice.h"
#include "proxy/relay.h"

enum { DIALOGUES = 3000, COMMANDS = 60, TURNS = 200000 };

/* ---- chance ---- */

static unsigned roll(uint64_t *seed, unsigned sides)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(*seed >> 33) % sides;
}

static void must(int error)
{
    assert_int_equal(error, 0);
}

/* ---- the model: what a server says hangs on its own chance, command after command ---- */

typedef struct model {
    uint64_t seed;
    buffer in;
    buffer heard;
    buffer said;
    bool greets;
    bool in_data;
    bool in_auth;
    bool mail;
    unsigned recipients;
    uint64_t chunk;
    bool chunk_last;
    bool in_chunk;
    bool gone;
} model;

static void say(model *m, const char *yes)
{
    static const char *const no[] = {"450 4.2.0 later\r\n", "550-5.1.1 no\r\n550 5.1.1 never\r\n",
                                     "503 what\r\n", "501\r\n"};
    bool refuses = yes == NULL || roll(&m->seed, 4) == 0;
    must(buffer_append_text(&m->said, refuses ? no[roll(&m->seed, 4)] : yes));
}

static bool is(smx_slice line, const char *verb)
{
    return slice_starts_with_nocase(line, slice_of_text(verb));
}

/* True: it said yes. */
static bool answers(model *m, const char *yes)
{
    size_t before = buffer_length(&m->said);
    say(m, yes);
    return buffer_slice(&m->said).data[before] < '4';
}

static void begin_chunk(model *m, smx_slice line)
{
    smx_command command;
    smx_command_parse(line, &command);
    assert_int_equal(smx_bdat_parse(command.argument, &m->chunk, &m->chunk_last), 0);
    m->in_chunk = true;
}

static void obey(model *m, smx_slice line)
{
    if (is(line, "EHLO")) /* never refused: without CHUNKING the relay answers BDAT itself */
        must(buffer_append_text(&m->said, "250-model\r\n250-PIPELINING\r\n250 CHUNKING\r\n"));
    else if (is(line, "MAIL"))
        m->mail = answers(m, "250 2.1.0 sender\r\n") || m->mail;
    else if (is(line, "RCPT"))
        m->recipients += answers(m, m->mail ? "250 2.1.5 recipient\r\n" : NULL);
    else if (is(line, "DATA"))
        m->in_data = answers(m, m->recipients > 0 ? "354 go on\r\n" : NULL);
    else if (is(line, "BDAT"))
        begin_chunk(m, line);
    else if (is(line, "AUTH"))
        m->in_auth = answers(m, "334 Zm9v\r\n");
    else if (is(line, "QUIT"))
        m->gone = answers(m, "221 2.0.0 bye\r\n");
    else
        say(m, is(line, "NOOP") || is(line, "RSET") ? "250-two\r\n250 lines\r\n" : NULL);
}

static void hear_line(model *m, smx_slice line)
{
    if (m->in_auth) {
        m->in_auth = roll(&m->seed, 2) == 0;
        must(buffer_append_text(&m->said, m->in_auth ? "334 more\r\n" : "535 5.7.8 no\r\n"));
    } else if (!m->in_data) {
        obey(m, line);
    } else if (slice_equal(line, SMX_SLICE("."))) {
        m->in_data = m->mail = false;
        m->recipients = 0;
        say(m, "250 2.0.0 queued\r\n");
    }
}

static bool hear_some(model *m)
{
    smx_slice in = buffer_slice(&m->in);
    if (m->gone)
        return false;
    if (m->in_chunk) {
        size_t len = in.len < m->chunk ? in.len : (size_t)m->chunk;
        buffer_consume(&m->in, len);
        m->chunk -= len;
        m->in_chunk = m->chunk > 0;
        if (!m->in_chunk)
            say(m, m->recipients > 0 ? "250 2.0.0 chunk\r\n" : NULL);
        return !m->in_chunk;
    }
    size_t end = slice_find(in, '\n');
    if (end == in.len)
        return false;
    hear_line(m, slice_to(in, end - 1));
    buffer_consume(&m->in, end + 1);
    return true;
}

static void hear(model *m, smx_slice octets)
{
    if (!m->greets)
        must(buffer_append_text(&m->said, "220-model\r\n220 ready\r\n"));
    m->greets = true;
    must(buffer_append(&m->heard, octets));
    must(buffer_append(&m->in, octets));
    while (hear_some(m))
        continue;
}

static void model_free(model *m)
{
    buffer_free(&m->in);
    buffer_free(&m->heard);
    buffer_free(&m->said);
}

/* ---- the client ---- */

static void write_body(buffer *b, uint64_t *seed)
{
    static const char *const lines[] = {
        "x", "..", ".x", "x: y", "..x", "x.", "xxxxxxxxxxxxxxxxxxxx"};
    for (unsigned i = roll(seed, 6); i > 0; i--)
        must(buffer_printf(b, "%s\r\n", lines[roll(seed, 7)]));
    must(buffer_append_text(b, ".\r\n"));
}

static void write_chunk(buffer *b, uint64_t *seed)
{
    unsigned lines = roll(seed, 4);
    must(buffer_printf(b, "%s %u%s\r\n", roll(seed, 2) ? "BDAT" : "bdat", lines * 8,
                       roll(seed, 2) ? " LAST" : ""));
    while (lines-- > 0)
        must(buffer_append_text(b, roll(seed, 2) ? "QUIT x\r\n" : "DATA  \r\n"));
}

static void write_dialogue(buffer *b, uint64_t *seed)
{
    static const char *const lines[] = {"MAIL FROM:<a@b.example>",
                                        "MAIL FROM:<>  SIZE=5",
                                        "RCPT TO:<c@d.example>",
                                        "rcpt TO:<e@f.example>",
                                        "RCPT TO:<g@h>",
                                        "NOOP  x",
                                        "RSET",
                                        "FOO bar",
                                        "",
                                        "VRFY x",
                                        "AUTH PLAIN",
                                        "*"};
    must(buffer_append_text(b, "EHLO client.example\r\n"));
    for (unsigned i = roll(seed, COMMANDS); i > 0; i--) {
        unsigned kind = roll(seed, 16);
        if (kind < 12)
            must(buffer_printf(b, "%s\r\n", lines[kind]));
        else if (kind == 12)
            write_chunk(b, seed);
        else if (kind == 13)
            must(buffer_append_text(b, roll(seed, 4) ? "HELP\r\n" : "QUIT\r\n"));
        else
            must(buffer_append_text(b, "DATA\r\n"));
        if (kind >= 14)
            write_body(b, seed);
    }
    must(buffer_append_text(b, "QUIT\r\nNOOP\r\n"));
}

/* ---- behind the relay ---- */

typedef struct way {
    relay *relay;
    model *server;
    buffer in[2];
    buffer seen; /* by the client */
    bool closed;
} way;

static bool step(way *w, relay_side side)
{
    relay_event e;
    size_t used = relay_feed(w->relay, side, 0, buffer_slice(&w->in[side]), &e);
    bool up = e.type == RELAY_COMMAND || (e.type == RELAY_OCTETS && e.side == RELAY_UPSTREAM);
    if (up)
        hear(w->server, e.text);
    else if (e.type == RELAY_REPLY)
        must(buffer_append(&w->seen, e.text));
    else
        assert_true(e.type == RELAY_NONE || e.type == RELAY_CLOSE);
    w->closed = w->closed || e.type == RELAY_CLOSE;
    buffer_consume(&w->in[side], used);
    return used > 0 || e.type != RELAY_NONE;
}

/* The server's replies arrive in pieces, whenever they do. */
static bool arrive(way *w, uint64_t *seed)
{
    smx_slice said = buffer_slice(&w->server->said);
    size_t len = said.len == 0 ? 0 : 1 + roll(seed, (unsigned)said.len);
    must(buffer_append(&w->in[RELAY_UPSTREAM], slice_to(said, len)));
    buffer_consume(&w->server->said, len);
    return len > 0;
}

static void go(way *w, smx_slice dialogue, uint64_t *seed)
{
    bool more = true;
    for (int turn = 0; more && !w->closed; turn++) {
        assert_true(turn < TURNS);
        size_t len =
            dialogue.len == 0 ? 0 : roll(seed, dialogue.len < 90 ? (unsigned)dialogue.len + 1 : 90);
        must(buffer_append(&w->in[RELAY_CLIENT], slice_to(dialogue, len)));
        dialogue = slice_from(dialogue, len);
        more = dialogue.len > 0;
        for (unsigned i = roll(seed, 8); i > 0 || !more; i--) {
            bool moved = roll(seed, 2) == 0 && arrive(w, seed);
            moved = step(w, RELAY_CLIENT) || step(w, RELAY_UPSTREAM) || moved;
            if (!moved && !arrive(w, seed))
                break;
            if (w->closed)
                break;
        }
    }
}

static void compare(uint64_t seed)
{
    const relay_options options = {.hostname = SMX_SLICE("proxy.example")};
    buffer dialogue = {0};
    model direct = {.seed = seed};
    model behind = {.seed = seed};
    way w = {.server = &behind};
    write_dialogue(&dialogue, &seed);
    hear(&direct, buffer_slice(&dialogue));
    must(relay_new(&options, 0, &w.relay));
    hear(&behind, SMX_SLICE(""));
    go(&w, buffer_slice(&dialogue), &seed);
    if (!slice_equal(buffer_slice(&direct.said), buffer_slice(&w.seen)))
        fail_msg("dialogue:\n%.*s\ndirect:\n%.*s\nbehind:\n%.*s", (int)buffer_length(&dialogue),
                 buffer_slice(&dialogue).data, (int)buffer_length(&direct.said),
                 buffer_slice(&direct.said).data, (int)buffer_length(&w.seen),
                 buffer_slice(&w.seen).data);
    assert_true(slice_starts_with(buffer_slice(&dialogue), buffer_slice(&behind.heard)));
    assert_int_equal(w.closed, direct.gone);
    relay_free(w.relay);
    buffer_free(&w.in[RELAY_CLIENT]);
    buffer_free(&w.in[RELAY_UPSTREAM]);
    buffer_free(&w.seen);
    buffer_free(&dialogue);
    model_free(&direct);
    model_free(&behind);
}

static void proxy_relay__client_sees_what_the_server_says(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= DIALOGUES; seed++)
        compare(seed * 7919);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(proxy_relay__client_sees_what_the_server_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
