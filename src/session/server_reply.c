/* The replies of the server's machine: its own, the owner's, the banner and the EHLO reply. All go
 * into the session's output buffer, in the order in which they are made. */
#include <assert.h>
#include <inttypes.h>

#include "session/server_states.h"

const smx_reply session_server_replies[SERVER_REPLY_COUNT] = {
#define SERVER_REPLY_ROW(name, code, class_digit, subject, detail, text)                           \
    [SERVER_REPLY_##name] = {code, {class_digit, subject, detail}, {(text), sizeof(text) - 1}},
    SERVER_REPLY_MAP(SERVER_REPLY_ROW)
#undef SERVER_REPLY_ROW
};

/* What this machine knows how to do; the owner may offer no more. */
static const smx_extensions supported =
    SMX_EXT_PIPELINING | SMX_EXT_SIZE | SMX_EXT_8BITMIME | SMX_EXT_STARTTLS | SMX_EXT_AUTH |
    SMX_EXT_ENHANCEDSTATUSCODES | SMX_EXT_CHUNKING | SMX_EXT_BINARYMIME | SMX_EXT_SMTPUTF8 |
    SMX_EXT_DSN | SMX_EXT_REQUIRETLS | SMX_EXT_LIMITS | SMX_EXT_XCLIENT | SMX_EXT_HELP |
    SMX_EXT_VRFY;

smx_slice session_server_mechanisms(const smx_server_session *s)
{
    if (s->tls)
        return s->options.auth_tls;
    if (s->options.tls_required)
        return slice_of(NULL, 0);
    return s->options.auth_clear;
}

smx_extensions session_server_offered(const smx_server_session *s)
{
    smx_extensions offered = s->options.offered & supported;
    if (s->tls)
        offered &= ~(smx_extensions)SMX_EXT_STARTTLS; /* RFC 3207 section 4.2 */
    else
        offered &= ~(smx_extensions)SMX_EXT_REQUIRETLS; /* RFC 8689 section 2 */
    if (session_server_mechanisms(s).len == 0)
        offered &= ~(smx_extensions)SMX_EXT_AUTH;
    if (!s->options.xclient)
        offered &= ~(smx_extensions)SMX_EXT_XCLIENT;
    if ((offered & SMX_EXT_CHUNKING) == 0)
        offered &= ~(smx_extensions)SMX_EXT_BINARYMIME; /* RFC 3030 section 3 */
    return offered;
}

void session_server_nomem(smx_server_session *s)
{
    session_server_close(s, SMX_CLOSE_NOMEM, SERVER_REPLY(NOMEM));
}

static smx_slice default_text(uint16_t code)
{
    if (code == SERVER_REPLY(DATA)->code)
        return SERVER_REPLY(DATA)->text;
    return code < 400 ? SMX_SLICE("OK") : SMX_SLICE("Refused");
}

/* The class of the enhanced code is the first digit of the code (RFC 2034 section 4). */
static smx_reply complete(const smx_reply *reply)
{
    smx_reply whole = *reply;
    uint16_t class_digit = (uint16_t)(reply->code / 100);
    if (whole.enhanced.class_digit == 0)
        whole.enhanced = (smx_enhanced){0};
    whole.enhanced.class_digit = class_digit;
    if (whole.text.len == 0)
        whole.text = default_text(reply->code);
    return whole;
}

int session_server_write(smx_server_session *s, const smx_reply *reply)
{
    smx_reply whole = complete(reply);
    bool enhanced = (s->options.offered & SMX_EXT_ENHANCEDSTATUSCODES) != 0 && !s->plain &&
                    whole.code / 100 != 3;
    size_t size = smx_reply_size(&whole);
    int error = buffer_reserve(&s->output, size);
    if (error != 0)
        return error;
    size_t written;
    error = smx_reply_write(&whole, enhanced, s->output.data + s->output.end, size, &written);
    assert(error == 0);
    if (error != 0)
        return error;
    s->output.end += written;
    return 0;
}

void session_server_reply_each(smx_server_session *s, const smx_reply *replies, size_t count)
{
    const smx_reply *worst = &replies[0];
    for (size_t i = 0; i < count; i++) {
        if (session_server_write(s, &replies[i]) != 0) {
            session_server_nomem(s);
            return;
        }
        if (replies[i].code < worst->code)
            worst = &replies[i];
    }
    s->plain = false;
    session_server_count_reply(s, worst);
}

void session_server_reply(smx_server_session *s, const smx_reply *reply)
{
    session_server_reply_each(s, reply, 1);
}

void session_server_write_banner(smx_server_session *s, smx_slice text)
{
    smx_slice said = text.len > 0                ? text
                     : s->options.banner.len > 0 ? s->options.banner
                                                 : SMX_SLICE("ESMTP smtpmux");
    buffer_clear(&s->scratch);
    if (buffer_append(&s->scratch, s->options.hostname) != 0 ||
        buffer_append_char(&s->scratch, ' ') != 0 || buffer_append(&s->scratch, said) != 0) {
        session_server_nomem(s);
        return;
    }
    s->plain = true;
    session_server_reply(s, &(smx_reply){.code = 220, .text = buffer_slice(&s->scratch)});
}

/* ---- The EHLO reply: a line for each extension, with its parameters ---- */

static int append_size(const smx_server_session *s, buffer *b)
{
    if (s->options.max_size == 0)
        return 0;
    return buffer_printf(b, " %" PRIu64, s->options.max_size);
}

static int append_mechanisms(const smx_server_session *s, buffer *b)
{
    int error = buffer_append_char(b, ' ');
    return error != 0 ? error : buffer_append(b, session_server_mechanisms(s));
}

/* RFC 9422 section 4: the limits that are enforced. */
static int append_limits(const smx_server_session *s, buffer *b)
{
    int error = buffer_printf(b, " RCPTMAX=%" PRIu32, s->options.max_recipients);
    if (error != 0 || s->options.max_transactions == 0)
        return error;
    return buffer_printf(b, " MAILMAX=%" PRIu32, s->options.max_transactions);
}

static int append_xclient(const smx_server_session *s, buffer *b)
{
    (void)s;
#define XCLIENT_WORD(name) " " #name
    return buffer_append_text(b, SMX_XCLIENT_MAP(XCLIENT_WORD));
#undef XCLIENT_WORD
}

static const struct {
    smx_extensions extension;
    const char *keyword;
} keywords[] = {
#define KEYWORD_ROW(bit, name, text) {SMX_EXT_##name, text},
    SMX_EXTENSION_MAP(KEYWORD_ROW)
#undef KEYWORD_ROW
};

static const struct {
    smx_extensions extension;
    int (*append)(const smx_server_session *s, buffer *b);
} parameters[] = {
    {SMX_EXT_SIZE, append_size},
    {SMX_EXT_AUTH, append_mechanisms},
    {SMX_EXT_LIMITS, append_limits},
    {SMX_EXT_XCLIENT, append_xclient},
};

static int append_parameters(const smx_server_session *s, smx_extensions extension, buffer *b)
{
    for (size_t i = 0; i < sizeof(parameters) / sizeof(parameters[0]); i++)
        if (parameters[i].extension == extension)
            return parameters[i].append(s, b);
    return 0;
}

static int append_extensions(const smx_server_session *s, buffer *b)
{
    smx_extensions offered = session_server_offered(s);
    for (size_t i = 0; i < sizeof(keywords) / sizeof(keywords[0]); i++) {
        if ((offered & keywords[i].extension) == 0)
            continue;
        int error = buffer_append_char(b, '\n');
        if (error == 0)
            error = buffer_append_text(b, keywords[i].keyword);
        if (error == 0)
            error = append_parameters(s, keywords[i].extension, b);
        if (error != 0)
            return error;
    }
    return 0;
}

/* "hostname greeting" and, but for HELO, the extensions (RFC 5321 section 4.1.1.1). */
static int compose_hello(const smx_server_session *s, smx_slice text, buffer *b)
{
    smx_slice greeting = slice_to(text, slice_find(text, '\n'));
    buffer_clear(b);
    int error = buffer_append(b, s->options.hostname);
    if (error == 0 && greeting.len > 0)
        error = buffer_append_char(b, ' ');
    if (error == 0)
        error = buffer_append(b, greeting);
    if (error == 0 && s->esmtp)
        error = append_extensions(s, b);
    return error;
}

void session_server_write_hello(smx_server_session *s, const smx_reply *reply)
{
    if (compose_hello(s, reply->text, &s->scratch) != 0) {
        session_server_nomem(s);
        return;
    }
    s->plain = true;
    session_server_reply(s, &(smx_reply){.code = 250, .text = buffer_slice(&s->scratch)});
}

/* "334 " and the challenge; not cut into lines of 512 octets (RFC 4954 section 4). */
void session_server_write_challenge(smx_server_session *s, smx_slice text)
{
    static const smx_slice start = SMX_SLICE("334 "), end = SMX_SLICE("\r\n");
    size_t encoded = smx_base64_size(text.len);
    size_t before = buffer_length(&s->output);
    if (buffer_reserve(&s->output, start.len + encoded + end.len) != 0) {
        session_server_nomem(s);
        return;
    }
    size_t written = 0;
    int error = buffer_append(&s->output, start);
    if (error == 0)
        error = smx_base64_encode(text, s->output.data + s->output.end, encoded, &written);
    if (error == 0) {
        s->output.end += written;
        error = buffer_append(&s->output, end);
    }
    if (error != 0) {
        buffer_truncate(&s->output, before);
        session_server_nomem(s);
        return;
    }
    s->errors = 0;
}

void session_server_defer(smx_server_session *s, const smx_reply *reply, uint32_t copies)
{
    buffer_clear(&s->deferred_text);
    if (buffer_append(&s->deferred_text, reply->text) != 0) {
        session_server_nomem(s);
        return;
    }
    s->deferred = *reply;
    s->deferred.text = buffer_slice(&s->deferred_text);
    s->deferred_copies = copies == 0 ? 1 : copies;
}

void session_server_reply_deferred(smx_server_session *s)
{
    for (uint32_t i = 1; i < s->deferred_copies; i++) {
        if (session_server_write(s, &s->deferred) != 0) {
            session_server_nomem(s);
            return;
        }
    }
    session_server_reply(s, &s->deferred);
}
