/* The table of recent messages, and the middleware that asks it. Every entry is on one list, in the
 * order in which entries end; a copy that waits is on its entry's list. One mutex guards all of it. */
#include "mux/dedup.h"

#include <stdlib.h>

#include "mux/mux_internal.h"
#include "mux/route.h"

enum { ENTRIES_MAX = 100000 };

typedef enum entry_state {
    ENTRY_UNDER_WAY,
    ENTRY_TAKEN,
    ENTRY_UNKNOWN,
} entry_state;

typedef struct entry {
    list_node node; /* of `under_way`, or of `settled` in the order in which they were */
    unsigned char key[DEDUP_KEY];
    entry_state state;
    bool was_unknown; /* under way again, to the upstream that may have it already */
    uint64_t expires; /* of the loops' clock */
    uint16_t code;    /* the reply that copies get */
    smx_enhanced enhanced;
    char *text;
    size_t text_len;
    char *upstream; /* that has it, or may have */
    list waiters;
} entry;

/* A copy that waits; in its transaction's memory. */
typedef struct waiter {
    list_node node;
    mux_worker *worker;
    mux_record *record;
    smx_ticket ticket;
    smx_verdict verdict; /* when there was no memory to tell it */
} waiter;

struct dedup {
    pthread_mutex_t mutex;
    map entries;
    list under_way;
    list settled;
    list untold; /* waiters whose verdict could not be posted */
};

int dedup_new(dedup **out)
{
    dedup *d = calloc(1, sizeof(*d));
    if (d == NULL)
        return SMX_E_NOMEM;
    (void)pthread_mutex_init(&d->mutex, NULL);
    *out = d;
    return 0;
}

static smx_slice entry_key(const unsigned char key[DEDUP_KEY])
{
    return slice_of((const char *)key, DEDUP_KEY);
}

static void entry_free(dedup *d, entry *e)
{
    (void)map_remove(&d->entries, entry_key(e->key));
    list_remove(&e->node);
    free(e->text);
    free(e->upstream);
    free(e);
}

void dedup_free(dedup *d)
{
    if (d == NULL)
        return;
    while (d->under_way.first != NULL)
        entry_free(d, list_member(d->under_way.first, entry, node));
    while (d->settled.first != NULL)
        entry_free(d, list_member(d->settled.first, entry, node));
    map_free(&d->entries);
    (void)pthread_mutex_destroy(&d->mutex);
    free(d);
}

static void dedup_expire(dedup *d, uint64_t now)
{
    while (d->settled.first != NULL) {
        entry *e = list_member(d->settled.first, entry, node);
        if (e->expires > now && d->entries.count < ENTRIES_MAX)
            return;
        entry_free(d, e);
    }
}

/* ---- telling those who wait ---- */

/* Without memory it is kept, and tried again with the next message. */
static void waiter_tell(dedup *d, waiter *w)
{
    list_remove(&w->node);
    if (smx_transaction_continue(w->worker->server, w->ticket, &w->verdict) == SMX_E_NOMEM)
        list_append(&d->untold, &w->node);
}

static void dedup_tell_untold(dedup *d)
{
    for (size_t left = d->untold.count; left > 0 && d->untold.first != NULL; left--)
        waiter_tell(d, list_member(d->untold.first, waiter, node));
}

static void entry_tell_all(dedup *d, entry *e, const smx_reply *reply)
{
    while (e->waiters.first != NULL) {
        waiter *w = list_member(e->waiters.first, waiter, node);
        w->verdict = (smx_verdict){SMX_REPLY_WITH, *reply};
        w->verdict.reply.text = slice_of(e->text, e->text_len);
        waiter_tell(d, w);
    }
}

/* ---- before: is it known? ---- */

static entry *dedup_add(dedup *d, const unsigned char key[DEDUP_KEY])
{
    entry *e = calloc(1, sizeof(*e));
    if (e == NULL)
        return NULL;
    memcpy(e->key, key, DEDUP_KEY);
    if (map_put(&d->entries, entry_key(e->key), e) != 0) {
        free(e);
        return NULL;
    }
    list_append(&d->under_way, &e->node);
    return e;
}

static smx_slice dedup_copy(smx_transaction *tx, const char *text, size_t len)
{
    char *copy = text == NULL ? NULL : smx_transaction_alloc(tx, len + 1);
    if (copy == NULL)
        return (smx_slice){NULL, 0};
    memcpy(copy, text, len);
    copy[len] = '\0';
    return slice_of(copy, len);
}

