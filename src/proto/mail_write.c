/* MAIL and RCPT as they go to a server (RFC 5321 section 4.1.1.2 and 4.1.1.3). Pure. Every value is
 * judged by the rules of the parser, whoever made it: nothing here can begin a second line. */
#include "proto/params.h"
#include "proto/utf8.h"
#include "proto/writer.h"

static bool mail_offers(smx_extensions offered, smx_extensions needed)
{
    return (offered & needed) == needed;
}

/* The mailbox in its brackets, if it is one: 0, SMX_E_INVALID, or SMX_E_UNSUPPORTED for an address
 * that this peer cannot take (RFC 6531 section 3.2). */
static int mail_write_path(writer *w, const smx_path *path, unsigned flags, smx_extensions offered)
{
    smx_path checked;
    if (smx_mailbox_parse(path->mailbox, flags | SMX_PATH_UTF8, &checked) != 0)
        return SMX_E_INVALID;
    if (checked.utf8 && !mail_offers(offered, SMX_EXT_SMTPUTF8))
        return SMX_E_UNSUPPORTED;
    writer_char(w, '<');
    writer_slice(w, path->mailbox);
    writer_char(w, '>');
    return 0;
}

static int mail_write_body(writer *w, smx_body body, smx_extensions offered)
{
    switch (body) {
    case SMX_BODY_NONE:
        return 0;
    case SMX_BODY_7BIT:
    case SMX_BODY_8BITMIME:
        if (mail_offers(offered, SMX_EXT_8BITMIME))
            writer_text(w, body == SMX_BODY_7BIT ? " BODY=7BIT" : " BODY=8BITMIME");
        return 0;
    case SMX_BODY_BINARYMIME:
        if (mail_offers(offered, SMX_EXT_BINARYMIME | SMX_EXT_CHUNKING))
            writer_text(w, " BODY=BINARYMIME");
        return 0;
    }
    return SMX_E_INVALID;
}

static int mail_write_dsn(writer *w, const smx_mail *mail, smx_extensions offered)
{
    if (mail->envid.len > 0 && !param_envid_is_valid(mail->envid))
        return SMX_E_INVALID;
    if (!mail_offers(offered, SMX_EXT_DSN))
        return 0;
    if (mail->ret != SMX_RET_NONE)
        writer_text(w, mail->ret == SMX_RET_FULL ? " RET=FULL" : " RET=HDRS");
    if (mail->envid.len > 0) {
        writer_text(w, " ENVID=");
        writer_slice(w, mail->envid);
    }
    return 0;
}

static int mail_write_auth(writer *w, const smx_mail *mail, smx_extensions offered)
{
    if (!mail->has_auth)
        return 0;
    if (!param_auth_is_valid(mail->auth))
        return SMX_E_INVALID;
    if (mail_offers(offered, SMX_EXT_AUTH)) {
        writer_text(w, " AUTH=");
        writer_slice(w, mail->auth);
    }
    return 0;
}

int smx_mail_write(const smx_mail *mail, smx_extensions offered, char *out, size_t capacity,
                   size_t *written)
{
    writer w = writer_to(out, capacity);
    writer_text(&w, "MAIL FROM:");
    int error = mail_write_path(&w, &mail->path, SMX_PATH_NULL, offered);
    if (error != 0)
        return error;
    if (mail->has_size && mail_offers(offered, SMX_EXT_SIZE)) {
        writer_text(&w, " SIZE=");
        writer_number(&w, mail->size);
    }
    error = mail_write_body(&w, mail->body, offered);
    if (error == 0 && mail_offers(offered, SMX_EXT_SMTPUTF8) &&
        (mail->smtputf8 || utf8_is_needed(mail->path.mailbox)))
        writer_text(&w, " SMTPUTF8");
    if (error == 0 && mail->requiretls && mail_offers(offered, SMX_EXT_REQUIRETLS))
        writer_text(&w, " REQUIRETLS");
    if (error == 0)
        error = mail_write_dsn(&w, mail, offered);
    if (error == 0)
        error = mail_write_auth(&w, mail, offered);
    if (error != 0)
        return error;
    writer_text(&w, "\r\n");
    return writer_end(&w, written);
}

static void mail_write_notify(writer *w, unsigned notify)
{
    char separator = '=';
    writer_text(w, " NOTIFY");
#define MAIL_WRITE_NOTIFY(name)                                                                    \
    if ((notify & SMX_NOTIFY_##name) != 0) {                                                       \
        writer_char(w, separator);                                                                 \
        writer_text(w, #name);                                                                     \
        separator = ',';                                                                           \
    }
    PARAM_NOTIFY_MAP(MAIL_WRITE_NOTIFY)
#undef MAIL_WRITE_NOTIFY
}

int smx_rcpt_write(const smx_rcpt *rcpt, smx_extensions offered, char *out, size_t capacity,
                   size_t *written)
{
    writer w = writer_to(out, capacity);
    bool utf8 = mail_offers(offered, SMX_EXT_SMTPUTF8);
    writer_text(&w, "RCPT TO:");
    int error = mail_write_path(&w, &rcpt->path, SMX_PATH_POSTMASTER, offered);
    if (error != 0)
        return error;
    if (rcpt->notify != 0 && !param_notify_is_valid(rcpt->notify))
        return SMX_E_INVALID;
    if (rcpt->orcpt.len > 0 && !param_orcpt_is_valid(rcpt->orcpt, utf8))
        return SMX_E_INVALID;
    if (rcpt->notify != 0 && mail_offers(offered, SMX_EXT_DSN))
        mail_write_notify(&w, rcpt->notify);
    if (rcpt->orcpt.len > 0 && mail_offers(offered, SMX_EXT_DSN)) {
        writer_text(&w, " ORCPT=");
        writer_slice(&w, rcpt->orcpt);
    }
    writer_text(&w, "\r\n");
    return writer_end(&w, written);
}
