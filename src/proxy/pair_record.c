/* What the program is told of each transaction, and of sessions that had none. Built only where it
 * wants to know. */
#include <stdlib.h>

#include "base/clock.h"
#include "proxy/proxy_internal.h"

static const char *const verdicts[] = {
    [SMX_CONTINUE] = "continue", [SMX_REPLY_WITH] = "reject",     [SMX_ACCEPT] = "continue",
    [SMX_DISCARD] = "discard",   [SMX_DISCONNECT] = "disconnect", [SMX_VERDICT_LATER] = "continue",
};

/* What stands between the brackets of an argument that was not parsed, or is there. */
static smx_slice bracketed(smx_slice argument)
{
    smx_slice rest = slice_from(argument, slice_find(argument, '<'));
    size_t end = slice_find(rest, '>');
    return rest.len > 1 && end < rest.len ? slice_of(rest.data + 1, end - 1) : (smx_slice){0};
}

static const smx_proxy_recipient *recipients(pair_transaction *tx)
{
    smx_proxy_recipient *out =
        arena_alloc(&tx->draft.memory, (tx->recipient_count + 1) * sizeof(*out));
    for (size_t i = 0; out != NULL && i < tx->recipient_count; i++) {
        const pair_rcpt *r = &tx->recipients[i];
        out[i] = (smx_proxy_recipient){r->rcpt.path.mailbox, r->code};
    }
    return out;
}

static void record_reply(const pair_transaction *tx, smx_proxy_record *record)
{
    smx_reply_parser parser = {0};
    smx_reply_lines reply;
    size_t used;
    smx_slice raw = buffer_slice(&tx->reply);
    if (tx->reply_code != 0 && tx->reply_lines > 0)
        record->reply = (smx_reply_lines){tx->reply_code, tx->reply_enhanced, tx->reply_lines, raw};
    else if (tx->reply_code != 0 && smx_reply_parse(&parser, raw, &reply, &used) == 0)
        record->reply = reply;
    record->reply_is_own = tx->reply_is_own;
}

static void record_transaction(pair *p, pair_transaction *tx, smx_proxy_record *record)
{
    record->id = tx->id;
    record->started = tx->started;
    record->duration = pair_now(p) - tx->began;
    record->has_from = true;
    record->from = tx->draft.envelope.mail.path.mailbox;
    if (record->from.len == 0)
        record->from = bracketed(tx->mail);
    record->recipients = recipients(tx);
    record->recipient_count = record->recipients == NULL ? 0 : tx->recipient_count;
    record->size = tx->size;
    watch_message_id(tx);
    record->message_id = tx->message_id;
    record->verdict = slice_of_text(verdicts[tx->verdict]);
    if (tx->verdict != SMX_CONTINUE) {
        record->verdict_hook = slice_of_text(tx->verdict_hook);
        record->verdict_phase = slice_of_text(smx_hook_phase_text(tx->verdict_phase));
    }
    record->outcome = slice_of_text(tx->outcome);
    record_reply(tx, record);
}

/* Of a session that had no transaction which could be seen. */
static const char *outcome_without(const pair *p)
{
    relay_info info = {0};
    if (p->relay != NULL)
        relay_get_info(p->relay, &info);
    if (info.is_raw)
        return "unread";
    return p->watch->verdict == SMX_CONTINUE ? "none" : "refused";
}

void pair_record(pair *p, pair_transaction *tx)
{
    const smx_proxy_options *options = &p->proxy->options;
    const pair_watch *w = p->watch;
    if (options->record == NULL)
        return;
    smx_proxy_record record = {
        .session = &p->guest.view,
        .started = clock_wall_ms(),
        .verdict = slice_of_text(verdicts[w->verdict]),
        .outcome = slice_of_text(outcome_without(p)),
        .upstream = w->upstream,
        .upstream_tls = w->upstream_protocol.len > 0,
        .upstream_verified = w->upstream_verified,
        .upstream_tls_protocol = w->upstream_protocol,
        .upstream_tls_cipher = w->upstream_cipher,
        .user = p->guest.view.user,
    };
    if (w->verdict != SMX_CONTINUE) {
        record.verdict_hook = slice_of_text(w->verdict_hook);
        record.verdict_phase = slice_of_text(smx_hook_phase_text(w->verdict_phase));
    }
    if (tx != NULL)
        record_transaction(p, tx, &record);
    options->record(options->record_arg, &record);
}
