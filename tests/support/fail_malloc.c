/* See fail_malloc.h. The state is the program's: malloc has no argument to carry it. It is atomic
 * because a test may begin on one thread what fails on another. */
#include "support/fail_malloc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>

#include <cmocka.h>

#include "smx/types.h"

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
char *__wrap_strdup(const char *text);

static atomic_bool is_counting;
static atomic_size_t asked;
static atomic_size_t failing; /* the one that fails; 0: none */

static atomic_bool threads_are_chosen;
static _Thread_local bool thread_is_chosen;

static bool fails_now(void)
{
    if (!is_counting || (threads_are_chosen && !thread_is_chosen))
        return false;
    return ++asked == failing;
}

void *__wrap_malloc(size_t size)
{
    return fails_now() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails_now() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *memory, size_t size)
{
    return fails_now() ? NULL : __real_realloc(memory, size);
}

char *__wrap_strdup(const char *text)
{
    return fails_now() ? NULL : __real_strdup(text);
}

void fail_malloc_begin(size_t nth)
{
    asked = 0;
    failing = nth;
    is_counting = true;
}

bool fail_malloc_end(void)
{
    is_counting = false;
    if (failing == 1 && asked == 0)
        fail_msg("nothing was allocated: this tests nothing");
    return failing != 0 && asked >= failing;
}

size_t fail_malloc_count(void)
{
    return asked;
}

void fail_malloc_choose_thread(bool chosen)
{
    thread_is_chosen = chosen;
    threads_are_chosen = true;
}

void fail_malloc_each(int (*run)(void))
{
    bool failed = true;
    size_t nth = 0;
    while (failed) {
        fail_malloc_begin(++nth);
        int error = run();
        failed = fail_malloc_end();
        assert_int_equal(error, failed ? SMX_E_NOMEM : 0);
    }
}
