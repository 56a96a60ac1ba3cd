/* Middleware: order, answers, later ones, and what a handler gets to see. */
#include <stdio.h>
#include <stdlib.h>

#include "fixture.h"

/* A middleware that notes that it ran. */
typedef struct noting {
    smx_middleware middleware;
    char name;
    smx_verdict verdict;
    bool later;
    atomic_uint_fast64_t ticket;
    const char *text; /* of the reply, in `after` */
} noting;

static pthread_mutex_t trace_mutex = PTHREAD_MUTEX_INITIALIZER;
static char trace[64];

static void note(char first, char second)
{
    (void)pthread_mutex_lock(&trace_mutex);
    size_t len = strlen(trace);
    (void)snprintf(trace + len, sizeof(trace) - len, "%c%c ", first, second);
    (void)pthread_mutex_unlock(&trace_mutex);
}

static smx_verdict before(void *arg, smx_transaction *tx)
{
    noting *n = arg;
    note('b', n->name);
    if (!n->later)
        return n->verdict;
    n->ticket = smx_transaction_ticket(tx);
    return (smx_verdict){.kind = SMX_VERDICT_LATER};
}

static void after(void *arg, smx_transaction *tx, smx_reply *reply)
{
    noting *n = arg;
    note('a', n->name);
    if (n->text == NULL)
        return;
    size_t len = strlen(n->text);
    char *copy = smx_transaction_alloc(tx, len);
    if (copy == NULL)
        abort();
    memcpy(copy, n->text, len);
    reply->text = slice_of(copy, len);
}

static noting chain[3];

static void add_chain(fixture *f)
{
    trace[0] = '\0';
    for (size_t i = 0; i < 3; i++) {
        chain[i] = (noting){.name = (char)('1' + i), .verdict = {.kind = SMX_CONTINUE}};
        chain[i].middleware = (smx_middleware){.version = SMX_MIDDLEWARE_VERSION,
                                               .name = "noting",
                                               .arg = &chain[i],
                                               .before = before,
                                               .after = after};
        fixture_add_middleware(f, &chain[i].middleware);
    }
}

static void expect_trace(const char *expected)
{
    (void)pthread_mutex_lock(&trace_mutex);
    if (strcmp(trace, expected) != 0)
        fail_msg("expected %s, got %s", expected, trace);
    (void)pthread_mutex_unlock(&trace_mutex);
}

static void server_chain__before_in_order_and_after_in_reverse(void **state)
{
    fixture *f = *state;
    add_chain(f);
    client *c = client_first(f);
    client_mail(c, "S: x\r\n\r\n", "250 2.0.0 kept");
    expect_trace("b1 b2 b3 a3 a2 a1 ");
    client_close(c);
}

static void server_chain__an_answer_ends_the_way_in(void **state)
{
    fixture *f = *state;
    add_chain(f);
    chain[1].verdict = (smx_verdict){SMX_REPLY_WITH, SMX_REPLY(250, 2, 0, 0, "stored here")};
    client *c = client_first(f);
    client_mail(c, "S: x\r\n\r\n", "250 2.0.0 stored here");
    expect_trace("b1 b2 a2 a1 ");
    assert_int_equal(f->handled, 0);
    client_close(c);
}

static void server_chain__discard_is_250_and_disconnect_closes(void **state)
{
    fixture *f = *state;
    add_chain(f);
    chain[0].verdict.kind = SMX_DISCARD;
    client *c = client_first(f);
    client_mail(c, "S: x\r\n\r\n", "250 ");
    chain[0].verdict = (smx_verdict){SMX_DISCONNECT, SMX_REPLY(554, 5, 7, 0, "go away")};
    client_mail(c, "S: x\r\n\r\n", "421 4.7.0 go away");
    client_expect_end(c);
    assert_int_equal(f->handled, 0);
    client_close(c);
}

static void server_chain__after_may_change_the_reply(void **state)
{
    fixture *f = *state;
    add_chain(f);
    chain[0].text = "said by the outermost";
    chain[2].text = "said by the innermost";
    client *c = client_first(f);
    client_mail(c, "S: x\r\n\r\n", "250 2.0.0 said by the outermost");
    client_close(c);
}

static atomic_uint_fast64_t handler_ticket;

static smx_reply answer_later(fixture *f, smx_transaction *tx)
{
    (void)f;
    handler_ticket = smx_transaction_ticket(tx);
    return SMX_LATER;
}

