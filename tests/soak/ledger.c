/* One entry for each recipient of each message. An entry's words belong to the thread that sends the
 * message; its copies are counted by the providers' threads. */
#include <stdio.h>
#include <stdlib.h>

#include "soak.h"

typedef struct entry {
    atomic_uint_fast16_t copies;
    uint16_t doubts;
    told last;
} entry;

struct ledger {
    uint32_t messages;
    uint64_t seed;
    atomic_uint_fast32_t strange;
    entry *entries; /* SOAK_RECIPIENTS for each message */
};

ledger *ledger_new(uint32_t messages, uint64_t seed)
{
    ledger *l = calloc(1, sizeof(*l));
    must(l != NULL, "out of memory");
    l->messages = messages;
    l->seed = seed;
    l->entries = calloc((size_t)messages * SOAK_RECIPIENTS, sizeof(*l->entries));
    must(l->entries != NULL, "out of memory");
    return l;
}

void ledger_free(ledger *l)
{
    free(l->entries);
    free(l);
}

static entry *find(const ledger *l, uint32_t number, uint32_t recipient)
{
    return &l->entries[(size_t)number * SOAK_RECIPIENTS + recipient];
}

void ledger_tell(ledger *l, uint32_t number, uint32_t recipient, told what)
{
    find(l, number, recipient)->last = what;
}

void ledger_doubt(ledger *l, uint32_t number, uint32_t recipient)
{
    find(l, number, recipient)->doubts++;
}

void ledger_hold(ledger *l, uint32_t number, uint32_t recipient)
{
    if (number >= l->messages || recipient >= message_recipients(l->seed, number))
        ledger_strange(l, "a recipient that no message has");
    else
        atomic_fetch_add(&find(l, number, recipient)->copies, 1);
}

void ledger_strange(ledger *l, const char *what)
{
    if (atomic_fetch_add(&l->strange, 1) < 20)
        (void)fprintf(stderr, "soak: strange: %s\n", what);
}

static void show(const char *what, uint32_t number, uint32_t recipient, const entry *e)
{
    static const char *const WORDS[] = {"nothing", "taken", "refused", "put off", "left"};
    (void)fprintf(stderr, "soak: %s: r%u.%u: %u copies, told: %s, unknown %u times\n", what,
                  recipient, number, (unsigned)atomic_load(&e->copies), WORDS[e->last], e->doubts);
}

/* A copy is explained by the last word "taken", and one more by each "unknown". */
static void judge(verdict *v, uint32_t number, uint32_t recipient, const entry *e)
{
    uint32_t copies = (uint32_t)atomic_load(&e->copies);
    bool taken = e->last == TOLD_TAKEN;
    v->recipients++;
    v->told[e->last]++;
    v->copies += copies;
    v->doubts += e->doubts > 0;
    if (taken && copies == 0) {
        v->lost++;
        show("lost", number, recipient, e);
    }
    if (copies > (uint32_t)taken + e->doubts) {
        v->doubled++;
        v->kept_quiet += !taken;
        show("doubled", number, recipient, e);
    } else if (copies > 1) {
        v->risked++;
    }
}

verdict ledger_judge(const ledger *l)
{
    verdict v = {.strange = (uint32_t)atomic_load(&l->strange)};
    for (uint32_t number = 0; number < l->messages; number++)
        for (uint32_t i = 0; i < message_recipients(l->seed, number); i++)
            judge(&v, number, i, find(l, number, i));
    return v;
}
