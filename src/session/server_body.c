/* The body of a message, by DATA (RFC 5321 section 4.5.2) or BDAT (RFC 3030). Octets are handed on
 * up to the very one that makes the body faulty, however the input is cut. From there on the body
 * is thrown away, and answered at its end. */
#include "session/server_states.h"

#include "base/checked.h"

enum { NORMALIZE_PIECE = 8192 }; /* octets normalized at once: bounds the scratch buffer */

/* ---- The commands ---- */

SERVER_CHECK(data)
{
    (void)command;
    if (s->transaction.chunking || s->transaction.binary) /* RFC 3030 sections 2 and 3 */
        return s->transaction.chunking ? SERVER_REPLY(BDAT_BEGUN) : SERVER_REPLY(BINARYMIME);
    if (s->transaction.recipients > 0)
        return NULL;
    return s->transaction.refused ? SERVER_REPLY(NO_VALID_RECIPIENTS) : SERVER_REPLY(NO_RECIPIENTS);
}

/* After DATA within a series of BDAT "the state is indeterminate" (RFC 3030 section 2): it ends. */
SERVER_REFUSE(data)
{
    (void)command;
    if (reply == SERVER_REPLY(BDAT_BEGUN))
        session_server_reset(s, SMX_RESET_PROTOCOL);
    session_server_reply(s, reply);
}

static void begin_body(smx_server_session *s)
{
    memset(&s->body, 0, sizeof s->body);
    s->body_rate = (session_rate){0};
}

SERVER_PROCEED(data)
{
    begin_body(s);
    event->verb = command->verb;
    session_server_ask(s, event, SMX_SERVER_DATA, session_server_answered_data);
}

SERVER_ANSWERED(data)
{
    if (reply->code / 100 == 3) {
        session_server_enter(s, SERVER_DATA);
    } else {
        session_server_reset(s, SMX_RESET_REFUSED);
        session_server_enter(s, SERVER_COMMAND);
    }
    session_server_reply(s, reply);
}

static bool is_over_limit(const smx_server_session *s, uint64_t more)
{
    uint64_t size;
    return s->options.max_size > 0 &&
           (!checked_add_u64(s->body.size, more, &size) || size > s->options.max_size);
}

SERVER_CHECK(bdat)
{
    uint64_t size;
    bool last;
    if (smx_bdat_parse(command->argument, &size, &last) != 0)
        return SERVER_REPLY(BDAT_SYNTAX);
    if (s->transaction.recipients == 0)
        return s->transaction.refused ? SERVER_REPLY(NO_VALID_RECIPIENTS)
                                      : SERVER_REPLY(NO_RECIPIENTS);
    if (!s->transaction.chunking)
        begin_body(s);
    return is_over_limit(s, size) ? SERVER_REPLY(TOO_BIG) : NULL;
}

/* Replies that a chunk gets: for BDAT LAST in LMTP one for each recipient (RFC 2033 section 4.2). */
static uint32_t reply_copies(const smx_server_session *s, bool last)
{
    return s->options.lmtp && last && s->transaction.recipients > 0 ? s->transaction.recipients : 1;
}

/* The octets of a refused chunk are read all the same (RFC 3030 section 2). Where they end is not
 * known if the argument is malformed. */
SERVER_REFUSE(bdat)
{
    uint64_t size;
    bool last;
    if (smx_bdat_parse(command->argument, &size, &last) != 0) {
        session_server_close(s, SMX_CLOSE_PROTOCOL, SERVER_REPLY(BDAT_SYNTAX));
        return;
    }
    bool too_big = reply == SERVER_REPLY(TOO_BIG);
    uint32_t copies = too_big ? reply_copies(s, last) : 1;
    if (too_big)
        session_server_reset(s, SMX_RESET_TOO_BIG);
    if (!s->transaction.chunking)
        begin_body(s);
    s->body.remaining = size;
    s->body.last = last;
    session_server_enter(s, SERVER_CHUNK_REST);
    session_server_defer(s, reply, copies);
}

SERVER_PROCEED(bdat)
{
    if (smx_bdat_parse(command->argument, &s->body.remaining, &s->body.last) != 0)
        return; /* the check has read it before */
    if (s->body.remaining == 0 && !s->body.last && session_server_count_idle(s))
        return;
    if (s->transaction.chunking) {
        session_server_enter(s, SERVER_CHUNK);
        return;
    }
    event->verb = command->verb;
    session_server_ask(s, event, SMX_SERVER_DATA, session_server_answered_bdat);
}

