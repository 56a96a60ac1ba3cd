/* Finding the odd octets of a body without a step per octet or line. Pure.
 *
 * A block of 64 octets is compared with itself one octet earlier, all lanes of a vector at once (the
 * compiler's vectors: SSE2, NEON, or plain words where there is neither). AVX2 takes twice the lanes
 * where the machine has it. Which octet of a block is odd is asked only where one is. */
#include "proto/newline.h"

#include "smx/proto.h"

#ifdef __x86_64__
#include <immintrin.h>
#endif

typedef signed char newline_lanes __attribute__((vector_size(16)));
typedef unsigned long long newline_words __attribute__((vector_size(16)));

/* Non-zero in each lane whose octet is odd, for vectors of either width. */
#define NEWLINE_ODD(now, before)                                                                   \
    ((((now) == '\n') ^ ((before) == '\r')) | (((now) == '.') & ((before) == '\n')) |              \
     ((now) == '\0'))

static inline newline_lanes newline_odd_lanes(const char *p)
{
    newline_lanes now;
    newline_lanes before;
    memcpy(&now, p, sizeof(now));
    memcpy(&before, p - 1, sizeof(before));
    return NEWLINE_ODD(now, before);
}

size_t newline_skip_narrow(const char *p, size_t len)
{
    size_t whole = len - len % NEWLINE_BLOCK;
    size_t at = 0;
    for (; at < whole; at += NEWLINE_BLOCK) {
        newline_words odd =
            (newline_words)(newline_odd_lanes(p + at) | //
                            newline_odd_lanes(p + at + 16) | newline_odd_lanes(p + at + 32) |
                            newline_odd_lanes(p + at + 48));
        if ((odd[0] | odd[1]) != 0)
            break;
    }
    return at;
}

#ifdef __x86_64__

typedef signed char newline_wide_lanes __attribute__((vector_size(32)));

__attribute__((target("avx2"))) static inline newline_wide_lanes newline_odd_wide_lanes(
    const char *p)
{
    newline_wide_lanes now;
    newline_wide_lanes before;
    memcpy(&now, p, sizeof(now));
    memcpy(&before, p - 1, sizeof(before));
    return NEWLINE_ODD(now, before);
}

__attribute__((target("avx2"))) size_t newline_skip_wide(const char *p, size_t len)
{
    size_t whole = len - len % NEWLINE_BLOCK;
    size_t at = 0;
    for (; at < whole; at += NEWLINE_BLOCK) {
        __m256i odd =
            (__m256i)(newline_odd_wide_lanes(p + at) | newline_odd_wide_lanes(p + at + 32));
        if (_mm256_testz_si256(odd, odd) == 0)
            break;
    }
    return at;
}

bool newline_is_wide(void)
{
    return __builtin_cpu_supports("avx2");
}

static size_t newline_skip(const char *p, size_t len)
{
    return newline_is_wide() ? newline_skip_wide(p, len) : newline_skip_narrow(p, len);
}

#else

bool newline_is_wide(void)
{
    return false;
}

static size_t newline_skip(const char *p, size_t len)
{
    return newline_skip_narrow(p, len);
}

#endif

/* Eight lanes, of which each may have a bit of its own, as the bits of one octet. */
static unsigned newline_gather(unsigned long long lanes)
{
    return (unsigned)(lanes * 0x0101010101010101 >> 56);
}

/* The first odd octet of a block; the end of the block if there is none. */
static size_t newline_first_odd(const char *block)
{
    static const newline_lanes bit_of_lane = {1, 2, 4, 8, 16, 32, 64, -128,
                                              1, 2, 4, 8, 16, 32, 64, -128};
    for (size_t at = 0; at < NEWLINE_BLOCK; at += sizeof(bit_of_lane)) {
        newline_words odd = (newline_words)(newline_odd_lanes(block + at) & bit_of_lane);
        if ((odd[0] | odd[1]) != 0)
            return at + (size_t)__builtin_ctz(newline_gather(odd[0]) | newline_gather(odd[1]) << 8);
    }
    return NEWLINE_BLOCK;
}

/* The first odd octet at or behind `at` (not 0): in the block that begins there, or in what is less
 * than a block; in.len if that has none. */
static size_t newline_find(smx_slice in, size_t at)
{
    size_t len = in.len - at;
    if (len >= NEWLINE_BLOCK)
        return at + newline_first_odd(in.data + at);
    char block[1 + NEWLINE_BLOCK] = {0}; /* the first NUL behind the octets ends the search */
    memcpy(block, in.data + at - 1, 1 + len);
    return at + newline_first_odd(block + 1);
}

static bool newline_octet_is_odd(char c, newline_place place)
{
    return (c == '\n') != (place == NEWLINE_CR) || c == '\0' || (c == '.' && place == NEWLINE_LINE);
}

size_t newline_pass(smx_slice in, newline_place *place)
{
    if (in.len == 0 || newline_octet_is_odd(in.data[0], *place))
        return 0;
    size_t at = newline_find(in, 1 + newline_skip(in.data + 1, in.len - 1));
    char before = in.data[at - 1];
    *place = before == '\n' ? NEWLINE_LINE : before == '\r' ? NEWLINE_CR : NEWLINE_TEXT;
    return at;
}

uint8_t newline_judge(char c, newline_place *place)
{
    bool after_cr = *place == NEWLINE_CR;
    uint8_t faults = c == '\0' ? SMX_FAULT_NUL : 0;
    if (c == '\n' && !after_cr)
        faults |= SMX_FAULT_BARE_LF;
    if (c != '\n' && after_cr)
        faults |= SMX_FAULT_BARE_CR;
    *place = c == '\r' ? NEWLINE_CR : c == '\n' && after_cr ? NEWLINE_LINE : NEWLINE_TEXT;
    return faults;
}
