/* What all workers know of one provider: its suspension, its counts, and who may have a connection.
 * The record owns no connection; pools and waiters register themselves and outlive their entry. */
#include "upstream/upstream.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "upstream/secret.h"

enum {
    SUSPEND_FIRST_MS = 15 * 60 * 1000,
    SUSPEND_LONGEST_MS = 6 * 60 * 60 * 1000,
    CONNECTIONS_DEFAULT = 20,
    NAME_MAX_OCTETS = 512,
    LATENCY_SHARE = 8, /* of a new delivery in the average: one eighth */
};

#define OFFERED_SEEN     (1ULL << 63)
#define OFFERED_SIZE_AT  20                               /* behind the extensions stands SIZE, */
#define OFFERED_SIZE_MAX (1ULL << (63 - OFFERED_SIZE_AT)) /* below this, or 0 */
#define OFFERED_KEPT_MS  (90ULL * 24 * 60 * 60 * 1000)

struct upstream {
    char *name;
    _Atomic unsigned shares;
    _Atomic uint64_t counts[UPSTREAM_COUNTER_COUNT];
    _Atomic uint32_t connections[UPSTREAM_CONNECTION_STATES];
    histogram took[SMX_OUTCOME_GIVEN_UP + 1];
    _Atomic uint64_t not_taken[SMX_CLIENT_PHASE_COUNT];
    _Atomic uint32_t latency_us;
    _Atomic bool is_troubled; /* suspended, or its breaker is not closed */
    _Atomic uint32_t probe_ms;
    _Atomic uint64_t probe_due; /* meant for `probe_ms` other than 0 */
    _Atomic uint64_t offered;   /* by the last EHLO: extensions, SIZE, OFFERED_SEEN; 0: none yet */
    store *store;
    quota *quota;             /* locks itself */
    pthread_mutex_t mutex;    /* guards what follows */
    char *secret;             /* user and password that a suspension is about */
    uint64_t suspended_until; /* 0: not suspended */
    uint64_t suspension_ms;   /* of the last suspension; 0: none since a success */
    breaker breaker;
    uint32_t probes_under_way;
    uint32_t permits; /* connections that exist or are being opened */
    uint32_t permits_max;
    list waiters;
    list holders;
    oauth2 *oauth2;      /* tokens of the credentials in force, or NULL */
    oauth2 *oauth2_next; /* of those that a reload prepares, or prepared in vain; or NULL */
};

/* ---- life ---- */

static void upstream_recall(upstream *u);
static bool upstream_grant(upstream *u);

/* When it is to be tried out next: when the breaker's pause is over, so that no message need be the one
 * that tries, or after the configured time. Under the mutex. */
static uint64_t upstream_next_probe(const upstream *u, uint64_t now)
{
    uint64_t next = now + atomic_load_explicit(&u->probe_ms, memory_order_relaxed);
    bool is_paused = u->breaker.state == BREAKER_OPEN && u->breaker.until > now;
    return is_paused && u->breaker.until < next ? u->breaker.until : next;
}

/* Nobody else is at it, or only now has found it due. Under the mutex. */
static void upstream_begin_probe_time(upstream *u, uint64_t now)
{
    atomic_store_explicit(&u->probe_due, upstream_next_probe(u, now), memory_order_relaxed);
}

/* A message was tried. A probe under way keeps others off for longer than that. Under the mutex, beside
 * which only claims are made. */
static void upstream_put_probe_off(upstream *u, uint64_t now)
{
    uint64_t next = upstream_next_probe(u, now);
    uint64_t due = atomic_load_explicit(&u->probe_due, memory_order_relaxed);
    if (due < next)
        (void)atomic_compare_exchange_strong(&u->probe_due, &due, next);
}

bool upstream_is_plain(const upstream *u)
{
    return !atomic_load_explicit(&u->is_troubled, memory_order_relaxed);
}

/* After every change of the suspension or the breaker. Under the mutex, which is given back. */
static void upstream_unlock_changed(upstream *u)
{
    bool troubled = u->suspended_until > 0 || u->breaker.state != BREAKER_CLOSED;
    atomic_store_explicit(&u->is_troubled, troubled, memory_order_relaxed);
    (void)pthread_mutex_unlock(&u->mutex);
}

static void upstream_forget_secret(upstream *u)
{
    if (u->secret != NULL)
        explicit_bzero(u->secret, strlen(u->secret));
    free(u->secret);
    u->secret = NULL;
}

