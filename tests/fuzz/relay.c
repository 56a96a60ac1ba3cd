/* The relay between a client and an upstream that both say anything, and an owner that decides by the
 * input. However the octets are split, the same goes to each side (where TLS may begin it hangs on what
 * comes together, and is not compared); and
 *   - what passes is what came: commands, octets and replies lie within what was fed,
 *   - no bare CR, LF or NUL goes upstream where they are refused,
 *   - nothing goes to an upstream that was cut, and nothing happens behind the end,
 *   - a client that is not waited for has no whole line left,
 *   - it comes to rest after each flight, and to its end by its own deadlines.
 *
 * The input: four octets that choose options and decisions, then flights. 0xff ends one and changes the
 * side, which is the upstream's at first; 0xfe ends the client's connection, 0xfd the upstream's. */
#include "proxy/relay.h"
#include "base/buffer.h"
#include "fuzz.h"

enum { HEADER = 4, SIDE_END = 0xff, CLIENT_END = 0xfe, UPSTREAM_END = 0xfd, TURNS = 200000 };

typedef struct owner {
    relay *relay;
    relay_options options;
    uint64_t now;
    uint64_t decisions;
    bool has_binary; /* the client may have said BODY=BINARYMIME */
    buffer in[2];
    buffer out[2];
    buffer kept;
    bool ready;
    bool ends;
    bool cut;
    bool closed;
    bool raw;
    bool compared;
} owner;

static void must(int error)
{
    if (error != 0)
        abort();
}

/* Two bits of the input for each decision, over and over. */
static unsigned next_decision(owner *o)
{
    unsigned bits = o->decisions & 7;
    o->decisions = o->decisions >> 3 | o->decisions << 61;
    return bits;
}

static const smx_reply no = {550, {5, 7, 1}, {"no", 2}};

static void decide(owner *o, smx_hook_phase phase)
{
    relay_decision d = {.kind = RELAY_PASS, .reply = no};
    unsigned bits = next_decision(o);
    if (bits == 1)
        d.kind = RELAY_REFUSE;
    else if (bits == 2)
        d.kind = RELAY_DISCARD;
    else if (bits == 3)
        d.kind = RELAY_DISCONNECT;
    d.is_changed = (phase == SMX_HOOK_MAIL || phase == SMX_HOOK_RCPT) && bits == 4;
    if (d.is_changed && phase == SMX_HOOK_MAIL)
        d.line = SMX_SLICE("MAIL FROM:<x@y>\r\n");
    if (bits == 5 && phase != SMX_HOOK_HELO)
        (void)!relay_add_recipient(o->relay, SMX_SLICE("x@y"));
    FUZZ_CHECK(relay_decide(o->relay, &d) == 0);
}

static void send(owner *o, relay_side to, smx_slice text)
{
    FUZZ_CHECK(to == RELAY_CLIENT || !o->cut);
    must(buffer_append(&o->out[to], text));
}

static void refuse_message(owner *o)
{
    o->ready = o->ends = false;
    buffer_clear(&o->kept);
    FUZZ_CHECK(relay_message_refuse(o->relay, &no) == 0);
}

/* All at once, at its end: so the outcome does not hang on how the octets came. */
static void send_kept(owner *o)
{
    while (o->ready && buffer_length(&o->kept) > 0) {
        smx_slice pieces[2];
        size_t used;
        size_t count;
        int error =
            relay_message_encode(o->relay, buffer_slice(&o->kept), &used, pieces, 2, &count);
        if (error == SMX_E_AGAIN)
            return;
        FUZZ_CHECK(error == 0 || error == SMX_E_PROTOCOL);
        if (error != 0) {
            refuse_message(o);
            return;
        }
        for (size_t i = 0; i < count; i++)
            send(o, RELAY_UPSTREAM, pieces[i]);
        buffer_consume(&o->kept, used);
    }
    if (!o->ready || !o->ends)
        return;
    o->ready = o->ends = false;
    int error = relay_message_end(o->relay);
    FUZZ_CHECK(error == 0 || error == SMX_E_PROTOCOL);
    if (error != 0)
        refuse_message(o);
}

