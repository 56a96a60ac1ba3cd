/* The admin's life: socket, thread, the turns of libmicrohttpd on its loop, deadlines.
 *
 * The loop and everything on it is the admin's thread's from admin_start on, until admin_free has
 * joined it. A listener of net/ opens the socket and removes its file; libmicrohttpd accepts. */
#include "admin/admin_internal.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "net/uv_error.h"

enum {
    REQUEST_MS = 20000,
    CONNECTIONS = 256,
    CONNECTION_MEMORY = 16384,
    TURN_MS = 250,   /* between looks at deadlines, while there are connections */
    HURRY_MS = 1000, /* when all connections are taken, the oldest has had so long at least */
    JOB_THREADS = 2,
    JOB_QUEUE = 16,
    BACKLOG = 256,
    FAREWELL_MS = 500,
};

/* ---- turns and deadlines ---- */

static void peer_end(const admin_peer *peer)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(peer->http, MHD_CONNECTION_INFO_CONNECTION_FD);
    if (info != NULL)
        (void)shutdown(info->connect_fd, SHUT_RDWR);
}

/* Ends connections whose time is over: octet by octet nobody stays for longer. */
static void end_late(admin *a)
{
    uint64_t now = clock_monotonic_ms();
    if (now < a->late_after)
        return;
    a->late_after = now + TURN_MS / 2;
    uint64_t limit =
        a->peers.count >= a->options.max_connections ? HURRY_MS : a->options.request_ms;
    if (limit > a->options.request_ms)
        limit = a->options.request_ms;
    for (list_node *node = a->peers.first; node != NULL; node = node->next) {
        const admin_peer *peer = list_member(node, admin_peer, node);
        if (!peer->is_held && now - peer->since >= limit)
            peer_end(peer);
    }
}

void admin_peer_rest(admin *a, admin_peer *peer)
{
    peer->since = clock_monotonic_ms();
    peer->is_held = false;
    list_move(&a->peers, &peer->node);
}

static void on_timer(uv_timer_t *timer);

/* Lets libmicrohttpd work, and looks again when it asks for it. At its limit it does not watch the
 * socket; when there is room again it must be told to. */
static void admin_turn(admin *a)
{
    MHD_UNSIGNED_LONG_LONG wait = TURN_MS;
    bool was_full = true;
    end_late(a);
    admin_rouse_follows(a, clock_monotonic_ms());
    while (was_full) {
        was_full = a->peers.count >= a->options.max_connections;
        (void)MHD_run(a->daemon);
        was_full = was_full && a->peers.count < a->options.max_connections;
    }
    bool is_waiting = MHD_get_timeout(a->daemon, &wait) == MHD_YES;
    if (!is_waiting && a->peers.count == 0)
        (void)uv_timer_stop(&a->timer);
    else
        (void)uv_timer_start(&a->timer, on_timer, wait < TURN_MS ? wait : TURN_MS, 0);
}

static void on_timer(uv_timer_t *timer)
{
    admin_turn(timer->data);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    admin_turn(poll->data);
}

/* ---- jobs ---- */

void admin_job_done(admin_request *r)
{
    admin *a = r->admin;
    (void)pthread_mutex_lock(&a->done_mutex);
    list_append(&a->done, &r->done);
    (void)pthread_mutex_unlock(&a->done_mutex);
    (void)uv_async_send(&a->wake);
}

void admin_take_done(admin *a)
{
    (void)pthread_mutex_lock(&a->done_mutex);
    for (list_node *node; (node = list_take_first(&a->done)) != NULL;) {
        const admin_request *r = list_member(node, admin_request, done);
        admin_peer_rest(a, r->peer);
        MHD_resume_connection(r->peer->http);
    }
    (void)pthread_mutex_unlock(&a->done_mutex);
}

static void on_wake(uv_async_t *wake)
{
    admin *a = wake->data;
    admin_take_done(a);
    admin_rouse_woken(a);
    if (atomic_load(&a->stop))
        smx_loop_stop(a->loop);
    else
        admin_turn(a);
}

/* ---- beginning ---- */

static int check_options(admin *a, problem *p)
{
    const admin_options *o = &a->options;
    int error = endpoint_parse(slice_of_text(o->listen), 0, &a->at, p);
    if (error != 0)
        return error;
    if (!a->at.is_unix && (o->token == NULL || o->token[0] == '\0'))
        return problem_set(p, SMX_E_INVALID,
                           "admin.listen %s needs admin.token or token_file: without one, "
                           "everybody who reaches it could change things",
                           o->listen);
    a->rules = (gate_rules){.is_tcp = !a->at.is_unix,
                            .listen_host = a->at.is_unix ? SMX_SLICE("") : a->at.host,
                            .token = slice_of_text(o->token),
                            .hosts = o->hosts,
                            .host_count = o->host_count};
    return 0;
}

