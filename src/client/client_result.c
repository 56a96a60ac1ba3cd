/* What became of a transaction: gathers replies and failures, and tells the owner once. Texts live in
 * the transaction's arena. */
#include "client/client_internal.h"

/* The lines of a peer's reply as one text, parted by '\n', without the enhanced code. */
static smx_slice client_reply_text(arena *memory, const smx_reply_lines *lines)
{
    smx_slice line;
    size_t at = 0;
    size_t len = 0;
    char *text = arena_alloc(memory, lines->raw.len + 1);
    if (text == NULL)
        return (smx_slice){NULL, 0};
    while (smx_reply_next_line(lines, &at, &line)) {
        smx_enhanced enhanced;
        size_t skip = 0;
        if (lines->enhanced.class_digit != 0 && smx_enhanced_parse(line, &enhanced, &skip) == 0)
            line = slice_trim(slice_from(line, skip));
        if (len > 0)
            text[len++] = '\n';
        memcpy(text + len, line.data, line.len);
        len += line.len;
    }
    return slice_of(text, len);
}

static smx_reply client_reply_copy(arena *memory, const smx_reply_lines *lines)
{
    return (smx_reply){lines->code, lines->enhanced, client_reply_text(memory, lines)};
}

void client_result_begin(smx_client *client)
{
    client->active = true;
    client->cancelled = false;
    client->deciding = false;
    client->in_steps = client->submission.stage != SMX_SUBMISSION_WHOLE;
    client->position = 0;
    client->as_it_is = false;
    client->end_taken = 0;
    client->block_length = 0;
    client->detail[0] = '\0';
    client->outcome = (smx_client_result){
        .outcome = SMX_OUTCOME_FAILED,
        .phase = SMX_CLIENT_PHASE_MAIL,
        .recipients = client->replies,
        .recipient_count = client->submission.envelope->recipient_count,
        .refused = SIZE_MAX,
    };
}

void client_result_detail(smx_client *client, const char *detail)
{
    smx_slice s = slice_of_text(detail);
    size_t len = s.len < CLIENT_DETAIL - 1 ? s.len : CLIENT_DETAIL - 1;
    if (len > 0)
        memcpy(client->detail, s.data, len);
    client->detail[len] = '\0';
}

/* The first refusal decides. */
void client_result_refused(smx_client *client, smx_client_phase phase, size_t recipient,
                           const smx_reply_lines *reply)
{
    if (!client->active || client->outcome.reply.code != 0)
        return;
    client->outcome.outcome = SMX_OUTCOME_REFUSED;
    client->outcome.phase = phase;
    client->outcome.refused = recipient;
    client->outcome.reply = client_reply_copy(&client->arena, reply);
}

void client_result_recipient(smx_client *client, size_t index, const smx_reply_lines *reply)
{
    if (!client->active || index >= client->outcome.recipient_count)
        return;
    client->replies[index] = client_reply_copy(&client->arena, reply);
    bool decides = !client->in_steps || index < client->submission.required;
    if (reply->code / 100 != 2 && decides)
        client_result_refused(client, SMX_CLIENT_PHASE_RCPT, index, reply);
    if (client->in_steps && client->handler->recipient != NULL)
        client->handler->recipient(client->arg, client, index, &client->replies[index]);
}

void client_result_none_taken(smx_client *client)
{
    smx_client_result *r = &client->outcome;
    if (r->reply.code != 0 || r->recipient_count == 0)
        return;
    r->outcome = SMX_OUTCOME_REFUSED;
    r->phase = SMX_CLIENT_PHASE_RCPT;
    r->refused = 0;
    r->reply = client->replies[0];
}

/* SMTP: one reply for all. LMTP: one for each taken recipient; one refusal makes the result REFUSED,
 * and `recipients` tells who was served. */
void client_result_final(smx_client *client, size_t index, const smx_reply_lines *reply)
{
    if (!client->active)
        return;
    bool refused = reply->code / 100 != 2;
    if (client->options.lmtp && index < client->outcome.recipient_count)
        client->replies[index] = client_reply_copy(&client->arena, reply);
    if (refused) {
        client->outcome.reply.code = 0;
        client_result_refused(client, SMX_CLIENT_PHASE_FINAL,
                              client->options.lmtp ? index : SIZE_MAX, reply);
    } else if (client->outcome.phase != SMX_CLIENT_PHASE_FINAL) {
        client->outcome.outcome = SMX_OUTCOME_ACCEPTED;
        client->outcome.phase = SMX_CLIENT_PHASE_FINAL;
        client->outcome.reply = client_reply_copy(&client->arena, reply);
        client->outcome.refused = SIZE_MAX;
    }
}

void client_result_failed(smx_client *client, const smx_client_failure *failure)
{
    smx_client_result *r = &client->outcome;
    if (client->active && !failure->in_transaction)
        return; /* the result is known already */
    if (!client->active) {
        arena_reset(&client->arena);
        *r = (smx_client_result){.refused = SIZE_MAX};
    }
    r->refused = SIZE_MAX;
    r->outcome = failure->outcome_unknown ? SMX_OUTCOME_UNKNOWN
                 : client->cancelled      ? SMX_OUTCOME_GIVEN_UP
                                          : SMX_OUTCOME_FAILED;
    r->phase = client->handshaking ? SMX_CLIENT_PHASE_TLS : failure->phase;
    r->error = failure->error;
    r->first_reply_missing = failure->first_reply;
    r->reply = (smx_reply){0};
    if (failure->has_reply)
        r->reply = client_reply_copy(&client->arena, &failure->reply);
}

void client_result_tell(smx_client *client)
{
    if (!client->active)
        return;
    client->active = false;
    client_body_end(client);
    client->outcome.detail = client->detail;
    client->handler->result(client->arg, client, &client->outcome);
}
