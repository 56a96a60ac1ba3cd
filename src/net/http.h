/* One HTTP request, for OAuth2 tokens and alerts: on libcurl, blocking, so it is made on a thread of a
 * pool and never on a loop's. Redirects are not followed. Proxies are those of the environment
 * (https_proxy, no_proxy ...), but none towards this machine. */
#ifndef NET_HTTP_H
#define NET_HTTP_H

#include <stdatomic.h>

#include "base/buffer.h"
#include "base/problem.h"

/* libcurl's own beginning and end: by main(), before the first thread and behind the last. */
SMX_MUST_USE int http_begin(void);
void http_end(void);

/* An http or https URL. With `secret` http is fine only to this machine. The problem says what was
 * expected, without the URL's user and password. */
SMX_MUST_USE int http_url_check(const char *url, bool secret, problem *p);
/* The URL with its user, password and query as "********", to be shown. */
SMX_MUST_USE int http_url_mask(const char *url, buffer *out);

typedef struct http_request {
    const char *url;
    const char *content_type;
    const char *accept; /* or NULL */
    smx_slice body;     /* POSTed */
    uint32_t timeout_ms;
    size_t answer_max;       /* octets of the answer's body; more is SMX_E_LIMIT */
    const atomic_bool *stop; /* looked at once a second: true ends it with SMX_E_CLOSED; or NULL */
} http_request;

typedef struct http_answer {
    unsigned status; /* 200 ... */
    buffer body;
} http_answer;

/* SMX_E_RESOLVE, _REFUSED, _TIMEOUT, _TLS, _LIMIT, _CLOSED, _NOMEM, _IO: the problem says more. Any
 * answer of the server, whatever its status, is 0. SIGPIPE is blocked in the thread from then on. */
SMX_MUST_USE int http_post(const http_request *request, http_answer *answer, problem *p);
/* Wipes the body, which may hold a token. */
void http_answer_free(http_answer *answer);

#endif