static int open_socket(admin *a, problem *p)
{
    static const listener_options OPTIONS = {.fd = -1, .unix_mode = 0660};
    int error = smx_loop_new(NULL, &a->loop);
    if (error != 0)
        return problem_set(p, error, "no event loop can be made: %s", smx_error_text(error));
    return listener_new(a->loop, &a->at, &OPTIONS, NULL, NULL, &a->listener, p);
}

static int open_daemon(admin *a, problem *p)
{
    int fd = fcntl(listener_fd(a->listener), F_DUPFD_CLOEXEC, 0);
    if (fd < 0 || listen(fd, BACKLOG) != 0) {
        int error = errno;
        if (fd >= 0)
            (void)close(fd);
        return problem_set(p, SMX_E_IO, "cannot listen on %s: %s", a->options.listen,
                           strerror(error));
    }
    a->daemon = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, admin_serve, a,
        MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT, a->options.max_connections,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY, MHD_OPTION_NOTIFY_COMPLETED,
        admin_completed, a, MHD_OPTION_NOTIFY_CONNECTION, admin_on_peer, a, MHD_OPTION_END);
    if (a->daemon != NULL)
        return 0;
    (void)close(fd);
    return problem_set(p, SMX_E_IO, "cannot serve HTTP on %s: no memory or descriptors left",
                       a->options.listen);
}

static int watch_daemon(admin *a, problem *p)
{
    struct uv_loop_s *loop = smx_loop_uv(a->loop);
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(a->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    int uv = info == NULL ? UV_EINVAL : uv_poll_init(loop, &a->poll, info->epoll_fd);
    a->has_poll = uv == 0;
    if (uv == 0)
        uv = uv_timer_init(loop, &a->timer);
    a->has_timer = uv == 0;
    if (uv == 0)
        uv = uv_async_init(loop, &a->wake, on_wake);
    a->has_wake = uv == 0;
    a->poll.data = a;
    a->timer.data = a;
    a->wake.data = a;
    if (uv == 0)
        uv = uv_poll_start(&a->poll, UV_READABLE, on_readable);
    return uv == 0 ? 0
                   : problem_set(p, uv_error_map(uv), "cannot serve HTTP on %s: %s",
                                 a->options.listen, uv_strerror(uv));
}

int admin_new(const admin_options *options, admin **out, problem *p)
{
    admin *a = calloc(1, sizeof(*a));
    if (a == NULL)
        return problem_set(p, SMX_E_NOMEM, "out of memory");
    a->options = *options;
    (void)pthread_mutex_init(&a->done_mutex, NULL);
    if (a->options.request_ms == 0)
        a->options.request_ms = REQUEST_MS;
    if (a->options.max_connections == 0)
        a->options.max_connections = CONNECTIONS;
    int error = check_options(a, p);
    if (error == 0)
        error = open_socket(a, p);
    if (error == 0)
        error = open_daemon(a, p);
    if (error == 0)
        error = watch_daemon(a, p);
    if (error != 0) {
        admin_free(a);
        return error;
    }
    *out = a;
    return 0;
}

uint16_t admin_port(const admin *a)
{
    return listener_port(a->listener);
}

static void *thread_main(void *arg)
{
    admin *a = arg;
    smx_loop_run(a->loop);
    return NULL;
}

int admin_start(admin *a, problem *p)
{
    int error = pool_new(JOB_THREADS, JOB_QUEUE, &a->jobs);
    if (error == 0 && pthread_create(&a->thread, NULL, thread_main, a) != 0)
        error = SMX_E_NOMEM;
    if (error != 0)
        return problem_set(p, error, "no thread can be started for the admin");
    a->is_running = true;
    return 0;
}

/* ---- the end ---- */

/* What was asked before the end is answered still, if its client reads. */
static void finish_answers(admin *a)
{
    uint64_t until = clock_monotonic_ms() + FAREWELL_MS;
    while (a->is_running && a->requests > 0 && clock_monotonic_ms() < until)
        (void)MHD_run_wait(a->daemon, FAREWELL_MS / 20);
}

static void close_handle(bool is_open, void *handle)
{
    if (is_open)
        uv_close(handle, NULL);
}

static void close_all(admin *a)
{
    close_handle(a->has_poll, &a->poll);
    close_handle(a->has_timer, &a->timer);
    close_handle(a->has_wake, &a->wake);
    if (a->daemon != NULL)
        MHD_stop_daemon(a->daemon);
    listener_free(a->listener);
    if (a->loop != NULL)
        (void)uv_run(smx_loop_uv(a->loop), UV_RUN_NOWAIT);
    smx_loop_free(a->loop);
}

void admin_free(admin *a)
{
    if (a == NULL)
        return;
    atomic_store(&a->stop, true);
    if (a->is_running) {
        (void)uv_async_send(&a->wake);
        (void)pthread_join(a->thread, NULL);
    }
    pool_free(a->jobs);
    admin_take_done(a); /* libmicrohttpd ends no connection that sleeps */
    admin_rouse_follows(a, UINT64_MAX);
    finish_answers(a);
    close_all(a);
    (void)pthread_mutex_destroy(&a->done_mutex);
    free(a);
}
