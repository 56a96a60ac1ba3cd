/* Ours are fail_malloc's; for each of the libraries one counter more, and one of its allocations fails
 * when its turn has come. The threads for passwords allocate too, so that counters are atomic. */
#include "allocators.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include <openssl/crypto.h>

#include "support/fail_malloc.h"

static atomic_size_t counts[OOM_SOURCES];
static atomic_size_t failing[OOM_SOURCES]; /* the count at which one fails; 0: none does */
static atomic_bool has_failed;

static bool fails_now(oom_source source)
{
    size_t number = atomic_fetch_add(&counts[source], 1) + 1;
    if (number != atomic_load(&failing[source]))
        return false;
    atomic_store(&has_failed, true);
    return true;
}

void oom_count_from(void)
{
    for (size_t i = 0; i < OOM_SOURCES; i++)
        atomic_store(&counts[i], 0);
    fail_malloc_begin(0);
}

size_t oom_count(oom_source source)
{
    return source == OOM_OURS ? fail_malloc_count() : atomic_load(&counts[source]);
}

void oom_arm(oom_source source, size_t nth)
{
    atomic_store(&has_failed, false);
    oom_count_from();
    if (source == OOM_OURS)
        fail_malloc_begin(nth + 1);
    else
        atomic_store(&failing[source], nth + 1);
}

bool oom_disarm(void)
{
    for (size_t i = 0; i < OOM_SOURCES; i++)
        atomic_store(&failing[i], 0);
    return fail_malloc_end() || atomic_load(&has_failed);
}

/* ---- libuv's ---- */

static void *uv_failing_malloc(size_t size)
{
    return fails_now(OOM_LIBUV) ? NULL : __real_malloc(size);
}

static void *uv_failing_realloc(void *memory, size_t size)
{
    return fails_now(OOM_LIBUV) ? NULL : __real_realloc(memory, size);
}

static void *uv_failing_calloc(size_t count, size_t size)
{
    return fails_now(OOM_LIBUV) ? NULL : __real_calloc(count, size);
}

/* ---- OpenSSL's ---- */

static void *ssl_failing_malloc(size_t size, const char *file, int line)
{
    (void)file;
    (void)line;
    return fails_now(OOM_OPENSSL) ? NULL : __real_malloc(size);
}

static void *ssl_failing_realloc(void *memory, size_t size, const char *file, int line)
{
    (void)file;
    (void)line;
    return fails_now(OOM_OPENSSL) ? NULL : __real_realloc(memory, size);
}

static void ssl_free(void *memory, const char *file, int line)
{
    (void)file;
    (void)line;
    free(memory);
}

bool oom_install(void)
{
    return CRYPTO_set_mem_functions(ssl_failing_malloc, ssl_failing_realloc, ssl_free) == 1 &&
           uv_replace_allocator(uv_failing_malloc, uv_failing_realloc, uv_failing_calloc, free) ==
               0;
}
