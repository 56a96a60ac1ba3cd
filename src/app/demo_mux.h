/* The multiplexer of the demo: the same service that `smtpmux serve` runs, from a configuration that
 * is made up in memory. */
#ifndef APP_DEMO_MUX_H
#define APP_DEMO_MUX_H

#include "app/demo_providers.h"
#include "app/demo_sender.h"
#include "app/service.h"

typedef struct demo_mux demo_mux;

/* What smtpmux saw of a provider. */
typedef struct demo_seen {
    uint64_t refused; /* attempts that were answered with 4xx or 5xx */
    uint64_t broken;  /* attempts without an answer */
} demo_seen;

/* Serves when it returns. `with_log`: its log goes to standard error. Fills in account->port. */
SMX_MUST_USE int demo_mux_new(const demo_providers *providers, demo_account *account, bool with_log,
                              demo_mux **m, problem *p);
demo_seen demo_mux_seen(demo_mux *m, size_t provider);
/* Ends it and waits for that. NULL is nothing. */
void demo_mux_free(demo_mux *m);

#endif
