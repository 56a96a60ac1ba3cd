/* Networks at every prefix, PROXY headers cut at every octet, XCLIENT's memory. */
#include "test_proto.h"

static void proto_network__every_prefix_of_ipv6(void **state)
{
    (void)state;
    for (unsigned prefix = 0; prefix <= 128; prefix++) {
        smx_network network = {.address = {.family = 6}, .prefix = (uint8_t)prefix};
        smx_address address = {.family = 6};
        memset(network.address.octets, 0xa5, 16);
        for (unsigned bit = 0; bit < 128; bit++) {
            memset(address.octets, 0xa5, 16);
            address.octets[bit / 8] ^= (uint8_t)(0x80 >> bit % 8);
            assert_int_equal(smx_network_contains(&network, &address), bit >= prefix);
        }
    }
}

static void proto_network__every_prefix_of_ipv4(void **state)
{
    (void)state;
    for (unsigned prefix = 0; prefix <= 32; prefix++) {
        smx_network network = {.address = {.family = 4}, .prefix = (uint8_t)prefix};
        for (unsigned bit = 0; bit < 32; bit++) {
            smx_address address = {.family = 4};
            address.octets[bit / 8] = (uint8_t)(0x80 >> bit % 8);
            assert_int_equal(smx_network_contains(&network, &address), bit >= prefix);
        }
    }
}

static void proto_network__unknown_address_is_nowhere(void **state)
{
    (void)state;
    smx_network network = {0};
    smx_address address = {0};
    assert_false(smx_network_contains(&network, &address));
}

static void proto_address__text_is_ended_by_nul(void **state)
{
    (void)state;
    smx_address address = {.family = 6};
    char text[SMX_ADDRESS_TEXT];
    memset(text, 'x', sizeof(text));
    memset(address.octets, 0xff, 16);
    smx_slice written = smx_address_write(&address, text);
    assert_ptr_equal(written.data, text);
    assert_string_equal(text, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
}

static void proto_proxy_header__ipv4_and_ipv6_are_written_as_ipv6(void **state)
{
    (void)state;
    smx_proxy_header header = {.source = {.family = 4, .octets = {192, 0, 2, 1}, .port = 1},
                               .destination = {.family = 6, .octets = {0x20, 0x01}, .port = 25}};
    smx_proxy_header back;
    char out[52];
    char text[SMX_ADDRESS_TEXT];
    size_t len;
    size_t consumed;
    assert_int_equal(smx_proxy_header_write(&header, out, sizeof(out), &len), 0);
    assert_int_equal(smx_proxy_header_parse(slice_of(out, len), &back, &consumed), 0);
    assert_slice(smx_address_write(&back.source, text), "::ffff:192.0.2.1");
    assert_int_equal(back.destination.port, 25);
}

static void proto_proxy_header__capacity_is_kept_to(void **state)
{
    (void)state;
    smx_proxy_header header = {.source = {.family = 6}, .destination = {.family = 6}};
    char out[52];
    size_t len = 77;
    for (size_t capacity = 0; capacity < 52; capacity++)
        assert_int_equal(smx_proxy_header_write(&header, out, capacity, &len), SMX_E_RANGE);
    assert_int_equal(len, 77);
    assert_int_equal(smx_proxy_header_write(&header, out, 52, &len), 0);
    assert_int_equal(len, 52);
}

static void proto_proxy_header__no_other_first_octet_is_waited_for(void **state)
{
    (void)state;
    smx_proxy_header header;
    size_t consumed;
    for (int c = 0; c < 256; c++) {
        char octet = (char)c;
        int error = smx_proxy_header_parse(slice_of(&octet, 1), &header, &consumed);
        assert_int_equal(error, c == 'P' || c == '\r' ? SMX_E_AGAIN : SMX_E_PROTOCOL);
    }
}

static void proto_xclient__values_lie_in_the_callers_memory(void **state)
{
    (void)state;
    char memory[16];
    smx_xclient xclient;
    assert_int_equal(
        smx_xclient_parse(SMX_SLICE("NAME=a+2Bb HELO=[UNAVAILABLE]"), memory, 16, &xclient), 0);
    assert_ptr_equal(xclient.value[SMX_XCLIENT_NAME].data, memory);
    assert_slice(xclient.value[SMX_XCLIENT_NAME], "a+b");
    assert_true(xclient.given[SMX_XCLIENT_HELO]);
    assert_int_equal(xclient.value[SMX_XCLIENT_HELO].len, 0);
    assert_false(xclient.given[SMX_XCLIENT_ADDR]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(proto_network__every_prefix_of_ipv6),
        cmocka_unit_test(proto_network__every_prefix_of_ipv4),
        cmocka_unit_test(proto_network__unknown_address_is_nowhere),
        cmocka_unit_test(proto_address__text_is_ended_by_nul),
        cmocka_unit_test(proto_proxy_header__ipv4_and_ipv6_are_written_as_ipv6),
        cmocka_unit_test(proto_proxy_header__capacity_is_kept_to),
        cmocka_unit_test(proto_proxy_header__no_other_first_octet_is_waited_for),
        cmocka_unit_test(proto_xclient__values_lie_in_the_callers_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
