/* How an upstream and we show each other who we are: credentials, OAuth2, pinned keys. */
#include "app/parts.h"
#include "net/http.h"

static const char *const AUTH_WORDS[] = {"plain",   "login",       "cram-md5", "scram-sha-256",
                                         "xoauth2", "oauthbearer", NULL};
static const char *const MECHANISMS[] = {"PLAIN",         "LOGIN",   "CRAM-MD5",
                                         "SCRAM-SHA-256", "XOAUTH2", "OAUTHBEARER"};
enum { FIRST_TOKEN_MECHANISM = 4 };
/* ---- auth ---- */

void upstreams_read_auth(config_reader *reader, const yaml_entry *entry, void *target)
{
    upstream_options *options = target;
    size_t index;
    if (reader_word(reader, entry, AUTH_WORDS, NULL, &index))
        options->mechanism = MECHANISMS[index];
}

void upstreams_write_auth(config_writer *writer, const void *target)
{
    const upstream_options *options = target;
    for (size_t i = 0; AUTH_WORDS[i] != NULL; i++) {
        if (options->mechanism == MECHANISMS[i]) {
            writer_key(writer, "auth");
            writer_text(writer, " ");
            writer_text(writer, AUTH_WORDS[i]);
            writer_end(writer);
        }
    }
}

/* ---- oauth2 ---- */

static void check_oauth2(config_reader *reader, const yaml_entry *entry, oauth2_options *o)
{
    problem p;
    int error = http_url_check(o->token_url, true, &p);
    if (error != 0)
        reader_problem(reader, upstreams_offset_of(entry, "token_url"), error, &p);
    if (!reader_has(entry, "grant"))
        o->grant = o->refresh_token != NULL ? OAUTH2_REFRESH_TOKEN : OAUTH2_CLIENT_CREDENTIALS;
    if (o->grant == OAUTH2_REFRESH_TOKEN && o->refresh_token == NULL)
        problems_error(reader->problems, upstreams_offset_of(entry, "grant"),
                       "`grant: refresh_token` needs `refresh_token` or `refresh_token_file`");
    if (o->grant == OAUTH2_CLIENT_CREDENTIALS && o->refresh_token != NULL)
        problems_error(reader->problems, upstreams_offset_of(entry, "grant"),
                       "`grant: client_credentials` has no use for `refresh_token`");
    if (o->grant == OAUTH2_CLIENT_CREDENTIALS && o->client_secret == NULL)
        problems_error(reader->problems, entry->offset,
                       "`oauth2` needs `refresh_token`, or `client_secret` for the grant "
                       "client_credentials");
}

void upstreams_read_oauth2(config_reader *reader, const yaml_entry *entry, void *target)
{
    upstream_options *options = target;
    size_t errors = reader->problems->errors;
    bool is_whole = true;
    reader_level(reader, &level_oauth2, entry, target);
    for (size_t i = 0; i < entry->value->count; i++)
        is_whole = is_whole && !entry->value->entries[i].value->is_broken;
    if (is_whole && reader->problems->errors == errors)
        check_oauth2(reader, entry, &options->oauth2);
}

void upstreams_write_oauth2(config_writer *writer, const void *target)
{
    const upstream_options *options = target;
    if (options->oauth2.token_url == NULL)
        return;
    writer_key(writer, "oauth2");
    writer_end(writer);
    writer->depth++;
    writer_level(writer, &level_oauth2, options);
    writer->depth--;
}

/* ---- alerts ---- */

void upstreams_read_alerts(config_reader *reader, const yaml_entry *entry, void *target)
{
    config *c = target;
    smx_slice text;
    problem p;
    if (!reader_scalar(reader, entry, "a URL such as https://example.com/alerts", &text))
        return;
    c->alerts = reader_copy(reader, text);
    int error = http_url_check(c->alerts, false, &p);
    if (error != 0)
        reader_problem(reader, entry->value->offset, error, &p);
}

/* Who may post there is a secret: user, password and query are masked. */
void upstreams_write_alerts(config_writer *writer, const void *target)
{
    const config *c = target;
    buffer masked = {0};
    if (c->alerts == NULL)
        return;
    int error = http_url_mask(c->alerts, &masked);
    writer_key(writer, "alerts");
    writer_text(writer, " ");
    writer_scalar(writer, error == 0 ? buffer_slice(&masked) : SMX_SLICE("********"));
    writer_end(writer);
    buffer_free(&masked);
}

/* ---- pin ---- */

static bool read_pin(smx_slice text, uint8_t pin[UPSTREAM_PIN])
{
    char octets[64];
    size_t len = 0;
    if (!slice_starts_with(text, SMX_SLICE("sha256/")))
        return false;
    if (smx_base64_decode(slice_from(text, 7), octets, sizeof(octets), &len) != 0 ||
        len != UPSTREAM_PIN)
        return false;
    memcpy(pin, octets, UPSTREAM_PIN);
    return true;
}

