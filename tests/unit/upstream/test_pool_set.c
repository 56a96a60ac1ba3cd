/* A set of pools over reloads: which snapshots share a pool, and when one that nobody needs goes. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cmocka.h>
#include <openssl/ssl.h>
#include <uv.h>

#include "app/sink.h"
#include "base/clock.h"
#include "client/client_internal.h"
#include "support/loop_until.h"
#include "unit/net/test_certificates.h"
#include "upstream/pool_internal.h"
#include "upstream/pool_set.h"

typedef struct site {
    smx_loop *loop;
    uv_timer_t tick;
    sink *sink;
    upstream *u;
    upstream_pool_set *set;
    upstream_options options;
    smx_envelope envelope;
    smx_rcpt recipient;
    int holds; /* shares of the snapshot */
    size_t accepted;
    bool closed;
} site;

#define site_until(s, condition) loop_until((s)->loop, condition)

static int site_setup(void **state)
{
    problem p = {0};
    site *s = calloc(1, sizeof(*s));
    *state = s;
    if (s == NULL || smx_loop_new(NULL, &s->loop) != 0)
        return -1;
    loop_tick(s->loop, &s->tick);
    const sink_options options = {.listen = "127.0.0.1:0", .hostname = "sink.example"};
    if (sink_new(s->loop, &options, &s->sink, &p) != 0)
        return -1;
    s->options = (upstream_options){.name = "one", .host = "127.0.0.1", .port = sink_port(s->sink)};
    assert_int_equal(smx_mailbox_parse(SMX_SLICE("ann@example.com"), 0, &s->envelope.mail.path), 0);
    assert_int_equal(smx_mailbox_parse(SMX_SLICE("bob@example.org"), 0, &s->recipient.path), 0);
    s->envelope.recipients = &s->recipient;
    s->envelope.recipient_count = 1;
    assert_int_equal(upstream_new(&s->options, NULL, &s->u), 0);
    assert_int_equal(upstream_pool_set_new(s->loop, NULL, NULL, &s->set), 0);
    return 0;
}

static void site_on_closed(void *arg)
{
    site *s = arg;
    s->closed = true;
}

static int site_teardown(void **state)
{
    site *s = *state;
    upstream_pool_set_close(s->set, site_on_closed, s);
    site_until(s, s->closed);
    upstream_pool_set_free(s->set);
    upstream_free(s->u);
    sink_free(s->sink);
    uv_close((uv_handle_t *)&s->tick, NULL);
    (void)uv_run(smx_loop_uv(s->loop), UV_RUN_ONCE);
    smx_loop_free(s->loop);
    assert_int_equal(s->holds, 0);
    free(s);
    return 0;
}

static void hold_take(void *arg)
{
    ++*(int *)arg;
}

static void hold_drop(void *arg)
{
    --*(int *)arg;
}

static upstream_pool *site_acquire(site *s, const upstream_options *options, const char *hostname)
{
    const upstream_hold hold = {.arg = &s->holds, .take = hold_take, .drop = hold_drop};
    upstream_pool *pool = NULL;
    problem p = {0};
    if (upstream_pool_set_acquire(s->set, s->u, options, hostname, &hold, &pool, &p) != 0)
        fail_msg("%s", p.text);
    return pool;
}

static void site_on_done(void *arg, const upstream_result *result)
{
    site *s = arg;
    assert_int_equal(result->client->outcome, SMX_OUTCOME_ACCEPTED);
    s->accepted++;
}

static void site_submit(site *s, upstream_pool *pool)
{
    upstream_attempt *attempt;
    const upstream_request request = {
        .submission = {.envelope = &s->envelope,
                       .header = SMX_SLICE("Subject: x\r\n\r\n"),
                       .all_or_nothing = true},
        .deadline = loop_now(s->loop) + 8000,
        .done = site_on_done,
        .arg = s,
    };
    assert_int_equal(upstream_pool_submit(pool, &request, &attempt), 0);
}

/* ---- which pool ---- */

