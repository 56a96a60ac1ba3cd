/* The metrics' text, and histograms. */
#include "support/unit_test.h"

#include "admin/metrics.h"

static bool has_line(smx_slice text, const char *line)
{
    smx_slice one;
    while (slice_cut(&text, '\n', &one)) {
        if (slice_equal(one, slice_of_text(line)))
            return true;
    }
    return false;
}

static void metrics__lines(void **state)
{
    histogram h = {0};
    admin_count counts[2] = {{.outcome = "delivered", .total = 3, .has_seconds = true},
                             {.outcome = "deferred"}};
    const admin_limit limit = {"500 recipients/day", 17, 500};
    const admin_route_status route = {"bulk", &limit, 1};
    const admin_phase phase = {"rcpt", 5};
    const admin_upstream u = {.name = "a\"b\\c\nd",
                              .breaker = "half-open",
                              .is_usable = true,
                              .suspended_ms = 61001,
                              .phases = &phase,
                              .phase_count = 1,
                              .limits = &limit,
                              .limit_count = 1,
                              .deliveries = counts,
                              .delivery_count = 2};
    const admin_listener l = {.listen = "[::1]:25", .auth_failures = 4};
    const admin_status status = {.version = "1.2",
                                 .listeners = &l,
                                 .listener_count = 1,
                                 .upstreams = &u,
                                 .upstream_count = 1,
                                 .routes = &route,
                                 .route_count = 1,
                                 .messages = counts,
                                 .message_count = 2};
    static const char *const WANTED[] = {
        "# TYPE smtpmux_build_info gauge",
        "smtpmux_build_info{version=\"1.2\"} 1",
        "smtpmux_auth_total{listener=\"[::1]:25\",outcome=\"failure\"} 4",
        "smtpmux_messages_total{outcome=\"delivered\"} 3",
        "smtpmux_messages_total{outcome=\"deferred\"} 0",
        "# TYPE smtpmux_message_seconds histogram",
        "smtpmux_message_seconds_bucket{outcome=\"delivered\",le=\"0.005\"} 2",
        "smtpmux_message_seconds_bucket{outcome=\"delivered\",le=\"0.01\"} 3",
        "smtpmux_message_seconds_bucket{outcome=\"delivered\",le=\"300\"} 3",
        "smtpmux_message_seconds_bucket{outcome=\"delivered\",le=\"+Inf\"} 4",
        "smtpmux_message_seconds_sum{outcome=\"delivered\"} 300.017",
        "smtpmux_message_seconds_count{outcome=\"delivered\"} 4",
        "smtpmux_upstream_usable{upstream=\"a\\\"b\\\\c\\nd\"} 1",
        "smtpmux_upstream_suspended_seconds{upstream=\"a\\\"b\\\\c\\nd\"} 61.001",
        "smtpmux_upstream_breaker{upstream=\"a\\\"b\\\\c\\nd\",state=\"open\"} 0",
        "smtpmux_upstream_breaker{upstream=\"a\\\"b\\\\c\\nd\",state=\"half-open\"} 1",
        "smtpmux_upstream_limit_used{upstream=\"a\\\"b\\\\c\\nd\",limit=\"500 recipients/day\"} 17",
        "smtpmux_attempt_failures_total{upstream=\"a\\\"b\\\\c\\nd\",phase=\"rcpt\"} 5",
        "smtpmux_route_limit_used{route=\"bulk\",limit=\"500 recipients/day\"} 17",
        "smtpmux_route_limit{route=\"bulk\",limit=\"500 recipients/day\"} 500",
    };
    (void)state;
    histogram_add(&h, 0);
    histogram_add(&h, 5);
    histogram_add(&h, 6);
    histogram_add(&h, 300006);
    histogram_read(&h, &counts[0].seconds);
    buffer out = {0};
    assert_int_equal(metrics_write(&status, &out), 0);
    for (size_t i = 0; i < sizeof(WANTED) / sizeof(WANTED[0]); i++) {
        if (!has_line(buffer_slice(&out), WANTED[i]))
            fail_msg("no line %s in\n%.*s", WANTED[i], (int)buffer_length(&out), out.data);
    }
    smx_slice none = SMX_SLICE("smtpmux_message_seconds_count{outcome=\"deferred\"}");
    assert_int_equal(slice_search(buffer_slice(&out), none), buffer_length(&out));
    buffer_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(metrics__lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
