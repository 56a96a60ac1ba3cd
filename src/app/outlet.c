/* One queue of pieces under a mutex, bounded in octets, and one thread that writes them. The outlets'
 * descriptors are the thread's, but for the first opening. */
#include "app/outlet.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/list.h"

enum { QUEUE_OCTETS = 8 << 20, FAREWELL_MS = 2000, LOOK_MS = 100 };

struct outlet {
    list_node node;
    outlets *all;
    char *path;
    int fd;
    bool is_file;   /* not a pipe or a terminal: takes any length at once */
    bool is_torn;   /* it ends within a line */
    bool is_stdout; /* the process's, not closed */
};

/* What the thread is to do. */
typedef struct piece {
    list_node node;
    outlet *to; /* NULL: append to `path`, or open all anew */
    char *path; /* within the same memory, or NULL */
    size_t len;
    char octets[];
} piece;

struct outlets {
    log_sink *log;
    pthread_mutex_t mutex; /* guards what follows up to the blank line */
    pthread_cond_t come;
    list pieces;
    size_t octets; /* of them */
    list outlets;
    bool is_running;
    bool is_ending;
    uint64_t end_by;

    pthread_t thread;
    _Atomic uint64_t lost;
    _Atomic bool is_losing;
};

/* ---- what is lost ---- */

static void lose(outlets *all, const char *path, const char *why)
{
    atomic_fetch_add(&all->lost, 1);
    if (!atomic_exchange(&all->is_losing, true))
        log_event(all->log, SMX_LOG_ERROR, "record_lost", "file", path, "problem", why, NULL);
}

static void regain(outlets *all, const char *path)
{
    if (atomic_exchange(&all->is_losing, false))
        log_event(all->log, SMX_LOG_INFO, "record_resumed", "file", path, NULL);
}

/* ---- the thread ---- */

static bool is_late(outlets *all)
{
    (void)pthread_mutex_lock(&all->mutex);
    bool late = all->is_ending && clock_monotonic_ms() >= all->end_by;
    (void)pthread_mutex_unlock(&all->mutex);
    return late;
}

/* A pipe that has room takes PIPE_BUF octets without waiting. */
static bool wait_for_room(outlets *all, int fd)
{
    struct pollfd wanted = {.fd = fd, .events = POLLOUT};
    while (poll(&wanted, 1, LOOK_MS) <= 0) {
        if (is_late(all))
            return false;
    }
    return true;
}

/* How much of it was written; errno says why that is not all. */
static size_t write_octets(outlets *all, int fd, bool is_file, smx_slice text)
{
    size_t done = 0;
    while (done < text.len) {
        size_t step = text.len - done;
        if (!is_file && step > PIPE_BUF)
            step = PIPE_BUF;
        if (!is_file && !wait_for_room(all, fd)) {
            errno = ETIMEDOUT;
            return done;
        }
        ssize_t written = write(fd, text.data + done, step);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return done;
        done += (size_t)written;
    }
    return done;
}

static void write_to(outlets *all, outlet *o, smx_slice text)
{
    if (o->is_torn)
        o->is_torn = write_octets(all, o->fd, o->is_file, SMX_SLICE("\n")) != 1;
    size_t done = o->is_torn ? 0 : write_octets(all, o->fd, o->is_file, text);
    o->is_torn = o->is_torn || (done > 0 && done < text.len);
    if (done == text.len)
        regain(all, o->path);
    else
        lose(all, o->path, strerror(errno));
}

static int open_path(const char *path)
{
    return open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
}

static void append_to(outlets *all, const char *path, smx_slice text)
{
    int fd = open_path(path);
    if (fd < 0 || write_octets(all, fd, true, text) != text.len)
        lose(all, path, strerror(errno));
    else
        regain(all, path);
    if (fd >= 0)
        (void)close(fd);
}

/* Where that fails the old one goes on. */
static void open_anew(outlets *all)
{
    (void)pthread_mutex_lock(&all->mutex);
    list_node *first = all->outlets.first; /* none is ever removed, new ones come last */
    (void)pthread_mutex_unlock(&all->mutex);
    for (list_node *n = first; n != NULL; n = n->next) {
        outlet *o = list_member(n, outlet, node);
        int fd = o->is_stdout ? -1 : open_path(o->path);
        if (fd < 0 && !o->is_stdout)
            log_event(all->log, SMX_LOG_ERROR, "reopen_failed", "file", o->path, "problem",
                      strerror(errno), NULL);
        if (fd < 0)
            continue;
        (void)close(o->fd);
        o->fd = fd;
        o->is_torn = false;
    }
}

static void do_piece(outlets *all, const piece *p)
{
    smx_slice text = slice_of(p->octets, p->len);
    if (p->to != NULL)
        write_to(all, p->to, text);
    else if (p->path != NULL)
        append_to(all, p->path, text);
    else
        open_anew(all);
}

static piece *take_piece(outlets *all)
{
    (void)pthread_mutex_lock(&all->mutex);
    while (all->pieces.first == NULL && !all->is_ending)
        (void)pthread_cond_wait(&all->come, &all->mutex);
    list_node *node = list_take_first(&all->pieces);
    piece *p = node == NULL ? NULL : list_member(node, piece, node);
    all->octets -= p == NULL ? 0 : p->len;
    (void)pthread_mutex_unlock(&all->mutex);
    return p;
}

