/* A sentence for a person: what is wrong, where, and what to do. */
#ifndef BASE_PROBLEM_H
#define BASE_PROBLEM_H

#include "base/slice.h"

enum { PROBLEM_TEXT = 512 };

typedef struct problem {
    char text[PROBLEM_TEXT];
} problem;

/* Writes the sentence (cut if it is too long) and returns `error`, so that a function can end with
 * `return problem_set(p, SMX_E_IO, "...", ...)`. A NULL problem is fine. */
int problem_set(problem *p, int error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
