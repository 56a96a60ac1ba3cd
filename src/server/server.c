/* The server: what its listeners and peers share beside the front.
 *
 * Transactions whose handler has not answered when it is freed are freed with it. */
#include <stdio.h>
#include <stdlib.h>

#include "server/internal.h"

enum {
    AUTH_DELAY_MS = 1000,
    TRIM_MS = 10000, /* messages in stock that nobody needs for so long are freed */
};

/* ---- beginning ---- */

static bool server_options_are_right(const smx_server_options *options)
{
    if (options->version != SMX_SERVER_VERSION || options->handler == NULL)
        return false;
    for (size_t i = 0; i < options->middleware_count; i++)
        if (options->middleware[i]->version != SMX_MIDDLEWARE_VERSION)
            return false;
    return true;
}

static void server_destroy(smx_server *server)
{
    while (server->transactions.first != NULL)
        transaction_free(list_member(server->transactions.first, smx_transaction, node));
    timer_clear(&server->trim);
    message_stock_clear(&server->messages);
    front_clear(&server->front);
    door_close(server->door);
    map_free(&server->checks);
    map_free(&server->waiting);
    (void)pthread_mutex_destroy(&server->mutex);
    free(server);
}

/* A message is done with: what lies in stock is looked at from time to time. */
static void server_watch_stock(smx_server *server)
{
    const front *f = &server->front;
    timer_set(loop_timers(f->loop), &server->trim, loop_now(f->loop) + TRIM_MS);
}

static void server_on_trim(timer_entry *entry)
{
    smx_server *server = list_member(entry, smx_server, trim);
    if (message_stock_trim(&server->messages))
        server_watch_stock(server);
}

void server_stock(smx_server *server, smx_message *message)
{
    message_stock_give(&server->messages, message);
    if (message != NULL && server->trim.node.owner == NULL)
        server_watch_stock(server);
}

static void server_is_left(front *f)
{
    server_destroy(list_member(f, smx_server, front));
}

static bool server_is_awaited(const front *f)
{
    return list_member(f, const smx_server, front)->transactions.count > 0;
}

static const front_owner server_owner = {
    .enter = peer_new,
    .shut_down = peer_shut_down,
    .dismiss = peer_dismiss,
    .cut = peer_cut_guest,
    .is_awaited = server_is_awaited,
    .destroy = server_is_left,
};

int smx_server_new(smx_loop *loop, const smx_server_options *options, smx_server **out)
{
    if (!server_options_are_right(options))
        return SMX_E_INVALID;
    smx_server *server = calloc(1, sizeof(*server));
    if (server == NULL)
        return SMX_E_NOMEM;
    const front_options common = {
        .hostname = options->hostname,
        .hooks = options->hooks,
        .hook_count = options->hook_count,
        .shared = options->shared,
        .log = options->log,
        .log_arg = options->log_arg,
    };
    server->options = *options;
    server->trim.fn = server_on_trim;
    server->auth_delay_ms = AUTH_DELAY_MS;
    (void)pthread_mutex_init(&server->mutex, NULL);
    (void)snprintf(server->banner, sizeof(server->banner), "ESMTP %s",
                   options->product == NULL ? "smtpmux" : options->product);
    int error = front_init(&server->front, loop, &server_owner, &common);
    if (error == 0)
        error = door_new(server, &server->door);
    if (error != 0) {
        server_destroy(server);
        return error;
    }
    *out = server;
    return 0;
}

/* ---- while it serves ---- */

const smx_user *server_find_user(const smx_server *server, smx_slice name)
{
    const smx_server_options *options = &server->options;
    return options->find_user == NULL ? NULL : options->find_user(options->find_user_arg, name);
}

void smx_server_get_counters(const smx_server *server, smx_server_counters *counters)
{
    smx_counters_read(&server->front.counters, counters);
}

/* ---- the end ---- */

void smx_server_retire(smx_server *server, void (*done)(void *arg), void *arg)
{
    front_retire(&server->front, done, arg);
}

void smx_server_dismiss(smx_server *server)
{
    front_dismiss(&server->front);
}

void smx_server_shutdown(smx_server *server, uint32_t timeout_ms, void (*done)(void *arg),
                         void *arg)
{
    front_shutdown(&server->front, timeout_ms, done, arg);
}

void smx_server_free(smx_server *server)
{
    if (server != NULL)
        front_free(&server->front);
}
