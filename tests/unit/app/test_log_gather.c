/* Lines that a loop's thread gathers, as they leave through a pipe of packets: each write is one read. */
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <unistd.h>
#include <uv.h>

#include "app/log.h"
#include "net/loop.h"
#include "support/unit_test.h"

typedef struct gathered {
    smx_loop *loop;
    log_sink *log;
    int ends[2];
    char text[4 * PIPE_BUF];
} gathered;

static gathered gathered_on(int pipe_flags)
{
    static const log_options OPTIONS = {LOG_LOGFMT, SMX_LOG_INFO, false};
    gathered g = {0};
    assert_int_equal(pipe2(g.ends, pipe_flags | O_NONBLOCK), 0);
    assert_int_equal(smx_loop_new(NULL, &g.loop), 0);
    assert_int_equal(log_new(g.ends[1], &OPTIONS, &g.log), 0);
    log_gather(g.log, g.loop);
    return g;
}

static void gathered_free(gathered *g)
{
    log_gather_end(g->log);
    log_free(g->log);
    smx_loop_free(g->loop);
    (void)close(g->ends[0]);
    (void)close(g->ends[1]);
}

static void turn(const gathered *g)
{
    (void)uv_run(smx_loop_uv(g->loop), UV_RUN_NOWAIT);
}

/* The next write, "" if there is none. */
static const char *next_write(gathered *g)
{
    ssize_t got = read(g->ends[0], g->text, sizeof(g->text) - 1);
    g->text[got < 0 ? 0 : got] = '\0';
    return g->text;
}

/* The events in a write, each with a blank behind it. */
static const char *events_in(const char *written, char text[static 256])
{
    char *at = text;
    for (const char *e; (e = strstr(written, "event=")) != NULL; written = e + 1) {
        size_t len = strcspn(e + 6, " \n");
        memcpy(at, e + 6, len);
        at += len;
        *at++ = ' ';
    }
    *at = '\0';
    return text;
}

static void log_a(const gathered *g, smx_log_level level, const char *event, size_t octets)
{
    char value[2048];
    memset(value, 'v', sizeof(value));
    const smx_log_field field = {"a", {value, octets}};
    log_write(g->log, level, event, 0, &field, 1);
}

static void app_log_gather__lines_of_a_turn_are_one_write(void **state)
{
    (void)state;
    char events[256];
    gathered g = gathered_on(O_DIRECT);
    log_a(&g, SMX_LOG_INFO, "one", 1);
    log_a(&g, SMX_LOG_INFO, "two", 1);
    log_a(&g, SMX_LOG_DEBUG, "unseen", 1);
    log_a(&g, SMX_LOG_INFO, "three", 1);
    assert_string_equal(next_write(&g), "");
    turn(&g);
    assert_string_equal(events_in(next_write(&g), events), "one two three ");
    assert_string_equal(next_write(&g), "");
    turn(&g);
    assert_string_equal(next_write(&g), "");
    log_a(&g, SMX_LOG_INFO, "four", 1);
    turn(&g);
    assert_string_equal(events_in(next_write(&g), events), "four ");
    gathered_free(&g);
}

static void app_log_gather__warnings_leave_at_once_behind_what_came_before(void **state)
{
    (void)state;
    char events[256];
    gathered g = gathered_on(O_DIRECT);
    log_a(&g, SMX_LOG_INFO, "before", 1);
    log_a(&g, SMX_LOG_WARN, "warning", 1);
    assert_string_equal(events_in(next_write(&g), events), "before warning ");
    log_a(&g, SMX_LOG_ERROR, "error", 1);
    assert_string_equal(events_in(next_write(&g), events), "error ");
    turn(&g);
    assert_string_equal(next_write(&g), "");
    gathered_free(&g);
}

static void app_log_gather__no_write_is_more_than_a_pipe_takes_whole(void **state)
{
    (void)state;
    enum { LINES = 100 };
    size_t lines = 0;
    size_t writes = 0;
    gathered g = gathered_on(O_DIRECT);
    for (size_t i = 0; i < LINES; i++)
        log_a(&g, SMX_LOG_INFO, "e", 100 + i);
    turn(&g);
    for (const char *w; *(w = next_write(&g)) != '\0'; writes++) {
        assert_true(strlen(w) <= PIPE_BUF);
        assert_int_equal(w[strlen(w) - 1], '\n');
        for (; (w = strchr(w, '\n')) != NULL; w++)
            lines++;
    }
    assert_int_equal(lines, LINES);
    assert_true(writes < LINES / 10);
    gathered_free(&g);
}

