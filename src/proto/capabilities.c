/* What a server offers, from its EHLO reply (RFC 5321 section 4.1.1.1). Pure. */
#include "base/slice.h"
#include "smx/proto.h"

typedef struct capability_word {
    smx_slice keyword;
    smx_extensions bit;
} capability_word;

static const capability_word capability_words[] = {
#define CAPABILITY_WORD(bit_, name, text) {{text, sizeof(text) - 1}, SMX_EXT_##name},
    SMX_EXTENSION_MAP(CAPABILITY_WORD)
#undef CAPABILITY_WORD
};

static smx_extensions capability_find(smx_slice keyword)
{
    for (size_t i = 0; i < sizeof(capability_words) / sizeof(capability_words[0]); i++)
        if (slice_equal_nocase(keyword, capability_words[i].keyword))
            return capability_words[i].bit;
    return 0;
}

/* Cuts the first word off `*rest`, and the blanks behind it. */
static smx_slice capability_cut_word(smx_slice *rest)
{
    size_t end = 0;
    while (end < rest->len && !ascii_is_space(rest->data[end]))
        end++;
    smx_slice word = slice_to(*rest, end);
    *rest = slice_trim(slice_from(*rest, end));
    return word;
}

/* One NAME=VALUE of LIMITS: one to six digits, not zero (RFC 9422 section 4). */
static void capability_read_limit(smx_slice word, smx_capabilities *capabilities)
{
    size_t equals = slice_find(word, '=');
    smx_slice name = slice_to(word, equals);
    uint64_t number;
    if (equals == word.len || slice_to_number(slice_from(word, equals + 1), 999999, &number) != 0)
        return;
    if (slice_equal_nocase(name, SMX_SLICE("RCPTMAX")))
        capabilities->max_recipients = (uint32_t)number;
    else if (slice_equal_nocase(name, SMX_SLICE("MAILMAX")))
        capabilities->max_transactions = (uint32_t)number;
}

static void capability_read_values(smx_extensions bit, smx_slice values,
                                   smx_capabilities *capabilities)
{
    if (bit == SMX_EXT_SIZE) {
        uint64_t size;
        if (slice_to_number(capability_cut_word(&values), UINT64_MAX, &size) == 0)
            capabilities->max_size = size;
    } else if (bit == SMX_EXT_AUTH) {
        capabilities->auth_mechanisms = values;
    } else if (bit == SMX_EXT_LIMITS) {
        while (values.len > 0)
            capability_read_limit(capability_cut_word(&values), capabilities);
    }
}

static void capability_read_line(smx_slice line, smx_capabilities *capabilities)
{
    static const smx_slice obsolete_auth = {"AUTH=", 5};
    smx_slice values = slice_trim(line);
    smx_extensions bit;
    if (slice_starts_with_nocase(values, obsolete_auth)) {
        values = slice_trim(slice_from(values, obsolete_auth.len));
        bit = SMX_EXT_AUTH;
    } else {
        bit = capability_find(capability_cut_word(&values));
    }
    if (bit == 0 || (capabilities->extensions & bit) != 0)
        return;
    capabilities->extensions |= bit;
    capability_read_values(bit, values, capabilities);
}

void smx_capabilities_parse(const smx_reply_lines *reply, smx_capabilities *capabilities)
{
    smx_capabilities read = {0};
    smx_slice line;
    size_t at = 0;
    if (smx_reply_next_line(reply, &at, &line)) {
        line = slice_trim(line);
        read.domain = capability_cut_word(&line);
    }
    while (smx_reply_next_line(reply, &at, &line))
        capability_read_line(line, &read);
    *capabilities = read;
}
