/* Files that lines are appended to: reopening, losses, pipes that nobody reads. */
#include "test_app.h"

#include <fcntl.h>
#include <unistd.h>

#include "app/outlet.h"
#include "base/clock.h"

typedef struct stage {
    char folder[64];
    char path[96];
    log_sink *log;
    int said; /* the log's reading end */
    outlets *all;
} stage;

static int set_up(void **state)
{
    static const log_options PLAIN = {LOG_LOGFMT, SMX_LOG_INFO, false};
    static stage made;
    int ends[2];
    made = (stage){.folder = "/tmp/smx-outlet-XXXXXX"};
    assert_non_null(mkdtemp(made.folder));
    (void)snprintf(made.path, sizeof(made.path), "%s/lines", made.folder);
    assert_int_equal(pipe(ends), 0);
    made.said = ends[0];
    assert_int_equal(log_new(ends[1], &PLAIN, &made.log), 0);
    assert_int_equal(outlets_new(made.log, &made.all), 0);
    *state = &made;
    return 0;
}

static int tear_down(void **state)
{
    stage *s = *state;
    char command[128];
    outlets_free(s->all);
    log_free(s->log);
    (void)close(s->said);
    (void)snprintf(command, sizeof(command), "rm -r %s", s->folder);
    return system(command);
}

/* What is in the file once all was written. */
static const char *contents(const char *path)
{
    static char text[4096];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
    text[got < 0 ? 0 : got] = '\0';
    if (fd >= 0)
        (void)close(fd);
    return text;
}

static outlet *open_outlet(const stage *s, const char *path)
{
    problem p;
    outlet *o = NULL;
    assert_int_equal(outlets_open(s->all, path, &o, &p), 0);
    return o;
}

/* Closing writes what waits. */
static void finish(stage *s)
{
    outlets_free(s->all);
    s->all = NULL;
}

static void app_outlet__lines_are_appended_in_order(void **state)
{
    stage *s = *state;
    outlet *o = open_outlet(s, s->path);
    assert_ptr_equal(open_outlet(s, s->path), o);
    outlet_write(o, SMX_SLICE("one\n"));
    outlet_write(o, SMX_SLICE("two\n"));
    outlets_append(s->all, s->path, SMX_SLICE("three\n"));
    finish(s);
    assert_string_equal(contents(s->path), "one\ntwo\nthree\n");
}

static void app_outlet__a_file_that_was_moved_is_opened_anew(void **state)
{
    stage *s = *state;
    char moved[128];
    (void)snprintf(moved, sizeof(moved), "%s.1", s->path);
    outlet *o = open_outlet(s, s->path);
    outlet_write(o, SMX_SLICE("one\n"));
    assert_int_equal(rename(s->path, moved), 0);
    outlet_write(o, SMX_SLICE("two\n"));
    outlets_reopen(s->all);
    outlet_write(o, SMX_SLICE("three\n"));
    finish(s);
    assert_string_equal(contents(moved), "one\ntwo\n");
    assert_string_equal(contents(s->path), "three\n");
}

static void app_outlet__a_full_disk_is_counted_and_told_once(void **state)
{
    stage *s = *state;
    char said[1024];
    outlet *o = open_outlet(s, "/dev/full");
    for (int i = 0; i < 3; i++)
        outlet_write(o, SMX_SLICE("line\n"));
    uint64_t until = clock_monotonic_ms() + 10000;
    while (outlets_lost(s->all) < 3 && clock_monotonic_ms() < until)
        (void)usleep(1000);
    assert_int_equal(outlets_lost(s->all), 3);
    ssize_t got = read(s->said, said, sizeof(said) - 1);
    assert_true(got > 0);
    said[got] = '\0';
    assert_non_null(strstr(said, "event=record_lost file=/dev/full"));
    assert_ptr_equal(strchr(said, '\n'), said + got - 1);
}

static void app_outlet__what_cannot_be_opened_is_told(void **state)
{
    stage *s = *state;
    problem p;
    outlet *o = NULL;
    assert_int_not_equal(outlets_open(s->all, s->folder, &o, &p), 0);
    assert_non_null(strstr(p.text, "cannot be written to: Is a directory"));
    assert_null(o);
}

/* A pipe whose reader sleeps: writers go on, the queue is bounded, the end comes. */
static void app_outlet__a_reader_that_does_not_read_holds_up_nobody(void **state)
{
    stage *s = *state;
    char path[64];
    int ends[2];
    static char block[65536];
    memset(block, 'x', sizeof(block));
    block[sizeof(block) - 1] = '\n';
    assert_int_equal(pipe(ends), 0);
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", ends[1]);
    outlet *o = open_outlet(s, path);
    uint64_t began = clock_monotonic_ms();
    for (int i = 0; i < 400; i++)
        outlet_write(o, slice_of(block, sizeof(block)));
    assert_true(outlets_lost(s->all) > 200);
    finish(s);
    assert_true(clock_monotonic_ms() - began < 10000);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(app_outlet__lines_are_appended_in_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(app_outlet__a_file_that_was_moved_is_opened_anew, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(app_outlet__a_full_disk_is_counted_and_told_once, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(app_outlet__what_cannot_be_opened_is_told, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(app_outlet__a_reader_that_does_not_read_holds_up_nobody,
                                        set_up, tear_down),
    };
    return cmocka_run_group_tests_name("app_outlet", tests, NULL, NULL);
}
