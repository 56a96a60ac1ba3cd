/* Profiles of providers: those that are built in, files of one's own, and what an upstream has of
 * them. */
#include "test_app.h"

#include <limits.h>
#include <unistd.h>

#include "app/profiles.h"

#define UP(keys) LISTENERS "upstreams: {one: {url: 'smtp+tls://a.example', " keys "}}\n" USERS

/* ---- the built-in ones ---- */

static void is_sourced(const char *name, const char *source)
{
    if (source == NULL || strncmp(source, "https://", 8) != 0)
        fail_msg("an entry of %s does not name its source", name);
}

/* Reads one as the configuration does. */
static profile profile_of(config *c, const char *name)
{
    profile known = {0};
    problems told = list_for("");
    config_reader reader = {.config = c, .problems = &told};
    yaml_node value = {YAML_SCALAR, 0, slice_of_text(name), NULL, 0, false};
    yaml_entry entry = {slice_of_text("profile"), 0, &value};
    if (!profiles_read(&reader, &entry, name, &known))
        fail_msg("%s: %s", name, sentences(&told));
    assert_int_equal(told.count, 0);
    problems_free(&told);
    return known;
}

static void app_profiles__each_built_in_one_is_sound_and_names_its_sources(void **state)
{
    (void)state;
    static const char *const NAMES[] = {"brevo",    "fastmail", "gmail", "mailgun", "office365",
                                        "postmark", "sendgrid", "ses",   "zoho"};
    config *c = config_of(LISTENERS UPSTREAMS USERS);
    for (size_t i = 0; i < sizeof(NAMES) / sizeof(NAMES[0]); i++) {
        assert_string_equal(profile_texts[i].name, NAMES[i]);
        profile known = profile_of(c, NAMES[i]);
        assert_true(strlen(known.title) > 0);
        is_sourced(NAMES[i], known.source);
        if (known.caps.offers != 0)
            is_sourced(NAMES[i], known.caps.source);
        if (known.connections.max_connections + known.connections.max_messages_per_connection != 0)
            is_sourced(NAMES[i], known.connections.source);
        if (known.user.advice != NULL)
            is_sourced(NAMES[i], known.user.source);
        if (known.pass.advice != NULL)
            is_sourced(NAMES[i], known.pass.source);
        for (size_t q = 0; q < known.quota_count; q++)
            is_sourced(NAMES[i], known.quotas[q].source);
        for (size_t r = 0; r < known.reply_count; r++)
            is_sourced(NAMES[i], known.replies[r].source);
    }
    assert_null(profile_texts[sizeof(NAMES) / sizeof(NAMES[0])].name);
    config_free(c);
}

