/* A metric is one line of the table: name, type, where its number stands, help. Those of a listener or
 * an upstream come once for each, with its name as label; never with an address of a person. */
#include "admin/metrics.h"

#include <inttypes.h>
#include <stdio.h>

typedef enum metric_place {
    PLACE_STATUS,   /* a number of the status */
    PLACE_LISTENER, /* of each listener */
    PLACE_UPSTREAM, /* of each upstream */
    PLACE_LIMIT,    /* of each limit of each upstream */
    PLACE_MESSAGE,  /* of each outcome of the multiplexer */
    PLACE_DELIVERY, /* of each outcome of each upstream */
    PLACE_PHASE,    /* of each phase of each upstream */
    PLACE_ROUTE,    /* of each limit of each route */
} metric_place;

typedef enum metric_form {
    FORM_NUMBER,
    FORM_BOOL,
    FORM_MS,
    FORM_HISTOGRAM,
    FORM_STATE
} metric_form;

typedef struct metric {
    const char *name;
    const char *type;
    metric_place place;
    metric_form form;
    size_t offset;
    const char *label; /* one label more, with a fixed value; lines of one name stand together */
    const char *value;
    const char *help;
} metric;

#define STATUS(form, field)       PLACE_STATUS, FORM_##form, offsetof(admin_status, field)
#define LISTENER(field)           PLACE_LISTENER, FORM_NUMBER, offsetof(admin_listener, field)
#define UPSTREAM(form, field)     PLACE_UPSTREAM, FORM_##form, offsetof(admin_upstream, field)
#define LIMIT(field)              PLACE_LIMIT, FORM_NUMBER, offsetof(admin_limit, field)
#define ROUTE(field)              PLACE_ROUTE, FORM_NUMBER, offsetof(admin_limit, field)
#define PHASE(field)              PLACE_PHASE, FORM_NUMBER, offsetof(admin_phase, field)
#define COUNT(place, form, field) PLACE_##place, FORM_##form, offsetof(admin_count, field)
#define PLAIN                     NULL, NULL

