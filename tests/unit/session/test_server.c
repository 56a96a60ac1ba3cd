/* The server session's own functions: tickets, answers, memory given back, what is known. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/slice.h"
#include "smx/session.h"

typedef struct fixture {
    uint64_t tickets;
    smx_server_session *session;
    smx_server_event event;
    smx_bare_newline bare_newline;
} fixture;

static const smx_reply yes = {250, {2, 0, 0}, {"yes", 3}};
static const smx_reply go_on = {354, {0, 0, 0}, {"go", 2}};

static void open_session(fixture *f, bool lmtp)
{
    smx_server_session_options options = {
        .version = SMX_SERVER_SESSION_VERSION,
        .hostname = SMX_SLICE("mx.example"),
        .offered = ~(smx_extensions)0,
        .auth_clear = SMX_SLICE("PLAIN"),
        .lmtp = lmtp,
        .tickets = &f->tickets,
        .bare_newline = f->bare_newline,
    };
    assert_int_equal(smx_server_session_new(&options, 5, &f->session), 0);
}

/* Feeds until there is an event or nothing; all of the text must be used if `text` is not empty. */
static smx_server_event_type feed(fixture *f, const char *text)
{
    smx_slice in = slice_of_text(text);
    do {
        size_t used = smx_server_session_feed(f->session, 5, in, &f->event);
        in = slice_from(in, used);
    } while (f->event.type == SMX_SERVER_BODY);
    return f->event.type;
}

static int answer(fixture *f, const smx_reply *reply)
{
    return smx_server_session_answer(f->session, f->event.ticket, reply);
}

static void send_all(fixture *f)
{
    smx_server_session_sent(f->session, smx_server_session_output(f->session).len);
}

/* A line that gives an event with a ticket, and its answer. */
static void command(fixture *f, const char *line, const smx_reply *reply)
{
    (void)feed(f, line);
    assert_int_not_equal(f->event.ticket, 0);
    assert_int_equal(answer(f, reply), 0);
    assert_int_equal(feed(f, ""), SMX_SERVER_NONE);
    send_all(f);
}

static void begin(fixture *f, bool lmtp)
{
    *f = (fixture){.tickets = 40};
    open_session(f, lmtp);
    command(f, "", &(smx_reply){.code = 220});
    command(f, lmtp ? "LHLO client.example\r\n" : "EHLO client.example\r\n", &yes);
}

static void end(fixture *f)
{
    smx_server_session_free(f->session);
}

static void session_server__free_takes_null(void **state)
{
    (void)state;
    smx_server_session_free(NULL);
}

static void session_server__tickets_grow_by_the_step_of_a_shared_source(void **state)
{
    (void)state;
    uint64_t tickets = 7;
    smx_server_session_options options = {.version = SMX_SERVER_SESSION_VERSION,
                                          .hostname = SMX_SLICE("mx.example"),
                                          .tickets = &tickets,
                                          .ticket_step = 4};
    smx_server_session *a, *b;
    smx_server_event event;
    assert_int_equal(smx_server_session_new(&options, 5, &a), 0);
    assert_int_equal(smx_server_session_new(&options, 5, &b), 0);
    (void)smx_server_session_feed(a, 5, (smx_slice){0}, &event);
    assert_int_equal(event.ticket, 11);
    (void)smx_server_session_feed(b, 5, (smx_slice){0}, &event);
    assert_int_equal(event.ticket, 15);
    assert_int_equal(smx_server_session_answer(a, 15, &yes), SMX_E_GONE);
    assert_int_equal(smx_server_session_answer(b, 15, &yes), 0);
    smx_server_session_free(a);
    smx_server_session_free(b);
}

static void session_server__stale_tickets_are_gone(void **state)
{
    (void)state;
    fixture f;
    begin(&f, false);
    assert_int_equal(feed(&f, "MAIL FROM:<a@b.example>\r\n"), SMX_SERVER_MAIL);
    smx_ticket ticket = f.event.ticket;
    assert_int_equal(smx_server_session_answer(f.session, 0, &yes), SMX_E_GONE);
    assert_int_equal(smx_server_session_answer(f.session, ticket - 1, &yes), SMX_E_GONE);
    assert_int_equal(smx_server_session_answer(f.session, ticket + 1, &yes), SMX_E_GONE);
    assert_int_equal(smx_server_session_answer_each(f.session, ticket + 1, &yes, 1), SMX_E_GONE);
    assert_int_equal(smx_server_session_challenge(f.session, ticket + 1, SMX_SLICE("x")),
                     SMX_E_GONE);
    assert_int_equal(smx_server_session_answer(f.session, ticket, &yes), 0);
    assert_int_equal(smx_server_session_answer(f.session, ticket, &yes), SMX_E_GONE);
    end(&f);
}

