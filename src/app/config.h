/* The configuration: an immutable snapshot that everyone who uses it holds a share of.
 *
 * It fills the options of the modules that it configures (listeners, upstreams, users) and keeps
 * every string that they point to in an arena of its own.
 */
#ifndef APP_CONFIG_H
#define APP_CONFIG_H

#include <stdatomic.h>

#include "app/log.h"
#include "app/problems.h"
#include "mux/mux.h"

/* The door for operators. */
typedef struct config_admin {
    const char *listen; /* NULL: not given */
    const char *token;
    const char *const *hosts;
    size_t host_count;
} config_admin;

enum { CONFIG_DIGEST_TEXT = 65 }; /* SHA-256 in hexadecimal, and a NUL */

typedef struct config {
    const char *hostname;
    uint32_t workers; /* 0 in the file: one per core; here at least 1 */
    smx_listener_options *listeners;
    size_t listener_count;
    upstream_options *upstreams;
    size_t upstream_count;
    mux_user_options *users; /* mux_new fills `user.data` */
    size_t user_count;
    mux_route_options *routes;
    size_t route_count;
    uint64_t memory_limit; /* 0: none */
    const char *store;     /* its URL */
    const char *temp_dir;  /* NULL: TMPDIR, or /tmp */
    const char *alerts;    /* the URL that is told of suspensions and breakers, or NULL */
    uint32_t threads;
    uint32_t drain_timeout_ms;
    log_options log;
    config_admin admin;
    bool is_go_form;                 /* the Go program's file, with its defaults */
    const char *file;                /* that it was read from */
    char digest[CONFIG_DIGEST_TEXT]; /* of its text */

    /* config.c's */
    arena memory;
    _Atomic unsigned shares;
} config;

/* Reads `told->text`, the contents of `told->file` (set both before). All that is wrong is listed,
 * sorted by position. SMX_E_SYNTAX: the list has errors. Without one, `*c` has one share. */
SMX_MUST_USE int config_load(problems *told, config **c);
/* The same of its key `admin` alone, for who only asks the daemon: what else is wrong with the file, or
 * missing in this environment, is not told. Of the snapshot, `admin`, `file` and `digest` are filled. */
SMX_MUST_USE int config_load_door(problems *told, config **c);

/* Reads a file whole into a new buffer; the problem says what failed. */
SMX_MUST_USE int config_read_file(const char *path, buffer *text, problem *p);

/* The digest of a text; "" when it cannot be had. */
void config_digest(smx_slice text, char digest[static CONFIG_DIGEST_TEXT]);

/* One share more; any thread. */
config *config_share(config *c);
/* One share less; the last one wipes and frees. NULL is nothing. Any thread. */
void config_free(config *c);

/* What the multiplexer takes: slices of the snapshot. */
mux_options config_mux_options(const config *c);

/* The effective file as YAML, defaults written out and secrets masked. */
SMX_MUST_USE int config_print(const config *c, buffer *out);

#endif
