/* The PROXY protocol, versions 1 and 2 (haproxy's proxy-protocol.txt). Pure: the authority points
 * into the input. The first octets tell the version; nothing is guessed. */
#include "base/slice.h"
#include "proto/writer.h"
#include "smx/proto.h"

enum {
    PROXY_V1_MAX = 107, /* section 2.1, CRLF included */
    PROXY_V2_MAX = 536, /* section 2.2 */
    PROXY_V2_HEADER = 16,
    PROXY_LOCAL = 0x20, /* version 2 and the command */
    PROXY_PROXY = 0x21,
    PROXY_UNSPECIFIED = 0x00, /* address family and transport */
    PROXY_TCP4 = 0x11,
    PROXY_TCP6 = 0x21,
    PROXY_UNIX_STREAM = 0x31,
    PROXY_TLV_AUTHORITY = 0x02,
    PROXY_TLV_CRC32C = 0x03,
    PROXY_TLV_SSL = 0x20,
    PROXY_SSL_CLIENT = 0x01,
    PROXY_SSL_PREFIX = 5, /* octets before the inner TLVs */
};

static const smx_slice proxy_v1_start = {"PROXY ", 6};
static const smx_slice proxy_v2_start = {"\r\n\r\n\0\r\nQUIT\n", 12};

static unsigned proxy_octet(smx_slice in, size_t at)
{
    return (unsigned char)in.data[at];
}

static uint16_t proxy_number(smx_slice in, size_t at)
{
    return (uint16_t)(proxy_octet(in, at) << 8 | proxy_octet(in, at + 1));
}

/* ---- Version 1 ---- */

static bool proxy_read_port(smx_slice text, uint16_t *port)
{
    uint64_t number;
    if (text.len > 1 && text.data[0] == '0')
        return false;
    if (slice_to_number(text, UINT16_MAX, &number) != 0)
        return false;
    *port = (uint16_t)number;
    return true;
}

/* "TCP4 source destination port port", parted by one blank each. */
static bool proxy_read_v1_line(smx_slice line, smx_proxy_header *header)
{
    smx_slice word[5] = {{0}};
    size_t count = 0;
    smx_slice rest = line;
    smx_slice next;
    while (count < 5 && slice_cut(&rest, ' ', &next))
        word[count++] = next;
    if (count > 0 && slice_equal(word[0], SMX_SLICE("UNKNOWN"))) {
        header->local = true;
        return true;
    }
    uint8_t family = slice_equal(word[0], SMX_SLICE("TCP4"))   ? 4
                     : slice_equal(word[0], SMX_SLICE("TCP6")) ? 6
                                                               : 0;
    if (family == 0 || count < 5 || rest.data != NULL)
        return false;
    if (smx_address_parse(word[1], &header->source) != 0 ||
        smx_address_parse(word[2], &header->destination) != 0)
        return false;
    return header->source.family == family && header->destination.family == family &&
           proxy_read_port(word[3], &header->source.port) &&
           proxy_read_port(word[4], &header->destination.port);
}

static int proxy_parse_v1(smx_slice in, smx_proxy_header *header, size_t *consumed)
{
    smx_slice window = slice_to(in, in.len < PROXY_V1_MAX ? in.len : PROXY_V1_MAX);
    size_t end = slice_find(window, '\r');
    if (slice_find(window, '\n') < end)
        return SMX_E_PROTOCOL;
    if (end + 1 >= window.len)
        return window.len == PROXY_V1_MAX ? SMX_E_PROTOCOL : SMX_E_AGAIN;
    smx_proxy_header read = {.version = 1};
    smx_slice line = slice_of(in.data + proxy_v1_start.len, end - proxy_v1_start.len);
    if (window.data[end + 1] != '\n' || !proxy_read_v1_line(line, &read))
        return SMX_E_PROTOCOL;
    *header = read;
    *consumed = end + 2;
    return 0;
}

