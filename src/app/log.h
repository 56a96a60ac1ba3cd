/* The daemon's log: one line per event on a file descriptor, as logfmt or as JSON. */
#ifndef APP_LOG_H
#define APP_LOG_H

#include "smx/loop.h"

typedef enum log_format { LOG_LOGFMT, LOG_JSON } log_format;

typedef struct log_options {
    log_format format;
    smx_log_level level; /* less serious events are not written */
    bool anonymize;      /* addresses of people and clients become keyed hashes */
} log_options;

/* May be used by any thread. A line is one write(2), but where a thread gathers. */
typedef struct log_sink log_sink;

/* `fd` stays the caller's. SMX_E_NOMEM, SMX_E_IO (no random key to be had). */
SMX_MUST_USE int log_new(int fd, const log_options *options, log_sink **log);
void log_free(log_sink *log);
/* Lines from now on follow these; the hashes' key stays. Any thread. */
void log_configure(log_sink *log, const log_options *options);

/* From now on lines of the calling thread, which runs `loop`, leave together, as many as a pipe takes
 * whole: at the end of the loop's turn, and at once with one that is a warning or worse. Without memory
 * they leave one by one. */
void log_gather(log_sink *log, smx_loop *loop);
/* Writes what is gathered. On the same thread, before the loop is freed. */
void log_gather_end(log_sink *log);

/* Of type smx_log_fn: `log` is the log_sink. Values of keys that name secrets are never written. */
void log_write(void *log, smx_log_level level, const char *event, uint64_t session,
               const smx_log_field *fields, size_t count);

/* A person's or a client's address as the log would write it: itself, or its hash in `text`. Empty when
 * there is no memory for a hash. */
enum { LOG_PERSON = 17 };
smx_slice log_person(const log_sink *log, smx_slice address, char text[static LOG_PERSON]);

/* The same with keys and values as C strings in turn, NULL behind the last. */
void log_write_pairs(log_sink *log, smx_log_level level, const char *event,
                     const char *const *pairs);
/* log_event(log, SMX_LOG_INFO, "listening", "address", "[::]:25", NULL) */
#define log_event(log, level, event, ...)                                                          \
    log_write_pairs(log, level, event, (const char *const[]){__VA_ARGS__})

#endif
