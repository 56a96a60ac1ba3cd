/* Reservations of all limits together. The quota owns its counts; waiters are their callers'. */
#include "upstream/quota.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "upstream/quota_internal.h"

enum { SHORT_MS = 60 * 1000 };

static const char PAUSED[] = "the provider said: too many";
static const char FAILED[] = "the store fails";

/* ---- making and changing ---- */

static char *quota_store_key(const char *name, const quota_limit *limit)
{
    char what[QUOTA_TEXT];
    char *key = NULL;
    quota_limit_key(limit, what);
    return asprintf(&key, "%s %s", name, what) < 0 ? NULL : key;
}

static int quota_count_new(quota *q, const quota_limit *limit, uint64_t now_ms, quota_count **out)
{
    int error = SMX_E_NOMEM;
    quota_count *c = calloc(1, sizeof(*c));
    if (c == NULL)
        return error;
    c->quota = q;
    c->limit = *limit;
    if (limit->is_calendar && (error = calendar_zone_new(limit->zone, &c->zone)) != 0)
        goto failed;
    usage_init(&c->usage, limit, c->zone, now_ms);
    uint64_t last_use = q->store == NULL ? 0 : store_last_use(q->store);
    if (limit->window_ms < SHORT_MS) {
        c->closed_until_ms = last_use == 0 ? 0 : last_use + limit->window_ms;
    } else if (q->store != NULL) {
        c->owner = store_owner(q->store);
        c->key = quota_store_key(q->name, limit);
        if (c->key == NULL) {
            error = SMX_E_NOMEM;
            goto failed;
        }
    }
    *out = c;
    return 0;
failed:
    quota_count_free(c);
    return error;
}

/* Of limits that count alike, only the strictest one counts. */
static bool quota_is_idle(const quota_limit *limits, size_t count, size_t which)
{
    for (size_t i = 0; i < count; i++) {
        bool is_stricter = i < which ? limits[i].amount <= limits[which].amount
                                     : limits[i].amount < limits[which].amount;
        if (is_stricter && quota_limit_counts_alike(&limits[i], &limits[which]))
            return true;
    }
    return false;
}

static quota_count *quota_find(const quota *q, const quota_limit *limit)
{
    for (size_t i = 0; i < q->count; i++)
        if (quota_limit_counts_alike(&q->counts[i]->limit, limit))
            return q->counts[i];
    return NULL;
}

/* Fills `counts` with those that go on and new ones. */
static int quota_gather(quota *q, const quota_limit *limits, size_t count, uint64_t now_ms,
                        quota_count **counts, size_t *filled)
{
    int error = 0;
    for (size_t i = 0; i < count && error == 0; i++) {
        if (quota_is_idle(limits, count, i))
            continue;
        counts[*filled] = quota_find(q, &limits[i]);
        if (counts[*filled] == NULL)
            error = quota_count_new(q, &limits[i], now_ms, &counts[*filled]);
        *filled += error == 0;
    }
    return error;
}

static bool quota_has(quota_count *const *counts, size_t count, const quota_count *c)
{
    for (size_t i = 0; i < count; i++)
        if (counts[i] == c)
            return true;
    return false;
}

/* Lets go of the counts of `from` that are not among `kept`. */
static void quota_drop_others(quota *q, quota_count **from, size_t from_count,
                              quota_count *const *kept, size_t kept_count)
{
    for (size_t i = 0; i < from_count; i++) {
        if (!quota_has(kept, kept_count, from[i]))
            quota_let_go(q, from[i]);
    }
}

static int quota_change(quota *q, const quota_limit *limits, size_t count, uint64_t now_ms)
{
    quota_count **counts = calloc(count + 1, sizeof(quota_count *));
    if (counts == NULL)
        return SMX_E_NOMEM;
    size_t filled = 0;
    int error = quota_gather(q, limits, count, now_ms, counts, &filled);
    if (error != 0) {
        quota_drop_others(q, counts, filled, q->counts, q->count);
        free(counts);
        return error;
    }
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < filled; j++)
            if (!quota_is_idle(limits, count, i) &&
                quota_limit_counts_alike(&counts[j]->limit, &limits[i]))
                counts[j]->limit = limits[i];
    quota_drop_others(q, q->counts, q->count, counts, filled);
    free(q->counts);
    q->counts = counts;
    q->count = filled;
    for (size_t i = 0; i < filled; i++)
        if (!counts[i]->is_known)
            quota_ask(q, counts[i]);
    return 0;
}