/* It leaves alone, as it would have left. */
static void app_log_gather__a_longer_line_stays_whole(void **state)
{
    (void)state;
    char value[2048];
    memset(value, '\x01', sizeof(value)); /* four octets each */
    const smx_log_field field = {"a", {value, sizeof(value)}};
    gathered g = gathered_on(0);
    log_a(&g, SMX_LOG_INFO, "short", 1);
    log_write(g.log, SMX_LOG_INFO, "long", 0, &field, 1);
    assert_non_null(strstr(next_write(&g), "event=short a=v\n"));
    turn(&g);
    const char *w = next_write(&g);
    assert_non_null(strstr(w, "event=long"));
    assert_true(strlen(w) > sizeof(value) * 4);
    assert_ptr_equal(strchr(w, '\n'), w + strlen(w) - 1);
    gathered_free(&g);
}

static void app_log_gather__the_end_writes_what_is_left(void **state)
{
    (void)state;
    char events[256];
    gathered g = gathered_on(O_DIRECT);
    log_a(&g, SMX_LOG_INFO, "last", 1);
    log_gather_end(g.log);
    assert_string_equal(events_in(next_write(&g), events), "last ");
    log_a(&g, SMX_LOG_INFO, "alone", 1);
    assert_string_equal(events_in(next_write(&g), events), "alone ");
    turn(&g);
    assert_string_equal(next_write(&g), "");
    gathered_free(&g);
}

/* What was lost of single lines is lost, no more. */
static void app_log_gather__a_pipe_without_room_for_all_takes_some(void **state)
{
    (void)state;
    char filler[3000];
    char events[256];
    memset(filler, '.', sizeof(filler));
    gathered g = gathered_on(0);
    assert_int_equal(fcntl(g.ends[1], F_SETPIPE_SZ, PIPE_BUF), PIPE_BUF);
    assert_int_equal(write(g.ends[1], filler, sizeof(filler)), sizeof(filler));
    log_a(&g, SMX_LOG_INFO, "one", 400);
    log_a(&g, SMX_LOG_INFO, "two", 400);
    log_a(&g, SMX_LOG_INFO, "lost", 400);
    log_a(&g, SMX_LOG_INFO, "short", 1);
    turn(&g);
    assert_string_equal(events_in(next_write(&g), events), "one two short ");
    log_a(&g, SMX_LOG_INFO, "later", 1);
    turn(&g);
    assert_string_equal(events_in(next_write(&g), events), "later ");
    gathered_free(&g);
}

static void *write_a_line(void *arg)
{
    log_a(arg, SMX_LOG_INFO, "other", 1);
    return NULL;
}

static void app_log_gather__lines_of_other_threads_leave_at_once(void **state)
{
    (void)state;
    char events[256];
    pthread_t other;
    gathered g = gathered_on(O_DIRECT);
    log_a(&g, SMX_LOG_INFO, "own", 1);
    assert_int_equal(pthread_create(&other, NULL, write_a_line, &g), 0);
    (void)pthread_join(other, NULL);
    assert_string_equal(events_in(next_write(&g), events), "other ");
    turn(&g);
    assert_string_equal(events_in(next_write(&g), events), "own ");
    gathered_free(&g);
}

/* As the results of upstreams are told. */
typedef struct result {
    loop_turn_end turn_end;
    const gathered *g;
    const char *event;
} result;

static void on_turn_end(loop_turn_end *self)
{
    const result *r = list_member(self, result, turn_end);
    log_a(r->g, SMX_LOG_INFO, r->event, 1);
}

static void app_log_gather__lines_of_the_turn_s_end_are_one_write_too(void **state)
{
    (void)state;
    char events[256];
    gathered g = gathered_on(O_DIRECT);
    result one = {{.fn = on_turn_end}, &g, "one"};
    result two = {{.fn = on_turn_end}, &g, "two"};
    loop_at_turn_end(g.loop, &one.turn_end);
    loop_at_turn_end(g.loop, &two.turn_end);
    turn(&g);
    assert_string_equal(events_in(next_write(&g), events), "one two ");
    gathered_free(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(app_log_gather__lines_of_a_turn_are_one_write),
        cmocka_unit_test(app_log_gather__warnings_leave_at_once_behind_what_came_before),
        cmocka_unit_test(app_log_gather__no_write_is_more_than_a_pipe_takes_whole),
        cmocka_unit_test(app_log_gather__a_longer_line_stays_whole),
        cmocka_unit_test(app_log_gather__the_end_writes_what_is_left),
        cmocka_unit_test(app_log_gather__a_pipe_without_room_for_all_takes_some),
        cmocka_unit_test(app_log_gather__lines_of_other_threads_leave_at_once),
        cmocka_unit_test(app_log_gather__lines_of_the_turn_s_end_are_one_write_too),
    };
    return cmocka_run_group_tests_name("app_log_gather", tests, NULL, NULL);
}
