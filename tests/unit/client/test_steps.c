/* A submission in steps: recipients, header and body come while the transaction is under way. */
#include "script.h"

#include "net/loop_internal.h"

#define GREET                                                                                      \
    {NULL, "220 mx\r\n"},                                                                          \
    {                                                                                              \
        "EHLO me.example\r\n", "250-mx\r\n250 PIPELINING\r\n"                                      \
    }
#define MAIL                                                                                       \
    {                                                                                              \
        "MAIL FROM:<ann@example.com>\r\n", "250 ok\r\n"                                            \
    }
#define BOB(reply)                                                                                 \
    {                                                                                              \
        "RCPT TO:<bob@example.org>\r\n", reply                                                     \
    }
#define CAROL(reply)                                                                               \
    {                                                                                              \
        "RCPT TO:<carol@example.org>\r\n", reply                                                   \
    }
#define DATA                                                                                       \
    {                                                                                              \
        "DATA\r\n", "354 go\r\n"                                                                   \
    }
#define QUIT                                                                                       \
    {                                                                                              \
        "QUIT\r\n", "221 bye\r\n"                                                                  \
    }
#define END                                                                                        \
    {                                                                                              \
        NULL, NULL                                                                                 \
    }

static const char header[] = "Subject: x\r\n";

static smx_message *steps_message(void)
{
    smx_message *message;
    const smx_message_options options = {.version = SMX_MESSAGE_VERSION};
    assert_int_equal(smx_message_new(&options, &message), 0);
    return message;
}

/* Opens, and runs until `calls` have come. */
static void steps_begin(script *s, const script_step *steps, size_t required, const char *calls)
{
    s->submission.stage = SMX_SUBMISSION_RECIPIENTS;
    s->submission.all_or_nothing = false;
    s->submission.required = required;
    s->submission.header = (smx_slice){NULL, 0};
    script_open(s, steps);
    script_until(s, strcmp(s->calls, calls) == 0);
}

static void steps_advance(script *s, smx_submission_stage stage)
{
    s->submission.stage = stage;
    assert_int_equal(smx_client_advance(s->client, &s->submission), 0);
}

static void steps_grow(script *s, smx_message *message, const char *octets)
{
    assert_int_equal(smx_message_append(message, slice_of_text(octets)), 0);
    steps_advance(s, s->submission.stage);
}

static void client_steps__each_recipient_is_answered_and_the_body_leaves_as_it_grows(void **state)
{
    script *s = *state;
    static const script_step steps[] = {
        GREET, MAIL, BOB("250 ok\r\n"), CAROL("550 5.1.1 no\r\n"), DATA,
        QUIT,  END}; /* the dot is answered by the test */
    smx_message *message = steps_message();
    steps_begin(s, steps, 0, "ra");
    assert_int_equal(s->recipient_codes[0], 250);
    s->envelope.recipient_count = 2;
    steps_advance(s, SMX_SUBMISSION_RECIPIENTS);
    script_until(s, strcmp(s->calls, "raa") == 0);
    assert_int_equal(s->recipient_codes[1], 550);
    assert_false(script_heard(s, "DATA"));
    steps_advance(s, SMX_SUBMISSION_DATA);
    script_run_to(s, 6);
    s->submission.header = slice_of_text(header);
    s->submission.message = message;
    steps_advance(s, SMX_SUBMISSION_BODY);
    script_until(s, script_heard(s, header));
    steps_grow(s, message, "\r\n.half a line");
    script_until(s, script_heard(s, "\r\n..half a line"));
    assert_int_equal(loop_blocks_taken(s->loop), 0);
    steps_grow(s, message, ", the other half\r\n");
    script_until(s, script_heard(s, "half a line, the other half\r\n"));
    assert_false(script_heard(s, "\r\n.\r\n"));
    steps_advance(s, SMX_SUBMISSION_WHOLE);
    script_until(s, script_heard(s, "\r\n.\r\n"));
    assert_int_equal(connection_queue(s->server, SMX_SLICE("250 2.0.0 taken\r\n")), 0);
    script_until(s, s->closed);
    assert_string_equal(s->calls, "raa=r.");
    assert_int_equal(s->result.outcome, SMX_OUTCOME_ACCEPTED);
    assert_int_equal(s->result.recipient_count, 2);
    assert_int_equal(s->recipient_codes[0], 250);
    assert_int_equal(s->recipient_codes[1], 550);
    smx_message_free(message);
}

static void client_steps__a_refused_recipient_that_is_required_ends_it(void **state)
{
    script *s = *state;
    static const script_step steps[] = {GREET, MAIL, BOB("550 5.1.1 no\r\n"), QUIT, END};
    steps_begin(s, steps, 1, "ra=r.");
    assert_int_equal(s->result.outcome, SMX_OUTCOME_REFUSED);
    assert_int_equal(s->result.phase, SMX_CLIENT_PHASE_RCPT);
    assert_int_equal(s->result.refused, 0);
    assert_int_equal(s->code, 550);
}

static void client_steps__without_a_taken_recipient_there_is_no_data(void **state)
{
    script *s = *state;
    static const script_step steps[] = {GREET, MAIL, BOB("450 4.2.1 later\r\n"), QUIT, END};
    steps_begin(s, steps, 0, "ra");
    steps_advance(s, SMX_SUBMISSION_DATA);
    script_until(s, s->closed);
    assert_int_equal(s->result.outcome, SMX_OUTCOME_REFUSED);
    assert_int_equal(s->code, 450);
    assert_false(script_heard(s, "DATA"));
}

