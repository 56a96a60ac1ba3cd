/* The way back onto a server's loop for those who may come when the server is gone: the door is
 * counted, and closed by the server at its end. */
#include <stdlib.h>

#include "server/internal.h"

struct server_door {
    _Atomic size_t references;
    pthread_mutex_t mutex;
    smx_server *server; /* NULL: closed */
};

int door_new(smx_server *server, server_door **out)
{
    server_door *door = calloc(1, sizeof(*door));
    if (door == NULL)
        return SMX_E_NOMEM;
    door->references = 1;
    (void)pthread_mutex_init(&door->mutex, NULL);
    door->server = server;
    *out = door;
    return 0;
}

server_door *door_share(server_door *door)
{
    door->references++;
    return door;
}

void door_close(server_door *door)
{
    if (door == NULL)
        return;
    (void)pthread_mutex_lock(&door->mutex);
    door->server = NULL;
    (void)pthread_mutex_unlock(&door->mutex);
    door_release(door);
}

void door_release(server_door *door)
{
    if (--door->references > 0)
        return;
    (void)pthread_mutex_destroy(&door->mutex);
    free(door);
}

smx_server *door_server(const server_door *door)
{
    return door->server;
}

int door_post(server_door *door, smx_loop_fn *fn, void *arg)
{
    (void)pthread_mutex_lock(&door->mutex);
    int error =
        door->server == NULL ? SMX_E_GONE : smx_loop_post(door->server->front.loop, fn, arg);
    (void)pthread_mutex_unlock(&door->mutex);
    return error;
}