/* ---- Version 2 ---- */

/* CRC-32C over the header with its own four octets as zeros (section 2.2.4). */
static uint32_t proxy_crc32c(smx_slice in, size_t zeros_at)
{
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < in.len; i++) {
        crc ^= i - zeros_at < 4 ? 0 : proxy_octet(in, i);
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (0x82f63b78U & (0U - (crc & 1U)));
    }
    return ~crc;
}

/* Cuts the next type, length and value off `*at`: 1, 0 at the end, SMX_E_PROTOCOL. */
static int proxy_next_tlv(smx_slice in, size_t *at, unsigned *type, smx_slice *value)
{
    if (*at == in.len)
        return 0;
    if (in.len - *at < 3 || proxy_number(in, *at + 1) > in.len - *at - 3)
        return SMX_E_PROTOCOL;
    *type = proxy_octet(in, *at);
    *value = slice_of(in.data + *at + 3, proxy_number(in, *at + 1));
    *at += 3 + value->len;
    return 1;
}

static int proxy_read_ssl(smx_slice value, smx_proxy_header *header)
{
    unsigned type;
    smx_slice inner;
    size_t at = PROXY_SSL_PREFIX;
    int more = 1;
    if (value.len < PROXY_SSL_PREFIX)
        return SMX_E_PROTOCOL;
    while (more == 1)
        more = proxy_next_tlv(value, &at, &type, &inner);
    header->tls = (proxy_octet(value, 0) & PROXY_SSL_CLIENT) != 0;
    return more;
}

static int proxy_read_crc(smx_slice whole, smx_slice value)
{
    if (value.len != 4)
        return SMX_E_PROTOCOL;
    uint32_t said = (uint32_t)proxy_number(value, 0) << 16 | proxy_number(value, 2);
    uint32_t is = proxy_crc32c(whole, (size_t)(value.data - whole.data));
    return said == is ? 0 : SMX_E_PROTOCOL;
}

/* The TLVs from `at` to the end of the header. */
static int proxy_read_tlvs(smx_slice whole, size_t at, smx_proxy_header *header)
{
    unsigned type;
    smx_slice value;
    int more;
    while ((more = proxy_next_tlv(whole, &at, &type, &value)) == 1) {
        int error = 0;
        if (type == PROXY_TLV_AUTHORITY)
            header->authority = value;
        else if (type == PROXY_TLV_CRC32C)
            error = proxy_read_crc(whole, value);
        else if (type == PROXY_TLV_SSL)
            error = proxy_read_ssl(value, header);
        if (error != 0)
            return error;
    }
    return more;
}

/* A line per kind of address: octets of one, of the whole block, and its family for us. */
typedef struct proxy_kind {
    uint8_t code;
    uint8_t family;
    uint8_t address_len;
    uint8_t block_len;
} proxy_kind;

static const proxy_kind proxy_kinds[] = {
    {PROXY_UNSPECIFIED, 0, 0, 0},
    {PROXY_TCP4, 4, 4, 12},
    {PROXY_TCP6, 6, 16, 36},
    {PROXY_UNIX_STREAM, 1, 0, 216},
};

static const proxy_kind *proxy_kind_of(unsigned code)
{
    for (size_t i = 0; i < sizeof(proxy_kinds) / sizeof(proxy_kinds[0]); i++)
        if (proxy_kinds[i].code == code)
            return &proxy_kinds[i];
    return NULL;
}

static void proxy_read_addresses(smx_slice block, const proxy_kind *kind, smx_proxy_header *header)
{
    size_t len = kind->address_len;
    header->source.family = kind->family;
    header->destination.family = kind->family;
    if (len == 0)
        return;
    memcpy(header->source.octets, block.data, len);
    memcpy(header->destination.octets, block.data + len, len);
    header->source.port = proxy_number(block, 2 * len);
    header->destination.port = proxy_number(block, 2 * len + 2);
}

