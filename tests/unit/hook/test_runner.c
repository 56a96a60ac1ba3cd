/* The hook runner with a host of the test's own: a list of posts, a clock and a counter. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hook/runner.h"

enum { POSTS = 8 };

typedef struct post {
    void (*fn)(void *arg);
    void *arg;
} post;

typedef struct world {
    uint64_t now;
    smx_ticket tickets;
    post posts[POSTS];
    size_t post_count;
    int logged;
    /* What `done` was told. */
    int done;
    smx_verdict verdict;
    size_t changes;
} world;

static world w;
static arena memory;

static smx_ticket next_ticket(void *arg)
{
    (void)arg;
    return ++w.tickets;
}

static int post_later(void *arg, void (*fn)(void *arg), void *fn_arg)
{
    (void)arg;
    if (w.post_count == POSTS)
        return SMX_E_NOMEM;
    w.posts[w.post_count++] = (post){fn, fn_arg};
    return 0;
}

static uint64_t now(void *arg)
{
    (void)arg;
    return w.now;
}

static void count_log(void *arg, const char *hook, smx_hook_phase phase, const char *what)
{
    (void)arg;
    (void)hook;
    (void)phase;
    (void)what;
    w.logged++;
}

static const hook_host host = {
    .next_ticket = next_ticket, .post = post_later, .now = now, .log = count_log};

static void run_posts(void)
{
    for (size_t i = 0; i < w.post_count; i++)
        w.posts[i].fn(w.posts[i].arg);
    w.post_count = 0;
}

static void on_done(void *owner, smx_hook_phase phase, const smx_verdict *verdict,
                    const hook_change *changes)
{
    (void)owner;
    (void)phase;
    w.done++;
    w.verdict = *verdict;
    for (w.changes = 0; changes != NULL; changes = changes->next)
        w.changes++;
}

/* ---- hooks ---- */

typedef struct scripted {
    smx_hook hook;
    smx_verdict verdict;
    bool later;
    smx_ticket ticket;
    int calls;
} scripted;

static smx_verdict run_scripted(void *arg, smx_hook_call *call)
{
    scripted *s = arg;
    s->calls++;
    if (!s->later)
        return s->verdict;
    assert_int_equal(smx_hook_add_header(call, SMX_SLICE("X"), SMX_SLICE("y")), 0);
    s->ticket = smx_hook_ticket(call);
    assert_true(smx_hook_ticket(call) == s->ticket);
    return (smx_verdict){.kind = SMX_VERDICT_LATER};
}

static scripted hooks[3];
static smx_hooks *table;
static hook_session *session;
static const smx_session_view session_view;
static const smx_envelope envelope;
static const smx_hook_view mail = {
    .phase = SMX_HOOK_MAIL, .session = &session_view, .envelope = &envelope};

