/* Allocations that fail when a test says so: those of our own objects, which the linker sends here
 * (--wrap in meson.build). Libraries keep theirs.
 *
 *     fail_malloc_begin(3);            the third from here on fails, and only that one
 *     int error = thing_new(&thing);
 *     bool failed = fail_malloc_end(); false once there is no third
 */
#ifndef TESTS_SUPPORT_FAIL_MALLOC_H
#define TESTS_SUPPORT_FAIL_MALLOC_H

#include <stdbool.h>
#include <stddef.h>

/* Counts from 1; at 0 none fails, they are only counted. */
void fail_malloc_begin(size_t nth);

/* True if one failed since the beginning. From here on none fails and none is counted. The test fails
 * if the first was to fail and there was none. */
bool fail_malloc_end(void);

/* How many were asked for from the last beginning to its end. */
size_t fail_malloc_count(void);

/* Once a thread has chosen itself, only the allocations of such threads count; before that, those of
 * every thread. A thread may take it back. */
void fail_malloc_choose_thread(bool chosen);

/* Calls `run` with the first, second ... allocation failing, until all of them succeed. It returns
 * SMX_E_NOMEM if one failed, else 0. */
void fail_malloc_each(int (*run)(void));

/* What stands behind malloc and its kin, by the linker's names: never fails here, never counts. */
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
char *__real_strdup(const char *text);

#endif
