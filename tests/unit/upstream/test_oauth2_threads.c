/* Many workers ask for a token at once: one request is made for all of them. */
#include "support/unit_test.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "net/http.h"
#include "support/http_endpoint.h"
#include "upstream/oauth2.h"

enum { WORKERS = 16, ROUNDS = 5 };

typedef struct crew {
    http_endpoint *endpoint;
    oauth2 *tokens;
    pthread_barrier_t together;
    atomic_size_t asked; /* of this round: those that wait, or have it already */
    bool is_giving_up;   /* every other worker takes its waiting back */
} crew;

typedef struct worker {
    crew *crew;
    pthread_t thread;
    smx_loop *loop;
    size_t number;
    uint64_t serials[ROUNDS]; /* 0: there was no token */
} worker;

static void worker_told(void *arg)
{
    const worker *w = arg;
    smx_loop_stop(w->loop);
}

/* Asks once. *waits: no answer yet; *serial: of the token, if it is there. */
static void worker_ask(worker *w, oauth2_waiter *waiter, uint64_t *serial, bool *waits)
{
    oauth2_answer answer;
    oauth2_state state = oauth2_take(w->crew->tokens, clock_monotonic_ms(), waiter, &answer);
    *waits = state == OAUTH2_LATER;
    if (state == OAUTH2_TOKEN && strcmp(answer.token, "of the day") == 0)
        *serial = answer.serial;
    oauth2_token_free(answer.token);
}

/* 0 if there is no token in the end. */
static uint64_t worker_take(worker *w)
{
    oauth2_waiter waiter = {.loop = w->loop, .told = worker_told, .arg = w};
    uint64_t serial = 0;
    bool waits;
    worker_ask(w, &waiter, &serial, &waits);
    bool gives_up = waits && w->crew->is_giving_up && w->number % 2 == 1 &&
                    !oauth2_cancel(w->crew->tokens, &waiter);
    (void)atomic_fetch_add(&w->crew->asked, 1);
    if (waits && !gives_up) {
        smx_loop_run(w->loop);
        worker_ask(w, &waiter, &serial, &waits);
    }
    return serial;
}

/* That an older token is rejected, late, is nothing to the one that there is. */
static uint64_t worker_take_again(worker *w, uint64_t serial)
{
    oauth2_waiter waiter = {.loop = w->loop, .told = worker_told, .arg = w};
    uint64_t again = 0;
    bool waits;
    oauth2_reject(w->crew->tokens, serial - 1);
    worker_ask(w, &waiter, &again, &waits);
    if (waits && oauth2_cancel(w->crew->tokens, &waiter))
        smx_loop_run(w->loop);
    return again;
}

static void *worker_run(void *arg)
{
    worker *w = arg;
    for (size_t i = 0; i < ROUNDS; i++) {
        (void)pthread_barrier_wait(&w->crew->together);
        w->serials[i] = worker_take(w);
        if (w->serials[i] != 0)
            w->serials[i] = worker_take_again(w, w->serials[i]);
        (void)pthread_barrier_wait(&w->crew->together);
        oauth2_reject(w->crew->tokens, i + 1); /* so do all, of the same token */
    }
    return NULL;
}

/* The answer of a round leaves once all have asked. */
static void crew_round(crew *c, size_t round)
{
    atomic_store(&c->asked, 0);
    http_endpoint_hold(c->endpoint, true);
    (void)pthread_barrier_wait(&c->together);
    http_endpoint_wait(c->endpoint, round + 1);
    while (atomic_load(&c->asked) < WORKERS)
        (void)sched_yield();
    http_endpoint_hold(c->endpoint, false);
    (void)pthread_barrier_wait(&c->together);
    assert_int_equal(http_endpoint_count(c->endpoint), round + 1);
}

static void crew_begin(crew *c, worker *workers)
{
    c->endpoint = http_endpoint_new("{\"access_token\": \"of the day\", \"expires_in\": 3600}");
    const oauth2_options options = {.token_url = http_endpoint_url(c->endpoint),
                                    .client_id = "id",
                                    .client_secret = "secret",
                                    .grant = OAUTH2_CLIENT_CREDENTIALS};
    assert_int_equal(oauth2_new(&options, "one", NULL, NULL, &c->tokens), 0);
    assert_int_equal(pthread_barrier_init(&c->together, NULL, WORKERS + 1), 0);
    for (size_t i = 0; i < WORKERS; i++) {
        workers[i] = (worker){.crew = c, .number = i};
        assert_int_equal(smx_loop_new(NULL, &workers[i].loop), 0);
        assert_int_equal(pthread_create(&workers[i].thread, NULL, worker_run, &workers[i]), 0);
    }
}

static void crew_end(crew *c, worker *workers)
{
    for (size_t i = 0; i < WORKERS; i++) {
        assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
        smx_loop_free(workers[i].loop);
    }
    oauth2_free(c->tokens);
    (void)pthread_barrier_destroy(&c->together);
    http_endpoint_free(c->endpoint);
}

static void crew_run(crew *c, worker *workers)
{
    crew_begin(c, workers);
    for (size_t i = 0; i < ROUNDS; i++)
        crew_round(c, i);
    crew_end(c, workers);
}

static void oauth2_threads__one_request_serves_all_and_a_rejected_token_is_fetched_once(
    void **state)
{
    (void)state;
    crew c = {.is_giving_up = false};
    worker workers[WORKERS];
    crew_run(&c, workers);
    for (size_t i = 0; i < WORKERS; i++)
        for (size_t round = 0; round < ROUNDS; round++)
            assert_int_equal(workers[i].serials[round], round + 1);
}

static void oauth2_threads__who_gives_up_takes_nothing_from_the_others(void **state)
{
    (void)state;
    crew c = {.is_giving_up = true};
    worker workers[WORKERS];
    crew_run(&c, workers);
    for (size_t i = 0; i < WORKERS; i++)
        for (size_t round = 0; round < ROUNDS; round++)
            assert_int_equal(workers[i].serials[round], i % 2 == 1 ? 0 : round + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            oauth2_threads__one_request_serves_all_and_a_rejected_token_is_fetched_once),
        cmocka_unit_test(oauth2_threads__who_gives_up_takes_nothing_from_the_others),
    };
    if (http_begin() != 0)
        return EXIT_FAILURE;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    http_end();
    return failed;
}
