/* The lines of the log, as they leave through a pipe. */
#include "test_app.h"

#include <jansson.h>
#include <pthread.h>
#include <unistd.h>

#include "app/log.h"

/* One event through a log; what came out, without its newline. "" if nothing did. */
static const char *line_of(const log_options *options, smx_log_level level, const char *event,
                           uint64_t session, const smx_log_field *fields, size_t count)
{
    static char line[16384];
    int ends[2];
    log_sink *log = NULL;
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(log_new(ends[1], options, &log), 0);
    log_write(log, level, event, session, fields, count);
    log_free(log);
    (void)close(ends[1]);
    ssize_t got = read(ends[0], line, sizeof(line) - 1);
    (void)close(ends[0]);
    assert_true(got >= 0);
    line[got] = '\0';
    if (got > 0) {
        assert_int_equal(line[got - 1], '\n');
        line[got - 1] = '\0';
        assert_null(strchr(line, '\n'));
    }
    return line;
}

static const log_options LOGFMT = {LOG_LOGFMT, SMX_LOG_INFO, false};
static const log_options JSON = {LOG_JSON, SMX_LOG_INFO, false};

/* The line behind "time=2026-11-21T10:17:18.123Z " */
static const char *behind_time(const char *line)
{
    enum { TIME = sizeof("time=2026-11-21T10:17:18.123Z ") - 1 };
    assert_int_equal(strncmp(line, "time=20", 7), 0);
    assert_int_equal(line[TIME - 1], ' ');
    assert_int_equal(line[TIME - 2], 'Z');
    return line + TIME;
}

static const char *logfmt_of(const char *value, size_t len)
{
    const smx_log_field field = {"helo", {value, len}};
    const char *line = behind_time(line_of(&LOGFMT, SMX_LOG_INFO, "e", 0, &field, 1));
    const char *head = "level=info event=e helo=";
    assert_int_equal(strncmp(line, head, strlen(head)), 0);
    return line + strlen(head);
}

static void app_log__first_keys_are_time_level_event_session(void **state)
{
    (void)state;
    const smx_log_field fields[] = {{"a", SMX_SLICE("b")}, {"c", SMX_SLICE("d")}};
    const char *line = line_of(&LOGFMT, SMX_LOG_WARN, "close", 77, fields, 2);
    assert_string_equal(behind_time(line), "level=warn event=close session=77 a=b c=d");
    line = line_of(&LOGFMT, SMX_LOG_ERROR, "ready", 0, NULL, 0);
    assert_string_equal(behind_time(line), "level=error event=ready");
}

static void app_log__logfmt_quotes_what_needs_it(void **state)
{
    (void)state;
    assert_string_equal(logfmt_of("plain@x.y:25", 12), "plain@x.y:25");
    assert_string_equal(logfmt_of("", 0), "\"\"");
    assert_string_equal(logfmt_of("a b", 3), "\"a b\"");
    assert_string_equal(logfmt_of("a=b", 3), "\"a=b\"");
    assert_string_equal(logfmt_of("a\"\\", 3), "\"a\\\"\\\\\"");
}

/* ATTACKS 38: nothing in a value reaches a terminal. */
static void app_log__controls_are_escaped(void **state)
{
    (void)state;
    assert_string_equal(logfmt_of("%n%s\x1b[2J", 8), "\"%n%s\\x1b[2J\"");
    assert_string_equal(logfmt_of("a\r\nlevel=error", 14), "\"a\\x0d\\x0alevel=error\"");
    assert_string_equal(logfmt_of("a\0b\x7f", 4), "\"a\\x00b\\x7f\"");
    assert_string_equal(logfmt_of("\xc2\x9b", 2), "\"\xEF\xBF\xBD\xEF\xBF\xBD\"");
    assert_string_equal(logfmt_of("\xc3\xa4\xff\xc3", 4), "\"\xc3\xa4\xEF\xBF\xBD\xEF\xBF\xBD\"");
}

