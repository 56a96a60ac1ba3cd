/* Connections in clear text: octets both ways, kept octets, backpressure, ends. */
#include "test_peers.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "net/connection_internal.h"

#define TCP_TEST(name)  cmocka_unit_test_setup_teardown(name, peers_setup_tcp, peers_teardown)
#define LOOP_TEST(name) cmocka_unit_test_setup_teardown(name, peers_setup, peers_teardown)

/* ---- octets ---- */

static void net_connection__octets_go_both_ways(void **state)
{
    peers *p = *state;
    peers_connect(p);
    peer_queue(&p->server, "220 ready\r\n");
    peer_queue(&p->client, "EHLO a\r\n");
    peers_run_until(p, buffer_length(&p->client.got) == 11 && buffer_length(&p->server.got) == 8);
    assert_got(&p->client, "220 ready\r\n");
    assert_got(&p->server, "EHLO a\r\n");
    peers_close(p);
    assert_int_equal(p->client.closed, 1);
    assert_int_equal(p->server.closed, 1);
    assert_int_equal(loop_blocks_taken(p->loop), 0);
}

static void net_connection__addresses_are_known(void **state)
{
    peers *p = *state;
    const uint8_t loopback[] = {127, 0, 0, 1};
    peers_connect(p);
    assert_int_equal(connection_peer(p->client.c)->family, 4);
    assert_memory_equal(connection_peer(p->client.c)->octets, loopback, 4);
    assert_int_equal(connection_peer(p->client.c)->port, listener_port(p->listener));
    assert_int_equal(connection_local(p->server.c)->port, listener_port(p->listener));
    assert_int_equal(connection_peer(p->server.c)->port, connection_local(p->client.c)->port);
    assert_ptr_equal(connection_loop(p->client.c), p->loop);
    assert_false(connection_is_tls(p->client.c));
}

static void net_connection__end_of_others_is_waited_for(void **state)
{
    peers *p = *state;
    peers_connect(p);
    peer_queue(&p->server, "421 bye\r\n");
    connection_close(p->server.c);
    peers_run_until(p, p->client.ended > 0);
    peers_settle(p);
    assert_int_equal(p->server.closed, 0);
    peers_close(p);
}

/* What was queued within a turn leaves in one segment, so that it comes in one read. */
static void net_connection__queue_is_one_write(void **state)
{
    peers *p = *state;
    peers_connect(p);
    for (int i = 0; i < 100; i++)
        peer_queue(&p->client, "NOOP\r\n");
    assert_int_equal(connection_queued(p->client.c), 600);
    peers_run_until(p, buffer_length(&p->server.got) == 600);
    assert_int_equal(p->server.offers, 1);
    assert_int_equal(connection_queued(p->client.c), 0);
}

static void net_connection__send_goes_behind_the_queue(void **state)
{
    peers *p = *state;
    const smx_slice pieces[] = {SMX_SLICE("three "), SMX_SLICE(""), SMX_SLICE("four")};
    size_t taken = 0;
    peers_connect(p);
    peer_queue(&p->client, "one ");
    peer_queue(&p->client, "two ");
    assert_int_equal(connection_send(p->client.c, pieces, 3, &taken), 0);
    assert_int_equal(taken, 10);
    assert_int_equal(loop_blocks_taken(p->loop), 0);
    peers_run_until(p, buffer_length(&p->server.got) == 18);
    assert_got(&p->server, "one two three four");
    assert_int_equal(p->server.offers, 1);
}

static void net_connection__flush_does_not_wait_for_the_turns_end(void **state)
{
    peers *p = *state;
    peers_connect(p);
    peer_queue(&p->client, "x");
    assert_int_equal(connection_queued(p->client.c), 1);
    connection_flush(p->client.c);
    assert_int_equal(connection_queued(p->client.c), 0);
}

static void net_connection__idle_one_holds_no_block(void **state)
{
    peers *p = *state;
    peers_connect(p);
    assert_int_equal(loop_blocks_taken(p->loop), 0);
    peer_queue(&p->client, "x");
    assert_int_equal(loop_blocks_taken(p->loop), 1);
    peers_run_until(p, buffer_length(&p->server.got) == 1);
    assert_int_equal(loop_blocks_taken(p->loop), 0);
    assert_true(sizeof(connection) < 600);
}

