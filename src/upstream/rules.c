/* Rules for a provider's replies: read from their text, and matched. Nothing is owned: the globs are
 * slices of what was read. */
#include "upstream/rules.h"

/* ---- reading ---- */

static bool read_code(smx_slice word, int8_t *code)
{
    if (word.len != UPSTREAM_RULE_CODE || (word.data[0] != '4' && word.data[0] != '5'))
        return false;
    for (size_t i = 0; i < word.len; i++) {
        bool any = ascii_lower(word.data[i]) == 'x';
        if (!any && !ascii_is_digit(word.data[i]))
            return false;
        code[i] = any ? UPSTREAM_RULE_ANY : (int8_t)(word.data[i] - '0');
    }
    return true;
}

static bool read_part(smx_slice word, int16_t *part)
{
    uint64_t number;
    if (word.len == 1 && ascii_lower(word.data[0]) == 'x') {
        *part = UPSTREAM_RULE_ANY;
        return true;
    }
    if (slice_to_number(word, 999, &number) != 0)
        return false;
    *part = (int16_t)number;
    return true;
}

static bool read_enhanced(smx_slice word, int16_t *enhanced)
{
    smx_slice part;
    size_t count = 0;
    while (slice_cut(&word, '.', &part)) {
        if (count == UPSTREAM_RULE_CODE || !read_part(part, &enhanced[count++]))
            return false;
    }
    return count == UPSTREAM_RULE_CODE;
}

static smx_slice first_word(smx_slice text)
{
    return slice_to(text, slice_find(text, ' '));
}

int upstream_rule_parse(smx_slice pattern, upstream_rule *rule, problem *p)
{
    upstream_rule read = *rule;
    smx_slice rest = slice_trim(pattern);
    smx_slice word = first_word(rest);
    if (!read_code(word, read.code))
        return problem_set(p, SMX_E_SYNTAX,
                           "expected a pattern such as `454 4.7.0 *throttl*`, which begins with a "
                           "code of 4 or 5 and two more digits or x, found `%.*s`",
                           (int)pattern.len, pattern.data);
    rest = slice_trim(slice_from(rest, word.len));
    word = first_word(rest);
    read.has_enhanced = read_enhanced(word, read.enhanced);
    if (read.has_enhanced)
        rest = slice_trim(slice_from(rest, word.len));
    /* RFC 3463 section 2: its class is the code's first digit. */
    if (read.has_enhanced && read.enhanced[0] != UPSTREAM_RULE_ANY &&
        read.enhanced[0] != read.code[0])
        return problem_set(p, SMX_E_SYNTAX, "the enhanced code `%.*s` does not fit the code `%.*s`",
                           (int)word.len, word.data, UPSTREAM_RULE_CODE, slice_trim(pattern).data);
    read.text = rest;
    *rule = read;
    return 0;
}

static const char *const ACTIONS[] = {
#define UPSTREAM_RULE_WORD(name, word) word,
    UPSTREAM_RULE_ACTION_MAP(UPSTREAM_RULE_WORD)
#undef UPSTREAM_RULE_WORD
};

const char *upstream_rule_action_text(upstream_rule_action action)
{
    return ACTIONS[action];
}

int upstream_rule_action_parse(smx_slice word, upstream_rule_action *action)
{
    for (size_t i = 0; i < sizeof(ACTIONS) / sizeof(ACTIONS[0]); i++) {
        if (slice_equal(word, slice_of_text(ACTIONS[i]))) {
            *action = (upstream_rule_action)i;
            return 0;
        }
    }
    return SMX_E_SYNTAX;
}

int upstream_rule_check(const upstream_rule *rule, problem *p)
{
    static const uint32_t OWN = 1U << SMX_CLIENT_PHASE_MAIL | 1U << SMX_CLIENT_PHASE_RCPT |
                                1U << SMX_CLIENT_PHASE_DATA | 1U << SMX_CLIENT_PHASE_FINAL;
    if (rule->action == UPSTREAM_RULE_FINAL &&
        (rule->code[0] != 5 || rule->phases == 0 || (rule->phases & ~OWN) != 0))
        return problem_set(p, SMX_E_INVALID,
                           "`final` is for a 5xx to the message itself: give a code of 5 and "
                           "`phases` of mail, rcpt, data or final");
    return 0;
}

/* ---- matching ---- */

static bool code_matches(const upstream_rule *rule, uint16_t code)
{
    for (size_t i = UPSTREAM_RULE_CODE; i > 0; i--, code /= 10) {
        if (rule->code[i - 1] != UPSTREAM_RULE_ANY && rule->code[i - 1] != code % 10)
            return false;
    }
    return true;
}

static bool enhanced_matches(const upstream_rule *rule, const smx_enhanced *enhanced)
{
    const uint16_t parts[] = {enhanced->class_digit, enhanced->subject, enhanced->detail};
    if (!rule->has_enhanced)
        return true;
    for (size_t i = 0; i < UPSTREAM_RULE_CODE; i++) {
        if (rule->enhanced[i] != UPSTREAM_RULE_ANY && rule->enhanced[i] != parts[i])
            return false;
    }
    return enhanced->class_digit != 0;
}

const upstream_rule *upstream_rules_match(const upstream_rule *rules, size_t count,
                                          smx_client_phase phase, const smx_reply *reply)
{
    for (size_t i = 0; i < count; i++) {
        const upstream_rule *rule = &rules[i];
        if ((rule->phases == 0 || (rule->phases >> phase & 1U) != 0) &&
            code_matches(rule, reply->code) && enhanced_matches(rule, &reply->enhanced) &&
            (rule->text.len == 0 || slice_matches_glob(reply->text, rule->text)))
            return rule;
    }
    return NULL;
}
