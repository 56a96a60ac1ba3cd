/* The keys of listeners in the mode proxy: the server behind them, what is told of their sessions, and
 * what they say together. */
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/parts.h"

static const char *const ADDRESS_WORDS[] = {"own", "proxy-header", "xclient", "transparent", NULL};

bool proxies_is_proxy(const void *listener)
{
    return ((const config_listener *)listener)->mode == CONFIG_PROXY;
}

bool proxies_is_mux(const void *listener)
{
    return !proxies_is_proxy(listener);
}

/* ---- the upstream ---- */

/* A URL alone stands for {url: URL}. */
void proxies_read_upstream(config_reader *reader, const yaml_entry *entry, void *target)
{
    yaml_entry url = {SMX_SLICE("url"), entry->offset, entry->value};
    yaml_node alone = {YAML_MAPPING, entry->offset, {NULL, 0}, &url, 1};
    yaml_entry made = {entry->key, entry->offset, &alone};
    bool is_url = entry->value->kind == YAML_SCALAR;
    size_t errors = reader->problems->errors;
    const yaml_entry *at = is_url ? &made : entry;
    reader_level(reader, &level_proxy_upstream, at, target);
    if (reader->problems->errors != errors || at->value->kind != YAML_MAPPING)
        return;
    upstreams_check_source(reader, at, target);
    upstreams_check_tls_files(reader, at, target);
}

static bool has_credentials(smx_slice url)
{
    smx_slice behind = slice_from(url, slice_find(url, ':'));
    return slice_starts_with(behind, SMX_SLICE("://")) && slice_find(behind, '@') < behind.len;
}

/* Without a port of its own, original-dst means the client's. */
void proxies_read_url(config_reader *reader, const yaml_entry *entry, void *target)
{
    upstream_options *options = target;
    if (entry->value->kind == YAML_SCALAR && has_credentials(entry->value->text)) {
        problems_error(reader->problems, entry->value->offset,
                       "a proxy has no credentials of its own: its clients sign in with theirs");
        return;
    }
    upstreams_read_url(reader, entry, options);
    if (options->host == NULL || options->port == 0 ||
        strcmp(options->host, CONFIG_ORIGINAL_DESTINATION) != 0)
        return;
    smx_slice text = entry->value->text;
    if (text.data[text.len - 1] == '/')
        text.len--;
    size_t colon = slice_find_last(text, ':');
    if (colon == text.len || slice_find_last(text, '/') + 1 < colon)
        return; /* it has one */
    options->port = 0;
    options->url = reader_copy(reader, text);
}

void proxies_write_upstream(config_writer *writer, const void *target)
{
    writer_key(writer, "upstream");
    writer_end(writer);
    writer->depth++;
    writer_level(writer, &level_proxy_upstream, target);
    writer->depth--;
}

void proxies_read_client_address(config_reader *reader, const yaml_entry *entry, void *target)
{
    size_t index;
    if (reader_word(reader, entry, ADDRESS_WORDS, NULL, &index))
        *(smx_proxy_address *)target = (smx_proxy_address)index;
}

void proxies_write_client_address(config_writer *writer, const void *target)
{
    writer_key(writer, "client_address");
    writer_text(writer, " ");
    writer_text(writer, ADDRESS_WORDS[*(const smx_proxy_address *)target]);
    writer_end(writer);
}

/* ---- lists ---- */

static void write_texts(config_writer *writer, const char *name, const smx_slice *texts,
                        size_t count)
{
    if (count == 0)
        return;
    writer_key(writer, name);
    for (size_t i = 0; i < count; i++) {
        writer_text(writer, i == 0 ? " [" : ", ");
        writer_scalar(writer, texts[i]);
    }
    writer_text(writer, "]\n");
}

/* An ehlo-keyword of RFC 5321, 4.1.1.1. */
static bool is_keyword(smx_slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (!ascii_is_alnum(text.data[i]) && (text.data[i] != '-' || i == 0))
            return false;
    }
    return text.len > 0;
}

