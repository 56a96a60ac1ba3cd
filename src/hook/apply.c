/* Changes, made: the same for the hooks that come behind (overlay.c) and for the host in the end. */
#include "hook/apply.h"

#include "mail/envelope.h"

bool change_is_of_header(hook_change_kind kind)
{
    return kind == HOOK_ADD_HEADER || kind == HOOK_CHANGE_HEADER || kind == HOOK_DELETE_HEADER;
}

static int apply_path(smx_slice mailbox, const smx_envelope *envelope, arena *a, smx_path *path)
{
    smx_slice copy;
    if (arena_copy(a, mailbox, &copy) != 0)
        return SMX_E_NOMEM;
    *path = (smx_path){.mailbox = copy};
    if (copy.len == 0)
        return 0;
    return smx_mailbox_parse(copy, envelope->mail.smtputf8 ? SMX_PATH_UTF8 : 0, path) == 0
               ? 0
               : SMX_E_INVALID;
}

int apply_to_envelope(const hook_change *change, smx_envelope *envelope, arena *a, size_t *capacity)
{
    smx_rcpt rcpt = {0};
    int error = 0;
    switch (change->kind) {
    case HOOK_SET_SENDER:
        return apply_path(change->name, envelope, a, &envelope->mail.path);
    case HOOK_ADD_RECIPIENT:
        error = apply_path(change->name, envelope, a, &rcpt.path);
        return error != 0 ? error : envelope_add_rcpt(envelope, a, &rcpt, capacity);
    case HOOK_DELETE_RECIPIENT:
        error = envelope_delete_rcpt(envelope, change->name);
        return error == SMX_E_NOTFOUND ? 0 : error;
    case HOOK_ADD_HEADER:
    case HOOK_CHANGE_HEADER:
    case HOOK_DELETE_HEADER:
    case HOOK_REPLACE_BODY:
        break;
    }
    return 0;
}

int apply_to_header(const hook_change *change, smx_header_edit *edit)
{
    int error = 0;
    if (change->kind == HOOK_ADD_HEADER)
        error = smx_header_edit_append(edit, change->name, change->value);
    else if (change->kind == HOOK_CHANGE_HEADER)
        error = smx_header_edit_change(edit, change->name, change->nth, change->value);
    else if (change->kind == HOOK_DELETE_HEADER)
        error = smx_header_edit_delete(edit, change->name, change->nth);
    return error == SMX_E_NOTFOUND ? 0 : error;
}

int apply_body(const smx_message *message, smx_slice body, const smx_message_options *options,
               smx_message **changed)
{
    smx_slice header;
    int error = smx_message_header(message, &header);
    if (error != 0)
        return error;
    smx_message *made;
    error = smx_message_new(options, &made);
    if (error != 0)
        return error;
    error = smx_message_append(made, header);
    if (error == 0)
        error = smx_message_append(made, SMX_SLICE("\r\n"));
    if (error == 0)
        error = smx_message_append(made, body);
    if (error != 0) {
        smx_message_free(made);
        return error;
    }
    smx_message_end(made);
    *changed = made;
    return 0;
}
