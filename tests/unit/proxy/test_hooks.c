/* Hooks at work in a proxy: every phase with every verdict, on messages that stream and on those that
 * are held; changes; later answers; what comes too late. */
#include <stdio.h>
#include <stdlib.h>

#include "../server/hook_script.h"
#include "proxy_fixture.h"

/* ---- verdicts ---- */

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
    bool ends;   /* the proxy closes */
    bool parted; /* of a message that streams the upstream had a part: the session is over */
} row;

#define NO "550 5.7.9"
static const row rows[] = {
    {SMX_HOOK_CONNECT, SMX_CONTINUE, "220", "250", "250", "250", "354", "250", 1, 0, 0},
    {SMX_HOOK_CONNECT, SMX_REPLY_WITH, "554", NULL, NULL, NULL, NULL, NULL, 0, 1, 0},
    {SMX_HOOK_CONNECT, SMX_DISCONNECT, "550", NULL, NULL, NULL, NULL, NULL, 0, 1, 0},
    {SMX_HOOK_CONNECT, SMX_DISCARD, "421", NULL, NULL, NULL, NULL, NULL, 0, 1, 0},
    {SMX_HOOK_HELO, SMX_CONTINUE, "220", "250", "250", "250", "354", "250", 1, 0, 0},
    {SMX_HOOK_HELO, SMX_REPLY_WITH, "220", "550", NULL, NULL, NULL, NULL, 0, 0, 0},
    {SMX_HOOK_HELO, SMX_DISCONNECT, "220", "550", NULL, NULL, NULL, NULL, 0, 1, 0},
    {SMX_HOOK_MAIL, SMX_ACCEPT, "220", "250", "250", "250", "354", "250", 1, 0, 0},
    {SMX_HOOK_MAIL, SMX_REPLY_WITH, "220", "250", NO, "503", "503", NULL, 0, 0, 0},
    {SMX_HOOK_MAIL, SMX_DISCARD, "220", "250", "250", "250", "354", "250", 0, 0, 0},
    {SMX_HOOK_MAIL, SMX_DISCONNECT, "220", "250", NO, NULL, NULL, NULL, 0, 1, 0},
    {SMX_HOOK_RCPT, SMX_CONTINUE, "220", "250", "250", "250", "354", "250", 1, 0, 0},
    {SMX_HOOK_RCPT, SMX_REPLY_WITH, "220", "250", "250", NO, "5", NULL, 0, 0, 0},
    {SMX_HOOK_RCPT, SMX_DISCARD, "220", "250", "250", "250", "354", "250", 0, 0, 0},
    {SMX_HOOK_RCPT, SMX_DISCONNECT, "220", "250", "250", NO, NULL, NULL, 0, 1, 0},
    {SMX_HOOK_DATA, SMX_REPLY_WITH, "220", "250", "250", "250", NO, NULL, 0, 0, 0},
    {SMX_HOOK_DATA, SMX_DISCARD, "220", "250", "250", "250", "354", "250", 0, 0, 0},
    {SMX_HOOK_DATA, SMX_DISCONNECT, "220", "250", "250", "250", NO, NULL, 0, 1, 0},
    {SMX_HOOK_HEADER, SMX_CONTINUE, "220", "250", "250", "250", "354", "250", 1, 0, 0},
    {SMX_HOOK_HEADER, SMX_REPLY_WITH, "220", "250", "250", "250", "354", NO, 0, 0, 1},
    {SMX_HOOK_HEADER, SMX_DISCARD, "220", "250", "250", "250", "354", "250", 0, 0, 1},
    {SMX_HOOK_HEADER, SMX_DISCONNECT, "220", "250", "250", "250", "354", NO, 0, 1, 0},
    {SMX_HOOK_BODY, SMX_CONTINUE, "220", "250", "250", "250", "354", "250", 1, 0, 0},
    {SMX_HOOK_BODY, SMX_ACCEPT, "220", "250", "250", "250", "354", "250", 1, 0, 0},
    {SMX_HOOK_BODY, SMX_REPLY_WITH, "220", "250", "250", "250", "354", NO, 0, 0, 1},
    {SMX_HOOK_BODY, SMX_DISCARD, "220", "250", "250", "250", "354", "250", 0, 0, 1},
    {SMX_HOOK_BODY, SMX_DISCONNECT, "220", "250", "250", "250", "354", NO, 0, 1, 0},
    {SMX_HOOK_EOM, SMX_CONTINUE, "220", "250", "250", "250", "354", "250", 1, 0, 0},
    {SMX_HOOK_EOM, SMX_REPLY_WITH, "220", "250", "250", "250", "354", NO, 0, 0, 1},
    {SMX_HOOK_EOM, SMX_DISCARD, "220", "250", "250", "250", "354", "250", 0, 0, 1},
    {SMX_HOOK_EOM, SMX_DISCONNECT, "220", "250", "250", "250", "354", NO, 0, 1, 0},
};
enum { ROWS = sizeof(rows) / sizeof(rows[0]) };