static bool upstream_has_tokens_of(const oauth2 *o, const upstream_options *options)
{
    return o != NULL && oauth2_is_of(o, &options->oauth2);
}

/* Tokens of the credentials that are in force from now on are kept; those of others are returned, to be
 * freed without the mutex. */
static void upstream_choose_tokens(upstream *u, const upstream_options *options, oauth2 *old[2])
{
    old[0] = u->oauth2;
    old[1] = u->oauth2_next;
    u->oauth2 = NULL;
    u->oauth2_next = NULL;
    for (size_t i = 0; i < 2 && u->oauth2 == NULL; i++) {
        if (!upstream_has_tokens_of(old[i], options))
            continue;
        u->oauth2 = old[i];
        old[i] = NULL;
    }
}

/* All but the limits. */
static void upstream_set(upstream *u, const upstream_options *options)
{
    char *secret = secret_of(options);
    oauth2 *old[2];
    (void)pthread_mutex_lock(&u->mutex);
    upstream_choose_tokens(u, options, old);
    if (u->secret == NULL || secret == NULL || strcmp(u->secret, secret) != 0) {
        u->suspended_until = 0;
        u->suspension_ms = 0;
    }
    upstream_forget_secret(u);
    u->secret = secret;
    u->permits_max = options->max_connections == 0 ? CONNECTIONS_DEFAULT : options->max_connections;
    while (u->permits < u->permits_max && upstream_grant(u))
        u->permits++;
    breaker_configure(&u->breaker, &options->breaker);
    if (atomic_exchange(&u->probe_ms, options->probe_ms) != options->probe_ms &&
        u->probes_under_way == 0)
        upstream_begin_probe_time(u, clock_monotonic_ms());
    upstream_unlock_changed(u);
    oauth2_free(old[0]);
    oauth2_free(old[1]);
}

void upstream_configure(upstream *u, const upstream_options *options)
{
    upstream_set(u, options);
    /* Without memory the old limits go on. */
    int error =
        quota_set_limits(u->quota, options->limits.items, options->limits.count, clock_wall_ms());
    (void)error;
}

static int upstream_open_quota(upstream *u, const upstream_options *options)
{
    char name[NAME_MAX_OCTETS];
    (void)snprintf(name, sizeof(name), "upstream %s", u->name);
    return quota_new(name, u->store, options->limits.items, options->limits.count, clock_wall_ms(),
                     &u->quota);
}

int upstream_new(const upstream_options *options, store *s, upstream **out)
{
    upstream *u = calloc(1, sizeof(*u));
    if (u == NULL)
        return SMX_E_NOMEM;
    u->store = s;
    atomic_init(&u->shares, 1);
    (void)pthread_mutex_init(&u->mutex, NULL);
    u->name = strdup(options->name);
    int error = u->name == NULL ? SMX_E_NOMEM : upstream_open_quota(u, options);
    if (error == 0) {
        upstream_set(u, options);
        error = u->secret == NULL ? SMX_E_NOMEM : 0;
    }
    if (error == 0)
        upstream_recall(u);
    if (error == 0)
        *out = u;
    else
        upstream_free(u);
    return error;
}

int upstream_share_oauth2(upstream *u, const upstream_options *options, smx_log_fn *log,
                          void *log_arg, oauth2 **o)
{
    int error = 0;
    oauth2 *old = NULL;
    (void)pthread_mutex_lock(&u->mutex);
    oauth2 *found = upstream_has_tokens_of(u->oauth2, options) ? u->oauth2 : u->oauth2_next;
    if (!upstream_has_tokens_of(found, options)) {
        error = oauth2_new(&options->oauth2, options->name, log, log_arg, &found);
        if (error == 0) {
            old = u->oauth2_next;
            u->oauth2_next = found;
        }
    }
    if (error == 0)
        *o = oauth2_share(found);
    (void)pthread_mutex_unlock(&u->mutex);
    oauth2_free(old);
    return error;
}

upstream *upstream_share(upstream *u)
{
    (void)atomic_fetch_add(&u->shares, 1);
    return u;
}

void upstream_free(upstream *u)
{
    if (u == NULL || atomic_fetch_sub(&u->shares, 1) > 1)
        return;
    upstream_forget_secret(u);
    quota_free(u->quota);
    oauth2_free(u->oauth2);
    oauth2_free(u->oauth2_next);
    (void)pthread_mutex_destroy(&u->mutex);
    free(u->name);
    free(u);
}

const char *upstream_name(const upstream *u)
{
    return u->name;
}

