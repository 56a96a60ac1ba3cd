/* A client against a server that follows a script: what is told, in which order, and what is sent. */
#include "script.h"

#include <stdlib.h>

#include "net/loop_internal.h"

#define GREET                                                                                      \
    {NULL, "220 mx\r\n"},                                                                          \
    {                                                                                              \
        "EHLO me.example\r\n", "250 mx\r\n"                                                        \
    }
#define GREET_WITH(extension)                                                                      \
    {NULL, "220 mx\r\n"},                                                                          \
    {                                                                                              \
        "EHLO me.example\r\n", "250-mx\r\n250 " extension "\r\n"                                   \
    }
#define ENVELOPE                                                                                   \
    {"MAIL FROM:<ann@example.com>\r\n", "250 ok\r\n"},                                             \
    {                                                                                              \
        "RCPT TO:<bob@example.org>\r\n", "250 ok\r\n"                                              \
    }
#define QUIT                                                                                       \
    {                                                                                              \
        "QUIT\r\n", "221 bye\r\n"                                                                  \
    }
#define END                                                                                        \
    {                                                                                              \
        NULL, NULL                                                                                 \
    }

static void client__ready_result_ready_closed(void **state)
{
    script *s = *state;
    static const script_step steps[] = {
        GREET, ENVELOPE, {"DATA\r\n", "354 go\r\n"}, {"\r\n.\r\n", "250 2.0.0 taken\r\n"},
        QUIT,  END};
    script_run(s, steps);
    assert_string_equal(s->calls, "r=r.");
    assert_int_equal(s->result.outcome, SMX_OUTCOME_ACCEPTED);
    assert_int_equal(s->result.phase, SMX_CLIENT_PHASE_FINAL);
    assert_int_equal(s->code, 250);
    assert_int_equal(s->recipient_codes[0], 250);
    assert_true(script_heard(s, "DATA\r\nSubject: x\r\n\r\nbody\r\n.\r\nQUIT\r\n"));
    assert_int_equal(loop_blocks_taken(s->loop), 0);
}

static void client__a_refused_recipient_ends_all_or_nothing_before_data(void **state)
{
    script *s = *state;
    static const script_step steps[] = {GREET,
                                        ENVELOPE,
                                        {"RCPT TO:<carol@example.org>\r\n", "550 5.1.1 no\r\n"},
                                        {"RSET\r\n", "250 ok\r\n"},
                                        QUIT,
                                        END};
    s->envelope.recipient_count = 2;
    script_run(s, steps);
    assert_string_equal(s->calls, "r=r.");
    assert_int_equal(s->result.outcome, SMX_OUTCOME_REFUSED);
    assert_int_equal(s->result.phase, SMX_CLIENT_PHASE_RCPT);
    assert_int_equal(s->result.refused, 1);
    assert_int_equal(s->code, 550);
    assert_int_equal(s->recipient_codes[0], 250);
    assert_int_equal(s->recipient_codes[1], 550);
    assert_false(script_heard(s, "DATA"));
}

static void client__a_final_refusal_leaves_the_connection_good(void **state)
{
    script *s = *state;
    static const script_step steps[] = {
        GREET, ENVELOPE, {"DATA\r\n", "354 go\r\n"}, {"\r\n.\r\n", "452 4.2.2 full\r\n"},
        QUIT,  END};
    script_run(s, steps);
    assert_string_equal(s->calls, "r=r.");
    assert_int_equal(s->result.outcome, SMX_OUTCOME_REFUSED);
    assert_int_equal(s->result.phase, SMX_CLIENT_PHASE_FINAL);
    assert_int_equal(s->code, 452);
}

static void client__lost_before_the_dot_has_failed(void **state)
{
    script *s = *state;
    static const script_step steps[] = {GREET, ENVELOPE, {"DATA\r\n", SCRIPT_CLOSE}, END};
    script_run(s, steps);
    assert_string_equal(s->calls, "r=.");
    assert_int_equal(s->result.outcome, SMX_OUTCOME_FAILED);
    assert_int_equal(s->result.phase, SMX_CLIENT_PHASE_DATA);
    assert_false(s->result.first_reply_missing);
}