static void on_body_end(owner *o)
{
    unsigned bits = next_decision(o);
    if (bits == 1) {
        refuse_message(o);
        return;
    }
    if (bits == 2)
        must(buffer_append(&o->kept, SMX_SLICE("\n.\nadded")));
    o->ends = true;
    o->ready = !o->options.hold;
    if (o->options.hold)
        FUZZ_CHECK(relay_message_begin(o->relay, buffer_length(&o->kept)) == 0);
}

static void drop(owner *o)
{
    buffer_clear(&o->kept);
    o->ready = o->ends = false;
}

static void act(owner *o, const relay_event *e, smx_slice in)
{
    FUZZ_CHECK(!o->closed || e->type == RELAY_NONE);
    switch (e->type) {
    case RELAY_NONE:
    case RELAY_OWN_REPLY:
        break;
    case RELAY_COMMAND:
        FUZZ_CHECK(e->own || o->options.asks != 0 || o->options.bare_newline != 0 ||
                   o->options.hold || fuzz_is_within(e->text, in));
        send(o, RELAY_UPSTREAM, e->text);
        break;
    case RELAY_REPLY:
        FUZZ_CHECK(e->text.len >= 5 && e->text.data[e->text.len - 1] == '\n');
        FUZZ_CHECK(e->code >= 200 && e->code <= 599);
        send(o, RELAY_CLIENT, e->text);
        break;
    case RELAY_OCTETS:
        FUZZ_CHECK(fuzz_is_within(e->text, in) && e->text.len > 0);
        send(o, e->side, e->text);
        break;
    case RELAY_ASK:
        decide(o, e->phase);
        break;
    case RELAY_BODY:
        must(buffer_append(&o->kept, e->text));
        break;
    case RELAY_BODY_END:
        on_body_end(o);
        break;
    case RELAY_BODY_READY:
        o->ready = true;
        break;
    case RELAY_DROPPED:
        drop(o);
        break;
    case RELAY_SECURE:
        o->compared = false;
        relay_secured(o->relay, e->side, o->now, next_decision(o) == 1 ? SMX_E_TLS : 0, true);
        break;
    case RELAY_PASSTHROUGH:
        o->raw = true;
        break;
    case RELAY_CUT_UPSTREAM:
        FUZZ_CHECK(!o->cut);
        o->cut = true;
        break;
    case RELAY_CLOSE:
        o->closed = true;
        break;
    }
}

static bool feed_once(owner *o, relay_side side)
{
    relay_event e;
    smx_slice in = buffer_slice(&o->in[side]);
    char *copy = fuzz_copy(in.data, in.len);
    in = slice_of(copy, in.len);
    size_t used = relay_feed(o->relay, side, o->now, in, &e);
    FUZZ_CHECK(used <= in.len);
    act(o, &e, in);
    buffer_consume(&o->in[side], used);
    send_kept(o);
    free(copy);
    return used > 0 || e.type != RELAY_NONE;
}

/* An upstream that says too much has the same effect however it is cut: the client goes first. */
static void pump(owner *o)
{
    bool more = true;
    for (int turn = 0; more; turn++) {
        FUZZ_CHECK(turn < TURNS);
        more = feed_once(o, RELAY_CLIENT) || feed_once(o, RELAY_UPSTREAM);
    }
    smx_slice left = buffer_slice(&o->in[RELAY_CLIENT]);
    FUZZ_CHECK(o->closed || slice_find(left, '\n') == left.len ||
               relay_is_waiting(o->relay, RELAY_CLIENT));
}

static void fly(owner *o, relay_side side, smx_slice flight, fuzz_cutter *cutter)
{
    while (flight.len > 0) {
        size_t len = fuzz_next(cutter, flight.len);
        must(buffer_append(&o->in[side], slice_to(flight, len)));
        flight = slice_from(flight, len);
        pump(o);
    }
}

static void fly_all(owner *o, smx_slice rest, fuzz_cutter *cutter)
{
    relay_side side = RELAY_UPSTREAM;
    pump(o);
    while (rest.len > 0 && !o->closed) {
        size_t len = 0;
        while (len < rest.len && (unsigned char)rest.data[len] < UPSTREAM_END)
            len++;
        fly(o, side, slice_to(rest, len), cutter);
        if (len == rest.len)
            break;
        unsigned char mark = (unsigned char)rest.data[len];
        if (mark == SIDE_END)
            side = side == RELAY_CLIENT ? RELAY_UPSTREAM : RELAY_CLIENT;
        else
            relay_ended(o->relay, mark == CLIENT_END ? RELAY_CLIENT : RELAY_UPSTREAM);
        pump(o);
        rest = slice_from(rest, len + 1);
    }
}