/* ---- kept octets ---- */

static void net_connection__rest_is_kept_at_every_split(void **state)
{
    peers *p = *state;
    const char text[] = "MAIL FROM:<a@b>\r\n";
    const size_t all = sizeof(text) - 1;
    peers_connect(p);
    for (size_t sent = 1; sent <= all; sent++) {
        for (size_t used = 0; used <= sent; used++) {
            buffer_clear(&p->server.got);
            p->server.appetite = used;
            size_t offers = p->server.offers;
            assert_int_equal(connection_queue(p->client.c, slice_of(text, sent)), 0);
            peers_run_until(p, p->server.offers > offers);
            assert_int_equal(connection_kept(p->server.c), sent - used);
            /* What comes later stands behind what is kept, and both are offered as one. */
            p->server.appetite = SIZE_MAX;
            if (sent < all) {
                assert_int_equal(connection_queue(p->client.c, slice_of(text + sent, all - sent)),
                                 0);
                peers_run_until(p, buffer_length(&p->server.got) == all);
                assert_int_equal(p->server.offered, all - used);
            } else {
                connection_resume(p->server.c);
            }
            assert_got(&p->server, text);
            assert_int_equal(connection_kept(p->server.c), 0);
        }
    }
    assert_int_equal(loop_blocks_taken(p->loop), 0);
}

/* Kept octets that no longer begin at their block's start, and more than fit behind them. */
static void net_connection__kept_octets_move_up(void **state)
{
    peers *p = *state;
    char octets[9000];
    for (size_t i = 0; i < sizeof(octets); i++)
        octets[i] = (char)('a' + i % 23);
    peers_connect(p);
    p->server.appetite = 0;
    assert_int_equal(connection_queue(p->client.c, slice_of(octets, 4000)), 0);
    peers_run_until(p, connection_kept(p->server.c) == 4000);
    p->server.appetite = 3000;
    connection_resume(p->server.c);
    assert_int_equal(connection_queue(p->client.c, slice_of(octets + 4000, 2000)), 0);
    peers_run_until(p, connection_kept(p->server.c) == 3000);
    assert_int_equal(connection_queue(p->client.c, slice_of(octets + 6000, 3000)), 0);
    peers_run_until(p, connection_kept(p->server.c) == 6000);
    p->server.appetite = SIZE_MAX;
    connection_resume(p->server.c);
    assert_int_equal(buffer_length(&p->server.got), sizeof(octets));
    assert_memory_equal(buffer_slice(&p->server.got).data, octets, sizeof(octets));
    assert_int_equal(loop_blocks_taken(p->loop), 0);
}

static void net_connection__wanting_owner_is_given_a_block(void **state)
{
    peers *p = *state;
    char octets[LOOP_BLOCK + 1000];
    memset(octets, 'x', sizeof(octets));
    peers_connect(p);
    p->server.appetite = 0;
    assert_int_equal(connection_queue(p->client.c, slice_of(octets, sizeof(octets))), 0);
    peers_run_until(p, connection_kept(p->server.c) == LOOP_BLOCK);
    peers_settle(p);
    assert_int_equal(connection_kept(p->server.c), LOOP_BLOCK);
    p->server.appetite = SIZE_MAX;
    connection_resume(p->server.c);
    peers_run_until(p, buffer_length(&p->server.got) == sizeof(octets));
}

static void net_connection__waiting_owner_is_given_little(void **state)
{
    peers *p = *state;
    char octets[20000];
    memset(octets, 'x', sizeof(octets));
    peers_connect(p);
    p->server.appetite = 0;
    connection_waiting(p->server.c, true);
    assert_int_equal(connection_queue(p->client.c, slice_of(octets, sizeof(octets))), 0);
    peers_run_until(p, connection_kept(p->server.c) == CONNECTION_KEEP);
    peers_settle(p);
    assert_int_equal(connection_kept(p->server.c), CONNECTION_KEEP);
    p->server.appetite = SIZE_MAX;
    connection_resume(p->server.c);
    peers_run_until(p, buffer_length(&p->server.got) == sizeof(octets));
}

