/* xtext: printable ASCII with `+XX` for what is not (RFC 3461 section 4). Pure. */
#include "proto/xtext.h"

#include "smx/proto.h"

/* xchar: what stands for itself. */
static bool xtext_is_plain(unsigned char c)
{
    return c >= '!' && c <= '~' && c != '+' && c != '=';
}

/* Upper case only: a stricter server behind us would refuse the rest. */
static int xtext_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool xtext_next(smx_slice in, size_t *at, unsigned char *octet)
{
    unsigned char c = (unsigned char)in.data[*at];
    if (xtext_is_plain(c)) {
        *octet = c;
        *at += 1;
        return true;
    }
    if (c != '+' || in.len - *at < 3)
        return false;
    int high = xtext_digit(in.data[*at + 1]);
    int low = xtext_digit(in.data[*at + 2]);
    if (high < 0 || low < 0)
        return false;
    *octet = (unsigned char)(high * 16 + low);
    *at += 3;
    return true;
}

bool xtext_is_printable(smx_slice in)
{
    unsigned char octet;
    for (size_t at = 0; at < in.len;)
        if (!xtext_next(in, &at, &octet) || octet < ' ' || octet > '~')
            return false;
    return true;
}

bool xtext_is_valid(smx_slice in)
{
    unsigned char octet;
    for (size_t at = 0; at < in.len;)
        if (!xtext_next(in, &at, &octet))
            return false;
    return true;
}

int smx_xtext_decode(smx_slice in, char *out, size_t capacity, size_t *len)
{
    size_t count = 0;
    for (size_t at = 0; at < in.len; count++) {
        unsigned char octet;
        if (!xtext_next(in, &at, &octet))
            return SMX_E_SYNTAX;
        if (count == capacity)
            return SMX_E_RANGE;
        out[count] = (char)octet;
    }
    *len = count;
    return 0;
}

int smx_xtext_encode(smx_slice in, char *out, size_t capacity, size_t *len)
{
    static const char digits[] = "0123456789ABCDEF";
    size_t count = 0;
    for (size_t i = 0; i < in.len; i++) {
        unsigned char c = (unsigned char)in.data[i];
        size_t needed = xtext_is_plain(c) ? 1 : 3;
        if (capacity - count < needed)
            return SMX_E_RANGE;
        if (needed == 1) {
            out[count++] = (char)c;
            continue;
        }
        out[count++] = '+';
        out[count++] = digits[c >> 4];
        out[count++] = digits[c & 15];
    }
    *len = count;
    return 0;
}
