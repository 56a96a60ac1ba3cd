/* The `routes` of a configuration: what is read, told, printed. */
#include "test_app.h"

#include "mux/route.h"

#define TWO_UPSTREAMS                                                                              \
    "upstreams: {one: {url: 'smtp://127.0.0.1:1'}, two: {url: 'smtp://127.0.0.1:2'}}\n"
#define ROUTE(match) "routes: [{match: " match ", upstreams: [two]}]\n"
/* The routes stand in the first line. */
#define FILE_WITH(routes) routes LISTENERS TWO_UPSTREAMS USERS

static const struct {
    const char *name, *text, *told;
} mistakes[] = {
    {"unknown_word", FILE_WITH(ROUTE("{rcp_domain: x}")),
     "1:19: unknown key `rcp_domain` in this match; did you mean `rcpt_domain`?\n"},
    {"no_match", FILE_WITH("routes: [{upstreams: [two]}]\n"),
     "1:11: this route needs the key `match`: the messages that take it: all words must hold; `{}` "
     "is every message\n"},
    {"no_upstreams", FILE_WITH("routes: [{match: {}}]\n"),
     "1:11: this route has no upstreams: add `upstreams: [NAME, ...]`\n"},
    {"no_mapping", FILE_WITH(ROUTE("x")),
     "1:18: expected the keys of this match (`name: value`), found a value\n"},
    {"empty_list", FILE_WITH(ROUTE("{rcpt: []}")),
     "1:19: `rcpt` names nothing, so this could not match anything\n"},
    {"address_as_domain", FILE_WITH(ROUTE("{rcpt_domain: 'a@b.example'}")),
     "1:32: `a@b.example` is an address, and `rcpt_domain` looks at domains; `rcpt` looks at "
     "addresses\n"},
    {"no_address", FILE_WITH(ROUTE("{from: ann}")),
     "1:25: `ann` is no address: write `ann@*` for that name, or `*@ann` for that domain\n"},
    {"no_network", FILE_WITH(ROUTE("{client: 10.0.0.0/33}")),
     "1:27: expected an address or a network such as 192.0.2.0/24, found `10.0.0.0/33`\n"},
    {"no_size", FILE_WITH(ROUTE("{size: 10MiB}")),
     "1:25: expected a size such as \">10MiB\", \"<=1MiB\" or 1MiB-10MiB, found `10MiB`\n"},
    {"no_such_size", FILE_WITH(ROUTE("{size: ['<0', 2M-1M]}")),
     "1:26: no message has the size `<0`\n1:32: no message has the size `2M-1M`\n"},
    {"no_time", FILE_WITH(ROUTE("{time: mon-fri 8-18}")),
     "1:25: `8-18` is no day, no hours and no time zone that this machine knows (Debian's package "
     "tzdata); expected a time such as mon-fri 08:00-18:00 Europe/Berlin\n"},
    {"header_is_a_text", FILE_WITH(ROUTE("{header: 'X: y'}")),
     "1:27: expected fields and what they hold, such as {X-Priority: bulk}, found a value\n"},
    {"no_field", FILE_WITH(ROUTE("{header: {'X Y': y}}")), "1:28: `X Y` is no name of a field\n"},
    {"not_everything", FILE_WITH(ROUTE("{not: {}}")),
     "1:19: `not` of every message could not match anything\n"},
    {"name_twice",
     FILE_WITH("routes: [{name: a, match: {client: 10.0.0.1}, upstreams: [one]}, "
               "{name: a, match: {}, upstreams: [one]}]\n"),
     "1:67: another route is called `a` already\n"},
    {"name_of_the_log", FILE_WITH("routes: [{name: user, match: {}, upstreams: [one]}]\n"),
     "1:11: `user` is what the log calls a message without a route; take another name\n"},
    {"unknown_upstream", FILE_WITH("routes: [{match: {}, upstreams: [tow]}]\n"),
     "1:34: no upstream is called `tow`; did you mean `two`?\n"},
    /* warnings */
    {"unknown_user", FILE_WITH(ROUTE("{user: v}")), "1:11: warning: no user is called `v`\n"},
    {"unreachable",
     FILE_WITH("routes: [{match: {user: '*'}, upstreams: [one]}, "
               "{match: {client: 10.0.0.1}, upstreams: [two]}]\n"),
     "1:51: warning: no message comes to this route: what it matches, `routes[0]` takes first\n"},
    {"splits", FILE_WITH(ROUTE("{rcpt_domain: example.org}")),
     "1:11: warning: recipients of one message may take different routes here: those that do not go with "
     "the first one are answered 452 4.5.3 and must be sent separately; `mixed_routes: first` lets "
     "them all go the first one's way\n"},
    {"does_not_split",
     FILE_WITH("routes: [{match: {rcpt_domain: x.example}, mixed_routes: first, upstreams: [two]}, "
               "{match: {not: {user: '*'}, rcpt: '*@y.example'}, upstreams: [two]}]\n"),
     ""},
    {"right",
     FILE_WITH("routes: [{match: {header: {X: y}, size: '>1k', time: sat}, upstreams: "
               "[{two: 3}], selector: weighted}]\n"),
     ""},
};

