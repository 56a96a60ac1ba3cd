/* Messages that go by way of us: decoded octets from the relay, through the hooks, and back to it.
 *
 * The header section is gathered while hooks or changes want it. Behind it octets go on to the upstream
 * as they come, or into the message when it is held; then it goes as a whole, once the hooks of EOM
 * have spoken. Octets that wait for a hook, or for the upstream, are in the draft's chunk. */
#include "proxy/proxy_internal.h"
#include "server/replies.h"

enum { PIECES = 32 };

static bool is_held(const pair *p)
{
    return p->listener->relay.hold;
}

static smx_message_options message_options(const pair *p)
{
    return (smx_message_options){
        .version = SMX_MESSAGE_VERSION,
        .budget = p->proxy->front.shared->budget,
        .temp_dir = p->proxy->options.temp_dir,
    };
}

/* ---- giving up ---- */

/* From here on the message is thrown away; at its end the client hears this. */
static void body_refuse(pair *p, const smx_reply *reply)
{
    pair_transaction *tx = p->watch->transaction;
    if (tx->is_dropped || p->state != PAIR_RELAYS)
        return;
    tx->is_dropped = true;
    tx->sending = false;
    draft_drop(&tx->draft);
    /* Otherwise the relay has given it up before us. */
    if (relay_message_refuse(p->relay, reply) == SMX_E_NOMEM)
        pair_cut(p);
}

static void body_failed(pair *p, int error)
{
    bool room = error == SMX_E_LIMIT || error == SMX_E_NOMEM;
    body_refuse(p, room ? PEER_REPLY(NO_ROOM) : PEER_REPLY(LOCAL_ERROR));
}

void pair_body_dropped(pair *p, const relay_event *event)
{
    (void)event;
    if (p->watch == NULL || p->watch->transaction == NULL)
        return;
    p->watch->transaction->is_dropped = true;
    p->watch->transaction->sending = false;
}

/* ---- to the upstream ---- */

/* Pieces go without being copied as far as the socket takes them. */
static void send_pieces(pair *p, const smx_slice *pieces, size_t count)
{
    size_t taken = 0;
    pair_let_pass(p);
    if (p->upstream == NULL || connection_send(p->upstream, pieces, count, &taken) != 0)
        return; /* `ended` will tell */
    for (size_t i = 0; i < count; i++) {
        size_t from = taken < pieces[i].len ? taken : pieces[i].len;
        taken -= from;
        if (from < pieces[i].len &&
            connection_queue(p->upstream, slice_from(pieces[i], from)) == SMX_E_NOMEM) {
            pair_cut(p);
            return;
        }
    }
}

/* Octets used; fewer than all where the upstream owes replies, or the message was given up. */
static size_t body_encode(pair *p, smx_slice octets)
{
    pair_transaction *tx = p->watch->transaction;
    smx_slice pieces[PIECES];
    size_t used = 0;
    tx->is_stalled = false;
    while (used < octets.len && p->state == PAIR_RELAYS) {
        size_t count = 0;
        size_t step = 0;
        int error =
            relay_message_encode(p->relay, slice_from(octets, used), &step, pieces, PIECES, &count);
        if (error == SMX_E_AGAIN) {
            tx->is_stalled = true;
            break;
        }
        if (error != 0) {
            body_failed(p, error);
            break;
        }
        send_pieces(p, pieces, count);
        used += step;
    }
    tx->size += used;
    return used;
}

/* ---- the header section ---- */

/* Some hook, or a change, wants the section before it goes on. */
static bool wants_header(const pair *p)
{
    const pair_transaction *tx = p->watch->transaction;
    return is_held(p) || tx->draft.first_change != NULL || pair_hooks_want(p, SMX_HOOK_HEADER) ||
           pair_hooks_want(p, SMX_HOOK_BODY) || pair_hooks_want(p, SMX_HOOK_EOM);
}

static bool body_open(pair *p)
{
    pair_transaction *tx = p->watch->transaction;
    const smx_message_options options = message_options(p);
    if (tx->draft.message != NULL || tx->header_sent)
        return true;
    if (!wants_header(p)) {
        tx->header_sent = true;
        return true;
    }
    int error = shared_is_over_budget(p->proxy->front.shared) ? SMX_E_LIMIT
                                                              : draft_open(&tx->draft, &options);
    if (error != 0)
        body_failed(p, error);
    return error == 0;
}

