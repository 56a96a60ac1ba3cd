/* One line of the log as octets: what is quoted and escaped, hidden and left out. */
#ifndef APP_LOG_LINE_H
#define APP_LOG_LINE_H

#include "app/log.h"
#include "base/buffer.h"

enum { LOG_LINE_KEY = 32 };

/* How lines are written. */
typedef struct log_line_form {
    log_format format;
    bool anonymize;
    const unsigned char *key; /* LOG_LINE_KEY octets, of the hashes */
} log_line_form;

/* What a line tells. */
typedef struct log_line {
    uint64_t wall_ms;
    smx_log_level level;
    const char *event;
    uint64_t session; /* or 0 */
    const smx_log_field *fields;
    size_t count;
} log_line;

/* Appends the line with its newline. SMX_E_NOMEM leaves the buffer as it was. */
SMX_MUST_USE int log_line_write(const log_line *line, const log_line_form *form, buffer *out);

/* The hash that stands for a person's or a client's address. SMX_E_NOMEM. */
SMX_MUST_USE int log_line_hash(const unsigned char key[static LOG_LINE_KEY], smx_slice value,
                               char text[static LOG_PERSON]);

#endif
