/* What passes of an EHLO reply (DESIGN 4.14): the keywords that are registered and that the relay can
 * honour, those of the configuration, STARTTLS by our own TLS, AUTH where it may be used. The order and
 * the octets of what passes stay. */
#include "proxy/relay_machine.h"

bool relay_offers_starttls(const relay *r)
{
    relay_tls tls = r->options->client_tls;
    return (tls == RELAY_TLS_OFFERED || tls == RELAY_TLS_REQUIRED) && !r->client_tls;
}

static smx_slice keyword_of(smx_slice line)
{
    size_t blank = slice_find(line, ' ');
    size_t sign = slice_find(line, '=');
    return slice_to(line, blank < sign ? blank : sign);
}

static bool is_registered(smx_slice keyword)
{
    static const smx_slice keywords[] = {
#define RELAY_KEYWORD(bit, name, text) SMX_SLICE(text),
        SMX_EXTENSION_MAP(RELAY_KEYWORD)
#undef RELAY_KEYWORD
            SMX_SLICE("EXPN"),
        SMX_SLICE("NO-SOLICITING"), /* RFC 3865 */
        SMX_SLICE("MTRK"),          /* RFC 3885 */
        SMX_SLICE("CONPERM"),       /* RFC 4141 */
        SMX_SLICE("CONNEG"),
        SMX_SLICE("SUBMITTER"),     /* RFC 4405 */
        SMX_SLICE("FUTURERELEASE"), /* RFC 4865 */
        SMX_SLICE("UTF8SMTP"),      /* RFC 5336 */
        SMX_SLICE("RRVS"),          /* RFC 7293 */
        SMX_SLICE("PRDR"),          /* draft-hall-prdr */
    };
    for (size_t i = 0; i < sizeof(keywords) / sizeof(keywords[0]); i++)
        if (slice_equal_nocase(keyword, keywords[i]))
            return true;
    return false;
}

static bool is_configured(const relay *r, smx_slice keyword)
{
    for (size_t i = 0; i < r->options->extension_count; i++)
        if (slice_equal_nocase(keyword, r->options->extensions[i]))
            return true;
    return false;
}

/* A line without a keyword, as Postfix's smtp-sink has, offers nothing. */
static bool passes(const relay *r, smx_slice keyword)
{
    if (keyword.len == 0)
        return true;
    if (slice_equal_nocase(keyword, SMX_SLICE("STARTTLS")))
        return r->options->client_tls == RELAY_TLS_PASSED;
    if (slice_equal_nocase(keyword, SMX_SLICE("AUTH")))
        return relay_offers_auth(r);
    if (slice_equal_nocase(keyword, SMX_SLICE("XCLIENT")) ||
        slice_equal_nocase(keyword, SMX_SLICE("XFORWARD")))
        return r->may_xclient;
    return is_registered(keyword) || is_configured(r, keyword);
}

bool relay_ends_tls(const relay *r)
{
    return r->options->client_tls != RELAY_TLS_PASSED || r->upstream_tls;
}

/* The mechanisms that pass, each behind `mark`, which is a blank from the second on: the obsolete form
 * has "AUTH=" before the first. False: none of them does. */
static bool write_mechanisms(relay *r, smx_slice words, char mark, int *error)
{
    smx_slice word;
    bool some = false;
    while (*error == 0 && slice_cut(&words, ' ', &word)) {
        if (relay_is_bound_mechanism(word))
            continue;
        *error = buffer_append_char(&r->scratch, some ? ' ' : mark);
        if (*error == 0)
            *error = buffer_append(&r->scratch, word);
        some = true;
    }
    return some;
}

/* The AUTH line without the mechanisms that cannot pass; nothing if there are none but these. */
static int write_auth(relay *r, smx_slice raw)
{
    size_t at = buffer_length(&r->scratch);
    size_t prefix = 4 + SMX_SLICE("AUTH").len;
    smx_slice words = slice_to(slice_from(raw, prefix), raw.len - prefix - 2);
    int error = buffer_append(&r->scratch, slice_to(raw, prefix));
    if (words.len > 0 && !write_mechanisms(r, slice_from(words, 1), words.data[0], &error)) {
        buffer_truncate(&r->scratch, at);
        return error;
    }
    return error == 0 ? buffer_append_text(&r->scratch, "\r\n") : error;
}

