/* A loop owns libuv's handles for posts and for the turn's end, the wheel, the resolver, the shared
 * buffers and the blocks that nobody uses. Connections and listeners are their owners': the loop
 * only knows them as residents, to send them away when it is freed.
 */
#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <uv.h>

#include <openssl/bio.h>

#include "base/slice.h"
#include "net/loop_internal.h"
#include "net/resolver.h"

enum {
    LOOP_TICKET_STEP = 1024,   /* loops whose tickets interleave */
    LOOP_GENERATION_BITS = 44, /* of a ticket: tickets that 1024 loops have before the next 1024 */
    LOOP_FREE_BLOCKS = 64,     /* blocks of a size that stay for reuse: 4 MiB of large ones */
    LOOP_TURN_ROUNDS = 8,      /* work of the turn's end may add work this often before I/O again */
};

/* Free blocks of one size, linked through their first octets. */
typedef struct loop_free_list {
    void *first;
    size_t count;
    size_t taken;
} loop_free_list;

typedef struct loop_post {
    struct loop_post *next;
    smx_loop_fn *fn;
    void *arg;
} loop_post;

struct smx_loop {
    uv_loop_t *uv;
    uv_async_t wake;
    uv_prepare_t prepare;
    uv_check_t check;
    size_t handles; /* open ones that loop_hold counted, those above among them */

    pthread_mutex_t post_mutex; /* guards the posts: */
    loop_post *first_post;
    loop_post *last_post;
    atomic_bool stopping;
    _Atomic pthread_t thread; /* that runs the loop, once has_thread */
    atomic_bool has_thread;
    loop_turn_end own_posts; /* runs posts of this thread without waking it */

    timer_wheel *wheel;
    struct resolver *resolver; /* made at its first use */
    list turn_end;
    list residents;
    list leaving; /* residents that were told to go */
    uint64_t ticket;
    loop_free_list large;
    loop_free_list small;
    struct bio_method_st *bio_method;
    uv_loop_t own; /* used if the caller gave none */
    char read_buffer[LOOP_BLOCK];
    char plain_buffer[LOOP_BLOCK];
};

/* The first ticket of a loop. Loops take turns in the low digits (LOOP_TICKET_STEP); when these are
 * used up, later loops start far above. The counter is the only thing that loops share: tickets are
 * unique in the process. */
static uint64_t loop_first_ticket(void)
{
    static atomic_uint_fast64_t loops = 1;
    uint64_t number = atomic_fetch_add(&loops, 1);
    return number % LOOP_TICKET_STEP + ((number / LOOP_TICKET_STEP) << LOOP_GENERATION_BITS);
}

/* ---- what is run at the end of a turn ---- */

void loop_at_turn_end(smx_loop *loop, loop_turn_end *work)
{
    if (work->node.owner == NULL)
        list_append(&loop->turn_end, &work->node);
}

void loop_cancel_turn_end(loop_turn_end *work)
{
    list_remove(&work->node);
}

/* Work may add work; what is still added after some rounds waits for a turn that comes at once. */
static void loop_run_turn_end(smx_loop *loop)
{
    for (int round = 0; round < LOOP_TURN_ROUNDS && loop->turn_end.count > 0; round++) {
        for (size_t left = loop->turn_end.count; left > 0; left--) {
            list_node *node = list_take_first(&loop->turn_end);
            if (node == NULL)
                break;
            loop_turn_end *work = list_member(node, loop_turn_end, node);
            work->fn(work);
        }
    }
    if (loop->turn_end.count > 0)
        (void)uv_async_send(&loop->wake);
}

static void loop_on_check(uv_check_t *check)
{
    loop_run_turn_end(check->data);
}

bool loop_is_own_thread(smx_loop *loop)
{
    return atomic_load(&loop->has_thread) &&
           pthread_equal(atomic_load(&loop->thread), pthread_self()) != 0;
}

/* libuv writes without MSG_NOSIGNAL: a peer that went away must not end the program. Only this
 * thread is touched, and this is the first code that runs on it. */
static void loop_enter_thread(smx_loop *loop)
{
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGPIPE);
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
    atomic_store(&loop->thread, pthread_self());
    atomic_store(&loop->has_thread, true);
}

static void loop_on_prepare(uv_prepare_t *prepare)
{
    smx_loop *loop = prepare->data;
    if (!loop_is_own_thread(loop))
        loop_enter_thread(loop);
    loop_run_turn_end(loop);
}

