/* The set owns its pools and their TLS contexts; who acquired a pool has a share of it. A pool has a
 * share of its record and of the snapshot whose strings it uses, and a TLS context has copies of its
 * files' names, since contexts outlive the snapshot that named them. */
#include "upstream/pool_set.h"

#include <stdlib.h>
#include <sys/stat.h>

#include "client/client_tls.h"
#include "upstream/pool_internal.h"

enum { TLS_FILES = 3 };

/* What tells one content of a file from the next. */
typedef struct pool_file {
    char *name; /* NULL: none; of `ca`: the system's */
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec changed;
} pool_file;

/* Those who believe and show the same share it, and the sessions that it remembers. */
typedef struct pool_tls {
    list_node node;
    size_t shares;
    pool_file files[TLS_FILES];   /* ca, cert, key */
    tls_authorities *authorities; /* NULL: of `ca`, or read for this context alone */
    smx_client_tls *context;
} pool_tls;

typedef struct pool_entry {
    list_node node;
    upstream_pool_set *set;
    upstream_pool *pool;
    upstream *upstream; /* its share */
    upstream_hold hold;
    pool_tls *tls; /* NULL: it never speaks TLS */
    size_t shares; /* 0: it is closing */
} pool_entry;

struct upstream_pool_set {
    smx_loop *loop;
    smx_log_fn *log;
    void *log_arg;
    list entries;
    list contexts;
    tls_authorities *authorities;
    bool cut;
    loop_turn_end ended;
    void (*closed)(void *arg);
    void *closed_arg;
};

/* ---- TLS ---- */

