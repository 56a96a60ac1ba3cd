/* Hooks at work in a server: every phase with every verdict, later answers, blocking hooks, failing
 * ones, and changes. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "fixture.h"
#include "hook_script.h"

/* A server with this hook, and its first client. */
static client *greet_with(fixture *f, const script *s)
{
    fixture_add_hook(f, &s->hook);
    return client_first(f);
}

/* What each step of a session is answered, when the hook says its word in one phase. */
typedef struct row {
    smx_hook_phase phase;
    smx_verdict_kind kind;
    const char *connect;
    const char *helo;
    const char *mail;
    const char *rcpt;
    const char *data;
    const char *dot; /* NULL from where the session is over */
    int handled;
    bool ends; /* the server closes */
} row;

#define NO       "550 5.7.9"
#define NO_PLAIN "550 "
static const row rows[] = {
    {SMX_HOOK_CONNECT, SMX_CONTINUE, "220", "250", "250", "250", "354", "250", 1, false},
    {SMX_HOOK_CONNECT, SMX_ACCEPT, "220", "250", "250", "250", "354", "250", 1, false},
    {SMX_HOOK_CONNECT, SMX_REPLY_WITH, "554", NULL, NULL, NULL, NULL, NULL, 0, false},
    {SMX_HOOK_CONNECT, SMX_DISCONNECT, "550", NULL, NULL, NULL, NULL, NULL, 0, true},
    {SMX_HOOK_CONNECT, SMX_DISCARD, "421", NULL, NULL, NULL, NULL, NULL, 0, false},
    {SMX_HOOK_HELO, SMX_REPLY_WITH, "220", NO_PLAIN, NULL, NULL, NULL, NULL, 0, false},
    {SMX_HOOK_HELO, SMX_DISCONNECT, "220", NO_PLAIN, NULL, NULL, NULL, NULL, 0, true},
    {SMX_HOOK_MAIL, SMX_ACCEPT, "220", "250", "250", "250", "354", "250", 1, false},
    {SMX_HOOK_MAIL, SMX_REPLY_WITH, "220", "250", NO, "503", "503", NULL, 0, false},
    {SMX_HOOK_MAIL, SMX_DISCARD, "220", "250", "250", "250", "354", "250", 0, false},
    {SMX_HOOK_MAIL, SMX_DISCONNECT, "220", "250", NO, NULL, NULL, NULL, 0, true},
    {SMX_HOOK_RCPT, SMX_REPLY_WITH, "220", "250", "250", NO, "5", NULL, 0, false},
    {SMX_HOOK_RCPT, SMX_DISCARD, "220", "250", "250", "250", "354", "250", 0, false},
    {SMX_HOOK_RCPT, SMX_DISCONNECT, "220", "250", "250", NO, NULL, NULL, 0, true},
    {SMX_HOOK_DATA, SMX_REPLY_WITH, "220", "250", "250", "250", NO, NULL, 0, false},
    {SMX_HOOK_DATA, SMX_DISCARD, "220", "250", "250", "250", "354", "250", 0, false},
    {SMX_HOOK_DATA, SMX_DISCONNECT, "220", "250", "250", "250", NO, NULL, 0, true},
    {SMX_HOOK_HEADER, SMX_CONTINUE, "220", "250", "250", "250", "354", "250", 1, false},
    {SMX_HOOK_HEADER, SMX_REPLY_WITH, "220", "250", "250", "250", "354", NO, 0, false},
    {SMX_HOOK_HEADER, SMX_DISCARD, "220", "250", "250", "250", "354", "250", 0, false},
    {SMX_HOOK_HEADER, SMX_DISCONNECT, "220", "250", "250", "250", "354", NO, 0, true},
    {SMX_HOOK_BODY, SMX_CONTINUE, "220", "250", "250", "250", "354", "250", 1, false},
    {SMX_HOOK_BODY, SMX_ACCEPT, "220", "250", "250", "250", "354", "250", 1, false},
    {SMX_HOOK_BODY, SMX_REPLY_WITH, "220", "250", "250", "250", "354", NO, 0, false},
    {SMX_HOOK_BODY, SMX_DISCARD, "220", "250", "250", "250", "354", "250", 0, false},
    {SMX_HOOK_BODY, SMX_DISCONNECT, "220", "250", "250", "250", "354", NO, 0, true},
    {SMX_HOOK_EOM, SMX_CONTINUE, "220", "250", "250", "250", "354", "250", 1, false},
    {SMX_HOOK_EOM, SMX_REPLY_WITH, "220", "250", "250", "250", "354", NO, 0, false},
    {SMX_HOOK_EOM, SMX_DISCARD, "220", "250", "250", "250", "354", "250", 0, false},
    {SMX_HOOK_EOM, SMX_DISCONNECT, "220", "250", "250", "250", "354", NO, 0, true},
};
enum { ROWS = sizeof(rows) / sizeof(rows[0]) };

