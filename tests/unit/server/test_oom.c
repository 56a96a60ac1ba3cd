/* Every allocation on the loop's thread fails once, in turn, within a whole session: the client is
 * answered or the connection closes, nothing leaks, nothing crashes, and the next session works.
 * Allocations of libuv, OpenSSL and libgsasl are not reached from here. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "support/fail_malloc.h"

static void choose_loop(void *arg)
{
    (void)arg;
    fail_malloc_choose_thread(true);
}

static const smx_user user = {.name = {"user", 4}, .secret = {"secret", 6}};

static const smx_user *find_user(void *arg, smx_slice name)
{
    (void)arg;
    return slice_equal(name, user.name) ? &user : NULL;
}

/* ---- hooks that do all that takes memory; failing, they are passed over ---- */

static smx_verdict change_all(void *arg, smx_hook_call *call)
{
    (void)arg;
    smx_hook_phase phase = smx_hook_get_view(call)->phase;
    int error = 0;
    if (phase >= SMX_HOOK_RCPT && phase <= SMX_HOOK_EOM)
        error = smx_hook_add_recipient(call, SMX_SLICE("added@to.example"));
    if (error == 0 && phase >= SMX_HOOK_MAIL && phase <= SMX_HOOK_EOM)
        error = smx_hook_add_header(call, SMX_SLICE("X-Added"), SMX_SLICE("value"));
    if (error == 0 && phase == SMX_HOOK_EOM)
        error = smx_hook_replace_body(call, SMX_SLICE("other\r\n"));
    if (error != 0 && error != SMX_E_NOMEM)
        abort();
    return (smx_verdict){.kind = SMX_CONTINUE};
}

static smx_verdict answer_from_within(void *arg, smx_hook_call *call)
{
    (void)arg;
    const smx_verdict go_on = {.kind = SMX_CONTINUE};
    if (smx_hooks_answer(smx_hook_table(call), smx_hook_ticket(call), &go_on) != 0)
        return go_on;
    return (smx_verdict){.kind = SMX_VERDICT_LATER};
}

static smx_hook hooks[3];

static smx_reply never(void *arg, smx_transaction *tx)
{
    (void)arg;
    (void)tx;
    return SMX_REPLY(550, 5, 0, 0, "never");
}

static smx_reply answer_later(void *arg, smx_transaction *tx)
{
    const fixture *f = arg;
    const smx_reply taken = SMX_REPLY(250, 2, 0, 0, "taken");
    if (smx_transaction_edit(tx) == NULL || smx_transaction_header(tx).data == NULL ||
        smx_transaction_reply(f->server, smx_transaction_ticket(tx), &taken) != 0)
        return SMX_REPLY(451, 4, 3, 0, "out of memory");
    return SMX_LATER;
}

typedef enum manner { PLAIN_SMTP, WITH_HOOKS, LMTP } manner;

static int setup(void **state, manner how)
{
    static smx_hook_fn *const functions[] = {change_all, answer_from_within, change_all};
    (void)fixture_setup(state);
    fixture *f = *state;
    f->options.log = NULL;
    f->listener.lmtp = how == LMTP;
    f->options.find_user = find_user;
    f->listener.auth = SMX_AUTH_REQUIRED;
    f->listener.allow_insecure_auth = true;
    f->options.handler = answer_later;
    for (size_t i = 0; i < 3 && how == WITH_HOOKS; i++) {
        hooks[i] = (smx_hook){.version = SMX_HOOK_VERSION,
                              .name = "hungry",
                              .on_error = SMX_ON_ERROR_CONTINUE,
                              .flags = i == 2 ? SMX_HOOK_BLOCKING : 0};
        for (size_t phase = 0; phase < SMX_HOOK_PHASE_COUNT; phase++)
            hooks[i].phases[phase] = functions[i];
        fixture_add_hook(f, &hooks[i]);
    }
    fixture_start(f);
    fixture_call(f, choose_loop, NULL);
    return 0;
}

static const char *const lines[] = {"EHLO client.example",
                                    "AUTH PLAIN AHVzZXIAc2VjcmV0",
                                    "MAIL FROM:<a@from.example>",
                                    "RCPT TO:<b@to.example>",
                                    "RCPT TO:<c@to.example>",
                                    "DATA",
                                    "Subject: s\r\n\r\nbody\r\n.",
                                    "NOOP",
                                    "QUIT"};

/* True if all went as without failures. Stops at the first refusal or end. */
static bool whole_session(fixture *f)
{
    client *c = client_open(f);
    bool good = client_hear(c) && c->reply[0] == '2';
    for (size_t i = 0; good && i < sizeof(lines) / sizeof(lines[0]); i++) {
        bool hello = i == 0 && f->listener.lmtp;
        client_say(c, hello ? "LHLO client.example" : lines[i]);
        good = client_hear(c) && c->reply[0] < '4';
    }
    client_close(c);
    fixture_wait(fixture_counters(f).sessions == 0);
    return good;
}

static void fail_each_allocation(manner how)
{
    size_t failures = 0;
    for (size_t nth = 1;; nth++) {
        void *state;
        assert_int_equal(setup(&state, how), 0);
        fail_malloc_begin(nth);
        bool good = whole_session(state);
        bool failed = fail_malloc_end();
        if (!failed)
            assert_true(good);
        assert_true(whole_session(state));
        assert_int_equal(fixture_teardown(&state), 0);
        if (!failed)
            break;
        failures++;
    }
    assert_true(failures > 10);
}