static void session_server__what_is_no_reply_is_invalid_and_the_ticket_waits_on(void **state)
{
    (void)state;
    fixture f;
    begin(&f, false);
    assert_int_equal(feed(&f, "MAIL FROM:<a@b.example>\r\n"), SMX_SERVER_MAIL);
    assert_int_equal(answer(&f, &(smx_reply){.code = 0}), SMX_E_INVALID);
    assert_int_equal(answer(&f, &(smx_reply){.code = 600}), SMX_E_INVALID);
    assert_int_equal(smx_server_session_output(f.session).len, 0);
    assert_int_equal(answer(&f, &yes), 0);
    end(&f);
}

static void session_server__challenge_and_answer_each_have_their_events(void **state)
{
    (void)state;
    fixture f;
    begin(&f, false);
    assert_int_equal(feed(&f, "MAIL FROM:<a@b.example>\r\n"), SMX_SERVER_MAIL);
    smx_ticket ticket = f.event.ticket;
    assert_int_equal(smx_server_session_challenge(f.session, ticket, SMX_SLICE("x")), SMX_E_STATE);
    assert_int_equal(smx_server_session_answer_each(f.session, ticket, &yes, 1), SMX_E_STATE);
    assert_int_equal(smx_server_session_answer(f.session, ticket, &yes), 0);
    end(&f);
}

static void session_server__answer_each_wants_one_reply_for_each_recipient(void **state)
{
    (void)state;
    fixture f;
    begin(&f, true);
    command(&f, "MAIL FROM:<a@b.example>\r\n", &yes);
    command(&f, "RCPT TO:<c@d.example>\r\n", &yes);
    command(&f, "RCPT TO:<e@d.example>\r\n", &(smx_reply){.code = 550});
    command(&f, "RCPT TO:<g@d.example>\r\n", &yes);
    command(&f, "DATA\r\n", &go_on);
    assert_int_equal(feed(&f, "x\r\n.\r\n"), SMX_SERVER_EOM);
    const smx_reply replies[] = {yes, yes, yes};
    smx_ticket ticket = f.event.ticket;
    assert_int_equal(smx_server_session_answer_each(f.session, ticket, replies, 1), SMX_E_INVALID);
    assert_int_equal(smx_server_session_answer_each(f.session, ticket, replies, 3), SMX_E_INVALID);
    assert_int_equal(smx_server_session_output(f.session).len, 0);
    assert_int_equal(smx_server_session_answer_each(f.session, ticket, replies, 2), 0);
    assert_true(slice_equal(smx_server_session_output(f.session),
                            SMX_SLICE("250 2.0.0 yes\r\n250 2.0.0 yes\r\n")));
    end(&f);
}

static void session_server__a_421_among_lmtp_replies_closes(void **state)
{
    (void)state;
    fixture f;
    begin(&f, true);
    command(&f, "MAIL FROM:<a@b.example>\r\n", &yes);
    command(&f, "RCPT TO:<c@d.example>\r\n", &yes);
    command(&f, "DATA\r\n", &go_on);
    assert_int_equal(feed(&f, ".\r\n"), SMX_SERVER_EOM);
    const smx_reply leave = {421, {4, 3, 2}, {"bye", 3}};
    assert_int_equal(smx_server_session_answer_each(f.session, f.event.ticket, &leave, 1), 0);
    assert_int_equal(feed(&f, ""), SMX_SERVER_CLOSE);
    assert_int_equal(f.event.close_reason, SMX_CLOSE_REFUSED);
    end(&f);
}

/* What a body is known to be at its end. */
static unsigned traits_of(const char *command_of_body, const char *octets,
                          smx_bare_newline bare_newline)
{
    fixture f = {.tickets = 40, .bare_newline = bare_newline};
    open_session(&f, false);
    command(&f, "", &(smx_reply){.code = 220});
    command(&f, "EHLO client.example\r\n", &yes);
    command(&f, "MAIL FROM:<a@b.example>\r\n", &yes);
    command(&f, "RCPT TO:<c@d.example>\r\n", &yes);
    assert_int_equal(feed(&f, command_of_body), SMX_SERVER_DATA);
    assert_int_equal(answer(&f, &go_on), 0);
    smx_slice in = slice_of_text(octets);
    do
        in = slice_from(in, smx_server_session_feed(f.session, 5, in, &f.event));
    while (f.event.type == SMX_SERVER_BODY || (f.event.type == SMX_SERVER_NONE && in.len > 0));
    assert_int_equal(f.event.type, SMX_SERVER_EOM);
    unsigned traits = f.event.traits;
    end(&f);
    return traits;
}

