/* Pages are never removed: an address that is taken away and comes back counts on. */
#include "app/counter_book.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/list.h"
#include "base/slice.h"

typedef struct counter_page {
    list_node node;
    char *listen;
    smx_counters *counters;
} counter_page;

struct counter_book {
    pthread_mutex_t mutex; /* guards the list */
    list pages;
};

int counter_book_new(counter_book **out)
{
    counter_book *book = calloc(1, sizeof(*book));
    if (book == NULL)
        return SMX_E_NOMEM;
    (void)pthread_mutex_init(&book->mutex, NULL);
    *out = book;
    return 0;
}

static void page_free(counter_page *page)
{
    smx_counters_free(page->counters);
    free(page->listen);
    free(page);
}

void counter_book_free(counter_book *book)
{
    if (book == NULL)
        return;
    for (list_node *at = book->pages.first, *next; at != NULL; at = next) {
        next = at->next;
        page_free(list_member(at, counter_page, node));
    }
    (void)pthread_mutex_destroy(&book->mutex);
    free(book);
}

static smx_counters *book_find(const counter_book *book, const char *listen)
{
    for (const list_node *n = book->pages.first; n != NULL; n = n->next) {
        const counter_page *page = list_member(n, counter_page, node);
        if (strcmp(page->listen, listen) == 0)
            return page->counters;
    }
    return NULL;
}

static smx_counters *book_add(counter_book *book, const char *listen)
{
    counter_page *page = calloc(1, sizeof(*page));
    if (page == NULL)
        return NULL;
    page->listen = slice_to_text(slice_of_text(listen));
    if (page->listen == NULL || smx_counters_new(&page->counters) != 0) {
        page_free(page);
        return NULL;
    }
    list_append(&book->pages, &page->node);
    return page->counters;
}

smx_counters *counter_book_page(counter_book *book, const char *listen)
{
    (void)pthread_mutex_lock(&book->mutex);
    smx_counters *counters = book_find(book, listen);
    if (counters == NULL)
        counters = book_add(book, listen);
    (void)pthread_mutex_unlock(&book->mutex);
    return counters;
}

void counter_book_read(counter_book *book, const char *listen, smx_server_counters *read)
{
    *read = (smx_server_counters){0};
    (void)pthread_mutex_lock(&book->mutex);
    const smx_counters *counters = book_find(book, listen);
    (void)pthread_mutex_unlock(&book->mutex);
    if (counters != NULL)
        smx_counters_read(counters, read);
}

void counter_book_sum(counter_book *book, smx_server_counters *sum)
{
    *sum = (smx_server_counters){0};
    (void)pthread_mutex_lock(&book->mutex);
    for (const list_node *n = book->pages.first; n != NULL; n = n->next) {
        smx_server_counters own;
        smx_counters_read(list_member(n, counter_page, node)->counters, &own);
#define BOOK_SUM(name, text) sum->name += own.name;
        SMX_SERVER_COUNTER_MAP(BOOK_SUM)
#undef BOOK_SUM
        sum->sessions += own.sessions;
    }
    (void)pthread_mutex_unlock(&book->mutex);
}