SERVER_ANSWERED(bdat)
{
    if (reply->code / 100 == 3) {
        s->transaction.chunking = true;
        session_server_enter(s, SERVER_CHUNK);
        return;
    }
    uint32_t copies = reply_copies(s, s->body.last);
    session_server_reset(s, SMX_RESET_REFUSED);
    session_server_enter(s, SERVER_CHUNK_REST);
    session_server_defer(s, reply, copies);
}

/* ---- Faults ---- */

static bool normalizes(const smx_server_session *s)
{
    return s->options.bare_newline == SMX_BARE_NEWLINE_NORMALIZE;
}

static bool is_fatal(const smx_server_session *s, uint8_t faults)
{
    return (normalizes(s) ? faults & SMX_FAULT_NUL : faults) != 0;
}

/* The body is faulty from here on. */
static void fail_body(smx_server_session *s, smx_reset_reason reason)
{
    bool chunk = s->state == SERVER_CHUNK;
    uint32_t copies = reply_copies(s, !chunk || s->body.last);
    session_server_enter(s, chunk ? SERVER_CHUNK_REST : SERVER_DATA_REST);
    session_server_reset(s, reason);
    session_server_defer(
        s, reason == SMX_RESET_TOO_BIG ? SERVER_REPLY(TOO_BIG) : SERVER_REPLY(NEWLINE), copies);
}

/* ---- Handing on ---- */

/* Gives the BODY event for a piece that is free of faults, as far as the size allows. */
static void hand_on(smx_server_session *s, smx_slice piece, smx_server_event *event)
{
    if (normalizes(s) && !s->transaction.binary) {
        buffer_clear(&s->scratch);
        if (body_lines_normalize(&s->body.after_cr, piece, &s->scratch) != 0) {
            session_server_nomem(s);
            return;
        }
        piece = buffer_slice(&s->scratch);
    }
    bool over = is_over_limit(s, piece.len);
    if (over)
        piece = slice_to(piece, (size_t)(s->options.max_size - s->body.size));
    s->body.size += piece.len;
    if (piece.len > 0) {
        event->type = SMX_SERVER_BODY;
        event->text = piece;
    }
    if (over)
        fail_body(s, SMX_RESET_TOO_BIG);
}

static smx_slice bounded(const smx_server_session *s, smx_slice in)
{
    return normalizes(s) && in.len > NORMALIZE_PIECE ? slice_to(in, NORMALIZE_PIECE) : in;
}

/* Octets of the body came: its timer and its rate go on. */
static void progress(smx_server_session *s, size_t used)
{
    if (used > 0)
        s->timer_start = s->now;
    session_rate_add(&s->body_rate, s->now, used);
}

void session_server_end_body(smx_server_session *s, const smx_reply *replies, size_t count)
{
    bool taken = false;
    for (size_t i = 0; i < count; i++)
        taken = taken || replies[i].code / 100 == 2;
    if (taken)
        s->idle_commands = 0;
    session_server_reset(s, SMX_RESET_REFUSED); /* EOM was given: no RESET is due */
    session_server_enter(s, SERVER_COMMAND);
    session_server_reply_each(s, replies, count);
}

/* LMTP: the one answer stands for each recipient. */
SERVER_ANSWERED(eom)
{
    uint32_t copies = reply_copies(s, true);
    for (uint32_t i = 1; i < copies; i++) {
        if (session_server_write(s, reply) != 0) {
            session_server_nomem(s);
            return;
        }
    }
    session_server_end_body(s, reply, 1);
}

/* What was seen of a body that was handed on as it came: what is made right is not what was looked at.
 * Where BINARYMIME may have anything, nothing was looked for. */
static unsigned body_traits(const smx_server_session *s)
{
    const smx_newline_check *check = &s->body.check;
    if (s->options.bare_newline != SMX_BARE_NEWLINE_REJECT || s->transaction.binary)
        return 0;
    bool dotted =
        s->transaction.chunking ? check->dotted || check->within_line : s->body.decoder.dotted;
    return SMX_BODY_CLEAN | (dotted ? 0U : (unsigned)SMX_BODY_UNDOTTED);
}

static void give_eom(smx_server_session *s, smx_server_event *event)
{
    event->size = s->body.size;
    event->traits = body_traits(s);
    session_server_ask(s, event, SMX_SERVER_EOM, session_server_answered_eom);
    s->transaction.given = false;
    s->transaction.chunking = false;
    session_server_touch(s);
}

static void end_refused(smx_server_session *s)
{
    session_server_touch(s);
    session_server_enter(s, SERVER_COMMAND);
    session_server_reply_deferred(s);
}

/* ---- DATA ---- */