void upstream_took(upstream *u, smx_outcome outcome, uint64_t ms)
{
    histogram_add(&u->took[outcome], ms);
}

void upstream_times(const upstream *u, smx_outcome outcome, histogram_view *view)
{
    histogram_read(&u->took[outcome], view);
}

void upstream_not_taken(upstream *u, smx_client_phase phase)
{
    atomic_fetch_add_explicit(&u->not_taken[phase], 1, memory_order_relaxed);
}

uint64_t upstream_not_taken_total(const upstream *u, smx_client_phase phase)
{
    return atomic_load_explicit(&u->not_taken[phase], memory_order_relaxed);
}

void upstream_connection_moved(upstream *u, upstream_connection_state from,
                               upstream_connection_state to)
{
    if (from != UPSTREAM_CONNECTION_STATES)
        (void)atomic_fetch_sub_explicit(&u->connections[from], 1, memory_order_relaxed);
    if (to != UPSTREAM_CONNECTION_STATES)
        (void)atomic_fetch_add_explicit(&u->connections[to], 1, memory_order_relaxed);
}

uint32_t upstream_connections(const upstream *u, upstream_connection_state state)
{
    return atomic_load_explicit(&u->connections[state], memory_order_relaxed);
}

void upstream_count(upstream *u, upstream_counter counter)
{
    atomic_fetch_add_explicit(&u->counts[counter], 1, memory_order_relaxed);
}

uint64_t upstream_total(const upstream *u, upstream_counter counter)
{
    return atomic_load_explicit(&u->counts[counter], memory_order_relaxed);
}

/* ---- suspension ---- */

/* The next one of a row of suspensions. */
static uint64_t upstream_next_suspension(const upstream *u)
{
    if (u->suspension_ms == 0)
        return SUSPEND_FIRST_MS;
    return u->suspension_ms > SUSPEND_LONGEST_MS / 2 ? SUSPEND_LONGEST_MS : u->suspension_ms * 2;
}

uint64_t upstream_suspend(upstream *u, uint64_t now, uint64_t ms, bool *is_new)
{
    (void)pthread_mutex_lock(&u->mutex);
    *is_new = u->suspended_until <= now;
    if (ms > 0) {
        if (u->suspended_until < now + ms)
            u->suspended_until = now + ms;
    } else if (*is_new) {
        u->suspension_ms = upstream_next_suspension(u);
        u->suspended_until = now + u->suspension_ms;
    }
    uint64_t until = u->suspended_until;
    upstream_unlock_changed(u);
    if (*is_new)
        upstream_count(u, UPSTREAM_COUNT_suspensions);
    return until;
}

bool upstream_resume(upstream *u)
{
    (void)pthread_mutex_lock(&u->mutex);
    bool was_suspended = u->suspended_until > 0;
    u->suspension_ms = 0;
    u->suspended_until = 0;
    bool was_open = breaker_succeed(&u->breaker);
    quota_resume(u->quota);
    upstream_unlock_changed(u);
    return was_suspended || was_open;
}

void upstream_pause(upstream *u, uint64_t ms)
{
    quota_pause(u->quota, clock_wall_ms() + ms);
}

/* ---- admission ---- */

static const upstream_usable upstream_by_quota[] = {
    [QUOTA_OK] = UPSTREAM_USABLE,        [QUOTA_LEASING] = UPSTREAM_LEASING,
    [QUOTA_WAIT] = UPSTREAM_PACED,       [QUOTA_FULL] = UPSTREAM_QUOTA_FULL,
    [QUOTA_TOO_BIG] = UPSTREAM_TOO_MANY,
};

/* The quota speaks last: what it gives is kept or given back with the attempt. */
static void upstream_admit_quota(upstream *u, const upstream_ask *ask, upstream_admission *a)
{
    uint64_t wall = clock_wall_ms();
    quota_verdict verdict =
        quota_reserve(u->quota, wall, ask->recipients, ask->waiter, &a->reservation);
    a->usable = upstream_by_quota[verdict.state];
    a->until = verdict.until_ms > wall ? ask->now + (verdict.until_ms - wall) : ask->now;
    memcpy(a->why, verdict.why, sizeof(a->why));
    if (verdict.state != QUOTA_OK && a->is_probe)
        breaker_give_back(&u->breaker);
}

/* A probe that is refused comes when the breaker's pause ends, if that is sooner. A suspension is
 * looked at in between, since an operator may end it. */