void proxies_read_extensions(config_reader *reader, const yaml_entry *entry, void *target)
{
    config_listener *l = target;
    const yaml_entry *items;
    size_t count = reader_list(entry, &items);
    smx_slice *made = reader_alloc(reader, count, sizeof(*made));
    smx_slice text;
    for (size_t i = 0; i < count && made != NULL; i++) {
        if (!reader_scalar(reader, &items[i], "a keyword of EHLO, such as XFOO", &text))
            continue;
        if (is_keyword(text))
            made[l->extension_count++] = reader_copy_slice(reader, text);
        else
            problems_error(reader->problems, items[i].value->offset,
                           "expected a keyword of EHLO, such as XFOO, found `%s`", text.data);
    }
    l->extensions = made;
}

void proxies_write_extensions(config_writer *writer, const void *target)
{
    const config_listener *l = target;
    write_texts(writer, "extensions", l->extensions, l->extension_count);
}

/* ---- capture ---- */

static void check_folder(config_reader *reader, int64_t offset, const char *path)
{
    struct stat about;
    if (stat(path, &about) != 0 || access(path, W_OK | X_OK) != 0)
        problems_error(reader->problems, offset, "`%s` cannot be written to: %s", path,
                       strerror(errno));
    else if (!S_ISDIR(about.st_mode))
        problems_error(reader->problems, offset, "`%s` is no folder", path);
}

void proxies_read_capture(config_reader *reader, const yaml_entry *entry, void *target)
{
    config_capture *capture = target;
    reader_level(reader, &level_capture, entry, capture);
    if (capture->dir != NULL)
        capture->dir = reader_path(reader, slice_of_text(capture->dir));
    if (entry->value->kind == YAML_MAPPING && capture->dir != NULL)
        check_folder(reader, upstreams_offset_of(entry, "dir"), capture->dir);
}

void proxies_write_capture(config_writer *writer, const void *target)
{
    const config_capture *capture = target;
    if (capture->dir == NULL)
        return;
    writer_key(writer, "capture");
    writer_end(writer);
    writer->depth++;
    writer_level(writer, &level_capture, capture);
    writer->depth--;
}

void proxies_read_clients(config_reader *reader, const yaml_entry *entry, void *target)
{
    config_capture *capture = target;
    listeners_read_networks(reader, entry, &capture->clients, &capture->client_count);
}

void proxies_write_clients(config_writer *writer, const void *target)
{
    const config_capture *capture = target;
    listeners_write_networks(writer, "client", capture->clients, capture->client_count);
}

void proxies_read_senders(config_reader *reader, const yaml_entry *entry, void *target)
{
    config_capture *capture = target;
    const yaml_entry *items;
    size_t count = reader_list(entry, &items);
    smx_slice *made = reader_alloc(reader, count, sizeof(*made));
    smx_slice text;
    for (size_t i = 0; i < count && made != NULL; i++) {
        if (reader_scalar(reader, &items[i], "an address with `*` and `?`, such as *@example.com",
                          &text))
            made[capture->sender_count++] = reader_copy_slice(reader, text);
    }
    capture->senders = made;
}

void proxies_write_senders(config_writer *writer, const void *target)
{
    const config_capture *capture = target;
    write_texts(writer, "from", capture->senders, capture->sender_count);
}

/* ---- what belongs together ---- */

void proxies_check_mode(config_reader *reader, const yaml_entry *at, const config_listener *l)
{
    static const char *const OF_PROXIES[] = {"upstream",   "client_address", "transparent",
                                             "extensions", "audit",          "capture"};
    static const struct {
        const char *key;
        const char *why;
    } OF_MUX[] = {
        {"trust", "who may send is the upstream's to say"},
        {"max_recipients", "the upstream counts them"},
    };
    for (size_t i = 0; i < sizeof(OF_PROXIES) / sizeof(OF_PROXIES[0]); i++) {
        if (l->mode == CONFIG_MUX && reader_has(at, OF_PROXIES[i]))
            problems_error(reader->problems, upstreams_offset_of(at, OF_PROXIES[i]),
                           "`%s` is for a listener with `mode: proxy`", OF_PROXIES[i]);
    }
    for (size_t i = 0; i < sizeof(OF_MUX) / sizeof(OF_MUX[0]); i++) {
        if (l->mode == CONFIG_PROXY && reader_has(at, OF_MUX[i].key))
            problems_error(reader->problems, upstreams_offset_of(at, OF_MUX[i].key),
                           "`%s` does nothing with `mode: proxy`: %s", OF_MUX[i].key,
                           OF_MUX[i].why);
    }
}

