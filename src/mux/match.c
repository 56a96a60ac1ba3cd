/* Evaluation of a route's `match` (see match.h). Pure, and without memory of its own. */
#include "mux/match.h"

#include <assert.h>

const mux_word_facts *mux_word_get(mux_word word)
{
    static const mux_word_facts words[MUX_WORD_COUNT] = {
#define WORD_ENTRY(name, text, fact, kind, person)                                                 \
    [MUX_WORD_##name] = {(text), (fact), (kind), (person)},
        MUX_WORD_MAP(WORD_ENTRY)
#undef WORD_ENTRY
            [MUX_WORD_NOT] = {"not", 0, MUX_PATTERN_GLOB, "not"},
    };
    return &words[word];
}

smx_slice mux_mailbox_domain(smx_slice mailbox)
{
    size_t at = slice_find_last(mailbox, '@');
    return at == mailbox.len ? (smx_slice){NULL, 0} : slice_from(mailbox, at + 1);
}

/* ---- one condition, its fact known ---- */

/* The null sender is no address: only `<>` names it. */
static bool match_sender(smx_slice sender, smx_slice glob)
{
    if (sender.len == 0)
        return slice_equal(glob, SMX_SLICE("<>"));
    return slice_matches_glob(sender, glob);
}

/* A recipient or sender without a domain fits no glob on domains. */
static bool match_domain(smx_slice mailbox, smx_slice glob)
{
    smx_slice domain = mux_mailbox_domain(mailbox);
    return domain.len > 0 && slice_matches_glob(domain, glob);
}

/* Some field of this name fits: its value without folding (RFC 5322 section 2.2.3), octets as they
 * came, encoded words included. */
static bool match_header(const mux_facts *facts, smx_slice name, smx_slice glob)
{
    smx_field field;
    for (size_t at = 0; smx_field_next(facts->header, &at, &field);) {
        size_t len;
        if (!slice_equal_nocase(field.name, name))
            continue;
        smx_slice value = slice_trim(field.value);
        if (facts->scratch != NULL &&
            smx_field_unfold(field.value, facts->scratch, facts->header.len, &len) == 0)
            value = slice_of(facts->scratch, len);
        if (slice_matches_glob(value, glob))
            return true;
    }
    return false;
}

static bool match_pattern(const mux_condition *c, const mux_pattern *p, const mux_facts *facts)
{
    switch (c->word) {
    case MUX_WORD_USER:
        return slice_matches_glob(facts->user, p->text);
    case MUX_WORD_CLIENT:
        return smx_network_contains(&p->is.network, &facts->client);
    case MUX_WORD_FROM:
        return match_sender(facts->sender, p->text);
    case MUX_WORD_FROM_DOMAIN:
        return match_domain(facts->sender, p->text);
    case MUX_WORD_RCPT:
        return slice_matches_glob(facts->recipient, p->text);
    case MUX_WORD_RCPT_DOMAIN:
        return match_domain(facts->recipient, p->text);
    case MUX_WORD_HEADER:
        return match_header(facts, c->field, p->text);
    case MUX_WORD_SIZE:
        return facts->size >= p->is.size.minimum && facts->size <= p->is.size.maximum;
    case MUX_WORD_TIME:
        return mux_daytime_contains(&p->is.time, facts->wall_ms);
    case MUX_WORD_NOT:
    case MUX_WORD_COUNT:
        break;
    }
    assert(false);
    return false;
}

mux_fit mux_condition_eval(const mux_condition *condition, const mux_facts *facts)
{
    if (condition->word == MUX_WORD_NOT) {
        mux_fit fit = mux_match_eval(condition->nested, facts);
        return fit == MUX_MAYBE ? MUX_MAYBE : fit == MUX_YES ? MUX_NO : MUX_YES;
    }
    if ((facts->known & mux_word_get(condition->word)->fact) == 0)
        return MUX_MAYBE;
    for (size_t i = 0; i < condition->pattern_count; i++) {
        if (match_pattern(condition, &condition->patterns[i], facts))
            return MUX_YES;
    }
    return MUX_NO;
}

/* ---- a whole match ---- */

mux_fit mux_match_eval(const mux_match *match, const mux_facts *facts)
{
    mux_fit all = MUX_YES;
    for (size_t i = 0; i < match->count; i++) {
        mux_fit fit = mux_condition_eval(&match->conditions[i], facts);
        if (fit == MUX_NO)
            return MUX_NO;
        if (fit == MUX_MAYBE)
            all = MUX_MAYBE;
    }
    return all;
}

/* In a match that is MAYBE every condition is YES or MAYBE, and only the latter are left to decide: two
 * messages for which the same conditions are left come to the same result. */
bool mux_match_is_alike(const mux_match *match, const mux_facts *a, const mux_facts *b)
{
    for (size_t i = 0; i < match->count; i++) {
        const mux_condition *condition = &match->conditions[i];
        mux_fit fit = mux_condition_eval(condition, a);
        if (fit != mux_condition_eval(condition, b))
            return false;
        if (fit == MUX_MAYBE && condition->word == MUX_WORD_NOT &&
            !mux_match_is_alike(condition->nested, a, b))
            return false;
    }
    return true;
}

unsigned mux_match_facts(const mux_match *match)
{
    unsigned facts = 0;
    for (size_t i = 0; i < match->count; i++) {
        const mux_condition *condition = &match->conditions[i];
        facts |= condition->word == MUX_WORD_NOT ? mux_match_facts(condition->nested)
                                                 : mux_word_get(condition->word)->fact;
    }
    return facts;
}

/* ---- what follows from what ---- */

/* Each `*` of the narrower glob is read by some `*` of the wider one as if it were a letter; a `?`
 * could read only a letter, so a wider glob with one is not judged. */
static bool implies_glob(mux_word word, smx_slice one, smx_slice other)
{
    bool is_null = word == MUX_WORD_FROM && slice_equal(one, SMX_SLICE("<>"));
    if (slice_equal_nocase(one, other))
        return true;
    return !is_null && slice_find(other, '?') == other.len && slice_matches_glob(one, other);
}

static bool implies_pattern(mux_word word, const mux_pattern *one, const mux_pattern *other)
{
    switch (mux_word_get(word)->kind) {
    case MUX_PATTERN_NETWORK:
        return one->is.network.prefix >= other->is.network.prefix &&
               smx_network_contains(&other->is.network, &one->is.network.address);
    case MUX_PATTERN_SIZE:
        return one->is.size.minimum >= other->is.size.minimum &&
               one->is.size.maximum <= other->is.size.maximum;
    case MUX_PATTERN_TIME:
        return slice_equal_nocase(one->text, other->text);
    case MUX_PATTERN_GLOB:
        break;
    }
    return implies_glob(word, one->text, other->text);
}

static bool implies_any(const mux_pattern *one, const mux_condition *other)
{
    for (size_t i = 0; i < other->pattern_count; i++) {
        if (implies_pattern(other->word, one, &other->patterns[i]))
            return true;
    }
    return false;
}

static bool implies_condition(const mux_condition *one, const mux_condition *other)
{
    if (one->word != other->word || !slice_equal_nocase(one->field, other->field))
        return false;
    if (one->word == MUX_WORD_NOT)
        return mux_match_implies(other->nested, one->nested);
    for (size_t i = 0; i < one->pattern_count; i++) {
        if (!implies_any(&one->patterns[i], other))
            return false;
    }
    return true;
}

/* `user: "*"` and its like hold for everyone. */
static bool is_for_all(const mux_condition *condition)
{
    bool is_total = condition->word == MUX_WORD_USER || condition->word == MUX_WORD_RCPT;
    for (size_t i = 0; is_total && i < condition->pattern_count; i++) {
        if (slice_equal(condition->patterns[i].text, SMX_SLICE("*")))
            return true;
    }
    return false;
}

bool mux_match_implies(const mux_match *one, const mux_match *other)
{
    for (size_t i = 0; i < other->count; i++) {
        bool follows = is_for_all(&other->conditions[i]);
        for (size_t k = 0; k < one->count && !follows; k++)
            follows = implies_condition(&one->conditions[k], &other->conditions[i]);
        if (!follows)
            return false;
    }
    return true;
}
