/* The server: what all its listeners and peers share, its counters, its end.
 *
 * It is freed when its last peer is: a peer is freed by its connection in a later turn of the loop.
 * Transactions whose handler has not answered by then are freed with it. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#include "server/internal.h"

enum { AUTH_DELAY_MS = 1000 };

/* ---- what the hook runner needs ---- */

static smx_ticket host_next_ticket(void *arg)
{
    const smx_server *server = arg;
    return loop_next_ticket(server->loop);
}

static int host_post(void *arg, void (*fn)(void *arg), void *fn_arg)
{
    const smx_server *server = arg;
    return smx_loop_post(server->loop, fn, fn_arg);
}

static uint64_t host_now(void *arg)
{
    const smx_server *server = arg;
    return loop_now(server->loop);
}

static pool *host_threads(void *arg)
{
    const smx_server *server = arg;
    return shared_pool(server->shared);
}

static void host_log(void *arg, const char *hook, smx_hook_phase phase, const char *what)
{
    const smx_log_field fields[] = {
        {"hook", slice_of_text(hook)},
        {"phase", slice_of_text(smx_hook_phase_text(phase))},
        {"error", slice_of_text(what)},
    };
    server_log(arg, SMX_LOG_WARN, "hook_failed", NULL, fields, 3);
}

/* ---- beginning ---- */

/* The host's name and the banner. */
static void server_name(smx_server *server)
{
    const smx_server_options *options = &server->options;
    if (options->hostname != NULL)
        (void)snprintf(server->hostname, sizeof(server->hostname), "%s", options->hostname);
    else if (gethostname(server->hostname, sizeof(server->hostname) - 1) != 0)
        (void)snprintf(server->hostname, sizeof(server->hostname), "localhost");
    (void)snprintf(server->banner, sizeof(server->banner), "ESMTP %s",
                   options->product == NULL ? "smtpmux" : options->product);
    if (getrandom(&server->id_salt, sizeof(server->id_salt), 0) < 0)
        server->id_salt = (uint32_t)getpid();
}

static int server_open_hooks(smx_server *server)
{
    const hook_host host = {
        .arg = server,
        .next_ticket = host_next_ticket,
        .post = host_post,
        .now = host_now,
        .threads = host_threads,
        .log = host_log,
    };
    if (server->options.hook_count == 0)
        return 0;
    return hooks_new(server->options.hooks, server->options.hook_count, &host, &server->hooks);
}

static int server_open_shared(smx_server *server)
{
    if (server->options.shared != NULL) {
        server->shared = server->options.shared;
        return 0;
    }
    server->owns_shared = true;
    return smx_shared_new(NULL, &server->shared);
}

static bool server_options_are_right(const smx_server_options *options)
{
    if (options->version != SMX_SERVER_VERSION || options->handler == NULL)
        return false;
    for (size_t i = 0; i < options->middleware_count; i++)
        if (options->middleware[i]->version != SMX_MIDDLEWARE_VERSION)
            return false;
    return true;
}

static void server_destroy(smx_server *server);

static void server_on_deadline(timer_entry *entry);