static void run_row(fixture *f, const row *r)
{
    client *c = client_open(f);
    client_expect(c, r->connect);
    static const char *const lines[] = {"EHLO client.example", "MAIL FROM:<a@from.example>",
                                        "RCPT TO:<b@to.example>", "DATA"};
    const char *const expected[] = {r->helo, r->mail, r->rcpt, r->data};
    for (size_t i = 0; i < 4 && expected[i] != NULL; i++)
        client_ask(c, lines[i], expected[i]);
    if (r->dot != NULL) {
        client_send(c, "S: x\r\n\r\nbody\r\n.\r\n");
        client_expect(c, r->dot);
    }
    if (r->ends) {
        client_expect_end(c);
    } else if (r->helo != NULL) {
        client_ask(c, "RSET", "250");
        client_ask(c, "QUIT", "221");
    }
    client_close(c);
    assert_int_equal(f->handled, r->handled);
}

/* Ways in which a hook gives its verdict. */
typedef enum manner { AT_ONCE, LATER_FROM_WITHIN, ON_THE_POOL, MANNERS } manner;

static void every_row(manner how)
{
    for (size_t i = 0; i < ROWS; i++) {
        static script s;
        fixture *f = fixture_new();
        script_init(&s, "scripted", rows[i].phase, rows[i].kind);
        s.later = how == LATER_FROM_WITHIN;
        s.answer_at_once = s.later;
        s.hook.flags = how == ON_THE_POOL ? SMX_HOOK_BLOCKING : 0;
        fixture_add_hook(f, &s.hook);
        fixture_start(f);
        run_row(f, &rows[i]);
        fixture_free(f);
    }
}

static void server_hooks__every_verdict_of_every_phase_at_once(void **state)
{
    (void)state;
    every_row(AT_ONCE);
}

static void server_hooks__every_verdict_of_every_phase_later(void **state)
{
    (void)state;
    every_row(LATER_FROM_WITHIN);
}

static void server_hooks__every_verdict_of_every_phase_on_the_pool(void **state)
{
    (void)state;
    every_row(ON_THE_POOL);
}

/* ---- phases ---- */

static void server_hooks__each_phase_is_asked_once_and_the_end_is_told(void **state)
{
    fixture *f = *state;
    static script s;
    script_init(&s, "counting", SMX_HOOK_HEADER, SMX_CONTINUE);
    client *c = greet_with(f, &s);
    client_mail(c, "S: x\r\n\r\nbody\r\n", "250 ");
    assert_string_equal(s.seen, "S: x\r\n");
    assert_int_equal(s.calls[SMX_HOOK_RESET], 1);
    client_ask(c, "QUIT", "221 ");
    client_close(c);
    fixture_wait(s.calls[SMX_HOOK_CLOSE] == 1);
    static const smx_hook_phase once[] = {SMX_HOOK_CONNECT, SMX_HOOK_HELO, SMX_HOOK_MAIL,
                                          SMX_HOOK_RCPT,    SMX_HOOK_DATA, SMX_HOOK_HEADER,
                                          SMX_HOOK_EOM,     SMX_HOOK_RESET};
    for (size_t i = 0; i < sizeof(once) / sizeof(once[0]); i++)
        assert_int_equal(s.calls[once[i]], 1);
    assert_in_range(s.calls[SMX_HOOK_BODY], 1, 3);
    assert_int_equal(s.calls[SMX_HOOK_AUTH], 0);
}

/* A session enters the table for the first hook that it has to ask or to tell. */
static void server_hooks__end_is_told_to_a_hook_that_was_never_asked(void **state)
{
    fixture *f = *state;
    static script s;
    script_init(&s, "ending", SMX_HOOK_CLOSE, SMX_CONTINUE);
    for (size_t i = 0; i < SMX_HOOK_PHASE_COUNT; i++)
        if (i != SMX_HOOK_CLOSE && i != SMX_HOOK_RESET)
            s.hook.phases[i] = NULL;
    client *c = greet_with(f, &s);
    client_mail(c, "S: x\r\n\r\nbody\r\n", "250 ");
    assert_int_equal(s.calls[SMX_HOOK_RESET], 1);
    client_close(c);
    fixture_wait(s.calls[SMX_HOOK_CLOSE] == 1);
}

