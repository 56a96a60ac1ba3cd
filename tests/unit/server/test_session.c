/* Whole sessions without hooks: from the banner to the handler and back, and how they end. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "fixture.h"

static void server_session__banner_names_host_and_product(void **state)
{
    fixture *f = *state;
    f->options.product = "testing";
    fixture_start(f);
    client *c = client_open(f);
    client_expect(c, "220 mux.example ESMTP testing\r\n");
    client_ask(c, "QUIT", "221 ");
    client_expect_end(c);
    client_close(c);
}

static void server_session__ehlo_offers_the_defaults(void **state)
{
    fixture *f = *state;
    client *c = client_first(f);
    static const char *const words[] = {"-PIPELINING\r\n", "-SIZE 26214400\r\n",
                                        "-8BITMIME\r\n",   "-ENHANCEDSTATUSCODES\r\n",
                                        "CHUNKING\r\n",    "LIMITS RCPTMAX=1000\r\n"};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        assert_non_null(strstr(c->reply, words[i]));
    assert_null(strstr(c->reply, "AUTH"));
    assert_null(strstr(c->reply, "STARTTLS"));
    assert_null(strstr(c->reply, "XCLIENT"));
    client_close(c);
}

static void server_session__message_reaches_the_handler_whole(void **state)
{
    fixture *f = *state;
    client *c = client_first(f);
    client_mail(c, "Subject: one\r\nX: y\r\n\r\nbody\r\n..dot\r\n", "250 2.0.0 kept");
    assert_int_equal(f->handled, 1);
    assert_buffer(&f->sender, "a@from.example");
    assert_buffer(&f->recipients, "b@to.example ");
    assert_buffer(&f->header, "Subject: one\r\nX: y\r\n");
    assert_buffer(&f->body, "body\r\n.dot\r\n");
    assert_buffer(&f->helo, "client.example");
    assert_int_equal(f->client.family, 4);
    client_mail(c, "Subject: two\r\n\r\n", "250 2.0.0 kept");
    assert_buffer(&f->header, "Subject: two\r\n");
    assert_int_equal(fixture_counters(f).accepted, 2);
    client_close(c);
}

static void server_session__pipelined_burst_is_answered_in_order(void **state)
{
    fixture *f = *state;
    client *c = client_first(f);
    client_send(c,
                "MAIL FROM:<>\r\nRCPT TO:<one@to.example>\r\nRCPT TO:<two@to.example>\r\nDATA\r\n");
    client_expect(c, "250 2.1.0");
    client_expect(c, "250 2.1.5");
    client_expect(c, "250 2.1.5");
    client_expect(c, "354 ");
    client_send(c, "S: x\r\n\r\nb\r\n.\r\nMAIL FROM:<n@from.example>\r\nRSET\r\nQUIT\r\n");
    client_expect(c, "250 2.0.0 kept");
    client_expect(c, "250 2.1.0");
    client_expect(c, "250 ");
    client_expect(c, "221 ");
    client_expect_end(c);
    assert_buffer(&f->recipients, "one@to.example two@to.example ");
    assert_int_equal(f->handled, 1);
    client_close(c);
}

static void server_session__chunks_of_bdat_become_one_message(void **state)
{
    fixture *f = *state;
    client *c = client_first(f);
    client_ask(c, "MAIL FROM:<a@from.example>", "250 ");
    client_ask(c, "RCPT TO:<b@to.example>", "250 ");
    client_send(c, "BDAT 6\r\nS: x\r\n");
    client_expect(c, "250 ");
    client_send(c, "BDAT 5 LAST\r\n\r\n.y\n");
    client_expect(c, "550 5.5.2"); /* the bare LF */
    client_ask(c, "MAIL FROM:<a@from.example>", "250 ");
    client_ask(c, "RCPT TO:<b@to.example>", "250 ");
    client_send(c, "BDAT 8\r\nS: x\r\n\r\nBDAT 4 LAST\r\n.y\r\n");
    client_expect(c, "250 ");
    client_expect(c, "250 2.0.0 kept");
    assert_buffer(&f->body, ".y\r\n");
    assert_int_equal(f->handled, 1);
    client_close(c);
}