int quota_new(const char *name, store *s, const quota_limit *limits, size_t count, uint64_t now_ms,
              quota **out)
{
    quota *q = calloc(1, sizeof(*q));
    if (q == NULL)
        return SMX_E_NOMEM;
    (void)pthread_mutex_init(&q->mutex, NULL);
    q->shares = 1;
    q->store = s;
    q->name = slice_to_text(slice_of_text(name));
    int error = q->name == NULL ? SMX_E_NOMEM : quota_set_limits(q, limits, count, now_ms);
    if (error != 0)
        quota_free(q);
    else
        *out = q;
    return error;
}

void quota_free(quota *q)
{
    if (q == NULL)
        return;
    (void)pthread_mutex_lock(&q->mutex);
    assert(q->waiters.count == 0);
    for (size_t i = 0; i < q->count; i++)
        quota_let_go(q, q->counts[i]);
    q->count = 0;
    quota_unlock_and_drop(q);
}

int quota_set_limits(quota *q, const quota_limit *limits, size_t count, uint64_t now_ms)
{
    (void)pthread_mutex_lock(&q->mutex);
    int error = quota_change(q, limits, count, now_ms);
    (void)pthread_mutex_unlock(&q->mutex);
    return error;
}

/* ---- verdicts ---- */

static quota_verdict quota_say(quota_state state, uint64_t until_ms, const char *why)
{
    quota_verdict v = {.state = state, .until_ms = until_ms};
    (void)snprintf(v.why, sizeof(v.why), "%s", why);
    return v;
}

static quota_verdict quota_say_full(const quota_count *c, uint64_t until_ms)
{
    return quota_say(c->limit.window_ms <= SHORT_MS ? QUOTA_WAIT : QUOTA_FULL, until_ms,
                     c->limit.text);
}

/* When `n` more can be had. What is reserved counts as if it were used now. */
static uint64_t quota_until(const quota_count *c, uint64_t in_flight, uint64_t n)
{
    const usage *u = &c->usage;
    if (in_flight + n <= c->limit.amount)
        return usage_until(u, c->limit.amount - n - in_flight);
    return u->zone != NULL ? u->end_ms : u->now_ms + u->window_ms + u->part_ms;
}

/* What the windows say. */
static quota_verdict quota_judge(const quota *q, quota_count *c, uint64_t now_ms, uint64_t n)
{
    uint64_t in_flight = quota_in_flight(q, c);
    usage_advance(&c->usage, now_ms);
    if (n > c->limit.amount)
        return quota_say(QUOTA_TOO_BIG, 0, c->limit.text);
    if (c->usage.now_ms < c->closed_until_ms)
        return quota_say_full(c, c->closed_until_ms);
    if (c->usage.total + in_flight + n > c->limit.amount)
        return quota_say_full(c, quota_until(c, in_flight, n));
    return (quota_verdict){.state = QUOTA_OK};
}

/* What the lease says, where the windows have room. */
static quota_verdict quota_judge_lease(const quota *q, const quota_count *c, uint64_t n)
{
    if (c->key == NULL || (c->is_known && quota_free_lease(q, c) >= n))
        return (quota_verdict){.state = QUOTA_OK};
    if (c->is_asking || c->usage.now_ms >= c->refused_until_ms)
        return (quota_verdict){.state = QUOTA_LEASING};
    if (c->failed)
        return quota_say(QUOTA_FULL, c->refused_until_ms, FAILED);
    return quota_say_full(c, c->refused_until_ms);
}

static uint64_t quota_amount(const quota_count *c, uint64_t recipients)
{
    return c->limit.unit == QUOTA_MESSAGES ? 1 : recipients;
}

/* The worse one; of two alike the later one. */
static void quota_worsen(quota_verdict *v, const quota_verdict *other)
{
    if (other->state > v->state || (other->state == v->state && other->until_ms > v->until_ms))
        *v = *other;
}

static quota_verdict quota_judge_all(quota *q, uint64_t now_ms, uint64_t recipients,
                                     bool with_lease)
{
    quota_verdict worst = {.state = QUOTA_OK};
    if (now_ms < q->paused_until_ms)
        worst = quota_say(QUOTA_FULL, q->paused_until_ms, PAUSED);
    for (size_t i = 0; i < q->count; i++) {
        uint64_t n = quota_amount(q->counts[i], recipients);
        quota_verdict v = quota_judge(q, q->counts[i], now_ms, n);
        if (v.state == QUOTA_OK && with_lease)
            v = quota_judge_lease(q, q->counts[i], n);
        quota_worsen(&worst, &v);
    }
    return worst;
}