static void run_row(proxy_fixture *x, const row *r, bool held)
{
    client *c = client_open(x->f);
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
    } else if (r->parted && !held) {
        client_ask(c, "RSET", "421");
        client_expect_end(c);
    } else {
        client_ask(c, "RSET", "250");
        client_ask(c, "QUIT", "221");
    }
    client_close(c);
    assert_int_equal(x->f->handled, r->handled);
    proxy_expect_empty(x);
}

/* Ways in which a hook gives its verdict. */
typedef enum manner { AT_ONCE, LATER_FROM_WITHIN, ON_THE_POOL } manner;

static void every_row(manner how, bool held)
{
    for (size_t i = 0; i < ROWS; i++) {
        static script s;
        void *state = NULL;
        assert_int_equal(proxy_setup(&state), 0);
        proxy_fixture *x = state;
        script_init(&s, "scripted", rows[i].phase, rows[i].kind);
        s.later = how == LATER_FROM_WITHIN;
        s.answer_at_once = s.later;
        s.hook.flags = (how == ON_THE_POOL ? SMX_HOOK_BLOCKING : 0U) | (held ? SMX_HOOK_HOLD : 0U);
        proxy_add_hook(x, &s.hook);
        proxy_start(x);
        run_row(x, &rows[i], held);
        assert_int_equal(proxy_teardown(&state), 0);
    }
}

static void proxy_hooks__every_verdict_of_every_phase_at_once(void **state)
{
    (void)state;
    every_row(AT_ONCE, false);
}

static void proxy_hooks__every_verdict_of_every_phase_later(void **state)
{
    (void)state;
    every_row(LATER_FROM_WITHIN, false);
}

static void proxy_hooks__every_verdict_of_every_phase_on_the_pool(void **state)
{
    (void)state;
    every_row(ON_THE_POOL, false);
}

static void proxy_hooks__every_verdict_on_a_held_message(void **state)
{
    (void)state;
    every_row(AT_ONCE, true);
    every_row(LATER_FROM_WITHIN, true);
}

/* ---- phases ---- */

