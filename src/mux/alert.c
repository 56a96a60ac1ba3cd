/* A queue sorted by when its alerts are due, and the thread that tells them, which is started by the
 * first one. A mutex guards the queue and the URL; the thread owns the alert that it tells. */
#include "mux/alert.h"

#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/list.h"
#include "net/http.h"

enum {
    ALERTS_MAX = 256,
    ALERT_TRIES = 6, /* after 1, 2, 4, 8 and 16 s */
    ALERT_TIMEOUT_MS = 5000,
    ALERT_REASON = 512,
    ALERT_ANSWER_MAX = 65536,
};

static const char *const alert_names[] = {
#define ALERT_NAME(name, text) [ALERT_##name] = (text),
    ALERT_EVENT_MAP(ALERT_NAME)
#undef ALERT_NAME
};

typedef struct alert {
    list_node node;
    alert_event event;
    char *upstream;
    char reason[ALERT_REASON];
    uint64_t due;        /* of the monotonic clock */
    uint64_t until_wall; /* 0: not known */
    uint64_t time_wall;  /* 0: when it is due */
    unsigned tries;
} alert;

struct alerts {
    smx_log_fn *log;
    void *log_arg;
    atomic_bool stop;
    pthread_mutex_t mutex; /* guards what stands below */
    pthread_cond_t changed;
    char *url; /* NULL: nobody is told */
    char *hostname;
    list queue; /* sorted by `due` */
    bool has_thread;
    pthread_t thread;
};

/* Of one that is in the queue no more. */
static void alert_free(alert *one)
{
    free(one->upstream);
    free(one);
}

static void alert_log(const alerts *a, const alert *one, const char *reason)
{
    smx_log_field fields[] = {
        {"alert", slice_of_text(alert_names[one->event])},
        {"upstream", slice_of_text(one->upstream)},
        {"reason", slice_of_text(reason)},
    };
    if (a->log != NULL)
        a->log(a->log_arg, SMX_LOG_ERROR, "alert_failed", 0, fields, 3);
}

/* ---- the queue, under the mutex ---- */

static void alerts_insert(alerts *a, alert *one)
{
    list later = {0};
    for (list_node *n; (n = a->queue.last) != NULL;) {
        if (list_member(n, alert, node)->due <= one->due)
            break;
        list_remove(n);
        list_prepend(&later, n);
    }
    list_append(&a->queue, &one->node);
    for (list_node *n; (n = list_take_first(&later)) != NULL;)
        list_append(&a->queue, n);
    (void)pthread_cond_signal(&a->changed);
}

/* The end of a suspension that lasts longer, or ended before its time. */
static void alerts_forget_end(alerts *a, const char *upstream, uint64_t now)
{
    list_node *next;
    for (list_node *n = a->queue.first; n != NULL; n = next) {
        alert *one = list_member(n, alert, node);
        next = n->next;
        if (one->event == ALERT_RESUMED && one->due > now && one->tries == 0 &&
            strcmp(one->upstream, upstream) == 0) {
            list_remove(n);
            alert_free(one);
        }
    }
}

/* ---- on the thread ---- */

static int alert_write_json(const alert *one, const char *hostname, char **text)
{
    char time[CLOCK_TEXT];
    char until[CLOCK_TEXT];
    uint64_t when = one->time_wall != 0 ? one->time_wall : clock_wall_ms();
    smx_slice time_text = clock_rfc3339(when, time);
    smx_slice until_text = clock_rfc3339(one->until_wall, until);
    json_t *json = json_pack("{s:s, s:s, s:o, s:o, s:s%, s:s}", "event", alert_names[one->event],
                             "upstream", one->upstream, "reason", json_string(one->reason), "until",
                             one->until_wall == 0 ? json_null()
                                                  : json_stringn(until_text.data, until_text.len),
                             "time", time_text.data, time_text.len, "hostname", hostname);
    *text = json == NULL ? NULL : json_dumps(json, JSON_COMPACT);
    json_decref(json);
    return *text == NULL ? SMX_E_NOMEM : 0;
}

/* 0, or why not. */
static int alert_tell(alerts *a, const alert *one, const char *url, const char *hostname,
                      problem *p)
{
    char *body = NULL;
    http_answer answer = {0};
    int error = alert_write_json(one, hostname, &body);
    if (error != 0)
        return problem_set(p, error, "out of memory");
    const http_request request = {
        .url = url,
        .content_type = "application/json",
        .body = slice_of_text(body),
        .timeout_ms = ALERT_TIMEOUT_MS,
        .answer_max = ALERT_ANSWER_MAX,
        .stop = &a->stop,
    };
    error = http_post(&request, &answer, p);
    if (error == 0 && answer.status / 100 != 2)
        error = problem_set(p, SMX_E_IO, "the alerts' URL answered %u", answer.status);
    http_answer_free(&answer);
    free(body);
    return error;
}

static void alerts_again(alerts *a, alert *one, const char *reason)
{
    if (one->time_wall == 0)
        one->time_wall = clock_wall_ms();
    one->due = clock_monotonic_ms() + (1000U << one->tries);
    bool is_last = ++one->tries >= ALERT_TRIES;
    if (is_last || one->tries == 1)
        alert_log(a, one, reason);
    (void)pthread_mutex_lock(&a->mutex);
    if (is_last)
        alert_free(one);
    else
        alerts_insert(a, one);
    (void)pthread_mutex_unlock(&a->mutex);
}

