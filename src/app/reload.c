/* A reload: file, configuration, service, and what the log says of it. */
#include "app/reload.h"

#include <inttypes.h>
#include <stdio.h>

/* ---- what changed ---- */

/* Names of one kind in a configuration. */
typedef size_t count_fn(const config *c);
typedef const char *name_fn(const config *c, size_t nth);

static size_t listener_count(const config *c)
{
    return c->listener_count;
}

static const char *listener_name(const config *c, size_t nth)
{
    return c->listeners[nth].smtp.listen;
}

static size_t upstream_count_of(const config *c)
{
    return c->upstream_count;
}

static const char *upstream_name_of(const config *c, size_t nth)
{
    return c->upstreams[nth].name;
}

static size_t missing_names(const config *from, const config *in, count_fn *count, name_fn *name)
{
    size_t missing = 0;
    for (size_t i = 0; i < count(from); i++) {
        bool found = false;
        for (size_t k = 0; k < count(in) && !found; k++)
            found = strcmp(name(from, i), name(in, k)) == 0;
        missing += found ? 0 : 1;
    }
    return missing;
}

/* There may be many. */
static size_t missing_users(const config *from, const generation *in)
{
    size_t missing = 0;
    for (size_t i = 0; i < from->user_count; i++)
        missing += mux_find_user(in->mux, from->users[i].user.name) == NULL ? 1 : 0;
    return missing;
}

static void log_reloaded(log_sink *log, const generation *old, const generation *new)
{
    const config *a = old->config;
    const config *b = new->config;
    const struct {
        const char *key;
        uint64_t value;
    } values[] = {
        {"generation", new->number},
        {"listeners", b->listener_count},
        {"listeners_added", missing_names(b, a, listener_count, listener_name)},
        {"listeners_removed", missing_names(a, b, listener_count, listener_name)},
        {"upstreams", b->upstream_count},
        {"upstreams_added", missing_names(b, a, upstream_count_of, upstream_name_of)},
        {"upstreams_removed", missing_names(a, b, upstream_count_of, upstream_name_of)},
        {"users", b->user_count},
        {"users_added", missing_users(b, old)},
        {"users_removed", missing_users(a, new)},
    };
    enum { VALUES = sizeof(values) / sizeof(values[0]) };
    char texts[VALUES][24];
    smx_log_field fields[VALUES];
    for (size_t i = 0; i < VALUES; i++) {
        (void)snprintf(texts[i], sizeof(texts[i]), "%" PRIu64, values[i].value);
        fields[i] = (smx_log_field){values[i].key, slice_of_text(texts[i])};
    }
    log_write(log, SMX_LOG_INFO, "reloaded", 0, fields, VALUES);
}

/* ---- the reload ---- */

static int reload_config(service *s, log_sink *log, reload_result *result)
{
    generation *old = service_generation(s);
    int error = service_reload(s, result->file.config, &result->problem);
    generation *new = service_generation(s);
    result->generation = new->number;
    if (error == 0)
        log_reloaded(log, old, new);
    generation_free(old);
    generation_free(new);
    return error;
}

int reload_file(service *s, log_sink *log, const char *path, reload_result *result)
{
    *result = (reload_result){0};
    int error = config_file_read(path, &result->file, &result->problem);
    config_file_log(&result->file, log, error == 0 ? "configuration" : "reload_failed");
    if (error == 0)
        error = reload_config(s, log, result);
    if (error != 0 && result->problem.text[0] != '\0')
        log_event(log, SMX_LOG_ERROR, "reload_failed", "problem", result->problem.text, NULL);
    config_free(result->file.config);
    result->file.config = NULL;
    if (error != 0) {
        generation *g = service_generation(s);
        result->generation = g->number;
        generation_free(g);
    }
    return error;
}

void reload_result_free(reload_result *result)
{
    config_file_close(&result->file);
}
