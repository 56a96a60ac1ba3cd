/* MAIL, RCPT and their writers: what they promise beyond what the transcripts show. */
#include "test_proto.h"

enum { ALL = 0x3ffff };

static void proto_mail__is_written_only_on_success(void **state)
{
    (void)state;
    smx_mail mail = {.size = 77};
    assert_non_null(smx_mail_parse(SMX_SLICE("FROM:<a@b> SIZE=1 SIZE=2"), ALL, &mail));
    assert_int_equal(mail.size, 77);
    assert_null(smx_mail_parse(SMX_SLICE("FROM:<a@b> SIZE=1"), ALL, &mail));
    assert_int_equal(mail.size, 1);
}

static void proto_rcpt__is_written_only_on_success(void **state)
{
    (void)state;
    smx_rcpt rcpt = {.notify = 77};
    assert_non_null(smx_rcpt_parse(SMX_SLICE("TO:<a@b> NOTIFY=DELAY X"), ALL, false, &rcpt));
    assert_int_equal(rcpt.notify, 77);
}

static void proto_mail__old_values_do_not_survive(void **state)
{
    (void)state;
    smx_mail mail;
    memset(&mail, 0xff, sizeof(mail));
    assert_null(smx_mail_parse(SMX_SLICE("FROM:<>"), ALL, &mail));
    assert_false(mail.has_size || mail.has_auth || mail.smtputf8 || mail.requiretls);
    assert_int_equal(mail.size, 0);
    assert_int_equal(mail.body, SMX_BODY_NONE);
    assert_int_equal(mail.ret, SMX_RET_NONE);
    assert_int_equal(mail.envid.len + mail.auth.len + mail.path.mailbox.len, 0);
}

/* Every parameter is unknown without the very extension it belongs to, and known with it alone. */
static void proto_mail__every_parameter_needs_its_extension(void **state)
{
    (void)state;
    static const struct {
        const char *argument;
        smx_extensions needed;
    } rows[] = {
        {"FROM:<a@b> SIZE=1", SMX_EXT_SIZE},
        {"FROM:<a@b> BODY=8BITMIME", SMX_EXT_8BITMIME},
        {"FROM:<a@b> AUTH=<>", SMX_EXT_AUTH},
        {"FROM:<a@b> SMTPUTF8", SMX_EXT_SMTPUTF8},
        {"FROM:<a@b> REQUIRETLS", SMX_EXT_REQUIRETLS},
        {"FROM:<a@b> RET=FULL", SMX_EXT_DSN},
        {"FROM:<a@b> ENVID=x", SMX_EXT_DSN},
    };
    for (size_t i = 0; i < TEST_COUNT(rows); i++) {
        smx_mail mail;
        smx_slice argument = slice_of_text(rows[i].argument);
        const smx_reply *wrong = smx_mail_parse(argument, ALL & ~rows[i].needed, &mail);
        assert_non_null(wrong);
        assert_int_equal(wrong->code, 555);
        assert_null(smx_mail_parse(argument, rows[i].needed, &mail));
    }
}

static void proto_mail__no_prefix_of_a_command_reads_beyond_it(void **state)
{
    (void)state;
    smx_slice whole =
        SMX_SLICE("FROM:<\"a b\"@[IPv6:::1]> SIZE=12 AUTH=a+2B BODY=8BITMIME RET=FULL "
                  "ENVID=+41 SMTPUTF8 REQUIRETLS");
    smx_mail mail;
    size_t right = 0;
    for (size_t len = 0; len <= whole.len; len++) {
        char *exact = malloc(len + 1);
        memcpy(exact, whole.data, len);
        char *end = realloc(exact, len == 0 ? 1 : len);
        assert_non_null(end);
        right += smx_mail_parse(slice_of(end, len), ALL, &mail) == NULL;
        free(end);
    }
    assert_null(smx_mail_parse(whole, ALL, &mail));
    assert_in_range(right, 10, 25);
}

static void proto_mail_write__longest_line_fits(void **state)
{
    (void)state;
    char envid[100];
    char local[64];
    char auth[500];
    char mailbox[64 + 1 + 8];
    memset(envid, 'e', sizeof(envid));
    memset(local, 'l', sizeof(local));
    memset(auth, 'a', sizeof(auth));
    memcpy(mailbox, local, 64);
    memcpy(mailbox + 64, "@b.exampl", 9);
    smx_mail mail = {.path = {.mailbox = {mailbox, sizeof(mailbox)}},
                     .has_size = true,
                     .has_auth = true,
                     .smtputf8 = true,
                     .requiretls = true,
                     .size = UINT64_MAX,
                     .body = SMX_BODY_BINARYMIME,
                     .ret = SMX_RET_FULL,
                     .envid = {envid, sizeof(envid)},
                     .auth = {auth, sizeof(auth)}};
    char line[SMX_MAIL_LINE_MAX];
    size_t len = 0;
    assert_int_equal(smx_mail_write(&mail, ALL, line, sizeof(line), &len), 0);
    for (size_t capacity = 0; capacity < len; capacity++) {
        size_t none = 77;
        assert_int_equal(smx_mail_write(&mail, ALL, line, capacity, &none), SMX_E_RANGE);
        assert_int_equal(none, 77);
    }
}

/* ATTACKS row 20: any one octet anywhere in the mailbox, and no second line comes of it. */
static void proto_mail_write__no_octet_forges_a_line(void **state)
{
    (void)state;
    for (int c = 0; c < 256; c++) {
        for (size_t place = 0; place < 11; place++) {
            char text[] = "abc@def.ghi";
            char line[SMX_MAIL_LINE_MAX];
            size_t len = 0;
            text[place] = (char)c;
            smx_mail mail = {.path = {.mailbox = slice_of(text, 11)}};
            smx_rcpt rcpt = {.path = {.mailbox = slice_of(text, 11)}};
            bool bad = c < ' ' || c == 0x7f || c == '>' || c == '<' || c == ' ';
            int error = smx_mail_write(&mail, ALL, line, sizeof(line), &len);
            assert_true(error == 0 ? !bad : error == SMX_E_INVALID);
            error = smx_rcpt_write(&rcpt, ALL, line, sizeof(line), &len);
            assert_true(error == 0 ? !bad : error == SMX_E_INVALID);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(proto_mail__is_written_only_on_success),
        cmocka_unit_test(proto_rcpt__is_written_only_on_success),
        cmocka_unit_test(proto_mail__old_values_do_not_survive),
        cmocka_unit_test(proto_mail__every_parameter_needs_its_extension),
        cmocka_unit_test(proto_mail__no_prefix_of_a_command_reads_beyond_it),
        cmocka_unit_test(proto_mail_write__longest_line_fits),
        cmocka_unit_test(proto_mail_write__no_octet_forges_a_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
