/* What makes a probe of an attempt without a message (errand.c): it asks NOOP, and ends with QUIT. */
#include "upstream/probe.h"

#include "upstream/pool_internal.h"

int upstream_pool_probe(upstream_pool *pool, void (*done)(void *arg, const upstream_result *result),
                        void *arg, upstream_attempt **probe)
{
    return errand_begin(pool, ATTEMPT_PROBE, done, arg, probe);
}

void probe_answered(upstream_attempt *probe, pool_connection *c)
{
    c->attempt = NULL;
    pool_drop(c);
    errand_succeeded(probe);
}