static void client__lost_before_any_reply_says_so(void **state)
{
    script *s = *state;
    static const script_step steps[] = {
        GREET, {"MAIL FROM:<ann@example.com>\r\n", SCRIPT_RESET}, END};
    script_run(s, steps);
    assert_string_equal(s->calls, "r=.");
    assert_int_equal(s->result.outcome, SMX_OUTCOME_FAILED);
    assert_true(s->result.first_reply_missing);
}

static void client__lost_behind_the_dot_is_unknown(void **state)
{
    script *s = *state;
    static const script_step steps[] = {
        GREET, ENVELOPE, {"DATA\r\n", "354 go\r\n"}, {"\r\n.\r\n", SCRIPT_CLOSE}, END};
    script_run(s, steps);
    assert_string_equal(s->calls, "r=.");
    assert_int_equal(s->result.outcome, SMX_OUTCOME_UNKNOWN);
    assert_int_equal(s->result.phase, SMX_CLIENT_PHASE_FINAL);
}

/* RFC 5321 section 3.8: the reply is the outcome, and the connection is over. */
static void client__421_to_mail_has_failed_with_its_reply(void **state)
{
    script *s = *state;
    static const script_step steps[] = {
        GREET, {"MAIL FROM:<ann@example.com>\r\n", "421 4.3.2 later\r\n"}, END};
    script_run(s, steps);
    assert_string_equal(s->calls, "r=.");
    assert_int_equal(s->result.outcome, SMX_OUTCOME_FAILED);
    assert_int_equal(s->code, 421);
}

static void client__421_behind_the_dot_is_a_refusal(void **state)
{
    script *s = *state;
    static const script_step steps[] = {
        GREET, ENVELOPE, {"DATA\r\n", "354 go\r\n"}, {"\r\n.\r\n", "421 4.3.2 later\r\n"}, END};
    script_run(s, steps);
    assert_string_equal(s->calls, "r=.");
    assert_int_equal(s->result.outcome, SMX_OUTCOME_REFUSED);
    assert_int_equal(s->code, 421);
}

/* ---- cancel and close ---- */

static void client__cancel_before_the_dot_gives_up_without_one(void **state)
{
    (void)state;
    static const script_step steps[] = {GREET, ENVELOPE, {"DATA\r\n", NULL}, END};
    for (size_t step = 2; step <= 5; step++) { /* behind EHLO, MAIL, RCPT, DATA */
        void *again = NULL;
        assert_int_equal(script_setup(&again), 0);
        script *one = again;
        script_open(one, steps);
        script_until(one, one->at >= step && one->calls_count == 1);
        assert_int_equal(smx_client_cancel(one->client), 0);
        assert_string_equal(one->calls, "r"); /* never from within */
        script_until(one, one->closed);
        assert_string_equal(one->calls, "r=.");
        assert_int_equal(one->result.outcome, SMX_OUTCOME_GIVEN_UP);
        assert_false(script_heard(one, "\r\n.\r\n"));
        assert_int_equal(script_teardown(&again), 0);
    }
}

static void client__cancel_behind_the_dot_comes_too_late(void **state)
{
    script *s = *state;
    static const script_step steps[] = {
        GREET, ENVELOPE, {"DATA\r\n", "354 go\r\n"}, {"\r\n.\r\n", NULL}, END};
    script_open(s, steps);
    script_run_to(s, 6);
    assert_int_equal(smx_client_cancel(s->client), SMX_E_LATE);
    assert_int_equal(connection_queue(s->server, SMX_SLICE("250 ok\r\n")), 0);
    script_until(s, s->results == 1);
    assert_int_equal(s->result.outcome, SMX_OUTCOME_ACCEPTED);
    assert_int_equal(smx_client_cancel(s->client), SMX_E_STATE);
}