static void net_connection__waiting_owner_sees_the_end(void **state)
{
    peers *p = *state;
    peers_connect(p);
    p->server.appetite = 0;
    connection_waiting(p->server.c, true);
    peer_queue(&p->client, "NOOP\r\n");
    peers_run_until(p, connection_kept(p->server.c) == 6);
    connection_close(p->client.c);
    peers_run_until(p, p->server.ended == 1);
    assert_int_equal(p->server.end_error, 0);
    assert_int_equal(connection_kept(p->server.c), 6);
}

static void net_connection__resume_within_data_offers_the_rest(void **state)
{
    peers *p = *state;
    peers_connect(p);
    p->server.appetite = 0;
    p->server.resume_once = true;
    peer_queue(&p->client, "abc");
    peers_run_until(p, p->server.offers == 2);
    assert_int_equal(connection_kept(p->server.c), 3);
    p->server.appetite = 1;
    p->server.resume_once = true;
    connection_resume(p->server.c);
    assert_int_equal(p->server.offers, 4);
    assert_int_equal(p->server.offered, 2);
    assert_got(&p->server, "a");
}

/* ---- backpressure ---- */

enum { MUCH = 8 * 1024 * 1024 };

static char *much_new(void)
{
    char *octets = malloc(MUCH);
    assert_non_null(octets);
    for (size_t i = 0; i < MUCH; i++)
        octets[i] = (char)(i * 31 + i / 251);
    return octets;
}

static size_t much_send(peers *p, const char *octets, size_t sent)
{
    const smx_slice rest = slice_of(octets + sent, MUCH - sent);
    const smx_slice pieces[] = {slice_to(rest, rest.len / 2), slice_from(rest, rest.len / 2)};
    size_t taken = 0;
    assert_int_equal(connection_send(p->client.c, pieces, 2, &taken), 0);
    assert_true(connection_queued(p->client.c) <= CONNECTION_HIGH);
    return sent + taken;
}

static void net_connection__much_goes_through_with_backpressure(void **state)
{
    peers *p = *state;
    char *octets = much_new();
    size_t sent = 0;
    int drained;
    peers_connect(p);
    peers_shrink_buffers(p);
    connection_pause(p->server.c, true);
    do {
        drained = p->client.drained;
        sent = much_send(p, octets, sent);
        peers_settle(p);
    } while (p->client.drained > drained);
    assert_true(sent < MUCH / 2);
    assert_int_equal(buffer_length(&p->server.got), 0);
    connection_pause(p->server.c, false);
    while (sent < MUCH) {
        peers_run_until(p, p->client.drained > drained);
        drained = p->client.drained;
        sent = much_send(p, octets, sent);
    }
    peers_run_until(p, buffer_length(&p->server.got) == MUCH);
    assert_memory_equal(buffer_slice(&p->server.got).data, octets, MUCH);
    assert_int_equal(loop_blocks_taken(p->loop), 0);
    free(octets);
}

static void net_connection__queue_takes_more_than_the_socket(void **state)
{
    peers *p = *state;
    char *octets = much_new();
    peers_connect(p);
    peers_shrink_buffers(p);
    for (size_t at = 0; at < MUCH; at += MUCH / 8) {
        assert_int_equal(connection_queue(p->client.c, slice_of(octets + at, MUCH / 8)), 0);
        peers_turn(p);
    }
    connection_close(p->client.c); /* sends what is queued */
    peers_run_until(p, p->server.ended > 0);
    assert_int_equal(p->server.end_error, 0);
    assert_int_equal(buffer_length(&p->server.got), MUCH);
    assert_memory_equal(buffer_slice(&p->server.got).data, octets, MUCH);
    free(octets);
}