/* What each is said to answer, and what is to be made of it. */
static void app_profiles__replies_of_providers_mean_what_they_should(void **state)
{
    (void)state;
    const struct {
        const char *profile;
        smx_client_phase phase;
        smx_reply reply;
        upstream_rule_action action;
        uint32_t ms;
    } CASES[] = {
        {"ses", SMX_CLIENT_PHASE_FINAL,
         SMX_REPLY(454, 0, 0, 0, "Throttling failure: Maximum sending rate exceeded."),
         UPSTREAM_RULE_QUOTA, 5000},
        {"ses", SMX_CLIENT_PHASE_FINAL,
         SMX_REPLY(454, 0, 0, 0, "Throttling failure: Daily message quota exceeded."),
         UPSTREAM_RULE_QUOTA, 600000},
        {"ses", SMX_CLIENT_PHASE_FINAL,
         SMX_REPLY(554, 0, 0, 0,
                   "Message rejected: Email address is not verified. The following identities "
                   "failed the check in region EU-WEST-1: a@example.org"),
         UPSTREAM_RULE_NEXT, 0},
        {"gmail", SMX_CLIENT_PHASE_FINAL,
         SMX_REPLY(550, 5, 4, 5, "Daily user sending limit exceeded."), UPSTREAM_RULE_QUOTA,
         3600000},
        {"gmail", SMX_CLIENT_PHASE_AUTH,
         SMX_REPLY(454, 4, 7, 0, "Too many login attempts, please try again later."),
         UPSTREAM_RULE_QUOTA, 600000},
        {"office365", SMX_CLIENT_PHASE_FINAL,
         SMX_REPLY(432, 4, 3, 2, "Concurrent connections limit exceeded."), UPSTREAM_RULE_QUOTA,
         5000},
        {"office365", SMX_CLIENT_PHASE_RCPT,
         SMX_REPLY(550, 5, 1, 8, "Access denied, bad outbound sender."), UPSTREAM_RULE_SUSPEND, 0},
        {"sendgrid", SMX_CLIENT_PHASE_AUTH,
         SMX_REPLY(451, 0, 0, 0, "Authentication failed: Maximum credits exceeded"),
         UPSTREAM_RULE_QUOTA, 3600000},
        {"sendgrid", SMX_CLIENT_PHASE_MAIL,
         SMX_REPLY(550, 0, 0, 0, "Unauthenticated senders not allowed"), UPSTREAM_RULE_SUSPEND, 0},
        {"mailgun", SMX_CLIENT_PHASE_RCPT, SMX_REPLY(550, 5, 7, 1, "Relaying denied"),
         UPSTREAM_RULE_SUSPEND, 0},
        {"zoho", SMX_CLIENT_PHASE_FINAL,
         SMX_REPLY(550, 5, 4, 6, "Unusual sending activity detected."), UPSTREAM_RULE_SUSPEND,
         3600000},
        {"brevo", SMX_CLIENT_PHASE_MAIL, SMX_REPLY(502, 5, 7, 0, "Please authenticate first"),
         UPSTREAM_RULE_SUSPEND, 0},
    };
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        char text[512];
        (void)snprintf(text, sizeof(text), UP("profile: %s"), CASES[i].profile);
        config *c = config_of(text);
        const upstream_rule *rule = upstream_rules_match(
            c->upstreams[0].rules, c->upstreams[0].rule_count, CASES[i].phase, &CASES[i].reply);
        if (rule == NULL || rule->action != CASES[i].action || rule->ms != CASES[i].ms)
            fail_msg("%zu: %s says %.*s", i, CASES[i].profile, (int)CASES[i].reply.text.len,
                     CASES[i].reply.text.data);
        config_free(c);
    }
}

/* ---- an upstream's own values ---- */

static void app_profiles__what_the_upstream_says_goes_before(void **state)
{
    (void)state;
    config *c = config_of(UP("profile: office365"));
    assert_int_equal(c->upstreams[0].max_connections, 3);
    assert_int_equal(c->upstreams[0].max_messages_per_connection, 100);
    assert_int_equal(c->upstreams[0].cap_max_size, 157286400);
    assert_true((c->upstreams[0].caps & SMX_EXT_DSN) != 0);
    assert_int_equal(c->upstreams[0].limits.count, 1);
    assert_string_equal(c->upstreams[0].limits.items[0].text, "10000 recipients/day");
    config_free(c);
    c = config_of(UP("profile: office365, max_connections: 7, caps: [SMTPUTF8, 'size 10MiB']"));
    assert_int_equal(c->upstreams[0].max_connections, 7);
    assert_int_equal(c->upstreams[0].caps, SMX_EXT_SMTPUTF8 | SMX_EXT_SIZE);
    assert_int_equal(c->upstreams[0].cap_max_size, 10485760);
    assert_true(c->upstreams[0].rule_count > 0);
    config_free(c);
    c = config_of(UP("profile: office365, limits: []"));
    assert_int_equal(c->upstreams[0].limits.count, 0);
    config_free(c);
    c = config_of(UP("profile: office365, limits: [5/day]"));
    assert_string_equal(c->upstreams[0].limits.items[0].text, "5/day");
    config_free(c);
    c = config_of(UP("profile: ses"));
    assert_int_equal(c->upstreams[0].limits.count, 0); /* those of a plan are only told */
    config_free(c);
    c = config_of(UP("caps: DSN"));
    assert_int_equal(c->upstreams[0].caps, SMX_EXT_DSN);
    assert_int_equal(c->upstreams[0].max_connections, 20);
    assert_int_equal(c->upstreams[0].rule_count, 0);
    config_free(c);
}

static void app_profiles__print_shows_what_comes_of_them(void **state)
{
    (void)state;
    config *c = config_of(UP("profile: office365, caps: [DSN, SIZE 10MiB]"));
    char *text = print_of(c);
    assert_non_null(strstr(text, "    profile: office365\n    caps: [\"SIZE 10MiB\", DSN]\n"
                                 "    max_connections: 3\n"));
    config_free(c);
    config *again = config_of(text);
    char *same = print_of(again);
    assert_string_equal(text, same);
    config_free(again);
    free(text);
    free(same);
}

