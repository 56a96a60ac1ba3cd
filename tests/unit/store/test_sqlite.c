/* The store in a SQLite file: what survives, whom it shuts out, and what is said of files that will
 * not do. */
#include "fixture.h"

#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static uint64_t clock_now(void)
{
    return 5000;
}

static uint64_t clock_later(void)
{
    return 9000;
}

static int begin(void **state)
{
    static place p;
    place_make(&p);
    *state = &p;
    return 0;
}

static int end(void **state)
{
    place_remove(*state);
    return 0;
}

static void write_file(const char *name, const char *text)
{
    FILE *f = fopen(name, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

/* What the opening says. */
static void assert_refused(const place *p, int expected, const char *said)
{
    const store_options options = {.url = p->url};
    store *s = NULL;
    problem told = {0};
    assert_int_equal(store_open(&options, &s, &told), expected);
    assert_null(s);
    if (strstr(told.text, said) == NULL || strstr(told.text, p->folder) == NULL)
        fail_msg("%s", told.text);
}

static const store_lease_request ONE = {.owner = 1, .window = 5, .span = 1, .limit = 10, .want = 4};

static void sqlite__a_close_and_an_opening_keep_all(void **state)
{
    const place *p = *state;
    store *s = store_at(p->url, clock_now);
    assert_int_equal(store_last_use(s), 0);
    const store_use used = {5, 3};
    store_lease_request r = ONE;
    r.want = 0;
    r.used = &used;
    r.used_count = 1;
    assert_int_equal(ask(s, r).used, 3);
    assert_int_equal(put(s, "name", "value", 100000), 0);
    store_close(s);
    s = store_at(p->url, clock_later);
    assert_int_equal(store_last_use(s), 5000); /* its close */
    assert_string_equal(get(s, "name").value, "value");
    answer a = ask(s, ONE);
    assert_int_equal(a.used, 3);
    assert_int_equal(a.granted, 4);
    store_close(s);
}

/* A process that opens the store, leases, says so, and is killed. */
static void lease_and_be_killed(const place *p, uint64_t want)
{
    int pipe_ends[2];
    assert_int_equal(pipe(pipe_ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        store *s = store_at(p->url, clock_now);
        store_lease_request r = ONE;
        r.want = want;
        char granted = (char)ask(s, r).granted;
        (void)!write(pipe_ends[1], &granted, 1);
        for (;;)
            (void)pause();
    }
    char granted;
    assert_int_equal(read(pipe_ends[0], &granted, 1), 1);
    assert_int_equal(granted, want);
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    (void)close(pipe_ends[0]);
    (void)close(pipe_ends[1]);
}

static void sqlite__the_lease_of_a_killed_process_counts_as_used(void **state)
{
    const place *p = *state;
    lease_and_be_killed(p, 4);
    store *s = store_at(p->url, clock_later);
    assert_int_equal(store_last_use(s), 9000); /* it may have been in use until now */
    store_lease_request r = ONE;
    r.window = 6; /* it may have been spent in this window */
    r.want = 10;
    answer a = ask(s, r);
    assert_int_equal(a.used, 4);
    assert_int_equal(a.others, 0);
    assert_int_equal(a.granted, 6);
    r.owner = 2; /* only once */
    a = ask(s, r);
    assert_int_equal(a.used, 4);
    assert_int_equal(a.others, 6);
    store_close(s);
    s = store_at(p->url, clock_later);
    a = ask(s, r);
    assert_int_equal(a.used, 10); /* nobody gave those back */
    store_close(s);
}

static void sqlite__one_process_at_a_time(void **state)
{
    const place *p = *state;
    int pipe_ends[2];
    assert_int_equal(pipe(pipe_ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)store_at(p->url, clock_now);
        (void)!write(pipe_ends[1], "x", 1);
        for (;;)
            (void)pause();
    }
    char ready;
    assert_int_equal(read(pipe_ends[0], &ready, 1), 1);
    assert_refused(p, SMX_E_BUSY, "in use by another process");
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    store_close(store_at(p->url, clock_now));
    (void)close(pipe_ends[0]);
    (void)close(pipe_ends[1]);
}

static void sqlite__a_file_of_something_else_is_refused(void **state)
{
    const place *p = *state;
    write_file(p->file, "Dear diary, this is a long enough text to be no database at all.\n"
                        "It goes on and on, so that nobody takes it for a head that was cut off.\n"
                        "And on.\n");
    assert_refused(p, SMX_E_SYNTAX, "damaged, or no SQLite file");
    assert_int_equal(unlink(p->file), 0);
    sqlite3 *db;
    assert_int_equal(sqlite3_open(p->file, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "CREATE TABLE t (a)", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    assert_refused(p, SMX_E_SYNTAX, "no store of this version");
}

static void sqlite__a_damaged_file_is_refused(void **state)
{
    const place *p = *state;
    store *s = store_at(p->url, clock_now);
    assert_int_equal(put(s, "name", "value", 100000), 0);
    store_close(s);
    int file = open(p->file, O_WRONLY | O_CLOEXEC);
    assert_true(file >= 0);
    char garbage[4096];
    memset(garbage, 'x', sizeof(garbage));
    assert_int_equal(pwrite(file, garbage, sizeof(garbage) - 100, 100), sizeof(garbage) - 100);
    assert_int_equal(close(file), 0);
    assert_refused(p, SMX_E_SYNTAX, "damaged");
}

static void sqlite__a_folder_that_is_not_there_is_told(void **state)
{
    const place *p = *state;
    place missing = *p;
    (void)snprintf(missing.url, sizeof(missing.url), "sqlite:%s/none/state.db", p->folder);
    assert_refused(&missing, SMX_E_IO, "its folder must exist and be writable");
}

static void sqlite__a_file_that_cannot_be_written_is_told(void **state)
{
    const place *p = *state;
    store_close(store_at(p->url, clock_now));
    uid_t user = geteuid();
    assert_int_equal(chmod(p->file, 0444), 0);
    assert_int_equal(chmod(p->folder, 0755), 0);
    if (user == 0) /* root may write anywhere */
        assert_int_equal(seteuid(65534), 0);
    assert_refused(p, SMX_E_IO, "must be writable");
    assert_int_equal(seteuid(user), 0);
    assert_int_equal(chmod(p->file, 0666), 0);
    assert_int_equal(chmod(p->folder, 0555), 0);
    if (user == 0)
        assert_int_equal(seteuid(65534), 0);
    assert_refused(p, SMX_E_IO, "writable");
    assert_int_equal(seteuid(user), 0);
    assert_int_equal(chmod(p->folder, 0700), 0);
}

/* ---- at run time ---- */

typedef struct heard {
    size_t failed;
    size_t works;
} heard;

static void heard_log(void *arg, smx_log_level level, const char *event, uint64_t session,
                      const smx_log_field *fields, size_t count)
{
    heard *h = arg;
    (void)session;
    assert(count > 0 && slice_equal(fields[0].value, SMX_SLICE("sqlite")));
    if (level == SMX_LOG_ERROR && strcmp(event, "store_failed") == 0)
        h->failed++;
    if (strcmp(event, "store_works") == 0)
        h->works++;
}

static void limit_files(rlim_t octets)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = octets;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* A disk that is full, by a limit on the size of files. */
static void sqlite__a_full_disk_fails_requests_and_heals(void **state)
{
    const place *p = *state;
    heard h = {0};
    const store_options options = {
        .url = p->url, .log = heard_log, .log_arg = &h, .wall_ms = clock_now};
    store *s;
    problem told;
    assert_int_equal(store_open(&options, &s, &told), 0);
    assert_int_equal(put(s, "a", "before", 100000), 0);
    void (*before)(int) = signal(SIGXFSZ, SIG_IGN);
    limit_files(0);
    assert_int_equal(put(s, "a", "meanwhile", 100000), SMX_E_IO);
    assert_int_equal(ask(s, ONE).error, SMX_E_IO);
    assert_string_equal(get(s, "a").value, "before");
    limit_files(RLIM_INFINITY);
    (void)signal(SIGXFSZ, before);
    assert_int_equal(ask(s, ONE).granted, 4);
    assert_int_equal(put(s, "a", "after", 100000), 0);
    assert_string_equal(get(s, "a").value, "after");
    store_close(s);
    assert_true(h.failed > 0);
    assert_int_equal(h.works, h.failed);
}

/* ---- what the system is asked to make durable ---- */

static atomic_size_t syncs;

/* In place of the C library's, for SQLite too. */
__attribute__((visibility("default"))) int fdatasync(int file)
{
    syncs++;
    return (int)syscall(SYS_fdatasync, file);
}

__attribute__((visibility("default"))) int fsync(int file)
{
    syncs++;
    return (int)syscall(SYS_fsync, file);
}

static void sqlite__an_answer_is_durable(void **state)
{
    const place *p = *state;
    store *s = store_at(p->url, clock_now);
    for (size_t i = 0; i < 5; i++) {
        size_t before = syncs;
        assert_int_equal(put(s, "a", "x", 100000), 0);
        assert_true(syncs > before);
        before = syncs;
        assert_int_equal(ask(s, ONE).granted, 4);
        assert_true(syncs > before);
    }
    store_close(s);
}

static void sqlite__waiting_requests_become_durable_together(void **state)
{
    const place *p = *state;
    store *s = store_at(p->url, clock_now);
    enum { COUNT = 500 };
    static answer answers[COUNT];
    size_t before = syncs;
    for (size_t i = 0; i < COUNT; i++) {
        answers[i] = (answer)ANSWER;
        assert_int_equal(
            store_put(s, SMX_SLICE("a"), SMX_SLICE("y"), 100000, answer_on_put, &answers[i]), 0);
    }
    for (size_t i = 0; i < COUNT; i++) {
        answer_await(&answers[i]);
        assert_int_equal(answers[i].error, 0);
    }
    assert_in_range(syncs - before, 1, COUNT / 2);
    store_close(s);
}

int main(void)
{
#define CASE(test) cmocka_unit_test_setup_teardown(test, begin, end)
    const struct CMUnitTest tests[] = {
        CASE(sqlite__a_close_and_an_opening_keep_all),
        CASE(sqlite__the_lease_of_a_killed_process_counts_as_used),
        CASE(sqlite__one_process_at_a_time),
        CASE(sqlite__a_file_of_something_else_is_refused),
        CASE(sqlite__a_damaged_file_is_refused),
        CASE(sqlite__a_folder_that_is_not_there_is_told),
        CASE(sqlite__a_file_that_cannot_be_written_is_told),
        CASE(sqlite__a_full_disk_fails_requests_and_heals),
        CASE(sqlite__an_answer_is_durable),
        CASE(sqlite__waiting_requests_become_durable_together),
    };
#undef CASE
    return cmocka_run_group_tests(tests, NULL, NULL);
}