/* The replies to chunks may be late; the last octet of BDAT LAST was handed over all the same. */
static void client__cancel_behind_bdat_last_comes_too_late(void **state)
{
    script *s = *state;
    static const script_step steps[] = {
        {NULL, "220 mx\r\n"},
        {"EHLO me.example\r\n", "250-mx\r\n250-PIPELINING\r\n250 CHUNKING\r\n"},
        {"RCPT TO:<bob@example.org>\r\n", "250 ok\r\n250 ok\r\n"},
        {"BDAT 0 LAST\r\n", NULL},
        END};
    script_open(s, steps);
    script_run_to(s, 4);
    assert_int_equal(smx_client_cancel(s->client), SMX_E_LATE);
    assert_int_equal(connection_queue(s->server, SMX_SLICE("250 chunk\r\n250 ok\r\n")), 0);
    script_until(s, s->results == 1);
    assert_int_equal(s->result.outcome, SMX_OUTCOME_ACCEPTED);
}

static void client__close_before_ready_does_not_wait(void **state)
{
    script *s = *state;
    static const script_step steps[] = {{"never\r\n", NULL}, END};
    script_open(s, steps);
    script_until(s, s->server != NULL);
    uint64_t before = script_clock();
    smx_client_close(s->client);
    script_until(s, s->closed);
    assert_true(script_clock() - before < 2000);
    assert_string_equal(s->calls, ".");
    assert_int_equal(s->result.outcome, SMX_OUTCOME_FAILED);
    assert_int_equal(s->result.error, SMX_E_CLOSED);
}

static void client__close_behind_the_dot_is_unknown(void **state)
{
    script *s = *state;
    static const script_step steps[] = {
        GREET, ENVELOPE, {"DATA\r\n", "354 go\r\n"}, {"\r\n.\r\n", NULL}, END};
    script_open(s, steps);
    script_run_to(s, 6);
    smx_client_close(s->client);
    script_until(s, s->closed);
    assert_string_equal(s->calls, "r=.");
    assert_int_equal(s->result.outcome, SMX_OUTCOME_UNKNOWN);
}

static void client__second_close_does_not_wait_for_the_reply_to_quit(void **state)
{
    script *s = *state;
    static const script_step steps[] = {GREET, {"QUIT\r\n", NULL}, END};
    s->submits = false;
    script_open(s, steps);
    script_until(s, s->calls_count == 1);
    smx_client_close(s->client);
    script_run_to(s, 3);
    uint64_t before = script_clock();
    smx_client_close(s->client);
    script_until(s, s->closed);
    assert_true(script_clock() - before < 2000);
    assert_string_equal(s->calls, "r.");
}

/* ---- TLS and AUTH ---- */

static void client__required_tls_that_is_not_offered_fails_in_phase_tls(void **state)
{
    script *s = *state;
    static const script_step steps[] = {GREET, END};
    s->options.tls = SMX_TLS_REQUIRED;
    script_run(s, steps);
    assert_string_equal(s->calls, ".");
    assert_int_equal(s->result.phase, SMX_CLIENT_PHASE_TLS);
    assert_false(script_heard(s, "MAIL"));
}

static void client__auth_that_is_not_offered_fails_in_phase_auth(void **state)
{
    script *s = *state;
    static const script_step steps[] = {GREET, END};
    s->options.user = "u";
    s->options.password = "p";
    script_run(s, steps);
    assert_string_equal(s->calls, ".");
    assert_int_equal(s->result.phase, SMX_CLIENT_PHASE_AUTH);
    assert_false(script_heard(s, "MAIL"));
}

static void client__a_refused_password_is_told_with_its_reply(void **state)
{
    script *s = *state;
    static const script_step steps[] = {
        GREET_WITH("AUTH PLAIN"), {"AUTH PLAIN AHUAcA==\r\n", "535 5.7.8 bad\r\n"}, END};
    s->options.user = "u";
    s->options.password = "p";
    script_run(s, steps);
    assert_string_equal(s->calls, ".");
    assert_int_equal(s->result.phase, SMX_CLIENT_PHASE_AUTH);
    assert_int_equal(s->code, 535);
}

