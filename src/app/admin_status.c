/* Fills the admin's status from the service: one pass over the generation that takes sessions. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "app/admin_ops.h"
#include "base/clock.h"

enum { LIMITS_MAX = 32 };

static const char *copy_text(admin_status *status, const char *text)
{
    smx_slice copy;
    if (text == NULL || arena_copy(&status->memory, slice_of_text(text), &copy) != 0)
        return "";
    return copy.data;
}

static uint64_t left_of(uint64_t until, uint64_t now)
{
    return until > now ? until - now : 0;
}

/* ---- upstreams ---- */

static const char *state_text(upstream_usable usable)
{
    static const char *const TEXTS[] = {
        [UPSTREAM_USABLE] = "usable",     [UPSTREAM_SUSPENDED] = "suspended",
        [UPSTREAM_BREAKER_OPEN] = "open", [UPSTREAM_LEASING] = "usable",
        [UPSTREAM_PACED] = "usable",      [UPSTREAM_QUOTA_FULL] = "full",
        [UPSTREAM_TOO_MANY] = "full",
    };
    return TEXTS[usable];
}

/* A window of up to a minute only delays; longer ones skip (DESIGN 4.9). */
static bool is_usable(upstream_usable usable)
{
    return usable == UPSTREAM_USABLE || usable == UPSTREAM_LEASING || usable == UPSTREAM_PACED;
}

static int fill_limits(admin_status *status, quota *q, const admin_limit **to, size_t *to_count)
{
    quota_report reports[LIMITS_MAX];
    size_t count = quota_reports(q, clock_wall_ms(), reports, LIMITS_MAX);
    count = count > LIMITS_MAX ? LIMITS_MAX : count;
    admin_limit *limits = arena_calloc(&status->memory, (count + 1) * sizeof(*limits));
    if (limits == NULL)
        return SMX_E_NOMEM;
    for (size_t i = 0; i < count; i++)
        limits[i] =
            (admin_limit){copy_text(status, reports[i].limit), reports[i].used, reports[i].amount};
    *to = limits;
    *to_count = count;
    return 0;
}

static int fill_deliveries(admin_status *status, const upstream *u, admin_upstream *to)
{
    static const struct {
        smx_outcome outcome;
        const char *name;
    } OUTCOMES[] = {
        {SMX_OUTCOME_ACCEPTED, "accepted"}, {SMX_OUTCOME_REFUSED, "refused"},
        {SMX_OUTCOME_FAILED, "failed"},     {SMX_OUTCOME_UNKNOWN, "unknown"},
        {SMX_OUTCOME_GIVEN_UP, "given_up"},
    };
    enum { COUNT = sizeof(OUTCOMES) / sizeof(OUTCOMES[0]) };
    admin_count *counts = arena_calloc(&status->memory, COUNT * sizeof(*counts));
    if (counts == NULL)
        return SMX_E_NOMEM;
    for (size_t i = 0; i < COUNT; i++) {
        counts[i].outcome = OUTCOMES[i].name;
        counts[i].has_seconds = true;
        upstream_times(u, OUTCOMES[i].outcome, &counts[i].seconds);
    }
    to->deliveries = counts;
    to->delivery_count = COUNT;
    return 0;
}

static int fill_phases(admin_status *status, const upstream *u, admin_upstream *to)
{
    admin_phase *phases = arena_calloc(&status->memory, SMX_CLIENT_PHASE_COUNT * sizeof(*phases));
    if (phases == NULL)
        return SMX_E_NOMEM;
    for (size_t i = 0; i < SMX_CLIENT_PHASE_COUNT; i++) {
        smx_client_phase phase = (smx_client_phase)i;
        phases[i] = (admin_phase){smx_client_phase_text(phase), upstream_not_taken_total(u, phase)};
    }
    to->phases = phases;
    to->phase_count = SMX_CLIENT_PHASE_COUNT;
    return 0;
}

