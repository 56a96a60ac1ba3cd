/* Passwords of PLAIN and LOGIN. Clear text is compared at once; what takes milliseconds is compared
 * on a thread of the pool, unless it was right before. The result comes back by the ticket of the
 * AUTH event; a peer that went away is not found. */
#include <stdlib.h>

#include "server/internal.h"
#include "server/replies.h"

/* The thread's, until it is posted back. */
typedef struct password_work {
    server_door *door;
    smx_ticket ticket;
    password_memory *memory;
    smx_slice stored;
    smx_slice given;
    arena texts;
    bool right;
} password_work;

static void password_work_free(password_work *work)
{
    if (work->given.len > 0)
        explicit_bzero((char *)(uintptr_t)work->given.data, work->given.len);
    arena_free(&work->texts);
    door_release(work->door);
    free(work);
}

static void password_decided(peer *p, bool right)
{
    if (right)
        peer_auth_succeed(p);
    else
        peer_auth_fail(p);
}

/* Back on the loop's thread. */
static void password_arrived(void *arg)
{
    password_work *work = arg;
    smx_server *server = door_server(work->door);
    peer *p = server == NULL ? NULL : map_remove_number(&server->checks, work->ticket);
    if (p != NULL) {
        p->exchange->checking = false;
        password_decided(p, work->right);
        peer_advance(p);
    }
    password_work_free(work);
}

static void password_run(void *arg)
{
    password_work *work = arg;
    work->right = password_is_right(work->stored, work->given);
    if (work->right)
        password_memory_add(work->memory, work->stored, work->given);
    if (door_post(work->door, password_arrived, work) != 0)
        password_work_free(work);
}

static password_work *password_work_new(peer *p, smx_slice stored, smx_slice given)
{
    password_work *work = calloc(1, sizeof(*work));
    if (work == NULL)
        return NULL;
    work->door = door_share(p->server->door);
    work->ticket = p->ticket;
    work->memory = p->server->front.shared->passwords;
    if (arena_copy(&work->texts, stored, &work->stored) == 0 &&
        arena_copy(&work->texts, given, &work->given) == 0)
        return work;
    password_work_free(work);
    return NULL;
}

static int password_start(peer *p, smx_slice stored, smx_slice given)
{
    smx_server *server = p->server;
    pool *threads = shared_pool(server->front.shared);
    password_work *work = threads == NULL ? NULL : password_work_new(p, stored, given);
    if (work == NULL)
        return SMX_E_NOMEM;
    int error = map_put_number(&server->checks, p->ticket, p);
    if (error == 0)
        error = pool_submit(threads, password_run, work);
    if (error == 0) {
        p->exchange->checking = true;
        return 0;
    }
    (void)map_remove_number(&server->checks, p->ticket);
    password_work_free(work);
    return error;
}

void peer_password_check(peer *p)
{
    smx_slice given = sasl_server_password(p->exchange->sasl);
    const smx_user *user = server_find_user(p->server, sasl_server_user(p->exchange->sasl));
    smx_slice stored = user == NULL ? (smx_slice){0} : user->secret;
    password_kind kind = password_kind_of(stored);
    if (kind == PASSWORD_NONE || kind == PASSWORD_CLEAR) {
        password_decided(p, password_is_right(stored, given));
    } else if (password_memory_knows(p->server->front.shared->passwords, stored, given)) {
        password_decided(p, true);
    } else if (password_start(p, stored, given) != 0) {
        peer_auth_drop(p);
        peer_answer(p, PEER_REPLY(AUTH_LATER));
    }
}
