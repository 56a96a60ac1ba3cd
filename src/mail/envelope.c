/* An envelope in the making. Everything lives in the transaction's arena: nothing is freed here, and
 * an outgrown array of recipients stays in the arena until the transaction is reset. */
#include "mail/envelope.h"

#include "base/checked.h"

enum { ENVELOPE_RECIPIENTS = 8 }; /* room of the first array */

/* A part of a slice that was copied: at the same place of the copy, or a copy of its own when it
 * did not lie within. */
static int envelope_copy_part(arena *a, smx_slice whole, smx_slice copy, smx_slice part,
                              smx_slice *out)
{
    if (part.len == 0) {
        *out = slice_to(copy, 0);
        return 0;
    }
    uintptr_t start = (uintptr_t)whole.data;
    uintptr_t at = (uintptr_t)part.data;
    if (at < start || at - start > whole.len || part.len > whole.len - (at - start))
        return arena_copy(a, part, out);
    *out = slice_of(copy.data + (at - start), part.len);
    return 0;
}

static int envelope_copy_path(arena *a, const smx_path *from, smx_path *to)
{
    smx_path path = *from;
    int error = arena_copy(a, from->mailbox, &path.mailbox);
    if (error == 0)
        error = envelope_copy_part(a, from->mailbox, path.mailbox, from->local, &path.local);
    if (error == 0)
        error = envelope_copy_part(a, from->mailbox, path.mailbox, from->domain, &path.domain);
    if (error == 0)
        *to = path;
    return error;
}

/* An absent parameter needs no copy. */
static int envelope_copy_parameter(arena *a, smx_slice from, smx_slice *to)
{
    if (from.len > 0)
        return arena_copy(a, from, to);
    *to = slice_of("", 0);
    return 0;
}

int envelope_copy_mail(arena *a, const smx_mail *from, smx_mail *to)
{
    smx_mail mail = *from;
    int error = envelope_copy_path(a, &from->path, &mail.path);
    if (error == 0)
        error = envelope_copy_parameter(a, from->envid, &mail.envid);
    if (error == 0)
        error = envelope_copy_parameter(a, from->auth, &mail.auth);
    if (error == 0)
        *to = mail;
    return error;
}

int envelope_copy_rcpt(arena *a, const smx_rcpt *from, smx_rcpt *to)
{
    smx_rcpt rcpt = *from;
    int error = envelope_copy_path(a, &from->path, &rcpt.path);
    if (error == 0)
        error = envelope_copy_parameter(a, from->orcpt, &rcpt.orcpt);
    if (error == 0)
        *to = rcpt;
    return error;
}

int envelope_set_mail(smx_envelope *envelope, arena *a, const smx_mail *mail)
{
    return envelope_copy_mail(a, mail, &envelope->mail);
}

static int envelope_grow(smx_envelope *envelope, arena *a, size_t *capacity)
{
    size_t room = ENVELOPE_RECIPIENTS;
    size_t size;
    if (*capacity > 0 && !checked_multiply(*capacity, 2, &room))
        return SMX_E_NOMEM;
    if (!checked_multiply(room, sizeof(smx_rcpt), &size))
        return SMX_E_NOMEM;
    smx_rcpt *recipients = arena_alloc(a, size);
    if (recipients == NULL)
        return SMX_E_NOMEM;
    if (envelope->recipient_count > 0)
        memcpy(recipients, envelope->recipients, envelope->recipient_count * sizeof(smx_rcpt));
    envelope->recipients = recipients;
    *capacity = room;
    return 0;
}

int envelope_append_rcpt(smx_envelope *envelope, arena *a, const smx_rcpt *rcpt, size_t *capacity)
{
    if (envelope->recipient_count == *capacity) {
        int error = envelope_grow(envelope, a, capacity);
        if (error != 0)
            return error;
    }
    ((smx_rcpt *)envelope->recipients)[envelope->recipient_count++] = *rcpt;
    return 0;
}

int envelope_add_rcpt(smx_envelope *envelope, arena *a, const smx_rcpt *rcpt, size_t *capacity)
{
    smx_rcpt copy;
    int error = envelope_copy_rcpt(a, rcpt, &copy);
    return error != 0 ? error : envelope_append_rcpt(envelope, a, &copy, capacity);
}

bool envelope_same_mailbox(smx_slice a, smx_slice b)
{
    size_t at = slice_find_last(a, '@');
    if (a.len != b.len || at != slice_find_last(b, '@'))
        return false;
    return slice_equal(slice_to(a, at), slice_to(b, at)) &&
           slice_equal_nocase(slice_from(a, at), slice_from(b, at));
}

int envelope_delete_rcpt(smx_envelope *envelope, smx_slice mailbox)
{
    smx_rcpt *recipients = (smx_rcpt *)envelope->recipients;
    size_t kept = 0;
    for (size_t i = 0; i < envelope->recipient_count; i++)
        if (!envelope_same_mailbox(recipients[i].path.mailbox, mailbox))
            recipients[kept++] = recipients[i];
    if (kept == envelope->recipient_count)
        return SMX_E_NOTFOUND;
    envelope->recipient_count = kept;
    return 0;
}