/* ---- posts ---- */

int smx_loop_post(smx_loop *loop, smx_loop_fn *fn, void *arg)
{
    loop_post *post = malloc(sizeof(*post));
    if (post == NULL)
        return SMX_E_NOMEM;
    *post = (loop_post){.fn = fn, .arg = arg};
    (void)pthread_mutex_lock(&loop->post_mutex);
    if (loop->last_post == NULL)
        loop->first_post = post;
    else
        loop->last_post->next = post;
    loop->last_post = post;
    (void)pthread_mutex_unlock(&loop->post_mutex);
    if (loop_is_own_thread(loop))
        loop_at_turn_end(loop, &loop->own_posts);
    else
        (void)uv_async_send(&loop->wake);
    return 0;
}

static loop_post *loop_take_posts(smx_loop *loop)
{
    (void)pthread_mutex_lock(&loop->post_mutex);
    loop_post *first = loop->first_post;
    loop->first_post = NULL;
    loop->last_post = NULL;
    (void)pthread_mutex_unlock(&loop->post_mutex);
    return first;
}

static void loop_run_posts(smx_loop *loop)
{
    loop_post *post = loop_take_posts(loop);
    while (post != NULL) {
        loop_post *next = post->next;
        post->fn(post->arg);
        free(post);
        post = next;
    }
}

static void loop_on_own_posts(loop_turn_end *self)
{
    loop_run_posts(list_member(self, smx_loop, own_posts));
}

static void loop_on_wake(uv_async_t *wake)
{
    smx_loop *loop = wake->data;
    loop_run_posts(loop);
    if (atomic_exchange(&loop->stopping, false))
        uv_stop(loop->uv);
}

/* ---- blocks ---- */

static char *loop_take(loop_free_list *l, size_t size)
{
    char *block = l->first;
    if (block != NULL) {
        memcpy(&l->first, block, sizeof(l->first));
        l->count--;
    } else {
        block = malloc(size);
    }
    if (block != NULL)
        l->taken++;
    return block;
}

static void loop_give(loop_free_list *l, char *block)
{
    if (block == NULL)
        return;
    l->taken--;
    if (l->count >= LOOP_FREE_BLOCKS) {
        free(block);
        return;
    }
    memcpy(block, &l->first, sizeof(l->first));
    l->first = block;
    l->count++;
}

static void loop_free_blocks(loop_free_list *l)
{
    while (l->first != NULL) {
        char *block = l->first;
        memcpy(&l->first, block, sizeof(l->first));
        free(block);
    }
}

char *loop_block_take(smx_loop *loop)
{
    return loop_take(&loop->large, LOOP_BLOCK);
}

void loop_block_give(smx_loop *loop, char *block)
{
    loop_give(&loop->large, block);
}

char *loop_small_take(smx_loop *loop)
{
    return loop_take(&loop->small, LOOP_SMALL_BLOCK);
}

void loop_small_give(smx_loop *loop, char *block)
{
    loop_give(&loop->small, block);
}

size_t loop_blocks_taken(const smx_loop *loop)
{
    return loop->large.taken + loop->small.taken;
}

/* ---- who lives here ---- */

void loop_enter(smx_loop *loop, loop_resident *resident)
{
    list_append(&loop->residents, &resident->node);
}

void loop_leave(loop_resident *resident)
{
    list_remove(&resident->node);
}

void loop_hold(smx_loop *loop)
{
    loop->handles++;
}

void loop_release(smx_loop *loop)
{
    assert(loop->handles > 0);
    loop->handles--;
}

/* ---- what it tells ---- */

uint64_t loop_now(const smx_loop *loop)
{
    return uv_now(loop->uv);
}

timer_wheel *loop_timers(smx_loop *loop)
{
    return loop->wheel;
}

struct resolver *loop_resolver(smx_loop *loop)
{
    if (loop->resolver == NULL && resolver_new(loop, &loop->resolver) != 0)
        return NULL;
    return loop->resolver;
}

uint64_t *loop_tickets(smx_loop *loop)
{
    return &loop->ticket;
}

uint64_t loop_ticket_step(void)
{
    return LOOP_TICKET_STEP;
}

smx_ticket loop_next_ticket(smx_loop *loop)
{
    loop->ticket += LOOP_TICKET_STEP;
    return loop->ticket;
}

