/* Fails the nth allocation of the relay, for every n, through sessions that make it say, change, add,
 * filter, refuse and hold: it ends by RELAY_CLOSE, leaks nothing and does nothing behind that. */
#include "base/slice.h"
#include "proxy/relay.h"
#include "support/fail_malloc.h"
#include "support/unit_test.h"

enum { REST = 512, TURNS = 1000 };

typedef struct flight {
    relay_side side;
    const char *text;
} flight;

typedef struct owner {
    relay *relay;
    char rest[2][REST];
    size_t len[2];
    bool closed;
    int error;
} owner;

static void note(owner *o, int error)
{
    if (error == SMX_E_NOMEM)
        o->error = error;
}

static const relay_decision refusal = {.kind = RELAY_REFUSE,
                                       .reply = {550, {5, 7, 1}, SMX_SLICE("a policy of ours")}};

static void decide(owner *o, const relay_event *e)
{
    relay_decision d = {.kind = RELAY_PASS};
    if (e->phase == SMX_HOOK_MAIL) {
        d.is_changed = true;
        d.line = SMX_SLICE("MAIL FROM:<changed@example.com>\r\n");
    } else if (slice_search(e->text, SMX_SLICE("bad")) < e->text.len) {
        d = refusal;
    } else if (e->phase == SMX_HOOK_DATA) {
        note(o, relay_add_recipient(o->relay, SMX_SLICE("added@example.com")));
    }
    note(o, relay_decide(o->relay, &d));
}

static void send_message(owner *o)
{
    size_t used;
    size_t count;
    smx_slice pieces[2];
    note(o, relay_message_encode(o->relay, SMX_SLICE("x\r\n"), &used, pieces, 2, &count));
    note(o, relay_message_end(o->relay));
}

static void act(owner *o, const relay_event *e)
{
    static const smx_reply spam = {550, {5, 7, 1}, {"spam", 4}};
    assert_false(o->closed && e->type != RELAY_NONE);
    if (e->type == RELAY_ASK)
        decide(o, e);
    else if (e->type == RELAY_BODY && slice_search(e->text, SMX_SLICE("spam")) < e->text.len)
        note(o, relay_message_refuse(o->relay, &spam));
    else if (e->type == RELAY_BODY_END)
        note(o, relay_message_begin(o->relay, 3));
    else if (e->type == RELAY_BODY_READY)
        send_message(o);
    else if (e->type == RELAY_SECURE)
        relay_secured(o->relay, e->side, 0, 0, true);
    o->closed = o->closed || e->type == RELAY_CLOSE;
}

static bool feed(owner *o, relay_side side)
{
    relay_event e;
    smx_slice in = slice_of(o->rest[side], o->len[side]);
    size_t used = relay_feed(o->relay, side, 0, in, &e);
    act(o, &e);
    memmove(o->rest[side], o->rest[side] + used, o->len[side] - used);
    o->len[side] -= used;
    return used > 0 || e.type != RELAY_NONE;
}

static void fly(owner *o, const flight *f)
{
    smx_slice text = slice_of_text(f->text);
    assert_true(o->len[f->side] + text.len <= REST);
    memcpy(o->rest[f->side] + o->len[f->side], text.data, text.len);
    o->len[f->side] += text.len;
    bool more = true;
    for (int turn = 0; more; turn++) {
        assert_true(turn < TURNS);
        more = feed(o, RELAY_CLIENT);
        more = feed(o, RELAY_UPSTREAM) || more;
    }
}

static int run(const relay_options *options, const flight *flights)
{
    owner o = {0};
    int error = relay_new(options, 0, &o.relay);
    if (error != 0)
        return error;
    for (const flight *f = flights; f->text != NULL; f++)
        fly(&o, f);
    assert_true(o.closed);
    relay_free(o.relay);
    return o.error;
}

/* SMX_E_NOMEM is told only to the calls of the owner: elsewhere the session just ends. */
static void run_each(const relay_options *options, const flight *flights, size_t least)
{
    size_t nth = 1;
    for (bool failed = true; failed; nth++) {
        fail_malloc_begin(nth);
        int error = run(options, flights);
        failed = fail_malloc_end();
        assert_true(failed || error == 0);
    }
    assert_true(nth > least);
}

static void oom_relay__hooks_that_change_add_and_hold(void **state)
{
    static const relay_options options = {
        .hostname = {"proxy.example", 13},
        .client_tls = RELAY_TLS_OFFERED,
        .hold = true,
        .asks = 1U << SMX_HOOK_MAIL | 1U << SMX_HOOK_RCPT | 1U << SMX_HOOK_DATA,
    };
    static const flight flights[] = {
        {RELAY_UPSTREAM, "220 mx\r\n"},
        {RELAY_CLIENT, "EHLO c\r\n"},
        {RELAY_UPSTREAM, "250-mx\r\n250-AUTH PLAIN\r\n250-CHUNKING\r\n250 SIZE\r\n"},
        {RELAY_CLIENT, "STARTTLS\r\n"},
        {RELAY_CLIENT, "MAIL FROM:<a@b>\r\nRCPT TO:<bad@d>\r\nRCPT TO:<c@d>\r\nDATA\r\n"},
        {RELAY_UPSTREAM, "250 a\r\n250 b\r\n"},
        {RELAY_UPSTREAM, "250 added\r\n"},
        {RELAY_CLIENT, "x\r\n.\r\n"},
        {RELAY_UPSTREAM, "354 go\r\n"},
        {RELAY_UPSTREAM, "250 done\r\n"},
        {RELAY_CLIENT, "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 6 LAST\r\nspam\r\n"},
        {RELAY_UPSTREAM, "250 a\r\n250 b\r\n"},
        {RELAY_UPSTREAM, "250 added\r\n"},
        {RELAY_UPSTREAM, "250 reset\r\n"},
        {RELAY_CLIENT, "QUIT\r\n"},
        {RELAY_UPSTREAM, "221 bye\r\n"},
        {RELAY_CLIENT, NULL},
    };
    (void)state;
    run_each(&options, flights, 5);
}

static void oom_relay__our_greeting_and_faulty_bodies(void **state)
{
    static const relay_options options = {
        .hostname = {"proxy.example", 13},
        .client_tls = RELAY_TLS_IMPLICIT,
        .upstream_tls = RELAY_TLS_REQUIRED,
        .bare_newline = SMX_BARE_NEWLINE_NORMALIZE,
    };
    static const flight flights[] = {
        {RELAY_UPSTREAM, "220 mx\r\n"},
        {RELAY_CLIENT, "HELO c\r\n"},
        {RELAY_UPSTREAM, "250-mx\r\n250 STARTTLS\r\n"},
        {RELAY_UPSTREAM, "220 go\r\n"},
        {RELAY_UPSTREAM, "250 mx\r\n"},
        {RELAY_CLIENT, "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n"},
        {RELAY_UPSTREAM, "250 a\r\n250 b\r\n354 c\r\n"},
        {RELAY_CLIENT, "a\nb\r\nspam\r\n.\r\nNOOP\r\n"},
        {RELAY_CLIENT, NULL},
    };
    (void)state;
    run_each(&options, flights, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(oom_relay__hooks_that_change_add_and_hold),
        cmocka_unit_test(oom_relay__our_greeting_and_faulty_bodies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
