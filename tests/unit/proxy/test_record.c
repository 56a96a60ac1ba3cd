/* What a program is told: records of transactions, and transcripts. */
#include <stdio.h>

#include "proxy_fixture.h"

/* All records and lines, as text; written on the loop's thread, read when sessions are over. */
typedef struct told {
    pthread_mutex_t mutex;
    buffer records;
    buffer lines;
    bool no_lines; /* wants says no */
    atomic_int ended;
} told;

static told all;

static void put(buffer *b, const char *name, smx_slice value)
{
    assert_int_equal(buffer_printf(b, " %s=%.*s", name, (int)value.len, value.data), 0);
}

static void on_record(void *arg, const smx_proxy_record *r)
{
    buffer *b = &all.records;
    (void)arg;
    (void)pthread_mutex_lock(&all.mutex);
    assert_int_equal(
        buffer_printf(b, "[helo=%.*s", (int)r->session->helo.len, r->session->helo.data), 0);
    if (r->has_from) {
        put(b, "from", r->from);
        for (size_t i = 0; i < r->recipient_count; i++)
            assert_int_equal(buffer_printf(b, " to=%.*s:%u", (int)r->recipients[i].address.len,
                                           r->recipients[i].address.data, r->recipients[i].code),
                             0);
        assert_int_equal(buffer_printf(b, " size=%llu", (unsigned long long)r->size), 0);
        assert_true(r->id.len > 10);
        assert_true(r->started > 1000000000000);
        put(b, "message_id", r->message_id);
    }
    put(b, "user", r->user);
    put(b, "verdict", r->verdict);
    if (r->verdict_hook.len > 0) {
        put(b, "hook", r->verdict_hook);
        put(b, "phase", r->verdict_phase);
    }
    assert_int_equal(buffer_printf(b, " reply=%u%s", r->reply.code, r->reply_is_own ? "!" : ""), 0);
    put(b, "outcome", r->outcome);
    assert_int_equal(buffer_append_text(b, "]\n"), 0);
    assert_int_equal(r->upstream.family == 4 || r->upstream.family == 0, 1);
    (void)pthread_mutex_unlock(&all.mutex);
}

static bool wants(void *arg, const smx_session_view *session, smx_slice from)
{
    (void)arg;
    (void)session;
    (void)from;
    return !all.no_lines;
}

static void on_line(void *arg, const smx_proxy_line *line)
{
    static const char *const ways[] = {"->", "<-", "==", "."};
    (void)arg;
    if (line->way == SMX_PROXY_NOTE)
        return; /* they have ports in them */
    (void)pthread_mutex_lock(&all.mutex);
    assert_int_equal(buffer_printf(&all.lines, "%s%s %.*s\n", ways[line->way], line->own ? "!" : "",
                                   (int)line->text.len, line->text.data),
                     0);
    (void)pthread_mutex_unlock(&all.mutex);
    all.ended += line->way == SMX_PROXY_END;
}

static int setup(void **state)
{
    all = (told){0};
    (void)pthread_mutex_init(&all.mutex, NULL);
    (void)proxy_setup(state);
    proxy_fixture *x = *state;
    x->options.record = on_record;
    return 0;
}

static int teardown(void **state)
{
    int error = proxy_teardown(state);
    buffer_free(&all.records);
    buffer_free(&all.lines);
    (void)pthread_mutex_destroy(&all.mutex);
    return error;
}

static bool has_record(const char *text)
{
    (void)pthread_mutex_lock(&all.mutex);
    smx_slice records = buffer_slice(&all.records);
    bool has = slice_search(records, slice_of_text(text)) < records.len;
    (void)pthread_mutex_unlock(&all.mutex);
    return has;
}

#define expect_record(text)                                                                        \
    do {                                                                                           \
        uint64_t record_end_ = clock_monotonic_ms() + 5000;                                        \
        while (!has_record(text) && clock_monotonic_ms() < record_end_)                            \
            fixture_yield();                                                                       \
        if (!has_record(text))                                                                     \
            fail_msg("no record %s among\n%.*s", text, (int)buffer_length(&all.records),           \
                     buffer_slice(&all.records).data);                                             \
    } while (0)

/* ---- records ---- */