static bool has_bound_mechanism(smx_slice line)
{
    smx_slice word;
    while (slice_cut(&line, ' ', &word))
        if (relay_is_bound_mechanism(word))
            return true;
    return false;
}

static int write_line(relay *r, smx_slice raw, smx_slice line, bool first)
{
    bool is_auth = !first && slice_equal_nocase(keyword_of(line), SMX_SLICE("AUTH"));
    if (is_auth && relay_ends_tls(r) && has_bound_mechanism(line))
        return write_auth(r, raw);
    return buffer_append(&r->scratch, raw);
}

static int write_starttls(relay *r, const smx_reply_lines *reply)
{
    int error = buffer_append(&r->scratch, slice_to(reply->raw, 3));
    return error == 0 ? buffer_append_text(&r->scratch, "-STARTTLS\r\n") : error;
}

/* All lines but the last bear a hyphen. A line of its code alone gets its separator. */
static int mark_lines(relay *r)
{
    buffer *b = &r->scratch;
    for (size_t at = b->start; at < b->end;) {
        smx_slice rest = slice_of(b->data + at, b->end - at);
        size_t end = slice_find(rest, '\n') + 1;
        bool last = end == rest.len;
        if (rest.data[3] != '\r') {
            b->data[at + 3] = last ? ' ' : '-';
        } else if (!last) {
            if (buffer_append_char(b, '\0') != 0)
                return SMX_E_NOMEM;
            memmove(b->data + at + 4, b->data + at + 3, b->end - 1 - (at + 3));
            b->data[at + 3] = '-';
            end++;
        }
        at += end;
    }
    return 0;
}

static int filter_hello(relay *r, const smx_reply_lines *reply)
{
    size_t at = 0;
    smx_slice line;
    int error = 0;
    buffer_clear(&r->scratch);
    while (error == 0) {
        size_t start = at;
        if (!smx_reply_next_line(reply, &at, &line))
            break;
        if (start == 0 || passes(r, keyword_of(line)))
            error = write_line(r, slice_to(slice_from(reply->raw, start), at - start), line,
                               start == 0);
    }
    if (error == 0 && relay_offers_starttls(r))
        error = write_starttls(r, reply);
    return error == 0 ? mark_lines(r) : error;
}

/* ---- the reply before ---- */

/* All of the session that `filter_hello` and relay_offers_auth look at. */
static uint8_t session_of(const relay *r)
{
    return (uint8_t)(r->client_tls | r->upstream_tls << 1 | r->upstream_verified << 2 |
                     r->may_xclient << 3);
}

static bool remembers(const relay *r, const smx_reply_lines *reply)
{
    const relay_hello_memory *m = r->options->hello;
    return m != NULL && m->said_length > 0 && m->session == session_of(r) &&
           slice_equal(slice_of(m->said, m->said_length), reply->raw);
}

static void remember(const relay *r, const smx_reply_lines *reply)
{
    relay_hello_memory *m = r->options->hello;
    smx_slice passed = buffer_slice(&r->scratch);
    if (m == NULL || reply->raw.len > sizeof(m->said) || passed.len > sizeof(m->passed))
        return;
    m->offered = r->offered;
    m->auth_hidden = r->auth_hidden;
    m->session = session_of(r);
    m->said_length = (uint16_t)reply->raw.len;
    m->passed_length = (uint16_t)passed.len;
    memcpy(m->said, reply->raw.data, reply->raw.len);
    memcpy(m->passed, passed.data, passed.len);
}

static void recall(relay *r, relay_event *event)
{
    const relay_hello_memory *m = r->options->hello;
    r->offered = m->offered;
    r->auth_hidden = m->auth_hidden;
    event->text = slice_of(m->passed, m->passed_length);
}

void relay_pass_hello(relay *r, const smx_reply_lines *reply, relay_event *event)
{
    if (remembers(r, reply)) {
        recall(r, event);
        return;
    }
    smx_capabilities capabilities;
    smx_capabilities_parse(reply, &capabilities);
    r->offered = capabilities.extensions;
    r->auth_hidden = (r->offered & SMX_EXT_AUTH) != 0 && !relay_offers_auth(r);
    if (filter_hello(r, reply) != 0) {
        event->type = RELAY_NONE;
        relay_fail(r);
        return;
    }
    remember(r, reply);
    event->text = buffer_slice(&r->scratch);
}
