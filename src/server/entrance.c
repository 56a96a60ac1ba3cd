/* Listeners of a front: their options, with the defaults filled in, become a socket and a TLS
 * context, whose certificates are loaded again when their files change, and which turns the keys of
 * tickets by time. */
#include <stdlib.h>

#include "server/front.h"

enum {
    DEFAULT_MAX_SIZE = 25 * 1024 * 1024,
    DEFAULT_MAX_CONNECTIONS = 10000,
    REFRESH_MS = 10000, /* certificates are looked at this often */
};

/* ---- TLS ---- */

static void entrance_on_refresh(timer_entry *entry)
{
    entrance *e = list_member(entry, entrance, refresh);
    problem p = {{0}};
    uint64_t now = loop_now(e->front->loop);
    tls_tickets_turn(e->front->shared->tickets, now);
    int loaded = tls_server_refresh(e->tls, &p);
    const smx_log_field fields[] = {
        {"listener", e->name},
        {"problem", slice_of_text(p.text)},
    };
    if (loaded == 1)
        front_log(e->front, SMX_LOG_INFO, "certificates_loaded", NULL, fields, 1);
    else if (loaded < 0)
        front_log(e->front, SMX_LOG_ERROR, "certificates_bad", NULL, fields, 2);
    timer_set(loop_timers(e->front->loop), entry, now + REFRESH_MS);
}

static int entrance_open_tls(entrance *e, problem *p)
{
    const smx_listener_options *options = &e->options;
    if (options->tls == SMX_LISTENER_CLEAR || options->tls == SMX_LISTENER_PASSTHROUGH)
        return 0;
    if (options->certificate_count == 0)
        return problem_set(p, SMX_E_INVALID,
                           "the listener %s offers TLS but has no certificate: name a cert and a "
                           "key file, or turn tls off",
                           options->listen);
    tls_certificate *files = calloc(options->certificate_count, sizeof(*files));
    if (files == NULL)
        return problem_set(p, SMX_E_NOMEM, "out of memory");
    for (size_t i = 0; i < options->certificate_count; i++)
        files[i] = (tls_certificate){options->certificates[i].cert_file,
                                     options->certificates[i].key_file};
    const tls_server_options tls = {files, options->certificate_count, options->client_ca_file,
                                    e->front->shared->tickets};
    int error = tls_server_new(&tls, &e->tls, p);
    free(files);
    if (error != 0)
        return error;
    e->refresh.fn = entrance_on_refresh;
    timer_set(loop_timers(e->front->loop), &e->refresh, loop_now(e->front->loop) + REFRESH_MS);
    return 0;
}

/* ---- sockets ---- */

static void entrance_on_connection(void *owner, connection *c)
{
    entrance *e = owner;
    e->front->owner->enter(e, c);
}

static void entrance_on_paused(void *owner, int error)
{
    const entrance *e = owner;
    const smx_log_field fields[] = {
        {"listener", e->name},
        {"problem", slice_of_text(smx_error_text(error))},
    };
    front_log(e->front, SMX_LOG_WARN, "accept_paused", NULL, fields, 2);
}

static int entrance_open_socket(entrance *e, const front *adopts, problem *p)
{
    endpoint at;
    const smx_listener_options *o = &e->options;
    const listener_options options = {
        .fd = o->has_socket ? o->socket : -1,
        .adopts = adopts == NULL ? NULL : adopts->entrances[o->adopts_nth]->socket,
        .shared = o->shared_port,
        .transparent = o->transparent,
        .paused = entrance_on_paused,
    };
    int error = endpoint_parse(e->name, 0, &at, p);
    if (error != 0)
        return error;
    if (adopts != NULL && options.adopts == NULL)
        return problem_set(p, SMX_E_GONE, "%s is not listened on any more", o->listen);
    return listener_new(e->front->loop, &at, &options, entrance_on_connection, e, &e->socket, p);
}

/* ---- life ---- */

static void entrance_free(entrance *e)
{
    listener_free(e->socket);
    timer_clear(&e->refresh);
    tls_server_free(e->tls);
    free(e);
}

static int entrance_open(entrance *e, const smx_listener_options *options, const front *adopts,
                         problem *p)
{
    if (options->version != SMX_LISTENER_VERSION)
        return problem_set(p, SMX_E_INVALID, "unknown version of smx_listener_options");
    e->options = *options;
    e->name = slice_of_text(options->listen);
    if (e->options.max_size == 0)
        e->options.max_size = DEFAULT_MAX_SIZE;
    if (e->options.max_connections == 0)
        e->options.max_connections = DEFAULT_MAX_CONNECTIONS;
    int error = entrance_open_tls(e, p);
    return error != 0 ? error : entrance_open_socket(e, adopts, p);
}

int front_refuse_listener(char *text, int error, const char *sentence)
{
    problem p = {{0}};
    (void)problem_set(&p, error, "%s", sentence);
    if (text != NULL)
        memcpy(text, p.text, SMX_PROBLEM_TEXT);
    return error;
}

int front_listen(front *f, entrance *e, const smx_listener_options *options, const front *adopts,
                 char *text)
{
    problem p = {{0}};
    entrance **entrances = realloc(f->entrances, (f->entrance_count + 1) * sizeof(entrance *));
    e->front = f;
    int error = SMX_E_NOMEM;
    if (entrances != NULL) {
        f->entrances = entrances;
        error = entrance_open(e, options, adopts, &p);
    }
    if (error == 0) {
        f->entrances[f->entrance_count++] = e;
        return 0;
    }
    entrance_free(e);
    if (text != NULL)
        memcpy(text, p.text, SMX_PROBLEM_TEXT);
    return error;
}

void front_free_entrances(front *f)
{
    for (size_t i = 0; i < f->entrance_count; i++)
        entrance_free(f->entrances[i]);
    free(f->entrances);
    f->entrances = NULL;
    f->entrance_count = 0;
}

/* ---- while it serves ---- */

/* NULL: there is none, or it is listened on no more. */
static listener *front_listener(const front *f, size_t nth)
{
    return nth < f->entrance_count ? f->entrances[nth]->socket : NULL;
}

uint16_t front_port(const front *f, size_t nth)
{
    const listener *l = front_listener(f, nth);
    return l == NULL ? 0 : listener_port(l);
}

int front_socket(const front *f, size_t nth)
{
    const listener *l = front_listener(f, nth);
    if (l == NULL)
        return SMX_E_INVALID;
    int fd = listener_duplicate(listener_fd(l));
    return fd < 0 ? SMX_E_IO : fd;
}

int front_start(front *f)
{
    int error = 0;
    for (size_t i = 0; i < f->entrance_count && error == 0; i++)
        error = listener_start(f->entrances[i]->socket);
    return error;
}

void front_stop_listening(front *f, void (*stop)(listener *l))
{
    for (size_t i = 0; i < f->entrance_count; i++) {
        stop(f->entrances[i]->socket);
        f->entrances[i]->socket = NULL;
    }
}
