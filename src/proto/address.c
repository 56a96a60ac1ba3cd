/* Addresses of the network layer as text (RFC 4291 section 2.2, RFC 5952), and networks. By hand,
 * since the protocol knows no system's headers. Pure. */
#include "base/slice.h"
#include "proto/writer.h"
#include "smx/proto.h"

enum { FAMILY_UNIX = 1, FAMILY_IPV4 = 4, FAMILY_IPV6 = 6, IPV6_GROUPS = 8 };

static const uint8_t address_mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

/* ---- Writing ---- */

static void address_write_ipv4(writer *w, const uint8_t octets[4])
{
    char text[4 * (DIGITS_MAX + 1)];
    char *at = digits_decimal(text, octets[0]);
    for (size_t i = 1; i < 4; i++) {
        *at++ = '.';
        at = digits_decimal(at, octets[i]);
    }
    writer_slice(w, slice_of(text, (size_t)(at - text)));
}

static unsigned address_group(const smx_address *address, size_t index)
{
    return (unsigned)address->octets[2 * index] << 8 | address->octets[2 * index + 1];
}

static void address_write_group(writer *w, unsigned group)
{
    static const char digits[] = "0123456789abcdef";
    bool begun = false;
    for (int shift = 12; shift >= 0; shift -= 4) {
        unsigned digit = group >> shift & 15;
        begun = begun || digit != 0 || shift == 0;
        if (begun)
            writer_char(w, digits[digit]);
    }
}

/* The longest run of two or more zero groups, the first of equals (RFC 5952 section 4.2). */
static size_t address_zero_run(const smx_address *address, size_t *longest)
{
    size_t best = 0;
    size_t run = 0;
    *longest = 1;
    for (size_t i = 0; i < IPV6_GROUPS; i++) {
        run = address_group(address, i) == 0 ? run + 1 : 0;
        if (run > *longest) {
            *longest = run;
            best = i + 1 - run;
        }
    }
    return best;
}

static void address_write_ipv6(writer *w, const smx_address *address)
{
    size_t run;
    size_t start = address_zero_run(address, &run);
    for (size_t i = 0; i < IPV6_GROUPS; i++) {
        if (run > 1 && i == start) {
            writer_text(w, "::");
            i += run - 1;
            continue;
        }
        if (i > 0 && (run < 2 || i != start + run))
            writer_char(w, ':');
        address_write_group(w, address_group(address, i));
    }
}

static bool address_is_mapped(const smx_address *address)
{
    return address->family == FAMILY_IPV6 &&
           memcmp(address->octets, address_mapped_prefix, sizeof(address_mapped_prefix)) == 0;
}

smx_slice smx_address_write(const smx_address *address, char text[SMX_ADDRESS_TEXT])
{
    writer w = writer_to(text, SMX_ADDRESS_TEXT - 1);
    if (address->family == FAMILY_IPV4) {
        address_write_ipv4(&w, address->octets);
    } else if (address_is_mapped(address)) {
        writer_text(&w, "::ffff:"); /* RFC 5952 section 5 */
        address_write_ipv4(&w, address->octets + sizeof(address_mapped_prefix));
    } else if (address->family == FAMILY_IPV6) {
        address_write_ipv6(&w, address);
    } else {
        writer_text(&w, address->family == FAMILY_UNIX ? "unix" : "unknown");
    }
    text[w.len] = '\0';
    return slice_of(text, w.len);
}

/* ---- Reading ---- */

/* A decimal number without leading zeros, which some read as octal. */
static bool address_read_decimal(smx_slice digits, uint64_t max, uint8_t *number)
{
    uint64_t value;
    if (digits.len > 1 && digits.data[0] == '0')
        return false;
    if (slice_to_number(digits, max, &value) != 0)
        return false;
    *number = (uint8_t)value;
    return true;
}

static bool address_read_ipv4(smx_slice text, uint8_t octets[4])
{
    smx_slice part;
    size_t count = 0;
    while (slice_cut(&text, '.', &part)) {
        if (count == 4 || !address_read_decimal(part, 255, &octets[count]))
            return false;
        count++;
    }
    return count == 4;
}

