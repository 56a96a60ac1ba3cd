/* The loop: posts of threads, the turn's end, tickets, blocks. */
#include "test_peers.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>
#include <uv.h>

#include "net/loop_internal.h"

#define LOOP_TEST(name) cmocka_unit_test_setup_teardown(name, peers_setup, peers_teardown)

/* ---- posts ---- */

enum { THREADS = 4, POSTS = 5000 };

typedef struct test_poster {
    smx_loop *loop;
    pthread_t thread;
    pthread_t home; /* where posts must run */
    int next;       /* the number that the next post must have */
    int *done;
} test_poster;

typedef struct test_post {
    test_poster *poster;
    int number;
} test_post;

static void test_on_post(void *arg)
{
    test_post *post = arg;
    test_poster *poster = post->poster;
    assert_int_equal(post->number, poster->next);
    assert_true(pthread_equal(pthread_self(), poster->home));
    poster->next++;
    if (++*poster->done == THREADS * POSTS)
        smx_loop_stop(poster->loop);
    free(post);
}

static void *test_post_all(void *arg)
{
    test_poster *poster = arg;
    for (int i = 0; i < POSTS; i++) {
        test_post *post = malloc(sizeof(*post));
        if (post == NULL)
            abort();
        *post = (test_post){poster, i};
        if (smx_loop_post(poster->loop, test_on_post, post) != 0)
            abort();
    }
    return NULL;
}

static void net_loop__posts_of_threads_run_here_in_order(void **state)
{
    peers *p = *state;
    test_poster posters[THREADS];
    int done = 0;
    for (size_t i = 0; i < THREADS; i++) {
        posters[i] = (test_poster){.loop = p->loop, .home = pthread_self(), .done = &done};
        assert_int_equal(pthread_create(&posters[i].thread, NULL, test_post_all, &posters[i]), 0);
    }
    smx_loop_run(p->loop);
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(posters[i].thread, NULL), 0);
        assert_int_equal(posters[i].next, POSTS);
    }
}

static void *test_stop(void *arg)
{
    smx_loop_stop(arg);
    return NULL;
}

static void net_loop__stop_of_a_thread_ends_the_run(void **state)
{
    peers *p = *state;
    pthread_t thread;
    for (int i = 0; i < 20; i++) {
        assert_int_equal(pthread_create(&thread, NULL, test_stop, p->loop), 0);
        smx_loop_run(p->loop);
        assert_int_equal(pthread_join(thread, NULL), 0);
    }
}

static void test_count(void *arg)
{
    ++*(int *)arg;
}

static void net_loop__free_runs_the_posts_that_wait(void **state)
{
    smx_loop *loop;
    int count = 0;
    (void)state;
    assert_int_equal(smx_loop_new(NULL, &loop), 0);
    assert_int_equal(smx_loop_post(loop, test_count, &count), 0);
    assert_int_equal(smx_loop_post(loop, test_count, &count), 0);
    smx_loop_free(loop);
    assert_int_equal(count, 2);
}

static void net_loop__callers_loop_is_left_as_it_was(void **state)
{
    uv_loop_t uv;
    smx_loop *loop;
    int count = 0;
    (void)state;
    assert_int_equal(uv_loop_init(&uv), 0);
    assert_int_equal(smx_loop_new(&uv, &loop), 0);
    assert_ptr_equal(smx_loop_uv(loop), &uv);
    assert_int_equal(smx_loop_post(loop, test_count, &count), 0);
    while (count == 0)
        (void)uv_run(&uv, UV_RUN_ONCE);
    smx_loop_free(loop);
    assert_int_equal(uv_loop_close(&uv), 0);
}

/* ---- the turn's end ---- */

typedef struct test_work {
    loop_turn_end end;
    smx_loop *loop;
    int runs;
    int more; /* adds itself again so often */
} test_work;

static void test_on_turn_end(loop_turn_end *self)
{
    test_work *work = list_member(self, test_work, end);
    work->runs++;
    if (work->more > 0) {
        work->more--;
        loop_at_turn_end(work->loop, self);
    }
}

