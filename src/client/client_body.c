/* The body of a submission on its way out: the new header section, then the message from its body
 * offset on, piece by piece as the socket takes them. Memory is sent as it lies; a file is read
 * through one block of the loop's. Of a submission in steps as much is sent as is there; a slice of a
 * message that grows is not kept beyond the step. */
#include "client/client_internal.h"

enum {
    BODY_STEP = 65536,   /* octets looked at in one step */
    BODY_PIECES = 256,   /* pieces of one step */
    BODY_GATHER = 16384, /* a body up to this is copied, to leave in one write with its dot */
};

/* As far as the body is there. */
static uint64_t body_size(const smx_client *client)
{
    const smx_submission *s = &client->submission;
    uint64_t size = s->header.len;
    if (s->stage == SMX_SUBMISSION_DATA)
        return 0;
    if (s->message != NULL)
        size += smx_message_size(s->message) - s->body_offset;
    return size;
}

bool client_body_waits(const smx_client *client)
{
    return client->body_open && client->submission.stage != SMX_SUBMISSION_WHOLE &&
           client->position == body_size(client);
}

static int body_next(smx_client *client, smx_slice *octets)
{
    const smx_submission *s = &client->submission;
    if (client->position < s->header.len) {
        *octets = slice_from(s->header, (size_t)client->position);
        return 0;
    }
    if (client->block == NULL) {
        client->block = loop_block_take(client->loop);
        if (client->block == NULL)
            return SMX_E_NOMEM;
    }
    uint64_t offset = s->body_offset + (client->position - s->header.len);
    return smx_message_read(s->message, offset, client->block, LOOP_BLOCK, octets);
}

/* Sends pieces, and leaves what the socket did not take at once in the connection's queue. */
static int body_send_pieces(smx_client *client, const smx_slice *pieces, size_t count, bool gather,
                            bool *full)
{
    size_t taken = 0;
    int error = gather ? 0 : connection_send(client->connection, pieces, count, &taken);
    for (size_t i = 0; i < count && error == 0; i++) {
        size_t skip = taken < pieces[i].len ? taken : pieces[i].len;
        taken -= skip;
        *full = *full || (!gather && skip < pieces[i].len);
        error = connection_queue(client->connection, slice_from(pieces[i], skip));
    }
    return error;
}

/* One step: *full when the socket took less than all, and `drained` will tell. */
static int body_step(smx_client *client, uint64_t size, bool *full)
{
    smx_slice octets;
    smx_slice pieces[BODY_PIECES];
    size_t count = 0;
    size_t used = 0;
    int error = body_next(client, &octets);
    if (error != 0)
        return error;
    if (octets.len > BODY_STEP)
        octets.len = BODY_STEP;
    error = smx_client_session_body(client->session, client_now(client), octets, &used, pieces,
                                    BODY_PIECES, &count);
    if (error != 0)
        return error;
    client->position += used;
    return body_send_pieces(client, pieces, count, size <= BODY_GATHER, full);
}

static void body_give_block(smx_client *client)
{
    if (client->block != NULL)
        loop_block_give(client->loop, client->block);
    client->block = NULL;
}

void client_body_end(smx_client *client)
{
    client->body_open = false;
    body_give_block(client);
}

/* All that is there has left. */
static int body_reached(smx_client *client)
{
    if (client->submission.stage != SMX_SUBMISSION_WHOLE) {
        smx_client_session_body_wait(client->session);
        body_give_block(client);
        return 0;
    }
    client->body_open = false;
    int error = smx_client_session_body_end(client->session, client_now(client));
    if (error == 0)
        client_push_output(client);
    return error;
}

void client_body_send(smx_client *client)
{
    uint64_t size = body_size(client);
    int error = 0;
    client_push_output(client);
    /* What stands before the body has to leave before it. */
    bool full = smx_client_session_output(client->session).len > 0;
    while (client->position < size && error == 0 && !full)
        error = body_step(client, size, &full);
    if (error == SMX_E_AGAIN) { /* BODY comes again when the chunk before has its reply */
        client->body_open = false;
        return;
    }
    if (error == 0 && !full && client->position == size)
        error = body_reached(client);
    if (error != 0)
        client_end(client, error, "the message could not be sent on");
    if (error != 0 || !client->body_open)
        client_body_end(client);
}