/* CHECKLIST 64: 334 with JSON, the dummy response, 535; why stands in the detail. */
static void client__a_refused_token_is_told_with_its_reply_and_why(void **state)
{
    script *s = *state;
    static const script_step steps[] = {
        GREET_WITH("AUTH PLAIN XOAUTH2"),
        {"AUTH XOAUTH2 dXNlcj11AWF1dGg9QmVhcmVyIHQBAQ==\r\n", "334 eyJzdGF0dXMiOiI0MDEifQ==\r\n"},
        {"\r\n", "535 5.7.8 bad\r\n"},
        END};
    s->options.user = "u";
    s->options.token = "t";
    script_run(s, steps);
    assert_string_equal(s->calls, ".");
    assert_int_equal(s->result.phase, SMX_CLIENT_PHASE_AUTH);
    assert_int_equal(s->code, 535);
    assert_string_equal(s->detail, "401");
}

static void client__a_token_is_taken(void **state)
{
    script *s = *state;
    static const script_step steps[] = {
        GREET_WITH("AUTH XOAUTH2 OAUTHBEARER"),
        {"AUTH OAUTHBEARER bixhPXUsAWF1dGg9QmVhcmVyIHQBAQ==\r\n", "235 2.7.0 welcome\r\n"},
        {"QUIT\r\n", "221 bye\r\n"},
        END};
    s->options.user = "u";
    s->options.token = "t";
    s->submits = false;
    script_open(s, steps);
    script_until(s, s->calls_count == 1);
    smx_client_close(s->client);
    script_until(s, s->closed);
    assert_string_equal(s->calls, "r.");
}

/* A server that takes what it has refused before is not believed. */
static void client__a_success_behind_a_refused_token_is_none(void **state)
{
    script *s = *state;
    static const script_step steps[] = {GREET_WITH("AUTH OAUTHBEARER"),
                                        {"AUTH OAUTHBEARER bixhPXUsAWF1dGg9QmVhcmVyIHQBAQ==\r\n",
                                         "334 eyJzdGF0dXMiOiI0MDEifQ==\r\n"},
                                        {"AQ==\r\n", "235 2.7.0 all the same\r\n"},
                                        END};
    s->options.user = "u";
    s->options.token = "t";
    script_run(s, steps);
    assert_string_equal(s->calls, ".");
    assert_int_equal(s->result.error, SMX_E_AUTH);
}

/* ---- NOOP ---- */

static void run_noop(script *s, const script_step *steps)
{
    s->submits = false;
    script_open(s, steps);
    script_until(s, s->calls_count == 1);
    assert_int_equal(smx_client_noop(s->client), 0);
    assert_int_equal(smx_client_noop(s->client), SMX_E_STATE);
    assert_int_equal(smx_client_submit(s->client, &s->submission), SMX_E_STATE);
    script_until(s, s->calls_count == 2);
}

static void client__noop_is_followed_by_ready(void **state)
{
    script *s = *state;
    static const script_step steps[] = {GREET, {"NOOP\r\n", "250 ok\r\n"}, QUIT, END};
    run_noop(s, steps);
    smx_client_close(s->client);
    assert_int_equal(smx_client_noop(s->client), SMX_E_STATE);
    script_until(s, s->closed);
    assert_string_equal(s->calls, "rr.");
}

static void client__a_message_goes_behind_noop(void **state)
{
    script *s = *state;
    static const script_step steps[] = {GREET,
                                        {"NOOP\r\n", "250 ok\r\n"},
                                        ENVELOPE,
                                        {"DATA\r\n", "354 go\r\n"},
                                        {"\r\n.\r\n", "250 2.0.0 taken\r\n"},
                                        END};
    run_noop(s, steps);
    assert_int_equal(smx_client_submit(s->client, &s->submission), 0);
    script_until(s, s->results == 1);
    assert_int_equal(s->result.outcome, SMX_OUTCOME_ACCEPTED);
}