static void client_steps__a_recipient_that_cannot_be_sent_changes_nothing(void **state)
{
    script *s = *state;
    static const script_step steps[] = {
        GREET, MAIL, BOB("250 ok\r\n"), CAROL("250 ok\r\n"), {"never\r\n", NULL}, END};
    smx_slice carol = s->recipients[1].path.mailbox;
    steps_begin(s, steps, 0, "ra");
    s->recipients[1].path.mailbox = SMX_SLICE("x@y.z>\r\nDATA");
    s->envelope.recipient_count = 2;
    assert_int_equal(smx_client_advance(s->client, &s->submission), SMX_E_INVALID);
    s->recipients[1].path.mailbox = carol;
    steps_advance(s, SMX_SUBMISSION_RECIPIENTS);
    script_until(s, strcmp(s->calls, "raa") == 0);
    assert_false(script_heard(s, "DATA"));
}

/* The connection is good for the next: RSET goes before its MAIL. */
static void client_steps__given_up_between_recipients_the_connection_stays(void **state)
{
    script *s = *state;
    static const script_step steps[] = {GREET, MAIL, BOB("250 ok\r\n"), QUIT, END};
    steps_begin(s, steps, 0, "ra");
    assert_int_equal(smx_client_cancel(s->client), 0);
    assert_string_equal(s->calls, "ra"); /* never from within */
    assert_int_equal(smx_client_advance(s->client, &s->submission), SMX_E_STATE);
    script_until(s, s->closed);
    assert_string_equal(s->calls, "ra=r.");
    assert_int_equal(s->result.outcome, SMX_OUTCOME_GIVEN_UP);
    assert_false(script_heard(s, "DATA"));
}

/* Runs to within the body: the header has left. */
static void steps_to_body(script *s, smx_message *message)
{
    static const script_step steps[] = {GREET, MAIL, BOB("250 ok\r\n"), DATA, {"never\r\n", NULL},
                                        END};
    steps_begin(s, steps, 0, "ra");
    s->submission.header = slice_of_text(header);
    s->submission.message = message;
    steps_advance(s, SMX_SUBMISSION_BODY);
    script_until(s, script_heard(s, header));
}

static void client_steps__given_up_in_the_body_there_is_no_dot(void **state)
{
    script *s = *state;
    smx_message *message = steps_message();
    steps_to_body(s, message);
    assert_int_equal(smx_client_cancel(s->client), 0);
    script_until(s, s->closed);
    assert_string_equal(s->calls, "ra=.");
    assert_int_equal(s->result.outcome, SMX_OUTCOME_GIVEN_UP);
    script_until(s, s->server == NULL);
    assert_false(script_heard(s, "\r\n.\r\n"));
    smx_message_free(message);
}

static void client_steps__lost_in_a_pause_of_the_body_has_failed(void **state)
{
    script *s = *state;
    smx_message *message = steps_message();
    steps_to_body(s, message);
    connection_abort(s->server);
    script_until(s, s->closed);
    assert_string_equal(s->calls, "ra=.");
    assert_int_equal(s->result.outcome, SMX_OUTCOME_FAILED);
    assert_int_equal(s->result.phase, SMX_CLIENT_PHASE_BODY);
    smx_message_free(message);
}

/* Larger than what sockets hold, and than what a message holds in memory. */
static void client_steps__a_large_body_arrives_as_it_is(void **state)
{
    enum { LINES = 100000 };
    script *s = *state;
    static const char line[] = "a line of the body, .with a dot\r\n";
    smx_message *message = steps_message();
    steps_to_body(s, message);
    size_t before = buffer_length(&s->heard);
    for (size_t i = 0; i < LINES; i++) {
        assert_int_equal(smx_message_append(message, SMX_SLICE(line)), 0);
        if (i % 1000 == 0)
            steps_advance(s, SMX_SUBMISSION_BODY);
        if (i % 5000 == 0)
            script_turn(s);
    }
    smx_message_end(message);
    steps_advance(s, SMX_SUBMISSION_WHOLE);
    script_until(s, script_heard(s, "\r\n.\r\n"));
    smx_slice heard = slice_from(buffer_slice(&s->heard), before);
    assert_int_equal(heard.len, LINES * (sizeof(line) - 1) + 3);
    for (size_t i = 0; i < LINES; i++)
        assert_memory_equal(heard.data + i * (sizeof(line) - 1), line, sizeof(line) - 1);
    assert_int_equal(connection_queue(s->server, SMX_SLICE("250 ok\r\n")), 0);
    script_until(s, s->results == 1);
    assert_int_equal(s->result.outcome, SMX_OUTCOME_ACCEPTED);
    assert_int_equal(loop_blocks_taken(s->loop), 0);
    smx_message_free(message);
}

static void client_steps__only_what_began_in_steps_advances(void **state)
{
    script *s = *state;
    static const script_step steps[] = {GREET, MAIL, {"never\r\n", NULL}, END};
    script_open(s, steps);
    script_run_to(s, 3);
    assert_int_equal(smx_client_advance(s->client, &s->submission), SMX_E_STATE);
}

#define STEPS_TEST(name) cmocka_unit_test_setup_teardown(name, script_setup, script_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STEPS_TEST(client_steps__each_recipient_is_answered_and_the_body_leaves_as_it_grows),
        STEPS_TEST(client_steps__a_refused_recipient_that_is_required_ends_it),
        STEPS_TEST(client_steps__without_a_taken_recipient_there_is_no_data),
        STEPS_TEST(client_steps__a_recipient_that_cannot_be_sent_changes_nothing),
        STEPS_TEST(client_steps__given_up_between_recipients_the_connection_stays),
        STEPS_TEST(client_steps__given_up_in_the_body_there_is_no_dot),
        STEPS_TEST(client_steps__lost_in_a_pause_of_the_body_has_failed),
        STEPS_TEST(client_steps__a_large_body_arrives_as_it_is),
        STEPS_TEST(client_steps__only_what_began_in_steps_advances),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
