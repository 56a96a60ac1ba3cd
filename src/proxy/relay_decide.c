/* What the owner says to the commands it was asked about, and what it adds. */
#include <stdio.h>

#include "proxy/relay_machine.h"

/* One line, and nothing that a server could take for two (ATTACKS 20). */
static bool is_one_line(smx_slice line)
{
    return line.len >= 2 && line.len <= RELAY_LINE_MAX && line.data[line.len - 1] == '\n' &&
           slice_find(line, '\r') == line.len - 2 && slice_find(line, '\n') == line.len - 1 &&
           slice_find(line, '\0') == line.len;
}

static int change_line(relay *r, const relay_decision *d)
{
    if (d->kind != RELAY_PASS || !d->is_changed)
        return 0;
    if (d->line.len > 0 && !is_one_line(d->line))
        return SMX_E_INVALID;
    buffer_clear(&r->line);
    if (buffer_append(&r->line, d->line) != 0) {
        relay_fail(r);
        return SMX_E_NOMEM;
    }
    r->line_changed = true;
    return 0;
}

/* The user has proved who he is, but the owner does not want him: the upstream believes in him, so it
 * is given up. */
static void refuse_user(relay *r, const relay_decision *d)
{
    relay_cut(r);
    if (d->kind == RELAY_DISCONNECT) {
        relay_close(r, &d->reply);
        return;
    }
    relay_say(r, &d->reply);
    relay_enter(r, RELAY_STATE_ORPHAN);
}

static void refuse_line(relay *r, const relay_decision *d)
{
    r->decided = 0;
    r->asking = false;
    if (d->kind == RELAY_DISCONNECT) {
        relay_close(r, &d->reply);
        return;
    }
    r->skip_line = true;
    relay_say(r, &d->reply);
}

int relay_decide(relay *r, const relay_decision *d)
{
    bool refused = d->kind == RELAY_REFUSE || d->kind == RELAY_DISCONNECT;
    if (!r->asking || r->decided != 0)
        return SMX_E_STATE;
    int error = change_line(r, d);
    if (error != 0)
        return error;
    r->decided = (uint8_t)(1 + d->kind);
    if (refused && r->state == RELAY_STATE_LOCKED)
        refuse_user(r, d);
    else if (refused)
        refuse_line(r, d);
    return r->failed ? SMX_E_NOMEM : 0;
}

static bool is_sendable(smx_slice mailbox)
{
    smx_path path;
    return smx_mailbox_parse(mailbox, SMX_PATH_UTF8, &path) == 0;
}

static bool is_too_late(const relay *r)
{
    bool early = r->state == RELAY_STATE_COMMAND && !r->chunking;
    return !early && (r->state != RELAY_STATE_JUDGED || r->body.began);
}

int relay_add_recipient(relay *r, smx_slice mailbox)
{
    char line[sizeof("RCPT TO:<>\r\n") + SMX_PATH_MAX];
    if (!is_sendable(mailbox))
        return SMX_E_INVALID;
    if (r->discarding || relay_is_lost(r) || is_too_late(r))
        return SMX_E_STATE;
    int len = snprintf(line, sizeof(line), "RCPT TO:<%.*s>\r\n", (int)mailbox.len, mailbox.data);
    return relay_queue(r, (relay_own){RELAY_KIND_OWN_RCPT, .own = true, .waits = true},
                       slice_of(line, (size_t)len));
}
