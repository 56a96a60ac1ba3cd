/* The client's machine, called in ways that scripts cannot: wrong arguments, capabilities, small
 * arrays of pieces, what lives how long. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/slice.h"
#include "smx/session.h"

static const smx_rcpt one_recipient = {.path = {.mailbox = {"d@e.f", 5}}};

static smx_client_session *client_new(void)
{
    smx_client_session *s = NULL;
    smx_client_session_options options = {.version = SMX_CLIENT_SESSION_VERSION,
                                          .helo = SMX_SLICE("client.example")};
    assert_int_equal(smx_client_session_new(&options, 0, &s), 0);
    return s;
}

/* The server says `text`; gives the last event that came of it, and sends what there is. */
static smx_client_event client_hears(smx_client_session *s, const char *text)
{
    smx_client_event event;
    smx_client_event last = {0};
    smx_slice in = slice_of_text(text);
    for (;;) {
        in = slice_from(in, smx_client_session_feed(s, 0, in, &event));
        if (event.type == SMX_CLIENT_NONE)
            break;
        last = event;
    }
    assert_int_equal(in.len, 0);
    smx_client_session_sent(s, smx_client_session_output(s).len);
    return last;
}

static smx_client_session *client_ready(const char *offers)
{
    smx_client_session *s = client_new();
    (void)client_hears(s, "220 mx.example\r\n");
    assert_int_equal(client_hears(s, offers).type, SMX_CLIENT_READY);
    return s;
}

static int client_begins(smx_client_session *s, uint64_t size)
{
    smx_client_transaction t = {.mail = {.path = {.mailbox = SMX_SLICE("a@b.c")}},
                                .recipients = &one_recipient,
                                .recipient_count = 1,
                                .has_size = size > 0,
                                .size = size};
    int error = smx_client_session_begin(s, 0, &t);
    if (error == 0)
        smx_client_session_sent(s, smx_client_session_output(s).len);
    return error;
}

static void session_client__options_are_checked(void **state)
{
    static const char *const names[] = {"",     "a b", "a\r\nRSET", "a\tb", "\xc3\xa4.example",
                                        "a\x7f"};
    smx_client_session *untouched = NULL;
    smx_client_session_options options = {.version = SMX_CLIENT_SESSION_VERSION};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        options.helo = slice_of_text(names[i]);
        assert_int_equal(smx_client_session_new(&options, 0, &untouched), SMX_E_INVALID);
    }
    options.helo = SMX_SLICE("client.example");
    options.version = SMX_CLIENT_SESSION_VERSION + 1;
    assert_int_equal(smx_client_session_new(&options, 0, &untouched), SMX_E_INVALID);
    assert_null(untouched);
    smx_client_session_free(NULL);
}

static void session_client__name_of_255_octets_is_taken_and_256_not(void **state)
{
    char name[256];
    smx_client_session *s = NULL;
    (void)state;
    memset(name, 'a', sizeof name);
    smx_client_session_options options = {.version = SMX_CLIENT_SESSION_VERSION,
                                          .helo = slice_of(name, 256)};
    assert_int_equal(smx_client_session_new(&options, 0, &s), SMX_E_INVALID);
    options.helo.len = 255;
    assert_int_equal(smx_client_session_new(&options, 0, &s), 0);
    smx_client_session_free(s);
}

static void session_client__phases_have_texts(void **state)
{
    (void)state;
    assert_string_equal(smx_client_phase_text(SMX_CLIENT_PHASE_CONNECT), "connect");
    assert_string_equal(smx_client_phase_text(SMX_CLIENT_PHASE_FINAL), "final");
    assert_string_equal(smx_client_phase_text(SMX_CLIENT_PHASE_QUIT), "quit");
}

static void session_client__begin_before_ready_sends_nothing(void **state)
{
    smx_client_session *s = client_new();
    (void)state;
    assert_int_equal(client_begins(s, 0), SMX_E_STATE);
    assert_int_equal(smx_client_session_output(s).len, 0);
    smx_client_session_free(s);
}

static void session_client__begin_before_the_ready_event_is_pulled(void **state)
{
    smx_client_event event;
    smx_client_session *s = client_ready("250 mx.example\r\n");
    smx_slice reply = SMX_SLICE("250 ok\r\n");
    (void)state;
    assert_int_equal(client_begins(s, 0), 0);
    assert_int_equal(smx_client_session_feed(s, 0, SMX_SLICE("550 no\r\n"), &event), reply.len);
    assert_int_equal(event.type, SMX_CLIENT_MAIL_REPLY);
    assert_int_equal(client_begins(s, 0), SMX_E_STATE);
    assert_false(smx_client_session_is_ready(s));
    /* An event that is owed is due at once. */
    assert_int_equal(smx_client_session_deadline(s), 0);
    assert_int_equal(client_hears(s, "").type, SMX_CLIENT_READY);
    assert_int_equal(client_begins(s, 0), 0);
    smx_client_session_free(s);
}