static void server_hooks__header_is_asked_at_the_end_of_a_message_without_body(void **state)
{
    fixture *f = *state;
    static script s;
    script_init(&s, "header", SMX_HOOK_HEADER, SMX_CONTINUE);
    client *c = greet_with(f, &s);
    client_mail(c, "S: x\r\n", "250 ");
    assert_string_equal(s.seen, "S: x\r\n");
    client_mail(c, "\r\nno header\r\n", "250 ");
    assert_string_equal(s.seen, "");
    assert_buffer(&f->body, "no header\r\n");
    assert_int_equal(s.calls[SMX_HOOK_HEADER], 2);
    client_close(c);
}

static void server_hooks__body_begins_behind_the_empty_line(void **state)
{
    fixture *f = *state;
    static script s;
    script_init(&s, "body", SMX_HOOK_BODY, SMX_CONTINUE);
    client *c = greet_with(f, &s);
    client_mail(c, "S: x\r\n\r\nwith header\r\n", "250 ");
    assert_string_equal(s.seen, "with header\r\n");
    client_mail(c, "\r\nno header\r\n", "250 ");
    assert_string_equal(s.seen, "no header\r\n");
    client_close(c);
}

static void server_hooks__accept_silences_the_hook_until_the_next_message(void **state)
{
    fixture *f = *state;
    static script s;
    script_init(&s, "accepting", SMX_HOOK_MAIL, SMX_ACCEPT);
    client *c = greet_with(f, &s);
    client_mail(c, "S: x\r\n\r\n", "250 ");
    client_mail(c, "S: x\r\n\r\n", "250 ");
    assert_int_equal(s.calls[SMX_HOOK_MAIL], 2);
    assert_int_equal(s.calls[SMX_HOOK_RCPT], 0);
    assert_int_equal(s.calls[SMX_HOOK_EOM], 0);
    client_close(c);
}

static void server_hooks__refused_transaction_is_told_as_reset(void **state)
{
    fixture *f = *state;
    static script s;
    script_init(&s, "refusing", SMX_HOOK_MAIL, SMX_REPLY_WITH);
    client *c = greet_with(f, &s);
    client_ask(c, "MAIL FROM:<a@from.example>", "550 5.7.9 the hook says no");
    client_ask(c, "NOOP", "250 ");
    assert_int_equal(s.calls[SMX_HOOK_RESET], 1);
    client_close(c);
}

/* ---- values of the session ---- */

static void release_value(void *value)
{
    atomic_int *count = value;
    (*count)++;
}

static atomic_int *value_of(smx_hook_call *call)
{
    return smx_hook_value(call);
}

static smx_verdict keep_value(void *arg, smx_hook_call *call)
{
    script *s = arg;
    if (smx_hook_get_view(call)->phase == SMX_HOOK_CONNECT) {
        if (value_of(call) == NULL)
            smx_hook_set_value(call, &s->released, release_value);
        return (smx_verdict){.kind = SMX_CONTINUE};
    }
    if (value_of(call) != &s->released)
        return (smx_verdict){SMX_REPLY_WITH, SMX_REPLY(550, 5, 0, 0, "value lost")};
    return (smx_verdict){.kind = SMX_CONTINUE};
}

static void server_hooks__value_lives_with_the_session(void **state)
{
    fixture *f = *state;
    static script s;
    s = (script){.hook = {.version = SMX_HOOK_VERSION, .name = "value"}};
    s.hook.arg = &s;
    s.hook.phases[SMX_HOOK_CONNECT] = keep_value;
    s.hook.phases[SMX_HOOK_MAIL] = keep_value;
    client *c = greet_with(f, &s);
    client_mail(c, "S: x\r\n\r\n", "250 ");
    client_mail(c, "S: x\r\n\r\n", "250 ");
    assert_int_equal(s.released, 0);
    client_close(c);
    fixture_wait(s.released == 1);
}

/* ---- later ---- */

static void server_hooks__another_threads_answer_ends_the_waiting(void **state)
{
    fixture *f = *state;
    static script s;
    script_later(&s, SMX_HOOK_MAIL);
    client *c = greet_with(f, &s);
    client_send(c, "MAIL FROM:<a@from.example>\r\nRCPT TO:<b@to.example>\r\n");
    fixture_wait(s.ticket != 0);
    const smx_verdict no = {SMX_REPLY_WITH, SMX_REPLY(450, 4, 7, 1, "not now")};
    assert_int_equal(smx_hooks_answer(s.table, s.ticket, &no), 0);
    assert_int_equal(smx_hooks_answer(s.table, s.ticket, &no), SMX_E_GONE);
    client_expect(c, "450 4.7.1 not now");
    client_expect(c, "503 ");
    assert_int_equal(smx_hooks_answer(s.table, s.ticket, &no), SMX_E_GONE);
    client_close(c);
}

