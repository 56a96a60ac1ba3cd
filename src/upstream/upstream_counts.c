/* What attempts report of a provider, in atomics beside the record's mutex. */
#include "upstream/upstream_internal.h"

void upstream_took(upstream *u, smx_outcome outcome, uint64_t ms)
{
    histogram_add(&u->took[outcome], ms);
}

void upstream_times(const upstream *u, smx_outcome outcome, histogram_view *view)
{
    histogram_read(&u->took[outcome], view);
}

void upstream_not_taken(upstream *u, smx_client_phase phase)
{
    atomic_fetch_add_explicit(&u->not_taken[phase], 1, memory_order_relaxed);
}

uint64_t upstream_not_taken_total(const upstream *u, smx_client_phase phase)
{
    return atomic_load_explicit(&u->not_taken[phase], memory_order_relaxed);
}

void upstream_connection_moved(upstream *u, upstream_connection_state from,
                               upstream_connection_state to)
{
    if (from != UPSTREAM_CONNECTION_STATES)
        (void)atomic_fetch_sub_explicit(&u->connections[from], 1, memory_order_relaxed);
    if (to != UPSTREAM_CONNECTION_STATES)
        (void)atomic_fetch_add_explicit(&u->connections[to], 1, memory_order_relaxed);
}

uint32_t upstream_connections(const upstream *u, upstream_connection_state state)
{
    return atomic_load_explicit(&u->connections[state], memory_order_relaxed);
}

void upstream_count(upstream *u, upstream_counter counter)
{
    atomic_fetch_add_explicit(&u->counts[counter], 1, memory_order_relaxed);
}

uint64_t upstream_total(const upstream *u, upstream_counter counter)
{
    return atomic_load_explicit(&u->counts[counter], memory_order_relaxed);
}
