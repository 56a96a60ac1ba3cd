/* Reads what stands in a profile (keys_profile.c has the tables). Texts are kept in the snapshot's
 * arena, rules point to them. */
#include "app/profile_keys.h"

#include <regex.h>

#include "app/scalar.h"

/* ---- extensions ---- */

typedef struct extension_word {
    const char *word;
    smx_extensions bit;
} extension_word;

static const extension_word EXTENSIONS[] = {
#define EXTENSION_WORD(bit, name, keyword) {keyword, SMX_EXT_##name},
    SMX_EXTENSION_MAP(EXTENSION_WORD)
#undef EXTENSION_WORD
};

const char *profiles_extension_at(size_t nth, smx_extensions *bit)
{
    if (nth >= sizeof(EXTENSIONS) / sizeof(EXTENSIONS[0]))
        return NULL;
    *bit = EXTENSIONS[nth].bit;
    return EXTENSIONS[nth].word;
}

static bool read_size(smx_slice text, uint64_t *max_size)
{
    return scalar_size(slice_trim(text), max_size) == 0;
}

static bool read_extension(smx_slice text, smx_extensions *offers, uint64_t *max_size)
{
    size_t blank = slice_find(text, ' ');
    smx_slice word = slice_to(text, blank);
    for (size_t i = 0; i < sizeof(EXTENSIONS) / sizeof(EXTENSIONS[0]); i++) {
        if (!slice_equal_nocase(word, slice_of_text(EXTENSIONS[i].word)))
            continue;
        *offers |= EXTENSIONS[i].bit;
        return blank == text.len ||
               (EXTENSIONS[i].bit == SMX_EXT_SIZE && read_size(slice_from(text, blank), max_size));
    }
    return false;
}

void profiles_read_caps(config_reader *reader, const yaml_entry *entry, smx_extensions *offers,
                        uint64_t *max_size)
{
    const yaml_entry *items;
    size_t count = reader_list(entry, &items);
    for (size_t i = 0; i < count; i++) {
        smx_slice text;
        if (reader_scalar(reader, &items[i], "an extension such as SMTPUTF8", &text) &&
            !read_extension(text, offers, max_size))
            problems_error(reader->problems, items[i].value->offset,
                           "expected an extension such as SMTPUTF8, DSN or \"SIZE 25MiB\", found "
                           "`%s`",
                           text.data);
    }
}

void profile_keys_read_offers(config_reader *reader, const yaml_entry *entry, void *target)
{
    profile *known = target;
    profiles_read_caps(reader, entry, &known->caps.offers, &known->caps.max_size);
}

/* ---- mappings ---- */

void profile_keys_read_caps(config_reader *reader, const yaml_entry *entry, void *target)
{
    reader_level(reader, &level_profile_caps, entry, target);
}

void profile_keys_read_connections(config_reader *reader, const yaml_entry *entry, void *target)
{
    reader_level(reader, &level_profile_connections, entry, target);
}

void profile_keys_read_user(config_reader *reader, const yaml_entry *entry, void *target)
{
    profile *known = target;
    reader_level(reader, &level_profile_user, entry, &known->user);
}

void profile_keys_read_pass(config_reader *reader, const yaml_entry *entry, void *target)
{
    profile *known = target;
    reader_level(reader, &level_profile_pass, entry, &known->pass);
}

/* ---- patterns of names ---- */

static const char *read_pattern(config_reader *reader, const yaml_entry *entry)
{
    smx_slice text;
    regex_t compiled;
    char why[256] = "";
    if (!reader_scalar(reader, entry, "an extended regular expression", &text))
        return NULL;
    const char *pattern = reader_copy(reader, text);
    int error = regcomp(&compiled, pattern, REG_EXTENDED | REG_NOSUB);
    if (error == 0)
        regfree(&compiled);
    else if (error == REG_ESPACE)
        reader->problems->is_out_of_memory = true;
    else if (regerror(error, &compiled, why, sizeof(why)) > 0)
        problems_error(reader->problems, entry->value->offset,
                       "expected an extended regular expression, found `%s`: %s", pattern, why);
    return error == 0 ? pattern : NULL;
}

void profile_keys_read_pattern(config_reader *reader, const yaml_entry *entry, void *target)
{
    ((profile_credential *)target)->pattern = read_pattern(reader, entry);
}

void profile_keys_read_same(config_reader *reader, const yaml_entry *entry, void *target)
{
    ((profile_credential *)target)->same_as_user_for = read_pattern(reader, entry);
}

/* ---- lists ---- */

/* Reads each member by the level into an array of its own. */
static void *read_members(config_reader *reader, const config_level *level, const yaml_entry *entry,
                          size_t size, size_t *count)
{
    const yaml_entry *items;
    size_t members = reader_list(entry, &items);
    char *array = reader_alloc(reader, members, size);
    for (size_t i = 0; array != NULL && i < members; i++)
        reader_level(reader, level, &items[i], array + i * size);
    *count = array == NULL ? 0 : members;
    return array;
}

