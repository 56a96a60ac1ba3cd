/* A field written from name and value. Owns nothing but what it adds to the caller's buffer. */
#include "mail/header_write.h"

/* Folding that may be written (RFC 5322 section 3.2.2): CRLF and a blank, and not a line of blanks
 * alone, which some readers take for the end of the section. */
static bool header_fold_is_valid(smx_slice value, size_t at)
{
    if (value.len - at < 3 || value.data[at] != '\r' || value.data[at + 1] != '\n' ||
        !ascii_is_space(value.data[at + 2]))
        return false;
    for (at += 3; at < value.len && ascii_is_space(value.data[at]);)
        at++;
    return at < value.len && value.data[at] != '\r';
}

bool header_field_is_valid(smx_slice name, smx_slice value)
{
    if (name.len == 0)
        return false;
    for (size_t i = 0; i < name.len; i++)
        if (name.data[i] <= ' ' || name.data[i] == 0x7f || name.data[i] == ':')
            return false;
    for (size_t i = 0; i < value.len; i++) {
        char c = value.data[i];
        if (c == '\0' || c == '\n')
            return false;
        if (c == '\r' && !header_fold_is_valid(value, i++))
            return false;
    }
    return true;
}

int header_end_line(buffer *out)
{
    smx_slice text = buffer_slice(out);
    if (text.len == 0 || (text.len >= 2 && memcmp(text.data + text.len - 2, "\r\n", 2) == 0))
        return 0;
    return buffer_append_text(out, "\r\n");
}

int header_write_field(buffer *out, smx_slice name, smx_slice value)
{
    size_t before = buffer_length(out);
    bool blank = value.len == 0 || ascii_is_space(value.data[0]) || value.data[0] == '\r';
    int error = buffer_append(out, name);
    if (error == 0)
        error = buffer_append_text(out, blank ? ":" : ": ");
    if (error == 0)
        error = buffer_append(out, value);
    if (error == 0)
        error = buffer_append_text(out, "\r\n");
    if (error != 0)
        buffer_truncate(out, before);
    return error;
}
