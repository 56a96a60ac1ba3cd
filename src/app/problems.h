/* What is wrong with a configuration file: a list of sentences with positions, shown with the
 * offending line, or as JSON. */
#ifndef APP_PROBLEMS_H
#define APP_PROBLEMS_H

#include <jansson.h>

#include "base/arena.h"
#include "base/buffer.h"

enum { PROBLEMS_NOWHERE = -1 }; /* as an offset: the file as a whole */

typedef struct problems_entry {
    bool is_warning;
    int64_t offset; /* octet of the text, or PROBLEMS_NOWHERE */
    const char *text;
} problems_entry;

/* Zero, with the file's name and text, is a valid empty list. */
typedef struct problems {
    const char *file; /* its name, for people */
    smx_slice text;   /* its octets, which must live as long as the list */
    problems_entry *entries;
    size_t count;
    size_t capacity;
    size_t errors;         /* of the entries */
    bool is_out_of_memory; /* something could not be kept */
    arena arena;
} problems;

void problems_error(problems *list, int64_t offset, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void problems_warn(problems *list, int64_t offset, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* By position; what has none comes first. */
void problems_sort(problems *list);

/* Line and column of an entry, both from 1, columns in characters; 0 and 0 for the whole file. */
void problems_position(const problems *list, const problems_entry *entry, size_t *line,
                       size_t *column);

/* `file:line:column: error: sentence`, the line with its secrets masked, and a caret, for each. */
SMX_MUST_USE int problems_write(const problems *list, buffer *out);
/* `file:line:column: sentence` of one. */
SMX_MUST_USE int problems_write_head(const problems *list, const problems_entry *entry,
                                     buffer *out);
/* An array of {severity, file, line, column, message}; NULL when out of memory. */
json_t *problems_json(const problems *list);

void problems_free(problems *list);

#endif