/* A write that empties the queue at once has no end of its own to tell of. */
static void net_connection__drained_is_told_when_all_goes_at_once(void **state)
{
    peers *p = *state;
    char *octets = much_new();
    int large = 4 * 1024 * 1024;
    size_t taken = 0;
    peers_connect(p);
    peers_shrink_buffers(p);
    connection_pause(p->server.c, true);
    assert_int_equal(connection_queue(p->client.c, slice_of(octets, 500000)), 0);
    peers_settle(p); /* the socket is busy with these */
    assert_int_equal(connection_queue(p->client.c, slice_of(octets, 100000)), 0);
    assert_int_equal(connection_send(p->client.c, &(smx_slice){octets, 100000}, 1, &taken), 0);
    assert_int_equal(taken, 0);
    (void)uv_send_buffer_size(&p->client.c->uv.handle, &large);
    (void)uv_recv_buffer_size(&p->server.c->uv.handle, &large);
    connection_pause(p->server.c, false);
    peers_run_until(p, buffer_length(&p->server.got) == 600000);
    peers_run_until(p, p->client.drained == 1);
    assert_memory_equal(buffer_slice(&p->server.got).data + 500000, octets, 100000);
    free(octets);
}

/* Where octets wait behind a write, an owner that was told would try again in every turn. */
static void net_connection__drained_waits_for_the_socket(void **state)
{
    peers *p = *state;
    smx_slice octets = {much_new(), MUCH};
    peers_connect(p);
    connection_pause(p->server.c, true);
    for (size_t taken = 1; taken > 0; peers_settle(p))
        assert_int_equal(connection_send_in_place(p->client.c, &octets, 1, &taken), 0);
    p->client.drained = 0;
    peer_queue(&p->client, "RSET\r\n");
    peers_settle(p);
    assert_int_equal(p->client.drained, 0);
    free((char *)(uintptr_t)octets.data);
}

/* ---- ends ---- */

static void net_connection__end_is_told_once(void **state)
{
    peers *p = *state;
    peers_connect(p);
    peer_queue(&p->client, "QUIT\r\n");
    connection_close(p->client.c);
    connection_close(p->client.c);
    peers_run_until(p, p->server.ended > 0);
    peers_settle(p);
    assert_got(&p->server, "QUIT\r\n");
    assert_int_equal(p->server.ended, 1);
    assert_int_equal(p->server.end_error, 0);
    /* The peer's side alone is closed: an answer can still be queued. */
    peer_queue(&p->server, "221 bye\r\n");
    peers_close(p);
}

static void net_connection__abort_is_a_reset(void **state)
{
    peers *p = *state;
    peers_connect(p);
    connection_abort(p->client.c);
    peers_run_until(p, p->server.ended > 0);
    assert_int_equal(p->server.end_error, SMX_E_RESET);
    assert_int_equal(p->client.closed, 1);
    assert_int_equal(p->client.ended, 0);
}

/* Octets and the RST behind them are there at the same time. */
static void net_connection__reset_behind_octets_is_a_reset(void **state)
{
    peers *p = *state;
    peers_connect(p);
    connection_pause(p->server.c, true);
    peers_settle(p);
    peer_queue(&p->client, "RCPT TO:<a@b.example>\r\n");
    peers_settle(p);
    connection_abort(p->client.c);
    peers_settle(p);
    connection_pause(p->server.c, false);
    peers_run_until(p, p->server.ended > 0);
    assert_got(&p->server, "RCPT TO:<a@b.example>\r\n");
    assert_int_equal(p->server.end_error, SMX_E_RESET);
}

/* A last reply is not lost to a RST when the peer had more to say. */
static void net_connection__close_lets_the_peer_read_the_last_reply(void **state)
{
    peers *p = *state;
    peers_connect(p);
    connection_pause(p->server.c, true);
    peer_queue(&p->client, "DATA\r\nNOOP\r\n");
    peers_settle(p);
    peer_queue(&p->server, "421 closing\r\n");
    connection_close(p->server.c);
    peers_run_until(p, p->client.ended > 0);
    assert_int_equal(p->client.end_error, 0);
    assert_got(&p->client, "421 closing\r\n");
    assert_int_equal(p->server.closed, 0);
    connection_close(p->client.c);
    peers_run_until(p, p->server.closed > 0);
    assert_int_equal(p->server.offers, 0);
}

/* Behind QUIT the end of the peer's side is not waited for. */
static void net_connection__close_does_not_wait_for_a_peer_that_is_done(void **state)
{
    peers *p = *state;
    peers_connect(p);
    peer_queue(&p->client, "QUIT\r\n");
    peers_run_until(p, buffer_length(&p->server.got) == 6);
    peer_queue(&p->server, "221 bye\r\n");
    connection_peer_is_done(p->server.c);
    connection_close(p->server.c);
    peers_run_until(p, p->server.closed > 0);
    peers_run_until(p, p->client.ended > 0);
    assert_int_equal(p->client.end_error, 0);
    assert_got(&p->client, "221 bye\r\n");
}

