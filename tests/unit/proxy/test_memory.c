/* A session that has sent a message takes no memory for the next one. The test plays the upstream, so that
 * what is counted on the loop's thread is the proxy's. */
#include "proxy_fixture.h"
#include "support/fail_malloc.h"

static size_t records;

static void on_record(void *arg, const smx_proxy_record *record)
{
    (void)arg;
    assert_true(slice_equal(record->message_id, SMX_SLICE("<1@from.example>")));
    assert_true(slice_equal(record->outcome, SMX_SLICE("relayed")));
    assert_int_equal(record->recipient_count, 1);
    records++;
}

static void choose_loop(void *arg)
{
    (void)arg;
    fail_malloc_choose_thread(true);
}

static void pass(client *c, client *up, const char *line, const char *reply)
{
    client_say(c, line);
    upstream_expect(up, line);
    client_say(up, reply);
    client_expect(c, reply);
}

static void pass_message(client *c, client *up)
{
    pass(c, up, "MAIL FROM:<a@from.example>", "250 2.1.0 ok");
    pass(c, up, "RCPT TO:<b@to.example>", "250 2.1.5 ok");
    pass(c, up, "DATA", "354 go on");
    client_send(c, "From: a@from.example\r\nMessage-ID: <1@from.example>\r\n\r\n..text\r\n.\r\n");
    upstream_expect(up, "From: a@from.example");
    upstream_expect(up, "Message-ID: <1@from.example>");
    upstream_expect(up, "");
    upstream_expect(up, "..text");
    upstream_expect(up, ".");
    client_say(up, "250 2.0.0 taken");
    client_expect(c, "250 2.0.0 taken");
}

/* A session that rests for a second gives its memory back: of several messages one comes before that. */
static void expect_no_allocation(proxy_fixture *x)
{
    enum { MESSAGES = 10 };
    client *up;
    proxy_play(x);
    fixture_call(x->f, choose_loop, NULL);
    client *c = proxy_greet(x, &up, "");
    size_t least = SIZE_MAX;
    pass_message(c, up);
    for (size_t i = 0; i < MESSAGES && least > 0; i++) {
        fail_malloc_begin(0);
        pass_message(c, up);
        (void)fail_malloc_end();
        least = fail_malloc_count() < least ? fail_malloc_count() : least;
    }
    assert_int_equal(least, 0);
    client_close(c);
    client_close(up);
}

static void proxy_memory__a_further_message_takes_none(void **state)
{
    expect_no_allocation(*state);
}

static void proxy_memory__a_further_message_that_is_recorded_takes_none(void **state)
{
    proxy_fixture *x = *state;
    x->options.record = on_record;
    records = 0;
    expect_no_allocation(x);
    assert_true(records > 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PROXY_TEST(proxy_memory__a_further_message_takes_none),
        PROXY_TEST(proxy_memory__a_further_message_that_is_recorded_takes_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
