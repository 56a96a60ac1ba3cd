/* The envelope as the client gives it and the upstream takes it. MAIL and RCPT are read once hooks or
 * records want them; replies come in the order of the commands. All lies in the draft's arena. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/fresh.h"
#include "mail/envelope.h"
#include "proxy/proxy_internal.h"
#include "server/replies.h"

/* What is kept of recipients in one transaction: past it a flood would fill our memory. */
enum { RECIPIENTS_MAX = 10000, RECIPIENT_OCTETS = 4 << 20 };

/* ---- reading ---- */

/* "FROM: <a@b>" is written by many clients: the blank is not part of the path. */
static int argument_copy(arena *a, smx_slice argument, smx_slice *copy)
{
    char *text = arena_alloc(a, argument.len + 1);
    size_t colon = slice_find(argument, ':');
    size_t start = colon < argument.len ? colon + 1 : colon;
    smx_slice rest = slice_from(argument, start);
    if (text == NULL)
        return SMX_E_NOMEM;
    while (rest.len > 0 && ascii_is_space(rest.data[0]))
        rest = slice_from(rest, 1);
    if (start > 0)
        memcpy(text, argument.data, start);
    if (rest.len > 0)
        memcpy(text + start, rest.data, rest.len);
    *copy = slice_of(text, start + rest.len);
    return 0;
}

smx_slice pair_transaction_parameters(smx_slice argument)
{
    smx_path path;
    size_t used = 0;
    size_t at = slice_find(argument, '<');
    smx_slice from = slice_from(argument, at);
    unsigned any = SMX_PATH_UTF8 | SMX_PATH_NULL | SMX_PATH_POSTMASTER;
    return smx_path_parse(from, any, &path, &used) == 0 ? slice_from(from, used) : (smx_slice){0};
}

/* Parameters that we do not know are the upstream's business; the path must be one. */
static bool path_alone(smx_slice argument, smx_slice word, unsigned flags, smx_path *path)
{
    size_t used;
    return slice_starts_with_nocase(argument, word) &&
           smx_path_parse(slice_from(argument, word.len), flags, path, &used) == 0;
}

enum { UNKNOWN_PARAMETER = 555 };

const smx_reply *pair_transaction_read_mail(pair_transaction *tx)
{
    smx_mail mail = {0};
    smx_path path;
    const smx_reply *wrong = smx_mail_parse(tx->mail, ~(smx_extensions)0, &mail);
    if (wrong != NULL && wrong->code == UNKNOWN_PARAMETER &&
        path_alone(tx->mail, SMX_SLICE("FROM:"), SMX_PATH_UTF8 | SMX_PATH_NULL, &path)) {
        mail.path = path;
        wrong = NULL;
    }
    if (wrong == NULL && envelope_set_mail(&tx->draft.envelope, &tx->draft.memory, &mail) != 0)
        return PEER_REPLY(NO_ROOM);
    return wrong;
}

const smx_reply *pair_transaction_read_rcpt(pair_transaction *tx, smx_slice argument)
{
    smx_rcpt rcpt = {0};
    smx_path path;
    smx_slice copy;
    tx->rcpt = rcpt;
    tx->rcpt_octets += argument.len;
    if (tx->rcpt_octets > RECIPIENT_OCTETS || tx->recipient_count >= RECIPIENTS_MAX)
        return PEER_REPLY(NO_ROOM);
    if (argument_copy(&tx->draft.memory, argument, &copy) != 0)
        return PEER_REPLY(NO_ROOM);
    tx->asked = copy;
    const smx_reply *wrong = smx_rcpt_parse(copy, ~(smx_extensions)0, true, &rcpt);
    if (wrong != NULL && wrong->code == UNKNOWN_PARAMETER &&
        path_alone(copy, SMX_SLICE("TO:"), SMX_PATH_UTF8 | SMX_PATH_POSTMASTER, &path)) {
        rcpt.path = path;
        wrong = NULL;
    }
    tx->rcpt = rcpt;
    return wrong;
}

/* ---- beginning ---- */

pair_transaction *pair_transaction_begin_mail(pair *p, smx_slice argument)
{
    pair_watch *w = p->watch;
    pair_transaction *tx = w->spare != NULL ? w->spare : fresh(pair_transaction);
    if (tx == NULL)
        return NULL;
    w->spare = NULL;
    if (argument_copy(&tx->draft.memory, argument, &tx->mail) != 0) {
        pair_transaction_free(tx);
        return NULL;
    }
    tx->started = clock_wall_ms();
    tx->began = pair_now(p);
    tx->id = front_next_id(&p->proxy->front, tx->started, tx->id_text);
    w->transaction = tx;
    w->transactions++;
    return tx;
}

void pair_transaction_free(pair_transaction *tx)
{
    if (tx == NULL)
        return;
    draft_free(&tx->draft);
    buffer_free(&tx->reply);
    buffer_free(&tx->head);
    free(tx);
}

/* Its memory is kept for the next one. */
static void transaction_clear(pair_transaction *tx)
{
    draft_reset(&tx->draft);
    buffer_clear(&tx->reply);
    buffer_clear(&tx->head);
    *tx = (pair_transaction){.draft = tx->draft, .reply = tx->reply, .head = tx->head};
}