/* It was not done after all: its octets must not become a RST that destroys the reply. */
static void net_connection__close_waits_for_a_peer_that_says_more(void **state)
{
    peers *p = *state;
    peers_connect(p);
    connection_pause(p->server.c, true);
    peer_queue(&p->client, "NOOP\r\n");
    peers_settle(p);
    peer_queue(&p->server, "221 bye\r\n");
    connection_peer_is_done(p->server.c);
    connection_close(p->server.c);
    peers_run_until(p, p->client.ended > 0);
    assert_int_equal(p->client.end_error, 0);
    assert_got(&p->client, "221 bye\r\n");
    assert_int_equal(p->server.closed, 0);
    connection_close(p->client.c);
    peers_run_until(p, p->server.closed > 0);
}

static void net_connection__close_waits_for_the_peer_only_so_long(void **state)
{
    peers *p = *state;
    peers_connect(p);
    uint64_t begin = loop_now(p->loop);
    connection_close(p->server.c);
    connection_set_deadline(p->server.c, begin); /* no longer the owner's */
    peers_run_until(p, p->server.closed > 0);
    uint64_t took = loop_now(p->loop) - begin;
    assert_in_range(took, CONNECTION_LINGER_MS, CONNECTION_LINGER_MS + 1000);
    assert_int_equal(p->server.timeouts, 0);
}

/* Writing to a peer that is gone ends the connection, not the program. */
static void net_connection__write_after_reset_ends_it(void **state)
{
    peers *p = *state;
    peers_connect(p);
    connection_pause(p->server.c, true);
    connection_abort(p->client.c);
    peers_settle(p);
    for (int i = 0; i < 3 && p->server.ended == 0; i++) {
        if (connection_queue(p->server.c, SMX_SLICE("250 ok\r\n")) != 0)
            break;
        peers_settle(p);
    }
    peers_run_until(p, p->server.ended > 0);
    assert_int_not_equal(p->server.end_error, 0);
    assert_int_equal(connection_queue(p->server.c, SMX_SLICE("x")), SMX_E_CLOSED);
}

static void net_connection__deadline_is_called_once_and_never_early(void **state)
{
    peers *p = *state;
    peers_connect(p);
    uint64_t due = loop_now(p->loop) + 120;
    connection_set_deadline(p->server.c, due);
    connection_set_deadline(p->client.c, due);
    connection_set_deadline(p->client.c, UINT64_MAX);
    peers_run_until(p, p->server.timeouts > 0);
    assert_true(loop_now(p->loop) >= due);
    peers_settle(p);
    assert_int_equal(p->server.timeouts, 1);
    assert_int_equal(p->client.timeouts, 0);
}

static void net_connection__loop_frees_what_is_left(void **state)
{
    peers *p = *state;
    peers_connect(p);
    p->server.appetite = 0;
    peer_queue(&p->client, "kept\r\n");
    peers_run_until(p, connection_kept(p->server.c) > 0);
    peer_queue(&p->server, "queued\r\n"); /* the teardown frees the loop */
}

/* ---- opening ---- */

static uint16_t test_closed_port(peers *p)
{
    uint16_t port = listener_port(p->listener);
    listener_free(p->listener);
    p->listener = NULL;
    peers_settle(p);
    return port;
}

static void net_connection__closed_port_refuses_and_closes(void **state)
{
    peers *p = *state;
    const connection_target target = {
        .to = {.host = SMX_SLICE("127.0.0.1"), .port = test_closed_port(p)}};
    assert_int_equal(
        connection_open(p->loop, &target, 5000, &peer_handler, &p->client, &p->client.c), 0);
    peers_run_until(p, p->client.closed > 0);
    assert_int_equal(p->client.connected, 1);
    assert_int_equal(p->client.connect_error, SMX_E_REFUSED);
    assert_int_equal(p->client.ended, 0);
}