static void fill_counts(const upstream *u, admin_upstream *to)
{
    to->attempts = upstream_total(u, UPSTREAM_COUNT_attempts);
    to->accepted = upstream_total(u, UPSTREAM_COUNT_accepted);
    to->refused = upstream_total(u, UPSTREAM_COUNT_refused);
    to->failed = upstream_total(u, UPSTREAM_COUNT_failed);
    to->unknown = upstream_total(u, UPSTREAM_COUNT_unknown);
    to->opened = upstream_total(u, UPSTREAM_COUNT_connections);
    to->opened_ahead = upstream_total(u, UPSTREAM_COUNT_opened_ahead);
    to->resumed = upstream_total(u, UPSTREAM_COUNT_resumed);
    to->reused = upstream_total(u, UPSTREAM_COUNT_reused);
    to->suspensions = upstream_total(u, UPSTREAM_COUNT_suspensions);
    to->connecting = upstream_connections(u, UPSTREAM_OPENING);
    to->idle = upstream_connections(u, UPSTREAM_IDLE);
    to->busy = upstream_connections(u, UPSTREAM_BUSY);
    to->closing = upstream_connections(u, UPSTREAM_CLOSING);
}

static int fill_upstream(admin_status *status, upstream *u, const upstream_options *o,
                         admin_upstream *to)
{
    uint64_t now = clock_monotonic_ms();
    upstream_status s;
    upstream_get_status(u, now, &s);
    *to = (admin_upstream){
        .name = copy_text(status, o->name),
        .url = copy_text(status, o->url),
        .is_usable = is_usable(s.usable),
        .state = state_text(s.usable),
        .detail = is_usable(s.usable) ? "" : copy_text(status, s.why),
        .wait_ms = is_usable(s.usable) ? 0 : left_of(s.until, now),
        .breaker = breaker_state_text(s.breaker),
        .breaker_ms = s.breaker == BREAKER_OPEN ? left_of(s.breaker_until, now) : 0,
        .failures = s.failures,
        .is_suspended = s.is_suspended,
        .suspended_ms = s.is_suspended ? left_of(s.suspended_until, now) : 0,
        .latency_ms = (uint64_t)(s.latency_ms + 0.5),
        .connections_max = s.max_connections,
        .waiting = s.waiting,
    };
    fill_counts(u, to);
    int error = fill_limits(status, upstream_quota(u), &to->limits, &to->limit_count);
    if (error == 0)
        error = fill_phases(status, u, to);
    return error == 0 ? fill_deliveries(status, u, to) : error;
}

static int fill_upstreams(admin_status *status, const generation *g)
{
    size_t count = mux_upstream_count(g->mux);
    admin_upstream *all = arena_calloc(&status->memory, (count + 1) * sizeof(*all));
    int error = all == NULL ? SMX_E_NOMEM : 0;
    for (size_t i = 0; i < count && error == 0; i++)
        error = fill_upstream(status, mux_upstream(g->mux, i), mux_upstream_options(g->mux, i),
                              &all[i]);
    status->upstreams = all;
    status->upstream_count = count;
    return error;
}

static int fill_routes(admin_status *status, const generation *g)
{
    size_t count = mux_route_count(g->mux);
    admin_route_status *all = arena_calloc(&status->memory, (count + 1) * sizeof(*all));
    int error = all == NULL ? SMX_E_NOMEM : 0;
    for (size_t i = 0; i < count && error == 0; i++) {
        quota *q = mux_route_quota(g->mux, i);
        if (q == NULL)
            continue;
        admin_route_status *to = &all[status->route_count++];
        to->name = copy_text(status, mux_route_name(g->mux, i));
        error = fill_limits(status, q, &to->limits, &to->limit_count);
    }
    status->routes = all;
    return error;
}

/* ---- listeners and outcomes ---- */

static void fill_listener(admin_status *status, service *s, const config_listener *l,
                          admin_listener *to)
{
    const smx_listener_options *o = &l->smtp;
    smx_server_counters c = {0};
    service_get_listener_counters(s, o->listen, &c);
    *to = (admin_listener){
        .listen = copy_text(status, o->listen),
        .tls = config_tls_text(o->tls),
        .mode = l->mode == CONFIG_PROXY ? "proxy" : "mux",
        .upstream = l->mode == CONFIG_PROXY ? copy_text(status, l->upstream.url) : NULL,
        .sessions = c.sessions,
        .connections = c.connections,
        .refused_connections = c.refused_connections,
        .tls_failures = c.tls_failures,
        .auth_successes = c.auth_successes,
        .auth_failures = c.auth_failures,
        .transactions = c.transactions,
        .accepted = c.accepted,
        .deferred = c.deferred,
        .rejected = c.rejected,
    };
}

