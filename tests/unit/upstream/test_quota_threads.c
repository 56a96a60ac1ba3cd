/* 64 sessions, each a thread with a loop of its own, reserve of one quota at a time: what they use is
 * the limit, never one more, and whoever waits for the store is told. */
#include "quota_fixture.h"

#include <stdatomic.h>

enum { SESSIONS = 64 };

typedef struct session {
    pthread_t thread;
    smx_loop *loop;
    quota *quota;
    uint64_t random;
    uint64_t most; /* recipients of a message */
    uint64_t used;
    bool was_told;
} session;

static void session_on_told(void *arg)
{
    session *s = arg;
    s->was_told = true;
    smx_loop_stop(s->loop);
}

/* Reserves; waits on its loop, or now and then gives up waiting and asks again. */
static quota_state session_reserve(session *s, uint64_t recipients, quota_reservation *r)
{
    quota_waiter waiter = {.loop = s->loop, .told = session_on_told, .arg = s};
    for (;;) {
        s->was_told = false;
        quota_state state = quota_reserve(s->quota, NOW, recipients, &waiter, r).state;
        if (state != QUOTA_LEASING)
            return state;
        s->random = s->random * 6364136223846793005 + 1442695040888963407;
        bool is_patient = s->random >> 62 != 0;
        if (is_patient || quota_cancel(s->quota, &waiter))
            smx_loop_run(s->loop);
        if (is_patient)
            assert_true(s->was_told);
    }
}

static void *session_work(void *arg)
{
    session *s = arg;
    quota_reservation r = {0};
    uint64_t recipients = s->most;
    while (recipients > 0) {
        if (session_reserve(s, recipients, &r) != QUOTA_OK) {
            recipients--; /* a smaller one may fit */
            continue;
        }
        if (s->random % 7 == 0) {
            quota_release(s->quota, &r);
            s->random /= 7;
            continue;
        }
        s->used += recipients;
        quota_commit(s->quota, NOW, &r);
    }
    return NULL;
}

static uint64_t run(store *st, const char *limit, uint64_t most)
{
    static session sessions[SESSIONS];
    quota *q = quota_of(st, limit, NULL, NOW);
    uint64_t used = 0;
    for (size_t i = 0; i < SESSIONS; i++) {
        sessions[i] = (session){.quota = q, .random = i + 1, .most = most};
        assert_int_equal(smx_loop_new(NULL, &sessions[i].loop), 0);
    }
    for (size_t i = 0; i < SESSIONS; i++)
        assert_int_equal(pthread_create(&sessions[i].thread, NULL, session_work, &sessions[i]), 0);
    for (size_t i = 0; i < SESSIONS; i++) {
        assert_int_equal(pthread_join(sessions[i].thread, NULL), 0);
        used += sessions[i].used;
        smx_loop_free(sessions[i].loop);
    }
    quota_report report;
    assert_int_equal(quota_reports(q, NOW, &report, 1), 1);
    assert_int_equal(report.used, used);
    quota_free(q);
    return used;
}

/* A session whose reservation is released may leave some to others that have given up. */
static void check(const char *limit, uint64_t amount, uint64_t most)
{
    store *s = store_of("memory:");
    uint64_t used = run(s, limit, most);
    if (used > amount)
        fail_msg("%llu of %s", (unsigned long long)used, limit);
    quota *q = quota_of(s, limit, NULL, NOW);
    assert_int_equal(use_all(q, s, NOW), amount - used);
    quota_free(q);
    store_close(s);
}

static void quota_threads__64_sessions_use_the_limit_and_no_more(void **state)
{
    (void)state;
    check("1/day", 1, 1);
    check("64/day", 64, 1);
    check("1000/day", 1000, 1);
    check("5000 recipients/day", 5000, 9);
    check("300 recipients/month calendar Europe/Berlin", 300, 9);
}

static void quota_threads__short_windows_without_a_store(void **state)
{
    (void)state;
    uint64_t used = run(NULL, "700 recipients/s", 5);
    assert_in_range(used, 700 - SESSIONS * 5, 700);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quota_threads__64_sessions_use_the_limit_and_no_more),
        cmocka_unit_test(quota_threads__short_windows_without_a_store),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
