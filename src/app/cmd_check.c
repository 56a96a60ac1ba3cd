/* smtpmux check: whether a configuration is right, and what it comes to. */
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>

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

static int run(int argc, char **argv)
{
    const char *path = NULL;
    bool print = false;
    bool json = false;
    int first;
    const cli_option options[] = {
        {'c', "config", "FILE", "the configuration [./config.yaml, /etc/smtpmux/config.yaml]",
         .text = &path},
        {0, "print", NULL, "print the effective configuration, with defaults, secrets masked",
         .flag = &print},
        {0, "json", NULL, "print problems and summary as JSON", .flag = &json},
    };
    const cli_command line = {command_check.name, "[-c FILE] [--print | --json]",
                              command_check.help, options, sizeof(options) / sizeof(options[0])};
    cli_result parsed = cli_parse(&line, argc, argv, &first);
    if (parsed != CLI_RUN)
        return parsed == CLI_DONE ? EX_OK : EX_USAGE;
    if (first < argc)
        return cli_wrong(&line, "what is `%s`? A file is named with -c", argv[first]);
    if (print && json)
        return cli_wrong(&line, "--print and --json exclude each other");
    return check(path, print, json);
}

const command command_check = {"check", "Say whether a configuration is right", run};
