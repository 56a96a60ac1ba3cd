/* A serving's transparent proxy: its options from the configuration, and its listeners. The serving owns
 * the TLS contexts towards upstreams, one for each listener. */
#include <stdio.h>
#include <string.h>

#include "app/serving.h"

int serving_open_proxy(serving *s, const serving_options *o, problem *p)
{
    const config *c = s->generation->config;
    if (!config_has_mode(c, CONFIG_PROXY))
        return 0;
    const witness_options told = {o->outlets, o->followers, o->log, c->listener_count};
    int error = witness_new(&told, &s->witness);
    if (error != 0)
        return problem_set(p, error, "out of memory");
    const smx_proxy_options options = {
        .version = SMX_PROXY_VERSION,
        .hostname = c->hostname,
        .shared = o->shared,
        .temp_dir = c->temp_dir,
        .log = log_write,
        .log_arg = o->log,
        .record = witness_record,
        .record_arg = s->witness,
        .wants = witness_wants,
        .trace = witness_trace,
        .trace_arg = s->witness,
    };
    error = smx_proxy_new(s->loop, &options, &s->proxy);
    return error == 0 ? 0 : problem_set(p, error, "%s", smx_error_text(error));
}

static smx_proxy_upstream upstream_of(const config_listener *l, smx_client_tls *context)
{
    const upstream_options *u = &l->upstream;
    bool is_original = strcmp(u->host, CONFIG_ORIGINAL_DESTINATION) == 0;
    return (smx_proxy_upstream){
        .host = is_original ? NULL : u->host,
        .port = u->port,
        .original_destination = is_original,
        .lmtp = u->lmtp,
        .tls = u->tls,
        .verify = u->verify,
        .tls_context = context,
        .source = u->source,
        .family = u->family,
        .address = l->client_address,
        .connect_timeout_ms = u->connect_timeout_ms,
        .reply_timeout_ms = u->final_timeout_ms,
    };
}

int serving_listen_proxy(serving *s, const serving_options *o, size_t nth, size_t kept, char *text)
{
    const config_listener *l = &s->generation->config->listeners[nth];
    const upstream_options *u = &l->upstream;
    problem p;
    int error = witness_add(s->witness, s->listeners[nth].listen, l, &p);
    if (error != 0)
        (void)snprintf(text, SMX_PROBLEM_TEXT, "%s", p.text);
    else if (u->tls != SMX_TLS_OFF)
        error = smx_client_tls_new(u->ca_file, u->cert_file, u->key_file, &s->contexts[nth], text);
    if (error != 0)
        return error;
    smx_proxy_listener options = {
        .listener = s->listeners[nth],
        .hide_auth = l->smtp.auth == SMX_AUTH_OFF,
        .upstream = upstream_of(l, s->contexts[nth]),
        .extensions = l->extensions,
        .extension_count = l->extension_count,
    };
    if (kept != SIZE_MAX) {
        const serving *previous = o->previous;
        bool was_proxy = previous->generation->config->listeners[kept].mode == CONFIG_PROXY;
        options.adopts_proxy = was_proxy ? previous->proxy : NULL;
        options.listener.adopts = was_proxy ? NULL : previous->server;
        options.listener.adopts_nth = previous->indices[kept];
    }
    return smx_proxy_listen(s->proxy, &options, text);
}
