/* The body of a message, by DATA or by BDAT (RFC 3030), and the final reply.
 *
 * Nothing is copied: the pieces are slices of what the owner handed in. A body with a bare CR, a
 * bare LF or a NUL ends the session either way (DESIGN 4.13, ATTACKS 4), without a dot. One that is
 * known to have none, and where DATA carries it no line that begins with a dot, is not looked at. */
#include <stdio.h>

#include "session/client_machine.h"

static bool client_body_is_open(const smx_client_session *s)
{
    return s->state == CLIENT_STATE_BODY && s->owed == SMX_CLIENT_NONE;
}

static int client_fault(smx_client_session *s)
{
    session_client_fail(s, SMX_E_PROTOCOL);
    return SMX_E_PROTOCOL;
}

/* Without PIPELINING a chunk waits for the reply to the one before (RFC 3030 section 4.2). */
static bool client_chunk_must_wait(const smx_client_session *s)
{
    return session_client_next_expected(s) == EXPECT_BDAT && !client_offers(s, SMX_EXT_PIPELINING);
}

static int client_chunk(smx_client_session *s, smx_slice in, size_t *used, smx_slice *pieces,
                        size_t capacity, size_t *count)
{
    client_transaction *t = &s->transaction;
    if (client_chunk_must_wait(s))
        return SMX_E_AGAIN;
    if (in.len > 0 && capacity < 2)
        return SMX_E_INVALID;
    if (in.len > 0) {
        if (!t->trusted)
            smx_newline_check_feed(&t->newlines, in);
        if (t->newlines.faults != 0)
            return client_fault(s);
        int len = snprintf(t->chunk_header, sizeof t->chunk_header, "BDAT %zu\r\n", in.len);
        pieces[0] = slice_of(t->chunk_header, (size_t)len);
        pieces[1] = in;
        session_client_expect_reply(s, EXPECT_BDAT, 1);
        t->chunked = true;
    }
    *used = in.len;
    *count = in.len > 0 ? 2 : 0;
    return 0;
}

static int client_stuff(smx_client_session *s, smx_slice in, size_t *used, smx_slice *pieces,
                        size_t capacity, size_t *count)
{
    client_transaction *t = &s->transaction;
    size_t taken = 0;
    size_t n = 0;
    while (n < capacity && taken < in.len) {
        smx_slice piece;
        taken += smx_dot_encode(&t->dots, slice_from(in, taken), &piece);
        if (t->dots.faults != 0)
            return client_fault(s);
        if (piece.len > 0) /* a CR is held back until its LF is seen */
            pieces[n++] = piece;
    }
    *used = taken;
    *count = n;
    return 0;
}

/* By DATA, octets that need no dots. */
static int client_pass(smx_slice in, size_t *used, smx_slice *pieces, size_t capacity,
                       size_t *count)
{
    if (in.len > 0 && capacity == 0)
        return SMX_E_INVALID;
    if (in.len > 0)
        pieces[0] = in;
    *used = in.len;
    *count = in.len > 0;
    return 0;
}

int smx_client_session_body(smx_client_session *s, uint64_t now, smx_slice in, size_t *used,
                            smx_slice *pieces, size_t capacity, size_t *count)
{
    if (!client_body_is_open(s))
        return SMX_E_STATE;
    s->now = now;
    session_client_enter(s, CLIENT_STATE_BODY);
    if (s->transaction.chunking)
        return client_chunk(s, in, used, pieces, capacity, count);
    if (s->transaction.trusted)
        return client_pass(in, used, pieces, capacity, count);
    return client_stuff(s, in, used, pieces, capacity, count);
}

/* Before the first octet, and wherever a line may begin: not within one, nor behind a CR. */
static bool client_is_at_line(const client_transaction *t)
{
    return t->chunking ? !t->newlines.after_cr : t->dots.state == 0;
}

bool smx_client_session_trust(smx_client_session *s, unsigned traits)
{
    client_transaction *t = &s->transaction;
    unsigned needed =
        t->chunking ? SMX_BODY_CLEAN : (unsigned)SMX_BODY_CLEAN | (unsigned)SMX_BODY_UNDOTTED;
    t->trusted = (traits & needed) == needed && client_is_at_line(t);
    return t->trusted && !t->chunking;
}

int smx_client_session_body_end_octets(smx_client_session *s, smx_slice *end)
{
    int error = buffer_reserve(&s->output, sizeof "\r\n.\r\n");
    if (error == 0)
        *end = SMX_SLICE(".\r\n");
    return error;
}

