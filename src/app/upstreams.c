/* The `upstreams` of the configuration, those that stand in a user's list included. */
#include <stdlib.h>

#include "app/nearest.h"
#include "app/parts.h"
#include "app/profiles.h"
#include "app/scalar.h"
#include "net/tls.h"

static const char *const FAMILY_WORDS[] = {"any", "ipv4", "ipv6", NULL};
static const uint8_t FAMILIES[] = {0, 4, 6};
static const char *const REPLY_TO_WORDS[] = {"keep", "add", NULL};

/* ---- keys ---- */

/* The URL with its port, as it is shown. */
static const char *complete_url(config_reader *reader, smx_slice text,
                                const upstream_options *options)
{
    char port[16];
    size_t colon = slice_find_last(text, ':');
    size_t bracket = slice_find_last(text, ']');
    size_t slash = slice_find_last(text, '/');
    bool has_port = colon < text.len && colon > slash && (bracket == text.len || colon > bracket);
    if (options->port == 0 || has_port || slash + 1 == text.len)
        return reader_copy(reader, text);
    int len = snprintf(port, sizeof(port), ":%u", options->port);
    char *url = reader_alloc(reader, text.len + (size_t)len + 1, 1);
    if (url == NULL)
        return "";
    memcpy(url, text.data, text.len);
    memcpy(url + text.len, port, (size_t)len);
    return url;
}

void upstreams_read_url(config_reader *reader, const yaml_entry *entry, void *target)
{
    upstream_options *options = target;
    smx_slice text;
    char *host = NULL;
    problem p;
    if (!reader_scalar(reader, entry, "a URL such as smtp+tls://smtp.example.com:587", &text))
        return;
    int error = upstream_url_parse(text, options, &host, &p);
    if (error != 0) {
        reader_problem(reader, entry->value->offset, error, &p);
        return;
    }
    options->host = reader_copy(reader, slice_of_text(host));
    options->url = complete_url(reader, text, options);
    free(host);
}

void upstreams_read_family(config_reader *reader, const yaml_entry *entry, void *target)
{
    upstream_options *options = target;
    size_t index;
    if (reader_word(reader, entry, FAMILY_WORDS, NULL, &index))
        options->family = FAMILIES[index];
}

void upstreams_read_reply_to(config_reader *reader, const yaml_entry *entry, void *target)
{
    upstream_options *options = target;
    size_t index;
    if (reader_word(reader, entry, REPLY_TO_WORDS, NULL, &index))
        options->reply_to_add = index == 1;
}

void upstreams_read_verify(config_reader *reader, const yaml_entry *entry, void *target)
{
    upstream_options *options = target;
    smx_slice text;
    bool is_verified;
    if (!reader_scalar(reader, entry, "`true` or `false`", &text))
        return;
    if (scalar_bool(text, &is_verified) != 0)
        problems_error(reader->problems, entry->value->offset,
                       "expected `true` or `false`, found `%s`", text.data);
    else
        options->verify = is_verified ? SMX_VERIFY_REQUIRED : SMX_VERIFY_NEVER;
}

void upstreams_read_profile(config_reader *reader, const yaml_entry *entry, void *target)
{
    upstream_options *options = target;
    smx_slice text;
    if (reader_scalar(reader, entry, "a profile such as `ses`, or the path of a file", &text))
        options->profile =
            profiles_is_path(text) ? reader_path(reader, text) : reader_copy(reader, text);
}

void upstreams_read_caps(config_reader *reader, const yaml_entry *entry, void *target)
{
    upstream_options *options = target;
    profiles_read_caps(reader, entry, &options->caps, &options->cap_max_size);
}

/* Once the upstream's own keys are read. */
static void apply_profile(config_reader *reader, const yaml_entry *at, upstream_options *options)
{
    profile known = {0};
    const yaml_entry *entry = yaml_find(at->value, SMX_SLICE("profile"));
    if (entry != NULL && options->profile != NULL &&
        profiles_read(reader, entry, options->profile, &known))
        profiles_apply(reader, at, &known, options);
}

/* ---- keys that contradict each other ---- */

int64_t upstreams_offset_of(const yaml_entry *at, const char *key)
{
    const yaml_entry *entry = yaml_find(at->value, slice_of_text(key));
    return entry == NULL ? at->offset : entry->offset;
}