static void app_routes__each_mistake_is_told(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(mistakes) / sizeof(mistakes[0]); i++) {
        print_message("# %s\n", mistakes[i].name);
        assert_problems(mistakes[i].text, mistakes[i].told);
    }
}

static const char all_words[] = FILE_WITH(
    "routes:\n"
    "- {match: {user: u, client: [10.0.0.0/8, '::1'], from: '<>', from_domain: a.example,\n"
    "   rcpt: '*@b.example', rcpt_domain: b.example, header: {X: [y, z], Subject: '*'},\n"
    "   size: [\">10MiB\", 1k-2k], time: mon-fri 08:00-18:00 Europe/Berlin,\n"
    "   not: [{user: v}, {header: {Y: '?'}}]}, upstreams: [{two: 2}, one], selector: weighted,\n"
    "   deadline: 10s, mixed_routes: first}\n"
    "- {name: rest, match: {}, upstreams: [{url: 'smtp://127.0.0.1:3'}]}\n");

static void app_routes__every_word_is_read(void **state)
{
    (void)state;
    config *c = config_of(all_words);
    const mux_options options = config_mux_options(c);
    assert_int_equal(options.route_count, 2);
    const mux_route_options *route = &options.routes[0];
    assert_string_equal(route->name, "routes[0]");
    assert_int_equal(route->given,
                     1U << MUX_PLAN_BIT_deadline_ms | 1U << MUX_PLAN_BIT_mixed_routes);
    assert_int_equal(route->plan.deadline_ms, 10000);
    assert_int_equal(route->plan.mixed_routes, MUX_MIXED_FIRST);
    assert_int_equal(route->plan.choice_count, 2);
    assert_int_equal(route->plan.choices[0].weight, 2);
    assert_int_equal(route->match->count, 12);
    assert_int_equal(mux_match_facts(route->match), MUX_FACTS_ALL);
    assert_string_equal(options.routes[1].name, "rest");
    assert_int_equal(options.routes[1].given, 0);
    assert_int_equal(options.routes[1].match->count, 0);
    assert_int_equal(options.upstream_count, 3);
    config_free(c);
}

/* The sizes that a text stands for. */
static void app_routes__sizes_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t minimum, maximum;
    } rows[] = {
        {"\">1k\"", 1001, UINT64_MAX}, {"\">= 1k\"", 1000, UINT64_MAX}, {"<1KiB", 0, 1023},
        {"<=1KiB", 0, 1024},           {"1k-2k", 1000, 2000},           {"7-7", 7, 7},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        buffer text = {0};
        assert_int_equal(
            buffer_printf(
                &text,
                "routes: [{match: {size: %s}, upstreams: [one]}]\n" LISTENERS TWO_UPSTREAMS USERS
                "%c",
                rows[i].text, 0),
            0);
        config *c = config_of(buffer_slice(&text).data);
        const mux_size_range *range = &c->routes[0].match->conditions[0].patterns[0].is.size;
        assert_int_equal(range->minimum, rows[i].minimum);
        assert_int_equal(range->maximum, rows[i].maximum);
        config_free(c);
        buffer_free(&text);
    }
}

static void app_routes__what_is_printed_reads_back_the_same(void **state)
{
    (void)state;
    config *c = config_of(all_words);
    char *printed = print_of(c);
    config_free(c);
    assert_non_null(strstr(printed, "    match: {"));
    assert_non_null(strstr(printed, "not: [{user: [v]}, {header: {Y: ["));
    assert_null(strstr(printed, "on_unknown: defer\n    received")); /* of a route: the user's */
    /* Secrets are masked: the password is another one, and as good. */
    config *again = config_of(printed);
    char *twice = print_of(again);
    assert_string_equal(printed, twice);
    assert_int_equal(again->routes[0].given,
                     1U << MUX_PLAN_BIT_deadline_ms | 1U << MUX_PLAN_BIT_mixed_routes);
    config_free(again);
    free(twice);
    free(printed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(app_routes__each_mistake_is_told),
        cmocka_unit_test(app_routes__every_word_is_read),
        cmocka_unit_test(app_routes__sizes_are_read),
        cmocka_unit_test(app_routes__what_is_printed_reads_back_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
