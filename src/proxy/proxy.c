/* The public face of the transparent proxy: its listeners and its end are a front's. */
#include <stdlib.h>

#include "base/problem.h"
#include "proxy/proxy_internal.h"

/* ---- life ---- */

static void proxy_destroy(front *f)
{
    smx_proxy *proxy = list_member(f, smx_proxy, front);
    front_clear(f);
    free(proxy);
}

static const front_owner proxy_owner = {
    .enter = pair_new,
    .shut_down = pair_shut_down,
    .dismiss = pair_dismiss,
    .cut = pair_cut_guest,
    .destroy = proxy_destroy,
};

int smx_proxy_new(smx_loop *loop, const smx_proxy_options *options, smx_proxy **out)
{
    if (options->version != SMX_PROXY_VERSION)
        return SMX_E_INVALID;
    smx_proxy *proxy = calloc(1, sizeof(*proxy));
    if (proxy == NULL)
        return SMX_E_NOMEM;
    const front_options common = {
        .hostname = options->hostname,
        .hooks = options->hooks,
        .hook_count = options->hook_count,
        .shared = options->shared,
        .log = options->log,
        .log_arg = options->log_arg,
        .passes_on = true,
    };
    proxy->options = *options;
    int error = front_init(&proxy->front, loop, &proxy_owner, &common);
    if (error != 0) {
        proxy_destroy(&proxy->front);
        return error;
    }
    *out = proxy;
    return 0;
}

/* ---- listeners ---- */

static const relay_tls client_tls[] = {
    [SMX_LISTENER_CLEAR] = RELAY_TLS_OFF,          [SMX_LISTENER_STARTTLS] = RELAY_TLS_OFFERED,
    [SMX_LISTENER_REQUIRED] = RELAY_TLS_REQUIRED,  [SMX_LISTENER_IMPLICIT] = RELAY_TLS_IMPLICIT,
    [SMX_LISTENER_PASSTHROUGH] = RELAY_TLS_PASSED,
};
static const relay_tls upstream_tls[] = {
    [SMX_TLS_OFF] = RELAY_TLS_OFF,
    [SMX_TLS_IF_OFFERED] = RELAY_TLS_OFFERED,
    [SMX_TLS_REQUIRED] = RELAY_TLS_REQUIRED,
    [SMX_TLS_IMPLICIT] = RELAY_TLS_IMPLICIT,
};

/* What does not go together, or NULL. */
static const char *listener_mistake(const smx_proxy_listener *l)
{
    const smx_proxy_upstream *u = &l->upstream;
    bool passes = l->listener.tls == SMX_LISTENER_PASSTHROUGH;
    if (!u->original_destination && u->host == NULL)
        return "the proxy has no upstream: name a host and a port";
    if (u->original_destination &&
        slice_starts_with(slice_of_text(l->listener.listen), SMX_SLICE("unix:")))
        return "original-dst needs a listener on TCP: what comes over a Unix socket was not "
               "redirected";
    if (passes && u->tls == SMX_TLS_REQUIRED)
        return "tls: passthrough leaves TLS to the client: name the upstream by smtp:// (its "
               "STARTTLS passes) or smtps:// (all octets pass unread)";
    if (passes && u->tls == SMX_TLS_IMPLICIT && u->address == SMX_PROXY_ADDRESS_XCLIENT)
        return "XCLIENT cannot be put into TLS that passes unread: use the PROXY header";
    if (!passes && u->tls != SMX_TLS_OFF && u->tls_context == NULL)
        return "the upstream's TLS needs a tls_context (smx_client_tls_new)";
    if (u->address == SMX_PROXY_ADDRESS_TRANSPARENT && !u->original_destination && u->port == 0)
        return "a Unix socket has no address that a connection could come from: use another way "
               "to tell the client's address";
    return NULL;
}

static bool host_is_near(const smx_proxy_upstream *u)
{
    smx_address address;
    smx_slice host = slice_of_text(u->host);
    if (u->original_destination)
        return false;
    if (u->port == 0 || slice_equal_nocase(host, SMX_SLICE("localhost")))
        return true;
    static const uint8_t ipv6_loopback[16] = {[15] = 1};
    return smx_address_parse(host, &address) == 0 &&
           ((address.family == 4 && address.octets[0] == 127) ||
            (address.family == 6 && memcmp(address.octets, ipv6_loopback, 16) == 0));
}

static unsigned phase_bit(smx_hook_phase phase)
{
    return 1U << phase;
}

static unsigned envelope_phases(void)
{
    return phase_bit(SMX_HOOK_MAIL) | phase_bit(SMX_HOOK_RCPT) | phase_bit(SMX_HOOK_DATA);
}