static void server_hooks__answer_for_a_client_that_went_away_is_gone(void **state)
{
    fixture *f = *state;
    static script s;
    script_later(&s, SMX_HOOK_EOM);
    client *c = greet_with(f, &s);
    client_envelope(c);
    client_send(c, "S: x\r\n\r\n.\r\n");
    fixture_wait(s.ticket != 0);
    client_close(c);
    fixture_wait(fixture_counters(f).sessions == 0);
    const smx_verdict yes = {.kind = SMX_CONTINUE};
    assert_int_equal(smx_hooks_answer(s.table, s.ticket, &yes), SMX_E_GONE);
    assert_int_equal(f->handled, 0);
    assert_int_equal(s.calls[SMX_HOOK_CLOSE], 1);
}

static void look_at_kept(void *arg)
{
    fixture *f = arg;
    const peer *p = list_member(f->server->front.open.first, peer, guest.node);
    f->data = (void *)connection_kept(p->guest.connection);
}

static void server_hooks__little_is_read_while_an_answer_is_awaited(void **state)
{
    enum { MANY = 5000 };
    fixture *f = *state;
    static script s;
    script_later(&s, SMX_HOOK_MAIL);
    client *c = greet_with(f, &s);
    client_say(c, "MAIL FROM:<a@from.example>");
    fixture_wait(s.ticket != 0);
    for (int i = 0; i < MANY; i++)
        client_send(c, "RSET\r\n");
    uint64_t end = clock_monotonic_ms() + 10000;
    while ((uintptr_t)f->data < CONNECTION_KEEP && clock_monotonic_ms() < end)
        fixture_call(f, look_at_kept, f);
    for (int i = 0; i < 10; i++)
        fixture_call(f, look_at_kept, f);
    assert_int_equal((uintptr_t)f->data, CONNECTION_KEEP);
    const smx_verdict yes = {.kind = SMX_CONTINUE};
    assert_int_equal(smx_hooks_answer(s.table, s.ticket, &yes), 0);
    for (int i = 0; i < 900; i++)
        client_expect(c, "250 ");
    client_close(c);
}

static void server_hooks__waiting_body_keeps_its_octets(void **state)
{
    fixture *f = *state;
    static script s;
    script_later(&s, SMX_HOOK_HEADER);
    client *c = greet_with(f, &s);
    client_envelope(c);
    client_send(c, "S: x\r\n\r\none\r\ntwo\r\n");
    fixture_wait(s.ticket != 0);
    client *other = client_greet(f); /* overwrites the shared read buffer */
    client_send(other, "NOOP nothing of this is to be seen\r\n");
    client_expect(other, "250 ");
    client_send(c, "three\r\n.\r\n");
    const smx_verdict yes = {.kind = SMX_CONTINUE};
    assert_int_equal(smx_hooks_answer(s.table, s.ticket, &yes), 0);
    client_expect(c, "250 2.0.0 kept");
    assert_buffer(&f->body, "one\r\ntwo\r\nthree\r\n");
    client_close(c);
    client_close(other);
}

static void server_hooks__a_thousand_waiting_sessions_hinder_nobody(void **state)
{
    enum { MANY = 1000 };
    fixture *f = *state;
    static script s;
    script_later(&s, SMX_HOOK_MAIL);
    fixture_add_hook(f, &s.hook);
    fixture_start(f);
    client **waiting = calloc(MANY, sizeof(*waiting));
    assert_non_null(waiting);
    for (size_t i = 0; i < MANY; i++) {
        waiting[i] = client_greet(f);
        client_say(waiting[i], "MAIL FROM:<a@from.example>");
    }
    fixture_wait(s.calls[SMX_HOOK_MAIL] == MANY);
    client *c = client_greet(f);
    client_ask(c, "NOOP", "250 ");
    s.ticket = 0;
    client_say(c, "MAIL FROM:<a@from.example>");
    fixture_wait(s.ticket != 0);
    const smx_verdict no = {SMX_REPLY_WITH, SMX_REPLY(450, 4, 7, 1, "not now")};
    assert_int_equal(smx_hooks_answer(s.table, s.ticket, &no), 0);
    client_expect(c, "450 ");
    client_close(c);
    for (size_t i = 0; i < MANY; i++)
        client_close(waiting[i]);
    free(waiting);
}