static void body_append(pair *p, smx_slice octets)
{
    pair_transaction *tx = p->watch->transaction;
    smx_slice header;
    if (smx_message_size(tx->draft.message) + octets.len > p->listener->entrance.options.max_size) {
        body_refuse(p, PEER_REPLY(TOO_BIG));
        return;
    }
    int error = smx_message_append(tx->draft.message, octets);
    if (error != 0)
        body_failed(p, error);
    else if (!tx->draft.header_told &&
             smx_message_header(tx->draft.message, &header) == SMX_E_LIMIT)
        body_refuse(p, PEER_REPLY(LONG_HEADER));
}

/* The changes so far are made, and the hooks of HEADER see the result. */
static void ask_header(pair *p)
{
    draft *d = &p->watch->transaction->draft;
    d->header_told = true;
    int error = draft_change_header(d);
    smx_slice header = draft_header(d);
    if (error == 0 && header.data == NULL)
        error = SMX_E_NOMEM;
    if (error != 0)
        body_failed(p, error);
    else
        pair_ask(p, SMX_HOOK_HEADER, header);
}

/* The section as the hooks have left it, and what came with it. */
static void send_header(pair *p)
{
    pair_transaction *tx = p->watch->transaction;
    smx_slice header = draft_header(&tx->draft);
    smx_slice rest = {0};
    uint64_t at = smx_message_body_offset(tx->draft.message);
    char none[4];
    tx->header_sent = true;
    if (header.data == NULL) {
        body_failed(p, SMX_E_NOMEM);
        return;
    }
    if (smx_message_read(tx->draft.message, at, none, sizeof(none), &rest) != 0)
        rest = (smx_slice){0};
    /* A chunk of a few octets more or less: the section may be parted where replies are owed. */
    tx->header_at = body_encode(p, header);
    if (!tx->is_dropped && (tx->header_at < header.len || body_encode(p, rest) < rest.len))
        body_failed(p, SMX_E_STATE);
}

/* ---- octets ---- */

static bool in_header(const pair_transaction *tx)
{
    return !tx->header_sent && draft_is_in_header(&tx->draft);
}

static void take_header(pair *p, smx_slice octets)
{
    pair_transaction *tx = p->watch->transaction;
    size_t len = draft_header_length(&tx->draft, octets);
    body_append(p, slice_to(octets, len));
    if (tx->is_dropped)
        return;
    buffer_consume(&tx->draft.chunk, len);
    if (!in_header(tx))
        ask_header(p);
}

/* Octets behind the header section that no hook objects to. */
static void take_body(pair *p, smx_slice octets)
{
    pair_transaction *tx = p->watch->transaction;
    size_t used = octets.len;
    if (is_held(p))
        body_append(p, octets);
    else
        used = body_encode(p, octets);
    if (!tx->is_dropped)
        buffer_consume(&tx->draft.chunk, used);
    if (buffer_length(&tx->draft.chunk) == 0)
        tx->chunk_judged = false;
}

static void take_octets(pair *p)
{
    pair_transaction *tx = p->watch->transaction;
    smx_slice octets = buffer_slice(&tx->draft.chunk);
    if (in_header(tx))
        take_header(p, octets);
    else if (!tx->chunk_judged && pair_hooks_want(p, SMX_HOOK_BODY))
        pair_ask(p, SMX_HOOK_BODY, octets);
    else
        take_body(p, octets);
}

/* ---- the end ---- */

static void ask_eom(pair *p)
{
    draft *d = &p->watch->transaction->draft;
    smx_slice header = {0};
    int error = 0;
    if (d->message != NULL) {
        error = draft_change_header(d);
        header = draft_header(d);
        if (error == 0 && header.data == NULL)
            error = SMX_E_NOMEM;
    }
    if (error != 0)
        body_failed(p, error);
    else
        pair_ask(p, SMX_HOOK_EOM, header);
}

/* The message is whole. Hooks of HEADER are asked here where there is no body behind the section. */
static void take_end(pair *p)
{
    pair_transaction *tx = p->watch->transaction;
    if (tx->draft.message != NULL)
        smx_message_end(tx->draft.message);
    if (tx->draft.message != NULL && !tx->draft.header_told) {
        ask_header(p);
        return;
    }
    tx->is_judged = true;
    if (!draft_is_sendable(&tx->draft))
        body_refuse(p, PEER_REPLY(LOCAL_ERROR));
    else
        ask_eom(p);
}