static void upstream_put_probe_off_until(upstream *u, uint64_t now, const upstream_admission *a)
{
    uint64_t next = now + atomic_load_explicit(&u->probe_ms, memory_order_relaxed);
    if (a->until > now && a->until < next)
        next = a->until;
    atomic_store_explicit(&u->probe_due, next, memory_order_relaxed);
}

void upstream_admit(upstream *u, const upstream_ask *ask, upstream_admission *admission)
{
    *admission = (upstream_admission){.usable = UPSTREAM_USABLE, .is_for_probe = ask->is_for_probe};
    (void)pthread_mutex_lock(&u->mutex);
    if (u->suspended_until > ask->now) {
        admission->usable = UPSTREAM_SUSPENDED;
        admission->until = u->suspended_until;
    } else if (!ask->past_breaker) {
        breaker_permission permission = breaker_ask(&u->breaker, ask->now);
        admission->is_probe = permission == BREAKER_ALLOWS_PROBE;
        if (permission == BREAKER_REFUSES) {
            admission->usable = UPSTREAM_BREAKER_OPEN;
            admission->until = u->breaker.state == BREAKER_OPEN ? u->breaker.until : 0;
        }
    }
    if (ask->is_for_probe && admission->usable == UPSTREAM_USABLE)
        u->probes_under_way++;
    else if (ask->is_for_probe)
        upstream_put_probe_off_until(u, ask->now, admission);
    else if (admission->usable == UPSTREAM_USABLE)
        upstream_admit_quota(u, ask, admission);
    if (!ask->is_for_probe && admission->usable == UPSTREAM_USABLE)
        upstream_put_probe_off(u, ask->now);
    (void)pthread_mutex_unlock(&u->mutex);
}

/* Under the mutex, which alone writes it. */
static void upstream_learn_latency(upstream *u, uint64_t took_ms)
{
    uint64_t average = atomic_load_explicit(&u->latency_us, memory_order_relaxed);
    uint64_t sample = took_ms == 0 ? 500 : took_ms * 1000; /* the clock counts milliseconds */
    if (average > 0)
        sample = (average * (LATENCY_SHARE - 1) + sample) / LATENCY_SHARE;
    atomic_store_explicit(&u->latency_us, sample > UINT32_MAX ? UINT32_MAX : (uint32_t)sample,
                          memory_order_relaxed);
}

upstream_news upstream_settle(upstream *u, upstream_admission *admission,
                              const upstream_settlement *settlement, uint64_t *until)
{
    upstream_news news = UPSTREAM_NO_NEWS;
    (void)pthread_mutex_lock(&u->mutex);
    if (settlement->health == UPSTREAM_GREETED && breaker_succeed(&u->breaker))
        news = UPSTREAM_CLOSED;
    else if (settlement->health == UPSTREAM_UNREACHED && breaker_fail(&u->breaker, settlement->now))
        news = UPSTREAM_OPENED;
    else if (settlement->health == UPSTREAM_SILENT_ON_HEALTH && admission->is_probe)
        breaker_give_back(&u->breaker);
    if (settlement->taken) {
        u->suspension_ms = 0;
        upstream_learn_latency(u, settlement->took_ms);
    }
    *until = u->breaker.until;
    if (admission->is_for_probe)
        u->probes_under_way--;
    if (admission->is_for_probe || (news == UPSTREAM_OPENED && u->probes_under_way == 0))
        upstream_begin_probe_time(u, settlement->now);
    else
        upstream_put_probe_off(u, settlement->now);
    upstream_unlock_changed(u);
    if (settlement->counts)
        quota_commit(u->quota, clock_wall_ms(), &admission->reservation);
    else
        quota_release(u->quota, &admission->reservation);
    return news;
}

/* ---- the active probe ---- */

uint64_t upstream_probe_due(const upstream *u)
{
    if (atomic_load_explicit(&u->probe_ms, memory_order_relaxed) == 0)
        return UINT64_MAX;
    return atomic_load_explicit(&u->probe_due, memory_order_relaxed);
}

/* Until it is settled nobody else finds it due. */
bool upstream_probe_claim(upstream *u, uint64_t now)
{
    uint64_t due = upstream_probe_due(u);
    uint64_t next = now + UPSTREAM_PROBE_MS + atomic_load(&u->probe_ms);
    return due <= now && atomic_compare_exchange_strong(&u->probe_due, &due, next);
}

uint32_t upstream_latency_us(const upstream *u)
{
    return atomic_load_explicit(&u->latency_us, memory_order_relaxed);
}

