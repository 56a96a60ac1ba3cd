/* Counts that several listeners share: those of one address in all loops, and over reloads. */
#include "server/counters.h"

#include <stdlib.h>

int smx_counters_new(smx_counters **counters)
{
    smx_counters *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return SMX_E_NOMEM;
    *counters = made;
    return 0;
}

void smx_counters_free(smx_counters *counters)
{
    free(counters);
}

void smx_counters_read(const smx_counters *counters, smx_server_counters *read)
{
    *read = (smx_server_counters){
#define SERVER_COUNTER_READ(name, text) .name = counters->name,
        SMX_SERVER_COUNTER_MAP(SERVER_COUNTER_READ)
#undef SERVER_COUNTER_READ
            .sessions = counters->sessions,
    };
}
