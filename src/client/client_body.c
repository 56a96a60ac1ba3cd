/* The body of a submission on its way out: the new header section, then the message from its body
 * offset on, piece by piece as the socket takes them. Memory is sent as it lies; a file is read
 * through one block of the loop's. A message that needs no dots (nearly all) is not looked at: header
 * section, message and final dot leave in one write, and nothing is copied to wait. Of a submission in
 * steps as much is sent as is there; a slice of a message that grows is not kept beyond the step. */
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

/* The file's octets, which stay until all of them have left. */
static int body_read_block(smx_client *client, uint64_t offset, smx_slice *octets)
{
    if (client->block == NULL)
        client->block = loop_block_take(client->loop);
    if (client->block == NULL)
        return SMX_E_NOMEM;
    int error =
        smx_message_read(client->submission.message, offset, client->block, LOOP_BLOCK, octets);
    if (error != 0)
        return error;
    client->block_from = offset;
    client->block_length = octets->len;
    return 0;
}

static int body_next(smx_client *client, smx_slice *octets)
{
    const smx_submission *s = &client->submission;
    if (client->position < s->header.len) {
        *octets = slice_from(s->header, (size_t)client->position);
        return 0;
    }
    uint64_t offset = s->body_offset + (client->position - s->header.len);
    if (offset >= client->block_from && offset - client->block_from < client->block_length) {
        size_t before = (size_t)(offset - client->block_from);
        *octets = slice_of(client->block + before, client->block_length - before);
        return 0;
    }
    int error = smx_message_read(s->message, offset, NULL, 0, octets);
    return error == SMX_E_INVALID ? body_read_block(client, offset, octets) : error;
}

/* What leaves in one step: pieces that the machine has made, and then, of a message that may go as it
 * is, its own octets and the final dot. Of these the socket takes what it can; the rest is looked up
 * again. */
typedef struct body_step {
    smx_slice pieces[BODY_PIECES + 2];
    size_t count;  /* of the machine's pieces */
    smx_slice raw; /* behind them */
    smx_slice end; /* ... if that is all */
} body_step;

/* The next octets, dot-stuffed or as a chunk. */
static int body_encode(smx_client *client, body_step *step)
{
    smx_slice octets;
    size_t used = 0;
    int error = body_next(client, &octets);
    if (error != 0)
        return error;
    if (octets.len > BODY_STEP)
        octets.len = BODY_STEP;
    error = smx_client_session_body(client->session, client_now(client), octets, &used,
                                    step->pieces, BODY_PIECES, &step->count);
    if (error == 0)
        client->position += used;
    return error;
}

/* Where the message begins: whether all of it may go as it is. */
static void body_trust(smx_client *client)
{
    const smx_submission *s = &client->submission;
    if (client->position == s->header.len && s->message != NULL && s->stage == SMX_SUBMISSION_WHOLE)
        client->as_it_is =
            smx_client_session_trust(client->session, smx_message_traits(s->message));
}

/* The message's octets, and the dot if these are the last. */
static int body_pass(smx_client *client, uint64_t size, body_step *step)
{
    smx_slice octets;
    size_t used;
    size_t count = 0;
    int error = body_next(client, &octets);
    if (error == 0)
        error = smx_client_session_body(client->session, client_now(client), octets, &used,
                                        &step->raw, 1, &count);
    if (error == 0 && client->position + octets.len == size)
        error = smx_client_session_body_end_octets(client->session, &step->end);
    return error;
}

/* Sends what the socket takes at once: *taken octets. The machine's pieces are queued if need be. */
static int body_send_step(smx_client *client, body_step *step, size_t *taken)
{
    size_t count = step->count;
    size_t left;
    if (step->raw.len > 0)
        step->pieces[count++] = step->raw;
    if (step->end.len > 0)
        step->pieces[count++] = step->end;
    int error = client->as_it_is
                    ? connection_send_in_place(client->connection, step->pieces, count, taken)
                    : connection_send(client->connection, step->pieces, count, taken);
    left = *taken;
    for (size_t i = 0; i < step->count && error == 0; i++) {
        size_t skip = left < step->pieces[i].len ? left : step->pieces[i].len;
        left -= skip;
        error = connection_queue(client->connection, slice_from(step->pieces[i], skip));
    }
    return error;
}

/* Copies all of it to the connection's queue. */
static int body_queue_step(smx_client *client, const body_step *step, size_t *taken)
{
    int error = 0;
    for (size_t i = 0; i < step->count && error == 0; i++) {
        *taken += step->pieces[i].len;
        error = connection_queue(client->connection, step->pieces[i]);
    }
    *taken += step->raw.len;
    return error == 0 ? connection_queue(client->connection, step->raw) : error;
}

/* Counts what has left of the message and of the dot behind it: true if that is less than all. */
static bool body_count(smx_client *client, const body_step *step, size_t taken)
{
    size_t made = 0;
    for (size_t i = 0; i < step->count; i++)
        made += step->pieces[i].len;
    if (taken < made)
        return true;
    size_t raw = taken - made < step->raw.len ? taken - made : step->raw.len;
    client->position += raw;
    client->end_taken = taken - made - raw;
    return raw < step->raw.len;
}

/* One step: *full when the socket took less than all, and `drained` will tell. */
static int body_take_step(smx_client *client, uint64_t size, bool *full)
{
    body_step step; /* its pieces are as many as are counted */
    step.count = 0;
    step.raw = (smx_slice){0};
    step.end = (smx_slice){0};
    size_t taken = 0;
    int error = 0;
    body_trust(client);
    if (!client->as_it_is)
        error = body_encode(client, &step);
    body_trust(client);
    if (error == 0 && client->as_it_is && client->position < size)
        error = body_pass(client, size, &step);
    if (error != 0)
        return error;
    /* In TLS a small body shares a record with its dot. */
    bool gather =
        size <= BODY_GATHER && (!client->as_it_is || connection_is_tls(client->connection));
    error = gather ? body_queue_step(client, &step, &taken) : body_send_step(client, &step, &taken);
    if (error == 0)
        *full = body_count(client, &step, taken);
    return error;
}

static void body_give_block(smx_client *client)
{
    if (client->block != NULL)
        loop_block_give(client->loop, client->block);
    client->block = NULL;
    client->block_length = 0;
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
    if (error != 0)
        return error;
    smx_client_session_sent(client->session, client->end_taken);
    client->end_taken = 0;
    client_push_output(client);
    return 0;
}

void client_body_send(smx_client *client)
{
    uint64_t size = body_size(client);
    int error = 0;
    client_push_output(client);
    /* What stands before the body has to leave before it. */
    bool full = smx_client_session_output(client->session).len > 0;
    while (client->position < size && error == 0 && !full)
        error = body_take_step(client, size, &full);
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
