/* The books of the demo: what the application was told, against what the providers wrote down. */
#ifndef APP_DEMO_LEDGER_H
#define APP_DEMO_LEDGER_H

#include "smx/types.h"

enum { DEMO_PROVIDERS = 2, DEMO_MESSAGES_MAX = 100000 };

/* Messages are numbered from 1. Any thread. */
typedef struct demo_ledger demo_ledger;

typedef struct demo_verdict {
    uint32_t sent;
    uint32_t accepted;  /* the application was told 250 */
    uint32_t delivered; /* of these, what some provider has */
    uint32_t lost;      /* of these, what none has */
    uint32_t doubled;   /* what is recorded more than once, accepted or not */
    uint32_t strange;   /* recorded, but not as it was sent, or never sent at all */
} demo_verdict;

/* For messages 1 to `count`, at most DEMO_MESSAGES_MAX. SMX_E_NOMEM. */
SMX_MUST_USE int demo_ledger_new(uint32_t count, demo_ledger **ledger);
void demo_ledger_free(demo_ledger *ledger);

void demo_ledger_accepted(demo_ledger *ledger, uint32_t number);
/* A provider wrote `number` down; one that was not sent (0, or past the count) is strange. */
void demo_ledger_recorded(demo_ledger *ledger, size_t provider, uint32_t number);

/* Who has it (the first, if several): below DEMO_PROVIDERS, or that if nobody has. */
size_t demo_ledger_holder(demo_ledger *ledger, uint32_t number);
/* Messages that a provider wrote down. */
uint32_t demo_ledger_taken(demo_ledger *ledger, size_t provider);

demo_verdict demo_ledger_judge(demo_ledger *ledger);
/* All that were sent were accepted, and every one is there exactly once. */
bool demo_verdict_is_good(const demo_verdict *verdict);
/* The next number after `number` that is lost, or doubled; 0 at the end. */
uint32_t demo_ledger_next_lost(demo_ledger *ledger, uint32_t number);
uint32_t demo_ledger_next_doubled(demo_ledger *ledger, uint32_t number);

#endif
