/* What hooks, records and transcripts are shown of a session: its view, and the transaction under way.
 * It is read off what passes; nothing of this is there when nobody looks. */
#include "base/fresh.h"
#include "proxy/proxy_internal.h"

int watch_new(pair *p)
{
    front *f = &p->proxy->front;
    int error = 0;
    if (!p->listener->is_watched)
        return 0;
    p->watch = fresh(pair_watch);
    if (p->watch == NULL)
        return SMX_E_NOMEM;
    if (f->hooks != NULL)
        error = hook_session_new(f->hooks, pair_hooks_done, p, &p->watch->hooks);
    return error;
}

void watch_close(pair *p)
{
    pair_watch *w = p->watch;
    if (w == NULL || w->is_closed)
        return;
    w->is_closed = true;
    if (w->transaction != NULL)
        pair_transaction_tell(p, w->has_quit ? NULL : "lost");
    else if (w->transactions == 0)
        pair_record(p, NULL);
    pair_tell(p, SMX_HOOK_CLOSE);
    trace_end(p);
    hook_session_free(w->hooks);
    w->hooks = NULL;
}

void watch_free(pair_watch *w)
{
    if (w == NULL)
        return;
    hook_session_free(w->hooks);
    pair_transaction_free(w->transaction);
    pair_transaction_free(w->spare);
    arena_free(&w->asked);
    buffer_free(&w->helo);
    buffer_free(&w->user);
    auth_user_free(&w->auth);
    free(w);
}

void watch_upstream(pair *p)
{
    connection_tls_info tls;
    pair_watch *w = p->watch;
    if (w == NULL || p->upstream == NULL)
        return;
    w->upstream = *connection_peer(p->upstream);
    if (!connection_get_tls_info(p->upstream, &tls))
        return;
    w->upstream_protocol = slice_of_text(tls.protocol);
    w->upstream_cipher = slice_of_text(tls.cipher);
    w->upstream_verified = tls.verified;
}

/* ---- commands ---- */

static smx_slice without_end(smx_slice line)
{
    return line.len >= 2 ? slice_to(line, line.len - 2) : line;
}

/* A buffer's octets become a field of the view; without memory it stays empty. */
static void keep(buffer *b, smx_slice text, smx_slice *field)
{
    buffer_clear(b);
    *field = buffer_append(b, text) == 0 ? buffer_slice(b) : (smx_slice){0};
}

static void watch_auth(pair_watch *w, const relay_event *event)
{
    smx_command command;
    if (event->continues) {
        auth_user_response(&w->auth, without_end(event->text));
        return;
    }
    relay_read_command(without_end(event->text), &command);
    auth_user_begin(&w->auth, command.argument);
}

/* A greeting of our own bears the client's name, where it has said one. */
static void watch_hello(pair *p, const relay_event *event)
{
    smx_command command;
    relay_info info;
    bool extended = event->kind == RELAY_KIND_HELLO || event->kind == RELAY_KIND_OWN_HELLO;
    if (!extended && event->kind != RELAY_KIND_HELO)
        return;
    relay_get_info(p->relay, &info);
    if (event->own && !info.is_named)
        return;
    relay_read_command(without_end(event->text), &command);
    keep(&p->watch->helo, command.argument, &p->guest.view.helo);
    p->guest.view.esmtp = extended;
}

/* A second MAIL is one of the same transaction. What is wrong with it the upstream judges. */
static void watch_mail(pair *p, smx_slice argument)
{
    if (p->watch->transaction != NULL)
        return;
    pair_transaction *tx = pair_transaction_begin_mail(p, argument);
    const smx_reply *wrong = tx == NULL ? NULL : pair_transaction_read_mail(tx);
    (void)wrong;
    if (tx == NULL)
        pair_cut(p); /* nothing passes unseen */
}

static void watch_rcpt(const pair *p, smx_slice argument)
{
    pair_transaction *tx = p->watch->transaction;
    if (tx == NULL)
        return;
    const smx_reply *wrong = pair_transaction_read_rcpt(tx, argument);
    (void)wrong;
    int not_kept = pair_transaction_add_rcpt(tx, 0, true);
    (void)not_kept; /* too many of them: the record names those before */
}

void watch_envelope(pair *p, const relay_event *event)
{
    if (event->type != RELAY_COMMAND || event->own || p->watch->hooks != NULL)
        return;
    if (event->kind == RELAY_KIND_MAIL)
        watch_mail(p, event->argument);
    else if (event->kind == RELAY_KIND_RCPT)
        watch_rcpt(p, event->argument);
}

