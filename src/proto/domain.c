/* Domains and address literals (RFC 5321 section 4.1.2 and 4.1.3, RFC 6531 section 3.3). Pure. */
#include "proto/domain.h"

#include "base/slice.h"
#include "proto/octet.h"
#include "proto/utf8.h"
#include "smx/proto.h"

enum {
    DOMAIN_LABEL_MAX = 63,
    DOMAIN_ASCII = OCTET_LET_DIG | OCTET_HYPHEN,
    DOMAIN_UNICODE = DOMAIN_ASCII | OCTET_NON_ASCII,
};

/* Octets of the label at the start, or 0. sub-domain = Let-dig [Ldh-str]; with SMTPUTF8 also any
 * U-label: `classes` are those of its octets. */
static inline size_t domain_label(smx_slice in, unsigned classes)
{
    size_t len = 0;
    while (len < in.len && octet_is(in.data[len], classes))
        len++;
    if (len == 0 || len > DOMAIN_LABEL_MAX || in.data[0] == '-' || in.data[len - 1] == '-')
        return 0;
    return len;
}

size_t domain_ascii_name(smx_slice in)
{
    for (size_t at = 0;; at++) {
        size_t label = domain_label(slice_from(in, at), DOMAIN_ASCII);
        at += label;
        if (label == 0 || at > SMX_DOMAIN_MAX)
            return 0;
        if (at == in.len || in.data[at] != '.')
            return at;
    }
}

static bool domain_label_is_valid(smx_slice label)
{
    size_t len = domain_label(label, DOMAIN_UNICODE);
    return len > 0 && len == label.len;
}

static bool domain_name_is_valid(smx_slice name)
{
    for (;;) {
        size_t len = domain_label(name, DOMAIN_UNICODE);
        if (len == 0 || len == name.len)
            return len > 0;
        if (name.data[len] != '.')
            return false;
        name = slice_from(name, len + 1);
    }
}

/* General-address-literal = Standardized-tag ":" 1*dcontent */
static bool domain_general_is_valid(smx_slice content)
{
    size_t colon = slice_find(content, ':');
    if (colon == content.len || colon + 1 == content.len)
        return false;
    if (!domain_label_is_valid(slice_to(content, colon)) || content.data[0] == '-')
        return false;
    for (size_t i = colon + 1; i < content.len; i++) {
        char c = content.data[i];
        if (c < '!' || c > '~' || c == '[' || c == '\\' || c == ']')
            return false;
    }
    return true;
}

static bool domain_literal_kind(smx_slice content, smx_domain_kind *kind)
{
    static const smx_slice ipv6_tag = {"IPv6:", 5};
    smx_address address;
    bool is_ipv6 = slice_starts_with_nocase(content, ipv6_tag);
    smx_slice text = is_ipv6 ? slice_from(content, ipv6_tag.len) : content;
    if (smx_address_parse(text, &address) == 0 && address.family == (is_ipv6 ? 6 : 4)) {
        *kind = is_ipv6 ? SMX_DOMAIN_IPV6 : SMX_DOMAIN_IPV4;
        return true;
    }
    *kind = SMX_DOMAIN_LITERAL;
    return !is_ipv6 && !utf8_is_needed(content) && domain_general_is_valid(content);
}

bool smx_domain_is_valid(smx_slice domain, bool utf8, smx_domain_kind *kind)
{
    smx_domain_kind found = SMX_DOMAIN_NAME;
    if (domain.len == 0 || domain.len > SMX_DOMAIN_MAX)
        return false;
    if (domain.data[0] == '[') {
        if (domain.len < 2 || domain.data[domain.len - 1] != ']')
            return false;
        if (!domain_literal_kind(slice_of(domain.data + 1, domain.len - 2), &found))
            return false;
    } else if (!domain_name_is_valid(domain)) {
        return false;
    }
    if (utf8_is_needed(domain) && (!utf8 || !smx_utf8_is_valid(domain)))
        return false;
    if (kind != NULL)
        *kind = found;
    return true;
}
