/* UTF-8 as RFC 3629 has it: shortest forms, no surrogates, nothing above U+10FFFF. Pure. */
#include "proto/utf8.h"

#include "smx/proto.h"

/* RFC 3629 section 4, a line per form: the first octet's range, the second one's, the length. */
typedef struct utf8_form {
    unsigned char first_low;
    unsigned char first_high;
    unsigned char second_low;
    unsigned char second_high;
    unsigned char len;
} utf8_form;

static const utf8_form utf8_forms[] = {
    {0x00, 0x7f, 0x00, 0x00, 1}, {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
    {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
    {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
};

static const utf8_form *utf8_form_of(unsigned char first)
{
    for (size_t i = 0; i < sizeof(utf8_forms) / sizeof(utf8_forms[0]); i++)
        if (first >= utf8_forms[i].first_low && first <= utf8_forms[i].first_high)
            return &utf8_forms[i];
    return NULL;
}

size_t utf8_character(smx_slice s)
{
    if (s.len == 0)
        return 0;
    const unsigned char *octets = (const unsigned char *)s.data;
    const utf8_form *form = utf8_form_of(octets[0]);
    if (form == NULL || s.len < form->len)
        return 0;
    if (form->len > 1 && (octets[1] < form->second_low || octets[1] > form->second_high))
        return 0;
    for (size_t i = 2; i < form->len; i++)
        if ((octets[i] & 0xc0) != 0x80)
            return 0;
    return form->len;
}

/* Octets of ASCII at the start of `s`, eight at once as long as there are so many. */
static size_t utf8_ascii(smx_slice s)
{
    uint64_t octets;
    size_t at = 0;
    for (; s.len - at >= sizeof(octets); at += sizeof(octets)) {
        memcpy(&octets, s.data + at, sizeof(octets));
        if ((octets & 0x8080808080808080) != 0)
            break;
    }
    while (at < s.len && (unsigned char)s.data[at] < 0x80)
        at++;
    return at;
}

bool utf8_is_needed(smx_slice s)
{
    return utf8_ascii(s) < s.len;
}

bool smx_utf8_is_valid(smx_slice text)
{
    for (size_t at = utf8_ascii(text); at < text.len; at += utf8_ascii(slice_from(text, at))) {
        size_t len = utf8_character(slice_from(text, at));
        if (len == 0)
            return false;
        at += len;
    }
    return true;
}