static void server_session__vrfy_is_252_and_expn_502(void **state)
{
    fixture *f = *state;
    client *c = client_first(f);
    client_ask(c, "VRFY someone", "252 2.");
    client_ask(c, "EXPN list", "502 5.5.1");
    client_close(c);
}

static void server_session__large_message_goes_through_the_file(void **state)
{
    fixture *f = *state;
    client *c = client_first(f);
    client_envelope(c);
    client_send(c, "S: large\r\n\r\n");
    char line[1002];
    memset(line, 'x', sizeof(line));
    line[998] = '\r';
    line[999] = '\n';
    for (int i = 0; i < 2000; i++) {
        line[0] = (char)('a' + i % 26);
        client_send_octets(c, line, 1000);
    }
    client_ask(c, ".", "250 2.0.0 kept");
    smx_slice body = buffer_slice(&f->body);
    assert_int_equal(body.len, 2000000);
    for (size_t i = 0; i < 2000; i++)
        assert_int_equal(body.data[i * 1000], 'a' + i % 26);
    client_close(c);
}

static void server_session__header_section_over_its_limit_is_554(void **state)
{
    fixture *f = *state;
    client *c = client_first(f);
    client_envelope(c);
    char line[900];
    memset(line, 'x', sizeof(line));
    memcpy(line, "X-Long: ", 8);
    memcpy(line + sizeof(line) - 2, "\r\n", 2);
    for (size_t i = 0; i <= SMX_HEADER_MAX / sizeof(line) + 1; i++)
        client_send_octets(c, line, sizeof(line));
    client_send(c, "\r\nbody\r\n");
    client_ask(c, ".", "554 5.6.0");
    assert_int_equal(f->handled, 0);
    client_mail(c, "S: x\r\n\r\n", "250 2.0.0 kept");
    client_close(c);
}

static void server_session__over_budget_data_is_452(void **state)
{
    fixture *f = *state;
    f->shared_options.memory_limit = 20000;
    client *c = client_first(f);
    client_envelope(c);
    client_send(c, "S: x\r\n\r\n");
    for (int i = 0; i < 1000; i++)
        client_send(c, "forty octets of text that fill memory\r\n");
    client_ask(c, ".", "452 4.3.1");
    assert_int_equal(f->handled, 0);
    assert_int_equal(smx_budget_used(f->shared->budget), 0);
    client_mail(c, "S: small\r\n\r\n", "250 2.0.0 kept");
    client_close(c);
}

static void server_session__data_when_the_budget_is_used_up_is_452(void **state)
{
    fixture *f = *state;
    f->shared_options.memory_limit = 4096;
    client *one = client_first(f);
    client_envelope(one);
    client_send(one, "S: x\r\n");
    fixture_wait(smx_budget_used(f->shared->budget) >= 4096);
    client *two = client_greet(f);
    client_ask(two, "MAIL FROM:<a@from.example>", "250 ");
    client_ask(two, "RCPT TO:<b@to.example>", "250 ");
    client_ask(two, "DATA", "452 4.3.1");
    client_send(one, "\r\n");
    client_ask(one, ".", "250 ");
    client_mail(two, "S: y\r\n\r\n", "250 ");
    client_close(one);
    client_close(two);
}

static void server_session__a_file_that_cannot_be_written_is_451(void **state)
{
    fixture *f = *state;
    f->options.temp_dir = "/nonexistent/folder";
    client *c = client_first(f);
    client_envelope(c);
    client_send(c, "S: x\r\n\r\n");
    for (int i = 0; i < 20000; i++)
        client_send(c, "forty octets of text that fill memory\r\n");
    client_ask(c, ".", "451 4.3.0");
    client_mail(c, "S: x\r\n\r\n", "250 2.0.0 kept");
    client_close(c);
}