static void pool_set__the_same_way_is_the_same_pool(void **state)
{
    site *s = *state;
    char host[] = "127.0.0.1";
    upstream_options again = s->options;
    again.host = host; /* another snapshot's strings */
    again.idle_ms = 5;
    again.rewrite_from = "other@example.com";
    upstream_pool *pool = site_acquire(s, &s->options, "mux.example");
    assert_ptr_equal(site_acquire(s, &again, "mux.example"), pool);
    assert_int_equal(s->holds, 1); /* the strings are still those of the first */
    assert_int_equal(upstream_pool_set_count(s->set), 1);
    assert_int_equal(pool->options.idle_ms, 0);
    upstream_pool_configure(pool, &again);
    assert_int_equal(pool->options.idle_ms, 5);
    upstream_pool_set_release(s->set, pool);
    assert_int_equal(s->holds, 1);
    upstream_pool_set_release(s->set, pool);
    site_until(s, s->holds == 0);
}

static void pool_set__another_way_is_another_pool(void **state)
{
    site *s = *state;
    enum { WAYS = 8 };
    upstream_options ways[WAYS];
    upstream_pool *pools[WAYS];
    for (size_t i = 0; i < WAYS; i++) {
        ways[i] = s->options;
        ways[i].user = "ann";
        ways[i].password = "secret";
    }
    ways[1].password = "other";
    ways[2].user = "bob";
    ways[3].port = 26;
    ways[4].source = "127.0.0.2";
    ways[5].family = 4;
    ways[6].verify = SMX_VERIFY_NEVER;
    ways[7].password = NULL;
    for (size_t i = 0; i < WAYS; i++) {
        pools[i] = site_acquire(s, &ways[i], "mux.example");
        for (size_t k = 0; k < i; k++)
            assert_ptr_not_equal(pools[i], pools[k]);
    }
    upstream_pool *named = site_acquire(s, &ways[0], "other.example");
    assert_ptr_not_equal(named, pools[0]);
    for (size_t i = 0; i < WAYS; i++)
        upstream_pool_set_release(s->set, pools[i]);
    upstream_pool_set_release(s->set, named);
}

