/* Numbers as digits, into memory that has room for them: what is written for every message is not worth
 * a format string. */
#ifndef BASE_DIGITS_H
#define BASE_DIGITS_H

#include "base/slice.h"

enum { DIGITS_MAX = 20 }; /* of a uint64_t in decimal */

/* At least `width` digits (at most DIGITS_MAX), with zeros before them; behind the last one. */
static inline char *digits_padded(char *out, uint64_t number, size_t width)
{
    size_t count = 1;
    for (uint64_t rest = number; rest >= 10; rest /= 10)
        count++;
    if (count < width)
        count = width;
    for (size_t i = count; i-- > 0; number /= 10)
        out[i] = (char)('0' + number % 10);
    return out + count;
}

static inline char *digits_decimal(char *out, uint64_t number)
{
    return digits_padded(out, number, 1);
}

/* Two digits of a number below 100. */
static inline char *digits_two(char *out, unsigned number)
{
    out[0] = (char)('0' + number / 10);
    out[1] = (char)('0' + number % 10);
    return out + 2;
}

/* As digits_padded to base 16, at most 16 digits. */
static inline char *digits_hex(char *out, uint64_t number, size_t width)
{
    size_t bits = 64 - (size_t)__builtin_clzll(number | 1);
    size_t count = (bits + 3) / 4 < width ? width : (bits + 3) / 4;
    for (size_t i = count; i-- > 0; number >>= 4)
        out[i] = "0123456789abcdef"[number & 15];
    return out + count;
}

/* The number in `text`. */
static inline smx_slice digits_of(uint64_t number, char text[static DIGITS_MAX])
{
    return slice_of(text, (size_t)(digits_decimal(text, number) - text));
}

#endif
