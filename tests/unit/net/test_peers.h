/* A loop, a listener and two ends of a connection, for tests of everything that talks. */
#ifndef TEST_PEERS_H
#define TEST_PEERS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "net/connection.h"
#include "net/listener.h"

/* One end, and what happened to it. */
typedef struct peer {
    connection *c;
    buffer got;       /* what `data` used */
    size_t appetite;  /* octets that `data` uses in all; SIZE_MAX: any */
    size_t offers;    /* calls of `data` */
    size_t offered;   /* octets of the last one */
    bool resume_once; /* calls connection_resume within the next `data` */
    /* Begins TLS within `data` when this line came. */
    tls_server *secure_server;
    int connected;
    int connect_error;
    int ended;
    int end_error;
    int drained;
    int secured;
    int secure_error;
    int timeouts;
    int closed;
} peer;

typedef struct peers {
    smx_loop *loop;
    struct uv_timer_s *tick;
    listener *listener;
    char path[64]; /* of a Unix socket's listener */
    peer client;
    peer server;
    int accepted;
} peers;

extern const connection_handler peer_handler;

int peers_setup(void **state);     /* a loop only */
int peers_setup_tcp(void **state); /* with a listener on 127.0.0.1 */
int peers_teardown(void **state);

/* Lets the loop run until `condition` holds; fails the test after ten seconds. */
#define peers_run_until(p, condition)                                                              \
    do {                                                                                           \
        uint64_t run_until_end_ = peers_clock() + 10000;                                           \
        while (!(condition)) {                                                                     \
            if (peers_clock() > run_until_end_)                                                    \
                fail_msg("this did not happen: %s", #condition);                                   \
            peers_turn(p);                                                                         \
        }                                                                                          \
    } while (0)
uint64_t peers_clock(void);
void peers_turn(peers *p);
/* A few turns in which nothing is expected. */
void peers_settle(peers *p);

void peers_listen(peers *p, const char *text);
/* Opens the client's end towards the listener, without waiting. */
void peers_open(peers *p);
/* The same, and waits until both ends are there. */
void peers_connect(peers *p);
/* Closes both ends and waits for the last callbacks. */
void peers_close(peers *p);

/* Small buffers of the sockets, so that backpressure comes early. */
void peers_shrink_buffers(peers *p);

void peer_queue(peer *end, const char *text);
#define assert_got(end, text)                                                                      \
    do {                                                                                           \
        assert_int_equal(buffer_length(&(end)->got), strlen(text));                                \
        assert_memory_equal(buffer_slice(&(end)->got).data, text, strlen(text));                   \
    } while (0)

#endif
