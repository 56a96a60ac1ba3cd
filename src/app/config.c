/* Snapshots of the configuration: made from a text, shared, wiped and freed. */
#include "app/config.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "app/parts.h"

enum { FILE_MAX = 16 << 20 };

/* ---- shares ---- */

config *config_share(config *c)
{
    atomic_fetch_add(&c->shares, 1);
    return c;
}

static void wipe(const char *text, size_t len)
{
    if (text != NULL)
        explicit_bzero((char *)(uintptr_t)text, len);
}

static void destroy(config *c)
{
    for (size_t i = 0; i < c->upstream_count; i++)
        wipe(c->upstreams[i].password, slice_of_text(c->upstreams[i].password).len);
    for (size_t i = 0; i < c->user_count; i++)
        wipe(c->users[i].user.secret.data, c->users[i].user.secret.len);
    routes_free(c);
    wipe(c->admin.token, slice_of_text(c->admin.token).len);
    arena_free(&c->memory);
    free(c);
}

void config_free(config *c)
{
    if (c != NULL && atomic_fetch_sub(&c->shares, 1) == 1)
        destroy(c);
}

const char *config_tls_text(smx_listener_tls tls)
{
    static const char *const TEXTS[] = {
        [SMX_LISTENER_CLEAR] = "off",
        [SMX_LISTENER_STARTTLS] = "starttls",
        [SMX_LISTENER_REQUIRED] = "required",
        [SMX_LISTENER_IMPLICIT] = "implicit",
        [SMX_LISTENER_PASSTHROUGH] = "passthrough",
    };
    return TEXTS[tls];
}

bool config_has_mode(const config *c, config_mode mode)
{
    for (size_t i = 0; i < c->listener_count; i++) {
        if (c->listeners[i].mode == mode)
            return true;
    }
    return false;
}

mux_options config_mux_options(const config *c)
{
    return (mux_options){.hostname = c->hostname,
                         .upstreams = c->upstreams,
                         .upstream_count = c->upstream_count,
                         .users = c->users,
                         .user_count = c->user_count,
                         .routes = c->routes,
                         .route_count = c->route_count};
}

/* ---- reading ---- */

static size_t list_length(const yaml_entry *at, const char *key)
{
    const yaml_entry *items;
    const yaml_entry *entry =
        at->value->kind == YAML_MAPPING ? yaml_find(at->value, slice_of_text(key)) : NULL;
    return entry == NULL ? 0 : reader_list(entry, &items);
}

/* Upstreams stand under `upstreams` and in the lists of users and routes: at most so many in all. */
static size_t count_upstreams(const yaml_node *top)
{
    const yaml_entry *items;
    const yaml_entry *named = yaml_find(top, SMX_SLICE("upstreams"));
    const yaml_entry *users = yaml_find(top, SMX_SLICE("users"));
    const yaml_entry *routes = yaml_find(top, SMX_SLICE("routes"));
    size_t count = named == NULL ? 0 : named->value->count;
    size_t user_count = users == NULL ? 0 : reader_list(users, &items);
    for (size_t i = 0; i < user_count; i++)
        count += list_length(&items[i], "upstreams") + list_length(&items[i], "downstreams");
    size_t route_count = routes == NULL ? 0 : reader_list(routes, &items);
    for (size_t i = 0; i < route_count; i++)
        count += list_length(&items[i], "upstreams");
    return count;
}

static void set_hostname(config_reader *reader)
{
    config *c = reader->config;
    char name[256];
    smx_domain_kind kind;
    if (c->hostname != NULL)
        return;
    if (gethostname(name, sizeof(name)) != 0)
        name[0] = '\0';
    name[sizeof(name) - 1] = '\0';
    bool is_domain = smx_domain_is_valid(slice_of_text(name), false, &kind);
    c->hostname = reader_copy(reader, is_domain ? slice_of_text(name) : SMX_SLICE("localhost"));
}

static void check_hostname(config_reader *reader, const yaml_node *top)
{
    const yaml_entry *entry = yaml_find(top, SMX_SLICE("hostname"));
    smx_domain_kind kind;
    if (entry != NULL && reader->config->hostname != NULL &&
        !smx_domain_is_valid(slice_of_text(reader->config->hostname), false, &kind))
        problems_error(reader->problems, entry->value->offset,
                       "expected a domain such as mux.example.com, found `%s`",
                       reader->config->hostname);
}

static void check_temp_dir(config_reader *reader, const yaml_node *top)
{
    const yaml_entry *entry = yaml_find(top, SMX_SLICE("temp_dir"));
    struct stat about;
    if (entry == NULL || reader->config->temp_dir == NULL)
        return;
    const char *path = reader_path(reader, slice_of_text(reader->config->temp_dir));
    reader->config->temp_dir = path;
    if (stat(path, &about) != 0 || access(path, W_OK | X_OK) != 0)
        problems_error(reader->problems, entry->value->offset, "`%s` cannot be written to: %s",
                       path, strerror(errno));
    else if (!S_ISDIR(about.st_mode))
        problems_error(reader->problems, entry->value->offset, "`%s` is no folder", path);
}

