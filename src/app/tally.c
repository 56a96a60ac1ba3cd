/* A list is long enough: there are few listeners, and they are looked up when one opens. */
#include "app/tally.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

typedef struct tally_entry {
    struct tally_entry *next;
    char *listen;
    smx_counters *counters;
} tally_entry;

struct tally {
    pthread_mutex_t mutex; /* guards the list */
    tally_entry *first;
};

int tally_new(tally **t)
{
    tally *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return SMX_E_NOMEM;
    (void)pthread_mutex_init(&made->mutex, NULL);
    *t = made;
    return 0;
}

static void entry_free(tally_entry *entry)
{
    if (entry == NULL)
        return;
    smx_counters_free(entry->counters);
    free(entry->listen);
    free(entry);
}

static tally_entry *entry_new(const char *listen)
{
    tally_entry *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return NULL;
    made->listen = strdup(listen);
    if (made->listen == NULL || smx_counters_new(&made->counters) != 0) {
        entry_free(made);
        return NULL;
    }
    return made;
}

smx_counters *tally_find(tally *t, const char *listen)
{
    (void)pthread_mutex_lock(&t->mutex);
    tally_entry *entry = t->first;
    while (entry != NULL && strcmp(entry->listen, listen) != 0)
        entry = entry->next;
    if (entry == NULL) {
        entry = entry_new(listen);
        if (entry != NULL) {
            entry->next = t->first;
            t->first = entry;
        }
    }
    (void)pthread_mutex_unlock(&t->mutex);
    return entry == NULL ? NULL : entry->counters;
}

void tally_free(tally *t)
{
    if (t == NULL)
        return;
    for (tally_entry *entry = t->first; entry != NULL;) {
        tally_entry *next = entry->next;
        entry_free(entry);
        entry = next;
    }
    (void)pthread_mutex_destroy(&t->mutex);
    free(t);
}