static void session_server__traits_of_a_body_promise_what_was_seen(void **state)
{
    static const unsigned clean = SMX_BODY_CLEAN;
    static const unsigned both = (unsigned)SMX_BODY_CLEAN | (unsigned)SMX_BODY_UNDOTTED;
    static const struct {
        const char *command;
        const char *octets;
        unsigned traits;
    } cases[] = {
        {"DATA\r\n", "a\r\nb.\r\n.\r\n", both},   {"DATA\r\n", ".\r\n", both},
        {"DATA\r\n", ".a\r\n.\r\n", both}, /* the dot is gone */
        {"DATA\r\n", "a\r\n..\r\n.\r\n", clean},  {"DATA\r\n", "..a\r\nb\r\n.\r\n", clean},
        {"BDAT 6 LAST\r\n", "a\r\nb\r\n", both},  {"BDAT 5 LAST\r\n", "a\r\n.b", clean},
        {"BDAT 4 LAST\r\n", "a\r\nb", clean}, /* no whole line */
        {"BDAT 6 LAST\r\n", ".\r\na\r\n", clean},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(traits_of(cases[i].command, cases[i].octets, SMX_BARE_NEWLINE_REJECT),
                         cases[i].traits);
        /* What is made right could begin lines with dots that nobody has seen. */
        assert_int_equal(traits_of(cases[i].command, cases[i].octets, SMX_BARE_NEWLINE_NORMALIZE),
                         0);
    }
    assert_int_equal(traits_of("DATA\r\n", "a\n.b\r\n.\r\n", SMX_BARE_NEWLINE_NORMALIZE), 0);
}

static void session_server__answers_after_the_end_are_gone(void **state)
{
    (void)state;
    fixture f;
    begin(&f, false);
    assert_int_equal(feed(&f, "MAIL FROM:<a@b.example>\r\n"), SMX_SERVER_MAIL);
    smx_ticket ticket = f.event.ticket;
    smx_server_session_ended(f.session);
    assert_int_equal(smx_server_session_answer(f.session, ticket, &yes), SMX_E_GONE);
    assert_int_equal(feed(&f, ""), SMX_SERVER_RESET);
    assert_int_equal(f.event.reset_reason, SMX_RESET_CLOSED);
    assert_int_equal(feed(&f, ""), SMX_SERVER_CLOSE);
    assert_int_equal(f.event.close_reason, SMX_CLOSE_PEER);
    assert_int_equal(feed(&f, "NOOP\r\n"), SMX_SERVER_NONE);
    smx_server_session_ended(f.session);
    assert_int_equal(feed(&f, ""), SMX_SERVER_NONE);
    assert_int_equal(smx_server_session_deadline(f.session), SMX_DEADLINE_NEVER);
    end(&f);
}

static void session_server__output_may_be_sent_in_pieces(void **state)
{
    (void)state;
    fixture f;
    begin(&f, false);
    (void)feed(&f, "NOOP\r\nNOOP\r\n");
    smx_server_session_sent(f.session, 4);
    assert_true(slice_equal(smx_server_session_output(f.session),
                            SMX_SLICE("2.0.0 OK\r\n250 2.0.0 OK\r\n")));
    smx_server_session_trim(f.session); /* may not lose what is not sent yet */
    assert_int_equal(smx_server_session_output(f.session).len, 24);
    send_all(&f);
    smx_server_session_trim(f.session);
    assert_int_equal(smx_server_session_output(f.session).len, 0);
    end(&f);
}

static void session_server__trim_keeps_the_reply_to_a_refused_chunk(void **state)
{
    (void)state;
    fixture f;
    begin(&f, false);
    command(&f, "MAIL FROM:<a@b.example>\r\n", &yes);
    command(&f, "RCPT TO:<c@d.example>\r\n", &yes);
    assert_int_equal(feed(&f, "BDAT 4 LAST\r\n"), SMX_SERVER_DATA);
    assert_int_equal(answer(&f, &(smx_reply){451, {4, 7, 1}, SMX_SLICE("later")}), 0);
    assert_int_equal(feed(&f, ""), SMX_SERVER_RESET);
    smx_server_session_trim(f.session);
    assert_int_equal(feed(&f, "QUIT"), SMX_SERVER_NONE);
    assert_true(
        slice_equal(smx_server_session_output(f.session), SMX_SLICE("451 4.7.1 later\r\n")));
    end(&f);
}

static void session_server__a_partial_command_is_left_to_the_owner(void **state)
{
    (void)state;
    fixture f;
    begin(&f, false);
    smx_slice line = SMX_SLICE("MAIL FROM:<a@b.example>\r\nRCPT");
    for (size_t len = 0; len < 25; len++) {
        assert_int_equal(smx_server_session_feed(f.session, 5, slice_to(line, len), &f.event), 0);
        assert_int_equal(f.event.type, SMX_SERVER_NONE);
    }
    assert_int_equal(smx_server_session_feed(f.session, 5, line, &f.event), 25);
    assert_int_equal(f.event.type, SMX_SERVER_MAIL);
    smx_slice rest = slice_from(line, 25);
    smx_server_event none;
    assert_int_equal(smx_server_session_feed(f.session, 5, rest, &none), 0);
    assert_int_equal(none.type, SMX_SERVER_NONE);
    assert_int_equal(answer(&f, &yes), 0);
    end(&f);
}