/* Waits for the next one that is due, and takes it with copies of where to. NULL: the end. */
static alert *alerts_wait(alerts *a, char **url, char **hostname)
{
    alert *one = NULL;
    (void)pthread_mutex_lock(&a->mutex);
    while (!atomic_load(&a->stop) && one == NULL) {
        uint64_t now = clock_monotonic_ms();
        alert *first = a->queue.first == NULL ? NULL : list_member(a->queue.first, alert, node);
        if (first == NULL) {
            (void)pthread_cond_wait(&a->changed, &a->mutex);
        } else if (first->due > now) {
            struct timespec until = {.tv_sec = (time_t)(first->due / 1000),
                                     .tv_nsec = (long)(first->due % 1000) * 1000000};
            (void)pthread_cond_timedwait(&a->changed, &a->mutex, &until);
        } else {
            one = first;
            list_remove(&one->node);
            *url = a->url == NULL ? NULL : strdup(a->url);
            *hostname = a->hostname == NULL ? NULL : strdup(a->hostname);
        }
    }
    (void)pthread_mutex_unlock(&a->mutex);
    return one;
}

static void *alerts_run(void *arg)
{
    alerts *a = arg;
    char *url = NULL;
    char *hostname = NULL;
    for (alert *one; (one = alerts_wait(a, &url, &hostname)) != NULL;) {
        problem p = {0};
        bool has_whom = url != NULL && hostname != NULL;
        if (!has_whom || alert_tell(a, one, url, hostname, &p) == 0)
            alert_free(one);
        else
            alerts_again(a, one, p.text);
        free(url);
        free(hostname);
        url = hostname = NULL;
    }
    return NULL;
}

/* ---- for the owner ---- */

int alerts_new(smx_log_fn *log, void *log_arg, alerts **out)
{
    pthread_condattr_t monotonic;
    alerts *a = calloc(1, sizeof(*a));
    if (a == NULL)
        return SMX_E_NOMEM;
    a->log = log;
    a->log_arg = log_arg;
    (void)pthread_mutex_init(&a->mutex, NULL);
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&a->changed, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    *out = a;
    return 0;
}

int alerts_configure(alerts *a, const char *url, const char *hostname)
{
    char *new_url = url == NULL ? NULL : strdup(url);
    char *new_hostname = strdup(hostname);
    if ((url != NULL && new_url == NULL) || new_hostname == NULL) {
        free(new_url);
        free(new_hostname);
        return SMX_E_NOMEM;
    }
    (void)pthread_mutex_lock(&a->mutex);
    char *old_url = a->url;
    char *old_hostname = a->hostname;
    a->url = new_url;
    a->hostname = new_hostname;
    (void)pthread_mutex_unlock(&a->mutex);
    free(old_url);
    free(old_hostname);
    return 0;
}

void alerts_free(alerts *a)
{
    if (a == NULL)
        return;
    (void)pthread_mutex_lock(&a->mutex);
    atomic_store(&a->stop, true);
    bool has_thread = a->has_thread;
    (void)pthread_cond_signal(&a->changed);
    (void)pthread_mutex_unlock(&a->mutex);
    if (has_thread)
        (void)pthread_join(a->thread, NULL);
    list_node *next;
    for (list_node *n = a->queue.first; n != NULL; n = next) {
        next = n->next;
        alert_free(list_member(n, alert, node));
    }
    (void)pthread_cond_destroy(&a->changed);
    (void)pthread_mutex_destroy(&a->mutex);
    free(a->url);
    free(a->hostname);
    free(a);
}

/* Under the mutex. */
static int alerts_add(alerts *a, const alert *what, const char *upstream)
{
    if (a->queue.count >= ALERTS_MAX)
        return SMX_E_LIMIT;
    if (!a->has_thread)
        a->has_thread = pthread_create(&a->thread, NULL, alerts_run, a) == 0;
    alert *one = a->has_thread ? malloc(sizeof(*one)) : NULL;
    char *name = one == NULL ? NULL : strdup(upstream);
    if (name == NULL) {
        free(one);
        return SMX_E_NOMEM;
    }
    *one = *what;
    one->upstream = name;
    alerts_insert(a, one);
    return 0;
}

void alerts_send(alerts *a, alert_event event, const char *upstream, smx_slice reason,
                 uint64_t until)
{
    if (a == NULL)
        return;
    uint64_t now = clock_monotonic_ms();
    uint64_t wall = clock_wall_ms();
    alert what = {.event = event, .due = now, .time_wall = wall};
    if (until > now)
        what.until_wall = wall + (until - now);
    (void)snprintf(what.reason, sizeof(what.reason), "%.*s", (int)reason.len,
                   reason.data == NULL ? "" : reason.data);
    const alert end = {.event = ALERT_RESUMED, .due = until, .reason = "its time is over"};
    int error = 0;
    (void)pthread_mutex_lock(&a->mutex);
    if (a->url != NULL) {
        if (event == ALERT_SUSPENDED || event == ALERT_RESUMED)
            alerts_forget_end(a, upstream, now);
        error = alerts_add(a, &what, upstream);
        if (error == 0 && event == ALERT_SUSPENDED && until > now)
            error = alerts_add(a, &end, upstream);
    }
    (void)pthread_mutex_unlock(&a->mutex);
    what.upstream = (char *)(uintptr_t)upstream;
    if (error != 0)
        alert_log(a, &what, error == SMX_E_LIMIT ? "too many wait" : "out of memory");
}