/* ---- failing hooks ---- */

static void expect_on_error(smx_hook_on_error on_error, const char *reply,
                            void (*break_it)(script *s), const char *logged)
{
    static script s;
    fixture *f = fixture_new();
    script_init(&s, "failing", SMX_HOOK_MAIL, SMX_CONTINUE);
    s.hook.on_error = on_error;
    break_it(&s);
    client *c = greet_with(f, &s);
    client_ask(c, "MAIL FROM:<a@from.example>", reply);
    assert_true(fixture_log_has(f, "hook_failed hook=failing phase=mail"));
    assert_true(fixture_log_has(f, logged));
    client_close(c);
    fixture_free(f);
}

static void expect_each_on_error(void (*break_it)(script *s), const char *logged)
{
    expect_on_error(SMX_ON_ERROR_TEMPFAIL, "451 4.3.0", break_it, logged);
    expect_on_error(SMX_ON_ERROR_REJECT, "550 5.7.1", break_it, logged);
    expect_on_error(SMX_ON_ERROR_CONTINUE, "250 2.1.0", break_it, logged);
}

static void break_by_silence(script *s)
{
    s->later = true;
    s->hook.timeout_ms = 50;
}

static void break_by_2xx(script *s)
{
    s->verdict = (smx_verdict){SMX_REPLY_WITH, SMX_REPLY(250, 2, 0, 0, "fine")};
}

static void break_by_no_code(script *s)
{
    s->verdict = (smx_verdict){.kind = SMX_REPLY_WITH};
}

static void break_by_kind(script *s)
{
    s->verdict.kind = (smx_verdict_kind)77;
}

static void break_by_later_without_ticket(script *s)
{
    s->verdict.kind = SMX_VERDICT_LATER;
}

static void break_by_later_on_the_pool(script *s)
{
    s->verdict.kind = SMX_VERDICT_LATER;
    s->hook.flags = SMX_HOOK_BLOCKING;
}

static void smuggle_sender(smx_hook_call *call)
{
    if (smx_hook_set_sender(call, SMX_SLICE("a@b>\r\nRCPT TO:<v@x")) != SMX_E_INVALID)
        abort();
}

static void smuggle_recipient(smx_hook_call *call)
{
    if (smx_hook_add_recipient(call, SMX_SLICE("")) != SMX_E_INVALID ||
        smx_hook_add_recipient(call, SMX_SLICE("two@a.example, three@a.example")) !=
            SMX_E_INVALID ||
        smx_hook_delete_recipient(call, SMX_SLICE("x\r\n@a.example")) != SMX_E_INVALID)
        abort();
}

static void smuggle_header(smx_hook_call *call)
{
    if (smx_hook_add_header(call, SMX_SLICE("X"), SMX_SLICE("a\r\n.\r\n")) != SMX_E_INVALID ||
        smx_hook_add_header(call, SMX_SLICE("X: y"), SMX_SLICE("a")) != SMX_E_INVALID ||
        smx_hook_change_header(call, SMX_SLICE("X"), 0, SMX_SLICE("a\nb")) != SMX_E_INVALID ||
        smx_hook_delete_header(call, SMX_SLICE(""), 0) != SMX_E_INVALID)
        abort();
}

static void change_body_too_early(smx_hook_call *call)
{
    if (smx_hook_replace_body(call, SMX_SLICE("x")) != SMX_E_STATE)
        abort();
}

static void break_by_smuggled_sender(script *s)
{
    s->change = smuggle_sender;
}

static void break_by_smuggled_recipient(script *s)
{
    s->change = smuggle_recipient;
}

static void break_by_smuggled_header(script *s)
{
    s->change = smuggle_header;
}

static void break_by_early_body(script *s)
{
    s->change = change_body_too_early;
}

static void server_hooks__silence_is_ended_by_on_error(void **state)
{
    (void)state;
    expect_each_on_error(break_by_silence, "its time was over");
}

static void server_hooks__nonsense_is_judged_by_on_error(void **state)
{
    (void)state;
    expect_each_on_error(break_by_2xx, "neither 4xx nor 5xx");
    expect_each_on_error(break_by_no_code, "neither 4xx nor 5xx");
    expect_each_on_error(break_by_kind, "unknown verdict");
    expect_each_on_error(break_by_later_without_ticket, "ticket was not taken");
    expect_each_on_error(break_by_later_on_the_pool, "ticket was not taken");
}

