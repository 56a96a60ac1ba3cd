/* The client's machine against a server that says anything, and an owner that always does the same.
 * However the server's octets are split, the same events and the same output must come of them; and
 *   - with TLS required neither AUTH nor MAIL leaves on clear text,
 *   - an outcome is unknown only once the final dot was sent,
 *   - a transaction has exactly one outcome, and nothing follows the end of a session.
 *
 * The input: three octets that choose options and habits, then what the server says. 0xff ends a
 * flight: only then the owner sends what it has, so that a server that talks too early always does.
 */
#include "base/buffer.h"
#include "fuzz.h"
#include "smx/session.h"

enum { HEADER = 3, TRANSACTIONS = 3, RECIPIENTS = 3, FLIGHT_END = 0xff };

typedef struct owner {
    smx_client_session *session;
    smx_client_session_options options;
    uint8_t habits;
    smx_slice body;
    size_t recipient_count;
    unsigned transactions;
    size_t outcomes_due; /* of the transaction in progress */
    size_t taken;
    size_t answered;
    bool tls;
    bool in_tls; /* 220 to STARTTLS came in this flight */
    bool ended;  /* body_end was called */
    bool over;
    buffer events;
    buffer output;
    buffer rest;
} owner;

/* Bits of `habits`. */
enum { HOLDS = 2, NO_CHUNKING = 4, HAS_SIZE = 8, GIVES_UP = 16 };

static void must(int error)
{
    if (error != 0)
        abort();
}

static void owner_check_output(const owner *o, smx_slice line)
{
    bool secret = slice_starts_with(line, SMX_SLICE("AUTH ")) ||
                  slice_starts_with(line, SMX_SLICE("MAIL FROM"));
    FUZZ_CHECK(!secret || o->options.tls != SMX_TLS_REQUIRED || o->tls);
}

static void owner_send(owner *o)
{
    smx_slice output = smx_client_session_output(o->session);
    smx_slice rest = output;
    smx_slice line;
    while (slice_cut(&rest, '\n', &line))
        owner_check_output(o, line);
    must(buffer_append(&o->output, output));
    smx_client_session_sent(o->session, output.len);
}

/* The strings of a transaction live until it is over; without PIPELINING RCPT is written later. */
static const smx_rcpt owner_recipients[RECIPIENTS] = {
    {.path = {.mailbox = {"d@e.f", 5}}},
    {.path = {.mailbox = {"g@h.i", 5}}},
    {.path = {.mailbox = {"j@k.l", 5}}},
};

static void owner_begin(owner *o)
{
    if (o->transactions == TRANSACTIONS) {
        must(smx_client_session_quit(o->session, 0));
        return;
    }
    smx_client_transaction t = {
        .mail = {.path = {.mailbox = SMX_SLICE("a@b.c")}},
        .recipients = owner_recipients,
        .recipient_count = o->recipient_count,
        .has_size = (o->habits & HAS_SIZE) != 0,
        .size = o->body.len,
        .hold_data = (o->habits & HOLDS) != 0,
        .no_chunking = (o->habits & NO_CHUNKING) != 0,
    };
    FUZZ_CHECK(o->outcomes_due == 0);
    must(smx_client_session_begin(o->session, 0, &t));
    o->transactions++;
    o->outcomes_due = 1;
    o->taken = 0;
    o->answered = 0;
    o->ended = false;
}

static void owner_give_body(owner *o)
{
    smx_slice rest = o->body;
    int error = 0;
    while (error == 0 && rest.len > 0) {
        smx_slice pieces[2];
        size_t used;
        size_t count;
        owner_send(o);
        error = smx_client_session_body(o->session, 0, rest, &used, pieces, 2, &count);
        for (size_t i = 0; error == 0 && i < count; i++)
            must(buffer_append(&o->output, pieces[i]));
        if (error == 0)
            rest = slice_from(rest, used);
    }
    /* A chunk whose reply is awaited: the body was given at the last BODY. */
    if (error == 0 || error == SMX_E_AGAIN)
        error = smx_client_session_body_end(o->session, 0);
    o->ended = error == 0;
    FUZZ_CHECK(error == 0 || error == SMX_E_PROTOCOL);
}

