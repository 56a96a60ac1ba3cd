/* Whether a client may see AUTH: secrets do not leave on a way that is less safe than the one that
 * the other side was shown (DESIGN 4.15), unless it was configured so. */
#include "proxy/relay_machine.h"

static bool is_safe_behind(const relay *r)
{
    return (r->upstream_tls && r->upstream_verified) || r->options->upstream_is_near;
}

/* A client on clear text is hidden AUTH where it could have TLS, or where the upstream is behind TLS:
 * the proxy would lend clear text a safe look. A client in TLS is, where the way on is not safe. */
bool relay_offers_auth(const relay *r)
{
    const relay_options *o = r->options;
    bool could_have_tls = o->client_tls == RELAY_TLS_OFFERED || o->client_tls == RELAY_TLS_REQUIRED;
    if (o->hide_auth)
        return false;
    if (o->allow_insecure_auth)
        return true;
    return r->client_tls ? is_safe_behind(r) : !could_have_tls && !r->upstream_tls;
}

bool relay_is_bound_mechanism(smx_slice mechanism)
{
    static const smx_slice plus = SMX_SLICE("-PLUS");
    return mechanism.len > plus.len &&
           slice_equal_nocase(slice_from(mechanism, mechanism.len - plus.len), plus);
}