void upstreams_read_pin(config_reader *reader, const yaml_entry *entry, void *target)
{
    upstream_options *options = target;
    const yaml_entry *first;
    size_t count = reader_list(entry, &first);
    uint8_t(*pins)[UPSTREAM_PIN] = reader_alloc(reader, count, sizeof(*pins));
    for (size_t i = 0; i < count && pins != NULL; i++) {
        smx_slice text;
        if (!reader_scalar(reader, &first[i], "a pin such as sha256/BASE64", &text))
            continue;
        if (!read_pin(text, pins[options->pin_count]))
            problems_error(reader->problems, first[i].value->offset,
                           "expected `sha256/` and the Base64 of a SHA-256, found `%s`", text.data);
        else
            options->pin_count++;
    }
    options->pins = (const uint8_t(*)[UPSTREAM_PIN])pins;
}

void upstreams_write_pin(config_writer *writer, const void *target)
{
    const upstream_options *options = target;
    if (options->pin_count == 0)
        return;
    writer_key(writer, "pin");
    writer_text(writer, " [");
    for (size_t i = 0; i < options->pin_count; i++) {
        char text[64];
        size_t len = 0;
        smx_slice octets = slice_of((const char *)options->pins[i], UPSTREAM_PIN);
        if (smx_base64_encode(octets, text, sizeof(text) - 1, &len) != 0)
            continue;
        text[len] = '\0';
        writer_text(writer, i == 0 ? "sha256/" : ", sha256/");
        writer_text(writer, text);
    }
    writer_text(writer, "]\n");
}

/* ---- keys that contradict each other ---- */

static bool is_loopback(const upstream_options *options)
{
    smx_address address;
    smx_slice host = slice_of_text(options->host);
    if (options->port == 0 || slice_equal_nocase(host, SMX_SLICE("localhost")))
        return true;
    if (smx_address_parse(host, &address) != 0)
        return false;
    static const uint8_t ONE[16] = {[15] = 1};
    return address.family == 4 ? address.octets[0] == 127
                               : memcmp(address.octets, ONE, sizeof(ONE)) == 0;
}

/* XOAUTH2 and OAUTHBEARER take a token, the others a password. */
static void check_mechanism(config_reader *reader, const yaml_entry *at,
                            const upstream_options *options, bool has_oauth2)
{
    bool takes_token = options->mechanism == MECHANISMS[FIRST_TOKEN_MECHANISM] ||
                       options->mechanism == MECHANISMS[FIRST_TOKEN_MECHANISM + 1];
    if (options->mechanism == NULL || takes_token == has_oauth2)
        return;
    if (takes_token)
        problems_error(reader->problems, upstreams_offset_of(at, "auth"),
                       "`auth: xoauth2` and `auth: oauthbearer` need `oauth2`");
    else
        problems_error(reader->problems, upstreams_offset_of(at, "auth"),
                       "with `oauth2` there is no password: expected `xoauth2` or `oauthbearer`");
}

static void check_credentials(config_reader *reader, const yaml_entry *at,
                              const upstream_options *options)
{
    bool has_pass = reader_has(at, "pass") || reader_has(at, "pass_file") ||
                    reader_has_misspelt(&level_upstream, at, "pass");
    bool has_oauth2 = reader_has(at, "oauth2");
    const char *first = has_pass ? "pass" : has_oauth2 ? "oauth2" : "auth";
    if (has_pass && has_oauth2)
        problems_error(reader->problems, upstreams_offset_of(at, "oauth2"),
                       "`pass` and `oauth2` are both given; keep one of them");
    if (options->user != NULL && !has_pass && !has_oauth2)
        problems_error(reader->problems, upstreams_offset_of(at, "user"),
                       "`user` needs `pass`, `pass_file` or `oauth2`");
    if (options->user == NULL && !reader_has_failed(reader, at, "user") &&
        !reader_has_misspelt(&level_upstream, at, "user") &&
        (has_pass || has_oauth2 || options->mechanism != NULL))
        problems_error(reader->problems, upstreams_offset_of(at, first), "`%s` needs `user`",
                       first);
    check_mechanism(reader, at, options, has_oauth2);
    if (options->user == NULL || options->allow_insecure_auth || options->host == NULL)
        return;
    if (options->tls == SMX_TLS_OFF && !is_loopback(options))
        problems_error(reader->problems, upstreams_offset_of(at, "url"),
                       "the password would leave on clear text: use smtp+tls:// or smtps://, or "
                       "set `allow_insecure_auth: true`");
    else if (options->tls != SMX_TLS_OFF && options->verify == SMX_VERIFY_NEVER &&
             options->pin_count == 0)
        problems_error(
            reader->problems, upstreams_offset_of(at, "tls_verify"),
            "the password would go to a server that has not shown who it is: name its "
            "CA with `ca` instead, or its key with `pin`, or set `allow_insecure_auth: true`");
}

/* What is pinned must be seen: without TLS there is no key (smtp:// would do without it). */
static void check_pins(config_reader *reader, const yaml_entry *at, upstream_options *options)
{
    if (options->pin_count == 0)
        return;
    if (options->tls == SMX_TLS_OFF && options->host != NULL)
        problems_error(reader->problems, upstreams_offset_of(at, "pin"),
                       "`pin` needs TLS: use smtp+tls:// or smtps://");
    if (options->tls == SMX_TLS_IF_OFFERED)
        options->tls = SMX_TLS_REQUIRED;
}

void upstreams_check_security(config_reader *reader, const yaml_entry *at,
                              upstream_options *options)
{
    check_credentials(reader, at, options);
    check_pins(reader, at, options);
}
