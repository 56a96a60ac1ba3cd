/* Commands of the client: one row for each, with the rules it stands under, what refuses it here, and
 * what the machine must know when it has gone upstream. A line is read again, not kept, when it has to
 * wait: for room, for the replies before it, for the greeting, or for the owner's decision. */
#include "proxy/relay_machine.h"

enum relay_rule {
    RELAY_ALONE = 1,      /* waits for all replies before it */
    RELAY_BEFORE_TLS = 2, /* also where TLS is required first */
    RELAY_ALONE_IF_ASKED = 4,
    RELAY_IS_MAIL = 8, /* of a transaction: the machine answers it when nobody gets the message */
};

enum { RELAY_NO_PHASE = SMX_HOOK_PHASE_COUNT };

typedef struct relay_input {
    smx_command command;
    smx_slice line; /* with CRLF */
    bool has_more;  /* octets stand behind it */
} relay_input;

typedef struct relay_row {
    uint8_t kind;  /* relay_kind */
    uint8_t phase; /* smx_hook_phase, or RELAY_NO_PHASE */
    uint8_t rules;
    const smx_reply *(*check)(relay *r, const relay_input *in); /* NULL reply: it is right */
    void (*passed)(relay *r, const relay_input *in);
    void (*answered)(relay *r, const relay_input *in); /* here, not by the upstream */
} relay_row;

/* ---- what passed ---- */

static void passed_lock(relay *r, const relay_input *in)
{
    (void)in;
    relay_enter(r, RELAY_STATE_LOCKED);
}

static void passed_quit(relay *r, const relay_input *in)
{
    (void)in;
    relay_enter(r, RELAY_STATE_DEAF);
}

static void passed_mail(relay *r, const relay_input *in)
{
    smx_slice rest = in->command.argument;
    smx_slice word;
    while (slice_cut(&rest, ' ', &word))
        r->prdr = r->prdr || slice_equal_nocase(word, SMX_SLICE("PRDR"));
}

static void answered_with_yes(relay *r, const relay_input *in)
{
    (void)in;
    relay_say(r, RELAY_SAY(TAKEN));
}

/* ---- STARTTLS (RFC 3207) ---- */

static const smx_reply *check_starttls(relay *r, const relay_input *in)
{
    if (r->options->client_tls != RELAY_TLS_PASSED && !relay_offers_starttls(r))
        return RELAY_SAY(NO_TLS);
    if (!in->has_more)
        return r->authenticated ? RELAY_SAY(TLS_AFTER_AUTH) : NULL;
    relay_cut(r); /* ATTACKS 12 */
    relay_close(r, RELAY_SAY(BEHIND_TLS));
    return RELAY_SAY(BEHIND_TLS);
}

static void answered_starttls(relay *r, const relay_input *in)
{
    (void)in;
    relay_say(r, RELAY_SAY(START_TLS));
    r->secure_due = RELAY_CLIENT + 1;
    relay_enter(r, RELAY_STATE_LOCKED);
}

/* ---- AUTH (RFC 4954) ---- */

static const smx_reply *check_auth(relay *r, const relay_input *in)
{
    smx_slice rest = in->command.argument;
    smx_slice mechanism = {0};
    if (!relay_offers_auth(r))
        return RELAY_SAY(AUTH_HIDDEN);
    (void)slice_cut(&rest, ' ', &mechanism);
    return relay_is_bound_mechanism(mechanism) ? RELAY_SAY(AUTH_BOUND) : NULL;
}

/* ---- messages ---- */

static const smx_reply *check_data(relay *r, const relay_input *in)
{
    (void)in;
    return r->added_refused ? RELAY_SAY(ADDED_REFUSED) : NULL;
}

static void answered_data(relay *r, const relay_input *in)
{
    (void)in;
    relay_say(r, RELAY_SAY(DATA));
    relay_data_taken(r);
}

