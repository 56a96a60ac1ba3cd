/* Either side dies at every octet of a session: the other is told, and nothing of it stays. */
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy_fixture.h"

/* ---- the client dies ---- */

static const char said[] = "EHLO client.example\r\nMAIL FROM:<a@from.example>\r\n"
                           "RCPT TO:<b@to.example>\r\nDATA\r\nS: x\r\n\r\nbody\r\n.\r\n"
                           "MAIL FROM:<c@from.example>\r\nRCPT TO:<d@to.example>\r\n"
                           "BDAT 12 LAST\r\nS: y\r\n\r\nxyz\nQUIT\r\n";

static smx_verdict go_on(void *arg, smx_hook_call *call)
{
    (void)arg;
    (void)call;
    return (smx_verdict){.kind = SMX_CONTINUE};
}

static smx_hook hook;

static void add_hook(proxy_fixture *x, unsigned flags)
{
    hook = (smx_hook){.version = SMX_HOOK_VERSION, .name = "all", .flags = flags};
    for (size_t phase = 0; phase < SMX_HOOK_PHASE_COUNT; phase++)
        hook.phases[phase] = go_on;
    proxy_add_hook(x, &hook);
}

/* `reset`: by a RST, and without waiting for any reply. */
static void client_dies(proxy_fixture *x, bool reset)
{
    proxy_start(x);
    for (size_t n = 0; n < sizeof(said); n++) {
        client *c = client_open(x->f);
        const struct linger now = {.l_onoff = 1};
        client_send_octets(c, said, n);
        if (!reset)
            client_expect(c, "220 ");
        else
            assert_int_equal(setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
        client_close(c);
    }
    proxy_expect_empty(x);
    fixture_wait(fixture_counters(x->f).sessions == 0);
}

static void proxy_sweep__client_dies_at_every_octet(void **state)
{
    client_dies(*state, false);
}

static void proxy_sweep__client_is_reset_at_every_octet(void **state)
{
    client_dies(*state, true);
}

static void proxy_sweep__client_dies_at_every_octet_with_hooks(void **state)
{
    add_hook(*state, 0);
    client_dies(*state, false);
}

static void proxy_sweep__client_dies_at_every_octet_of_held_messages(void **state)
{
    add_hook(*state, SMX_HOOK_HOLD);
    client_dies(*state, false);
}

/* ---- the upstream dies ---- */

/* A reply, and what the proxy says before it; the last line of it. */
static const struct {
    const char *heard;
    const char *reply;
} dialogue[] = {
    {NULL, "220 up.example ESMTP\r\n"},
    {"EHLO client.example", "250-up.example\r\n250 PIPELINING\r\n"},
    {"MAIL FROM:<a@from.example>", "250 sender\r\n"},
    {"RCPT TO:<b@to.example>", "250 recipient\r\n"},
    {"DATA", "354 go on\r\n"},
    {".", "250 taken\r\n"},
    {"QUIT", "221 bye\r\n"},
};
enum { STEPS = sizeof(dialogue) / sizeof(dialogue[0]) };

typedef struct dying {
    pthread_t thread;
    client *up;
    size_t octets; /* that it says before it dies */
} dying;

static void *play(void *arg)
{
    dying *d = arg;
    size_t left = d->octets;
    for (size_t i = 0; i < STEPS; i++) {
        const char *heard = dialogue[i].heard;
        do {
            if (heard != NULL && !client_hear(d->up))
                return NULL;
        } while (heard != NULL && strncmp(d->up->last_line, heard, strlen(heard)) != 0);
        size_t len = strlen(dialogue[i].reply);
        client_send_octets(d->up, dialogue[i].reply, len < left ? len : left);
        left -= len < left ? len : left;
        if (left == 0)
            break;
    }
    (void)shutdown(d->up->fd, SHUT_RDWR);
    return NULL;
}

/* What the client hears last is 221, or a 421. */
static void expect_last_word(client *c)
{
    char last[512] = "";
    while (client_hear(c))
        (void)strncpy(last, c->last_line, sizeof(last) - 1);
    if (strncmp(last, "221 ", 4) != 0 && strncmp(last, "421 ", 4) != 0)
        fail_msg("the last word was \"%s\"", last);
}

static void upstream_dies(proxy_fixture *x)
{
    static const char octets[] = "EHLO client.example\r\nMAIL FROM:<a@from.example>\r\n"
                                 "RCPT TO:<b@to.example>\r\nDATA\r\nS: x\r\n\r\nbody\r\n.\r\n"
                                 "QUIT\r\n";
    size_t all = 0;
    for (size_t i = 0; i < STEPS; i++)
        all += strlen(dialogue[i].reply);
    proxy_play(x);
    for (size_t n = 0; n <= all; n++) {
        client *c = client_open(x->f);
        dying d = {.up = proxy_accept(x), .octets = n};
        client_send(c, octets);
        assert_int_equal(pthread_create(&d.thread, NULL, play, &d), 0);
        expect_last_word(c);
        (void)pthread_join(d.thread, NULL);
        client_close(c);
        client_close(d.up);
    }
    proxy_expect_empty(x);
}

static void proxy_sweep__upstream_dies_at_every_octet(void **state)
{
    upstream_dies(*state);
}

static void proxy_sweep__upstream_dies_at_every_octet_with_hooks(void **state)
{
    add_hook(*state, 0);
    upstream_dies(*state);
}

static void proxy_sweep__upstream_dies_at_every_octet_of_held_messages(void **state)
{
    add_hook(*state, SMX_HOOK_HOLD);
    upstream_dies(*state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PROXY_TEST(proxy_sweep__client_dies_at_every_octet),
        PROXY_TEST(proxy_sweep__client_is_reset_at_every_octet),
        PROXY_TEST(proxy_sweep__client_dies_at_every_octet_with_hooks),
        PROXY_TEST(proxy_sweep__client_dies_at_every_octet_of_held_messages),
        PROXY_TEST(proxy_sweep__upstream_dies_at_every_octet),
        PROXY_TEST(proxy_sweep__upstream_dies_at_every_octet_with_hooks),
        PROXY_TEST(proxy_sweep__upstream_dies_at_every_octet_of_held_messages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