static void client__a_refused_noop_closes(void **state)
{
    script *s = *state;
    static const script_step steps[] = {GREET, {"NOOP\r\n", "502 5.5.1 what\r\n"}, END};
    run_noop(s, steps);
    assert_string_equal(s->calls, "r.");
    assert_int_equal(s->result.outcome, SMX_OUTCOME_FAILED);
    assert_int_equal(s->result.phase, SMX_CLIENT_PHASE_MAIL);
    assert_int_equal(s->result.error, SMX_E_REFUSED);
    assert_int_equal(s->code, 502);
}

static void client__a_noop_that_is_not_answered_closes(void **state)
{
    script *s = *state;
    static const script_step steps[] = {GREET, {"NOOP\r\n", NULL}, {"never", NULL}, END};
    s->options.command_timeout_ms = 100;
    run_noop(s, steps);
    assert_string_equal(s->calls, "r.");
    assert_int_equal(s->result.error, SMX_E_TIMEOUT);
}

static void client__close_does_not_wait_for_noop(void **state)
{
    script *s = *state;
    static const script_step steps[] = {GREET, {"NOOP\r\n", NULL}, {"never", NULL}, END};
    s->submits = false;
    script_open(s, steps);
    script_until(s, s->calls_count == 1);
    assert_int_equal(smx_client_noop(s->client), 0);
    script_run_to(s, 3);
    smx_client_close(s->client);
    script_until(s, s->closed);
    assert_string_equal(s->calls, "r.");
    assert_false(script_heard(s, "QUIT"));
}

/* ---- bodies ---- */

/* Lines that sum up to `size` octets. */
static smx_message *message_of(size_t size)
{
    static char lines[65536];
    smx_message *message = NULL;
    for (size_t i = 0; i < sizeof(lines); i++)
        lines[i] = i % 64 == 62 ? '\r' : i % 64 == 63 ? '\n' : 'a';
    const smx_message_options options = {.version = SMX_MESSAGE_VERSION};
    assert_int_equal(smx_message_new(&options, &message), 0);
    assert_int_equal(smx_message_append(message, SMX_SLICE("Subject: old\r\n\r\n")), 0);
    for (size_t at = 0; at < size; at += sizeof(lines))
        assert_int_equal(smx_message_append(message, slice_of(lines, sizeof(lines))), 0);
    smx_message_end(message);
    return message;
}

/* What was heard behind DATA is the new header and the old body, whole. */
static void assert_body_heard(const script *s, uint64_t body)
{
    smx_slice heard = buffer_slice(&s->heard);
    const char *data = memmem(heard.data, heard.len, "DATA\r\nSubject: new\r\n\r\naaa", 25);
    assert_non_null(data);
    size_t before = (size_t)(data - heard.data) + sizeof("DATA\r\nSubject: new\r\n") - 1;
    size_t behind = sizeof(".\r\nQUIT\r\n") - 1;
    assert_int_equal(heard.len, before + body + behind);
    assert_memory_equal(heard.data + heard.len - behind, ".\r\nQUIT\r\n", behind);
}

static void run_large_body(script *s, size_t size, unsigned traits)
{
    static const script_step steps[] = {
        GREET, ENVELOPE, {"DATA\r\n", "354 go\r\n"}, {"a\r\n.\r\n", "250 ok\r\n"}, QUIT, END};
    smx_message *message = message_of(size);
    smx_message_promise(message, traits);
    s->submission.message = message;
    s->submission.header = SMX_SLICE("Subject: new\r\n");
    s->submission.body_offset = smx_message_body_offset(message);
    script_open(s, steps);
    script_run_to(s, 5);
    connection_pause(s->server, true); /* a reader that lets the socket fill up */
    for (int i = 0; i < 20; i++)
        script_turn(s);
    assert_int_equal(s->results, 0);
    if ((traits & SMX_BODY_UNDOTTED) !=
        0) /* a block of the file, and one that waits for the socket */
        assert_true(loop_blocks_taken(s->loop) <= 3);
    connection_pause(s->server, false);
    script_until(s, s->closed);
    assert_string_equal(s->calls, "r=r.");
    assert_int_equal(s->result.outcome, SMX_OUTCOME_ACCEPTED);
    assert_body_heard(s, smx_message_size(message) - s->submission.body_offset);
    smx_message_free(message);
    assert_int_equal(loop_blocks_taken(s->loop), 0);
}

