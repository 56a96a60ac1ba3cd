/* The table of octets, in the order of ASCII. */
#include "proto/octet.h"

enum {
    OCTET_PRINTABLE = OCTET_SHOWN | OCTET_VALUE,
    OCTET_ATOM = OCTET_PRINTABLE | OCTET_ATEXT,
    OCTET_ALNUM = OCTET_ATOM | OCTET_LET_DIG,
    OCTET_MARK = OCTET_PRINTABLE | OCTET_PATH_MARK,
};

const uint8_t octet_classes[256] = {
    ['\t'] = OCTET_SHOWN,
    [' '] = OCTET_SHOWN,
    ['!'] = OCTET_ATOM,
    ['"'] = OCTET_PRINTABLE,
    ['#' ... '\''] = OCTET_ATOM,
    ['(' ... ')'] = OCTET_PRINTABLE,
    ['*' ... '+'] = OCTET_ATOM,
    [','] = OCTET_MARK,
    ['-'] = OCTET_ATOM | OCTET_HYPHEN,
    ['.'] = OCTET_PRINTABLE,
    ['/'] = OCTET_ATOM,
    ['0' ... '9'] = OCTET_ALNUM,
    [':'] = OCTET_MARK,
    [';' ... '<'] = OCTET_PRINTABLE,
    ['='] = OCTET_SHOWN | OCTET_ATEXT,
    ['>'] = OCTET_MARK,
    ['?'] = OCTET_ATOM,
    ['@'] = OCTET_PRINTABLE,
    ['A' ... 'Z'] = OCTET_ALNUM,
    ['[' ... ']'] = OCTET_PRINTABLE,
    ['^' ... '`'] = OCTET_ATOM,
    ['a' ... 'z'] = OCTET_ALNUM,
    ['{' ... '~'] = OCTET_ATOM,
    [0x80 ... 0xff] = OCTET_NON_ASCII,
};

size_t octet_shown(smx_slice text)
{
    const uint64_t each = 0x0101010101010101;
    uint64_t octets;
    size_t at = 0;
    for (; text.len - at >= sizeof(octets); at += sizeof(octets)) {
        memcpy(&octets, text.data + at, sizeof(octets));
        /* The high bit of an octet gets set if it is over '~', or under the blank. */
        if (((octets | (octets + each) | (octets - each * ' ')) & each << 7) != 0)
            break;
    }
    while (at < text.len && octet_is(text.data[at], OCTET_SHOWN))
        at++;
    return at;
}
