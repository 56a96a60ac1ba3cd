/* MAIL and RCPT: what was read is written and read again, and must be the same; fewer extensions
 * never allow more; what is written is one line. */
#include "fuzz.h"
#include "smx/proto.h"

enum { PARAMS_ALL = 0x3ffff };

static bool params_same_path(const smx_path *a, const smx_path *b)
{
    return slice_equal(a->mailbox, b->mailbox) && slice_equal(a->local, b->local) &&
           slice_equal(a->domain, b->domain) && a->domain_kind == b->domain_kind &&
           a->utf8 == b->utf8;
}

static bool params_same_mail(const smx_mail *a, const smx_mail *b)
{
    return params_same_path(&a->path, &b->path) && a->has_size == b->has_size &&
           a->size == b->size && a->body == b->body && a->ret == b->ret &&
           slice_equal(a->envid, b->envid) && a->has_auth == b->has_auth &&
           slice_equal(a->auth, b->auth) && a->smtputf8 == b->smtputf8 &&
           a->requiretls == b->requiretls;
}

/* A written line without its CRLF; there is no other control octet in it. */
static smx_slice params_line(const char *line, size_t len)
{
    smx_slice text = slice_of(line, len - 2);
    FUZZ_CHECK(len > 2 && memcmp(line + len - 2, "\r\n", 2) == 0);
    FUZZ_CHECK(!fuzz_has_control(text));
    return text;
}

static void params_check_wrong(const smx_reply *wrong)
{
    FUZZ_CHECK(wrong->code == 501 || wrong->code == 553 || wrong->code == 555);
    FUZZ_CHECK(wrong->enhanced.class_digit == 5 && wrong->text.len > 0);
}

static void params_check_mail(smx_slice argument, smx_extensions offered)
{
    char line[SMX_MAIL_LINE_MAX];
    size_t len;
    smx_mail mail;
    smx_mail again;
    smx_command command;
    const smx_reply *wrong = smx_mail_parse(argument, offered, &mail);
    if (wrong != NULL) {
        params_check_wrong(wrong);
        return;
    }
    FUZZ_CHECK(smx_mail_parse(argument, PARAMS_ALL, &again) == NULL);
    FUZZ_CHECK(params_same_mail(&mail, &again));
    FUZZ_CHECK(smx_mail_write(&mail, offered, line, sizeof(line), &len) == 0);
    smx_command_parse(params_line(line, len), &command);
    FUZZ_CHECK(command.verb == SMX_VERB_MAIL);
    FUZZ_CHECK(smx_mail_parse(command.argument, offered, &again) == NULL);
    FUZZ_CHECK(params_same_mail(&mail, &again));
    int error = smx_mail_write(&mail, 0, line, sizeof(line), &len);
    FUZZ_CHECK(error == (mail.path.utf8 ? SMX_E_UNSUPPORTED : 0));
}

static void params_check_rcpt(smx_slice argument, smx_extensions offered, bool utf8)
{
    char line[SMX_MAIL_LINE_MAX];
    size_t len;
    smx_rcpt rcpt;
    smx_rcpt again;
    smx_command command;
    const smx_reply *wrong = smx_rcpt_parse(argument, offered, utf8, &rcpt);
    if (wrong != NULL) {
        params_check_wrong(wrong);
        return;
    }
    smx_extensions peer = offered | (utf8 ? (smx_extensions)SMX_EXT_SMTPUTF8 : 0);
    FUZZ_CHECK(smx_rcpt_write(&rcpt, peer, line, sizeof(line), &len) == 0);
    smx_command_parse(params_line(line, len), &command);
    FUZZ_CHECK(command.verb == SMX_VERB_RCPT);
    FUZZ_CHECK(smx_rcpt_parse(command.argument, offered, utf8, &again) == NULL);
    FUZZ_CHECK(params_same_path(&rcpt.path, &again.path) && rcpt.notify == again.notify &&
               slice_equal(rcpt.orcpt, again.orcpt));
}

/* The input as values that somebody made up: what is written is one line, or nothing is. */
static void params_check_write(smx_slice in)
{
    char line[SMX_MAIL_LINE_MAX];
    size_t len;
    smx_slice rest = in;
    smx_slice part[3] = {{0}};
    for (size_t i = 0; i < 3 && slice_cut(&rest, '|', &part[i]); i++)
        continue;
    smx_mail mail = {.path = {.mailbox = part[0]}, .envid = part[1], .auth = part[2]};
    mail.has_auth = part[2].len > 0;
    if (smx_mail_write(&mail, PARAMS_ALL, line, sizeof(line), &len) == 0)
        (void)params_line(line, len);
    smx_rcpt rcpt = {.path = {.mailbox = part[0]}, .orcpt = part[1]};
    rcpt.notify = (unsigned)part[2].len;
    if (smx_rcpt_write(&rcpt, PARAMS_ALL, line, sizeof(line), &len) == 0)
        (void)params_line(line, len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    smx_slice in = slice_of((const char *)data, size);
    smx_extensions some = (smx_extensions)(fuzz_cutter_of(FUZZ_RANDOM, in).random & PARAMS_ALL);
    params_check_mail(in, PARAMS_ALL);
    params_check_mail(in, some);
    params_check_rcpt(in, PARAMS_ALL, true);
    params_check_rcpt(in, some, (some & SMX_EXT_SMTPUTF8) != 0);
    params_check_write(in);
    return 0;
}
