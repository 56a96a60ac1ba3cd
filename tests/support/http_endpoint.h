/* An HTTP server of one thread, on loopback: takes POSTs one after the other, keeps their bodies, and
 * answers 200 with always the same body; held, only when it is released. */
#ifndef TESTS_SUPPORT_HTTP_ENDPOINT_H
#define TESTS_SUPPORT_HTTP_ENDPOINT_H

#include <stdbool.h>
#include <stddef.h>

typedef struct http_endpoint http_endpoint;

/* `answer` must outlive it. Fails the test if it cannot be made. */
http_endpoint *http_endpoint_new(const char *answer);
/* Releases it and waits for its thread. */
void http_endpoint_free(http_endpoint *e);
const char *http_endpoint_url(const http_endpoint *e);

/* Any thread. While it is held, what is asked waits for its answer. */
void http_endpoint_hold(http_endpoint *e, bool is_held);
/* How many have been asked so far. */
size_t http_endpoint_count(http_endpoint *e);
/* Waits until so many have been asked; fails the test after 20 seconds. */
void http_endpoint_wait(http_endpoint *e, size_t count);
/* The body of the nth, from 0. Lives as the endpoint. */
const char *http_endpoint_body(http_endpoint *e, size_t nth);

#endif