static void session_client__invalid_octets_send_nothing(void **state)
{
    smx_client_session *s = client_ready("250-mx.example\r\n250 PIPELINING\r\n");
    const smx_rcpt recipients[] = {one_recipient, {.path = {.mailbox = SMX_SLICE("a@b\r\nDATA")}}};
    smx_client_transaction t = {.recipients = recipients, .recipient_count = 2};
    (void)state;
    assert_int_equal(smx_client_session_begin(s, 0, &t), SMX_E_INVALID);
    assert_int_equal(smx_client_session_output(s).len, 0);
    assert_true(smx_client_session_is_ready(s));
    t.recipients = NULL;
    assert_int_equal(smx_client_session_begin(s, 0, &t), SMX_E_INVALID);
    assert_int_equal(client_begins(s, 0), 0);
    smx_client_session_free(s);
}

static void session_client__capabilities_outlive_the_input(void **state)
{
    char offers[] = "250-mx.example hello\r\n250-SIZE 1000\r\n250 AUTH PLAIN LOGIN\r\n";
    smx_client_session *s = client_ready(offers);
    (void)state;
    memset(offers, 'x', sizeof offers);
    const smx_capabilities *c = smx_client_session_capabilities(s);
    assert_int_equal(c->extensions, SMX_EXT_SIZE | SMX_EXT_AUTH);
    assert_int_equal(c->max_size, 1000);
    assert_true(slice_equal(c->domain, SMX_SLICE("mx.example")));
    assert_true(slice_equal(c->auth_mechanisms, SMX_SLICE("PLAIN LOGIN")));
    smx_client_session_trim(s);
    assert_true(slice_equal(c->auth_mechanisms, SMX_SLICE("PLAIN LOGIN")));
    smx_client_session_free(s);
}

static void session_client__replies_are_slices_of_the_input(void **state)
{
    smx_client_event event;
    smx_client_session *s = client_ready("250 mx.example\r\n");
    smx_slice in = SMX_SLICE("550-5.7.1 no\r\n550 5.7.1 never\r\n");
    (void)state;
    assert_int_equal(client_begins(s, 0), 0);
    assert_int_equal(smx_client_session_feed(s, 0, in, &event), in.len);
    assert_int_equal(event.type, SMX_CLIENT_MAIL_REPLY);
    assert_int_equal(event.reply.count, 2);
    assert_int_equal(event.reply.enhanced.subject, 7);
    assert_ptr_equal(event.reply.raw.data, in.data);
    smx_client_session_free(s);
}

static smx_client_session *client_in_body(const char *offers, uint64_t size)
{
    smx_client_session *s = client_ready(offers);
    assert_int_equal(client_begins(s, size), 0);
    const char *replies = size > 0 ? "250 ok\r\n250 ok\r\n" : "250 ok\r\n250 ok\r\n354 go\r\n";
    assert_int_equal(client_hears(s, replies).type, SMX_CLIENT_BODY);
    return s;
}

static const unsigned as_it_is = (unsigned)SMX_BODY_CLEAN | (unsigned)SMX_BODY_UNDOTTED;

/* What may go as it is comes back as one piece, as often as it is handed in, and only its dot is added. */
static void session_client__trusted_body_is_one_piece(void **state)
{
    smx_client_session *s = client_in_body("250-mx.example\r\n250 PIPELINING\r\n", 0);
    smx_slice body = SMX_SLICE("a\r\nb\r\n");
    smx_slice pieces[2];
    smx_slice end;
    size_t used;
    size_t count;
    (void)state;
    assert_false(smx_client_session_trust(s, SMX_BODY_CLEAN));
    assert_false(smx_client_session_trust(s, SMX_BODY_UNDOTTED));
    assert_int_equal(smx_client_session_body(s, 0, SMX_SLICE("X: y\r\n"), &used, pieces, 2, &count),
                     0);
    assert_true(smx_client_session_trust(s, as_it_is));
    for (int i = 0; i < 2; i++) {
        assert_int_equal(smx_client_session_body(s, 0, body, &used, pieces, 1, &count), 0);
        assert_int_equal(used, body.len);
        assert_int_equal(count, 1);
        assert_ptr_equal(pieces[0].data, body.data);
        assert_int_equal(pieces[0].len, body.len);
    }
    assert_int_equal(smx_client_session_body_end_octets(s, &end), 0);
    assert_int_equal(smx_client_session_output(s).len, 0);
    assert_int_equal(smx_client_session_body_end(s, 0), 0);
    assert_true(slice_equal(smx_client_session_output(s), end));
    assert_true(slice_equal(end, SMX_SLICE(".\r\n")));
    smx_client_session_free(s);
}

