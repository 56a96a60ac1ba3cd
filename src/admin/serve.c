/* Requests as libmicrohttpd hands them over: judged by their head before a body is read, run, and
 * answered. What takes long runs on a thread of the pool while its connection sleeps. A request is
 * its connection's and is freed when that is done with it. */
#include <arpa/inet.h>
#include <assert.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "admin/admin_internal.h"
#include "base/clock.h"

enum { BODIES_MAX = 16 << 20, TELL_MS = 1000 };

/* ---- connections ---- */

void admin_on_peer(void *cls, struct MHD_Connection *http, void **context,
                   enum MHD_ConnectionNotificationCode code)
{
    admin *a = cls;
    admin_peer *peer = *context;
    if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
        if (peer != NULL)
            list_remove(&peer->node);
        free(peer);
        *context = NULL;
        return;
    }
    peer = calloc(1, sizeof(*peer));
    *context = peer;
    if (peer == NULL)
        return; /* its first request will end it */
    peer->http = http;
    peer->since = clock_monotonic_ms();
    list_append(&a->peers, &peer->node);
}

static admin_peer *peer_of(struct MHD_Connection *http)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(http, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info == NULL ? NULL : info->socket_context;
}

/* ---- the head ---- */

static enum MHD_Result read_field(void *arg, enum MHD_ValueKind kind, const char *name,
                                  const char *value)
{
    gate_request *head = arg;
    const struct {
        const char *name;
        smx_slice *value;
    } fields[] = {
        {MHD_HTTP_HEADER_HOST, &head->host},
        {MHD_HTTP_HEADER_ORIGIN, &head->origin},
        {"Sec-Fetch-Site", &head->fetch_site},
        {MHD_HTTP_HEADER_AUTHORIZATION, &head->authorization},
        {MHD_HTTP_HEADER_CONTENT_TYPE, &head->content_type},
        {MHD_HTTP_HEADER_CONTENT_LENGTH, &head->content_length},
        {MHD_HTTP_HEADER_TRANSFER_ENCODING, &head->transfer_encoding},
    };
    (void)kind;
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        if (slice_equal_nocase(slice_of_text(name), slice_of_text(fields[i].name)))
            *fields[i].value = slice_of_text(value == NULL ? "" : value);
    }
    if (slice_equal_nocase(slice_of_text(name), SMX_SLICE(MHD_HTTP_HEADER_HOST)))
        head->host_count++;
    return MHD_YES;
}

/* The address that the client reached us by: its name can be no other's. */
static smx_slice local_address(struct MHD_Connection *http, char text[static INET6_ADDRSTRLEN])
{
    struct sockaddr_storage address = {0};
    socklen_t size = sizeof(address);
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(http, MHD_CONNECTION_INFO_CONNECTION_FD);
    const void *octets = NULL;
    if (info == NULL ||
        getsockname(info->connect_fd, (struct sockaddr *)(void *)&address, &size) != 0)
        return (smx_slice){NULL, 0};
    if (address.ss_family == AF_INET)
        octets = &((struct sockaddr_in *)(void *)&address)->sin_addr;
    else if (address.ss_family == AF_INET6)
        octets = &((struct sockaddr_in6 *)(void *)&address)->sin6_addr;
    if (octets == NULL || inet_ntop(address.ss_family, octets, text, INET6_ADDRSTRLEN) == NULL)
        return (smx_slice){NULL, 0};
    return slice_of_text(text);
}

static gate_refusal judge(const admin *a, struct MHD_Connection *http, const char *path,
                          const char *method)
{
    char address[INET6_ADDRSTRLEN];
    gate_request head = {.local_address = local_address(http, address)};
    (void)MHD_get_connection_values(http, MHD_HEADER_KIND, read_field, &head);
    gate_refusal refusal = {0, NULL};
    if (!admin_route_is_open(path))
        refusal = gate_check_caller(&a->rules, &head);
    if (refusal.status == 0 && slice_equal(slice_of_text(method), SMX_SLICE("POST")))
        refusal = gate_check_change(&head);
    return refusal;
}

/* ---- what is told ---- */

static void tell(const admin *a, smx_log_level level, const char *event, const admin_request *r,
                 const char *method, const char *path)
{
    char code[16];
    if (a->options.log == NULL)
        return;
    (void)snprintf(code, sizeof(code), "%u", r->answer.status);
    const smx_log_field fields[] = {{"method", slice_of_text(method)},
                                    {"path", slice_of_text(path)},
                                    {"code", slice_of_text(code)}};
    a->options.log(a->options.log_arg, level, event, 0, fields, sizeof(fields) / sizeof(fields[0]));
}

static void tell_refusal(admin *a, const admin_request *r, const char *method, const char *path)
{
    uint64_t now = clock_monotonic_ms();
    if (now < a->tell_after)
        return;
    a->tell_after = now + TELL_MS;
    tell(a, SMX_LOG_WARN, "admin_refused", r, method, path);
}