static void net_loop__turn_end_runs_once_and_can_be_cancelled(void **state)
{
    peers *p = *state;
    test_work work = {.end.fn = test_on_turn_end, .loop = p->loop};
    test_work cancelled = work;
    loop_at_turn_end(p->loop, &work.end);
    loop_at_turn_end(p->loop, &work.end);
    loop_at_turn_end(p->loop, &cancelled.end);
    loop_cancel_turn_end(&cancelled.end);
    assert_int_equal(work.runs, 0);
    peers_turn(p);
    peers_turn(p);
    assert_int_equal(work.runs, 1);
    assert_int_equal(cancelled.runs, 0);
}

static void test_add_work(void *arg)
{
    test_work *work = arg;
    loop_at_turn_end(work->loop, &work->end);
}

/* Nothing that is added waits for the next event of somebody else. */
static void net_loop__turn_end_comes_before_the_loop_waits(void **state)
{
    smx_loop *loop;
    (void)state;
    assert_int_equal(smx_loop_new(NULL, &loop), 0);
    test_work work = {.end.fn = test_on_turn_end, .loop = loop, .more = 100};
    assert_int_equal(smx_loop_post(loop, test_add_work, &work), 0);
    uint64_t end = peers_clock() + 5000;
    while (work.runs < 101 && peers_clock() < end)
        (void)uv_run(smx_loop_uv(loop), UV_RUN_ONCE);
    assert_int_equal(work.runs, 101);
    smx_loop_free(loop);
}

/* ---- tickets, blocks, signals ---- */

static void net_loop__tickets_of_loops_never_meet(void **state)
{
    enum { LOOPS = 1100, EACH = 4 }; /* more than the loops that interleave */
    static smx_ticket seen[LOOPS * EACH];
    size_t count = 0;
    (void)state;
    for (size_t i = 0; i < LOOPS; i++) {
        smx_loop *loop;
        assert_int_equal(smx_loop_new(NULL, &loop), 0);
        for (size_t k = 0; k < EACH; k++)
            seen[count++] = loop_next_ticket(loop);
        assert_int_equal(*loop_tickets(loop), seen[count - 1]);
        smx_loop_free(loop);
    }
    for (size_t i = 0; i < count; i++) {
        assert_int_not_equal(seen[i], 0);
        for (size_t k = i + 1; k < count; k++)
            if (seen[i] == seen[k])
                fail_msg("ticket %llu came twice", (unsigned long long)seen[i]);
    }
}

static void net_loop__blocks_are_reused(void **state)
{
    peers *p = *state;
    char *blocks[100];
    for (size_t i = 0; i < 100; i++) {
        blocks[i] = loop_block_take(p->loop);
        assert_non_null(blocks[i]);
        memset(blocks[i], (int)i, LOOP_BLOCK);
    }
    assert_int_equal(loop_blocks_taken(p->loop), 100);
    loop_block_give(p->loop, blocks[0]);
    char *again = loop_block_take(p->loop);
    assert_ptr_equal(again, blocks[0]);
    for (size_t i = 0; i < 100; i++)
        loop_block_give(p->loop, blocks[i]);
    loop_block_give(p->loop, NULL);
    assert_int_equal(loop_blocks_taken(p->loop), 0);
}

static void net_loop__broken_pipe_is_no_signal(void **state)
{
    peers *p = *state;
    int ends[2];
    peers_turn(p);
    assert_int_equal(pipe(ends), 0);
    (void)close(ends[0]);
    assert_int_equal(write(ends[1], "x", 1), -1);
    (void)close(ends[1]);
}

int main(void)
{
    (void)signal(SIGPIPE, SIG_DFL);
    const struct CMUnitTest tests[] = {
        LOOP_TEST(net_loop__posts_of_threads_run_here_in_order),
        LOOP_TEST(net_loop__stop_of_a_thread_ends_the_run),
        cmocka_unit_test(net_loop__free_runs_the_posts_that_wait),
        cmocka_unit_test(net_loop__callers_loop_is_left_as_it_was),
        LOOP_TEST(net_loop__turn_end_runs_once_and_can_be_cancelled),
        cmocka_unit_test(net_loop__turn_end_comes_before_the_loop_waits),
        cmocka_unit_test(net_loop__tickets_of_loops_never_meet),
        LOOP_TEST(net_loop__blocks_are_reused),
        LOOP_TEST(net_loop__broken_pipe_is_no_signal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