static void proxy_record__a_message_by_data(void **state)
{
    proxy_fixture *x = *state;
    proxy_start(x);
    client *c = client_greet(x->f);
    client_mail(c, "Subject: x\r\nmessage-id: <1@\r\n from.example>\r\n\r\nbody\r\n",
                "250 2.0.0 kept");
    expect_record("[helo=client.example from=a@from.example to=b@to.example:250 size=53 "
                  "message_id=<1@ from.example> user= verdict=continue reply=250 outcome=relayed]");
    client_ask(c, "QUIT", "221 ");
    client_close(c);
    proxy_expect_empty(x);
    assert_int_equal(slice_find_last(buffer_slice(&all.records), '['), 0);
}

static void proxy_record__pipelined_messages_each_have_one(void **state)
{
    proxy_fixture *x = *state;
    proxy_start(x);
    client *c = client_greet(x->f);
    client_send(c, "MAIL FROM:<1@from.example>\r\nRCPT TO:<b@to.example>\r\n"
                   "RCPT TO:<no>\r\nDATA\r\n");
    client_expect(c, "250 ");
    client_expect(c, "250 ");
    client_expect(c, "501 ");
    client_expect(c, "354 ");
    client_send(c, "\r\none\r\n.\r\nMAIL FROM:<2@from.example>\r\nRSET\r\n"
                   "MAIL FROM:<3@from.example>\r\nRCPT TO:<c@to.example>\r\nQUIT\r\n");
    static const char *const replies[] = {"250 2.0.0 kept", "250 ", "250 ", "250 ", "250 ", "221 "};
    for (size_t i = 0; i < sizeof(replies) / sizeof(replies[0]); i++)
        client_expect(c, replies[i]);
    client_close(c);
    expect_record("from=1@from.example to=b@to.example:250");
    expect_record("from=2@from.example size=0 message_id= user= verdict=continue reply=250 "
                  "outcome=reset]");
    expect_record("from=3@from.example to=c@to.example:250 size=0 message_id= user= "
                  "verdict=continue reply=250 outcome=");
}

/* RFC 3030 section 4.2: all of it may come at once, and the upstream has it before it says a word. */
static void proxy_record__chunks_behind_their_envelope_are_pipelined(void **state)
{
    proxy_fixture *x = *state;
    client *up = NULL;
    proxy_play(x);
    client *c = proxy_greet(x, &up, "250-PIPELINING\r\n250-CHUNKING\r\n");
    client_send(
        c, "MAIL FROM:<1@from.example>\r\nRCPT TO:<b@to.example>\r\nRCPT TO:<no@to.example>\r\n"
           "BDAT 15\r\nMessage-ID: 7\r\nBDAT 2 LAST\r\n\r\n"
           "MAIL FROM:<2@from.example>\r\nRCPT TO:<c@to.example>\r\nBDAT 0 LAST\r\n");
    upstream_expect(up, "MAIL FROM:<1@from.example>");
    upstream_expect(up, "RCPT TO:<b@to.example>");
    upstream_expect(up, "RCPT TO:<no@to.example>");
    upstream_expect(up, "BDAT 15");
    upstream_expect(up, "Message-ID: 7");
    upstream_expect(up, "BDAT 2 LAST");
    upstream_expect(up, "");
    client_send(up, "250 a\r\n250 b\r\n550 c\r\n250 d\r\n250 e\r\n");
    static const char *const replies[] = {"250 a", "250 b", "550 c", "250 d", "250 e"};
    for (size_t i = 0; i < sizeof(replies) / sizeof(replies[0]); i++)
        client_expect(c, replies[i]);
    expect_record("from=1@from.example to=b@to.example:250 to=no@to.example:550 size=17 "
                  "message_id=7 user= verdict=continue reply=250 outcome=relayed]");
    upstream_expect(up, "MAIL FROM:<2@from.example>");
    upstream_expect(up, "RCPT TO:<c@to.example>");
    upstream_expect(up, "BDAT 0 LAST");
    client_send(up, "550 no\r\n503 no\r\n503 no\r\n");
    client_expect(c, "550 no");
    client_expect(c, "503 no");
    client_expect(c, "503 no");
    expect_record("from=2@from.example to=c@to.example:503 size=0 message_id= user= "
                  "verdict=continue reply=503 outcome=refused]");
    client_close(c);
    client_close(up);
}

static void proxy_record__refusals_and_losses(void **state)
{
    proxy_fixture *x = *state;
    client *up = NULL;
    proxy_play(x);
    client *c = proxy_greet(x, &up, "");
    client_say(c, "MAIL FROM:<1@from.example>");
    upstream_expect(up, "MAIL FROM:<1@from.example>");
    client_say(up, "550 5.7.1 not you");
    client_expect(c, "550 5.7.1 not you");
    expect_record("from=1@from.example size=0 message_id= user= verdict=continue reply=550 "
                  "outcome=refused]");
    client_say(c, "MAIL FROM:<2@from.example>");
    upstream_expect(up, "MAIL FROM:<2@from.example>");
    client_say(up, "250 ok");
    client_expect(c, "250 ok");
    client_close(up);
    client_expect(c, "421 ");
    client_close(c);
    expect_record("from=2@from.example size=0 message_id= user= verdict=continue reply=421! "
                  "outcome=lost]");
}

