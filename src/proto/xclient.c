/* XCLIENT's attributes (Postfix XCLIENT_README). Decoded values go into the caller's memory. */
#include "base/slice.h"
#include "proto/xtext.h"
#include "smx/proto.h"

static const smx_slice xclient_names[SMX_XCLIENT_COUNT] = {
#define XCLIENT_NAME(name) [SMX_XCLIENT_##name] = {#name, sizeof(#name) - 1},
    SMX_XCLIENT_MAP(XCLIENT_NAME)
#undef XCLIENT_NAME
};

static smx_xclient_name xclient_find(smx_slice name)
{
    smx_xclient_name found = 0;
    while (found < SMX_XCLIENT_COUNT && !slice_equal_nocase(name, xclient_names[found]))
        found++;
    return found;
}

static bool xclient_is_unavailable(smx_slice value)
{
    return slice_equal_nocase(value, SMX_SLICE("[UNAVAILABLE]")) ||
           slice_equal_nocase(value, SMX_SLICE("[TEMPUNAVAIL]"));
}

static bool xclient_has_control(smx_slice value)
{
    for (size_t i = 0; i < value.len; i++)
        if ((unsigned char)value.data[i] < ' ' || value.data[i] == 0x7f)
            return true;
    return false;
}

static bool xclient_is_protocol(smx_slice value)
{
    return value.len == 0 || slice_equal_nocase(value, SMX_SLICE("SMTP")) ||
           slice_equal_nocase(value, SMX_SLICE("ESMTP"));
}

/* One NAME=value. `memory` is what is left of the caller's; *used says how much of it was taken. */
static int xclient_read(smx_slice word, char *memory, size_t capacity, smx_xclient *xclient,
                        size_t *used)
{
    size_t equals = slice_find(word, '=');
    if (equals == word.len || equals + 1 == word.len)
        return SMX_E_SYNTAX;
    smx_xclient_name name = xclient_find(slice_to(word, equals));
    if (name == SMX_XCLIENT_COUNT || xclient->given[name])
        return SMX_E_SYNTAX;
    smx_slice value = slice_from(word, equals + 1);
    size_t len = 0;
    if (!xclient_is_unavailable(value)) {
        int error = smx_xtext_decode(value, memory, capacity, &len);
        if (error != 0)
            return error;
    }
    if (xclient_has_control(slice_of(memory, len)))
        return SMX_E_SYNTAX;
    if (name == SMX_XCLIENT_PROTO && !xclient_is_protocol(slice_of(memory, len)))
        return SMX_E_SYNTAX;
    xclient->given[name] = true;
    xclient->value[name] = slice_of(memory, len);
    *used = len;
    return 0;
}

int smx_xclient_parse(smx_slice argument, char *memory, size_t capacity, smx_xclient *xclient)
{
    smx_xclient read = {0};
    smx_slice rest = slice_trim(argument);
    size_t used = 0;
    if (rest.len == 0)
        return SMX_E_SYNTAX;
    while (rest.len > 0) {
        size_t end = 0;
        size_t len;
        while (end < rest.len && !ascii_is_space(rest.data[end]))
            end++;
        int error = xclient_read(slice_to(rest, end), memory + used, capacity - used, &read, &len);
        if (error != 0)
            return error;
        used += len;
        rest = slice_trim(slice_from(rest, end));
    }
    *xclient = read;
    return 0;
}