/* Every session ends by itself: the owner here takes no time. */
static void wait_for_the_end(owner *o)
{
    for (int i = 0; !o->closed; i++) {
        FUZZ_CHECK(i < 4);
        o->now = relay_deadline(o->relay);
        FUZZ_CHECK(o->now != UINT64_MAX);
        relay_expire(o->relay, o->now);
        pump(o);
    }
    FUZZ_CHECK(relay_deadline(o->relay) == UINT64_MAX);
}

/* A chunk may end with a CR that the next one, behind its command, makes right. */
static void check_newlines(const owner *o)
{
    smx_newline_check check = {0};
    smx_slice out = buffer_slice(&o->out[RELAY_UPSTREAM]);
    if (o->raw || o->has_binary || o->options.bare_newline == SMX_BARE_NEWLINE_PASS)
        return;
    bool has_chunks = slice_search(out, SMX_SLICE("BDAT")) < out.len ||
                      slice_search(out, SMX_SLICE("bdat")) < out.len;
    smx_newline_check_feed(&check, out);
    /* NUL may stand in a command, which is the upstream's to judge. */
    FUZZ_CHECK(has_chunks || (check.faults & (SMX_FAULT_BARE_CR | SMX_FAULT_BARE_LF)) == 0);
}

static void set_up(owner *o, smx_slice header)
{
    unsigned tls = (unsigned char)header.data[0];
    unsigned flags = (unsigned char)header.data[1];
    unsigned asks = (unsigned char)header.data[2];
    o->options = (relay_options){
        .hostname = SMX_SLICE("proxy.example"),
        .client_tls = (relay_tls)(tls % 5),
        .upstream_tls = (relay_tls)(tls / 8 % 4),
        .lmtp = (flags & 1) != 0,
        .upstream_is_near = (flags & 2) != 0,
        .allow_insecure_auth = (flags & 4) != 0,
        .hold = (flags & 8) != 0,
        .bare_newline = (smx_bare_newline)((flags >> 4 & 3) % 3),
        .asks = asks << SMX_HOOK_HELO & ~(1U << SMX_HOOK_RESET),
    };
    o->decisions = (unsigned char)header.data[3] * 0x0101010101010101ULL;
    o->compared =
        o->options.client_tls == RELAY_TLS_OFF || o->options.client_tls == RELAY_TLS_IMPLICIT;
    o->compared = o->compared && (o->options.upstream_tls == RELAY_TLS_OFF ||
                                  o->options.upstream_tls == RELAY_TLS_IMPLICIT);
    must(relay_new(&o->options, 0, &o->relay));
    if ((flags & 0x40) != 0)
        relay_allow_xclient(o->relay);
    if ((flags & 0x80) != 0)
        relay_set_xclient(o->relay, SMX_SLICE("ADDR=192.0.2.1"));
}

static void run(owner *o, smx_slice in, enum fuzz_cut way)
{
    fuzz_cutter cutter = fuzz_cutter_of(way, in);
    set_up(o, in);
    for (size_t i = 0; i + 10 <= in.len; i++)
        o->has_binary =
            o->has_binary || slice_equal_nocase(slice_of(in.data + i, 10), SMX_SLICE("BINARYMIME"));
    fly_all(o, slice_from(in, HEADER), &cutter);
    wait_for_the_end(o);
    check_newlines(o);
}

static void owner_free(owner *o)
{
    relay_free(o->relay);
    for (int side = 0; side < 2; side++) {
        buffer_free(&o->in[side]);
        buffer_free(&o->out[side]);
    }
    buffer_free(&o->kept);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    smx_slice in = slice_of((const char *)data, size);
    owner whole = {0};
    if (size < HEADER)
        return 0;
    run(&whole, in, FUZZ_WHOLE);
    for (enum fuzz_cut way = FUZZ_SINGLE; way < FUZZ_CUTS; way++) {
        owner o = {0};
        run(&o, in, way);
        for (int side = 0; whole.compared && side < 2; side++)
            FUZZ_CHECK(slice_equal(buffer_slice(&o.out[side]), buffer_slice(&whole.out[side])));
        owner_free(&o);
    }
    owner_free(&whole);
    return 0;
}