static int proxy_read_v2(smx_slice whole, smx_proxy_header *header)
{
    const proxy_kind *kind = proxy_kind_of(proxy_octet(whole, 13));
    if (kind == NULL || whole.len - PROXY_V2_HEADER < kind->block_len)
        return SMX_E_PROTOCOL;
    header->local = kind->family == 0;
    proxy_read_addresses(slice_from(whole, PROXY_V2_HEADER), kind, header);
    return proxy_read_tlvs(whole, PROXY_V2_HEADER + kind->block_len, header);
}

static int proxy_parse_v2(smx_slice in, smx_proxy_header *header, size_t *consumed)
{
    if (in.len > 12 && proxy_octet(in, 12) != PROXY_LOCAL && proxy_octet(in, 12) != PROXY_PROXY)
        return SMX_E_PROTOCOL;
    if (in.len < PROXY_V2_HEADER)
        return SMX_E_AGAIN;
    size_t len = PROXY_V2_HEADER + (size_t)proxy_number(in, 14);
    if (len > PROXY_V2_MAX)
        return SMX_E_PROTOCOL;
    if (in.len < len)
        return SMX_E_AGAIN;
    smx_proxy_header read = {.version = 2, .local = true};
    if (proxy_octet(in, 12) == PROXY_PROXY) {
        int error = proxy_read_v2(slice_to(in, len), &read);
        if (error != 0)
            return error;
    }
    *header = read;
    *consumed = len;
    return 0;
}

int smx_proxy_header_parse(smx_slice in, smx_proxy_header *header, size_t *consumed)
{
    if (slice_starts_with(in, proxy_v1_start))
        return proxy_parse_v1(in, header, consumed);
    if (slice_starts_with(in, proxy_v2_start))
        return proxy_parse_v2(in, header, consumed);
    bool may_become =
        slice_starts_with(proxy_v1_start, in) || slice_starts_with(proxy_v2_start, in);
    return may_become ? SMX_E_AGAIN : SMX_E_PROTOCOL;
}

/* ---- Writing ---- */

static void proxy_write_number(writer *w, size_t number)
{
    writer_char(w, (char)(number >> 8 & 0xff));
    writer_char(w, (char)(number & 0xff));
}

/* IPv4 as it stands, or mapped into IPv6 where the other end speaks that. */
static void proxy_write_address(writer *w, const smx_address *address, bool as_ipv6)
{
    static const smx_slice mapped = {"\0\0\0\0\0\0\0\0\0\0\xff\xff", 12};
    size_t len = address->family == 4 ? 4 : 16;
    if (as_ipv6 && len == 4)
        writer_slice(w, mapped);
    writer_slice(w, slice_of((const char *)address->octets, len));
}

static bool proxy_is_internet(const smx_address *address)
{
    return address->family == 4 || address->family == 6;
}

int smx_proxy_header_write(const smx_proxy_header *header, char *out, size_t capacity,
                           size_t *written)
{
    writer w = writer_to(out, capacity);
    const smx_address *source = &header->source;
    const smx_address *destination = &header->destination;
    bool known = !header->local && proxy_is_internet(source) && proxy_is_internet(destination);
    bool ipv6 = source->family == 6 || destination->family == 6;
    writer_slice(&w, proxy_v2_start);
    writer_char(&w, header->local ? PROXY_LOCAL : PROXY_PROXY);
    writer_char(&w, !known ? PROXY_UNSPECIFIED : ipv6 ? PROXY_TCP6 : PROXY_TCP4);
    proxy_write_number(&w, !known ? 0 : ipv6 ? 36 : 12);
    if (known) {
        proxy_write_address(&w, source, ipv6);
        proxy_write_address(&w, destination, ipv6);
        proxy_write_number(&w, source->port);
        proxy_write_number(&w, destination->port);
    }
    return writer_end(&w, written);
}