/* Where the octets of a malformed BDAT end is not known (ATTACKS 8); to an upstream that does not
 * know the command they would be commands. */
static const smx_reply *check_bdat(relay *r, const relay_input *in)
{
    uint64_t size;
    bool last;
    if (smx_bdat_parse(in->command.argument, &size, &last) != 0) {
        relay_cut(r);
        relay_close(r, RELAY_SAY(BDAT_SYNTAX));
        return RELAY_SAY(BDAT_SYNTAX);
    }
    return (r->offered & SMX_EXT_CHUNKING) == 0 ? RELAY_SAY(NO_CHUNKING) : check_data(r, in);
}

static void passed_bdat(relay *r, const relay_input *in)
{
    uint64_t size = 0;
    bool last = false;
    int error = smx_bdat_parse(in->command.argument, &size, &last);
    if (error == 0) /* the check has read it before */
        relay_chunk_begin(r, size, last);
}

/* ---- XCLIENT and its kin: for those whom the upstream trusts by their address, which is ours ---- */

static const smx_reply *check_xclient(relay *r, const relay_input *in)
{
    (void)in;
    bool may = r->may_xclient && (r->offered & SMX_EXT_XCLIENT) != 0;
    return may ? NULL : RELAY_SAY(NO_XCLIENT);
}

static const smx_reply *check_unknown(relay *r, const relay_input *in)
{
    bool is_kin = slice_equal_nocase(in->command.name, SMX_SLICE("XFORWARD"));
    return is_kin ? check_xclient(r, in) : NULL;
}

/* ---- the table ---- */

static const relay_row rows[SMX_VERB_COUNT] = {
    [SMX_VERB_UNKNOWN] = {RELAY_KIND_UNKNOWN, RELAY_NO_PHASE, 0, check_unknown, NULL, NULL},
    [SMX_VERB_HELO] = {RELAY_KIND_HELO, SMX_HOOK_HELO, RELAY_BEFORE_TLS, NULL, NULL, NULL},
    [SMX_VERB_EHLO] = {RELAY_KIND_HELLO, SMX_HOOK_HELO, RELAY_BEFORE_TLS, NULL, NULL, NULL},
    [SMX_VERB_LHLO] = {RELAY_KIND_HELLO, SMX_HOOK_HELO, RELAY_BEFORE_TLS, NULL, NULL, NULL},
    [SMX_VERB_MAIL] = {RELAY_KIND_MAIL, SMX_HOOK_MAIL, RELAY_IS_MAIL, NULL, passed_mail,
                       answered_with_yes},
    [SMX_VERB_RCPT] = {RELAY_KIND_RCPT, SMX_HOOK_RCPT, RELAY_IS_MAIL, NULL, NULL,
                       answered_with_yes},
    [SMX_VERB_DATA] = {RELAY_KIND_DATA, SMX_HOOK_DATA, RELAY_IS_MAIL | RELAY_ALONE_IF_ASKED,
                       check_data, passed_lock, answered_data},
    [SMX_VERB_BDAT] = {RELAY_KIND_CHUNK, SMX_HOOK_DATA, RELAY_IS_MAIL | RELAY_ALONE_IF_ASKED,
                       check_bdat, passed_bdat, passed_bdat},
    [SMX_VERB_RSET] = {RELAY_KIND_RSET, RELAY_NO_PHASE, RELAY_BEFORE_TLS, NULL, NULL, NULL},
    [SMX_VERB_NOOP] = {RELAY_KIND_OTHER, RELAY_NO_PHASE, RELAY_BEFORE_TLS, NULL, NULL, NULL},
    [SMX_VERB_VRFY] = {RELAY_KIND_OTHER, RELAY_NO_PHASE, 0, NULL, NULL, NULL},
    [SMX_VERB_EXPN] = {RELAY_KIND_OTHER, RELAY_NO_PHASE, 0, NULL, NULL, NULL},
    [SMX_VERB_HELP] = {RELAY_KIND_OTHER, RELAY_NO_PHASE, 0, NULL, NULL, NULL},
    [SMX_VERB_QUIT] = {RELAY_KIND_QUIT, RELAY_NO_PHASE, RELAY_BEFORE_TLS, NULL, passed_quit, NULL},
    [SMX_VERB_STARTTLS] = {RELAY_KIND_STARTTLS, RELAY_NO_PHASE, RELAY_BEFORE_TLS | RELAY_ALONE,
                           check_starttls, passed_lock, answered_starttls},
    [SMX_VERB_AUTH] = {RELAY_KIND_AUTH, RELAY_NO_PHASE, 0, check_auth, passed_lock, NULL},
    [SMX_VERB_XCLIENT] = {RELAY_KIND_XCLIENT, RELAY_NO_PHASE, 0, check_xclient, NULL, NULL},
    [SMX_VERB_TURN] = {RELAY_KIND_OTHER, RELAY_NO_PHASE, 0, NULL, NULL, NULL},
    [SMX_VERB_ETRN] = {RELAY_KIND_OTHER, RELAY_NO_PHASE, 0, NULL, NULL, NULL},
};

