/* Transcripts: what passes, line by line, for a program that wants to read along. Secrets of AUTH are
 * not in them, and of a message only its size. */
#include <stdarg.h>
#include <stdio.h>

#include "base/clock.h"
#include "proxy/proxy_internal.h"

enum { NOTE_MAX = 256 };

bool trace_is_wanted(const pair *p)
{
    const smx_proxy_options *options = &p->proxy->options;
    const pair_watch *w = p->watch;
    smx_slice from = {0};
    if (options->trace == NULL || w == NULL)
        return false;
    if (w->transaction != NULL)
        from = w->transaction->draft.envelope.mail.path.mailbox;
    return options->wants == NULL || options->wants(options->trace_arg, &p->guest.view, from);
}

static void tell(const pair *p, smx_proxy_way way, bool in_tls, bool own, smx_slice text)
{
    const smx_proxy_line line = {
        .session = &p->guest.view,
        .time = clock_wall_ms(),
        .way = way,
        .in_tls = in_tls,
        .own = own,
        .text = text,
    };
    p->proxy->options.trace(p->proxy->options.trace_arg, &line);
}

/* Octets of a message that have passed since the last line. */
static void tell_octets(pair *p, const relay_info *info)
{
    char text[NOTE_MAX];
    pair_watch *w = p->watch;
    int len = snprintf(text, sizeof(text), "(%llu octets)", (unsigned long long)w->octets);
    tell(p, SMX_PROXY_TO_UPSTREAM, info->client_tls, false, slice_of(text, (size_t)len));
    w->octets = 0;
}

/* RFC 4422 section 3.1: at most 20 octets. Behind other octets, a tab perhaps, a secret may stand. */
static bool is_mechanism(smx_slice word)
{
    enum { MECHANISM_MAX = 20 };
    size_t end = 0;
    while (end < word.len &&
           (ascii_is_alnum(word.data[end]) || word.data[end] == '-' || word.data[end] == '_'))
        end++;
    return end == word.len && end <= MECHANISM_MAX;
}

/* AUTH and its mechanism are no secret; what follows is. */
static smx_slice redacted(const relay_event *event, char text[NOTE_MAX])
{
    smx_command command;
    smx_slice mechanism = {0};
    smx_command_parse(slice_to(event->text, event->text.len - 2), &command);
    if (command.verb != SMX_VERB_AUTH || event->continues)
        return SMX_SLICE("***");
    smx_slice rest = command.argument;
    (void)slice_cut(&rest, ' ', &mechanism);
    if (!is_mechanism(mechanism))
        return SMX_SLICE("AUTH ***");
    int len = snprintf(text, NOTE_MAX, "AUTH %.*s%s", (int)mechanism.len, mechanism.data,
                       rest.len > 0 ? " ***" : "");
    return slice_of(text, (size_t)len);
}

static void tell_lines(const pair *p, smx_proxy_way way, bool in_tls, bool own, smx_slice text)
{
    while (text.len > 0) {
        size_t end = slice_search(text, SMX_SLICE("\r\n"));
        tell(p, way, in_tls, own, slice_to(text, end));
        text = slice_from(text, end + 2 < text.len ? end + 2 : text.len);
    }
}

static void tell_command(const pair *p, const relay_event *event, const relay_info *info)
{
    char text[NOTE_MAX];
    if (event->secret)
        tell(p, SMX_PROXY_TO_UPSTREAM, info->client_tls, event->own, redacted(event, text));
    else
        tell_lines(p, SMX_PROXY_TO_UPSTREAM, info->client_tls, event->own, event->text);
}

/* What its reader would miss most (relay_auth.c). */
static void tell_hidden_auth(const pair *p, const relay_info *info)
{
    const char *why = p->listener->relay.hide_auth ? "AUTH was taken out: it is off here"
                      : info->client_tls ? "AUTH was taken out: the way to the upstream is not safe"
                                         : "AUTH was taken out: the client is not in TLS";
    tell(p, SMX_PROXY_NOTE, info->client_tls, true, slice_of_text(why));
}

void trace_event(pair *p, const relay_event *event)
{
    relay_info info;
    bool line = event->type == RELAY_COMMAND || event->type == RELAY_REPLY ||
                event->type == RELAY_OWN_REPLY || event->type == RELAY_PASSTHROUGH;
    if (!line || !trace_is_wanted(p))
        return;
    relay_get_info(p->relay, &info);
    if (p->watch->octets > 0)
        tell_octets(p, &info);
    if (event->type == RELAY_COMMAND)
        tell_command(p, event, &info);
    else if (event->type == RELAY_PASSTHROUGH)
        tell(p, SMX_PROXY_NOTE, info.client_tls, true, SMX_SLICE("octets pass unread"));
    else
        tell_lines(p, SMX_PROXY_TO_CLIENT, info.upstream_tls,
                   event->own || event->type == RELAY_OWN_REPLY, event->text);
    bool is_hello = event->kind == RELAY_KIND_HELLO || event->kind == RELAY_KIND_OWN_HELLO;
    if (event->type == RELAY_REPLY && is_hello && event->code == 250 && info.auth_hidden)
        tell_hidden_auth(p, &info);
}

void trace_note(pair *p, const char *format, ...)
{
    char text[NOTE_MAX];
    if (!trace_is_wanted(p))
        return;
    va_list arguments;
    va_start(arguments, format);
    int len = vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (len > 0)
        tell(p, SMX_PROXY_NOTE, p->guest.view.tls, true,
             slice_of(text, (size_t)len < sizeof(text) ? (size_t)len : sizeof(text) - 1));
}

void trace_end(pair *p)
{
    if (p->proxy->options.trace != NULL)
        tell(p, SMX_PROXY_END, p->guest.view.tls, true, (smx_slice){0});
}

void trace_client_tls(pair *p)
{
    const smx_session_view *view = &p->guest.view;
    trace_note(p, "TLS with the client: %.*s %.*s", (int)view->tls_protocol.len,
               view->tls_protocol.data, (int)view->tls_cipher.len, view->tls_cipher.data);
}