static void upstream_judge(upstream_status *status, uint64_t now)
{
    if (status->is_suspended) {
        status->usable = UPSTREAM_SUSPENDED;
        status->until = status->suspended_until;
    } else if (status->breaker == BREAKER_HALF_OPEN ||
               (status->breaker == BREAKER_OPEN && status->breaker_until > now)) {
        status->usable = UPSTREAM_BREAKER_OPEN;
        status->until = status->breaker == BREAKER_OPEN ? status->breaker_until : 0;
    }
}

/* What the quota says, where nothing else is in the way. */
static void upstream_look(const upstream *u, uint64_t now, upstream_status *status)
{
    if (status->usable != UPSTREAM_USABLE)
        return;
    uint64_t wall = clock_wall_ms();
    quota_verdict verdict = quota_look(u->quota, wall, 1);
    status->usable = upstream_by_quota[verdict.state];
    if (verdict.until_ms > wall)
        status->until = now + (verdict.until_ms - wall);
    memcpy(status->why, verdict.why, sizeof(status->why));
}

void upstream_get_status(upstream *u, uint64_t now, upstream_status *status)
{
    (void)pthread_mutex_lock(&u->mutex);
    *status = (upstream_status){
        .usable = UPSTREAM_USABLE,
        .is_suspended = u->suspended_until > now,
        .suspended_until = u->suspended_until,
        .breaker = u->breaker.state,
        .breaker_until = u->breaker.until,
        .failures = u->breaker.failures,
        .latency_ms = upstream_latency_us(u) / 1000.0,
        .connections = u->permits,
        .max_connections = u->permits_max,
        .waiting = (uint32_t)u->waiters.count,
    };
    upstream_judge(status, now);
    upstream_look(u, now, status);
    (void)pthread_mutex_unlock(&u->mutex);
}

quota *upstream_quota(upstream *u)
{
    return u->quota;
}

/* ---- what it offers ---- */

static void upstream_offer_key(const upstream *u, char *key, size_t capacity)
{
    (void)snprintf(key, capacity, "ehlo %s", u->name);
}

/* On the store's thread. The record's share, taken for this, ends. */
static void upstream_recalled(void *arg, int error, smx_slice value)
{
    upstream *u = arg;
    uint64_t none = 0;
    uint64_t kept;
    if (error == 0 && slice_to_number(value, OFFERED_SEEN - 1, &kept) == 0)
        (void)atomic_compare_exchange_strong(&u->offered, &none, kept | OFFERED_SEEN);
    upstream_free(u);
}

static void upstream_recall(upstream *u)
{
    char key[NAME_MAX_OCTETS];
    if (u->store == NULL)
        return;
    upstream_offer_key(u, key, sizeof(key));
    if (store_get(u->store, slice_of_text(key), upstream_recalled, upstream_share(u)) != 0)
        upstream_free(u);
}

void upstream_learn(upstream *u, const smx_capabilities *told)
{
    char key[NAME_MAX_OCTETS];
    char value[24];
    uint64_t size = told->max_size < OFFERED_SIZE_MAX ? told->max_size : 0;
    uint64_t offered = told->extensions | size << OFFERED_SIZE_AT | OFFERED_SEEN;
    if (atomic_exchange(&u->offered, offered) == offered || u->store == NULL)
        return;
    upstream_offer_key(u, key, sizeof(key));
    int len = snprintf(value, sizeof(value), "%" PRIu64, (uint64_t)(offered & ~OFFERED_SEEN));
    /* Without memory it is learned again at the next start. */
    int error = store_put(u->store, slice_of_text(key), slice_of(value, (size_t)len),
                          clock_wall_ms() + OFFERED_KEPT_MS, NULL, NULL);
    (void)error;
}

upstream_offer upstream_known(const upstream *u, const upstream_options *configured, bool *is_whole)
{
    uint64_t offered = atomic_load_explicit(&u->offered, memory_order_relaxed);
    if (is_whole != NULL)
        *is_whole = offered != 0;
    if (offered == 0)
        return (upstream_offer){configured->caps, configured->cap_max_size};
    return (upstream_offer){(smx_extensions)(offered & (((uint64_t)1 << OFFERED_SIZE_AT) - 1)),
                            (offered & ~OFFERED_SEEN) >> OFFERED_SIZE_AT};
}

/* ---- permits ---- */

void upstream_holder_add(upstream *u, upstream_holder *holder)
{
    (void)pthread_mutex_lock(&u->mutex);
    list_append(&u->holders, &holder->node);
    (void)pthread_mutex_unlock(&u->mutex);
}

