/* The record of one provider: its life, its settings, and the tokens of its credentials. What
 * workers do with it stands in upstream_*.c. It owns its quota and its tokens. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "upstream/secret.h"
#include "upstream/upstream_internal.h"

enum { CONNECTIONS_DEFAULT = 20 };

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
    char name[UPSTREAM_KEY_MAX];
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

quota *upstream_quota(upstream *u)
{
    return u->quota;
}
