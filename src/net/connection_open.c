/* Makes a connection out of a name: resolves it and tries address after address. Each attempt needs
 * a fresh handle, so that the failed one is closed and made again within the connection.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fresh.h"
#include "net/connection_internal.h"
#include "net/resolver.h"
#include "net/uv_error.h"

enum { OPENING_ATTEMPT_MS = 2000 }; /* an address gets at least this, if there is so much left */

struct connection_opening {
    connection *c;
    resolver_query *query; /* NULL when resolved */
    resolver_address *addresses;
    size_t count;
    size_t next;             /* address to try */
    resolver_address source; /* AF_UNSPEC: any */
    bool transparent;        /* ... which may be another machine's */
    uint64_t deadline;
    timer_entry timer; /* of the attempt, or of resolving */
    uv_connect_t request;
};

void connection_opening_stop(connection *c)
{
    connection_opening *o = c->opening;
    if (o == NULL)
        return;
    resolver_cancel(o->query);
    o->query = NULL;
    timer_clear(&o->timer);
}

void connection_opening_free(connection *c)
{
    if (c->opening == NULL)
        return;
    free(c->opening->addresses);
    free(c->opening);
    c->opening = NULL;
}

/* Success or the last failure. */
static void opening_done(connection *c, int error)
{
    connection_opening_stop(c);
    c->connect_error = (int16_t)error;
    if (error == 0 && !c->is_unix)
        (void)uv_tcp_nodelay(&c->uv.tcp, 1);
    connection_tell_later(c, CONNECTION_TELL_CONNECTED);
}

static void opening_try_next(connection *c);

static void opening_on_handle_closed(uv_handle_t *handle)
{
    connection *c = handle->data;
    if (c->state == CONNECTION_CLOSED) {
        connection_on_handle_closed(handle);
        return;
    }
    int error = connection_init_handle(c);
    if (error != 0)
        opening_done(c, error);
    else
        opening_try_next(c);
}

static void opening_attempt_failed(connection *c, int error)
{
    connection_opening *o = c->opening;
    timer_clear(&o->timer);
    c->connect_error = (int16_t)error;
    if (o->next < o->count && loop_now(c->loop) < o->deadline)
        uv_close(&c->uv.handle, opening_on_handle_closed);
    else
        opening_done(c, error);
}

static void opening_on_connected(uv_connect_t *request, int status)
{
    connection *c = request->handle->data;
    if (c->state != CONNECTION_OPENING || uv_is_closing(&c->uv.handle) ||
        (c->tell & CONNECTION_TELL_CONNECTED) != 0)
        return;
    if (status == 0)
        opening_done(c, 0);
    else
        opening_attempt_failed(c, uv_error_map(status));
}

