/* A worker owns its loop, pools and servings. They are made on the caller's thread at the start, and
 * from then on used on the worker's own, which is woken by a uv_async: that needs no memory when the
 * end comes. Calls from other threads leave their wish under the mutex and wait for the answer. */
#include "app/worker.h"

#include <pthread.h>
#include <stdlib.h>
#include <uv.h>

#include "net/loop.h"

enum { CUT_SHARE = 5, CUT_MAX_MS = 6000 };

typedef enum worker_call { CALL_NONE, CALL_PREPARE, CALL_COMMIT, CALL_ABORT } worker_call;

struct worker {
    worker_options options;
    smx_loop *loop;
    upstream_pool_set *pools;
    serving *current;
    serving *prepared; /* the next one; NULL: no reload is under way */
    list old;          /* the newest last */
    bool is_draining;
    timer_entry cut;      /* when what is under way is cut off, first deliveries, then pools */
    uint64_t drain_until; /* of the loop's clock */

    pthread_t thread;
    bool is_running;
    void (*ended)(void *arg);
    void *ended_arg;

    uv_async_t wake;
    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t answered;
    bool can_wake;
    bool drain_wanted;
    uint32_t drain_ms;
    worker_call call;
    generation *next; /* of CALL_PREPARE */
    int result;
    problem *problem; /* the caller's */
};

/* ---- beginning ---- */

static void on_cut(timer_entry *self);
static void on_wake(uv_async_t *wake);

static int open_serving(worker *w, generation *g, serving **s, problem *p)
{
    const serving_options options = {
        .generation = g,
        .pools = w->pools,
        .shared = w->options.shared,
        .log = w->options.log,
        .book = w->options.book,
        .outlets = w->options.outlets,
        .followers = w->options.followers,
        .previous = w->current,
        .is_first = w->options.is_first,
    };
    return serving_new(&options, s, p);
}

static int open_loop(worker *w, problem *p)
{
    int error = smx_loop_new(NULL, &w->loop);
    if (error == 0 && uv_async_init(smx_loop_uv(w->loop), &w->wake, on_wake) != 0)
        error = SMX_E_IO;
    if (error != 0)
        return problem_set(p, error, "no event loop can be made: %s", smx_error_text(error));
    w->wake.data = w;
    w->can_wake = true;
    error = upstream_pool_set_new(w->loop, log_write, w->options.log, &w->pools);
    return error == 0 ? 0 : problem_set(p, error, "%s", smx_error_text(error));
}

int worker_new(const worker_options *options, generation *g, worker **out, problem *p)
{
    worker *w = calloc(1, sizeof(*w));
    if (w == NULL)
        return problem_set(p, SMX_E_NOMEM, "out of memory");
    w->options = *options;
    w->cut.fn = on_cut;
    (void)pthread_mutex_init(&w->mutex, NULL);
    (void)pthread_cond_init(&w->answered, NULL);
    int error = open_loop(w, p);
    if (error == 0)
        error = open_serving(w, g, &w->current, p);
    if (error != 0) {
        worker_free(w);
        return error;
    }
    *out = w;
    return 0;
}

int worker_listen(worker *w, problem *p)
{
    int error = serving_start(w->current);
    if (error != 0)
        return problem_set(p, error, "the listeners cannot be started: %s", smx_error_text(error));
    return 0;
}

/* ---- the thread ---- */

/* Behind this nobody is waited for, and nobody waits. */
static void close_wake(worker *w)
{
    (void)pthread_mutex_lock(&w->mutex);
    bool could = w->can_wake;
    w->can_wake = false;
    if (w->call != CALL_NONE) {
        w->result = SMX_E_CLOSED;
        w->call = CALL_NONE;
        (void)pthread_cond_broadcast(&w->answered);
    }
    (void)pthread_mutex_unlock(&w->mutex);
    if (could)
        uv_close((uv_handle_t *)&w->wake, NULL);
}

static void close_all(worker *w)
{
    serving_free(w->prepared);
    serving_free(w->current);
    while (w->old.first != NULL)
        serving_free(list_member(list_take_first(&w->old), serving, node));
    upstream_pool_set_free(w->pools);
    close_wake(w);
    if (w->loop != NULL)
        (void)uv_run(smx_loop_uv(w->loop), UV_RUN_NOWAIT);
    smx_loop_free(w->loop);
    w->prepared = NULL;
    w->current = NULL;
    w->pools = NULL;
    w->loop = NULL;
}

static void *thread_main(void *arg)
{
    worker *w = arg;
    log_gather(w->options.log, w->loop);
    smx_loop_run(w->loop);
    log_gather_end(w->options.log);
    close_all(w);
    w->ended(w->ended_arg);
    return NULL;
}

int worker_run(worker *w, void (*ended)(void *arg), void *arg)
{
    w->ended = ended;
    w->ended_arg = arg;
    if (pthread_create(&w->thread, NULL, thread_main, w) != 0)
        return SMX_E_NOMEM;
    w->is_running = true;
    return 0;
}

/* ---- generations ---- */

static void on_old_ended(void *arg, serving *s)
{
    (void)arg;
    list_remove(&s->node);
    serving_free(s);
}

static void dismiss_oldest(worker *w)
{
    size_t beyond =
        w->old.count > WORKER_OLD_GENERATIONS ? w->old.count - WORKER_OLD_GENERATIONS : 0;
    list_node *next;
    for (list_node *n = w->old.first; beyond > 0 && n != NULL; n = next, beyond--) {
        next = n->next;
        serving_dismiss(list_member(n, serving, node));
    }
}

