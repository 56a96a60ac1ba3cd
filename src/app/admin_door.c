/* One admin at most, and a share of the configuration whose strings it uses. */
#include "app/admin_door.h"

#include <stdio.h>
#include <stdlib.h>

#include "app/admin_keys.h"

struct admin_door {
    admin_target *target;
    admin *admin;   /* NULL: closed */
    config *config; /* NULL: nothing was applied yet */
};

int admin_door_new(admin_target *target, admin_door **door)
{
    admin_door *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return SMX_E_NOMEM;
    made->target = target;
    *door = made;
    return 0;
}

static bool same_text(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* Whether another configuration says the same of the door. */
static bool is_same(const config *a, const config *b)
{
    bool is_asked;
    bool same = same_text(admin_listen(a, &is_asked), admin_listen(b, &is_asked)) &&
                same_text(a->admin.token, b->admin.token) &&
                a->admin.host_count == b->admin.host_count;
    for (size_t i = 0; i < a->admin.host_count && same; i++)
        same = same_text(a->admin.hosts[i], b->admin.hosts[i]);
    return same;
}

static void close_door(admin_door *door)
{
    admin_free(door->admin);
    door->admin = NULL;
    config_free(door->config);
    door->config = NULL;
}

static void log_open(const admin_door *door, const char *listen)
{
    char address[256];
    uint16_t port = admin_port(door->admin);
    size_t colon = slice_find_last(slice_of_text(listen), ':');
    if (port == 0)
        (void)snprintf(address, sizeof(address), "%s", listen);
    else
        (void)snprintf(address, sizeof(address), "%.*s:%u", (int)colon, listen, port);
    log_event(door->target->log, SMX_LOG_INFO, "admin", "address", address, NULL);
}

static int open_door(admin_door *door, const char *listen, problem *p)
{
    const config *c = door->config;
    const admin_options options = {.listen = listen,
                                   .token = c->admin.token,
                                   .hosts = c->admin.hosts,
                                   .host_count = c->admin.host_count,
                                   .ops = &admin_service_ops,
                                   .arg = door->target,
                                   .log = log_write,
                                   .log_arg = door->target->log};
    int error = admin_new(&options, &door->admin, p);
    if (error == 0)
        error = admin_start(door->admin, p);
    if (error == 0) {
        log_open(door, listen);
        return 0;
    }
    admin_free(door->admin);
    door->admin = NULL;
    return error;
}

int admin_door_apply(admin_door *door, config *c, problem *p)
{
    bool is_asked = false;
    if (door->admin != NULL && is_same(door->config, c))
        return 0;
    close_door(door);
    door->config = config_share(c);
    const char *listen = admin_listen(c, &is_asked);
    int error = listen == NULL ? 0 : open_door(door, listen, p);
    if (error == 0 || is_asked)
        return error;
    log_event(door->target->log, SMX_LOG_WARN, "admin", "problem", p->text, NULL);
    return 0;
}

void admin_door_free(admin_door *door)
{
    if (door == NULL)
        return;
    close_door(door);
    free(door);
}
