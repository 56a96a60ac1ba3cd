/* Access tokens of OAuth2 (RFC 6749) for an upstream: one is kept for all workers, and fetched anew
 * before it expires, one request at a time. Fetching is done on a thread of its own.
 *
 * A refresh token that the endpoint replaces is used from then on, as long as the process lives. */
#ifndef UPSTREAM_OAUTH2_H
#define UPSTREAM_OAUTH2_H

#include "base/list.h"
#include "base/problem.h"
#include "smx/loop.h"

typedef enum oauth2_grant { OAUTH2_REFRESH_TOKEN, OAUTH2_CLIENT_CREDENTIALS } oauth2_grant;

typedef struct oauth2_options {
    const char *token_url; /* NULL: no OAuth2 */
    const char *client_id;
    const char *client_secret; /* or NULL: a public client */
    const char *refresh_token; /* of that grant */
    const char *scope;         /* or NULL */
    oauth2_grant grant;
} oauth2_options;

bool oauth2_options_equal(const oauth2_options *a, const oauth2_options *b);

typedef struct oauth2 oauth2;

/* Copies the options. `name` is the upstream's, for the log, whose function is called on the fetching
 * thread. One share. */
SMX_MUST_USE int oauth2_new(const oauth2_options *options, const char *name, smx_log_fn *log,
                            void *log_arg, oauth2 **o);
/* One share more; one share less: the last one ends a request under way, within a second. */
oauth2 *oauth2_share(oauth2 *o);
void oauth2_free(oauth2 *o);
/* Whether it was made of such options. */
bool oauth2_is_of(const oauth2 *o, const oauth2_options *options);

typedef enum oauth2_state {
    OAUTH2_TOKEN,       /* here it is */
    OAUTH2_LATER,       /* being fetched: `told` will be posted; ask again then */
    OAUTH2_REFUSED,     /* the endpoint does not take our credentials: an operator has to look */
    OAUTH2_UNAVAILABLE, /* it cannot be asked now */
} oauth2_state;

/* Embedded in whoever waits. */
typedef struct oauth2_waiter {
    list_node node;
    smx_loop *loop;
    smx_loop_fn *told; /* posted to `loop` with `arg` */
    void *arg;
} oauth2_waiter;

enum { OAUTH2_REASON = 256 };

typedef struct oauth2_answer {
    char *token; /* of OAUTH2_TOKEN: the caller's, to be given to oauth2_token_free */
    uint64_t serial;
    char reason[OAUTH2_REASON]; /* of REFUSED and UNAVAILABLE: a sentence without secrets */
} oauth2_answer;

/* Any thread; `now` is of the monotonic clock. A token that is still good is given at once, even while
 * the next one is being fetched. Behind a failure the endpoint is left alone for a while (1 s, doubling
 * to 60 s), in which the failure is told again. */
SMX_MUST_USE oauth2_state oauth2_take(oauth2 *o, uint64_t now, oauth2_waiter *waiter,
                                      oauth2_answer *answer);
/* Ends the waiting. True: `told` is under way and must be lived to see. */
SMX_MUST_USE bool oauth2_cancel(oauth2 *o, oauth2_waiter *waiter);
/* The upstream refused the token of this serial number: it is not given any more. */
void oauth2_reject(oauth2 *o, uint64_t serial);

/* Wipes and frees. */
void oauth2_token_free(char *token);

#endif