/* Within a line nobody knows what the next octets make of it. */
static void session_client__no_trust_within_a_line(void **state)
{
    static const char *const begun[] = {"X: y", "X: y\r"};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        smx_client_session *s = client_in_body("250 mx.example\r\n", 0);
        smx_slice pieces[2];
        size_t used;
        size_t count;
        assert_int_equal(
            smx_client_session_body(s, 0, slice_of_text(begun[i]), &used, pieces, 2, &count), 0);
        assert_false(smx_client_session_trust(s, as_it_is));
        smx_client_session_free(s);
    }
}

/* One piece a call: the body comes out the same. */
static void session_client__body_with_room_for_one_piece(void **state)
{
    smx_client_session *s = client_in_body("250-mx.example\r\n250 PIPELINING\r\n", 0);
    smx_slice body = SMX_SLICE(".a\r\n.b\r\n..\r\n");
    char wire[64];
    size_t len = 0;
    (void)state;
    while (body.len > 0) {
        smx_slice piece;
        size_t used;
        size_t count;
        assert_int_equal(smx_client_session_body(s, 0, body, &used, &piece, 1, &count), 0);
        assert_true(count <= 1);
        if (count == 1) {
            memcpy(wire + len, piece.data, piece.len);
            len += piece.len;
        }
        body = slice_from(body, used);
    }
    assert_true(slice_equal(slice_of(wire, len), SMX_SLICE("..a\r\n..b\r\n...\r\n")));
    smx_client_session_free(s);
}

static void session_client__body_without_room_takes_nothing(void **state)
{
    smx_client_session *s = client_in_body("250-mx.example\r\n250 PIPELINING\r\n", 0);
    smx_slice piece;
    size_t used = 7;
    size_t count = 7;
    (void)state;
    assert_int_equal(smx_client_session_body(s, 0, SMX_SLICE("x"), &used, &piece, 0, &count), 0);
    assert_int_equal(used, 0);
    assert_int_equal(count, 0);
    smx_client_session_free(s);
}

static void session_client__chunk_needs_room_for_two_pieces(void **state)
{
    const char *offers = "250-mx.example\r\n250-CHUNKING\r\n250 PIPELINING\r\n";
    smx_client_session *s = client_in_body(offers, 9);
    smx_slice body = SMX_SLICE(".a\r\n");
    smx_slice pieces[2];
    size_t used = 7;
    size_t count = 7;
    (void)state;
    assert_int_equal(smx_client_session_body(s, 0, body, &used, pieces, 1, &count), SMX_E_INVALID);
    assert_int_equal(used, 7);
    assert_int_equal(smx_client_session_body(s, 0, SMX_SLICE(""), &used, pieces, 0, &count), 0);
    assert_int_equal(count, 0);
    assert_int_equal(smx_client_session_body(s, 0, body, &used, pieces, 2, &count), 0);
    assert_int_equal(used, body.len);
    assert_int_equal(count, 2);
    assert_true(slice_equal(pieces[0], SMX_SLICE("BDAT 4\r\n")));
    assert_ptr_equal(pieces[1].data, body.data);
    smx_client_session_free(s);
}

/* ATTACKS 4: nothing of the run that bears the fault is handed out. */
static void session_client__faulty_body_hands_out_nothing(void **state)
{
    smx_client_session *s = client_in_body("250-mx.example\r\n250 PIPELINING\r\n", 0);
    smx_slice pieces[8];
    size_t used = 7;
    size_t count = 7;
    (void)state;
    assert_int_equal(
        smx_client_session_body(s, 0, SMX_SLICE("fine\r\nbad\n.\n"), &used, pieces, 8, &count),
        SMX_E_PROTOCOL);
    assert_int_equal(used, 7);
    assert_int_equal(count, 7);
    assert_int_equal(smx_client_session_body_end(s, 0), SMX_E_STATE);
    assert_int_equal(smx_client_session_output(s).len, 0);
    smx_client_event event = client_hears(s, "");
    assert_int_equal(event.type, SMX_CLIENT_FAILED);
    assert_non_null(event.failure);
    assert_int_equal(event.failure->phase, SMX_CLIENT_PHASE_BODY);
    smx_client_session_free(s);
}

