/* base64 (RFC 4648 section 4), strict: one text for each run of octets and no other. Pure. */
#include "base/checked.h"
#include "base/slice.h"
#include "smx/proto.h"

static const char base64_alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

enum { BASE64_NONE = 64 };

static uint32_t base64_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return (uint32_t)(c - 'A');
    if (c >= 'a' && c <= 'z')
        return (uint32_t)(c - 'a') + 26;
    if (c >= '0' && c <= '9')
        return (uint32_t)(c - '0') + 52;
    return c == '+' ? 62 : c == '/' ? 63 : BASE64_NONE;
}

size_t smx_base64_size(size_t len)
{
    return len / 3 * 4 + (len % 3 != 0 ? 4 : 0);
}

int smx_base64_encode(smx_slice in, char *out, size_t capacity, size_t *len)
{
    size_t size = smx_base64_size(in.len);
    if (in.len > SIZE_MAX / 2 || size > capacity)
        return SMX_E_RANGE;
    for (size_t at = 0; at < in.len; at += 3, out += 4) {
        size_t count = in.len - at < 3 ? in.len - at : 3;
        uint32_t bits = 0;
        for (size_t i = 0; i < 3; i++)
            bits = bits << 8 | (i < count ? (unsigned char)in.data[at + i] : 0);
        for (size_t i = 0; i < 4; i++)
            out[i] = i <= count ? base64_alphabet[bits >> (18 - 6 * i) & 63] : '=';
    }
    *len = size;
    return 0;
}

/* Reads four characters of which the last `padding` are '='. False for stray characters or bits. */
static bool base64_read_group(const char *group, size_t padding, uint32_t *bits)
{
    uint32_t read = 0;
    for (size_t i = 0; i < 4 - padding; i++) {
        uint32_t value = base64_value(group[i]);
        if (value == BASE64_NONE)
            return false;
        read = read << 6 | value;
    }
    read <<= 6 * padding;
    *bits = read;
    return (read & ((1U << (8 * padding)) - 1)) == 0;
}

static size_t base64_padding(smx_slice in)
{
    if (in.len == 0 || in.data[in.len - 1] != '=')
        return 0;
    return in.data[in.len - 2] == '=' ? 2 : 1;
}

int smx_base64_decode(smx_slice in, char *out, size_t capacity, size_t *len)
{
    if (in.len % 4 != 0)
        return SMX_E_SYNTAX;
    size_t padding = base64_padding(in);
    size_t size = in.len / 4 * 3 - padding;
    size_t written = 0;
    for (size_t at = 0; at < in.len; at += 4) {
        uint32_t bits;
        if (!base64_read_group(in.data + at, at + 4 == in.len ? padding : 0, &bits))
            return SMX_E_SYNTAX;
        if (size > capacity)
            continue;
        for (size_t i = 0; i < 3 && written < size; i++)
            out[written++] = (char)(bits >> (16 - 8 * i) & 0xff);
    }
    if (size > capacity)
        return SMX_E_RANGE;
    *len = size;
    return 0;
}
