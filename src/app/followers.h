/* Those who follow live sessions through the admin: each has a bounded buffer of lines. A slow one
 * loses lines, and is told how many; it never holds up mail. */
#ifndef APP_FOLLOWERS_H
#define APP_FOLLOWERS_H

#include "base/problem.h"
#include "smx/proxy.h"

typedef struct followers followers;
typedef struct follower follower;

enum { FOLLOWERS_MAX = 16, FOLLOWER_OCTETS = 256 << 10 };

typedef struct follower_options {
    const char *client;   /* a network, or NULL: any */
    const char *from;     /* a glob on the sender, or NULL */
    const char *listener; /* a glob on its address as configured, or NULL */
    /* There is something to read, where there was nothing. Any thread; not from within
     * follower_read. */
    void (*wake)(void *arg);
    void *arg;
} follower_options;

SMX_MUST_USE int followers_new(followers **out);
/* After the last follower is gone. NULL is nothing. */
void followers_free(followers *all);

/* SMX_E_INVALID: `client` is no network. SMX_E_LIMIT: there are enough. Any thread. */
SMX_MUST_USE int followers_add(followers *all, const follower_options *options, follower **out,
                               problem *p);
void follower_free(follower *f);
/* Takes up to `capacity` octets of lines of JSON; 0: nothing now. Any thread. */
size_t follower_read(follower *f, char *octets, size_t capacity);

/* There are some; some want only certain senders. Any thread, cheap. */
bool followers_any(const followers *all);
bool followers_want_senders(const followers *all);

/* A line for all that want it. `from`: the session's latest sender, data NULL if there was none yet.
 * Any thread. */
void followers_tell(followers *all, const smx_proxy_line *line, smx_slice from);
/* A line that stood before the session's sender changed from `before` to `from`: for those alone whom
 * that brought to follow it. */
void followers_tell_late(followers *all, const smx_proxy_line *line, smx_slice before,
                         smx_slice from);

#endif