static void add_headers(struct MHD_Response *response, const admin_answer *answer)
{
    (void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, answer->type);
    (void)MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    (void)MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    if (answer->allow != NULL)
        (void)MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, answer->allow);
    if (answer->status == MHD_HTTP_UNAUTHORIZED)
        (void)MHD_add_response_header(response, MHD_HTTP_HEADER_WWW_AUTHENTICATE,
                                      "Bearer realm=\"smtpmux\"");
}

static enum MHD_Result send_response(struct MHD_Connection *http, const admin_request *r,
                                     struct MHD_Response *response)
{
    add_headers(response, &r->answer);
    enum MHD_Result sent = MHD_queue_response(http, r->answer.status, response);
    MHD_destroy_response(response);
    return sent;
}

static enum MHD_Result send_answer(struct MHD_Connection *http, admin_request *r)
{
    smx_slice body = buffer_slice(&r->answer.body);
    struct MHD_Response *response = MHD_create_response_from_buffer(
        body.len, (char *)(uintptr_t)body.data, MHD_RESPMEM_MUST_COPY);
    return response == NULL ? MHD_NO : send_response(http, r, response);
}

/* ---- the body ---- */

static bool take_body(admin_request *r, const char *octets, size_t count)
{
    admin *a = r->admin;
    if (buffer_length(&r->body) + count > GATE_BODY_MAX) {
        admin_answer_error(&r->answer, 413, "the body is larger than 1 MiB");
        return false;
    }
    if (a->body_octets + count > BODIES_MAX ||
        buffer_append(&r->body, slice_of(octets, count)) != 0) {
        admin_answer_error(&r->answer, 503, "too much is being asked at a time: try again");
        return false;
    }
    a->body_octets += count;
    return true;
}

/* ---- running ---- */

static void run_job(void *arg)
{
    admin_request *r = arg;
    r->route->run(r);
    admin_job_done(r);
}

static enum MHD_Result begin_job(struct MHD_Connection *http, admin_request *r)
{
    r->is_begun = true;
    if (atomic_load(&r->admin->stop) || pool_submit(r->admin->jobs, run_job, r) != 0) {
        admin_answer_error(&r->answer, 503, "too much is being asked at a time: try again");
        return send_answer(http, r);
    }
    /* It cannot be done before this: that is told on this thread. */
    r->peer->is_held = true;
    MHD_suspend_connection(http);
    return MHD_YES;
}

static enum MHD_Result go_on(struct MHD_Connection *http, admin_request *r, const char *method,
                             const char *path)
{
    if (r->answer.status == 0 && r->route->is_slow && !r->is_begun)
        return begin_job(http, r);
    if (r->answer.status == 0 && r->route->is_stream) {
        struct MHD_Response *response = admin_stream_begin(r, http);
        return response == NULL ? send_answer(http, r) : send_response(http, r, response);
    }
    if (r->answer.status == 0)
        r->route->run(r);
    assert(r->answer.status != 0);
    if (slice_equal(slice_of_text(method), SMX_SLICE("POST")))
        tell(r->admin, SMX_LOG_INFO, "admin_request", r, method, path);
    return send_answer(http, r);
}

/* The head is there: a refusal is answered without reading the body. */
static enum MHD_Result begin(admin *a, struct MHD_Connection *http, const char *path,
                             const char *method, void **state)
{
    admin_peer *peer = peer_of(http);
    admin_request *r = peer == NULL ? NULL : calloc(1, sizeof(*r));
    if (r == NULL)
        return MHD_NO;
    r->admin = a;
    r->peer = peer;
    *state = r;
    a->requests++;
    gate_refusal refusal = judge(a, http, path, method);
    if (refusal.status != 0)
        admin_answer_error(&r->answer, refusal.status, refusal.why);
    else
        r->route = admin_route_find(method, path, &r->name, &r->answer);
    if (r->answer.status == 0)
        return MHD_YES;
    if (refusal.status != 0)
        tell_refusal(a, r, method, path);
    return send_answer(http, r);
}

enum MHD_Result admin_serve(void *cls, struct MHD_Connection *http, const char *path,
                            const char *method, const char *version, const char *octets,
                            size_t *count, void **state)
{
    admin_request *r = *state;
    (void)version;
    if (r == NULL)
        return begin(cls, http, path, method, state);
    if (*count == 0)
        return go_on(http, r, method, path);
    /* A body that is refused while it comes is read to its end, and thrown away. */
    if (r->answer.status == 0)
        (void)take_body(r, octets, *count);
    *count = 0;
    return MHD_YES;
}

void admin_completed(void *cls, struct MHD_Connection *http, void **state,
                     enum MHD_RequestTerminationCode code)
{
    admin *a = cls;
    admin_request *r = *state;
    (void)http;
    (void)code;
    if (r == NULL)
        return;
    admin_peer_rest(a, r->peer);
    a->requests--;
    a->body_octets -= buffer_length(&r->body);
    buffer_free(&r->body);
    buffer_free(&r->answer.body);
    free(r->name);
    free(r);
    *state = NULL;
}