/* ---- credentials ---- */

static void app_profiles__credentials_of_another_form_are_warned_of(void **state)
{
    (void)state;
    assert_problems(UP("profile: ses, user: AKIAABCDEFGHIJKLMNOP, pass: x"), "");
    assert_problems(UP("profile: sendgrid, user: apikey, pass: x"), "");
    assert_problems(UP("profile: gmail, user: a@b.example, pass: abcd efgh ijkl mnop"), "");
    assert_problems(UP("profile: gmail, user: a@b.example, pass: abcdefghijklmnop"), "");
    assert_problems(UP("profile: postmark, user: PM-T-x, pass: y"), "");
    assert_problems(UP("profile: postmark, user: 01234567-89ab-cdef-0123-456789abcdef, pass: "
                       "01234567-89ab-cdef-0123-456789abcdef"),
                    "");
    assert_problems(
        UP("profile: sendgrid, user: me, pass: secret"),
        "2:67: warning: `user` does not look like one of Twilio SendGrid: it is the word `apikey`; the API "
        "key itself is the password "
        "(https://www.twilio.com/docs/sendgrid/for-developers/sending-email/"
        "integrating-with-the-smtp-api)\n");
    assert_problems(
        UP("profile: gmail, user: a@b.example, pass: hunter2"),
        "2:83: warning: `pass` does not look like one of Gmail: it is an app password of 16 "
        "letters, not the account's password "
        "(https://support.google.com/accounts/answer/185833)\n");
    assert_problems(
        UP("profile: postmark, user: 01234567-89ab-cdef-0123-456789abcdef, pass: y"),
        "2:111: warning: `pass` does not look like one of Postmark: a server API token is both "
        "user and password; an SMTP token has an access key and a secret key "
        "(https://postmarkapp.com/developer/user-guide/send-email-with-smtp)\n");
}

/* ---- what is wrong ---- */

static void app_profiles__a_name_that_is_none_is_told_with_its_neighbour(void **state)
{
    (void)state;
    assert_problems(UP("profile: gmial"), "2:57: there is no profile `gmial`; did you mean "
                                          "`gmail`?\n");
    assert_problems(UP("profile: zzzzzz"),
                    "2:57: there is no profile `zzzzzz`; docs/profiles.md lists them, and one of "
                    "your own is named by its path, such as ./zzzzzz.yaml\n");
    assert_problems(UP("profile: [ses]"), "2:48: expected a profile such as `ses`, or the path of "
                                          "a file, found a list\n");
    assert_problems(UP("profile: /there/is/none.yaml"),
                    "2:57: /there/is/none.yaml: cannot be read: No such file or directory\n");
}

static void app_profiles__an_extension_that_is_none_is_told(void **state)
{
    (void)state;
    assert_problems(UP("caps: [DSN, UTF9]"), "2:60: expected an extension such as SMTPUTF8, DSN or "
                                             "\"SIZE 25MiB\", found `UTF9`\n");
    assert_problems(UP("caps: ['DSN 3']"), "2:55: expected an extension such as SMTPUTF8, DSN or "
                                           "\"SIZE 25MiB\", found `DSN 3`\n");
    assert_problems(UP("caps: ['SIZE x']"), "2:55: expected an extension such as SMTPUTF8, DSN or "
                                            "\"SIZE 25MiB\", found `SIZE x`\n");
}

/* ---- a file of one's own ---- */

enum { PATH_CAPACITY = 64 };

