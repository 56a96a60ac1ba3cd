/* The rules on a request's head. */
#include "support/unit_test.h"

#include "admin/gate.h"

static const char *const HOSTS[] = {"mux.example.com"};
static const gate_rules TCP = {.is_tcp = true,
                               .listen_host = {"192.0.2.7", 9},
                               .token = {"opensesame", 10},
                               .hosts = HOSTS,
                               .host_count = 1};
static const gate_rules UNIX = {.is_tcp = false};

static gate_request with_host(const char *host)
{
    return (gate_request){.host = slice_of_text(host),
                          .host_count = 1,
                          .authorization = SMX_SLICE("Bearer opensesame")};
}

static void gate__hosts_that_are_known(void **state)
{
    static const char *const GOOD[] = {"192.0.2.7",        "192.0.2.7:8025",  "localhost",
                                       "LocalHost:1",      "mux.example.com", "MUX.example.com:9",
                                       "[2001:db8::1]:80", "[2001:db8::1]"};
    static const char *const BAD[] = {
        "",           "evil.example", "192.0.2.8", "localhost.evil.example", "mux.example.com.evil",
        "[192.0.2.7", "xlocalhost",   ":8025",     "evil@localhost"};
    (void)state;
    for (size_t i = 0; i < sizeof(GOOD) / sizeof(GOOD[0]); i++) {
        gate_request r = with_host(GOOD[i]);
        r.local_address = SMX_SLICE("2001:db8::1");
        assert_int_equal(gate_check_caller(&TCP, &r).status, 0);
    }
    for (size_t i = 0; i < sizeof(BAD) / sizeof(BAD[0]); i++) {
        gate_request r = with_host(BAD[i]);
        assert_int_equal(gate_check_caller(&TCP, &r).status, 403);
    }
}

static void gate__no_host_and_two_hosts_are_refused(void **state)
{
    gate_request none = with_host("localhost");
    gate_request two = with_host("localhost");
    (void)state;
    none.host_count = 0;
    two.host_count = 2;
    assert_int_equal(gate_check_caller(&TCP, &none).status, 403);
    assert_int_equal(gate_check_caller(&TCP, &two).status, 403);
}

static void gate__the_token_must_be_whole(void **state)
{
    static const char *const BAD[] = {NULL,
                                      "",
                                      "Bearer",
                                      "Bearer ",
                                      "Bearer opensesam",
                                      "Bearer opensesamex",
                                      "Basic opensesame",
                                      "opensesame",
                                      "Bearer Opensesame"};
    (void)state;
    for (size_t i = 0; i < sizeof(BAD) / sizeof(BAD[0]); i++) {
        gate_request r = with_host("localhost");
        r.authorization = slice_of_text(BAD[i]);
        assert_int_equal(gate_check_caller(&TCP, &r).status, 401);
    }
    gate_request r = with_host("localhost");
    r.authorization = SMX_SLICE("bearer opensesame");
    assert_int_equal(gate_check_caller(&TCP, &r).status, 0);
}

static void gate__an_empty_token_opens_nothing(void **state)
{
    gate_rules rules = TCP;
    gate_request r = with_host("localhost");
    (void)state;
    rules.token = SMX_SLICE("");
    r.authorization = SMX_SLICE("Bearer ");
    assert_int_equal(gate_check_caller(&rules, &r).status, 401);
}

static void gate__other_sites_pages_are_refused_on_unix_sockets_too(void **state)
{
    static const struct {
        const char *origin;
        const char *site;
        unsigned status;
    } CASES[] = {
        {NULL, NULL, 0},
        {"http://localhost:8025", NULL, 0},
        {"http://localhost:8025", "same-origin", 0},
        {NULL, "none", 0},
        {"http://evil.example", NULL, 403},
        {"http://localhost:9", NULL, 403},
        {"null", NULL, 403},
        {"", NULL, 403},
        {NULL, "cross-site", 403},
        {NULL, "same-site", 403},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        gate_request r = with_host("localhost:8025");
        r.origin = slice_of_text(CASES[i].origin);
        r.fetch_site = slice_of_text(CASES[i].site);
        assert_int_equal(gate_check_caller(&TCP, &r).status, CASES[i].status);
        assert_int_equal(gate_check_caller(&UNIX, &r).status, CASES[i].status);
    }
}

static void gate__unix_sockets_need_neither_host_nor_token(void **state)
{
    gate_request r = {.host = SMX_SLICE("anything")};
    (void)state;
    assert_int_equal(gate_check_caller(&UNIX, &r).status, 0);
}

static void gate__changes(void **state)
{
    static const struct {
        const char *type;
        const char *length;
        const char *encoding;
        unsigned status;
    } CASES[] = {
        {"application/json", "2", NULL, 0},
        {"Application/JSON; charset=utf-8", "2", NULL, 0},
        {"application/json", NULL, NULL, 0},
        {"application/json", "1048576", NULL, 0},
        {"application/json", "1048577", NULL, 413},
        {"application/json", "99999999999999999999999", NULL, 413},
        {"application/json", "12a", NULL, 400},
        {"application/json", NULL, "chunked", 411},
        {NULL, "2", NULL, 415},
        {"text/plain", "2", NULL, 415},
        {"application/jsonp", "2", NULL, 415},
        {"text/plain;application/json", "2", NULL, 415},
        {"application/x-www-form-urlencoded", "2", NULL, 415},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        gate_request r = {.content_type = slice_of_text(CASES[i].type),
                          .content_length = slice_of_text(CASES[i].length),
                          .transfer_encoding = slice_of_text(CASES[i].encoding)};
        assert_int_equal(gate_check_change(&r).status, CASES[i].status);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gate__hosts_that_are_known),
        cmocka_unit_test(gate__no_host_and_two_hosts_are_refused),
        cmocka_unit_test(gate__the_token_must_be_whole),
        cmocka_unit_test(gate__an_empty_token_opens_nothing),
        cmocka_unit_test(gate__other_sites_pages_are_refused_on_unix_sockets_too),
        cmocka_unit_test(gate__unix_sockets_need_neither_host_nor_token),
        cmocka_unit_test(gate__changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