/* "localhost" gives two addresses; the listener has only one of them. */
static void net_connection__next_address_is_tried(void **state)
{
    peers *p = *state;
    peers_listen(p, "[::1]:0");
    const connection_target target = {
        .to = {.host = SMX_SLICE("LocalHost"), .port = listener_port(p->listener)}};
    assert_int_equal(
        connection_open(p->loop, &target, 5000, &peer_handler, &p->client, &p->client.c), 0);
    peers_run_until(p, p->client.connected > 0 && p->server.c != NULL);
    assert_int_equal(p->client.connect_error, 0);
    assert_int_equal(connection_peer(p->client.c)->family, 6);
    assert_int_equal(connection_peer(p->server.c)->family, 6);
    peers_close(p);
}

static void net_connection__source_is_bound(void **state)
{
    peers *p = *state;
    const uint8_t source[] = {127, 0, 0, 5};
    const connection_target target = {
        .to = {.host = SMX_SLICE("localhost"), .port = listener_port(p->listener)},
        .source = "127.0.0.5"};
    assert_int_equal(
        connection_open(p->loop, &target, 5000, &peer_handler, &p->client, &p->client.c), 0);
    peers_run_until(p, p->client.connected > 0 && p->server.c != NULL);
    assert_memory_equal(connection_peer(p->server.c)->octets, source, 4);
}

static void net_connection__source_of_another_family_reaches_nothing(void **state)
{
    peers *p = *state;
    const connection_target target = {.to = {.host = SMX_SLICE("::1"), .port = 25},
                                      .source = "127.0.0.5"};
    assert_int_equal(
        connection_open(p->loop, &target, 5000, &peer_handler, &p->client, &p->client.c), 0);
    peers_run_until(p, p->client.closed > 0);
    assert_int_equal(p->client.connect_error, SMX_E_RESOLVE);
}

static void net_connection__bad_source_is_invalid(void **state)
{
    peers *p = *state;
    const connection_target target = {.to = {.host = SMX_SLICE("127.0.0.1"), .port = 25},
                                      .source = "here"};
    connection *c = NULL;
    assert_int_equal(connection_open(p->loop, &target, 5000, &peer_handler, &p->client, &c),
                     SMX_E_INVALID);
    assert_null(c);
    peers_settle(p);
    assert_int_equal(p->client.closed, 0);
}

static void net_connection__silent_address_is_a_timeout(void **state)
{
    peers *p = *state;
    const listener_options options = {.backlog = 1, .fd = -1};
    const endpoint at = {.host = SMX_SLICE("127.0.0.1")};
    connection *filler[16] = {0};
    peer fill[16] = {0};
    problem why;
    /* A listener that never accepts, with a full backlog: SYNs are dropped. */
    assert_int_equal(listener_new(p->loop, &at, &options, NULL, NULL, &p->listener, &why), 0);
    assert_int_equal(listen(listener_fd(p->listener), 1), 0);
    const connection_target target = {
        .to = {.host = SMX_SLICE("127.0.0.1"), .port = listener_port(p->listener)}};
    for (size_t i = 0; i < 16; i++)
        assert_int_equal(
            connection_open(p->loop, &target, 300, &peer_handler, &fill[i], &filler[i]), 0);
    for (size_t i = 0; i < 16; i++)
        peers_run_until(p, fill[i].connected > 0);
    uint64_t begin = loop_now(p->loop);
    assert_int_equal(
        connection_open(p->loop, &target, 300, &peer_handler, &p->client, &p->client.c), 0);
    peers_run_until(p, p->client.closed > 0);
    assert_int_equal(p->client.connect_error, SMX_E_TIMEOUT);
    assert_in_range(loop_now(p->loop) - begin, 300, 2000);
    for (size_t i = 0; i < 16; i++) {
        if (fill[i].closed == 0)
            connection_abort(filler[i]);
        peers_run_until(p, fill[i].closed > 0);
    }
}

static void net_connection__close_within_connect_is_silent(void **state)
{
    peers *p = *state;
    for (int turns = 0; turns < 4; turns++) {
        peers_open(p);
        for (int i = 0; i < turns && p->client.connected == 0; i++)
            peers_turn(p);
        bool connected = p->client.connected > 0;
        connection_abort(p->client.c);
        peers_run_until(p, p->client.closed > 0);
        assert_int_equal(p->client.connected, connected ? 1 : 0);
        p->client = (peer){.appetite = SIZE_MAX};
    }
    peers_settle(p);
}

