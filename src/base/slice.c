/* Questions about slices: comparison, search, numbers. Pure; owns nothing. */
#include "base/slice.h"

#include <stdlib.h>

bool slice_equal_nocase(smx_slice a, smx_slice b)
{
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++)
        if (a.data[i] != b.data[i] && ascii_lower(a.data[i]) != ascii_lower(b.data[i]))
            return false;
    return true;
}

bool slice_starts_with_nocase(smx_slice s, smx_slice prefix)
{
    return s.len >= prefix.len && slice_equal_nocase(slice_to(s, prefix.len), prefix);
}

size_t slice_find_last(smx_slice s, char c)
{
    const char *hit = s.len == 0 ? NULL : memrchr(s.data, c, s.len);
    return hit == NULL ? s.len : (size_t)(hit - s.data);
}

size_t slice_search(smx_slice s, smx_slice needle)
{
    if (needle.len == 0)
        return 0;
    const char *hit = s.len == 0 ? NULL : memmem(s.data, s.len, needle.data, needle.len);
    return hit == NULL ? s.len : (size_t)(hit - s.data);
}

smx_slice slice_trim(smx_slice s)
{
    while (s.len > 0 && ascii_is_space(s.data[0]))
        s = slice_from(s, 1);
    while (s.len > 0 && ascii_is_space(s.data[s.len - 1]))
        s.len--;
    return s;
}

bool slice_cut(smx_slice *rest, char separator, smx_slice *word)
{
    if (rest->data == NULL)
        return false;
    size_t at = slice_find(*rest, separator);
    *word = slice_to(*rest, at);
    if (at == rest->len)
        *rest = (smx_slice){NULL, 0};
    else
        *rest = slice_from(*rest, at + 1);
    return true;
}

int slice_to_number(smx_slice s, uint64_t max, uint64_t *number)
{
    uint64_t value = 0;
    if (s.len == 0)
        return SMX_E_SYNTAX;
    for (size_t i = 0; i < s.len; i++)
        if (!ascii_is_digit(s.data[i]))
            return SMX_E_SYNTAX;
    for (size_t i = 0; i < s.len; i++) {
        uint64_t digit = (uint64_t)(s.data[i] - '0');
        if (value > (UINT64_MAX - digit) / 10)
            return SMX_E_RANGE;
        value = value * 10 + digit;
    }
    if (value > max)
        return SMX_E_RANGE;
    *number = value;
    return 0;
}

/* One star is remembered; a mismatch goes back to it and lets it take one octet more. */
bool slice_matches_glob(smx_slice text, smx_slice pattern)
{
    size_t t = 0;
    size_t p = 0;
    size_t star = SIZE_MAX;
    size_t star_text = 0;
    while (t < text.len) {
        if (p < pattern.len && pattern.data[p] == '*') {
            star = p++;
            star_text = t;
        } else if (p < pattern.len && (pattern.data[p] == '?' ||
                                       ascii_lower(pattern.data[p]) == ascii_lower(text.data[t]))) {
            p++;
            t++;
        } else if (star != SIZE_MAX) {
            p = star + 1;
            t = ++star_text;
        } else {
            return false;
        }
    }
    while (p < pattern.len && pattern.data[p] == '*')
        p++;
    return p == pattern.len;
}

bool slice_equal_constant_time(smx_slice a, smx_slice b)
{
    volatile unsigned char difference = a.len != b.len;
    for (size_t i = 0; i < a.len; i++) {
        char other = b.len == 0 ? 0 : b.data[i % b.len];
        difference = (unsigned char)(difference | (unsigned char)(a.data[i] ^ other));
    }
    return difference == 0;
}

char *slice_to_text(smx_slice s)
{
    char *text = malloc(s.len + 1);
    if (text == NULL)
        return NULL;
    if (s.len > 0)
        memcpy(text, s.data, s.len);
    text[s.len] = '\0';
    return text;
}