/* Octets at the start of `in` that the decoder can take without a fatal fault. */
static size_t faultless_dots(const smx_server_session *s, smx_slice in)
{
    smx_dot_decoder decoder = s->body.decoder;
    size_t count = 0;
    while (count < in.len && !decoder.done) {
        smx_slice piece;
        size_t used = smx_dot_decode(&decoder, slice_of(in.data + count, 1), &piece);
        if (is_fatal(s, decoder.faults) || (used == 0 && piece.len == 0))
            break;
        count += used;
    }
    return count;
}

size_t session_server_state_data(smx_server_session *s, smx_slice in, smx_server_event *event)
{
    if (s->body.decoder.done) {
        give_eom(s, event);
        return 0;
    }
    smx_dot_decoder decoder = s->body.decoder;
    smx_slice piece = {0};
    in = bounded(s, in);
    size_t used = smx_dot_decode(&decoder, in, &piece);
    if (is_fatal(s, decoder.faults)) {
        in = slice_to(in, faultless_dots(s, in));
        if (in.len == 0) {
            fail_body(s, SMX_RESET_NEWLINE);
            return 0;
        }
        decoder = s->body.decoder;
        used = smx_dot_decode(&decoder, in, &piece);
    }
    s->body.decoder = decoder;
    progress(s, used);
    s->body.tail = body_tail_add(s->body.tail, piece);
    hand_on(s, piece, event);
    return used;
}

size_t session_server_state_data_rest(smx_server_session *s, smx_slice in, smx_server_event *event)
{
    (void)event;
    size_t used = 0;
    while (!s->body.decoder.done) {
        smx_slice piece = {0};
        size_t step = smx_dot_decode(&s->body.decoder, slice_from(in, used), &piece);
        if (step == 0 && piece.len == 0)
            break;
        s->body.tail = body_tail_add(s->body.tail, piece);
        used += step;
    }
    progress(s, used);
    if (!s->body.decoder.done)
        return used;
    end_refused(s);
    if (body_tail_is_doubtful(s->body.tail)) /* it is not listened to any more */
        session_server_close(s, SMX_CLOSE_PROTOCOL, NULL);
    return used;
}

/* ---- BDAT ---- */

static smx_slice chunk_part(const smx_server_session *s, smx_slice in)
{
    return in.len > s->body.remaining ? slice_to(in, (size_t)s->body.remaining) : in;
}

static size_t faultless_octets(const smx_server_session *s, smx_slice in)
{
    smx_newline_check check = s->body.check;
    size_t count = 0;
    while (count < in.len) {
        smx_newline_check_feed(&check, slice_of(in.data + count, 1));
        if (is_fatal(s, check.faults))
            break;
        count++;
    }
    return count;
}

/* The chunk is whole. */
static void end_chunk(smx_server_session *s, smx_server_event *event)
{
    session_server_touch(s);
    if (!s->body.last) {
        session_server_enter(s, SERVER_COMMAND);
        session_server_reply(s, SERVER_REPLY(CHUNK));
        return;
    }
    if (!s->transaction.binary)
        smx_newline_check_end(&s->body.check);
    if (is_fatal(s, s->body.check.faults)) {
        fail_body(s, SMX_RESET_NEWLINE);
    } else if (s->body.after_cr) { /* held back by body_lines_normalize() */
        s->body.after_cr = false;
        s->body.check = (smx_newline_check){0};
        hand_on(s, SMX_SLICE("\n"), event);
    } else {
        give_eom(s, event);
    }
}

size_t session_server_state_chunk(smx_server_session *s, smx_slice in, smx_server_event *event)
{
    if (s->body.remaining == 0) {
        end_chunk(s, event);
        return 0;
    }
    smx_newline_check check = s->body.check;
    in = chunk_part(s, bounded(s, in));
    if (!s->transaction.binary)
        smx_newline_check_feed(&check, in);
    if (is_fatal(s, check.faults)) {
        in = slice_to(in, faultless_octets(s, in));
        if (in.len == 0) {
            fail_body(s, SMX_RESET_NEWLINE);
            return 0;
        }
        check = s->body.check;
        smx_newline_check_feed(&check, in);
    }
    s->body.check = check;
    s->body.remaining -= in.len;
    progress(s, in.len);
    hand_on(s, in, event);
    return in.len;
}

size_t session_server_state_chunk_rest(smx_server_session *s, smx_slice in, smx_server_event *event)
{
    (void)event;
    in = chunk_part(s, in);
    s->body.remaining -= in.len;
    progress(s, in.len);
    if (s->body.remaining == 0)
        end_refused(s);
    return in.len;
}
