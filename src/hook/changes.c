/* The changes that a hook asks for: judged and copied at once, made by the host when the verdict lets
 * the command through. A change that cannot be taken fails the hook (its on_error applies), so that
 * a forgotten result does no harm (ATTACKS 20). */
#include "hook/apply.h"
#include "hook/table.h"
#include "mail/envelope.h"

/* The phases in which a change can be asked for, first and last. Before: SMX_E_STATE, since there is
 * nothing to change yet; after: SMX_E_LATE. */
typedef struct change_time {
    smx_hook_phase first;
    smx_hook_phase last;
} change_time;

static const change_time change_times[] = {
    [HOOK_ADD_HEADER] = {SMX_HOOK_MAIL, SMX_HOOK_EOM},
    [HOOK_CHANGE_HEADER] = {SMX_HOOK_MAIL, SMX_HOOK_EOM},
    [HOOK_DELETE_HEADER] = {SMX_HOOK_MAIL, SMX_HOOK_EOM},
    [HOOK_SET_SENDER] = {SMX_HOOK_MAIL, SMX_HOOK_EOM},
    [HOOK_ADD_RECIPIENT] = {SMX_HOOK_RCPT, SMX_HOOK_EOM},
    [HOOK_DELETE_RECIPIENT] = {SMX_HOOK_RCPT, SMX_HOOK_EOM},
    [HOOK_REPLACE_BODY] = {SMX_HOOK_BODY, SMX_HOOK_EOM},
};

static int change_refused(smx_hook_call *call, int error)
{
    call->fault = smx_error_text(error);
    return error;
}

static int change_append(smx_hook_call *call, const hook_change *change)
{
    hook_change *copy = arena_alloc(call->arena, sizeof(*copy));
    if (copy == NULL)
        return SMX_E_NOMEM;
    *copy = (hook_change){.kind = change->kind, .nth = change->nth};
    if (arena_copy(call->arena, change->name, &copy->name) != 0 ||
        arena_copy(call->arena, change->value, &copy->value) != 0)
        return SMX_E_NOMEM;
    if (call->last != NULL)
        call->last->next = copy;
    else
        call->first = copy;
    call->last = copy;
    return 0;
}

int changes_copy(smx_hook_call *call, const hook_change *changes)
{
    int error = 0;
    for (const hook_change *at = changes; at != NULL && error == 0; at = at->next)
        error = change_append(call, at);
    return error;
}

/* The last phases where what is let through is passed on at once. A message that is held, for a hook that
 * said HOLD, may be changed and given further recipients up to its end. */
static const smx_hook_phase passing_times[] = {
    [HOOK_ADD_HEADER] = SMX_HOOK_HEADER,    [HOOK_CHANGE_HEADER] = SMX_HOOK_HEADER,
    [HOOK_DELETE_HEADER] = SMX_HOOK_HEADER, [HOOK_SET_SENDER] = SMX_HOOK_MAIL,
    [HOOK_ADD_RECIPIENT] = SMX_HOOK_DATA,   [HOOK_DELETE_RECIPIENT] = SMX_HOOK_RCPT,
    [HOOK_REPLACE_BODY] = SMX_HOOK_BODY,
};

static bool change_can_be_held(hook_change_kind kind)
{
    return change_is_of_header(kind) || kind == HOOK_REPLACE_BODY || kind == HOOK_ADD_RECIPIENT;
}

static bool change_is_late(const smx_hook_call *call, const hook_change *change)
{
    bool held = (call->hook->flags & SMX_HOOK_HOLD) != 0 && change_can_be_held(change->kind);
    if (call->telling || call->view->phase > change_times[change->kind].last)
        return true;
    if (!call->table->host.passes_on || held)
        return false;
    /* Only the recipient that is asked about has not gone on. */
    if (change->kind == HOOK_DELETE_RECIPIENT && call->view->rcpt != NULL &&
        !envelope_same_mailbox(call->view->rcpt->path.mailbox, change->name))
        return true;
    return call->view->phase > passing_times[change->kind];
}