static void server_session__lmtp_answers_for_each_recipient(void **state)
{
    fixture *f = *state;
    f->listener.lmtp = true;
    fixture_start(f);
    client *c = client_open(f);
    client_expect(c, "220 ");
    client_ask(c, "LHLO client.example", "250 ");
    client_ask(c, "MAIL FROM:<a@from.example>", "250 ");
    client_ask(c, "RCPT TO:<b@to.example>", "250 ");
    client_ask(c, "RCPT TO:<c@to.example>", "250 ");
    client_ask(c, "DATA", "354 ");
    client_send(c, "S: x\r\n\r\n.\r\n");
    client_expect(c, "250 2.0.0 kept");
    client_expect(c, "250 2.0.0 kept");
    client_ask(c, "NOOP", "250 ");
    assert_int_equal(f->handled, 1);
    client_close(c);
}

/* ---- limits of connections ---- */

static void server_session__connection_over_the_limit_gets_421(void **state)
{
    fixture *f = *state;
    f->listener.max_connections = 2;
    client *one = client_first(f);
    client *two = client_greet(f);
    client *three = client_open(f);
    client_expect(three, "421 too many connections");
    client_expect_end(three);
    client_close(three);
    client_close(one);
    fixture_wait(fixture_counters(f).sessions == 1);
    one = client_greet(f);
    assert_int_equal(fixture_counters(f).refused_connections, 1);
    client_close(one);
    client_close(two);
}

static void server_session__connections_of_one_client_are_limited(void **state)
{
    fixture *f = *state;
    f->listener.max_connections_per_client = 1;
    client *one = client_first(f);
    client *two = client_open(f);
    client_expect(two, "421 too many connections from your address");
    client_expect_end(two);
    client *other = client_open_from(f, "127.0.0.2");
    client_expect(other, "220 ");
    client_close(one);
    client_close(two);
    fixture_wait(fixture_counters(f).sessions == 1);
    one = client_greet(f);
    client_close(one);
    client_close(other);
}

/* ---- later replies, and clients that do not wait for them ---- */

typedef struct waiting {
    atomic_uint_fast64_t ticket;
    atomic_int gone;
} waiting;

static void on_gone(void *arg)
{
    waiting *w = arg;
    w->gone++;
}

static smx_reply answer_later(fixture *f, smx_transaction *tx)
{
    waiting *w = f->data;
    smx_transaction_on_gone(tx, on_gone, w);
    w->ticket = smx_transaction_ticket(tx);
    return SMX_LATER;
}

/* The first client, whose message the handler has and answers later. */
static client *client_waits(fixture *f, waiting *w)
{
    f->handle = answer_later;
    f->data = w;
    client *c = client_first(f);
    client_envelope(c);
    client_send(c, "S: x\r\n\r\n.\r\n");
    fixture_wait(w->ticket != 0);
    return c;
}

static void server_session__later_reply_comes_from_another_thread(void **state)
{
    fixture *f = *state;
    waiting w = {0};
    f->handle = answer_later;
    f->data = &w;
    client *c = client_first(f);
    client_envelope(c);
    client_send(c, "S: x\r\n\r\n.\r\nNOOP\r\n");
    fixture_wait(w.ticket != 0);
    char text[] = "taken later";
    const smx_reply reply = {250, {2, 0, 0}, slice_of_text(text)};
    assert_int_equal(smx_transaction_reply(f->server, w.ticket, &reply), 0);
    memset(text, '!', sizeof(text) - 1); /* it was copied */
    client_expect(c, "250 2.0.0 taken later");
    client_expect(c, "250 ");
    assert_int_equal(smx_transaction_reply(f->server, w.ticket, &reply), SMX_E_GONE);
    assert_int_equal(w.gone, 0);
    client_close(c);
}