static void owner_decide(owner *o, bool proceed)
{
    if (proceed) {
        must(smx_client_session_proceed(o->session, 0));
        return;
    }
    must(smx_client_session_reset(o->session, 0));
    o->outcomes_due = 0;
}

static void owner_outcome(owner *o)
{
    FUZZ_CHECK(o->outcomes_due > 0);
    o->outcomes_due--;
}

static void owner_rcpt_reply(owner *o, const smx_client_event *event)
{
    FUZZ_CHECK(event->index == o->answered && o->outcomes_due == 1);
    o->answered++;
    o->taken += event->reply.code / 100 == 2;
    if (o->answered == o->recipient_count && o->taken == 0)
        o->outcomes_due = 0;
}

static void owner_mail_reply(owner *o, const smx_client_event *event)
{
    if (event->reply.code / 100 != 2)
        owner_outcome(o);
    else if ((o->habits & GIVES_UP) != 0 && smx_client_session_reset(o->session, 0) == 0)
        o->outcomes_due = 0;
}

static void owner_body_wanted(owner *o)
{
    FUZZ_CHECK(o->outcomes_due == 1 && o->taken > 0);
    owner_give_body(o);
}

static void owner_failed(owner *o, const smx_client_failure *failure)
{
    FUZZ_CHECK(failure->in_transaction == (o->outcomes_due > 0));
    FUZZ_CHECK(!failure->outcome_unknown || (failure->in_transaction && o->ended));
    FUZZ_CHECK(!failure->outcome_unknown || smx_client_session_output(o->session).len == 0);
    FUZZ_CHECK(!failure->first_reply || failure->in_transaction);
    o->outcomes_due = 0;
    o->over = true;
}

static void owner_final_reply(owner *o)
{
    FUZZ_CHECK(o->ended && o->outcomes_due > 0);
    /* The first of LMTP's: the others are due from now on. */
    if (o->options.lmtp && o->taken > 0) {
        o->outcomes_due = o->taken;
        o->taken = 0;
    }
    owner_outcome(o);
}

static void owner_act(owner *o, const smx_client_event *event)
{
    FUZZ_CHECK(!o->over || event->type == SMX_CLIENT_NONE);
    switch (event->type) {
    case SMX_CLIENT_NONE:
        break;
    case SMX_CLIENT_TLS:
        o->in_tls = true;
        break;
    case SMX_CLIENT_AUTH:
        must(smx_client_session_auth(o->session, 0, SMX_SLICE("PLAIN"), true, SMX_SLICE("secret")));
        break;
    case SMX_CLIENT_CHALLENGE:
        must(smx_client_session_auth_response(o->session, 0, event->text));
        break;
    case SMX_CLIENT_READY:
        owner_begin(o);
        break;
    case SMX_CLIENT_MAIL_REPLY:
        owner_mail_reply(o, event);
        break;
    case SMX_CLIENT_RCPT_REPLY:
        owner_rcpt_reply(o, event);
        break;
    case SMX_CLIENT_DECIDE:
        owner_decide(o, o->transactions == 2);
        break;
    case SMX_CLIENT_BODY:
        owner_body_wanted(o);
        break;
    case SMX_CLIENT_DATA_REPLY:
        owner_outcome(o);
        break;
    case SMX_CLIENT_REPLY:
        owner_final_reply(o);
        break;
    case SMX_CLIENT_FAILED:
        owner_failed(o, event->failure);
        break;
    case SMX_CLIENT_CLOSED:
        FUZZ_CHECK(o->outcomes_due == 0);
        o->over = true;
        break;
    }
}

