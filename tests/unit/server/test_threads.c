/* Hooks, middleware and handlers answered from many threads at once, while clients come and go: for
 * the thread sanitizer. */
#include <stdio.h>
#include <stdlib.h>

#include "fixture.h"

enum { ANSWERERS = 4, CLIENTS = 16, ROUNDS = 10, QUEUE = 4096 };

typedef enum asked { ASKED_HOOK, ASKED_MIDDLEWARE, ASKED_HANDLER } asked;

typedef struct question {
    asked who;
    smx_hooks *table;
    smx_ticket ticket;
} question;

/* What waits for an answer. */
typedef struct desk {
    fixture *f;
    pthread_mutex_t mutex;
    question queue[QUEUE];
    size_t first;
    size_t last;
    atomic_bool ending;
    atomic_int answered;
    atomic_int gone;
} desk;

static desk the_desk;

static void desk_put(asked who, smx_hooks *table, smx_ticket ticket)
{
    desk *d = &the_desk;
    (void)pthread_mutex_lock(&d->mutex);
    d->queue[d->last++ % QUEUE] = (question){who, table, ticket};
    (void)pthread_mutex_unlock(&d->mutex);
}

static bool desk_take(question *q)
{
    desk *d = &the_desk;
    (void)pthread_mutex_lock(&d->mutex);
    bool found = d->first < d->last;
    if (found)
        *q = d->queue[d->first++ % QUEUE];
    (void)pthread_mutex_unlock(&d->mutex);
    return found;
}

static int desk_answer(const question *q)
{
    const smx_verdict go_on = {.kind = SMX_CONTINUE};
    const smx_reply taken = SMX_REPLY(250, 2, 0, 0, "taken");
    desk *d = &the_desk;
    if (q->who == ASKED_HOOK)
        return smx_hooks_answer(q->table, q->ticket, &go_on);
    if (q->who == ASKED_MIDDLEWARE)
        return smx_transaction_continue(d->f->server, q->ticket, &go_on);
    return smx_transaction_reply(d->f->server, q->ticket, &taken);
}

static void *answer_all(void *arg)
{
    (void)arg;
    question q;
    while (!the_desk.ending) {
        if (!desk_take(&q)) {
            fixture_yield();
            continue;
        }
        int error = desk_answer(&q);
        if (error != 0 && error != SMX_E_GONE)
            abort();
        if (error == 0)
            the_desk.answered++;
        else
            the_desk.gone++;
    }
    return NULL;
}

static smx_verdict hook_later(void *arg, smx_hook_call *call)
{
    (void)arg;
    desk_put(ASKED_HOOK, smx_hook_table(call), smx_hook_ticket(call));
    return (smx_verdict){.kind = SMX_VERDICT_LATER};
}

static smx_verdict hook_on_the_pool(void *arg, smx_hook_call *call)
{
    (void)arg;
    if (smx_hook_add_header(call, SMX_SLICE("X-Pool"), SMX_SLICE("was here")) != 0)
        abort();
    return (smx_verdict){.kind = SMX_CONTINUE};
}

static smx_verdict before_later(void *arg, smx_transaction *tx)
{
    (void)arg;
    desk_put(ASKED_MIDDLEWARE, NULL, smx_transaction_ticket(tx));
    return (smx_verdict){.kind = SMX_VERDICT_LATER};
}

static smx_reply handle_later(fixture *f, smx_transaction *tx)
{
    (void)f;
    desk_put(ASKED_HANDLER, NULL, smx_transaction_ticket(tx));
    return SMX_LATER;
}

static smx_hook hooks[2];
static smx_middleware middleware;

static int setup(void **state)
{
    (void)fixture_setup(state);
    fixture *f = *state;
    the_desk = (desk){.f = f};
    (void)pthread_mutex_init(&the_desk.mutex, NULL);
    hooks[0] = (smx_hook){.version = SMX_HOOK_VERSION, .name = "later"};
    hooks[1] = (smx_hook){.version = SMX_HOOK_VERSION, .name = "pool", .flags = SMX_HOOK_BLOCKING};
    static const smx_hook_phase phases[] = {SMX_HOOK_MAIL, SMX_HOOK_RCPT, SMX_HOOK_HEADER,
                                            SMX_HOOK_BODY, SMX_HOOK_EOM};
    for (size_t i = 0; i < sizeof(phases) / sizeof(phases[0]); i++) {
        hooks[0].phases[phases[i]] = hook_later;
        hooks[1].phases[phases[i]] = hook_on_the_pool;
    }
    middleware = (smx_middleware){
        .version = SMX_MIDDLEWARE_VERSION, .name = "later", .before = before_later};
    fixture_add_hook(f, &hooks[0]);
    fixture_add_hook(f, &hooks[1]);
    fixture_add_middleware(f, &middleware);
    f->handle = handle_later;
    fixture_start(f);
    return 0;
}

static void server_threads__answers_from_many_threads_reach_their_sessions(void **state)
{
    fixture *f = *state;
    pthread_t answerers[ANSWERERS];
    client *clients[CLIENTS];
    for (size_t i = 0; i < ANSWERERS; i++)
        assert_int_equal(pthread_create(&answerers[i], NULL, answer_all, NULL), 0);
    for (int round = 0; round < ROUNDS; round++) {
        for (size_t i = 0; i < CLIENTS; i++) {
            clients[i] = client_greet(f);
            client_send(clients[i], "MAIL FROM:<a@from.example>\r\nRCPT TO:<b@to.example>\r\n"
                                    "DATA\r\n");
        }
        for (size_t i = 0; i < CLIENTS; i++) {
            client_expect(clients[i], "250 ");
            client_expect(clients[i], "250 ");
            client_expect(clients[i], "354 ");
            client_send(clients[i], "S: x\r\n\r\nbody\r\n.\r\n");
        }
        /* Every third client does not wait for the reply. */
        for (size_t i = 0; i < CLIENTS; i++) {
            if (i % 3 != 0)
                client_expect(clients[i], "250 2.0.0 taken");
            client_close(clients[i]);
        }
    }
    fixture_wait(fixture_counters(f).sessions == 0);
    the_desk.ending = true;
    for (size_t i = 0; i < ANSWERERS; i++)
        (void)pthread_join(answerers[i], NULL);
    assert_true(fixture_counters(f).accepted >= (uint64_t)ROUNDS * (CLIENTS - CLIENTS / 3 - 1));
    assert_true(the_desk.answered >= ROUNDS * CLIENTS * 4);
}

static int teardown(void **state)
{
    int failed = fixture_teardown(state);
    (void)pthread_mutex_destroy(&the_desk.mutex);
    return failed;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            server_threads__answers_from_many_threads_reach_their_sessions, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
