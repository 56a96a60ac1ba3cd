/* The two mail providers of the demo: sinks on a thread of their own. */
#ifndef APP_DEMO_PROVIDERS_H
#define APP_DEMO_PROVIDERS_H

#include "app/demo_ledger.h"
#include "app/sink.h"

typedef struct demo_providers demo_providers;

typedef enum demo_health {
    DEMO_WELL,
    DEMO_REFUSES,  /* connections */
    DEMO_PUTS_OFF, /* 451 to each recipient */
    DEMO_HANGS_UP, /* instead of answering DATA */
} demo_health;

/* "alpha", "beta" */
const char *demo_provider_name(size_t provider);

/* Called on the providers' thread for each message that was taken. */
typedef void demo_taken_fn(void *arg, size_t provider, const sink_record *record);

/* Both listen when it returns; the problem is a sentence for a person. */
SMX_MUST_USE int demo_providers_new(demo_taken_fn *taken, void *arg, demo_providers **providers,
                                    problem *p);
uint16_t demo_providers_port(const demo_providers *providers, size_t provider);
/* From now on it is so: the change is made when this returns. */
SMX_MUST_USE int demo_providers_set(demo_providers *providers, size_t provider, demo_health health,
                                    problem *p);
/* Ends the thread. NULL is nothing. */
void demo_providers_free(demo_providers *providers);

#endif
