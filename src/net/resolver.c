/* Names to addresses. The resolver owns the c-ares channel, the polls of its sockets, the answers it
 * remembers and the queries. A query that c-ares still works on lives until c-ares lets go of it,
 * even if it was cancelled or its time is over.
 */
#include "net/resolver.h"

#include <ares.h>
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

#include "base/map.h"
#include "net/loop_internal.h"

enum {
    RESOLVER_LIMIT_MS = 20000, /* ATTACKS 43 */
    RESOLVER_TRY_MS = 2500,    /* of c-ares, doubled at each further try */
    RESOLVER_TRIES = 3,
    RESOLVER_TTL_MAX = 300, /* seconds */
    RESOLVER_CACHE = 256,   /* answers that are remembered */
    RESOLVER_ADDRESSES = 32,
    RESOLVER_HOST_MAX = 255,
};

/* A socket of c-ares. Lives until its handle is closed, perhaps longer than the resolver. */
typedef struct resolver_socket {
    uv_poll_t poll;
    list_node node;
    smx_loop *loop;
    resolver *r;
    ares_socket_t fd;
} resolver_socket;

/* An answer that is remembered, under "family/host". */
typedef struct resolver_answer {
    uint64_t expires;
    size_t count;
    resolver_address addresses[];
} resolver_answer;

struct resolver {
    smx_loop *loop;
    ares_channel channel; /* NULL until the first question */
    timer_entry timer;    /* c-ares' own */
    list sockets;
    list queries;
    map answers;
};

struct resolver_query {
    list_node node;
    resolver *r;
    loop_turn_end turn_end;
    timer_entry limit;
    resolver_fn *fn; /* NULL: nobody waits any more */
    void *arg;
    bool asked; /* c-ares has it */
    int error;
    uint8_t family;
    uint16_t port;
    size_t count;
    resolver_address addresses[RESOLVER_ADDRESSES];
    char host[RESOLVER_HOST_MAX + 1];
};

/* ---- queries ---- */

static void resolver_query_free(resolver_query *query)
{
    list_remove(&query->node);
    loop_cancel_turn_end(&query->turn_end);
    timer_clear(&query->limit);
    free(query);
}

/* Nobody waits any more: the query goes now, or when c-ares lets go of it. */
static void resolver_query_drop(resolver_query *query)
{
    query->fn = NULL;
    loop_cancel_turn_end(&query->turn_end);
    timer_clear(&query->limit);
    if (!query->asked)
        resolver_query_free(query);
}

static void resolver_query_answer(resolver_query *query, int error)
{
    resolver_fn *fn = query->fn;
    query->fn = NULL;
    fn(query->arg, error, query->addresses, query->count);
    resolver_query_drop(query);
}

static void resolver_on_turn_end(loop_turn_end *self)
{
    resolver_query *query = list_member(self, resolver_query, turn_end);
    resolver_query_answer(query, query->error);
}

static void resolver_on_limit(timer_entry *timer)
{
    resolver_query *query = list_member(timer, resolver_query, limit);
    loop_cancel_turn_end(&query->turn_end);
    resolver_query_answer(query, SMX_E_TIMEOUT);
}

static void resolver_query_done(resolver_query *query, int error)
{
    query->error = error;
    loop_at_turn_end(query->r->loop, &query->turn_end);
}

static void resolver_set_port(resolver_address *address, uint16_t port)
{
    if (address->any.sa_family == AF_INET)
        address->ipv4.sin_port = htons(port);
    else
        address->ipv6.sin6_port = htons(port);
}

static void resolver_query_add(resolver_query *query, const resolver_address *address)
{
    uint8_t family = address->any.sa_family == AF_INET ? 4 : 6;
    if (query->count == RESOLVER_ADDRESSES || (query->family != 0 && query->family != family))
        return;
    query->addresses[query->count] = *address;
    resolver_set_port(&query->addresses[query->count++], query->port);
}

void resolver_cancel(resolver_query *query)
{
    if (query != NULL)
        resolver_query_drop(query);
}

/* ---- answers that need no DNS ---- */

