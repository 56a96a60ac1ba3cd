/* Names to addresses by c-ares on the loop's polls: /etc/hosts, then DNS; answers are kept for
 * their TTL (at most 5 minutes). At most 20 seconds a lookup (ATTACKS 43). */
#ifndef NET_RESOLVER_H
#define NET_RESOLVER_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "net/loop.h"
#include "smx/proto.h"

typedef struct resolver resolver;
typedef struct resolver_query resolver_query;

typedef union resolver_address {
    struct sockaddr any;
    struct sockaddr_in ipv4;
    struct sockaddr_in6 ipv6;
} resolver_address;

/* Called once, in a later turn, unless cancelled. SMX_E_RESOLVE, SMX_E_TIMEOUT, SMX_E_NOMEM; the
 * addresses live until it returns. */
typedef void resolver_fn(void *arg, int error, const resolver_address *addresses, size_t count);

SMX_MUST_USE int resolver_new(smx_loop *loop, resolver **r);
/* Frees queries without calling their functions. */
void resolver_free(resolver *r);

/* An address literal needs no DNS. `family` 0, 4 or 6. */
SMX_MUST_USE int resolver_lookup(resolver *r, smx_slice host, uint16_t port, uint8_t family,
                                 resolver_fn *fn, void *arg, resolver_query **query);
/* Not within or after its function. NULL is nothing. */
void resolver_cancel(resolver_query *query);

/* Asks these servers ("192.0.2.1:53,[2001:db8::1]:53") instead of the system's. */
SMX_MUST_USE int resolver_set_servers(resolver *r, const char *csv);

#endif
