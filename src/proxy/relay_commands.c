/* Commands of the client: one row for each, with the rules it stands under, what refuses it here, and
 * what the machine must know when it has gone upstream. A line is read again, not kept, when it has to
 * wait: for room, for the replies before it, for the greeting, or for the owner's decision. */
#include "proxy/relay_machine.h"
#include "session/http_line.h"

enum relay_rule {
    RELAY_ALONE = 1,      /* waits for all replies before it */
    RELAY_BEFORE_TLS = 2, /* also where TLS is required first */
    RELAY_IS_MAIL = 4, /* of a transaction: the machine answers it when nobody gets the message */
    RELAY_BEGINS_MAIL = 8, /* hooks may have asked for more recipients, or for the whole message */
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

/* QUIT too: what it is, its reply tells. */
static void passed_lock(relay *r, const relay_input *in)
{
    (void)in;
    relay_enter(r, RELAY_STATE_LOCKED);
}

static void passed_reset(relay *r, const relay_input *in)
{
    (void)in;
    relay_forget(r);
}

static void passed_mail(relay *r, const relay_input *in)
{
    (void)in;
    r->series_refused = false;
}

/* What stands behind the path, which may have such words within quotes. */
static smx_slice mail_parameters(smx_slice line)
{
    smx_path path;
    size_t used;
    smx_slice rest = slice_to(line, line.len - 2);
    smx_slice from = slice_from(rest, slice_find(rest, '<'));
    if (smx_path_parse(from, SMX_PATH_UTF8 | SMX_PATH_NULL, &path, &used) == 0)
        return slice_from(from, used);
    return slice_find(rest, '"') < rest.len ? (smx_slice){0} : rest;
}

/* "MAIL FROM:<...>", which is nearly every one. */
static bool is_path_alone(smx_slice line)
{
    return line.len > 0 && line.data[line.len - 1] == '>' &&
           slice_find(line, ' ') == slice_find_last(line, ' ');
}

/* What the reply to MAIL will make of the transaction. */
static uint8_t mail_flags(smx_slice line)
{
    smx_slice word;
    uint8_t flags = 0;
    if (is_path_alone(slice_to(line, line.len - 2)))
        return flags;
    smx_slice rest = mail_parameters(line);
    while (slice_cut(&rest, ' ', &word)) {
        if (slice_equal_nocase(word, SMX_SLICE("PRDR")))
            flags |= RELAY_WAIT_PRDR;
        else if (slice_equal_nocase(word, SMX_SLICE("BODY=BINARYMIME")))
            flags |= RELAY_WAIT_BINARY;
    }
    return flags;
}

/* ---- what is answered here ---- */

static void answered_mail(relay *r, const relay_input *in)
{
    (void)in;
    relay_say(r, RELAY_SAY(TAKEN));
}

static void answered_rcpt(relay *r, const relay_input *in)
{
    (void)in;
    relay_say_octets(r, SMX_SLICE("250 2.0.0 taken\r\n"), RELAY_WAIT_RECIPIENT, 1);
}

/* ---- STARTTLS (RFC 3207) ---- */

static const smx_reply *check_starttls(relay *r, const relay_input *in)
{
    if (r->options->client_tls != RELAY_TLS_PASSED && !relay_offers_starttls(r))
        return RELAY_SAY(NO_TLS);
    if (in->has_more) /* ATTACKS 12 */
        return RELAY_SAY(BEHIND_TLS);
    if (in->command.argument.len > 0)
        return RELAY_SAY(NO_ARGUMENT);
    return r->authenticated ? RELAY_SAY(TLS_AFTER_AUTH) : NULL;
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
    return relay_ends_tls(r) && relay_is_bound_mechanism(mechanism) ? RELAY_SAY(AUTH_BOUND) : NULL;
}

/* ---- messages ---- */

/* Of a series of chunks that goes by way of the owner the upstream may not know yet. */
static const smx_reply *check_data(relay *r, const relay_input *in)
{
    (void)in;
    if (r->chunking && relay_is_filtered(r))
        return RELAY_SAY(BDAT_BEGUN);
    return r->added_refused ? RELAY_SAY(ADDED_REFUSED) : NULL;
}

static void answered_data(relay *r, const relay_input *in)
{
    (void)in;
    relay_say(r, RELAY_SAY(DATA));
    relay_data_taken(r, false);
}

static bool is_bdat(const relay_input *in, uint64_t *size, bool *last)
{
    return slice_starts_with_nocase(in->line, SMX_SLICE("BDAT ")) &&
           smx_bdat_parse(in->command.argument, size, last) == 0;
}

/* The CR that ends a series of chunks is found out where nothing is left to be held back. */
static bool ends_with_cr(const relay *r, uint64_t size, bool last)
{
    return r->chunking && size == 0 && last && r->body.check.after_cr && !r->body.is_binary &&
           !r->discarding && !r->series_refused && !relay_is_filtered(r) &&
           relay_is_fatal(r, SMX_FAULT_BARE_CR);
}

/* Where the octets of a malformed BDAT end is not known (ATTACKS 8); to an upstream that does not
 * know the command they would be commands. */
static const smx_reply *check_bdat(relay *r, const relay_input *in)
{
    uint64_t size;
    bool last;
    if (!is_bdat(in, &size, &last))
        return RELAY_SAY(BDAT_SYNTAX);
    if (r->series_refused)
        return RELAY_SAY(BDAT_REFUSED);
    if ((r->offered & SMX_EXT_CHUNKING) == 0)
        return RELAY_SAY(NO_CHUNKING);
    if (ends_with_cr(r, size, last))
        return RELAY_SAY(BARE_IN_BODY);
    return r->added_refused ? RELAY_SAY(ADDED_REFUSED) : NULL;
}

static void passed_bdat(relay *r, const relay_input *in)
{
    uint64_t size = 0;
    bool last = false;
    if (is_bdat(in, &size, &last)) /* the check has read it before */
        relay_chunk_begin(r, size, last);
}

/* ---- XCLIENT and its kin: for those whom the upstream trusts by their address, which is ours ---- */

static const smx_reply *check_xclient(relay *r, const relay_input *in)
{
    (void)in;
    return r->may_xclient ? NULL : RELAY_SAY(NO_XCLIENT);
}

/* BURL (RFC 4468) has the upstream fetch a message that hooks are not shown. */
static const smx_reply *check_unknown(relay *r, const relay_input *in)
{
    if (slice_equal_nocase(in->command.name, SMX_SLICE("XFORWARD")))
        return check_xclient(r, in);
    bool is_burl = slice_equal_nocase(in->command.name, SMX_SLICE("BURL"));
    return is_burl && relay_is_filtered(r) ? RELAY_SAY(NO_BURL) : NULL;
}

/* ---- the table ---- */

static const relay_row rows[SMX_VERB_COUNT] = {
    [SMX_VERB_UNKNOWN] = {RELAY_KIND_UNKNOWN, RELAY_NO_PHASE, 0, check_unknown, NULL, NULL},
    [SMX_VERB_HELO] = {RELAY_KIND_HELO, SMX_HOOK_HELO, RELAY_BEFORE_TLS, NULL, passed_reset, NULL},
    [SMX_VERB_EHLO] = {RELAY_KIND_HELLO, SMX_HOOK_HELO, RELAY_BEFORE_TLS, NULL, passed_reset, NULL},
    [SMX_VERB_LHLO] = {RELAY_KIND_HELLO, SMX_HOOK_HELO, RELAY_BEFORE_TLS, NULL, passed_reset, NULL},
    [SMX_VERB_MAIL] = {RELAY_KIND_MAIL, SMX_HOOK_MAIL, RELAY_IS_MAIL, NULL, passed_mail,
                       answered_mail},
    [SMX_VERB_RCPT] = {RELAY_KIND_RCPT, SMX_HOOK_RCPT, RELAY_IS_MAIL, NULL, NULL, answered_rcpt},
    [SMX_VERB_DATA] = {RELAY_KIND_DATA, SMX_HOOK_DATA, RELAY_IS_MAIL | RELAY_BEGINS_MAIL,
                       check_data, passed_lock, answered_data},
    [SMX_VERB_BDAT] = {RELAY_KIND_CHUNK, SMX_HOOK_DATA, RELAY_IS_MAIL | RELAY_BEGINS_MAIL,
                       check_bdat, passed_bdat, passed_bdat},
    [SMX_VERB_RSET] = {RELAY_KIND_RSET, RELAY_NO_PHASE, RELAY_BEFORE_TLS, NULL, passed_reset, NULL},
    [SMX_VERB_NOOP] = {RELAY_KIND_OTHER, RELAY_NO_PHASE, RELAY_BEFORE_TLS, NULL, NULL, NULL},
    [SMX_VERB_VRFY] = {RELAY_KIND_OTHER, RELAY_NO_PHASE, 0, NULL, NULL, NULL},
    [SMX_VERB_EXPN] = {RELAY_KIND_OTHER, RELAY_NO_PHASE, 0, NULL, NULL, NULL},
    [SMX_VERB_HELP] = {RELAY_KIND_OTHER, RELAY_NO_PHASE, 0, NULL, NULL, NULL},
    [SMX_VERB_QUIT] = {RELAY_KIND_QUIT, RELAY_NO_PHASE, RELAY_BEFORE_TLS, NULL, passed_lock, NULL},
    [SMX_VERB_STARTTLS] = {RELAY_KIND_STARTTLS, RELAY_NO_PHASE, RELAY_BEFORE_TLS | RELAY_ALONE,
                           check_starttls, passed_lock, answered_starttls},
    [SMX_VERB_AUTH] = {RELAY_KIND_AUTH, RELAY_NO_PHASE, 0, check_auth, passed_lock, NULL},
    [SMX_VERB_XCLIENT] = {RELAY_KIND_XCLIENT, RELAY_NO_PHASE, 0, check_xclient, NULL, NULL},
    [SMX_VERB_TURN] = {RELAY_KIND_OTHER, RELAY_NO_PHASE, 0, NULL, NULL, NULL},
    [SMX_VERB_ETRN] = {RELAY_KIND_OTHER, RELAY_NO_PHASE, 0, NULL, NULL, NULL},
};

/* ---- a line ---- */

/* A phase is asked about once: DATA at the first BDAT only. */
static bool is_asked(const relay *r, const relay_row *row)
{
    if (row->phase == RELAY_NO_PHASE || r->discarding || !relay_asks(r, row->phase))
        return false;
    return row->phase != SMX_HOOK_DATA || !r->chunking;
}

/* Behind HELO an upstream may not know BDAT any more: its octets would be commands. */
static bool changes_offer(const relay *r)
{
    return relay_awaits(r, RELAY_KIND_HELO, 0) || relay_awaits(r, RELAY_KIND_HELLO, 0) ||
           relay_awaits(r, RELAY_KIND_XCLIENT, 0);
}

/* Somebody has a say in the message, or in who gets it. */
static bool is_judged(const relay *r)
{
    bool envelope = relay_asks(r, SMX_HOOK_MAIL) || relay_asks(r, SMX_HOOK_RCPT);
    return (envelope && !r->options->reads_envelope) || relay_asks(r, SMX_HOOK_DATA) ||
           relay_is_filtered(r);
}

/* What is judged waits until it is known who gets it. Also BDAT, where what its octets are hangs on
 * replies that have not come. */
static bool goes_alone(const relay *r, const relay_row *row)
{
    bool begins = (row->rules & RELAY_BEGINS_MAIL) != 0 && !r->chunking && is_judged(r);
    bool unclear = row->kind == RELAY_KIND_CHUNK &&
                   ((r->offered & SMX_EXT_CHUNKING) == 0 || changes_offer(r) ||
                    relay_awaits(r, RELAY_KIND_MAIL, RELAY_WAIT_BINARY));
    bool parted = row->kind == RELAY_KIND_MAIL && r->options->parts_transactions;
    return begins || unclear || parted || (row->rules & RELAY_ALONE) != 0;
}

static relay_cause must_wait(const relay *r, const relay_row *row)
{
    if (r->asking && r->decided == 0)
        return RELAY_CAUSE_DECISION;
    if (!relay_has_room(r) || buffer_length(&r->own) > 0)
        return RELAY_CAUSE_ROOM;
    return goes_alone(r, row) && r->wait_count > 0 ? RELAY_CAUSE_REPLIES : RELAY_CAUSE_NONE;
}

static bool ends_session(const smx_reply *wrong)
{
    return wrong == RELAY_SAY(BDAT_SYNTAX) || wrong == RELAY_SAY(BEHIND_TLS);
}

static const smx_reply *find_wrong(relay *r, const relay_row *row, const relay_input *in)
{
    const smx_reply *wrong = row->check == NULL ? NULL : row->check(r, in);
    bool clear = r->options->client_tls == RELAY_TLS_REQUIRED && !r->client_tls;
    if (clear && (row->rules & RELAY_BEFORE_TLS) == 0 && !ends_session(wrong))
        return RELAY_SAY(TLS_REQUIRED);
    return wrong;
}

static void skip_chunk(relay *r, const relay_row *row, const relay_input *in)
{
    uint64_t size;
    bool last;
    if (row->kind == RELAY_KIND_CHUNK && r->state == RELAY_STATE_COMMAND &&
        is_bdat(in, &size, &last))
        relay_skip_chunk(r, size, last);
}

/* A series of which the first chunk was refused is refused as a whole. */
static void skip_first_chunk(relay *r, const relay_row *row, const relay_input *in)
{
    uint64_t size;
    bool last;
    skip_chunk(r, row, in);
    if (row->kind != RELAY_KIND_CHUNK || r->chunking || !is_bdat(in, &size, &last))
        return;
    buffer_clear(&r->refusal);
    r->chunking = r->series_refused = !last;
}

static void refuse(relay *r, const relay_row *row, const relay_input *in, const smx_reply *wrong)
{
    r->decided = 0;
    r->asking = r->line_changed = false;
    r->auth_failed = r->auth_failed || row->kind == RELAY_KIND_AUTH;
    if (ends_session(wrong)) {
        relay_close(r, wrong);
        return;
    }
    if (wrong != RELAY_SAY(BDAT_REFUSED)) /* each chunk hears what the first one did */
        relay_say(r, wrong);
    if (wrong == RELAY_SAY(BARE_IN_BODY)) {
        relay_cut_later(r);
        r->chunking = false;
        relay_enter(r, RELAY_STATE_ORPHAN);
        return;
    }
    skip_chunk(r, row, in);
}

/* The upstream hears nothing of this one: STARTTLS is ours, and so is a message that nobody gets or
 * that the owner sends on. */
static bool is_answered_here(const relay *r, const relay_row *row)
{
    if (row->kind == RELAY_KIND_STARTTLS)
        return r->options->client_tls != RELAY_TLS_PASSED;
    if ((row->rules & RELAY_IS_MAIL) == 0)
        return false;
    bool held = row->kind == RELAY_KIND_DATA && r->options->hold && r->recipients > 0;
    bool in_parts = row->kind == RELAY_KIND_CHUNK && relay_is_filtered(r);
    return r->discarding || held || in_parts;
}

static void begin_discard(relay *r)
{
    if (r->in_transaction || r->wait_count > 0)
        relay_send_own(r, RELAY_KIND_OWN_RSET, SMX_SLICE("RSET\r\n"));
    relay_forget(r);
    r->discarding = true;
}

static void forward(relay *r, const relay_row *row, const relay_input *in, relay_event *event)
{
    smx_slice line = r->line_changed ? buffer_slice(&r->line) : in->line;
    r->line_changed = false;
    if (line.len == 0) {
        row->answered(r, in);
        return;
    }
    relay_command(event, row->kind, line);
    event->argument = in->command.argument;
    r->auth_failed = r->auth_failed && row->kind == RELAY_KIND_UNKNOWN;
    event->secret = row->kind == RELAY_KIND_AUTH || r->auth_failed;
    if (row->kind != RELAY_KIND_CHUNK)
        relay_await(r, row->kind, row->kind == RELAY_KIND_MAIL ? mail_flags(line) : 0);
    if (row->passed != NULL)
        row->passed(r, in);
}

static void apply(relay *r, const relay_row *row, const relay_input *in, relay_event *event)
{
    bool discards = r->decided == 1 + RELAY_DISCARD && (row->rules & RELAY_IS_MAIL) != 0;
    r->decided = 0;
    r->asking = false;
    if (discards)
        begin_discard(r);
    if (!is_answered_here(r, row)) {
        forward(r, row, in, event);
        return;
    }
    r->line_changed = false;
    row->answered(r, in);
}

static void ask(relay *r, const relay_row *row, const relay_input *in, relay_event *event)
{
    r->asking = true;
    event->type = RELAY_ASK;
    event->phase = (smx_hook_phase)row->phase;
    event->kind = (relay_kind)row->kind;
    event->text = in->command.argument;
}

/* The owner is asked about EHLO before our own greeting says it. */
static relay_cause prepare(relay *r, const relay_row *row, const relay_input *in,
                           relay_event *event)
{
    relay_cause cause = must_wait(r, row);
    if (cause != RELAY_CAUSE_NONE)
        return cause;
    if (row->phase == SMX_HOOK_HELO && r->decided == 0 && is_asked(r, row)) {
        ask(r, row, in, event);
        return RELAY_CAUSE_DECISION;
    }
    return relay_greet(r, &in->command, in->line) ? RELAY_CAUSE_NONE : RELAY_CAUSE_GREETING;
}

static relay_cause run(relay *r, const relay_row *row, const relay_input *in, relay_event *event)
{
    if (r->skip_line) {
        r->skip_line = false;
        r->decided = 0;
        r->asking = r->line_changed = false;
        skip_first_chunk(r, row, in);
        return RELAY_CAUSE_NONE;
    }
    relay_cause cause = prepare(r, row, in, event);
    if (cause != RELAY_CAUSE_NONE || r->state == RELAY_STATE_DEAF)
        return cause;
    const smx_reply *wrong = find_wrong(r, row, in);
    if (wrong != NULL) {
        refuse(r, row, in, wrong);
        return RELAY_CAUSE_NONE;
    }
    if (r->decided == 0 && is_asked(r, row)) {
        ask(r, row, in, event);
        return RELAY_CAUSE_DECISION;
    }
    apply(r, row, in, event);
    return RELAY_CAUSE_NONE;
}

size_t relay_state_command(relay *r, smx_slice in, relay_event *event)
{
    relay_input input = {0};
    size_t used = 0;
    if (in.len == 0 || relay_cut_line(r, in, &input.line, &used) != RELAY_LINE_WHOLE)
        return used;
    input.has_more = in.len > used;
    relay_read_command(slice_to(input.line, used - 2), &input.command);
    if (!r->spoken && input.command.verb == SMX_VERB_UNKNOWN &&
        session_line_is_http(&input.command)) {
        relay_close(r, RELAY_SAY(HTTP));
        return used;
    }
    relay_cause cause = run(r, &rows[input.command.verb], &input, event);
    r->cause = (uint8_t)cause;
    r->spoken = r->spoken || cause == RELAY_CAUSE_NONE;
    return cause == RELAY_CAUSE_NONE ? used : 0;
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
        return used;
    relay_command(event, RELAY_KIND_AUTH, line);
    event->secret = event->continues = true;
    relay_await(r, RELAY_KIND_AUTH, 0);
    relay_enter(r, RELAY_STATE_LOCKED);
    return used;
}

/* The rest of a series of chunks that was refused still hears so. */
size_t relay_state_orphan(relay *r, smx_slice in, relay_event *event)
{
    relay_input input = {0};
    size_t used = 0;
    uint64_t size;
    bool last;
    (void)event;
    if (in.len == 0 || relay_cut_line(r, in, &input.line, &used) != RELAY_LINE_WHOLE)
        return used;
    smx_command_parse(slice_to(input.line, used - 2), &input.command);
    if (r->series_refused && is_bdat(&input, &size, &last))
        relay_skip_chunk(r, size, last);
    else
        relay_close(r, input.command.verb == SMX_VERB_QUIT ? RELAY_SAY(BYE) : RELAY_SAY(AGAIN));
    return used;
}

size_t relay_state_deaf(relay *r, smx_slice in, relay_event *event)
{
    (void)r, (void)event;
    return in.len;
}
