/* A listening socket, accepted from by ourselves on libuv's poll: so that we stop when there are no
 * descriptors left, and know the peer without asking again. The listener owns its descriptor; the
 * file of a Unix socket belongs to all who have duplicates of the descriptor.
 */
#include "net/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "net/connection_internal.h"
#include "net/uv_error.h"

enum {
    LISTENER_BACKLOG = 1024,
    LISTENER_UNIX_MODE = 0660,
    LISTENER_BATCH = 64,     /* connections accepted at most before others have their turn */
    LISTENER_PAUSE_MS = 200, /* without descriptors or memory */
    LISTENER_TELL_MS = 10000,
};

/* What listeners with duplicates of one socket share, on any loops. */
typedef struct listener_socket {
    _Atomic size_t owners;
    char *path; /* of the Unix socket that was made, or NULL */
    dev_t path_device;
    ino_t path_inode;
} listener_socket;

struct listener {
    uv_poll_t poll;
    smx_loop *loop;
    loop_resident resident;
    timer_entry pause;
    listener_fn *fn;
    listener_paused_fn *paused;
    uint64_t tell_after;
    void *owner;
    int fd;
    int backlog;
    int batch; /* connections that the next turn may accept */
    smx_address address;
    bool one_address; /* every connection has `address` for its own */
    bool closing;
    listener_socket *socket;
};

/* ---- binding ---- */

typedef union listener_address {
    struct sockaddr any;
    struct sockaddr_in ipv4;
    struct sockaddr_in6 ipv6;
    struct sockaddr_un unix_path;
} listener_address;

#define LISTENER_HOST(at) (int)(at)->host.len, (at)->host.data

static int listener_socket_problem(const endpoint *at, int error, problem *p)
{
    int mapped = uv_error_map(-error);
    if (at->is_unix)
        return problem_set(p, mapped, "cannot listen on unix:%.*s: %s", LISTENER_HOST(at),
                           strerror(error));
    if (error == EADDRINUSE)
        return problem_set(p, mapped,
                           "cannot listen on %.*s port %u: another program listens there",
                           LISTENER_HOST(at), at->port);
    if (error == EPERM)
        return problem_set(p, mapped,
                           "cannot listen on %.*s port %u: a transparent listener needs the "
                           "capability CAP_NET_ADMIN",
                           LISTENER_HOST(at), at->port);
    if (error == EACCES)
        return problem_set(p, mapped,
                           "cannot listen on %.*s port %u: ports below 1024 need the capability "
                           "CAP_NET_BIND_SERVICE",
                           LISTENER_HOST(at), at->port);
    if (error == EADDRNOTAVAIL)
        return problem_set(p, mapped,
                           "cannot listen on %.*s port %u: this machine does not have the address",
                           LISTENER_HOST(at), at->port);
    return problem_set(p, mapped, "cannot listen on %.*s port %u: %s", LISTENER_HOST(at), at->port,
                       strerror(error));
}

static int listener_parse_address(const endpoint *at, listener_address *address, socklen_t *size,
                                  problem *p)
{
    char text[INET6_ADDRSTRLEN] = "";
    *address = (listener_address){0};
    if (slice_equal_nocase(at->host, SMX_SLICE("localhost")))
        (void)memcpy(text, "127.0.0.1", sizeof("127.0.0.1"));
    else if (at->host.len < sizeof(text))
        memcpy(text, at->host.data, at->host.len);
    if (inet_pton(AF_INET, text, &address->ipv4.sin_addr) == 1) {
        address->ipv4.sin_family = AF_INET;
        address->ipv4.sin_port = htons(at->port);
        *size = sizeof(address->ipv4);
        return 0;
    }
    if (inet_pton(AF_INET6, text, &address->ipv6.sin6_addr) == 1) {
        address->ipv6.sin6_family = AF_INET6;
        address->ipv6.sin6_port = htons(at->port);
        *size = sizeof(address->ipv6);
        return 0;
    }
    return problem_set(p, SMX_E_INVALID,
                       "cannot listen on \"%.*s\": an IP address of this machine is expected, as "
                       "0.0.0.0 or [::]",
                       LISTENER_HOST(at));
}

