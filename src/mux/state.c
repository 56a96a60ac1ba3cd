/* What survives a reload: the records of upstreams and the turns of selectors, each with a share for
 * every mux that uses it, and the counts. An entry that no mux uses any more is let go. */
#include <stdlib.h>

#include "base/clock.h"
#include "mux/mux_internal.h"

int mux_state_new(store *s, mux_state **out)
{
    mux_state *state = calloc(1, sizeof(*state));
    if (state == NULL)
        return SMX_E_NOMEM;
    (void)pthread_mutex_init(&state->mutex, NULL);
    state->store = s;
    if (dedup_new(&state->dedup) != 0) {
        mux_state_free(state);
        return SMX_E_NOMEM;
    }
    *out = state;
    return 0;
}

void mux_state_free(mux_state *state)
{
    if (state == NULL)
        return;
    dedup_free(state->dedup);
    tls_authorities_free(state->authorities);
    map_free(&state->upstreams);
    map_free(&state->turns);
    map_free(&state->allowances);
    (void)pthread_mutex_destroy(&state->mutex);
    free(state);
}

void mux_state_count(mux_state *state, mux_outcome outcome, uint64_t took_ms)
{
    atomic_fetch_add_explicit(&state->outcomes[outcome], 1, memory_order_relaxed);
    histogram_add(&state->took[outcome], took_ms);
}

void mux_state_times(const mux_state *state, mux_outcome outcome, histogram_view *view)
{
    histogram_read(&state->took[outcome], view);
}

uint64_t mux_state_total(const mux_state *state, mux_outcome outcome)
{
    return atomic_load_explicit(&state->outcomes[outcome], memory_order_relaxed);
}

/* ---- records of upstreams ---- */

/* The map's entry has no share of its own: it goes with the last mux that has one. */
typedef struct state_upstream {
    upstream *record;
    size_t shares;
} state_upstream;

static state_upstream *state_add_upstream(mux_state *state, const upstream_options *options)
{
    state_upstream *entry = calloc(1, sizeof(*entry));
    if (entry == NULL)
        return NULL;
    if (upstream_new(options, state->store, &entry->record) != 0 ||
        map_put(&state->upstreams, slice_of_text(upstream_name(entry->record)), entry) != 0) {
        upstream_free(entry->record);
        free(entry);
        return NULL;
    }
    return entry;
}

int mux_state_upstream(mux_state *state, const upstream_options *options, upstream **u)
{
    (void)pthread_mutex_lock(&state->mutex);
    state_upstream *entry = map_get(&state->upstreams, slice_of_text(options->name));
    if (entry == NULL)
        entry = state_add_upstream(state, options);
    if (entry != NULL) {
        entry->shares++;
        *u = upstream_share(entry->record);
    }
    (void)pthread_mutex_unlock(&state->mutex);
    return entry == NULL ? SMX_E_NOMEM : 0;
}

void mux_state_release_upstream(mux_state *state, upstream *u)
{
    if (u == NULL)
        return;
    (void)pthread_mutex_lock(&state->mutex);
    state_upstream *entry = map_get(&state->upstreams, slice_of_text(upstream_name(u)));
    if (--entry->shares == 0) {
        (void)map_remove(&state->upstreams, slice_of_text(upstream_name(u)));
        upstream_free(entry->record);
        free(entry);
    }
    (void)pthread_mutex_unlock(&state->mutex);
    upstream_free(u);
}

/* ---- the system's CA certificates ---- */

int mux_state_authorities(mux_state *state, tls_authorities **authorities)
{
    tls_authorities *read;
    (void)pthread_mutex_lock(&state->mutex);
    tls_authorities *known = tls_authorities_share(state->authorities);
    (void)pthread_mutex_unlock(&state->mutex);
    if (known != NULL && tls_authorities_are_current(known)) {
        *authorities = known;
        return 0;
    }
    tls_authorities_free(known);
    int error = tls_authorities_new(&read);
    if (error != 0)
        return error;
    (void)pthread_mutex_lock(&state->mutex);
    tls_authorities *old = state->authorities;
    state->authorities = tls_authorities_share(read);
    (void)pthread_mutex_unlock(&state->mutex);
    tls_authorities_free(old);
    *authorities = read;
    return 0;
}

/* ---- turns ---- */

static int state_turn_key(const char *kind, smx_slice owner, const mux_plan *plan,
                          const upstream_options *upstreams, buffer *key)
{
    int error =
        buffer_printf(key, "%s\n%.*s\n%s", kind, (int)owner.len, owner.data, plan->selector->name);
    for (size_t i = 0; i < plan->choice_count && error == 0; i++)
        error = buffer_printf(key, "\n%s:%u", upstreams[plan->choices[i].upstream].name,
                              plan->choices[i].weight);
    return error;
}