void upstreams_check_tls_files(config_reader *reader, const yaml_entry *at,
                               const upstream_options *options)
{
    problem p;
    tls_client *client = NULL;
    tls_client_options tls = {.ca_file = options->ca_file,
                              .cert_file = options->cert_file,
                              .key_file = options->key_file};
    bool is_used = tls.ca_file != NULL || tls.cert_file != NULL;
    if (reader_has(at, "client_cert") != reader_has(at, "client_key")) {
        problems_error(
            reader->problems,
            upstreams_offset_of(at, reader_has(at, "client_key") ? "client_key" : "client_cert"),
            "`client_cert` and `client_key` need each other");
        return;
    }
    int error = is_used ? tls_client_new(&tls, &client, &p) : 0;
    if (error != 0)
        reader_problem(reader, upstreams_offset_of(at, tls.ca_file != NULL ? "ca" : "client_cert"),
                       error, &p);
    tls_client_free(client);
}

void upstreams_check_source(config_reader *reader, const yaml_entry *at,
                            const upstream_options *options)
{
    smx_address address;
    if (options->source != NULL && smx_address_parse(slice_of_text(options->source), &address) != 0)
        problems_error(reader->problems, upstreams_offset_of(at, "source"),
                       "expected a local address such as 192.0.2.1, found `%s`", options->source);
}

static void check_addresses(config_reader *reader, const yaml_entry *at,
                            const upstream_options *options)
{
    smx_path path;
    upstreams_check_source(reader, at, options);
    if (options->rewrite_from != NULL &&
        smx_mailbox_parse(slice_of_text(options->rewrite_from), 0, &path) != 0)
        problems_error(reader->problems, upstreams_offset_of(at, "rewrite_from"),
                       "expected an address such as me@example.com, found `%s`",
                       options->rewrite_from);
    if (options->reply_to_add && !reader_has(at, "rewrite_from"))
        problems_warn(reader->problems, upstreams_offset_of(at, "reply_to"),
                      "`reply_to: add` does nothing without `rewrite_from`");
}

/* ---- one upstream, and all ---- */

static void read_upstream(config_reader *reader, const yaml_entry *at, upstream_options *options)
{
    size_t errors = reader->problems->errors;
    reader_level(reader, &level_upstream, at, options);
    if (at->value->kind != YAML_MAPPING)
        return;
    apply_profile(reader, at, options);
    upstreams_check_security(reader, at, options);
    check_addresses(reader, at, options);
    if (reader->problems->errors == errors)
        upstreams_check_tls_files(reader, at, options);
}

static upstream_options *add(config_reader *reader)
{
    config *c = reader->config;
    if (c->upstreams == NULL)
        c->upstreams = reader_alloc(reader, reader->upstream_capacity, sizeof(*c->upstreams));
    if (c->upstreams == NULL || c->upstream_count == reader->upstream_capacity)
        return NULL;
    return &c->upstreams[c->upstream_count++];
}

/* True, and told, of a key that stands where the names stand. */
static bool is_outdented(config_reader *reader, const yaml_entry *entry)
{
    if (entry->value->kind != YAML_SCALAR || !reader_knows(&level_upstream, entry->key))
        return false;
    problems_error(reader->problems, entry->offset,
                   "`%s` stands where the names of upstreams stand: indent it, so that it belongs "
                   "to one of them",
                   entry->key.data);
    return true;
}

void upstreams_read(config_reader *reader, const yaml_entry *entry, void *target)
{
    (void)target;
    if (entry->value->kind != YAML_MAPPING) {
        problems_error(reader->problems, entry->value->offset,
                       "expected a mapping of names to upstreams, such as {ses: {url: ...}}, found "
                       "%s",
                       yaml_kind_text(entry->value));
        return;
    }
    for (size_t i = 0; i < entry->value->count; i++) {
        if (is_outdented(reader, &entry->value->entries[i]))
            continue;
        upstream_options *options = add(reader);
        if (options == NULL)
            return;
        options->name = reader_copy(reader, entry->value->entries[i].key);
        read_upstream(reader, &entry->value->entries[i], options);
    }
}

bool upstreams_find(const config *c, smx_slice name, size_t *index)
{
    for (size_t i = 0; i < c->upstream_count; i++) {
        if (c->upstreams[i].name != NULL &&
            slice_equal(slice_of_text(c->upstreams[i].name), name)) {
            *index = i;
            return true;
        }
    }
    return false;
}