static int address_hex_digit(char c)
{
    if (ascii_is_digit(c))
        return c - '0';
    char lower = ascii_lower(c);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* One to four hexadecimal digits. */
static bool address_read_group(smx_slice digits, uint8_t octets[2])
{
    unsigned group = 0;
    if (digits.len == 0 || digits.len > 4)
        return false;
    for (size_t i = 0; i < digits.len; i++) {
        int digit = address_hex_digit(digits.data[i]);
        if (digit < 0)
            return false;
        group = group << 4 | (unsigned)digit;
    }
    octets[0] = (uint8_t)(group >> 8);
    octets[1] = (uint8_t)(group & 0xff);
    return true;
}

/* Reads groups parted by ':', the last of which may be an IPv4 address if `tail`. Returns octets
 * written, or -1. The empty text has none. */
static int address_read_groups(smx_slice text, bool tail, uint8_t octets[16])
{
    size_t len = 0;
    smx_slice group;
    if (text.len == 0)
        return 0;
    while (slice_cut(&text, ':', &group)) {
        bool is_last = text.data == NULL;
        if (is_last && tail && slice_find(group, '.') < group.len) {
            if (len > 12 || !address_read_ipv4(group, octets + len))
                return -1;
            return (int)len + 4;
        }
        if (len > 14 || !address_read_group(group, octets + len))
            return -1;
        len += 2;
    }
    return (int)len;
}

static bool address_read_ipv6(smx_slice text, uint8_t octets[16])
{
    uint8_t head[16] = {0};
    uint8_t tail[16] = {0};
    size_t gap = slice_search(text, SMX_SLICE("::"));
    if (gap == text.len) {
        if (address_read_groups(text, true, head) != 16)
            return false;
        memcpy(octets, head, 16);
        return true;
    }
    int before = address_read_groups(slice_to(text, gap), false, head);
    int after = address_read_groups(slice_from(text, gap + 2), true, tail);
    if (before < 0 || after < 0 || before + after > 14)
        return false;
    memset(octets, 0, 16);
    memcpy(octets, head, (size_t)before);
    memcpy(octets + 16 - after, tail, (size_t)after);
    return true;
}

int smx_address_parse(smx_slice text, smx_address *address)
{
    smx_address read = {0};
    if (slice_equal(text, SMX_SLICE("unix")))
        read.family = FAMILY_UNIX;
    else if (address_read_ipv4(text, read.octets))
        read.family = FAMILY_IPV4;
    else if (text.len > 0 && address_read_ipv6(text, read.octets))
        read.family = FAMILY_IPV6;
    else
        return SMX_E_SYNTAX;
    *address = read;
    return 0;
}

/* ---- Networks ---- */

/* An IPv4-mapped IPv6 address as IPv4. */
static smx_address address_unmap(const smx_address *address)
{
    if (!address_is_mapped(address))
        return *address;
    smx_address plain = {.family = FAMILY_IPV4, .port = address->port};
    memcpy(plain.octets, address->octets + sizeof(address_mapped_prefix), 4);
    return plain;
}

static uint8_t address_bits(const smx_address *address)
{
    if (address->family == FAMILY_IPV4)
        return 32;
    return address->family == FAMILY_IPV6 ? 128 : 0;
}

int smx_network_parse(smx_slice text, smx_network *network)
{
    smx_network read = {0};
    size_t slash = slice_find(text, '/');
    int error = smx_address_parse(slice_to(text, slash), &read.address);
    if (error != 0)
        return error;
    read.prefix = address_bits(&read.address);
    if (slash < text.len &&
        !address_read_decimal(slice_from(text, slash + 1), read.prefix, &read.prefix))
        return SMX_E_SYNTAX;
    if (slash < text.len && read.address.family == FAMILY_UNIX)
        return SMX_E_SYNTAX;
    if (address_is_mapped(&read.address) && read.prefix >= 96) {
        read.address = address_unmap(&read.address);
        read.prefix = (uint8_t)(read.prefix - 96);
    }
    *network = read;
    return 0;
}

bool smx_network_contains(const smx_network *network, const smx_address *address)
{
    smx_address plain = address_unmap(address);
    if (plain.family == 0 || plain.family != network->address.family)
        return false;
    size_t whole = network->prefix / 8;
    unsigned rest = network->prefix % 8;
    if (memcmp(plain.octets, network->address.octets, whole) != 0)
        return false;
    unsigned difference = rest == 0 ? 0U : plain.octets[whole] ^ network->address.octets[whole];
    return difference >> (8 - rest) == 0;
}
