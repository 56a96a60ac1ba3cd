/* The store's queue and its thread. The thread takes all that waits, runs it as one transaction of
 * the backend, and answers when that is durable. The store owns the requests; answers carry the
 * caller's argument only. */
#include "store/store.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/list.h"
#include "store/backend.h"

enum { EXPIRE_EVERY_MS = 60 * 60 * 1000 };

static const store_backend *const BACKENDS[] = {&store_memory, &store_sqlite};
enum { BACKEND_COUNT = sizeof(BACKENDS) / sizeof(BACKENDS[0]) };

struct store {
    const store_backend *backend;
    void *db;
    store_options options;
    _Atomic uint64_t owners;
    uint64_t expire_at; /* the thread's, as: */
    bool is_failing;
    pthread_t thread;
    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t changed;
    list queue;
    bool ending;
};

typedef struct store_job store_job;

/* One request. Its copies of the caller's texts and arrays stand behind it. */
struct store_job {
    list_node node;
    int (*run)(store *s, store_job *job);
    void (*answer)(store_job *job);
    int error;
    store_lease_request lease;
    store_use *windows; /* room for the answer */
    store_lease_answer leased;
    smx_slice key;
    smx_slice value;
    uint64_t expires_ms;
    buffer got;
    store_got_fn *on_got;
    store_put_fn *on_put;
    void *arg;
};

static uint64_t store_now(const store *s)
{
    return s->options.wall_ms == NULL ? clock_wall_ms() : s->options.wall_ms();
}

/* ---- what the thread does ---- */

static void store_job_free(store_job *job)
{
    buffer_free(&job->got);
    free(job);
}

static void store_tell(const store *s, smx_log_level level, const char *event, const char *reason)
{
    const smx_log_field fields[] = {{"store", slice_of_text(s->options.url)},
                                    {"error", slice_of_text(reason)}};
    if (s->options.log != NULL)
        s->options.log(s->options.log_arg, level, event, 0, fields, reason == NULL ? 1 : 2);
}

/* Says once that it fails, and once that it works again. */
static void store_note(store *s, int error)
{
    bool fails = error == SMX_E_IO;
    if (fails == s->is_failing)
        return;
    s->is_failing = fails;
    const char *reason = s->backend->error_text == NULL ? NULL : s->backend->error_text(s->db);
    if (fails)
        store_tell(s, SMX_LOG_ERROR, "store_failed", reason == NULL ? "input/output" : reason);
    else
        store_tell(s, SMX_LOG_INFO, "store_works", NULL);
}

/* Forgets what is over, now and then, within the transaction. */
static int store_expire(store *s)
{
    uint64_t now = store_now(s);
    if (now < s->expire_at && s->expire_at - now <= EXPIRE_EVERY_MS)
        return 0;
    s->expire_at = now + EXPIRE_EVERY_MS;
    return s->backend->expire(s->db, now);
}

static int store_run_jobs(store *s, const list *group)
{
    int error = s->backend->begin == NULL ? 0 : s->backend->begin(s->db);
    if (error == 0)
        error = store_expire(s);
    for (list_node *n = group->first; n != NULL && error == 0; n = n->next) {
        store_job *job = list_member(n, store_job, node);
        job->error = job->run(s, job);
        error = job->error == SMX_E_IO ? SMX_E_IO : 0;
    }
    if (error == 0 && s->backend->commit != NULL)
        error = s->backend->commit(s->db);
    return error;
}

static void store_run_group(store *s, list *group)
{
    int error = store_run_jobs(s, group);
    store_note(s, error);
    if (error != 0 && s->backend->rollback != NULL)
        s->backend->rollback(s->db);
    for (list_node *n = group->first, *next; n != NULL; n = next) {
        store_job *job = list_member(n, store_job, node);
        next = n->next;
        if (error != 0)
            job->error = error;
        job->answer(job);
        store_job_free(job);
    }
    *group = (list){0};
}

/* Waits for requests and takes them all; false at the end. */
static bool store_take(store *s, list *group)
{
    (void)pthread_mutex_lock(&s->mutex);
    while (s->queue.count == 0 && !s->ending)
        (void)pthread_cond_wait(&s->changed, &s->mutex);
    for (list_node *n; (n = list_take_first(&s->queue)) != NULL;)
        list_append(group, n);
    (void)pthread_mutex_unlock(&s->mutex);
    return group->count > 0;
}

static void *store_work(void *arg)
{
    store *s = arg;
    list group = {0};
    while (store_take(s, &group))
        store_run_group(s, &group);
    return NULL;
}

/* ---- opening and closing ---- */

static int store_find_backend(smx_slice url, const store_backend **backend, smx_slice *rest,
                              problem *p)
{
    size_t colon = slice_find(url, ':');
    for (size_t i = 0; i < BACKEND_COUNT; i++) {
        if (!slice_equal(slice_to(url, colon), slice_of_text(BACKENDS[i]->scheme)))
            continue;
        *rest = slice_from(url, colon < url.len ? colon + 1 : colon);
        *backend = BACKENDS[i];
        return BACKENDS[i]->check(*rest, p);
    }
    if (slice_starts_with(url, SMX_SLICE("postgres"))) {
        (void)problem_set(p, SMX_E_UNSUPPORTED,
                          "a store in PostgreSQL is not in this version: write "
                          "`sqlite:/path/of/a/file`");
        return SMX_E_UNSUPPORTED;
    }
    (void)problem_set(p, SMX_E_SYNTAX, "`%.*s` is no store: write `%s` or `%s`", (int)url.len,
                      url.data, store_sqlite.form, store_memory.form);
    return SMX_E_SYNTAX;
}