void upstream_holder_remove(upstream *u, upstream_holder *holder)
{
    (void)pthread_mutex_lock(&u->mutex);
    list_remove(&holder->node);
    (void)pthread_mutex_unlock(&u->mutex);
}

/* Asks one pool to give up an idle connection that it was not asked for yet. The waiter's own has none
 * to give, unless the waiter needs a fresh one. */
static void upstream_ask_release(upstream *u)
{
    for (list_node *n = u->holders.first; n != NULL; n = n->next) {
        upstream_holder *holder = list_member(n, upstream_holder, node);
        if (holder->idle > holder->asked &&
            smx_loop_post(holder->loop, holder->release, holder->arg) == 0) {
            holder->asked++;
            return;
        }
    }
}

void upstream_holder_answer(upstream *u, upstream_holder *holder, bool closed)
{
    (void)pthread_mutex_lock(&u->mutex);
    holder->asked--;
    if (!closed && u->waiters.first != NULL)
        upstream_ask_release(u);
    (void)pthread_mutex_unlock(&u->mutex);
}

bool upstream_holder_is_asked(upstream *u, const upstream_holder *holder)
{
    (void)pthread_mutex_lock(&u->mutex);
    bool asked = holder->asked > 0;
    (void)pthread_mutex_unlock(&u->mutex);
    return asked;
}

bool upstream_permit_take(upstream *u, upstream_waiter *waiter)
{
    (void)pthread_mutex_lock(&u->mutex);
    bool taken = u->permits < u->permits_max;
    if (taken) {
        u->permits++;
    } else {
        list_append(&u->waiters, &waiter->node);
        upstream_ask_release(u);
    }
    (void)pthread_mutex_unlock(&u->mutex);
    return taken;
}

bool upstream_permit_try(upstream *u, upstream_holder *holder)
{
    (void)pthread_mutex_lock(&u->mutex);
    bool taken = u->permits < u->permits_max;
    u->permits += taken;
    holder->idle += taken;
    (void)pthread_mutex_unlock(&u->mutex);
    return taken;
}

/* A permit goes to the first waiter. False: nobody waits, or there is no memory to tell. */
static bool upstream_grant(upstream *u)
{
    list_node *first = u->waiters.first;
    if (first == NULL)
        return false;
    const upstream_waiter *waiter = list_member(first, upstream_waiter, node);
    list_remove(first); /* before the post: once posted the waiter may be gone at any time */
    bool granted = smx_loop_post(waiter->holder->loop, waiter->granted, waiter->arg) == 0;
    if (!granted)
        list_prepend(&u->waiters, first);
    return granted;
}

/* After a reload there may be more than there should. */
static bool upstream_has_too_many(const upstream *u)
{
    return u->permits > u->permits_max;
}

void upstream_permit_give(upstream *u)
{
    (void)pthread_mutex_lock(&u->mutex);
    bool had_too_many = upstream_has_too_many(u);
    if (had_too_many || !upstream_grant(u))
        u->permits--;
    if (had_too_many && u->waiters.first != NULL)
        upstream_ask_release(u); /* whoever waits has asked for this one alone */
    (void)pthread_mutex_unlock(&u->mutex);
}

bool upstream_permit_cancel(upstream *u, upstream_waiter *waiter)
{
    (void)pthread_mutex_lock(&u->mutex);
    bool granted = waiter->node.owner == NULL;
    list_remove(&waiter->node);
    (void)pthread_mutex_unlock(&u->mutex);
    return granted;
}

upstream_next upstream_connection_free(upstream *u, upstream_holder *holder,
                                       upstream_waiter **waiter)
{
    upstream_next next = UPSTREAM_NEXT_CLOSE;
    (void)pthread_mutex_lock(&u->mutex);
    list_node *first = u->waiters.first;
    upstream_waiter *w = first == NULL ? NULL : list_member(first, upstream_waiter, node);
    bool is_kept = !upstream_has_too_many(u);
    if (is_kept && w == NULL) {
        holder->idle++;
        next = UPSTREAM_NEXT_IDLE;
    } else if (is_kept && w->holder == holder && !w->fresh) {
        list_remove(first);
        *waiter = w;
        next = UPSTREAM_NEXT_WAITER;
    }
    (void)pthread_mutex_unlock(&u->mutex);
    return next;
}

void upstream_connection_taken(upstream *u, upstream_holder *holder)
{
    (void)pthread_mutex_lock(&u->mutex);
    holder->idle--;
    (void)pthread_mutex_unlock(&u->mutex);
}
