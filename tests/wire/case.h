/* Cases in text files: inputs and expected results under keys, one TAP line a case.
 *
 *   # case: name_of_the_case
 *   codec: dot-decode
 *   in: "a"*998 "\r\n.\r\n"
 *   out: "..."
 *
 * A value is the rest of its line, or strings in quotes (escapes \r \n \t \0 \" \\ \xHH; `*N`
 * repeats one) that go on over lines which begin with a blank. A key that the codec neither reads
 * nor gives is an error of the case.
 */
#ifndef TESTS_WIRE_CASE_H
#define TESTS_WIRE_CASE_H

#include "base/buffer.h"

typedef struct case_field {
    char key[32];
    buffer value;
    bool used; /* read by the codec, or compared with what it gave */
} case_field;

enum { CASE_FIELDS = 32, CASE_NAME = 128 };

typedef struct wire_case {
    char name[CASE_NAME];
    unsigned line;
    case_field fields[CASE_FIELDS];
    size_t count;
    buffer results;  /* all that the codec gave, as text, to compare runs */
    buffer problems; /* what is wrong; empty if the case holds */
} wire_case;

/* The case's input under this key, or `otherwise`. */
smx_slice case_input(wire_case *c, const char *key, const char *otherwise);

/* One result of the codec: compared with what the case expects, if it does. */
void case_give(wire_case *c, const char *key, smx_slice value);
void case_give_text(wire_case *c, const char *key, const char *value);
void case_give_number(wire_case *c, const char *key, uint64_t value);
void case_give_bool(wire_case *c, const char *key, bool value);
/* 0 as "ok", SMX_E_SYNTAX as "SYNTAX". */
void case_give_error(wire_case *c, const char *key, int error);

void case_problem(wire_case *c, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A copy in memory of exactly its size, so that a sanitizer sees each look beyond it. */
char *case_copy(smx_slice s);

typedef void case_fn(wire_case *c);

/* Runs every case of the files and prints TAP. Returns main's result. */
int case_run_files(int count, char **paths, case_fn *fn);

#endif
