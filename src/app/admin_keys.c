/* The keys of `admin`. */
#include "app/admin_keys.h"

#include <sys/stat.h>

#include "app/parts.h"
#include "net/endpoint.h"

static bool is_off(const char *listen)
{
    return strcmp(listen, "off") == 0;
}

const char *admin_listen(const config *c, bool *is_asked)
{
    struct stat about;
    const char *listen = c->admin.listen;
    *is_asked = listen != NULL && !is_off(listen);
    if (listen != NULL)
        return is_off(listen) ? NULL : listen;
    return stat(ADMIN_FOLDER, &about) == 0 && S_ISDIR(about.st_mode) ? ADMIN_LISTEN : NULL;
}

void admin_read_hosts(config_reader *reader, const yaml_entry *entry, void *target)
{
    config *c = target;
    const yaml_entry *items;
    size_t count = reader_list(entry, &items);
    const char **made = reader_alloc(reader, count, sizeof(*made));
    smx_slice text;
    size_t filled = 0;
    for (size_t i = 0; i < count && made != NULL; i++) {
        if (reader_scalar(reader, &items[i], "a name such as mux.example.com", &text))
            made[filled++] = reader_copy(reader, text);
    }
    c->admin.hosts = made;
    c->admin.host_count = filled;
}

void admin_write_hosts(config_writer *writer, const void *target)
{
    const config *c = target;
    if (c->admin.host_count == 0)
        return;
    writer_key(writer, "hosts");
    writer_text(writer, " [");
    for (size_t i = 0; i < c->admin.host_count; i++) {
        writer_text(writer, i == 0 ? "" : ", ");
        writer_scalar(writer, slice_of_text(c->admin.hosts[i]));
    }
    writer_text(writer, "]\n");
}

void admin_check(config_reader *reader, const yaml_node *top)
{
    const config *c = reader->config;
    const yaml_entry *at = yaml_find(top, SMX_SLICE("admin"));
    const yaml_entry *listen = at == NULL || at->value->kind != YAML_MAPPING
                                   ? NULL
                                   : yaml_find(at->value, SMX_SLICE("listen"));
    endpoint e;
    problem p;
    if (listen == NULL || c->admin.listen == NULL || is_off(c->admin.listen))
        return;
    if (endpoint_parse(slice_of_text(c->admin.listen), 0, &e, &p) != 0)
        problems_error(reader->problems, listen->value->offset, "%s", p.text);
    else if (!e.is_unix && !reader_has_failed(reader, at, "token") &&
             (c->admin.token == NULL || c->admin.token[0] == '\0'))
        problems_error(reader->problems, listen->value->offset,
                       "`%s` can be reached by others, so `admin` needs a `token` or `token_file` "
                       "(`openssl rand -hex 32` makes one), or listens on a Unix socket",
                       c->admin.listen);
}