static unsigned phases_wanted(const smx_hooks *hooks)
{
    unsigned wanted = 0;
    for (unsigned phase = 0; hooks != NULL && phase < SMX_HOOK_PHASE_COUNT; phase++)
        wanted |= hooks_want(hooks, (smx_hook_phase)phase) ? 1U << phase : 0;
    return wanted;
}

/* What the relay is to ask, or to hand over decoded. Where there are hooks MAIL and RCPT must be right; a
 * hook of the envelope may add a header field, so that messages go by way of us. */
static unsigned phases_asked(const smx_proxy *proxy)
{
    const smx_hooks *hooks = proxy->front.hooks;
    unsigned asks = phases_wanted(hooks);
    if ((asks & envelope_phases()) != 0)
        asks |= phase_bit(SMX_HOOK_HEADER);
    if (hooks != NULL)
        asks |= phase_bit(SMX_HOOK_MAIL) | phase_bit(SMX_HOOK_RCPT);
    return asks;
}

static void listener_fill_relay(proxy_listener *l, const smx_proxy_listener *options)
{
    const smx_listener_options *o = &l->entrance.options;
    const smx_proxy_upstream *u = &l->upstream;
    const smx_hooks *hooks = l->proxy->front.hooks;
    bool passes = o->tls == SMX_LISTENER_PASSTHROUGH;
    l->is_raw = passes && u->tls == SMX_TLS_IMPLICIT;
    l->is_watched = hooks != NULL || l->proxy->options.record != NULL ||
                    l->proxy->options.trace != NULL ||
                    o->bare_newline == SMX_BARE_NEWLINE_NORMALIZE;
    l->relay = (relay_options){
        .hostname = slice_of_text(l->proxy->front.hostname),
        .client_tls = client_tls[o->tls],
        .upstream_tls = passes && !l->is_raw ? RELAY_TLS_OFF : upstream_tls[u->tls],
        .lmtp = u->lmtp,
        .upstream_is_near = host_is_near(u),
        .hide_auth = options->hide_auth,
        .allow_insecure_auth = o->allow_insecure_auth,
        .extensions = options->extensions,
        .extension_count = options->extension_count,
        .bare_newline = o->bare_newline,
        .asks = phases_asked(l->proxy),
        .reads_envelope = (phases_wanted(hooks) & envelope_phases()) == 0,
        .parts_transactions = hooks == NULL && l->is_watched,
        .hold = hooks != NULL && hooks_have_flag(hooks, SMX_HOOK_HOLD),
        .idle_timeout_ms = o->idle_timeout_ms,
        .upstream_timeout_ms = u->reply_timeout_ms,
        .min_rate = o->min_rate,
        .hello = &l->hello,
    };
}

static const front *adopted(const smx_proxy_listener *options)
{
    if (options->adopts_proxy != NULL)
        return &options->adopts_proxy->front;
    return front_of_server(options->listener.adopts);
}

int smx_proxy_listen(smx_proxy *proxy, const smx_proxy_listener *options, char *text)
{
    const char *mistake = listener_mistake(options);
    if (mistake != NULL)
        return front_refuse_listener(text, SMX_E_INVALID, mistake);
    proxy_listener *l = calloc(1, sizeof(*l));
    if (l == NULL)
        return front_refuse_listener(text, SMX_E_NOMEM, "out of memory");
    int error =
        front_listen(&proxy->front, &l->entrance, &options->listener, adopted(options), text);
    if (error != 0)
        return error;
    l->proxy = proxy;
    l->upstream = options->upstream;
    listener_fill_relay(l, options);
    return 0;
}

/* ---- the front's ---- */

uint16_t smx_proxy_port(const smx_proxy *proxy, size_t nth)
{
    return front_port(&proxy->front, nth);
}

int smx_proxy_socket(const smx_proxy *proxy, size_t nth)
{
    return front_socket(&proxy->front, nth);
}

int smx_proxy_start(smx_proxy *proxy)
{
    return front_start(&proxy->front);
}

void smx_proxy_shutdown(smx_proxy *proxy, uint32_t timeout_ms, void (*done)(void *arg), void *arg)
{
    front_shutdown(&proxy->front, timeout_ms, done, arg);
}

void smx_proxy_retire(smx_proxy *proxy, void (*done)(void *arg), void *arg)
{
    front_retire(&proxy->front, done, arg);
}

void smx_proxy_dismiss(smx_proxy *proxy)
{
    front_dismiss(&proxy->front);
}

void smx_proxy_get_counters(const smx_proxy *proxy, smx_server_counters *counters)
{
    smx_counters_read(&proxy->front.counters, counters);
}

void smx_proxy_free(smx_proxy *proxy)
{
    if (proxy != NULL)
        front_free(&proxy->front);
}
