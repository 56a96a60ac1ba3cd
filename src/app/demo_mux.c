/* Owns the configuration's text, the log and the service. */
#include "app/demo_mux.h"

#include <assert.h>
#include <stdlib.h>
#include <unistd.h>

/* Each failure is to be seen, so the breaker does not spare the provider any. */
enum { DRAIN_MS = 2000, PATIENCE = 1000000 };

struct demo_mux {
    buffer text;
    problems problems;
    config *config;
    log_sink *log;
    service *service;
    bool is_serving;
};

static int write_config(const demo_providers *providers, const demo_account *account, bool with_log,
                        buffer *out)
{
    int error = buffer_printf(out, "hostname: smtpmux.test\n"
                                   "workers: 1\n"
                                   "listeners:\n"
                                   "  - listen: 127.0.0.1:0\n"
                                   "    auth: required\n"
                                   "    allow_insecure_auth: true\n"
                                   "upstreams:\n");
    for (size_t i = 0; i < DEMO_PROVIDERS && error == 0; i++)
        error = buffer_printf(out,
                              "  %s: {url: 'smtp+notls://127.0.0.1:%u', breaker: {failures: %d}}\n",
                              demo_provider_name(i), demo_providers_port(providers, i), PATIENCE);
    if (error == 0)
        error = buffer_printf(out,
                              "users:\n"
                              "  - email: %s\n"
                              "    password: '%s'\n"
                              "    selector: round-robin\n"
                              "    upstreams: [%s, %s]\n"
                              "log: {level: %s}\n",
                              account->user, account->password, demo_provider_name(0),
                              demo_provider_name(1), with_log ? "info" : "error");
    return error;
}

static int load_config(demo_mux *m, problem *p)
{
    m->problems.file = "demo.yaml";
    m->problems.text = buffer_slice(&m->text);
    int error = config_load(&m->problems, &m->config);
    if (error == 0)
        return 0;
    buffer told = {0};
    if (problems_write(&m->problems, &told) == 0)
        (void)problem_set(p, error, "%.*s", (int)buffer_length(&told), buffer_slice(&told).data);
    else
        (void)problem_set(p, error, "%s", smx_error_text(error));
    buffer_free(&told);
    return error;
}

/* The thread's end is waited for, nothing else. */
static void on_ended(void *arg)
{
    (void)arg;
}

static int serve(demo_mux *m, problem *p)
{
    int error = log_new(STDERR_FILENO, &m->config->log, &m->log);
    if (error != 0)
        return problem_set(p, error, "%s", smx_error_text(error));
    error = service_new(m->config, m->log, &m->service, p);
    if (error == 0)
        error = service_start(m->service, on_ended, NULL, p);
    m->is_serving = error == 0;
    return error;
}

int demo_mux_new(const demo_providers *providers, demo_account *account, bool with_log,
                 demo_mux **out, problem *p)
{
    demo_mux *m = calloc(1, sizeof(*m));
    if (m == NULL)
        return problem_set(p, SMX_E_NOMEM, "out of memory");
    int error = write_config(providers, account, with_log, &m->text);
    if (error != 0)
        (void)problem_set(p, error, "%s", smx_error_text(error));
    else
        error = load_config(m, p);
    if (error == 0)
        error = serve(m, p);
    if (error != 0) {
        demo_mux_free(m);
        return error;
    }
    account->port = service_port(m->service, 0);
    *out = m;
    return 0;
}

demo_seen demo_mux_seen(demo_mux *m, size_t provider)
{
    const upstream *u = mux_upstream(service_mux(m->service), provider);
    assert(strcmp(upstream_name(u), demo_provider_name(provider)) == 0);
    return (demo_seen){
        .refused = upstream_total(u, UPSTREAM_COUNT_refused),
        .broken = upstream_total(u, UPSTREAM_COUNT_failed),
    };
}

void demo_mux_free(demo_mux *m)
{
    if (m == NULL)
        return;
    if (m->is_serving)
        service_drain(m->service, DRAIN_MS);
    service_free(m->service);
    log_free(m->log);
    config_free(m->config);
    problems_free(&m->problems);
    buffer_free(&m->text);
    free(m);
}