static void server_session__second_reply_is_gone(void **state)
{
    fixture *f = *state;
    waiting w = {0};
    client *c = client_waits(f, &w);
    const smx_reply first = SMX_REPLY(451, 4, 0, 0, "first");
    const smx_reply second = SMX_REPLY(250, 2, 0, 0, "second");
    const smx_reply wrong = SMX_REPLY(99, 0, 0, 0, "no reply");
    assert_int_equal(smx_transaction_reply(f->server, w.ticket, &wrong), SMX_E_INVALID);
    assert_int_equal(smx_transaction_reply(f->server, w.ticket, &first), 0);
    assert_int_equal(smx_transaction_reply(f->server, w.ticket, &second), SMX_E_GONE);
    client_expect(c, "451 4.0.0 first");
    assert_int_equal(fixture_counters(f).deferred, 1);
    client_close(c);
}

static void server_session__client_gone_is_told_and_the_reply_is_still_taken(void **state)
{
    fixture *f = *state;
    waiting w = {0};
    client *c = client_waits(f, &w);
    client_close(c);
    fixture_wait(w.gone == 1);
    fixture_wait(fixture_counters(f).sessions == 0);
    const smx_reply reply = SMX_REPLY(250, 2, 0, 0, "nobody reads this");
    assert_int_equal(smx_transaction_reply(f->server, w.ticket, &reply), 0);
    fixture_wait(fixture_counters(f).accepted == 1);
    assert_int_equal(smx_transaction_reply(f->server, w.ticket, &reply), SMX_E_GONE);
}

static void server_session__transaction_left_waiting_is_freed_with_the_server(void **state)
{
    fixture *f = *state;
    static waiting w; /* told by the teardown at the latest */
    client *c = client_waits(f, &w);
    client_close(c); /* the leak checker judges the teardown */
}

/* ---- the end ---- */

typedef struct ending {
    fixture *f;
    uint32_t timeout_ms;
    atomic_int done;
} ending;

static void shutdown_done(void *arg)
{
    ending *e = arg;
    e->done++;
}

static void begin_shutdown(void *arg)
{
    ending *e = arg;
    smx_server_shutdown(e->f->server, e->timeout_ms, shutdown_done, e);
}

static void server_session__shutdown_says_421_to_idle_sessions(void **state)
{
    fixture *f = *state;
    ending e = {.f = f, .timeout_ms = 60000};
    client *c = client_first(f);
    fixture_call(f, begin_shutdown, &e);
    client_expect(c, "421 4.3.2");
    client_expect_end(c);
    client_close(c);
    fixture_wait(e.done == 1);
}

static void server_session__shutdown_waits_for_a_transaction_in_flight(void **state)
{
    fixture *f = *state;
    ending e = {.f = f, .timeout_ms = 60000};
    waiting w = {0};
    client *c = client_waits(f, &w);
    fixture_call(f, begin_shutdown, &e);
    assert_int_equal(e.done, 0);
    const smx_reply reply = SMX_REPLY(250, 2, 0, 0, "in time");
    assert_int_equal(smx_transaction_reply(f->server, w.ticket, &reply), 0);
    client_expect(c, "250 2.0.0 in time");
    client_expect(c, "421 4.3.2");
    client_expect_end(c);
    client_close(c);
    fixture_wait(e.done == 1);
}

static void server_session__shutdown_waits_for_a_transaction_whose_client_is_gone(void **state)
{
    fixture *f = *state;
    ending e = {.f = f, .timeout_ms = 60000};
    waiting w = {0};
    client *c = client_waits(f, &w);
    client_close(c);
    fixture_wait(fixture_counters(f).sessions == 0);
    fixture_call(f, begin_shutdown, &e);
    assert_int_equal(e.done, 0);
    const smx_reply reply = SMX_REPLY(250, 2, 0, 0, "delivered");
    assert_int_equal(smx_transaction_reply(f->server, w.ticket, &reply), 0);
    fixture_wait(e.done == 1);
}

