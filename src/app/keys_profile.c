/* The tables of keys of a profile (see keys.c). */
#include "app/profile_keys.h"

#define NOTE_AND_SOURCE(T, at)                                                                     \
    {.name = "note", .kind = KEY_TEXT, KEY_AT(T, at note), .doc = "what else there is to know"},   \
    {                                                                                              \
        .name = "source", .kind = KEY_TEXT, KEY_AT(T, at source), .is_required = true,             \
        .doc = "the URL of the provider's page that says so"                                       \
    }

static const config_key caps_keys[] = {
    {.name = "offers",
     .kind = KEY_CUSTOM,
     .type = "list of extensions, such as `SMTPUTF8` or `SIZE 25MiB`",
     .is_required = true,
     .read = profile_keys_read_offers,
     .doc = "what its server says after EHLO"},
    NOTE_AND_SOURCE(profile, caps.),
};
const config_level level_profile_caps = KEY_LEVEL_OF("profile's `caps`", caps_keys);

static const config_key connections_keys[] = {
    {.name = "max_connections",
     .kind = KEY_NUMBER,
     KEY_AT(profile, connections.max_connections),
     .minimum = 1,
     .maximum = 100000,
     .doc = "connections at a time that it allows"},
    {.name = "max_messages_per_connection",
     .kind = KEY_NUMBER,
     KEY_AT(profile, connections.max_messages_per_connection),
     .minimum = 1,
     .maximum = 1000000000,
     .doc = "messages that it takes on one connection"},
    NOTE_AND_SOURCE(profile, connections.),
};
const config_level level_profile_connections =
    KEY_LEVEL_OF("profile's `connections`", connections_keys);

#define PATTERN                                                                                    \
    {                                                                                              \
        .name = "pattern", .kind = KEY_CUSTOM, .type = "extended regular expression",              \
        .read = profile_keys_read_pattern, .doc = "what it looks like"                             \
    }
#define ADVICE                                                                                     \
    {                                                                                              \
        .name = "advice", .kind = KEY_TEXT, KEY_AT(profile_credential, advice),                    \
        .is_required = true, .doc = "what a person is told whose own looks otherwise"              \
    }

static const config_key user_keys[] = {
    PATTERN,
    ADVICE,
    {.name = "source",
     .kind = KEY_TEXT,
     KEY_AT(profile_credential, source),
     .is_required = true,
     .doc = "the URL of the provider's page that says so"},
};
const config_level level_profile_user = KEY_LEVEL_OF("profile's `user`", user_keys);

static const config_key pass_keys[] = {
    PATTERN,
    {.name = "same_as_user_for",
     .kind = KEY_CUSTOM,
     .type = "extended regular expression",
     .read = profile_keys_read_same,
     .doc = "users whose password is their name once more"},
    ADVICE,
    {.name = "source",
     .kind = KEY_TEXT,
     KEY_AT(profile_credential, source),
     .is_required = true,
     .doc = "the URL of the provider's page that says so"},
};
const config_level level_profile_pass = KEY_LEVEL_OF("profile's `pass`", pass_keys);

static const config_key quota_keys[] = {
    {.name = "limit",
     .kind = KEY_CUSTOM,
     .type = "limit such as `50000 recipients/day`",
     .is_required = true,
     .read = profile_keys_read_limit,
     .doc = "as in an upstream's `limits`"},
    {.name = "plan",
     .kind = KEY_TEXT,
     KEY_AT(profile_quota, plan),
     .doc = "whose limit it is: such a one is only told, as yours may differ"},
    NOTE_AND_SOURCE(profile_quota, ),
};
const config_level level_profile_quota = KEY_LEVEL_OF("profile's quota", quota_keys);

static const config_key reply_keys[] = {
    {.name = "reply",
     .kind = KEY_CUSTOM,
     .type = "pattern such as `454 4.7.0 *throttl*`",
     .is_required = true,
     .read = profile_keys_read_reply,
     .doc = "code, enhanced code if any, text; `x` is any digit or number, `*` any text"},
    {.name = "phases",
     .kind = KEY_CUSTOM,
     .type = "list of `banner`, `ehlo`, `tls`, `auth`, `mail`, `rcpt`, `data`, `body`, `final`",
     .otherwise = "any",
     .read = profile_keys_read_phases,
     .doc = "what it is the reply to; `final` is the reply to the message"},
    {.name = "action",
     .kind = KEY_CUSTOM,
     .type = "`next`, `suspend`, `quota` or `final`; the middle two with a duration",
     .is_required = true,
     .read = profile_keys_read_action,
     .doc = "what it means"},
    NOTE_AND_SOURCE(profile_reply, ),
};
const config_level level_profile_reply = KEY_LEVEL_OF("profile's reply", reply_keys);

static const config_key profile_keys[] = {
    {.name = "title",
     .kind = KEY_TEXT,
     KEY_AT(profile, title),
     .is_required = true,
     .doc = "the provider's name, for people"},
    {.name = "caps",
     .kind = KEY_CUSTOM,
     .type = "mapping",
     .read = profile_keys_read_caps,
     .doc = "extensions"},
    {.name = "connections",
     .kind = KEY_CUSTOM,
     .type = "mapping",
     .read = profile_keys_read_connections,
     .doc = "for the upstream's keys of the same names"},
    {.name = "user",
     .kind = KEY_CUSTOM,
     .type = "mapping",
     .read = profile_keys_read_user,
     .doc = "the names to sign in with"},
    {.name = "pass",
     .kind = KEY_CUSTOM,
     .type = "mapping",
     .read = profile_keys_read_pass,
     .doc = "their passwords"},
    {.name = "quotas",
     .kind = KEY_CUSTOM,
     .type = "list of quotas",
     .read = profile_keys_read_quotas,
     .doc = "how much it takes"},
    {.name = "replies",
     .kind = KEY_CUSTOM,
     .type = "list of replies",
     .read = profile_keys_read_replies,
     .doc = "replies that mean more than their codes say; the first that fits decides"},
    NOTE_AND_SOURCE(profile, ),
};
const config_level level_profile = KEY_LEVEL_OF("profile", profile_keys);