static void server_hooks__octets_that_cannot_be_sent_are_judged_by_on_error(void **state)
{
    (void)state;
    expect_each_on_error(break_by_smuggled_sender, "invalid argument");
    expect_each_on_error(break_by_smuggled_recipient, "invalid argument");
    expect_each_on_error(break_by_smuggled_header, "invalid argument");
    expect_each_on_error(break_by_early_body, "not possible");
}

static atomic_bool pool_may_go_on;

static smx_verdict block_until_told(void *arg, smx_hook_call *call)
{
    (void)arg;
    (void)call;
    while (!pool_may_go_on)
        fixture_yield();
    return (smx_verdict){.kind = SMX_CONTINUE};
}

static void server_hooks__full_pool_is_judged_by_on_error(void **state)
{
    fixture *f = *state;
    static smx_hook hook;
    hook = (smx_hook){.version = SMX_HOOK_VERSION, .name = "blocking", .flags = SMX_HOOK_BLOCKING};
    hook.phases[SMX_HOOK_MAIL] = block_until_told;
    pool_may_go_on = false;
    f->shared_options.threads = 1;
    f->shared_options.queue = 1;
    fixture_add_hook(f, &hook);
    fixture_start(f);
    client *c[3];
    int refused = 0;
    for (size_t i = 0; i < 3; i++) {
        c[i] = client_greet(f);
        client_say(c[i], "MAIL FROM:<a@from.example>");
    }
    fixture_wait(fixture_log_has(f, "no thread is free"));
    pool_may_go_on = true;
    for (size_t i = 0; i < 3; i++) {
        client_expect(c[i], "");
        refused += strncmp(c[i]->reply, "451 4.3.0", 9) == 0;
        client_close(c[i]);
    }
    assert_in_range(refused, 1, 2);
}

static void server_hooks__blocking_hook_outlives_its_session(void **state)
{
    fixture *f = *state;
    static smx_hook hook;
    hook = (smx_hook){.version = SMX_HOOK_VERSION, .name = "blocking", .flags = SMX_HOOK_BLOCKING};
    hook.phases[SMX_HOOK_EOM] = block_until_told;
    pool_may_go_on = false;
    fixture_add_hook(f, &hook);
    client *c = client_first(f);
    client_envelope(c);
    client_send(c, "S: x\r\n\r\n.\r\n");
    client_close(c);
    fixture_wait(fixture_counters(f).sessions == 0);
    pool_may_go_on = true;
    c = client_greet(f);
    client_mail(c, "S: y\r\n\r\n", "250 ");
    client_close(c);
    assert_int_equal(f->handled, 1);
}

/* ---- changes ---- */

static void change_envelope(smx_hook_call *call)
{
    int error = smx_hook_set_sender(call, SMX_SLICE("new@from.example"));
    error |= smx_hook_add_recipient(call, SMX_SLICE("added@to.example"));
    error |= smx_hook_delete_recipient(call, SMX_SLICE("b@to.example"));
    if (error != 0)
        abort();
}

static void change_header(smx_hook_call *call)
{
    int error = smx_hook_add_header(call, SMX_SLICE("X-Added"), SMX_SLICE("folded\r\n value"));
    error |= smx_hook_change_header(call, SMX_SLICE("subject"), 0, SMX_SLICE("changed"));
    error |= smx_hook_delete_header(call, SMX_SLICE("X-Secret"), SIZE_MAX);
    if (error != 0)
        abort();
}

static void change_body(smx_hook_call *call)
{
    if (smx_hook_replace_body(call, SMX_SLICE("other\r\n")) != 0)
        abort();
}

static const char message[] = "Subject: s\r\nX-Secret: 1\r\nX-Secret: 2\r\n\r\nbody\r\n";

static void expect_change(smx_hook_phase phase, void (*change)(smx_hook_call *call), unsigned flags,
                          fixture *f)
{
    static script s;
    script_init(&s, "changing", phase, SMX_CONTINUE);
    s.change = change;
    s.hook.flags = flags;
    client *c = greet_with(f, &s);
    client_mail(c, message, "250 2.0.0 kept");
    client_close(c);
    fixture_wait(fixture_counters(f).sessions == 0);
}

static void expect_changed_envelope(smx_hook_phase phase, unsigned flags)
{
    fixture *f = fixture_new();
    expect_change(phase, change_envelope, flags, f);
    assert_buffer(&f->sender, "new@from.example");
    assert_buffer(&f->recipients, "added@to.example ");
    fixture_free(f);
}

