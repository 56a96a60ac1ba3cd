/* Counts of listeners by their address: over all workers, and over reloads. */
#ifndef APP_TALLY_H
#define APP_TALLY_H

#include "smx/server.h"

typedef struct tally tally;

SMX_MUST_USE int tally_new(tally **t);
/* The counts of a listener of this address, made if it is new; NULL when out of memory. They live as
 * the tally. Any thread. */
smx_counters *tally_find(tally *t, const char *listen);
/* After all servers. */
void tally_free(tally *t);

#endif