/* ---- a line ---- */

static bool is_first_data(const relay *r)
{
    return !r->chunking;
}

/* A phase is asked about once: DATA at the first BDAT only. */
static bool is_asked(const relay *r, const relay_row *row)
{
    if (row->phase == RELAY_NO_PHASE || r->discarding || !relay_asks(r, row->phase))
        return false;
    return row->phase != SMX_HOOK_DATA || is_first_data(r);
}

static bool must_wait(const relay *r, const relay_row *row)
{
    bool asked = (row->rules & RELAY_ALONE_IF_ASKED) != 0 &&
                 (r->options->asks != 0 || relay_is_filtered(r)) && is_first_data(r);
    bool alone = asked || (row->rules & RELAY_ALONE) != 0;
    return !relay_has_room(r) || (alone && r->wait_count > 0);
}

static const smx_reply *find_wrong(relay *r, const relay_row *row, const relay_input *in)
{
    bool clear = r->options->client_tls == RELAY_TLS_REQUIRED && !r->client_tls;
    if (clear && (row->rules & RELAY_BEFORE_TLS) == 0)
        return RELAY_SAY(TLS_REQUIRED);
    return row->check == NULL ? NULL : row->check(r, in);
}

/* BDAT's octets come whether it is taken or not (RFC 3030 section 2). */
static void skip_chunk(relay *r, const relay_row *row, const relay_input *in)
{
    uint64_t size;
    bool last;
    if (row->kind != RELAY_KIND_CHUNK || r->state != RELAY_STATE_COMMAND ||
        smx_bdat_parse(in->command.argument, &size, &last) != 0)
        return;
    r->remaining = size;
    r->last_chunk = last;
    r->chunk_local = false;
    relay_enter(r, RELAY_STATE_CHUNK_REST);
}

/* The upstream hears nothing of this one: STARTTLS is ours, and so is a message that nobody gets or
 * that is held until it is whole. */
static bool is_answered_here(const relay *r, const relay_row *row)
{
    if (row->kind == RELAY_KIND_STARTTLS)
        return r->options->client_tls != RELAY_TLS_PASSED;
    if ((row->rules & RELAY_IS_MAIL) == 0)
        return false;
    bool data = row->phase == SMX_HOOK_DATA;
    return r->discarding || (data && r->options->hold && r->recipients > 0);
}

static void begin_discard(relay *r)
{
    if (r->in_transaction)
        relay_send_own(r, RELAY_KIND_OWN_RSET, SMX_SLICE("RSET\r\n"));
    relay_reset(r);
    r->discarding = true;
    r->in_transaction = true;
}

