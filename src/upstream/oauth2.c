/* The token of an upstream, and its one fetching thread, which is started when first needed. A mutex
 * guards all but the options. The thread holds no share: the last share's end waits for it. */
#include "upstream/oauth2.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/pool.h"
#include "net/http.h"
#include "upstream/oauth2_exchange.h"

enum {
    REQUEST_MS = 10000,
    ANSWER_MAX = 65536,
    HOLD_MS = 1000,
    HOLD_MAX_MS = 60000,
    EARLY_MS = 60000, /* a token is replaced so long before it expires, or at 80% of its life */
};

struct oauth2 {
    atomic_uint shares;
    char *name;
    oauth2_options options; /* copies */
    smx_log_fn *log;
    void *log_arg;
    atomic_bool stop;
    pthread_mutex_t mutex; /* guards what stands below */
    pool *thread;          /* NULL: not needed yet */
    bool fetching;
    char *refresh_token; /* the newest one, or NULL: the options' */
    char *token;
    uint64_t serial;
    uint64_t renew_at;
    uint64_t expires_at;
    oauth2_state failure; /* of the last request, until `hold_until` */
    char reason[OAUTH2_REASON];
    unsigned failures; /* in a row */
    uint64_t hold_until;
    list waiters;
};

/* ---- options ---- */