/* Asks for what is missing; false if the store cannot even be asked. */
static bool quota_ask_for(quota *q, uint64_t recipients)
{
    bool asked = true;
    for (size_t i = 0; i < q->count; i++) {
        quota_count *c = q->counts[i];
        uint64_t n = quota_amount(c, recipients);
        if (quota_judge_lease(q, c, n).state != QUOTA_LEASING)
            continue;
        c->need += n;
        quota_ask(q, c);
        asked &= c->is_asking;
    }
    return asked;
}

quota_verdict quota_reserve(quota *q, uint64_t now_ms, uint64_t recipients, quota_waiter *waiter,
                            quota_reservation *reservation)
{
    assert(recipients > 0 && reservation->recipients == 0);
    (void)pthread_mutex_lock(&q->mutex);
    quota_verdict v = quota_judge_all(q, now_ms, recipients, true);
    if (v.state == QUOTA_LEASING && !quota_ask_for(q, recipients))
        v = quota_judge_all(q, now_ms, recipients, true);
    if (v.state == QUOTA_LEASING && waiter != NULL)
        list_append(&q->waiters, &waiter->node);
    if (v.state == QUOTA_OK) {
        reservation->recipients = recipients;
        q->messages++;
        q->recipients += recipients;
        for (size_t i = 0; i < q->count; i++)
            quota_ask_ahead(q, q->counts[i]);
    }
    (void)pthread_mutex_unlock(&q->mutex);
    return v;
}

quota_verdict quota_look(quota *q, uint64_t now_ms, uint64_t recipients)
{
    (void)pthread_mutex_lock(&q->mutex);
    quota_verdict v = quota_judge_all(q, now_ms, recipients, false);
    (void)pthread_mutex_unlock(&q->mutex);
    return v;
}

bool quota_cancel(quota *q, quota_waiter *waiter)
{
    (void)pthread_mutex_lock(&q->mutex);
    bool under_way = waiter->node.owner == NULL;
    list_remove(&waiter->node);
    (void)pthread_mutex_unlock(&q->mutex);
    return under_way;
}

/* ---- the end of a reservation ---- */

static void quota_take_off(quota *q, quota_reservation *reservation)
{
    assert(q->messages > 0 && q->recipients >= reservation->recipients);
    q->messages--;
    q->recipients -= reservation->recipients;
    reservation->recipients = 0;
}

void quota_commit(quota *q, uint64_t now_ms, quota_reservation *reservation)
{
    if (reservation->recipients == 0)
        return;
    (void)pthread_mutex_lock(&q->mutex);
    for (size_t i = 0; i < q->count; i++) {
        quota_count *c = q->counts[i];
        usage_advance(&c->usage, now_ms);
        usage_add(&c->usage, quota_amount(c, reservation->recipients));
    }
    quota_take_off(q, reservation);
    (void)pthread_mutex_unlock(&q->mutex);
}

void quota_release(quota *q, quota_reservation *reservation)
{
    if (reservation->recipients == 0)
        return;
    (void)pthread_mutex_lock(&q->mutex);
    quota_take_off(q, reservation);
    (void)pthread_mutex_unlock(&q->mutex);
}

void quota_pause(quota *q, uint64_t until_ms)
{
    (void)pthread_mutex_lock(&q->mutex);
    if (until_ms > q->paused_until_ms)
        q->paused_until_ms = until_ms;
    (void)pthread_mutex_unlock(&q->mutex);
}

void quota_resume(quota *q)
{
    (void)pthread_mutex_lock(&q->mutex);
    q->paused_until_ms = 0;
    (void)pthread_mutex_unlock(&q->mutex);
}

/* ---- for explain and metrics ---- */

size_t quota_reports(quota *q, uint64_t now_ms, quota_report *reports, size_t room)
{
    (void)pthread_mutex_lock(&q->mutex);
    size_t count = q->count;
    for (size_t i = 0; i < count && i < room; i++) {
        quota_count *c = q->counts[i];
        usage_advance(&c->usage, now_ms);
        uint64_t used = c->usage.total + quota_in_flight(q, c);
        quota_report *r = &reports[i];
        *r = (quota_report){.amount = c->limit.amount, .used = used};
        r->left = used < r->amount ? r->amount - used : 0;
        r->resets_at_ms = usage_until(&c->usage, 0);
        memcpy(r->limit, c->limit.text, sizeof(r->limit));
    }
    (void)pthread_mutex_unlock(&q->mutex);
    return count;
}
