/* The log. Where a loop's thread gathers its lines, they wait in a buffer of that thread, found by the
 * sink's key of thread data, so that threads need no lock; elsewhere each line is built in a buffer of
 * its own and leaves in one write(2). When there is no memory for a line it is lost. The sink owns the
 * key of its hashes. */
#include "app/log.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#include "app/log_line.h"
#include "base/clock.h"
#include "net/loop.h"

/* A pipe takes so much whole, whoever else writes to it: more is not gathered. */
enum { GATHERED_MAX = PIPE_BUF, KEPT_MAX = 8 * PIPE_BUF, FIELDS_MAX = 16 };

struct log_sink {
    int fd;
    _Atomic log_format format;
    _Atomic smx_log_level level;
    _Atomic bool anonymize;
    unsigned char key[LOG_LINE_KEY];
    pthread_key_t gathering; /* each thread's own, or NULL */
};

/* The lines of one thread in one turn of its loop. */
typedef struct gathering {
    int fd;
    smx_loop *loop;
    loop_turn_end turn_end;
    buffer lines;
} gathering;

int log_new(int fd, const log_options *options, log_sink **log)
{
    log_sink *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return SMX_E_NOMEM;
    made->fd = fd;
    log_configure(made, options);
    if (getrandom(made->key, sizeof(made->key), 0) != (ssize_t)sizeof(made->key) ||
        pthread_key_create(&made->gathering, NULL) != 0) {
        free(made);
        return SMX_E_IO;
    }
    *log = made;
    return 0;
}

void log_configure(log_sink *log, const log_options *options)
{
    log->format = options->format;
    log->level = options->level;
    log->anonymize = options->anonymize;
}

void log_free(log_sink *log)
{
    if (log == NULL)
        return;
    (void)pthread_key_delete(log->gathering);
    explicit_bzero(log->key, sizeof(log->key));
    free(log);
}

smx_slice log_person(const log_sink *log, smx_slice address, char text[static LOG_PERSON])
{
    if (!log->anonymize || address.len == 0)
        return address;
    return slice_of(text, log_line_hash(log->key, address, text) == 0 ? LOG_PERSON - 1 : 0);
}

/* ---- octets out ---- */

/* What is left in `octets` cannot be written. */
static void send_octets(int fd, smx_slice *octets)
{
    while (octets->len > 0) {
        ssize_t written = write(fd, octets->data, octets->len);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return;
        *octets = slice_from(*octets, (size_t)written);
    }
}

/* Where there is no room for all lines there may be some for a few: what is lost is lost by lines. */
static void send_lines(int fd, smx_slice lines)
{
    send_octets(fd, &lines);
    while (lines.len > 0) {
        size_t newline = slice_find(lines, '\n');
        smx_slice line = slice_to(lines, newline < lines.len ? newline + 1 : newline);
        lines = slice_from(lines, line.len);
        send_octets(fd, &line);
    }
}

/* ---- gathering ---- */

/* Writes the lines up to there. */
static void gathering_flush(gathering *g, size_t end)
{
    send_lines(g->fd, slice_to(buffer_slice(&g->lines), end));
    buffer_consume(&g->lines, end);
    if (buffer_length(&g->lines) == 0 && g->lines.capacity > KEPT_MAX)
        buffer_free(&g->lines);
}

static void on_turn_end(loop_turn_end *self)
{
    gathering *g = list_member(self, gathering, turn_end);
    gathering_flush(g, buffer_length(&g->lines));
}

/* A line was added behind `before` octets of others. */
static void gathering_grown(gathering *g, size_t before, bool is_urgent)
{
    if (buffer_length(&g->lines) > GATHERED_MAX)
        gathering_flush(g, before);
    if (is_urgent)
        gathering_flush(g, buffer_length(&g->lines));
    else
        loop_at_turn_end(g->loop, &g->turn_end);
}

void log_gather(log_sink *log, smx_loop *loop)
{
    gathering *g = calloc(1, sizeof(*g));
    if (g == NULL)
        return;
    *g = (gathering){.fd = log->fd, .loop = loop, .turn_end = {.fn = on_turn_end}};
    if (pthread_setspecific(log->gathering, g) != 0)
        free(g);
}

void log_gather_end(log_sink *log)
{
    gathering *g = pthread_getspecific(log->gathering);
    if (g == NULL)
        return;
    (void)pthread_setspecific(log->gathering, NULL);
    loop_cancel_turn_end(&g->turn_end);
    gathering_flush(g, buffer_length(&g->lines));
    buffer_free(&g->lines);
    free(g);
}

/* ---- lines ---- */

void log_write(void *log, smx_log_level level, const char *event, uint64_t session,
               const smx_log_field *fields, size_t count)
{
    const log_sink *sink = log;
    if (level < sink->level)
        return;
    const log_line_form form = {sink->format, sink->anonymize, sink->key};
    const log_line line = {clock_wall_ms(), level, event, session, fields, count};
    gathering *own = pthread_getspecific(sink->gathering);
    buffer alone = {0};
    buffer *lines = own == NULL ? &alone : &own->lines;
    size_t before = buffer_length(lines);
    if (log_line_write(&line, &form, lines) != 0)
        buffer_truncate(lines, before);
    if (own != NULL)
        gathering_grown(own, before, level >= SMX_LOG_WARN);
    else
        send_lines(sink->fd, buffer_slice(lines));
    buffer_free(&alone);
}

void log_write_pairs(log_sink *log, smx_log_level level, const char *event,
                     const char *const *pairs)
{
    smx_log_field fields[FIELDS_MAX];
    size_t count = 0;
    for (; count < FIELDS_MAX && pairs[0] != NULL; pairs += 2)
        fields[count++] = (smx_log_field){pairs[0], slice_of_text(pairs[1])};
    log_write(log, level, event, 0, fields, count);
}