char *loop_read_buffer(smx_loop *loop)
{
    return loop->read_buffer;
}

char *loop_plain_buffer(smx_loop *loop)
{
    return loop->plain_buffer;
}

struct bio_method_st **loop_bio_method(smx_loop *loop)
{
    return &loop->bio_method;
}

struct uv_loop_s *smx_loop_uv(smx_loop *loop)
{
    return loop->uv;
}

/* ---- beginning and end ---- */

void smx_loop_run(smx_loop *loop)
{
    assert(loop->uv == &loop->own);
    (void)uv_run(loop->uv, UV_RUN_DEFAULT);
}

void smx_loop_stop(smx_loop *loop)
{
    atomic_store(&loop->stopping, true);
    (void)uv_async_send(&loop->wake);
}

static void loop_on_handle_closed(uv_handle_t *handle)
{
    loop_release(handle->data);
}

static void loop_close_handle(smx_loop *loop, uv_handle_t *handle)
{
    handle->data = loop;
    loop_hold(loop);
    uv_close(handle, loop_on_handle_closed);
}

static void loop_send_residents_away(smx_loop *loop)
{
    while (loop->residents.first != NULL) {
        list_node *node = loop->residents.first;
        loop_resident *resident = list_member(node, loop_resident, node);
        list_move(&loop->leaving, node);
        resident->leave(resident);
    }
}

void smx_loop_free(smx_loop *loop)
{
    if (loop == NULL)
        return;
    loop_run_posts(loop);
    while (loop->residents.count + loop->leaving.count > 0) {
        loop_send_residents_away(loop);
        (void)uv_run(loop->uv, UV_RUN_NOWAIT);
    }
    loop_run_posts(loop);
    resolver_free(loop->resolver);
    timer_wheel_free(loop->wheel);
    loop_close_handle(loop, (uv_handle_t *)&loop->wake);
    loop_close_handle(loop, (uv_handle_t *)&loop->prepare);
    loop_close_handle(loop, (uv_handle_t *)&loop->check);
    while (loop->handles > 0)
        (void)uv_run(loop->uv, UV_RUN_ONCE);
    loop_free_blocks(&loop->large);
    loop_free_blocks(&loop->small);
    BIO_meth_free(loop->bio_method);
    (void)pthread_mutex_destroy(&loop->post_mutex);
    if (loop->uv == &loop->own)
        (void)uv_loop_close(&loop->own);
    free(loop);
}

/* Prepare and check cannot fail, and they alone do not keep the loop running. */
static int loop_open_handles(smx_loop *loop)
{
    if (uv_async_init(loop->uv, &loop->wake, loop_on_wake) != 0)
        return SMX_E_IO;
    (void)uv_prepare_init(loop->uv, &loop->prepare);
    (void)uv_check_init(loop->uv, &loop->check);
    loop->wake.data = loop;
    loop->prepare.data = loop;
    loop->check.data = loop;
    (void)uv_prepare_start(&loop->prepare, loop_on_prepare);
    (void)uv_check_start(&loop->check, loop_on_check);
    uv_unref((uv_handle_t *)&loop->prepare);
    uv_unref((uv_handle_t *)&loop->check);
    return 0;
}

int smx_loop_new(struct uv_loop_s *uv, smx_loop **loop)
{
    smx_loop *new = calloc(1, sizeof(*new));
    if (new == NULL)
        return SMX_E_NOMEM;
    new->ticket = loop_first_ticket();
    new->uv = uv;
    new->own_posts.fn = loop_on_own_posts;
    int error = SMX_E_IO;
    if (uv == NULL) {
        new->uv = &new->own;
        if (uv_loop_init(&new->own) != 0)
            goto fail_loop;
    }
    if (pthread_mutex_init(&new->post_mutex, NULL) != 0)
        goto fail_mutex;
    error = loop_open_handles(new);
    if (error != 0)
        goto fail_handles;
    error = timer_wheel_new(new, &new->wheel);
    if (error != 0) {
        smx_loop_free(new);
        return error;
    }
    *loop = new;
    return 0;
fail_handles:
    (void)pthread_mutex_destroy(&new->post_mutex);
fail_mutex:
    if (new->uv == &new->own)
        (void)uv_loop_close(&new->own);
fail_loop:
    free(new);
    return error;
}
