/* The queue of alerts: told in the order in which they are due, at most so many, and each that is lost
 * is a line of the log. The URL is a server of this program. */
#include "support/unit_test.h"

#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "base/clock.h"
#include "mux/alert.h"
#include "net/http.h"
#include "support/http_endpoint.h"

enum { WAITING_MAX = 256, TOO_MANY = 10, SENDERS = 8, EACH = 20 };

typedef struct stage {
    http_endpoint *endpoint;
    alerts *alerts;
    atomic_size_t lost; /* lines of the log that say so */
} stage;

static void stage_log(void *arg, smx_log_level level, const char *event, uint64_t session,
                      const smx_log_field *fields, size_t count)
{
    stage *s = arg;
    (void)session;
    bool is_lost = level == SMX_LOG_ERROR && strcmp(event, "alert_failed") == 0 && count == 3 &&
                   slice_equal(fields[2].value, SMX_SLICE("too many wait"));
    (void)atomic_fetch_add(&s->lost, is_lost);
}

static int setup(void **state)
{
    stage *s = calloc(1, sizeof(*s));
    assert_non_null(s);
    s->endpoint = http_endpoint_new("");
    assert_int_equal(alerts_new(stage_log, s, &s->alerts), 0);
    assert_int_equal(alerts_configure(s->alerts, http_endpoint_url(s->endpoint), "mux.example"), 0);
    *state = s;
    return 0;
}

static int teardown(void **state)
{
    stage *s = *state;
    alerts_free(s->alerts);
    http_endpoint_free(s->endpoint);
    free(s);
    return 0;
}

static void send_numbered(stage *s, size_t number)
{
    char name[32];
    (void)snprintf(name, sizeof(name), "u%zu", number);
    alerts_send(s->alerts, ALERT_BREAKER_OPENED, name, SMX_SLICE("down"), 0);
}

/* The thread has one in its hands, so that from now on all wait. */
static void fill_hands(stage *s)
{
    http_endpoint_hold(s->endpoint, true);
    send_numbered(s, 0);
    http_endpoint_wait(s->endpoint, 1);
}

/* The nth that was told is of this kind and this upstream. */
static void assert_told(stage *s, size_t nth, const char *event, const char *upstream)
{
    json_t *told = json_loads(http_endpoint_body(s->endpoint, nth), 0, NULL);
    assert_non_null(told);
    assert_string_equal(json_string_value(json_object_get(told, "event")), event);
    assert_string_equal(json_string_value(json_object_get(told, "upstream")), upstream);
    assert_string_equal(json_string_value(json_object_get(told, "hostname")), "mux.example");
    json_decref(told);
}

static void mux_alert__at_most_256_wait_and_each_lost_one_is_logged(void **state)
{
    stage *s = *state;
    char name[32];
    fill_hands(s);
    for (size_t i = 1; i <= WAITING_MAX + TOO_MANY; i++)
        send_numbered(s, i);
    assert_int_equal(atomic_load(&s->lost), TOO_MANY);
    http_endpoint_hold(s->endpoint, false);
    http_endpoint_wait(s->endpoint, 1 + WAITING_MAX);
    for (size_t i = 0; i <= WAITING_MAX; i++) { /* in the order in which they were sent */
        (void)snprintf(name, sizeof(name), "u%zu", i);
        assert_told(s, i, "breaker_opened", name);
    }
    send_numbered(s, 999); /* there is room again, and none that was lost comes before it */
    http_endpoint_wait(s->endpoint, WAITING_MAX + 2);
    assert_told(s, WAITING_MAX + 1, "breaker_opened", "u999");
}

static void mux_alert__the_end_of_a_suspension_is_told_when_it_is_due(void **state)
{
    stage *s = *state;
    fill_hands(s);
    uint64_t now = clock_monotonic_ms();
    alerts_send(s->alerts, ALERT_SUSPENDED, "later", SMX_SLICE("535"), now + 400);
    alerts_send(s->alerts, ALERT_SUSPENDED, "sooner", SMX_SLICE("535"), now + 200);
    alerts_send(s->alerts, ALERT_SUSPENDED, "never", SMX_SLICE("535"), now + 300);
    alerts_send(s->alerts, ALERT_RESUMED, "never", SMX_SLICE("by hand"), 0);
    http_endpoint_hold(s->endpoint, false);
    http_endpoint_wait(s->endpoint, 7);
    assert_told(s, 1, "upstream_suspended", "later");
    assert_told(s, 2, "upstream_suspended", "sooner");
    assert_told(s, 3, "upstream_suspended", "never");
    assert_told(s, 4, "upstream_resumed", "never"); /* once, and not at its time */
    assert_told(s, 5, "upstream_resumed", "sooner");
    assert_told(s, 6, "upstream_resumed", "later");
    assert_true(clock_monotonic_ms() >= now + 400);
}

static void mux_alert__without_a_url_nothing_waits(void **state)
{
    stage *s = *state;
    assert_int_equal(alerts_configure(s->alerts, NULL, "mux.example"), 0);
    for (size_t i = 0; i <= WAITING_MAX; i++)
        send_numbered(s, i);
    assert_int_equal(atomic_load(&s->lost), 0);
    assert_int_equal(alerts_configure(s->alerts, http_endpoint_url(s->endpoint), "mux.example"), 0);
    send_numbered(s, 999);
    http_endpoint_wait(s->endpoint, 1);
    assert_told(s, 0, "breaker_opened", "u999");
}

static void *send_some(void *arg)
{
    for (size_t i = 0; i < EACH; i++)
        send_numbered(arg, i);
    return NULL;
}

static void mux_alert__many_threads_send_and_none_is_lost_or_told_twice(void **state)
{
    stage *s = *state;
    pthread_t senders[SENDERS];
    size_t told[EACH] = {0};
    for (size_t i = 0; i < SENDERS; i++)
        assert_int_equal(pthread_create(&senders[i], NULL, send_some, s), 0);
    for (size_t i = 0; i < SENDERS; i++)
        assert_int_equal(pthread_join(senders[i], NULL), 0);
    http_endpoint_wait(s->endpoint, (size_t)SENDERS * EACH);
    for (size_t i = 0; i < (size_t)SENDERS * EACH; i++) {
        static const char before[] = "\"upstream\":\"u";
        const char *name = strstr(http_endpoint_body(s->endpoint, i), before);
        assert_non_null(name);
        size_t number = strtoul(name + sizeof(before) - 1, NULL, 10);
        assert_true(number < EACH);
        told[number]++;
    }
    for (size_t i = 0; i < EACH; i++)
        assert_int_equal(told[i], SENDERS);
    assert_int_equal(atomic_load(&s->lost), 0);
}

static void mux_alert__the_end_waits_for_nobody(void **state)
{
    stage *s = *state;
    fill_hands(s);
    for (size_t i = 1; i <= WAITING_MAX; i++)
        send_numbered(s, i);
    uint64_t from = clock_monotonic_ms();
    alerts_free(s->alerts);
    s->alerts = NULL;
    assert_true(clock_monotonic_ms() - from < 4000); /* the request itself may take 5 s */
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(mux_alert__at_most_256_wait_and_each_lost_one_is_logged),
        TEST(mux_alert__the_end_of_a_suspension_is_told_when_it_is_due),
        TEST(mux_alert__without_a_url_nothing_waits),
        TEST(mux_alert__many_threads_send_and_none_is_lost_or_told_twice),
        TEST(mux_alert__the_end_waits_for_nobody),
    };
    if (http_begin() != 0)
        return EXIT_FAILURE;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    http_end();
    return failed;
}