static void proxy_record__session_without_a_transaction(void **state)
{
    proxy_fixture *x = *state;
    proxy_start(x);
    client *c = client_greet(x->f);
    client_ask(c, "QUIT", "221 ");
    client_close(c);
    expect_record("[helo=client.example user= verdict=continue reply=0 outcome=none]");
}

static smx_verdict refuse(void *arg, smx_hook_call *call)
{
    (void)arg;
    (void)call;
    return (smx_verdict){SMX_REPLY_WITH, SMX_REPLY(550, 5, 7, 9, "no")};
}

static void proxy_record__verdict_of_a_hook(void **state)
{
    proxy_fixture *x = *state;
    static const smx_hook hook = {
        .version = SMX_HOOK_VERSION, .name = "strict", .phases = {[SMX_HOOK_RCPT] = refuse}};
    proxy_add_hook(x, &hook);
    proxy_start(x);
    client *c = client_greet(x->f);
    client_ask(c, "MAIL FROM:<a@from.example>", "250 ");
    client_ask(c, "RCPT TO:<b@to.example>", "550 5.7.9");
    client_ask(c, "QUIT", "221 ");
    client_close(c);
    expect_record("to=b@to.example:550 size=0 message_id= user= verdict=reject hook=strict "
                  "phase=rcpt reply=550! outcome=refused]");
}

static void proxy_record__user_that_auth_names(void **state)
{
    proxy_fixture *x = *state;
    client *up = NULL;
    proxy_play(x);
    client *c = proxy_greet(x, &up, "250-AUTH PLAIN LOGIN\r\n");
    client_say(c, "AUTH LOGIN");
    upstream_expect(up, "AUTH LOGIN");
    client_say(up, "334 VXNlcm5hbWU6");
    client_expect(c, "334 ");
    client_say(c, "dGlt");
    upstream_expect(up, "dGlt");
    client_say(up, "334 UGFzc3dvcmQ6");
    client_expect(c, "334 ");
    client_say(c, "c2VjcmV0");
    upstream_expect(up, "c2VjcmV0");
    client_say(up, "235 in");
    client_expect(c, "235 ");
    client_close(c);
    client_expect_end(up);
    client_close(up);
    expect_record(" user=tim ");
    assert_int_equal(proxy_counters(x).auth_successes, 1);
}

static void auth(client *c, client *up, const char *line, const char *reply)
{
    client_say(c, line);
    upstream_expect(up, line);
    client_say(up, reply);
    client_expect(c, reply);
}

/* Servers take such forms for AUTH: the user is not the one of the attempt before. */
static void proxy_record__user_of_auth_in_other_forms(void **state)
{
    proxy_fixture *x = *state;
    client *up = NULL;
    proxy_play(x);
    client *c = proxy_greet(x, &up, "250-AUTH PLAIN\r\n");
    auth(c, up, "AUTH PLAIN AHRpbQBzZWNyZXQ=", "535 no");
    auth(c, up, " AUTH\tPLAIN\tAGJvYgBzZWNyZXQ=", "235 in");
    client_close(c);
    client_expect_end(up);
    client_close(up);
    expect_record(" user=bob ");
}

/* A password may look like a command. */
static void proxy_record__line_of_a_dialogue_begins_none(void **state)
{
    proxy_fixture *x = *state;
    client *up = NULL;
    proxy_play(x);
    client *c = proxy_greet(x, &up, "250-AUTH LOGIN\r\n");
    auth(c, up, "AUTH LOGIN", "334 VXNlcm5hbWU6");
    auth(c, up, "dGlt", "334 UGFzc3dvcmQ6");
    auth(c, up, "AUTH", "235 in");
    client_close(c);
    client_expect_end(up);
    client_close(up);
    expect_record(" user=tim ");
}

/* ---- transcripts ---- */

