/* What the values of DSN's and AUTH's parameters must be (RFC 3461, RFC 4954, RFC 6533). Pure. */
#include "proto/params.h"
#include "proto/utf8.h"
#include "proto/xtext.h"

enum { PARAM_ENVID_MAX = 100, PARAM_ORCPT_MAX = 500 };

bool param_envid_is_valid(smx_slice envid)
{
    return envid.len > 0 && envid.len <= PARAM_ENVID_MAX && xtext_is_printable(envid);
}

/* addr-type = atom */
static bool param_address_type_is_valid(smx_slice type)
{
    static const smx_slice specials = {"()<>[]:;@\\,.\"+=", 15};
    for (size_t i = 0; i < type.len; i++) {
        char c = type.data[i];
        if (c <= ' ' || c > '~' || slice_find(specials, c) < specials.len)
            return false;
    }
    return type.len > 0;
}

/* RFC 6533 section 3: utf-8-addr-unitext, which goes only over SMTPUTF8. */
static bool param_unitext_is_valid(smx_slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.data[i];
        if (c <= ' ' || c == 0x7f || c == '+' || c == '=')
            return false;
    }
    return smx_utf8_is_valid(text);
}

bool param_orcpt_is_valid(smx_slice orcpt, bool utf8)
{
    size_t end = slice_find(orcpt, ';');
    if (orcpt.len > PARAM_ORCPT_MAX || end == orcpt.len)
        return false;
    smx_slice type = slice_to(orcpt, end);
    smx_slice address = slice_from(orcpt, end + 1);
    if (!param_address_type_is_valid(type))
        return false;
    if (utf8 && utf8_is_needed(address) && slice_equal_nocase(type, SMX_SLICE("utf-8")))
        return param_unitext_is_valid(address);
    return xtext_is_printable(address);
}

bool param_auth_is_valid(smx_slice auth)
{
    return slice_equal(auth, SMX_SLICE("<>")) || (auth.len > 0 && xtext_is_valid(auth));
}

bool param_notify_is_valid(unsigned notify)
{
    const unsigned others = SMX_NOTIFY_SUCCESS | SMX_NOTIFY_FAILURE | SMX_NOTIFY_DELAY;
    if ((notify & ~(others | SMX_NOTIFY_NEVER)) != 0 || notify == 0)
        return false;
    return (notify & SMX_NOTIFY_NEVER) == 0 || notify == SMX_NOTIFY_NEVER;
}