/* clang-format off */
static const metric METRICS[] = {
    {"smtpmux_start_time_seconds", "gauge", STATUS(MS, started), PLAIN, "When the daemon started, in seconds since 1970."},
    {"smtpmux_workers", "gauge", STATUS(NUMBER, workers), PLAIN, "Threads that serve connections."},
    {"smtpmux_listening", "gauge", STATUS(BOOL, is_listening), PLAIN, "1 while new connections are taken, 0 while it drains."},
    {"smtpmux_config_generation", "gauge", STATUS(NUMBER, generation), PLAIN, "1 at the start, one more with each reload."},
    {"smtpmux_config_loaded_timestamp_seconds", "gauge", STATUS(MS, loaded), PLAIN, "When the configuration that runs was taken, in seconds since 1970."},
    {"smtpmux_config_reloads_total", "counter", STATUS(NUMBER, reloads), "outcome", "taken", "Reloads of the configuration, by whether it was taken."},
    {"smtpmux_config_reloads_total", "counter", STATUS(NUMBER, reload_failures), "outcome", "refused", ""},
    {"smtpmux_memory_bytes", "gauge", STATUS(NUMBER, memory_used), PLAIN, "Octets of messages held in memory."},
    {"smtpmux_memory_limit_bytes", "gauge", STATUS(NUMBER, memory_limit), PLAIN, "The limit of smtpmux_memory_bytes; 0: none."},
    {"smtpmux_resident_bytes", "gauge", STATUS(NUMBER, resident), PLAIN, "Resident memory of the process."},
    {"smtpmux_open_descriptors", "gauge", STATUS(NUMBER, descriptors), PLAIN, "File descriptors that the process has open."},
    {"smtpmux_records_lost_total", "counter", STATUS(NUMBER, lost_records), PLAIN, "Pieces of audit files and transcripts that could not be written."},

    {"smtpmux_sessions", "gauge", LISTENER(sessions), PLAIN, "Sessions of clients that are open."},
    {"smtpmux_connections_total", "counter", LISTENER(connections), PLAIN, "Connections accepted from clients."},
    {"smtpmux_connections_refused_total", "counter", LISTENER(refused_connections), PLAIN, "Connections refused by a limit."},
    {"smtpmux_tls_failures_total", "counter", LISTENER(tls_failures), PLAIN, "TLS handshakes with clients that failed."},
    {"smtpmux_auth_total", "counter", LISTENER(auth_successes), "outcome", "success", "AUTH exchanges with clients, by outcome."},
    {"smtpmux_auth_total", "counter", LISTENER(auth_failures), "outcome", "failure", ""},
    {"smtpmux_transactions_total", "counter", LISTENER(transactions), PLAIN, "Messages received whole."},
    {"smtpmux_replies_total", "counter", LISTENER(accepted), "outcome", "accepted", "Final replies to messages, by class: 2xx, 4xx, 5xx."},
    {"smtpmux_replies_total", "counter", LISTENER(deferred), "outcome", "deferred", ""},
    {"smtpmux_replies_total", "counter", LISTENER(rejected), "outcome", "rejected", ""},

    {"smtpmux_messages_total", "counter", COUNT(MESSAGE, NUMBER, total), PLAIN, "Messages, by what became of them."},
    {"smtpmux_message_seconds", "histogram", COUNT(MESSAGE, HISTOGRAM, seconds), PLAIN, "Time from when a message was whole to its final reply, by outcome."},

    {"smtpmux_upstream_usable", "gauge", UPSTREAM(BOOL, is_usable), PLAIN, "1 if messages may go through this upstream now."},
    {"smtpmux_upstream_suspended", "gauge", UPSTREAM(BOOL, is_suspended), PLAIN, "1 while it is suspended."},
    {"smtpmux_upstream_suspended_seconds", "gauge", UPSTREAM(MS, suspended_ms), PLAIN, "How much longer it is suspended; 0: it is not."},
    {"smtpmux_upstream_suspensions_total", "counter", UPSTREAM(NUMBER, suspensions), PLAIN, "Suspensions that began."},
    {"smtpmux_upstream_breaker", "gauge", UPSTREAM(STATE, breaker), "state", NULL, "1 for the state that its breaker is in."},
    {"smtpmux_upstream_failures", "gauge", UPSTREAM(NUMBER, failures), PLAIN, "Consecutive failures, as the breaker counts them."},
    {"smtpmux_upstream_latency_seconds", "gauge", UPSTREAM(MS, latency_ms), PLAIN, "Moving average of the time of real deliveries; 0: none yet."},
    {"smtpmux_upstream_connections", "gauge", UPSTREAM(NUMBER, connecting), "state", "opening", "Open connections to this upstream, by the state of each."},
    {"smtpmux_upstream_connections", "gauge", UPSTREAM(NUMBER, idle), "state", "idle", ""},
    {"smtpmux_upstream_connections", "gauge", UPSTREAM(NUMBER, busy), "state", "busy", ""},
    {"smtpmux_upstream_connections", "gauge", UPSTREAM(NUMBER, closing), "state", "closing", ""},
    {"smtpmux_upstream_connections_max", "gauge", UPSTREAM(NUMBER, connections_max), PLAIN, "The most connections that it may have."},
    {"smtpmux_upstream_waiting", "gauge", UPSTREAM(NUMBER, waiting), PLAIN, "Attempts that wait for a connection."},
    {"smtpmux_upstream_connections_opened_total", "counter", UPSTREAM(NUMBER, opened), PLAIN, "Connections opened."},
    {"smtpmux_upstream_opened_ahead_total", "counter", UPSTREAM(NUMBER, opened_ahead), PLAIN, "Connections opened before a message came for them."},
    {"smtpmux_upstream_tls_resumed_total", "counter", UPSTREAM(NUMBER, resumed), PLAIN, "Connections whose TLS session was resumed."},
    {"smtpmux_upstream_reused_total", "counter", UPSTREAM(NUMBER, reused), PLAIN, "Attempts on a connection that was open before."},
    {"smtpmux_upstream_attempts_total", "counter", UPSTREAM(NUMBER, attempts), PLAIN, "Attempts to deliver a message that began."},
    {"smtpmux_upstream_outcomes_total", "counter", UPSTREAM(NUMBER, accepted), "outcome", "accepted", "Attempts that ended, by outcome."},
    {"smtpmux_upstream_outcomes_total", "counter", UPSTREAM(NUMBER, refused), "outcome", "refused", ""},
    {"smtpmux_upstream_outcomes_total", "counter", UPSTREAM(NUMBER, failed), "outcome", "failed", ""},
    {"smtpmux_upstream_outcomes_total", "counter", UPSTREAM(NUMBER, unknown), "outcome", "unknown", ""},
    {"smtpmux_attempt_failures_total", "counter", PHASE(not_taken), PLAIN, "Attempts whose message was not taken (refused, failed or unknown), by the phase that decided."},
    {"smtpmux_delivery_seconds", "histogram", COUNT(DELIVERY, HISTOGRAM, seconds), PLAIN, "Time of an attempt to deliver, by upstream and outcome."},
    {"smtpmux_upstream_limit_used", "gauge", LIMIT(used), PLAIN, "What is used of a limit of this upstream in its window."},
    {"smtpmux_upstream_limit", "gauge", LIMIT(limit), PLAIN, "The limit."},

    {"smtpmux_route_limit_used", "gauge", ROUTE(used), PLAIN, "What is used of a limit of this route in its window."},
    {"smtpmux_route_limit", "gauge", ROUTE(limit), PLAIN, "The limit."},
};
/* clang-format on */

