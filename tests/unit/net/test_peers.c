/* Two ends of a connection on one loop, and what happens to them. */
#include "test_peers.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <uv.h>

#include "base/clock.h"
#include "net/connection_internal.h"

static void peer_on_connected(void *owner, int error)
{
    peer *end = owner;
    end->connected++;
    end->connect_error = error;
}

static size_t peer_on_data(void *owner, smx_slice in)
{
    peer *end = owner;
    size_t use = in.len < end->appetite ? in.len : end->appetite;
    end->offers++;
    end->offered = in.len;
    if (end->appetite != SIZE_MAX)
        end->appetite -= use;
    assert_int_equal(buffer_append(&end->got, slice_to(in, use)), 0);
    if (end->resume_once) {
        end->resume_once = false;
        connection_resume(end->c);
    }
    if (end->secure_server != NULL) {
        tls_server *server = end->secure_server;
        end->secure_server = NULL;
        assert_int_equal(connection_secure_server(end->c, server), 0);
    }
    return use;
}

static void peer_on_ended(void *owner, int error)
{
    peer *end = owner;
    end->ended++;
    end->end_error = error;
}

static void peer_on_drained(void *owner)
{
    peer *end = owner;
    end->drained++;
}

static void peer_on_secured(void *owner, int error)
{
    peer *end = owner;
    end->secured++;
    end->secure_error = error;
}

static void peer_on_timeout(void *owner)
{
    peer *end = owner;
    end->timeouts++;
}

static void peer_on_closed(void *owner)
{
    peer *end = owner;
    end->closed++;
    end->c = NULL;
}

const connection_handler peer_handler = {
    .connected = peer_on_connected,
    .data = peer_on_data,
    .ended = peer_on_ended,
    .drained = peer_on_drained,
    .secured = peer_on_secured,
    .timeout = peer_on_timeout,
    .closed = peer_on_closed,
};

/* ---- the loop ---- */

static void peers_on_tick(uv_timer_t *timer)
{
    (void)timer;
}

int peers_setup(void **state)
{
    peers *p = calloc(1, sizeof(*p));
    if (p == NULL || smx_loop_new(NULL, &p->loop) != 0)
        return -1;
    p->tick = calloc(1, sizeof(*p->tick));
    if (p->tick == NULL)
        return -1;
    (void)uv_timer_init(smx_loop_uv(p->loop), p->tick);
    (void)uv_timer_start(p->tick, peers_on_tick, 10, 10);
    p->client.appetite = SIZE_MAX;
    p->server.appetite = SIZE_MAX;
    *state = p;
    return 0;
}

int peers_setup_tcp(void **state)
{
    int error = peers_setup(state);
    if (error == 0)
        peers_listen(*state, "127.0.0.1:0");
    return error;
}

static void peers_on_tick_closed(uv_handle_t *handle)
{
    free(handle);
}

int peers_teardown(void **state)
{
    peers *p = *state;
    listener_free(p->listener);
    uv_close((uv_handle_t *)p->tick, peers_on_tick_closed);
    (void)uv_run(smx_loop_uv(p->loop), UV_RUN_NOWAIT);
    smx_loop_free(p->loop);
    buffer_free(&p->client.got);
    buffer_free(&p->server.got);
    (void)unlink(p->path);
    free(p);
    return 0;
}

uint64_t peers_clock(void)
{
    return clock_monotonic_ms();
}

void peers_turn(peers *p)
{
    (void)uv_run(smx_loop_uv(p->loop), UV_RUN_ONCE);
}

void peers_settle(peers *p)
{
    for (int i = 0; i < 10; i++)
        peers_turn(p);
}

/* ---- the ends ---- */

static void peers_on_accept(void *owner, connection *c)
{
    peers *p = owner;
    p->accepted++;
    p->server.c = c;
    assert_int_equal(connection_start(c, &peer_handler, &p->server), 0);
}

void peers_listen(peers *p, const char *text)
{
    const listener_options options = {.fd = -1};
    endpoint at;
    problem why = {0};
    assert_int_equal(endpoint_parse(slice_of_text(text), 0, &at, &why), 0);
    if (at.is_unix)
        (void)snprintf(p->path, sizeof(p->path), "%.*s", (int)at.host.len, at.host.data);
    if (listener_new(p->loop, &at, &options, peers_on_accept, p, &p->listener, &why) != 0)
        fail_msg("%s", why.text);
    assert_int_equal(listener_start(p->listener), 0);
}

void peers_open(peers *p)
{
    connection_target target = {
        .to = {.host = SMX_SLICE("127.0.0.1"), .port = listener_port(p->listener)}};
    if (p->path[0] != '\0')
        target.to = (endpoint){.is_unix = true, .host = slice_of_text(p->path)};
    assert_int_equal(
        connection_open(p->loop, &target, 5000, &peer_handler, &p->client, &p->client.c), 0);
}

void peers_connect(peers *p)
{
    peers_open(p);
    peers_run_until(p, p->client.connected > 0 && p->server.c != NULL);
    assert_int_equal(p->client.connect_error, 0);
}

void peers_close(peers *p)
{
    if (p->client.c != NULL)
        connection_close(p->client.c);
    if (p->server.c != NULL)
        connection_close(p->server.c);
    peers_run_until(p, p->client.c == NULL && p->server.c == NULL);
}

void peer_queue(peer *end, const char *text)
{
    assert_int_equal(connection_queue(end->c, slice_of_text(text)), 0);
}

void peers_shrink_buffers(peers *p)
{
    int size = 16384;
    (void)uv_send_buffer_size(&p->client.c->uv.handle, &size);
    (void)uv_send_buffer_size(&p->server.c->uv.handle, &size);
    (void)uv_recv_buffer_size(&p->client.c->uv.handle, &size);
    (void)uv_recv_buffer_size(&p->server.c->uv.handle, &size);
}
