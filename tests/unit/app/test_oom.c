/* Every allocation of the reading, the printing and the log fails once, in turn: nothing leaks, nothing
 * crashes, and the caller is told. */
#include "test_app.h"

#include <unistd.h>

#include "app/log.h"
#include "support/fail_malloc.h"

#define SOUND                                                                                              \
    "workers: 1\nhostname: a.example\n"                                                                    \
    "listeners: [{listen: '127.0.0.1:0', trust: {10.0.0.0/8: v}, xclient: [10.0.0.1], "                    \
    "allow_insecure_auth: true}, {listen: '127.0.0.2:0', mode: proxy, upstream: {url: 'smtps://g.h', "     \
    "source: 10.0.0.9}, extensions: [XFOO], audit: stdout, client_address: xclient, capture: {dir: /tmp, " \
    "client: 10.0.0.1, from: '*@x'}}]\n"                                                                   \
    "upstreams: {one: {url: 'smtp://a.b', user: \"x${HOME}\", pass: b, profile: ses, limits: [5/d]}}\n"    \
    "users: [{email: u, password: p, allow_from: ['*@x'], upstreams: [{one: 2}, {url: "                    \
    "'smtp://c.d'}]}, {email: v, downstreams: [{addr: 'e.f:25', user: a@b.c, pass: x}]}]\n"

#define WRONG                                                                                      \
    "wrkers: 1\nlisteners: [{listen: x, tls: nothing, trust: {a: b}}]\nusers: [{email: u, "        \
    "upstreams: [z], deadline: 1ms}, 5]\nhostname: ${SMX_TEST_UNSET}\n"

static void app_oom__a_sound_file_is_read_or_not(void **state)
{
    (void)state;
    for (size_t nth = 1;; nth++) {
        problems told = list_for(SOUND);
        config *c = NULL;
        fail_malloc_begin(nth);
        int error = config_load(&told, &c);
        bool failed = fail_malloc_end();
        assert_int_equal(error, failed ? SMX_E_NOMEM : 0);
        assert_true((error == 0) == (c != NULL));
        config_free(c);
        problems_free(&told);
        if (!failed)
            break;
    }
}

/* A problem that cannot be kept is missed, but the file never passes. */
static void app_oom__a_wrong_file_never_passes(void **state)
{
    (void)state;
    for (size_t nth = 1;; nth++) {
        problems told = list_for(WRONG);
        config *c = NULL;
        fail_malloc_begin(nth);
        int error = config_load(&told, &c);
        buffer shown = {0};
        if (problems_write(&told, &shown) == 0)
            json_decref(problems_json(&told));
        bool failed = fail_malloc_end();
        assert_true(error == SMX_E_SYNTAX || error == SMX_E_NOMEM);
        assert_null(c);
        buffer_free(&shown);
        problems_free(&told);
        if (!failed)
            break;
    }
}

static void app_oom__printing_is_whole_or_an_error(void **state)
{
    (void)state;
    config *c = config_of(SOUND);
    for (size_t nth = 1;; nth++) {
        buffer out = {0};
        fail_malloc_begin(nth);
        int error = config_print(c, &out);
        bool failed = fail_malloc_end();
        assert_int_equal(error, failed ? SMX_E_NOMEM : 0);
        buffer_free(&out);
        if (!failed)
            break;
    }
    config_free(c);
}

static void app_oom__a_line_of_the_log_is_whole_or_lost(void **state)
{
    (void)state;
    const log_options options = {LOG_JSON, SMX_LOG_INFO, true};
    const smx_log_field fields[] = {{"from", SMX_SLICE("a@b")}, {"b", SMX_SLICE("\x01\x02")}};
    int ends[2];
    char line[1024];
    assert_int_equal(pipe(ends), 0);
    for (size_t nth = 1;; nth++) {
        log_sink *log = NULL;
        fail_malloc_begin(nth);
        int error = log_new(ends[1], &options, &log);
        if (error == 0)
            log_write(log, SMX_LOG_INFO, "e", 1, fields, 2);
        bool failed = fail_malloc_end();
        log_free(log);
        assert_true(error == 0 || error == SMX_E_NOMEM);
        if (!failed)
            break;
    }
    (void)close(ends[1]);
    ssize_t got = read(ends[0], line, sizeof(line));
    assert_true(got > 0);
    assert_ptr_equal(memchr(line, '\n', (size_t)got), line + got - 1);
    (void)close(ends[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(app_oom__a_sound_file_is_read_or_not),
        cmocka_unit_test(app_oom__a_wrong_file_never_passes),
        cmocka_unit_test(app_oom__printing_is_whole_or_an_error),
        cmocka_unit_test(app_oom__a_line_of_the_log_is_whole_or_lost),
    };
    return cmocka_run_group_tests_name("app_oom", tests, NULL, NULL);
}