static void body_end(pair *p)
{
    int error = relay_message_end(p->relay);
    if (error != 0)
        body_failed(p, error);
}

/* ---- of a held message ---- */

static uint64_t held_size(const pair_transaction *tx)
{
    return draft_header(&tx->draft).len + smx_message_size(tx->draft.message) -
           smx_message_body_offset(tx->draft.message);
}

static void held_begin(pair *p)
{
    pair_transaction *tx = p->watch->transaction;
    int error = relay_message_begin(p->relay, held_size(tx));
    if (error != 0)
        body_failed(p, error);
}

/* The next octets of header or body: an empty slice at the end. */
static int held_next(pair_transaction *tx, char *block, smx_slice *octets)
{
    smx_slice header = draft_header(&tx->draft);
    if (header.data == NULL)
        return SMX_E_NOMEM;
    *octets = slice_from(header, tx->header_at);
    if (octets->len > 0)
        return 0;
    uint64_t at = smx_message_body_offset(tx->draft.message) + tx->body_at;
    return smx_message_read(tx->draft.message, at, block, LOOP_BLOCK, octets);
}

/* False: nothing more can be sent now. */
static bool held_step(pair *p, char *block)
{
    pair_transaction *tx = p->watch->transaction;
    smx_slice octets = {0};
    int error = held_next(tx, block, &octets);
    if (error != 0) {
        body_failed(p, error);
        return false;
    }
    if (octets.len == 0) {
        tx->sending = false;
        body_end(p);
        return false;
    }
    if (octets.len > LOOP_BLOCK)
        octets = slice_to(octets, LOOP_BLOCK);
    bool of_header = tx->header_at < draft_header(&tx->draft).len;
    size_t used = body_encode(p, octets);
    if (of_header)
        tx->header_at += used;
    else
        tx->body_at += used;
    return used == octets.len && p->state == PAIR_RELAYS && !tx->is_dropped;
}

static void held_send(pair *p)
{
    char *block = loop_block_take(p->proxy->front.loop);
    if (block == NULL) {
        body_failed(p, SMX_E_NOMEM);
        return;
    }
    while (p->upstream != NULL && connection_queued(p->upstream) < CONNECTION_HIGH &&
           held_step(p, block))
        ;
    loop_block_give(p->proxy->front.loop, block);
    if (p->upstream != NULL && p->state == PAIR_RELAYS && p->watch->transaction != NULL &&
        p->watch->transaction->sending)
        connection_want_drained(p->upstream);
}

/* ---- going on ---- */

/* What can be done now: there are octets of a message that is wanted, or its end is due. */
static bool has_work(const pair *p)
{
    const pair_watch *w = p->watch;
    if (w == NULL || p->asking || p->state != PAIR_RELAYS || w->transaction == NULL)
        return false;
    const pair_transaction *tx = w->transaction;
    if (tx->is_dropped || tx->is_stalled)
        return false;
    return buffer_length(&tx->draft.chunk) > 0 || (tx->draft.ended && !tx->is_judged);
}

static void do_work(pair *p)
{
    if (buffer_length(&p->watch->transaction->draft.chunk) > 0)
        take_octets(p);
    else
        take_end(p);
}

bool pair_body_waits(const pair *p)
{
    const pair_transaction *tx = p->watch == NULL ? NULL : p->watch->transaction;
    return tx != NULL && !tx->is_dropped && buffer_length(&tx->draft.chunk) > 0;
}

bool pair_body_go_on(pair *p)
{
    pair_transaction *tx = p->watch == NULL ? NULL : p->watch->transaction;
    if (tx == NULL || p->state != PAIR_RELAYS)
        return false;
    if (!tx->draft.ended && !tx->sending && buffer_length(&tx->draft.chunk) == 0)
        return false;
    size_t stalled = tx->is_stalled ? buffer_length(&tx->draft.chunk) : SIZE_MAX;
    bool did = false;
    tx->is_stalled = false;
    for (; has_work(p); did = true)
        do_work(p);
    if (p->state == PAIR_RELAYS && tx->sending && !tx->is_dropped) {
        uint64_t before = tx->size;
        held_send(p);
        did = did || tx->size != before || !tx->sending;
    }
    return did && buffer_length(&tx->draft.chunk) != stalled;
}

