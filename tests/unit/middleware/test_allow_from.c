/* allow_from and the limit of Received fields, in a server. */
#include <stdio.h>
#include <stdlib.h>

#include "../server/fixture.h"
#include "middleware/middleware.h"

static const smx_slice globs[] = {{"*@from.example", 14}, {"boss@else.example", 17}};
static const smx_slice bounces[] = {{"<>", 2}};
static smx_user restricted = {.name = {"user", 4}};
static smx_trust trust = {.user = {"user", 4}};

static const smx_user *find_user(void *arg, smx_slice name)
{
    (void)arg;
    (void)name;
    return &restricted;
}

static int setup(void **state)
{
    (void)fixture_setup(state);
    fixture *f = *state;
    assert_int_equal(smx_network_parse(SMX_SLICE("127.0.0.1"), &trust.network), 0);
    restricted.allow_from = globs;
    restricted.allow_from_count = 2;
    f->options.find_user = find_user;
    f->listener.trust = &trust;
    f->listener.trust_count = 1;
    fixture_add_hook(f, &hook_allow_from);
    fixture_add_middleware(f, &middleware_received_limit);
    fixture_add_middleware(f, &middleware_allow_from);
    fixture_start(f);
    return 0;
}

static client *greet_with(fixture *f, const smx_slice *allowed, size_t count)
{
    restricted.allow_from = allowed;
    restricted.allow_from_count = count;
    return client_greet(f);
}

/* The sender is taken, and the transaction given up. */
static void expect_sender(client *c, const char *mail)
{
    client_ask(c, mail, "250 ");
    client_ask(c, "RSET", "250 ");
}

static void allow_from__sender_is_judged_by_the_globs(void **state)
{
    client *c = client_greet(*state);
    expect_sender(c, "MAIL FROM:<any@From.Example>");
    expect_sender(c, "MAIL FROM:<boss@else.example>");
    client_ask(c, "MAIL FROM:<other@else.example>", "550 5.7.1");
    client_ask(c, "MAIL FROM:<a@from.example.evil>", "550 5.7.1");
    client_ask(c, "MAIL FROM:<>", "550 5.7.1");
    client_close(c);
}

static void allow_from__null_sender_must_be_listed_as_such(void **state)
{
    client *c = greet_with(*state, bounces, 1);
    expect_sender(c, "MAIL FROM:<>");
    client_ask(c, "MAIL FROM:<a@from.example>", "550 5.7.1");
    client_close(c);
}

static const smx_slice everything[] = {{"*", 1}};

static void allow_from__no_glob_means_the_null_sender(void **state)
{
    client *c = greet_with(*state, everything, 1);
    expect_sender(c, "MAIL FROM:<any@where.example>");
    client_ask(c, "MAIL FROM:<>", "550 5.7.1");
    client_close(c);
}

static void allow_from__absent_means_any(void **state)
{
    client *c = greet_with(*state, NULL, 0);
    client_ask(c, "MAIL FROM:<>", "250 ");
    client_ask(c, "RCPT TO:<b@to.example>", "250 ");
    client_ask(c, "DATA", "354 ");
    client_send(c, "From: not an address\r\n\r\n");
    client_ask(c, ".", "250 ");
    client_close(c);
}

static void allow_from__every_mailbox_of_every_from_field_is_judged(void **state)
{
    static const struct {
        const char *message;
        const char *reply;
    } cases[] = {
        {"From: a@from.example\r\n\r\n", "250 "},
        {"From: \"x@evil.example\" <a@from.example>\r\n\r\n", "250 "},
        {"From: A <a@from.example>, B <boss@else.example>\r\n\r\n", "250 "},
        {"From: folded\r\n <a@from.example>\r\n\r\n", "250 "},
        {"Subject: no From at all\r\n\r\n", "250 "},
        {"From: a@evil.example\r\n\r\n", "550 5.7.1"},
        {"From: \"a@from.example\" <a@evil.example>\r\n\r\n", "550 5.7.1"},
        {"From: A <a@from.example>, B <b@evil.example>\r\n\r\n", "550 5.7.1"},
        {"From: a@from.example\r\nfrom: b@evil.example\r\n\r\n", "550 5.7.1"},
        {"From : b@evil.example\r\n\r\n", "550 5.7.1"},
        {"From: (a@from.example) b@evil.example\r\n\r\n", "550 5.7.1"},
        {"From: group: a@from.example, b@evil.example;\r\n\r\n", "550 5.7.1"},
        {"From: a@from.example <b@evil.example\r\n\r\n", "550 5.7.1"},
        {"From: no address\r\n\r\n", "550 5.7.1"},
        {"From:\r\n\r\n", "550 5.7.1"},
    };
    client *c = client_greet(*state);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        client_envelope(c);
        client_send(c, cases[i].message);
        client_say(c, ".");
        client_expect(c, "");
        if (strncmp(c->reply, cases[i].reply, strlen(cases[i].reply)) != 0)
            fail_msg("%s: %s", cases[i].message, c->reply);
    }
    client_close(c);
}

static void received_limit__a_hundred_pass_and_one_more_is_a_loop(void **state)
{
    client *c = client_greet(*state);
    for (int extra = 0; extra < 2; extra++) {
        client_envelope(c);
        for (int i = 0; i < 100 + extra; i++)
            client_send(c, "Received: by here\r\n");
        client_send(c, "\r\nReceived: in the body\r\n");
        client_ask(c, ".", extra == 0 ? "250 " : "554 5.4.6");
    }
    client_close(c);
}

#define WITH_FIXTURE(test) cmocka_unit_test_setup_teardown(test, setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FIXTURE(allow_from__sender_is_judged_by_the_globs),
        WITH_FIXTURE(allow_from__null_sender_must_be_listed_as_such),
        WITH_FIXTURE(allow_from__no_glob_means_the_null_sender),
        WITH_FIXTURE(allow_from__absent_means_any),
        WITH_FIXTURE(allow_from__every_mailbox_of_every_from_field_is_judged),
        WITH_FIXTURE(received_limit__a_hundred_pass_and_one_more_is_a_loop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
