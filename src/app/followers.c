/* One mutex for all: it is taken for lines only while somebody follows. */
#include "app/followers.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "app/transcript.h"
#include "base/list.h"

struct followers {
    pthread_mutex_t mutex; /* guards the list, and what the followers hold */
    list members;
    _Atomic size_t count;
    _Atomic size_t with_sender;
};

struct follower {
    list_node node;
    followers *all;
    bool has_client;
    smx_network client;
    char *from;     /* or NULL */
    char *listener; /* or NULL */
    void (*wake)(void *arg);
    void *arg;
    buffer lines;
    uint64_t lost;
};

int followers_new(followers **out)
{
    followers *all = calloc(1, sizeof(*all));
    if (all == NULL)
        return SMX_E_NOMEM;
    (void)pthread_mutex_init(&all->mutex, NULL);
    *out = all;
    return 0;
}

void followers_free(followers *all)
{
    if (all == NULL)
        return;
    (void)pthread_mutex_destroy(&all->mutex);
    free(all);
}

/* ---- members ---- */

static void member_free(follower *f)
{
    buffer_free(&f->lines);
    free(f->from);
    free(f->listener);
    free(f);
}

static int member_fill(follower *f, const follower_options *o, problem *p)
{
    f->wake = o->wake;
    f->arg = o->arg;
    f->has_client = o->client != NULL;
    if (f->has_client && smx_network_parse(slice_of_text(o->client), &f->client) != 0)
        return problem_set(p, SMX_E_INVALID,
                           "client: expected an address or a network, such as 10.0.0.0/24, found "
                           "`%.100s`",
                           o->client);
    f->from = o->from == NULL ? NULL : slice_to_text(slice_of_text(o->from));
    f->listener = o->listener == NULL ? NULL : slice_to_text(slice_of_text(o->listener));
    bool is_whole =
        (f->from != NULL) == (o->from != NULL) && (f->listener != NULL) == (o->listener != NULL);
    return is_whole ? 0 : problem_set(p, SMX_E_NOMEM, "out of memory");
}

int followers_add(followers *all, const follower_options *options, follower **out, problem *p)
{
    follower *f = calloc(1, sizeof(*f));
    if (f == NULL)
        return problem_set(p, SMX_E_NOMEM, "out of memory");
    f->all = all;
    int error = member_fill(f, options, p);
    (void)pthread_mutex_lock(&all->mutex);
    if (error == 0 && all->members.count >= FOLLOWERS_MAX)
        error = problem_set(p, SMX_E_LIMIT, "%d follow already: end one of them", FOLLOWERS_MAX);
    if (error == 0) {
        list_append(&all->members, &f->node);
        all->count++;
        all->with_sender += f->from != NULL ? 1 : 0;
    }
    (void)pthread_mutex_unlock(&all->mutex);
    if (error != 0) {
        member_free(f);
        return error;
    }
    *out = f;
    return 0;
}

void follower_free(follower *f)
{
    if (f == NULL)
        return;
    followers *all = f->all;
    (void)pthread_mutex_lock(&all->mutex);
    list_remove(&f->node);
    all->count--;
    all->with_sender -= f->from != NULL ? 1 : 0;
    (void)pthread_mutex_unlock(&all->mutex);
    member_free(f);
}

bool followers_any(const followers *all)
{
    return all->count > 0;
}

bool followers_want_senders(const followers *all)
{
    return all->with_sender > 0;
}

/* ---- lines ---- */

/* How many were lost stands where they would have stood. False: there is no room even for that. */
static bool put_lost(follower *f)
{
    if (f->lost == 0)
        return true;
    if (buffer_length(&f->lines) + 64 > FOLLOWER_OCTETS ||
        buffer_printf(&f->lines, "{\"lost\":%llu}\n", (unsigned long long)f->lost) != 0)
        return false;
    f->lost = 0;
    return true;
}

static void put_line(follower *f, smx_slice line)
{
    bool was_empty = buffer_length(&f->lines) == 0;
    if (buffer_length(&f->lines) + line.len + 64 > FOLLOWER_OCTETS || !put_lost(f) ||
        buffer_append(&f->lines, line) != 0)
        f->lost++;
    if (was_empty && buffer_length(&f->lines) > 0)
        f->wake(f->arg);
}

size_t follower_read(follower *f, char *octets, size_t capacity)
{
    (void)pthread_mutex_lock(&f->all->mutex);
    if (buffer_length(&f->lines) == 0)
        (void)put_lost(f);
    smx_slice lines = buffer_slice(&f->lines);
    size_t count = lines.len < capacity ? lines.len : capacity;
    if (count > 0)
        memcpy(octets, lines.data, count);
    buffer_consume(&f->lines, count);
    (void)pthread_mutex_unlock(&f->all->mutex);
    return count;
}

static bool wants_session(const follower *f, const smx_session_view *session)
{
    if (f->has_client && !smx_network_contains(&f->client, &session->client))
        return false;
    return f->listener == NULL || slice_matches_glob(session->listener, slice_of_text(f->listener));
}

/* The empty sender is `<>`. */
static bool wants_sender(const follower *f, smx_slice from)
{
    if (f->from == NULL)
        return true;
    if (from.data == NULL)
        return false;
    return slice_matches_glob(from.len == 0 ? SMX_SLICE("<>") : from, slice_of_text(f->from));
}

/* `is_late`: those who wanted the session before have had the line. */
static void tell(followers *all, const smx_proxy_line *line, smx_slice before, smx_slice from,
                 bool is_late)
{
    buffer text = {0};
    (void)pthread_mutex_lock(&all->mutex);
    for (list_node *n = all->members.first; n != NULL; n = n->next) {
        follower *f = list_member(n, follower, node);
        if (!wants_session(f, line->session) || !wants_sender(f, from) ||
            (is_late && wants_sender(f, before)))
            continue;
        if (buffer_length(&text) == 0 && transcript_json(line, &text) != 0)
            buffer_clear(&text);
        if (buffer_length(&text) > 0)
            put_line(f, buffer_slice(&text));
        else
            f->lost++;
    }
    (void)pthread_mutex_unlock(&all->mutex);
    buffer_free(&text);
}

void followers_tell(followers *all, const smx_proxy_line *line, smx_slice from)
{
    tell(all, line, (smx_slice){NULL, 0}, from, false);
}

void followers_tell_late(followers *all, const smx_proxy_line *line, smx_slice before,
                         smx_slice from)
{
    tell(all, line, before, from, true);
}