/* For the packets of a TPROXY rule (ip(7)). */
static bool listener_set_transparent(int fd, sa_family_t family)
{
    const int on = 1;
    return family == AF_INET6 ? setsockopt(fd, IPPROTO_IPV6, IPV6_TRANSPARENT, &on, sizeof(on)) == 0
                              : setsockopt(fd, IPPROTO_IP, IP_TRANSPARENT, &on, sizeof(on)) == 0;
}

/* Opens and binds; the socket, or a negative errno. */
static int listener_bind_tcp(const listener_address *address, socklen_t size, bool share,
                             bool transparent)
{
    const int on = 1;
    int fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    bool ready = setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0;
    if (address->any.sa_family == AF_INET6)
        ready = ready && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) == 0;
    if (transparent)
        ready = ready && listener_set_transparent(fd, address->any.sa_family);
    if (share)
        ready = ready && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) == 0;
    if (ready && bind(fd, &address->any, size) == 0)
        return fd;
    int error = errno;
    (void)close(fd);
    return -error;
}

/* SO_REUSEPORT would share the port with any program of the same user: a socket without it finds
 * out whether there is one. */
static int listener_probe(const listener_address *address, socklen_t size)
{
    int fd = listener_bind_tcp(address, size, false, false);
    if (fd < 0)
        return -fd;
    (void)close(fd);
    return 0;
}

static int listener_open_tcp(listener *l, const endpoint *at, const listener_options *options,
                             problem *p)
{
    listener_address address;
    socklen_t size = 0;
    int error = listener_parse_address(at, &address, &size, p);
    if (error != 0)
        return error;
    if (at->port != 0 && !options->shared) {
        error = listener_probe(&address, size);
        if (error != 0)
            return listener_socket_problem(at, error, p);
    }
    l->fd = listener_bind_tcp(&address, size, true, options->transparent);
    return l->fd < 0 ? listener_socket_problem(at, -l->fd, p) : 0;
}

/* True if somebody accepts connections on this path. */
static bool listener_unix_is_alive(const listener_address *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return true;
    int result = connect(fd, &address->any, sizeof(address->unix_path));
    bool dead = result != 0 && errno == ECONNREFUSED;
    (void)close(fd);
    return !dead;
}

/* Removes the file of a socket that nobody listens on. */
static int listener_remove_stale(const endpoint *at, const listener_address *address, problem *p)
{
    const char *path = address->unix_path.sun_path;
    struct stat status;
    if (lstat(path, &status) != 0)
        return errno == ENOENT ? 0 : listener_socket_problem(at, errno, p);
    if (!S_ISSOCK(status.st_mode))
        return problem_set(p, SMX_E_EXISTS,
                           "cannot listen on unix:%s: a file that is no socket is there", path);
    if (listener_unix_is_alive(address))
        return problem_set(p, SMX_E_BUSY, "cannot listen on unix:%s: another program listens there",
                           path);
    if (unlink(path) != 0 && errno != ENOENT)
        return listener_socket_problem(at, errno, p);
    return 0;
}

/* The file has its mode from the first moment on. */
static int listener_bind_unix(listener *l, const listener_address *address, mode_t mode)
{
    l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (l->fd < 0)
        return errno;
    if (fchmod(l->fd, mode) != 0 || bind(l->fd, &address->any, sizeof(address->unix_path)) != 0)
        return errno;
    listener_socket *socket = l->socket;
    socket->path = slice_to_text(slice_of_text(address->unix_path.sun_path));
    struct stat status;
    if (socket->path == NULL)
        return ENOMEM;
    if (chmod(socket->path, mode) != 0 || lstat(socket->path, &status) != 0)
        return errno;
    socket->path_device = status.st_dev;
    socket->path_inode = status.st_ino;
    return 0;
}

static int listener_open_unix(listener *l, const endpoint *at, const listener_options *options,
                              problem *p)
{
    listener_address address = {.unix_path = {.sun_family = AF_UNIX}};
    if (at->host.len == 0 || at->host.len >= sizeof(address.unix_path.sun_path))
        return listener_socket_problem(at, ENAMETOOLONG, p);
    memcpy(address.unix_path.sun_path, at->host.data, at->host.len);
    int error = listener_remove_stale(at, &address, p);
    if (error != 0)
        return error;
    error = listener_bind_unix(
        l, &address, (mode_t)(options->unix_mode == 0 ? LISTENER_UNIX_MODE : options->unix_mode));
    return error == 0 ? 0 : listener_socket_problem(at, error, p);
}