static bool oauth2_same(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

bool oauth2_options_equal(const oauth2_options *a, const oauth2_options *b)
{
    return oauth2_same(a->token_url, b->token_url) && oauth2_same(a->client_id, b->client_id) &&
           oauth2_same(a->client_secret, b->client_secret) &&
           oauth2_same(a->refresh_token, b->refresh_token) && oauth2_same(a->scope, b->scope) &&
           a->grant == b->grant;
}

bool oauth2_is_of(const oauth2 *o, const oauth2_options *options)
{
    return oauth2_options_equal(&o->options, options);
}

static int oauth2_copy(const char *from, const char **to)
{
    if (from == NULL)
        return 0;
    *to = strdup(from);
    return *to == NULL ? SMX_E_NOMEM : 0;
}

static int oauth2_copy_options(const oauth2_options *from, oauth2_options *to)
{
    int error = oauth2_copy(from->token_url, &to->token_url);
    if (error == 0)
        error = oauth2_copy(from->client_id, &to->client_id);
    if (error == 0)
        error = oauth2_copy(from->client_secret, &to->client_secret);
    if (error == 0)
        error = oauth2_copy(from->refresh_token, &to->refresh_token);
    if (error == 0)
        error = oauth2_copy(from->scope, &to->scope);
    to->grant = from->grant;
    return error;
}

void oauth2_token_free(char *token)
{
    if (token != NULL)
        explicit_bzero(token, strlen(token));
    free(token);
}

/* ---- life ---- */

int oauth2_new(const oauth2_options *options, const char *name, smx_log_fn *log, void *log_arg,
               oauth2 **out)
{
    oauth2 *o = calloc(1, sizeof(*o));
    if (o == NULL)
        return SMX_E_NOMEM;
    atomic_init(&o->shares, 1);
    (void)pthread_mutex_init(&o->mutex, NULL);
    o->log = log;
    o->log_arg = log_arg;
    o->name = strdup(name);
    if (o->name == NULL || oauth2_copy_options(options, &o->options) != 0) {
        oauth2_free(o);
        return SMX_E_NOMEM;
    }
    *out = o;
    return 0;
}

oauth2 *oauth2_share(oauth2 *o)
{
    (void)atomic_fetch_add(&o->shares, 1);
    return o;
}

void oauth2_free(oauth2 *o)
{
    if (o == NULL || atomic_fetch_sub(&o->shares, 1) > 1)
        return;
    atomic_store(&o->stop, true);
    pool_free(o->thread);
    char *copies[] = {(char *)(uintptr_t)o->options.token_url,
                      (char *)(uintptr_t)o->options.client_id,
                      (char *)(uintptr_t)o->options.client_secret,
                      (char *)(uintptr_t)o->options.refresh_token,
                      (char *)(uintptr_t)o->options.scope,
                      o->refresh_token,
                      o->token};
    for (size_t i = 0; i < sizeof(copies) / sizeof(copies[0]); i++)
        oauth2_token_free(copies[i]);
    (void)pthread_mutex_destroy(&o->mutex);
    free(o->name);
    free(o);
}

/* ---- on the fetching thread ---- */

static void oauth2_log(const oauth2 *o, smx_log_level level, const char *event, const char *reason)
{
    smx_log_field fields[] = {
        {"upstream", slice_of_text(o->name)},
        {"reason", slice_of_text(reason == NULL ? "" : reason)},
    };
    if (o->log != NULL)
        o->log(o->log_arg, level, event, 0, fields, reason == NULL ? 1 : 2);
}

static oauth2_grant_answer oauth2_ask(oauth2 *o, const char *refresh_token)
{
    buffer form = {0};
    http_answer got = {0};
    problem p = {0};
    oauth2_grant_answer answer = {.state = OAUTH2_UNAVAILABLE};
    int error = oauth2_write_form(&o->options, refresh_token, &form);
    if (error != 0)
        (void)problem_set(&p, error, "out of memory");
    const http_request request = {
        .url = o->options.token_url,
        .content_type = "application/x-www-form-urlencoded",
        .accept = "application/json",
        .body = buffer_slice(&form),
        .timeout_ms = REQUEST_MS,
        .answer_max = ANSWER_MAX,
        .stop = &o->stop,
    };
    if (error == 0)
        error = http_post(&request, &got, &p);
    if (error == 0)
        answer = oauth2_read_answer(got.status, buffer_slice(&got.body));
    else
        (void)snprintf(answer.reason, sizeof(answer.reason),
                       "the token endpoint cannot be asked: %.180s", p.text);
    http_answer_free(&got);
    http_answer_free(&(http_answer){0, form});
    return answer;
}

static void oauth2_take_token(oauth2 *o, oauth2_grant_answer *answer, uint64_t now)
{
    uint64_t early = answer->life_ms / 5 < EARLY_MS ? answer->life_ms / 5 : EARLY_MS;
    oauth2_token_free(o->token);
    o->token = answer->token;
    answer->token = NULL;
    o->serial++;
    o->expires_at = now + answer->life_ms;
    o->renew_at = o->expires_at - early;
    o->failures = 0;
    o->hold_until = 0;
}

static void oauth2_note_failure(oauth2 *o, const oauth2_grant_answer *answer, uint64_t now)
{
    uint64_t hold = HOLD_MS;
    for (unsigned i = 0; i < o->failures && hold < HOLD_MAX_MS; i++)
        hold *= 2;
    if (hold > HOLD_MAX_MS)
        hold = HOLD_MAX_MS;
    o->failures += answer->state == OAUTH2_UNAVAILABLE;
    o->failure = answer->state;
    /* The upstream is suspended by a refusal; who resumes it is not to wait for an answer. */
    o->hold_until = now + (answer->state == OAUTH2_REFUSED ? HOLD_MS : hold);
    memcpy(o->reason, answer->reason, sizeof(o->reason));
}

/* True: the endpoint gave a new refresh token. */
static bool oauth2_rotate(oauth2 *o, oauth2_grant_answer *answer)
{
    const char *old = o->refresh_token != NULL ? o->refresh_token : o->options.refresh_token;
    if (answer->refresh_token == NULL || o->options.grant != OAUTH2_REFRESH_TOKEN ||
        oauth2_same(old, answer->refresh_token))
        return false;
    oauth2_token_free(o->refresh_token);
    o->refresh_token = answer->refresh_token;
    answer->refresh_token = NULL;
    return true;
}

/* A waiter is off the list before the post: once posted it may be gone at any time. One that cannot be
 * told goes on waiting for its own deadline. */
static void oauth2_wake(oauth2 *o)
{
    list_node *next;
    for (list_node *n = o->waiters.first; n != NULL; n = next) {
        next = n->next;
        oauth2_waiter *waiter = list_member(n, oauth2_waiter, node);
        list_remove(n);
        if (smx_loop_post(waiter->loop, waiter->told, waiter->arg) != 0) {
            list_prepend(&o->waiters, n);
            return;
        }
    }
}

static void oauth2_fetch(void *arg)
{
    oauth2 *o = arg;
    (void)pthread_mutex_lock(&o->mutex);
    const char *newest = o->refresh_token != NULL ? o->refresh_token : o->options.refresh_token;
    (void)pthread_mutex_unlock(&o->mutex);
    oauth2_grant_answer answer = oauth2_ask(o, newest); /* only this thread replaces `newest` */
    bool failed = answer.state != OAUTH2_TOKEN;
    if (failed && !atomic_load(&o->stop))
        oauth2_log(o, answer.state == OAUTH2_REFUSED ? SMX_LOG_ERROR : SMX_LOG_WARN,
                   "oauth2_failed", answer.reason);
    (void)pthread_mutex_lock(&o->mutex);
    uint64_t now = clock_monotonic_ms();
    bool rotated = !failed && oauth2_rotate(o, &answer);
    if (failed)
        oauth2_note_failure(o, &answer, now);
    else
        oauth2_take_token(o, &answer, now);
    o->fetching = false;
    oauth2_wake(o);
    (void)pthread_mutex_unlock(&o->mutex);
    if (rotated)
        oauth2_log(
            o, SMX_LOG_WARN, "oauth2_refresh_token_changed",
            "the endpoint replaced it; the configured one may not be good at the next start");
    oauth2_grant_answer_free(&answer);
}

/* ---- for the owner ---- */

/* Under the mutex. */
static bool oauth2_begin_fetch(oauth2 *o)
{
    if (o->fetching)
        return true;
    if (o->thread == NULL && pool_new(1, 1, &o->thread) != 0)
        return false;
    o->fetching = pool_submit(o->thread, oauth2_fetch, o) == 0;
    return o->fetching;
}

static oauth2_state oauth2_no_memory(oauth2_answer *answer)
{
    (void)snprintf(answer->reason, sizeof(answer->reason), "out of memory");
    return OAUTH2_UNAVAILABLE;
}

static oauth2_state oauth2_give(oauth2 *o, uint64_t now, oauth2_answer *answer)
{
    answer->token = strdup(o->token);
    answer->serial = o->serial;
    if (now >= o->renew_at && now >= o->hold_until)
        (void)oauth2_begin_fetch(o); /* if not now, then next time */
    return answer->token != NULL ? OAUTH2_TOKEN : oauth2_no_memory(answer);
}

oauth2_state oauth2_take(oauth2 *o, uint64_t now, oauth2_waiter *waiter, oauth2_answer *answer)
{
    oauth2_state state = OAUTH2_LATER;
    *answer = (oauth2_answer){0};
    (void)pthread_mutex_lock(&o->mutex);
    if (o->token != NULL && now < o->expires_at) {
        state = oauth2_give(o, now, answer);
    } else if (!o->fetching && now < o->hold_until) {
        state = o->failure;
        memcpy(answer->reason, o->reason, sizeof(answer->reason));
    } else if (!oauth2_begin_fetch(o)) {
        state = oauth2_no_memory(answer);
    } else {
        list_append(&o->waiters, &waiter->node);
    }
    (void)pthread_mutex_unlock(&o->mutex);
    return state;
}

bool oauth2_cancel(oauth2 *o, oauth2_waiter *waiter)
{
    (void)pthread_mutex_lock(&o->mutex);
    bool told = waiter->node.owner == NULL;
    list_remove(&waiter->node);
    (void)pthread_mutex_unlock(&o->mutex);
    return told;
}

void oauth2_reject(oauth2 *o, uint64_t serial)
{
    (void)pthread_mutex_lock(&o->mutex);
    if (o->serial == serial)
        o->expires_at = 0;
    (void)pthread_mutex_unlock(&o->mutex);
}