static void forward(relay *r, const relay_row *row, const relay_input *in, relay_event *event)
{
    bool changed = r->own_changed;
    r->own_changed = false;
    if (changed && buffer_length(&r->scratch) == 0) {
        relay_say(r, RELAY_SAY(TAKEN));
        return;
    }
    relay_command(event, row->kind, changed ? buffer_slice(&r->scratch) : in->line);
    event->secret = row->kind == RELAY_KIND_AUTH;
    if (row->kind != RELAY_KIND_CHUNK)
        relay_await(r, row->kind);
    if (row->passed != NULL)
        row->passed(r, in);
}

static void apply(relay *r, const relay_row *row, const relay_input *in, relay_event *event)
{
    uint8_t decided = r->decided;
    r->decided = 0;
    r->asking = false;
    if (decided == 1 + RELAY_DISCARD && (row->rules & RELAY_IS_MAIL) != 0)
        begin_discard(r);
    if (!is_answered_here(r, row)) {
        if (r->discarding && (row->rules & RELAY_IS_MAIL) == 0)
            relay_reset(r);
        forward(r, row, in, event);
    } else {
        row->answered(r, in);
    }
}

/* True: the line was used. */
static bool run(relay *r, const relay_row *row, const relay_input *in, relay_event *event)
{
    if (r->skip_line) {
        r->skip_line = r->asking = false;
        r->decided = 0;
        skip_chunk(r, row, in);
        return true;
    }
    if ((r->asking && r->decided == 0) || must_wait(r, row))
        return false;
    if (!relay_greet(r, &in->command, in->line, event))
        return false;
    const smx_reply *wrong = find_wrong(r, row, in);
    if (wrong != NULL) {
        if (r->state == RELAY_STATE_COMMAND)
            relay_say(r, wrong);
        skip_chunk(r, row, in);
        return true;
    }
    if (r->decided == 0 && is_asked(r, row)) {
        r->asking = true;
        event->type = RELAY_ASK;
        event->phase = (smx_hook_phase)row->phase;
        event->kind = (relay_kind)row->kind;
        event->text = in->command.argument;
        return false;
    }
    apply(r, row, in, event);
    return true;
}

size_t relay_state_command(relay *r, smx_slice in, relay_event *event)
{
    relay_input input = {0};
    size_t used = 0;
    if (in.len == 0 || relay_cut_line(r, in, &input.line, &used) != RELAY_LINE_WHOLE)
        return 0;
    input.has_more = in.len > used;
    smx_command_parse(slice_to(input.line, used - 2), &input.command);
    r->line_waits = !run(r, &rows[input.command.verb], &input, event);
    return r->line_waits ? 0 : used;
}

/* ---- the other states of lines ---- */

size_t relay_state_locked(relay *r, smx_slice in, relay_event *event)
{
    (void)r, (void)in, (void)event;
    return 0;
}

size_t relay_state_dialogue(relay *r, smx_slice in, relay_event *event)
{
    smx_slice line;
    size_t used = 0;
    if (in.len == 0 || relay_cut_line(r, in, &line, &used) != RELAY_LINE_WHOLE)
        return 0;
    relay_command(event, RELAY_KIND_AUTH, line);
    event->secret = true;
    relay_await(r, RELAY_KIND_AUTH);
    relay_enter(r, RELAY_STATE_LOCKED);
    return used;
}

size_t relay_state_orphan(relay *r, smx_slice in, relay_event *event)
{
    smx_slice line;
    smx_command command;
    size_t used = 0;
    (void)event;
    if (in.len == 0 || relay_cut_line(r, in, &line, &used) != RELAY_LINE_WHOLE)
        return 0;
    smx_command_parse(slice_to(line, used - 2), &command);
    relay_close(r, command.verb == SMX_VERB_QUIT ? RELAY_SAY(BYE) : RELAY_SAY(AGAIN));
    return used;
}

size_t relay_state_deaf(relay *r, smx_slice in, relay_event *event)
{
    (void)r, (void)event;
    return in.len;
}