static bool resolver_answer_literal(resolver_query *query)
{
    resolver_address address = {0};
    if (inet_pton(AF_INET, query->host, &address.ipv4.sin_addr) == 1)
        address.ipv4.sin_family = AF_INET;
    else if (inet_pton(AF_INET6, query->host, &address.ipv6.sin6_addr) == 1)
        address.ipv6.sin6_family = AF_INET6;
    else
        return false;
    resolver_query_add(query, &address);
    return true;
}

/* RFC 6761 section 6.3: never asked of a server. */
static bool resolver_answer_localhost(resolver_query *query)
{
    static const smx_slice below = {".localhost", sizeof(".localhost") - 1};
    smx_slice host = slice_of_text(query->host);
    smx_slice tail = host.len > below.len ? slice_from(host, host.len - below.len) : host;
    if (!slice_equal_nocase(host, slice_from(below, 1)) && !slice_equal_nocase(tail, below))
        return false;
    resolver_address ipv4 = {.ipv4 = {.sin_family = AF_INET}};
    resolver_address ipv6 = {.ipv6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT}};
    ipv4.ipv4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    resolver_query_add(query, &ipv4);
    resolver_query_add(query, &ipv6);
    return true;
}

/* ---- answers that are remembered ---- */

enum { RESOLVER_KEY = RESOLVER_HOST_MAX + 8 };

static smx_slice resolver_key(const resolver_query *query, char key[static RESOLVER_KEY])
{
    int len = snprintf(key, RESOLVER_KEY, "%u/%s", query->family, query->host);
    for (int i = 0; i < len; i++)
        key[i] = ascii_lower(key[i]);
    return slice_of(key, (size_t)len);
}

static bool resolver_answer_remembered(resolver_query *query)
{
    char key[RESOLVER_KEY];
    const resolver_answer *answer = map_get(&query->r->answers, resolver_key(query, key));
    if (answer == NULL || answer->expires <= loop_now(query->r->loop))
        return false;
    for (size_t i = 0; i < answer->count; i++)
        resolver_query_add(query, &answer->addresses[i]);
    return true;
}

/* Takes out what is over; if all are fresh, one of them, whichever stands first. */
static void resolver_make_room(resolver *r)
{
    uint64_t now = loop_now(r->loop);
    const map_entry *victim = NULL;
    size_t at = 0;
    for (const map_entry *entry; (entry = map_next(&r->answers, &at)) != NULL;)
        if (victim == NULL || ((const resolver_answer *)entry->value)->expires <= now)
            victim = entry;
    if (victim != NULL)
        free(map_remove(&r->answers, victim->key));
}

/* Without memory nothing is remembered, which is no failure. */
static void resolver_remember(const resolver_query *query, int ttl)
{
    resolver *r = query->r;
    char text[RESOLVER_KEY];
    smx_slice key = resolver_key(query, text);
    if (ttl <= 0 || query->count == 0)
        return;
    if (ttl > RESOLVER_TTL_MAX)
        ttl = RESOLVER_TTL_MAX;
    free(map_remove(&r->answers, key));
    if (r->answers.count >= RESOLVER_CACHE)
        resolver_make_room(r);
    size_t size = query->count * sizeof(resolver_address);
    resolver_answer *answer = malloc(sizeof(*answer) + size);
    if (answer == NULL)
        return;
    answer->expires = loop_now(r->loop) + (uint64_t)ttl * 1000;
    answer->count = query->count;
    memcpy(answer->addresses, query->addresses, size);
    if (map_put(&r->answers, key, answer) != 0)
        free(answer);
}

static void resolver_forget(resolver *r)
{
    size_t at = 0;
    for (const map_entry *entry; (entry = map_next(&r->answers, &at)) != NULL;)
        free(entry->value);
    map_free(&r->answers);
}

/* ---- c-ares on the loop ---- */

static void resolver_arm(resolver *r)
{
    struct timeval tv;
    if (r->channel == NULL || ares_timeout(r->channel, NULL, &tv) == NULL) {
        timer_clear(&r->timer);
        return;
    }
    uint64_t wait = (uint64_t)tv.tv_sec * 1000 + (uint64_t)tv.tv_usec / 1000;
    timer_set(loop_timers(r->loop), &r->timer, loop_now(r->loop) + wait);
}

