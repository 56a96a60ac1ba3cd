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
        SMX_SLICE("CONPERM"),       /* RFC 4141 */
        SMX_SLICE("CONNEG"),
        SMX_SLICE("FUTURERELEASE"), /* RFC 4865 */
        SMX_SLICE("RRVS"),          /* RFC 7293 */
        SMX_SLICE("UTF8SMTP"),      /* RFC 5336 */
        SMX_SLICE("SUBMITTER"),     /* RFC 4405 */
        SMX_SLICE("CHECKPOINT"),    /* RFC 1845 */
        SMX_SLICE("ATRN"),          /* RFC 2645 */
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

static bool passes(const relay *r, smx_slice keyword)
{
    if (slice_equal_nocase(keyword, SMX_SLICE("STARTTLS")))
        return r->options->client_tls == RELAY_TLS_PASSED;
    if (slice_equal_nocase(keyword, SMX_SLICE("AUTH")))
        return relay_offers_auth(r);
    if (slice_equal_nocase(keyword, SMX_SLICE("XCLIENT")))
        return r->may_xclient;
    return is_registered(keyword) || is_configured(r, keyword);
}

/* Some TLS of this session ends here. */
static bool ends_tls(const relay *r)
{
    return r->options->client_tls != RELAY_TLS_PASSED || r->upstream_tls;
}

/* The AUTH line without the mechanisms that cannot pass; all of it if there are none of these. */
static int write_auth(relay *r, smx_slice line)
{
    smx_slice rest = line;
    smx_slice word;
    bool first = true;
    int error = buffer_append_text(&r->scratch, "250-");
    while (error == 0 && slice_cut(&rest, ' ', &word)) {
        if (ends_tls(r) && relay_is_bound_mechanism(word))
            continue;
        if (!first)
            error = buffer_append_char(&r->scratch, ' ');
        if (error == 0)
            error = buffer_append(&r->scratch, word);
        first = false;
    }
    return error == 0 ? buffer_append_text(&r->scratch, "\r\n") : error;
}

static int write_line(relay *r, smx_slice line)
{
    if (slice_equal_nocase(keyword_of(line), SMX_SLICE("AUTH")))
        return write_auth(r, line);
    return buffer_printf(&r->scratch, "250-%.*s\r\n", (int)line.len, line.data);
}

/* The last line's separator is a blank. */
static void end_lines(relay *r)
{
    smx_slice text = buffer_slice(&r->scratch);
    size_t last = slice_find_last(slice_to(text, text.len - 2), '\n');
    size_t start = last == text.len - 2 ? 0 : last + 1;
    r->scratch.data[r->scratch.start + start + 3] = ' ';
}

smx_slice relay_filter_hello(relay *r, const smx_reply_lines *reply)
{
    size_t at = 0;
    smx_slice line;
    bool first = true;
    int error = 0;
    buffer_clear(&r->scratch);
    for (; error == 0 && smx_reply_next_line(reply, &at, &line); first = false)
        if (first || passes(r, keyword_of(line)))
            error = first ? buffer_printf(&r->scratch, "250-%.*s\r\n", (int)line.len, line.data)
                          : write_line(r, line);
    if (error == 0 && relay_offers_starttls(r))
        error = buffer_append_text(&r->scratch, "250-STARTTLS\r\n");
    if (error != 0)
        return (smx_slice){0};
    end_lines(r);
    return buffer_slice(&r->scratch);
}
