/* Answers that go on: lines as they come, until their reader goes away. While there is nothing to say the
 * connection sleeps; an empty line now and then shows that both ends are there. A stream is its
 * response's, and is closed with it. */
#include <stdlib.h>

#include "admin/admin_internal.h"
#include "base/clock.h"

enum { BEAT_MS = 5000, BLOCK_OCTETS = 16384 };

struct admin_follow {
    list_node node;  /* of all */
    list_node woken; /* under done_mutex */
    admin *admin;
    struct MHD_Connection *http;
    admin_stream stream;
    bool is_asleep;
    uint64_t beat_due;
};

/* ---- sleeping and waking ---- */

/* Any thread. */
static void on_news(void *arg)
{
    admin_follow *f = arg;
    admin *a = f->admin;
    (void)pthread_mutex_lock(&a->done_mutex);
    if (f->woken.owner == NULL)
        list_append(&a->woken, &f->woken);
    (void)pthread_mutex_unlock(&a->done_mutex);
    (void)uv_async_send(&a->wake);
}

static void rouse(admin_follow *f)
{
    if (f->is_asleep)
        MHD_resume_connection(f->http);
    f->is_asleep = false;
}

void admin_rouse_woken(admin *a)
{
    (void)pthread_mutex_lock(&a->done_mutex);
    for (list_node *node; (node = list_take_first(&a->woken)) != NULL;)
        rouse(list_member(node, admin_follow, woken));
    (void)pthread_mutex_unlock(&a->done_mutex);
}

void admin_rouse_follows(admin *a, uint64_t due)
{
    for (list_node *node = a->follows.first; node != NULL; node = node->next) {
        admin_follow *f = list_member(node, admin_follow, node);
        if (f->beat_due <= due)
            rouse(f);
    }
}

/* ---- libmicrohttpd's ---- */

static ssize_t on_read(void *cls, uint64_t at, char *octets, size_t capacity)
{
    admin_follow *f = cls;
    uint64_t now = clock_monotonic_ms();
    (void)at;
    if (atomic_load(&f->admin->stop))
        return MHD_CONTENT_READER_END_OF_STREAM;
    size_t count = f->stream.read(f->stream.state, octets, capacity);
    if (count == 0 && now >= f->beat_due)
        octets[count++] = '\n';
    if (count > 0) {
        f->beat_due = now + BEAT_MS;
        return (ssize_t)count;
    }
    f->is_asleep = true;
    MHD_suspend_connection(f->http);
    return 0;
}

/* With `close` no more news come. */
static void on_free(void *cls)
{
    admin_follow *f = cls;
    if (f->stream.close != NULL)
        f->stream.close(f->stream.state);
    (void)pthread_mutex_lock(&f->admin->done_mutex);
    list_remove(&f->woken);
    (void)pthread_mutex_unlock(&f->admin->done_mutex);
    list_remove(&f->node);
    free(f);
}

/* ---- beginning ---- */

typedef struct stream_query {
    admin_filter filter;
    const char *unknown;
} stream_query;

static enum MHD_Result read_argument(void *arg, enum MHD_ValueKind kind, const char *name,
                                     const char *value)
{
    stream_query *query = arg;
    const struct {
        const char *name;
        const char **value;
    } known[] = {
        {"client", &query->filter.client},
        {"from", &query->filter.from},
        {"listener", &query->filter.listener},
    };
    (void)kind;
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (strcmp(name, known[i].name) != 0)
            continue;
        *known[i].value = value;
        return MHD_YES;
    }
    query->unknown = name;
    return MHD_YES;
}

static int open_stream(admin_follow *f, struct MHD_Connection *http, problem *p)
{
    const admin_options *o = &f->admin->options;
    stream_query query = {0};
    (void)MHD_get_connection_values(http, MHD_GET_ARGUMENT_KIND, read_argument, &query);
    if (query.unknown != NULL)
        return problem_set(p, SMX_E_INVALID, "expected client, from or listener; found \"%.100s\"",
                           query.unknown);
    if (o->ops->follow == NULL)
        return problem_set(p, SMX_E_UNSUPPORTED, "this daemon cannot do that");
    return o->ops->follow(o->arg, &query.filter, on_news, f, &f->stream, p);
}

struct MHD_Response *admin_stream_begin(admin_request *r, struct MHD_Connection *http)
{
    problem p = {""};
    admin_follow *f = calloc(1, sizeof(*f));
    if (f == NULL) {
        admin_answer_error(&r->answer, 503, "out of memory");
        return NULL;
    }
    f->admin = r->admin;
    f->http = http;
    f->beat_due = clock_monotonic_ms();
    list_append(&r->admin->follows, &f->node);
    int error = open_stream(f, http, &p);
    struct MHD_Response *response =
        error != 0 ? NULL
                   : MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK_OCTETS, on_read, f,
                                                       on_free);
    if (response == NULL) {
        on_free(f);
        admin_answer_failure(&r->answer, error == 0 ? SMX_E_NOMEM : error, &p, NULL);
        return NULL;
    }
    r->peer->is_held = true;
    r->answer.status = 200;
    r->answer.type = "application/x-ndjson";
    return response;
}