void watch_command(pair *p, const relay_event *event)
{
    pair_watch *w = p->watch;
    if (w == NULL || (event->own && event->kind != RELAY_KIND_OWN_HELLO))
        return;
    w->has_quit = w->has_quit || event->kind == RELAY_KIND_QUIT;
    if (event->kind == RELAY_KIND_AUTH)
        watch_auth(w, event);
    watch_hello(p, event);
    bool chunk = event->kind == RELAY_KIND_CHUNK || event->kind == RELAY_KIND_LAST_CHUNK;
    if (w->transaction != NULL && chunk)
        w->transaction->by_chunks = true;
}

/* ---- replies ---- */

void watch_reply(pair *p, const relay_event *event)
{
    pair_watch *w = p->watch;
    if (w == NULL)
        return;
    if (event->kind == RELAY_KIND_AUTH && event->code / 100 == 2 && !event->own) {
        keep(&w->user, auth_user_name(&w->auth), &p->guest.view.user);
        p->guest.view.authenticated = true;
    }
    if (w->transaction != NULL)
        pair_transaction_reply(p, event);
}

/* ---- bodies that pass as they are ---- */

/* True: the section is whole in `head`. *id is the value of its Message-ID as far as it has come. */
static bool find_message_id(smx_slice head, smx_slice *id)
{
    size_t at = 0;
    smx_field field;
    while (smx_field_next(head, &at, &field)) {
        if (slice_equal(field.raw, SMX_SLICE("\r\n")))
            return true;
        if (id->data == NULL && slice_equal_nocase(field.name, SMX_SLICE("Message-ID")))
            *id = field.value;
    }
    return false;
}

/* Without memory there is none. */
static void keep_message_id(pair_transaction *tx, smx_slice value)
{
    size_t len = 0;
    bool is_folded = slice_find(value, '\r') < value.len;
    char *out = is_folded ? arena_alloc(&tx->draft.memory, value.len) : NULL;
    if (!is_folded && arena_copy(&tx->draft.memory, slice_trim(value), &tx->message_id) != 0)
        tx->message_id = (smx_slice){0};
    if (out != NULL && smx_field_unfold(value, out, value.len, &len) == 0)
        tx->message_id = slice_of(out, len);
    tx->head_is_whole = true;
}

void watch_message_id(pair_transaction *tx)
{
    smx_slice id = {0};
    if (tx->head_is_whole)
        return;
    (void)find_message_id(buffer_slice(&tx->head), &id);
    keep_message_id(tx, id);
}

/* A section that comes in one piece is read where it is. */
void watch_head(pair *p, smx_slice octets)
{
    enum { HEAD_MAX = 16384 };
    pair_transaction *tx = p->watch->transaction;
    smx_slice id = {0};
    size_t room = HEAD_MAX - buffer_length(&tx->head);
    if (tx->head_is_whole || p->proxy->options.record == NULL)
        return;
    octets = slice_to(octets, octets.len < room ? octets.len : room);
    if (buffer_length(&tx->head) == 0 && find_message_id(octets, &id)) {
        keep_message_id(tx, id);
        return;
    }
    bool full = buffer_append(&tx->head, octets) != 0 || buffer_length(&tx->head) == HEAD_MAX;
    id = (smx_slice){0};
    if (find_message_id(buffer_slice(&tx->head), &id) || full)
        keep_message_id(tx, id);
}

void watch_octets(pair *p, const relay_event *event)
{
    relay_info info;
    pair_watch *w = p->watch;
    if (w == NULL)
        return;
    w->octets += event->text.len;
    relay_get_info(p->relay, &info);
    if (w->transaction == NULL || event->side != RELAY_UPSTREAM || info.is_raw)
        return;
    w->transaction->size += event->text.len;
    watch_head(p, event->text);
}

/* ---- after each event ---- */

/* The transaction is over when the relay says so and all replies to it were given. */
void watch_settle(pair *p)
{
    pair_watch *w = p->watch;
    if (w == NULL || p->state != PAIR_RELAYS || p->asking)
        return;
    pair_transaction *tx = w->transaction;
    if (tx != NULL && relay_in_transaction(p->relay))
        tx->is_taken = true;
    if (relay_outstanding(p->relay) > 0)
        return;
    bool begun = tx != NULL && (tx->is_taken || tx->is_refused);
    if (begun && relay_is_idle(p->relay))
        pair_transaction_end(p);
    if (w->mail_waits)
        pair_ask_mail(p);
}

void watch_trim(pair *p)
{
    pair_watch *w = p->watch;
    if (w == NULL || p->asking || w->mail_waits)
        return;
    arena_free(&w->asked);
    pair_transaction_free(w->spare);
    w->spare = NULL;
    auth_user_free(&w->auth);
    w->auth = (auth_user){0};
}