static void resolver_on_timer(timer_entry *timer)
{
    resolver *r = list_member(timer, resolver, timer);
    ares_process_fd(r->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    resolver_arm(r);
}

static void resolver_on_poll(uv_poll_t *poll, int status, int events)
{
    resolver_socket *s = poll->data;
    resolver *r = s->r;
    bool readable = status < 0 || (events & UV_READABLE) != 0;
    bool writable = status < 0 || (events & UV_WRITABLE) != 0;
    ares_process_fd(r->channel, readable ? s->fd : ARES_SOCKET_BAD,
                    writable ? s->fd : ARES_SOCKET_BAD);
    resolver_arm(r);
}

static void resolver_on_socket_closed(uv_handle_t *handle)
{
    resolver_socket *s = handle->data;
    loop_release(s->loop);
    free(s);
}

static void resolver_close_socket(resolver_socket *s)
{
    list_remove(&s->node);
    uv_close((uv_handle_t *)&s->poll, resolver_on_socket_closed);
}

static resolver_socket *resolver_find_socket(const resolver *r, ares_socket_t fd)
{
    for (list_node *node = r->sockets.first; node != NULL; node = node->next) {
        resolver_socket *s = list_member(node, resolver_socket, node);
        if (s->fd == fd)
            return s;
    }
    return NULL;
}

static resolver_socket *resolver_add_socket(resolver *r, ares_socket_t fd)
{
    resolver_socket *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return NULL;
    if (uv_poll_init(smx_loop_uv(r->loop), &s->poll, fd) != 0) {
        free(s);
        return NULL;
    }
    s->poll.data = s;
    s->loop = r->loop;
    s->r = r;
    s->fd = fd;
    loop_hold(r->loop);
    list_append(&r->sockets, &s->node);
    return s;
}

/* c-ares says what it waits for; a socket that cannot be watched ends in its timeout. */
static void resolver_on_socket_state(void *arg, ares_socket_t fd, int readable, int writable)
{
    resolver *r = arg;
    resolver_socket *s = resolver_find_socket(r, fd);
    int events = (readable ? UV_READABLE : 0) | (writable ? UV_WRITABLE : 0);
    if (events == 0) {
        if (s != NULL)
            resolver_close_socket(s);
        return;
    }
    if (s == NULL)
        s = resolver_add_socket(r, fd);
    if (s != NULL)
        (void)uv_poll_start(&s->poll, events, resolver_on_poll);
}

static int resolver_open_channel(resolver *r)
{
    char lookups[] = "fb"; /* /etc/hosts, then DNS */
    struct ares_options options = {
        .timeout = RESOLVER_TRY_MS,
        .tries = RESOLVER_TRIES,
        .lookups = lookups,
        .sock_state_cb = resolver_on_socket_state,
        .sock_state_cb_data = r,
    };
    if (r->channel != NULL)
        return 0;
    int status = ares_init_options(&r->channel, &options,
                                   ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_LOOKUPS |
                                       ARES_OPT_SOCK_STATE_CB);
    if (status == ARES_SUCCESS)
        return 0;
    r->channel = NULL;
    return status == ARES_ENOMEM ? SMX_E_NOMEM : SMX_E_RESOLVE;
}

static int resolver_error(int status)
{
    switch (status) {
    case ARES_SUCCESS:
        return 0;
    case ARES_ENOMEM:
        return SMX_E_NOMEM;
    case ARES_ETIMEOUT:
        return SMX_E_TIMEOUT;
    default:
        return SMX_E_RESOLVE;
    }
}

/* The addresses, and the shortest TTL of all records on the way to them. */
static int resolver_read_answer(resolver_query *query, const struct ares_addrinfo *result)
{
    int ttl = RESOLVER_TTL_MAX;
    for (const struct ares_addrinfo_cname *c = result->cnames; c != NULL; c = c->next)
        ttl = c->ttl < ttl ? c->ttl : ttl;
    for (const struct ares_addrinfo_node *n = result->nodes; n != NULL; n = n->ai_next) {
        resolver_address address = {0};
        if ((size_t)n->ai_addrlen > sizeof(address) ||
            (n->ai_family != AF_INET && n->ai_family != AF_INET6))
            continue;
        memcpy(&address, n->ai_addr, (size_t)n->ai_addrlen);
        resolver_query_add(query, &address);
        ttl = n->ai_ttl < ttl ? n->ai_ttl : ttl;
    }
    return ttl;
}

static void resolver_on_answer(void *arg, int status, int timeouts, struct ares_addrinfo *result)
{
    resolver_query *query = arg;
    (void)timeouts;
    query->asked = false;
    if (status == ARES_SUCCESS && query->fn != NULL)
        resolver_remember(query, resolver_read_answer(query, result));
    if (result != NULL)
        ares_freeaddrinfo(result);
    if (query->fn == NULL)
        resolver_query_free(query);
    else
        resolver_query_done(query, query->count == 0 && status == ARES_SUCCESS
                                       ? SMX_E_RESOLVE
                                       : resolver_error(status));
}

static int resolver_ask(resolver_query *query)
{
    resolver *r = query->r;
    int family = query->family == 4 ? AF_INET : query->family == 6 ? AF_INET6 : AF_UNSPEC;
    const struct ares_addrinfo_hints hints = {.ai_family = family, .ai_socktype = SOCK_STREAM};
    int error = resolver_open_channel(r);
    if (error != 0)
        return error;
    query->asked = true;
    timer_set(loop_timers(r->loop), &query->limit, loop_now(r->loop) + RESOLVER_LIMIT_MS);
    ares_getaddrinfo(r->channel, query->host, NULL, &hints, resolver_on_answer, query);
    resolver_arm(r);
    return 0;
}

/* ---- the outside ---- */

int resolver_lookup(resolver *r, smx_slice host, uint16_t port, uint8_t family, resolver_fn *fn,
                    void *arg, resolver_query **query)
{
    if (host.len == 0 || host.len > RESOLVER_HOST_MAX || slice_find(host, '\0') < host.len)
        return SMX_E_INVALID;
    resolver_query *new = calloc(1, sizeof(*new));
    if (new == NULL)
        return SMX_E_NOMEM;
    new->r = r;
    new->fn = fn;
    new->arg = arg;
    new->port = port;
    new->family = family;
    new->turn_end.fn = resolver_on_turn_end;
    new->limit.fn = resolver_on_limit;
    memcpy(new->host, host.data, host.len);
    list_append(&r->queries, &new->node);
    if (resolver_answer_literal(new) || resolver_answer_localhost(new) ||
        resolver_answer_remembered(new)) {
        resolver_query_done(new, new->count == 0 ? SMX_E_RESOLVE : 0);
    } else {
        int error = resolver_ask(new);
        if (error != 0) {
            resolver_query_free(new);
            return error;
        }
    }
    *query = new;
    return 0;
}

int resolver_set_servers(resolver *r, const char *csv)
{
    int error = resolver_open_channel(r);
    if (error != 0)
        return error;
    switch (ares_set_servers_ports_csv(r->channel, csv)) {
    case ARES_SUCCESS:
        return 0;
    case ARES_ENOMEM:
        return SMX_E_NOMEM;
    default:
        return SMX_E_INVALID;
    }
}

int resolver_new(smx_loop *loop, resolver **r)
{
    resolver *new = calloc(1, sizeof(*new));
    if (new == NULL)
        return SMX_E_NOMEM;
    new->loop = loop;
    new->timer.fn = resolver_on_timer;
    *r = new;
    return 0;
}

void resolver_free(resolver *r)
{
    if (r == NULL)
        return;
    for (list_node *node = r->queries.first; node != NULL;) {
        resolver_query *query = list_member(node, resolver_query, node);
        node = node->next;
        resolver_query_drop(query);
    }
    if (r->channel != NULL)
        ares_destroy(r->channel);
    while (r->sockets.first != NULL)
        resolver_close_socket(list_member(r->sockets.first, resolver_socket, node));
    timer_clear(&r->timer);
    resolver_forget(r);
    free(r);
}
