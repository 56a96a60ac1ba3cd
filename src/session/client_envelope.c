/* A transaction up to its body: MAIL, RCPT, DATA (RFC 5321 section 3.3), pipelined where the server
 * offers it (RFC 2920, DESIGN 4.7); its end without a message; RSET and QUIT.
 *
 * RSET is sent only when the server holds a MAIL of ours that did not end with a final reply: it
 * took MAIL and then refused all recipients or DATA, or the owner gave up. After a refused MAIL
 * there is none (RFC 5321 section 4.1.4: the server stays in the same state). With PIPELINING the
 * RSET waits for the next MAIL and costs no round trip; without, it is sent at once. */
#include "session/client_machine.h"

static void client_fail_unless(smx_client_session *s, int error)
{
    if (error != 0)
        session_client_fail(s, error);
}

static int client_check(const smx_client_transaction *t, bool chunking)
{
    if (t->recipient_count == 0 ? !t->in_steps : t->recipients == NULL)
        return SMX_E_INVALID;
    /* RFC 3030 section 3: DATA cannot carry it. */
    return t->mail.body == SMX_BODY_BINARYMIME && !chunking ? SMX_E_INVALID : 0;
}

/* Every recipient from `first` on is written now, so that one that cannot be is known before anything
 * leaves; without PIPELINING they are taken back. LMTP remembers which were taken. */
static int client_write_recipients(smx_client_session *s, size_t first)
{
    bool pipelining = client_offers(s, SMX_EXT_PIPELINING);
    client_transaction *t = &s->transaction;
    if (s->options.lmtp && buffer_reserve(&s->taken, t->given.recipient_count) != 0)
        return SMX_E_NOMEM;
    for (size_t i = first; i < t->given.recipient_count; i++) {
        client_outstanding outstanding = s->outstanding;
        size_t before = buffer_length(&s->output);
        size_t sent = t->rcpt_sent;
        int error = session_client_write_rcpt(s, i);
        if (error != 0)
            return error;
        if (!pipelining) {
            buffer_truncate(&s->output, before);
            s->outstanding = outstanding;
            t->rcpt_sent = sent;
        }
    }
    return 0;
}

static int client_write_data(smx_client_session *s)
{
    int error = session_client_write(s, EXPECT_DATA, "DATA\r\n");
    if (error == 0)
        s->transaction.data_sent = true;
    return error;
}

/* DATA goes with MAIL and RCPT for a single recipient only: with several, some might be refused
 * after the server's 354 (DESIGN 4.7). */
static int client_write_envelope(smx_client_session *s)
{
    const client_transaction *t = &s->transaction;
    int error = 0;
    buffer_clear(&s->taken);
    if (s->server_has_mail)
        error = session_client_write(s, EXPECT_RSET, "RSET\r\n");
    if (error == 0)
        error = session_client_write_mail(s);
    if (error == 0)
        error = client_write_recipients(s, 0);
    if (error == 0 && client_offers(s, SMX_EXT_PIPELINING) && t->given.recipient_count == 1 &&
        !t->chunking && !t->given.in_steps)
        error = client_write_data(s);
    return error;
}

int smx_client_session_begin(smx_client_session *s, uint64_t now,
                             const smx_client_transaction *transaction)
{
    if (s->state != CLIENT_STATE_READY || s->owed != SMX_CLIENT_NONE)
        return SMX_E_STATE;
    bool chunking = client_offers(s, SMX_EXT_CHUNKING) && transaction->has_size &&
                    !transaction->no_chunking && !transaction->in_steps;
    int error = client_check(transaction, chunking);
    if (error != 0)
        return error;
    size_t before = buffer_length(&s->output);
    s->transaction =
        (client_transaction){.given = *transaction, .open = true, .chunking = chunking};
    error = client_write_envelope(s);
    if (error != 0) {
        buffer_truncate(&s->output, before);
        s->outstanding = (client_outstanding){0};
        s->transaction = (client_transaction){0};
        return error;
    }
    s->now = now;
    session_client_enter(s, CLIENT_STATE_MAIL);
    return 0;
}

/* ---- Replies ---- */

void session_client_settle(smx_client_session *s)
{
    s->transaction.open = false;
    if (s->outstanding.used > 0) {
        session_client_enter(s, CLIENT_STATE_DRAIN);
    } else if (s->server_has_mail && !client_offers(s, SMX_EXT_PIPELINING)) {
        session_client_enter(s, CLIENT_STATE_RESET);
        client_fail_unless(s, session_client_write(s, EXPECT_RSET, "RSET\r\n"));
    } else {
        session_client_enter_and_tell(s, CLIENT_STATE_READY, SMX_CLIENT_READY);
    }
}