static bool set_same_text(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

/* A file that cannot be looked at is told by whoever loads it. */
static void set_look_at(pool_file *file, const char *name)
{
    struct stat status;
    *file = (pool_file){.name = (char *)(uintptr_t)name};
    if (name == NULL || stat(name, &status) != 0)
        return;
    file->device = status.st_dev;
    file->inode = status.st_ino;
    file->size = status.st_size;
    file->changed = status.st_mtim;
}

static bool set_same_file(const pool_file *a, const pool_file *b)
{
    return set_same_text(a->name, b->name) && a->device == b->device && a->inode == b->inode &&
           a->size == b->size && a->changed.tv_sec == b->changed.tv_sec &&
           a->changed.tv_nsec == b->changed.tv_nsec;
}

static void set_release_tls(pool_tls *tls)
{
    if (tls == NULL || --tls->shares > 0)
        return;
    list_remove(&tls->node);
    smx_client_tls_free(tls->context);
    tls_authorities_free(tls->authorities);
    for (size_t i = 0; i < TLS_FILES; i++)
        free(tls->files[i].name);
    free(tls);
}

static int set_load_tls(upstream_pool_set *set, const pool_file *files,
                        tls_authorities *authorities, pool_tls **out, problem *p)
{
    pool_tls *tls = calloc(1, sizeof(*tls));
    if (tls == NULL)
        return SMX_E_NOMEM;
    int error = 0;
    tls->shares = 1;
    tls->authorities = tls_authorities_share(authorities);
    list_append(&set->contexts, &tls->node);
    for (size_t i = 0; i < TLS_FILES && error == 0; i++) {
        tls->files[i] = files[i];
        tls->files[i].name =
            files[i].name == NULL ? NULL : slice_to_text(slice_of_text(files[i].name));
        if (files[i].name != NULL && tls->files[i].name == NULL)
            error = SMX_E_NOMEM;
    }
    const tls_client_options options = {files[0].name, files[1].name, files[2].name, authorities};
    if (error == 0)
        error = client_tls_new(&options, &tls->context, p);
    if (error != 0) {
        set_release_tls(tls);
        return error;
    }
    *out = tls;
    return 0;
}

static int set_find_tls(upstream_pool_set *set, const upstream_options *o, pool_tls **tls,
                        problem *p)
{
    pool_file files[TLS_FILES];
    problem cause = {0};
    tls_authorities *authorities = o->ca_file == NULL ? set->authorities : NULL;
    set_look_at(&files[0], o->ca_file);
    set_look_at(&files[1], o->cert_file);
    set_look_at(&files[2], o->key_file);
    for (list_node *n = set->contexts.first; n != NULL; n = n->next) {
        pool_tls *known = list_member(n, pool_tls, node);
        bool same = known->authorities == authorities;
        for (size_t i = 0; i < TLS_FILES; i++)
            same = same && set_same_file(&known->files[i], &files[i]);
        if (same) {
            known->shares++;
            *tls = known;
            return 0;
        }
    }
    int error = set_load_tls(set, files, authorities, tls, &cause);
    if (error != 0)
        return problem_set(p, error, "upstreams.%s: %.400s", o->name,
                           cause.text[0] != '\0' ? cause.text : smx_error_text(error));
    return 0;
}

/* ---- the key ---- */

/* Fields of the options that make another pool when they change. */
#define POOL_KEY_TEXTS(X)   X(host) X(user) X(password) X(mechanism) X(source)
#define POOL_KEY_NUMBERS(X) X(port) X(lmtp) X(tls) X(verify) X(allow_insecure_auth) X(family)

static bool set_same_pins(const upstream_options *a, const upstream_options *b)
{
    return a->pin_count == b->pin_count &&
           (a->pin_count == 0 || memcmp(a->pins, b->pins, a->pin_count * UPSTREAM_PIN) == 0);
}

static bool set_same_key(const upstream_options *a, const upstream_options *b)
{
    bool same = oauth2_options_equal(&a->oauth2, &b->oauth2) && set_same_pins(a, b);
#define POOL_KEY_TEXT(field) same = same && set_same_text(a->field, b->field);
    POOL_KEY_TEXTS(POOL_KEY_TEXT)
#undef POOL_KEY_TEXT
#define POOL_KEY_NUMBER(field) same = same && a->field == b->field;
    POOL_KEY_NUMBERS(POOL_KEY_NUMBER)
#undef POOL_KEY_NUMBER
    return same;
}

static pool_entry *set_find(const upstream_pool_set *set, const upstream *u,
                            const upstream_options *options, const char *hostname,
                            const pool_tls *tls)
{
    for (list_node *n = set->entries.first; n != NULL; n = n->next) {
        pool_entry *e = list_member(n, pool_entry, node);
        if (e->shares > 0 && e->upstream == u && e->tls == tls &&
            set_same_text(e->pool->client.helo, hostname) &&
            set_same_key(&e->pool->options, options))
            return e;
    }
    return NULL;
}

/* ---- pools ---- */

static void set_told(loop_turn_end *self)
{
    upstream_pool_set *set = list_member(self, upstream_pool_set, ended);
    void (*closed)(void *) = set->closed;
    set->closed = NULL;
    if (closed != NULL)
        closed(set->closed_arg);
}

static void set_check_end(upstream_pool_set *set)
{
    if (set->closed != NULL && set->entries.count == 0)
        loop_at_turn_end(set->loop, &set->ended);
}

/* Half-made ones too. */
static void set_free_entry(pool_entry *e)
{
    upstream_pool_free(e->pool);
    upstream_free(e->upstream);
    set_release_tls(e->tls);
    if (e->hold.drop != NULL)
        e->hold.drop(e->hold.arg);
    list_remove(&e->node);
    free(e);
}

static void set_on_pool_closed(void *arg)
{
    pool_entry *e = arg;
    upstream_pool_set *set = e->set;
    set_free_entry(e);
    set_check_end(set);
}

/* `tls` is taken over, also on failure. */
static int set_add(upstream_pool_set *set, upstream *u, const upstream_options *options,
                   const char *hostname, pool_tls *tls, pool_entry **out)
{
    pool_entry *e = calloc(1, sizeof(*e));
    if (e == NULL) {
        set_release_tls(tls);
        return SMX_E_NOMEM;
    }
    e->set = set;
    e->shares = 1;
    e->upstream = upstream_share(u);
    e->tls = tls;
    list_append(&set->entries, &e->node);
    int error =
        upstream_pool_new(set->loop, u, options, hostname, tls == NULL ? NULL : tls->context,
                          set->log, set->log_arg, &e->pool);
    if (error != 0) {
        set_free_entry(e);
        return error;
    }
    *out = e;
    return 0;
}

int upstream_pool_set_acquire(upstream_pool_set *set, upstream *u, const upstream_options *options,
                              const char *hostname, const upstream_hold *hold, upstream_pool **pool,
                              problem *p)
{
    pool_tls *tls = NULL;
    int error = options->tls == SMX_TLS_OFF ? 0 : set_find_tls(set, options, &tls, p);
    if (error != 0)
        return error;
    pool_entry *e = set_find(set, u, options, hostname, tls);
    if (e != NULL) {
        set_release_tls(tls);
        e->shares++;
        *pool = e->pool;
        return 0;
    }
    error = set_add(set, u, options, hostname, tls, &e);
    if (error != 0)
        return problem_set(p, error, "upstreams.%s: %s", options->name, smx_error_text(error));
    if (hold != NULL && hold->take != NULL) {
        e->hold = *hold;
        hold->take(hold->arg);
    }
    *pool = e->pool;
    return 0;
}

static pool_entry *set_entry_of(const upstream_pool_set *set, const upstream_pool *pool)
{
    for (list_node *n = set->entries.first; n != NULL; n = n->next) {
        pool_entry *e = list_member(n, pool_entry, node);
        if (e->pool == pool)
            return e;
    }
    return NULL;
}

void upstream_pool_set_release(upstream_pool_set *set, upstream_pool *pool)
{
    pool_entry *e = pool == NULL ? NULL : set_entry_of(set, pool);
    if (e == NULL || --e->shares > 0)
        return;
    upstream_pool_close(pool, set_on_pool_closed, e);
    if (set->cut)
        upstream_pool_abort(pool);
}

/* ---- the set ---- */

int upstream_pool_set_new(smx_loop *loop, smx_log_fn *log, void *log_arg, upstream_pool_set **out)
{
    upstream_pool_set *set = calloc(1, sizeof(*set));
    if (set == NULL)
        return SMX_E_NOMEM;
    set->loop = loop;
    set->log = log;
    set->log_arg = log_arg;
    set->ended.fn = set_told;
    *out = set;
    return 0;
}

void upstream_pool_set_believe(upstream_pool_set *set, tls_authorities *authorities)
{
    tls_authorities *old = set->authorities;
    set->authorities = tls_authorities_share(authorities);
    tls_authorities_free(old);
}

size_t upstream_pool_set_count(const upstream_pool_set *set)
{
    return set->entries.count;
}

void upstream_pool_set_wind_down(upstream_pool_set *set)
{
    for (list_node *n = set->entries.first; n != NULL; n = n->next)
        ahead_stop(list_member(n, pool_entry, node)->pool);
}

void upstream_pool_set_close(upstream_pool_set *set, void (*closed)(void *arg), void *arg)
{
    set->closed = closed;
    set->closed_arg = arg;
    set_check_end(set);
}

void upstream_pool_set_abort(upstream_pool_set *set)
{
    set->cut = true;
    for (list_node *n = set->entries.first; n != NULL; n = n->next)
        upstream_pool_abort(list_member(n, pool_entry, node)->pool);
}

void upstream_pool_set_free(upstream_pool_set *set)
{
    if (set == NULL)
        return;
    loop_cancel_turn_end(&set->ended);
    list_node *next;
    for (list_node *n = set->entries.first; n != NULL; n = next) {
        next = n->next;
        set_free_entry(list_member(n, pool_entry, node));
    }
    tls_authorities_free(set->authorities);
    free(set);
}

smx_loop *upstream_pool_set_loop(const upstream_pool_set *set)
{
    return set->loop;
}

smx_log_fn *upstream_pool_set_log(const upstream_pool_set *set, void **log_arg)
{
    *log_arg = set->log_arg;
    return set->log;
}