static void state_free_turn(mux_turn_entry *entry)
{
    free(entry->turn.sequence);
    free((char *)entry->key.data);
    free(entry);
}

static mux_turn_entry *state_add_turn(mux_state *state, const mux_plan *plan, smx_slice key)
{
    mux_turn_entry *entry = calloc(1, sizeof(*entry));
    char *copy = malloc(key.len);
    if (entry == NULL || copy == NULL) {
        free(entry);
        free(copy);
        return NULL;
    }
    memcpy(copy, key.data, key.len);
    entry->key = slice_of(copy, key.len);
    if ((plan->selector->prepare != NULL && plan->selector->prepare(plan, &entry->turn) != 0) ||
        map_put(&state->turns, entry->key, entry) != 0) {
        state_free_turn(entry);
        return NULL;
    }
    return entry;
}

int mux_state_turn(mux_state *state, const char *kind, smx_slice owner, const mux_plan *plan,
                   const upstream_options *upstreams, mux_turn_entry **turn)
{
    buffer key = {0};
    mux_turn_entry *entry = NULL;
    if (state_turn_key(kind, owner, plan, upstreams, &key) == 0) {
        (void)pthread_mutex_lock(&state->mutex);
        entry = map_get(&state->turns, buffer_slice(&key));
        if (entry == NULL)
            entry = state_add_turn(state, plan, buffer_slice(&key));
        if (entry != NULL)
            entry->shares++;
        (void)pthread_mutex_unlock(&state->mutex);
    }
    buffer_free(&key);
    *turn = entry;
    return entry == NULL ? SMX_E_NOMEM : 0;
}

void mux_state_release_turn(mux_state *state, mux_turn_entry *turn)
{
    if (turn == NULL)
        return;
    (void)pthread_mutex_lock(&state->mutex);
    if (--turn->shares == 0) {
        (void)map_remove(&state->turns, turn->key);
        state_free_turn(turn);
    }
    (void)pthread_mutex_unlock(&state->mutex);
}

/* ---- quotas of users and routes ---- */

static void state_free_allowance(mux_allowance *entry)
{
    quota_free(entry->quota);
    free((char *)entry->name.data);
    free(entry);
}

static mux_allowance *state_add_allowance(mux_state *state, const mux_plan *plan, smx_slice name)
{
    mux_allowance *entry = calloc(1, sizeof(*entry));
    char *copy = malloc(name.len + 1);
    if (entry == NULL || copy == NULL) {
        free(entry);
        free(copy);
        return NULL;
    }
    memcpy(copy, name.data, name.len);
    copy[name.len] = '\0';
    entry->name = slice_of(copy, name.len);
    if (quota_new(copy, state->store, plan->limits.items, plan->limits.count, clock_wall_ms(),
                  &entry->quota) != 0 ||
        map_put(&state->allowances, entry->name, entry) != 0) {
        state_free_allowance(entry);
        return NULL;
    }
    return entry;
}

int mux_state_allowance(mux_state *state, const char *kind, smx_slice owner, const mux_plan *plan,
                        mux_allowance **allowance)
{
    buffer name = {0};
    mux_allowance *entry = NULL;
    *allowance = NULL;
    if (plan->limits.count == 0)
        return 0;
    if (buffer_printf(&name, "%s %.*s", kind, (int)owner.len, owner.data) == 0) {
        (void)pthread_mutex_lock(&state->mutex);
        entry = map_get(&state->allowances, buffer_slice(&name));
        if (entry == NULL)
            entry = state_add_allowance(state, plan, buffer_slice(&name));
        if (entry != NULL)
            entry->shares++;
        (void)pthread_mutex_unlock(&state->mutex);
    }
    buffer_free(&name);
    *allowance = entry;
    return entry == NULL ? SMX_E_NOMEM : 0;
}

void mux_state_release_allowance(mux_state *state, mux_allowance *allowance)
{
    if (allowance == NULL)
        return;
    (void)pthread_mutex_lock(&state->mutex);
    if (--allowance->shares == 0) {
        (void)map_remove(&state->allowances, allowance->name);
        state_free_allowance(allowance);
    }
    (void)pthread_mutex_unlock(&state->mutex);
}

void mux_state_set_alerts(mux_state *state, alerts *a)
{
    state->alerts = a;
}
