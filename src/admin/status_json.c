/* The status as JSON. */
#include "admin/admin_internal.h"
#include "base/clock.h"

static json_t *number(uint64_t n)
{
    return json_integer(n > INT64_MAX ? INT64_MAX : (json_int_t)n);
}

static json_t *time_text(uint64_t wall_ms)
{
    char text[CLOCK_TEXT];
    smx_slice s = clock_rfc3339(wall_ms, text);
    return json_stringn(s.data, s.len);
}

/* Takes the value over. */
static bool add(json_t *array, json_t *value)
{
    return json_array_append_new(array, value) == 0;
}

/* NULL if something was missing. */
static json_t *finish(json_t *value, bool is_whole)
{
    if (is_whole)
        return value;
    json_decref(value);
    return NULL;
}

static json_t *json_counts(const admin_count *counts, size_t count)
{
    json_t *all = json_object();
    bool is_whole = all != NULL;
    for (size_t i = 0; i < count && is_whole; i++)
        is_whole = json_object_set_new(all, counts[i].outcome, number(counts[i].total)) == 0;
    return finish(all, is_whole);
}

static json_t *json_limits(const admin_upstream *u)
{
    json_t *all = json_array();
    bool is_whole = all != NULL;
    for (size_t i = 0; i < u->limit_count && is_whole; i++)
        is_whole = add(all, json_pack("{s:s, s:o, s:o}", "limit", u->limits[i].text, "used",
                                      number(u->limits[i].used), "of", number(u->limits[i].limit)));
    return finish(all, is_whole);
}

static json_t *json_connections(const admin_upstream *u)
{
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "max", number(u->connections_max), "opening",
                     number(u->connecting), "idle", number(u->idle), "busy", number(u->busy),
                     "closing", number(u->closing), "waiting", number(u->waiting));
}

static json_t *json_attempts(const admin_upstream *u)
{
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "attempts", number(u->attempts),
                     "accepted", number(u->accepted), "refused", number(u->refused), "failed",
                     number(u->failed), "unknown", number(u->unknown), "connections",
                     number(u->opened), "reused", number(u->reused), "suspensions",
                     number(u->suspensions));
}

static json_t *json_upstream(const admin_upstream *u)
{
    return json_pack("{s:s, s:s, s:b, s:s, s:s, s:s?, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}",
                     "name", u->name, "url", u->url, "usable", u->is_usable, "state", u->state,
                     "detail", u->detail, "breaker", u->breaker, "wait_ms", number(u->wait_ms),
                     "breaker_ms", number(u->breaker_ms), "failures", number(u->failures),
                     "suspended_ms", number(u->suspended_ms), "latency_ms", number(u->latency_ms),
                     "connections", json_connections(u), "counts", json_attempts(u), "limits",
                     json_limits(u));
}

json_t *admin_json_upstreams(const admin_status *status)
{
    json_t *all = json_array();
    bool is_whole = all != NULL;
    for (size_t i = 0; i < status->upstream_count && is_whole; i++)
        is_whole = add(all, json_upstream(&status->upstreams[i]));
    return finish(all, is_whole);
}

static json_t *json_listener(const admin_listener *l)
{
    return json_pack("{s:s, s:s, s:s?, s:s?, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}",
                     "listen", l->listen, "tls", l->tls, "mode", l->mode, "upstream", l->upstream,
                     "sessions", number(l->sessions), "connections", number(l->connections),
                     "refused_connections", number(l->refused_connections), "tls_failures",
                     number(l->tls_failures), "auth_successes", number(l->auth_successes),
                     "auth_failures", number(l->auth_failures), "transactions",
                     number(l->transactions), "accepted", number(l->accepted), "deferred",
                     number(l->deferred), "rejected", number(l->rejected));
}

static json_t *json_listeners(const admin_status *status)
{
    json_t *all = json_array();
    bool is_whole = all != NULL;
    for (size_t i = 0; i < status->listener_count && is_whole; i++)
        is_whole = add(all, json_listener(&status->listeners[i]));
    return finish(all, is_whole);
}

static json_t *json_configuration(const admin_status *status)
{
    return json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:o}", "file", status->file, "digest",
                     status->digest, "on_disk", status->on_disk, "generation",
                     number(status->generation), "loaded", time_text(status->loaded), "reloads",
                     number(status->reloads), "reload_failures", number(status->reload_failures));
}

static json_t *json_process(const admin_status *status)
{
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "pid", number(status->pid), "workers",
                     number(status->workers), "memory", number(status->memory_used), "memory_limit",
                     number(status->memory_limit), "resident", number(status->resident),
                     "descriptors", number(status->descriptors));
}

json_t *admin_json_status(const admin_status *status)
{
    const char *unready = admin_status_unready(status);
    return json_pack("{s:s, s:s, s:o, s:o, s:b, s:s?, s:b, s:o, s:o, s:o, s:o, s:o}", "version",
                     status->version, "hostname", status->hostname, "started",
                     time_text(status->started), "uptime_ms", number(status->uptime_ms), "ready",
                     unready == NULL, "not_ready", unready, "listening", status->is_listening,
                     "configuration", json_configuration(status), "process", json_process(status),
                     "listeners", json_listeners(status), "upstreams", admin_json_upstreams(status),
                     "messages", json_counts(status->messages, status->message_count));
}