static void session_server__info_tells_what_is_known(void **state)
{
    (void)state;
    fixture f;
    smx_server_session_info info;
    begin(&f, false);
    assert_int_equal(feed(&f, "AUTH PLAIN AHUAcA==\r\n"), SMX_SERVER_AUTH);
    smx_server_session_get_info(f.session, &info);
    assert_true(info.waiting && info.esmtp && !info.tls && !info.authenticated);
    assert_int_equal(answer(&f, &(smx_reply){.code = 235}), 0);
    send_all(&f);
    command(&f, "MAIL FROM:<a@b.example>\r\n", &yes);
    command(&f, "RCPT TO:<c@d.example>\r\n", &yes);
    command(&f, "DATA\r\n", &go_on);
    smx_server_session_get_info(f.session, &info);
    assert_true(info.authenticated && info.in_transaction && info.receiving && !info.waiting);
    assert_int_equal(info.recipients, 1);
    assert_true(slice_equal(info.helo, SMX_SLICE("client.example")));
    command(&f, ".\r\n", &yes);
    smx_server_session_get_info(f.session, &info);
    assert_true(!info.in_transaction && !info.receiving && info.recipients == 0);
    command(&f, "HELO other.example\r\n", &yes);
    smx_server_session_get_info(f.session, &info);
    assert_true(!info.esmtp && slice_equal(info.helo, SMX_SLICE("other.example")));
    end(&f);
}

static void session_server__tls_done_out_of_place_is_nothing(void **state)
{
    (void)state;
    fixture f;
    smx_server_session_info info;
    begin(&f, false);
    smx_server_session_tls_done(f.session, 5, 0);
    smx_server_session_get_info(f.session, &info);
    assert_true(!info.tls && info.esmtp);
    end(&f);
}

static void session_server__nothing_meant_for_clear_text_goes_through_tls(void **state)
{
    (void)state;
    fixture f;
    begin(&f, false);
    assert_int_equal(feed(&f, "STARTTLS\r\n"), SMX_SERVER_STARTTLS);
    assert_int_equal(answer(&f, &(smx_reply){.code = 220}), 0);
    assert_int_equal(feed(&f, ""), SMX_SERVER_TLS);
    assert_true(smx_server_session_output(f.session).len > 0);
    smx_server_session_tls_done(f.session, 5, 0);
    assert_int_equal(smx_server_session_output(f.session).len, 0);
    end(&f);
}

static void session_server__deadlines(void **state)
{
    (void)state;
    fixture f;
    begin(&f, false);
    assert_int_equal(smx_server_session_deadline(f.session), 5 + 300000);
    assert_int_equal(feed(&f, "MAIL FROM:<a@b.example>\r\n"), SMX_SERVER_MAIL);
    assert_int_equal(smx_server_session_deadline(f.session), SMX_DEADLINE_NEVER);
    assert_int_equal(answer(&f, &yes), 0);
    assert_int_equal(smx_server_session_deadline(f.session), 5); /* feed must be called now */
    (void)smx_server_session_feed(f.session, 1000, (smx_slice){0}, &f.event);
    assert_int_equal(smx_server_session_deadline(f.session), 1000 + 300000);
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(session_server__free_takes_null),
        cmocka_unit_test(session_server__tickets_grow_by_the_step_of_a_shared_source),
        cmocka_unit_test(session_server__stale_tickets_are_gone),
        cmocka_unit_test(session_server__what_is_no_reply_is_invalid_and_the_ticket_waits_on),
        cmocka_unit_test(session_server__challenge_and_answer_each_have_their_events),
        cmocka_unit_test(session_server__answer_each_wants_one_reply_for_each_recipient),
        cmocka_unit_test(session_server__a_421_among_lmtp_replies_closes),
        cmocka_unit_test(session_server__traits_of_a_body_promise_what_was_seen),
        cmocka_unit_test(session_server__answers_after_the_end_are_gone),
        cmocka_unit_test(session_server__output_may_be_sent_in_pieces),
        cmocka_unit_test(session_server__trim_keeps_the_reply_to_a_refused_chunk),
        cmocka_unit_test(session_server__a_partial_command_is_left_to_the_owner),
        cmocka_unit_test(session_server__info_tells_what_is_known),
        cmocka_unit_test(session_server__tls_done_out_of_place_is_nothing),
        cmocka_unit_test(session_server__nothing_meant_for_clear_text_goes_through_tls),
        cmocka_unit_test(session_server__deadlines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
