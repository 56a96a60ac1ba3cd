/* Words of a configuration file and their values. Nothing is owned. */
#include "app/scalar.h"

#include <inttypes.h>

#include "base/checked.h"

typedef struct unit {
    const char *name;
    uint64_t factor;
} unit;

/* Longest first where one is the end of another; the largest that divides is written. */
static const unit TIMES[] = {{"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};
static const unit SIZES[] = {
    {"GiB", 1073741824}, {"MiB", 1048576},  {"KiB", 1024},  {"GB", 1000000000}, {"MB", 1000000},
    {"KB", 1000},        {"G", 1000000000}, {"M", 1000000}, {"K", 1000},        {"B", 1},
};

static int read_units(smx_slice text, const unit *units, size_t count, uint64_t bare,
                      uint64_t *value)
{
    size_t digits = 0;
    while (digits < text.len && ascii_is_digit(text.data[digits]))
        digits++;
    uint64_t number;
    int error = slice_to_number(slice_to(text, digits), UINT64_MAX, &number);
    if (error != 0)
        return error;
    smx_slice name = slice_trim(slice_from(text, digits));
    uint64_t factor = name.len == 0 ? bare : 0;
    for (size_t i = 0; i < count && factor == 0; i++) {
        if (slice_equal_nocase(name, slice_of_text(units[i].name)))
            factor = units[i].factor;
    }
    if (factor == 0 && number == 0 && name.len == 0)
        factor = 1;
    if (factor == 0)
        return SMX_E_SYNTAX;
    return __builtin_mul_overflow(number, factor, value) ? SMX_E_RANGE : 0;
}

int scalar_duration(smx_slice text, uint32_t *ms)
{
    uint64_t value;
    int error = read_units(text, TIMES, sizeof(TIMES) / sizeof(TIMES[0]), 0, &value);
    if (error != 0)
        return error;
    if (value > UINT32_MAX)
        return SMX_E_RANGE;
    *ms = (uint32_t)value;
    return 0;
}

int scalar_size(smx_slice text, uint64_t *octets)
{
    return read_units(text, SIZES, sizeof(SIZES) / sizeof(SIZES[0]), 1, octets);
}

int scalar_bool(smx_slice text, bool *value)
{
    static const char *const WORDS[] = {"false", "true", "no", "yes", "off", "on"};
    for (size_t i = 0; i < sizeof(WORDS) / sizeof(WORDS[0]); i++) {
        if (slice_equal_nocase(text, slice_of_text(WORDS[i]))) {
            *value = i % 2 == 1;
            return 0;
        }
    }
    return SMX_E_SYNTAX;
}

int scalar_write_duration(uint32_t ms, buffer *out)
{
    for (size_t i = 0; i < sizeof(TIMES) / sizeof(TIMES[0]) && ms > 0; i++) {
        if (ms % TIMES[i].factor == 0)
            return buffer_printf(out, "%" PRIu64 "%s", ms / TIMES[i].factor, TIMES[i].name);
    }
    return buffer_append_text(out, "0");
}

int scalar_write_size(uint64_t octets, buffer *out)
{
    for (size_t i = 0; i < 3 && octets > 0; i++) {
        if (octets % SIZES[i].factor == 0)
            return buffer_printf(out, "%" PRIu64 "%s", octets / SIZES[i].factor, SIZES[i].name);
    }
    return buffer_printf(out, "%" PRIu64, octets);
}

/* A word that no YAML reader takes for anything else. */
static bool is_plain(smx_slice text)
{
    if (text.len == 0 || !(ascii_is_alnum(text.data[0]) || text.data[0] == '/'))
        return false;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];
        bool colon = c == ':' && i + 1 < text.len;
        if (!ascii_is_alnum(c) && memchr("./_@+-", c, 6) == NULL && !colon)
            return false;
    }
    static const char *const TAKEN[] = {"null", "true", "false", "yes", "no", "on", "off"};
    for (size_t i = 0; i < sizeof(TAKEN) / sizeof(TAKEN[0]); i++) {
        if (slice_equal_nocase(text, slice_of_text(TAKEN[i])))
            return false;
    }
    return true;
}

int scalar_write_text(smx_slice text, buffer *out)
{
    if (is_plain(text))
        return buffer_append(out, text);
    int error = buffer_append_char(out, '"');
    for (size_t i = 0; i < text.len && error == 0; i++) {
        char c = text.data[i];
        if (c == '"' || c == '\\')
            error = buffer_printf(out, "\\%c", c);
        else if ((unsigned char)c < 0x20 || c == 0x7F)
            error = buffer_printf(out, "\\x%02X", (unsigned char)c);
        else if (slice_starts_with(slice_from(text, i), SMX_SLICE("${")))
            error = buffer_append_text(out, "$$");
        else
            error = buffer_append_char(out, c);
    }
    return error != 0 ? error : buffer_append_char(out, '"');
}