/* TLS that passes unread leaves little to a proxy. */
static void check_passthrough(config_reader *reader, const yaml_entry *at, const config_listener *l)
{
    static const char *const UNUSED[] = {"certificates", "client_ca"};
    const upstream_options *u = &l->upstream;
    for (size_t i = 0; i < sizeof(UNUSED) / sizeof(UNUSED[0]); i++) {
        if (reader_has(at, UNUSED[i]))
            problems_error(reader->problems, upstreams_offset_of(at, UNUSED[i]),
                           "`%s` does nothing with `tls: passthrough`: the client sees the "
                           "upstream's certificate",
                           UNUSED[i]);
    }
    if (u->host != NULL && u->tls == SMX_TLS_REQUIRED)
        problems_error(reader->problems, upstreams_offset_of(at, "upstream"),
                       "with `tls: passthrough` TLS is the client's to begin: use smtp:// (its "
                       "STARTTLS passes) or smtps:// (all octets pass unread)");
    if (u->host != NULL && u->tls == SMX_TLS_IMPLICIT &&
        l->client_address == SMX_PROXY_ADDRESS_XCLIENT)
        problems_error(reader->problems, upstreams_offset_of(at, "client_address"),
                       "XCLIENT cannot be put into TLS that passes unread: use `proxy-header`");
}

static void check_upstream(config_reader *reader, const yaml_entry *at, const config_listener *l)
{
    const upstream_options *u = &l->upstream;
    if (!reader_has(at, "upstream")) {
        problems_error(reader->problems, at->offset,
                       "`mode: proxy` needs `upstream`: the server behind it, such as "
                       "smtp://mail.example.net:25");
        return;
    }
    if (u->host == NULL || l->smtp.listen == NULL)
        return;
    bool is_original = strcmp(u->host, CONFIG_ORIGINAL_DESTINATION) == 0;
    if (is_original && slice_starts_with(slice_of_text(l->smtp.listen), SMX_SLICE("unix:")))
        problems_error(reader->problems, upstreams_offset_of(at, "upstream"),
                       "`original-dst` needs a listener on TCP: what comes over a Unix socket was "
                       "not redirected");
    if (!is_original && u->port == 0 && l->client_address == SMX_PROXY_ADDRESS_TRANSPARENT)
        problems_error(reader->problems, upstreams_offset_of(at, "client_address"),
                       "a Unix socket has no address that a connection could come from: use "
                       "`xclient` or `proxy-header`");
}

/* The folder must be there: the file is made. */
static void check_audit(config_reader *reader, const yaml_entry *at, config_listener *l)
{
    char folder[4096];
    if (l->audit == NULL || strcmp(l->audit, "stdout") == 0)
        return;
    l->audit = reader_path(reader, slice_of_text(l->audit));
    smx_slice path = slice_of_text(l->audit);
    size_t slash = slice_find_last(path, '/');
    if (slash == path.len)
        (void)snprintf(folder, sizeof(folder), ".");
    else
        (void)snprintf(folder, sizeof(folder), "%.*s/", (int)slash, path.data);
    check_folder(reader, upstreams_offset_of(at, "audit"), folder);
}

void proxies_check(config_reader *reader, const yaml_entry *at, config_listener *l, bool is_sound)
{
    if (!reader_has(at, "auth"))
        l->smtp.auth = SMX_AUTH_OPTIONAL;
    if (l->smtp.auth == SMX_AUTH_REQUIRED)
        problems_error(reader->problems, upstreams_offset_of(at, "auth"),
                       "with `mode: proxy` the upstream says who must sign in: leave `auth` out, "
                       "or `off` hides it");
    if (l->smtp.tls == SMX_LISTENER_PASSTHROUGH)
        check_passthrough(reader, at, l);
    if (is_sound)
        check_audit(reader, at, l);
    check_upstream(reader, at, l);
}