/* Writes it; the configuration that names it, in a new string. */
static char *own_profile(char *path, const char *text)
{
    char *config_text = malloc(1024);
    (void)snprintf(path, PATH_CAPACITY, "./smtpmux-profile-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(close(fd), 0);
    assert_non_null(config_text);
    (void)snprintf(config_text, 1024, UP("profile: %s"), path);
    return config_text;
}

#define HEAD "title: Mine\nsource: https://example.com/\n"

static void app_profiles__a_file_of_one_s_own_is_one(void **state)
{
    (void)state;
    char path[PATH_CAPACITY];
    char *text = own_profile(path, HEAD "caps: {offers: [SMTPUTF8], source: 'https://x.example'}\n"
                                        "replies:\n"
                                        "  - {reply: '451 4.7.x *slow*', phases: [mail, rcpt], "
                                        "action: suspend 2h, source: 'https://x.example'}\n");
    config *c = config_of(text);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(c->upstreams[0].caps, SMX_EXT_SMTPUTF8);
    assert_int_equal(c->upstreams[0].rule_count, 1);
    const upstream_rule *rule = c->upstreams[0].rules;
    assert_int_equal(rule->phases, 1 << SMX_CLIENT_PHASE_MAIL | 1 << SMX_CLIENT_PHASE_RCPT);
    assert_int_equal(rule->action, UPSTREAM_RULE_SUSPEND);
    assert_int_equal(rule->ms, 7200000);
    config_free(c);
    free(text);
}

static void app_profiles__what_is_wrong_in_it_is_told_with_its_own_place(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *told; /* behind the file's name */
    } CASES[] = {
        {"title: x\n",
         ":1:1: this profile needs the key `source`: the URL of the provider's page that "
         "says so\n"},
        {HEAD "tilte: x\n", ":3:1: unknown key `tilte` in this profile; did you mean `title`?\n"},
        {HEAD "caps: {offers: [DSN]}\n",
         ":3:1: this profile's `caps` needs the key `source`: the URL of the provider's page that "
         "says so\n"},
        {HEAD "user: {pattern: '(', advice: x, source: y}\n",
         ":3:17: expected an extended regular expression, found `(`: Unmatched ( or \\(\n"},
        {HEAD "quotas: [{limit: 'lots/day', source: y}]\n",
         ":3:18: `lots` is no number: a limit is written `N [messages|recipients]/window [calendar [ZONE]]`, such as `500 recipients/day`\n"},
        {HEAD "quotas: [{limit: 5/day, source: y}, {limit: 5/day, plan: p, source: y}, "
              "{limit: 7/24h, source: y}]\n",
         ":3:81: `7/24h` counts the same as `5/day`: write one of them\n"},
        {HEAD "replies: [{reply: '250', action: next, source: y}]\n",
         ":3:19: expected a pattern such as `454 4.7.0 *throttl*`, which begins with a code of 4 "
         "or 5 and two more digits or x, found `250`\n"},
        {HEAD "replies: [{reply: '450', action: wait 5m, source: y}]\n",
         ":3:34: expected `next`, `final`, or `suspend` or `quota` with a duration if need be "
         "(`quota 5m`), found `wait 5m`\n"},
        {HEAD "replies: [{reply: '450', action: next 5m, source: y}]\n",
         ":3:34: expected `next`, `final`, or `suspend` or `quota` with a duration if need be "
         "(`quota 5m`), found `next 5m`\n"},
        {HEAD "replies: [{reply: '550', action: final, source: y}]\n",
         ":3:12: `final` is for a 5xx to the message itself: give a code of 5 and `phases` of "
         "mail, rcpt, data or final\n"},
        {HEAD "replies: [{reply: '550', phases: [dot], action: next, source: y}]\n",
         ":3:35: expected `banner`, `ehlo`, `tls`, `auth`, `mail`, `rcpt`, `data`, `body` or "
         "`final`, found `dot`\n"},
    };
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        char path[PATH_CAPACITY];
        char here[PATH_MAX];
        char expected[PATH_MAX + 1024];
        char *text = own_profile(path, CASES[i].text);
        assert_non_null(getcwd(here, sizeof(here)));
        (void)snprintf(expected, sizeof(expected), "2:57: %s/%s%s", here, path + strlen("./"),
                       CASES[i].told);
        char *found = problems_of(text);
        assert_int_equal(unlink(path), 0);
        assert_string_equal(found, expected);
        free(found);
        free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(app_profiles__each_built_in_one_is_sound_and_names_its_sources),
        cmocka_unit_test(app_profiles__replies_of_providers_mean_what_they_should),
        cmocka_unit_test(app_profiles__what_the_upstream_says_goes_before),
        cmocka_unit_test(app_profiles__print_shows_what_comes_of_them),
        cmocka_unit_test(app_profiles__credentials_of_another_form_are_warned_of),
        cmocka_unit_test(app_profiles__a_name_that_is_none_is_told_with_its_neighbour),
        cmocka_unit_test(app_profiles__an_extension_that_is_none_is_told),
        cmocka_unit_test(app_profiles__a_file_of_one_s_own_is_one),
        cmocka_unit_test(app_profiles__what_is_wrong_in_it_is_told_with_its_own_place),
    };
    return cmocka_run_group_tests_name("app_profiles", tests, NULL, NULL);
}
