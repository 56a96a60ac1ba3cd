/* What the tests of the daemon's outer room share: configurations from texts. */
#ifndef TEST_APP_H
#define TEST_APP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "app/config.h"

/* Parts of a small file that is right; each takes one line. */
#define LISTENERS "listeners: [{listen: '127.0.0.1:0', allow_insecure_auth: true}]\n"
#define UPSTREAMS "upstreams: {one: {url: 'smtp://127.0.0.1:1'}}\n"
#define USERS     "users: [{email: u, password: p, upstreams: [one]}]\n"

static inline problems list_for(const char *text)
{
    return (problems){.file = "f", .text = slice_of_text(text)};
}

/* "line:column: sentence\n" for each problem; a new string. */
static inline char *sentences(const problems *told)
{
    buffer out = {0};
    for (size_t i = 0; i < told->count; i++) {
        buffer one = {0};
        assert_int_equal(problems_write_head(told, &told->entries[i], &one), 0);
        assert_int_equal(buffer_append(&out, slice_from(buffer_slice(&one), strlen("f:"))), 0);
        buffer_free(&one);
    }
    char *text = slice_to_text(buffer_slice(&out));
    assert_non_null(text);
    buffer_free(&out);
    return text;
}

/* What a file's reading tells; a new string. */
static inline char *problems_of(const char *text)
{
    problems told = list_for(text);
    config *c = NULL;
    int error = config_load(&told, &c);
    assert_int_equal(error, told.errors > 0 ? SMX_E_SYNTAX : 0);
    char *found = sentences(&told);
    config_free(c);
    problems_free(&told);
    return found;
}

static inline void assert_problems(const char *text, const char *expected)
{
    char *found = problems_of(text);
    if (strcmp(found, expected) != 0)
        fail_msg("\n%s\ntells\n%s\ninstead of\n%s", text, found, expected);
    free(found);
}

/* A file that is right, warnings aside. */
static inline config *config_of(const char *text)
{
    problems told = list_for(text);
    config *c = NULL;
    if (config_load(&told, &c) != 0)
        fail_msg("\n%s\ntells\n%s", text, sentences(&told));
    problems_free(&told);
    return c;
}

/* `check --print`; a new string. */
static inline char *print_of(const config *c)
{
    buffer out = {0};
    assert_int_equal(config_print(c, &out), 0);
    char *text = slice_to_text(buffer_slice(&out));
    assert_non_null(text);
    buffer_free(&out);
    return text;
}

#endif