static void net_connection__nothing_is_sent_before_it_is_open(void **state)
{
    peers *p = *state;
    peers_open(p);
    assert_int_equal(connection_queue(p->client.c, SMX_SLICE("x")), SMX_E_STATE);
    connection_close(p->client.c);
}

/* ---- Unix sockets ---- */

static void net_connection__unix_socket_works_alike(void **state)
{
    peers *p = *state;
    char at[64];
    (void)snprintf(at, sizeof(at), "unix:/tmp/smx-test-connection-%d.sock", getpid());
    peers_listen(p, at);
    peers_connect(p);
    assert_int_equal(connection_peer(p->server.c)->family, 1);
    peer_queue(&p->client, "LHLO a\r\n");
    peer_queue(&p->server, "220 b\r\n");
    peers_run_until(p, buffer_length(&p->server.got) == 8 && buffer_length(&p->client.got) == 7);
    connection_abort(p->client.c);
    peers_run_until(p, p->server.ended > 0);
}

static void net_connection__missing_unix_socket_refuses(void **state)
{
    peers *p = *state;
    const connection_target target = {
        .to = {.is_unix = true, .host = SMX_SLICE("/tmp/smx-test-nobody.sock")}};
    assert_int_equal(
        connection_open(p->loop, &target, 5000, &peer_handler, &p->client, &p->client.c), 0);
    peers_run_until(p, p->client.closed > 0);
    assert_int_equal(p->client.connect_error, SMX_E_REFUSED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TCP_TEST(net_connection__octets_go_both_ways),
        TCP_TEST(net_connection__addresses_are_known),
        TCP_TEST(net_connection__end_of_others_is_waited_for),
        TCP_TEST(net_connection__queue_is_one_write),
        TCP_TEST(net_connection__send_goes_behind_the_queue),
        TCP_TEST(net_connection__flush_does_not_wait_for_the_turns_end),
        TCP_TEST(net_connection__idle_one_holds_no_block),
        TCP_TEST(net_connection__rest_is_kept_at_every_split),
        TCP_TEST(net_connection__kept_octets_move_up),
        TCP_TEST(net_connection__wanting_owner_is_given_a_block),
        TCP_TEST(net_connection__waiting_owner_is_given_little),
        TCP_TEST(net_connection__waiting_owner_sees_the_end),
        TCP_TEST(net_connection__resume_within_data_offers_the_rest),
        TCP_TEST(net_connection__much_goes_through_with_backpressure),
        TCP_TEST(net_connection__queue_takes_more_than_the_socket),
        TCP_TEST(net_connection__drained_is_told_when_all_goes_at_once),
        TCP_TEST(net_connection__drained_waits_for_the_socket),
        TCP_TEST(net_connection__end_is_told_once),
        TCP_TEST(net_connection__abort_is_a_reset),
        TCP_TEST(net_connection__reset_behind_octets_is_a_reset),
        TCP_TEST(net_connection__close_lets_the_peer_read_the_last_reply),
        TCP_TEST(net_connection__close_does_not_wait_for_a_peer_that_is_done),
        TCP_TEST(net_connection__close_waits_for_a_peer_that_says_more),
        TCP_TEST(net_connection__close_waits_for_the_peer_only_so_long),
        TCP_TEST(net_connection__write_after_reset_ends_it),
        TCP_TEST(net_connection__deadline_is_called_once_and_never_early),
        TCP_TEST(net_connection__loop_frees_what_is_left),
        TCP_TEST(net_connection__closed_port_refuses_and_closes),
        LOOP_TEST(net_connection__next_address_is_tried),
        TCP_TEST(net_connection__source_is_bound),
        LOOP_TEST(net_connection__source_of_another_family_reaches_nothing),
        LOOP_TEST(net_connection__bad_source_is_invalid),
        LOOP_TEST(net_connection__silent_address_is_a_timeout),
        TCP_TEST(net_connection__close_within_connect_is_silent),
        TCP_TEST(net_connection__nothing_is_sent_before_it_is_open),
        LOOP_TEST(net_connection__unix_socket_works_alike),
        LOOP_TEST(net_connection__missing_unix_socket_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
