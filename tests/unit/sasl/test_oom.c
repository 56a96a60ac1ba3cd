/* Every allocation of ours fails once, in turn: nothing leaks, nothing crashes, and the outcome says
 * so. libgsasl's own allocations are not reached from here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sasl/password.h"
#include "sasl/sasl.h"
#include "support/fail_malloc.h"

static bool pencil(void *arg, smx_slice user, smx_slice *secret)
{
    (void)arg;
    (void)user;
    *secret = SMX_SLICE("pencil");
    return true;
}

/* An exchange from end to end. */
static int exchange(const char *mechanism)
{
    sasl_server *server = NULL;
    sasl_client *client = NULL;
    buffer out = {0};
    buffer in = {0};
    bool has_initial = false;
    sasl_step step = SASL_NOMEM;
    int error = sasl_server_new(slice_of_text(mechanism), pencil, NULL, &server);
    if (error == 0)
        error = sasl_client_new(mechanism, "user", "pencil", &client);
    if (error == 0)
        error = sasl_client_initial(client, &has_initial, &out);
    if (error == 0)
        step = sasl_server_step(server, has_initial, buffer_slice(&out), &in);
    while (error == 0 && step == SASL_CHALLENGE) {
        buffer_clear(&out);
        error = sasl_client_step(client, buffer_slice(&in), &out);
        buffer_clear(&in);
        if (error == 0)
            step = sasl_server_step(server, true, buffer_slice(&out), &in);
    }
    assert_true(error != 0 || step == SASL_NOMEM || step == SASL_SUCCESS || step == SASL_PASSWORD);
    sasl_client_free(client);
    sasl_server_free(server);
    buffer_free(&out);
    buffer_free(&in);
    return error == 0 && step == SASL_NOMEM ? SMX_E_NOMEM : error;
}

static int exchange_plain(void)
{
    return exchange("PLAIN");
}

static int exchange_login(void)
{
    return exchange("LOGIN");
}

static int exchange_scram(void)
{
    return exchange("SCRAM-SHA-256");
}

static int make_secrets(void)
{
    buffer hash = {0};
    buffer keys = {0};
    int error = password_hash(SMX_SLICE("pencil"), &hash);
    if (error == 0)
        error = password_scram(SMX_SLICE("pencil"), &keys);
    buffer_free(&hash);
    buffer_free(&keys);
    return error;
}

/* What does not fit is not remembered. */
static int remember(void)
{
    password_memory *memory = NULL;
    int error = password_memory_new(&memory);
    if (error != 0)
        return error;
    password_memory_add(memory, SMX_SLICE("s"), SMX_SLICE("p"));
    bool known = password_memory_knows(memory, SMX_SLICE("s"), SMX_SLICE("p"));
    password_memory_free(memory);
    return known ? 0 : SMX_E_NOMEM;
}

static void sasl_oom__exchanges(void **state)
{
    (void)state;
    fail_malloc_each(exchange_plain);
    fail_malloc_each(exchange_login);
    fail_malloc_each(exchange_scram);
}

static void sasl_oom__secrets(void **state)
{
    (void)state;
    fail_malloc_each(make_secrets);
}

static void sasl_oom__memory(void **state)
{
    (void)state;
    fail_malloc_each(remember);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sasl_oom__exchanges),
        cmocka_unit_test(sasl_oom__secrets),
        cmocka_unit_test(sasl_oom__memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