static void session_client__failure_bears_the_reply(void **state)
{
    smx_client_event event;
    smx_client_session *s = client_new();
    smx_slice in = SMX_SLICE("554 5.3.2 closed\r\n");
    (void)state;
    assert_int_equal(smx_client_session_feed(s, 0, in, &event), in.len);
    assert_int_equal(event.type, SMX_CLIENT_FAILED);
    assert_true(event.failure->has_reply);
    assert_int_equal(event.failure->reply.code, 554);
    assert_int_equal(event.failure->reply.enhanced.subject, 3);
    assert_ptr_equal(event.failure->reply.raw.data, in.data);
    assert_int_equal(smx_client_session_deadline(s), SMX_DEADLINE_NEVER);
    smx_client_session_free(s);
}

static smx_client_session *client_before_tls(void)
{
    smx_client_session *s = NULL;
    smx_client_session_options options = {.version = SMX_CLIENT_SESSION_VERSION,
                                          .helo = SMX_SLICE("client.example"),
                                          .tls = SMX_TLS_IF_OFFERED};
    assert_int_equal(smx_client_session_new(&options, 0, &s), 0);
    (void)client_hears(s, "220 mx.example\r\n");
    (void)client_hears(s, "250-mx.example\r\n250-SIZE 9\r\n250 STARTTLS\r\n");
    return s;
}

/* ATTACKS 13: no TLS event at all, whatever the owner would do on it. */
static void session_client__octets_behind_the_220_fail_at_once(void **state)
{
    smx_client_event event;
    smx_client_session *s = client_before_tls();
    (void)state;
    (void)smx_client_session_feed(s, 0, SMX_SLICE("220 ok\r\n250 x\r\n"), &event);
    assert_int_equal(event.type, SMX_CLIENT_FAILED);
    assert_int_equal(event.failure->phase, SMX_CLIENT_PHASE_TLS);
    assert_int_equal(event.failure->error, SMX_E_PROTOCOL);
    smx_client_session_free(s);
}

/* RFC 3207 section 4.2 */
static void session_client__offers_are_forgotten_with_the_220(void **state)
{
    smx_client_session *s = client_before_tls();
    const smx_capabilities *c = smx_client_session_capabilities(s);
    (void)state;
    assert_int_equal(c->extensions, SMX_EXT_SIZE | SMX_EXT_STARTTLS);
    assert_int_equal(client_hears(s, "220 ok\r\n").type, SMX_CLIENT_TLS);
    assert_int_equal(c->extensions, 0);
    assert_int_equal(c->domain.len, 0);
    smx_client_session_free(s);
}

static void session_client__time_does_not_wrap(void **state)
{
    smx_client_event event;
    smx_client_session *s = NULL;
    smx_client_session_options options = {.version = SMX_CLIENT_SESSION_VERSION,
                                          .helo = SMX_SLICE("client.example")};
    (void)state;
    assert_int_equal(smx_client_session_new(&options, UINT64_MAX - 1, &s), 0);
    assert_int_equal(smx_client_session_deadline(s), SMX_DEADLINE_NEVER);
    assert_int_equal(smx_client_session_feed(s, UINT64_MAX - 1, SMX_SLICE(""), &event), 0);
    assert_int_equal(event.type, SMX_CLIENT_NONE);
    smx_client_session_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(session_client__options_are_checked),
        cmocka_unit_test(session_client__name_of_255_octets_is_taken_and_256_not),
        cmocka_unit_test(session_client__phases_have_texts),
        cmocka_unit_test(session_client__begin_before_ready_sends_nothing),
        cmocka_unit_test(session_client__begin_before_the_ready_event_is_pulled),
        cmocka_unit_test(session_client__invalid_octets_send_nothing),
        cmocka_unit_test(session_client__capabilities_outlive_the_input),
        cmocka_unit_test(session_client__replies_are_slices_of_the_input),
        cmocka_unit_test(session_client__body_with_room_for_one_piece),
        cmocka_unit_test(session_client__body_without_room_takes_nothing),
        cmocka_unit_test(session_client__chunk_needs_room_for_two_pieces),
        cmocka_unit_test(session_client__faulty_body_hands_out_nothing),
        cmocka_unit_test(session_client__failure_bears_the_reply),
        cmocka_unit_test(session_client__octets_behind_the_220_fail_at_once),
        cmocka_unit_test(session_client__offers_are_forgotten_with_the_220),
        cmocka_unit_test(session_client__time_does_not_wrap),
        cmocka_unit_test(session_client__trusted_body_is_one_piece),
        cmocka_unit_test(session_client__no_trust_within_a_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
