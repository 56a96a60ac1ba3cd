/* A sink: its listener, its sessions, its end. */
#include "app/sink.h"

#include <stdlib.h>

#include "app/sink_internal.h"

static void sink_accept(void *owner, connection *c)
{
    sink_session_new(owner, c);
}

static int sink_listen(sink *s, problem *p)
{
    endpoint at;
    listener_options options = {.fd = -1};
    int error = endpoint_parse(slice_of_text(s->options.listen), 0, &at, p);
    if (error != 0)
        return error;
    if (s->port != 0)
        at.port = s->port;
    error = listener_new(s->loop, &at, &options, sink_accept, s, &s->listener, p);
    if (error != 0)
        return error;
    s->port = listener_port(s->listener);
    error = listener_start(s->listener);
    return error == 0 ? 0 : problem_set(p, error, "%s cannot be listened on", s->options.listen);
}

static int sink_load_tls(sink *s, problem *p)
{
    if (s->options.cert_file == NULL)
        return 0;
    tls_certificate certificate = {s->options.cert_file, s->options.key_file};
    tls_server_options options = {.certificates = &certificate, .certificate_count = 1};
    return tls_server_new(&options, &s->tls, p);
}

/* Frees the sink when it is closing and no session is left. */
void sink_session_gone(sink *s)
{
    if (!s->closing || s->sessions.count > 0)
        return;
    tls_server_free(s->tls);
    free(s);
}

static void sink_cut_sessions(sink *s)
{
    for (list_node *n = s->sessions.first; n != NULL; n = n->next)
        connection_abort(list_member(n, sink_session, node)->connection);
}

int sink_new(smx_loop *loop, const sink_options *options, sink **out, problem *p)
{
    sink *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return problem_set(p, SMX_E_NOMEM, "out of memory");
    s->loop = loop;
    s->options = *options;
    int error = sink_load_tls(s, p);
    if (error == 0 && options->maildir != NULL)
        error = sink_store_prepare(options->maildir, p);
    if (error == 0)
        error = sink_listen(s, p);
    if (error != 0) {
        sink_free(s);
        return error;
    }
    *out = s;
    return 0;
}

uint16_t sink_port(const sink *s)
{
    return s->port;
}

void sink_set_faults(sink *s, const sink_faults *faults)
{
    uint64_t random = s->options.faults.random;
    s->options.faults = *faults;
    s->options.faults.random = random;
}

int sink_set_refusing(sink *s, bool refusing, problem *p)
{
    if (refusing == (s->listener == NULL))
        return 0;
    if (!refusing)
        return sink_listen(s, p);
    listener_free(s->listener);
    s->listener = NULL;
    sink_cut_sessions(s);
    return 0;
}

void sink_free(sink *s)
{
    if (s == NULL)
        return;
    listener_free(s->listener);
    s->listener = NULL;
    s->closing = true;
    sink_cut_sessions(s);
    sink_session_gone(s);
}
