/* Every allocation fails once, in turn: nothing leaks, nothing crashes, the budget is given back, and
 * what there was before is still there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "mail/envelope.h"
#include "mail/missing_fields.h"
#include "mail/rewrite_from.h"
#include "support/fail_malloc.h"

static int fill_message(void)
{
    static const char piece[10000];
    smx_budget *budget = NULL;
    smx_message *message = NULL;
    int error = smx_budget_new(0, &budget);
    smx_message_options options = {.version = SMX_MESSAGE_VERSION, .budget = budget};
    if (error == 0)
        error = smx_message_new(&options, &message);
    for (size_t i = 0; error == 0 && i < 40; i++) {
        uint64_t before = smx_message_size(message);
        error = smx_message_append(message, slice_of(piece, sizeof(piece)));
        assert_int_equal(smx_message_size(message), before + (error == 0 ? sizeof(piece) : 0));
    }
    smx_message_free(message);
    if (budget != NULL)
        assert_int_equal(smx_budget_used(budget), 0);
    smx_budget_free(budget);
    return error;
}

static int edit_header(void)
{
    static const char header[] = "A: 1\r\nB: 2\r\n";
    smx_header_edit *edit = NULL;
    int error = smx_header_edit_new(slice_of_text(header), &edit);
    if (error != 0)
        return error;
    static char value[600];
    memset(value, 'v', sizeof(value));
    smx_slice result;
    size_t before = 0;
    for (size_t i = 0; error == 0 && i < 4; i++) {
        assert_int_equal(smx_header_edit_result(edit, &result), 0);
        before = result.len;
        smx_slice v = slice_of(value, sizeof(value));
        error = i == 0   ? smx_header_edit_prepend(edit, SMX_SLICE("X"), v)
                : i == 1 ? smx_header_edit_append(edit, SMX_SLICE("Y"), v)
                : i == 2 ? smx_header_edit_change(edit, SMX_SLICE("A"), 0, v)
                         : smx_header_edit_delete(edit, SMX_SLICE("B"), 0);
    }
    assert_int_equal(smx_header_edit_result(edit, &result), 0);
    assert_true(error == 0 || result.len == before);
    smx_header_edit_free(edit);
    return error;
}

static int change_from(void)
{
    buffer out = {0};
    static char header[3000];
    memset(header, 'h', sizeof(header));
    memcpy(header, "From: a@x, b@x\r\nX: ", 19);
    memcpy(header + sizeof(header) - 2, "\r\n", 2);
    int error = rewrite_from(slice_of(header, sizeof(header)), SMX_SLICE("me@x"), true, &out);
    if (error != 0)
        assert_int_equal(buffer_length(&out), 0);
    buffer_free(&out);
    return error;
}

/* Behind a field that is there already, so that the buffer has to grow. */
static int add_fields(void)
{
    static char host[300];
    buffer out = {0};
    memset(host, 'h', sizeof(host));
    missing_fields wanted = {.date = true,
                             .message_id = true,
                             .id = SMX_SLICE("id"),
                             .host = slice_of(host, sizeof(host))};
    int error = buffer_append(&out, SMX_SLICE("Received: x\r\n"));
    size_t before = buffer_length(&out);
    if (error == 0)
        error = missing_fields_write(&wanted, SMX_SLICE("Subject: x\r\n"), &out);
    if (error != 0)
        assert_int_equal(buffer_length(&out), before);
    buffer_free(&out);
    return error;
}

static int build_envelope(void)
{
    arena a = {0};
    size_t capacity = 0;
    smx_envelope envelope = {0};
    smx_mail mail = {
        .path = {.mailbox = SMX_SLICE("a@x"), .local = SMX_SLICE("a"), .domain = SMX_SLICE("x")},
        .envid = SMX_SLICE("e"),
        .auth = SMX_SLICE("f")};
    smx_rcpt rcpt = {.path = mail.path, .orcpt = SMX_SLICE("rfc822;a@x")};
    int error = envelope_set_mail(&envelope, &a, &mail);
    for (size_t i = 0; error == 0 && i < 100; i++) {
        error = envelope_add_rcpt(&envelope, &a, &rcpt, &capacity);
        assert_int_equal(envelope.recipient_count, error == 0 ? i + 1 : i);
    }
    arena_free(&a);
    return error;
}

static void mail_oom__message(void **state)
{
    (void)state;
    fail_malloc_each(fill_message);
}

static void mail_oom__header_edit(void **state)
{
    (void)state;
    fail_malloc_each(edit_header);
}

static void mail_oom__rewrite_from(void **state)
{
    (void)state;
    fail_malloc_each(change_from);
}

static void mail_oom__missing_fields(void **state)
{
    (void)state;
    fail_malloc_each(add_fields);
}

static void mail_oom__envelope(void **state)
{
    (void)state;
    fail_malloc_each(build_envelope);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mail_oom__message),      cmocka_unit_test(mail_oom__header_edit),
        cmocka_unit_test(mail_oom__rewrite_from), cmocka_unit_test(mail_oom__missing_fields),
        cmocka_unit_test(mail_oom__envelope),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