/* A socket that may bind any address (ip(7)); needs CAP_NET_ADMIN. */
static int opening_make_transparent(connection *c)
{
    const int on = 1;
    bool v4 = c->opening->source.any.sa_family == AF_INET;
    int fd =
        socket(c->opening->source.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return uv_translate_sys_error(errno);
    int error = setsockopt(fd, v4 ? IPPROTO_IP : IPPROTO_IPV6,
                           v4 ? IP_TRANSPARENT : IPV6_TRANSPARENT, &on, sizeof(on)) != 0
                    ? uv_translate_sys_error(errno)
                    : uv_tcp_open(&c->uv.tcp, fd);
    if (error != 0)
        (void)close(fd);
    return error;
}

static int opening_bind(connection *c)
{
    connection_opening *o = c->opening;
    if (o->source.any.sa_family == AF_UNSPEC)
        return 0;
    int error = o->transparent ? opening_make_transparent(c) : 0;
    return error != 0 ? error : uv_tcp_bind(&c->uv.tcp, &o->source.any, 0);
}

static void opening_tell_attempt(connection *c)
{
    if (c->handler->attempted != NULL && connection_local(c)->family != 0)
        c->handler->attempted(c->owner, &c->local, &c->peer);
}

static int opening_connect(connection *c, const resolver_address *to)
{
    connection_opening *o = c->opening;
    endpoint_address(&to->any, &c->peer);
    c->local_known = false;
    int error = opening_bind(c);
    if (error == 0)
        error = uv_tcp_connect(&o->request, &c->uv.tcp, &to->any, opening_on_connected);
    if (error == 0)
        error = connection_read_early(c);
    if (error == 0)
        opening_tell_attempt(c);
    return uv_error_map(error);
}

/* An address gets a fair share of what is left, but not so little that it cannot work. */
static uint64_t opening_attempt_due(const connection_opening *o, uint64_t now)
{
    uint64_t rest = o->deadline > now ? o->deadline - now : 0;
    uint64_t share = rest / (o->count - o->next + 1);
    if (share < OPENING_ATTEMPT_MS)
        share = rest < OPENING_ATTEMPT_MS ? rest : OPENING_ATTEMPT_MS;
    return now + share;
}

static void opening_try_next(connection *c)
{
    connection_opening *o = c->opening;
    const resolver_address *to = &o->addresses[o->next++];
    timer_set(loop_timers(c->loop), &o->timer, opening_attempt_due(o, loop_now(c->loop)));
    int error = opening_connect(c, to);
    if (error != 0)
        opening_attempt_failed(c, error);
}

static void opening_on_timer(timer_entry *timer)
{
    connection_opening *o = list_member(timer, connection_opening, timer);
    if (o->query != NULL)
        opening_done(o->c, SMX_E_TIMEOUT);
    else
        opening_attempt_failed(o->c, SMX_E_TIMEOUT);
}

/* Only addresses that the source address can reach. */
static int opening_take_addresses(connection_opening *o, const resolver_address *addresses,
                                  size_t count)
{
    sa_family_t family = o->source.any.sa_family;
    o->addresses = malloc(count * sizeof(*addresses)); /* an answer's: few */
    if (o->addresses == NULL)
        return SMX_E_NOMEM;
    for (size_t i = 0; i < count; i++)
        if (family == AF_UNSPEC || addresses[i].any.sa_family == family)
            o->addresses[o->count++] = addresses[i];
    return o->count == 0 ? SMX_E_RESOLVE : 0;
}

static void opening_on_resolved(void *arg, int error, const resolver_address *addresses,
                                size_t count)
{
    connection *c = arg;
    c->opening->query = NULL;
    if (error == 0)
        error = opening_take_addresses(c->opening, addresses, count);
    if (error != 0)
        opening_done(c, error);
    else
        opening_try_next(c);
}

static int opening_set_source(connection_opening *o, const char *source)
{
    if (source == NULL)
        return 0;
    if (inet_pton(AF_INET, source, &o->source.ipv4.sin_addr) == 1) {
        o->source.ipv4.sin_family = AF_INET;
        return 0;
    }
    if (inet_pton(AF_INET6, source, &o->source.ipv6.sin6_addr) == 1) {
        o->source.ipv6.sin6_family = AF_INET6;
        return 0;
    }
    return SMX_E_INVALID;
}

static int opening_begin_unix(connection *c, smx_slice path)
{
    char text[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
    if (path.len == 0 || path.len >= sizeof(text) || slice_find(path, '\0') < path.len)
        return SMX_E_INVALID;
    memcpy(text, path.data, path.len);
    text[path.len] = '\0';
    c->peer.family = 1;
    uv_pipe_connect(&c->opening->request, &c->uv.pipe, text, opening_on_connected);
    return 0;
}

static int opening_begin(connection *c, const connection_target *target)
{
    connection_opening *o = c->opening;
    if (target->to.is_unix)
        return opening_begin_unix(c, target->to.host);
    o->transparent = target->transparent;
    int error = opening_set_source(o, target->source);
    if (error != 0)
        return error;
    resolver *r = loop_resolver(c->loop);
    if (r == NULL)
        return SMX_E_NOMEM;
    return resolver_lookup(r, target->to.host, target->to.port, target->family, opening_on_resolved,
                           c, &o->query);
}

int connection_open(smx_loop *loop, const connection_target *target, uint64_t timeout_ms,
                    const connection_handler *handler, void *owner, connection **c)
{
    connection *new = connection_new(loop, target->to.is_unix);
    if (new == NULL)
        return SMX_E_NOMEM;
    int error = SMX_E_NOMEM;
    new->opening = fresh(connection_opening);
    if (new->opening != NULL) {
        new->opening->c = new;
        new->opening->deadline = loop_now(loop) + timeout_ms;
        new->opening->timer.fn = opening_on_timer;
        error = opening_begin(new, target);
    }
    if (error != 0) {
        connection_finish(new, false);
        return error;
    }
    timer_set(loop_timers(loop), &new->opening->timer, new->opening->deadline);
    new->handler = handler;
    new->owner = owner;
    *c = new;
    return 0;
}
