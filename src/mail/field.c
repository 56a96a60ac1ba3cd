/* The fields of a header section (RFC 5322 section 2.2): found one after the other, each octet
 * looked at once. Owns nothing: all slices are of the section. */
#include "base/slice.h"
#include "smx/message.h"

/* Where the line that begins at `at` ends, behind its CRLF, or the end of all. */
static size_t field_line_end(smx_slice header, size_t at)
{
    for (;;) {
        at += slice_find(slice_from(header, at), '\n');
        if (at == header.len)
            return at;
        at++;
        if (at >= 2 && header.data[at - 2] == '\r')
            return at;
    }
}

/* Behind the line and the folded ones that follow it (section 2.2.3). */
static size_t field_end(smx_slice header, size_t at)
{
    do
        at = field_line_end(header, at);
    while (at < header.len && ascii_is_space(header.data[at]));
    return at;
}

/* Octets of a field name: printable ASCII but the colon (ftext). */
static size_t field_name_len(smx_slice line)
{
    size_t len = 0;
    while (len < line.len && line.data[len] > ' ' && line.data[len] < 0x7f && line.data[len] != ':')
        len++;
    return len;
}

bool smx_field_next(smx_slice header, size_t *at, smx_field *field)
{
    if (*at >= header.len)
        return false;
    size_t end = field_end(header, *at);
    smx_slice raw = slice_of(header.data + *at, end - *at);
    smx_slice content = raw;
    if (content.len >= 2 && memcmp(content.data + content.len - 2, "\r\n", 2) == 0)
        content.len -= 2;
    size_t name = field_name_len(content);
    size_t colon = name;
    /* obs-field (section 4.5): blanks before the colon. */
    while (colon < content.len && ascii_is_space(content.data[colon]))
        colon++;
    if (name > 0 && colon < content.len && content.data[colon] == ':')
        *field = (smx_field){raw, slice_to(raw, name), slice_from(content, colon + 1)};
    else
        *field = (smx_field){raw, slice_to(raw, 0), content};
    *at = end;
    return true;
}

/* The next field that begins with `first`: the others are not looked into. */
static bool field_next_like(smx_slice header, char first, size_t *at, smx_field *field)
{
    while (*at < header.len && ascii_lower(header.data[*at]) != ascii_lower(first))
        *at = field_end(header, *at);
    return smx_field_next(header, at, field);
}

bool smx_field_find(smx_slice header, smx_slice name, size_t nth, smx_field *field)
{
    size_t at = 0;
    smx_field next;
    while (name.len > 0 && field_next_like(header, name.data[0], &at, &next)) {
        if (!slice_equal_nocase(next.name, name) || nth-- > 0)
            continue;
        *field = next;
        return true;
    }
    return false;
}

size_t smx_field_count(smx_slice header, smx_slice name)
{
    size_t count = 0;
    size_t at = 0;
    smx_field field;
    while (name.len > 0 && smx_field_next(header, &at, &field))
        if (slice_equal_nocase(field.name, name))
            count++;
    return count;
}

/* Whether a line break that only folds stands at `at`. */
static bool field_is_fold(smx_slice value, size_t at)
{
    return value.len - at >= 3 && value.data[at] == '\r' && value.data[at + 1] == '\n' &&
           ascii_is_space(value.data[at + 2]);
}

static smx_slice field_trim(smx_slice value)
{
    for (;;) {
        smx_slice trimmed = slice_trim(value);
        if (field_is_fold(trimmed, 0))
            trimmed = slice_from(trimmed, 3);
        if (trimmed.len >= 2 && memcmp(trimmed.data + trimmed.len - 2, "\r\n", 2) == 0)
            trimmed.len -= 2;
        if (trimmed.len == value.len)
            return trimmed;
        value = trimmed;
    }
}

int smx_field_unfold(smx_slice value, char *out, size_t capacity, size_t *len)
{
    smx_slice rest = field_trim(value);
    size_t written = 0;
    for (size_t i = 0; i < rest.len; i++) {
        if (field_is_fold(rest, i)) {
            i++;
            continue;
        }
        if (written == capacity)
            return SMX_E_RANGE;
        out[written++] = rest.data[i];
    }
    *len = written;
    return 0;
}