int store_url_check(smx_slice url, problem *p)
{
    const store_backend *backend;
    smx_slice rest;
    return store_find_backend(url, &backend, &rest, p);
}

int store_open(const store_options *options, store **out, problem *p)
{
    const char *url = options->url == NULL ? "memory:" : options->url;
    const store_backend *backend = NULL;
    smx_slice rest;
    int error = store_find_backend(slice_of_text(url), &backend, &rest, p);
    if (error != 0)
        return error;
    store *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return problem_set(p, SMX_E_NOMEM, "out of memory");
    s->backend = backend;
    s->options = *options;
    s->options.url = backend->scheme;
    error = backend->open(rest.data, store_now(s), &s->db, p);
    if (error != 0) {
        free(s);
        return error;
    }
    (void)pthread_mutex_init(&s->mutex, NULL);
    (void)pthread_cond_init(&s->changed, NULL);
    if (pthread_create(&s->thread, NULL, store_work, s) != 0) {
        error = problem_set(p, SMX_E_NOMEM, "no thread for the store");
        goto failed;
    }
    *out = s;
    return 0;
failed:
    backend->close(s->db, store_now(s));
    (void)pthread_cond_destroy(&s->changed);
    (void)pthread_mutex_destroy(&s->mutex);
    free(s);
    return error;
}

void store_close(store *s)
{
    if (s == NULL)
        return;
    (void)pthread_mutex_lock(&s->mutex);
    s->ending = true;
    (void)pthread_cond_signal(&s->changed);
    (void)pthread_mutex_unlock(&s->mutex);
    (void)pthread_join(s->thread, NULL);
    s->backend->close(s->db, store_now(s));
    (void)pthread_cond_destroy(&s->changed);
    (void)pthread_mutex_destroy(&s->mutex);
    free(s);
}

uint64_t store_last_use(const store *s)
{
    return s->backend->last_use == NULL ? 0 : s->backend->last_use(s->db);
}

uint64_t store_owner(store *s)
{
    return atomic_fetch_add(&s->owners, 1) + 1;
}

/* ---- requests ---- */

static void store_queue(store *s, store_job *job)
{
    (void)pthread_mutex_lock(&s->mutex);
    assert(!s->ending || pthread_equal(pthread_self(), s->thread) != 0);
    list_append(&s->queue, &job->node);
    (void)pthread_cond_signal(&s->changed);
    (void)pthread_mutex_unlock(&s->mutex);
}

static smx_slice store_copy(char *place, smx_slice s)
{
    if (s.len > 0)
        memcpy(place, s.data, s.len);
    return slice_of(place, s.len);
}

static int store_run_lease(store *s, store_job *job)
{
    return s->backend->lease(s->db, &job->lease, job->windows, &job->leased);
}

static void store_answer_lease(store_job *job)
{
    if (job->lease.done != NULL)
        job->lease.done(job->lease.arg, job->error, job->error == 0 ? &job->leased : NULL);
}

int store_lease(store *s, const store_lease_request *request)
{
    assert(request->span > 0 && request->span <= STORE_SPAN_MAX);
    assert(request->used_count <= request->span && request->want >= request->keep);
    size_t uses = request->used_count + (size_t)request->span;
    store_job *job = calloc(1, sizeof(*job) + uses * sizeof(store_use) + request->key.len);
    if (job == NULL)
        return SMX_E_NOMEM;
    store_use *used = (store_use *)(void *)(job + 1);
    job->run = store_run_lease;
    job->answer = store_answer_lease;
    job->lease = *request;
    if (request->used_count > 0)
        memcpy(used, request->used, request->used_count * sizeof(*used));
    job->lease.used = used;
    job->windows = used + request->used_count;
    job->lease.key = store_copy((char *)(used + uses), request->key);
    store_queue(s, job);
    return 0;
}

static int store_run_get(store *s, store_job *job)
{
    return s->backend->get(s->db, job->key, store_now(s), &job->got);
}

static void store_answer_get(store_job *job)
{
    smx_slice none = {0};
    job->on_got(job->arg, job->error, job->error == 0 ? buffer_slice(&job->got) : none);
}

int store_get(store *s, smx_slice key, store_got_fn *done, void *arg)
{
    store_job *job = calloc(1, sizeof(*job) + key.len);
    if (job == NULL)
        return SMX_E_NOMEM;
    job->run = store_run_get;
    job->answer = store_answer_get;
    job->key = store_copy((char *)(job + 1), key);
    job->on_got = done;
    job->arg = arg;
    store_queue(s, job);
    return 0;
}

static int store_run_put(store *s, store_job *job)
{
    return s->backend->put(s->db, job->key, job->value, job->expires_ms);
}

static void store_answer_put(store_job *job)
{
    if (job->on_put != NULL)
        job->on_put(job->arg, job->error);
}

int store_put(store *s, smx_slice key, smx_slice value, uint64_t expires_ms, store_put_fn *done,
              void *arg)
{
    store_job *job = calloc(1, sizeof(*job) + key.len + value.len);
    if (job == NULL)
        return SMX_E_NOMEM;
    job->run = store_run_put;
    job->answer = store_answer_put;
    job->key = store_copy((char *)(job + 1), key);
    job->value = store_copy((char *)(job + 1) + key.len, value);
    job->expires_ms = expires_ms;
    job->on_put = done;
    job->arg = arg;
    store_queue(s, job);
    return 0;
}