int smx_server_new(smx_loop *loop, const smx_server_options *options, smx_server **out)
{
    if (!server_options_are_right(options))
        return SMX_E_INVALID;
    smx_server *server = calloc(1, sizeof(*server));
    if (server == NULL)
        return SMX_E_NOMEM;
    server->loop = loop;
    server->options = *options;
    server->auth_delay_ms = AUTH_DELAY_MS;
    server->deadline.fn = server_on_deadline;
    (void)pthread_mutex_init(&server->mutex, NULL);
    server_name(server);
    int error = door_new(server, &server->door);
    if (error == 0)
        error = server_open_shared(server);
    if (error == 0)
        error = server_open_hooks(server);
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

void server_log(const smx_server *server, smx_log_level level, const char *event, const peer *p,
                const smx_log_field *fields, size_t count)
{
    enum { FIELDS = 8 };
    char text[SMX_ADDRESS_TEXT];
    smx_log_field all[FIELDS];
    size_t n = 0;
    if (server->options.log == NULL)
        return;
    if (p != NULL)
        all[n++] = (smx_log_field){"client", smx_address_write(&p->view.client, text)};
    for (size_t i = 0; i < count && n < FIELDS; i++)
        all[n++] = fields[i];
    server->options.log(server->options.log_arg, level, event, p == NULL ? 0 : p->view.id, all, n);
}

void smx_server_get_counters(const smx_server *server, smx_server_counters *counters)
{
    smx_counters_read(&server->counters, counters);
}

/* ---- the end ---- */

static void server_free_listeners(smx_server *server)
{
    for (size_t i = 0; i < server->listener_count; i++)
        server_listener_free(server->listeners[i]);
    free(server->listeners);
    server->listeners = NULL;
    server->listener_count = 0;
}

/* The lists are empty of peers. */
static void server_destroy(smx_server *server)
{
    timer_clear(&server->deadline);
    while (server->transactions.first != NULL)
        transaction_free(list_member(server->transactions.first, smx_transaction, node));
    server_free_listeners(server);
    hooks_free(server->hooks);
    door_close(server->door);
    if (server->owns_shared)
        smx_shared_free(server->shared);
    map_free(&server->checks);
    map_free(&server->waiting);
    (void)pthread_mutex_destroy(&server->mutex);
    free(server);
}

static bool server_has_peers(const smx_server *server)
{
    return server->open.count + server->closing.count > 0;
}

void server_left(smx_server *server)
{
    if (server_has_peers(server))
        return;
    if (server->freed) {
        server_destroy(server);
        return;
    }
    if (!server->stopping || server->done == NULL ||
        (server->transactions.count > 0 && !server->overdue))
        return;
    void (*done)(void *arg) = server->done;
    server->done = NULL;
    timer_clear(&server->deadline);
    done(server->done_arg);
}

static void server_cut_list(list *peers)
{
    list_node *next;
    for (list_node *node = peers->first; node != NULL; node = next) {
        next = node->next;
        peer_cut(list_member(node, peer, node));
    }
}

static void server_cut(smx_server *server)
{
    server_cut_list(&server->closing);
    server_cut_list(&server->open);
}

static void server_on_deadline(timer_entry *entry)
{
    smx_server *server = list_member(entry, smx_server, deadline);
    server->overdue = true;
    server_cut(server);
    server_left(server);
}

static void server_stop_listening(smx_server *server, void (*stop)(listener *l))
{
    for (size_t i = 0; i < server->listener_count; i++) {
        stop(server->listeners[i]->socket);
        server->listeners[i]->socket = NULL;
    }
}

void smx_server_retire(smx_server *server, void (*done)(void *arg), void *arg)
{
    server->stopping = true;
    server->done = done;
    server->done_arg = arg;
    server_stop_listening(server, listener_retire);
    server_left(server);
}

void smx_server_dismiss(smx_server *server)
{
    list_node *next;
    server->dismissed = true;
    for (list_node *node = server->open.first; node != NULL; node = next) {
        next = node->next;
        peer_dismiss(list_member(node, peer, node));
    }
}

void smx_server_shutdown(smx_server *server, uint32_t timeout_ms, void (*done)(void *arg),
                         void *arg)
{
    list_node *next;
    server->stopping = true;
    server->done = done;
    server->done_arg = arg;
    server_stop_listening(server, listener_free);
    timer_set(loop_timers(server->loop), &server->deadline, loop_now(server->loop) + timeout_ms);
    for (list_node *node = server->open.first; node != NULL; node = next) {
        next = node->next;
        peer_shutdown(list_member(node, peer, node));
    }
    server_left(server);
}

void smx_server_free(smx_server *server)
{
    if (server == NULL)
        return;
    server->freed = true;
    timer_clear(&server->deadline);
    server_stop_listening(server, listener_free);
    server_cut(server);
    server_left(server);
}