static void server_hooks__envelope_changes_until_the_end(void **state)
{
    (void)state;
    static const smx_hook_phase phases[] = {SMX_HOOK_RCPT, SMX_HOOK_DATA, SMX_HOOK_HEADER,
                                            SMX_HOOK_BODY, SMX_HOOK_EOM};
    for (size_t i = 0; i < sizeof(phases) / sizeof(phases[0]); i++) {
        expect_changed_envelope(phases[i], 0);
        expect_changed_envelope(phases[i], SMX_HOOK_BLOCKING);
    }
}

static void server_hooks__header_changes_from_mail_to_the_end(void **state)
{
    (void)state;
    static const smx_hook_phase phases[] = {SMX_HOOK_MAIL,   SMX_HOOK_RCPT, SMX_HOOK_DATA,
                                            SMX_HOOK_HEADER, SMX_HOOK_BODY, SMX_HOOK_EOM};
    for (size_t i = 0; i < sizeof(phases) / sizeof(phases[0]); i++) {
        fixture *f = fixture_new();
        expect_change(phases[i], change_header, 0, f);
        assert_buffer(&f->header, "Subject: changed\r\nX-Added: folded\r\n value\r\n");
        assert_buffer(&f->body, "body\r\n");
        fixture_free(f);
    }
}

static void server_hooks__body_is_replaced_by_chunk_or_whole(void **state)
{
    (void)state;
    static const smx_hook_phase phases[] = {SMX_HOOK_BODY, SMX_HOOK_EOM};
    for (size_t i = 0; i < 2; i++) {
        fixture *f = fixture_new();
        expect_change(phases[i], change_body, SMX_HOOK_HOLD, f);
        assert_buffer(&f->header, "Subject: s\r\nX-Secret: 1\r\nX-Secret: 2\r\n");
        assert_true(slice_starts_with(buffer_slice(&f->body), SMX_SLICE("other\r\n")));
        fixture_free(f);
    }
}

static void smuggle_chunk(smx_hook_call *call)
{
    if (smx_hook_replace_body(call, SMX_SLICE("x\r\n.\n")) != 0)
        abort();
}

static void smuggle_body(smx_hook_call *call)
{
    if (smx_hook_replace_body(call, SMX_SLICE("x\r\n.\n")) != SMX_E_INVALID)
        abort();
}

static void server_hooks__body_with_bare_newlines_is_not_passed_on(void **state)
{
    (void)state;
    void (*const changes[])(smx_hook_call * call) = {smuggle_chunk, smuggle_body};
    static const smx_hook_phase phases[] = {SMX_HOOK_BODY, SMX_HOOK_EOM};
    for (size_t i = 0; i < 2; i++) {
        static script s;
        fixture *f = fixture_new();
        script_init(&s, "smuggling", phases[i], SMX_CONTINUE);
        s.change = changes[i];
        client *c = greet_with(f, &s);
        client_mail(c, message, "451 4.3.0");
        client_close(c);
        assert_int_equal(f->handled, 0);
        fixture_free(f);
    }
}

static void delete_all(smx_hook_call *call)
{
    if (smx_hook_delete_recipient(call, SMX_SLICE("b@to.example")) != 0)
        abort();
}

static void server_hooks__message_without_recipients_is_dropped(void **state)
{
    fixture *f = *state;
    static script s;
    script_init(&s, "deleting", SMX_HOOK_EOM, SMX_CONTINUE);
    s.change = delete_all;
    client *c = greet_with(f, &s);
    client_mail(c, message, "250 ");
    assert_int_equal(f->handled, 0);
    assert_true(fixture_log_has(f, "discarded"));
    client_close(c);
}

/* What the hook behind sees of the change of the one before. */
static void see_envelope(smx_hook_call *call)
{
    const smx_envelope *envelope = smx_hook_get_view(call)->envelope;
    if (!slice_equal(envelope->mail.path.mailbox, SMX_SLICE("new@from.example")) ||
        envelope->recipient_count != 1 ||
        !slice_equal(envelope->recipients[0].path.mailbox, SMX_SLICE("added@to.example")))
        abort();
}

static void see_body(smx_hook_call *call)
{
    char scratch[64];
    smx_slice octets;
    const smx_message *whole = smx_hook_get_view(call)->message;
    if (smx_message_read(whole, smx_message_body_offset(whole), scratch, sizeof(scratch),
                         &octets) != 0 ||
        !slice_equal(octets, SMX_SLICE("\r\nother\r\n")))
        abort();
}

static void see_nothing(smx_hook_call *call)
{
    (void)call;
}

