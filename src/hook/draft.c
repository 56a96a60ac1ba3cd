/* A message and what hooks change of it. Header changes that are asked for before the section is
 * whole wait in a list; later ones are made at once. */
#include "hook/draft.h"

#include "hook/apply.h"
#include "mail/envelope.h"

/* ---- life ---- */

void draft_begin(draft *d, smx_message *message)
{
    d->header_state = 2; /* an empty line may be the first */
    d->message = message;
}

int draft_open(draft *d, const smx_message_options *options)
{
    smx_message *message;
    int error = smx_message_new(options, &message);
    if (error == 0)
        draft_begin(d, message);
    return error;
}

void draft_drop(draft *d)
{
    smx_message_free(d->message);
    d->message = NULL;
    smx_header_edit_free(d->edit);
    d->edit = NULL;
    buffer_free(&d->chunk);
}

void draft_reset(draft *d)
{
    draft_drop(d);
    arena_reset(&d->memory);
    *d = (draft){.memory = d->memory};
}

void draft_free(draft *d)
{
    draft_drop(d);
    arena_free(&d->memory);
}

/* ---- changes ---- */

int draft_edit(draft *d)
{
    smx_slice header;
    if (d->edit != NULL)
        return 0;
    int error = smx_message_header(d->message, &header);
    return error != 0 ? error : smx_header_edit_new(header, &d->edit);
}

static int change_header_now(draft *d, const hook_change *change)
{
    int error = draft_edit(d);
    return error != 0 ? error : apply_to_header(change, d->edit);
}

/* A copy in the arena, at the end of those that wait for the header section. */
static int defer_change(draft *d, const hook_change *change)
{
    hook_change *copy = arena_alloc(&d->memory, sizeof(*copy));
    if (copy == NULL)
        return SMX_E_NOMEM;
    *copy = *change;
    copy->next = NULL;
    if (d->last_change != NULL)
        d->last_change->next = copy;
    else
        d->first_change = copy;
    d->last_change = copy;
    return 0;
}

static int make_changes(draft *d, const hook_change *changes)
{
    int error = 0;
    for (const hook_change *at = changes; at != NULL && error == 0; at = at->next) {
        if (at->kind == HOOK_REPLACE_BODY)
            continue;
        if (!change_is_of_header(at->kind))
            error = apply_to_envelope(at, &d->envelope, &d->memory, &d->capacity);
        else if (d->header_told || d->ended)
            error = change_header_now(d, at);
        else
            error = defer_change(d, at);
    }
    return error;
}

/* Deletions move recipients within the array: one that can be gone back to must be another one. */
static int part_recipients(draft *d, const hook_change *changes)
{
    while (changes != NULL && changes->kind != HOOK_DELETE_RECIPIENT)
        changes = changes->next;
    if (changes == NULL || d->envelope.recipient_count == 0)
        return 0;
    size_t size = d->capacity * sizeof(smx_rcpt); /* as the old one has */
    smx_rcpt *recipients = arena_alloc(&d->memory, size);
    if (recipients == NULL)
        return SMX_E_NOMEM;
    memcpy(recipients, d->envelope.recipients, d->envelope.recipient_count * sizeof(smx_rcpt));
    d->envelope.recipients = recipients;
    return 0;
}

int draft_change(draft *d, const smx_rcpt *rcpt, const hook_change *changes)
{
    if (changes == NULL)
        return rcpt == NULL ? 0
                            : envelope_append_rcpt(&d->envelope, &d->memory, rcpt, &d->capacity);
    const smx_envelope envelope = d->envelope;
    const size_t capacity = d->capacity;
    hook_change *last = d->last_change;
    int error = part_recipients(d, changes);
    if (error == 0 && rcpt != NULL)
        error = envelope_append_rcpt(&d->envelope, &d->memory, rcpt, &d->capacity);
    if (error == 0)
        error = make_changes(d, changes);
    if (error == 0)
        return 0;
    d->envelope = envelope;
    d->capacity = capacity;
    d->last_change = last;
    if (last == NULL)
        d->first_change = NULL;
    else
        last->next = NULL;
    return error;
}

int draft_change_header(draft *d)
{
    int error = 0;
    for (const hook_change *at = d->first_change; at != NULL && error == 0; at = at->next)
        error = change_header_now(d, at);
    d->first_change = NULL;
    d->last_change = NULL;
    return error;
}

smx_slice draft_header(const draft *d)
{
    smx_slice header = {0};
    int error = d->edit != NULL ? smx_header_edit_result(d->edit, &header)
                                : smx_message_header(d->message, &header);
    if (error != 0)
        return (smx_slice){NULL, 0};
    return header.data == NULL ? SMX_SLICE("") : header;
}

bool draft_new_body(const hook_change *changes, smx_slice *body)
{
    bool found = false;
    for (const hook_change *at = changes; at != NULL; at = at->next)
        if (at->kind == HOOK_REPLACE_BODY) {
            *body = at->value;
            found = true;
        }
    return found;
}

int draft_replace_body(draft *d, smx_slice body, const smx_message_options *options)
{
    smx_message *changed;
    int error = apply_body(d->message, body, options, &changed);
    if (error != 0)
        return error;
    smx_message_free(d->message);
    d->message = changed;
    return 0;
}

/* ---- octets ---- */

size_t draft_header_length(draft *d, smx_slice octets)
{
    static const char end[] = "\r\n\r\n";
    for (size_t i = 0; i < octets.len; i++) {
        char c = octets.data[i];
        if (c == end[d->header_state])
            d->header_state++;
        else
            d->header_state = c == '\r';
        if (d->header_state == sizeof(end) - 1)
            return i + 1;
    }
    return octets.len;
}

bool draft_is_in_header(const draft *d)
{
    return d->header_state < 4;
}

smx_slice draft_chunk(draft *d, const hook_change *changes)
{
    smx_slice octets = buffer_slice(&d->chunk);
    bool changed = draft_new_body(changes, &octets);
    d->body_changed = d->body_changed || changed;
    smx_newline_check_feed(&d->newline, octets);
    return octets;
}

bool draft_is_sendable(draft *d)
{
    smx_newline_check_end(&d->newline);
    return !d->body_changed || d->newline.faults == 0;
}