static const smx_verdict dedup_no_memory = {SMX_REPLY_WITH,
                                            {451, {4, 3, 0}, {"out of memory, try again", 24}}};

/* This message is the one that is delivered for this key. */
static smx_verdict dedup_own(entry *e, mux_record *record)
{
    record->dedup_entry = e;
    return (smx_verdict){.kind = SMX_CONTINUE};
}

static smx_verdict dedup_wait(entry *e, mux_worker *worker, smx_transaction *tx, mux_record *record)
{
    waiter *w = smx_transaction_alloc(tx, sizeof(*w));
    if (w == NULL)
        return dedup_no_memory;
    *w = (waiter){.worker = worker, .record = record, .ticket = smx_transaction_ticket(tx)};
    record->is_copy = true;
    list_append(&e->waiters, &w->node);
    return (smx_verdict){.kind = SMX_VERDICT_LATER};
}

static smx_verdict dedup_repeat(const entry *e, smx_transaction *tx, mux_record *record)
{
    smx_slice name = dedup_copy(tx, e->upstream, e->upstream == NULL ? 0 : strlen(e->upstream));
    record->is_copy = true;
    record->upstream = name.data;
    return (smx_verdict){SMX_REPLY_WITH,
                         {e->code, e->enhanced, dedup_copy(tx, e->text, e->text_len)}};
}

static smx_verdict dedup_retry_unknown(dedup *d, entry *e, smx_transaction *tx, mux_record *record)
{
    smx_slice only = dedup_copy(tx, e->upstream, e->upstream == NULL ? 0 : strlen(e->upstream));
    if (only.data == NULL)
        return dedup_no_memory;
    record->only_upstream = only.data;
    e->was_unknown = true;
    e->state = ENTRY_UNDER_WAY;
    list_move(&d->under_way, &e->node);
    return dedup_own(e, record);
}

static smx_verdict dedup_ask(dedup *d, mux_worker *worker, smx_transaction *tx,
                             const unsigned char key[DEDUP_KEY])
{
    mux_record *record = smx_transaction_value(tx);
    dedup_tell_untold(d);
    dedup_expire(d, loop_now(worker->loop));
    entry *e = map_get(&d->entries, entry_key(key));
    if (e != NULL && e->state != ENTRY_UNDER_WAY && e->expires <= loop_now(worker->loop)) {
        entry_free(d, e); /* one with a longer window stands before it */
        e = NULL;
    }
    if (e == NULL) {
        e = dedup_add(d, key);
        return e == NULL ? dedup_no_memory : dedup_own(e, record);
    }
    switch (e->state) {
    case ENTRY_UNDER_WAY:
        return dedup_wait(e, worker, tx, record);
    case ENTRY_TAKEN:
        return dedup_repeat(e, tx, record);
    case ENTRY_UNKNOWN:
        break;
    }
    return dedup_retry_unknown(d, e, tx, record);
}

static smx_verdict dedup_before(void *arg, smx_transaction *tx)
{
    mux_worker *worker = arg;
    dedup *d = worker->mux->state->dedup;
    const smx_user *user = smx_transaction_user(tx);
    unsigned char key[DEDUP_KEY];
    mux_resolved with;
    const mux_route *route;
    if (user == NULL || worker->cut)
        return (smx_verdict){.kind = SMX_CONTINUE};
    if (mux_route_of(worker->mux, tx, &route) != 0)
        return dedup_no_memory;
    mux_resolve(user->data, route, &with);
    if (with.plan.dedup_window_ms == 0)
        return (smx_verdict){.kind = SMX_CONTINUE};
    if (dedup_key_of(tx, key) != 0)
        return dedup_no_memory;
    mux_record *record = smx_transaction_value(tx);
    record->dedup_window_ms = with.plan.dedup_window_ms;
    record->route = with.route;
    (void)pthread_mutex_lock(&d->mutex);
    smx_verdict verdict = dedup_ask(d, worker, tx, key);
    (void)pthread_mutex_unlock(&d->mutex);
    return verdict;
}

/* ---- after: what became of it ---- */

/* The first's client went away before anything left: the next one who waits is delivered. True: there
 * was one. */