/* The states of FORM_STATE. */
static const char *const BREAKER_STATES[] = {"closed", "open", "half-open"};

enum { LABELS_MAX = 4 };

/* One sample's labels, and where the numbers are. */
typedef struct sample {
    const metric *metric;
    const void *base;
    const char *labels[LABELS_MAX][2];
    size_t label_count;
} sample;

static void add_label(sample *s, const char *name, const char *value)
{
    s->labels[s->label_count][0] = name;
    s->labels[s->label_count][1] = value;
    s->label_count++;
}

/* ---- writing ---- */

static int write_escaped(buffer *out, const char *text)
{
    int error = 0;
    for (; *text != '\0' && error == 0; text++) {
        if (*text == '\n')
            error = buffer_append_text(out, "\\n");
        else if (*text == '"' || *text == '\\')
            error = buffer_printf(out, "\\%c", *text);
        else
            error = buffer_append_char(out, *text);
    }
    return error;
}

static int write_name(buffer *out, const sample *s, const char *suffix, const char *more,
                      const char *more_value)
{
    const char *separator = "{";
    int error = buffer_printf(out, "%s%s", s->metric->name, suffix);
    for (size_t i = 0; i < s->label_count + 1 && error == 0; i++) {
        bool is_last = i == s->label_count;
        const char *name = is_last ? more : s->labels[i][0];
        if (name == NULL)
            continue;
        error = buffer_printf(out, "%s%s=\"", separator, name);
        if (error == 0)
            error = write_escaped(out, is_last ? more_value : s->labels[i][1]);
        if (error == 0)
            error = buffer_append_char(out, '"');
        separator = ",";
    }
    if (error == 0)
        error = buffer_append_text(out, separator[0] == ',' ? "} " : " ");
    return error;
}

static int write_seconds(buffer *out, uint64_t ms)
{
    return buffer_printf(out, "%" PRIu64 ".%03" PRIu64 "\n", ms / 1000, ms % 1000);
}

static int write_histogram(buffer *out, const sample *s, const histogram_view *view)
{
    uint64_t count = 0;
    int error = 0;
    for (size_t i = 0; i <= HISTOGRAM_BOUNDS && error == 0; i++) {
        char bound[32] = "+Inf";
        if (i < HISTOGRAM_BOUNDS)
            (void)snprintf(bound, sizeof(bound), "%g", (double)histogram_bound(i) / 1000);
        count += view->buckets[i];
        error = write_name(out, s, "_bucket", "le", bound);
        if (error == 0)
            error = buffer_printf(out, "%" PRIu64 "\n", count);
    }
    if (error == 0)
        error = write_name(out, s, "_sum", NULL, NULL);
    if (error == 0)
        error = write_seconds(out, view->sum_ms);
    if (error == 0)
        error = write_name(out, s, "_count", NULL, NULL);
    return error == 0 ? buffer_printf(out, "%" PRIu64 "\n", count) : error;
}

static int write_states(buffer *out, const sample *s, const char *state)
{
    int error = 0;
    for (size_t i = 0; i < sizeof(BREAKER_STATES) / sizeof(BREAKER_STATES[0]) && error == 0; i++) {
        bool is_it = strcmp(state, BREAKER_STATES[i]) == 0;
        error = write_name(out, s, "", s->metric->label, BREAKER_STATES[i]);
        if (error == 0)
            error = buffer_append_text(out, is_it ? "1\n" : "0\n");
    }
    return error;
}

static int write_number(buffer *out, const sample *s)
{
    const char *at = (const char *)s->base + s->metric->offset;
    uint64_t number = 0;
    int error = write_name(out, s, "", s->metric->label, s->metric->value);
    if (error != 0)
        return error;
    if (s->metric->form == FORM_BOOL)
        return buffer_append_text(out, *(const bool *)at ? "1\n" : "0\n");
    memcpy(&number, at, sizeof(number));
    return s->metric->form == FORM_MS ? write_seconds(out, number)
                                      : buffer_printf(out, "%" PRIu64 "\n", number);
}