static void proxy_hooks__each_phase_is_asked_once_and_the_end_is_told(void **state)
{
    proxy_fixture *x = *state;
    static script s;
    script_init(&s, "counting", SMX_HOOK_HEADER, SMX_CONTINUE);
    proxy_add_hook(x, &s.hook);
    proxy_start(x);
    client *c = client_greet(x->f);
    client_mail(c, "S: x\r\n\r\n..body\r\n", "250 ");
    assert_buffer(&x->f->body, ".body\r\n");
    assert_string_equal(s.seen, "S: x\r\n");
    fixture_wait(s.calls[SMX_HOOK_RESET] == 1);
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

static void proxy_hooks__two_messages_and_a_refused_one_in_a_session(void **state)
{
    proxy_fixture *x = *state;
    static script s;
    script_init(&s, "counting", SMX_HOOK_EOM, SMX_CONTINUE);
    proxy_add_hook(x, &s.hook);
    proxy_start(x);
    client *c = client_greet(x->f);
    client_mail(c, "S: 1\r\n\r\none\r\n", "250 ");
    client_ask(c, "MAIL FROM:<a@from.example> NOSUCH=1", "555 ");
    client_mail(c, "S: 2\r\n\r\ntwo\r\n", "250 ");
    assert_buffer(&x->f->body, "two\r\n");
    fixture_wait(s.calls[SMX_HOOK_RESET] == 2);
    assert_int_equal(s.calls[SMX_HOOK_MAIL], 3);
    client_close(c);
}

/* What hooks judge they must be shown: what cannot be read is refused. */
static void proxy_hooks__paths_that_cannot_be_read_are_refused(void **state)
{
    proxy_fixture *x = *state;
    static script s;
    script_init(&s, "reading", SMX_HOOK_MAIL, SMX_CONTINUE);
    proxy_add_hook(x, &s.hook);
    proxy_start(x);
    client *c = client_greet(x->f);
    client_ask(c, "MAIL FROM:a@from.example", "501 ");
    assert_int_equal(s.calls[SMX_HOOK_MAIL], 0);
    client_close(c);
}

static void proxy_hooks__second_mail_is_refused(void **state)
{
    proxy_fixture *x = *state;
    static script s;
    script_init(&s, "reading", SMX_HOOK_MAIL, SMX_CONTINUE);
    proxy_add_hook(x, &s.hook);
    proxy_start(x);
    client *c = client_greet(x->f);
    client_send(c, "MAIL FROM:<a@from.example>\r\nMAIL FROM:<c@from.example>\r\n");
    client_expect(c, "250 ");
    client_expect(c, "503 ");
    assert_int_equal(s.calls[SMX_HOOK_MAIL], 1);
    client_close(c);
}

/* What a client says of recipients is kept up to a limit, also where the server takes none of them. */
static void proxy_hooks__flood_of_recipients_is_not_kept(void **state)
{
    enum { FILL = 4000, KEPT = 4 << 20 };
    proxy_fixture *x = *state;
    static script s;
    static char line[FILL + 64];
    client *up = NULL;
    script_init(&s, "reading", SMX_HOOK_RCPT, SMX_CONTINUE);
    proxy_add_hook(x, &s.hook);
    proxy_play(x);
    client *c = proxy_greet(x, &up, "");
    client_say(c, "MAIL FROM:<a@from.example>");
    upstream_expect(up, "MAIL FROM:<a@from.example>");
    client_say(up, "250 ok");
    client_expect(c, "250 ");
    int len = snprintf(line, sizeof(line), "RCPT TO:<b@to.example> NOSUCH=");
    memset(line + len, 'x', FILL);
    int most = KEPT / (len - 5 + FILL);
    for (int i = 0; i < most; i++) {
        client_say(c, line);
        upstream_expect(up, line);
        client_say(up, "555 no");
        client_expect(c, "555 ");
    }
    client_say(c, line);
    client_expect(c, "452 4.3.1");
    assert_int_equal(s.calls[SMX_HOOK_RCPT], most);
    client_close(c);
    client_expect_end(up);
    client_close(up);
}

/* ---- changes ---- */

static void set_sender(smx_hook_call *call)
{
    if (smx_hook_set_sender(call, SMX_SLICE("new@from.example")) != 0)
        abort();
}

static void add_recipient(smx_hook_call *call)
{
    if (smx_hook_add_recipient(call, SMX_SLICE("archive@to.example")) != 0)
        abort();
}

static void delete_recipient(smx_hook_call *call)
{
    const smx_hook_view *view = smx_hook_get_view(call);
    if (slice_equal(view->rcpt->path.mailbox, SMX_SLICE("b@to.example")) &&
        smx_hook_delete_recipient(call, view->rcpt->path.mailbox) != 0)
        abort();
}

static void edit_header(smx_hook_call *call)
{
    if (smx_hook_add_header(call, SMX_SLICE("X-Seen"), SMX_SLICE("yes")) != 0)
        abort();
    if (smx_hook_get_view(call)->phase >= SMX_HOOK_HEADER &&
        (smx_hook_change_header(call, SMX_SLICE("Subject"), 0, SMX_SLICE("new")) != 0 ||
         smx_hook_delete_header(call, SMX_SLICE("X-Old"), 0) != 0))
        abort();
}

static void replace_body(smx_hook_call *call)
{
    if (smx_hook_replace_body(call, SMX_SLICE("replaced\r\n.dot\r\n")) != 0)
        abort();
}

static void smuggle_body(smx_hook_call *call)
{
    if (smx_hook_replace_body(call, SMX_SLICE("a\n.\nMAIL FROM:<s@evil.example>\n")) != 0)
        abort();
}

static client *greet_changing(proxy_fixture *x, script *s, smx_hook_phase phase, unsigned flags,
                              void (*change)(smx_hook_call *call))
{
    script_init(s, "changing", phase, SMX_CONTINUE);
    s->change = change;
    s->hook.flags = flags;
    proxy_add_hook(x, &s->hook);
    proxy_start(x);
    return client_greet(x->f);
}

static void proxy_hooks__sender_changes_and_its_parameters_stay(void **state)
{
    proxy_fixture *x = *state;
    static script s;
    script_init(&s, "changing", SMX_HOOK_MAIL, SMX_CONTINUE);
    s.change = set_sender;
    proxy_add_hook(x, &s.hook);
    client *up = NULL;
    proxy_play(x);
    client *c = proxy_greet(x, &up, "");
    client_say(c, "mail from: <a@from.example>  body=8BitMime X-own=1");
    upstream_expect(up, "MAIL FROM:<new@from.example>  body=8BitMime X-own=1");
    client_say(up, "250 fine");
    client_expect(c, "250 fine");
    client_close(c);
    client_close(up);
}

/* With the new sender the line would be too long for any server. */
static void proxy_hooks__sender_that_finds_no_room_is_451(void **state)
{
    proxy_fixture *x = *state;
    static script s;
    static char line[SMX_COMMAND_LINE_MAX - 1];
    script_init(&s, "changing", SMX_HOOK_MAIL, SMX_CONTINUE);
    s.change = set_sender;
    proxy_add_hook(x, &s.hook);
    client *up = NULL;
    proxy_play(x);
    client *c = proxy_greet(x, &up, "");
    int len = snprintf(line, sizeof(line), "MAIL FROM:<a@b.example> NOSUCH=");
    memset(line + len, 'x', sizeof(line) - 1 - (size_t)len);
    client_say(c, line);
    client_expect(c, "451 ");
    client_say(c, "NOOP");
    upstream_expect(up, "NOOP");
    client_say(up, "250 ok");
    client_expect(c, "250 ");
    client_say(c, "MAIL FROM:<a@b.example>");
    upstream_expect(up, "MAIL FROM:<new@from.example>");
    client_close(c);
    client_close(up);
}

static void proxy_hooks__recipient_is_added(void **state)
{
    proxy_fixture *x = *state;
    static script s;
    client *c = greet_changing(x, &s, SMX_HOOK_DATA, 0, add_recipient);
    client_mail(c, "S: x\r\n\r\nbody\r\n", "250 ");
    assert_buffer(&x->f->recipients, "b@to.example archive@to.example ");
    client_close(c);
}

static void proxy_hooks__recipient_is_deleted(void **state)
{
    proxy_fixture *x = *state;
    static script s;
    client *c = greet_changing(x, &s, SMX_HOOK_RCPT, 0, delete_recipient);
    client_ask(c, "MAIL FROM:<a@from.example>", "250 2.1.0");
    client_ask(c, "RCPT TO:<b@to.example>", "250 ");
    client_ask(c, "RCPT TO:<c@to.example>", "250 ");
    client_ask(c, "DATA", "354 ");
    client_send(c, "S: x\r\n\r\n");
    client_ask(c, ".", "250 ");
    assert_buffer(&x->f->recipients, "c@to.example ");
    client_close(c);
}

#define OLD_HEADER "Subject: old\r\nX-Old: 1\r\n"

static void expect_header(proxy_fixture *x, smx_hook_phase phase, unsigned flags,
                          const char *header)
{
    static script s;
    client *c = greet_changing(x, &s, phase, flags, edit_header);
    client_mail(c, OLD_HEADER "\r\n..body\r\n", "250 ");
    assert_buffer(&x->f->header, header);
    assert_buffer(&x->f->body, ".body\r\n");
    client_close(c);
}

static void proxy_hooks__header_changes_while_the_message_streams(void **state)
{
    expect_header(*state, SMX_HOOK_HEADER, 0, "Subject: new\r\nX-Seen: yes\r\n");
}

static void proxy_hooks__header_field_asked_for_at_rcpt_is_added(void **state)
{
    expect_header(*state, SMX_HOOK_RCPT, 0, OLD_HEADER "X-Seen: yes\r\n");
}

static void proxy_hooks__header_changes_of_a_held_message(void **state)
{
    expect_header(*state, SMX_HOOK_EOM, SMX_HOOK_HOLD, "Subject: new\r\nX-Seen: yes\r\n");
}

static void proxy_hooks__chunk_of_the_body_is_replaced(void **state)
{
    proxy_fixture *x = *state;
    static script s;
    client *c = greet_changing(x, &s, SMX_HOOK_BODY, 0, replace_body);
    client_mail(c, "S: x\r\n\r\nbody\r\n", "250 ");
    assert_buffer(&x->f->header, "S: x\r\n");
    assert_buffer(&x->f->body, "replaced\r\n.dot\r\n");
    client_close(c);
}

static void proxy_hooks__body_of_a_held_message_is_replaced(void **state)
{
    proxy_fixture *x = *state;
    static script s;
    client *c = greet_changing(x, &s, SMX_HOOK_EOM, SMX_HOOK_HOLD, replace_body);
    client_mail(c, "S: x\r\n\r\nbody\r\n", "250 ");
    assert_buffer(&x->f->header, "S: x\r\n");
    assert_buffer(&x->f->body, "replaced\r\n.dot\r\n");
    client_close(c);
}

/* ATTACKS 4 */
static void proxy_hooks__body_that_cannot_be_sent_is_not(void **state)
{
    proxy_fixture *x = *state;
    static script s;
    client *c = greet_changing(x, &s, SMX_HOOK_BODY, 0, smuggle_body);
    client_mail(c, "S: x\r\n\r\nbody\r\n", "451 ");
    assert_int_equal(x->f->handled, 0);
    client_ask(c, "NOOP", "421 ");
    client_close(c);
}

static void proxy_hooks__chunked_message_goes_through_hooks(void **state)
{
    for (unsigned flags = 0; flags <= SMX_HOOK_HOLD; flags++) {
        static script s;
        void *own = NULL;
        (void)state;
        assert_int_equal(proxy_setup(&own), 0);
        proxy_fixture *x = own;
        client *c = greet_changing(x, &s, SMX_HOOK_HEADER, flags, edit_header);
        client_ask(c, "MAIL FROM:<a@from.example>", "250 ");
        client_ask(c, "RCPT TO:<b@to.example>", "250 ");
        client_send(c, "BDAT 29\r\n" OLD_HEADER "\r\n.bo");
        client_expect(c, "250 ");
        client_send(c, "BDAT 5 LAST\r\ndy.\r\n");
        client_expect(c, "250 2.0.0 kept");
        assert_buffer(&x->f->header, "Subject: new\r\nX-Seen: yes\r\n");
        assert_buffer(&x->f->body, ".body.\r\n");
        client_close(c);
        assert_int_equal(proxy_teardown(&own), 0);
    }
}

/* ---- what is late ---- */

static int late_result;

static void change_late(smx_hook_call *call)
{
    if (smx_hook_get_view(call)->phase == SMX_HOOK_EOM)
        late_result = smx_hook_add_header(call, SMX_SLICE("X"), SMX_SLICE("y"));
    else if (smx_hook_get_view(call)->phase == SMX_HOOK_RCPT)
        late_result = smx_hook_set_sender(call, SMX_SLICE("x@y.example"));
    else
        late_result = smx_hook_add_recipient(call, SMX_SLICE("x@y.example"));
}

static void expect_late(smx_hook_phase phase, const char *rcpt, const char *dot)
{
    static script s;
    void *state = NULL;
    assert_int_equal(proxy_setup(&state), 0);
    proxy_fixture *x = state;
    late_result = 0;
    client *c = greet_changing(x, &s, phase, 0, change_late);
    client_ask(c, "MAIL FROM:<a@from.example>", "250 ");
    client_ask(c, "RCPT TO:<b@to.example>", rcpt);
    if (dot != NULL) {
        client_ask(c, "DATA", "354 ");
        client_send(c, "S: x\r\n\r\nbody\r\n.\r\n");
        client_expect(c, dot);
    }
    assert_int_equal(late_result, SMX_E_LATE);
    client_close(c);
    assert_int_equal(proxy_teardown(&state), 0);
}

static void proxy_hooks__what_has_gone_on_cannot_be_changed(void **state)
{
    (void)state;
    expect_late(SMX_HOOK_RCPT, "451 4.3.0", NULL);
    expect_late(SMX_HOOK_HEADER, "250 ", "451 4.3.0");
    expect_late(SMX_HOOK_EOM, "250 ", "451 4.3.0");
}

static void proxy_hooks__silent_hook_gets_its_on_error(void **state)
{
    proxy_fixture *x = *state;
    static script s;
    script_later(&s, SMX_HOOK_MAIL);
    s.hook.timeout_ms = 50;
    proxy_add_hook(x, &s.hook);
    proxy_start(x);
    client *c = client_greet(x->f);
    client_ask(c, "MAIL FROM:<a@from.example>", "451 4.3.0");
    assert_true(fixture_log_has(x->f, "hook_failed hook=later phase=mail"));
    client_close(c);
}

static void proxy_hooks__silent_hook_of_connect_gets_its_on_error(void **state)
{
    proxy_fixture *x = *state;
    static script s;
    script_later(&s, SMX_HOOK_CONNECT);
    s.hook.timeout_ms = 50;
    proxy_add_hook(x, &s.hook);
    proxy_start(x);
    client *c = client_open(x->f);
    client_expect(c, "421 ");
    client_expect_end(c);
    client_close(c);
}

static void proxy_hooks__waiting_body_keeps_its_octets(void **state)
{
    proxy_fixture *x = *state;
    static script s;
    script_later(&s, SMX_HOOK_HEADER);
    proxy_add_hook(x, &s.hook);
    proxy_start(x);
    client *c = client_greet(x->f);
    client_envelope(c);
    client_send(c, "S: x\r\n\r\none\r\ntwo\r\n");
    fixture_wait(s.ticket != 0);
    client_send(c, "three\r\n.\r\n");
    const smx_verdict yes = {.kind = SMX_CONTINUE};
    assert_int_equal(smx_hooks_answer(s.table, s.ticket, &yes), 0);
    client_expect(c, "250 2.0.0 kept");
    assert_buffer(&x->f->body, "one\r\ntwo\r\nthree\r\n");
    client_close(c);
}

static void proxy_hooks__answer_for_a_client_that_went_away_is_gone(void **state)
{
    proxy_fixture *x = *state;
    static script s;
    script_later(&s, SMX_HOOK_EOM);
    proxy_add_hook(x, &s.hook);
    proxy_start(x);
    client *c = client_greet(x->f);
    client_envelope(c);
    client_send(c, "S: x\r\n\r\n.\r\n");
    fixture_wait(s.ticket != 0);
    client_close(c);
    proxy_expect_empty(x);
    const smx_verdict yes = {.kind = SMX_CONTINUE};
    assert_int_equal(smx_hooks_answer(s.table, s.ticket, &yes), SMX_E_GONE);
    assert_int_equal(x->f->handled, 0);
    assert_int_equal(s.calls[SMX_HOOK_CLOSE], 1);
}

static void proxy_hooks__many_waiting_sessions_hinder_nobody(void **state)
{
    enum { MANY = 500 };
    proxy_fixture *x = *state;
    static script s;
    script_later(&s, SMX_HOOK_MAIL);
    proxy_add_hook(x, &s.hook);
    proxy_start(x);
    client **waiting = calloc(MANY, sizeof(*waiting));
    assert_non_null(waiting);
    for (size_t i = 0; i < MANY; i++) {
        waiting[i] = client_greet(x->f);
        client_say(waiting[i], "MAIL FROM:<a@from.example>");
    }
    fixture_wait(s.calls[SMX_HOOK_MAIL] == MANY);
    client *c = client_greet(x->f);
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

/* ---- big messages ---- */

enum { BIG = 3 * 1024 * 1024, LINE = 100 };

static void expect_big(proxy_fixture *x, unsigned flags)
{
    static script s;
    char *octets = malloc(BIG);
    assert_non_null(octets);
    for (size_t i = 0; i < BIG; i++)
        octets[i] = i % LINE == LINE - 2 || i == BIG - 2   ? '\r'
                    : i % LINE == LINE - 1 || i == BIG - 1 ? '\n'
                                                           : (char)('a' + i % 23);
    octets[BIG - 3] = 'x';
    client *c = greet_changing(x, &s, SMX_HOOK_HEADER, flags, edit_header);
    client_envelope(c);
    client_send(c, OLD_HEADER "\r\n");
    client_send_octets(c, octets, BIG);
    client_ask(c, ".", "250 2.0.0 kept");
    assert_true(slice_equal(buffer_slice(&x->f->body), slice_of(octets, BIG)));
    client_close(c);
    free(octets);
}

static void proxy_hooks__big_message_streams_whole(void **state)
{
    expect_big(*state, 0);
}

static void proxy_hooks__big_message_is_held_in_a_file(void **state)
{
    expect_big(*state, SMX_HOOK_HOLD);
}

static void proxy_hooks__held_message_over_the_limit_is_552(void **state)
{
    proxy_fixture *x = *state;
    static script s;
    x->listener.listener.max_size = 100;
    client *c = greet_changing(x, &s, SMX_HOOK_EOM, SMX_HOOK_HOLD, edit_header);
    client_envelope(c);
    client_send(c, "S: x\r\n\r\n");
    for (int i = 0; i < 10; i++)
        client_send(c, "some more octets\r\n");
    client_ask(c, ".", "552 5.3.4");
    client_mail(c, "Subject: x\r\n\r\nsmall\r\n", "250 ");
    client_close(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(proxy_hooks__every_verdict_of_every_phase_at_once),
        cmocka_unit_test(proxy_hooks__every_verdict_of_every_phase_later),
        cmocka_unit_test(proxy_hooks__every_verdict_of_every_phase_on_the_pool),
        cmocka_unit_test(proxy_hooks__every_verdict_on_a_held_message),
        PROXY_TEST(proxy_hooks__each_phase_is_asked_once_and_the_end_is_told),
        PROXY_TEST(proxy_hooks__two_messages_and_a_refused_one_in_a_session),
        PROXY_TEST(proxy_hooks__paths_that_cannot_be_read_are_refused),
        PROXY_TEST(proxy_hooks__second_mail_is_refused),
        PROXY_TEST(proxy_hooks__flood_of_recipients_is_not_kept),
        PROXY_TEST(proxy_hooks__sender_changes_and_its_parameters_stay),
        PROXY_TEST(proxy_hooks__sender_that_finds_no_room_is_451),
        PROXY_TEST(proxy_hooks__recipient_is_added),
        PROXY_TEST(proxy_hooks__recipient_is_deleted),
        PROXY_TEST(proxy_hooks__header_changes_while_the_message_streams),
        PROXY_TEST(proxy_hooks__header_field_asked_for_at_rcpt_is_added),
        PROXY_TEST(proxy_hooks__header_changes_of_a_held_message),
        PROXY_TEST(proxy_hooks__chunk_of_the_body_is_replaced),
        PROXY_TEST(proxy_hooks__body_of_a_held_message_is_replaced),
        PROXY_TEST(proxy_hooks__body_that_cannot_be_sent_is_not),
        cmocka_unit_test(proxy_hooks__chunked_message_goes_through_hooks),
        cmocka_unit_test(proxy_hooks__what_has_gone_on_cannot_be_changed),
        PROXY_TEST(proxy_hooks__silent_hook_gets_its_on_error),
        PROXY_TEST(proxy_hooks__silent_hook_of_connect_gets_its_on_error),
        PROXY_TEST(proxy_hooks__waiting_body_keeps_its_octets),
        PROXY_TEST(proxy_hooks__answer_for_a_client_that_went_away_is_gone),
        PROXY_TEST(proxy_hooks__many_waiting_sessions_hinder_nobody),
        PROXY_TEST(proxy_hooks__big_message_streams_whole),
        PROXY_TEST(proxy_hooks__big_message_is_held_in_a_file),
        PROXY_TEST(proxy_hooks__held_message_over_the_limit_is_552),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