/* ---- recipients ---- */

static int recipients_grow(pair_transaction *tx)
{
    size_t capacity = tx->recipient_capacity == 0 ? 4 : 2 * tx->recipient_capacity;
    if (tx->recipient_count < tx->recipient_capacity)
        return 0;
    pair_rcpt *grown = arena_alloc(&tx->draft.memory, capacity * sizeof(*grown));
    if (grown == NULL)
        return SMX_E_NOMEM;
    if (tx->recipient_count > 0)
        memcpy(grown, tx->recipients, tx->recipient_count * sizeof(*grown));
    tx->recipients = grown;
    tx->recipient_capacity = capacity;
    return 0;
}

int pair_transaction_add_rcpt(pair_transaction *tx, uint16_t code, bool is_sent)
{
    if (tx->recipient_count >= RECIPIENTS_MAX)
        return SMX_E_LIMIT;
    int error = recipients_grow(tx);
    if (error == 0)
        tx->recipients[tx->recipient_count++] = (pair_rcpt){tx->rcpt, code, is_sent};
    return error;
}

/* The reply to the first recipient that has none. */
static void rcpt_answered(pair *p, pair_transaction *tx, uint16_t code)
{
    while (tx->answered < tx->recipient_count && !tx->recipients[tx->answered].is_sent)
        tx->answered++;
    if (tx->answered == tx->recipient_count)
        return;
    pair_rcpt *r = &tx->recipients[tx->answered++];
    r->code = code;
    if (code / 100 == 2 && envelope_add_rcpt(&tx->draft.envelope, &tx->draft.memory, &r->rcpt,
                                             &tx->draft.capacity) != 0)
        pair_cut(p);
}

/* ---- replies ---- */

static bool is_of_transaction(const relay_event *event)
{
    switch (event->kind) {
    case RELAY_KIND_MAIL:
    case RELAY_KIND_RCPT:
    case RELAY_KIND_DATA:
    case RELAY_KIND_MESSAGE:
    case RELAY_KIND_CHUNK:
    case RELAY_KIND_LAST_CHUNK:
    case RELAY_KIND_LOCAL:
        return true;
    default:
        return false;
    }
}

static void keep_reply(pair_transaction *tx, const relay_event *event)
{
    buffer_clear(&tx->reply);
    tx->reply_code = buffer_append(&tx->reply, event->text) == 0 ? event->code : 0;
    tx->reply_lines = event->lines;
    tx->reply_enhanced = event->enhanced;
    tx->reply_is_own = event->own;
}

/* The dot was counted with the octets before it. */
static void message_answered(const pair *p, pair_transaction *tx, bool yes)
{
    static const smx_slice end = SMX_SLICE(".\r\n");
    const unsigned decoded = 1U << SMX_HOOK_HEADER | 1U << SMX_HOOK_BODY | 1U << SMX_HOOK_EOM;
    bool passed = (p->listener->relay.asks & decoded) == 0 && !tx->by_chunks;
    tx->outcome = yes ? "relayed" : "refused";
    if (passed && tx->size >= end.len && tx->draft.message == NULL)
        tx->size -= end.len;
}

void pair_transaction_reply(pair *p, const relay_event *event)
{
    pair_transaction *tx = p->watch->transaction;
    bool yes = event->code / 100 == 2;
    if (!is_of_transaction(event) || tx->outcome != NULL)
        return;
    keep_reply(tx, event);
    if (event->kind == RELAY_KIND_MAIL && !tx->is_taken) {
        tx->is_taken = yes;
        tx->is_refused = !yes;
    } else if (event->kind == RELAY_KIND_RCPT) {
        rcpt_answered(p, tx, event->code);
    } else if ((event->kind == RELAY_KIND_MESSAGE || event->kind == RELAY_KIND_LAST_CHUNK) &&
               event->code != 353) {
        if (!relay_in_transaction(p->relay))
            message_answered(p, tx, yes);
    }
}

/* ---- the end ---- */

static const char *outcome_of(const pair_transaction *tx)
{
    if (tx->outcome != NULL)
        return tx->outcome;
    if (tx->verdict == SMX_DISCARD)
        return "discarded";
    return tx->reply_code >= 400 || tx->is_dropped ? "refused" : "reset";
}

void pair_transaction_tell(pair *p, const char *outcome)
{
    pair_transaction *tx = p->watch->transaction;
    if (outcome == NULL || tx->outcome != NULL)
        outcome = outcome_of(tx);
    tx->outcome = outcome;
    if (tx->reply_is_own && tx->draft.ended) {
        front_count(&p->listener->entrance, transactions);
        front_count_reply(&p->listener->entrance, tx->reply_code);
    }
    pair_record(p, tx);
    if (tx->is_taken)
        pair_tell(p, SMX_HOOK_RESET);
}

void pair_transaction_end(pair *p)
{
    pair_transaction *tx = p->watch->transaction;
    pair_transaction_tell(p, NULL);
    p->watch->transaction = NULL;
    p->watch->spare = tx;
    transaction_clear(tx);
}
