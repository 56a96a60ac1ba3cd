/* A submission in steps: its recipients, its header and its body come while the transaction is under
 * way. The machine's DECIDE says when all recipients so far have their reply; from there on it goes
 * to DATA, or back, as the submission says by then. */
#include "client/client_internal.h"

/* Whether a recipient that had to be taken was refused, or none is left to send to. */
static bool steps_are_in_vain(const smx_client *client)
{
    const smx_client_result *r = &client->outcome;
    size_t taken = 0;
    for (size_t i = 0; i < r->recipient_count; i++)
        taken += client->replies[i].code / 100 == 2;
    bool none = taken == 0 && client->submission.stage != SMX_SUBMISSION_RECIPIENTS;
    return none || r->outcome == SMX_OUTCOME_REFUSED;
}

void client_decide(smx_client *client)
{
    uint64_t now = client_now(client);
    int error = 0;
    /* Some recipient was refused, and all were wanted: nothing is sent (DESIGN 4.5). */
    if (!client->in_steps || steps_are_in_vain(client)) {
        client->deciding = false;
        client_result_none_taken(client);
        error = smx_client_session_reset(client->session, now);
        loop_at_turn_end(client->loop, &client->kick);
    } else if (client->submission.stage != SMX_SUBMISSION_RECIPIENTS) {
        client->deciding = false;
        error = smx_client_session_proceed(client->session, now);
    }
    if (error != 0)
        client_end(client, error, NULL);
}

bool client_is_caught_up(const smx_client *client)
{
    return client->active && (client->deciding || client_body_waits(client));
}

bool client_reset(smx_client *client)
{
    if (!client->deciding || smx_client_session_reset(client->session, client_now(client)) != 0)
        return false;
    client->deciding = false;
    client->outcome.outcome = SMX_OUTCOME_GIVEN_UP;
    loop_at_turn_end(client->loop, &client->kick);
    return true;
}

/* The replies so far, with room for those to `count` recipients. */
static int steps_make_room(smx_client *client, size_t count)
{
    smx_client_result *r = &client->outcome;
    if (count > client->replies_capacity) {
        size_t capacity = count + client->replies_capacity;
        smx_reply *replies = arena_calloc(&client->arena, capacity * sizeof(*replies));
        if (replies == NULL)
            return SMX_E_NOMEM;
        memcpy(replies, client->replies, r->recipient_count * sizeof(*replies));
        client->replies = replies;
        client->replies_capacity = capacity;
        r->recipients = replies;
    }
    return 0;
}

static int steps_grow(smx_client *client, const smx_envelope *envelope)
{
    size_t count = envelope->recipient_count;
    if (count == client->outcome.recipient_count)
        return 0;
    int error = steps_make_room(client, count);
    if (error == 0)
        error = smx_client_session_recipients(client->session, client_now(client),
                                              envelope->recipients, count);
    if (error != 0)
        return error;
    client->outcome.recipient_count = count;
    client->deciding = false;
    return 0;
}

int smx_client_advance(smx_client *client, const smx_submission *submission)
{
    if (!client->active || client->failed || client->cancelled || !client->in_steps)
        return SMX_E_STATE;
    int error = steps_grow(client, submission->envelope);
    if (error != 0)
        return error;
    client->submission = *submission;
    if (client->deciding)
        client_decide(client);
    if (client->body_open)
        client_body_send(client);
    client_push(client);
    return 0;
}