/* ---- the relay's events ---- */

/* Without a hook of BODY octets go on without being copied. */
static bool passes_at_once(const pair *p)
{
    const pair_transaction *tx = p->watch->transaction;
    return tx->header_sent && buffer_length(&tx->draft.chunk) == 0 &&
           !pair_hooks_want(p, SMX_HOOK_BODY);
}

/* The one that MAIL began, or one without a MAIL, if the upstream takes a message so. */
static pair_transaction *body_transaction(pair *p)
{
    pair_transaction *tx = p->watch->transaction;
    if (tx == NULL)
        tx = pair_transaction_begin_mail(p, (smx_slice){0});
    if (tx == NULL)
        pair_cut(p);
    return tx;
}

void pair_body(pair *p, const relay_event *event)
{
    smx_slice octets = event->text;
    pair_transaction *tx = body_transaction(p);
    if (tx == NULL || tx->is_dropped || !body_open(p))
        return;
    watch_head(p, octets);
    if (passes_at_once(p))
        octets = slice_from(octets, body_encode(p, octets));
    if (tx->is_dropped || octets.len == 0)
        return;
    if (buffer_append(&tx->draft.chunk, octets) != 0)
        body_failed(p, SMX_E_NOMEM);
    else if (!tx->is_stalled)
        (void)pair_body_go_on(p);
}

void pair_body_end(pair *p, const relay_event *event)
{
    (void)event;
    pair_transaction *tx = body_transaction(p);
    if (tx == NULL)
        return;
    tx->draft.ended = true;
    if (body_open(p))
        (void)pair_body_go_on(p);
}

void pair_body_ready(pair *p, const relay_event *event)
{
    (void)event;
    p->watch->transaction->sending = true;
    held_send(p);
}

/* ---- verdicts ---- */

/* True when the message goes on. */
static bool passes(pair *p, const smx_verdict *verdict, const hook_change *changes)
{
    if (p->watch->transaction->is_dropped)
        return false;
    if (verdict->kind == SMX_DISCONNECT) {
        p->watch->transaction->is_dropped = true;
        pair_refuse(p, &verdict->reply);
    } else if (verdict->kind == SMX_REPLY_WITH) {
        body_refuse(p, &verdict->reply);
    } else if (verdict->kind == SMX_DISCARD) {
        body_refuse(p, PEER_REPLY(TAKEN));
    } else {
        int error = draft_change(&p->watch->transaction->draft, NULL, changes);
        if (error == 0)
            error = pair_add_recipients(p, changes);
        if (error == 0)
            return true;
        body_failed(p, error);
    }
    return false;
}

static void decided_header(pair *p)
{
    if (!is_held(p))
        send_header(p);
}

static void decided_body(pair *p, const hook_change *changes)
{
    draft *d = &p->watch->transaction->draft;
    smx_slice octets = draft_chunk(d, changes);
    if (octets.data != buffer_slice(&d->chunk).data) {
        buffer_clear(&d->chunk);
        if (buffer_append(&d->chunk, octets) != 0) {
            body_failed(p, SMX_E_NOMEM);
            return;
        }
    }
    p->watch->transaction->chunk_judged = buffer_length(&d->chunk) > 0;
}

static void decided_eom(pair *p, const hook_change *changes)
{
    const smx_message_options options = message_options(p);
    draft *d = &p->watch->transaction->draft;
    smx_slice body;
    int error = 0;
    if (!is_held(p)) {
        body_end(p);
        return;
    }
    if (draft_new_body(changes, &body))
        error = draft_replace_body(d, body, &options);
    if (error != 0)
        body_failed(p, error);
    else
        held_begin(p);
}

void pair_body_decided(pair *p, smx_hook_phase phase, const smx_verdict *verdict,
                       const hook_change *changes)
{
    if (!passes(p, verdict, changes))
        return;
    if (phase == SMX_HOOK_HEADER)
        decided_header(p);
    else if (phase == SMX_HOOK_BODY)
        decided_body(p, changes);
    else
        decided_eom(p, changes);
}
