/* Every allocation of ours fails once, in turn: nothing leaks, nothing crashes, and the outcome says
 * so. libgsasl's own allocations are not reached from here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sasl/password.h"
#include "sasl/sasl.h"

/* The linker puts these before malloc and its kin for the library's objects. */
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);

static size_t until_failure = SIZE_MAX;
static bool has_failed;

static bool fails_now(void)
{
    if (until_failure == SIZE_MAX)
        return false;
    if (until_failure-- > 0)
        return false;
    until_failure = SIZE_MAX;
    has_failed = true;
    return true;
}

void *__wrap_malloc(size_t size)
{
    return fails_now() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails_now() ? NULL : __real_calloc(count, size);
}

/* Calls `run` with the first, second ... allocation failing, until all of them succeed. */
static void fail_each(bool (*run)(void))
{
    size_t failures = 0;
    for (size_t nth = 0;; nth++) {
        has_failed = false;
        until_failure = nth;
        bool succeeded = run();
        until_failure = SIZE_MAX;
        if (!has_failed) {
            assert_true(succeeded);
            break;
        }
        assert_false(succeeded);
        failures++;
    }
    assert_true(failures > 0);
}

static bool pencil(void *arg, smx_slice user, smx_slice *secret)
{
    (void)arg;
    (void)user;
    *secret = SMX_SLICE("pencil");
    return true;
}

/* An exchange from end to end; false when memory was out. */
static bool exchange(const char *mechanism)
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
    assert_true(error == 0 || error == SMX_E_NOMEM);
    assert_true(error != 0 || step == SASL_NOMEM || step == SASL_SUCCESS || step == SASL_PASSWORD);
    sasl_client_free(client);
    sasl_server_free(server);
    buffer_free(&out);
    buffer_free(&in);
    return error == 0 && step != SASL_NOMEM;
}

static bool exchange_plain(void)
{
    return exchange("PLAIN");
}

static bool exchange_login(void)
{
    return exchange("LOGIN");
}

static bool exchange_scram(void)
{
    return exchange("SCRAM-SHA-256");
}

static bool make_secrets(void)
{
    buffer hash = {0};
    buffer keys = {0};
    int error = password_hash(SMX_SLICE("pencil"), &hash);
    if (error == 0)
        error = password_scram(SMX_SLICE("pencil"), &keys);
    assert_true(error == 0 || error == SMX_E_NOMEM);
    buffer_free(&hash);
    buffer_free(&keys);
    return error == 0;
}

static bool remember(void)
{
    password_memory *memory = NULL;
    if (password_memory_new(&memory) != 0)
        return false;
    password_memory_add(memory, SMX_SLICE("s"), SMX_SLICE("p"));
    bool known = password_memory_knows(memory, SMX_SLICE("s"), SMX_SLICE("p"));
    password_memory_free(memory);
    return known;
}

static void sasl_oom__exchanges(void **state)
{
    (void)state;
    fail_each(exchange_plain);
    fail_each(exchange_login);
    fail_each(exchange_scram);
}

static void sasl_oom__secrets(void **state)
{
    (void)state;
    fail_each(make_secrets);
}

static void sasl_oom__memory(void **state)
{
    (void)state;
    fail_each(remember);
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