/* What an owner sees that looks at TLS only when its input is used up. */
static void owner_note(owner *o, const smx_client_event *event)
{
    const smx_client_failure *f = event->failure;
    if (event->type == SMX_CLIENT_NONE || event->type == SMX_CLIENT_TLS)
        return;
    must(buffer_printf(&o->events, "%d %zu %u %.*s", event->type, event->index, event->reply.code,
                       (int)event->text.len, event->text.data == NULL ? "" : event->text.data));
    if (f != NULL)
        must(buffer_printf(&o->events, " %d %d %u %d%d%d%d", f->phase, f->error,
                           f->has_reply ? f->reply.code : 0u, f->has_reply, f->in_transaction,
                           f->first_reply, f->outcome_unknown));
    must(buffer_append_char(&o->events, '\n'));
}

static void owner_pull(owner *o, uint64_t now)
{
    smx_client_event event;
    do {
        smx_slice in = buffer_slice(&o->rest);
        size_t used = smx_client_session_feed(o->session, now, in, &event);
        FUZZ_CHECK(used <= in.len);
        owner_note(o, &event);
        owner_act(o, &event);
        buffer_consume(&o->rest, used);
    } while (event.type != SMX_CLIENT_NONE);
}

static void owner_hear(owner *o, smx_slice flight, size_t chunk)
{
    while (flight.len > 0) {
        size_t len = flight.len < chunk ? flight.len : chunk;
        must(buffer_append(&o->rest, slice_to(flight, len)));
        owner_pull(o, 0);
        flight = slice_from(flight, len);
    }
    if (o->in_tls && !o->over) {
        o->tls = true;
        smx_client_session_tls_done(o->session, 0, 0);
    }
    o->in_tls = false;
    owner_pull(o, 0);
    owner_send(o);
}

static void owner_start(owner *o, const uint8_t *header)
{
    static const smx_slice bodies[] = {{"hi\r\n.x\r\n", 8}, {"", 0}, {".\r", 2}, {"\n.\n", 3}};
    o->options = (smx_client_session_options){
        .version = SMX_CLIENT_SESSION_VERSION,
        .helo = SMX_SLICE("client.example"),
        .own_hostname = (header[2] & 1) != 0 ? SMX_SLICE("mux.example") : SMX_SLICE(""),
        .tls = (smx_tls_policy)(header[0] & 3),
        .lmtp = (header[0] & 4) != 0,
        .authenticate = (header[0] & 8) != 0,
    };
    o->tls = o->options.tls == SMX_TLS_IMPLICIT;
    o->habits = (uint8_t)((header[0] >> 4) | ((header[2] & 2) != 0 ? GIVES_UP : 0));
    o->recipient_count = 1 + header[1] % RECIPIENTS;
    o->body = bodies[(header[1] >> 2) % 4];
    must(smx_client_session_new(&o->options, 0, &o->session));
}

static void owner_free(owner *o)
{
    smx_client_session_free(o->session);
    buffer_free(&o->events);
    buffer_free(&o->output);
    buffer_free(&o->rest);
}

/* A whole session; at its end the server is silent for ever. */
static void owner_run(owner *o, const uint8_t *header, smx_slice said, size_t chunk)
{
    smx_slice flight;
    *o = (owner){0};
    owner_start(o, header);
    while (slice_cut(&said, (char)FLIGHT_END, &flight))
        owner_hear(o, flight, chunk);
    uint64_t deadline = smx_client_session_deadline(o->session);
    FUZZ_CHECK(!o->over || deadline == SMX_DEADLINE_NEVER);
    if (deadline != SMX_DEADLINE_NEVER) {
        owner_pull(o, deadline);
        FUZZ_CHECK(o->over);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < HEADER)
        return 0;
    smx_slice said = slice_of((const char *)data + HEADER, size - HEADER);
    const size_t chunks[] = {1, 2 + data[1] / 16};
    owner whole;
    owner_run(&whole, data, said, SIZE_MAX);
    for (size_t i = 0; i < sizeof chunks / sizeof chunks[0]; i++) {
        owner split;
        owner_run(&split, data, said, chunks[i]);
        FUZZ_CHECK(slice_equal(buffer_slice(&whole.events), buffer_slice(&split.events)));
        FUZZ_CHECK(slice_equal(buffer_slice(&whole.output), buffer_slice(&split.output)));
        owner_free(&split);
    }
    owner_free(&whole);
    return 0;
}