static void server_hooks__hooks_behind_see_the_changes_of_those_before(void **state)
{
    (void)state;
    static const struct {
        void (*change)(smx_hook_call *call);
        void (*see)(smx_hook_call *call);
        const char *header;
    } cases[] = {
        {change_envelope, see_envelope, "Subject: s\r\nX-Secret: 1\r\nX-Secret: 2\r\n"},
        {change_header, see_nothing, "Subject: changed\r\nX-Added: folded\r\n value\r\n"},
        {change_body, see_body, "Subject: s\r\nX-Secret: 1\r\nX-Secret: 2\r\n"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        static script first;
        static script second;
        fixture *f = fixture_new();
        script_init(&first, "first", SMX_HOOK_EOM, SMX_CONTINUE);
        script_init(&second, "second", SMX_HOOK_EOM, SMX_CONTINUE);
        first.change = cases[i].change;
        second.change = cases[i].see;
        fixture_add_hook(f, &first.hook);
        fixture_add_hook(f, &second.hook);
        client *c = client_first(f);
        client_mail(c, message, "250 2.0.0 kept");
        assert_string_equal(second.seen, cases[i].header);
        client_close(c);
        fixture_free(f);
    }
}

static void server_hooks__changes_of_a_refused_recipient_are_not_made(void **state)
{
    fixture *f = *state;
    static script first;
    static script second;
    script_init(&first, "first", SMX_HOOK_RCPT, SMX_CONTINUE);
    script_init(&second, "second", SMX_HOOK_RCPT, SMX_REPLY_WITH);
    first.change = change_envelope;
    fixture_add_hook(f, &first.hook);
    fixture_add_hook(f, &second.hook);
    client *c = client_first(f);
    client_ask(c, "MAIL FROM:<a@from.example>", "250 ");
    client_ask(c, "RCPT TO:<b@to.example>", "550 5.7.9");
    second.phase = SMX_HOOK_HELO;
    first.change = NULL;
    client_ask(c, "RCPT TO:<c@to.example>", "250 ");
    client_ask(c, "DATA", "354 ");
    client_send(c, "S: x\r\n\r\n.\r\n");
    client_expect(c, "250 ");
    assert_buffer(&f->sender, "a@from.example");
    assert_buffer(&f->recipients, "c@to.example ");
    client_close(c);
}

#define WITH_FIXTURE(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(server_hooks__every_verdict_of_every_phase_at_once),
        cmocka_unit_test(server_hooks__every_verdict_of_every_phase_later),
        cmocka_unit_test(server_hooks__every_verdict_of_every_phase_on_the_pool),
        WITH_FIXTURE(server_hooks__each_phase_is_asked_once_and_the_end_is_told),
        WITH_FIXTURE(server_hooks__end_is_told_to_a_hook_that_was_never_asked),
        WITH_FIXTURE(server_hooks__header_is_asked_at_the_end_of_a_message_without_body),
        WITH_FIXTURE(server_hooks__body_begins_behind_the_empty_line),
        WITH_FIXTURE(server_hooks__accept_silences_the_hook_until_the_next_message),
        WITH_FIXTURE(server_hooks__refused_transaction_is_told_as_reset),
        WITH_FIXTURE(server_hooks__value_lives_with_the_session),
        WITH_FIXTURE(server_hooks__another_threads_answer_ends_the_waiting),
        WITH_FIXTURE(server_hooks__answer_for_a_client_that_went_away_is_gone),
        WITH_FIXTURE(server_hooks__little_is_read_while_an_answer_is_awaited),
        WITH_FIXTURE(server_hooks__waiting_body_keeps_its_octets),
        WITH_FIXTURE(server_hooks__a_thousand_waiting_sessions_hinder_nobody),
        cmocka_unit_test(server_hooks__silence_is_ended_by_on_error),
        cmocka_unit_test(server_hooks__nonsense_is_judged_by_on_error),
        cmocka_unit_test(server_hooks__octets_that_cannot_be_sent_are_judged_by_on_error),
        WITH_FIXTURE(server_hooks__full_pool_is_judged_by_on_error),
        WITH_FIXTURE(server_hooks__blocking_hook_outlives_its_session),
        cmocka_unit_test(server_hooks__envelope_changes_until_the_end),
        cmocka_unit_test(server_hooks__header_changes_from_mail_to_the_end),
        cmocka_unit_test(server_hooks__body_is_replaced_by_chunk_or_whole),
        cmocka_unit_test(server_hooks__body_with_bare_newlines_is_not_passed_on),
        WITH_FIXTURE(server_hooks__message_without_recipients_is_dropped),
        cmocka_unit_test(server_hooks__hooks_behind_see_the_changes_of_those_before),
        WITH_FIXTURE(server_hooks__changes_of_a_refused_recipient_are_not_made),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