static void proxy_trace__other_forms_of_auth_tell_no_secret(void **state)
{
    proxy_fixture *x = *state;
    client *up = NULL;
    x->options.record = NULL;
    x->options.wants = wants;
    x->options.trace = on_line;
    proxy_play(x);
    client *c = proxy_greet(x, &up, "250-AUTH PLAIN\r\n");
    auth(c, up, "AUTH PLAIN\tAHRpbQBzZWNyZXQ=", "535 no");
    auth(c, up, "auth=PLAIN AHRpbQBzZWNyZXQ=", "501 no");
    auth(c, up, "AHRpbQBzZWNyZXQ=", "500 what?");
    client_close(c);
    client_expect_end(up);
    client_close(up);
    fixture_wait(all.ended == 1);
    assert_true(slice_search(buffer_slice(&all.lines), SMX_SLICE("AHRp")) ==
                buffer_length(&all.lines));
}

static void proxy_trace__a_session_without_its_secrets(void **state)
{
    proxy_fixture *x = *state;
    client *up = NULL;
    x->options.record = NULL;
    x->options.wants = wants;
    x->options.trace = on_line;
    proxy_play(x);
    client *c = proxy_greet(x, &up, "250-AUTH PLAIN LOGIN\r\n");
    client_say(c, "AUTH PLAIN AHRpbQBzZWNyZXQ=");
    upstream_expect(up, "AUTH PLAIN AHRpbQBzZWNyZXQ=");
    client_say(up, "235 in");
    client_expect(c, "235 ");
    client_say(c, "AUTH LOGIN");
    upstream_expect(up, "AUTH LOGIN");
    client_say(up, "334 VXNlcm5hbWU6");
    client_expect(c, "334 ");
    client_say(c, "dGlt");
    upstream_expect(up, "dGlt");
    client_say(up, "535 no");
    client_expect(c, "535 ");
    client_say(c, "MAIL FROM:<a@from.example>");
    upstream_expect(up, "MAIL FROM:<a@from.example>");
    client_say(up, "250 ok");
    client_expect(c, "250 ");
    client_say(c, "DATA");
    upstream_expect(up, "DATA");
    client_say(up, "354 go");
    client_expect(c, "354 ");
    client_send(c, "S: x\r\n\r\nbody\r\n.\r\n");
    upstream_expect(up, "S: x");
    upstream_expect(up, "");
    upstream_expect(up, "body");
    upstream_expect(up, ".");
    client_say(up, "250 taken");
    client_expect(c, "250 taken");
    client_close(c);
    client_expect_end(up);
    client_close(up);
    fixture_wait(all.ended == 1);
    assert_buffer(&all.lines, "<- 220 up.example ESMTP\n"
                              "-> EHLO client.example\n"
                              "<- 250-AUTH PLAIN LOGIN\n"
                              "<- 250 PIPELINING\n"
                              "-> AUTH PLAIN ***\n"
                              "<- 235 in\n"
                              "-> AUTH LOGIN\n"
                              "<- 334 VXNlcm5hbWU6\n"
                              "-> ***\n"
                              "<- 535 no\n"
                              "-> MAIL FROM:<a@from.example>\n"
                              "<- 250 ok\n"
                              "-> DATA\n"
                              "<- 354 go\n"
                              "-> (17 octets)\n"
                              "<- 250 taken\n"
                              ".! \n");
}

static void proxy_trace__nothing_is_told_of_sessions_that_are_not_wanted(void **state)
{
    proxy_fixture *x = *state;
    all.no_lines = true;
    x->options.wants = wants;
    x->options.trace = on_line;
    proxy_start(x);
    client *c = client_greet(x->f);
    client_ask(c, "QUIT", "221 ");
    client_close(c);
    fixture_wait(all.ended == 1);
    assert_buffer(&all.lines, ".! \n");
}

#define WITH_TOLD(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_TOLD(proxy_record__a_message_by_data),
        WITH_TOLD(proxy_record__pipelined_messages_each_have_one),
        WITH_TOLD(proxy_record__chunks_behind_their_envelope_are_pipelined),
        WITH_TOLD(proxy_record__refusals_and_losses),
        WITH_TOLD(proxy_record__session_without_a_transaction),
        WITH_TOLD(proxy_record__verdict_of_a_hook),
        WITH_TOLD(proxy_record__user_that_auth_names),
        WITH_TOLD(proxy_record__user_of_auth_in_other_forms),
        WITH_TOLD(proxy_record__line_of_a_dialogue_begins_none),
        WITH_TOLD(proxy_trace__other_forms_of_auth_tell_no_secret),
        WITH_TOLD(proxy_trace__a_session_without_its_secrets),
        WITH_TOLD(proxy_trace__nothing_is_told_of_sessions_that_are_not_wanted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