static void app_log__json_is_always_valid(void **state)
{
    (void)state;
    char all[512];
    for (size_t i = 0; i < sizeof(all); i++)
        all[i] = (char)i;
    const smx_log_field fields[] = {{"helo", {all, sizeof(all)}},
                                    {"size", SMX_SLICE("123")},
                                    {"code", SMX_SLICE("0123")},
                                    {"helo2", SMX_SLICE("\xc3\xa4\"\n")}};
    json_t *line = json_loads(line_of(&JSON, SMX_LOG_INFO, "message", 5, fields, 4),
                              JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    assert_non_null(line);
    assert_string_equal(json_string_value(json_object_get(line, "event")), "message");
    assert_int_equal(json_integer_value(json_object_get(line, "session")), 5);
    assert_int_equal(json_integer_value(json_object_get(line, "size")), 123);
    assert_string_equal(json_string_value(json_object_get(line, "code")), "0123");
    assert_string_equal(json_string_value(json_object_get(line, "helo2")), "\xc3\xa4\"\n");
    json_decref(line);
}

static void app_log__less_serious_events_are_not_written(void **state)
{
    (void)state;
    const log_options quiet = {LOG_LOGFMT, SMX_LOG_WARN, false};
    assert_string_equal(line_of(&quiet, SMX_LOG_INFO, "e", 0, NULL, 0), "");
    assert_string_equal(line_of(&LOGFMT, SMX_LOG_DEBUG, "e", 0, NULL, 0), "");
    assert_string_not_equal(line_of(&quiet, SMX_LOG_WARN, "e", 0, NULL, 0), "");
}

static void app_log__secrets_are_never_written(void **state)
{
    (void)state;
    const smx_log_field fields[] = {{"password", SMX_SLICE("sesame")},
                                    {"pass", SMX_SLICE("sesame")},
                                    {"secret", SMX_SLICE("sesame")},
                                    {"a", SMX_SLICE("b")}};
    assert_string_equal(behind_time(line_of(&LOGFMT, SMX_LOG_INFO, "e", 0, fields, 4)),
                        "level=info event=e a=b");
}

/* The key is the process's log's: equal values are equal within one log only. */
static void app_log__anonymize_hashes_people(void **state)
{
    (void)state;
    const log_options hidden = {LOG_LOGFMT, SMX_LOG_INFO, true};
    const smx_log_field fields[] = {{"from", SMX_SLICE("a@example.com")},
                                    {"user", SMX_SLICE("a@example.com")},
                                    {"rcpt", SMX_SLICE("b@example.com")},
                                    {"client", SMX_SLICE("10.0.0.1")},
                                    {"upstream", SMX_SLICE("ses")}};
    char from[17], user[17], rcpt[17], client[17], again[17];
    const char *form = "level=info event=e from=%16s user=%16s rcpt=%16s client=%16s upstream=ses";
    const char *line = behind_time(line_of(&hidden, SMX_LOG_INFO, "e", 0, fields, 5));
    assert_null(strstr(line, "example"));
    assert_null(strstr(line, "10.0"));
    assert_int_equal(sscanf(line, form, from, user, rcpt, client), 4);
    assert_string_equal(from, user);
    assert_string_not_equal(from, rcpt);
    line = behind_time(line_of(&hidden, SMX_LOG_INFO, "e", 0, fields, 1));
    assert_int_equal(sscanf(line, "level=info event=e from=%16s", again), 1);
    assert_string_not_equal(from, again);
}

enum { LINES = 300, THREADS = 4 };

static void *write_lines(void *arg)
{
    for (int i = 0; i < LINES; i++)
        log_event(arg, SMX_LOG_INFO, "e", "a", "0123456789012345678901234567890123456789", NULL);
    return NULL;
}

static void app_log__lines_of_threads_stay_whole(void **state)
{
    (void)state;
    char name[] = "/tmp/smx-log-XXXXXX";
    int fd = mkstemp(name);
    log_sink *log = NULL;
    pthread_t threads[THREADS];
    assert_int_equal(log_new(fd, &LOGFMT, &log), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_lines, log), 0);
    for (int i = 0; i < THREADS; i++)
        (void)pthread_join(threads[i], NULL);
    log_free(log);
    FILE *written = fdopen(fd, "r");
    assert_non_null(written);
    rewind(written);
    char line[256];
    size_t count = 0;
    for (; fgets(line, sizeof(line), written) != NULL; count++)
        assert_string_equal(behind_time(line),
                            "level=info event=e a=0123456789012345678901234567890123456789\n");
    assert_int_equal(count, LINES * THREADS);
    (void)fclose(written);
    (void)unlink(name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(app_log__first_keys_are_time_level_event_session),
        cmocka_unit_test(app_log__logfmt_quotes_what_needs_it),
        cmocka_unit_test(app_log__controls_are_escaped),
        cmocka_unit_test(app_log__json_is_always_valid),
        cmocka_unit_test(app_log__less_serious_events_are_not_written),
        cmocka_unit_test(app_log__secrets_are_never_written),
        cmocka_unit_test(app_log__anonymize_hashes_people),
        cmocka_unit_test(app_log__lines_of_threads_stay_whole),
    };
    return cmocka_run_group_tests_name("app_log", tests, NULL, NULL);
}
