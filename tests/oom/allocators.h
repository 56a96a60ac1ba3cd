/* Allocators that can be told to fail once: ours (support/fail_malloc.h), libuv's, OpenSSL's. */
#ifndef OOM_ALLOCATORS_H
#define OOM_ALLOCATORS_H

#include <stdbool.h>
#include <stddef.h>

typedef enum oom_source { OOM_OURS, OOM_LIBUV, OOM_OPENSSL, OOM_SOURCES } oom_source;

/* Before anything else of libuv or OpenSSL is used. */
bool oom_install(void);

/* The nth allocation from now on (0: the next one) of this source fails, once. Any thread's. */
void oom_arm(oom_source source, size_t nth);
/* No allocation fails any more. Returns whether the one that was asked for did. */
bool oom_disarm(void);
/* Allocations of a source since oom_count_from. */
void oom_count_from(void);
size_t oom_count(oom_source source);

#endif
