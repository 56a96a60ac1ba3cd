/* allow_from (DESIGN 4.16): a user may send from the addresses that its globs name, in the envelope
 * (`<>` must be listed as such) and in each mailbox of each From field. */
#include "base/slice.h"
#include "middleware/middleware.h"

/* `<>` is no address: no glob but itself names it. */
static bool is_allowed(const smx_user *user, smx_slice address)
{
    if (address.len == 0)
        address = SMX_SLICE("<>");
    for (size_t i = 0; i < user->allow_from_count; i++) {
        smx_slice glob = user->allow_from[i];
        if (slice_equal(address, SMX_SLICE("<>")) ? slice_equal(address, glob)
                                                  : slice_matches_glob(address, glob))
            return true;
    }
    return false;
}

static bool is_restricted(const smx_user *user)
{
    return user != NULL && user->allow_from != NULL;
}

bool allow_from_permits(const smx_user *user, smx_slice address)
{
    return !is_restricted(user) || is_allowed(user, address);
}

/* ---- the envelope ---- */

static smx_verdict judge_sender(void *arg, smx_hook_call *call)
{
    (void)arg;
    const smx_hook_view *view = smx_hook_get_view(call);
    const smx_user *user = view->session->account;
    if (allow_from_permits(user, view->envelope->mail.path.mailbox))
        return (smx_verdict){.kind = SMX_CONTINUE};
    return (smx_verdict){SMX_REPLY_WITH,
                         SMX_REPLY(550, 5, 7, 1, "you may not send from this address")};
}

const smx_hook hook_allow_from = {
    .version = SMX_HOOK_VERSION,
    .name = "allow_from",
    .on_error = SMX_ON_ERROR_TEMPFAIL,
    .phases = {[SMX_HOOK_MAIL] = judge_sender},
};

/* ---- the header section ---- */

/* True if each mailbox of one From field is allowed. What cannot be read is not. */
static bool field_is_allowed(const smx_user *user, smx_slice value, char *scratch)
{
    smx_field_mailbox mailbox;
    size_t at = 0;
    size_t len;
    int found = smx_field_next_mailbox(value, &at, &mailbox);
    if (found == 0)
        return false;
    for (; found == 1; found = smx_field_next_mailbox(value, &at, &mailbox))
        if (smx_field_plain_address(&mailbox, scratch, value.len, &len) != 0 || len == 0 ||
            !is_allowed(user, slice_of(scratch, len)))
            return false;
    return found == 0;
}

bool allow_from_permits_header(const smx_user *user, smx_slice header, char *scratch)
{
    smx_field field;
    if (!is_restricted(user))
        return true;
    for (size_t at = 0; smx_field_next(header, &at, &field);)
        if (slice_equal_nocase(field.name, SMX_SLICE("From")) &&
            !field_is_allowed(user, field.value, scratch))
            return false;
    return true;
}

static smx_verdict judge_from(void *arg, smx_transaction *tx)
{
    (void)arg;
    const smx_verdict nomem = {SMX_REPLY_WITH, SMX_REPLY(452, 4, 3, 1, "not enough memory now")};
    const smx_user *user = smx_transaction_user(tx);
    if (!is_restricted(user))
        return (smx_verdict){.kind = SMX_CONTINUE};
    smx_slice header = smx_transaction_header(tx);
    char *scratch = smx_transaction_alloc(tx, header.len + 1);
    if (header.data == NULL || scratch == NULL)
        return nomem;
    if (allow_from_permits_header(user, header, scratch))
        return (smx_verdict){.kind = SMX_CONTINUE};
    return (smx_verdict){SMX_REPLY_WITH,
                         SMX_REPLY(550, 5, 7, 1, "you may not send with this From field")};
}

const smx_middleware middleware_allow_from = {
    .version = SMX_MIDDLEWARE_VERSION,
    .name = "allow_from",
    .before = judge_from,
};