static void check_presence(config_reader *reader, const yaml_node *top)
{
    config *c = reader->config;
    const yaml_entry *listeners = yaml_find(top, SMX_SLICE("listeners"));
    if (listeners == NULL && c->is_go_form)
        go_form_listeners(reader);
    else if (listeners == NULL && !reader_has_misspelt(&level_top, &reader->top, "listeners"))
        problems_error(reader->problems, PROBLEMS_NOWHERE,
                       "this file needs the key `listeners`: where clients connect, such as "
                       "[{listen: \"127.0.0.1:2525\", allow_insecure_auth: true}]");
    else if (listeners != NULL && c->listener_count == 0 && listeners->value->kind == YAML_SEQUENCE)
        problems_error(reader->problems, listeners->offset,
                       "`listeners` is empty, so nobody can connect");
}

/* A transparent proxy knows no users. */
static void check_users_presence(config_reader *reader, const yaml_node *top)
{
    const config *c = reader->config;
    if (yaml_find(top, SMX_SLICE("users")) == NULL &&
        !reader_has_misspelt(&level_top, &reader->top, "users") &&
        (c->listener_count == 0 || config_has_mode(c, CONFIG_MUX)))
        problems_error(reader->problems, PROBLEMS_NOWHERE,
                       "this file needs the key `users`: who may send, and through which "
                       "upstreams");
}

static bool check_kind(config_reader *reader, const yaml_node *top)
{
    if (top->kind != YAML_MAPPING)
        problems_error(reader->problems, PROBLEMS_NOWHERE,
                       "expected the keys of a configuration (`name: value`), found %s",
                       yaml_kind_text(top));
    return top->kind == YAML_MAPPING;
}

static void read_top(config_reader *reader, const yaml_node *top)
{
    config *c = reader->config;
    if (!check_kind(reader, top))
        return;
    reader->top = (yaml_entry){{"", 0}, 0, top};
    c->is_go_form = go_form_is(top);
    reader->upstream_capacity = count_upstreams(top);
    reader_level(reader, &level_top, &reader->top, c);
    set_hostname(reader);
    check_hostname(reader, top);
    check_temp_dir(reader, top);
    check_presence(reader, top);
    check_users_presence(reader, top);
    if (c->workers == 0)
        c->workers = (uint32_t)uv_available_parallelism();
    listeners_check(reader);
    users_check(reader);
    routes_check(reader);
    admin_check(reader, top);
}

void config_digest(smx_slice text, char digest[static CONFIG_DIGEST_TEXT])
{
    unsigned char octets[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    if (EVP_Digest(text.data == NULL ? "" : text.data, text.len, octets, &size, EVP_sha256(),
                   NULL) != 1)
        size = 0;
    digest[0] = '\0';
    for (size_t i = 0; i < size && 2 * i + 2 < CONFIG_DIGEST_TEXT; i++)
        (void)snprintf(digest + 2 * i, 3, "%02x", octets[i]);
}

static void read_door(config_reader *reader, const yaml_node *top)
{
    yaml_entry at = {{"", 0}, 0, top};
    if (!check_kind(reader, top))
        return;
    reader_level(reader, &level_door, &at, reader->config);
    admin_check(reader, top);
}

/* `key` NULL: all of it. */
static int load(problems *told, const char *key,
                void (*read)(config_reader *reader, const yaml_node *top), config **c)
{
    config *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return SMX_E_NOMEM;
    atomic_store(&made->shares, 1);
    arena tree = {0};
    config_reader reader = {.config = made, .problems = told};
    made->file = reader_copy(&reader, slice_of_text(told->file));
    reader.folder = reader_folder(&reader, told->file);
    config_digest(told->text, made->digest);
    const yaml_node *top = yaml_parse_key(told, &tree, key);
    if (top != NULL)
        read(&reader, top);
    if (top != NULL)
        yaml_wipe(top);
    arena_free(&tree);
    problems_sort(told);
    int error = told->is_out_of_memory ? SMX_E_NOMEM : told->errors > 0 ? SMX_E_SYNTAX : 0;
    if (error != 0)
        config_free(made);
    else
        *c = made;
    return error;
}

int config_load(problems *told, config **c)
{
    return load(told, NULL, read_top, c);
}

int config_load_door(problems *told, config **c)
{
    return load(told, "admin", read_door, c);
}

int config_read_file(const char *path, buffer *text, problem *p)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int error = 0;
    if (fd < 0)
        return problem_set(p, SMX_E_IO, "%s: cannot be read: %s", path, strerror(errno));
    while (error == 0) {
        error = buffer_reserve(text, 65536);
        if (error != 0)
            break;
        ssize_t got = read(fd, text->data + text->end, 65536);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            error = problem_set(p, SMX_E_IO, "%s: cannot be read: %s", path, strerror(errno));
        else if (got == 0)
            break;
        else
            text->end += (size_t)got;
        if (error == 0 && buffer_length(text) > FILE_MAX)
            error = problem_set(p, SMX_E_LIMIT, "%s: is too large for a configuration", path);
    }
    (void)close(fd);
    return error == SMX_E_NOMEM ? problem_set(p, error, "%s: out of memory", path) : error;
}
