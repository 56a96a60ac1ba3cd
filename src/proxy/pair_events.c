/* What each event of the relay means: one function for each. */
#include "client/client_tls.h"
#include "proxy/proxy_internal.h"

void pair_log(const pair *p, smx_log_level level, const char *event, const char *key,
              smx_slice value)
{
    const smx_log_field field = {key, value};
    front_log(&p->proxy->front, level, event, &p->guest, &field, key == NULL ? 0 : 1);
}

void pair_upstream_is_secure(pair *p)
{
    const smx_proxy *proxy = p->proxy;
    watch_upstream(p);
    connection_tls_info tls;
    if (connection_get_tls_info(p->upstream, &tls))
        trace_note(p, "TLS with the upstream: %s %s", tls.protocol, tls.cipher);
    client_tls_log(p->upstream, p->listener->upstream.host, p->guest.view.id, proxy->options.log,
                   proxy->options.log_arg);
}

static void event_nothing(pair *p, const relay_event *event)
{
    (void)p;
    (void)event;
}

static void event_command(pair *p, const relay_event *event)
{
    watch_command(p, event);
    pair_send(p, RELAY_UPSTREAM, event->text);
}

static bool ends_message(const pair *p, const relay_event *event)
{
    bool is_final = event->kind == RELAY_KIND_MESSAGE || event->kind == RELAY_KIND_LAST_CHUNK;
    return is_final && !relay_in_transaction(p->relay);
}

/* What becomes of AUTH and of messages, for the counters. */
static void count_reply(const pair *p, const relay_event *event)
{
    const entrance *e = &p->listener->entrance;
    if (event->kind == RELAY_KIND_AUTH && event->code / 100 == 2)
        front_count(e, auth_successes);
    else if (event->kind == RELAY_KIND_AUTH && event->code >= 400)
        front_count(e, auth_failures);
    if (ends_message(p, event)) {
        front_count(e, transactions);
        front_count_reply(e, event->code);
    }
}

static void event_reply(pair *p, const relay_event *event)
{
    count_reply(p, event);
    watch_reply(p, event);
    pair_send(p, RELAY_CLIENT, event->text);
}

static void event_octets(pair *p, const relay_event *event)
{
    watch_octets(p, event);
    pair_send(p, event->side, event->text);
}

static void event_secure(pair *p, const relay_event *event)
{
    pair_let_pass(p);
    int error = event->side == RELAY_CLIENT ? guest_secure(&p->guest) : pair_upstream_secure(p);
    if (error == 0)
        return;
    if (event->side == RELAY_CLIENT) {
        pair_cut(p);
    } else {
        pair_log(p, SMX_LOG_WARN, "upstream_failed", "tls", slice_of_text(smx_error_text(error)));
        relay_secured(p->relay, RELAY_UPSTREAM, pair_now(p), error, false);
    }
}

static void event_passthrough(pair *p, const relay_event *event)
{
    (void)event;
    pair_log(p, SMX_LOG_INFO, "passthrough", "from",
             p->listener->is_raw ? SMX_SLICE("the first octet") : SMX_SLICE("STARTTLS"));
}

static void event_cut_upstream(pair *p, const relay_event *event)
{
    (void)event;
    pair_cut_upstream(p);
}

static void event_close(pair *p, const relay_event *event)
{
    if (event->kind == RELAY_KIND_QUIT)
        pair_part(p);
    else
        pair_end(p);
}

static void (*const events[])(pair *p, const relay_event *event) = {
    [RELAY_NONE] = event_nothing,
    [RELAY_COMMAND] = event_command,
    [RELAY_REPLY] = event_reply,
    [RELAY_OCTETS] = event_octets,
    [RELAY_OWN_REPLY] = event_nothing,
    [RELAY_ASK] = pair_asked,
    [RELAY_BODY] = pair_body,
    [RELAY_BODY_END] = pair_body_end,
    [RELAY_BODY_READY] = pair_body_ready,
    [RELAY_DROPPED] = pair_body_dropped,
    [RELAY_SECURE] = event_secure,
    [RELAY_PASSTHROUGH] = event_passthrough,
    [RELAY_CUT_UPSTREAM] = event_cut_upstream,
    [RELAY_CLOSE] = event_close,
};

void pair_event(pair *p, const relay_event *event)
{
    if (p->watch != NULL) {
        watch_envelope(p, event);
        if (p->state != PAIR_RELAYS)
            return;
        trace_event(p, event);
    }
    events[event->type](p, event);
    if (p->watch != NULL)
        watch_settle(p);
}
