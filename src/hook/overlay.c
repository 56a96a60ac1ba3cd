/* What the hooks behind a change see of it, before the host makes it: the session's view is turned to
 * copies in the arena. */
#include "hook/apply.h"
#include "hook/table.h"
#include "mail/envelope.h"

/* An envelope that stands in the view instead of the host's. */
static int overlay_envelope(hook_session *s, const hook_change *change)
{
    const smx_envelope *from = s->view.envelope;
    smx_envelope *copy = arena_alloc(s->arena, sizeof(*copy));
    if (from == NULL || copy == NULL)
        return SMX_E_NOMEM;
    *copy = (smx_envelope){.mail = from->mail};
    size_t capacity = 0;
    int error = 0;
    for (size_t i = 0; error == 0 && i < from->recipient_count; i++)
        error = envelope_add_rcpt(copy, s->arena, &from->recipients[i], &capacity);
    if (error == 0)
        error = apply_to_envelope(change, copy, s->arena, &capacity);
    if (error == 0)
        s->view.envelope = copy;
    return error;
}

/* At HEADER and EOM `text` is the header section. */
static int overlay_header(hook_session *s, const hook_change *change)
{
    if (s->view.phase != SMX_HOOK_HEADER && s->view.phase != SMX_HOOK_EOM)
        return 0;
    smx_header_edit *edit;
    smx_slice header;
    int error = smx_header_edit_new(s->view.text, &edit);
    if (error != 0)
        return error;
    error = apply_to_header(change, edit);
    if (error == 0)
        error = smx_header_edit_result(edit, &header);
    if (error == 0)
        error = arena_copy(s->arena, header, &s->view.text);
    smx_header_edit_free(edit);
    return error;
}

static int overlay_body(hook_session *s, const hook_change *change)
{
    if (s->view.phase == SMX_HOOK_BODY) {
        s->view.text = change->value;
        return 0;
    }
    const smx_message_options options = {.version = SMX_MESSAGE_VERSION};
    smx_message *changed;
    int error = apply_body(s->view.message, change->value, &options, &changed);
    if (error != 0)
        return error;
    smx_message_free(s->message);
    s->message = changed;
    s->view.message = changed;
    return 0;
}

int overlay_apply(hook_session *s, const hook_change *changes)
{
    int error = 0;
    for (const hook_change *at = changes; at != NULL && error == 0; at = at->next) {
        if (at->kind == HOOK_REPLACE_BODY)
            error = overlay_body(s, at);
        else if (change_is_of_header(at->kind))
            error = overlay_header(s, at);
        else
            error = overlay_envelope(s, at);
    }
    return error;
}
