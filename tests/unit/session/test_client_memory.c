/* The client's machine without memory: every allocation of a long session fails once, and a warm
 * session asks for none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/slice.h"
#include "smx/session.h"
#include "support/fail_malloc.h"

enum { RECIPIENTS = 40 };

typedef struct dialogue {
    smx_client_session *session;
    unsigned transactions;
    bool over;
    int error; /* what a call or a failure said */
} dialogue;

static void dialogue_transaction(dialogue *d)
{
    static smx_rcpt recipients[RECIPIENTS];
    for (size_t i = 0; i < RECIPIENTS; i++)
        recipients[i].path.mailbox = SMX_SLICE("recipient@example.org");
    smx_client_transaction t = {.mail = {.path = {.mailbox = SMX_SLICE("a@b.c")}},
                                .recipients = recipients,
                                .recipient_count = RECIPIENTS,
                                .has_size = d->transactions % 2 == 1,
                                .size = 4};
    d->error = smx_client_session_begin(d->session, 0, &t);
    d->transactions++;
}

static void dialogue_body(dialogue *d)
{
    smx_slice pieces[4];
    size_t used;
    size_t count;
    d->error =
        smx_client_session_body(d->session, 0, SMX_SLICE("hi\r\n"), &used, pieces, 4, &count);
    if (d->error == 0)
        d->error = smx_client_session_body_end(d->session, 0);
}

static void dialogue_act(dialogue *d, const smx_client_event *event)
{
    static char token[600];
    switch (event->type) {
    case SMX_CLIENT_TLS:
        smx_client_session_tls_done(d->session, 0, 0);
        break;
    case SMX_CLIENT_AUTH:
        d->error = smx_client_session_auth(d->session, 0, SMX_SLICE("XOAUTH2"), true,
                                           slice_of(token, sizeof token));
        break;
    case SMX_CLIENT_CHALLENGE:
        d->error = smx_client_session_auth_response(d->session, 0, slice_of(token, sizeof token));
        break;
    case SMX_CLIENT_BODY:
        dialogue_body(d);
        break;
    case SMX_CLIENT_FAILED:
        d->error = event->failure->error;
        d->over = true;
        break;
    default:
        break;
    }
}

static void dialogue_hears(dialogue *d, const char *text)
{
    smx_slice in = slice_of_text(text);
    smx_client_event event = {.type = SMX_CLIENT_READY};
    while (d->error == 0 && event.type != SMX_CLIENT_NONE) {
        in = slice_from(in, smx_client_session_feed(d->session, 0, in, &event));
        dialogue_act(d, &event);
    }
    smx_client_session_sent(d->session, smx_client_session_output(d->session).len);
}

static void dialogue_hears_recipients(dialogue *d)
{
    dialogue_hears(d, "250 mail\r\n");
    for (int i = 0; i < RECIPIENTS; i++)
        dialogue_hears(d, i == 3 ? "550 no\r\n" : "250 rcpt\r\n");
}

static void dialogue_by_data(dialogue *d)
{
    if (d->error == 0)
        dialogue_transaction(d);
    dialogue_hears_recipients(d);
    dialogue_hears(d, "354 go\r\n");
    for (int i = 1; i < RECIPIENTS; i++)
        dialogue_hears(d, "250 taken\r\n");
}

static void dialogue_by_bdat(dialogue *d)
{
    if (d->error == 0)
        dialogue_transaction(d);
    dialogue_hears_recipients(d);
    dialogue_hears(d, "250 chunk\r\n");
    for (int i = 1; i < RECIPIENTS; i++)
        dialogue_hears(d, "250 taken\r\n");
}

static int dialogue_start(dialogue *d)
{
    smx_client_session_options options = {.version = SMX_CLIENT_SESSION_VERSION,
                                          .helo = SMX_SLICE("client.example"),
                                          .lmtp = true,
                                          .tls = SMX_TLS_REQUIRED,
                                          .authenticate = true};
    *d = (dialogue){0};
    d->error = smx_client_session_new(&options, 0, &d->session);
    return d->error;
}

static void dialogue_greet(dialogue *d)
{
    dialogue_hears(d, "220 mx.example\r\n");
    dialogue_hears(d, "250-mx.example\r\n250 STARTTLS\r\n");
    dialogue_hears(d, "220 go\r\n");
    dialogue_hears(d, "250-mx.example\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 AUTH XOAUTH2\r\n");
    dialogue_hears(d, "334 \r\n");
    dialogue_hears(d, "334 e30=\r\n");
    dialogue_hears(d, "235 ok\r\n");
}

static void session_client__every_allocation_may_fail(void **state)
{
    size_t n = 0;
    int error;
    (void)state;
    do {
        dialogue d;
        fail_malloc_begin(++n);
        if (dialogue_start(&d) == 0) {
            dialogue_greet(&d);
            dialogue_by_data(&d);
            dialogue_by_bdat(&d);
        }
        error = d.error;
        assert_int_equal(error, fail_malloc_end() ? SMX_E_NOMEM : 0);
        assert_true(error == SMX_E_NOMEM || d.transactions == 2);
        assert_true(error == SMX_E_NOMEM || smx_client_session_is_ready(d.session));
        smx_client_session_free(d.session);
    } while (error != 0);
    /* The session, the output, EHLO's reply, the challenge, LMTP's recipients. */
    assert_true(n > 5);
}

static void session_client__failed_begin_can_be_tried_again(void **state)
{
    dialogue d;
    (void)state;
    assert_int_equal(dialogue_start(&d), 0);
    dialogue_greet(&d);
    smx_client_session_trim(d.session);
    fail_malloc_begin(1);
    dialogue_transaction(&d);
    assert_true(fail_malloc_end());
    assert_int_equal(d.error, SMX_E_NOMEM);
    assert_int_equal(smx_client_session_output(d.session).len, 0);
    assert_true(smx_client_session_is_ready(d.session));
    d.error = 0;
    dialogue_by_bdat(&d); /* the second transaction has a size */
    assert_int_equal(d.error, 0);
    assert_true(smx_client_session_is_ready(d.session));
    smx_client_session_free(d.session);
}

/* No allocation per command on the hot path (DESIGN 1, decision 5). */
static void session_client__warm_session_allocates_nothing(void **state)
{
    dialogue d;
    (void)state;
    assert_int_equal(dialogue_start(&d), 0);
    dialogue_greet(&d);
    dialogue_by_data(&d);
    fail_malloc_begin(0);
    dialogue_by_bdat(&d);
    dialogue_by_data(&d);
    assert_false(fail_malloc_end());
    assert_int_equal(d.error, 0);
    assert_int_equal(d.transactions, 3);
    assert_int_equal(fail_malloc_count(), 0);
    smx_client_session_free(d.session);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(session_client__every_allocation_may_fail),
        cmocka_unit_test(session_client__failed_begin_can_be_tried_again),
        cmocka_unit_test(session_client__warm_session_allocates_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
