/* A thousand sessions that wait in a hook, while others go through: nobody waits for them. */
#include <stdlib.h>
#include <sys/resource.h>

#include "proxy_fixture.h"

enum { WAITING = 1000, OTHERS = 20, ROUNDS = 5, DESCRIPTORS = 4 * (WAITING + OTHERS) + 200 };

/* What the hooks of a test share. */
typedef struct crowd {
    pthread_mutex_t mutex;
    pthread_cond_t opened;
    bool open; /* the door of the hook that blocks */
    smx_hooks *table;
    smx_ticket tickets[WAITING];
    atomic_size_t there;    /* sessions that came to wait */
    atomic_size_t answered; /* ... and were let go */
    client *clients[WAITING];
} crowd;

/* Those who are called so have to wait. */
static bool is_waiting(const smx_hook_call *call)
{
    const smx_hook_view *view = smx_hook_get_view(call);
    return slice_equal(view->session->helo, SMX_SLICE("wait.example"));
}

static smx_verdict ask_later(void *arg, smx_hook_call *call)
{
    crowd *w = arg;
    if (!is_waiting(call))
        return (smx_verdict){.kind = SMX_CONTINUE};
    w->table = smx_hook_table(call);
    w->tickets[w->there++] = smx_hook_ticket(call);
    return (smx_verdict){.kind = SMX_VERDICT_LATER};
}

static smx_verdict count(void *arg, smx_hook_call *call)
{
    crowd *w = arg;
    (void)call;
    w->there++;
    return (smx_verdict){.kind = SMX_CONTINUE};
}

static smx_verdict block(void *arg, smx_hook_call *call)
{
    crowd *w = arg;
    (void)call;
    (void)pthread_mutex_lock(&w->mutex);
    while (!w->open)
        (void)pthread_cond_wait(&w->opened, &w->mutex);
    (void)pthread_mutex_unlock(&w->mutex);
    w->answered++;
    return (smx_verdict){.kind = SMX_CONTINUE};
}

static void open_door(crowd *w)
{
    (void)pthread_mutex_lock(&w->mutex);
    w->open = true;
    (void)pthread_cond_broadcast(&w->opened);
    (void)pthread_mutex_unlock(&w->mutex);
}

/* Every session has a descriptor of the client's, two of the proxy's and one of the server's. */
static void take_descriptors(void)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    if (limit.rlim_max < DESCRIPTORS)
        skip();
    limit.rlim_cur = limit.rlim_cur < DESCRIPTORS ? DESCRIPTORS : limit.rlim_cur;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static crowd *crowd_new(void)
{
    crowd *w = calloc(1, sizeof(*w));
    assert_non_null(w);
    assert_int_equal(pthread_mutex_init(&w->mutex, NULL), 0);
    assert_int_equal(pthread_cond_init(&w->opened, NULL), 0);
    return w;
}

static void crowd_free(crowd *w)
{
    (void)pthread_cond_destroy(&w->opened);
    (void)pthread_mutex_destroy(&w->mutex);
    free(w);
}

/* All are there, and wait. */
static void crowd_comes(crowd *w, proxy_fixture *x, const char *lines)
{
    for (size_t i = 0; i < WAITING; i++) {
        w->clients[i] = client_open(x->f);
        client_send(w->clients[i], "EHLO wait.example\r\n");
        client_send(w->clients[i], lines);
    }
    fixture_wait(w->there == WAITING);
}

/* Each hears its banner, the reply to EHLO, and these. */
static void crowd_goes(crowd *w, const char *const *replies, size_t count_of_replies)
{
    for (size_t i = 0; i < WAITING; i++) {
        client *c = w->clients[i];
        client_expect(c, "220 ");
        client_expect(c, "250 ");
        for (size_t j = 0; j < count_of_replies; j++)
            client_expect(c, replies[j]);
        client_close(c);
    }
}

static void answer_all(void *arg)
{
    crowd *w = arg;
    const smx_verdict verdict = {.kind = SMX_CONTINUE};
    for (size_t i = 0; i < WAITING; i++) {
        assert_int_equal(smx_hooks_answer(w->table, w->tickets[i], &verdict), 0);
        w->answered++;
    }
}

static void proxy_waiting__messages_pass_a_thousand_that_wait_for_later(void **state)
{
    proxy_fixture *x = *state;
    take_descriptors();
    crowd *w = crowd_new();
    const smx_hook hook = {.version = SMX_HOOK_VERSION,
                           .name = "later",
                           .timeout_ms = 600000,
                           .arg = w,
                           .phases = {[SMX_HOOK_MAIL] = ask_later}};
    proxy_add_hook(x, &hook);
    proxy_start(x);
    crowd_comes(w, x, "MAIL FROM:<a@from.example>\r\n");
    for (size_t i = 0; i < OTHERS; i++) {
        client *c = client_greet(x->f);
        client_mail(c, "Subject: x\r\n\r\nbody\r\n", "250 2.0.0 kept");
        client_ask(c, "QUIT", "221 ");
        client_close(c);
    }
    assert_int_equal(x->f->handled, OTHERS);
    assert_int_equal(w->answered, 0);
    fixture_call(x->f, answer_all, w);
    crowd_goes(w, (const char *const[]){"250 2.1.0"}, 1);
    proxy_expect_empty(x);
    crowd_free(w);
}

static void proxy_waiting__commands_pass_a_thousand_that_wait_for_the_pool(void **state)
{
    proxy_fixture *x = *state;
    take_descriptors();
    crowd *w = crowd_new();
    const smx_hook counter = {.version = SMX_HOOK_VERSION,
                              .name = "counter",
                              .arg = w,
                              .phases = {[SMX_HOOK_DATA] = count}};
    const smx_hook hook = {.version = SMX_HOOK_VERSION,
                           .name = "blocking",
                           .flags = SMX_HOOK_BLOCKING,
                           .timeout_ms = 600000,
                           .arg = w,
                           .phases = {[SMX_HOOK_DATA] = block}};
    proxy_add_hook(x, &counter);
    proxy_add_hook(x, &hook);
    proxy_start(x);
    crowd_comes(w, x, "MAIL FROM:<a@from.example>\r\nRCPT TO:<b@to.example>\r\nDATA\r\n");
    for (size_t i = 0; i < OTHERS; i++) {
        client *c = client_greet(x->f);
        for (size_t round = 0; round < ROUNDS; round++) {
            client_ask(c, "MAIL FROM:<a@from.example>", "250 2.1.0");
            client_ask(c, "RCPT TO:<b@to.example>", "250 2.1.5");
            client_ask(c, "RSET", "250 ");
        }
        client_ask(c, "QUIT", "221 ");
        client_close(c);
    }
    assert_int_equal(w->answered, 0);
    open_door(w);
    crowd_goes(w, (const char *const[]){"250 2.1.0", "250 2.1.5", "354 "}, 3);
    proxy_expect_empty(x);
    assert_int_equal(w->answered, WAITING);
    crowd_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PROXY_TEST(proxy_waiting__messages_pass_a_thousand_that_wait_for_later),
        PROXY_TEST(proxy_waiting__commands_pass_a_thousand_that_wait_for_the_pool),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
