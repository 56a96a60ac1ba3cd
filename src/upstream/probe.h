/* Tries an upstream out without a message (DESIGN 4.8): connect, TLS, EHLO, AUTH, NOOP and QUIT on a
 * connection of its own, since an idle one does not tell whether another can be had. It is an attempt
 * that counts nowhere and gives way to messages: it never waits for a permit, and ends where a message
 * waits for the one it has.
 */
#ifndef UPSTREAM_PROBE_H
#define UPSTREAM_PROBE_H

#include "upstream/pool.h"

/* Begins a probe; upstream_attempt_cancel ends it. `done` is called once, never from within: outcome
 * ACCEPTED if the server was there and signed us in, GIVEN_UP if it was cancelled or gave way, else
 * FAILED; with SMX_E_BUSY where there was no permit. SMX_E_CLOSED, SMX_E_NOMEM: there is none. */
SMX_MUST_USE int upstream_pool_probe(upstream_pool *pool,
                                     void (*done)(void *arg, const upstream_result *result),
                                     void *arg, upstream_attempt **probe);

#endif
