/* The commands of the client's machine: written whole into the output or not at all, each with its
 * entry in the queue of outstanding replies (as pgbouncer's outstanding_requests). */
#include <assert.h>

#include "proto/utf8.h"
#include "session/client_machine.h"

void session_client_expect_reply(smx_client_session *s, client_expect what, size_t count)
{
    client_outstanding *o = &s->outstanding;
    assert(count > 0);
    size_t last = (o->first + o->used + CLIENT_RUNS - 1) % CLIENT_RUNS;
    if (o->used > 0 && o->runs[last].what == what) {
        o->runs[last].count += count;
        return;
    }
    /* The longest queue is RSET, MAIL, RCPT, DATA. */
    assert(o->used < CLIENT_RUNS);
    size_t next = (o->first + o->used) % CLIENT_RUNS;
    o->runs[next].what = what;
    o->runs[next].count = count;
    o->used++;
}

client_expect session_client_next_expected(const smx_client_session *s)
{
    const client_outstanding *o = &s->outstanding;
    return o->used == 0 ? EXPECT_NOTHING : o->runs[o->first].what;
}

void session_client_reply_came(smx_client_session *s)
{
    client_outstanding *o = &s->outstanding;
    assert(o->used > 0);
    if (--o->runs[o->first].count > 0)
        return;
    o->first = (o->first + 1) % CLIENT_RUNS;
    o->used--;
}

int session_client_write(smx_client_session *s, client_expect what, const char *line)
{
    int error = buffer_append_text(&s->output, line);
    if (error == 0)
        session_client_expect_reply(s, what, 1);
    return error;
}

int session_client_write_hello(smx_client_session *s, const char *verb)
{
    smx_slice name = s->options.helo;
    int error = buffer_printf(&s->output, "%s %.*s\r\n", verb, (int)name.len, name.data);
    if (error == 0)
        session_client_expect_reply(s, EXPECT_EHLO, 1);
    return error;
}

static bool client_needs_utf8(const smx_client_transaction *t)
{
    for (size_t r = 0; r < t->recipient_count; r++)
        if (utf8_is_needed(t->recipients[r].path.mailbox))
            return true;
    return false;
}

int session_client_write_mail(smx_client_session *s)
{
    const smx_client_transaction *given = &s->transaction.given;
    smx_mail mail = given->mail;
    if (given->has_size) {
        mail.has_size = true;
        mail.size = given->size;
    }
    /* An address of a recipient is reason enough (RFC 6531 section 3.4). */
    mail.smtputf8 |= client_needs_utf8(given);
    int error = buffer_reserve(&s->output, SMX_MAIL_LINE_MAX);
    if (error != 0)
        return error;
    size_t written;
    error = smx_mail_write(&mail, s->capabilities.extensions, s->output.data + s->output.end,
                           SMX_MAIL_LINE_MAX, &written);
    if (error != 0)
        return SMX_E_INVALID;
    s->output.end += written;
    session_client_expect_reply(s, EXPECT_MAIL, 1);
    return 0;
}

int session_client_write_rcpt(smx_client_session *s, size_t index)
{
    int error = buffer_reserve(&s->output, SMX_MAIL_LINE_MAX);
    if (error != 0)
        return error;
    size_t written;
    error = smx_rcpt_write(&s->transaction.given.recipients[index], s->capabilities.extensions,
                           s->output.data + s->output.end, SMX_MAIL_LINE_MAX, &written);
    if (error != 0)
        return SMX_E_INVALID;
    s->output.end += written;
    session_client_expect_reply(s, EXPECT_RCPT, 1);
    s->transaction.rcpt_sent++;
    return 0;
}

int session_client_append_base64(buffer *b, smx_slice octets)
{
    size_t size = smx_base64_size(octets.len);
    int error = buffer_reserve(b, size);
    if (error != 0)
        return error;
    size_t len;
    error = smx_base64_encode(octets, b->data + b->end, size, &len);
    if (error == 0)
        b->end += len;
    return error;
}