static void client__a_file_of_20_mib_goes_to_a_slow_reader_whole(void **state)
{
    run_large_body(*state, (size_t)20 << 20, 0);
}

static const unsigned as_it_is = (unsigned)SMX_BODY_CLEAN | (unsigned)SMX_BODY_UNDOTTED;

static void client__a_file_without_dots_goes_to_a_slow_reader_whole(void **state)
{
    run_large_body(*state, (size_t)20 << 20, as_it_is);
}

/* Header section, message and dot: all is there with the step that ends in the dot. */
static void client__memory_without_dots_goes_as_it_is(void **state)
{
    script *s = *state;
    static const script_step steps[] = {
        GREET, ENVELOPE, {"DATA\r\n", "354 go\r\n"}, {"a\r\n.\r\n", "250 ok\r\n"}, QUIT, END};
    smx_message *message = message_of(131072);
    smx_message_promise(message, as_it_is);
    s->submission.message = message;
    s->submission.header = SMX_SLICE("Subject: new\r\n");
    s->submission.body_offset = smx_message_body_offset(message);
    script_run(s, steps);
    assert_string_equal(s->calls, "r=r.");
    assert_int_equal(s->result.outcome, SMX_OUTCOME_ACCEPTED);
    assert_body_heard(s, smx_message_size(message) - s->submission.body_offset);
    smx_message_free(message);
    assert_int_equal(loop_blocks_taken(s->loop), 0);
}

static void client__a_header_beyond_a_block_is_sent_whole(void **state)
{
    script *s = *state;
    static const script_step steps[] = {
        GREET, ENVELOPE, {"DATA\r\n", "354 go\r\n"}, {"a\r\n.\r\n", "250 ok\r\n"}, QUIT, END};
    smx_message *message = message_of(200000);
    smx_slice octets;
    assert_int_equal(smx_message_read(message, 0, NULL, 0, &octets), 0);
    s->submission.header = octets;
    script_run(s, steps);
    assert_int_equal(s->result.outcome, SMX_OUTCOME_ACCEPTED);
    smx_slice heard = buffer_slice(&s->heard);
    const char *at = memmem(heard.data, heard.len, "DATA\r\n", 6);
    assert_memory_equal(at + 6, octets.data, octets.len);
    smx_message_free(message);
}

/* ---- BDAT (RFC 3030) ---- */

/* Answers MAIL, RCPT and every chunk; chunks are read by their sizes. */
typedef struct chunks {
    uint64_t octets;
    size_t count;
} chunks;

static chunks count_chunks(smx_slice heard)
{
    chunks c = {0};
    const char *at = memmem(heard.data, heard.len, "BDAT ", 5);
    const char *end = heard.data + heard.len;
    while (at != NULL && end - at > 5 && memcmp(at, "BDAT ", 5) == 0) {
        char *behind;
        unsigned long size = strtoul(at + 5, &behind, 10);
        c.count++;
        c.octets += size;
        at = (const char *)memchr(behind, '\n', (size_t)(end - behind)) + 1 + size;
    }
    return c;
}

static void client__chunks_without_pipelining_wait_for_their_replies(void **state)
{
    script *s = *state;
    static const script_step steps[] = {GREET_WITH("CHUNKING"),
                                        ENVELOPE,
                                        {"BDAT 16\r\n", NULL},
                                        {"Subject: old\r\n\r\n", "250 chunk\r\n"},
                                        {"BDAT 0 LAST\r\n", "250 2.0.0 ok\r\n"},
                                        QUIT,
                                        END};
    s->submission.header = SMX_SLICE("Subject: old\r\n\r\n");
    script_run(s, steps);
    assert_string_equal(s->calls, "r=r.");
    assert_int_equal(s->result.outcome, SMX_OUTCOME_ACCEPTED);
    assert_int_equal(count_chunks(buffer_slice(&s->heard)).count, 2);
}

