/* The rules. A browser that a person uses to read other pages must not become a way in: not by a name
 * that suddenly points here (DNS rebinding), not by a form or a script of another page. */
#include "admin/gate.h"

#define LET_IN ((gate_refusal){0, NULL})

/* Host without the port, brackets off. */
static smx_slice host_of(smx_slice authority)
{
    if (authority.len > 0 && authority.data[0] == '[') {
        size_t end = slice_find(authority, ']');
        return end < authority.len ? slice_of(authority.data + 1, end - 1) : authority;
    }
    return slice_to(authority, slice_find_last(authority, ':'));
}

bool gate_host_is(smx_slice authority, smx_slice host)
{
    return host.len > 0 && slice_equal_nocase(host_of(authority), host);
}

/* A name that an attacker's DNS made point here is none of ours. */
static bool host_is_known(const gate_rules *rules, const gate_request *request)
{
    if (request->host_count != 1)
        return false;
    if (gate_host_is(request->host, rules->listen_host) ||
        gate_host_is(request->host, request->local_address) ||
        gate_host_is(request->host, SMX_SLICE("localhost")))
        return true;
    for (size_t i = 0; i < rules->host_count; i++) {
        if (gate_host_is(request->host, slice_of_text(rules->hosts[i])))
            return true;
    }
    return false;
}

static bool token_is_right(const gate_rules *rules, smx_slice authorization)
{
    const smx_slice scheme = SMX_SLICE("Bearer ");
    if (!slice_starts_with_nocase(authorization, scheme))
        return false;
    smx_slice token = slice_trim(slice_from(authorization, scheme.len));
    return rules->token.len > 0 && slice_equal_constant_time(token, rules->token);
}

/* Browsers name the page that a request comes from; other programs do not. */
static bool is_cross_site(const gate_request *request)
{
    smx_slice origin = request->origin;
    smx_slice site = request->fetch_site;
    if (site.data != NULL && !slice_equal(site, SMX_SLICE("same-origin")) &&
        !slice_equal(site, SMX_SLICE("none")))
        return true;
    if (origin.data == NULL)
        return false;
    size_t scheme = slice_search(origin, SMX_SLICE("://"));
    return scheme == origin.len ||
           !slice_equal_nocase(slice_from(origin, scheme + 3), request->host);
}

gate_refusal gate_check_caller(const gate_rules *rules, const gate_request *request)
{
    if (is_cross_site(request))
        return (gate_refusal){403, "requests of other sites' pages are refused"};
    if (!rules->is_tcp)
        return LET_IN;
    if (!host_is_known(rules, request))
        return (gate_refusal){403, "the Host header is not one of this daemon's names: add it to "
                                   "`admin.hosts` if it is"};
    if (!token_is_right(rules, request->authorization))
        return (gate_refusal){401, "a token is needed: Authorization: Bearer TOKEN"};
    return LET_IN;
}

gate_refusal gate_check_change(const gate_request *request)
{
    uint64_t length = 0;
    smx_slice type = slice_to(request->content_type, slice_find(request->content_type, ';'));
    if (!slice_equal_nocase(slice_trim(type), SMX_SLICE("application/json")))
        return (gate_refusal){415, "a change needs Content-Type: application/json"};
    if (request->transfer_encoding.data != NULL)
        return (gate_refusal){411, "a body needs a Content-Length"};
    if (request->content_length.data == NULL)
        return LET_IN;
    int error = slice_to_number(slice_trim(request->content_length), UINT64_MAX, &length);
    if (error == SMX_E_SYNTAX)
        return (gate_refusal){400, "the Content-Length is no number"};
    if (error != 0 || length > GATE_BODY_MAX)
        return (gate_refusal){413, "the body is larger than 1 MiB"};
    return LET_IN;
}