static bool entry_hand_over(dedup *d, entry *e)
{
    if (e->waiters.first == NULL)
        return false;
    waiter *w = list_member(e->waiters.first, waiter, node);
    w->record->is_copy = false;
    w->record->dedup_entry = e;
    w->verdict = (smx_verdict){.kind = SMX_CONTINUE};
    if (e->was_unknown)
        w->record->only_upstream = e->upstream;
    waiter_tell(d, w);
    return true;
}

static void entry_keep_reply(entry *e, const smx_reply *reply)
{
    free(e->text);
    e->text = malloc(reply->text.len + 1);
    e->text_len = e->text == NULL ? 0 : reply->text.len;
    if (e->text_len > 0)
        memcpy(e->text, reply->text.data, e->text_len);
    e->code = reply->code;
    e->enhanced = reply->enhanced;
}

static void entry_settle(dedup *d, entry *e, entry_state state, const mux_record *record,
                         uint64_t now)
{
    e->state = state;
    e->expires = now + record->dedup_window_ms;
    if (record->upstream != NULL) {
        char *name = strdup(record->upstream);
        if (name != NULL) {
            free(e->upstream);
            e->upstream = name;
        }
    }
    list_move(&d->settled, &e->node);
}

static void dedup_learn(dedup *d, entry *e, const mux_record *record, const smx_reply *reply,
                        uint64_t now)
{
    bool is_gone = record->has_outcome && record->outcome == MUX_OUTCOME_CLIENT_GONE;
    bool is_unknown = record->has_outcome && record->outcome == MUX_OUTCOME_UNKNOWN;
    if (is_gone && entry_hand_over(d, e))
        return;
    entry_keep_reply(e, reply);
    entry_tell_all(d, e, reply);
    if (reply->code / 100 == 2)
        entry_settle(d, e, ENTRY_TAKEN, record, now);
    else if ((is_unknown && record->upstream != NULL) || e->was_unknown)
        entry_settle(d, e, ENTRY_UNKNOWN, record, now);
    else
        entry_free(d, e);
}

static void dedup_after(void *arg, smx_transaction *tx, smx_reply *reply)
{
    mux_worker *worker = arg;
    dedup *d = worker->mux->state->dedup;
    mux_record *record = smx_transaction_value(tx);
    if (record == NULL)
        return;
    if (record->is_copy && reply->code / 100 == 2) {
        record->outcome = MUX_OUTCOME_DELIVERED;
        record->has_outcome = true;
    }
    if (record->dedup_entry == NULL)
        return;
    (void)pthread_mutex_lock(&d->mutex);
    dedup_learn(d, record->dedup_entry, record, reply, loop_now(worker->loop));
    (void)pthread_mutex_unlock(&d->mutex);
    record->dedup_entry = NULL;
}

/* ---- the worker's end ---- */

static void entry_leave(dedup *d, list *waiters, const mux_worker *worker)
{
    list_node *next;
    for (list_node *n = waiters->first; n != NULL; n = next) {
        waiter *w = list_member(n, waiter, node);
        next = n->next;
        if (w->worker != worker)
            continue;
        w->verdict =
            (smx_verdict){SMX_REPLY_WITH, SMX_REPLY(451, 4, 3, 2, "shutting down, try again")};
        waiter_tell(d, w);
    }
}

/* Without memory still: their transactions, and they with them, end with the server. */
static void dedup_forget_untold(dedup *d, const mux_worker *worker)
{
    list_node *next;
    for (list_node *n = d->untold.first; n != NULL; n = next) {
        next = n->next;
        if (list_member(n, waiter, node)->worker == worker)
            list_remove(n);
    }
}

void dedup_leave(dedup *d, mux_worker *worker)
{
    (void)pthread_mutex_lock(&d->mutex);
    dedup_tell_untold(d); /* what they get is decided already */
    for (list_node *n = d->under_way.first; n != NULL; n = n->next)
        entry_leave(d, &list_member(n, entry, node)->waiters, worker);
    dedup_forget_untold(d, worker);
    (void)pthread_mutex_unlock(&d->mutex);
}

void mux_dedup_init(mux_worker *worker)
{
    worker->dedup = (smx_middleware){
        .version = SMX_MIDDLEWARE_VERSION,
        .name = "dedup",
        .arg = worker,
        .before = dedup_before,
        .after = dedup_after,
    };
}