/* "host:port", with "#2" behind it if that is taken. */
static const char *name_by_place(config_reader *reader, const upstream_options *options)
{
    char name[512];
    size_t taken;
    const char *host = options->host == NULL ? "upstream" : options->host;
    int len = options->port == 0 ? snprintf(name, sizeof(name), "%s", host)
                                 : snprintf(name, sizeof(name), "%s:%u", host, options->port);
    size_t end = len < 0 || (size_t)len > sizeof(name) - 16 ? sizeof(name) - 16 : (size_t)len;
    for (unsigned nth = 2; upstreams_find(reader->config, slice_of_text(name), &taken); nth++)
        (void)snprintf(name + end, sizeof(name) - end, "#%u", nth);
    return reader_copy(reader, slice_of_text(name));
}

bool upstreams_read_inline(config_reader *reader, const yaml_entry *entry, size_t *index)
{
    upstream_options *options = add(reader);
    if (options == NULL)
        return false;
    read_upstream(reader, entry, options);
    options->name = name_by_place(reader, options);
    *index = (size_t)(options - reader->config->upstreams);
    return true;
}

/* ---- printing ---- */

static void write_pair(config_writer *writer, const char *name, const char *value)
{
    if (value == NULL)
        return;
    writer_key(writer, name);
    writer_text(writer, " ");
    writer_scalar(writer, slice_of_text(value));
    writer_end(writer);
}

void upstreams_write_url(config_writer *writer, const void *target)
{
    const upstream_options *options = target;
    write_pair(writer, "url", options->url);
}

void upstreams_write_family(config_writer *writer, const void *target)
{
    const upstream_options *options = target;
    for (size_t i = 0; FAMILY_WORDS[i] != NULL; i++) {
        if (options->family == FAMILIES[i])
            write_pair(writer, "family", FAMILY_WORDS[i]);
    }
}

void upstreams_write_reply_to(config_writer *writer, const void *target)
{
    const upstream_options *options = target;
    write_pair(writer, "reply_to", REPLY_TO_WORDS[options->reply_to_add ? 1 : 0]);
}

void upstreams_write_profile(config_writer *writer, const void *target)
{
    const upstream_options *options = target;
    write_pair(writer, "profile", options->profile);
}

/* SIZE with its number where that is known. */
static void write_extension(config_writer *writer, const upstream_options *options,
                            const char *word, bool is_size)
{
    buffer text = {0};
    int error = buffer_append_text(&text, word);
    if (error == 0 && is_size && options->cap_max_size > 0)
        error = buffer_append_text(&text, " ");
    if (error == 0 && is_size && options->cap_max_size > 0)
        error = scalar_write_size(options->cap_max_size, &text);
    if (error == 0)
        writer_scalar(writer, buffer_slice(&text));
    else if (writer->error == 0)
        writer->error = error;
    buffer_free(&text);
}

void upstreams_write_caps(config_writer *writer, const void *target)
{
    const upstream_options *options = target;
    smx_extensions bit = 0;
    const char *separator = " [";
    if (options->caps == 0)
        return;
    writer_key(writer, "caps");
    for (size_t i = 0; profiles_extension_at(i, &bit) != NULL; i++) {
        if ((options->caps & bit) == 0)
            continue;
        writer_text(writer, separator);
        write_extension(writer, options, profiles_extension_at(i, &bit), bit == SMX_EXT_SIZE);
        separator = ", ";
    }
    writer_text(writer, "]");
    writer_end(writer);
}

/* Left out where the URL says it. */
void upstreams_write_verify(config_writer *writer, const void *target)
{
    const upstream_options *options = target;
    if (options->verify == SMX_VERIFY_IF_AUTH || options->tls == SMX_TLS_OFF)
        return;
    writer_key(writer, "tls_verify");
    writer_text(writer, options->verify == SMX_VERIFY_REQUIRED ? " true\n" : " false\n");
}

void upstreams_write(config_writer *writer, const void *target)
{
    const config *c = target;
    if (c->upstream_count == 0)
        return;
    writer_key(writer, "upstreams");
    writer_end(writer);
    writer->depth++;
    for (size_t i = 0; i < c->upstream_count; i++) {
        writer_key(writer, c->upstreams[i].name);
        writer_end(writer);
        writer->depth++;
        writer_level(writer, &level_upstream, &c->upstreams[i]);
        writer->depth--;
    }
    writer->depth--;
}
