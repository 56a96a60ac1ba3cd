/* Test cases in text files: a line `== name` begins one; blank lines and lines with # are nothing. */
#ifndef TESTS_SERVER_CASES_H
#define TESTS_SERVER_CASES_H

#include "base/buffer.h"

typedef struct server_case {
    smx_slice file; /* name without folder and .txt */
    smx_slice name;
    smx_slice text; /* its lines */
    size_t line;    /* number of the first one */
} server_case;

/* Writes what is wrong to `problem` (empty: nothing), at most `capacity` octets with the NUL. */
typedef void server_case_fn(const server_case *c, char *problem, size_t capacity);

/* Runs all cases of the .txt files in `folder`, below the root of the sources, in the order of
 * their names, and prints TAP with names `prefix`FILE__NAME. Returns the program's exit status. */
int server_cases_run(const char *folder, const char *prefix, server_case_fn *run);

/* The next line that says something; *line counts them all. */
bool server_cases_next_line(smx_slice *text, size_t *line, smx_slice *found);

/* The whole file; false if it cannot be read. */
bool server_cases_read(const char *path, buffer *content);
/* "word rest": true if the line begins with the word, and its rest without blanks around it. */
bool server_cases_word(smx_slice line, const char *word, smx_slice *rest);
/* "C: text", "c*12: text": how often, and the text behind one blank. The line is not empty. */
bool server_cases_times(smx_slice line, uint64_t *times, smx_slice *text);

#endif