static int prepare(worker *w, generation *g, problem *p)
{
    if (w->is_draining)
        return problem_set(p, SMX_E_CLOSED, "it is shutting down");
    return open_serving(w, g, &w->prepared, p);
}

static void forget_prepared(worker *w)
{
    serving_free(w->prepared);
    w->prepared = NULL;
}

/* In one turn of the loop: no connection finds nobody. A socket that cannot be listened on any more is
 * told in the log; the others serve. */
static void commit(worker *w)
{
    if (w->is_draining || w->prepared == NULL) {
        forget_prepared(w);
        return;
    }
    serving *old = w->current;
    w->current = w->prepared;
    w->prepared = NULL;
    int error = serving_start(w->current);
    if (error != 0)
        log_event(w->options.log, SMX_LOG_ERROR, "listen_failed", "problem", smx_error_text(error),
                  NULL);
    list_append(&w->old, &old->node);
    serving_retire(old, on_old_ended, w);
    dismiss_oldest(w);
}

/* ---- the end ---- */

static void on_pools_closed(void *arg)
{
    worker *w = arg;
    timer_clear(&w->cut);
    smx_loop_stop(w->loop);
}

/* Pools close when nothing comes any more. */
static void on_drained(void *arg, serving *s)
{
    worker *w = arg;
    if (s == w->current)
        w->current = NULL;
    list_remove(&s->node);
    serving_free(s);
    if (w->current != NULL || w->old.count > 0)
        return;
    timer_set(loop_timers(w->loop), &w->cut, w->drain_until);
    upstream_pool_set_close(w->pools, on_pools_closed, w);
}

/* It is too late for what is under way. */
static void on_cut(timer_entry *self)
{
    worker *w = list_member(self, worker, cut);
    if (w->current == NULL && w->old.count == 0)
        upstream_pool_set_abort(w->pools);
    for (list_node *n = w->old.first; n != NULL; n = n->next)
        serving_cut(list_member(n, serving, node));
    if (w->current != NULL)
        serving_cut(w->current);
}

static void drain(worker *w, uint32_t timeout_ms)
{
    uint32_t margin = timeout_ms / CUT_SHARE < CUT_MAX_MS ? timeout_ms / CUT_SHARE : CUT_MAX_MS;
    w->is_draining = true;
    forget_prepared(w);
    upstream_pool_set_wind_down(w->pools);
    w->drain_until = loop_now(w->loop) + timeout_ms;
    timer_set(loop_timers(w->loop), &w->cut, w->drain_until - margin);
    for (list_node *n = w->old.first; n != NULL; n = n->next)
        serving_drain(list_member(n, serving, node), timeout_ms, on_drained, w);
    serving_drain(w->current, timeout_ms, on_drained, w);
}

/* ---- calls of other threads ---- */

static int answer_call(worker *w, worker_call call)
{
    switch (call) {
    case CALL_PREPARE:
        return prepare(w, w->next, w->problem);
    case CALL_COMMIT:
        commit(w);
        return 0;
    case CALL_ABORT:
        forget_prepared(w);
        return 0;
    case CALL_NONE:
        break;
    }
    return 0;
}

static void on_wake(uv_async_t *wake)
{
    worker *w = wake->data;
    (void)pthread_mutex_lock(&w->mutex);
    worker_call call = w->call;
    bool drain_wanted = w->drain_wanted;
    w->drain_wanted = false;
    uint32_t drain_ms = w->drain_ms;
    (void)pthread_mutex_unlock(&w->mutex);
    if (drain_wanted && !w->is_draining)
        drain(w, drain_ms);
    if (call == CALL_NONE)
        return;
    int result = answer_call(w, call);
    (void)pthread_mutex_lock(&w->mutex);
    w->call = CALL_NONE;
    w->result = result;
    (void)pthread_cond_broadcast(&w->answered);
    (void)pthread_mutex_unlock(&w->mutex);
}

static int call_and_wait(worker *w, worker_call call, generation *g, problem *p)
{
    (void)pthread_mutex_lock(&w->mutex);
    int result = SMX_E_CLOSED;
    if (w->can_wake) {
        w->call = call;
        w->next = g;
        w->problem = p;
        (void)uv_async_send(&w->wake);
        while (w->call != CALL_NONE)
            (void)pthread_cond_wait(&w->answered, &w->mutex);
        result = w->result;
    }
    (void)pthread_mutex_unlock(&w->mutex);
    return result;
}

int worker_prepare(worker *w, generation *g, problem *p)
{
    (void)problem_set(p, SMX_E_CLOSED, "it is shutting down");
    return call_and_wait(w, CALL_PREPARE, g, p);
}

void worker_commit(worker *w)
{
    (void)call_and_wait(w, CALL_COMMIT, NULL, NULL);
}

void worker_abort(worker *w)
{
    (void)call_and_wait(w, CALL_ABORT, NULL, NULL);
}

void worker_drain(worker *w, uint32_t timeout_ms)
{
    (void)pthread_mutex_lock(&w->mutex);
    w->drain_ms = timeout_ms;
    w->drain_wanted = true;
    if (w->can_wake)
        (void)uv_async_send(&w->wake);
    (void)pthread_mutex_unlock(&w->mutex);
}

void worker_free(worker *w)
{
    if (w == NULL)
        return;
    if (w->is_running)
        (void)pthread_join(w->thread, NULL);
    close_all(w);
    (void)pthread_mutex_destroy(&w->mutex);
    (void)pthread_cond_destroy(&w->answered);
    free(w);
}
