/* A server on a loop of its own thread, and clients with blocking sockets in the test's thread. */
#ifndef TEST_SERVER_FIXTURE_H
#define TEST_SERVER_FIXTURE_H

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "server/internal.h"

struct ssl_st;

enum { FIXTURE_HOOKS = 8, FIXTURE_MIDDLEWARE = 8 };

typedef struct fixture {
    smx_loop *loop;
    smx_server *server;
    pthread_t thread;
    bool running;
    char address[64]; /* where it listens */
    uint16_t port;

    /* Set before fixture_start. */
    smx_server_options options;
    smx_listener_options listener;
    smx_shared_options shared_options;
    smx_shared *shared;
    const smx_hook *hooks[FIXTURE_HOOKS];
    const smx_middleware *middleware[FIXTURE_MIDDLEWARE];
    uint32_t auth_delay_ms;
    /* What the handler does beside recording; NULL: 250 2.0.0 kept. On the loop's thread. */
    smx_reply (*handle)(struct fixture *f, smx_transaction *tx);
    void *data; /* the test's */

    /* What the handler saw of the last message; read it after the reply. */
    pthread_mutex_t mutex;
    atomic_int handled;
    buffer sender;
    buffer recipients; /* each followed by a blank */
    buffer header;
    buffer body; /* behind the empty line */
    buffer user;
    buffer helo;
    buffer mail_auth;
    buffer log;
    bool tls;
    smx_address client;
} fixture;

int fixture_setup(void **state);
int fixture_teardown(void **state);
/* The same for a test that needs several. */
fixture *fixture_new(void);
void fixture_free(fixture *f);
void fixture_add_hook(fixture *f, const smx_hook *hook);
void fixture_add_middleware(fixture *f, const smx_middleware *middleware);
/* Opens the listener and lets the loop run on its thread. */
void fixture_start(fixture *f);
/* Runs fn(arg) on the loop's thread and waits for it. */
void fixture_call(fixture *f, void (*fn)(void *arg), void *arg);
/* Waits until it holds, at most ten seconds. */
#define fixture_wait(condition)                                                                    \
    do {                                                                                           \
        uint64_t wait_end_ = clock_monotonic_ms() + 10000;                                         \
        while (!(condition)) {                                                                     \
            if (clock_monotonic_ms() > wait_end_)                                                  \
                fail_msg("this did not happen: %s", #condition);                                   \
            fixture_yield();                                                                       \
        }                                                                                          \
    } while (0)
void fixture_yield(void);
bool fixture_log_has(fixture *f, const char *text);
smx_server_counters fixture_counters(fixture *f);

#define assert_buffer(b, text)                                                                     \
    do {                                                                                           \
        smx_slice octets_ = buffer_slice(b);                                                       \
        if (!slice_equal(octets_, slice_of_text(text)))                                            \
            fail_msg("expected \"%s\", got \"%.*s\"", text, (int)octets_.len, octets_.data);       \
    } while (0)

/* ---- the client ---- */

typedef struct client {
    int fd;
    struct ssl_st *ssl;
    char reply[8192]; /* the last one, all its lines */
    const char *last_line;
    buffer in;
} client;

client *client_open(fixture *f);
/* With this local address, as 127.0.0.2. */
client *client_open_from(fixture *f, const char *source);
void client_close(client *c);
/* Octets as they are. */
void client_send(client *c, const char *text);
void client_send_octets(client *c, const char *data, size_t len);
/* A line. */
void client_say(client *c, const char *line);
/* Reads a reply; false if the connection is over. */
bool client_hear(client *c);
/* Reads a reply, whose last line must begin so. */
void client_expect(client *c, const char *start);
/* The connection must be at its end. */
void client_expect_end(client *c);
/* Says, and expects. */
void client_ask(client *c, const char *line, const char *start);
/* TLS's handshake; the certificate is not looked at. False: it failed. */
bool client_secure(client *c);
/* Banner and EHLO. */
client *client_greet(fixture *f);
/* The same behind fixture_start. */
client *client_first(fixture *f);
/* MAIL, RCPT and DATA for one message. */
void client_envelope(client *c);
/* All of a message; the reply to the dot must begin so. */
void client_mail(client *c, const char *message, const char *start);
/* AUTH PLAIN with these, and the reply that is expected. */
void client_auth_plain(client *c, const char *user, const char *password, const char *start);

#endif
