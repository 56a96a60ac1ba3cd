/* A view that outlives the session it was taken from: for BLOCKING hooks on their threads. */
#include "hook/apply.h"
#include "hook/table.h"
#include "mail/envelope.h"

int session_view_copy(arena *a, const smx_session_view *from, smx_session_view *to)
{
    smx_session_view copy = *from;
    smx_slice *const texts[] = {&copy.listener,     &copy.client_name, &copy.helo,
                                &copy.tls_protocol, &copy.tls_cipher,  &copy.user};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        if (texts[i]->len == 0)
            *texts[i] = slice_of("", 0);
        else if (arena_copy(a, *texts[i], texts[i]) != 0)
            return SMX_E_NOMEM;
    *to = copy;
    return 0;
}

static int copy_envelope(arena *a, const smx_envelope *from, smx_envelope *to)
{
    *to = (smx_envelope){0};
    size_t capacity = 0;
    int error = envelope_set_mail(to, a, &from->mail);
    for (size_t i = 0; error == 0 && i < from->recipient_count; i++)
        error = envelope_add_rcpt(to, a, &from->recipients[i], &capacity);
    return error;
}

int view_copy(arena *a, const smx_hook_view *view, smx_hook_view *copy)
{
    smx_session_view *session = arena_alloc(a, sizeof(*session));
    smx_envelope *envelope = arena_alloc(a, sizeof(*envelope));
    smx_rcpt *rcpt = arena_alloc(a, sizeof(*rcpt));
    smx_slice text;
    if (session == NULL || envelope == NULL || rcpt == NULL ||
        session_view_copy(a, view->session, session) != 0 || arena_copy(a, view->text, &text) != 0)
        return SMX_E_NOMEM;
    if (view->envelope != NULL && copy_envelope(a, view->envelope, envelope) != 0)
        return SMX_E_NOMEM;
    if (view->rcpt != NULL && envelope_copy_rcpt(a, view->rcpt, rcpt) != 0)
        return SMX_E_NOMEM;
    *copy = (smx_hook_view){
        .phase = view->phase,
        .session = session,
        .envelope = view->envelope == NULL ? NULL : envelope,
        .rcpt = view->rcpt == NULL ? NULL : rcpt,
        .text = text,
        .started = view->started,
        /* Sharing counts references, and changes nothing else of it. */
        .message = view->message == NULL
                       ? NULL
                       : smx_message_share((smx_message *)(uintptr_t)view->message),
    };
    return 0;
}