/* Takes a change whose octets are right, if it is its time. */
static int change_take(smx_hook_call *call, const hook_change *change)
{
    const change_time *time = &change_times[change->kind];
    int error = 0;
    if (change_is_late(call, change))
        error = SMX_E_LATE;
    else if (call->view->phase < time->first)
        error = SMX_E_STATE;
    else
        error = change_append(call, change);
    return error == 0 ? 0 : change_refused(call, error);
}

/* ---- header fields ---- */

/* RFC 5322 section 2.2: printable ASCII without the colon. */
static bool header_name_is_valid(smx_slice name)
{
    if (name.len == 0 || name.len > 256)
        return false;
    for (size_t i = 0; i < name.len; i++)
        if (name.data[i] <= ' ' || name.data[i] > '~' || name.data[i] == ':')
            return false;
    return true;
}

/* A CRLF must be followed by a blank, as in a folded value; no other CR, LF, no NUL. */
static bool header_value_is_valid(smx_slice value)
{
    for (size_t i = 0; i < value.len; i++) {
        char c = value.data[i];
        if (c == '\r' && i + 2 < value.len && value.data[i + 1] == '\n' &&
            ascii_is_space(value.data[i + 2]))
            i += 2;
        else if (c == '\r' || c == '\n' || c == '\0')
            return false;
    }
    return true;
}

static int change_header(smx_hook_call *call, const hook_change *change)
{
    if (!header_name_is_valid(change->name) || !header_value_is_valid(change->value))
        return change_refused(call, SMX_E_INVALID);
    return change_take(call, change);
}

int smx_hook_add_header(smx_hook_call *call, smx_slice name, smx_slice value)
{
    hook_change change = {.kind = HOOK_ADD_HEADER, .name = name, .value = value};
    return change_header(call, &change);
}

int smx_hook_change_header(smx_hook_call *call, smx_slice name, size_t nth, smx_slice value)
{
    hook_change change = {.kind = HOOK_CHANGE_HEADER, .name = name, .nth = nth, .value = value};
    return change_header(call, &change);
}

int smx_hook_delete_header(smx_hook_call *call, smx_slice name, size_t nth)
{
    hook_change change = {.kind = HOOK_DELETE_HEADER, .name = name, .nth = nth};
    return change_header(call, &change);
}

/* ---- mailboxes ---- */

static int change_mailbox(smx_hook_call *call, const hook_change *change, bool null_allowed)
{
    const smx_envelope *envelope = call->view->envelope;
    unsigned flags = envelope != NULL && envelope->mail.smtputf8 ? SMX_PATH_UTF8 : 0;
    smx_path path;
    bool is_null = change->name.len == 0;
    if (is_null ? !null_allowed : smx_mailbox_parse(change->name, flags, &path) != 0)
        return change_refused(call, SMX_E_INVALID);
    return change_take(call, change);
}

int smx_hook_set_sender(smx_hook_call *call, smx_slice mailbox)
{
    hook_change change = {.kind = HOOK_SET_SENDER, .name = mailbox};
    return change_mailbox(call, &change, true);
}

int smx_hook_add_recipient(smx_hook_call *call, smx_slice mailbox)
{
    hook_change change = {.kind = HOOK_ADD_RECIPIENT, .name = mailbox};
    return change_mailbox(call, &change, false);
}

int smx_hook_delete_recipient(smx_hook_call *call, smx_slice mailbox)
{
    hook_change change = {.kind = HOOK_DELETE_RECIPIENT, .name = mailbox};
    return change_mailbox(call, &change, false);
}

/* ---- the body ---- */

int smx_hook_replace_body(smx_hook_call *call, smx_slice octets)
{
    hook_change change = {.kind = HOOK_REPLACE_BODY, .value = octets};
    if (call->view->phase == SMX_HOOK_EOM) {
        /* A chunk may end within a CRLF; the host judges the whole. */
        smx_newline_check check = {0};
        smx_newline_check_feed(&check, octets);
        smx_newline_check_end(&check);
        if (check.faults != 0)
            return change_refused(call, SMX_E_INVALID);
    }
    return change_take(call, &change);
}
