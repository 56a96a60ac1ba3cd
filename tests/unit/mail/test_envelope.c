/* Envelopes: copies that stand alone, recipients that are added and taken out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "mail/envelope.h"

static void assert_text(smx_slice s, const char *text)
{
    assert_int_equal(s.len, strlen(text));
    assert_memory_equal(s.data, text, s.len);
}

static smx_rcpt rcpt_of(const char *argument)
{
    smx_rcpt rcpt;
    assert_null(smx_rcpt_parse(slice_of_text(argument), SMX_EXT_DSN, false, &rcpt));
    return rcpt;
}

static void envelope__copy_outlives_the_line(void **state)
{
    (void)state;
    char line[] =
        "FROM:<@relay:joe@Example.com> SIZE=10 BODY=8BITMIME RET=HDRS ENVID=e+3Dx AUTH=a@b";
    arena a = {0};
    smx_mail mail;
    smx_envelope envelope = {0};
    assert_null(smx_mail_parse(
        slice_of_text(line), SMX_EXT_SIZE | SMX_EXT_8BITMIME | SMX_EXT_DSN | SMX_EXT_AUTH, &mail));
    assert_int_equal(envelope_set_mail(&envelope, &a, &mail), 0);
    memset(line, 'x', sizeof(line));
    assert_text(envelope.mail.path.mailbox, "joe@Example.com");
    assert_text(envelope.mail.path.local, "joe");
    assert_text(envelope.mail.path.domain, "Example.com");
    /* They are parts of one copy. */
    assert_ptr_equal(envelope.mail.path.local.data, envelope.mail.path.mailbox.data);
    assert_ptr_equal(envelope.mail.path.domain.data, envelope.mail.path.mailbox.data + 4);
    assert_text(envelope.mail.envid, "e+3Dx");
    assert_text(envelope.mail.auth, "a@b");
    assert_int_equal(envelope.mail.size, 10);
    assert_int_equal(envelope.mail.body, SMX_BODY_8BITMIME);
    assert_int_equal(envelope.mail.ret, SMX_RET_HDRS);
    arena_free(&a);
}

static void envelope__null_path_and_loose_parts(void **state)
{
    (void)state;
    arena a = {0};
    smx_mail null_path = {0};
    smx_envelope envelope = {0};
    assert_int_equal(envelope_set_mail(&envelope, &a, &null_path), 0);
    assert_int_equal(envelope.mail.path.mailbox.len, 0);
    assert_int_equal(envelope.mail.path.local.len, 0);
    /* A hook may put a path together from pieces of its own. */
    smx_mail loose = {.path = {.mailbox = SMX_SLICE("joe@x"),
                               .local = slice_of_text("joe-"),
                               .domain = slice_of_text("xx")}};
    assert_int_equal(envelope_set_mail(&envelope, &a, &loose), 0);
    assert_text(envelope.mail.path.mailbox, "joe@x");
    assert_text(envelope.mail.path.local, "joe-");
    assert_text(envelope.mail.path.domain, "xx");
    arena_free(&a);
}

static void envelope__thousand_recipients_keep_their_order(void **state)
{
    (void)state;
    arena a = {0};
    size_t capacity = 0;
    smx_envelope envelope = {0};
    for (unsigned i = 0; i < 1000; i++) {
        char line[64];
        (void)snprintf(line, sizeof(line), "TO:<u%u@x> NOTIFY=NEVER ORCPT=rfc822;u%u@x", i, i);
        smx_rcpt rcpt = rcpt_of(line);
        assert_int_equal(envelope_add_rcpt(&envelope, &a, &rcpt, &capacity), 0);
    }
    assert_int_equal(envelope.recipient_count, 1000);
    for (unsigned i = 0; i < 1000; i++) {
        char text[64];
        const smx_rcpt *rcpt = &envelope.recipients[i];
        (void)snprintf(text, sizeof(text), "u%u@x", i);
        assert_text(rcpt->path.mailbox, text);
        assert_int_equal(rcpt->notify, SMX_NOTIFY_NEVER);
        (void)snprintf(text, sizeof(text), "rfc822;u%u@x", i);
        assert_text(rcpt->orcpt, text);
    }
    arena_free(&a);
}

static void envelope__deletes_by_mailbox(void **state)
{
    (void)state;
    static const char *const lines[] = {"TO:<a@x>", "TO:<b@x>", "TO:<a@X>", "TO:<A@x>", "TO:<c@x>"};
    arena a = {0};
    size_t capacity = 0;
    smx_envelope envelope = {0};
    for (size_t i = 0; i < 5; i++) {
        smx_rcpt rcpt = rcpt_of(lines[i]);
        assert_int_equal(envelope_add_rcpt(&envelope, &a, &rcpt, &capacity), 0);
    }
    assert_int_equal(envelope_delete_rcpt(&envelope, SMX_SLICE("z@x")), SMX_E_NOTFOUND);
    assert_int_equal(envelope_delete_rcpt(&envelope, SMX_SLICE("")), SMX_E_NOTFOUND);
    assert_int_equal(envelope.recipient_count, 5);
    assert_int_equal(envelope_delete_rcpt(&envelope, SMX_SLICE("a@x")), 0);
    assert_int_equal(envelope.recipient_count, 3);
    assert_text(envelope.recipients[0].path.mailbox, "b@x");
    assert_text(envelope.recipients[1].path.mailbox, "A@x");
    assert_text(envelope.recipients[2].path.mailbox, "c@x");
    smx_rcpt again = rcpt_of("TO:<d@x>");
    assert_int_equal(envelope_add_rcpt(&envelope, &a, &again, &capacity), 0);
    assert_text(envelope.recipients[3].path.mailbox, "d@x");
    arena_free(&a);
}

static void envelope__same_mailbox_minds_the_case_of_local_parts(void **state)
{
    (void)state;
    assert_true(envelope_same_mailbox(SMX_SLICE("a@X.y"), SMX_SLICE("a@x.Y")));
    assert_false(envelope_same_mailbox(SMX_SLICE("A@x"), SMX_SLICE("a@x")));
    assert_true(envelope_same_mailbox(SMX_SLICE("\"a@B\"@x"), SMX_SLICE("\"a@B\"@X")));
    assert_false(envelope_same_mailbox(SMX_SLICE("\"a@b\"@x"), SMX_SLICE("\"a@B\"@x")));
    assert_true(envelope_same_mailbox(SMX_SLICE("Postmaster"), SMX_SLICE("Postmaster")));
    assert_false(envelope_same_mailbox(SMX_SLICE("a@x"), SMX_SLICE("a@xy")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(envelope__copy_outlives_the_line),
        cmocka_unit_test(envelope__null_path_and_loose_parts),
        cmocka_unit_test(envelope__thousand_recipients_keep_their_order),
        cmocka_unit_test(envelope__deletes_by_mailbox),
        cmocka_unit_test(envelope__same_mailbox_minds_the_case_of_local_parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
