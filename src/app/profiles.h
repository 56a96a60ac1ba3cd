/* What is known of a provider: files of profiles/, built into the program, and files of the same form
 * that a configuration names by their path. docs/profiles.md tells of them.
 */
#ifndef APP_PROFILES_H
#define APP_PROFILES_H

#include "app/reader.h"

/* What a user or a password of this provider looks like. */
typedef struct profile_credential {
    const char *pattern;          /* an extended regular expression, or NULL */
    const char *same_as_user_for; /* a password: of users of this pattern it is the same, or NULL */
    const char *advice;
    const char *source;
} profile_credential;

typedef struct profile_quota {
    quota_limit limit;
    const char *plan; /* whose it is; NULL: everybody's, so that it holds without being asked for */
    const char *note;
    const char *source;
} profile_quota;

typedef struct profile_reply {
    upstream_rule rule;
    const char *reply;  /* the pattern */
    const char *action; /* as written, such as "quota 5m" */
    const char *note;
    const char *source;
} profile_reply;

typedef struct profile {
    const char *name;
    const char *title;
    const char *note;
    const char *source;
    struct {
        smx_extensions offers;
        uint64_t max_size; /* 0: not known */
        const char *note;
        const char *source;
    } caps;
    struct {
        uint32_t max_connections; /* 0: not known */
        uint32_t max_messages_per_connection;
        const char *note;
        const char *source;
    } connections;
    profile_credential user;
    profile_credential pass;
    profile_quota *quotas;
    size_t quota_count;
    profile_reply *replies;
    size_t reply_count;
} profile;

extern const config_level level_profile;
extern const config_level level_profile_caps;
extern const config_level level_profile_connections;
extern const config_level level_profile_user;
extern const config_level level_profile_pass;
extern const config_level level_profile_quota;
extern const config_level level_profile_reply;

/* The text of a built-in one; made by scripts/embed.py from profiles/. Ends with a NULL name. */
typedef struct profile_text {
    const char *name;
    const char *text;
} profile_text;
extern const profile_text profile_texts[];

/* True of the path of a file: it has a `/`, or ends in `.yaml`. */
bool profiles_is_path(smx_slice name);
/* Reads `name`: a built-in profile's, or a path. What is wrong with that file is told at
 * `entry`, with the file's own line and column. False: there is none to use. */
SMX_MUST_USE bool profiles_read(config_reader *reader, const yaml_entry *entry, const char *name,
                                profile *known);

/* Gives an upstream that was read from `at` what its profile knows and its own mapping does not say,
 * and warns where its credentials are not of the provider's form. */
void profiles_apply(config_reader *reader, const yaml_entry *at, const profile *known,
                    upstream_options *options);

/* Words of `caps`: extensions, and "SIZE 25MiB". */
void profiles_read_caps(config_reader *reader, const yaml_entry *entry, smx_extensions *offers,
                        uint64_t *max_size);

/* The nth extension's word and bit; NULL at the end. */
const char *profiles_extension_at(size_t nth, smx_extensions *bit);

#endif
