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
#include "smx/proxy.h"

/* The door for operators. */
typedef struct config_admin {
    const char *listen; /* NULL: not given */
    const char *token;
    const char *const *hosts;
    size_t host_count;
} config_admin;

typedef enum config_mode { CONFIG_MUX, CONFIG_PROXY, CONFIG_MODES } config_mode;

/* Sessions whose transcript is kept. Neither list: all. */
typedef struct config_capture {
    const char *dir; /* NULL: none are */
    const smx_network *clients;
    size_t client_count;
    const smx_slice *senders; /* globs */
    size_t sender_count;
} config_capture;

/* The host that stands for where the client wanted to go. */
#define CONFIG_ORIGINAL_DESTINATION "original-dst"

typedef struct config_listener {
    smx_listener_options smtp; /* first: what both modes have */
    config_mode mode;
    /* These are of the mode proxy. */
    upstream_options upstream; /* `final_timeout_ms` is for any reply */
    smx_proxy_address client_address;
    const smx_slice *extensions; /* keywords */
    size_t extension_count;
    const char *audit; /* a file, or "stdout"; NULL: none */
    config_capture capture;
    bool trace; /* transcripts of all sessions to standard output: the command line's alone */
} config_listener;

enum { CONFIG_DIGEST_TEXT = 65 }; /* SHA-256 in hexadecimal, and a NUL */

typedef struct config {
    const char *hostname;
    uint32_t workers; /* 0 in the file: one per core; here at least 1 */
    config_listener *listeners;
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

/* "starttls" */
const char *config_tls_text(smx_listener_tls tls);
/* True when some listener is of this mode. */
bool config_has_mode(const config *c, config_mode mode);

/* What the multiplexer takes: slices of the snapshot. */
mux_options config_mux_options(const config *c);

/* The effective file as YAML, defaults written out and secrets masked. */
SMX_MUST_USE int config_print(const config *c, buffer *out);

#endif