/* The recipients are settled: the body is wanted. */
static void client_start_data(smx_client_session *s)
{
    if (s->transaction.chunking) {
        session_client_enter_and_tell(s, CLIENT_STATE_BODY, SMX_CLIENT_BODY);
        return;
    }
    session_client_enter(s, CLIENT_STATE_DATA);
    if (!s->transaction.data_sent)
        client_fail_unless(s, client_write_data(s));
}

void session_client_on_reset(smx_client_session *s, client_expect what,
                             const smx_reply_lines *reply, smx_client_event *event)
{
    (void)what;
    (void)event;
    if (client_reply_class(reply) != 2) {
        session_client_fail_by_reply(s, reply);
        return;
    }
    s->server_has_mail = false;
    if (s->state == CLIENT_STATE_RESET)
        session_client_settle(s);
}

void session_client_on_mail(smx_client_session *s, client_expect what, const smx_reply_lines *reply,
                            smx_client_event *event)
{
    if (what == EXPECT_RSET) {
        session_client_on_reset(s, what, reply, event);
        return;
    }
    if (client_reply_class(reply) == 3) {
        session_client_fail_by_reply(s, reply);
        return;
    }
    event->type = SMX_CLIENT_MAIL_REPLY;
    event->reply = *reply;
    if (client_reply_refuses(reply)) {
        session_client_settle(s);
        return;
    }
    s->server_has_mail = true;
    if (s->transaction.given.recipient_count == 0) {
        session_client_enter_and_tell(s, CLIENT_STATE_DECIDE, SMX_CLIENT_DECIDE);
        return;
    }
    session_client_enter(s, CLIENT_STATE_RCPT);
    if (s->transaction.rcpt_sent == 0)
        client_fail_unless(s, session_client_write_rcpt(s, 0));
}

static void client_after_recipients(smx_client_session *s)
{
    const client_transaction *t = &s->transaction;
    if (t->rcpt_taken == 0 && !t->given.in_steps)
        session_client_settle(s);
    else if (t->given.in_steps || (t->rcpt_taken < t->given.recipient_count && t->given.hold_data))
        session_client_enter_and_tell(s, CLIENT_STATE_DECIDE, SMX_CLIENT_DECIDE);
    else
        client_start_data(s);
}

void session_client_on_rcpt(smx_client_session *s, client_expect what, const smx_reply_lines *reply,
                            smx_client_event *event)
{
    (void)what;
    client_transaction *t = &s->transaction;
    if (client_reply_class(reply) == 3) {
        session_client_fail_by_reply(s, reply);
        return;
    }
    bool taken = client_reply_class(reply) == 2;
    event->type = SMX_CLIENT_RCPT_REPLY;
    event->reply = *reply;
    event->index = t->rcpt_answered++;
    t->rcpt_taken += taken;
    if (s->options.lmtp)
        s->taken.data[s->taken.end++] = (char)taken;
    if (t->rcpt_answered == t->given.recipient_count)
        client_after_recipients(s);
    else if (t->rcpt_sent < t->given.recipient_count && t->rcpt_sent == t->rcpt_answered)
        client_fail_unless(s, session_client_write_rcpt(s, t->rcpt_sent));
}

void session_client_on_data(smx_client_session *s, client_expect what, const smx_reply_lines *reply,
                            smx_client_event *event)
{
    (void)what;
    if (client_reply_class(reply) == 3 && s->behind > 0) {
        /* A reply to what has not been sent: no body, and the next step judges what it says. */
        session_client_enter(s, CLIENT_STATE_BODY);
    } else if (client_reply_class(reply) == 3) {
        session_client_enter_and_tell(s, CLIENT_STATE_BODY, SMX_CLIENT_BODY);
    } else if (client_reply_refuses(reply)) {
        event->type = SMX_CLIENT_DATA_REPLY;
        event->reply = *reply;
        session_client_settle(s);
    } else {
        session_client_fail_by_reply(s, reply);
    }
}

/* Replies to what is over already. A 354 there would have us send a message that nobody is to get,
 * and RFC 2920 section 3.1 a lone dot that some servers deliver: the connection is closed without a
 * dot instead. A 250 to the end of a body with a refused chunk is as senseless. */
void session_client_on_drain(smx_client_session *s, client_expect what,
                             const smx_reply_lines *reply, smx_client_event *event)
{
    (void)event;
    if (client_reply_class(reply) == 3 || (what == EXPECT_FINAL && !client_reply_refuses(reply))) {
        session_client_fail_in(s, s->reply_phase, SMX_E_PROTOCOL, reply);
        return;
    }
    if (what == EXPECT_MAIL && client_reply_class(reply) == 2)
        s->server_has_mail = true;
    if (what == EXPECT_RSET)
        session_client_on_reset(s, what, reply, event);
    if (s->state == CLIENT_STATE_DRAIN)
        session_client_settle(s);
}