static void server_session__shutdown_cuts_what_is_left_at_its_time(void **state)
{
    fixture *f = *state;
    ending e = {.f = f, .timeout_ms = 50};
    waiting w = {0};
    client *c = client_waits(f, &w);
    fixture_call(f, begin_shutdown, &e);
    client_expect_end(c);
    client_close(c);
    fixture_wait(e.done == 1);
    assert_int_equal(w.gone, 1);
}

static void server_session__shutdown_without_sessions_is_done_at_once(void **state)
{
    fixture *f = *state;
    ending e = {.f = f, .timeout_ms = 60000};
    fixture_start(f);
    fixture_call(f, begin_shutdown, &e);
    assert_int_equal(e.done, 1);
}

static void server_session__idle_session_is_told_421_and_closed(void **state)
{
    fixture *f = *state;
    f->listener.idle_timeout_ms = 100;
    client *c = client_first(f);
    client_expect(c, "421 4.4.2");
    client_expect_end(c);
    client_close(c);
}

static void look_for_buffers(void *arg)
{
    fixture *f = arg;
    const peer *p = list_member(f->server->front.open.first, peer, guest.node);
    if (p->transaction == NULL && p->trim_due == UINT64_MAX)
        f->data = f;
}

static void server_session__idle_session_holds_no_transaction(void **state)
{
    fixture *f = *state;
    client *c = client_first(f);
    client_mail(c, "S: x\r\n\r\n", "250 ");
    uint64_t end = clock_monotonic_ms() + 10000;
    while (f->data == NULL && clock_monotonic_ms() < end)
        fixture_call(f, look_for_buffers, f);
    assert_non_null(f->data);
    client_mail(c, "S: again\r\n\r\n", "250 ");
    client_close(c);
}

typedef struct queue_look {
    fixture *f;
    bool full;
    size_t queued;
} queue_look;

static void look_at_queue(void *arg)
{
    queue_look *look = arg;
    const peer *p = list_member(look->f->server->front.open.first, peer, guest.node);
    look->full = p->full;
    look->queued = connection_queued(p->guest.connection);
}

enum { RECIPIENTS = 100, REPLIES = RECIPIENTS + 2 };

/* One message; messages have no limit. */
static smx_slice make_message(buffer *b)
{
    assert_int_equal(buffer_append_text(b, "MAIL FROM:<>\r\n"), 0);
    for (int i = 0; i < RECIPIENTS; i++)
        assert_int_equal(buffer_append_text(b, "RCPT TO:<b@to.example>\r\n"), 0);
    assert_int_equal(buffer_append_text(b, "BDAT 2 LAST\r\n\r\n"), 0);
    return buffer_slice(b);
}

static void server_session__client_that_does_not_read_is_not_read(void **state)
{
    fixture *f = *state;
    queue_look look = {.f = f};
    buffer b = {0};
    client *c = client_first(f);
    smx_slice one = make_message(&b);
    size_t sent = 0;
    uint64_t end = clock_monotonic_ms() + 30000;
    while (!look.full && clock_monotonic_ms() < end) {
        ssize_t now = 1;
        for (int i = 0; i < 1000 && now > 0; i++) {
            smx_slice rest = slice_from(one, sent % one.len);
            now = send(c->fd, rest.data, rest.len, MSG_NOSIGNAL | MSG_DONTWAIT);
            sent += now > 0 ? (size_t)now : 0;
        }
        fixture_call(f, look_at_queue, &look);
    }
    assert_true(look.full);
    /* The kernel may have taken any part of it since. */
    assert_true(look.queued <= 3 * CONNECTION_HIGH);
    for (size_t i = 0; i < sent / one.len * REPLIES; i++)
        client_expect(c, "250 ");
    smx_slice rest = slice_from(one, sent % one.len);
    client_send_octets(c, rest.data, rest.len);
    for (int i = 0; i < REPLIES; i++)
        client_expect(c, "250 ");
    client_ask(c, "QUIT", "221 ");
    client_close(c);
    buffer_free(&b);
}

