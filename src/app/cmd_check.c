/* smtpmux check: whether a configuration is right, and what it comes to. */
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>

#include "app/admin_client.h"
#include "app/admin_show.h"
#include "app/commands.h"
#include "app/config_file.h"
#include "app/options.h"

static const char *plural(size_t count)
{
    return count == 1 ? "" : "s";
}

static void print_summary(const config_file *file)
{
    const config *c = file->config;
    (void)printf("%s: ok: %zu listener%s, %zu upstream%s, %zu user%s\n", file->path,
                 c->listener_count, plural(c->listener_count), c->upstream_count,
                 plural(c->upstream_count), c->user_count, plural(c->user_count));
}

/* {"file", "ok", "problems", "listeners", "upstreams", "users"} */
static int print_json(const config_file *file)
{
    const config *c = file->config;
    json_t *all = json_pack("{s:s, s:b, s:o*}", "file", file->path, "ok", c != NULL, "problems",
                            problems_json(&file->problems));
    if (all != NULL && c != NULL) {
        (void)json_object_set_new(all, "listeners", json_integer((json_int_t)c->listener_count));
        (void)json_object_set_new(all, "upstreams", json_integer((json_int_t)c->upstream_count));
        (void)json_object_set_new(all, "users", json_integer((json_int_t)c->user_count));
    }
    int failed = all == NULL || json_dumpf(all, stdout, JSON_INDENT(2)) != 0;
    json_decref(all);
    (void)putchar('\n');
    return failed ? EX_OSERR : EX_OK;
}

static int print_effective(const config *c)
{
    buffer out = {0};
    int error = config_print(c, &out);
    smx_slice text = buffer_slice(&out);
    if (error == 0)
        (void)fwrite(text.data, 1, text.len, stdout);
    buffer_free(&out);
    return error == 0 ? EX_OK : EX_OSERR;
}

static int check(const char *path, bool print, bool json)
{
    config_file file;
    int code = config_file_load(path, &file);
    bool is_read = file.text.data != NULL && code != EX_NOINPUT;
    if (is_read && !json)
        config_file_tell(&file);
    int told = EX_OK;
    if (is_read && json)
        told = print_json(&file);
    else if (code == EX_OK && print)
        told = print_effective(file.config);
    else if (code == EX_OK)
        print_summary(&file);
    config_free(file.config);
    config_file_close(&file);
    return code != EX_OK ? code : told;
}

/* ---- the running daemon ---- */

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text == NULL ? "" : text;
}

static void print_live(const char *path, const json_t *status, bool is_same)
{
    const json_t *runs = json_object_get(status, "configuration");
    (void)printf(
        "the daemon (smtpmux %s, process %lld) runs %s: generation %lld, since %s\n",
        text_of(status, "version"),
        (long long)json_integer_value(json_object_get(json_object_get(status, "process"), "pid")),
        text_of(runs, "file"), (long long)json_integer_value(json_object_get(runs, "generation")),
        text_of(runs, "loaded"));
    if (is_same)
        (void)printf("that is what %s says\n", path);
    else
        (void)printf(
            "that is NOT what %s says: `smtpmux check` tells whether it is right, and if it "
            "is the daemon's file, `smtpmux reload` takes it\n",
            path);
    if (json_is_true(json_object_get(status, "ready")))
        (void)printf("it is ready\n\n");
    else
        (void)printf("it is NOT ready: %s\n\n", text_of(status, "not_ready"));
    admin_show_upstreams(json_object_get(status, "upstreams"));
}

/* Whether the daemon runs what the file says; EX_DATAERR if not. Whether that is right, and all that it
 * needs is here, is for the daemon to judge. */
static int check_live(const char *path, const char *listen, bool json)
{
    config_file file;
    char digest[CONFIG_DIGEST_TEXT] = "";
    json_t *status = NULL;
    admin_client *client = NULL;
    int code = config_file_load_door(path, &file);
    if (code == EX_CONFIG && listen != NULL)
        code = EX_OK; /* the socket is known, and the file is only compared */
    if (code == EX_OK)
        config_digest(file.problems.text, digest);
    if (file.text.data != NULL && code != EX_OK)
        config_file_tell(&file);
    if (code == EX_OK)
        code = admin_client_open(file.path, listen, &client);
    if (code == EX_OK)
        code = admin_client_ask(client, "/api/status", NULL, NULL, &status);
    const json_t *runs = json_object_get(status, "configuration");
    bool is_same = strcmp(text_of(runs, "digest"), digest) == 0;
    if (code == EX_OK && json) {
        (void)json_object_set_new(status, "same", json_boolean(is_same));
        code = admin_client_print(status);
    } else if (code == EX_OK) {
        print_live(file.path, status, is_same);
    }
    json_decref(status);
    admin_client_free(client);
    config_free(file.config);
    config_file_close(&file);
    return code == EX_OK && !is_same ? EX_DATAERR : code;
}

static int run(int argc, char **argv)
{
    const char *path = NULL;
    bool print = false;
    bool json = false;
    bool live = false;
    const char *listen = NULL;
    int first;
    const cli_option options[] = {
        {'c', "config", "FILE", "the configuration [./config.yaml, /etc/smtpmux/config.yaml]",
         .text = &path},
        {0, "print", NULL, "print the effective configuration, with defaults, secrets masked",
         .flag = &print},
        {0, "json", NULL, "print problems and summary as JSON", .flag = &json},
        {0, "live", NULL, "ask the running daemon whether it runs this, and how it stands",
         .flag = &live},
        {0, "admin", "ADDRESS",
         "with --live: the admin socket, such as unix:/run/smtpmux/admin.sock", .text = &listen},
    };
    const cli_command line = {command_check.name, "[-c FILE] [--print | --json] [--live]",
                              command_check.help, options, sizeof(options) / sizeof(options[0])};
    cli_result parsed = cli_parse(&line, argc, argv, &first);
    if (parsed != CLI_RUN)
        return parsed == CLI_DONE ? EX_OK : EX_USAGE;
    if (first < argc)
        return cli_wrong(&line, "what is `%s`? A file is named with -c", argv[first]);
    if (print && json)
        return cli_wrong(&line, "--print and --json exclude each other");
    if (print && live)
        return cli_wrong(&line, "--print and --live exclude each other");
    if (listen != NULL && !live)
        return cli_wrong(&line, "--admin is for --live");
    return live ? check_live(path, listen, json) : check(path, print, json);
}

const command command_check = {"check", "Say whether a configuration is right", run};
