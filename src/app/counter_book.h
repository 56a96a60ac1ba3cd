/* The counts of listeners, by their address as configured, over all workers and generations: what a
 * server counted stays when it is gone. Any thread. */
#ifndef APP_COUNTER_BOOK_H
#define APP_COUNTER_BOOK_H

#include "smx/server.h"

typedef struct counter_book counter_book;

/* SMX_E_NOMEM. */
SMX_MUST_USE int counter_book_new(counter_book **book);
/* Behind the servers that count in it. NULL is nothing. */
void counter_book_free(counter_book *book);
/* The page of this address, made if it is new; lives as the book. NULL when out of memory. */
smx_counters *counter_book_page(counter_book *book, const char *listen);
/* What was counted for this address; all 0 if it is not known. */
void counter_book_read(counter_book *book, const char *listen, smx_server_counters *read);
void counter_book_sum(counter_book *book, smx_server_counters *sum);

#endif
