/* What verbs ask a running daemon by: its admin socket, found by the configuration. */
#ifndef APP_ADMIN_CLIENT_H
#define APP_ADMIN_CLIENT_H

#include "app/config_file.h"

typedef struct admin_client admin_client;

/* `listen` ("unix:/path" or "host:port") NULL: what the configuration of `path` (NULL: the usual
 * places) says. An exit code; what is not EX_OK was told on standard error. */
SMX_MUST_USE int admin_client_open(const char *path, const char *listen, admin_client **client);

/* One request; `name` (or NULL) stands for the `?` of the path. `body` (or NULL: a GET) is a JSON
 * object, taken over. EX_OK, and *answer is the caller's; other codes were told on standard error,
 * with what the daemon said, and *answer is what it said as JSON, or NULL. */
SMX_MUST_USE int admin_client_ask(admin_client *client, const char *path, const char *name,
                                  json_t *body, json_t **answer);

void admin_client_free(admin_client *client);

/* JSON on standard output; an exit code. */
int admin_client_print(const json_t *answer);

/* GET of lines that go on, each told as it comes; `pairs` are keys and values of the query in turn, NULL
 * behind the last; a NULL value is left out. EX_OK: the daemon ended them. */
SMX_MUST_USE int admin_client_follow(admin_client *client, const char *path,
                                     const char *const *pairs,
                                     void (*line)(void *arg, smx_slice line), void *arg);

#endif