void profile_keys_read_limit(config_reader *reader, const yaml_entry *entry, void *target)
{
    profile_quota *amount = target;
    smx_slice text;
    problem p;
    if (!reader_scalar(reader, entry, "a limit such as `50000 recipients/day`", &text))
        return;
    int error = quota_limit_parse(text, &amount->limit, &p);
    if (error != 0)
        reader_problem(reader, entry->value->offset, error, &p);
}

/* Of two that count the same for the same plan only one could hold. */
static bool is_same_quota(const profile_quota *a, const profile_quota *b)
{
    bool same_plan = (a->plan == NULL && b->plan == NULL) ||
                     (a->plan != NULL && b->plan != NULL &&
                      slice_equal(slice_of_text(a->plan), slice_of_text(b->plan)));
    return same_plan && quota_limit_counts_alike(&a->limit, &b->limit);
}

static void check_double_quota(config_reader *reader, const yaml_entry *entry, const profile *known,
                               size_t at)
{
    const yaml_entry *limit = yaml_find(entry->value, SMX_SLICE("limit"));
    for (size_t i = 0; i < at; i++) {
        if (!is_same_quota(&known->quotas[i], &known->quotas[at]))
            continue;
        problems_error(reader->problems, limit->value->offset,
                       "`%s` counts the same as `%s`: write one of them",
                       known->quotas[at].limit.text, known->quotas[i].limit.text);
        return;
    }
}

void profile_keys_read_quotas(config_reader *reader, const yaml_entry *entry, void *target)
{
    profile *known = target;
    const yaml_entry *items;
    size_t errors = reader->problems->errors;
    known->quotas = read_members(reader, &level_profile_quota, entry, sizeof(*known->quotas),
                                 &known->quota_count);
    (void)reader_list(entry, &items);
    for (size_t i = 1; i < known->quota_count && reader->problems->errors == errors; i++)
        check_double_quota(reader, &items[i], known, i);
}

void profile_keys_read_replies(config_reader *reader, const yaml_entry *entry, void *target)
{
    profile *known = target;
    const yaml_entry *items;
    size_t errors = reader->problems->errors;
    known->replies = read_members(reader, &level_profile_reply, entry, sizeof(*known->replies),
                                  &known->reply_count);
    (void)reader_list(entry, &items);
    for (size_t i = 0; i < known->reply_count && reader->problems->errors == errors; i++) {
        problem p;
        int error = upstream_rule_check(&known->replies[i].rule, &p);
        if (error != 0)
            reader_problem(reader, items[i].offset, error, &p);
    }
}

/* ---- one reply ---- */

void profile_keys_read_reply(config_reader *reader, const yaml_entry *entry, void *target)
{
    profile_reply *reply = target;
    smx_slice text;
    problem p;
    if (!reader_scalar(reader, entry, "a pattern such as `454 4.7.0 *throttl*`", &text))
        return;
    reply->reply = reader_copy(reader, text);
    int error = upstream_rule_parse(slice_of_text(reply->reply), &reply->rule, &p);
    if (error != 0)
        reader_problem(reader, entry->value->offset, error, &p);
}

static const char *const PHASES[] = {"banner", "ehlo", "tls",  "auth",  "mail",
                                     "rcpt",   "data", "body", "final", NULL};

void profile_keys_read_phases(config_reader *reader, const yaml_entry *entry, void *target)
{
    profile_reply *reply = target;
    const yaml_entry *items;
    size_t count = reader_list(entry, &items);
    for (size_t i = 0; i < count; i++) {
        size_t index;
        if (reader_word(reader, &items[i], PHASES, NULL, &index))
            reply->rule.phases |= 1U << (SMX_CLIENT_PHASE_BANNER + index);
    }
}

/* "quota 5m" */
static bool read_action(smx_slice text, upstream_rule *rule)
{
    size_t blank = slice_find(text, ' ');
    if (upstream_rule_action_parse(slice_to(text, blank), &rule->action) != 0)
        return false;
    if (blank == text.len)
        return true;
    return (rule->action == UPSTREAM_RULE_SUSPEND || rule->action == UPSTREAM_RULE_QUOTA) &&
           scalar_duration(slice_trim(slice_from(text, blank)), &rule->ms) == 0 && rule->ms > 0;
}

void profile_keys_read_action(config_reader *reader, const yaml_entry *entry, void *target)
{
    profile_reply *reply = target;
    smx_slice text;
    static const char EXPECTED[] = "`next`, `final`, or `suspend` or `quota` with a duration if "
                                   "need be (`quota 5m`)";
    if (!reader_scalar(reader, entry, EXPECTED, &text))
        return;
    reply->action = reader_copy(reader, text);
    if (!read_action(text, &reply->rule))
        problems_error(reader->problems, entry->value->offset, "expected %s, found `%s`", EXPECTED,
                       text.data);
}