static void server_chain__before_and_handler_may_both_be_later(void **state)
{
    fixture *f = *state;
    add_chain(f);
    chain[1].later = true;
    chain[1].ticket = 0;
    handler_ticket = 0;
    f->handle = answer_later;
    client *c = client_first(f);
    client_envelope(c);
    client_say(c, ".");
    fixture_wait(chain[1].ticket != 0);
    expect_trace("b1 b2 ");
    const smx_reply reply = SMX_REPLY(250, 2, 0, 0, "at last");
    const smx_verdict go_on = {.kind = SMX_CONTINUE};
    const smx_verdict later = {.kind = SMX_VERDICT_LATER};
    smx_ticket ticket = chain[1].ticket;
    /* It is not the handler's turn. */
    assert_int_equal(smx_transaction_reply(f->server, ticket, &reply), SMX_E_GONE);
    assert_int_equal(smx_transaction_continue(f->server, ticket, &later), SMX_E_INVALID);
    assert_int_equal(smx_transaction_continue(f->server, ticket, &go_on), 0);
    assert_int_equal(smx_transaction_continue(f->server, ticket, &go_on), SMX_E_GONE);
    fixture_wait(handler_ticket != 0);
    assert_int_equal(smx_transaction_continue(f->server, ticket, &go_on), SMX_E_GONE);
    assert_int_equal(smx_transaction_reply(f->server, handler_ticket, &reply), 0);
    client_expect(c, "250 2.0.0 at last");
    expect_trace("b1 b2 b3 a3 a2 a1 ");
    client_close(c);
}

static void server_chain__later_answer_of_a_before_ends_the_way_in(void **state)
{
    fixture *f = *state;
    add_chain(f);
    chain[0].later = true;
    chain[0].ticket = 0;
    client *c = client_first(f);
    client_envelope(c);
    client_say(c, ".");
    fixture_wait(chain[0].ticket != 0);
    const smx_verdict no = {SMX_REPLY_WITH, SMX_REPLY(550, 5, 7, 1, "no")};
    assert_int_equal(smx_transaction_continue(f->server, chain[0].ticket, &no), 0);
    client_expect(c, "550 5.7.1 no");
    expect_trace("b1 a1 ");
    client_close(c);
}

static smx_reply nonsense(fixture *f, smx_transaction *tx)
{
    (void)f;
    (void)tx;
    return SMX_REPLY(354, 0, 0, 0, "go on");
}

static void server_chain__nonsense_of_a_handler_is_451(void **state)
{
    fixture *f = *state;
    f->handle = nonsense;
    client *c = client_first(f);
    client_mail(c, "S: x\r\n\r\n", "451 4.3.0");
    client_close(c);
}

/* ---- what a transaction tells ---- */

static smx_verdict edit_header(void *arg, smx_transaction *tx)
{
    (void)arg;
    smx_header_edit *edit = smx_transaction_edit(tx);
    if (edit == NULL ||
        smx_header_edit_prepend(edit, SMX_SLICE("Received"), SMX_SLICE("by here")) != 0)
        abort();
    return (smx_verdict){.kind = SMX_CONTINUE};
}

static const smx_middleware editing = {
    .version = SMX_MIDDLEWARE_VERSION, .name = "editing", .before = edit_header};

static smx_reply look_at_all(fixture *f, smx_transaction *tx)
{
    smx_slice id = smx_transaction_id(tx);
    if (id.len < 12 || smx_transaction_started(tx) == 0 ||
        smx_transaction_listener_data(tx) != f->data || smx_transaction_user(tx) != NULL ||
        smx_transaction_ticket(tx) == 0)
        return SMX_REPLY(550, 5, 0, 0, "something is missing");
    return (smx_reply){250, {2, 0, 0}, id};
}

static void server_chain__handler_sees_edits_and_each_transaction_has_its_name(void **state)
{
    fixture *f = *state;
    f->handle = look_at_all;
    f->data = f;
    f->listener.data = f;
    fixture_add_middleware(f, &editing);
    client *c = client_first(f);
    char first[64];
    client_mail(c, "S: x\r\n\r\nbody\r\n", "250 2.0.0");
    assert_buffer(&f->header, "Received: by here\r\nS: x\r\n");
    assert_buffer(&f->body, "body\r\n");
    (void)snprintf(first, sizeof(first), "%.63s", c->reply);
    client_mail(c, "S: x\r\n\r\n", "250 2.0.0");
    assert_string_not_equal(first, c->reply);
    client_close(c);
}

#define WITH_FIXTURE(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FIXTURE(server_chain__before_in_order_and_after_in_reverse),
        WITH_FIXTURE(server_chain__an_answer_ends_the_way_in),
        WITH_FIXTURE(server_chain__discard_is_250_and_disconnect_closes),
        WITH_FIXTURE(server_chain__after_may_change_the_reply),
        WITH_FIXTURE(server_chain__before_and_handler_may_both_be_later),
        WITH_FIXTURE(server_chain__later_answer_of_a_before_ends_the_way_in),
        WITH_FIXTURE(server_chain__nonsense_of_a_handler_is_451),
        WITH_FIXTURE(server_chain__handler_sees_edits_and_each_transaction_has_its_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