static void server_session__half_a_command_at_the_end_is_nothing(void **state)
{
    fixture *f = *state;
    client *c = client_first(f);
    client_send(c, "MAIL FROM:<a@from.example>\r\nRCPT TO:<b@to");
    client_expect(c, "250 ");
    assert_int_equal(shutdown(c->fd, SHUT_WR), 0);
    client_expect_end(c);
    client_close(c);
    assert_int_equal(f->handled, 0);
}

static void server_new__refuses_what_it_does_not_know(void **state)
{
    fixture *f = *state;
    smx_server *server = NULL;
    f->options.version = 99;
    assert_int_equal(smx_server_new(f->loop, &f->options, &server), SMX_E_INVALID);
    f->options.version = SMX_SERVER_VERSION;
    f->options.handler = NULL;
    assert_int_equal(smx_server_new(f->loop, &f->options, &server), SMX_E_INVALID);
    assert_null(server);
}

static void server_listen__says_what_is_wrong(void **state)
{
    fixture *f = *state;
    char words[SMX_PROBLEM_TEXT] = "";
    assert_int_equal(smx_server_new(f->loop, &f->options, &f->server), 0);
    f->listener.tls = SMX_LISTENER_STARTTLS;
    assert_int_equal(smx_server_listen(f->server, &f->listener, words), SMX_E_INVALID);
    assert_non_null(strstr(words, "certificate"));
    f->listener.tls = SMX_LISTENER_CLEAR;
    f->listener.listen = "no port";
    assert_int_not_equal(smx_server_listen(f->server, &f->listener, words), 0);
    assert_non_null(strstr(words, "no port"));
}

#define WITH_FIXTURE(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FIXTURE(server_session__banner_names_host_and_product),
        WITH_FIXTURE(server_session__ehlo_offers_the_defaults),
        WITH_FIXTURE(server_session__message_reaches_the_handler_whole),
        WITH_FIXTURE(server_session__pipelined_burst_is_answered_in_order),
        WITH_FIXTURE(server_session__chunks_of_bdat_become_one_message),
        WITH_FIXTURE(server_session__vrfy_is_252_and_expn_502),
        WITH_FIXTURE(server_session__large_message_goes_through_the_file),
        WITH_FIXTURE(server_session__header_section_over_its_limit_is_554),
        WITH_FIXTURE(server_session__over_budget_data_is_452),
        WITH_FIXTURE(server_session__data_when_the_budget_is_used_up_is_452),
        WITH_FIXTURE(server_session__a_file_that_cannot_be_written_is_451),
        WITH_FIXTURE(server_session__lmtp_answers_for_each_recipient),
        WITH_FIXTURE(server_session__connection_over_the_limit_gets_421),
        WITH_FIXTURE(server_session__connections_of_one_client_are_limited),
        WITH_FIXTURE(server_session__later_reply_comes_from_another_thread),
        WITH_FIXTURE(server_session__second_reply_is_gone),
        WITH_FIXTURE(server_session__client_gone_is_told_and_the_reply_is_still_taken),
        WITH_FIXTURE(server_session__transaction_left_waiting_is_freed_with_the_server),
        WITH_FIXTURE(server_session__shutdown_says_421_to_idle_sessions),
        WITH_FIXTURE(server_session__shutdown_waits_for_a_transaction_in_flight),
        WITH_FIXTURE(server_session__shutdown_waits_for_a_transaction_whose_client_is_gone),
        WITH_FIXTURE(server_session__shutdown_cuts_what_is_left_at_its_time),
        WITH_FIXTURE(server_session__shutdown_without_sessions_is_done_at_once),
        WITH_FIXTURE(server_session__idle_session_is_told_421_and_closed),
        WITH_FIXTURE(server_session__idle_session_holds_no_transaction),
        WITH_FIXTURE(server_session__client_that_does_not_read_is_not_read),
        WITH_FIXTURE(server_session__half_a_command_at_the_end_is_nothing),
        WITH_FIXTURE(server_new__refuses_what_it_does_not_know),
        WITH_FIXTURE(server_listen__says_what_is_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