static int setup(void **state)
{
    (void)state;
    const smx_hook *pointers[3];
    w = (world){0};
    for (size_t i = 0; i < 3; i++) {
        hooks[i] = (scripted){.verdict = {.kind = SMX_CONTINUE}};
        hooks[i].hook = (smx_hook){.version = SMX_HOOK_VERSION, .name = "scripted"};
        hooks[i].hook.arg = &hooks[i];
        hooks[i].hook.phases[SMX_HOOK_MAIL] = run_scripted;
        pointers[i] = &hooks[i].hook;
    }
    assert_int_equal(hooks_new(pointers, 3, &host, &table), 0);
    assert_int_equal(hook_session_new(table, on_done, NULL, &session), 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    hook_session_free(session);
    hooks_free(table);
    run_posts();
    arena_free(&memory);
    return 0;
}

static int ask(smx_verdict *verdict)
{
    const hook_change *changes;
    return hook_session_ask(session, &mail, &memory, verdict, &changes);
}

/* ---- tests ---- */

static void hook_table__knows_which_phases_are_wanted(void **state)
{
    (void)state;
    assert_true(hooks_want(table, SMX_HOOK_MAIL));
    assert_false(hooks_want(table, SMX_HOOK_RCPT));
    assert_false(hooks_have_flag(table, SMX_HOOK_HOLD));
}

static void hook_table__unknown_version_is_refused(void **state)
{
    (void)state;
    const smx_hook unknown = {.version = 99};
    const smx_hook *const pointers[] = {&unknown};
    smx_hooks *none = NULL;
    assert_int_equal(hooks_new(pointers, 1, &host, &none), SMX_E_INVALID);
    assert_null(none);
}

static void hook_phase__words_go_both_ways(void **state)
{
    (void)state;
    smx_hook_phase phase = SMX_HOOK_MAIL;
    for (size_t i = 0; i < SMX_HOOK_PHASE_COUNT; i++) {
        const char *text = smx_hook_phase_text((smx_hook_phase)i);
        assert_int_equal(smx_hook_phase_parse(slice_of_text(text), &phase), 0);
        assert_int_equal(phase, i);
    }
    assert_int_equal(smx_hook_phase_parse(SMX_SLICE("maill"), &phase), SMX_E_NOTFOUND);
}

static void hook_runner__asks_in_order_until_one_decides(void **state)
{
    (void)state;
    smx_verdict verdict;
    hooks[1].verdict = (smx_verdict){SMX_REPLY_WITH, SMX_REPLY(550, 4, 1, 1, "no")};
    assert_int_equal(ask(&verdict), 1);
    assert_int_equal(verdict.kind, SMX_REPLY_WITH);
    assert_int_equal(verdict.reply.enhanced.class_digit, 0); /* 4.1.1 cannot go with 550 */
    assert_int_equal(hooks[0].calls, 1);
    assert_int_equal(hooks[2].calls, 0);
}

static void hook_runner__each_waits_for_the_one_before(void **state)
{
    (void)state;
    smx_verdict verdict;
    hooks[0].later = true;
    hooks[2].later = true;
    assert_int_equal(ask(&verdict), 0);
    assert_int_equal(hooks[1].calls, 0);
    const smx_verdict go_on = {.kind = SMX_CONTINUE};
    assert_int_equal(smx_hooks_answer(table, hooks[0].ticket, &go_on), 0);
    assert_int_equal(hooks[1].calls, 0); /* not from within the answer */
    run_posts();
    assert_int_equal(hooks[1].calls, 1);
    assert_int_equal(w.done, 0);
    assert_int_equal(smx_hooks_answer(table, hooks[0].ticket, &go_on), SMX_E_GONE);
    assert_int_equal(smx_hooks_answer(table, hooks[2].ticket, &go_on), 0);
    run_posts();
    assert_int_equal(w.done, 1);
    assert_int_equal(w.verdict.kind, SMX_CONTINUE);
    assert_int_equal(w.changes, 2);
}

static void hook_runner__changes_of_a_refused_command_are_not_handed_on(void **state)
{
    (void)state;
    smx_verdict verdict;
    hooks[0].later = true;
    hooks[1].verdict = (smx_verdict){SMX_REPLY_WITH, SMX_REPLY(550, 5, 1, 1, "no")};
    assert_int_equal(ask(&verdict), 0);
    const smx_verdict go_on = {.kind = SMX_CONTINUE};
    assert_int_equal(smx_hooks_answer(table, hooks[0].ticket, &go_on), 0);
    run_posts();
    assert_int_equal(w.done, 1);
    assert_int_equal(w.verdict.reply.code, 550);
    assert_int_equal(w.changes, 0);
}

static void hook_runner__time_is_counted_for_each_verdict(void **state)
{
    (void)state;
    smx_verdict verdict;
    hooks[0].later = true;
    hooks[0].hook.timeout_ms = 100;
    hooks[0].hook.on_error = SMX_ON_ERROR_CONTINUE;
    hooks[1].later = true;
    w.now = 1000;
    assert_true(hook_session_deadline(session) == UINT64_MAX);
    assert_int_equal(ask(&verdict), 0);
    assert_int_equal(hook_session_deadline(session), 1100);
    w.now = 1100;
    hook_session_expire(session);
    assert_int_equal(w.logged, 1);
    assert_int_equal(hook_session_deadline(session), 1100 + 30000);
    hook_session_expire(session);
    assert_int_equal(w.done, 1);
    assert_int_equal(w.verdict.reply.code, 451);
    assert_int_equal(w.changes, 0);
}

static void hook_runner__answer_under_way_wins_over_the_end_of_its_time(void **state)
{
    (void)state;
    smx_verdict verdict;
    hooks[0].later = true;
    assert_int_equal(ask(&verdict), 0);
    const smx_verdict go_on = {.kind = SMX_CONTINUE};
    assert_int_equal(smx_hooks_answer(table, hooks[0].ticket, &go_on), 0);
    hook_session_expire(session);
    assert_int_equal(w.done, 0);
    assert_true(hook_session_deadline(session) == UINT64_MAX);
    run_posts();
    assert_int_equal(w.done, 1);
    assert_int_equal(w.verdict.kind, SMX_CONTINUE);
    assert_int_equal(w.logged, 0);
}

static void hook_runner__answer_that_cannot_be_posted_can_be_given_again(void **state)
{
    (void)state;
    smx_verdict verdict;
    hooks[0].later = true;
    assert_int_equal(ask(&verdict), 0);
    const smx_verdict go_on = {.kind = SMX_CONTINUE};
    w.post_count = POSTS;
    assert_int_equal(smx_hooks_answer(table, hooks[0].ticket, &go_on), SMX_E_NOMEM);
    w.post_count = 0;
    assert_int_equal(smx_hooks_answer(table, hooks[0].ticket, &go_on), 0);
    run_posts();
    assert_int_equal(w.done, 1);
}

static void hook_runner__answer_finds_neither_session_nor_table_that_are_gone(void **state)
{
    (void)state;
    smx_verdict verdict;
    hooks[0].later = true;
    assert_int_equal(ask(&verdict), 0);
    const smx_verdict go_on = {.kind = SMX_CONTINUE};
    assert_int_equal(smx_hooks_answer(table, hooks[0].ticket, &go_on), 0);
    hook_session_free(session);
    session = NULL;
    assert_int_equal(smx_hooks_answer(table, hooks[0].ticket, &go_on), SMX_E_GONE);
    hooks_free(table);
    table = NULL;
    run_posts(); /* the answer still holds the table; nothing is called */
    assert_int_equal(w.done, 0);
}

static void hook_runner__blocking_hook_without_threads_fails(void **state)
{
    (void)state;
    smx_verdict verdict;
    hooks[0].hook.flags = SMX_HOOK_BLOCKING;
    hooks[0].hook.on_error = SMX_ON_ERROR_REJECT;
    assert_int_equal(ask(&verdict), 1);
    assert_int_equal(verdict.reply.code, 550);
    assert_int_equal(hooks[0].calls, 0);
}

#define WITH_TABLE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_TABLE(hook_table__knows_which_phases_are_wanted),
        WITH_TABLE(hook_table__unknown_version_is_refused),
        cmocka_unit_test(hook_phase__words_go_both_ways),
        WITH_TABLE(hook_runner__asks_in_order_until_one_decides),
        WITH_TABLE(hook_runner__each_waits_for_the_one_before),
        WITH_TABLE(hook_runner__changes_of_a_refused_command_are_not_handed_on),
        WITH_TABLE(hook_runner__time_is_counted_for_each_verdict),
        WITH_TABLE(hook_runner__answer_under_way_wins_over_the_end_of_its_time),
        WITH_TABLE(hook_runner__answer_that_cannot_be_posted_can_be_given_again),
        WITH_TABLE(hook_runner__answer_finds_neither_session_nor_table_that_are_gone),
        WITH_TABLE(hook_runner__blocking_hook_without_threads_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
