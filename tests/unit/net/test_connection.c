/* Connections in clear text: octets both ways, kept octets, backpressure, ends. */
#include "test_peers.h"

#include "net/loop_internal.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(net_connection__octets_go_both_ways, peers_setup_tcp,
                                        peers_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