/* dup3 onto a fresh descriptor does what F_DUPFD_CLOEXEC does, and the thread sanitizer sees it: else it
 * takes the duplicate for the connection that had this number before on another loop. */
int listener_duplicate(int fd)
{
    int fresh = eventfd(0, EFD_CLOEXEC);
    if (fresh < 0 || dup3(fd, fresh, O_CLOEXEC) == fresh)
        return fresh;
    int error = errno;
    (void)close(fresh);
    errno = error;
    return -1;
}

static int listener_open(listener *l, const endpoint *at, const listener_options *options,
                         problem *p)
{
    int fd = options->adopts == NULL ? options->fd : options->adopts->fd;
    if (fd < 0)
        return at->is_unix ? listener_open_unix(l, at, options, p)
                           : listener_open_tcp(l, at, options, p);
    l->fd = listener_duplicate(fd);
    return l->fd < 0 ? listener_socket_problem(at, errno, p) : 0;
}

/* Its address, and what accepted sockets inherit of it (tcp(7)). */
static void listener_prepare(listener *l, bool transparent)
{
    const int on = 1;
    struct sockaddr_storage address = {0};
    struct sockaddr *any = (struct sockaddr *)(void *)&address;
    socklen_t size = sizeof(address);
    if (getsockname(l->fd, any, &size) == 0)
        endpoint_address(any, &l->address);
    if (l->address.family != 1)
        (void)setsockopt(l->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    static const unsigned char wildcard[sizeof(l->address.octets)] = {0};
    l->one_address = !transparent && (l->address.family == 1 ||
                                      memcmp(l->address.octets, wildcard, sizeof(wildcard)) != 0);
}

/* ---- accepting ---- */

static void listener_on_readable(uv_poll_t *poll, int status, int events);

static void listener_on_pause_over(timer_entry *timer)
{
    listener *l = list_member(timer, listener, pause);
    (void)uv_poll_start(&l->poll, UV_READABLE, listener_on_readable);
}

static void listener_pause(listener *l, int error)
{
    uint64_t now = loop_now(l->loop);
    (void)uv_poll_stop(&l->poll);
    timer_set(loop_timers(l->loop), &l->pause, now + LISTENER_PAUSE_MS);
    if (l->paused == NULL || now < l->tell_after)
        return;
    l->tell_after = now + LISTENER_TELL_MS;
    l->paused(l->owner, error);
}

/* Takes the descriptor over. libuv makes it non-blocking, at the price of a system call, even where it
 * is so already. */
static int listener_adopt(listener *l, int fd, const struct sockaddr *peer)
{
    connection *c = connection_new(l->loop, l->address.family == 1);
    if (c == NULL) {
        (void)close(fd);
        return SMX_E_NOMEM;
    }
    int error = c->is_unix ? uv_pipe_open(&c->uv.pipe, fd) : uv_tcp_open(&c->uv.tcp, fd);
    if (error != 0) {
        (void)close(fd);
        connection_finish(c, false);
        return uv_error_map(error);
    }
    c->state = CONNECTION_READY;
    endpoint_address(peer, &c->peer);
    if (l->one_address)
        connection_set_local(c, &l->address);
    l->fn(l->owner, c);
    return 0;
}

/* Errors of a connection that is gone already are nothing; those of this machine pause us. */
static bool listener_accept_one(listener *l)
{
    struct sockaddr_storage address = {0};
    struct sockaddr *peer = (struct sockaddr *)(void *)&address;
    socklen_t size = sizeof(address);
    int fd = accept4(l->fd, peer, &size, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0) {
        int error = listener_adopt(l, fd, peer);
        if (error != 0)
            listener_pause(l, error);
        return error == 0;
    }
    switch (errno) {
    case EINTR:
    case ECONNABORTED:
    case EPROTO:
        return true;
    case EAGAIN:
        return false;
    default:
        listener_pause(l, uv_error_map(-errno));
        return false;
    }
}

/* To ask once more than there are connections costs as much as it does to accept one: a turn accepts
 * as many as came lately, and leaves what is more to the next one. */
static void listener_on_readable(uv_poll_t *poll, int status, int events)
{
    listener *l = poll->data;
    (void)events;
    if (status < 0) {
        listener_pause(l, uv_error_map(status));
        return;
    }
    int left = l->batch;
    while (left > 0 && !l->closing && listener_accept_one(l))
        left--;
    if (left > 0)
        l->batch = l->batch > 1 ? l->batch / 2 : 1;
    else if (l->batch < LISTENER_BATCH)
        l->batch *= 2;
}

int listener_start(listener *l)
{
    if (listen(l->fd, l->backlog) != 0)
        return uv_error_map(-errno);
    return uv_error_map(uv_poll_start(&l->poll, UV_READABLE, listener_on_readable));
}

/* ---- beginning and end ---- */

uint16_t listener_port(const listener *l)
{
    return l->address.port;
}

const smx_address *listener_address_of(const listener *l)
{
    return &l->address;
}

int listener_fd(const listener *l)
{
    return l->fd;
}

static int listener_share_socket(listener *l, listener *adopts)
{
    if (adopts != NULL) {
        l->socket = adopts->socket;
        l->socket->owners++;
        return 0;
    }
    l->socket = calloc(1, sizeof(*l->socket));
    if (l->socket == NULL)
        return SMX_E_NOMEM;
    l->socket->owners = 1;
    return 0;
}

/* Another program may have put its own socket on the path meanwhile. */
static void listener_leave_socket(listener *l)
{
    struct stat status;
    listener_socket *socket = l->socket;
    l->socket = NULL;
    if (socket == NULL || --socket->owners > 0)
        return;
    if (socket->path != NULL && lstat(socket->path, &status) == 0 &&
        status.st_dev == socket->path_device && status.st_ino == socket->path_inode)
        (void)unlink(socket->path);
    free(socket->path);
    free(socket);
}

static void listener_on_closed(uv_handle_t *handle)
{
    listener *l = handle->data;
    loop_leave(&l->resident);
    free(l);
}

void listener_free(listener *l)
{
    if (l == NULL || l->closing)
        return;
    l->closing = true;
    timer_clear(&l->pause);
    listener_leave_socket(l);
    uv_close((uv_handle_t *)&l->poll, listener_on_closed);
    /* At once: who connects from now on must find another socket of this port, if there is one. */
    if (l->fd >= 0)
        (void)close(l->fd);
    l->fd = -1;
}

void listener_retire(listener *l)
{
    bool last = l != NULL && !l->closing && l->socket->owners == 1;
    for (int i = 0; last && i < l->backlog && listener_accept_one(l); i++)
        ;
    listener_free(l);
}

static void listener_leave(loop_resident *resident)
{
    listener_free(list_member(resident, listener, resident));
}

/* What is left of a listener that could not be opened; its poll was never made. */
static void listener_discard(listener *l)
{
    listener_leave_socket(l);
    if (l->fd >= 0)
        (void)close(l->fd);
    free(l);
}

int listener_new(smx_loop *loop, const endpoint *at, const listener_options *options,
                 listener_fn *fn, void *owner, listener **l, problem *p)
{
    listener *new = calloc(1, sizeof(*new));
    if (new == NULL)
        return problem_set(p, SMX_E_NOMEM, "out of memory");
    new->loop = loop;
    new->fn = fn;
    new->owner = owner;
    new->fd = -1;
    new->backlog = options->backlog == 0 ? LISTENER_BACKLOG : options->backlog;
    new->batch = 1;
    new->pause.fn = listener_on_pause_over;
    new->paused = options->paused;
    new->resident.leave = listener_leave;
    int error = listener_share_socket(new, options->adopts);
    error =
        error == 0 ? listener_open(new, at, options, p) : problem_set(p, error, "out of memory");
    if (error != 0) {
        listener_discard(new);
        return error;
    }
    int uv = uv_poll_init(smx_loop_uv(loop), &new->poll, new->fd);
    if (uv != 0) {
        listener_discard(new);
        return problem_set(p, uv_error_map(uv), "cannot listen on %.*s: %s", LISTENER_HOST(at),
                           uv_strerror(uv));
    }
    new->poll.data = new;
    listener_prepare(new, options->transparent);
    loop_enter(loop, &new->resident);
    *l = new;
    return 0;
}