static void client__a_mebibyte_in_pipelined_chunks_is_whole(void **state)
{
    script *s = *state;
    static const script_step steps[] = {
        {NULL, "220 mx\r\n"},
        {"EHLO me.example\r\n", "250-mx\r\n250-PIPELINING\r\n250 CHUNKING\r\n"},
        {"RCPT TO:<bob@example.org>\r\n", "250 ok\r\n250 ok\r\n"},
        {"BDAT 0 LAST\r\n", NULL},
        QUIT,
        END};
    smx_message *message = message_of((size_t)1 << 20);
    s->submission.message = message;
    s->submission.header = (smx_slice){NULL, 0};
    script_open(s, steps);
    script_run_to(s, 4);
    chunks c = count_chunks(buffer_slice(&s->heard));
    assert_true(c.count > 2);
    assert_int_equal(c.octets, smx_message_size(message));
    for (size_t i = 0; i < c.count; i++)
        assert_int_equal(connection_queue(s->server, SMX_SLICE("250 ok\r\n")), 0);
    script_until(s, s->closed);
    assert_string_equal(s->calls, "r=r.");
    assert_int_equal(s->result.outcome, SMX_OUTCOME_ACCEPTED);
    smx_message_free(message);
    assert_int_equal(loop_blocks_taken(s->loop), 0);
}

#define CLIENT_TEST(name) cmocka_unit_test_setup_teardown(name, script_setup, script_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLIENT_TEST(client__ready_result_ready_closed),
        CLIENT_TEST(client__a_refused_recipient_ends_all_or_nothing_before_data),
        CLIENT_TEST(client__a_final_refusal_leaves_the_connection_good),
        CLIENT_TEST(client__lost_before_the_dot_has_failed),
        CLIENT_TEST(client__lost_before_any_reply_says_so),
        CLIENT_TEST(client__lost_behind_the_dot_is_unknown),
        CLIENT_TEST(client__421_to_mail_has_failed_with_its_reply),
        CLIENT_TEST(client__421_behind_the_dot_is_a_refusal),
        cmocka_unit_test(client__cancel_before_the_dot_gives_up_without_one),
        CLIENT_TEST(client__cancel_behind_the_dot_comes_too_late),
        CLIENT_TEST(client__cancel_behind_bdat_last_comes_too_late),
        CLIENT_TEST(client__close_before_ready_does_not_wait),
        CLIENT_TEST(client__close_behind_the_dot_is_unknown),
        CLIENT_TEST(client__second_close_does_not_wait_for_the_reply_to_quit),
        CLIENT_TEST(client__required_tls_that_is_not_offered_fails_in_phase_tls),
        CLIENT_TEST(client__a_refused_token_is_told_with_its_reply_and_why),
        CLIENT_TEST(client__a_token_is_taken),
        CLIENT_TEST(client__a_success_behind_a_refused_token_is_none),
        CLIENT_TEST(client__auth_that_is_not_offered_fails_in_phase_auth),
        CLIENT_TEST(client__a_refused_password_is_told_with_its_reply),
        CLIENT_TEST(client__noop_is_followed_by_ready),
        CLIENT_TEST(client__a_message_goes_behind_noop),
        CLIENT_TEST(client__a_refused_noop_closes),
        CLIENT_TEST(client__a_noop_that_is_not_answered_closes),
        CLIENT_TEST(client__close_does_not_wait_for_noop),
        CLIENT_TEST(client__a_file_of_20_mib_goes_to_a_slow_reader_whole),
        CLIENT_TEST(client__a_file_without_dots_goes_to_a_slow_reader_whole),
        CLIENT_TEST(client__memory_without_dots_goes_as_it_is),
        CLIENT_TEST(client__a_header_beyond_a_block_is_sent_whole),
        CLIENT_TEST(client__chunks_without_pipelining_wait_for_their_replies),
        CLIENT_TEST(client__a_mebibyte_in_pipelined_chunks_is_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