static void *thread_main(void *arg)
{
    outlets *all = arg;
    for (piece *p; (p = take_piece(all)) != NULL; free(p)) {
        if (!is_late(all))
            do_piece(all, p);
        else
            lose(all, p->to == NULL ? p->path : p->to->path, "the program ends");
    }
    return NULL;
}

/* ---- what is asked of it ---- */

static piece *piece_new(outlet *to, const char *path, smx_slice text)
{
    size_t path_len = path == NULL ? 0 : strlen(path) + 1;
    piece *p = calloc(1, sizeof(*p) + text.len + path_len);
    if (p == NULL)
        return NULL;
    p->to = to;
    p->len = text.len;
    if (text.len > 0)
        memcpy(p->octets, text.data, text.len);
    if (path != NULL) {
        p->path = p->octets + text.len;
        memcpy(p->path, path, path_len);
    }
    return p;
}

static void submit(outlets *all, outlet *to, const char *path, smx_slice text)
{
    piece *p = piece_new(to, path, text);
    (void)pthread_mutex_lock(&all->mutex);
    if (!all->is_running && p != NULL)
        all->is_running = pthread_create(&all->thread, NULL, thread_main, all) == 0;
    bool fits = p != NULL && all->is_running && all->octets + text.len <= QUEUE_OCTETS;
    if (fits) {
        list_append(&all->pieces, &p->node);
        all->octets += text.len;
        (void)pthread_cond_signal(&all->come);
    }
    (void)pthread_mutex_unlock(&all->mutex);
    if (fits)
        return;
    lose(all, to != NULL ? to->path : path != NULL ? path : "", "it is not written fast enough");
    free(p);
}

void outlet_write(outlet *o, smx_slice lines)
{
    submit(o->all, o, NULL, lines);
}

void outlets_append(outlets *all, const char *path, smx_slice text)
{
    submit(all, NULL, path, text);
}

void outlets_reopen(outlets *all)
{
    (void)pthread_mutex_lock(&all->mutex);
    bool is_needed = all->outlets.count > 0;
    (void)pthread_mutex_unlock(&all->mutex);
    if (is_needed)
        submit(all, NULL, NULL, (smx_slice){NULL, 0});
}

uint64_t outlets_lost(const outlets *all)
{
    return atomic_load(&all->lost);
}

/* ---- beginning and end ---- */

int outlets_new(log_sink *log, outlets **out)
{
    outlets *all = calloc(1, sizeof(*all));
    if (all == NULL)
        return SMX_E_NOMEM;
    all->log = log;
    (void)pthread_mutex_init(&all->mutex, NULL);
    (void)pthread_cond_init(&all->come, NULL);
    *out = all;
    return 0;
}

static outlet *find(const outlets *all, const char *path)
{
    for (list_node *n = all->outlets.first; n != NULL; n = n->next) {
        outlet *o = list_member(n, outlet, node);
        if (strcmp(o->path, path) == 0)
            return o;
    }
    return NULL;
}

static void outlet_free(outlet *o)
{
    if (o->fd >= 0 && !o->is_stdout)
        (void)close(o->fd);
    free(o->path);
    free(o);
}

static int outlet_new(outlets *all, const char *path, outlet **out, problem *p)
{
    struct stat about;
    outlet *o = calloc(1, sizeof(*o));
    if (o == NULL)
        return problem_set(p, SMX_E_NOMEM, "out of memory");
    o->all = all;
    o->is_stdout = strcmp(path, "stdout") == 0;
    o->path = slice_to_text(slice_of_text(path));
    o->fd = o->is_stdout ? STDOUT_FILENO : open_path(path);
    int error = o->path == NULL ? problem_set(p, SMX_E_NOMEM, "out of memory") : 0;
    if (error == 0 && o->fd < 0)
        error = problem_set(p, errno == EACCES ? SMX_E_PERMISSION : SMX_E_IO,
                            "`%s` cannot be written to: %s", path, strerror(errno));
    if (error != 0) {
        outlet_free(o);
        return error;
    }
    o->is_file = fstat(o->fd, &about) == 0 && S_ISREG(about.st_mode);
    *out = o;
    return 0;
}

int outlets_open(outlets *all, const char *path, outlet **out, problem *p)
{
    (void)pthread_mutex_lock(&all->mutex);
    outlet *o = find(all, path);
    int error = 0;
    if (o == NULL) {
        error = outlet_new(all, path, &o, p);
        if (error == 0 && o != NULL)
            list_append(&all->outlets, &o->node);
    }
    (void)pthread_mutex_unlock(&all->mutex);
    if (error == 0)
        *out = o;
    return error;
}

void outlets_free(outlets *all)
{
    if (all == NULL)
        return;
    (void)pthread_mutex_lock(&all->mutex);
    all->is_ending = true;
    all->end_by = clock_monotonic_ms() + FAREWELL_MS;
    (void)pthread_cond_signal(&all->come);
    (void)pthread_mutex_unlock(&all->mutex);
    if (all->is_running)
        (void)pthread_join(all->thread, NULL);
    for (list_node *next, *node = all->outlets.first; node != NULL; node = next) {
        next = node->next;
        outlet_free(list_member(node, outlet, node));
    }
    (void)pthread_mutex_destroy(&all->mutex);
    (void)pthread_cond_destroy(&all->come);
    free(all);
}
