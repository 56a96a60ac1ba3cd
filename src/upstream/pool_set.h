/* The pools of one loop, kept over reloads: a pool goes on as long as some snapshot of the
 * configuration reaches its upstream in the same way (DESIGN 4.7).
 *
 * The key is the upstream's record, host, port, TLS policy and files (a changed file is another one),
 * pinned keys, credentials, source and family, and our own host name. What is only a limit (messages for each
 * connection, times) is no part of it: the newest snapshot's holds. Used on the loop's thread.
 */
#ifndef UPSTREAM_POOL_SET_H
#define UPSTREAM_POOL_SET_H

#include "net/tls.h"
#include "upstream/pool.h"

typedef struct upstream_pool_set upstream_pool_set;

/* Keeps the strings of options alive: a pool takes a share of the snapshot that it was made from. */
typedef struct upstream_hold {
    void *arg;
    void (*take)(void *arg); /* one share more; NULL: the strings outlive the set */
    void (*drop)(void *arg); /* one share less */
} upstream_hold;

/* SMX_E_NOMEM. */
SMX_MUST_USE int upstream_pool_set_new(smx_loop *loop, smx_log_fn *log, void *log_arg,
                                       upstream_pool_set **set);

/* Whom pools believe that are acquired from now on without a `ca`: it is a part of their key. NULL, as
 * in the beginning: the system's CAs, which every TLS context reads for itself. */
void upstream_pool_set_believe(upstream_pool_set *set, tls_authorities *authorities);

/* A share of the pool with this key, made if there is none. Sets with TLS files that cannot be loaded
 * say so in the problem. `hostname` belongs to the hold, as the options' strings do. */
SMX_MUST_USE int upstream_pool_set_acquire(upstream_pool_set *set, upstream *u,
                                           const upstream_options *options, const char *hostname,
                                           const upstream_hold *hold, upstream_pool **pool,
                                           problem *p);
/* Gives the share back. With the last one the pool closes: idle connections now, others behind their
 * message; then it is freed. NULL is nothing. */
void upstream_pool_set_release(upstream_pool_set *set, upstream_pool *pool);

/* Pools that exist, those that are closing among them. */
size_t upstream_pool_set_count(const upstream_pool_set *set);

/* The end is near: no pool opens a connection ahead of demand any more. */
void upstream_pool_set_wind_down(upstream_pool_set *set);

/* `closed` is called, never from within, when there is no pool any more: all shares are given back. */
void upstream_pool_set_close(upstream_pool_set *set, void (*closed)(void *arg), void *arg);
/* Cuts off what is under way on all of them. */
void upstream_pool_set_abort(upstream_pool_set *set);
/* What nobody uses any more, and the set. Connections that are left must be of a loop that turns no
 * more. NULL is nothing. */
void upstream_pool_set_free(upstream_pool_set *set);

smx_loop *upstream_pool_set_loop(const upstream_pool_set *set);
smx_log_fn *upstream_pool_set_log(const upstream_pool_set *set, void **log_arg);

#endif