/* A server that refuses even this (RFC 5321 section 4.1.1.9) would refuse a message too. */
void session_client_on_noop(smx_client_session *s, client_expect what, const smx_reply_lines *reply,
                            smx_client_event *event)
{
    (void)what;
    (void)event;
    if (client_reply_class(reply) == 2)
        session_client_enter_and_tell(s, CLIENT_STATE_READY, SMX_CLIENT_READY);
    else
        session_client_fail_by_reply(s, reply);
}

void session_client_on_quit(smx_client_session *s, client_expect what, const smx_reply_lines *reply,
                            smx_client_event *event)
{
    (void)what;
    (void)reply;
    (void)event;
    session_client_enter_and_tell(s, CLIENT_STATE_OVER, SMX_CLIENT_CLOSED);
}

/* ---- The owner's decisions ---- */

/* The owner decides; in steps that may be before DECIDE is told. */
static bool client_may_decide(const smx_client_session *s)
{
    return s->state == CLIENT_STATE_DECIDE &&
           (s->owed == SMX_CLIENT_NONE ||
            (s->owed == SMX_CLIENT_DECIDE && s->transaction.given.in_steps));
}

/* The first of the new recipients goes out now if nothing else will see to it. */
static int client_ask_for_next(smx_client_session *s)
{
    const client_transaction *t = &s->transaction;
    int error = 0;
    if (s->state != CLIENT_STATE_DECIDE)
        return 0;
    if (t->rcpt_sent == t->rcpt_answered)
        error = session_client_write_rcpt(s, t->rcpt_sent);
    if (error != 0)
        return error;
    s->owed = SMX_CLIENT_NONE;
    session_client_enter(s, CLIENT_STATE_RCPT);
    return 0;
}

int smx_client_session_recipients(smx_client_session *s, uint64_t now, const smx_rcpt *recipients,
                                  size_t count)
{
    client_transaction *t = &s->transaction;
    bool gathering = s->state == CLIENT_STATE_MAIL || s->state == CLIENT_STATE_RCPT;
    if (!t->given.in_steps || !t->open || t->data_sent || count < t->given.recipient_count ||
        (!gathering && !client_may_decide(s)))
        return SMX_E_STATE;
    client_transaction before = *t;
    client_outstanding outstanding = s->outstanding;
    size_t written = buffer_length(&s->output);
    s->now = now;
    t->given.recipients = recipients;
    t->given.recipient_count = count;
    if (count == before.given.recipient_count)
        return 0;
    int error = client_write_recipients(s, before.given.recipient_count);
    if (error == 0)
        error = client_ask_for_next(s);
    if (error != 0) {
        buffer_truncate(&s->output, written);
        s->outstanding = outstanding;
        t->rcpt_sent = before.rcpt_sent;
        t->given.recipient_count = before.given.recipient_count;
    }
    return error;
}

int smx_client_session_proceed(smx_client_session *s, uint64_t now)
{
    if (!client_may_decide(s) || s->transaction.rcpt_taken == 0)
        return SMX_E_STATE;
    s->owed = SMX_CLIENT_NONE;
    s->now = now;
    client_start_data(s);
    return 0;
}

/* A transaction that can be given up: no body is open, nor may one open (DATA is on its way). */
static bool client_can_give_up(const smx_client_session *s)
{
    const client_transaction *t = &s->transaction;
    switch (s->state) {
    case CLIENT_STATE_MAIL:
    case CLIENT_STATE_RCPT:
    case CLIENT_STATE_DECIDE:
        return !t->data_sent;
    case CLIENT_STATE_BODY:
        return t->chunking && !t->chunked;
    case CLIENT_STATE_DRAIN:
    case CLIENT_STATE_RESET:
        return true;
    default:
        return false;
    }
}

int smx_client_session_reset(smx_client_session *s, uint64_t now)
{
    if (!client_can_give_up(s))
        return SMX_E_STATE;
    s->now = now;
    s->owed = SMX_CLIENT_NONE;
    if (s->state != CLIENT_STATE_RESET)
        session_client_settle(s);
    return 0;
}

/* A command of its own between two transactions. */
static int client_say(smx_client_session *s, uint64_t now, client_state state, client_expect what,
                      const char *line)
{
    if (s->state != CLIENT_STATE_READY || s->owed != SMX_CLIENT_NONE)
        return SMX_E_STATE;
    int error = session_client_write(s, what, line);
    if (error != 0)
        return error;
    s->now = now;
    session_client_enter(s, state);
    return 0;
}

int smx_client_session_noop(smx_client_session *s, uint64_t now)
{
    return client_say(s, now, CLIENT_STATE_NOOP, EXPECT_NOOP, "NOOP\r\n");
}

int smx_client_session_quit(smx_client_session *s, uint64_t now)
{
    return client_say(s, now, CLIENT_STATE_QUIT, EXPECT_QUIT, "QUIT\r\n");
}
