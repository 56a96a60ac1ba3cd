/* Numbers as digits, into memory that has room for them: what is written for every message is not worth
 * a format string. */
#ifndef BASE_DIGITS_H
#define BASE_DIGITS_H

#include "base/slice.h"

enum { DIGITS_MAX = 20 }; /* of a uint64_t in decimal */

/* Two digits of a number below 100. */
static inline char *digits_two(char *out, unsigned number)
{
    static const char PAIRS[] = "00010203040506070809101112131415161718192021222324"
                                "25262728293031323334353637383940414243444546474849"
                                "50515253545556575859606162636465666768697071727374"
                                "75767778798081828384858687888990919293949596979899";
    memcpy(out, PAIRS + 2 * (size_t)number, 2);
    return out + 2;
}

/* At least `width` digits (at most DIGITS_MAX), with zeros before them; behind the last one. */
static inline char *digits_padded(char *out, uint64_t number, size_t width)
{
    size_t count = 1;
    for (uint64_t limit = 10; count < DIGITS_MAX && number >= limit; limit *= 10)
        count++;
    if (count < width)
        count = width;
    size_t left = count;
    for (; left >= 2; left -= 2, number /= 100)
        (void)digits_two(out + left - 2, (unsigned)(number % 100));
    if (left > 0)
        *out = (char)('0' + number % 10);
    return out + count;
}

static inline char *digits_decimal(char *out, uint64_t number)
{
    return digits_padded(out, number, 1);
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