static void pool_set__a_changed_file_is_another_way(void **state)
{
    site *s = *state;
    problem p = {0};
    test_certificates *files = test_certificates_new();
    const struct timespec other[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    s->options.tls = SMX_TLS_REQUIRED;
    s->options.ca_file = test_certificates_ca(files);
    upstream_pool *pools[3] = {site_acquire(s, &s->options, "mux.example"),
                               site_acquire(s, &s->options, "mux.example")};
    assert_ptr_equal(pools[0], pools[1]);
    upstream_options second = s->options;
    second.port = 26;
    pools[1] = site_acquire(s, &second, "mux.example");
    assert_ptr_equal(pools[0]->client.tls_context, pools[1]->client.tls_context);
    upstream_pool_set_release(s->set, pools[0]);
    assert_int_equal(utimensat(AT_FDCWD, s->options.ca_file, other, 0), 0);
    pools[2] = site_acquire(s, &s->options, "mux.example");
    assert_ptr_not_equal(pools[2], pools[0]);
    assert_ptr_not_equal(pools[2]->client.tls_context, pools[0]->client.tls_context);
    s->options.ca_file = test_certificates_write(files, "bad.pem", "no certificate\n");
    upstream_pool *none = NULL;
    assert_true(
        upstream_pool_set_acquire(s->set, s->u, &s->options, "mux.example", NULL, &none, &p) < 0);
    assert_non_null(strstr(p.text, "upstreams.one: "));
    for (size_t i = 0; i < 3; i++)
        upstream_pool_set_release(s->set, pools[i]);
    test_certificates_free(files);
}

static const void *store_of(const upstream_pool *pool)
{
    return SSL_CTX_get_cert_store(tls_client_context(pool->client.tls_context->context));
}

static void pool_set__the_systems_cas_are_shared_and_part_of_the_key(void **state)
{
    site *s = *state;
    test_certificates *files = test_certificates_new();
    const tls_certificate own =
        test_certificates_make(files, "own", &(test_certificate_spec){.common_name = "own"});
    tls_authorities *first;
    tls_authorities *second;
    upstream_options other = s->options;
    assert_int_equal(tls_authorities_new(&first), 0);
    assert_int_equal(tls_authorities_new(&second), 0);
    s->options.tls = other.tls = SMX_TLS_REQUIRED;
    other.cert_file = own.cert_file;
    other.key_file = own.key_file;
    upstream_pool_set_believe(s->set, first);
    upstream_pool *pools[3] = {site_acquire(s, &s->options, "mux.example"),
                               site_acquire(s, &other, "mux.example")};
    assert_ptr_not_equal(pools[0]->client.tls_context, pools[1]->client.tls_context);
    assert_ptr_equal(store_of(pools[0]), store_of(pools[1]));
    upstream_pool_set_believe(s->set, second);
    pools[2] = site_acquire(s, &s->options, "mux.example");
    assert_ptr_not_equal(store_of(pools[2]), store_of(pools[0]));
    tls_authorities_free(first);
    tls_authorities_free(second);
    for (size_t i = 0; i < 3; i++)
        upstream_pool_set_release(s->set, pools[i]);
    test_certificates_free(files);
}

/* ---- the end of one ---- */

static void pool_set__the_last_share_closes_idle_connections(void **state)
{
    site *s = *state;
    upstream_pool *pool = site_acquire(s, &s->options, "mux.example");
    site_submit(s, pool);
    site_until(s, s->accepted == 1 && pool->connections[POOL_IDLE].count == 1);
    upstream_pool_set_release(s->set, pool);
    assert_int_equal(upstream_pool_set_count(s->set), 1);
    site_until(s, upstream_pool_set_count(s->set) == 0);
    assert_int_equal(s->holds, 0);
}

static void pool_set__the_last_share_waits_for_a_message_under_way(void **state)
{
    site *s = *state;
    upstream_pool *pool = site_acquire(s, &s->options, "mux.example");
    site_submit(s, pool);
    upstream_pool_set_release(s->set, pool);
    /* One that is closing is nobody's any more. */
    upstream_pool *next = site_acquire(s, &s->options, "mux.example");
    assert_ptr_not_equal(next, pool);
    site_until(s, upstream_pool_set_count(s->set) == 1);
    assert_int_equal(s->accepted, 1);
    upstream_pool_set_release(s->set, next);
}

/* The old configuration's connections give way to the new one's on the same loop. */
static void pool_set__an_idle_connection_of_the_old_pool_gives_its_permit(void **state)
{
    site *s = *state;
    upstream_options other = s->options;
    s->options.max_connections = 1;
    other.source = "127.0.0.1";
    upstream_configure(s->u, &s->options);
    upstream_pool *old = site_acquire(s, &s->options, "mux.example");
    upstream_pool *new = site_acquire(s, &other, "mux.example");
    site_submit(s, old);
    site_until(s, s->accepted == 1 && old->connections[POOL_IDLE].count == 1);
    site_submit(s, new);
    site_until(s, s->accepted == 2);
    assert_int_equal(upstream_total(s->u, UPSTREAM_COUNT_connections), 2);
    upstream_pool_set_release(s->set, old);
    upstream_pool_set_release(s->set, new);
}

/* And one that becomes free does not serve the other's message: credentials may differ. */
static void pool_set__a_busy_connection_of_the_old_pool_is_not_passed_on(void **state)
{
    site *s = *state;
    upstream_options other = s->options;
    s->options.max_connections = 1;
    other.source = "127.0.0.1";
    upstream_configure(s->u, &s->options);
    upstream_pool *old = site_acquire(s, &s->options, "mux.example");
    upstream_pool *new = site_acquire(s, &other, "mux.example");
    site_submit(s, old);
    site_submit(s, new);
    site_until(s, s->accepted == 2);
    assert_int_equal(upstream_total(s->u, UPSTREAM_COUNT_connections), 2);
    assert_int_equal(upstream_total(s->u, UPSTREAM_COUNT_reused), 0);
    upstream_pool_set_release(s->set, old);
    upstream_pool_set_release(s->set, new);
}

#define SET_TEST(name) cmocka_unit_test_setup_teardown(name, site_setup, site_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SET_TEST(pool_set__the_same_way_is_the_same_pool),
        SET_TEST(pool_set__another_way_is_another_pool),
        SET_TEST(pool_set__a_changed_file_is_another_way),
        SET_TEST(pool_set__the_systems_cas_are_shared_and_part_of_the_key),
        SET_TEST(pool_set__the_last_share_closes_idle_connections),
        SET_TEST(pool_set__the_last_share_waits_for_a_message_under_way),
        SET_TEST(pool_set__an_idle_connection_of_the_old_pool_gives_its_permit),
        SET_TEST(pool_set__a_busy_connection_of_the_old_pool_is_not_passed_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
