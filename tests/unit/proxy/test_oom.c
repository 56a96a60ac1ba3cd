/* Every allocation on the loop's thread fails once, in turn, within a session through the proxy: the
 * client is answered or the connection closes, nothing leaks, and the next session works. */
#include <stdlib.h>

#include "proxy_fixture.h"
#include "support/fail_malloc.h"

static void choose_loop(void *arg)
{
    (void)arg;
    fail_malloc_choose_thread(true);
}

/* ---- those who look: hooks that do all that takes memory; failing, they are passed over ---- */

static smx_verdict change_all(void *arg, smx_hook_call *call)
{
    (void)arg;
    smx_hook_phase phase = smx_hook_get_view(call)->phase;
    int error = 0;
    if (phase == SMX_HOOK_MAIL)
        error = smx_hook_set_sender(call, SMX_SLICE("new@from.example"));
    if (error == 0 && phase == SMX_HOOK_RCPT)
        error = smx_hook_add_recipient(call, SMX_SLICE("added@to.example"));
    if (error == 0 && phase >= SMX_HOOK_MAIL && phase <= SMX_HOOK_HEADER)
        error = smx_hook_add_header(call, SMX_SLICE("X-Added"), SMX_SLICE("value"));
    if (error == 0 && phase == SMX_HOOK_BODY)
        error = smx_hook_replace_body(call, SMX_SLICE("other\r\n"));
    if (error != 0 && error != SMX_E_NOMEM)
        abort();
    return (smx_verdict){.kind = SMX_CONTINUE};
}

static void on_record(void *arg, const smx_proxy_record *record)
{
    (void)arg;
    assert_true(record->outcome.len > 0);
}

static void on_line(void *arg, const smx_proxy_line *line)
{
    (void)arg;
    assert_true(line->session != NULL);
}

static smx_reply take(void *arg, smx_transaction *tx)
{
    (void)arg;
    (void)tx;
    return SMX_REPLY(250, 2, 0, 0, "taken");
}

static smx_hook hook;

typedef enum manner { PLAIN, WATCHED, HELD } manner;

static proxy_fixture *setup(manner how)
{
    void *state = NULL;
    (void)proxy_setup(&state);
    proxy_fixture *x = state;
    x->f->options.log = NULL;
    x->f->options.handler = take;
    x->options.log = NULL;
    hook = (smx_hook){.version = SMX_HOOK_VERSION,
                      .name = "hungry",
                      .on_error = SMX_ON_ERROR_CONTINUE,
                      .flags = how == HELD ? SMX_HOOK_HOLD : 0};
    for (size_t phase = 0; phase < SMX_HOOK_PHASE_COUNT; phase++)
        hook.phases[phase] = change_all;
    if (how != PLAIN) {
        proxy_add_hook(x, &hook);
        x->options.record = on_record;
        x->options.trace = on_line;
    }
    x->listener.upstream.address = SMX_PROXY_ADDRESS_XCLIENT;
    proxy_start(x);
    fixture_call(x->f, choose_loop, NULL);
    return x;
}

/* ---- sessions ---- */

static const char *const lines[] = {"EHLO client.example",
                                    "MAIL FROM:<a@from.example>",
                                    "RCPT TO:<b@to.example>",
                                    "RCPT TO:<c@to.example>",
                                    "DATA",
                                    "Message-ID: <1@x>\r\n\r\nbody\r\n.",
                                    "NOOP",
                                    "QUIT"};

/* True if all went as without failures. Stops at the first refusal or end. */
static bool whole_session(proxy_fixture *x)
{
    client *c = client_open(x->f);
    bool good = client_hear(c) && c->reply[0] == '2';
    for (size_t i = 0; good && i < sizeof(lines) / sizeof(lines[0]); i++) {
        client_say(c, lines[i]);
        good = client_hear(c) && c->reply[0] < '4';
    }
    client_close(c);
    proxy_expect_empty(x);
    return good;
}

static void fail_each_allocation(manner how)
{
    size_t failures = 0;
    for (size_t nth = 1;; nth++) {
        proxy_fixture *x = setup(how);
        void *state = x;
        fail_malloc_begin(nth);
        bool good = whole_session(x);
        bool failed = fail_malloc_end();
        if (!failed)
            assert_true(good);
        assert_true(whole_session(x));
        assert_int_equal(proxy_teardown(&state), 0);
        if (!failed)
            break;
        failures++;
    }
    assert_true(failures > 10);
}

static void proxy_oom__each_failing_allocation_of_a_session_is_survived(void **state)
{
    (void)state;
    fail_each_allocation(PLAIN);
}

static void proxy_oom__each_failing_allocation_with_hooks_is_survived(void **state)
{
    (void)state;
    fail_each_allocation(WATCHED);
}

static void proxy_oom__each_failing_allocation_of_a_held_message_is_survived(void **state)
{
    (void)state;
    fail_each_allocation(HELD);
}

/* Constructors, on the test's own thread. */
static void proxy_oom__each_failing_allocation_of_a_new_proxy_is_told(void **state)
{
    (void)state;
    fail_malloc_choose_thread(true);
    for (size_t nth = 1;; nth++) {
        smx_loop *loop = NULL;
        smx_proxy *proxy = NULL;
        const smx_hook *const table[] = {&hook};
        const smx_proxy_options options = {
            .version = SMX_PROXY_VERSION, .hooks = table, .hook_count = 1};
        const smx_proxy_listener at = {
            .listener = {.version = SMX_LISTENER_VERSION, .listen = "127.0.0.1:0"},
            .upstream = {.host = "127.0.0.1", .port = 25}};
        assert_int_equal(smx_loop_new(NULL, &loop), 0);
        fail_malloc_begin(nth);
        int error = smx_proxy_new(loop, &options, &proxy);
        if (error == 0)
            error = smx_proxy_listen(proxy, &at, NULL);
        if (error == 0)
            error = smx_proxy_start(proxy);
        bool failed = fail_malloc_end();
        assert_int_equal(error, failed ? SMX_E_NOMEM : 0);
        smx_proxy_free(proxy);
        smx_loop_free(loop);
        if (!failed)
            break;
    }
    fail_malloc_choose_thread(false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(proxy_oom__each_failing_allocation_of_a_session_is_survived),
        cmocka_unit_test(proxy_oom__each_failing_allocation_with_hooks_is_survived),
        cmocka_unit_test(proxy_oom__each_failing_allocation_of_a_held_message_is_survived),
        cmocka_unit_test(proxy_oom__each_failing_allocation_of_a_new_proxy_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