static int fill_listeners(admin_status *status, service *s, const config *c)
{
    admin_listener *all = arena_calloc(&status->memory, (c->listener_count + 1) * sizeof(*all));
    if (all == NULL)
        return SMX_E_NOMEM;
    for (size_t i = 0; i < c->listener_count; i++)
        fill_listener(status, s, &c->listeners[i], &all[i]);
    status->listeners = all;
    status->listener_count = c->listener_count;
    return 0;
}

static int fill_messages(admin_status *status, const mux_state *state)
{
    admin_count *all = arena_calloc(&status->memory, MUX_OUTCOME_COUNT * sizeof(*all));
    if (all == NULL)
        return SMX_E_NOMEM;
    for (size_t i = 0; i < MUX_OUTCOME_COUNT; i++) {
        mux_outcome outcome = (mux_outcome)i;
        all[i].outcome = mux_outcome_text(outcome);
        all[i].total = mux_state_total(state, outcome);
        all[i].has_seconds = true;
        mux_state_times(state, outcome, &all[i].seconds);
    }
    status->messages = all;
    status->message_count = MUX_OUTCOME_COUNT;
    return 0;
}

/* ---- the process ---- */

static uint64_t resident_octets(void)
{
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file == NULL)
        return 0;
    char line[128];
    const char *second = fgets(line, sizeof(line), file) == NULL ? NULL : strchr(line, ' ');
    if (second != NULL)
        pages = strtoul(second, NULL, 10);
    (void)fclose(file);
    return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* By open, because libuv closes behind TSan's back: of a number used again, TSan must see the opening,
 * and opendir's it does not. */
static DIR *open_folder(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    if (folder == NULL && fd >= 0)
        (void)close(fd);
    return folder;
}

static uint64_t count_descriptors(void)
{
    uint64_t count = 0;
    DIR *folder = open_folder("/proc/self/fd");
    if (folder == NULL)
        return 0;
    while (readdir(folder) != NULL)
        count++;
    (void)closedir(folder);
    return count > 3 ? count - 3 : 0; /* not `.`, `..` and the folder itself */
}

/* Whether the file would give what runs. Secrets in files of their own are not looked at. */
static const char *compare_file(const config *c)
{
    buffer text = {0};
    problem p;
    char digest[CONFIG_DIGEST_TEXT];
    const char *found = "unreadable";
    if (config_read_file(c->file, &text, &p) == 0) {
        config_digest(buffer_slice(&text), digest);
        found = strcmp(digest, c->digest) == 0 ? "same" : "changed";
        explicit_bzero(text.data == NULL ? digest : text.data, text.end);
    }
    buffer_free(&text);
    return found;
}

static void fill_process(admin_status *status, const admin_target *t, const generation *g)
{
    const config *c = g->config;
    status->version = SMX_VERSION_TEXT;
    status->hostname = copy_text(status, c->hostname);
    status->pid = (uint64_t)getpid();
    status->started = t->started;
    status->uptime_ms = clock_monotonic_ms() - t->started_monotonic;
    status->is_listening = service_is_listening(t->service);
    status->workers = service_workers(t->service);
    status->file = copy_text(status, c->file);
    status->digest = copy_text(status, c->digest);
    status->on_disk = compare_file(c);
    status->generation = g->number;
    status->loaded = g->loaded;
    status->reloads = t->reloads;
    status->reload_failures = t->reload_failures;
    status->memory_used = service_memory(t->service);
    status->memory_limit = c->memory_limit;
    status->resident = resident_octets();
    status->descriptors = count_descriptors();
    status->lost_records = service_lost_records(t->service);
}

int admin_fill_status(void *arg, admin_status *status)
{
    const admin_target *t = arg;
    generation *g = service_generation(t->service);
    fill_process(status, t, g);
    int error = fill_upstreams(status, g);
    if (error == 0)
        error = fill_routes(status, g);
    if (error == 0)
        error = fill_listeners(status, t->service, g->config);
    if (error == 0)
        error = fill_messages(status, service_mux_state(t->service));
    generation_free(g);
    return error;
}
