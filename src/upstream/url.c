/* The URLs by which a configuration names a provider (DESIGN section 2). */
#include <stdlib.h>

#include "net/endpoint.h"
#include "upstream/upstream.h"

typedef struct url_scheme {
    const char *prefix;
    uint16_t port; /* default; 0: a Unix socket */
    bool lmtp;
    smx_tls_policy tls;
    smx_client_verify verify;
} url_scheme;

/* The longer prefixes stand first. */
static const url_scheme url_schemes[] = {
    {"smtp+tls://", 587, false, SMX_TLS_REQUIRED, SMX_VERIFY_REQUIRED},
    {"smtp+notls://", 25, false, SMX_TLS_OFF, SMX_VERIFY_NEVER},
    {"smtp+unix:", 0, false, SMX_TLS_OFF, SMX_VERIFY_NEVER},
    {"smtp://", 25, false, SMX_TLS_IF_OFFERED, SMX_VERIFY_IF_AUTH},
    {"smtps://", 465, false, SMX_TLS_IMPLICIT, SMX_VERIFY_REQUIRED},
    {"lmtp+unix:", 0, true, SMX_TLS_OFF, SMX_VERIFY_NEVER},
    {"lmtp://", 24, true, SMX_TLS_IF_OFFERED, SMX_VERIFY_IF_AUTH},
};

static const url_scheme *url_find_scheme(smx_slice url)
{
    for (size_t i = 0; i < sizeof(url_schemes) / sizeof(url_schemes[0]); i++)
        if (slice_starts_with_nocase(url, slice_of_text(url_schemes[i].prefix)))
            return &url_schemes[i];
    return NULL;
}

static int url_parse_place(smx_slice place, const url_scheme *scheme, endpoint *e, problem *p)
{
    if (scheme->port != 0)
        return endpoint_parse(place, scheme->port, e, p);
    if (place.len == 0 || place.data[0] != '/')
        return problem_set(p, SMX_E_SYNTAX, "%s needs the path of a socket, as %s/run/mail.sock",
                           scheme->prefix, scheme->prefix);
    *e = (endpoint){.is_unix = true, .host = place};
    return 0;
}

int upstream_url_parse(smx_slice url, upstream_options *options, char **host, problem *p)
{
    endpoint e = {0};
    const url_scheme *scheme = url_find_scheme(url);
    bool is_bare = slice_find(url, '/') == url.len && slice_find(url, '@') == url.len;
    if (scheme == NULL)
        return problem_set(p, SMX_E_SYNTAX,
                           "expected a URL that begins with smtp://, smtp+tls://, smtp+notls://, "
                           "smtps://, lmtp://, smtp+unix: or lmtp+unix:%s%.*s",
                           is_bare ? ", such as smtp+tls://" : "",
                           (int)(is_bare && url.len < 200 ? url.len : 0), url.data);
    smx_slice place = slice_from(url, strlen(scheme->prefix));
    if (slice_find(place, '@') < place.len)
        return problem_set(p, SMX_E_SYNTAX,
                           "a URL bears no credentials: use the keys `user` and `pass`");
    if (place.len > 0 && scheme->port != 0 && place.data[place.len - 1] == '/')
        place.len--;
    if (place.len == 0 && scheme->port != 0)
        return problem_set(p, SMX_E_SYNTAX, "the host is missing, as in %ssmtp.example.com",
                           scheme->prefix);
    int error = url_parse_place(place, scheme, &e, p);
    if (error != 0)
        return error;
    char *copy = slice_to_text(e.host);
    if (copy == NULL)
        return problem_set(p, SMX_E_NOMEM, "out of memory");
    options->host = copy;
    options->port = e.port;
    options->lmtp = scheme->lmtp;
    options->tls = scheme->tls;
    options->verify = scheme->verify;
    *host = copy;
    return 0;
}
