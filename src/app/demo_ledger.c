/* A ledger is filled by the application's thread (accepted) and the providers' thread (recorded). */
#include "app/demo_ledger.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

typedef struct ledger_entry {
    bool accepted;
    uint32_t recorded[DEMO_PROVIDERS];
} ledger_entry;

struct demo_ledger {
    pthread_mutex_t mutex; /* guards all below but the count */
    uint32_t count;
    uint32_t strange;
    ledger_entry *entries; /* of message 1 first */
};

int demo_ledger_new(uint32_t count, demo_ledger **out)
{
    assert(count <= DEMO_MESSAGES_MAX);
    demo_ledger *ledger = calloc(1, sizeof(*ledger));
    ledger_entry *entries = calloc((size_t)count + 1, sizeof(*entries));
    if (ledger == NULL || entries == NULL || pthread_mutex_init(&ledger->mutex, NULL) != 0) {
        free(ledger);
        free(entries);
        return SMX_E_NOMEM;
    }
    ledger->count = count;
    ledger->entries = entries;
    *out = ledger;
    return 0;
}

void demo_ledger_free(demo_ledger *ledger)
{
    if (ledger == NULL)
        return;
    (void)pthread_mutex_destroy(&ledger->mutex);
    free(ledger->entries);
    free(ledger);
}

static bool ledger_has(const demo_ledger *ledger, uint32_t number)
{
    return number >= 1 && number <= ledger->count;
}

void demo_ledger_accepted(demo_ledger *ledger, uint32_t number)
{
    assert(ledger_has(ledger, number));
    (void)pthread_mutex_lock(&ledger->mutex);
    ledger->entries[number - 1].accepted = true;
    (void)pthread_mutex_unlock(&ledger->mutex);
}

void demo_ledger_recorded(demo_ledger *ledger, size_t provider, uint32_t number)
{
    (void)pthread_mutex_lock(&ledger->mutex);
    if (ledger_has(ledger, number))
        ledger->entries[number - 1].recorded[provider]++;
    else
        ledger->strange++;
    (void)pthread_mutex_unlock(&ledger->mutex);
}

size_t demo_ledger_holder(demo_ledger *ledger, uint32_t number)
{
    size_t holder = 0;
    assert(ledger_has(ledger, number));
    (void)pthread_mutex_lock(&ledger->mutex);
    while (holder < DEMO_PROVIDERS && ledger->entries[number - 1].recorded[holder] == 0)
        holder++;
    (void)pthread_mutex_unlock(&ledger->mutex);
    return holder;
}

uint32_t demo_ledger_taken(demo_ledger *ledger, size_t provider)
{
    uint32_t taken = 0;
    (void)pthread_mutex_lock(&ledger->mutex);
    for (uint32_t i = 0; i < ledger->count; i++)
        taken += ledger->entries[i].recorded[provider];
    (void)pthread_mutex_unlock(&ledger->mutex);
    return taken;
}

static uint32_t entry_copies(const ledger_entry *entry)
{
    uint32_t copies = 0;
    for (size_t i = 0; i < DEMO_PROVIDERS; i++)
        copies += entry->recorded[i];
    return copies;
}

static bool entry_is_lost(const ledger_entry *entry)
{
    return entry->accepted && entry_copies(entry) == 0;
}

static bool entry_is_doubled(const ledger_entry *entry)
{
    return entry_copies(entry) > 1;
}

demo_verdict demo_ledger_judge(demo_ledger *ledger)
{
    demo_verdict verdict = {.sent = ledger->count};
    (void)pthread_mutex_lock(&ledger->mutex);
    verdict.strange = ledger->strange;
    for (uint32_t i = 0; i < ledger->count; i++) {
        const ledger_entry *entry = &ledger->entries[i];
        verdict.accepted += entry->accepted;
        verdict.delivered += entry->accepted && entry_copies(entry) > 0;
        verdict.lost += entry_is_lost(entry);
        verdict.doubled += entry_is_doubled(entry);
    }
    (void)pthread_mutex_unlock(&ledger->mutex);
    return verdict;
}

bool demo_verdict_is_good(const demo_verdict *verdict)
{
    return verdict->accepted == verdict->sent && verdict->delivered == verdict->sent &&
           verdict->lost == 0 && verdict->doubled == 0 && verdict->strange == 0;
}

static uint32_t ledger_next(demo_ledger *ledger, uint32_t number,
                            bool (*is_it)(const ledger_entry *entry))
{
    uint32_t found = 0;
    (void)pthread_mutex_lock(&ledger->mutex);
    for (uint32_t i = number; i < ledger->count && found == 0; i++)
        found = is_it(&ledger->entries[i]) ? i + 1 : 0;
    (void)pthread_mutex_unlock(&ledger->mutex);
    return found;
}

uint32_t demo_ledger_next_lost(demo_ledger *ledger, uint32_t number)
{
    return ledger_next(ledger, number, entry_is_lost);
}

uint32_t demo_ledger_next_doubled(demo_ledger *ledger, uint32_t number)
{
    return ledger_next(ledger, number, entry_is_doubled);
}
