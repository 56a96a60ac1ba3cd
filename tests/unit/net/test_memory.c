/* A session with everything in it (a name, TCP, TLS, kept and queued octets, a deadline), once for
 * each allocation of ours that can fail: without a crash, a leak, or an end that never comes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <uv.h>

#include "base/clock.h"
#include "net/listener.h"
#include "net/loop_internal.h"
#include "support/fail_malloc.h"
#include "test_certificates.h"

/* ---- the session ---- */

enum { CHUNK = 150000 }; /* several blocks */

typedef struct memory_end {
    struct memory_run *run;
    connection *c;
    bool is_server;
    size_t got;
} memory_end;

typedef struct memory_run {
    smx_loop *loop;
    tls_server *server;
    tls_client *client;
    listener *listener;
    memory_end ends[2];
    bool done; /* all octets came, or something failed and said so */
    bool failed;
} memory_run;

static char memory_octets[CHUNK];

static void memory_fail(memory_run *run)
{
    run->failed = true;
    run->done = true;
}

static void memory_check(memory_run *run, int error)
{
    if (error != 0)
        memory_fail(run);
}

/* The client's side begins TLS at once, the server's when it sees the first octet in clear. */
static void memory_on_connected(void *owner, int error)
{
    memory_end *end = owner;
    memory_check(end->run, error);
    if (error == 0)
        memory_check(end->run, connection_queue(end->c, SMX_SLICE("S")));
}

static size_t memory_on_clear(memory_end *end)
{
    if (end->is_server) {
        memory_check(end->run, connection_secure_server(end->c, end->run->server));
        memory_check(end->run, connection_queue(end->c, slice_of(memory_octets, CHUNK)));
    }
    return 1;
}

/* A third of what is offered is left each time, until little is left. */
static size_t memory_on_data(void *owner, smx_slice in)
{
    memory_end *end = owner;
    if (!connection_is_tls(end->c))
        return memory_on_clear(end);
    size_t use = in.len > 1000 ? in.len - in.len / 3 : in.len;
    end->got += use;
    connection_resume(end->c);
    if (end->run->ends[0].got == CHUNK && end->run->ends[1].got == CHUNK)
        end->run->done = true;
    return use;
}

static void memory_on_ended(void *owner, int error)
{
    (void)error;
    memory_fail(((memory_end *)owner)->run);
}

static void memory_on_drained(void *owner)
{
    (void)owner;
}

static void memory_on_secured(void *owner, int error)
{
    memory_end *end = owner;
    const smx_slice pieces[] = {{memory_octets, 100}, {memory_octets, CHUNK - 100}};
    size_t taken = 0;
    memory_check(end->run, error);
    if (error != 0 || end->is_server)
        return;
    memory_check(end->run, connection_send(end->c, pieces, 2, &taken));
    if (taken < CHUNK)
        memory_fail(end->run);
}

static void memory_on_timeout(void *owner)
{
    memory_fail(((memory_end *)owner)->run);
}

static void memory_on_closed(void *owner)
{
    memory_end *end = owner;
    end->c = NULL;
}

static const connection_handler memory_handler = {
    .connected = memory_on_connected,
    .data = memory_on_data,
    .ended = memory_on_ended,
    .drained = memory_on_drained,
    .secured = memory_on_secured,
    .timeout = memory_on_timeout,
    .closed = memory_on_closed,
};

static void memory_on_accept(void *owner, connection *c)
{
    memory_run *run = owner;
    run->ends[1].c = c;
    memory_check(run, connection_start(c, &memory_handler, &run->ends[1]));
    connection_set_deadline(c, loop_now(run->loop) + 3000);
}

/* ---- one run ---- */

static int memory_open(memory_run *run, const char *ca, const tls_certificate *pair)
{
    const tls_server_options server = {.certificates = pair, .certificate_count = 1};
    const tls_client_options client = {.ca_file = ca};
    const listener_options options = {.fd = -1};
    const endpoint any = {.host = SMX_SLICE("127.0.0.1")};
    problem p;
    int error = smx_loop_new(NULL, &run->loop);
    if (error == 0)
        error = tls_server_new(&server, &run->server, &p);
    if (error == 0)
        error = tls_client_new(&client, &run->client, &p);
    if (error == 0)
        error = listener_new(run->loop, &any, &options, memory_on_accept, run, &run->listener, &p);
    if (error == 0)
        error = listener_start(run->listener);
    if (error != 0)
        return error;
    const connection_target target = {
        .to = {.host = SMX_SLICE("localhost"), .port = listener_port(run->listener)}};
    return connection_open(run->loop, &target, 3000, &memory_handler, &run->ends[0],
                           &run->ends[0].c);
}

static void memory_secure_client_when_connected(memory_run *run)
{
    connection *c = run->ends[0].c;
    if (c == NULL || run->done || connection_is_tls(c) || connection_queued(c) > 0 ||
        run->ends[1].c == NULL || !connection_is_tls(run->ends[1].c))
        return;
    memory_check(
        run, connection_secure_client(c, run->client, SMX_SLICE("localhost"), TLS_VERIFY_REQUIRED));
    if (!run->done)
        connection_set_deadline(c, loop_now(run->loop) + 3000);
}

static bool memory_run_once(const char *ca, const tls_certificate *pair, size_t failing)
{
    memory_run run = {0};
    fail_malloc_begin(failing);
    run.ends[0].run = &run;
    run.ends[1] = (memory_end){.run = &run, .is_server = true};
    memory_check(&run, memory_open(&run, ca, pair));
    uint64_t end = clock_monotonic_ms() + 10000;
    while (!run.done && clock_monotonic_ms() < end) {
        (void)uv_run(smx_loop_uv(run.loop), UV_RUN_ONCE);
        memory_secure_client_when_connected(&run);
    }
    if (!run.done)
        fail_msg("with allocation %zu failing, the end never came", failing);
    listener_free(run.listener);
    tls_server_free(run.server);
    tls_client_free(run.client);
    smx_loop_free(run.loop);
    (void)fail_malloc_end();
    assert_null(run.ends[0].c);
    assert_null(run.ends[1].c);
    return !run.failed;
}

static void net_memory__each_allocation_may_fail(void **state)
{
    const test_certificate_spec spec = {.names = "DNS:localhost"};
    test_certificates *files = test_certificates_new();
    const tls_certificate pair = test_certificates_make(files, "server", &spec);
    const char *ca = test_certificates_ca(files);
    size_t failed = 0;
    (void)state;
    assert_true(memory_run_once(ca, &pair, 0));
    size_t all = fail_malloc_count();
    assert_in_range(all, 15, 400);
    for (size_t n = 1; n <= all; n++) {
        if (!memory_run_once(ca, &pair, n))
            failed++;
    }
    /* Some are survived: an answer that is not remembered, a connection that is accepted later. */
    assert_in_range(failed, all / 2, all);
    test_certificates_free(files);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(net_memory__each_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