static void server_oom__each_failing_allocation_of_a_session_is_survived(void **state)
{
    (void)state;
    fail_each_allocation(PLAIN_SMTP);
}

static void server_oom__each_failing_allocation_with_hooks_is_survived(void **state)
{
    (void)state;
    fail_each_allocation(WITH_HOOKS);
}

static void server_oom__each_failing_allocation_of_lmtp_is_survived(void **state)
{
    (void)state;
    fail_each_allocation(LMTP);
}

/* ---- a recipient that is not taken ---- */

/* In place of the one there is already: so many that memory is asked for. */
static smx_verdict replace_first(void *arg, smx_hook_call *call)
{
    (void)arg;
    char name[128];
    const smx_hook_view *view = smx_hook_get_view(call);
    int error = 0;
    if (view->envelope->recipient_count == 0)
        return (smx_verdict){.kind = SMX_CONTINUE};
    error = smx_hook_delete_recipient(call, SMX_SLICE("a@to.example"));
    for (int i = 0; i < 200 && error == 0; i++) {
        (void)snprintf(name, sizeof(name), "%060d@to.example", i);
        error = smx_hook_add_recipient(call, (smx_slice){name, strlen(name)});
    }
    return error == 0 ? (smx_verdict){.kind = SMX_CONTINUE}
                      : (smx_verdict){SMX_REPLY_WITH, SMX_REPLY(451, 4, 3, 0, "no memory")};
}

/* The second recipient's hook fails at its nth allocation. True: it did not, there were fewer. */
static bool replaced_at(size_t nth, size_t *refusals)
{
    void *state;
    smx_hook hook = {
        .version = SMX_HOOK_VERSION, .name = "replaces", .on_error = SMX_ON_ERROR_TEMPFAIL};
    assert_int_equal(fixture_setup(&state), 0);
    fixture *f = state;
    f->options.log = NULL;
    hook.phases[SMX_HOOK_RCPT] = replace_first;
    fixture_add_hook(f, &hook);
    client *c = client_first(f);
    fixture_call(f, choose_loop, NULL);
    client_ask(c, "MAIL FROM:<f@from.example>", "250");
    client_ask(c, "RCPT TO:<a@to.example>", "250");
    fail_malloc_begin(nth);
    client_say(c, "RCPT TO:<b@to.example>");
    assert_true(client_hear(c));
    bool failed = fail_malloc_end();
    bool taken = c->reply[0] == '2';
    *refusals += !taken && strncmp(c->reply, "452", 3) == 0;
    client_ask(c, "DATA", "354");
    client_ask(c, "Subject: s\r\n\r\nbody\r\n.", "250");
    if (taken)
        assert_true(slice_starts_with(buffer_slice(&f->recipients), SMX_SLICE("b@to.example 0")));
    else
        assert_buffer(&f->recipients, "a@to.example ");
    client_close(c);
    assert_int_equal(fixture_teardown(&state), 0);
    assert_true(taken || failed);
    return !failed;
}

static void server_oom__a_recipient_that_is_answered_452_leaves_no_trace(void **state)
{
    (void)state;
    size_t refusals = 0;
    for (size_t nth = 1; !replaced_at(nth, &refusals); nth++)
        assert_true(nth < 10000);
    assert_true(refusals > 2);
}

/* Constructors, on the test's own thread. */
static void server_oom__each_failing_allocation_of_a_new_server_is_told(void **state)
{
    (void)state;
    fail_malloc_choose_thread(true);
    for (size_t nth = 1;; nth++) {
        smx_loop *loop = NULL;
        smx_server *server = NULL;
        smx_hook hook = {.version = SMX_HOOK_VERSION};
        const smx_hook *const table[] = {&hook};
        const smx_listener_options at = {.version = SMX_LISTENER_VERSION, .listen = "127.0.0.1:0"};
        for (size_t phase = 0; phase < SMX_HOOK_PHASE_COUNT; phase++)
            hook.phases[phase] = change_all;
        const smx_server_options options = {
            .version = SMX_SERVER_VERSION, .handler = never, .hooks = table, .hook_count = 1};
        assert_int_equal(smx_loop_new(NULL, &loop), 0);
        fail_malloc_begin(nth);
        int error = smx_server_new(loop, &options, &server);
        if (error == 0)
            error = smx_server_listen(server, &at, NULL);
        if (error == 0)
            error = smx_server_start(server);
        bool failed = fail_malloc_end();
        assert_int_equal(error, failed ? SMX_E_NOMEM : 0);
        smx_server_free(server);
        smx_loop_free(loop);
        if (!failed)
            break;
    }
    fail_malloc_choose_thread(false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(server_oom__each_failing_allocation_of_a_session_is_survived),
        cmocka_unit_test(server_oom__each_failing_allocation_with_hooks_is_survived),
        cmocka_unit_test(server_oom__each_failing_allocation_of_lmtp_is_survived),
        cmocka_unit_test(server_oom__a_recipient_that_is_answered_452_leaves_no_trace),
        cmocka_unit_test(server_oom__each_failing_allocation_of_a_new_server_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
