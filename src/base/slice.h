/* Questions about slices. Nothing here allocates; results point into their arguments. */
#ifndef BASE_SLICE_H
#define BASE_SLICE_H

#include <string.h>

#include "smx/types.h"

static inline smx_slice slice_of(const char *data, size_t len)
{
    return (smx_slice){data, len};
}

/* The slice of a C string; NULL gives the empty slice. */
static inline smx_slice slice_of_text(const char *text)
{
    return (smx_slice){text, text == NULL ? 0 : strlen(text)};
}

static inline bool slice_equal(smx_slice a, smx_slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* Copies the octets to `out`, which has room for them; behind the last one. Most slices of mail are
 * short: up to 16 octets are moved as two words that may overlap, without a call. */
static inline char *slice_put(smx_slice s, char *out)
{
    uint64_t words[2];
    uint32_t halves[2];
    if (s.len >= 8 && s.len <= 16) {
        memcpy(&words[0], s.data, 8);
        memcpy(&words[1], s.data + s.len - 8, 8);
        memcpy(out, &words[0], 8);
        memcpy(out + s.len - 8, &words[1], 8);
    } else if (s.len >= 4 && s.len < 8) {
        memcpy(&halves[0], s.data, 4);
        memcpy(&halves[1], s.data + s.len - 4, 4);
        memcpy(out, &halves[0], 4);
        memcpy(out + s.len - 4, &halves[1], 4);
    } else if (s.len > 16) {
        memcpy(out, s.data, s.len);
    } else if (s.len > 0) {
        out[0] = s.data[0];
        out[s.len / 2] = s.data[s.len / 2];
        out[s.len - 1] = s.data[s.len - 1];
    }
    return out + s.len;
}

/* From octet `from` (at most the length) to the end. */
static inline smx_slice slice_from(smx_slice s, size_t from)
{
    return (smx_slice){from == 0 ? s.data : s.data + from, s.len - from};
}

/* The first `len` octets (at most the length). */
static inline smx_slice slice_to(smx_slice s, size_t len)
{
    return (smx_slice){s.data, len};
}

static inline bool slice_starts_with(smx_slice s, smx_slice prefix)
{
    return s.len >= prefix.len && slice_equal(slice_to(s, prefix.len), prefix);
}

/* ASCII only, whatever the locale: SMTP's case rules (RFC 5321 section 2.4). */
static inline char ascii_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

static inline char ascii_upper(char c)
{
    return c >= 'a' && c <= 'z' ? (char)(c & ~0x20) : c;
}

static inline bool ascii_is_alpha(char c)
{
    char lower = ascii_lower(c);
    return lower >= 'a' && lower <= 'z';
}

static inline bool ascii_is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static inline bool ascii_is_alnum(char c)
{
    return ascii_is_alpha(c) || ascii_is_digit(c);
}

/* Space and tab. */
static inline bool ascii_is_space(char c)
{
    return c == ' ' || c == '\t';
}

bool slice_equal_nocase(smx_slice a, smx_slice b);
bool slice_starts_with_nocase(smx_slice s, smx_slice prefix);

/* Index of the first `c`, or s.len. */
static inline size_t slice_find(smx_slice s, char c)
{
    const char *hit = s.len == 0 ? NULL : memchr(s.data, c, s.len);
    return hit == NULL ? s.len : (size_t)(hit - s.data);
}

/* Index of the last `c`, or s.len. */
size_t slice_find_last(smx_slice s, char c);
/* Index of the first `needle`, or s.len. */
size_t slice_search(smx_slice s, smx_slice needle);

/* Without leading and trailing spaces and tabs. */
smx_slice slice_trim(smx_slice s);

/* Cuts the next word off `rest` at `separator`: true and the word, or false when nothing is left.
 * "a,,b" gives "a", "", "b"; "" gives one empty word, the slice {NULL, 0} none. */
bool slice_cut(smx_slice *rest, char separator, smx_slice *word);

/* Decimal digits only, no sign, no space: SMX_E_SYNTAX, or SMX_E_RANGE over `max`. */
SMX_MUST_USE int slice_to_number(smx_slice s, uint64_t max, uint64_t *number);

/* A glob with `*` (any run) and `?` (any octet), without regard to ASCII case. Linear in practice
 * and never worse than pattern × text. */
bool slice_matches_glob(smx_slice text, smx_slice pattern);

/* Equal octets, in a time that depends only on the lengths. */
bool slice_equal_constant_time(smx_slice a, smx_slice b);

/* A new C string; NULL when out of memory. The caller frees it. NUL octets are copied as they are. */
SMX_MUST_USE char *slice_to_text(smx_slice s);

#endif