void smx_client_session_body_wait(smx_client_session *s)
{
    if (client_body_is_open(s))
        s->deadline = SMX_DEADLINE_NEVER;
}

/* From here on the last octet that leaves decides whether an outcome can be unknown. */
static int client_write_end(smx_client_session *s, smx_slice end)
{
    client_transaction *t = &s->transaction;
    int error = buffer_append(&s->output, end);
    if (error != 0)
        return error;
    session_client_expect_reply(s, EXPECT_FINAL, s->options.lmtp ? t->rcpt_taken : 1);
    t->end_written = true;
    t->end_unsent = buffer_length(&s->output);
    return 0;
}

static int client_end_chunks(smx_client_session *s)
{
    smx_newline_check_end(&s->transaction.newlines);
    if (s->transaction.newlines.faults != 0)
        return client_fault(s);
    if (client_chunk_must_wait(s))
        return 0;
    return client_write_end(s, SMX_SLICE("BDAT 0 LAST\r\n"));
}

static int client_end_dots(smx_client_session *s)
{
    /* Asked once only: memory first. */
    int error = buffer_reserve(&s->output, sizeof "\r\n.\r\n");
    if (error != 0)
        return error;
    smx_slice end = smx_dot_end(&s->transaction.dots);
    if (s->transaction.dots.faults != 0)
        return client_fault(s);
    return client_write_end(s, end);
}

int smx_client_session_body_end(smx_client_session *s, uint64_t now)
{
    if (!client_body_is_open(s))
        return SMX_E_STATE;
    s->now = now;
    int error = s->transaction.chunking ? client_end_chunks(s) : client_end_dots(s);
    if (error == 0)
        session_client_enter(s, CLIENT_STATE_FINAL);
    return error;
}

/* ---- Replies ---- */

/* A chunk was refused: the transaction is over (RFC 3030 section 2). In LMTP nobody can say how
 * many replies a BDAT LAST that is on its way will get then, so the connection ends. */
static void client_chunk_refused(smx_client_session *s, const smx_reply_lines *reply,
                                 smx_client_event *event)
{
    event->type = SMX_CLIENT_DATA_REPLY;
    event->reply = *reply;
    session_client_settle(s);
    if (s->options.lmtp && s->transaction.end_written)
        session_client_fail(s, SMX_E_PROTOCOL);
}

void session_client_on_body(smx_client_session *s, client_expect what, const smx_reply_lines *reply,
                            smx_client_event *event)
{
    (void)what;
    if (client_reply_refuses(reply))
        client_chunk_refused(s, reply, event);
    else if (client_reply_class(reply) != 2)
        session_client_fail_by_reply(s, reply);
    else if (s->state == CLIENT_STATE_BODY && !client_offers(s, SMX_EXT_PIPELINING))
        s->owed = SMX_CLIENT_BODY;
    else if (s->state == CLIENT_STATE_FINAL && !s->transaction.end_written &&
             client_write_end(s, SMX_SLICE("BDAT 0 LAST\r\n")) != 0)
        session_client_fail(s, SMX_E_NOMEM);
}

/* LMTP: the recipient that this reply is for (RFC 2033 section 4.2). */
static size_t client_final_recipient(smx_client_session *s)
{
    client_transaction *t = &s->transaction;
    if (!s->options.lmtp)
        return 0;
    while (s->taken.data[t->final_index] == 0)
        t->final_index++;
    return t->final_index++;
}

void session_client_on_final(smx_client_session *s, client_expect what,
                             const smx_reply_lines *reply, smx_client_event *event)
{
    client_transaction *t = &s->transaction;
    if (what == EXPECT_BDAT) {
        session_client_on_body(s, what, reply, event);
        return;
    }
    if (client_reply_class(reply) == 3) {
        session_client_fail_by_reply(s, reply);
        return;
    }
    event->type = SMX_CLIENT_REPLY;
    event->reply = *reply;
    event->index = client_final_recipient(s);
    /* A refused BDAT may leave the server anywhere (RFC 3030 section 2): RSET. */
    s->server_has_mail = t->chunking && client_reply_refuses(reply);
    if (s->outstanding.used == 0)
        session_client_settle(s);
    /* The reply is the outcome, and the server closes all the same. */
    if (reply->code == 421)
        session_client_fail(s, SMX_E_CLOSED);
}
