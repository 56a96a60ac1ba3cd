/* Paths: what is read is read alike as a mailbox, and fewer flags never allow more. Addresses of
 * the network: against the system's own reader and writer. */
#include <arpa/inet.h>

#include "same.h"

enum { PATH_FLAGS = SMX_PATH_UTF8 | SMX_PATH_NULL | SMX_PATH_POSTMASTER };

static bool path_same(const smx_path *a, const smx_path *b)
{
    return slice_equal(a->mailbox, b->mailbox) && slice_equal(a->local, b->local) &&
           slice_equal(a->domain, b->domain) && a->domain_kind == b->domain_kind &&
           a->utf8 == b->utf8;
}

static void path_check_limits(const smx_path *path)
{
    smx_domain_kind kind;
    FUZZ_CHECK(!fuzz_has_control(path->mailbox));
    FUZZ_CHECK(smx_utf8_is_valid(path->mailbox));
    FUZZ_CHECK(path->mailbox.len + 2 <= SMX_PATH_MAX);
    FUZZ_CHECK(path->local.len <= SMX_LOCAL_PART_MAX);
    if (path->domain_kind == SMX_DOMAIN_NONE)
        FUZZ_CHECK(path->domain.len == 0 && slice_equal(path->local, path->mailbox));
    else
        FUZZ_CHECK(smx_domain_is_valid(path->domain, path->utf8, &kind) &&
                   kind == path->domain_kind);
}

static void path_check(smx_slice in, unsigned flags)
{
    smx_path path;
    smx_path again;
    size_t consumed;
    size_t more;
    if (smx_path_parse(in, flags, &path, &consumed) != 0)
        return;
    FUZZ_CHECK(consumed >= 2 && consumed <= in.len && consumed <= SMX_PATH_MAX);
    FUZZ_CHECK(in.data[0] == '<' && in.data[consumed - 1] == '>');
    FUZZ_CHECK(fuzz_is_within(path.mailbox, slice_to(in, consumed)));
    path_check_limits(&path);
    FUZZ_CHECK(smx_path_parse(slice_to(in, consumed), PATH_FLAGS, &again, &more) == 0);
    FUZZ_CHECK(path_same(&path, &again) && more == consumed);
    FUZZ_CHECK(smx_path_parse(slice_to(in, consumed - 1), flags, &again, &more) != 0);
    FUZZ_CHECK(smx_mailbox_parse(path.mailbox, flags, &again) == 0);
    FUZZ_CHECK(path_same(&path, &again));
}

static void path_check_mailbox(smx_slice in, unsigned flags)
{
    smx_path path;
    smx_path again;
    size_t consumed;
    if (smx_mailbox_parse(in, flags, &path) != 0)
        return;
    path_check_limits(&path);
    FUZZ_CHECK(in.len <= SMX_PATH_MAX && path.mailbox.len == in.len);
    char bracketed[SMX_PATH_MAX + 2] = "<";
    if (in.len > 0)
        memcpy(bracketed + 1, in.data, in.len);
    bracketed[in.len + 1] = '>';
    FUZZ_CHECK(smx_path_parse(slice_of(bracketed, in.len + 2), flags, &again, &consumed) == 0);
    FUZZ_CHECK(consumed == in.len + 2 && path_same(&path, &again));
}

static void path_check_address(smx_slice in)
{
    char text[64] = "";
    char found[SMX_ADDRESS_TEXT];
    unsigned char octets[16];
    smx_address address;
    smx_address again;
    if (in.len >= sizeof(text) || slice_find(in, '\0') < in.len)
        return;
    if (in.len > 0)
        memcpy(text, in.data, in.len);
    int error = smx_address_parse(in, &address);
    FUZZ_CHECK((error == 0 && address.family == 4) == (inet_pton(AF_INET, text, octets) == 1));
    FUZZ_CHECK((error == 0 && address.family == 6) == (inet_pton(AF_INET6, text, octets) == 1));
    if (error != 0 || address.family == 1)
        return;
    smx_slice written = smx_address_write(&address, found);
    FUZZ_CHECK(written.len < SMX_ADDRESS_TEXT && found[written.len] == '\0');
    FUZZ_CHECK(smx_address_parse(written, &again) == 0);
    FUZZ_CHECK(same_address(&address, &again));
    int family = address.family == 4 ? AF_INET : AF_INET6;
    static const uint8_t zeros[12] = {0};
    bool is_compatible = family == AF_INET6 && memcmp(address.octets, zeros, 12) == 0;
    FUZZ_CHECK(inet_ntop(family, address.octets, text, sizeof(text)) != NULL);
    FUZZ_CHECK(is_compatible || slice_equal(written, slice_of_text(text)));
}

static void path_check_network(smx_slice in)
{
    smx_network network;
    if (smx_network_parse(in, &network) != 0)
        return;
    FUZZ_CHECK(network.prefix <= (network.address.family == 4   ? 32
                                  : network.address.family == 6 ? 128
                                                                : 0));
    FUZZ_CHECK(smx_network_contains(&network, &network.address) ||
               (network.address.family == 6 && network.prefix < 96));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    smx_slice in = slice_of((const char *)data, size);
    for (unsigned flags = 0; flags <= PATH_FLAGS; flags++) {
        path_check(in, flags);
        path_check_mailbox(in, flags);
    }
    path_check_address(in);
    path_check_network(in);
    return 0;
}
