/* Processes that send through a quota are killed (SIGKILL) wherever they are: all together they never
 * exceed the limit, and each loses at most its lease. */
#include "quota_fixture.h"

#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct place {
    char folder[64];
    char file[96];
    char url[128];
} place;

static void place_make(place *p)
{
    (void)snprintf(p->folder, sizeof(p->folder), "/tmp/smx-quota-XXXXXX");
    assert_non_null(mkdtemp(p->folder));
    (void)snprintf(p->file, sizeof(p->file), "%s/state.db", p->folder);
    (void)snprintf(p->url, sizeof(p->url), "sqlite:%s", p->file);
}

static void place_remove(const place *p)
{
    char wal[128];
    (void)snprintf(wal, sizeof(wal), "%s-wal", p->file);
    (void)unlink(wal);
    (void)unlink(p->file);
    assert_int_equal(rmdir(p->folder), 0);
}

/* Sends until nothing is left: an octet into the pipe for each message that the provider took. */
static void send_all(const char *url, const char *limit, uint64_t now, int sent)
{
    store *s = store_of(url);
    quota *q = quota_of(s, limit, NULL, now);
    quota_reservation r = {0};
    while (reserve(q, s, now, 1, &r) == QUOTA_OK) {
        (void)!write(sent, "x", 1);
        quota_commit(q, now, &r);
    }
    (void)close(sent);
    for (;;)
        (void)pause();
}

/* How many messages a process sent that is killed after it has sent `patience`. */
static uint64_t send_and_be_killed(const char *url, const char *limit, uint64_t now,
                                   uint64_t patience)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)close(ends[0]);
        send_all(url, limit, now, ends[1]);
    }
    (void)close(ends[1]);
    uint64_t sent = 0;
    char octet;
    while (sent < patience && read(ends[0], &octet, 1) == 1)
        sent++;
    assert_int_equal(kill(child, SIGKILL), 0);
    while (read(ends[0], &octet, 1) == 1)
        sent++;
    assert_int_equal(waitpid(child, NULL, 0), child);
    (void)close(ends[0]);
    return sent;
}

static void run(const char *limit, uint64_t amount, const uint64_t *patience, size_t kills)
{
    place p;
    place_make(&p);
    uint64_t block = amount < 100 ? 1 : amount / 100;
    uint64_t sent = 0;
    for (size_t i = 0; i < kills; i++)
        sent += send_and_be_killed(p.url, limit, NOW + i * 1000, patience[i]);
    assert_true(sent <= amount);
    store *s = store_of(p.url);
    quota *q = quota_of(s, limit, NULL, NOW + 60000);
    sent += use_all(q, s, NOW + 60000);
    assert_true(sent <= amount);
    /* a lease, and one that was reserved and not sent */
    assert_true(sent + kills * (block + 1) >= amount);
    assert_true(use_all(q, s, NOW + 90000000) == amount); /* the next day all is there again */
    quota_free(q);
    store_close(s);
    place_remove(&p);
}

static void quota_kill__small_limits_are_never_exceeded(void **state)
{
    (void)state;
    static const uint64_t PATIENCE[] = {0, 1, 3, 1, 9, 2};
    run("50/day", 50, PATIENCE, 6);
}

static void quota_kill__blocks_are_never_exceeded(void **state)
{
    (void)state;
    static const uint64_t PATIENCE[] = {17, 250, 1, 399, 5, 64, 0, 100};
    run("2000/day", 2000, PATIENCE, 8);
}

static void quota_kill__calendar_days_are_never_exceeded(void **state)
{
    (void)state;
    static const uint64_t PATIENCE[] = {30, 4, 77};
    run("500/day calendar Europe/Berlin", 500, PATIENCE, 3);
}

/* Windows under a minute are not stored: nobody knows what the killed process has just sent. */
static void quota_kill__a_short_window_waits_for_one_window(void **state)
{
    (void)state;
    place p;
    place_make(&p);
    store *s = store_of(p.url); /* the first ever: nobody has sent before */
    quota *q = quota_of(s, "5/s", NULL, NOW);
    assert_int_equal(quota_look(q, NOW, 1).state, QUOTA_OK);
    quota_free(q);
    store_close(s);
    (void)send_and_be_killed(p.url, "5/s", NOW, 5);
    s = store_of(p.url);
    q = quota_of(s, "5/s", NULL, NOW + 1);
    quota_verdict v = quota_look(q, NOW + 1, 1);
    assert_int_equal(v.state, QUOTA_WAIT);
    assert_int_equal(v.until_ms, NOW + 1000);
    assert_int_equal(use_all(q, s, NOW + 1000), 5);
    quota_free(q);
    store_close(s);
    place_remove(&p);
}

static void limit_files(rlim_t octets)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = octets;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* What is leased may be used while the disk is full; then nothing may, until it heals. */
static void quota_kill__a_store_that_fails_is_full_until_it_heals(void **state)
{
    (void)state;
    place p;
    place_make(&p);
    store *s = store_of(p.url);
    quota *q = quota_of(s, "1000/day", NULL, NOW);
    assert_true(use(q, s, NOW, 1));
    store_barrier(s);
    void (*before)(int) = signal(SIGXFSZ, SIG_IGN);
    limit_files(0);
    assert_in_range(use_all(q, s, NOW), 1, 10);
    quota_reservation r = {0};
    quota_verdict v = quota_reserve(q, NOW, 1, NULL, &r);
    assert_int_equal(v.state, QUOTA_FULL);
    assert_string_equal(v.why, "the store fails");
    assert_in_range(v.until_ms, NOW + 1, NOW + 1000);
    limit_files(RLIM_INFINITY);
    (void)signal(SIGXFSZ, before);
    assert_true(use(q, s, v.until_ms, 1));
    (void)use_all(q, s, v.until_ms);
    quota_report report;
    assert_int_equal(quota_reports(q, v.until_ms, &report, 1), 1);
    assert_int_equal(report.used, 1000);
    quota_free(q);
    store_close(s);
    place_remove(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quota_kill__small_limits_are_never_exceeded),
        cmocka_unit_test(quota_kill__blocks_are_never_exceeded),
        cmocka_unit_test(quota_kill__calendar_days_are_never_exceeded),
        cmocka_unit_test(quota_kill__a_short_window_waits_for_one_window),
        cmocka_unit_test(quota_kill__a_store_that_fails_is_full_until_it_heals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