static int write_sample(buffer *out, const sample *s)
{
    const char *at = (const char *)s->base + s->metric->offset;
    const char *state = NULL;
    switch (s->metric->form) {
    case FORM_HISTOGRAM:
        return write_histogram(out, s, (const histogram_view *)(const void *)at);
    case FORM_STATE:
        memcpy(&state, at, sizeof(state));
        return state == NULL ? 0 : write_states(out, s, state);
    default:
        return write_number(out, s);
    }
}

/* ---- each place ---- */

static int write_counts(buffer *out, const sample *base, const admin_count *counts, size_t count)
{
    int error = 0;
    for (size_t i = 0; i < count && error == 0; i++) {
        sample s = *base;
        s.base = &counts[i];
        add_label(&s, "outcome", counts[i].outcome);
        if (base->metric->form != FORM_HISTOGRAM || counts[i].has_seconds)
            error = write_sample(out, &s);
    }
    return error;
}

static int write_limits(buffer *out, const sample *base, const admin_limit *limits, size_t count)
{
    int error = 0;
    for (size_t i = 0; i < count && error == 0; i++) {
        sample s = *base;
        s.base = &limits[i];
        add_label(&s, "limit", limits[i].text);
        error = write_sample(out, &s);
    }
    return error;
}

static int write_phases(buffer *out, const sample *base, const admin_upstream *u)
{
    int error = 0;
    for (size_t i = 0; i < u->phase_count && error == 0; i++) {
        sample s = *base;
        s.base = &u->phases[i];
        add_label(&s, "phase", u->phases[i].phase);
        error = write_sample(out, &s);
    }
    return error;
}

static int write_routes(buffer *out, const metric *m, const admin_status *status)
{
    int error = 0;
    for (size_t i = 0; i < status->route_count && error == 0; i++) {
        const admin_route_status *route = &status->routes[i];
        sample s = {.metric = m};
        add_label(&s, "route", route->name);
        error = write_limits(out, &s, route->limits, route->limit_count);
    }
    return error;
}

static int write_upstream(buffer *out, const metric *m, const admin_upstream *u)
{
    sample s = {.metric = m, .base = u};
    add_label(&s, "upstream", u->name);
    if (m->place == PLACE_LIMIT)
        return write_limits(out, &s, u->limits, u->limit_count);
    if (m->place == PLACE_PHASE)
        return write_phases(out, &s, u);
    if (m->place == PLACE_DELIVERY)
        return write_counts(out, &s, u->deliveries, u->delivery_count);
    return write_sample(out, &s);
}

static int write_upstreams(buffer *out, const metric *m, const admin_status *status)
{
    int error = 0;
    for (size_t i = 0; i < status->upstream_count && error == 0; i++)
        error = write_upstream(out, m, &status->upstreams[i]);
    return error;
}

static int write_listeners(buffer *out, const metric *m, const admin_status *status)
{
    int error = 0;
    for (size_t i = 0; i < status->listener_count && error == 0; i++) {
        sample s = {.metric = m, .base = &status->listeners[i]};
        add_label(&s, "listener", status->listeners[i].listen);
        error = write_sample(out, &s);
    }
    return error;
}

static int write_metric(buffer *out, const metric *m, const admin_status *status)
{
    sample s = {.metric = m, .base = status};
    switch (m->place) {
    case PLACE_STATUS:
        return write_sample(out, &s);
    case PLACE_LISTENER:
        return write_listeners(out, m, status);
    case PLACE_ROUTE:
        return write_routes(out, m, status);
    case PLACE_MESSAGE:
        return write_counts(out, &s, status->messages, status->message_count);
    default:
        return write_upstreams(out, m, status);
    }
}

int metrics_write(const admin_status *status, buffer *out)
{
    const char *name = "";
    int error = buffer_append_text(
        out,
        "# HELP smtpmux_build_info The version, as a label.\n# TYPE smtpmux_build_info gauge\n");
    if (error == 0)
        error = buffer_printf(out, "smtpmux_build_info{version=\"%s\"} 1\n", status->version);
    for (size_t i = 0; i < sizeof(METRICS) / sizeof(METRICS[0]) && error == 0; i++) {
        const metric *m = &METRICS[i];
        if (strcmp(name, m->name) != 0)
            error = buffer_printf(out, "# HELP %s %s\n# TYPE %s %s\n", m->name, m->help, m->name,
                                  m->type);
        name = m->name;
        if (error == 0)
            error = write_metric(out, m, status);
    }
    return error;
}
