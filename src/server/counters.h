/* Counts of a server or of a listener: added to by its loop, read by any thread. */
#ifndef SERVER_COUNTERS_H
#define SERVER_COUNTERS_H

#include <stdatomic.h>

#include "smx/server.h"

struct smx_counters {
#define SERVER_COUNTER_ENTRY(name, text) _Atomic uint64_t name;
    SMX_SERVER_COUNTER_MAP(SERVER_COUNTER_ENTRY)
#undef SERVER_COUNTER_ENTRY
    _Atomic uint64_t sessions;
};

#endif
